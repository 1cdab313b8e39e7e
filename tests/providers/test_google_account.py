"""What Google confirms is judged for this flow: nonce, domain, authority for the address, and whose identity it is."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from authflow.errors import ConfigurationError, FetchFailed
from authflow.federated import Assertion
from authflow.fetching import HttpFetching
from authflow.messages import sentence
from authflow.model import Credential
from authflow.provider import Ask, Charge, Nobody, Rejected, Subject, Submission, Verified
from authflow.seam import Seam
from authflow.testing import Clock, GoogleIssuer
from authflow.testing.signing import SigningKey
from providers.google_account import ISSUER, GoogleAccount
from tests.providers.context import Context, account_named

CLIENT_ID = "1234-abc.apps.example.org"
SUBJECT = "1234567890"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def google(clock: Clock) -> Iterator[GoogleIssuer]:
    with GoogleIssuer(clock) as issuer:
        yield issuer


@pytest.fixture
async def context(clock: Clock) -> AsyncIterator[Context]:
    fetching = HttpFetching(Seam(), clock, patience=0.5, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    yield Context(now=clock(), fetching=fetching)
    await fetching.close()


def provider_for(google: GoogleIssuer, **settings: Any) -> GoogleAccount:
    cls = type("OwnGoogle", (GoogleAccount,), {"certs_url": google.certs_url, **settings})
    provider: GoogleAccount = cls()
    assert provider.configure({"google_client_id": CLIENT_ID})
    return provider


def nonce_of(provider: GoogleAccount, context: Context) -> str:
    return str(provider.begin(context).params["nonce"])


def token_for(google: GoogleIssuer, provider: GoogleAccount, context: Context, **claims: Any) -> str:
    honest = {"aud": CLIENT_ID, "azp": CLIENT_ID, "sub": SUBJECT, "nonce": nonce_of(provider, context)}
    return google.id_token(**{**honest, "email": "ada@gmail.com", "email_verified": True, **claims})


async def judged(provider: GoogleAccount, context: Context, token: str) -> Assertion | Rejected:
    """Let the provider identify and judge a token, as the engine does."""
    submission = Submission({"token": token})
    who = await provider.identify(submission, context)
    evidence: Mapping[str, Any] = who.evidence if isinstance(who, Subject | Nobody) else {}
    return await provider.assertion(Submission({"token": token}, evidence=evidence), context)


async def refusal(provider: GoogleAccount, context: Context, token: str) -> str:
    found = await judged(provider, context, token)
    assert isinstance(found, Rejected), found
    # No account can be named by what was refused, so none may be charged.
    assert found.charge is Charge.FLOW
    assert found.credential is None
    return found.reason


# --- Configuration ----------------------------------------------------------------------------------------------------


def test_without_a_client_id_it_is_not_offered() -> None:
    assert GoogleAccount().configure({}) is False
    assert GoogleAccount().configure({"google_client_id": "  "}) is False
    assert GoogleAccount().configure({"google_client_id": f" {CLIENT_ID} "}) is True


@pytest.mark.parametrize("client_id", ['a"b', "a b", "<id>", "a\nb", "ä", "x" * 201])
def test_a_client_id_that_is_none_is_refused_when_the_app_is_built(client_id) -> None:
    with pytest.raises(ConfigurationError, match="AUTHFLOW_GOOGLE_CLIENT_ID") as caught:
        GoogleAccount().configure({"google_client_id": client_id})

    assert client_id not in str(caught.value)


@pytest.mark.parametrize("attribute", ["registration_domains", "login_domains"])
@pytest.mark.parametrize("domains", ["example.org", ("",), ("example",), (None,), ("example.org", "")])
def test_domains_that_are_no_list_of_domains_are_refused_when_the_app_is_built(attribute, domains) -> None:
    with pytest.raises(ConfigurationError, match=attribute):
        type("Own", (GoogleAccount,), {attribute: domains})().configure({"google_client_id": CLIENT_ID})


def test_its_names_are_those_that_tools_know() -> None:
    provider = GoogleAccount()

    assert (provider.name, provider.method_name) == ("google_account", "X-VIUR-AUTH-Google-Account")
    assert f"{provider.path}/{provider.action}" == "auth_googleaccount/login"


def test_tools_are_told_of_it_only_where_they_can_answer(google) -> None:
    assert provider_for(google).is_for_tools is False
    assert provider_for(google, google_nonce_required=False).is_for_tools is True


# --- Asking -----------------------------------------------------------------------------------------------------------


def test_it_asks_for_a_token_for_this_client_and_flow(google, context) -> None:
    provider = provider_for(google)

    ask = provider.begin(context)

    assert isinstance(ask, Ask)
    assert [(field.name, field.type) for field in ask.fields] == [("token", "hidden")]
    assert ask.params["client_id"] == CLIENT_ID
    assert len(str(ask.params["nonce"])) == 43
    assert google.hits == 0


def test_each_flow_and_step_has_a_nonce_of_its_own_and_keeps_it(google, context) -> None:
    provider = provider_for(google)
    here = nonce_of(provider, context)

    assert nonce_of(provider, context) == here
    assert nonce_of(provider, Context(now=context.now, flow_id="another")) != here
    assert nonce_of(provider, Context(now=context.now, step=2)) != here
    assert nonce_of(provider, Context(now=context.now, keys=(b"another",))) != here


# --- Whom it is about -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("issuer", ["https://accounts.google.com", "accounts.google.com"])
async def test_the_identity_is_the_same_under_both_of_googles_names(google, context, issuer) -> None:
    provider = provider_for(google)
    token = token_for(google, provider, context, iss=issuer)

    who = await provider.identify(Submission({"token": token}), context)

    assert isinstance(who, Subject)
    assert (who.issuer, who.subject) == (ISSUER, SUBJECT)
    assert "ada@gmail.com" not in repr(who)


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "x" * 20_000])
async def test_a_token_that_is_none_is_about_nobody(google, context, token) -> None:
    provider = provider_for(google)

    assert isinstance(await provider.identify(Submission({"token": token}), context), Nobody)
    assert await refusal(provider, context, token) == "id_token_malformed"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "another-client"}, "id_token_audience"),
        ({"iss": "https://evil.example"}, "id_token_issuer"),
        ({"azp": "another-client"}, "id_token_authorized_party"),
        ({"azp": SUBJECT}, "id_token_authorized_party"),
        ({"exp": 1, "iat": 0}, "id_token_expired"),
        ({"iat": 4_000_000_000, "exp": 4_000_000_100}, "id_token_early"),
        ({"exp": None}, "id_token_lifetime"),
        ({"sub": None}, "id_token_subject"),
    ],
)
async def test_a_refused_token_is_about_nobody_and_the_reason_is_told(google, context, claims, reason) -> None:
    provider = provider_for(google)
    token = token_for(google, provider, context, **claims)

    assert isinstance(await provider.identify(Submission({"token": token}), context), Nobody)
    assert await refusal(provider, context, token) == reason


async def test_a_forged_signature_is_refused(google, context) -> None:
    provider = provider_for(google)
    claims = google.claims(aud=CLIENT_ID, sub=SUBJECT, nonce=nonce_of(provider, context))

    assert await refusal(provider, context, SigningKey("key-1").token(claims)) == "id_token_signature"
    assert await refusal(provider, context, google.key.token(claims, {"alg": "none"})) == "id_token_algorithm"
    assert await refusal(provider, context, google.key.token(claims, {"kid": "x"})) == "id_token_unknown_key"


async def test_every_reason_has_a_sentence_of_its_own_that_says_what_to_do(google, context, clock) -> None:
    general = sentence("no such reason")
    for code, text in GoogleAccount.messages.items():
        assert sentence(code, GoogleAccount.messages) == text != general
        assert "Please" in text


async def test_unreachable_keys_are_a_fault_and_no_refusal(google, context) -> None:
    provider = provider_for(google)
    token = token_for(google, provider, context)
    google.outage = "500"

    with pytest.raises(FetchFailed):
        await provider.identify(Submission({"token": token}), context)


# --- Nonce ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("nonce", ["", "another", 1, True, [], {}, "ä" * 43])
async def test_a_token_made_for_another_nonce_is_refused(google, context, nonce, required) -> None:
    provider = provider_for(google, google_nonce_required=required)

    token = token_for(google, provider, context, nonce=nonce)

    assert await refusal(provider, context, token) == "google_nonce_wrong"


@pytest.mark.parametrize("required", [True, False])
async def test_a_token_made_for_another_flow_is_refused(google, context, required) -> None:
    provider = provider_for(google, google_nonce_required=required)
    elsewhere = Context(now=context.now, fetching=context.fetching, flow_id="another")

    token = token_for(google, provider, elsewhere)

    assert await refusal(provider, context, token) == "google_nonce_wrong"
    assert isinstance(await judged(provider, elsewhere, token), Assertion)


async def test_a_null_nonce_is_a_wrong_one(google, context) -> None:
    provider = provider_for(google, google_nonce_required=False)
    claims = google.claims(aud=CLIENT_ID, sub=SUBJECT)

    assert await refusal(provider, context, google.key.token({**claims, "nonce": None})) == "google_nonce_wrong"


async def test_a_token_without_a_nonce_is_refused_unless_the_application_takes_it(google, context) -> None:
    strict, lenient = provider_for(google), provider_for(google, google_nonce_required=False)
    token = token_for(google, strict, context, nonce=None)

    assert await refusal(strict, context, token) == "google_nonce_wrong"
    assert isinstance(await judged(lenient, context, token), Assertion)


async def test_a_token_without_a_nonce_is_good_once_and_one_with_ours_is_bound_to_the_flow(google, context) -> None:
    provider = provider_for(google, google_nonce_required=False)
    loose = [token_for(google, provider, context, nonce=None, jti=jti) for jti in ("1", "1", "2")]

    found = [await judged(provider, context, token) for token in [*loose, token_for(google, provider, context)]]

    marks = [one.single_use for one in found]
    assert marks[0] == marks[1] != marks[2]
    assert marks[3] == ""
    assert all(mark not in repr(found) for mark in marks[:3])


# --- Domain -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosted", ["example.org", "EXAMPLE.org", "second.example"])
async def test_people_of_a_demanded_domain_may_log_in(google, context, hosted) -> None:
    provider = provider_for(google, login_domains=("example.org", "Second.Example"))

    assert isinstance(await judged(provider, context, token_for(google, provider, context, hd=hosted)), Assertion)


@pytest.mark.parametrize(
    "hosted",
    [None, "", "evil.example", "sub.example.org", "example.org.evil.example", "example.org ", ["example.org"], True],
)
async def test_nobody_else_may_whatever_their_address_says(google, context, hosted) -> None:
    provider = provider_for(google, login_domains=("example.org",))

    token = token_for(google, provider, context, hd=hosted, email="ada@example.org")

    assert await refusal(provider, context, token) == "google_domain_refused"


# --- What is asserted -------------------------------------------------------------------------------------------------


async def test_the_claims_become_an_assertion(google, context) -> None:
    provider = provider_for(google)
    token = token_for(google, provider, context, given_name="Ada", family_name="Lovelace", name="Ada L.", locale="en")

    assert await judged(provider, context, token) == Assertion(
        ISSUER,
        SUBJECT,
        address="ada@gmail.com",
        shown_as="ada@gmail.com",
        profile={"firstname": "Ada", "lastname": "Lovelace"},
    )


@pytest.mark.parametrize(
    ("claims", "is_authority"),
    [
        ({"email": "ada@gmail.com", "email_verified": True}, True),
        ({"email": "Ada@GMAIL.com", "email_verified": True}, True),
        ({"email": "ada@example.org", "email_verified": True, "hd": "example.org"}, True),
        ({"email": "ada@alias.example", "email_verified": True, "hd": "example.org"}, True),
        ({"email": "ada@example.org", "email_verified": True}, False),
        ({"email": "ada@example.org", "email_verified": True, "hd": ""}, False),
        ({"email": "ada@example.org", "email_verified": True, "hd": True}, False),
        ({"email": "ada@notgmail.com", "email_verified": True}, False),
        ({"email": "ada@gmail.com.evil.example", "email_verified": True}, False),
        ({"email": "ada@gmail.com", "email_verified": False}, False),
        ({"email": "ada@gmail.com", "email_verified": "true"}, False),
        ({"email": "ada@gmail.com", "email_verified": 1}, False),
        ({"email": "ada@gmail.com", "email_verified": None}, False),
        ({"email": None, "email_verified": True, "hd": "example.org"}, False),
        ({"email": ["ada@gmail.com"], "email_verified": True}, False),
        ({"email": "ada@gmail.com\r\nBcc: eve@gmail.com", "email_verified": True}, False),
        ({"email": "a" * 300 + "@gmail.com", "email_verified": True}, False),
    ],
)
async def test_an_address_counts_only_where_google_is_the_authority_for_it(
    google, context, claims, is_authority
) -> None:
    provider = provider_for(google)

    found = await judged(provider, context, token_for(google, provider, context, **claims))

    assert isinstance(found, Assertion)
    assert found.address == (claims["email"] if is_authority else "")


@pytest.mark.parametrize("value", [None, "", 1, True, ["Ada"], {"x": 1}, "A" * 255, "Ada\nLovelace", "\u202eadA"])
async def test_a_name_that_is_no_plain_text_is_left_out(google, context, value) -> None:
    provider = provider_for(google)

    found = await judged(
        provider, context, token_for(google, provider, context, given_name=value, name=value, email=value)
    )

    assert isinstance(found, Assertion)
    assert (found.profile, found.shown_as, found.address) == ({}, "", "")


# --- Strangers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "hosted", "are_admitted"),
    [
        ({}, "example.org", False),
        ({"registration_enabled": True}, None, True),
        ({"registration_domains": ("example.org",)}, "example.org", True),
        ({"registration_domains": ("Example.ORG",)}, "example.org", True),
        ({"registration_domains": ("example.org",)}, "evil.example", False),
        ({"registration_domains": ("example.org",)}, None, False),
        ({"registration_domains": ("example.org",)}, ["example.org"], False),
    ],
)
async def test_strangers_are_admitted_by_switch_or_by_domain(google, context, settings, hosted, are_admitted) -> None:
    provider = provider_for(google, **settings)
    token = token_for(google, provider, context, hd=hosted, email="ada@example.org")
    who = await provider.identify(Submission({"token": token}), context)
    submission = Submission({"token": token}, evidence=who.evidence)

    found = await provider.assertion(submission, context)

    assert provider.admits(found, submission) is are_admitted


# --- The verdict ------------------------------------------------------------------------------------------------------


def linked(context: Context, **data: Any) -> Credential:
    own = {"issuer": ISSUER, "subject": SUBJECT, "shown_as": "ada@gmail.com", "profile": {}, "synced": {}, **data}
    return Credential(account_named("ada@example.org").id, "google_account", context.now, context.now, own)


async def answered(provider: GoogleAccount, context: Context, credential: Credential | None, token: str) -> Any:
    who = await provider.identify(Submission({"token": token}), context)
    return await provider.answer(credential, Submission({"token": token}, evidence=who.evidence), context)


async def test_the_owner_of_a_linked_identity_is_verified_and_nothing_is_written(google, context) -> None:
    provider = provider_for(google)

    outcome = await answered(provider, context, linked(context), token_for(google, provider, context))

    assert isinstance(outcome, Verified)
    assert (outcome.proof.provider, outcome.proof.factor) == ("google_account", "federated")
    assert outcome.credential is None


async def test_a_changed_address_changes_what_is_shown_and_not_who_it_is(google, context, clock) -> None:
    provider = provider_for(google)
    credential = linked(context)
    token = token_for(google, provider, context, email="lovelace@gmail.com")

    outcome = await answered(provider, context, credential, token)

    assert isinstance(outcome, Verified)
    assert outcome.credential is not None
    assert outcome.credential.data["shown_as"] == "lovelace@gmail.com"
    assert (outcome.credential.data["issuer"], outcome.credential.data["subject"]) == (ISSUER, SUBJECT)


async def test_an_identity_that_is_linked_to_nobody_is_refused(google, context) -> None:
    provider = provider_for(google)

    outcome = await answered(provider, context, None, token_for(google, provider, context))

    assert outcome == Rejected("identity_unknown", Charge.FLOW)


@pytest.mark.parametrize("data", [{"subject": "another"}, {"issuer": "https://evil.example"}, {"subject": None}])
async def test_the_same_address_under_another_subject_is_somebody_else(google, context, data) -> None:
    provider = provider_for(google)

    outcome = await answered(provider, context, linked(context, **data), token_for(google, provider, context))

    assert outcome == Rejected("identity_unknown", Charge.FLOW)


async def test_a_token_is_refused_as_soon_as_it_has_expired(google, clock, context) -> None:
    provider = provider_for(google)
    token = token_for(google, provider, context)
    clock.pass_by(timedelta(hours=1))
    later = Context(now=clock(), fetching=context.fetching)

    assert await refusal(provider, later, token) == "id_token_expired"
