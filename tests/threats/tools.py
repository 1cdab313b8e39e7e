"""What several files of attacks need."""

from __future__ import annotations

import re
from base64 import b32decode

from authflow.testing import ADA, Page, Person, Site
from authflow.user import User
from providers.user_password import UserPassword


class Registering(UserPassword):
    registration_enabled = True
    registration_admin_verification_required = False


class Open(User):
    """Strangers may register, confirming their address by mail."""

    authentication_providers = (Registering,)
    # Each flow, so that what one writes more than another is not a matter of which are traced.
    trace_share = 1.0


def secret_on(page: Page) -> bytes:
    """Return the secret that an enrolment's page shows."""
    found = re.search(r'<code class="secret">([^<]+)</code>', page.text)
    assert found is not None
    return b32decode(found[1].replace(" ", ""))


def codes_on(page: Page) -> list[str]:
    """Return the recovery codes that a page shows."""
    found = re.search(r'<ol class="codes".*?</ol>', page.text, re.S)
    assert found is not None
    return re.findall(r"<li>([^<]+)</li>", found[0])


async def enrol(site: Site, person: Person) -> tuple[bytes, list[str]]:
    """Set up an app; return its secret and the recovery codes."""
    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
    secret = secret_on(page)
    return secret, codes_on(await person.send(page.form("add"), otptoken=site.code(secret=secret)))


async def who(person: Person) -> str | None:
    """Return whom the site takes this browser for."""
    page = await person.get("/json/user/view/self")
    return page.json["values"]["name"] if page.status == 200 else None


async def recovery_link(site: Site, name: str = ADA, person: Person | None = None) -> str:
    """Ask for recovery and return the address that the mail brings, without its origin."""
    person = person or site.person()
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=name)
    await site.run_tasks()
    return site.link()
