"""What applications on authflow are tested with: a whole site in process, people with browsers, and hands on the world.

See docs/testing.md. Importing it in a process that is no test raises `ConfigurationError`.
"""

from authflow.testing._guard import refuse_outside_tests
from authflow.testing.browser import BASE_URL, Browser
from authflow.testing.clock import START, Clock
from authflow.testing.devices import Authenticator, ButtonToken
from authflow.testing.faults import FOR_EVER, Faults
from authflow.testing.forms import Form
from authflow.testing.google import GoogleIssuer, Issuer
from authflow.testing.kit import KEY, Kit, browser, make_kit
from authflow.testing.mail import Mailbox
from authflow.testing.page import Page
from authflow.testing.person import ADA, PASSWORD, Person
from authflow.testing.site import OTP_SECRET, Site, make_site
from authflow.testing.stores import ContendedStore, Hold

__all__ = [
    "ADA",
    "BASE_URL",
    "FOR_EVER",
    "KEY",
    "OTP_SECRET",
    "PASSWORD",
    "START",
    "Authenticator",
    "Browser",
    "ButtonToken",
    "Clock",
    "ContendedStore",
    "Faults",
    "Form",
    "GoogleIssuer",
    "Hold",
    "Issuer",
    "Kit",
    "Mailbox",
    "Page",
    "Person",
    "Site",
    "browser",
    "make_kit",
    "make_site",
    "refuse_outside_tests",
]
