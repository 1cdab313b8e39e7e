"""Requests that nobody means well by: drawn from a grammar of ours, then mutated, sent to the application in process.

What must hold of every answer: no 500, no 503 without a reason, no trace, the security headers, within two seconds.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Self
from urllib.parse import quote_plus

from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site

TEXTS = (
    "", " ", "0", "-1", "1e309", "null", "true", "\x00", "\ufeff", "\u202e", "\u212a", "ß", "İ", "\U0001f600",
    "a" * 5000,
    ADA, "ADA@EXAMPLE.ORG", "@", "a@b", "%00", "%", "%zz", "../../etc/passwd", "//evil.example", "https://evil.example",
    "javascript:alert(1)", "<script>", "{{7*7}}", "' OR 1=1--", "$ne", "[]", "{}", "self", "s.x.y", "t.e30.e30",
    PASSWORD, "123456", "١٢٣٤٥٦", "１２３４５６", "x" * 72, "x" * 73, "é" * 40, "\r\nSet-Cookie: a=b", "=?utf-8?q?x?=",
)  # fmt: skip
NAMES = (
    "name", "password", "skey", "flow", "otptoken", "recovery_key", "recoveryKey", "setup_key", "provider", "next",
    "amount", "version", "reauthenticate", "state", "step", "token", "@vi-admin", "self", "name[]", "current_password",
)  # fmt: skip
TYPES = (
    "application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", "multipart/form-data",
    "text/plain", "", "application/x-www-form-urlencoded; charset=utf-16", "APPLICATION/JSON; charset=utf-8", "*/*",
)  # fmt: skip
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "BREW")
REQUIRED = ("content-security-policy", "x-content-type-options", "referrer-policy", "cache-control")

_A_WHILE = timedelta(minutes=16)


class Fuzzer:
    """Sends one drawn request after the other.

    Attributes:
        sent: The last request, to be repeated by hand.
        status: Its answer's.
    """

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._chance = random.Random(seed)
        self._paths = [*site.edge._paths, *site.edge._plain, "/", "/nothing", "/json", "/user/view/"]
        self._persons: list[Person] = []
        self._skeys: dict[int, str] = {}
        self.sent: object = None
        self.status = 0

    @classmethod
    async def made(cls, seed: int) -> Self:
        site = await make_site()
        await site.account_with_totp()
        await site.account("plain@example.org")
        fuzzer = cls(site, seed)
        await fuzzer._meet()
        return fuzzer

    async def _meet(self) -> None:
        """Begin anew with a stranger, somebody who owes a code, and somebody who is logged in."""
        self._site.clock.pass_by(_A_WHILE)
        stranger = self._site.person()
        await stranger.get("/user/login")
        pending, _ = await self._site.pending()
        inside = await self._site.logged_in("plain@example.org")
        self._persons = [stranger, pending, inside]
        for person in self._persons:
            person.address = ".".join(str(self._chance.randrange(1, 255)) for _ in range(4))
        self._skeys = {id(person): await person.skey() for person in self._persons}

    async def once(self) -> str:
        """Send a request; return what is wrong with the answer, or nothing."""
        if self._chance.random() < 0.005:
            await self._meet()
        person = self._chance.choice(self._persons)
        method, path, headers, body = self._drawn(person)
        self.sent = (method, path, headers, body[:2000], dict(person.cookies))
        cookies = dict(person.cookies)
        if self._chance.random() < 0.05:
            person.cookies = {name: self._mutated(value) for name, value in cookies.items()}
        began = time.monotonic()
        try:
            page = await person.request(method, path, body=body, headers=headers)
        except Exception as error:
            return f"raised {type(error).__name__}: {error}"
        finally:
            person.cookies = cookies
        self.status = page.status
        return self._judged(page, time.monotonic() - began)

    def _judged(self, page: Page, seconds: float) -> str:
        if page.status >= 500:
            return f"answered {page.status}"
        if b"Traceback" in page.body:
            return "shows a trace"
        missing = [name for name in REQUIRED if not page.header(name)]
        if missing:
            return f"lacks {missing}"
        if any(name in ("x-evil", "set-cookie") and value == "a=b" for name, value in page.headers):
            return "lets headers be injected"
        if (page.location and not page.location.startswith("/")) or page.location.startswith("//"):
            return f"leads to {page.location}"
        return "" if seconds < 2 else f"took {seconds:.1f} s"

    # --- Drawing ------------------------------------------------------------------------------------------------------

    def _drawn(self, person: Person) -> tuple[str, str, dict[str, str], bytes]:
        chance = self._chance
        method = chance.choices(METHODS, [30, 60, 2, 1, 1, 1, 1, 1, 1, 1])[0]
        path = chance.choice(self._paths).replace("*", chance.choice(["self", "x", "%2e%2e", "a" * 200, "é"]))
        if chance.random() < 0.1:
            path = self._mutated(path)
        path = path.replace("?", "").replace("#", "") or "/"
        if not path.startswith("/"):
            path = "/" + path
        path = "".join(c if c.isascii() and c.isprintable() and c != " " else "%41" for c in path)
        values = self._values(person)
        headers = {"content-type": chance.choices(TYPES, [60, 20, 5, 2, 2, 2, 2, 2, 2])[0]}
        if chance.random() < 0.1:
            headers["origin"] = chance.choice(
                ["null", "http://127.0.0.1:8000", "https://evil.example", "http://[", "é"]
            )
        if chance.random() < 0.05:
            headers["cookie"] = chance.choice(["authflow_session=x", "a" * 20000, "=;=;", "authflow_session=\x7f"])
        if chance.random() < 0.05:
            headers["sec-x-viur-staticskey"] = chance.choice(TEXTS[:10]).strip() or "x"
        headers = {name: value.encode("utf-8", "replace").decode("latin-1") for name, value in headers.items()}
        headers = {name: value.replace("\r", "").replace("\n", "") for name, value in headers.items()}
        encoded = self._encoded(headers["content-type"], values)
        if method in ("GET", "HEAD") or chance.random() < 0.1:
            return method, f"{path}?{_form(values)}", headers, b""
        if chance.random() < 0.15:
            encoded = self._broken(encoded)
        return method, path, headers, encoded

    def _values(self, person: Person) -> dict[str, str]:
        chance = self._chance
        names = chance.sample(NAMES, chance.randrange(0, 6))
        values = {name: self._text() for name in names}
        if chance.random() < 0.8:
            values["skey"] = self._skeys[id(person)]
        return values

    def _text(self) -> str:
        text = self._chance.choice(TEXTS)
        return self._mutated(text) if self._chance.random() < 0.2 else text

    def _mutated(self, text: str) -> str:
        chance = self._chance
        at = chance.randrange(len(text) + 1)
        match chance.randrange(4):
            case 0:
                return text[:at] + chr(chance.randrange(33, 127)) + text[at:]
            case 1:
                return text[:at] + text[at + 1 :]
            case 2:
                return text[:at] + text[at:] * 2
            case _:
                return text[:at] + text[at:].swapcase()

    def _broken(self, body: bytes) -> bytes:
        raw = bytearray(body)
        for _ in range(self._chance.randrange(1, 4)):
            at = self._chance.randrange(len(raw) + 1)
            raw[at:at] = bytes([self._chance.randrange(256)]) * self._chance.choice([1, 1, 2, 100])
        return bytes(raw[: self._chance.randrange(1, len(raw) + 1)])

    def _encoded(self, kind: str, values: Mapping[str, str]) -> bytes:
        if "json" in kind.lower():
            drawn = self._chance.random()
            if drawn < 0.1:
                return json.dumps([values]).encode()
            if drawn < 0.2:
                return b"[" * 2000 + b"]" * 2000
            return json.dumps({**values, "more": self._chance.choice([1, 1.5, None, True, "x"])}).encode()
        if kind.startswith("multipart"):
            parts = (f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in values.items())
            return ("".join(parts) + "--x--\r\n").encode()
        return _form(values).encode()


def _form(values: Mapping[str, str]) -> str:
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in values.items())
