"""A server that has seen many logins holds no more memory, and what it has written into its log tells no secret."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from authflow.model import Purpose
from authflow.testing.devices import totp
from tests.parts.require import require
from tests.parts.server import Server
from tests.parts.smtp_sink import SmtpSink
from tests.served.client import RemotePerson, rounds
from tests.served.people import (
    NEW_PASSWORD,
    PASSWORD,
    PASSWORD_PATH,
    PROFILE,
    RECOVERY_CODE,
    SECRET,
    begun_enrolment,
    logged_in,
    new_account,
    owing_a_code,
    shown_codes,
    ticket,
)

pytestmark = [pytest.mark.slow]

ALLOWED_GROWTH = 6 * 1024 * 1024
WRONG_PASSWORD = "never the right words"


# --- Memory -----------------------------------------------------------------------------------------------------------


async def test_three_hundred_logins_do_not_make_the_server_grow(request: pytest.FixtureRequest) -> None:
    require(request, sys.platform == "linux", "only Linux says what another process holds")
    with Server() as server:
        async with server.application() as app:
            account = await new_account(app)

        async def visits(count: int) -> None:
            for number in range(count):
                person = await logged_in(RemotePerson(server), account.name)
                assert (await person.get(PROFILE)).status == 200
                if number % 10 == 0:
                    assert (await RemotePerson(server).log_in(f"stranger{number}", WRONG_PASSWORD)).status == 200
                    page = await person.send((await person.get("/user/logout")).form("logout"))
                    assert page.status == 200

        await visits(100)  # Whatever is made once, is made by now: templates, caches, arenas.
        before = server.resident_bytes()
        await visits(rounds(300))
        growth = server.resident_bytes() - before

        assert growth < ALLOWED_GROWTH, f"{growth / 1024:.0f} KiB more"


# --- Logs -------------------------------------------------------------------------------------------------------------


def log_config(level: str) -> dict[str, object]:
    """Everything that any library has to say at this level."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "root": {"handlers": ["stderr"], "level": level},
        # An access log has the addresses of mailed links in it; `authflow serve` is asked about its own below.
        "loggers": {"uvicorn.access": {"level": "WARNING", "propagate": True}},
    }


@pytest.fixture(scope="module")
def sink() -> Iterator[SmtpSink]:
    with SmtpSink(login=("mailer", "canary-of-the-mail-server")) as sink:
        yield sink


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
async def test_no_secret_of_any_journey_is_in_the_log(level: str, sink: SmtpSink) -> None:
    mail = {"AUTHFLOW_MAIL": sink.url, "AUTHFLOW_MAIL_FROM": "noreply@example.org"}
    with Server(environment=mail, log_config=log_config(level)) as server:
        secrets = await journey(server)
        server.stop()

        log = server.log()
        keys = server.database.with_name(server.database.name + ".keys").read_text().split()

    assert re.search(r'"type": ?"login_completed"', log), "the scan has looked at no log"
    assert "Traceback" not in log
    secrets |= {f"master key {number}": key for number, key in enumerate(keys)}
    secrets["mail server's password"] = "canary-of-the-mail-server"
    assert found_in(log, secrets) == []


async def test_no_mailed_link_is_in_the_access_log_of_serve() -> None:
    with Server(arguments=("--access-log",)) as server:
        secrets = await journey(server)
        server.stop()

        log = server.log()

    assert "GET /user/login" in log, "there is no access log"
    assert found_in(log, secrets) == []


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
async def test_no_secret_of_a_fault_is_in_the_log(level: str) -> None:
    with Server(log_config=log_config(level)) as server:
        async with server.application() as app:
            account = await new_account(app)
            token = await ticket(app, account, Purpose.RECOVERY)
        person = RemotePerson(server)
        skey = await person.skey()
        # Overwritten: every access to the store fails from here.
        for path in server.folder.glob("store.sqlite*"):
            if path.suffix != ".keys":
                path.write_bytes(b"\x00garbage" * 2048)
        login = await person.post(f"{PASSWORD_PATH}/login", {"skey": skey, "name": account.name, "password": PASSWORD})
        recovery = await person.post(
            f"{PASSWORD_PATH}/pwrecover", {"skey": skey, "recovery_key": token, "password": NEW_PASSWORD}
        )
        server.stop()
        log = server.log()

    assert {login.status, recovery.status} == {503}
    assert found_in(log, {"password": PASSWORD, "new password": NEW_PASSWORD, "ticket": token}) == []


async def journey(server: Server) -> dict[str, str]:
    """Go every way there is; return by name what no log may hold."""
    secrets = {"password": PASSWORD, "new password": NEW_PASSWORD, "wrong password": WRONG_PASSWORD}
    async with server.application() as app:
        account = await new_account(app)
        with_token = await new_account(app, with_totp=True)
        recovery = await ticket(app, account, Purpose.RECOVERY)

    person = RemotePerson(server)
    await person.log_in(account.name, WRONG_PASSWORD)
    await logged_in(person, account.name)
    secrets["session"] = person.cookies["authflow_session"]
    page, secret = await begun_enrolment(person)
    code = totp(secret)
    page = await person.send(page.form("/add"), otptoken=code)
    codes = shown_codes(page)
    secrets |= {
        "app's key": secret.hex(),
        "recovery code": codes[0],
        "session after": person.cookies["authflow_session"],
    }
    secrets["skey"] = await person.skey()

    other = RemotePerson(server)
    await owing_a_code(other, account.name)
    secrets["pending session"] = other.cookies["authflow_session"]
    page = await other.follow(await other.get(f"{RECOVERY_CODE}/start"))
    assert (await other.send(page.form("/otp"), otptoken=codes[0])).location == PROFILE
    secrets["device"] = other.cookies["authflow_device"]

    third = RemotePerson(server)
    page = await owing_a_code(third, with_token.name)
    secrets["token's key"] = SECRET.hex()
    assert (await third.send(page.form("/otp"), otptoken=totp(SECRET))).location == PROFILE

    # A program, with the static key that it is given.
    program = RemotePerson(server)
    values = {"name": account.name, "password": PASSWORD}
    page = await program.json_post(f"/json{PASSWORD_PATH}/login", **values)
    assert page.status == 200

    # The link of a mail: opened, refused, and opened again.
    await person.send((await person.get(f"{PASSWORD_PATH}/pwrecover")).form("pwrecover"), name=with_token.name)
    reader = RemotePerson(server)
    stale = await reader.get(f"{PASSWORD_PATH}/pwrecover?recovery_key={quote(recovery)}")
    assert (await reader.send(stale.form("pwrecover"), password=NEW_PASSWORD)).status == 412
    async with server.application() as app:
        fresh = await ticket(app, await app.administration.find(account.name), Purpose.RECOVERY)
        setup = (await app.administration.setup_link(with_token.name)).partition("setup_key=")[2]
    for path, name, token in (("pwrecover", "recovery_key", fresh), ("setup", "setup_key", setup)):
        page = await reader.get(f"{PASSWORD_PATH}/{path}?{name}={quote(token)}")
        assert (await reader.send(page.form(path), password=NEW_PASSWORD)).status == 200
    await reader.get(f"{PASSWORD_PATH}/verify?skey={quote(fresh)}")
    secrets |= {"recovery ticket": fresh, "stale ticket": recovery, "set-up ticket": setup}

    # What does not belong: secrets in a query, in a path, in a malformed body.
    await reader.post(f"{PASSWORD_PATH}/login?password={quote(PASSWORD)}", {"name": "x"})
    await reader.request("POST", f"{PASSWORD_PATH}/login", body=f"password={quote(PASSWORD)}&%zz".encode())
    return secrets


def found_in(log: str, secrets: dict[str, str]) -> list[str]:
    """Return the names of what stands in a log, as it is or quoted for an address."""
    found = []
    for name, secret in secrets.items():
        # A signed value is a secret before its signature; of a ticket the account's id is none.
        parts = {secret, quote(secret), max(secret.split("."), key=len)}
        if any(part in log for part in parts):
            found.append(name)
    return found
