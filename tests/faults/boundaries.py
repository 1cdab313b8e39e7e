"""An operation on a served process that is killed at one boundary of one commit, and what is there afterwards."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from authflow.model import from_instant
from authflow.store.memory import _Row
from authflow.store.protocol import Insert, Key
from authflow.store.sqlite import SqliteStore
from tests.engine_kit import START
from tests.faults.chaos import Rows
from tests.faults.matrix import Answer, answered
from tests.faults.mortal import WORK, Life, Mortals
from tests.faults.operations import Operation
from tests.faults.scene import GOOGLE, Act, Stage, contents, difference, make_stage
from tests.parts.server import Server
from tests.served.client import RemotePerson
from tests.web_kit import BASE_URL

PATIENCE = 20.0
QUIET = 0.15
"""Seconds without a commit after which nothing more is expected."""
LEASES_OVER = 60.0
"""Seconds after which nobody holds a task any more."""
GONE = (OSError, asyncio.IncompleteReadError)
KEYS = {GOOGLE.kid: GOOGLE.pem}


@dataclass(frozen=True)
class Boundary:
    """Right before or right after a commit, counted from 1."""

    at: int
    is_after: bool

    def __str__(self) -> str:
        return f"{'after' if self.is_after else 'before'} commit {self.at}"


@dataclass
class Whole:
    """An operation that nobody disturbed, mails and all."""

    answer: Answer
    rows: Rows
    mails: list[str]
    commits: list[str]

    @property
    def boundaries(self) -> list[Boundary]:
        return [Boundary(at, is_after) for at in range(1, len(self.commits) + 1) for is_after in (False, True)]


class Scene:
    """One operation, ready to be carried out by a served process as often as one likes.

    Args:
        mortals: Serve it.
        is_split: Plant a mistake: each commit is written in two.
    """

    def __init__(self, mortals: Mortals, operation: Operation, *, is_split: bool = False) -> None:
        self.is_split = is_split
        self.mortals = mortals
        self.operation = operation
        self.folder = mortals.folder

    async def set_up(self) -> None:
        """Set the operation up in memory, and keep what it stands on as a file."""
        self.stage: Stage = await make_stage(self.operation.user())
        self.act: Act = await self.operation.set_up(self.stage)
        # What was deferred on the way here is done, so that every commit counted is of the operation itself.
        await self.stage.site.run_tasks()
        self.passed = (self.stage.site.clock() - START).total_seconds()
        self.before = dict(self.stage.store._rows)
        server = SimpleNamespace(port=self.mortals.port, base_url=BASE_URL)
        self.cookies = dict(self.stage.person.cookies)
        self.person = self.stage.person = RemotePerson(cast(Server, server), address="192.0.2.10")
        self.erase()
        store = SqliteStore(self.database)
        await store.open()
        records = await self.stage.store.get(list(self.before))
        for record in records.values():
            await store.commit([Insert(record.key, record.data, record.expires_at)])
        await store.close()
        shutil.copy(self.database, self.folder / "kept.sqlite")
        self.before = self.rows()

    @property
    def database(self) -> Path:
        return self.folder / "store.sqlite"

    def erase(self) -> None:
        for path in [*self.folder.glob("store.sqlite*"), self.folder / "commits", *self.folder.glob("mails/*")]:
            path.unlink(missing_ok=True)

    def restore(self) -> None:
        self.erase()
        shutil.copy(self.folder / "kept.sqlite", self.database)
        self.person.cookies = dict(self.cookies)

    # --- Lives --------------------------------------------------------------------------------------------------------

    def begin(self, boundary: Boundary | None = None, *, later: float = 0.0) -> None:
        at, is_after = (boundary.at, boundary.is_after) if boundary else (0, False)
        self.now = from_instant(START + timedelta(seconds=self.passed + later))
        work = self.operation.name if self.operation.name in WORK else ""
        self.mortals.begin(Life(self.operation.name, at, is_after, self.passed + later, self.is_split, work))

    async def done(self) -> Answer | None:
        """Do what the operation does; None if nobody lived to answer."""
        if self.operation.name in WORK:
            return Answer(200, "")
        try:
            async with asyncio.timeout(PATIENCE):
                return await _answered(self.act)
        except GONE:
            return None

    async def settled(self) -> None:
        """Wait until every task is done and nothing more is written; then end the life."""
        if self.operation.name in WORK:
            assert self.mortals.end() == 0
            return
        end = time.monotonic() + PATIENCE
        count, since = -1, time.monotonic()
        while True:
            assert time.monotonic() < end, "tasks do not come to an end"
            now = len(self.commits())
            if now != count:
                count, since = now, time.monotonic()
            waiting = [key for key, row in self.rows().items() if key.kind == "outbox" and self._is_due(row.body)]
            if not waiting and time.monotonic() - since > QUIET:
                break
            await asyncio.sleep(0.01)
        self.mortals.kill()
        self.mortals.end()

    # --- What is there ------------------------------------------------------------------------------------------------

    def commits(self) -> list[str]:
        path = self.folder / "commits"
        return path.read_text().splitlines() if path.exists() else []

    def rows(self) -> Rows:
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT kind, name, body, version, expires_at FROM record").fetchall()
        return {Key(kind, name): _Row(body, version, expires_at) for kind, name, body, version, expires_at in rows}

    def mails(self) -> list[str]:
        """Return the Message-IDs of what was sent."""
        files = (self.folder / "mails").glob("*.eml")
        mails = (email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files)
        return [str(mail["Message-ID"]) for mail in mails]

    # --- Trials -------------------------------------------------------------------------------------------------------

    async def whole(self) -> Whole:
        """Carry the operation out undisturbed."""
        self.restore()
        self.begin()
        answer = await self.done()
        assert answer is not None
        assert not answer.is_fault, answer.text
        await self.settled()
        return Whole(answer, self.rows(), self.mails(), self.commits())

    async def killed(self, whole: Whole, boundary: Boundary) -> AsyncIterator[str]:
        """Carry it out, kill the process at a boundary, start another; yield what is wrong."""
        self.restore()
        self.begin(boundary)
        told = await self.done()
        if (status := self.mortals.end()) != 9:
            yield f"the process ended with {status}, not by this boundary"
            return
        after_kill, sent = self.rows(), self.mails()
        count = boundary.at if boundary.is_after else boundary.at - 1
        is_untouched = self._plain(after_kill) == self._plain(self.before)
        if (count == 0) != is_untouched:
            yield "something was written before the first commit" if count == 0 else "the first commit is lost"
        waits = any(key.kind == "outbox" for key in after_kill)

        self.begin(later=0.0 if is_untouched else LEASES_OVER)
        if is_untouched and self.operation.name not in WORK:
            if told is not None and told == whole.answer:
                yield "it was told as done, and is not"
            again = await self.done()
            if again != whole.answer:
                yield f"not done by repeating: {again and again.status}"
        await self.settled()

        wanted = contents(whole.rows, self.before, without_times=True)
        held = contents(self.rows(), self.before, without_times=True)
        if held != wanted:
            yield "in the end it is not as it should be:\n" + difference(wanted, held)
        mails = Counter(self.mails())
        if len(mails) != len(whole.mails):
            yield f"{len(mails)} mails instead of {len(whole.mails)}"
        for message_id, number in mails.items():
            # Handed over, and not marked: here, and only here, a mail comes twice.
            may_double = message_id in sent and waits
            if number > (2 if may_double else 1):
                yield f"a mail came {number} times"

    def _is_due(self, body: str) -> bool:
        """Whether a task is carried out in this life. Its clock stands still: what was put off stays so."""
        task = json.loads(body)
        return bool(task.get("leased")) or task["due_at"] <= self.now

    def _plain(self, rows: Rows) -> dict[Key, Any]:
        return {key: (json.loads(row.body), row.expires_at) for key, row in rows.items()}


async def _answered(act: Act) -> Answer:
    lost: list[BaseException] = []

    async def listening() -> Any:
        try:
            return await act()
        except GONE as error:
            lost.append(error)
            raise

    answer = await answered(listening)
    if lost:
        raise lost[0]
    return answer
