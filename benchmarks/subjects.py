"""The two subjects, floor and authflow: how to seed and start each, and what a browser does with it."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyotp

from benchmarks.client import Browser, Failed, Reply, Script
from benchmarks.floor import PASSWORD

ROUNDS = 4
"""The cheapest bcrypt there is: what a framework costs beside it can be seen."""

OTP_SECRET = "3132333435363738393031323334353637383930"
KEY = "a master key of the bench - secret to nobody"
ROOT = Path(__file__).resolve().parent.parent

_FIELD = re.compile(rb'<input[^>]*\bname="(skey|flow|csrf)"[^>]*\bvalue="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to be measured.

    Attributes:
        app: What uvicorn loads.
        seed: The module that makes its database of so many accounts.
        environment: What it needs, made from the database's path and the port.
        user_field: What its login form calls the name.
        profile: Answers who is logged in, as JSON.
        page: A page for who is logged in, where it has one.
    """

    name: str
    app: str
    seed: str
    environment: Callable[[Path, int], Mapping[str, str]]
    login: str
    post: str
    user_field: str
    profile: str
    page: str = ""

    def make_database(self, file: Path, count: int) -> None:
        """Seed a database whose accounts are `user0@example.org` and so on, the first of them without a factor."""
        command = [sys.executable, "-m", self.seed, str(file), str(count), str(ROUNDS)]
        subprocess.run(command, check=True, cwd=ROOT, env=self.child_environment(file, 0))
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def child_environment(self, file: Path, port: int) -> dict[str, str]:
        """Return the process's own environment, without settings of a real deployment, and what the subject needs."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("AUTHFLOW_", "PYTHON"))}
        return {**ours, **self.environment(file, port)}


FLOOR = Subject(
    name="floor",
    app="benchmarks.floor:app",
    seed="benchmarks.floor",
    environment=lambda file, port: {"FLOOR_DATABASE": str(file)},
    login="/login",
    post="/login",
    user_field="email",
    profile="/me",
)
AUTHFLOW = Subject(
    name="authflow",
    app="authflow.asgi:app",
    seed="benchmarks.seed",
    environment=lambda file, port: {
        "AUTHFLOW_STORE": f"sqlite:{file}",
        "AUTHFLOW_SECRET_KEYS": KEY,
        "AUTHFLOW_BCRYPT_ROUNDS": str(ROUNDS),
        "AUTHFLOW_BASE_URL": f"http://127.0.0.1:{port or 8000}",
    },
    login="/user/login",
    post="/user/auth_userpassword/login",
    user_field="name",
    profile="/json/user/view/self",
    page="/user/logout",
)


def mail(number: int, *, with_factor: bool = False) -> str:
    """Return the name of a seeded account."""
    return f"{'factor' if with_factor else 'user'}{number}@example.org"


# --- What a browser does ----------------------------------------------------------------------------------------------


def password_login(subject: Subject, browser: Browser, name: str) -> Script:
    """Go through login page, credentials and own profile; the name must be in the last answer."""
    yield from _credentials(subject, browser, name)
    yield from _profile(subject, browser, name)


def two_step_login(browser: Browser, name: str) -> Script:
    """Go through login page, credentials, the page that asks for the code, the code, and own profile."""
    reply = yield from _credentials(AUTHFLOW, browser, name)
    page = reply.header("location")
    reply = yield browser.get(page)
    fields = hidden(expected(reply, 200))
    code = pyotp.TOTP(otp_secret()).now()
    reply = yield browser.post(page.partition("?")[0], {**fields, "otptoken": code})
    browser.take(expected(reply, 303))
    yield from _profile(AUTHFLOW, browser, name)


def repeated(request: bytes, count: int) -> Script:
    """Send one request again and again."""
    for _ in range(count):
        reply = yield request
        expected(reply, 200)


def _credentials(subject: Subject, browser: Browser, name: str) -> Script:
    reply = yield browser.get(subject.login)
    browser.take(expected(reply, 200))
    fields = {**hidden(reply), subject.user_field: name, "password": PASSWORD}
    reply = yield browser.post(subject.post, fields)
    browser.take(expected(reply, 303))
    return reply


def _profile(subject: Subject, browser: Browser, name: str) -> Script:
    reply = yield browser.get(subject.profile)
    if name.encode() not in expected(reply, 200).body:
        raise Failed(f"{subject.name}: {name} is not in {reply.body[:200]!r}")


def expected(reply: Reply, status: int) -> Reply:
    if reply.status != status:
        raise Failed(f"status {reply.status} instead of {status}: {reply.head[:300]!r} {reply.body[:600]!r}")
    return reply


def hidden(reply: Reply) -> dict[str, str]:
    """Return the hidden fields of the first form of a page."""
    found: dict[str, str] = {}
    for name, value in _FIELD.findall(reply.body):
        found.setdefault(name.decode(), value.decode())
    return found


def otp_secret() -> str:
    """Return the secret of the seeded devices as base32, as a device of its own would hold it."""
    import base64

    return base64.b32encode(bytes.fromhex(OTP_SECRET)).decode()
