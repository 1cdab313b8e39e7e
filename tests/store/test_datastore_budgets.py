"""What each step of the engine costs on Datastore, counted at the gRPC channel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any

import grpc.aio
import pytest

from authflow.model import Credential, Status
from authflow.passwords import PasswordHasher
from authflow.store.datastore import DatastoreStore
from authflow.store.protocol import Insert, Key, Update
from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from authflow.user import User
from providers.user_password import UserPassword
from tests.parts.datastore_emulator import Backend
from tests.store.emulators import BACKENDS, Emulators

pytestmark = pytest.mark.emulator

BOB = "bob@example.org"
L, C = "Lookup", "Commit"


class Wire(grpc.aio.UnaryUnaryClientInterceptor):
    """Counts what goes through the channel."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        method = client_call_details.method
        self.calls.append((method if isinstance(method, str) else method.decode()).rpartition("/")[2])
        return await continuation(client_call_details, request)


class Registering(UserPassword):
    registration_enabled = True


class Open(User):
    authentication_providers = (Registering,)


class Desk:
    """A site on Datastore whose requests are counted at the channel and by the bill of the seam."""

    def __init__(self, site: Site, wire: Wire) -> None:
        self.site = site
        self.wire = wire

    async def counted(self, request: Awaitable[Page]) -> tuple[Page, list[str]]:
        self.wire.calls.clear()
        page = await request
        calls = list(self.wire.calls)
        assert len(calls) == page.cost, (calls, page.bill)
        return page, calls

    async def calls(self, request: Awaitable[Page]) -> list[str]:
        return (await self.counted(request))[1]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


async def make_desk(emulators: Emulators, backend: Backend, **more: Any) -> Desk:
    wire = Wire()
    return Desk(await make_site(Open(), store=emulators.store(backend, interceptors=[wire]), **more), wire)


async def give_proof(store: DatastoreStore) -> None:
    key = Key("marker", "guarded")
    await store.commit([Insert(key, {})])
    await store.commit([Update(key, {}, (await store.get([key]))[key].version)])


@pytest.fixture
async def desk(emulators: Emulators, backend: Backend) -> AsyncIterator[Desk]:
    """A desk in a process that has made a guarded commit before."""
    desk = await make_desk(emulators, backend)
    await give_proof(desk.site.kit.memory)
    yield desk
    await desk.site.app.close()


@pytest.mark.parametrize("path", ["/user/login", "/json/skey?amount=100", "/user/view/self", "/healthz", "/_ah/warmup"])
async def test_what_asks_nothing_of_anybody_costs_no_call(desk: Desk, path: str) -> None:
    assert await desk.calls(desk.site.person().get(path)) == []


async def test_a_forged_session_cookie_costs_no_call(desk: Desk) -> None:
    account = await desk.site.account()
    forger = desk.site.person()
    forger.cookies[desk.site.edge.jar.session_name] = f"{'A' * 43}.{account.id}.{'B' * 43}"

    assert await desk.calls(forger.get("/user/view/self")) == []


async def test_an_authenticated_request_costs_one_lookup_and_a_commit_each_five_minutes(desk: Desk) -> None:
    await desk.site.account()
    person = await desk.site.logged_in()
    costs = []

    for minutes in (0, 4, 1, 0):
        desk.site.clock.pass_by(timedelta(minutes=minutes))
        costs.append(await desk.calls(person.get("/user/view/self")))

    assert costs == [[L], [L], [L, C], [L]]


async def test_logging_out_costs_two_calls(desk: Desk) -> None:
    await desk.site.account()
    person = await desk.site.logged_in()
    form = (await person.get("/user/logout")).form("logout")

    assert await desk.calls(person.send(form)) == [L, C]


async def test_every_password_that_is_judged_costs_three_calls(desk: Desk) -> None:
    site = desk.site
    await site.account()
    await site.account_with_totp(BOB)
    await site.account("eve@example.org", status=Status.DISABLED)
    costs = {}

    for case, name, password in (
        ("wrong", ADA, "not the password"),
        ("unknown", "nobody@example.org", PASSWORD),
        ("disabled", "eve@example.org", PASSWORD),
        ("a factor is owed", BOB, PASSWORD),
        ("complete", ADA, PASSWORD),
    ):
        person = site.person()
        form = (await person.get("/user/login")).form("login")
        costs[case] = await desk.calls(person.send(form, name=name, password=password))

    assert costs == {case: [L, L, C] for case in costs}


async def test_the_limit_refuses_after_one_lookup(desk: Desk) -> None:
    await desk.site.account()
    for n in range(10):
        await desk.site.person(address=f"192.0.2.{n}").log_in(password="wrong")
    person = desk.site.person(address="198.51.100.1")
    form = (await person.get("/user/login")).form("login")

    page, calls = await desk.counted(person.send(form, name=ADA, password=PASSWORD))

    assert (page.status, calls) == (429, [L])


async def test_a_code_costs_two_calls_right_or_wrong(desk: Desk) -> None:
    site = desk.site
    await site.account_with_totp()
    person, page = await site.pending()

    wrong, wrong_calls = await desk.counted(person.send(page.form("otp"), otptoken=site.wrong_code()))
    right, right_calls = await desk.counted(person.send(wrong.form("otp"), otptoken=site.code()))

    assert (wrong.status, wrong_calls) == (200, [L, C])
    assert (right.status, right_calls) == (303, [L, C])


@pytest.mark.parametrize("name", [ADA, "nobody@example.org"])
async def test_asking_for_recovery_costs_two_calls_whoever_is_meant(desk: Desk, name: str) -> None:
    await desk.site.account()
    person = desk.site.person()
    form = (await person.get("/user/auth_userpassword/pwrecover")).form("pwrecover")

    assert await desk.calls(person.send(form, name=name)) == [L, C]


async def test_recovering_costs_two_calls(desk: Desk) -> None:
    site = desk.site
    await site.account()
    person = site.person()
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    await site.run_tasks()
    page = await person.get(site.link())

    done, calls = await desk.counted(person.send(page.form(), password="another long password"))

    assert (done.status, calls) == (200, [L, C])


@pytest.mark.parametrize("name", [ADA, "new@example.org"])
async def test_registering_costs_two_calls_whether_or_not_the_name_is_free(desk: Desk, name: str) -> None:
    await desk.site.account()
    person = desk.site.person()
    form = (await person.get("/user/auth_userpassword/add")).form()

    assert await desk.calls(person.send(form, name=name, password="another long password")) == [L, C]


async def test_an_older_hash_is_renewed_by_one_more_commit_after_the_answer(
    emulators: Emulators, backend: Backend
) -> None:
    desk = await make_desk(emulators, backend, rounds=5)
    site, kit = desk.site, desk.site.kit
    await give_proof(kit.memory)
    account = await site.account(password=None)
    with kit.pool.reserve() as slot:
        stored = await PasswordHasher(kit.pool, 4).hash(slot, PASSWORD)
    now = site.clock()
    await kit.memory.commit([kit.credential_write(Credential(account.id, "user_password", now, now, {"hash": stored}))])
    person = site.person()
    form = (await person.get("/user/login")).form("login")

    desk.wire.calls.clear()
    page = await person.send(form, name=ADA, password=PASSWORD)
    await site.app.engine.settle()

    assert (page.status, desk.wire.calls) == (303, [L, L, C, C])
    await site.app.close()


async def test_a_new_process_pays_one_call_more_once(emulators: Emulators, backend: Backend) -> None:
    desk = await make_desk(emulators, backend)
    await desk.site.account()
    costs = []

    for _ in range(3):
        costs.append(await _login(desk, desk.site.person()))

    assert sorted(costs) == [[L, L, C], [L, L, C], [L, L, C, C]]
    await desk.site.app.close()


async def _login(desk: Desk, person: Person) -> list[str]:
    form = (await person.get("/user/login")).form("login")
    desk.wire.calls.clear()
    assert (await person.send(form, name=ADA, password=PASSWORD)).status == 303
    return list(desk.wire.calls)
