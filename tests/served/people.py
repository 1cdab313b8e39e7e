"""Accounts made by an operator's hands on the store of a running server, and the tickets that go to their owners."""

from __future__ import annotations

import itertools
import os
import re

from authflow import tickets
from authflow.assembly import Application
from authflow.model import Account, Purpose, Status
from authflow.records import account_key
from authflow.store.protocol import Update
from authflow.testing import Page
from authflow.testing.devices import typed_secret
from authflow.tokens import new_id
from tests.served.client import RemotePerson

PASSWORD = "correct horse battery"
NEW_PASSWORD = "a quite different phrase"
SECRET = bytes(range(20, 40))
TOTP = "/user/f2_timebasedotp"
RECOVERY_CODE = "/user/f2_recoverycode"
PASSWORD_PATH = "/user/auth_userpassword"
PROFILE = "/user/view/self"

_numbers = itertools.count(1)


def new_name() -> str:
    return f"person{next(_numbers)}.{os.getpid()}@example.org"


async def new_account(app: Application, *, with_totp: bool = False, password: str | None = PASSWORD) -> Account:
    """Make an active account; with TOTP it has a token whose secret is `SECRET`."""
    account = await app.administration.create(new_name(), password=password, is_active=True)
    if with_totp:
        account = await app.administration.add_token(account.name, "1", SECRET.hex(), interval=30)
    return account


async def in_status(app: Application, account: Account, status: Status) -> Account:
    """Put an account into a status that no command leads to."""
    key = account_key(account.id)
    record = (await app.services.store.get((key,)))[key]
    data = {**account.to_data(), "status": int(status)}
    await app.services.store.commit((Update(key, data, record.version),))
    return Account.from_data(data)


async def ticket(app: Application, account: Account, purpose: Purpose) -> str:
    """Make a ticket as the worker does before it mails one, and return its token."""
    token = tickets.mint(app.services.keyring, purpose, new_id(), account.id)
    made = tickets.make(purpose, account, app.services.clock())
    await app.services.store.commit((tickets.insertion(token, made),))
    return token


async def logged_in(person: RemotePerson, name: str) -> RemotePerson:
    """Log in with the password alone."""
    page = await person.log_in(name, PASSWORD)
    assert page.location == PROFILE, (page.status, page.text)
    return person


async def owing_a_code(person: RemotePerson, name: str) -> Page:
    """Log in with the password; return the page that asks for the code."""
    page = await person.follow(await person.log_in(name, PASSWORD))
    assert page.form("/otp"), (page.status, page.text)
    return page


async def begun_enrolment(person: RemotePerson) -> tuple[Page, bytes]:
    """Begin to enrol an app; return the page that wants a code, and the app's secret."""
    page = await person.get(f"{TOTP}/add")
    page = await person.send(page.form("/add"))
    shown = re.search(r'<code class="secret">([^<]+)</code>', page.text)
    assert shown is not None, (page.status, page.text)
    return page, typed_secret(shown[1])


def shown_codes(page: Page) -> list[str]:
    """Return the recovery codes that a page shows."""
    return re.findall(r"<li>\s*([0-9a-z]{4}(?:-[0-9a-z]{4}){3})\s*</li>", page.text)
