"""Somebody with a name, a password, an authenticator and a browser, who does what people do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from authflow.testing.browser import ADDRESS, BASE_URL, AsgiApp, Browser
from authflow.testing.devices import Authenticator
from authflow.testing.page import Page

ADA = "ada@example.org"
PASSWORD = "correct horse battery"


class Person(Browser):
    """Somebody at a browser of their own.

    Args:
        address, headers, origin: See `Browser`.
        name, password: What they type unless told otherwise.
        device: The app or token they look at, where they have one.
    """

    def __init__(
        self,
        edge: AsgiApp,
        *,
        address: str = ADDRESS,
        headers: Mapping[str, str] | None = None,
        origin: str = BASE_URL,
        name: str = ADA,
        password: str = PASSWORD,
        device: Authenticator | None = None,
    ) -> None:
        super().__init__(edge, address=address, headers=headers, origin=origin)
        self.name = name
        self.password = password
        self.device = device

    def elsewhere(self, *, address: str = "", headers: Mapping[str, str] | None = None) -> Self:
        """Return the same person at another browser, which knows nothing of this one."""
        return type(self)(
            self.edge,
            address=address or self.address,
            headers=self.headers if headers is None else headers,
            origin=self.origin,
            name=self.name,
            password=self.password,
            device=self.device,
        )

    async def log_in(self, name: str | None = None, password: str | None = None, *, path: str = "/user/login") -> Page:
        """Send name and password from the login page; return the answer, which is not followed."""
        page = await self.get(path)
        typed_name = self.name if name is None else name
        typed_password = self.password if password is None else password
        return await self.send(page.form("login"), name=typed_name, password=typed_password)

    async def type_code(self, code: str | None = None) -> Page:
        """Type a code where the page at hand, or the one it leads to, asks for one; return the answer.

        Args:
            code: Else what the device shows.

        Raises:
            LookupError: Nothing asks for a code, or there is no device to look at.
        """
        page = await self.follow(self.here)
        forms = [form for form in page.forms if form.codes] or [form for form in page.forms if len(form.texts) == 1]
        if not forms:
            raise LookupError(f"no page asks for a code, but: {page.words[:500]}")
        if code is None:
            if self.device is None:
                raise LookupError(f"{self.name} has no device; say which code is typed")
            code = self.device.code()
        return await self.send(forms[0], **{(forms[0].codes or forms[0].texts)[0]: code})

    async def is_logged_in(self) -> bool:
        """Say whether this browser is shown the account that it belongs to. The page at hand stays."""
        before = self.page
        shown = await self.get("/json/user/view/self")
        self.page = before
        return shown.status == 200

    async def log_out(self) -> Page:
        """Log out by the page; return the answer."""
        return await self.send((await self.get("/user/logout")).form("logout"))
