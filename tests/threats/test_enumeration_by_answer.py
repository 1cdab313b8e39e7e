"""Somebody finds out which names have accounts, by how the site answers (abuse cases 51 and 52).

Every answer to a known, an unknown, a disabled, an unverified and a password-less name is the same byte by byte, once
what is random in it is masked; so are status, headers, the names of cookies, round trips and the number of writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from authflow.model import Status
from authflow.seam import Call
from authflow.testing import PASSWORD, Page, Site, make_site
from tests.threats.tools import Open

KNOWN = "known@example.org"
NAMES = {
    "known": KNOWN,
    "unknown": "nobod@example.org",
    "disabled": "disab@example.org",
    "unverified": "unver@example.org",
    "waiting": "waits@example.org",
    "without a password": "withn@example.org",
    "with an app": "witha@example.org",
}
NEW = "another long password"


@dataclass
class Writes:
    """Notes what each request asks of the store."""

    calls: list[tuple[str, int]] = field(default_factory=list)

    async def before(self, call: Call) -> None:
        if call.kind == "store":
            self.calls.append((call.operation, len(call.detail)))

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        pass


@pytest.fixture
async def watched() -> tuple[Site, Writes]:
    writes = Writes()
    site = await make_site(Open(), observers=(writes,))
    await site.account(NAMES["known"])
    await site.account(NAMES["disabled"], status=Status.DISABLED)
    await site.account(NAMES["unverified"], status=Status.WAITING_FOR_EMAIL_VERIFICATION)
    await site.account(NAMES["waiting"], status=Status.WAITING_FOR_ADMIN_VERIFICATION)
    await site.account(NAMES["without a password"], password=None)
    await site.account_with_totp(NAMES["with an app"])
    return site, writes


def masked(page: Page, name: str) -> tuple:
    """Return everything that a client sees, with what is random or typed replaced."""
    text = page.text.replace(name, "NAME")
    text = re.sub(r'name="skey" value="[^"]+"', "SKEY", text)
    text = re.sub(r'name="flow" value="[^"]+"', "FLOW", text)
    text = re.sub(r'"flow":"[^"]+"', "FLOW", text)
    headers = [(key, value) for key, value in page.headers if key not in ("set-cookie", "content-length")]
    flags = {key: text.partition(";")[2] for key, text in page.set_cookies.items()}
    return page.status, headers, flags, text


async def answers(watched: tuple[Site, Writes], path: str, names: list[str], **typed: str) -> dict[str, tuple]:
    """Send one form for each name, each from a browser and an address of its own."""
    site, writes = watched
    found = {}
    for n, case in enumerate(names):
        person = site.person(address=f"198.51.100.{n}")
        name = NAMES[case]
        if path.startswith(("/json", "/admin", "/vi")):
            values = {"skey": await person.skey(), "name": name, **typed}
        else:
            shown = await person.get("/user/login" if path.endswith("login") else path)
            values = {**shown.form(path.rpartition("/")[2]).values, "name": name, **typed}
        writes.calls.clear()
        page = await person.post(path, values)
        asked = list(writes.calls)
        await site.app.engine.settle()
        # All names here are of one length, and so is what was masked: the length must agree as well.
        found[case] = (*masked(page, name), len(page.body), asked)
    return found


def same(found: dict[str, tuple]) -> None:
    first, *others = found
    for other in others:
        for mine, theirs in zip(found[first], found[other], strict=True):
            assert mine == theirs, (first, other)


PREFIXES = pytest.mark.parametrize("prefix", ["", "/json", "/admin", "/vi"])
HOPELESS = ["unknown", "disabled", "unverified", "waiting", "without a password"]


def test_all_names_are_of_one_length() -> None:
    assert len({len(name) for name in NAMES.values()}) == 1


@PREFIXES
async def test_a_login_with_a_wrong_password_is_answered_alike(watched: tuple[Site, Writes], prefix: str) -> None:
    """Abuse case 51, of logins: whatever the account, and whether or not there is one."""
    same(await answers(watched, prefix + "/user/auth_userpassword/login", list(NAMES), password="wrong password!"))


@PREFIXES
async def test_a_login_with_the_right_password_to_what_may_not_log_in_is_answered_alike(
    watched: tuple[Site, Writes], prefix: str
) -> None:
    """Abuse case 51, of logins: the right password of a disabled account is no news."""
    same(await answers(watched, prefix + "/user/auth_userpassword/login", HOPELESS, password=PASSWORD))


@PREFIXES
async def test_asking_for_recovery_is_answered_alike(watched: tuple[Site, Writes], prefix: str) -> None:
    """Abuse case 51, of recovery."""
    same(await answers(watched, prefix + "/user/auth_userpassword/pwrecover", list(NAMES)))


@PREFIXES
async def test_asking_for_another_verification_mail_is_answered_alike(
    watched: tuple[Site, Writes], prefix: str
) -> None:
    """Abuse case 51, of another verification mail."""
    same(await answers(watched, prefix + "/user/auth_userpassword/resend", list(NAMES)))


@PREFIXES
async def test_registering_is_answered_alike(watched: tuple[Site, Writes], prefix: str) -> None:
    """Abuse case 51, of registration."""
    same(await answers(watched, prefix + "/user/auth_userpassword/add", list(NAMES), password=NEW))


@PREFIXES
async def test_registering_with_a_bad_password_is_answered_alike(watched: tuple[Site, Writes], prefix: str) -> None:
    """Abuse case 51, of registration: the form's mistakes are told before and not instead of the name's."""
    same(await answers(watched, prefix + "/user/auth_userpassword/add", list(NAMES), password="short"))


@PREFIXES
async def test_the_limit_is_reached_alike(watched: tuple[Site, Writes], prefix: str) -> None:
    """Abuse case 51, of limits: only a name that exists is ever locked."""
    site, _ = watched
    path = prefix + "/user/auth_userpassword/login"
    found = {}
    for case, name in NAMES.items():
        statuses = []
        for n in range(12):
            person = site.person(address=f"203.0.113.{n}")
            page = await person.post(path, {"skey": await person.skey(), "name": name, "password": "wrong password!"})
            statuses.append(page.status)
        found[case] = tuple(statuses)

    assert set(found["known"]) == {200, 429}
    by_name = {case: statuses.index(429) for case, statuses in found.items() if 429 in statuses}
    assert set(by_name) == set(NAMES)


async def test_looking_at_entries_tells_nothing(watched: tuple[Site, Writes]) -> None:
    """Abuse case 91: what is there and may not be seen looks like what is not there."""
    site, _ = watched
    disabled = await site.app.administration.find(NAMES["disabled"])
    person = await site.logged_in(KNOWN)

    pages = [await person.get(f"/json/user/view/{key}") for key in (disabled.id, "A" * len(disabled.id))]

    assert pages[0].status == pages[1].status == 404
    assert pages[0].body == pages[1].body
    assert pages[0].cost == pages[1].cost


async def test_a_ticket_of_nobody_and_a_wrong_one_of_somebody_are_answered_alike(
    watched: tuple[Site, Writes],
) -> None:
    """Abuse case 51, of keys: the part that names an account is tried by itself."""
    site, writes = watched
    known = await site.app.administration.find(KNOWN)
    found = {}
    for n, account_id in enumerate((known.id, "A" * len(known.id))):
        person = site.person(address=f"198.51.100.{n}")
        values = {"skey": await person.skey(), "recovery_key": f"{account_id}.{'B' * 43}", "password": NEW}
        writes.calls.clear()
        page = await person.post("/json/user/auth_userpassword/pwrecover", values)
        found[account_id] = (*masked(page, account_id), list(writes.calls))

    same(found)
