"""A served instance as ViUR's programs find it, with people in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from authflow.testing.devices import totp, typed_secret
from tests.parts.front import Front
from tests.parts.server import Server

PASSWORD = "correct horse battery"
SECRET = bytes(range(20, 40))


@dataclass(frozen=True)
class House:
    """Where it is, and an operator's hands on it.

    Attributes:
        url: What the programs are told.
    """

    front: Front
    server: Server

    @property
    def url(self) -> str:
        return self.front.origin

    def add_person(
        self, name: str, *, is_admin: bool = False, with_totp: bool = False, roles: tuple[str, ...] = ()
    ) -> str:
        """Make an active account whose password is `PASSWORD`; with TOTP its app has `SECRET`. Return its id."""

        async def make() -> str:
            async with self.server.application() as app:
                operator = app.administration
                account = await operator.create(name, password=PASSWORD, is_active=True, is_admin=is_admin, roles=roles)
                if with_totp:
                    await operator.add_token(name, "1", SECRET.hex(), interval=30)
                return account.id

        # In a thread of its own: a test that holds a browser has an event loop in this one.
        with ThreadPoolExecutor(1) as hands:
            return hands.submit(asyncio.run, make()).result()

    def enrol(self, name: str, factor: str) -> bytes:
        """Enrol an app as its owner does, who may have one with `SECRET` already; return the app's secret.

        Recovery codes come with the first factor that is enrolled so.
        """
        with httpx.Client(base_url=self.url) as owner:
            if self._post(owner, "/json/user/auth_userpassword/login", name=name, password=PASSWORD) != "OKAY":
                self._post(owner, "/json/user/f2_timebasedotp/otp", otptoken=totp(SECRET))
            begun = self._post(owner, f"/json/user/{factor}/add")["params"]
            secret = typed_secret(begun["secret"])
            self._post(owner, f"/json/user/{factor}/add", otptoken=totp(secret), flow=begun["flow"])
        return secret

    @staticmethod
    def _post(owner: httpx.Client, path: str, **fields: str) -> Any:
        answer = owner.post(path, data={**fields, "skey": owner.get("/json/skey").json()})
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.contextmanager
def open_house(
    *,
    pages: dict[str, Path] | None = None,
    environment: Mapping[str, str] | None = None,
    modules: Mapping[str, str] | None = None,
) -> Iterator[House]:
    """Serve an instance behind a proxy that remembers what it was asked."""
    with (
        Front(pages=pages) as front,
        Server(environment={"AUTHFLOW_BASE_URL": front.origin, **(environment or {})}, modules=modules) as server,
    ):
        front.goes_to(server.port)
        yield House(front, server)
