"""Who calls a task endpoint: proofs that a call comes from the queue or the clock that the settings name.

Two kinds of proof exist. On App Engine, headers that its front end takes away from every call from outside; they are
believed there and nowhere else. Elsewhere, an identity token that Google signs for the one service account. All other
headers of tasks (`X-CloudTasks-*`), and every other spelling of these, can be sent by anybody and mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Protocol, TypeAlias

from authflow.errors import Forbidden
from authflow.id_tokens import IdTokenRefused, read_id_token
from authflow.provider import Fetching
from authflow.settings import Settings

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""

GOOGLE_CERTIFICATES = "https://www.googleapis.com/oauth2/v1/certs"
ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})

_OF_BROWSERS = frozenset({b"cookie", b"origin", b"sec-fetch-site", b"sec-fetch-mode"})


class Origin(Protocol):
    """A proof that calls must carry."""

    async def prove(self, headers: RawHeaders) -> None:
        """Accept a call.

        Raises:
            Forbidden: It carries no proof; `code` says what is wrong with it, for the log.
            FetchFailed: The proof cannot be judged just now.
        """


@dataclass(frozen=True, slots=True)
class Origins:
    """Who may deliver tasks, and who may tell that it is time for a sweep."""

    queue: Origin
    clock: Origin


def origins(
    settings: Settings, fetching: Fetching, clock: Callable[[], datetime], *, certs_url: str = GOOGLE_CERTIFICATES
) -> Origins:
    """Choose the proofs of a deployment with Cloud Tasks.

    Args:
        fetching: Gets the certificates that tokens are verified with.
        certs_url: Where they are, instead of Google's own.
    """
    queue = settings.cloud_tasks
    account = ServiceAccount(queue.service_account, settings.base_url, fetching, clock, certs_url)
    if not settings.on_app_engine:
        return Origins(account, account)
    if queue.service_account:
        return Origins(account, AppEngineClock())
    # An emulator calls the queue by its full name.
    names = {queue.queue, queue.path} if settings.tasks_emulator else {queue.queue}
    return Origins(AppEngineQueue(names), AppEngineClock())


def demand_program(headers: RawHeaders) -> None:
    """Refuse whatever a browser would send: no page, and no administrator's session, can call a task endpoint.

    Raises:
        Forbidden: The call has a header of browsers.
    """
    if any(name in _OF_BROWSERS for name, _ in headers):
        raise Forbidden("a browser's header", code="task_call_by_browser")


@dataclass(frozen=True, slots=True)
class AppEngineQueue:
    """App Engine's own word for the queue a task comes from. For use where App Engine's front end stands before us.

    Args:
        names: What the queue may be called.
    """

    names: Collection[str]

    async def prove(self, headers: RawHeaders) -> None:
        if _single(headers, b"x-appengine-queuename") not in {name.encode() for name in self.names}:
            raise Forbidden("not from our queue", code="task_origin_unproved")


@dataclass(frozen=True, slots=True)
class AppEngineClock:
    """App Engine's own word that its cron calls. For use where App Engine's front end stands before us."""

    async def prove(self, headers: RawHeaders) -> None:
        if _single(headers, b"x-appengine-cron") != b"true":
            raise Forbidden("not from cron", code="task_origin_unproved")


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """An identity token of one service account, made for us (OpenID Connect Core 1.0, section 2; RFC 6750).

    Args:
        email: The account.
        audience: Us: our origin.
        fetching, clock: What the token is judged with.
        certs_url: Where the issuer's certificates are.
    """

    email: str
    audience: str
    fetching: Fetching
    clock: Callable[[], datetime]
    certs_url: str = GOOGLE_CERTIFICATES

    async def prove(self, headers: RawHeaders) -> None:
        scheme, _, token = _single(headers, b"authorization").partition(b" ")
        if scheme != b"Bearer" or not token.isascii():
            raise Forbidden("no bearer token", code="task_origin_unproved")
        try:
            claims = await read_id_token(
                token.decode(),
                fetching=self.fetching,
                certs_url=self.certs_url,
                issuers=ISSUERS,
                audience=self.audience,
                now=self.clock(),
            )
        except IdTokenRefused as error:
            raise Forbidden(error.detail, code=error.code) from None
        email = claims.get("email")
        # `True` itself: a text "true" is not what Google writes.
        if claims.get("email_verified") is not True or not isinstance(email, str):
            raise Forbidden("no verified address", code="task_origin_account")
        if not self.email or not compare_digest(email.encode(), self.email.encode()):
            raise Forbidden("another account", code="task_origin_account")


def _single(headers: RawHeaders, name: bytes) -> bytes:
    """Return the one value of a header; empty when it is absent or was sent twice, which nobody honest does."""
    values = [value for key, value in headers if key == name]
    return values[0] if len(values) == 1 else b""
