"""People who come with a Google account: what their browser and Google's script do, without either.

They may be at any browser that has the methods of `Browser`, in process or over a network.
"""

from __future__ import annotations

import re
from typing import Any

from authflow.testing.browser import Browser
from authflow.testing.google import Issuer
from authflow.testing.page import Page

CLIENT_ID = "1234-abc.apps.example.org"
BASE = "/user/auth_googleaccount"
LOGIN = f"{BASE}/login"
LINK = f"{BASE}/add"
ADAS_SUBJECT = "111111111111111111111"


def attribute(page: Page, name: str) -> str:
    """Return an attribute that the page has for Google's script.

    Raises:
        LookupError: The page has none of this name.
    """
    found = re.search(rf'\b{name}="([^"]*)"', page.text)
    if found is None:
        raise LookupError(f"no {name} on a page with status {page.status}: {page.text[:2000]}")
    return found[1]


def token_on(google: Issuer, page: Page, sub: str = ADAS_SUBJECT, **claims: Any) -> str:
    """Return what Google would confirm on this page; None leaves a claim out."""
    client_id = attribute(page, "data-client_id")
    honest = {"aud": client_id, "azp": client_id, "sub": sub, "nonce": attribute(page, "data-nonce")}
    return google.id_token(**{**honest, "email": "ada@gmail.com", "email_verified": True, **claims})


async def tell(person: Browser, page: Page, token: str) -> Page:
    """Send the form of a page with a token in it."""
    return await person.send(page.form("auth_googleaccount"), token=token)


async def come(person: Browser, google: Issuer, sub: str = ADAS_SUBJECT, *, path: str = LOGIN, **claims: Any) -> Page:
    """Open Google's page and send what Google confirms; return the answer."""
    page = await person.get(path)
    return await tell(person, page, token_on(google, page, sub, **claims))
