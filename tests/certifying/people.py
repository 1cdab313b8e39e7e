"""People who can use the stock providers that need a kit, and those of the planted ones."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import ClassVar

from authflow.certifying.kit import Kit
from authflow.errors import FetchFailed
from authflow.federated import Assertion
from authflow.model import Credential, Plain
from authflow.provider import Ask, ProviderContext, Redirect, Subject
from tests.parts.google_issuer import ISSUER, SigningKey

_KEY = SigningKey("key-1")
CLIENT = "certified.apps.example"


class Google:
    """Google's certificates, without a network."""

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        return {_KEY.kid: _KEY.pem}

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        raise FetchFailed("Google is sent no forms")


class Googler(Kit):
    """Somebody with a Google account that is connected to the account here."""

    settings: ClassVar = {"google_client_id": CLIENT}
    fetching = Google()

    def __init__(self, provider) -> None:
        super().__init__(provider)
        self.subject = str(secrets.randbelow(10**20))

    async def equip(self, context: ProviderContext) -> Credential:
        return Assertion(ISSUER, self.subject, shown_as=f"{self.subject}@example.org").to_credential(
            context.account, self.provider.name, context
        )

    async def answer(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        return {"token": self.token(ask, context)}

    async def wrong(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        return {"token": self.token(ask, context, nonce="of another page")}

    def token(self, ask: Ask, context: ProviderContext, **changes: str) -> str:
        seconds = int(context.now.timestamp())
        honest = {
            "iss": ISSUER, "aud": CLIENT, "sub": self.subject, "nonce": ask.params["nonce"], "iat": seconds,
            "exp": seconds + 3600, "email": f"{self.subject}@example.org",
        }  # fmt: skip
        return _KEY.token({**honest, **changes})

    def found_by(self) -> Subject:
        return Subject(ISSUER, self.subject)


ELSEWHERE = "https://issuer.example.org"


class ElsewherePerson(Kit):
    """Somebody with an account at a party that exchanges a code for a subject."""

    def __init__(self, provider) -> None:
        super().__init__(provider)
        self.subject = secrets.token_hex(8)
        self.codes: dict[str, str] = {}
        self.fetching = self

    async def equip(self, context: ProviderContext) -> Credential:
        return Assertion(ELSEWHERE, self.subject).to_credential(context.account, self.provider.name, context)

    async def answer(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        code = secrets.token_hex(8)
        self.codes[code] = self.subject
        return {"code": code}

    def found_by(self) -> Subject:
        return Subject(ELSEWHERE, self.subject)

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        raise FetchFailed("nothing is published")

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        if values["code"] not in self.codes:
            raise FetchFailed("no such code")
        return {"sub": self.codes.pop(values["code"])}
