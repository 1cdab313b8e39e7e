"""Kits that need nobody to write them: what a provider's powers and fields say is enough to use it.

Known are printed codes (`IssuesCodes`), passwords (`SetsPassword`), authenticator apps (an enrolment that shows an
`otpauth:` address, RFC 6238) and codes that are mailed (`Ask.delivery`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

from authflow.certifying.kit import CannotBeShown, Kit
from authflow.fields import Field, FieldType
from authflow.model import Credential
from authflow.powers import Enrols, IssuesCodes, SetsPassword
from authflow.provider import Ask, Provider, ProviderContext, Redirect

PASSWORD = "a Lantern carried over 7 bridges"


def known(provider: Provider, ask: Ask | Redirect) -> type[Kit] | None:
    """Return the kit for a provider that needs none of its own, or None.

    Args:
        ask: What it asks a person whom it does not know.
    """
    if not isinstance(ask, Ask):
        return None
    if isinstance(provider, SetsPassword) and _of_type(ask.fields, FieldType.PASSWORD):
        return PasswordKeeper
    if isinstance(provider, IssuesCodes) and _of_type(ask.fields, FieldType.CODE):
        return CodeHolder
    if ask.delivery is not None and _of_type(ask.fields, FieldType.CODE):
        return Reader
    if isinstance(provider, Enrols) and _of_type(ask.fields, FieldType.CODE):
        return AppOwner
    return None


class _Fields(Kit):
    def _values(self, ask: Ask | Redirect, context: ProviderContext, proof: Mapping[FieldType, str]) -> dict[str, str]:
        if not isinstance(ask, Ask):
            raise CannotBeShown("a remote party is asked")
        values: dict[str, str] = {}
        for field in ask.fields:
            if field.type in proof:
                values[field.name] = proof[field.type]
            elif field.type in (FieldType.TEXT, FieldType.EMAIL) and context.account is not None:
                values[field.name] = context.account.name
            elif field.required:
                raise CannotBeShown(f"what to give for the field {field.name} is not known")
        return values


class PasswordKeeper(_Fields):
    """Somebody with a password of their own."""

    password = PASSWORD

    async def equip(self, context: ProviderContext) -> Credential:
        if not isinstance(self.provider, SetsPassword):
            raise CannotBeShown("the provider sets no passwords")
        self.password = f"{PASSWORD} {context.flow_id[:8]}"
        made = await self.provider.new_credential(self.password, context)
        if not isinstance(made, Credential):
            raise CannotBeShown(f"the password {self.password!r} is refused: {made.reason}")
        return made

    async def answer(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        return self._values(ask, context, {FieldType.PASSWORD: self.password})

    def secrets(self) -> Iterable[str]:
        return (self.password,)


class CodeHolder(_Fields):
    """Somebody with a sheet of codes."""

    codes: tuple[str, ...] = ()
    _given: Mapping[tuple[str, int], str]

    async def equip(self, context: ProviderContext) -> Credential:
        if not isinstance(self.provider, IssuesCodes):
            raise CannotBeShown("the provider issues no codes")
        issued = self.provider.issue(context)
        self.codes, self._given = issued.codes, {}
        return issued.credential

    async def answer(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        place = (context.flow_id, context.step)
        if place not in self._given:
            if len(self._given) == len(self.codes):
                raise CannotBeShown("all codes are spent")
            self._given = {**self._given, place: self.codes[len(self._given)]}
        return self._values(ask, context, {FieldType.CODE: self._given[place]})

    def secrets(self) -> Iterable[str]:
        return self.codes


class Reader(_Fields):
    """Somebody who reads what is mailed to them."""

    async def equip(self, context: ProviderContext) -> Credential | None:
        return await super().equip(context) if isinstance(self.provider, Enrols) else None

    async def answer(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        digits = ask.delivery.digits if isinstance(ask, Ask) and ask.delivery else 6
        return self._values(ask, context, {FieldType.CODE: context.code(digits)})


@dataclass(frozen=True, slots=True)
class _Key:
    secret: bytes
    digits: int
    period: int
    algorithm: str


class AppOwner(_Fields):
    """Somebody with an authenticator app that has scanned what the enrolment shows."""

    answers_live = timedelta(minutes=5)
    _key: _Key | None = None

    async def confirm(self, ask: Ask, context: ProviderContext) -> Mapping[str, str]:
        uri = next((str(v) for v in ask.params.values() if str(v).startswith("otpauth://totp/")), "")
        if not uri:
            raise CannotBeShown("the enrolment shows no otpauth: address")
        said = {name: values[0] for name, values in parse_qs(urlsplit(uri).query).items()}
        secret = base64.b32decode(said["secret"] + "=" * (-len(said["secret"]) % 8))
        digits, period = int(said.get("digits", "6")), int(said.get("period", "30"))
        self._key = _Key(secret, digits, period, said.get("algorithm", "SHA1"))
        return await self.answer(ask, context)

    async def answer(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        if self._key is None:
            raise CannotBeShown("no app was set up")
        return self._values(ask, context, {FieldType.CODE: _totp(self._key, int(context.now.timestamp()))})

    def secrets(self) -> Iterable[str]:
        return () if self._key is None else (base64.b32encode(self._key.secret).decode(), self._key.secret.hex())


def _totp(key: _Key, seconds: int) -> str:
    """Return a code (RFC 6238, section 4.2; RFC 4226, section 5.3)."""
    counter = (seconds // key.period).to_bytes(8, "big")
    digest = hmac.new(key.secret, counter, getattr(hashlib, key.algorithm.lower())).digest()
    at = digest[-1] & 15
    return str((int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF) % 10**key.digits).zfill(key.digits)


def _of_type(fields: Iterable[Field], wanted: FieldType) -> bool:
    return any(field.type is wanted for field in fields)
