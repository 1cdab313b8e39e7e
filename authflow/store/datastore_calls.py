"""Calls that read, with a deadline for all of it and an own retry, and how a failed call is told to the engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from authflow.errors import StoreUnavailable
from authflow.store import datastore_query
from authflow.store.datastore_codec import Codec
from authflow.store.datastore_rpc import CallFailed, Code, Connection, Message, QueryResultBatch

PASSING = frozenset(
    {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.ABORTED, Code.INTERNAL, Code.UNKNOWN}
)
"""What another try may mend, and after which nobody knows whether a commit was carried out."""

TRIES = 3
PAUSE = 0.05
"""Seconds before the second try, give or take; twice as long before the third."""

_ADVICE = {
    Code.PERMISSION_DENIED: "the service account needs the role roles/datastore.user",
    Code.UNAUTHENTICATED: "the credentials are refused",
    Code.NOT_FOUND: "the project has no such database",
    Code.FAILED_PRECONDITION: "an index is missing, or the database is not in Datastore mode",
    Code.RESOURCE_EXHAUSTED: "a quota is used up",
}


class Deadline:
    """The end of a call that consists of several."""

    def __init__(self, span: timedelta) -> None:
        self._ends_at = asyncio.get_running_loop().time() + span.total_seconds()

    def left(self, share: float = 1) -> float:
        """Return this share of the seconds that are left.

        Raises:
            StoreUnavailable: None are.
        """
        seconds = self._ends_at - asyncio.get_running_loop().time()
        if seconds <= 0:
            raise StoreUnavailable("Datastore did not answer in time")
        return seconds * share


class Calls:
    """What is read from Datastore."""

    def __init__(self, connection: Connection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec

    async def lookup(self, keys: Sequence[Message], deadline: Deadline) -> Sequence[Message]:
        """Return an `EntityResult` for each key that has an entity. What Datastore defers is asked for again.

        Raises:
            StoreUnavailable: It did not answer, or with a fault.
        """
        found: list[Message] = []
        while keys:
            request = self._codec.lookup(keys)
            # Half the time, so that an answer that is lost on the way leaves the other half.
            answer = await tried(partial(self._connection.lookup, request), deadline, 0.5)
            found += answer.found
            keys = answer.deferred
        return found

    async def query(self, query: Message, limit: int, deadline: Deadline) -> Sequence[Message]:
        """Return up to so many `EntityResult`s. Datastore may give them in several batches.

        Raises:
            StoreUnavailable: It did not answer, or with a fault.
        """
        found: list[Message] = []
        cursor = b""
        while True:
            request = datastore_query.request(self._codec, query, limit - len(found), cursor)
            answer = await tried(partial(self._connection.run_query, request), deadline)
            found += answer.batch.entity_results
            if answer.batch.more_results != QueryResultBatch.NOT_FINISHED or len(found) >= limit:
                return found
            cursor = answer.batch.end_cursor


async def tried(call: Callable[[float], Awaitable[Message]], deadline: Deadline, share: float = 1) -> Message:
    """Make a call that reads, and make it again when another try may mend it.

    Args:
        call: Is given the seconds it may take.
        share: Of the time that is left, for each try but the last.
    """
    for number in range(1, TRIES):
        try:
            return await call(deadline.left(share))
        except CallFailed as failed:
            if failed.code not in PASSING:
                raise unavailable(failed) from failed
        await pause(number, deadline)
    try:
        return await call(deadline.left())
    except CallFailed as failed:
        raise unavailable(failed) from failed


async def pause(number: int, deadline: Deadline) -> None:
    """Wait a little, each time longer, and not beyond the deadline."""
    await asyncio.sleep(min(PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1.5), deadline.left()))  # noqa: S311


async def together(calls: Sequence[Awaitable[Sequence[Message]]]) -> list[Sequence[Message]]:
    """Make calls at once; return what each returns, once all have ended.

    Raises:
        StoreUnavailable: One of them failed.
    """
    answers = await asyncio.gather(*calls, return_exceptions=True)
    results: list[Sequence[Message]] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        results.append(answer)
    return results


def unavailable(failed: CallFailed, meaning: str = "") -> StoreUnavailable:
    """Say for the log what failed, and what may be done about it."""
    advice = _ADVICE.get(failed.code, "")
    return StoreUnavailable("; ".join(part for part in (f"Datastore: {failed}", advice, meaning) if part))
