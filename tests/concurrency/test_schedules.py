"""Whatever meets whatever on one account, in every order of their calls to the store: as if one came after the other.

`scripts/explore schedules` does the same with longer triples, and says how many orders there were.
"""

from __future__ import annotations

import pytest

from authflow.accounts import Accounts
from authflow.errors import StoreUnavailable
from tests.concurrency.exploring import SCENES, explore, pairs, scene, triples
from tests.concurrency.judging import Judge, Violation
from tests.concurrency.operations import FRESH, SETTLED, named

PARTS = 8
"""So that several processes share the pairs of the largest scene."""


@pytest.mark.parametrize("part", range(PARTS))
def test_two_things_at_once_on_a_settled_account_are_as_one_after_the_other(part: int) -> None:
    meetings = pairs("settled", part, PARTS)

    with scene("settled") as world:
        count = explore(world, meetings)

    print(f"{len(meetings)} pairs, {count} schedules")
    assert count > 3_000


@pytest.mark.parametrize(
    ("name", "least"), [("brink", 1_800), ("waiting", 4_000), ("owing", 900), ("untouched", 1_100), ("nobody", 1_000)]
)
def test_two_things_at_once_on_other_accounts_are_as_one_after_the_other(name: str, least: int) -> None:
    meetings = pairs(name)

    with scene(name) as world:
        count = explore(world, meetings)

    print(f"{len(meetings)} pairs, {count} schedules")
    assert count > least


@pytest.mark.parametrize("operations", triples(with_long_ones=False), ids=lambda three: " / ".join(map(str, three)))
def test_three_things_at_once_are_as_one_after_the_other(operations) -> None:
    with scene("settled") as world:
        count = explore(world, [operations])

    print(f"{count} schedules")
    assert count > 80


def test_there_is_enough_to_meet() -> None:
    assert len(SETTLED) >= 20
    assert sum(len(pairs(name)) for name in SCENES) >= 1_600
    assert len(triples(with_long_ones=False)) >= 10


@pytest.mark.parametrize("operation", SETTLED, ids=str)
def test_an_operation_alone_does_what_it_says(operation) -> None:
    """Else pairs of things that are all refused would prove nothing."""
    refused = {"gives a wrong password", "types a wrong code", "types a wrong code elsewhere", "types a spent code",
               "mistypes while changing the password", "mistypes while confirming the app"}  # fmt: skip
    with scene("settled") as world:
        judge = Judge(world, [operation])

        assert judge.succeeds_alone() == (operation.name not in refused)


def test_a_first_login_leaves_nothing_of_an_account_that_is_deleted_meanwhile() -> None:
    login, deletion = (next(op for op in FRESH if op.name == name) for name in ("gives the password", "is deleted"))

    with scene("untouched") as world:
        assert Judge(world, [login, deletion]).explore() > 5


def test_an_operation_that_breaks_is_no_outcome(monkeypatch) -> None:
    async def broken(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Accounts, "edit", broken)
    with scene("settled") as world, pytest.raises(Violation, match="broke: ZeroDivisionError"):
        explore(world, [named("edits the profile", "logs out")])


def test_conflicts_that_do_not_end_change_nothing(monkeypatch) -> None:
    """One try each: whoever meets a conflict is refused, and what the others did stands."""
    monkeypatch.setattr("authflow.changes.MAX_TRIES", 1)
    monkeypatch.setattr("authflow.submissions.MAX_TRIES", 1)
    with scene("settled") as world:
        operations = named("types the code", "types a wrong code elsewhere", "recovers")
        count = explore(world, [operations])
        runs = world.explorer.explore([lambda op=op: op.begin(world) for op in operations])
        refused = sum(isinstance(answer, StoreUnavailable) for run in runs for answer in run.outcomes)

    assert count > 80
    assert refused > 50
