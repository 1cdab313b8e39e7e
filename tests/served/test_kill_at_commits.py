"""A served process is killed right before and right after every commit: nothing is lost, nothing half done or doubled.

A mail alone may come twice, and only where it was handed over and not yet marked. The suite tries nine operations;
`scripts/explore kill` tries all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.boundaries import KEYS, Scene
from tests.faults.mortal import WORK, Mortals
from tests.faults.operations import OPERATIONS
from tests.served.client import progress, rounds

pytestmark = [pytest.mark.slow]

SHORT = (
    "login right",
    "code right",
    "google login of a stranger who may come",
    "register",
    "ask for recovery",
    "recover",
    "change password",
    "enrol, confirm",
    "first administrator",
)
SERVED = [name for name, each in OPERATIONS.items() if (each.is_request or name in WORK) and not each.has_cloud_tasks]
CHOSEN = SERVED if rounds(10) > 10 else SHORT


@pytest.mark.parametrize("name", CHOSEN)
async def test_a_process_that_is_killed_at_a_commit_loses_and_doubles_nothing(name: str, tmp_path: Path) -> None:
    assert await _wrong(name, tmp_path) == []


async def test_a_change_that_is_written_in_two_is_found(tmp_path: Path) -> None:
    wrong = await _wrong("change password", tmp_path, is_split=True)

    assert any("in the end it is not as it should be" in what for what in wrong)


async def _wrong(name: str, folder: Path, *, is_split: bool = False) -> list[str]:
    wrong: list[str] = []
    with Mortals(folder, KEYS) as mortals:
        scene = Scene(mortals, OPERATIONS[name], is_split=is_split)
        await scene.set_up()
        whole = await scene.whole()
        for boundary in whole.boundaries:
            wrong += [f"{boundary}: {what}" async for what in scene.killed(whole, boundary)]
    progress(f"kill: {name}, {len(whole.boundaries)} boundaries of {len(whole.commits)} commits")
    return wrong
