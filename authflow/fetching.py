"""Asking remote parties: bounded in time and size, counted at the seam, kept as HTTP's own rules say.

Only here httpx is used, and it is imported at the first call: who never asks anybody never pays for it.

- An answer is asked for over https with the certificate verified; plain http is for this machine alone.
- Everything takes 2 s at most and 256 KB at most, no redirect is followed, no cookie kept, no proxy taken from the
  environment. Whatever is not an answer of status 200 that holds one strict JSON object is `FetchFailed`.
- What was fetched is kept as long as its headers allow (RFC 9111). Many who ask at once cause one fetch, and after a
  failure nobody waits again for a second.
"""

from __future__ import annotations

import asyncio
import re
from asyncio import AbstractEventLoop, Task
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from authflow.errors import FetchFailed, FetchRefused
from authflow.freshness import lifetime
from authflow.guarding import off_the_clock
from authflow.model import Plain
from authflow.seam import Seam
from authflow.settings import is_loopback
from authflow.strict_json import read_object

if TYPE_CHECKING:
    from ssl import SSLContext

    import httpx

MAX_BYTES = 256 * 1024
MAX_KEPT = 64
"""Addresses whose answers or failures are remembered; the one not asked for longest is forgotten."""
FAILURE_LASTS = timedelta(seconds=1)
FRESH_INTERVAL = timedelta(seconds=10)

_REASON = re.compile(r"[A-Za-z0-9._:/-]{1,64}", re.ASCII)
"""What a party may call its reason for refusing a form; all that RFC 6749 and what builds on it call theirs fits."""


@dataclass(slots=True)
class _Kept:
    """What is remembered of one address."""

    answer: Mapping[str, Plain] | None = None
    came_at: datetime | None = None
    lasts: timedelta = timedelta(0)
    failed_at: datetime | None = None
    failure: str = ""
    asked_fresh_at: datetime | None = None

    def is_fresh(self, now: datetime) -> bool:
        return self.answer is not None and _is_within(self.came_at, self.lasts, now)


def _is_within(since: datetime | None, span: timedelta, now: datetime) -> bool:
    # A clock that was put back makes the age negative: that is no reason to believe anything longer.
    return since is not None and timedelta(0) <= now - since < span


@dataclass(slots=True)
class _OnLoop:
    """What belongs to one event loop: connections, and the fetches that are under way."""

    transport: httpx.AsyncHTTPTransport | None = None
    flights: dict[str, Task[Mapping[str, Plain]]] = field(default_factory=dict)


class HttpFetching:
    """See `provider.Fetching`, which this is one of.

    Args:
        seam: Every call goes through it, with the host as its only detail.
        clock: Says how old an answer is.
        patience: Seconds until an answer must be there as a whole.
        tls: Instead of the usual trusted authorities, for a party with a certificate of its own.
    """

    def __init__(
        self, seam: Seam, clock: Callable[[], datetime], *, patience: float = 2.0, tls: SSLContext | None = None
    ) -> None:
        self._seam = seam
        self._clock = clock
        self._patience = patience
        self._tls = tls
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._loops: WeakKeyDictionary[AbstractEventLoop, _OnLoop] = WeakKeyDictionary()

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        """Return the JSON object at an address, from what is kept where its headers allow.

        Args:
            fresh: Ask even if an answer is kept, since something newer is said to be there. Done at most once in
                ten seconds for an address: whoever can say so could otherwise make us ask at will. Who comes while it
                is done waits for it. When it is not done, or fails, what is kept is returned.

        Raises:
            FetchFailed: Nothing usable is kept, and the party did not answer as it should, now or a second ago.
        """
        host, now = _host(url), self._clock()
        kept = self._remembered(url)
        is_due = not _is_within(kept.asked_fresh_at, FRESH_INTERVAL, now)
        if fresh and (is_due or url in self._here().flights):
            kept.asked_fresh_at = now if is_due else kept.asked_fresh_at
            try:
                return deepcopy(await self._one_flight(url, host))
            except FetchFailed:
                pass
        if kept.answer is not None and kept.is_fresh(self._clock()):
            return deepcopy(kept.answer)
        if _is_within(kept.failed_at, FAILURE_LASTS, self._clock()):
            raise FetchFailed(kept.failure)
        return deepcopy(await self._one_flight(url, host))

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        """Send a form and return the JSON object that is answered. Never kept, never sent twice.

        Raises:
            FetchRefused: The party has refused what it was sent, and says why.
            FetchFailed: The party did not answer as it should. Whether it received the form is unknown.
        """
        host, transport = _host(url), await self._transport()
        ask = partial(self._ask, transport, "POST", url, host, values)
        answer, _ = await self._seam.call("fetch", "post", (host,), ask)
        return answer

    async def close(self) -> None:
        """Let go of the connections of this event loop; fetches under way fail."""
        here = self._loops.pop(asyncio.get_running_loop(), None)
        if here is None:
            return
        flights = list(here.flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        if here.transport is not None:
            await here.transport.aclose()

    # --- One fetch for all who ask ------------------------------------------------------------------------------------

    def _here(self) -> _OnLoop:
        return self._loops.setdefault(asyncio.get_running_loop(), _OnLoop())

    def _remembered(self, url: str) -> _Kept:
        kept = self._kept.setdefault(url, _Kept())
        self._kept.move_to_end(url)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return kept

    async def _one_flight(self, url: str, host: str) -> Mapping[str, Plain]:
        flights = self._here().flights
        flight = flights.get(url)
        if flight is None:
            # A task of its own: a caller who goes away must not take the answer from the others.
            flight = flights[url] = asyncio.create_task(self._fetch(url, host))
            flight.add_done_callback(lambda done: _landed(flights, url, done))
        is_ready = self._here().transport is not None
        try:
            with nullcontext() if is_ready else off_the_clock():
                return await asyncio.shield(flight)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if flight.cancelled() and not (caller and caller.cancelling()):
                raise FetchFailed(f"{host}: given up, since the application closes") from None
            raise

    async def _fetch(self, url: str, host: str) -> Mapping[str, Plain]:
        try:
            ask = partial(self._ask, await self._transport(), "GET", url, host, None)
            answer, lasts = await self._seam.call("fetch", "get", (host,), ask)
        except FetchFailed as error:
            kept = self._remembered(url)
            kept.failed_at, kept.failure = self._clock(), error.detail
            raise
        kept = self._remembered(url)
        kept.answer, kept.came_at, kept.lasts = (answer if lasts else None), self._clock(), lasts
        kept.failed_at = None
        return answer

    # --- One request --------------------------------------------------------------------------------------------------

    async def _transport(self) -> httpx.AsyncHTTPTransport:
        here = self._here()
        if here.transport is None:
            # In a thread and before a fetch's patience begins: importing httpx and reading the trusted authorities take
            # longer than most answers, on the smallest instances seconds.
            with off_the_clock():
                made = await asyncio.to_thread(_make_transport, self._tls)
            here.transport = here.transport or made
        return here.transport

    async def _ask(
        self,
        transport: httpx.AsyncHTTPTransport,
        method: str,
        url: str,
        host: str,
        values: Mapping[str, str] | None,
    ) -> tuple[Mapping[str, Plain], timedelta]:
        """Return the answer and how long it may be kept. What is raised names the host, never the query or the body."""
        import httpx

        try:
            async with asyncio.timeout(self._patience):
                return await _exchange(transport, method, url, values, self._patience)
        except TimeoutError:
            raise FetchFailed(f"{host}: no whole answer within {self._patience:g} s") from None
        except _Refusal as error:
            raise FetchRefused(f"{host}: {error}", error.reason) from None
        except _NoAnswer as error:
            raise FetchFailed(f"{host}: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            # Neither chained nor quoted: what httpx raises holds the request with its whole address.
            raise FetchFailed(f"{host}: {type(error).__name__}") from None


class _NoAnswer(Exception):
    """What came is not an answer as it should be; the text says in what, without a word of it."""


class _Refusal(_NoAnswer):
    """The party says itself that what it was sent is wrong, and by which code."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


def _make_transport(tls: SSLContext | None) -> httpx.AsyncHTTPTransport:
    import httpx

    # The transport alone, not httpx's client: that one would keep cookies of one person's answer for the next person's
    # request, and write whole addresses to its log.
    return httpx.AsyncHTTPTransport(verify=tls or True, trust_env=False, limits=httpx.Limits(max_connections=20))


async def _exchange(
    transport: httpx.AsyncHTTPTransport, method: str, url: str, values: Mapping[str, str] | None, patience: float
) -> tuple[Mapping[str, Plain], timedelta]:
    import httpx

    request = httpx.Request(
        method,
        url,
        # Not compressed: a small body could unfold to any size.
        headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "authflow"},
        data=values,
        extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), patience)},
    )
    response = await transport.handle_async_request(request)
    try:
        if response.status_code != 200 and (response.status_code != 400 or values is None):
            raise _NoAnswer(f"status {response.status_code}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise _NoAnswer("an encoded body, which was not asked for")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BYTES:
                raise _NoAnswer(f"more than {MAX_BYTES} bytes")
    finally:
        await response.aclose()
    try:
        found = read_object(bytes(body))
    except ValueError as error:
        raise _NoAnswer("status 400" if response.status_code == 400 else str(error)) from None
    if response.status_code == 400:
        reason = found.get("error")
        if not isinstance(reason, str) or not _REASON.fullmatch(reason):
            raise _NoAnswer("status 400")
        raise _Refusal("status 400", reason)
    return found, lifetime(response.headers.multi_items())


def _landed(flights: dict[str, Task[Mapping[str, Plain]]], url: str, done: Task[Mapping[str, Plain]]) -> None:
    flights.pop(url, None)
    if not done.cancelled():
        done.exception()  # Looked at, so that nobody warns of it where all callers have gone away.


def _host(url: str) -> str:
    """Return the host of an address that may be asked."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise FetchFailed("an address that cannot be read") from None
    if not host or parts.username is not None or not _may_be_asked(parts.scheme, url):
        raise FetchFailed("only https addresses are asked, without a user; http on this machine alone")
    return host if port is None else f"{host}:{port}"


def _may_be_asked(scheme: str, url: str) -> bool:
    return scheme == "https" or (scheme == "http" and is_loopback(url))
