"""A file of accounts is read line by line, some lines at a time, and what became of each is counted.

It may be stopped at any moment and be begun anew: each account is one commit, and those that are here are passed over.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final, TypeAlias, TypeVar

from authflow.errors import BadInput, RequestError
from authflow.identifiers import canonical_name
from authflow.importing import Arrival, Importing, Outcome, without
from authflow.model import Plain
from authflow.strict_json import read_object

T = TypeVar("T")
Reader: TypeAlias = Callable[[Mapping[str, Plain]], Arrival]
"""Makes an arrival of one line's object, or raises `BadInput`."""

LONGEST_LINE: Final = 256 * 1024

_AT_ONCE: Final = 8
"""Accounts on their way to the store, and in the hashing pool, at a time."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was not taken in, and why.

    Attributes:
        name: Of the account; empty where it could not be read.
    """

    line: int
    name: str
    code: str
    reason: str


@dataclass(slots=True)
class Report:
    """What has become of a file.

    Attributes:
        kept: Accounts whose hash is slow enough to stay until the next login.
        ignored: Fields that are not taken, and in how many lines they stood.
        dropped: Rights that are unknown here and were left out, likewise.
    """

    taken_in: int = 0
    already_here: int = 0
    kept: int = 0
    refused: list[Refusal] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def lines(self) -> int:
        return self.taken_in + self.already_here + len(self.refused)


async def import_lines(
    importing: Importing,
    file: BinaryIO,
    reader: Reader,
    *,
    is_rehearsal: bool = False,
    drops_unknown_rights: bool = False,
    refused: Callable[[Refusal], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Take in a file of accounts, one JSON object a line.

    Args:
        is_rehearsal: Judge everything, write nothing.
        drops_unknown_rights: Leave out flags and roles that mean nothing here, instead of refusing the account.
        refused: Told of each refusal at once.
        progress: Told how many lines are done, now and then.

    Raises:
        Unavailable: The store does not answer. What was taken in is here; the rest is not.
    """
    report = Report()
    lines = _arrivals(file, reader)

    async def work() -> None:
        for number, name, arrival in lines:
            await one(number, name, arrival)

    async def one(number: int, name: str, arrival: Arrival | RequestError) -> None:
        try:
            if isinstance(arrival, RequestError):
                raise arrival
            report.ignored.update(arrival.ignored)
            unknown = importing.unknown_rights(arrival) if drops_unknown_rights else ()
            outcome = await importing.take_in(without(arrival, unknown), is_rehearsal=is_rehearsal)
        except RequestError as error:
            refusal = Refusal(number, name, error.code, error.detail or error.sentence)
            report.refused.append(refusal)
            if refused is not None:
                refused(refusal)
        else:
            if outcome is Outcome.TAKEN_IN:
                report.taken_in += 1
                report.dropped.update(unknown)
                report.kept += arrival.password is not None and arrival.password.is_slow
            else:
                report.already_here += 1
        if progress is not None and report.lines % 100 == 0:
            progress(report.lines)

    workers = [asyncio.ensure_future(work()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    report.refused.sort(key=lambda refusal: refusal.line)
    return report


def _arrivals(file: BinaryIO, reader: Reader) -> Iterator[tuple[int, str, Arrival | RequestError]]:
    """Read the lines, each to an arrival or to why it is none; a second line about somebody is one of these."""
    names: dict[str, int] = {}
    identities: dict[tuple[str, str], int] = {}
    for number, line in _lines(file):
        name = ""
        try:
            if line is None:
                raise BadInput("the line is too long")
            arrival = _arrival(line, reader)
            canonical = canonical_name(arrival.name)
            name = arrival.name
            _demand_first(names, canonical, number, "name")
            if arrival.identity is not None:
                _demand_first(identities, (arrival.identity.issuer, arrival.identity.subject), number, "identity")
        except RequestError as error:
            yield number, name, error
        else:
            yield number, name, arrival


def _arrival(line: bytes, reader: Reader) -> Arrival:
    try:
        found = read_object(line)
    except ValueError as error:
        raise BadInput(str(error)) from None
    return reader(found)


def _demand_first(seen: dict[T, int], what: T, number: int, label: str) -> None:
    before = seen.setdefault(what, number)
    if before != number:
        raise BadInput(f"{label}: the same as in line {before}", code="duplicate")


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Return the lines with their numbers, blank ones left out; None for one that is too long."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        is_whole = len(line) <= LONGEST_LINE
        while not line.endswith(b"\n") and len(line) > LONGEST_LINE:
            line = file.readline(LONGEST_LINE + 1)
        if not is_whole:
            yield number, None
        elif stripped := line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
            yield number, stripped
