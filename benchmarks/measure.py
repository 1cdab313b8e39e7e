"""What authflow costs beside the floor: `scripts/bench [--quick] [--json] [--check]`.

Loopback only. Floor and authflow take turns, every second time in reverse order, so that a host that grows slower or
faster meets both alike; a ratio is the median of the ratios of each turn. CPU is that of the server's process alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from benchmarks import trips
from benchmarks.client import Browser, Failed, Script, drive
from benchmarks.floor import PASSWORD
from benchmarks.report import Report, Row
from benchmarks.server import Server, cores
from benchmarks.subjects import AUTHFLOW, FLOOR, ROUNDS, Subject, mail, password_login, repeated, two_step_login

WITHIN = 120.0
"""Seconds after which a part is given up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done.

    Attributes:
        repetitions: Turns of each subject.
        starts: Servers started in each turn; the last one is then measured.
        connections: Side by side, for single requests. Login flows go one after the other.
        requests, flows: In each turn.
        logins: For the growth of memory.
    """

    repetitions: int = 7
    starts: int = 3
    connections: int = 16
    requests: int = 6_400
    flows: int = 150
    logins: int = 2_000

    @property
    def warm_up(self) -> int:
        return max(10, self.flows // 5)

    @property
    def accounts(self) -> int:
        # A code is good once: each flow with a second factor has an account of its own.
        return self.warm_up + self.flows


QUICK = Plan(repetitions=1, starts=1, connections=4, requests=200, flows=10, logins=20)


class Bench:
    """One run.

    Args:
        folder: Where the databases go.
        tell: Told what is being done.
    """

    def __init__(self, plan: Plan, folder: Path, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.core, self.client_core = cores()
        self._seeded = {subject.name: folder / f"{subject.name}.seed" for subject in (FLOOR, AUTHFLOW)}
        self._tell = tell
        self.request = Row("authenticated request, CPU", "us", goal=1.6)
        self.page = Row("page with a valid session, CPU", "us")
        self.login = Row("login by password, without the hash, CPU", "ms")
        self.two_steps = Row("login by password and code, without the hash, CPU", "ms")
        self.hash = Row(f"bcrypt of cost {ROUNDS}, which was subtracted, CPU", "ms")
        self.start_cpu = Row("start to first login page, CPU", "ms", goal=1.5)
        self.start_wall = Row("start to first login page, wall", "ms")
        self.modules = Row("modules loaded after the first login page", "")
        self.rss = Row("memory after the first login page", "MB")
        self.growth = Row(f"memory, growth over {plan.logins:,} logins", "MB")

    def run(self) -> Report:
        """Measure everything.

        Raises:
            Failed: A subject did not answer as it must, or not in time.
        """
        if self.client_core >= 0:
            os.sched_setaffinity(0, {self.client_core})
        for subject in (FLOOR, AUTHFLOW):
            self._tell(f"seeding {subject.name}")
            subject.make_database(self._seeded[subject.name], self.plan.accounts)
        for turn in range(self.plan.repetitions):
            self._tell(f"turn {turn + 1} of {self.plan.repetitions}")
            for subject in (FLOOR, AUTHFLOW) if turn % 2 == 0 else (AUTHFLOW, FLOOR):
                self._take_turn(subject)
        for subject in (FLOOR, AUTHFLOW):
            self._tell(f"{self.plan.logins:,} logins of {subject.name}")
            self._grow(subject)
        self._tell("store round trips")
        steps = asyncio.run(trips.count())
        rows = [self.request, self.page, self.login, self.two_steps, self.hash, self.start_cpu, self.start_wall]
        return Report([*rows, self.modules, self.rss, self.growth], steps, self.plan.repetitions)

    def _take_turn(self, subject: Subject) -> None:
        for left in reversed(range(self.plan.starts)):
            with Server(subject, self._seeded[subject.name], self.core) as server:
                self.start_cpu.add(subject.name, server.start_cpu * 1e3)
                self.start_wall.add(subject.name, server.start_wall * 1e3)
                if not left:
                    self.rss.add(subject.name, server.start_rss)
                    self.modules.add(subject.name, server.modules())
                    self._measure(server)

    def _measure(self, server: Server) -> None:
        subject, warm_up, plan = server.subject, self.plan.warm_up, self.plan
        hashing = self._hash_seconds()
        self.hash.add(subject.name, hashing * 1e3)
        browser = server.browser()
        self._drive(server, [password_login(subject, browser, mail(0))])
        self._drive(server, [self._logins(server, 0, warm_up)])
        cpu = self._cpu_of(server, [self._logins(server, warm_up, plan.flows)]) / plan.flows
        self.login.add(subject.name, (cpu - hashing) * 1e3)
        self.request.add(subject.name, self._request_cpu(server, browser.get(subject.profile)) * 1e6)
        if subject.page:
            self.page.add(subject.name, self._request_cpu(server, browser.get(subject.page)) * 1e6)
        if subject is AUTHFLOW:
            self._drive(server, [_two_step_logins(server.browser, range(warm_up))])
            flows = _two_step_logins(server.browser, range(warm_up, warm_up + plan.flows))
            cpu = self._cpu_of(server, [flows]) / plan.flows
            self.two_steps.add(subject.name, (cpu - hashing) * 1e3)

    def _grow(self, subject: Subject) -> None:
        with Server(subject, self._seeded[subject.name], self.core) as server:
            self._drive(server, [self._logins(server, 0, self.plan.accounts)])
            before = server.rss()
            done = 0
            while done < self.plan.logins:
                count = min(self.plan.accounts, self.plan.logins - done)
                self._drive(server, [self._logins(server, 0, count)])
                done += count
            self.growth.add(subject.name, server.rss() - before)

    def _request_cpu(self, server: Server, request: bytes) -> float:
        plan = self.plan
        each = plan.requests // plan.connections
        self._drive(server, [repeated(request, each // 10 + 1) for _ in range(plan.connections)])
        scripts = [repeated(request, each) for _ in range(plan.connections)]
        return self._cpu_of(server, scripts) / (each * plan.connections)

    def _cpu_of(self, server: Server, scripts: Iterable[Script]) -> float:
        before = server.cpu()
        self._drive(server, scripts)
        return server.cpu() - before

    def _drive(self, server: Server, scripts: Iterable[Script]) -> None:
        drive(server.port, scripts, within=WITHIN)

    def _logins(self, server: Server, first: int, count: int) -> Script:
        for number in range(first, first + count):
            yield from password_login(server.subject, server.browser(), mail(number))

    def _hash_seconds(self) -> float:
        """Measure the hash by itself, on the server's core."""
        stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(ROUNDS))
        if self.core >= 0:
            os.sched_setaffinity(0, {self.core})
        times = []
        for _ in range(50):
            before = time.thread_time()
            bcrypt.checkpw(PASSWORD.encode(), stored)
            times.append(time.thread_time() - before)
        if self.client_core >= 0:
            os.sched_setaffinity(0, {self.client_core})
        return sorted(times)[len(times) // 2]


def _two_step_logins(browser: Callable[[], Browser], numbers: Iterable[int]) -> Script:
    for number in numbers:
        yield from two_step_login(browser(), mail(number, with_factor=True))


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="once and briefly: shows that it runs, measures little")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal or a budget is missed")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    with tempfile.TemporaryDirectory(prefix="authflow-bench-") as folder:
        try:
            report = Bench(plan, Path(folder), lambda text: print(text, file=sys.stderr, flush=True)).run()
        except Failed as error:
            print(f"bench: {error}", file=sys.stderr)
            return 2
    print(report.as_json() if arguments.json else report.as_text())
    return 1 if arguments.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
