"""How long an HTTP answer may be kept, by its headers (RFC 9111). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(days=1)
"""Whatever a party says: a key that it has withdrawn must not be believed for months."""
_NONE = timedelta(0)


def lifetime(headers: Iterable[tuple[str, str]]) -> timedelta:
    """Return how long an answer may be used from its arrival on; zero where it may not, or where nothing is said.

    `max-age`, else `Expires` less `Date`, each less `Age` (RFC 9111, section 4.2). As a cache of one user, `s-maxage`
    and `private` do not concern us. `no-cache` is treated as zero, since nothing is ever asked conditionally. No
    lifetime is guessed. `Date` is not compared with our clock: the two need not agree.

    Args:
        headers: Names and values, in any case and any number of lines.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value.strip())
    directives = _directives(values.get("cache-control", ()))
    varies = {part.strip() for part in ",".join(values.get("vary", ())).split(",")}
    if not {"no-store", "no-cache"}.isdisjoint(directives) or "*" in varies:
        return _NONE
    if "max-age" in directives:
        span = _seconds(directives["max-age"])
    else:
        span = _until(values.get("expires", ()), values.get("date", ()))
    age = values.get("age", [""])[0]
    return min(max(span - _seconds(age), _NONE), LONGEST)


def _directives(lines: Iterable[str]) -> dict[str, str]:
    """Return the directives; of one that is said twice with two values, what makes the answer stale."""
    found: dict[str, str] = {}
    for part in ",".join(lines).split(","):
        name, _, value = part.partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        found[name] = "" if found.get(name, value) != value else value
    return found


def _seconds(text: str) -> timedelta:
    # By length first: a number of any size is allowed, and means "very long".
    if not (text.isascii() and text.isdigit()):
        return _NONE
    return timedelta(seconds=int(text)) if len(text) <= 9 else timedelta(seconds=2**31)


def _until(expires: Iterable[str], dates: Iterable[str]) -> timedelta:
    ends, begins = [_instant(text) for text in expires], [_instant(text) for text in dates]
    if len(ends) != 1 or len(begins) != 1 or ends[0] is None or begins[0] is None:
        return _NONE
    return max(ends[0] - begins[0], _NONE)


def _instant(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None  # `Expires: 0` and the like: already stale.
    return found if found.tzinfo is not None else None
