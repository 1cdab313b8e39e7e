"""Reading ID tokens: signed statements of an issuer about who somebody is (OpenID Connect Core 1.0, RFC 7519).

An issuer publishes its keys as a JSON Web Key Set, or, as Google does too, as certificates by key id.

The only door to google-auth's code for JSON Web Tokens, of which the verification by a certificate is used, imported at
the first token. Its reading of the claims is not: it goes by its own clock, takes the last of two equal names, drops
characters that do not belong in base64, and quotes the token in its errors.

A token is refused before anything of it is believed: form, algorithm, key, signature, and only then what it says.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeGuard

from authflow.errors import ContractViolation, FetchFailed
from authflow.guarding import off_the_clock
from authflow.json_web_keys import KEY_TYPES, Verifier, find_key, is_key_set, read_key
from authflow.model import Plain
from authflow.provider import Fetching
from authflow.provider import IdTokenRefused as IdTokenRefused
from authflow.strict_json import read_object

MAX_LENGTH = 16 * 1024
LONGEST_LIFE = timedelta(hours=24)
SKEW = timedelta(seconds=10)
"""How far the issuer's clock may be ahead of ours."""
MAX_SUBJECT = 255

# RFC 7515, section 7.1: three parts of base64url without padding.
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


async def read_id_token(
    token: str, *, fetching: Fetching, certs_url: str, issuers: frozenset[str], audience: str, now: datetime,
    algorithm: str = "RS256",
) -> Mapping[str, Plain]:  # fmt: skip
    """Return the claims of an ID token once everything about it is as it must be.

    Args:
        fetching: Gets the issuer's keys; keeps them.
        certs_url: Where they are: a JSON Web Key Set, or a JSON object of key id to X.509 certificate in PEM.
        issuers: The accepted values of `iss`.
        audience: Whom the token must be made for, and nobody besides.
        now: The engine's time.
        algorithm: The one that the issuer signs with: RS256, or ES256 with a key set.

    Returns:
        All claims. `nonce`, `hd` and `email_verified` are not judged here. Where there is an `azp`, it is the audience,
        or the subject itself: a service account's token names its own account so.

    Raises:
        IdTokenRefused: The token is not as it must be; `code` says in what.
        FetchFailed: The keys cannot be had, or are none.
        ContractViolation: No such algorithm is known.
    """
    if algorithm not in KEY_TYPES:
        raise ContractViolation(f"ID tokens are signed with one of {', '.join(KEY_TYPES)}")
    # 1. Size, before anything is taken apart.
    if len(token) > MAX_LENGTH:
        raise IdTokenRefused("too long", code="id_token_malformed")
    # 2. Form: three parts, the first two strict JSON objects.
    found = _COMPACT.fullmatch(token)
    if found is None:
        raise IdTokenRefused("not three parts of base64url", code="id_token_malformed")
    header, claims = _object(found[1]), _object(found[2])
    signature = _decoded(found[3])
    # RFC 7515, section 4.1.11: what must be understood and is not makes the whole token invalid.
    if "crit" in header:
        raise IdTokenRefused("a critical extension", code="id_token_malformed")
    # 3. Algorithm: the one, never what the token wishes (RFC 8725, section 3.1).
    if header.get("alg") != algorithm:
        raise IdTokenRefused(f"not {algorithm}", code="id_token_algorithm")
    # 4. Key: one that the issuer publishes.
    verifier = await _verifier(header.get("kid"), algorithm, fetching, certs_url)
    # 5. Signature, over the very characters that were taken apart.
    if not _is_signed(verifier, f"{found[1]}.{found[2]}".encode(), signature):
        raise IdTokenRefused("signature", code="id_token_signature")
    # 6. What it says.
    _demand_parties(claims, issuers, audience)
    _demand_times(claims, now)
    _demand_subject(claims)
    return claims


async def read_client_token(
    token: str, *, fetching: Fetching, certs_url: str, issuers: frozenset[str], audience: str, now: datetime,
    algorithm: str = "RS256",
) -> Mapping[str, Plain]:  # fmt: skip
    """Do what `read_id_token` does for a token that a person's client asked for: only that client may be its `azp`.

    Any service account can have Google sign a token for any audience; such a one is no login.

    Raises:
        IdTokenRefused, FetchFailed, ContractViolation: See `read_id_token`.
    """
    claims = await read_id_token(
        token, fetching=fetching, certs_url=certs_url, issuers=issuers, audience=audience, now=now, algorithm=algorithm
    )
    if claims.get("azp", audience) != audience:
        raise IdTokenRefused("made for another client", code="id_token_authorized_party")
    return claims


# --- Form -------------------------------------------------------------------------------------------------------------


def _object(part: str) -> Mapping[str, Plain]:
    try:
        return read_object(_decoded(part))
    except ValueError:
        raise IdTokenRefused("a part is not a strict JSON object", code="id_token_malformed") from None


def _decoded(part: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise IdTokenRefused("a part is not base64url", code="id_token_malformed") from None
    # The last character can hold bits that belong to nothing: one text for one token.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise IdTokenRefused("a part is not base64url", code="id_token_malformed")
    return raw


# --- Key and signature ------------------------------------------------------------------------------------------------


async def _verifier(kid: Plain, algorithm: str, fetching: Fetching, certs_url: str) -> Verifier:
    if not isinstance(kid, str) or not kid:
        raise IdTokenRefused("no key id", code="id_token_unknown_key")
    published = await fetching.get_json(certs_url)
    key = _published(published, kid, algorithm)
    if key is None:
        # A new key, perhaps; or something else was answered at the address, and kept.
        published = await fetching.get_json(certs_url, fresh=True)
        key = _published(published, kid, algorithm)
    if key is None:
        if not is_key_set(published) and not _are_certificates(published):
            raise FetchFailed("what the issuer publishes are no keys")
        raise IdTokenRefused("unknown key", code="id_token_unknown_key")
    try:
        with off_the_clock():  # The first one imports a library.
            if isinstance(key, str):
                return await asyncio.to_thread(_read_certificate, key)
            return await asyncio.to_thread(read_key, key, algorithm)
    except ValueError:
        raise FetchFailed("a key that the issuer publishes cannot be read") from None


def _published(published: Mapping[str, Plain], kid: str, algorithm: str) -> str | Mapping[str, Plain] | None:
    """Return the key of an id, as a certificate or as a JSON Web Key."""
    if is_key_set(published):
        return find_key(published, kid, algorithm)
    # Certificates are read for RS256 alone.
    if algorithm != "RS256" or not _are_certificates(published):
        return None
    certificate = published.get(kid)
    return certificate if isinstance(certificate, str) else None


def _are_certificates(found: Mapping[str, Plain]) -> bool:
    return bool(found) and all(isinstance(text, str) and _CERTIFICATE in text for text in found.values())


@lru_cache(maxsize=32)
def _read_certificate(pem: str) -> Verifier:
    """Take a certificate apart, once. Called in a thread: the first call imports the library.

    Raises:
        ValueError: It cannot be read.
    """
    from google.auth.crypt import RSAVerifier

    read: Callable[[str], Verifier] = RSAVerifier.from_string
    return read(pem)


def _is_signed(verifier: Verifier, text: bytes, signature: bytes) -> bool:
    try:
        return verifier.verify(text, signature)
    except TypeError:
        # The certificate holds a key of another kind, which takes other arguments.
        raise FetchFailed("the issuer's certificate holds no RSA key") from None


# --- What it says -----------------------------------------------------------------------------------------------------


def _demand_parties(claims: Mapping[str, Plain], issuers: frozenset[str], audience: str) -> None:
    issuer, audiences, party = claims.get("iss"), claims.get("aud"), claims.get("azp", audience)
    if not isinstance(issuer, str) or issuer not in issuers:
        raise IdTokenRefused("another issuer", code="id_token_issuer")
    if not audience or (audiences != audience and audiences != [audience]):
        raise IdTokenRefused("another audience", code="id_token_audience")
    if party != audience and (not isinstance(party, str) or party != claims.get("sub")):
        raise IdTokenRefused("another authorized party", code="id_token_authorized_party")


def _demand_times(claims: Mapping[str, Plain], now: datetime) -> None:
    issued, expires, earliest = claims.get("iat"), claims.get("exp"), claims.get("nbf", 0)
    if not _is_instant(issued) or not _is_instant(expires) or not _is_instant(earliest):
        raise IdTokenRefused("a time is missing or malformed", code="id_token_lifetime")
    if not 0 < expires - issued <= LONGEST_LIFE.total_seconds():
        raise IdTokenRefused("valid for too long, or never", code="id_token_lifetime")
    at = now.timestamp()
    if at >= expires:
        raise IdTokenRefused("expired", code="id_token_expired")
    if max(issued, earliest) > at + SKEW.total_seconds():
        raise IdTokenRefused("not valid yet", code="id_token_early")


def _is_instant(value: Plain) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _demand_subject(claims: Mapping[str, Plain]) -> None:
    # OpenID Connect Core 1.0, section 2: at most 255 ASCII characters.
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
        raise IdTokenRefused("the subject is missing, not text or too long", code="id_token_subject")
    if not (subject.isascii() and subject.isprintable()):
        raise IdTokenRefused("the subject is not ASCII", code="id_token_subject")
