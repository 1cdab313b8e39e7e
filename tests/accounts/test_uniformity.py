"""Asking tells nobody whether an account exists: same answer, same round trips, same number of writes."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from authflow.accounts import Accounts
from authflow.model import Status
from authflow.testing import browser
from tests.accounts.desk import NEW_PASSWORD, Desk, make_desk

NAME = "somebody@example.org"
KINDS: dict[str, dict[str, Any] | None] = {
    "unknown": None,
    "active": {},
    "disabled": {"status": Status.DISABLED},
    "unverified": {"status": Status.WAITING_FOR_EMAIL_VERIFICATION},
    "waiting": {"status": Status.WAITING_FOR_ADMIN_VERIFICATION},
    "without a password": {"password": None},
    "without rights": {"status": 0},
}
REQUESTS: dict[str, Callable[[Accounts], Coroutine[Any, Any, object]]] = {
    "ask_recovery": lambda accounts: accounts.ask_recovery({"name": NAME}, browser()),
    "resend": lambda accounts: accounts.resend({"name": NAME}, browser()),
    "register": lambda accounts: accounts.register({"name": NAME, "password": NEW_PASSWORD}, browser()),
}


async def seen_by_the_sender(kind: str, request: str) -> tuple[object, dict[tuple[str, str], int], list[int]]:
    desk = make_desk()
    if (details := KINDS[kind]) is not None:
        await desk.kit.account(NAME, **details)
    answer, bill, writes = await desk.billed(REQUESTS[request](desk.accounts))
    return answer, dict(bill.counts), writes


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "unknown"])
async def test_every_name_is_answered_alike(request_name: str, kind: str) -> None:
    known = await seen_by_the_sender(kind, request_name)
    unknown = await seen_by_the_sender("unknown", request_name)

    assert known == unknown
    assert sum(count for (place, _), count in known[1].items() if place == "store") == 2


@pytest.mark.parametrize("request_name", REQUESTS)
async def test_asking_again_is_answered_alike(request_name: str) -> None:
    desk = make_desk()
    await desk.kit.account(NAME)
    first, first_bill, first_writes = await desk.billed(REQUESTS[request_name](desk.accounts))
    await desk.deliver()

    second, second_bill, second_writes = await desk.billed(REQUESTS[request_name](desk.accounts))

    assert (first, first_bill.counts, first_writes) == (second, second_bill.counts, second_writes)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "unknown"])
@pytest.mark.parametrize("profile", [{}, {"firstname": "A" * 100, "lastname": "B" * 100}])
async def test_what_is_written_for_a_taken_name_weighs_the_same(kind: str, profile: dict[str, str]) -> None:
    def weight(desk: Desk) -> int:
        return sum(len(row.body) for key, row in desk.kit.memory._rows.items() if key.kind != "event")

    free, taken = make_desk(), make_desk()
    await taken.kit.account(NAME, **(KINDS[kind] or {}))
    before = weight(taken)
    for desk in (free, taken):
        await desk.accounts.register({"name": NAME, "password": NEW_PASSWORD, **profile}, browser())

    assert abs((weight(taken) - before) - weight(free)) < 200


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "unknown"])
async def test_registering_again_is_answered_like_the_first_time(kind: str) -> None:
    desk = make_desk()
    if (details := KINDS[kind]) is not None:
        await desk.kit.account(NAME, **details)
    free = await seen_by_the_sender("unknown", "register")

    for _ in range(3):
        answer, bill, writes = await desk.billed(REQUESTS["register"](desk.accounts))
        assert (answer, dict(bill.counts), writes) == free
        await desk.deliver()


async def test_a_failing_mail_server_is_not_seen_by_the_sender() -> None:
    desk = make_desk()
    desk.box.fault = RuntimeError("no route to host")
    await desk.kit.account(NAME)

    answers = [await request(desk.accounts) for request in REQUESTS.values()]
    await desk.deliver()

    assert len(answers) == 3


async def test_the_name_for_which_nothing_is_made_leaves_no_hash_behind() -> None:
    desk = make_desk()
    await desk.kit.account(NAME, password=None)

    await REQUESTS["register"](desk.accounts)

    assert "bcrypt" not in desk.everything_stored()
