"""Our three cookies: what their texts are, how they are read and how they are set.

A cookie that is malformed, doubled, too long or not signed by us counts as absent: whoever sends it is anonymous, and
no error tells more. Nothing is keyed by a cookie's text (its base64 is lenient), only by what was signed within.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from authflow.errors import ContractViolation
from authflow.settings import Settings
from authflow.tokens import Keyring, digest
from authflow.web.headers import header_values

if TYPE_CHECKING:
    from starlette.types import Scope

BROWSER_AGE = timedelta(hours=24)
DEVICE_AGE = timedelta(days=180)
MAX_DEVICES = 4
"""Accounts that one browser can be a known device of."""

_MAX_HEADER = 16 * 1024
_MAX_COOKIE = 4095
_JOINT = "~"
# RFC 6265, section 4.1.1. A value outside of it could end the cookie or the header.
_OCTETS = re.compile(r"[!#-+\--:<-\[\]-~]*")


@dataclass(frozen=True, slots=True)
class SessionToken:
    """What the session cookie holds.

    Attributes:
        account_id: Lets session and account come in one look-up; empty before anybody is known. The session record
            decides, not this.
    """

    secret: str = field(repr=False)
    account_id: str = ""

    @property
    def session_id(self) -> str:
        """The key of the session's record: SHA-256 of the secret."""
        return digest(self.secret)


@dataclass(frozen=True, slots=True)
class DeviceToken:
    """Says that somebody logged in to an account from this browser before.

    Attributes:
        epoch: The account's epoch it was made under; it dies with it.
        issued_at: Whole seconds since 1970.
    """

    device_id: str
    account_id: str
    epoch: int
    issued_at: int


class BrowserCookies:
    """The cookies of one request, decoded when asked for."""

    __slots__ = ("_jar", "_raw", "_session")

    def __init__(self, jar: CookieJar, raw: dict[str, str]) -> None:
        self._jar = jar
        self._raw = raw
        self._session: SessionToken | None | _NotRead = _NOT_READ

    @property
    def session(self) -> SessionToken | None:
        if isinstance(self._session, _NotRead):
            raw = self._raw.get(self._jar.session_name)
            self._session = None if raw is None else self._jar.read_session(raw)
        return self._session

    @property
    def browser_id(self) -> str | None:
        raw = self._raw.get(self._jar.browser_name)
        return None if raw is None else self._jar.read_browser(raw)

    def devices(self, now: datetime) -> tuple[DeviceToken, ...]:
        """Return the device tokens that are younger than 180 days."""
        raw = self._raw.get(self._jar.device_name)
        return () if raw is None else self._jar.read_devices(raw, now)


class _NotRead:
    pass


_NOT_READ = _NotRead()


class CookieJar:
    """Reads and makes our cookies. Made once per app."""

    def __init__(self, keyring: Keyring, settings: Settings) -> None:
        # `__Host-` (RFC 6265bis, section 4.1.3.2): no sub-domain and no page over http can plant one.
        prefix = "__Host-" if settings.is_secure else "authflow_"
        self.session_name = prefix + "session"
        self.browser_name = prefix + "browser"
        self.device_name = prefix + "device"
        self._flags = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if settings.is_secure else "")
        self._session_signer = keyring.signer("session cookie")
        self._browser_signer = keyring.signer("browser cookie")
        self._device_signer = keyring.signer("device")
        # Exact names and RFC 6265's two kinds of blank: parsers that strip more, fold case or honour `$Version` let a
        # planted cookie pass for a prefixed one. One pattern costs the same for a header of a thousand semicolons.
        names = "|".join(map(re.escape, (self.session_name, self.browser_name, self.device_name)))
        self._pattern = re.compile(rf"(?:^|;)[ \t]*({names})[ \t]*=([^;]*)")

    def read(self, scope: Scope) -> BrowserCookies:
        """Find our cookies in a request. Nothing is decoded yet."""
        found: dict[str, str] = {}
        # HTTP/2 may send one header for each cookie (RFC 9113, section 8.2.3).
        header = b";".join(header_values(scope, b"cookie"))
        if header and len(header) <= _MAX_HEADER:
            doubled = set()
            for name, value in self._pattern.findall(header.decode("latin-1")):
                if name in found:
                    doubled.add(name)
                found[name] = value.strip(" \t")
            for name in doubled:
                del found[name]
        return BrowserCookies(self, found)

    # --- Decoding -----------------------------------------------------------------------------------------------------

    def read_session(self, raw: str) -> SessionToken | None:
        """Read the text of a session cookie."""
        text = self._session_signer.unsign(raw) if len(raw) <= _MAX_COOKIE else None
        if text is None:
            return None
        secret, dot, account_id = text.partition(".")
        return SessionToken(secret, account_id) if secret and dot else None

    def read_browser(self, raw: str) -> str | None:
        """Read the text of a browser cookie."""
        return (self._browser_signer.unsign(raw) or None) if len(raw) <= _MAX_COOKIE else None

    def read_devices(self, raw: str, now: datetime) -> tuple[DeviceToken, ...]:
        """Read the text of a device cookie, without the tokens that are too old or not ours."""
        if len(raw) > _MAX_COOKIE:
            return ()
        oldest = (now - DEVICE_AGE).timestamp()
        tokens = []
        for part in raw.split(_JOINT, MAX_DEVICES)[:MAX_DEVICES]:
            token = _to_device(self._device_signer.unsign(part))
            if token is not None and token.issued_at > oldest:
                tokens.append(token)
        return tuple(tokens)

    # --- Making -------------------------------------------------------------------------------------------------------

    def session_cookie(self, token: SessionToken) -> str:
        """Return the `Set-Cookie` value of a session. It has no age: the record's lifetimes decide."""
        return self._cookie(self.session_name, self._session_signer.sign(f"{token.secret}.{token.account_id}"))

    def clear_session(self) -> str:
        """Return the `Set-Cookie` value that removes the session cookie."""
        return self._cookie(self.session_name, "", timedelta(0))

    def browser_cookie(self, browser_id: str) -> str:
        """Return the `Set-Cookie` value of the pre-login browser cookie."""
        return self._cookie(self.browser_name, self._browser_signer.sign(browser_id), BROWSER_AGE)

    def device_cookie(self, devices: Iterable[DeviceToken]) -> str:
        """Return the `Set-Cookie` value of a browser's device tokens.

        Args:
            devices: The newest first, such as `(new, *cookies.devices(now))`. The first of each account is kept, of at
                most four accounts. None at all removes the cookie.
        """
        kept: dict[str, DeviceToken] = {}
        for device in devices:
            if len(kept) < MAX_DEVICES:
                kept.setdefault(device.account_id, device)
        value = _JOINT.join(
            self._device_signer.sign(f"{token.device_id}.{token.account_id}.{token.epoch}.{token.issued_at}")
            for token in kept.values()
        )
        return self._cookie(self.device_name, value, DEVICE_AGE if kept else timedelta(0))

    def _cookie(self, name: str, value: str, age: timedelta | None = None) -> str:
        if len(name) + len(value) > _MAX_COOKIE or not _OCTETS.fullmatch(value):
            raise ContractViolation(f"{name}: an id in this cookie is too long or not plain text")
        cookie = f"{name}={value}{self._flags}"
        return cookie if age is None else f"{cookie}; Max-Age={int(age.total_seconds())}"


def _to_device(text: str | None) -> DeviceToken | None:
    device_id, _, rest = (text or "").partition(".")
    match rest.rsplit(".", 2):
        case [account_id, epoch, issued_at] if epoch.isdecimal() and issued_at.isdecimal():
            return DeviceToken(device_id, account_id, int(epoch), int(issued_at))
    return None
