"""A flood of logins, and a store that fails: who is refused is refused fast and told to come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from authflow.model import Account
from authflow.testing import Page
from tests.parts.require import require
from tests.parts.server import Server
from tests.served.client import Connection, RemotePerson, rounds
from tests.served.people import PASSWORD, PASSWORD_PATH, PROFILE, new_account

pytestmark = [pytest.mark.slow]

ANSWER_WITHIN = 3.0
"""Seconds within which a store fault is answered."""

HEALTHY_WITHIN = 0.25
REFUSED_WITHIN = 0.5
RECOVERED_WITHIN = 2.0


# --- The flood --------------------------------------------------------------------------------------------------------


async def test_a_flood_of_logins_starves_nobody() -> None:
    with Server(rounds=12) as server:
        # Other work on this machine takes the processor away from us; that much it does not do three times in a row.
        seen = []
        for _ in range(max(3, rounds(3))):
            flood = await Flood.of(server, 120)
            seen.append(flood)
            if flood.is_calm:
                break
        assert any(flood.is_calm for flood in seen), [flood.summary for flood in seen]

        for flood in seen:
            assert set(flood.statuses) <= {200, 429, 503}, flood.statuses
            assert flood.statuses[200] >= 17, "what the queue holds is served"
            assert flood.statuses[429] + flood.statuses[503] >= 40, "and the rest refused"
            assert all(page.header("retry-after") for page in flood.refused)
        person = RemotePerson(server)
        began = time.monotonic()
        assert (await person.log_in("nobody@example.org", "no such password")).status == 200
        assert time.monotonic() - began < RECOVERED_WITHIN


class Flood:
    """What so many logins at once were answered, and how the server was meanwhile."""

    def __init__(self, timed: list[tuple[float, Page]], healthz: list[float]) -> None:
        self.statuses = Counter(page.status for _, page in timed)
        self.refused = [page for _, page in timed if page.status in (429, 503)]
        self.refusals = sorted(at for at, page in timed if page.status in (429, 503))
        self.healthz = sorted(healthz)

    @property
    def is_calm(self) -> bool:
        return self.healthy_p99 < HEALTHY_WITHIN and self.slowest_refusal < REFUSED_WITHIN

    @property
    def healthy_p99(self) -> float:
        return self.healthz[int(len(self.healthz) * 0.99)]

    @property
    def slowest_refusal(self) -> float:
        return self.refusals[-1] if self.refusals else 0.0

    @property
    def summary(self) -> str:
        return f"{dict(self.statuses)}, healthz p99 {self.healthy_p99:.3f} s, refusals to {self.slowest_refusal:.3f} s"

    @classmethod
    async def of(cls, server: Server, count: int) -> Flood:
        persons = [RemotePerson(server) for _ in range(count)]
        skeys = [await person.skey() for person in persons]
        connections = [Connection(server) for _ in persons]
        await asyncio.gather(*(connection.__aenter__() for connection in connections))
        healthz: list[float] = []
        is_over = asyncio.Event()

        async def watch() -> None:
            probe = RemotePerson(server).encode("GET", "/healthz")
            async with Connection(server) as connection:
                while not is_over.is_set() or len(healthz) < 100:
                    began = time.monotonic()
                    await connection.exchange(probe)
                    healthz.append(time.monotonic() - began)
                    await asyncio.sleep(0.01)

        async def log_in(number: int, person: RemotePerson, connection: Connection) -> tuple[float, Page]:
            values = {"skey": skeys[number], "name": f"flood{number}@example.org", "password": "not the password"}
            began = time.monotonic()
            page = await connection.exchange(person.posting(f"{PASSWORD_PATH}/login", **values))
            return time.monotonic() - began, page

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.1)
        each = zip(range(count), persons, connections, strict=True)
        timed = await asyncio.gather(*(log_in(*one) for one in each))
        is_over.set()
        await watching
        for connection in connections:
            connection.writer.close()
        return cls(timed, healthz)


# --- The store fails --------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
async def account(server: Server) -> Account:
    async with server.application() as app:
        return await new_account(app)


async def test_a_store_that_another_process_has_locked_is_a_503_in_time_and_heals_at_once(
    server: Server, account: Account
) -> None:
    person = await prepared(server)
    with locked(server.database):
        others = [await prepared(server) for _ in range(8)]
        for seconds, page in await asyncio.gather(*(timed_login(server, other, account.name) for other in others)):
            assert_refused(page, seconds)

    seconds, page = await timed_login(server, person, account.name)

    assert page.location == PROFILE
    assert seconds < RECOVERED_WITHIN


async def test_reading_goes_on_while_another_process_writes(server: Server, account: Account) -> None:
    person = RemotePerson(server)
    assert (await person.log_in(account.name, PASSWORD)).location == PROFILE
    with locked(server.database):
        page = await person.get(PROFILE)

    assert page.status == 200


async def test_a_disk_that_is_full_is_a_503_and_heals_at_once(
    server: Server, account: Account, request: pytest.FixtureRequest
) -> None:
    require(request, sys.platform == "linux", "only Linux can limit the files of another process")
    person = await prepared(server)
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    try:
        # What a full disk is to a write, this limit is too: the file cannot grow.
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, before[1]))
        for _ in range(3):
            seconds, page = await timed_login(server, await prepared(server), account.name)
            assert_refused(page, seconds)
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)

    seconds, page = await timed_login(server, person, account.name)

    assert page.location == PROFILE
    assert seconds < RECOVERED_WITHIN


@pytest.mark.parametrize(
    "damage",
    [
        "deleted",
        "replaced by an empty file",
        "replaced by a folder",
        "overwritten",
    ],
)
async def test_a_store_whose_file_was_taken_away_lets_nobody_in_and_breaks_nothing(
    server: Server, account: Account, damage: str
) -> None:
    person = await prepared(server)
    damage_file(server.database, damage)

    for who in (person, await prepared(server)):
        seconds, page = await timed_login(server, who, account.name)

        assert_refused(page, seconds)
    assert server.is_healthy()


async def test_a_file_that_is_put_back_serves_again(server: Server, account: Account) -> None:
    person = await prepared(server)
    aside = server.folder / "aside"
    aside.mkdir()
    moved = [shutil.move(path, aside) for path in server.folder.glob("store.sqlite*") if path.suffix != ".keys"]
    page = (await timed_login(server, person, account.name))[1]
    assert page.status == 503
    # What the server has made in its place meanwhile, if anything, goes.
    for path in server.folder.glob("store.sqlite*"):
        if path.suffix != ".keys":
            path.unlink()
    for path in moved:
        shutil.move(path, server.folder)

    seconds, page = await timed_login(server, await prepared(server), account.name)

    assert page.location == PROFILE
    assert seconds < RECOVERED_WITHIN


# --- Means ------------------------------------------------------------------------------------------------------------


async def prepared(server: Server) -> RemotePerson:
    """Return somebody who has the login page open."""
    person = RemotePerson(server)
    await person.get("/user/login")
    return person


async def timed_login(server: Server, person: RemotePerson, name: str) -> tuple[float, Page]:
    skey = await person.skey()
    began = time.monotonic()
    values = {"skey": skey, "name": name, "password": PASSWORD}
    page = await asyncio.wait_for(person.post(f"{PASSWORD_PATH}/login", values), 10)
    return time.monotonic() - began, page


def assert_refused(page: Page, seconds: float) -> None:
    assert page.status == 503, (page.status, page.location)
    assert page.header("retry-after")
    assert seconds < ANSWER_WITHIN
    for word in ("Traceback", "sqlite", "SQLITE", "authflow/store", "Error:"):
        assert word not in page.text


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the lock of every writer."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def damage_file(database: Path, damage: str) -> None:
    side = [database.with_name(database.name + end) for end in ("-wal", "-shm")]
    match damage:
        case "overwritten":
            for path in (database, *side):
                if path.exists():
                    path.write_bytes(os.urandom(max(path.stat().st_size, 8192)))
            return
        case _:
            for path in (database, *side):
                path.unlink(missing_ok=True)
    if damage.endswith("folder"):
        database.mkdir()
    elif damage.endswith("empty file"):
        database.touch(0o600)
