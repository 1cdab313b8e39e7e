"""Two processes serve while Datastore goes away and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator

import pytest

from authflow.testing import Page
from tests.parts.datastore_emulator import DatastoreEmulator
from tests.parts.server import Server
from tests.served.client import RemotePerson
from tests.served.datastore import served
from tests.served.people import PASSWORD, PROFILE, logged_in, new_account

pytestmark = [pytest.mark.slow, pytest.mark.emulator]


@pytest.fixture(params=["datastore", "firestore"])
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Server, DatastoreEmulator]]:
    with served(request, request.param) as running:
        yield running


async def timed(request: Awaitable[Page]) -> tuple[Page, float]:
    began = time.monotonic()
    return await request, time.monotonic() - began


async def person_who_logged_in(server: Server) -> RemotePerson:
    async with server.application() as app:
        account = await new_account(app)
    return await logged_in(RemotePerson(server), account.name)


def is_refused_kindly(page: Page) -> bool:
    return page.status == 503 and bool(page.header("retry-after"))


async def test_an_outage_is_told_within_three_seconds_and_ends_by_itself(
    running: tuple[Server, DatastoreEmulator],
) -> None:
    server, emulator = running
    person = await person_who_logged_in(server)
    stranger = RemotePerson(server)
    form = (await stranger.get("/user/login")).form("login")

    emulator.kill()
    # So many that both processes have their share.
    answers = await asyncio.gather(
        *(timed(person.get(PROFILE)) for _ in range(10)),
        *(timed(stranger.send(form, name="ann@example.org", password=PASSWORD)) for _ in range(10)),
    )
    without_store = await stranger.get("/user/login")
    await asyncio.to_thread(emulator.start)
    until_back = await back_after(server)
    again = await person_who_logged_in(server)

    assert all(is_refused_kindly(page) for page, _ in answers), [page.status for page, _ in answers]
    assert max(seconds for _, seconds in answers) < 3
    assert without_store.status == 200
    assert until_back < 3
    for _ in range(10):
        assert (await again.get(PROFILE)).status == 200
    assert "Traceback" not in server.log()


async def test_a_datastore_that_hangs_is_told_within_three_seconds_and_sessions_outlive_it(
    running: tuple[Server, DatastoreEmulator],
) -> None:
    server, emulator = running
    person = await person_who_logged_in(server)

    emulator.freeze()
    answers = await asyncio.gather(*(timed(person.get(PROFILE)) for _ in range(10)))
    emulator.thaw()
    until_back = await back_after(server)

    assert all(is_refused_kindly(page) for page, _ in answers), [page.status for page, _ in answers]
    assert max(seconds for _, seconds in answers) < 3
    assert until_back < 3
    assert (await person.get(PROFILE)).status == 200


async def back_after(server: Server) -> float:
    """Log in with a name that nobody has until eight in a row are judged; return the seconds that this took."""
    began = time.monotonic()
    judged = 0
    while judged < 8:
        person = RemotePerson(server)
        form = (await person.get("/user/login")).form("login")
        page = await person.send(form, name="nobody@example.org", password="not a password")
        judged = judged + 1 if page.status in (200, 429) else 0
        assert time.monotonic() - began < 20, page.status
    return time.monotonic() - began
