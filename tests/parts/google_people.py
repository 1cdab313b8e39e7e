"""People who come with a Google account: what their browser and Google's script do, without either.

Works for the people of `tests.web_kit` (in process) and of `tests.served.client` (over the network) alike.
"""

from __future__ import annotations

import re
from typing import Any

from tests.parts.google_issuer import GoogleIssuer
from tests.web_kit import Page, Person

CLIENT_ID = "1234-abc.apps.example.org"
BASE = "/user/auth_googleaccount"
LOGIN = f"{BASE}/login"
LINK = f"{BASE}/add"
ADAS_SUBJECT = "111111111111111111111"


def attribute(page: Page, name: str) -> str:
    """Return an attribute that the page has for Google's script."""
    found = re.search(rf'\b{name}="([^"]*)"', page.text)
    assert found is not None, (page.status, page.text[:2000])
    return found[1]


def token_on(google: GoogleIssuer, page: Page, sub: str = ADAS_SUBJECT, **claims: Any) -> str:
    """Return what Google would confirm on this page; None leaves a claim out."""
    client_id = attribute(page, "data-client_id")
    honest = {"aud": client_id, "azp": client_id, "sub": sub, "nonce": attribute(page, "data-nonce")}
    return google.id_token(**{**honest, "email": "ada@gmail.com", "email_verified": True, **claims})


async def tell(person: Person, page: Page, token: str) -> Page:
    """Send the form of a page with a token in it."""
    return await person.send(page.form("auth_googleaccount"), token=token)


async def come(
    person: Person, google: GoogleIssuer, sub: str = ADAS_SUBJECT, *, path: str = LOGIN, **claims: Any
) -> Page:
    """Open Google's page and send what Google confirms; return the answer."""
    page = await person.get(path)
    return await tell(person, page, token_on(google, page, sub, **claims))
