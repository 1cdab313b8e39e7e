"""Logging in at an OpenID issuer: a real one on loopback, and one in this process that says what no real one would."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import pytest

from authflow.errors import ConfigurationError, FetchFailed, FetchRefused
from authflow.federated import Assertion
from authflow.provider import Charge, Nobody, Redirect, Rejected, Subject, Submission
from examples.kits import CLIENT, CLIENT_SECRET, ISSUER, Colleague, IssuerInProcess
from examples.openid_connect import MyUser, OpenIdConnect
from tests.parts.openid_provider import OpenIdProvider, missing_part, sign_in
from tests.parts.require import require
from tests.providers.context import NOON, Context
from tests.web_kit import ADA, BASE_URL, Page, Person, Site, make_site

TEMPLATES = str(Path(__file__).parents[2] / "examples" / "templates")
BASE = "/user/auth_openidconnect"
BACK = [f"{BASE_URL}{BASE}/login", f"{BASE_URL}{BASE}/add"]
PEOPLE = {
    "ada": {"email": "ada@example.org", "email_verified": True, "given_name": "Ada", "family_name": "Lovelace"},
    "grace": {"email": "grace@example.org", "email_verified": True, "given_name": "Grace"},
    "eve": {"email": "ada@example.org", "email_verified": False},
    "mallory": {"email": "mallory@example.com", "email_verified": True},
}
NOT_ACCEPTED = "Your organisation&#39;s confirmation was not accepted"


@pytest.fixture(scope="module")
def standing_issuer(request: pytest.FixtureRequest) -> Iterator[OpenIdProvider]:
    reason = missing_part()
    require(request, reason is None, reason or "")
    with OpenIdProvider(BACK, PEOPLE) as issuer:
        yield issuer


async def house(settings: dict[str, str], user: type[MyUser] = MyUser) -> Site:
    site = await make_site(user(), templates=TEMPLATES, provider_environment=settings)
    # The issuer goes by the time of day.
    site.clock.now = datetime.now(UTC)
    return site


@pytest.fixture
async def site(standing_issuer: OpenIdProvider) -> Site:
    return await house(standing_issuer.settings())


def path(address: str) -> str:
    """Return what a browser asks us for when it is sent back."""
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"


def with_query(address: str, **changes: str | None) -> str:
    """Return a path with some values of its query changed, or left out."""
    parts = urlsplit(address)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | changes
    return f"{parts.path}?{urlencode({name: value for name, value in query.items() if value is not None})}"


async def there_and_back(person: Person, login: str, *, start: str = f"{BASE}/login", **more: Any) -> str:
    """Go to the issuer from one of our pages and sign in; return the path that the browser is sent back to."""
    page = await person.get(start)
    assert page.status == 303, page.text
    return path(await sign_in(page.location, login, **more))


async def connect(site: Site, login: str = "ada") -> Person:
    """Connect the issuer's account to the account here, as its owner does."""
    person = await site.logged_in()
    page = await person.get(await there_and_back(person, login, start=f"{BASE}/add"))
    assert page.status in (200, 303), page.text
    return person


# --- There and back, at a real issuer ---------------------------------------------------------------------------------


async def test_somebody_connects_the_account_and_logs_in_with_it(site) -> None:
    account = await site.account()
    owner = await connect(site)
    assert "ada@example.org" in (await owner.get("/user/view/self")).text

    person = site.person()
    page = await person.get("/user/login?next=/user/edit/self")
    assert "Continue with Your organisation" in page.text
    done = await person.get(await there_and_back(person, "ada", start=f"{BASE}/login?next=/user/edit/self"))

    assert done.location == "/user/edit/self"
    assert ADA in (await person.get("/user/view/self")).text
    (identity,) = await site.kit.records("identity")
    assert identity.data["account_id"] == account.id


async def test_an_issuer_that_signs_by_a_curve_is_read_too(standing_issuer) -> None:
    class ByCurve(OpenIdConnect):
        algorithm = "ES256"

    class House(MyUser):
        authentication_providers = ("providers.user_password:UserPassword", ByCurve)
        valid_authentication_methods = (("user_password", None), (ByCurve, None))

    site = await house(standing_issuer.settings("p256"), House)
    base = f"/user/{ByCurve.path}"
    assert base == BASE
    await site.account()
    await connect(site)
    person = site.person()

    assert (await person.get(await there_and_back(person, "ada"))).location == "/user/view/self"


async def test_an_issuer_that_signs_otherwise_than_was_agreed_is_refused(standing_issuer) -> None:
    site = await house(standing_issuer.settings("p256"))
    person = site.person()

    page = await person.get(await there_and_back(person, "ada"))

    assert NOT_ACCEPTED in page.text
    assert await site.kit.records("session") == []


async def test_who_must_log_in_again_is_asked_again_by_the_issuer(site) -> None:
    await site.account()
    owner = await connect(site)

    page = await owner.get(f"{BASE}/login?reauthenticate=1&next={BASE}/remove")
    asked = parse_qs(urlsplit(page.location).query)
    done = await owner.get(path(await sign_in(page.location, "ada")))

    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    assert done.location == f"{BASE}/remove"


async def test_a_second_factor_is_owed_after_it(site) -> None:
    await site.account_with_totp()
    person = await site.logged_in(with_code=True)
    await person.get(await there_and_back(person, "ada", start=f"{BASE}/add"))

    other = site.person()
    back = await other.get(await there_and_back(other, "ada"))
    assert (await other.get("/user/edit/self")).status == 303
    # No page stands under the address that holds code and state.
    assert back.status == 303
    page = await other.follow(back)

    site.clock.pass_by(timedelta(seconds=60))
    done = await other.send(page.form("otp"), otptoken=site.code())
    assert done.location == "/user/view/self", done.text


async def test_a_stranger_is_told_so_and_may_try_again(site) -> None:
    await site.account()
    await connect(site)
    person = site.person()

    page = await person.get(await there_and_back(person, "grace"))
    assert "not connected to an account here" in page.text
    again = page.text.partition('class="button" href="')[2].partition('"')[0]

    done = await person.get(await there_and_back(person, "ada", start=again))
    assert done.location == "/user/view/self"


@pytest.mark.parametrize(("login", "is_admitted"), [("grace", True), ("eve", False), ("mallory", False)])
async def test_strangers_come_with_an_address_that_the_issuer_speaks_for(standing_issuer, login, is_admitted) -> None:
    site = await house({**standing_issuer.settings(), "oidc_domains": "example.net, Example.org"})
    person = site.person()

    page = await person.get(await there_and_back(person, login))

    assert (page.location == "/user/view/self") == is_admitted
    if is_admitted:
        shown = (await person.get("/user/view/self")).text
        assert "grace@example.org" in shown
        assert "Grace" in shown
    else:
        assert await site.kit.records("account") == []


async def test_an_address_alone_opens_nobodys_account(standing_issuer) -> None:
    site = await house({**standing_issuer.settings(), "oidc_domains": "example.org"})
    await site.account("ada@example.org")
    person = site.person()

    page = await person.get(await there_and_back(person, "ada"))

    assert page.status == 200
    assert await site.kit.records("identity") == []
    assert (await person.get("/user/view/self")).status == 303


# --- What comes back is not what was asked for ------------------------------------------------------------------------


async def refused(person: Person, address: str) -> Page:
    page = await person.get(address)
    assert page.status >= 400 or page.status == 200, page.location
    assert (await person.get("/user/view/self")).status == 303
    return page


async def test_an_answer_is_taken_in_the_browser_that_left_alone(site) -> None:
    await site.account()
    await connect(site)
    back = await there_and_back(site.person(), "ada")

    eve = site.person()
    await eve.get("/user/login")

    assert (await refused(eve, back)).status == 412


async def test_an_answer_is_taken_once(site) -> None:
    await site.account()
    await connect(site)
    person = site.person()
    back = await there_and_back(person, "ada")
    assert (await person.get(back)).location == "/user/view/self"
    sessions = len(await site.kit.records("session"))
    person.cookies = {name: value for name, value in person.cookies.items() if "session" not in name}

    page = await person.get(back)

    assert NOT_ACCEPTED in page.text
    assert len(await site.kit.records("session")) == sessions


async def test_the_code_of_another_flow_is_refused_by_the_issuer(site) -> None:
    await site.account()
    await connect(site)
    stolen = parse_qs(urlsplit(await there_and_back(site.person(), "ada")).query)["code"][0]
    eve = site.person()
    hers = await there_and_back(eve, "eve")

    # Her own flow, and his code: the issuer has another code_challenge for it than we have a verifier.
    assert NOT_ACCEPTED in (await refused(eve, with_query(hers, code=stolen))).text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"iss": "https://evil.example"}, NOT_ACCEPTED),
        ({"iss": ""}, NOT_ACCEPTED),
        ({"code": None}, NOT_ACCEPTED),
        ({"code": ""}, NOT_ACCEPTED),
        ({"code": "x" * 3000}, NOT_ACCEPTED),
        ({"code": "é"}, NOT_ACCEPTED),
        ({"code": None, "error": "access_denied"}, "You have not agreed"),
        ({"error": "access_denied"}, "You have not agreed"),
        ({"code": None, "error": "server_error"}, "does not work at the moment"),
        ({"code": None, "error": "temporarily_unavailable"}, "does not work at the moment"),
        ({"code": None, "error": "<script>", "error_description": "<b>you</b>"}, NOT_ACCEPTED),
    ],
)
async def test_what_is_no_answer_of_this_issuer_is_told_and_asked_about_nowhere(site, changes, sentence) -> None:
    person = site.person()
    back = await there_and_back(person, "ada")
    if changes == {"iss": ""}:
        changes = {"iss": " "}

    page = await refused(person, with_query(back, **changes))

    assert sentence in page.text
    assert "<b>you</b>" not in page.text
    assert page.bill.total("fetch") == 0


async def test_whoever_leaves_the_issuer_by_its_own_way_out_is_told_so(site) -> None:
    person = site.person()

    page = await refused(person, await there_and_back(person, "ada", agrees=False))

    assert "You have not agreed" in page.text


async def test_an_answer_that_is_posted_is_none(site) -> None:
    person = site.person()
    back = await there_and_back(person, "ada")
    values = {name: found[0] for name, found in parse_qs(urlsplit(back).query).items()}
    form = (await person.get("/user/login")).form("login")

    page = await person.post(f"{BASE}/login", {**form.values, **values, "flow": ""})

    assert page.status in (200, 400, 412)
    assert page.bill.total("fetch") == 0
    assert (await person.get("/user/view/self")).status == 303


async def test_without_the_issuer_nobody_is_let_in_and_nothing_is_half_done(standing_issuer) -> None:
    with OpenIdProvider(BACK, PEOPLE) as issuer:
        site = await house(issuer.settings())
        await site.account()
        await connect(site)
        person = site.person()
        back = await there_and_back(person, "ada")
        before = len(await site.kit.records("session"))
        issuer.stop()

        page = await refused(person, back)

    assert page.status == 503
    assert page.header("retry-after")
    assert len(await site.kit.records("session")) == before


async def test_secret_and_code_are_in_no_address_page_log_or_repr(site, standing_issuer, caplog) -> None:
    secret = standing_issuer.settings()["oidc_client_secret"]
    await site.account()
    await connect(site)
    person = site.person()
    start = await person.get(f"{BASE}/login")
    back = path(await sign_in(start.location, "ada"))
    code = parse_qs(urlsplit(back).query)["code"][0]
    caplog.set_level(logging.DEBUG)
    caplog.clear()

    done = await person.get(back)

    assert done.location == "/user/view/self"
    assert "authflow.audit" in {record.name for record in caplog.records}
    settings = repr(site.app.settings)
    for text in (
        caplog.text,
        start.location,
        start.text,
        done.text,
        repr(site.kit.provider("openid_connect")),
        settings,
    ):
        assert secret not in text
        assert secret not in unquote_plus(text)
    assert code not in caplog.text + done.text + done.location


async def test_what_goes_to_the_issuer_is_bound_to_this_flow(site) -> None:
    addresses = [(await site.person().get(f"{BASE}/login")).location for _ in range(2)]

    one, other = ({name: v[0] for name, v in parse_qs(urlsplit(a).query).items()} for a in addresses)
    assert one["response_type"] == "code"
    assert one["code_challenge_method"] == "S256"
    assert one["redirect_uri"] == f"{BASE_URL}{BASE}/login"
    for name in ("state", "nonce", "code_challenge"):
        assert len(one[name]) >= 43
        assert one[name] != other[name]


# --- What an issuer says, in this process -----------------------------------------------------------------------------


@dataclass
class At(Context):
    """A step in a flow, with the issuer in this process."""

    fetching: IssuerInProcess = field(default_factory=IssuerInProcess)

    def callback_url(self) -> str:
        return f"https://login.example.org{BASE}/login"


def configured(kind: type[OpenIdConnect] = OpenIdConnect, **more: str) -> OpenIdConnect:
    provider = kind()
    assert provider.configure({**Colleague.settings, **more})
    return provider


async def judged(provider: OpenIdConnect, context: At, query: dict[str, str] | None = None, **claims: Any):
    """Go there and back; return what `identify` and `assertion` make of it."""
    redirect = provider.begin(context)
    assert isinstance(redirect, Redirect)
    back = context.fetching.authorize(redirect.url, "1", context.now, **claims) | (query or {})
    submission = Submission(back, by_get=True)
    who = await provider.identify(submission, context)
    assert isinstance(who, Subject | Nobody)
    return who, await provider.assertion(Submission(back, by_get=True, evidence=who.evidence), context)


async def test_a_good_token_asserts_issuer_and_subject() -> None:
    claims = {"email": "ada@example.org", "email_verified": True, "given_name": "Ada", "family_name": "Lovelace"}

    who, found = await judged(configured(oidc_domains="example.org"), At(), **claims)

    assert (who.issuer, who.subject) == (ISSUER, "1")
    profile = {"firstname": "Ada", "lastname": "Lovelace"}
    assert found == Assertion(ISSUER, "1", "ada@example.org", "ada@example.org", profile)


SECONDS = int(NOON.timestamp())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": None}, "openid_nonce_wrong"),
        ({"nonce": ""}, "openid_nonce_wrong"),
        ({"nonce": "of another flow"}, "openid_nonce_wrong"),
        ({"nonce": ["x"]}, "openid_nonce_wrong"),
        ({"nonce": "é"}, "openid_nonce_wrong"),
        ({"iss": "https://evil.example"}, "id_token_issuer"),
        ({"iss": ISSUER + "/"}, "id_token_issuer"),
        ({"aud": "another client"}, "id_token_audience"),
        ({"aud": [CLIENT, "another client"], "azp": CLIENT}, "id_token_audience"),
        ({"azp": "another client"}, "id_token_authorized_party"),
        ({"azp": "1"}, "id_token_authorized_party"),
        ({"iat": SECONDS - 600, "exp": SECONDS}, "id_token_expired"),
        ({"exp": SECONDS + 100_000}, "id_token_lifetime"),
        ({"iat": None}, "id_token_lifetime"),
        ({"iat": SECONDS + 60, "exp": SECONDS + 120}, "id_token_early"),
        ({"sub": None}, "id_token_subject"),
        ({"sub": "x" * 256}, "id_token_subject"),
        ({"at_hash": "of another token"}, "openid_refused"),
        ({"at_hash": 1}, "openid_refused"),
        ({"at_hash": "é"}, "openid_refused"),
    ],
)
async def test_a_token_that_says_something_else_is_refused(changes, reason) -> None:
    context = At()
    context.fetching.changes = changes

    _, found = await judged(configured(), context)

    assert found == Rejected(reason, Charge.FLOW)
    assert OpenIdConnect.messages[reason]


@pytest.mark.parametrize("at", [None, True, "1", 1.5, SECONDS - 301, SECONDS + 301])
async def test_a_session_of_long_ago_at_the_issuer_is_no_fresh_login(at) -> None:
    context = At(wants_fresh_login=True)
    context.fetching.changes = {"auth_time": at}

    _, found = await judged(configured(), context)

    assert found == Rejected("openid_not_fresh", Charge.FLOW)


@pytest.mark.parametrize("at", [SECONDS - 300, SECONDS, SECONDS + 10])
async def test_a_login_of_just_now_at_the_issuer_is_a_fresh_one(at) -> None:
    context = At(wants_fresh_login=True)
    context.fetching.changes = {"auth_time": at}

    assert isinstance((await judged(configured(), context))[1], Assertion)


@pytest.mark.parametrize("changes", [{"at_hash": None}, {"azp": CLIENT}, {"aud": [CLIENT]}])
async def test_what_need_not_be_said_may_be_missing_or_said_otherwise(changes) -> None:
    context = At()
    context.fetching.changes = changes

    assert isinstance((await judged(configured(), context))[1], Assertion)


@pytest.mark.parametrize("query", [{"iss": ""}, {"iss": "https://evil.example"}])
async def test_an_issuer_that_names_itself_is_named_in_every_answer(query) -> None:
    class Strict(OpenIdConnect):
        names_itself = True

    context = At()

    _, found = await judged(configured(Strict), context, query)

    assert found == Rejected("openid_mixed_up", Charge.FLOW)
    assert context.fetching.asked == []


async def test_another_issuers_answer_gets_no_code_of_ours() -> None:
    context = At()

    await judged(configured(), context, {"iss": "https://evil.example"})

    assert context.fetching.asked == []


@pytest.mark.parametrize(
    ("email", "is_verified", "address"),
    [
        ("ada@example.org", True, "ada@example.org"),
        ("ada@EXAMPLE.org", True, "ada@EXAMPLE.org"),
        ("ada@example.org", "true", ""),
        ("ada@example.org", None, ""),
        ("ada@sub.example.org", True, ""),
        ("ada@example.org.evil.example", True, ""),
        ("ada@evil.example", True, ""),
        ("example.org", True, "example.org"),
        ("", True, ""),
        ("x" * 300 + "@example.org", True, ""),
        (["ada@example.org"], True, ""),
    ],
)
async def test_an_address_counts_where_the_issuer_is_the_authority_for_it(email, is_verified, address) -> None:
    provider = configured(oidc_domains="example.org")

    _, found = await judged(provider, At(), email=email, email_verified=is_verified)

    # What is no address at all is refused by the engine, which reads it as one.
    assert isinstance(found, Assertion)
    assert found.address == address
    assert provider.admits(found, Submission({})) == (address != "")


async def test_an_issuer_that_does_not_answer_is_a_fault() -> None:
    context = At()
    context.fetching.is_down = True

    with pytest.raises(FetchFailed):
        await judged(configured(), context)


async def test_a_client_that_the_issuer_does_not_know_is_a_fault() -> None:
    class Unknowing(IssuerInProcess):
        async def post_form(self, url, values):
            raise FetchRefused("issuer.example.org: status 400", "invalid_client")

    with pytest.raises(FetchRefused):
        await judged(configured(), At(fetching=Unknowing()))


async def test_the_same_step_asks_the_same() -> None:
    provider = configured()

    assert provider.begin(At()) == provider.begin(At())
    assert provider.begin(At(step=2)) != provider.begin(At())


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_without_a_client_id_it_is_not_offered() -> None:
    assert not OpenIdConnect().configure({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_secret", ""),
        ("issuer", ""),
        ("token_endpoint", ""),
        ("issuer", "http://issuer.example.org"),
        ("token_endpoint", "http://issuer.example.org/token"),
        ("jwks_uri", "ftp://issuer.example.org/jwks"),
        ("authorization_endpoint", "javascript:alert(1)"),
        ("authorization_endpoint", "https://issuer.example.org/auth#fragment"),
        ("jwks_uri", "https://[issuer"),
        ("jwks_uri", "nonsense"),
    ],
)
def test_settings_that_lead_nowhere_safe_refuse_to_start(name, value) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OpenIdConnect().configure({**Colleague.settings, f"oidc_{name}": value})

    assert f"AUTHFLOW_OIDC_{name.upper()}" in str(caught.value)
    assert CLIENT_SECRET not in str(caught.value)


def test_an_address_that_has_a_query_keeps_it() -> None:
    provider = configured(oidc_authorization_endpoint=f"{ISSUER}/auth?tenant=1")

    assert provider.begin(At()).url.startswith(f"{ISSUER}/auth?tenant=1&response_type=code&")
