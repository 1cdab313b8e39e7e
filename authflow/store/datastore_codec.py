"""How a record lies in Datastore, and back: an entity of the record's kind and name, with these properties.

- `body` is the whole record as JSON text.
- `commit_id` is random text of the commit that wrote it. Datastore leaves the version as it is when a write changes
  nothing, and such a write would guard nothing.
- `expires_at` is a timestamp, as TTL policies want it. The sweep looks for it, so it is indexed.
- The fields that `find` may be asked for stand beside them, indexed. Nothing else is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from authflow.errors import PayloadTooLarge, StoreUnavailable
from authflow.store import checks
from authflow.store.datastore_rpc import (
    CommitRequest,
    Entity,
    KeyMessage,
    LookupRequest,
    Message,
    Mutation,
    PartitionId,
    PathElement,
    Value,
)
from authflow.store.protocol import INDEXED, Data, Delete, Insert, Key, Put, Record, Update, Version, Write

BODY = "body"
COMMIT_ID = "commit_id"
EXPIRES_AT = "expires_at"

MAX_BODY_BYTES = 1_048_487
MAX_ENTITY_BYTES = 1_048_572
MAX_COMMIT_BYTES = 10 * 1_048_576
"""Datastore's limits for a text that is not indexed, an entity, a request."""

_RESERVED = re.compile(r"__.*__\0*", re.DOTALL)
_ESCAPED = re.compile(r"__.*__\0+", re.DOTALL)
_MILLION = 1_000_000


class Codec:
    """Writes and reads the messages of one project and namespace."""

    def __init__(self, project: str, namespace: str) -> None:
        self.project = project
        self.partition = PartitionId(project_id=project, namespace_id=namespace)

    def key(self, key: Key) -> Message:
        """Write a key. Datastore keeps names like `__this__` for itself: those get a NUL more.

        It is the least character, so that names keep their order.
        """
        name = key.name + "\0" if key.name.startswith("__") and _RESERVED.fullmatch(key.name) else key.name
        return KeyMessage(partition_id=self.partition, path=(PathElement(kind=key.kind, name=name),))

    def lookup(self, keys: Sequence[Message]) -> Message:
        """Ask for the entities of these keys, strongly consistent, as is the default."""
        return LookupRequest(project_id=self.project, keys=keys)

    def commit(self, mutations: Sequence[Message]) -> Message:
        """Make a commit of its own transaction: no begin, no lock, all or nothing.

        Raises:
            PayloadTooLarge: Datastore would take no request of this size.
        """
        request = CommitRequest(project_id=self.project, mode=CommitRequest.TRANSACTIONAL, mutations=mutations)
        request.single_use_transaction.read_write.SetInParent()
        if request.ByteSize() > MAX_COMMIT_BYTES:
            raise PayloadTooLarge(f"a commit of {request.ByteSize()} bytes; Datastore takes {MAX_COMMIT_BYTES}")
        return request

    def mutation(self, write: Write, commit_id: str) -> Message:
        """Write a mutation. One with a version is refused, with its whole commit, when the record has another.

        `insert` refuses what exists. A base version counts only together with the strategy FAIL: without, a stale
        mutation is dropped in silence, or applied.

        Raises:
            PayloadTooLarge: The record is larger than Datastore's entities.
        """
        if isinstance(write, Delete):
            if write.version is None:
                return Mutation(delete=self.key(write.key))
            return Mutation(
                delete=self.key(write.key), base_version=write.version, conflict_resolution_strategy=Mutation.FAIL
            )
        entity = self._entity(write.key, write.data, write.expires_at, commit_id)
        match write:
            case Insert():
                return Mutation(insert=entity)
            case Put():
                return Mutation(upsert=entity)
            case Update():
                return Mutation(update=entity, base_version=write.version, conflict_resolution_strategy=Mutation.FAIL)
            case _:
                assert_never(write)

    def _entity(self, key: Key, data: Data, expires_at: datetime | None, commit_id: str) -> Message:
        body = checks.encode_body(data)
        entity = Entity(key=self.key(key))
        properties = entity.properties
        _set_text(properties[BODY], body)
        _set_text(properties[COMMIT_ID], commit_id)
        if expires_at is not None:
            properties[EXPIRES_AT].CopyFrom(instant_value(expires_at))
        for field in INDEXED.get(key.kind, ()):
            value = data.get(field)
            if isinstance(value, str | int):
                properties[field].CopyFrom(index_value(value))
        if len(body.encode()) > MAX_BODY_BYTES or entity.ByteSize() > MAX_ENTITY_BYTES:
            raise PayloadTooLarge(f"a record of kind {key.kind!r} of {len(body)} characters is too large for Datastore")
        return entity


def index_value(value: str | int) -> Message:
    """Write a value that is indexed."""
    return Value(string_value=value) if isinstance(value, str) else Value(integer_value=value)


def instant_value(instant: datetime) -> Message:
    """Write an instant that is indexed."""
    seconds, rest = divmod(checks.to_microseconds(instant), _MILLION)
    value = Value()
    value.timestamp_value.seconds, value.timestamp_value.nanos = seconds, rest * 1000
    return value


def key_of(entity: Message) -> Key:
    """Read an entity's key."""
    element = entity.key.path[-1]
    name = element.name
    return Key(element.kind, name[:-1] if name.endswith("\0") and _ESCAPED.fullmatch(name) else name)


def commit_id_of(entity: Message) -> str:
    """Read which commit wrote an entity."""
    return str(entity.properties[COMMIT_ID].string_value) if COMMIT_ID in entity.properties else ""


def record(result: Message) -> Record:
    """Read an `EntityResult`.

    Raises:
        StoreUnavailable: It is no record of ours.
    """
    entity = result.entity
    properties = entity.properties
    version: Version = result.version
    if BODY not in properties:
        raise StoreUnavailable("a record cannot be read: it has no body")
    expires_at = None
    if EXPIRES_AT in properties:
        instant = properties[EXPIRES_AT].timestamp_value
        try:
            expires_at = checks.from_microseconds(instant.seconds * _MILLION + instant.nanos // 1000)
        except OverflowError as error:
            raise StoreUnavailable("a record cannot be read: its expiry is no instant") from error
    return Record(key_of(entity), checks.StoredBody(properties[BODY].string_value), version, expires_at)


def _set_text(value: Message, text: str) -> None:
    value.string_value = text
    value.exclude_from_indexes = True
