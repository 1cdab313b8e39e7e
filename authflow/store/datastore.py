"""Google's Datastore (Firestore in Datastore mode), natively async. See `docs/datastore.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from authflow.errors import BadInput, ConfigurationError
from authflow.store import checks
from authflow.store.datastore_calls import Calls, Deadline, together
from authflow.store.datastore_codec import Codec, record
from authflow.store.datastore_commit import Committer
from authflow.store.datastore_query import SWEPT, Question, expired
from authflow.store.datastore_rpc import Connection, Interceptor
from authflow.store.protocol import Delete, Key, Page, Record, Write

DEADLINE = timedelta(seconds=2)

_MAX_LOOKUP = 1_000
_FEW_EXPIRED = 50
"""Of each kind, at first: most kinds have no more, and what is over the limit in the end was read in vain."""


class DatastoreStore:
    """A store in a namespace of a project.

    It is opened by the process and on the event loop that use it. Credentials are the application default ones.

    Args:
        project: The Google Cloud project.
        namespace: Where all records lie. Two namespaces know nothing of each other.
        emulator_host: `HOST:PORT` of an emulator instead of Google.
        deadline: How long any call may take in all, with everything that is tried again.
        interceptors: See every call that is made; for tests.

    Raises:
        ConfigurationError: No project is named.
    """

    def __init__(
        self,
        project: str,
        namespace: str = "",
        *,
        emulator_host: str = "",
        deadline: timedelta = DEADLINE,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        if not project:
            raise ConfigurationError("a Datastore store needs a project")
        self._deadline = deadline
        self._codec = Codec(project, namespace)
        self._connection = Connection(project, emulator_host=emulator_host, interceptors=interceptors)
        self._calls = Calls(self._connection, self._codec)
        self._committer = Committer(self._connection, self._codec, self._calls)

    async def open(self) -> None:
        """Make the channel. Nothing is asked of Datastore yet.

        Raises:
            ConfigurationError: There are no credentials.
        """
        await self._connection.open()

    async def close(self) -> None:
        """Let go of the channel, once the calls under way have ended."""
        self._committer.close()
        await self._connection.close()

    async def get(self, keys: Sequence[Key]) -> Mapping[Key, Record]:
        """See `Store.get`. A name that no record can have is absent."""
        self._connection.demand_open()
        wanted = [self._codec.key(key) for key in dict.fromkeys(keys) if _is_possible(key)]
        if not wanted:
            return {}
        deadline = Deadline(self._deadline)
        parts = [wanted[start : start + _MAX_LOOKUP] for start in range(0, len(wanted), _MAX_LOOKUP)]
        answers = [await self._calls.lookup(part, deadline) for part in parts]
        return {found.key: found for answer in answers for found in map(record, answer)}

    async def find(
        self,
        kind: str,
        field: str,
        *,
        equals: str | int | None = None,
        at_most: str | int | None = None,
        at_least: str | int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """See `Store.find`. It is strongly consistent, as all queries of Datastore are by now."""
        question = Question(kind, field, equals, at_most, at_least)
        checks.check_question(kind, field, question.bounds, limit)
        asked = checks.fingerprint(kind, field, question.bounds)
        start = None if cursor is None else checks.read_cursor(asked, cursor)
        if start is not None and not _is_possible(Key(kind, start[1])):
            raise BadInput("a cursor with a name that no record can have")
        self._connection.demand_open()
        deadline = Deadline(self._deadline)
        queries = question.queries(self._codec, start)
        parts = await together([self._calls.query(query, limit + 1, deadline) for query in queries])
        found = [record(result) for part in parts for result in part]
        records = found[:limit]
        if len(found) <= limit:
            return Page(records)
        end = records[-1].data[field]
        assert isinstance(end, str | int)  # noqa: S101 - what is indexed was checked when it was written
        return Page(records, checks.make_cursor(asked, end, records[-1].key.name))

    async def find_expired(self, now: datetime, *, limit: int = 500) -> Sequence[Record]:
        """See `Store.find_expired`. It asks for each kind, all at once, and once more for those that have many."""
        self._connection.demand_open()
        checks.to_microseconds(now)
        deadline = Deadline(self._deadline)
        few = min(limit, _FEW_EXPIRED)
        kinds = sorted(SWEPT)
        parts = await together([self._calls.query(expired(kind, now), few, deadline) for kind in kinds])
        if few < limit:
            many = [number for number, part in enumerate(parts) if len(part) == few]
            more = await together([self._calls.query(expired(kinds[number], now), limit, deadline) for number in many])
            for number, part in zip(many, more, strict=True):
                parts[number] = part
        found = [record(result) for part in parts for result in part]
        return sorted(found, key=lambda one: (one.expires_at or now, one.key))[:limit]

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        """See `Store.commit`. Every commit is durable.

        Raises:
            StoreUnavailable: Nothing was written, or, where the detail says so, nobody knows.
            PayloadTooLarge: A record, or the commit, is larger than Datastore takes. Nothing was written.
        """
        checks.check_writes(writes)
        _check_expiries(writes)
        self._connection.demand_open()
        await self._committer.commit(writes, Deadline(self._deadline))

    async def probe(self) -> None:
        """Prove thoroughly that Datastore can be written and guards records by their versions; for `check-config`.

        A record is written, changed under its version, and changed once more under the version that it had, which must
        be refused. Then it is removed.

        Raises:
            StoreUnavailable: It is not so; the detail says what was seen.
        """
        self._connection.demand_open()
        await self._committer.probe(Deadline(self._deadline))


def _check_expiries(writes: Sequence[Write]) -> None:
    for write in writes:
        if not isinstance(write, Delete) and write.expires_at is not None and write.key.kind not in SWEPT:
            raise ValueError(f"the sweep would not find what expires of kind {write.key.kind!r}: SWEPT lacks it")


def _is_possible(key: Key) -> bool:
    return (
        bool(key.kind)
        and checks.is_text(key.kind)
        and checks.is_text(key.name)
        and 1 <= len(key.name.encode()) <= checks.MAX_NAME_BYTES
    )
