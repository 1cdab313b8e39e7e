"""What each request costs: round trips to the store, counted at the driver, and never a scan of a table."""

from __future__ import annotations

import re
import sqlite3
from base64 import b32decode
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from authflow.model import Credential, Status
from authflow.passwords import PasswordHasher
from authflow.store.protocol import Write
from authflow.store.sqlite import SqliteStore, _statement
from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from authflow.user import User
from providers.user_password import UserPassword

BOB = "bob@example.org"


class Driver:
    """Counts what the driver runs, and keeps the statements that read and write."""

    def __init__(self) -> None:
        self.verbs: list[str] = []
        self.statements: set[tuple[str, int]] = set()

    @property
    def trips(self) -> int:
        """A read is one statement, and a commit is one round trip from BEGIN to COMMIT."""
        return sum(verb in ("SELECT", "WITH", "BEGIN") for verb in self.verbs)


class WatchedStore(SqliteStore):
    """Keeps the text of every statement that it prepares."""

    def __init__(self, path: Path, driver: Driver) -> None:
        super().__init__(path, trace=driver.verbs.append)
        self._driver = driver

    def _select(self, sql: str, parameters: Sequence[str | int]) -> list:
        self._driver.statements.add((sql, len(parameters)))
        return super()._select(sql, parameters)

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        for write in writes:
            statement = _statement(write, 1)
            self._driver.statements.add((statement.sql, len(statement.values)))
        await super().commit(writes, durable=durable)


class Registering(UserPassword):
    registration_enabled = True


class Open(User):
    authentication_providers = (Registering,)


class Desk:
    """A site on SQLite whose requests are counted twice: at the driver, and by the bill of the seam."""

    def __init__(self, site: Site, driver: Driver, path: Path) -> None:
        self.site = site
        self.driver = driver
        self.path = path

    async def counted(self, request: Awaitable[Page]) -> Page:
        self.driver.verbs.clear()
        page = await request
        assert self.driver.trips == page.cost, (self.driver.verbs, page.bill)
        return page

    async def cost(self, request: Awaitable[Page]) -> int:
        return (await self.counted(request)).cost


async def make_desk(path: Path, **more) -> Desk:
    driver = Driver()
    return Desk(await make_site(Open(), store=WatchedStore(path, driver), **more), driver, path)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = await make_desk(tmp_path / "authflow.db")
    yield desk
    await desk.site.app.close()


@pytest.fixture
async def desk_with_costlier_hashes(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = await make_desk(tmp_path / "authflow.db", rounds=5)
    yield desk
    await desk.site.app.close()


async def form_of(person: Person, path: str) -> dict[str, str]:
    """Return what the one form of a page sends back."""
    return (await person.get(path)).form().values


# --- Nothing asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/user",
        "/user/login",
        "/user/auth_userpassword/login",
        "/user/auth_userpassword/pwrecover",
        "/user/auth_userpassword/add",
        "/user/auth_userpassword/resend",
        "/user/auth_userpassword/verify?skey=someone.something",
        "/user/getAuthMethods",
        "/json/user/login",
        "/json/user/getAuthMethods",
        "/skey",
        "/json/skey?amount=100",
        "/healthz",
        "/_ah/warmup",
        "/user/static/authflow.css",
        "/nothing/here",
    ],
)
async def test_what_asks_nothing_of_anybody_costs_no_round_trip(desk: Desk, path: str) -> None:
    page = await desk.counted(desk.site.person().get(path))

    assert page.cost == 0
    assert page.status in (200, 303, 404)


@pytest.mark.parametrize("path", ["/user/view/self", "/json/user/view/self", "/user/logout", "/user/edit/self"])
async def test_a_page_of_an_account_costs_nothing_when_nobody_is_logged_in(desk: Desk, path: str) -> None:
    assert await desk.cost(desk.site.person().get(path)) == 0


async def test_a_forged_session_cookie_costs_nothing(desk: Desk) -> None:
    account = await desk.site.account()
    forger = desk.site.person()
    name = desk.site.edge.jar.session_name
    forger.cookies[name] = f"{'A' * 43}.{account.id}.{'B' * 43}"

    page = await desk.counted(forger.get("/user/view/self"))

    assert (page.status, page.cost) == (303, 0)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_an_unknown_method_costs_nothing(desk: Desk, method: str) -> None:
    await desk.site.account()
    person = await desk.site.logged_in()

    assert await desk.cost(person.request(method, "/user/view/self")) == 0


async def test_a_post_without_an_skey_costs_nothing(desk: Desk) -> None:
    person = desk.site.person()

    page = await desk.counted(person.post("/user/auth_userpassword/login", {"name": ADA, "password": PASSWORD}))

    assert (page.status, page.cost) == (412, 0)


async def test_an_empty_login_form_costs_nothing(desk: Desk) -> None:
    person = desk.site.person()
    form = (await person.get("/user/login")).form("login")

    page = await desk.counted(person.send(form, name=ADA, password=""))

    assert (page.status, page.cost) == (400, 0)


# --- A session --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/user/view/self",
        "/json/user/view/self",
        "/user/edit/self",
        "/user/logout",
        "/user/auth_userpassword/change",
        "/user/f2_timebasedotp/add",
        "/user/f2_timebasedotp/remove",
        "/user/f2_recoverycode/add",
        "/user/login?reauthenticate=1",
    ],
)
async def test_a_page_with_a_valid_session_costs_one_round_trip(desk: Desk, path: str) -> None:
    await desk.site.account()
    person = await desk.site.logged_in()

    page = await desk.counted(person.get(path))

    assert (page.status, page.cost) == (200, 1)


async def test_the_login_page_costs_nothing_for_the_logged_in_either(desk: Desk) -> None:
    await desk.site.account()
    person = await desk.site.logged_in()

    assert await desk.cost(person.get("/user/login")) == 0
    assert await desk.cost(person.get("/json/skey?amount=30")) == 0


async def test_the_use_of_a_session_is_noted_every_five_minutes_and_not_oftener(desk: Desk) -> None:
    await desk.site.account()
    person = await desk.site.logged_in()
    costs = []

    for minutes in (4, 1, 0, 4, 1):
        desk.site.clock.pass_by(timedelta(minutes=minutes))
        costs.append(await desk.cost(person.get("/user/view/self")))

    assert costs == [1, 2, 1, 1, 2]


async def test_a_session_that_has_ended_costs_one_round_trip(desk: Desk) -> None:
    await desk.site.account()
    person = await desk.site.logged_in()
    desk.site.clock.pass_by(timedelta(hours=2))

    page = await desk.counted(person.get("/user/view/self"))

    assert (page.status, page.cost) == (303, 1)


async def test_logging_out_costs_two(desk: Desk) -> None:
    await desk.site.account()
    person = await desk.site.logged_in()
    form = (await person.get("/user/logout")).form("logout")

    assert await desk.cost(person.send(form)) == 2


# --- Passwords --------------------------------------------------------------------------------------------------------


async def test_every_password_that_is_judged_costs_three(desk: Desk) -> None:
    site = desk.site
    await site.account()
    await site.account_with_totp(BOB)
    await site.account("eve@example.org", status=Status.DISABLED)
    await site.account("joe@example.org", password=None)
    costs = {}

    for case, name, password in (
        ("wrong", ADA, "not the password"),
        ("unknown", "nobody@example.org", PASSWORD),
        ("disabled", "eve@example.org", PASSWORD),
        ("without a password", "joe@example.org", PASSWORD),
        ("a factor is owed", BOB, PASSWORD),
        ("complete", ADA, PASSWORD),
    ):
        person = site.person()
        form = (await person.get("/user/login")).form("login")
        costs[case] = await desk.cost(person.send(form, name=name, password=password))

    assert costs == dict.fromkeys(costs, 3)


async def test_the_limit_refuses_after_one_round_trip_and_writes_nothing(desk: Desk) -> None:
    await desk.site.account()
    for n in range(10):
        await desk.site.person(address=f"192.0.2.{n}").log_in(password="wrong")
    person = desk.site.person(address="198.51.100.1")
    form = (await person.get("/user/login")).form("login")

    page = await desk.counted(person.send(form, name=ADA, password=PASSWORD))

    assert (page.status, page.cost) == (429, 1)
    assert page.bill.total("store", "commit") == 0


async def test_an_older_hash_is_renewed_by_one_more_round_trip_after_the_answer(
    desk_with_costlier_hashes: Desk,
) -> None:
    desk = desk_with_costlier_hashes
    site, kit = desk.site, desk.site.kit
    account = await site.account(password=None)
    with kit.pool.reserve() as slot:
        stored = await PasswordHasher(kit.pool, 4).hash(slot, PASSWORD)
    now = site.clock()
    credential = Credential(account.id, "user_password", now, now, {"hash": stored})
    await kit.memory.commit([kit.credential_write(credential)])
    person = site.person()
    form = (await person.get("/user/login")).form("login")

    desk.driver.verbs.clear()
    page = await person.send(form, name=ADA, password=PASSWORD)
    await site.app.engine.settle()
    with_renewal = desk.driver.trips
    again = await site.person().log_in()
    desk.driver.verbs.clear()
    await site.app.engine.settle()

    assert (page.status, with_renewal) == (303, 4)
    assert (again.status, again.cost, desk.driver.trips) == (303, 3, 0)


# --- Second factors ---------------------------------------------------------------------------------------------------


async def test_a_code_costs_two_right_or_wrong(desk: Desk) -> None:
    site = desk.site
    await site.account_with_totp()
    person, page = await site.pending()

    wrong = await desk.counted(person.send(page.form("otp"), otptoken=site.wrong_code()))
    right = await desk.counted(person.send(wrong.form("otp"), otptoken=site.code()))

    assert (wrong.status, wrong.cost) == (200, 2)
    assert (right.status, right.cost) == (303, 2)


async def test_a_program_that_names_no_flow_pays_one_more_for_its_code(desk: Desk) -> None:
    site = desk.site
    await site.account_with_totp()
    person = site.person()
    await person.json_post("/json/user/auth_userpassword/login", name=ADA, password=PASSWORD)
    skey = await person.skey()

    page = await desk.counted(person.post("/json/user/f2_timebasedotp/otp", {"skey": skey, "otptoken": site.code()}))

    assert page.json == "OKAY"
    assert page.cost <= 3


async def test_a_code_that_cannot_be_one_costs_the_reading(desk: Desk) -> None:
    await desk.site.account_with_totp()
    person, page = await desk.site.pending()

    assert await desk.cost(person.send(page.form("otp"), otptoken="12 34")) == 1


async def test_a_locked_second_factor_refuses_after_one_round_trip(desk: Desk) -> None:
    site = desk.site
    await site.account_with_totp()
    person, page = await site.pending()
    for _ in range(5):
        await person.send(page.form("otp"), otptoken=site.wrong_code())

    refused = await desk.counted(person.send(page.form("otp"), otptoken=site.code()))

    assert (refused.status, refused.cost) == (429, 1)


# --- Recovery ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [ADA, "nobody@example.org"])
async def test_asking_for_recovery_costs_two_whoever_is_meant(desk: Desk, name: str) -> None:
    await desk.site.account()
    person = desk.site.person()
    form = (await person.get("/user/auth_userpassword/pwrecover")).form("pwrecover")

    page = await desk.counted(person.send(form, name=name))

    assert (page.status, page.cost) == (303, 2)
    assert page.bill.total("store", "commit") == 1


async def test_recovering_costs_two(desk: Desk) -> None:
    site = desk.site
    await site.account()
    person = site.person()
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    await site.run_tasks()
    page = await person.get(site.link())

    done = await desk.counted(person.send(page.form(), password="another long password"))

    assert (done.status, done.cost) == (200, 2)


async def test_looking_at_a_mailed_link_costs_nothing(desk: Desk) -> None:
    site = desk.site
    await site.account()
    person = site.person()
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    await site.run_tasks()

    assert await desk.cost(person.get(site.link())) == 0


async def test_the_limit_of_recovery_refuses_after_one_round_trip(desk: Desk) -> None:
    person = desk.site.person()
    form = (await person.get("/user/auth_userpassword/pwrecover")).form()
    for n in range(10):
        await person.send(form, name=f"{n}@example.org")

    page = await desk.counted(person.send(form, name=ADA))

    assert (page.status, page.cost) == (429, 1)


@pytest.mark.parametrize("name", [ADA, "new@example.org"])
async def test_registering_costs_two_whether_or_not_the_name_is_free(desk: Desk, name: str) -> None:
    await desk.site.account()
    person = desk.site.person()
    form = (await person.get("/user/auth_userpassword/add")).form()

    page = await desk.counted(person.send(form, name=name, password="another long password"))

    assert (page.status, page.cost) == (200, 2)


async def test_verifying_costs_two(desk: Desk) -> None:
    site = desk.site
    person = site.person()
    form = (await person.get("/user/auth_userpassword/add")).form()
    await person.send(form, name=BOB, password="another long password")
    await site.run_tasks()
    page = await person.get(site.link())

    done = await desk.counted(person.send(page.form()))

    assert (done.status, done.cost) == (200, 2)


# --- The statements themselves ----------------------------------------------------------------------------------------


async def _tour(desk: Desk) -> None:
    """Do everything that a person can do once."""
    site = desk.site
    await site.account()
    person = site.person()
    form = (await person.get("/user/auth_userpassword/add")).form()
    await person.send(form, name=BOB, password="another long password")
    await person.send((await person.get("/user/auth_userpassword/resend")).form(), name=BOB)
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    await site.run_tasks()
    await person.log_in(password="wrong")
    await person.follow(await person.log_in())
    await person.send((await person.get("/user/edit/self")).form(), firstname="Ada")
    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
    secret = page.text.partition('<code class="secret">')[2].partition("</code>")[0].replace(" ", "")
    shown = await person.send(page.form("add"), otptoken=site.code(secret=b32decode(secret)))
    assert "recovery codes" in shown.text
    await person.send((await person.get("/user/f2_recoverycode/add")).form())
    site.clock.pass_by(timedelta(minutes=6))
    await person.get("/user/view/self")
    await person.send((await person.get("/user/f2_timebasedotp/remove")).form())
    changing = (await person.get("/user/auth_userpassword/change")).form()
    await person.send(changing, current_password=PASSWORD, password="a third long password")
    await person.send((await person.get("/user/logout")).form("logout"))
    await site.run_tasks()


async def test_no_statement_reads_a_whole_table(desk: Desk) -> None:
    await _tour(desk)

    connection = sqlite3.connect(desk.path)
    for sql, count in sorted(desk.driver.statements):
        plan = connection.execute("EXPLAIN QUERY PLAN " + sql, [0] * count).fetchall()
        lines = [str(row[3]) for row in plan]
        # What is listed in the statement itself (`wanted`, constant rows) is walked; the table never is.
        scans = [line for line in lines if re.match(r"SCAN r(ecord)?\b", line) and "INDEX record_" not in line]
        assert not scans, (sql, lines)
    connection.close()
    assert len(desk.driver.statements) > 8


async def test_no_request_queries_by_anything_but_keys(desk: Desk) -> None:
    await desk.site.account()
    person = await desk.site.logged_in()

    await person.get("/user/view/self")
    await person.send((await person.get("/user/logout")).form("logout"))

    reads = {sql for sql, _ in desk.driver.statements if sql.startswith(("SELECT", "WITH"))}
    assert reads
    assert all(sql.startswith("WITH wanted") for sql in reads)
