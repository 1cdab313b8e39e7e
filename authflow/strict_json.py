"""JSON of others, read strictly: one object, no name twice, nothing that a store or a log could not take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from typing import NoReturn, cast

from authflow.model import Plain


def read_object(raw: bytes) -> dict[str, Plain]:
    """Read one JSON object (RFC 8259) in UTF-8.

    Args:
        raw: The text, whose size the caller has bounded.

    Raises:
        ValueError: It is none; a name stands in an object twice (readers differ in which one counts); a number is not
            finite or has thousands of digits; it is nested too deep; a text holds half of a surrogate pair, which no
            encoding can write. The message holds nothing of what was read.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_not_finite, parse_float=_finite
        )
        # Half a surrogate pair comes in as `\\ud800`; it would raise later, where a key or a log line is made of it.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise ValueError("not strict JSON") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return cast("dict[str, Plain]", value)


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("not finite")
    return number


def _not_finite(text: str) -> NoReturn:
    raise ValueError("not finite")
