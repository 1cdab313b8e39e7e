import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import Report, Row
from benchmarks.trips import Step

ROOT = Path(__file__).resolve().parent.parent

ROWS = {
    "authenticated request, CPU",
    "page with a valid session, CPU",
    "login by password, without the hash, CPU",
    "login by password and code, without the hash, CPU",
    "bcrypt of cost 4, which was subtracted, CPU",
    "start to first login page, CPU",
    "start to first login page, wall",
    "modules loaded after the first login page",
    "memory after the first login page",
    "memory, growth over 20 logins",
}
STEPS = {
    "login page": 0,
    "skey, a hundred": 0,
    "anonymous page": 0,
    "forged cookie": 0,
    "page with a valid session": 1,
    "authenticated request": 1,
    "authenticated request, use noted": 2,
    "password refused at the limit": 1,
    "password wrong": 3,
    "password, unknown name": 3,
    "password right, factor owed": 3,
    "password right, complete": 3,
    "code wrong": 2,
    "code right": 2,
    "recovery asked, known name": 2,
    "recovery asked, unknown name": 2,
    "recovery finished": 2,
    "log out": 2,
}


@pytest.fixture(scope="module")
def quick_run() -> dict:
    if sys.platform != "linux":
        pytest.skip("the bench reads the kernel's clocks of other processes")
    command = [sys.executable, "-m", "benchmarks.measure", "--quick", "--json"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_quick_run_has_a_figure_in_every_row(quick_run: dict):
    assert {row["name"] for row in quick_run["rows"]} == ROWS
    assert all(row["authflow"]["samples"] for row in quick_run["rows"])


def test_requests_logins_and_starts_are_put_beside_the_floor(quick_run: dict):
    compared = {row["name"] for row in quick_run["rows"] if row["ratio"] is not None}

    assert {name for name in ROWS if name.startswith(("authenticated", "login by password, w", "start"))} <= compared


def test_every_step_keeps_its_budget_of_store_round_trips(quick_run: dict):
    trips = {step["name"]: step["trips"] for step in quick_run["round_trips"]}

    assert trips == STEPS


def test_a_goal_is_held_against_the_floor_of_the_same_turn():
    row = Row("request", "us", goal=1.5)

    for floor, ours in ((100.0, 140.0), (200.0, 290.0), (100.0, 999.0)):
        row.add("floor", floor)
        row.add("authflow", ours)

    assert row.ratio == 1.45
    assert not row.is_missed


def test_what_is_missed_is_named():
    row = Row("request", "us", goal=1.5, samples={"floor": [1.0], "authflow": [2.0]})
    report = Report([row], [Step("login page", 1, 0), Step("log out", 2, 2)], 1)

    assert report.missed == ["request", "login page"]
    assert report.as_text().count("  missed") == 2
