"""Forged, foreign, replayed and misused tokens of Google log nobody in, link nothing and change nothing.

The tokens are signed by an issuer on loopback with keys of its own; what verifies them is what verifies Google's.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import html
import itertools
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from authflow.federated import Assertion
from authflow.federation import linking
from authflow.messages import sentence
from authflow.model import Account, Credential, Status
from authflow.testing import ADA, PASSWORD, GoogleIssuer, Page, Site, make_site
from authflow.testing.google import OUTAGES
from authflow.testing.google_people import ADAS_SUBJECT, CLIENT_ID, LINK, LOGIN, attribute, come, tell, token_on
from authflow.testing.signing import SigningKey
from authflow.user import User
from providers.google_account import ISSUER, GoogleAccount
from tests.threats.tools import Registering, who

PROFILE = "/user/view/self"
FOREIGN = SigningKey("key-1")


class ByTheClock:
    """The site's clock, for an issuer that is there before the site."""

    site: Site

    def __call__(self) -> Any:
        return self.site.clock()


@pytest.fixture
def google() -> Any:
    with GoogleIssuer(ByTheClock()) as issuer:
        yield issuer


@pytest.fixture
async def make(google: GoogleIssuer) -> AsyncIterator[Callable[..., Any]]:
    made: list[Site] = []

    async def site(**settings: Any) -> Site:
        own = type("OwnGoogle", (GoogleAccount,), {"certs_url": google.certs_url, **settings})

        class WithGoogle(User):
            authentication_providers = (Registering, own)
            valid_authentication_methods = (
                ("user_password", "time_based_otp"),
                ("user_password", None),
                ("google_account", "time_based_otp"),
                ("google_account", None),
            )

        site = await make_site(WithGoogle(), provider_environment={"google_client_id": CLIENT_ID})
        google.clock.site = site
        made.append(site)
        return site

    yield site
    for one in made:
        await one.app.close()


@pytest.fixture
async def site(make: Callable[..., Any]) -> Site:
    return await make()


async def linked(site: Site, account: Account, sub: str = ADAS_SUBJECT) -> Account:
    """Give an account an identity, as a link would have written it."""
    now, found = site.clock(), Assertion(ISSUER, sub, shown_as="ada@gmail.com")
    credential = Credential(account.id, "google_account", now, now, found.to_data())
    await site.kit.memory.commit(linking(site.app.engine.vault.credential_data(credential), found, now))
    return account


async def reasons(site: Site) -> list[str]:
    return [str(event.data["reason"]) for event in await site.kit.records("event") if event.data.get("reason")]


async def state(site: Site) -> dict[str, Any]:
    """Return what only a login, a link or a registration may change."""
    kinds = ("account", "name", "identity", "credential", "session", "login_info")
    return {kind: sorted((r.key.name, repr(r.data)) for r in await site.kit.records(kind)) for kind in kinds}


# --- The honest way, so that a refusal below means something ----------------------------------------------------------


async def test_the_owner_of_a_linked_identity_is_logged_in(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account())
    person = site.person()

    page = await come(person, google)

    assert page.location == PROFILE
    assert await who(person) == ADA
    assert google.hits == 1


# --- 61: forged and foreign tokens ------------------------------------------------------------------------------------


def hs256(google: GoogleIssuer, page: Page, token: str) -> str:
    header, claims, _ = token.split(".")
    padded = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
    forged = base64.urlsafe_b64encode(json.dumps({**json.loads(padded), "alg": "HS256"}).encode()).rstrip(b"=").decode()
    signature = hmac.digest(google.key.pem.encode(), f"{forged}.{claims}".encode(), "sha256")
    return f"{forged}.{claims}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def claims_on(google: GoogleIssuer, page: Page, **more: Any) -> dict[str, Any]:
    return google.claims(
        **{"aud": CLIENT_ID, "azp": CLIENT_ID, "sub": ADAS_SUBJECT, "nonce": attribute(page, "data-nonce"), **more}
    )


FORGERIES: dict[str, tuple[Callable[[GoogleIssuer, Page], str], str]] = {
    "foreign key": (lambda g, p: FOREIGN.token(claims_on(g, p)), "id_token_signature"),
    "no signature": (lambda g, p: token_on(g, p).rpartition(".")[0] + ".AA", "id_token_signature"),
    "alg none": (lambda g, p: g.key.token(claims_on(g, p), {"alg": "none"}), "id_token_algorithm"),
    "alg none, no signature": (
        lambda g, p: g.key.token(claims_on(g, p), {"alg": "none"}).rpartition(".")[0] + ".",
        "id_token_malformed",
    ),
    "the public key as a secret": (lambda g, p: hs256(g, p, token_on(g, p)), "id_token_algorithm"),
    "unknown key": (lambda g, p: g.key.token(claims_on(g, p), {"kid": "key-9"}), "id_token_unknown_key"),
    "no key": (lambda g, p: g.key.token(claims_on(g, p), {"kid": None}), "id_token_unknown_key"),
    "its own key": (lambda g, p: FOREIGN.token(claims_on(g, p), {"jku": g.certs_url}), "id_token_signature"),
    "another audience": (lambda g, p: token_on(g, p, aud="another"), "id_token_audience"),
    "several audiences": (lambda g, p: token_on(g, p, aud=[CLIENT_ID, "another"]), "id_token_audience"),
    "no audience": (lambda g, p: token_on(g, p, aud=None), "id_token_audience"),
    "another party": (lambda g, p: token_on(g, p, azp="another"), "id_token_authorized_party"),
    "a service account": (lambda g, p: token_on(g, p, azp=ADAS_SUBJECT), "id_token_authorized_party"),
    "another issuer": (lambda g, p: token_on(g, p, iss="https://accounts.google.com.evil.example"), "id_token_issuer"),
    "no issuer": (lambda g, p: token_on(g, p, iss=None), "id_token_issuer"),
    "expired": (lambda g, p: token_on(g, p, iat=1, exp=2), "id_token_expired"),
    "never expires": (lambda g, p: token_on(g, p, exp=9_999_999_999), "id_token_lifetime"),
    "no expiry": (lambda g, p: token_on(g, p, exp=None), "id_token_lifetime"),
    "from the future": (lambda g, p: token_on(g, p, iat=9_999_990_000, exp=9_999_999_999), "id_token_early"),
    "no subject": (lambda g, p: token_on(g, p, sub=None), "id_token_subject"),
    "a list of subjects": (lambda g, p: token_on(g, p, sub=[ADAS_SUBJECT]), "id_token_subject"),
    "no nonce": (lambda g, p: token_on(g, p, nonce=None), "google_nonce_wrong"),
    "another nonce": (lambda g, p: token_on(g, p, nonce="x" * 43), "google_nonce_wrong"),
    "no token": (lambda g, p: "not a token", "id_token_malformed"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_logs_nobody_in_and_is_written_down(
    site: Site, google: GoogleIssuer, forgery: str, caplog: pytest.LogCaptureFixture
) -> None:
    await linked(site, await site.account())
    person, (forge, reason) = site.person(), FORGERIES[forgery]
    before, page = await state(site), await person.get(LOGIN)
    token = forge(google, page)

    answer = await tell(person, page, token)

    assert answer.status == 200
    assert answer.location == ""
    assert sentence(reason, GoogleAccount.messages) in html.unescape(answer.text)
    assert await who(person) is None
    assert await state(site) == before
    assert await reasons(site) == [reason]
    # Neither the page nor the log repeats a token: it might be a good one elsewhere.
    assert token not in answer.text
    assert token not in caplog.text


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_connects_nothing(site: Site, google: GoogleIssuer, forgery: str) -> None:
    await site.account()
    person = await site.logged_in()
    page = await person.get(LINK)
    before = await state(site)

    answer = await tell(person, page, FORGERIES[forgery][0](google, page))

    assert answer.status == 200
    assert await state(site) == before
    assert await reasons(site) == [FORGERIES[forgery][1]]


async def test_forged_tokens_wear_a_client_out_and_not_the_owner(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account())
    stranger = site.person(address="198.51.100.7")
    statuses = []
    for _ in range(31):
        page = await stranger.get(LOGIN)
        statuses.append((await tell(stranger, page, FOREIGN.token(claims_on(google, page)))).status)

    assert statuses == [200] * 30 + [429]
    assert (await come(site.person(address="192.0.2.99"), google)).location == PROFILE


# --- 62: replayed tokens, and tokens put into somebody else's hands ---------------------------------------------------


async def test_a_token_made_for_one_browser_is_refused_in_another(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account())
    ada, eve = site.person(), site.person()
    stolen = token_on(google, await ada.get(LOGIN))

    answer = await tell(eve, await eve.get(LOGIN), stolen)

    assert answer.location == ""
    assert await who(eve) is None
    assert await reasons(site) == ["google_nonce_wrong"]


async def test_nobody_is_logged_in_to_an_attackers_account(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account("eve@example.org"), "666")
    ada, eve = site.person(), site.person()
    # Eve lets Ada's browser send Eve's own token, as a link or a form of Eve's page would.
    page = await eve.get(LOGIN)
    eves = {**page.form("auth_google").values, "token": token_on(google, page, "666")}
    await ada.get("/user/login")

    answers = [
        await ada.post(LOGIN, eves),
        await ada.post(LOGIN, {**eves, "skey": await ada.skey("")}),
        await ada.post(LOGIN, {"token": eves["token"], "skey": await ada.skey("")}),
        await ada.post(LOGIN, {"token": eves["token"]}),
        await ada.get(f"{LOGIN}?token={eves['token']}"),
        await ada.get(f"{LOGIN}?token={eves['token']}&flow={eves['flow']}"),
    ]

    assert all(answer.location == "" for answer in answers)
    assert await who(ada) is None
    assert await site.kit.records("session") == []


async def test_a_token_that_logged_in_does_not_do_so_again(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account())
    person = site.person()
    page = await person.get(LOGIN)
    token, cookies = token_on(google, page), dict(person.cookies)
    assert (await tell(person, page, token)).location == PROFILE
    thief = site.person()
    thief.cookies = cookies

    again = await tell(thief, page, token)
    in_a_new_flow = await tell(thief, await thief.get(LOGIN), token)

    assert again.status == 412
    assert in_a_new_flow.location == ""
    assert await who(thief) is None


async def test_of_many_who_send_one_token_at_once_one_is_logged_in(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account())
    person = site.person()
    page = await person.get(LOGIN)
    token = token_on(google, page)
    twins = []
    for _ in range(20):
        twin = site.person()
        twin.cookies = dict(person.cookies)
        twins.append(twin)

    answers = await asyncio.gather(*(tell(twin, page, token) for twin in twins))

    statuses = [answer.status for answer in answers]
    # No more are judged at once than the limit has room for.
    assert (statuses.count(303), set(statuses)) == (1, {303, 412, 429})
    assert len(await site.kit.records("session")) == 1


async def test_without_a_nonce_a_token_is_good_once_for_everybody(make: Any, google: GoogleIssuer) -> None:
    site = await make(google_nonce_required=False)
    await linked(site, await site.account())
    token = token_on(google, await site.person().get(LOGIN), nonce=None)
    people = [site.person() for _ in range(10)]
    pages = [await person.get(LOGIN) for person in people]

    answers = await asyncio.gather(*(tell(p, page, token) for p, page in zip(people, pages, strict=True)))

    assert [answer.location for answer in answers].count(PROFILE) == 1
    assert len(await site.kit.records("session")) == 1
    late = site.person()
    site.clock.pass_by(timedelta(minutes=59))
    assert (await tell(late, await late.get(LOGIN), token)).location == ""


async def test_a_program_cannot_answer_and_is_not_offered_it(site: Site, make: Any, google: GoogleIssuer) -> None:
    await linked(site, await site.account())
    person = site.person()

    methods = (await person.get("/json/user/getAuthMethods")).json
    primaries = (await person.get("/json/user/login")).json
    token = token_on(google, await site.person().get(LOGIN), nonce=None)
    answer = await person.json_post("/json/user/auth_googleaccount/login", token=token)

    assert "X-VIUR-AUTH-Google-Account" not in json.dumps([methods, primaries])
    assert answer.json == "FAILURE"
    assert await who(person) is None


async def test_a_program_may_where_the_application_takes_tokens_without_a_nonce(
    make: Any, google: GoogleIssuer
) -> None:
    site = await make(google_nonce_required=False)
    await linked(site, await site.account())
    person = site.person()

    methods = (await person.get("/json/user/getAuthMethods")).json
    token = token_on(google, await site.person().get(LOGIN), nonce=None)
    answer = await person.json_post("/json/user/auth_googleaccount/login", token=token)

    assert ["X-VIUR-AUTH-Google-Account", None] in methods
    assert answer.json == "OKAY"
    assert await who(person) == ADA


# --- 63: one browser, one flow ----------------------------------------------------------------------------------------


async def test_the_form_of_one_browser_is_refused_in_another(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account())
    ada, eve = site.person(), site.person()
    adas, eves = await ada.get(LOGIN), await eve.get(LOGIN)

    answer = await eve.send(
        eves.form("auth_google"), flow=adas.form("auth_google").values["flow"], token=token_on(google, adas)
    )

    assert answer.status == 412
    assert await who(eve) is None


async def test_the_flow_of_a_link_logs_nobody_in_and_that_of_a_login_links_nothing(
    site: Site, google: GoogleIssuer
) -> None:
    await site.account()
    await linked(site, await site.account("eve@example.org"), "666")
    ada = await site.logged_in()
    linking_page, login_page = await ada.get(LINK), await ada.get(LOGIN)
    before = await state(site)

    as_login = await ada.send(
        login_page.form("auth_google"),
        flow=linking_page.form("auth_google").values["flow"],
        token=token_on(google, linking_page, "666"),
    )
    as_link = await ada.send(
        linking_page.form("auth_google"),
        flow=login_page.form("auth_google").values["flow"],
        token=token_on(google, login_page, "777"),
    )

    assert (as_login.status, as_link.status) == (412, 412)
    assert (await state(site))["identity"] == before["identity"]
    assert await who(ada) == ADA


# --- 64, 65, 67: addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verified", [True, False, "true", 1, None])
@pytest.mark.parametrize("registration", [True, False])
async def test_an_address_links_nothing_however_verified(
    make: Any, google: GoogleIssuer, verified: Any, registration: bool
) -> None:
    site = await make(registration_enabled=registration)
    await site.account("ada@gmail.com")
    before, person = await state(site), site.person()

    answer = await come(person, google, email="ada@gmail.com", email_verified=verified)

    assert answer.location == ""
    assert await who(person) is None
    assert await state(site) == before
    assert "another way first" in answer.text


async def test_the_same_address_under_another_subject_is_somebody_else(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account("ada@gmail.com"))
    heir = site.person()

    answer = await come(heir, google, "another-subject", email="ada@gmail.com")

    assert answer.location == ""
    assert await who(heir) is None


async def test_the_same_subject_with_another_address_is_the_same_person_under_the_same_name(
    site: Site, google: GoogleIssuer
) -> None:
    await linked(site, await site.account())
    await site.account("grace@gmail.com")
    person = site.person()

    answer = await come(person, google, email="grace@gmail.com", given_name="Grace")

    assert answer.location == PROFILE
    assert await who(person) == ADA


async def test_who_registered_first_with_somebody_elses_address_is_put_out_by_its_owner(
    make: Any, google: GoogleIssuer
) -> None:
    site = await make(registration_enabled=True)
    eve, owner = site.person(), site.person()
    form = (await eve.get("/user/auth_userpassword/add")).form("add")
    await eve.send(form, name="ada@gmail.com", password="chosen by eve, long enough")
    await site.run_tasks()
    mailed = site.link()

    assert (await come(owner, google, email="ada@gmail.com")).location == PROFILE

    # Neither her password nor the link that was mailed for her attempt is worth anything.
    assert (await eve.log_in("ada@gmail.com", "chosen by eve, long enough")).location == ""
    confirm = await eve.get(mailed)
    if confirm.forms:
        await eve.send(confirm.forms[0])
    assert (await eve.log_in("ada@gmail.com", "chosen by eve, long enough")).location == ""
    assert await who(eve) is None
    assert await who(owner) == "ada@gmail.com"


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "new@example.org"},
        {"email": "new@example.org", "email_verified": False, "hd": "example.org"},
        {"email": "new@gmail.com", "email_verified": "true"},
        {"email": "new@gmail.com", "email_verified": None},
        {"email": None},
        {"email": "no address", "hd": "example.org"},
    ],
)
async def test_an_address_that_google_is_not_the_authority_for_makes_no_account(
    make: Any, google: GoogleIssuer, claims: dict[str, Any]
) -> None:
    site = await make(registration_enabled=True)
    person = site.person()

    answer = await come(person, google, **claims)

    assert answer.location == ""
    assert await site.kit.records("account") == []


# --- 66: the domain ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosted", [None, "", "evil.example", "example.org.evil.example", ["example.org"], True])
async def test_a_demanded_domain_holds_at_every_login_and_every_link(
    make: Any, google: GoogleIssuer, hosted: Any
) -> None:
    site = await make(login_domains=("example.org",), registration_enabled=True)
    await linked(site, await site.account())
    await site.account("grace@example.org")
    stranger, grace = site.person(), await site.logged_in("grace@example.org")
    before = await state(site)

    known = await come(site.person(), google, hd=hosted, email="ada@example.org")
    new = await come(stranger, google, "new", hd=hosted, email="new@example.org")
    link = await come(grace, google, "graces", path=LINK, hd=hosted, email="grace@example.org")

    assert (known.location, new.location, link.location) == ("", "", "")
    assert await state(site) == before
    assert (await come(site.person(), google, hd="example.org")).location == PROFILE


async def test_a_domain_admits_its_own_people_and_nobody_else(make: Any, google: GoogleIssuer) -> None:
    site = await make(registration_domains=("example.org",))

    outside = await come(site.person(), google, "1", email="eve@example.org", hd="evil.example")
    without = await come(site.person(), google, "2", email="eve@gmail.com")
    inside = await come(site.person(), google, "3", email="ada@example.org", hd="example.org")

    assert (outside.location, without.location, inside.location) == ("", "", PROFILE)
    assert len(await site.kit.records("account")) == 1


# --- 68: the profile --------------------------------------------------------------------------------------------------


async def test_a_login_takes_over_a_first_name_and_neither_name_nor_rights(site: Site, google: GoogleIssuer) -> None:
    account = await linked(site, await site.account())
    await site.account("grace@gmail.com")
    claims = {"email": "grace@gmail.com", "given_name": "Ada", "access": ["root"], "roles": ["admin"], "status": 10}

    assert (
        await come(site.person(), google, **claims, factors=[], canonical_name="grace@gmail.com")
    ).location == PROFILE

    now = await site.kit.account_now(account)
    assert now.profile == {"firstname": "Ada"}
    assert (now.name, now.canonical_name, now.email) == (account.name, account.canonical_name, account.email)
    assert (now.access, now.roles, now.status, now.factors) == (account.access, account.roles, account.status, ())


# --- 69: Google's keys cannot be had ----------------------------------------------------------------------------------


@pytest.mark.parametrize("outage", OUTAGES)
async def test_without_googles_keys_the_answer_is_503_and_nothing_has_changed(
    site: Site, google: GoogleIssuer, outage: str
) -> None:
    site.app.services.fetching._patience = 0.3
    await linked(site, await site.account())
    person = site.person()
    page, before = await person.get(LOGIN), await state(site)
    google.outage = outage

    answers = await asyncio.gather(*(tell(person, page, token_on(google, page)) for _ in range(20)))

    assert {answer.status for answer in answers} == {503}
    assert answers[0].header("retry-after")
    assert await state(site) == before
    assert await reasons(site) == []
    assert google.hits <= 2

    google.outage = ""
    site.clock.pass_by(timedelta(minutes=1))
    page = await person.get(LOGIN)
    assert (await tell(person, page, token_on(google, page))).location == PROFILE


@pytest.mark.parametrize("outage", OUTAGES)
async def test_with_keys_that_are_known_people_come_in_during_an_outage(
    site: Site, google: GoogleIssuer, outage: str
) -> None:
    await linked(site, await site.account())
    assert (await come(site.person(), google)).location == PROFILE
    google.outage = outage

    assert (await come(site.person(), google)).location == PROFILE


async def test_a_password_is_not_held_up_by_googles_outage(site: Site, google: GoogleIssuer) -> None:
    await site.account()
    google.outage = "hang"
    hanging = site.person()
    page = await hanging.get(LOGIN)
    waiting = asyncio.create_task(tell(hanging, page, token_on(google, page)))

    assert (await site.person().log_in(ADA, PASSWORD)).location == PROFILE

    assert not waiting.done()
    waiting.cancel()


# --- 70: accounts that may not log in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.WAITING_FOR_EMAIL_VERIFICATION, Status.WAITING_FOR_ADMIN_VERIFICATION,
                                    Status.DISABLED])  # fmt: skip
async def test_an_account_that_may_not_log_in_does_not_by_google_either(
    site: Site, google: GoogleIssuer, status: Status
) -> None:
    await linked(site, await site.account(status=status))
    person = site.person()

    answer = await come(person, google)

    assert answer.location == ""
    assert await who(person) is None
    assert await site.kit.records("session") == []


async def test_a_second_factor_is_owed_after_google_too(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account_with_totp())
    person = site.person()

    page = await person.follow(await come(person, google))

    assert page.form("otp")
    assert await who(person) is None
    assert (await person.send(page.form("otp"), otptoken=site.code())).location == PROFILE


# --- The page ---------------------------------------------------------------------------------------------------------


async def test_googles_script_is_loaded_by_its_two_pages_alone(site: Site, google: GoogleIssuer) -> None:
    await site.account()
    person = await site.logged_in()
    stranger = site.person()
    own = [await stranger.get(LOGIN), await person.get(LINK)]
    others = [
        *[await stranger.get(path) for path in ("/user/login", "/user/auth_userpassword/login", "/user/nowhere")],
        *[await person.get(path) for path in (PROFILE, "/user/edit/self", "/user/logout", "/user/f2_timebasedotp/add")],
    ]

    for page in own:
        assert page.text.count("<script") == 2
        assert "script-src 'self' https://accounts.google.com/gsi/client" in page.header("content-security-policy")
        assert page.header("cross-origin-opener-policy") == "same-origin-allow-popups"
        assert page.header("cache-control") == "no-store"
    for page in others:
        assert "<script" not in page.text
        assert "google.com" not in page.header("content-security-policy")
        assert "script-src" not in page.header("content-security-policy")
        assert page.header("cross-origin-opener-policy") == "same-origin"


async def test_a_token_is_taken_from_a_form_alone_and_never_from_an_address(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account())
    person = site.person()
    page = await person.get(LOGIN)
    values, token = page.form("auth_google").values, token_on(google, page)

    got = await person.get(f"{LOGIN}?flow={values['flow']}&token={token}&skey={values['skey']}")
    posted = await person.post(f"{LOGIN}?token={token}", {"flow": values["flow"], "skey": values["skey"]})

    assert (got.status, posted.status) == (200, 400)
    assert token not in got.text
    assert await who(person) is None


async def test_where_to_go_on_survives_the_way_over_googles_page_and_stays_on_this_site(
    site: Site, google: GoogleIssuer
) -> None:
    await linked(site, await site.account())
    for wanted, reached in (("/user/edit/self", "/user/edit/self"), ("https://evil.example/", PROFILE)):
        person = site.person()
        page = await person.get(f"/user/login?next={wanted}")

        answer = await come(person, google, path=google_link(page))

        assert answer.location == reached


def google_link(page: Page) -> str:
    found = re.search(r'href="(/user/auth_googleaccount/login[^"]*)"', page.text)
    assert found is not None
    return html.unescape(found[1])


async def test_wrong_tokens_do_not_spoil_the_page_for_the_right_one(site: Site, google: GoogleIssuer) -> None:
    await linked(site, await site.account())
    numbers = itertools.count()
    person = site.person(address="203.0.113.5")
    page = await person.get(LOGIN)

    statuses = [(await tell(person, page, FOREIGN.token(claims_on(google, page, jti=next(numbers))))).status
                for _ in range(5)]  # fmt: skip

    assert statuses == [200] * 5
    assert (await tell(person, page, token_on(google, page))).location == PROFILE
