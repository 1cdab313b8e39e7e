"""Faults break the calls that they are armed for, and no others."""

from __future__ import annotations

import pytest

from authflow.errors import FetchFailed, StoreConflict, StoreUnavailable
from authflow.mail import MailUnavailable
from authflow.seam import Seam
from authflow.testing import FOR_EVER, Faults, make_site


class World:
    """Calls through a seam that faults watch, and what came of them."""

    def __init__(self, faults: Faults) -> None:
        self.seam = Seam([faults])
        self.done: list[str] = []

    async def call(self, kind: str, operation: str) -> str:
        async def work() -> str:
            self.done.append(operation)
            return operation

        try:
            return await self.seam.call(kind, operation, (), work)
        except (StoreUnavailable, StoreConflict, MailUnavailable, FetchFailed) as error:
            return type(error).__name__

    async def calls(self, *operations: str, kind: str = "store") -> list[str]:
        return [await self.call(kind, operation) for operation in operations]


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def world(faults: Faults) -> World:
    return World(faults)


async def test_unarmed_it_breaks_nothing(faults: Faults, world: World) -> None:
    assert await world.calls("get", "commit") == ["get", "commit"]
    assert [call.operation for call in faults.calls] == ["get", "commit"]
    assert faults.broken == 0


async def test_it_breaks_the_call_of_that_number_once(faults: Faults, world: World) -> None:
    faults.arm(at=1)

    assert await world.calls("get", "get", "get") == ["get", "StoreUnavailable", "get"]
    assert (faults.broken, world.done) == (1, ["get", "get"])


async def test_it_counts_only_the_calls_that_it_is_about(faults: Faults, world: World) -> None:
    faults.arm(MailUnavailable, kind="mail", at=1)
    assert await world.calls("get", "get") == ["get", "get"]
    assert await world.calls("send", "send", kind="mail") == ["send", "MailUnavailable"]
    faults.arm(operation="commit")
    assert await world.calls("get", "commit", "commit") == ["get", "StoreUnavailable", "commit"]


async def test_it_goes_on_as_long_as_it_is_told_to(faults: Faults, world: World) -> None:
    faults.arm(at=1, times=2)
    assert await world.calls(*["get"] * 4) == ["get", "StoreUnavailable", "StoreUnavailable", "get"]
    faults.arm(times=FOR_EVER)
    assert await world.calls(*["get"] * 4) == ["StoreUnavailable"] * 4
    faults.disarm()
    assert await world.calls("get") == ["get"]


async def test_a_late_fault_leaves_the_work_done(faults: Faults, world: World) -> None:
    faults.arm(is_late=True)

    assert await world.calls("commit", "commit") == ["StoreUnavailable", "commit"]
    assert world.done == ["commit", "commit"]


async def test_a_conflict_happens_to_commits_alone(faults: Faults, world: World) -> None:
    faults.arm(StoreConflict)

    assert await world.calls("get", "commit", "commit") == ["get", "StoreConflict", "commit"]


async def test_a_login_ends_in_503_at_each_of_its_calls_and_works_again() -> None:
    faults = Faults()
    site = await make_site(observers=(faults,))
    await site.account()
    broken = 0
    for at in range(20):
        ada = site.person()
        page = await ada.get("/user/login")
        faults.arm(at=at)

        answer = await ada.send(page.form("login"), name="ada@example.org", password="correct horse battery")

        if not faults.broken:
            assert answer.location == "/user/view/self"
            break
        broken += 1
        assert answer.status == 503
        assert not await ada.is_logged_in()
    assert broken == 3
