"""Whatever befalls whichever call: 503 or the truth, nobody let in, nothing half done, and the same again works."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.chaos import Fault
from tests.faults.matrix import Undisturbed, cells_of, try_all, undisturbed
from tests.faults.operations import OPERATIONS, Operation
from tests.faults.scene import make_stage
from tests.faults.virtual_time import run

OPERATIONS_AT_LEAST, CELLS_AT_LEAST = 70, 1500
"""Fewer can only mean that operations, calls or faults have been left out."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_fails_closed_whatever_befalls_its_calls(name: str) -> None:
    findings = run(try_all(OPERATIONS[name]))

    assert findings.wrong == []


async def _undisturbed(operation: Operation) -> Undisturbed:
    stage = await make_stage(operation.user(), has_cloud_tasks=operation.has_cloud_tasks)
    return await undisturbed(stage, await operation.set_up(stage))


def test_no_cell_of_the_matrix_is_left_out() -> None:
    runs = {name: run(_undisturbed(operation)) for name, operation in OPERATIONS.items()}

    cells = [(name, at, fault) for name, clean in runs.items() for at, fault in cells_of(clean.calls)]
    calls = Counter(call for clean in runs.values() for call in clean.calls)
    print(f"{len(runs)} operations, {calls.total()} calls {dict(calls)}, {len(cells)} cells")
    assert len(runs) >= OPERATIONS_AT_LEAST
    assert len(cells) >= CELLS_AT_LEAST
    assert {fault for _, _, fault in cells} == set(Fault)
    assert set(calls) == {
        ("store", "get"),
        ("store", "find"),
        ("store", "commit"),
        ("mail", "send"),
        ("tasks", "create"),
        ("tasks", "run"),
        ("fetch", "get"),
    }
    for name, clean in runs.items():
        assert Counter(call for call in clean.calls if call[0] != "fetch") == Counter(clean.seen), name
