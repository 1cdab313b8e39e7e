"""People who can use the examples, for certifying them: who holds the list, the device, the account elsewhere.

    authflow check-provider examples.passkey:Passkey --templates examples/templates

Each example names its person by `certification`. What they hold is made of software: a list that is read off the page,
a device that signs as a security key does, an issuer in this process. A new device or issuer is made for each person.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from authflow.certifying.kit import CannotBeShown, Kit
from authflow.errors import FetchFailed, FetchRefused
from authflow.federated import Assertion
from authflow.model import Credential, Plain
from authflow.provider import Ask, Provider, ProviderContext, Redirect, Subject

# --- The printed list -------------------------------------------------------------------------------------------------


class ListHolder(Kit):
    """Somebody with a list on paper, who takes the next code for each login."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self._codes: list[str] = []
        self._taken: dict[tuple[str, int], str] = {}

    async def confirm(self, ask: Ask, context: ProviderContext) -> Mapping[str, str]:
        codes = ask.params["codes"]
        self._codes = [str(code) for code in codes] if isinstance(codes, list) else []
        return {"otptoken": self._codes[0]}

    async def answer(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        place = (context.flow_id, context.step)
        if place not in self._taken:
            if len(self._taken) + 1 >= len(self._codes):
                raise CannotBeShown("all codes of the list are used")
            self._taken[place] = self._codes[len(self._taken) + 1]
        return {"otptoken": self._taken[place]}

    def secrets(self) -> Iterable[str]:
        return self._codes


# --- The passkey ------------------------------------------------------------------------------------------------------


@dataclass
class SoftwareDevice:
    """A device with one passkey, as WebAuthn sees it through the browser (sections 6.1, 6.5 and 5.8.1).

    Attributes:
        count: Its signature counter; None for a device that does not count.
        flags: Present (1) and verified (4), unless it is told otherwise.
    """

    count: int | None = 0
    flags: int = 0x05
    id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    user_handle: str = ""

    def create(self, options: Mapping[str, Any], origin: str, **changes: Any) -> str:
        """Make the passkey; return what the page's script sends."""
        self.user_handle = options["user"]["id"]
        numbers = self.key.public_key().public_numbers()
        point = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = bytes(16) + struct.pack(">H", len(self.id)) + self.id + _cbor(point)
        data = self._data(options["rp"]["id"], self.flags | 0x40) + attested
        statement = _cbor({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", options["challenge"], origin, changes)
        return self._sent({"clientDataJSON": _encode(client), "attestationObject": _encode(statement)})

    def get(self, options: Mapping[str, Any], origin: str, **changes: Any) -> str:
        """Sign a challenge; return what the page's script sends."""
        if self.count is not None:
            self.count += 1
        data = self._data(options["rpId"], self.flags)
        client = self._client("webauthn.get", options["challenge"], origin, changes)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        parts = {"clientDataJSON": client, "authenticatorData": data, "signature": signature}
        sent = {name: _encode(part) for name, part in parts.items()}
        return self._sent({**sent, "userHandle": self.user_handle})

    def _data(self, rp_id: str, flags: int) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + struct.pack(">BI", flags, self.count or 0)

    def _client(self, type_: str, challenge: str, origin: str, changes: Mapping[str, Any]) -> bytes:
        honest = {"type": type_, "challenge": challenge, "origin": origin, "crossOrigin": False}
        return json.dumps(honest | dict(changes)).encode()

    def _sent(self, response: Mapping[str, str]) -> str:
        id_ = _encode(self.id)
        whole = {"id": id_, "rawId": id_, "type": "public-key", "response": response, "clientExtensionResults": {}}
        return json.dumps(whole)


class PasskeyHolder(Kit):
    """Somebody with a device that signs."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self.device = SoftwareDevice()
        self._signed: dict[tuple[str, int], str] = {}

    async def confirm(self, ask: Ask, context: ProviderContext) -> Mapping[str, str]:
        return {"response": self.device.create(_options(ask), _origin(context))}

    async def answer(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        place = (context.flow_id, context.step)
        if place not in self._signed:
            self._signed[place] = self.device.get(_options(ask), _origin(context))
        return {"response": self._signed[place]}

    async def wrong(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        """Sign with another key, under the same name."""
        thief = SoftwareDevice(count=self.device.count, id=self.device.id, user_handle=self.device.user_handle)
        return {"response": thief.get(_options(ask), _origin(context))}


def _options(ask: Ask | Redirect) -> Mapping[str, Any]:
    options = ask.params.get("options") if isinstance(ask, Ask) else None
    if not isinstance(options, Mapping):
        raise CannotBeShown("the page is not told what to ask the browser for")
    return options


def _origin(context: ProviderContext) -> str:
    address = urlsplit(context.callback_url())
    return f"{address.scheme}://{address.netloc}"


def _cbor(value: Any) -> bytes:
    """Write what an authenticator writes (RFC 8949): whole numbers, octets, texts and maps."""
    match value:
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case dict():
            return _head(5, len(value)) + b"".join(_cbor(key) + _cbor(one) for key, one in value.items())
    raise TypeError(type(value))


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    return bytes([major << 5 | 24, number]) if number < 256 else bytes([major << 5 | 25]) + struct.pack(">H", number)


# --- The account elsewhere --------------------------------------------------------------------------------------------

ISSUER = "https://issuer.example.org"
CLIENT = "the client"
CLIENT_SECRET = "the secret of the client"


@lru_cache(maxsize=1)
def _issuers_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


class IssuerInProcess:
    """An OpenID issuer that answers instead of a network: hands out codes, and exchanges each once for an ID token.

    Attributes:
        changes: Claims that its tokens have instead of the honest ones; None leaves one out.
        is_down: It does not answer.
        asked: The addresses that were asked for.
    """

    def __init__(self) -> None:
        self.changes: dict[str, Any] = {}
        self.is_down = False
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, Any]] = {}

    def authorize(self, address: str, subject: str, now: datetime, **claims: Any) -> dict[str, str]:
        """Do what a browser finds there; return the query that it is sent back with, without `state`."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code, seconds = secrets.token_urlsafe(16), int(now.timestamp())
        honest = {
            "iss": ISSUER, "aud": asked["client_id"], "sub": subject, "nonce": asked["nonce"], "iat": seconds,
            "exp": seconds + 600,
        }  # fmt: skip
        self._codes[code] = {"asked": asked, "claims": honest | claims}
        return {"code": code, "iss": ISSUER}

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        self._reached(url)
        numbers = _issuers_key().public_key().public_numbers()
        key: dict[str, Plain] = {"kty": "RSA", "kid": "1", "n": _number(numbers.n), "e": _number(numbers.e)}
        return {"keys": [key]}

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        self._reached(url)
        found = self._codes.pop(values.get("code", ""), None)
        digest = hashlib.sha256(values.get("code_verifier", "").encode()).digest()
        if (
            found is None
            or values.get("client_secret") != CLIENT_SECRET
            or values.get("redirect_uri") != found["asked"]["redirect_uri"]
            or _encode(digest) != found["asked"]["code_challenge"]
        ):
            raise FetchRefused("issuer.example.org: status 400", "invalid_grant")
        access = secrets.token_urlsafe(16)
        hashed = _encode(hashlib.sha256(access.encode()).digest()[:16])
        claims = {**found["claims"], "at_hash": hashed, **self.changes}
        token = self._token({name: value for name, value in claims.items() if value is not None})
        return {"id_token": token, "access_token": access, "token_type": "Bearer"}

    def _reached(self, url: str) -> None:
        self.asked.append(url)
        if self.is_down:
            raise FetchFailed("issuer.example.org: ConnectError")

    def _token(self, claims: Mapping[str, Any]) -> str:
        parts = ({"alg": "RS256", "kid": "1"}, claims)
        text = ".".join(_encode(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_encode(_issuers_key().sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


class Colleague(Kit):
    """Somebody with an account at the issuer, which is connected to the account here."""

    settings: ClassVar[Mapping[str, str]] = {
        "oidc_client_id": CLIENT,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_issuer": ISSUER,
        "oidc_authorization_endpoint": f"{ISSUER}/auth",
        "oidc_token_endpoint": f"{ISSUER}/token",
        "oidc_jwks_uri": f"{ISSUER}/jwks",
    }

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self.fetching: IssuerInProcess = IssuerInProcess()
        self.subject = secrets.token_hex(8)

    async def equip(self, context: ProviderContext) -> Credential:
        if context.account is None:
            raise CannotBeShown("there is no account to connect")
        return Assertion(ISSUER, self.subject).to_credential(context.account, self.provider.name, context)

    async def answer(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        if not isinstance(ask, Redirect):
            raise CannotBeShown("nobody is sent to the issuer")
        return self.fetching.authorize(ask.url, self.subject, context.now)

    def found_by(self) -> Subject:
        return Subject(ISSUER, self.subject)

    def secrets(self) -> Iterable[str]:
        return (CLIENT_SECRET,)


def _number(value: int) -> str:
    return _encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
