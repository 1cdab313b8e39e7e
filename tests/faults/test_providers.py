"""Providers that raise, hang, are cancelled or answer nonsense let nobody in and leave nothing half done: 503, soon."""

from __future__ import annotations

import pytest

from tests.faults.operations import OPERATIONS
from tests.faults.virtual_time import run
from tests.faults.whims import METHODS, asked, cells_of, try_whims

CELLS_AT_LEAST = 750
"""Fewer can only mean that operations, methods or whims have been left out."""
ASKING = [name for name, operation in OPERATIONS.items() if operation.is_request]


@pytest.mark.parametrize("name", ASKING)
def test_an_operation_fails_closed_whatever_its_providers_do(name: str) -> None:
    findings = run(try_whims(OPERATIONS[name]))

    assert findings.wrong == []


def test_no_method_of_a_provider_is_left_out() -> None:
    calls = [call for name in ASKING for call in run(asked(OPERATIONS[name]))]

    print(f"{len(calls)} calls of providers, {len(cells_of(calls))} cells")
    assert len(cells_of(calls)) >= CELLS_AT_LEAST
    assert {method for _, method, _ in calls} == set(METHODS)
