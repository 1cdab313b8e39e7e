"""What every adapter checks alike before it asks its backend: commits, questions and the cursors of listings.

A caller's mistake is a `ValueError`, so that no adapter accepts what another would refuse. A cursor comes from a client
and is answered with `BadInput`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from authflow.errors import BadInput, StoreUnavailable
from authflow.store.protocol import INDEXED, MAX_WRITES, Data, Delete, Key, Plain, Write

MAX_NAME_BYTES = 1_000
MAX_INDEXED_BYTES = 1_500
MAX_LIMIT = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_decode = json.JSONDecoder().raw_decode
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def check_writes(writes: Sequence[Write]) -> None:
    """Refuse a commit that no backend could carry out as the protocol says."""
    if len(writes) > MAX_WRITES:
        raise ValueError(f"a commit holds at most {MAX_WRITES} writes, this one has {len(writes)}")
    seen: set[Key] = set()
    for write in writes:
        key = write.key
        if key in seen:
            raise ValueError(f"a commit names each key once; two writes for a key of kind {key.kind!r}")
        seen.add(key)
        if not key.kind or not 1 <= len(key.name.encode()) <= MAX_NAME_BYTES:
            raise ValueError(f"a name is 1 to {MAX_NAME_BYTES} bytes of UTF-8 (kind {key.kind!r})")
        if not isinstance(write, Delete):
            for field in INDEXED.get(key.kind, ()):
                _check_indexed(key.kind, field, write.data.get(field))


def check_question(kind: str, field: str, bounds: Sequence[str | int | None], limit: int) -> None:
    """Refuse a question that `find` cannot answer by an index."""
    if field not in INDEXED.get(kind, ()):
        raise ValueError(f"field {field!r} of kind {kind!r} is not indexed")
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"a page holds 1 to {MAX_LIMIT} records, not {limit}")
    for bound in bounds:
        _check_indexed(kind, field, bound)


def is_text(text: str) -> bool:
    """Tell whether a text has a form in UTF-8, which one with a lone surrogate lacks."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def conflict_detail(write: Write) -> str:
    """Name the write that a commit failed at, without the record's name, which may be derived from a secret."""
    return f"{type(write).__name__} of kind {write.key.kind!r}"


def encode_body(data: Data) -> str:
    """Write data as JSON text; what is no plain value is refused."""
    try:
        text = _encoder.encode(data if isinstance(data, dict) else dict(data))
        text.encode()
    except (TypeError, ValueError, RecursionError):
        # Without its cause, whose message may quote the value: a record holds secrets.
        raise ValueError(
            "a record holds plain values only: no NaN, no lone surrogates, nothing nested in itself"
        ) from None
    return text


def decode_body(text: str) -> dict[str, Plain]:
    """Read what `encode_body` wrote, as new objects each time."""
    body: dict[str, Plain]
    body, end = _decode(text)
    if end != len(text):
        raise ValueError("a body with something behind it")
    return body


class StoredBody(Mapping[str, Plain]):
    """A body that is decoded when it is first looked into: a record whose version is known need not be.

    Raises, at that first look:
        StoreUnavailable: It is no body of ours.
    """

    __slots__ = ("_body", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._body: dict[str, Plain] | None = None

    def _decoded(self) -> dict[str, Plain]:
        if self._body is None:
            try:
                self._body = decode_body(self._text)
            except (ValueError, TypeError, RecursionError) as error:
                raise StoreUnavailable("a record cannot be read") from error
        return self._body

    def __getitem__(self, name: str) -> Plain:
        return self._decoded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return len(self._decoded())

    def __repr__(self) -> str:
        return f"<body of {len(self._text)} characters>"


def to_microseconds(instant: datetime) -> int:
    """Count whole microseconds since 1970; exact, unlike `timestamp()`."""
    if instant.tzinfo is None:
        raise ValueError("an instant is aware")
    return (instant - _EPOCH) // _MICROSECOND


def from_microseconds(count: int) -> datetime:
    """Give back the instant that `to_microseconds` counted."""
    return _EPOCH + timedelta(microseconds=count)


def fingerprint(kind: str, field: str, bounds: Sequence[str | int | None]) -> str:
    """Tell one question from another, so that a cursor is used for its own only."""
    return hashlib.sha256(json.dumps([kind, field, *bounds]).encode()).hexdigest()[:16]


def make_cursor(question: str, value: str | int, name: str) -> str:
    """Write down where a page ended. It is no secret and grants nothing: the same question is asked from there on."""
    return base64.urlsafe_b64encode(_encoder.encode([question, value, name]).encode()).decode().rstrip("=")


def read_cursor(question: str, cursor: str) -> tuple[str | int, str]:
    """Take a cursor apart.

    Raises:
        BadInput: It was not made by `make_cursor` for this question.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        made_for, value, name = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if made_for != question or not isinstance(name, str) or not _is_indexable(value):
            raise BadInput("a cursor of another question")
        name.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInput("not a cursor") from error
    return value, name


def _check_indexed(kind: str, field: str, value: object) -> None:
    if value is not None and not _is_indexable(value):
        raise ValueError(
            f"field {field!r} of kind {kind!r} is indexed: text of at most {MAX_INDEXED_BYTES} bytes without NUL, "
            "a 64-bit integer or None"
        )


def _is_indexable(value: object) -> bool:
    if isinstance(value, str):
        # SQLite's JSON functions cut a text at NUL, so that it would be found under another value.
        return "\0" not in value and len(value.encode()) <= MAX_INDEXED_BYTES
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
