"""Long runs of what the test suite does in short, with progress on standard error.

scripts/explore races  --rounds 200           single-use things, guesses and dead sessions, raced over two processes;
                                              with --store datastore|firestore on one of Datastore's emulators
scripts/explore kill   --rounds 100           SIGKILL at each commit, on the way of a mail, and amid logins
scripts/explore timing --samples 2000         whether the time of an answer tells what an account is like
scripts/explore fuzz   --requests 100000      malformed requests to every path: no 5xx, no traceback, no growth
scripts/explore schedules                     every order in which two or three operations on an account reach the store
scripts/explore stateful --steps 100000       people who do anything in any order, beside a model that says the same
scripts/explore mutants --count 5000           every small change of table, policy, gates and hooks: is it found?

Exit 0: nothing was found. 1: something was, and stands on standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.served.fuzzing import Fuzzer
from tests.served.timing import ENDPOINTS, HastyUser, differences, sample

ROOT = Path(__file__).resolve().parents[2]
GROWTH = 20 * 1024 * 1024
KILLS, KILLS_AT_COMMITS = "tests/served/test_kill.py", "tests/served/test_kill_at_commits.py"
STATEFUL = ("tests/engine/test_stateful.py", "tests/web/test_stateful.py")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/explore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    races = commands.add_parser("races", help="race single-use things, guesses and dead sessions")
    races.add_argument("--rounds", type=int, default=200, help="of each race (default 200; the test suite does 10)")
    races.add_argument("--store", choices=("sqlite", "datastore", "firestore"), default="sqlite", help="default sqlite")
    races.add_argument("-k", default="", metavar="WORDS", help="only races whose names match, as in pytest")

    kill = commands.add_parser("kill", help="kill the server at every point")
    kill.add_argument("--rounds", type=int, default=100, help="scale (default 100; the test suite does 10)")
    kill.add_argument("-k", default="", metavar="WORDS", help="only tests whose names match, as in pytest")

    timing = commands.add_parser("timing", help="compare how long answers take")
    timing.add_argument("--samples", type=int, default=2000, help="of each kind of account (default 2000)")
    timing.add_argument("--cost", type=int, action="append", help="bcrypt's; may be repeated (default 4)")
    timing.add_argument("--endpoint", choices=ENDPOINTS, action="append", help="may be repeated (default: all)")
    timing.add_argument("--clock", choices=("wall", "processor"), default="wall", help="what is measured")
    timing.add_argument("--planted", action="store_true", help="measure a provider that leaks, to see it found")

    fuzz = commands.add_parser("fuzz", help="send malformed requests")
    fuzz.add_argument("--requests", type=int, default=100_000, help="how many (default 100000)")
    fuzz.add_argument("--seed", type=int, default=None, help="to repeat a run; drawn and printed without one")

    schedules = commands.add_parser("schedules", help="run every order of concurrent operations")
    schedules.add_argument("-k", default="", metavar="WORD", help="only scenes whose names hold it")

    stateful = commands.add_parser("stateful", help="let people do anything, beside a model")
    stateful.add_argument("--steps", type=int, default=100_000, help="of each machine (default 100000)")
    stateful.add_argument("-k", default="", metavar="WORDS", help="only tests whose names match, as in pytest")

    mutants = commands.add_parser("mutants", help="change table, policy, gates and hooks, and prove the flows")
    mutants.add_argument("--count", type=int, default=300, help="how many, drawn by chance (default 300)")
    mutants.add_argument("--seed", type=int, default=None, help="to repeat a run; drawn and printed without one")

    chosen = parser.parse_args()
    match chosen.command:
        case "races":
            if chosen.store == "sqlite":
                return run_tests("tests/served/test_races.py", chosen.rounds, chosen.k)
            # The module's own name holds the word datastore, so the other one is named.
            words = "firestore" if chosen.store == "firestore" else "not firestore"
            words += f" and ({chosen.k})" if chosen.k else ""
            return run_tests("tests/served/test_datastore_races.py", chosen.rounds, words)
        case "kill":
            return run_tests(f"{KILLS} {KILLS_AT_COMMITS}", chosen.rounds, chosen.k)
        case "timing":
            return asyncio.run(run_timing(chosen))
        case "schedules":
            return run_schedules(chosen.k)
        case "stateful":
            return run_stateful(chosen.steps, chosen.k)
        case "mutants":
            from tests.proving.mutants import main as try_mutants

            return try_mutants(chosen.count, int.from_bytes(os.urandom(4)) if chosen.seed is None else chosen.seed)
        case _:
            return asyncio.run(run_fuzz(chosen.requests, chosen.seed))


def run_tests(paths: str, rounds: int, words: str) -> int:
    """Run modules of the suite at another scale, told by the environment."""
    environment = {**os.environ, "AUTHFLOW_ROUNDS": str(rounds), "AUTHFLOW_PROGRESS": "1"}
    command = [sys.executable, "-m", "pytest", *paths.split(), "-q", "-s", "-p", "no:cacheprovider", "-k", words]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


# --- Schedules and states ---------------------------------------------------------------------------------------------


def run_schedules(word: str) -> int:
    from tests.concurrency.exploring import explore_all

    total = 0

    def told(name: str, meetings: int, count: int) -> None:
        nonlocal total
        total += count
        print(f"{name}: {meetings} meetings, {count} schedules, {time.process_time():.0f} s so far", flush=True)

    found = explore_all(told, word)
    for violation in found:
        print(violation)
    print(f"{total} schedules, {len(found)} meetings of which one must not be")
    return 1 if found else 0


def run_stateful(steps: int, words: str) -> int:
    """Run each state machine for so many steps at least, some fifty to an example."""
    scale = {"AUTHFLOW_STATEFUL_EXAMPLES": str(steps // 40 + 1), "AUTHFLOW_STATEFUL_STEPS": "50",
             "AUTHFLOW_PROGRESS": "1"}  # fmt: skip
    command = [sys.executable, "-m", "pytest", *STATEFUL, "-q", "-s", "-p", "no:cacheprovider", "-k", words]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **scale}, check=False).returncode


# --- Timing -----------------------------------------------------------------------------------------------------------


async def run_timing(chosen: argparse.Namespace) -> int:
    clock = time.perf_counter if chosen.clock == "wall" else time.process_time
    found = 0
    for cost in chosen.cost or [4]:
        for endpoint in chosen.endpoint or ENDPOINTS:
            if endpoint != "login" and cost != (chosen.cost or [4])[0]:
                continue  # Only a login hashes.
            progress = Progress(f"{endpoint} at cost {cost}", chosen.samples)
            user = HastyUser() if chosen.planted else None
            samples = await sample(
                endpoint, count=chosen.samples, rounds=cost, user=user, clock=clock, told=progress.told
            )
            progress.end()
            # A cheap hash is there so that it hides no gap, and a millisecond is the limit. Else it is a hundredth of
            # the whole, and no more than 53 of 100 pairs may be told apart.
            medians = [sorted(times)[len(times) // 2] for times in samples.values()]
            is_cheap = endpoint == "login" and cost < 8
            allowed_gap = 0.001 if is_cheap else max(0.002, min(medians) / 100)
            allowed_auc = 0.75 if is_cheap else 0.53
            print(f"{endpoint}, cost {cost}: medians {', '.join(f'{median * 1e3:.3f}' for median in medians)} ms")
            for difference in differences(samples):
                tells = difference.tells(allowed_gap, allowed_auc)
                found += tells
                print(f"  {'TELLS' if tells else 'quiet'}  {difference}")
    return 1 if found else 0


# --- Fuzzing ----------------------------------------------------------------------------------------------------------


async def run_fuzz(requests: int, seed: int | None) -> int:
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    print(f"seed {seed}")
    faults = Faults()
    logging.getLogger().addHandler(faults)
    fuzzer = await Fuzzer.made(seed)
    progress = Progress("requests", requests)
    statuses: Counter[int] = Counter()
    before = 0
    for number in range(requests):
        finding = await fuzzer.once()
        statuses[fuzzer.status] += 1
        if finding or faults.seen:
            print(f"request {number}: {finding or faults.seen[0]}\n  {fuzzer.sent!r}")
            return 1
        if number == requests // 5:
            before = _peak()
        progress.told(number + 1)
    progress.end()
    growth = _peak() - before
    print(f"{requests} requests, {dict(sorted(statuses.items()))}, {growth / 1048576:.1f} MiB more")
    return 1 if growth > GROWTH else 0


class Faults(logging.Handler):
    """Remembers what was logged with a trace."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Progress:
    """One line that says how far it is and how long it will take, a few times a minute."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._began = self._said = time.monotonic()

    def told(self, done: int) -> None:
        now = time.monotonic()
        if done > 0 and now - self._said > 5:
            self._said = now
            left = (now - self._began) / done * (self._total - done)
            print(f"{self._what}: {done} of {self._total}, {left:.0f} s left", file=sys.stderr, flush=True)

    def end(self) -> None:
        print(f"{self._what}: done in {time.monotonic() - self._began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
