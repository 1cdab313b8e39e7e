"""The site and its people under the names that these tests know them by; see `authflow.testing`."""

from authflow.testing.browser import BASE_URL
from authflow.testing.clock import Clock
from authflow.testing.forms import Form
from authflow.testing.kit import KEY, Kit
from authflow.testing.mail import Mailbox as Outbox
from authflow.testing.page import Page
from authflow.testing.person import ADA, PASSWORD, Person
from authflow.testing.site import OTP_SECRET, Site, make_site

__all__ = [
    "ADA",
    "BASE_URL",
    "KEY",
    "OTP_SECRET",
    "PASSWORD",
    "Clock",
    "Form",
    "Kit",
    "Outbox",
    "Page",
    "Person",
    "Site",
    "make_site",
]
