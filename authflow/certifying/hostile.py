"""What strangers type: texts that no provider may take for an answer, and right answers with a slip in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from authflow.fields import Field, FieldType

HUGE = 100_000

TEXTS: tuple[str, ...] = (
    " ", "\t", "\n", "\x00", "\x00\x01", "0", "-1", "1e9", "000000", "123456", "1" * 40, "nan", "inf", "0x10", "1_000",
    "None", "null", "true", "False", "[]", "{}", '["a", "b"]', '{"$ne": null}', "' OR '1'='1", '"; DROP TABLE a; --',
    "*)(uid=*", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "%s%s%n", "{0.__class__}",
    "../../etc/passwd", "http://127.0.0.1/", "a.b.c", "e30.e30.",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "====", "AAAA",
    "-----BEGIN KEY-----", "\u202e654321", "\u200b123456", "\u0661\u0662\u0663\u0664\u0665\u0666",
    "\uff11\uff12\uff13\uff14\uff15\uff16", "\u2460\u2461\u2462\u2463\u2464\u2465", "caf\u00e9", "cafe\u0301", "\u212a",
    "\U0001f511", "x" * HUGE, "\uff11" * 5_000,
)  # fmt: skip
"""Empty and odd, numbers and lists as text, of other scripts, of other languages (SQL, LDAP, HTML, templates, JSON).

Lone surrogates are not among them: the edge refuses those before a provider is asked."""

UNDECLARED: Mapping[str, str] = {
    "verified": "1", "proof": "1", "credential": "1", "account_id": "1", "provider": "1", "factor": "possession",
    "outcome": "Verified", "notes": "{}", "evidence": "{}", "is_valid": "true", "admin": "1", "step": "0",
}  # fmt: skip
"""Names that a careless provider might take from a submission."""


def submissions(fields: Sequence[Field]) -> Iterator[tuple[str, dict[str, str]]]:
    """Give hostile submissions for declared fields, each with a word on what it is."""
    names = [declared.name for declared in fields] or ["value"]
    for text in TEXTS:
        yield _shown(text), dict.fromkeys(names, text)
    for name in names:
        for text in ("", "\x00", "x" * HUGE, "\uff11\uff12\uff13\uff14\uff15\uff16", "[]"):
            yield f"{name} as {_shown(text)}", {**dict.fromkeys(names, "1"), name: text}
    yield "undeclared names alone", dict(UNDECLARED)
    yield "undeclared names beside declared ones", {**UNDECLARED, **dict.fromkeys(names, "1")}


def wrong(values: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return a right answer with a slip in the named values: of the same length and alphabet, yet another text."""
    return {name: _slipped(value) if name in names else value for name, value in values.items()}


def proving(fields: Sequence[Field], values: Mapping[str, str]) -> list[str]:
    """Name the values that carry the proof: the secret ones; else the hidden ones; else what is typed."""
    types = {declared.name: declared.type for declared in fields}
    secret = [name for name in values if types.get(name) in (FieldType.PASSWORD, FieldType.CODE)]
    hidden = [name for name in values if types.get(name) is FieldType.HIDDEN]
    typed = [name for name in values if types.get(name, FieldType.TEXT) in (FieldType.TEXT, FieldType.EMAIL)]
    return secret or hidden or typed or list(values)


def _slipped(value: str) -> str:
    """Change every fourth letter or digit, beginning with the first, each to another that the text has elsewhere.

    Where there is no other of its kind, to its neighbour in the alphabet. Codes leave out letters that are misread, and
    one of those would be no slip, but no code at all.
    """
    places = [at for at, character in enumerate(value) if character.isascii() and character.isalnum()]
    characters = list(value)
    for at in places[::4] or ():
        characters[at] = _other(characters[at], value)
    return "".join(characters) if places else value + "x"


def _other(character: str, value: str) -> str:
    [alphabet] = [letters for letters in _ALPHABETS if character in letters]
    known = sorted({one for one in value if one in alphabet})
    return known[(known.index(character) + 1) % len(known)] if len(known) > 1 else _NEXT[character]


_ALPHABETS = ("0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NEXT = {a: b for letters in _ALPHABETS for a, b in zip(letters, letters[1:] + letters[0], strict=True)}


def _shown(text: str) -> str:
    said = ascii(text)
    return said if len(said) <= 40 else f"{said[:30]}... ({len(text)} characters)"
