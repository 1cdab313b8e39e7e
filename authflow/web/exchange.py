"""One request: what it says, who sends it, and the current session, each read at most once and only if asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from hmac import compare_digest
from typing import TYPE_CHECKING

from authflow.errors import NotAuthenticated, ReauthenticationRequired, RequestTooSlow, SkeyInvalid
from authflow.model import Account
from authflow.sessions import Current, DeviceClaim, Visitor
from authflow.store.protocol import Key
from authflow.tokens import digest, new_id
from authflow.web.body import Values, read_values
from authflow.web.client import client_address, client_network, user_agent
from authflow.web.cookies import BrowserCookies
from authflow.web.csrf import binding_of, max_age_of, origin_is_ours, static_key_claim

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from authflow.web.app import Edge

SECRET_NAMES = frozenset(
    {"password", "current_password", "otptoken", "token", "recovery_key", "recoveryKey", "setup_key"}
)
"""Fields that are refused in the query of a request that changes something: queries are written to logs."""


PATIENCE = 20.0
"""Seconds for a body to arrive."""

VI = "/vi"
"""The prefix of ViUR's admin tools."""


class Exchange:
    """A request on its way through a handler.

    Attributes:
        prefix: The renderer's path prefix, such as `/json`; empty for pages.
        now: One instant for the whole request.
        key: What follows the route in the path, such as an entry's key.
        is_asking: This POST brings nothing and asks for the form it could fill in.
    """

    def __init__(self, edge: Edge, scope: Scope, receive: Receive, prefix: str = "", key: str = "") -> None:
        self.edge = edge
        self.scope = scope
        self.prefix = prefix
        self.key = key
        self.now: datetime = edge.app.services.clock()
        self._receive = receive
        self._values: Values | None = None
        self._current: Current | None = None
        self._cookies: BrowserCookies | None = None
        self._was_read = False
        self.is_asking = False
        self.new_browser_id = ""
        self.path = ""

    # --- What it says -------------------------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def is_post(self) -> bool:
        return self.method == "POST" and not self.is_asking

    @property
    def by_program(self) -> bool:
        """Whether a dialect for programs is spoken, rather than pages."""
        return bool(self.prefix)

    @property
    def speaks_strings(self) -> bool:
        """Whether ViUR's strings of 3.0 to 3.3 are spoken, rather than its envelope of today, or pages."""
        if self.prefix != VI:
            return self.by_program
        return self.edge.user.vi_dialect == "3.3" or self.context.get("vi-admin") == "true"

    def address(self, path: str) -> str:
        """Return where a path of ours is reached by this renderer: below the mount point and its prefix."""
        return path if "://" in path else f"{self.scope.get('root_path', '')}{self.prefix}{path}"

    async def read(self) -> None:
        """Read query and body, once.

        Raises:
            BadInput: And its kin; see `body.read_values`.
        """
        if self._values is not None:
            return
        if self.method != "POST":
            self._values = await read_values(self.scope, self._receive)
            return
        try:
            async with asyncio.timeout(PATIENCE):
                self._values = await read_values(self.scope, self._receive)
        except TimeoutError as error:
            raise RequestTooSlow("the body trickles") from error

    @property
    def values(self) -> Mapping[str, str]:
        """Query and body merged, as ViUR does."""
        return self._values.values if self._values is not None else {}

    @property
    def query(self) -> Mapping[str, str]:
        return self._values.query_only if self._values is not None else {}

    @property
    def context(self) -> Mapping[str, str]:
        """ViUR's context: what was sent under names that begin with `@`. No handler takes it for a value."""
        return self._values.context if self._values is not None else {}

    def get(self, name: str) -> str:
        return self.values.get(name, "")

    # --- Who sends it -------------------------------------------------------------------------------------------------

    @property
    def cookies(self) -> BrowserCookies:
        # Not `cached_property`: its lock costs as much as reading the header.
        if self._cookies is None:
            self._cookies = self.edge.jar.read(self.scope)
        return self._cookies

    @cached_property
    def visitor(self) -> Visitor:
        session, cookies = self.cookies.session, self.cookies
        devices = tuple(DeviceClaim(d.device_id, d.account_id, d.epoch) for d in cookies.devices(self.now))
        return Visitor(
            browser_id=cookies.browser_id or self.new_browser_id,
            session_id=session.session_id if session else "",
            account_id=session.account_id if session else "",
            devices=devices,
            network=client_network(client_address(self.scope, self.edge.app.settings)),
            agent=user_agent(self.scope),
        )

    @property
    def claimed_account_id(self) -> str:
        """Whose session the cookie speaks of; the session record decides."""
        session = self.cookies.session
        return session.account_id if session else ""

    def demand_browser(self) -> None:
        """Make sure that the browser has an id for flows that travel and for skeys; a new one goes out as a cookie."""
        if not self.cookies.browser_id and not self.new_browser_id:
            self.new_browser_id = new_id()
            self.__dict__.pop("visitor", None)

    async def current(self, *, also: Sequence[Key] = ()) -> Current | None:
        """Return session and account, read once in one lookup; None where nobody is logged in."""
        if not self._was_read:
            claim = self.cookies.session
            if claim is not None:
                self._current = await self.edge.app.engine.sessions.current(claim, self.now, also=also)
            self._was_read = True
        return self._current

    async def demand_current(self, *, also: Sequence[Key] = ()) -> Current:
        current = await self.current(also=also)
        if current is None:
            raise NotAuthenticated()
        return current

    async def demand_fresh(self) -> Current:
        """Return the session if its login is fresh enough for a change of credentials.

        Raises:
            NotAuthenticated: Nobody is logged in.
            ReauthenticationRequired: The login is too old.
        """
        current = await self.demand_current()
        at = current.session.authenticated_at
        if at is None or self.now - at >= self.edge.user.fresh_login_window:
            raise ReauthenticationRequired()
        return current

    async def account(self) -> Account | None:
        current = await self.current()
        return current.account if current else None

    @property
    def known_account(self) -> Account | None:
        """The account, if the session was read for this request already."""
        return self._current.account if self._current else None

    def as_reading(self) -> Exchange:
        """Return this request as if it had been a GET: for showing its form once more."""
        twin = Exchange(self.edge, {**self.scope, "method": "GET"}, self._receive, self.prefix, self.key)
        twin.path, twin.now, twin.new_browser_id = self.path, self.now, self.new_browser_id
        twin._values, twin._current, twin._was_read = self._values, self._current, self._was_read
        return twin

    def known_device(self, account: Account) -> DeviceClaim | None:
        """Return this browser's device claim under the account's raised epoch, if it had one that was valid."""
        for claim in self.visitor.devices:
            if claim.account_id == account.id and claim.epoch + 1 == account.epoch:
                return replace(claim, epoch=account.epoch)
        return None

    def adopt(self, twin: Exchange) -> None:
        """Take over what the twin has read, so that the page is made of it."""
        self._current, self._was_read = twin._current, twin._was_read

    # --- Anti-forgery -------------------------------------------------------------------------------------------------

    def skey(self) -> str:
        """Return a fresh skey for this browser, as it will be after this answer."""
        if self.cookies.session is None:
            self.demand_browser()
        binding = binding_of(self.cookies) or f"browser:{self.new_browser_id}"
        return self.edge.skeys.issue(binding, self.now)

    def demand_own_origin(self) -> None:
        """Refuse a request that somebody else's page sends.

        Raises:
            SkeyInvalid: It is such a one.
        """
        if not origin_is_ours(self.scope, self.edge.app.settings):
            raise SkeyInvalid("cross-site request")

    async def demand_skey(self) -> None:
        """Refuse a request that changes something unless it carries this browser's skey.

        Raises:
            SkeyInvalid: It carries none, a foreign one, an old one, or comes from somebody else's page.
        """
        self.demand_own_origin()
        skey = self.get("skey")
        binding = binding_of(self.cookies)
        if binding is not None and self.edge.skeys.check(skey, binding, self.now, max_age=max_age_of(binding)):
            return
        claim = static_key_claim(self.scope, skey) if self.by_program else None
        if claim is not None:
            current = await self.current()
            if current is not None and current.session.static_key and compare_digest(
                digest(claim), current.session.static_key
            ):  # fmt: skip
                return
        raise SkeyInvalid("no valid skey")
