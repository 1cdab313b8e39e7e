"""Random small changes of table, policy, gates and hooks are found, or are known to change nothing."""

from __future__ import annotations

from tests.proving import mutants

SEED = 20260301
COUNT = 30


def test_mutants_are_found() -> None:
    known = mutants.equivalent()

    outcome = mutants.tried(mutants.sample(COUNT, SEED))

    unexplained = [name for name in outcome.survivors if name not in known]
    print(f"{len(outcome.killed)} of {COUNT} found, {len(outcome.survivors)} change nothing")
    assert unexplained == []
    assert len(outcome.killed) >= COUNT * 3 // 4


def test_a_mutant_is_in_force_only_while_it_is_tried() -> None:
    from authflow import flow, policy

    before = flow.advance.__code__, policy.remaining_steps.__code__, flow.TRANSITIONS

    mutants.tried(mutants.sample(3, SEED))

    assert (flow.advance.__code__, policy.remaining_steps.__code__, flow.TRANSITIONS) == before


def test_what_is_said_to_change_nothing_exists_and_says_why() -> None:
    names = {mutant.name for mutant in mutants.all_mutants()}

    for name, reason in mutants.equivalent().items():
        assert name in names, name
        assert len(reason) > 20, name
