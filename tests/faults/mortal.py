"""Served processes that end themselves, by SIGKILL, right before or right after a commit of theirs.

Run as a program it imports everything, listens on a port and says which. Each line that it reads then makes one life: a
forked process that serves on this port, until it is killed or told to die.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from authflow.assembly import Application, build
from authflow.render import Renderer
from authflow.seam import Call
from authflow.settings import Settings
from authflow.store.protocol import Write
from authflow.web.app import create_app
from tests.engine_kit import KEY, START
from tests.faults.chaos import FaultyFetching, Wire
from tests.faults.operations import OPERATIONS
from tests.parts.google_people import CLIENT_ID
from tests.web_kit import BASE_URL

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0


@dataclass(frozen=True)
class Life:
    """What one process is to do.

    Attributes:
        operation: Whose user module it serves.
        at: Number of the commit, from 1 on, at which it ends; 0 for none.
        is_after: Whether it ends when that commit is done, instead of before it.
        passed: Seconds since the beginning of time, which stands still in a life.
        is_split: Whether each commit is written in two, to see that found.
        work: What it does at once, of what commands do, instead of serving; see `WORK`.
    """

    operation: str
    at: int = 0
    is_after: bool = False
    passed: float = 0.0
    is_split: bool = False
    work: str = ""


WORK = {
    "clean": lambda app: app.administration.clean(),
    "first administrator": lambda app: app.administration.create_new_user_if_not_exists(),
    "rotate keys": lambda app: app.administration.rotate_keys(),
}


class Mortal:
    """An observer that counts commits, notes them down, and ends the process at one of them."""

    def __init__(self, life: Life, notes: Path) -> None:
        self._life = life
        self._notes = notes
        self._count = 0

    async def before(self, call: Call) -> None:
        if call.operation == "commit":
            self._count += 1
            self._end_if(self._life.at == self._count and not self._life.is_after)

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        if call.operation == "commit":
            with open(self._notes, "a") as notes:
                notes.write(f"{' '.join(call.detail)}\n")
            self._end_if(self._life.at == self._count and self._life.is_after)

    def _end_if(self, is_due: bool) -> None:
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)


# --- The program ------------------------------------------------------------------------------------------------------


def main(folder: Path, keys: Mapping[str, str]) -> None:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
    renderer = Renderer()
    for line in sys.stdin:
        life = Life(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            os._exit(live(life, folder, keys, listening, renderer))
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": status}), flush=True)


def live(life: Life, folder: Path, keys: Mapping[str, str], listening: socket.socket, renderer: Renderer) -> int:
    settings = Settings(
        store=f"sqlite:{folder / 'store.sqlite'}",
        mail=f"file:{folder / 'mails'}",
        secret_keys=("a newer master key, long enough too", KEY) if life.work == "rotate keys" else (KEY,),
        base_url=BASE_URL,
        bcrypt_rounds=4,
        provider_environment={"google_client_id": CLIENT_ID},
    )
    now = START + timedelta(seconds=life.passed)
    app = build(
        settings,
        user=OPERATIONS[life.operation].user(),
        clock=lambda: now,
        observers=(Mortal(life, folder / "commits"),),
        fetching=FaultyFetching(Wire(), keys),
    )
    if life.operation == "login right with an old hash":
        app.services.hasher.rounds = 5
    if life.is_split:
        _split(app)
    if life.work:
        asyncio.run(_work(app, life.work))
    else:
        config = uvicorn.Config(create_app(app), log_level="critical", lifespan="on")
        uvicorn.Server(config).run(sockets=[listening])
    return 0


def _split(app: Application) -> None:
    store = app.services.store
    commit = store.commit

    async def split(writes: Sequence[Write], *, durable: bool = True) -> None:
        half = len(writes) // 2
        for part in filter(None, (writes[:half], writes[half:])):
            await commit(part, durable=durable)

    store.commit = split  # type: ignore[method-assign]


async def _work(app: Application, work: str) -> None:
    await app.open(with_worker=False)
    await WORK[work](app)
    await app.close()


# --- Who starts it ----------------------------------------------------------------------------------------------------


class Mortals:
    """Has such a program run while the block lasts.

    Args:
        folder: What its lives write lies below it: `store.sqlite`, `mails`, and `commits` with a line for each.
        keys: What the remote party publishes.

    Attributes:
        port: Where they serve. Who comes between two lives waits for the next.
    """

    def __init__(self, folder: Path, keys: Mapping[str, str]) -> None:
        self.folder = folder
        self._keys = keys
        self._pid = 0

    def __enter__(self) -> Self:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTHFLOW_", "GAE_", "COV_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.mortal", str(self.folder), json.dumps(dict(self._keys))],
            cwd=ROOT,
            env={**kept, "PYTHONPATH": str(ROOT), "AUTHFLOW_TESTING": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port: int = self._heard()["port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()

    def begin(self, life: Life) -> None:
        """Start one life. The one before must have ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(life)) + "\n")
        self._process.stdin.flush()
        self._pid = self._heard()["pid"]

    def end(self) -> int:
        """Wait for the end of the present life; return its status as `waitpid` does. After a while it is killed."""
        watch = threading.Timer(PATIENCE, self.kill)
        watch.start()
        try:
            return int(self._heard()["status"])
        finally:
            watch.cancel()
            self._pid = 0

    def kill(self) -> None:
        """End the present life from outside."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the program has ended"
        heard: dict[str, Any] = json.loads(line)
        return heard


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
