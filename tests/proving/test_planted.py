"""It can fail: every planted fault is found, by the invariant that it breaks, with a way to it."""

from __future__ import annotations

import pytest

from authflow.user import User
from tests.proving.kit import proof_of, told
from tests.proving.planted import all_of_them

FAULTS = tuple(all_of_them())


@pytest.mark.parametrize(("fault", "invariant"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_fault_is_found(fault: type[User], invariant: str) -> None:
    report = proof_of(fault())

    assert invariant in report.shortest, told(report) or "nothing was found"


def test_every_fault_says_what_it_is() -> None:
    assert len(FAULTS) >= 40
    for fault, _ in FAULTS:
        assert len(fault.__doc__ or "") > 30, fault
