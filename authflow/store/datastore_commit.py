"""Commits: one call each, all or none, and what becomes of one that is not answered."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from authflow.errors import StoreConflict, StoreUnavailable
from authflow.store import checks
from authflow.store.datastore_calls import PASSING, Calls, Deadline, pause, unavailable
from authflow.store.datastore_codec import Codec, commit_id_of
from authflow.store.datastore_rpc import CallFailed, Code, Connection, Message
from authflow.store.protocol import Delete, Insert, Key, Put, Update, Write

PROBE = "probe"
"""Kind of the records that a probe touches."""

_PROBE_LIVES = timedelta(hours=1)
_REFUSED = frozenset({Code.FAILED_PRECONDITION, Code.ALREADY_EXISTS, Code.NOT_FOUND})
_NOBODY_KNOWS = "nobody knows whether the commit was carried out"
_NO_GUARD = (
    "Datastore does not refuse a change to a record of another version, so nothing would be used once only; is this a "
    "current Datastore, or an emulator of another kind?"
)


class Committer:
    """Carries out commits on a connection.

    Before the first one that guards by a version it proves, once and for all that wait for it, that Datastore honours
    such a guard: a random key that is absent is deleted under version 1, which must be refused. It costs one call and
    writes nothing.
    """

    def __init__(self, connection: Connection, codec: Codec, calls: Calls) -> None:
        self._connection = connection
        self._codec = codec
        self._calls = calls
        self._is_proven = False
        self._proof: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Forget the proof; it will be given anew."""
        self._is_proven = False
        if self._proof is not None:
            self._proof.cancel()
            self._proof = None

    async def commit(self, writes: Sequence[Write], deadline: Deadline) -> None:
        """See `Store.commit`."""
        if not writes:
            return
        commit_id = secrets.token_urlsafe(12)
        request = self._codec.commit([self._codec.mutation(write, commit_id) for write in writes])
        if not self._is_proven and any(_has_version(write) for write in writes):
            await self._prove(deadline)
        try:
            # Time must be left for the second sending and for the look-up.
            await self._connection.commit(request, deadline.left(0.5))
        except CallFailed as failed:
            if _is_conflict(failed) or failed.code is Code.ABORTED:
                raise _conflict(writes, failed) from None
            if failed.code not in PASSING:
                raise unavailable(failed) from failed
            await self._settle(request, writes, commit_id, deadline)

    async def _settle(self, request: Message, writes: Sequence[Write], commit_id: str, deadline: Deadline) -> None:
        """Find out what became of a commit that was not answered: send it once more, then look.

        Accepted now, it had not been carried out, or could be carried out twice without harm. Refused, it had been, or
        another commit was faster: what it wrote tells.
        """
        await pause(1, deadline)
        try:
            await self._connection.commit(request, deadline.left(0.6))
        except CallFailed as failed:
            if not _is_conflict(failed) and failed.code is not Code.ABORTED:
                raise unavailable(failed, _NOBODY_KNOWS) from failed
            if await self._was_written(writes, commit_id, deadline):
                return
            if failed.code is Code.ABORTED or all(isinstance(write, Delete) for write in writes):
                # One that was aborted may have met itself, under way still; one that only deletes leaves no trace.
                raise unavailable(failed, _NOBODY_KNOWS) from None
            raise _conflict(writes, failed) from None

    async def _was_written(self, writes: Sequence[Write], commit_id: str, deadline: Deadline) -> bool:
        """Tell whether any record is of this commit."""
        written = [self._codec.key(write.key) for write in writes if not isinstance(write, Delete)]
        try:
            found = await self._calls.lookup(written, deadline)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error}; {_NOBODY_KNOWS}") from error
        return any(commit_id_of(result.entity) == commit_id for result in found)

    async def _prove(self, deadline: Deadline) -> None:
        """Wait for the one proof; whoever comes while it is given waits for the same."""
        if self._proof is None or self._proof.done():
            self._proof = asyncio.create_task(self._give_proof(deadline))
            # All who wait may be cancelled; then nobody else looks at how it ended.
            self._proof.add_done_callback(lambda proof: proof.cancelled() or proof.exception())
        proof = self._proof
        # `wait` and not `await`: who is cancelled while waiting does not cancel it for the others.
        done, _ = await asyncio.wait([proof], timeout=deadline.left())
        if not done:
            raise StoreUnavailable("Datastore did not answer in time")
        if proof.cancelled():
            raise StoreUnavailable("the store was closed")
        error = proof.exception()
        if error is not None:
            # Anew for each of them: a raised exception remembers where it was raised.
            raise StoreUnavailable(str(error)) from None
        self._is_proven = True

    async def _give_proof(self, deadline: Deadline) -> None:
        absent = Delete(Key(PROBE, secrets.token_urlsafe(12)), 1)
        failed: CallFailed | None = None
        for number in (1, 2):
            failed = await self._failure(absent, deadline)
            if failed is None or failed.code not in PASSING or number == 2:
                break
            await pause(number, deadline)
        if failed is None:
            raise StoreUnavailable(_NO_GUARD)
        if failed.code is not Code.FAILED_PRECONDITION:
            raise unavailable(failed, "the probe was not answered as it must be")

    async def probe(self, deadline: Deadline) -> None:
        """See `DatastoreStore.probe`."""
        await self._give_proof(deadline)
        key = Key(PROBE, secrets.token_urlsafe(12))
        # The sweep removes it if this process ends before it does.
        expires_at = datetime.now(UTC) + _PROBE_LIVES
        version = await self._version(Insert(key, {}, expires_at), deadline)
        try:
            await self._version(Update(key, {}, version, expires_at), deadline)
            failed = await self._failure(Update(key, {}, version, expires_at), deadline)
            if failed is None:
                raise StoreUnavailable(_NO_GUARD)
            if failed.code is not Code.FAILED_PRECONDITION:
                raise unavailable(failed, "the probe was not answered as it must be")
        finally:
            with contextlib.suppress(CallFailed, StoreUnavailable):
                await self._send(Delete(key), deadline)

    async def _version(self, write: Put | Insert | Update, deadline: Deadline) -> int:
        """Carry out one write and return the version that it gave."""
        try:
            answer = await self._send(write, deadline)
        except CallFailed as failed:
            raise unavailable(failed, "the probe was not answered as it must be") from failed
        version: int = answer.mutation_results[0].version
        return version

    async def _failure(self, write: Write, deadline: Deadline) -> CallFailed | None:
        """Carry out one write that must fail, and return what it failed with."""
        try:
            await self._send(write, deadline)
        except CallFailed as failed:
            return failed
        return None

    async def _send(self, write: Write, deadline: Deadline) -> Message:
        mutation = self._codec.mutation(write, secrets.token_urlsafe(12))
        return await self._connection.commit(self._codec.commit([mutation]), deadline.left(0.5))


def _has_version(write: Write) -> bool:
    return isinstance(write, Update) or (isinstance(write, Delete) and write.version is not None)


def _is_conflict(failed: CallFailed) -> bool:
    if failed.code is Code.INVALID_ARGUMENT:
        # A version from before the store was reset or restored under us.
        return "greater than the stored version" in failed.text
    return failed.code in _REFUSED


def _conflict(writes: Sequence[Write], failed: CallFailed) -> StoreConflict:
    """Datastore does not say which write it was, so all that are guarded are named."""
    guarded = {checks.conflict_detail(write) for write in writes if isinstance(write, Insert) or _has_version(write)}
    return StoreConflict(f"{failed.code.name}: one of {', '.join(sorted(guarded))}")
