"""Nothing that was typed, no name, no address and no client is in a trace, or in what is printed of one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from authflow.cli.flows_traces import _list, _show
from authflow.replaying import by_flow, replay
from authflow.testing import GoogleIssuer, Person, Site, make_site
from authflow.testing.google_people import CLIENT_ID, LINK, LOGIN, come, tell, token_on
from authflow.traces import KIND
from authflow.user import User
from providers.google_account import GoogleAccount
from tests.threats.tools import Registering, codes_on, secret_on
from tests.traces.conftest import traces_of

NAME = "canary.name@example.org"
STRANGER = "canary.stranger@gmail.com"
PASSWORD = "Canary-password-1"
WRONG = "canary_wrong_password"
LATER = "Canary-password-2"
WRONG_CODE = "918273"
ADDRESS = "203.0.113.77"
AGENT = "Canary-agent/7.0"
SUBJECT = "990099009900990099001"
FIRST_NAME = "Canary-first-name"

TYPED = (NAME, "canary.name", STRANGER, "canary.stranger", PASSWORD, WRONG, LATER, WRONG_CODE, ADDRESS, "203.0.113",
         AGENT, SUBJECT, FIRST_NAME, "example.org", "gmail")  # fmt: skip


class ByTheClock:
    site: Site

    def __call__(self):
        return self.site.clock()


@pytest.fixture
async def led() -> AsyncIterator[tuple[Site, list[str]]]:
    """A site on which everything was done that leaves a trace, and all that was secret or typed."""
    clock = ByTheClock()
    with GoogleIssuer(clock) as google:

        class Own(GoogleAccount):
            certs_url = google.certs_url
            registration_enabled = True

        class Watched(User):
            authentication_providers = (Registering, Own)
            trace_share = 1.0

        site = await make_site(Watched(), provider_environment={"google_client_id": CLIENT_ID})
        clock.site = site
        canaries = list(TYPED)

        def somebody() -> Person:
            return site.person(address=ADDRESS, headers={"user-agent": AGENT}, name=NAME, password=PASSWORD)

        def wait() -> None:
            site.clock.pass_by(timedelta(minutes=1))

        # Registration, confirmation, login wrong and right, the name typed as the password and the other way round.
        person = somebody()
        form = (await person.get("/user/auth_userpassword/add")).form()
        for _ in range(2):
            await person.send(form, name=NAME, password=PASSWORD, firstname=FIRST_NAME)
        link = await site.mailed_link()
        canaries.append(link.partition("=")[2])
        await person.send((await person.get(link)).form())
        for typed in ((NAME, WRONG), (WRONG, PASSWORD), (NAME, NAME), (PASSWORD, NAME)):
            wait()
            await person.log_in(*typed)
        await person.log_in()
        # A factor: begun, wrong, right; a login with it, wrong and right, and with a code that stands in.
        page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
        secret = secret_on(page)
        page = await person.send(page.form("add"), otptoken=WRONG_CODE)
        canaries += [secret.hex(), site.code(secret=secret)]
        codes = codes_on(await person.send(page.form("add"), otptoken=site.code(secret=secret)))
        canaries += codes
        wait()
        page = await person.follow(await person.log_in())
        page = await person.send(page.form("otp"), otptoken=WRONG_CODE)
        canaries.append(site.code(secret=secret))
        await person.send(page.form("otp"), otptoken=site.code(secret=secret))
        wait()
        other = somebody()
        await other.log_in()
        page = await other.follow(await other.get("/user/f2_recoverycode/start"))
        await other.send(page.form("otp"), otptoken=codes[0])
        # Google: a stranger, linking, a login, a token that is refused.
        wait()
        stranger = site.person(address=ADDRESS, headers={"user-agent": AGENT})
        await come(stranger, google, SUBJECT, email=STRANGER)
        page = await other.get(LINK)
        token = token_on(google, page, SUBJECT + "2", email=NAME)
        canaries.append(token)
        await tell(other, page, token)
        wait()
        page = await stranger.get(LOGIN)
        canaries.append(token_on(google, page, "forged", aud="elsewhere"))
        await tell(stranger, page, canaries[-1])
        # A changed and a recovered password.
        wait()
        form = (await other.get("/user/auth_userpassword/change")).form()
        await other.send(form, current_password=WRONG, password=LATER)
        await other.send(form, current_password=PASSWORD, password=LATER)
        await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=NAME)
        link = await site.mailed_link()
        canaries.append(link.partition("=")[2])
        await person.send((await person.get(link)).form(), password=PASSWORD)
        for who in (person, other, stranger):
            canaries += [value for value in who.cookies.values() if len(value) > 20]
        yield site, canaries
        await site.close()


async def test_a_whole_life_leaves_traces_of_every_kind(led: tuple[Site, list[str]]) -> None:
    site, canaries = led
    found = await traces_of(site)

    kinds = {trace.kind.value for trace in found}
    assert {"login", "register", "verify", "enrol", "settings", "recover"} == kinds
    providers = {event.split(":")[1] for trace in found for event in trace.events}
    assert {"user_password", "time_based_otp", "recovery_codes", "google_account"} <= providers
    assert len(found) > 15
    assert len(set(canaries)) > 25


async def test_no_trace_holds_anything_that_was_typed(led: tuple[Site, list[str]]) -> None:
    site, canaries = led
    rows = [f"{key.name} {row.body}" for key, row in site.memory._rows.items() if key.kind == KIND]

    for row in rows:
        for canary in canaries:
            assert canary.lower() not in row.lower(), canary


async def test_every_word_of_a_trace_is_one_that_the_configuration_knows(led: tuple[Site, list[str]]) -> None:
    site, _ = led
    engine = site.app.engine
    known = set(engine.registry.declared) | {"ticket", "consent", "other"}
    for trace in await traces_of(site):
        for event in trace.events:
            what, *words = event.split(":")
            assert what in {"completed", "rejected", "refused", "chosen", "asked", "away", "cancelled"}
            assert set(words[:1]) <= known or what == "refused"
        for step in trace.owed:
            assert set(step.accepted) <= known
        assert trace.facts is None or {*trace.facts.enrolled, *trace.facts.present} <= known


async def test_nothing_that_is_printed_of_traces_names_anybody(
    led: tuple[Site, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    site, canaries = led
    found = tuple(await traces_of(site))
    _list(found)
    _show(found)
    for result in replay(site.app.engine.user, by_flow(found)):
        print(result, json.dumps(result.after))

    printed = capsys.readouterr().out.lower()

    accounts = {trace.account_id for trace in found if trace.account_id}
    assert len(printed) > 2000
    assert not [canary for canary in (*canaries, *accounts) if canary.lower() in printed]
