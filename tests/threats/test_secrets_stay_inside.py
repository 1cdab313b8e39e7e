"""Nothing that opens a door is found where others read: logs, tasks, records, addresses, pages (abuse cases 30, 57).

A whole life of an account is led, with every secret known to the test; then everything that others can read is searched
for each of them, as it is and as it may be spelled there.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote

import pytest

from authflow.testing import ADA, Page, Person, Site, make_site
from authflow.tokens import digest
from tests.threats.tools import Open, codes_on, secret_on

FIRST = "Canary-first-password-1"
SECOND = "Canary-second-password-2"
THIRD = "Canary-third-password-3"
WRONG = "Canary-wrong-password-4"
WRONG_CODE = "918273"


@dataclass
class Life:
    """What was secret, and what could be read by others.

    Attributes:
        secrets: By name. Cookies are there by the secret part of them.
        pages: Every answer; `shown` are those that are allowed to show a secret, each once.
    """

    site: Site
    secrets: dict[str, str] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    payloads: list[str] = field(default_factory=list)
    dumps: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Take down what lies in the store now."""
        rows = self.site.kit.memory._rows
        self.dumps.append("\n".join(f"{key.kind} {key.name} {row.body}" for key, row in rows.items()))
        self.payloads += [row.body for key, row in rows.items() if key.kind == "outbox"]


class Diary(Person):
    """A person whose every request and answer is kept."""

    life: Life

    async def request(self, method: str, path: str, **more) -> Page:
        page = await super().request(method, path, **more)
        self.life.pages.append(page)
        self.life.addresses.append(page.location)
        if "recovery_key=" not in path and "verify?skey=" not in path:
            self.life.addresses.append(path)
        jar = self.edge.jar
        for name, text in page.set_cookies.items():
            value = text.partition("=")[2].partition(";")[0]
            if value and name == jar.session_name:
                self.life.secrets[f"session {len(self.life.secrets)}"] = value.partition(".")[0]
            if value and name == jar.device_name:
                self.life.secrets[f"device {len(self.life.secrets)}"] = value
        key = page.header("sec-x-viur-staticskey")
        if key:
            self.life.secrets[f"static key {len(self.life.secrets)}"] = key
        self.life.look()
        return page


@pytest.fixture
async def life(caplog: pytest.LogCaptureFixture) -> Life:
    """Lead an account's whole life, successes and failures."""
    caplog.set_level(logging.DEBUG)
    site = await make_site(Open())
    life = Life(site, {"first": FIRST, "second": SECOND, "third": THIRD, "wrong": WRONG, "wrong code": WRONG_CODE})

    def somebody() -> Diary:
        person = Diary(site.edge)
        person.life = life
        return person

    async def mailed(mark: str) -> str:
        await site.run_tasks()
        life.look()
        link = site.link()
        life.secrets[mark] = link.partition("=")[2]
        return link

    # Register, verify, log in wrong and right.
    person = somebody()
    await person.send((await person.get("/user/auth_userpassword/add")).form(), name=ADA, password=FIRST)
    await person.send((await person.get(await mailed("verification"))).form())
    refused = await person.log_in(password=WRONG)
    await person.follow(await person.send(refused.form("login"), password=FIRST))
    # Set up an app, and log in with it, wrong and right.
    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
    secret = secret_on(page)
    life.secrets["app"] = base64.b32encode(secret).decode()
    wrong = await person.send(page.form("add"), otptoken=WRONG_CODE)
    life.secrets["code 1"] = site.code(secret=secret)
    shown = await person.send(wrong.form("add"), otptoken=site.code(secret=secret))
    codes = codes_on(shown)
    life.secrets |= {f"recovery code {n}": code for n, code in enumerate(codes)}
    site.clock.pass_by(timedelta(minutes=1))
    other = somebody()
    step = await other.follow(await other.log_in(password=FIRST))
    step = await other.send(step.form("otp"), otptoken=WRONG_CODE)
    life.secrets["code 2"] = site.code(secret=secret)
    await other.follow(await other.send(step.form("otp"), otptoken=site.code(secret=secret)))
    # A program, with a recovery code and a static key.
    program = somebody()
    await program.json_post("/json/user/auth_userpassword/login", name=ADA, password=FIRST)
    await program.get("/json/user/f2_recoverycode/start")
    await program.json_post("/json/user/f2_recoverycode/otp", otptoken=codes[0])
    await program.get("/json/user/view/self")
    # Change, recover, fail at both.
    form = (await other.get("/user/auth_userpassword/change")).form()
    await other.send(form, current_password=WRONG, password=SECOND)
    await other.send(form, current_password=FIRST, password=SECOND)
    stranger = somebody()
    await stranger.send((await stranger.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    reset = await stranger.get(await mailed("recovery"))
    await stranger.send(reset.form(), password="short")
    await stranger.send(reset.form(), password=THIRD)
    await stranger.send(reset.form(), password=THIRD)
    # What is malformed, and what breaks.
    await stranger.json_post("/json/user/auth_userpassword/login", name=ADA, password=WRONG, extra="\x00")
    await stranger.request("POST", "/json/user/auth_userpassword/login", body=f'{{"password":"{WRONG}"'.encode(),
                           headers={"content-type": "application/json"})  # fmt: skip
    parts = f'--x\r\nContent-Disposition: form-data; name="password"\r\n\r\n{WRONG}\r\n--x{WRONG}--\r\n'
    await stranger.request("POST", "/json/user/auth_userpassword/login", body=parts.encode(),
                           headers={"content-type": "multipart/form-data; boundary=x"})  # fmt: skip
    life.secrets["set-up"] = (await site.app.administration.setup_link(ADA)).partition("=")[2]
    await site.run_tasks()
    await site.app.engine.settle()
    life.look()
    life.log = [f"{record.name} {record.getMessage()} {record.exc_text or ''}" for record in caplog.records]
    return life


def spellings(secret: str) -> Iterator[str]:
    """Return how a secret may be written down."""
    yield secret
    yield quote(secret, safe="")
    yield base64.b64encode(secret.encode()).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
    yield secret.encode().hex()
    if "-" in secret and len(secret) == 19:
        yield secret.replace("-", "")


def found(life: Life, text: str, *, but: tuple[str, ...] = ()) -> list[str]:
    """Return the names of the secrets that stand in a text."""
    return [
        name
        for name, secret in life.secrets.items()
        if not name.startswith(but or ("\x00",)) and any(spelling in text for spelling in spellings(secret))
    ]


def test_the_search_finds_what_is_there() -> None:
    life = Life(None, {"a": "Canary-x y"})  # type: ignore[arg-type]

    assert found(life, "log Canary-x y") == ["a"]
    assert found(life, "log Canary-x%20y") == ["a"]
    assert found(life, base64.b64encode(b"Canary-x y").decode()) == ["a"]
    assert not found(life, "nothing")


async def test_a_whole_life_was_led(life: Life) -> None:
    kinds = {name.rstrip("0123456789 ") for name in life.secrets}
    assert {"session", "device", "static key", "app", "recovery", "verification", "recovery code"} <= kinds
    assert len(life.pages) > 30
    assert life.payloads
    assert [page.status for page in life.pages if page.status >= 500] == []


async def test_no_secret_is_in_a_log(life: Life) -> None:
    """Log lines of every level, of every library."""
    assert len(life.log) > 10
    for line in life.log:
        assert not found(life, line), line


async def test_no_secret_is_in_a_task(life: Life) -> None:
    """Abuse case 57: whoever can read the queue takes an account over."""
    for payload in life.payloads:
        assert not found(life, payload), payload


async def test_no_secret_is_in_a_record(life: Life) -> None:
    """Abuse case 30 and the worth of a stolen store: no session, key, code, password or secret of an app."""
    for dump in life.dumps:
        names = found(life, dump, but=("code", "wrong code"))
        assert not names, names


async def test_six_digits_are_in_no_record_as_a_value(life: Life) -> None:
    """Codes are too short to be searched for as text; no value of a record is one."""
    codes = {secret for name, secret in life.secrets.items() if name.startswith(("code", "wrong code"))}

    def values(item: object) -> Iterator[object]:
        if isinstance(item, dict):
            for inner in item.values():
                yield from values(inner)
        elif isinstance(item, list):
            for inner in item:
                yield from values(inner)
        else:
            yield item

    for row in life.site.kit.memory._rows.values():
        assert not codes & {str(value) for value in values(json.loads(row.body))}


async def test_no_secret_is_in_an_address(life: Life) -> None:
    """Abuse case 119: addresses are written down everywhere. Mailed links alone hold their key."""
    for address in life.addresses:
        assert not found(life, address, but=("verification", "recovery")), address


async def test_no_page_shows_a_secret_but_those_made_for_it(life: Life) -> None:
    """The secret of an app while it is set up, recovery codes once, and a mailed key behind its link."""
    for page in life.pages:
        names = set(found(life, page.text, but=("code", "wrong code")))
        for kind in ("first", "second", "third", "wrong", "session", "device", "static key", "set-up"):
            assert not [name for name in names if name.startswith(kind)], (kind, page.text[:300])
        if "app" in names:
            assert "data:image/png" in page.text
    showing = [page for page in life.pages if "recovery code 3" in found(life, page.text)]
    assert len(showing) == 1


async def test_no_mail_holds_a_secret_but_its_own_key(life: Life) -> None:
    """Mails lie in mailboxes for years."""
    assert len(life.site.outbox.mails) >= 4
    for mail in life.site.outbox.mails:
        names = set(found(life, mail.text + (mail.html or "") + mail.subject, but=("code", "wrong code")))
        assert names <= {"verification"} or names <= {"recovery"}, names


async def test_what_is_in_the_store_opens_no_session(life: Life) -> None:
    """The worth of a stolen store: the digest of a session is not its secret."""
    sessions = [secret for name, secret in life.secrets.items() if name.startswith("session")]
    names = {line.split(" ", 2)[1] for dump in life.dumps for line in dump.splitlines() if line.startswith("session ")}

    assert names
    assert names <= {digest(secret) for secret in sessions}
    for name in names:
        thief = life.site.person()
        thief.cookies[life.site.edge.jar.session_name] = f"{name}.x.{name}"
        assert (await thief.get("/json/user/view/self")).status == 401


async def test_no_object_tells_a_secret_when_it_is_printed(life: Life) -> None:
    """A `repr` ends up in a traceback, and the traceback in a log."""
    site = life.site
    person = site.person()
    step = await person.follow(await person.log_in(password=THIRD))
    assert step.form("otp")
    engine, services = site.app.engine, site.app.services
    account = await site.app.administration.find(ADA)
    records = await services.store.get(engine.loader.account_keys(account.id))
    credentials = [engine.vault.credential(record.data) for key, record in records.items() if key.kind == "credential"]
    assert len(credentials) == 3
    hashes = [str(c.data.get("hash")) for c in credentials if c.data.get("hash")]

    text = " ".join(map(repr, (site.app, engine, services, services.keyring, services.settings, *credentials, account)))

    assert not found(life, text)
    assert not [one for one in hashes if one in text]
    assert services.settings.secret_keys[0] not in text
    for credential in credentials:
        if credential.secret:
            assert repr(credential.secret) not in text
            assert credential.secret.hex() not in text
