"""Tokens that look like right ones: for what reads JSON Web Tokens (RFC 7519) by itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping

from authflow.model import Plain


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Give forgeries of a token, each with a word on what it is; none where the text is no token."""
    parts = text.split(".")
    if len(parts) != 3:
        return
    header, claims = _read(parts[0]), _read(parts[1])
    if header is None or claims is None:
        return
    flipped = parts[2][:-8] + parts[2][-8:][::-1] if len(set(parts[2][-8:])) > 1 else "AAAA" + parts[2][4:]
    yield "with another signature", f"{parts[0]}.{parts[1]}.{flipped}"
    yield "without a signature", f"{parts[0]}.{parts[1]}."
    yield "of the algorithm none", f"{_write({**header, 'alg': 'none'})}.{parts[1]}."
    for name, value in (("sub", "somebody else"), ("aud", "another client"), ("nonce", "another"), ("exp", 4102444800)):
        if claims.get(name) != value:
            yield f"whose {name} was changed", f"{parts[0]}.{_write({**claims, name: value})}.{parts[2]}"


class Tampering:
    """Passes requests on and changes the tokens in what is answered.

    Args:
        which: Number of the forgery.

    Attributes:
        changed: What was changed, or the empty text where nothing was.
    """

    def __init__(self, party: object, which: int) -> None:
        self._party, self._which = party, which
        self.changed = ""

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        answer: Mapping[str, Plain] = await self._party.get_json(url, fresh=fresh)  # type: ignore[attr-defined]
        return answer

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        answer: dict[str, Plain] = dict(await self._party.post_form(url, values))  # type: ignore[attr-defined]
        for name, value in answer.items():
            forged = list(tokens(value)) if isinstance(value, str) else []
            if self._which < len(forged):
                what, answer[name] = forged[self._which]
                self.changed = f"the {name} {what}"
        return answer


def _read(part: str) -> dict[str, object] | None:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _write(part: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
