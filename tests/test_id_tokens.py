"""An ID token is believed when everything about it is as it must be, and every single step refuses by itself."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import ssl
import string
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authflow.errors import FetchFailed
from authflow.fetching import HttpFetching
from authflow.id_tokens import MAX_LENGTH, IdTokenRefused, read_client_token, read_id_token
from authflow.seam import Seam
from authflow.testing import Clock, GoogleIssuer
from authflow.testing.google import ISSUER, OUTAGES
from authflow.testing.signing import SigningKey, base64url

AUDIENCE = "1234-abc.apps.example.org"
ISSUERS = frozenset({ISSUER, "accounts.google.com"})
FOREIGN = SigningKey("key-1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def google(clock: Clock) -> Iterator[GoogleIssuer]:
    with GoogleIssuer(clock) as issuer:
        yield issuer


@pytest.fixture
async def fetching(clock: Clock) -> AsyncIterator[HttpFetching]:
    # Reading the trusted authorities anew takes longer than these tests, which use none.
    made = HttpFetching(Seam(), clock, patience=0.5, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    yield made
    await made.close()


Read = Callable[[str], Any]


@pytest.fixture
def read(google: GoogleIssuer, fetching: HttpFetching, clock: Clock) -> Read:
    async def reading(token: str, *, by=read_id_token, audience: str = AUDIENCE) -> Mapping:
        return await by(
            token, fetching=fetching, certs_url=google.certs_url, issuers=ISSUERS, audience=audience, now=clock()
        )

    return reading


def good(google: GoogleIssuer, **claims: Any) -> dict[str, Any]:
    return google.claims(**{"aud": AUDIENCE, "azp": AUDIENCE, "sub": "1234567890", **claims})


async def refusal(read: Read, token: str, **options: Any) -> str:
    with pytest.raises(IdTokenRefused) as caught:
        await read(token, **options)
    # What is refused ends up in logs: nothing of it may stand there.
    assert token not in str(caught.value) or token == ""
    assert caught.value.__cause__ is None
    return caught.value.code


# --- What is believed -------------------------------------------------------------------------------------------------


async def test_a_good_token_is_read(google, read) -> None:
    claims = good(google, email="ada@example.org", email_verified=True, name="Ada Lovelace – 愛")

    assert await read(google.key.token(claims)) == claims


@pytest.mark.parametrize("issuer", sorted(ISSUERS))
async def test_each_of_the_issuers_names_is_taken(google, read, issuer) -> None:
    assert (await read(google.key.token(good(google, iss=issuer))))["iss"] == issuer


@pytest.mark.parametrize("left_out", ["azp", "nbf", "email"])
async def test_a_claim_that_need_not_be_there_may_be_missing(google, read, left_out) -> None:
    assert await read(google.key.token(good(google, **{left_out: None})))


async def test_a_list_of_exactly_the_audience_is_taken(google, read) -> None:
    assert await read(google.key.token(good(google, aud=[AUDIENCE])))


async def test_a_service_accounts_token_names_itself_as_authorized_party(google, read) -> None:
    token = google.key.token(good(google, azp="1234567890", email="tasks@example.iam.gserviceaccount.com"))

    assert (await read(token))["azp"] == "1234567890"


async def test_a_service_accounts_token_is_no_login_of_a_client(google, read) -> None:
    by_robot = google.key.token(good(google, azp="1234567890"))

    assert await refusal(read, by_robot, by=read_client_token) == "id_token_authorized_party"
    assert await read(google.key.token(good(google)), by=read_client_token)
    assert await read(google.key.token(good(google, azp=None)), by=read_client_token)


# --- 1, 2: size and form ----------------------------------------------------------------------------------------------


async def test_a_huge_token_is_refused_before_it_is_taken_apart(google, read) -> None:
    longest = MAX_LENGTH - len(google.key.token(good(google, filler="")))
    fits = google.key.token(good(google, filler="x" * (longest * 3 // 4 - 3)))

    assert len(fits) <= MAX_LENGTH
    assert await read(fits)
    assert await refusal(read, google.key.token(good(google, filler="x" * longest))) == "id_token_malformed"
    assert await refusal(read, "{" * 10_000_000) == "id_token_malformed"


def reassembled(token: str, header: str = "", claims: str = "", signature: str = "") -> str:
    parts = token.split(".")
    return ".".join(new or old for new, old in zip((header, claims, signature), parts, strict=True))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: "",
        lambda t: ".",
        lambda t: "..",
        lambda t: "a.b.c",
        lambda t: t + ".",
        lambda t: "." + t,
        lambda t: t + ".x",
        lambda t: t + "\n",
        lambda t: " " + t,
        lambda t: t + "=",
        lambda t: t.replace(".", "..", 1),
        lambda t: t.rpartition(".")[0] + ".",
        lambda t: t.rpartition(".")[0],
        lambda t: "Bearer " + t,
        lambda t: t[:40] + "\x00" + t[40:],
        lambda t: t[:40] + "ä" + t[40:],
        lambda t: t[:40] + "\u212a" + t[40:],
        lambda t: t[:40] + "!" + t[40:],
        lambda t: t.translate(str.maketrans("0123456789", "０１２３４５６７８９")),
        lambda t: reassembled(t, signature=t.split(".")[2] + "AAA"),
        lambda t: reassembled(t, claims=t.split(".")[1] + "A" * 3),
        lambda t: ".".join(t.split(".") + t.split(".")),
        lambda t: t + "," + t,
        lambda t: reassembled(t, header=base64url(b" ")),
        lambda t: reassembled(t, header=base64url(b"[]")),
        lambda t: reassembled(t, header=base64url(b'"RS256"')),
        lambda t: reassembled(t, header=base64url(b"\xff\xfe")),
    ],
)
async def test_what_is_not_three_parts_of_base64url_with_objects_in_them_is_malformed(google, read, spoil) -> None:
    assert await refusal(read, spoil(google.key.token(good(google)))) == "id_token_malformed"
    assert google.hits == 0


@pytest.mark.parametrize(
    "claims",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b'{"sub": "1"',
        b'{"sub": "1"} {"sub": "2"}',
        b'{"sub": "\\ud800"}',
        b'{"exp": 1e999}',
        b'{"exp": NaN}',
        b'{"exp": ' + b"9" * 5000 + b"}",
        b'{"deep": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"deep": ' + b'{"a":' * 1900 + b"1" + b"}" * 1900 + b"}",
        b"\xef\xbb\xbf{}",
        '{"sub": "1"}'.encode("utf-16"),
    ],
    ids=lambda raw: repr(raw[:16]),
)
async def test_claims_that_are_no_strict_json_are_malformed_however_well_signed(google, read, claims) -> None:
    header = json.dumps({"alg": "RS256", "kid": google.key.kid}).encode()

    assert await refusal(read, google.key.token_of(header, claims)) == "id_token_malformed"


@pytest.mark.parametrize("name", ["aud", "sub", "iss", "exp", "nonce"])
async def test_a_claim_that_stands_there_twice_makes_the_token_malformed(google, read, name) -> None:
    claims = {"nonce": "n", **good(google)}
    doubled = json.dumps(claims)[:-1] + f", {json.dumps(name)}: {json.dumps(claims[name])}}}"
    header = json.dumps({"alg": "RS256", "kid": google.key.kid}).encode()

    assert await refusal(read, google.key.token_of(header, doubled.encode())) == "id_token_malformed"


async def test_a_header_name_that_stands_there_twice_makes_the_token_malformed(google, read) -> None:
    header = f'{{"alg": "none", "kid": "{google.key.kid}", "alg": "RS256"}}'.encode()

    token = google.key.token_of(header, json.dumps(good(google)).encode())

    assert await refusal(read, token) == "id_token_malformed"


async def test_an_extension_that_must_be_understood_makes_the_token_malformed(google, read) -> None:
    token = google.key.token(good(google), {"crit": ["b64"], "b64": False})

    assert await refusal(read, token) == "id_token_malformed"


async def test_the_same_signature_written_in_another_way_is_malformed(google, read) -> None:
    token = google.key.token(good(google))
    # 256 bytes leave four bits of the last character unused.
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]

    assert base64.urlsafe_b64decode(twin.split(".")[2] + "==") == base64.urlsafe_b64decode(token.split(".")[2] + "==")
    assert await refusal(read, twin) == "id_token_malformed"


# --- 3: algorithm -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "NONE", "nOnE", "", "HS256", "HS512", "RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256",
     "RS256 ", None, 256, True, ["RS256"], {"RS256": 1}],
)  # fmt: skip
async def test_only_one_algorithm_is_taken(google, read, algorithm) -> None:
    assert await refusal(read, google.key.token(good(google), {"alg": algorithm})) == "id_token_algorithm"
    assert google.hits == 0


@pytest.mark.parametrize("signature", ["", "AA"])
async def test_a_token_without_a_signature_is_refused(google, read, signature) -> None:
    parts = [{"alg": "none", "kid": google.key.kid}, good(google)]
    token = ".".join([*(base64url(json.dumps(part).encode()) for part in parts), signature])

    assert await refusal(read, token) in ("id_token_malformed", "id_token_algorithm")


@pytest.mark.parametrize("secret", ["certificate", "public key"])
@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
async def test_the_public_key_is_no_shared_secret(google, read, secret, algorithm) -> None:
    pem = google.key.pem.encode()
    if secret == "public key":
        pem = x509.load_pem_x509_certificate(pem).public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )  # fmt: skip
    token = google.key.token(good(google), {"alg": algorithm})
    text = token.rpartition(".")[0]

    forged = f"{text}.{base64url(hmac.digest(pem, text.encode(), 'sha256'))}"

    assert await refusal(read, forged) == ("id_token_algorithm" if algorithm == "HS256" else "id_token_signature")


# --- 4, 5: key and signature ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kid", ["key-2", "", None, 1, True, ["key-1"], {"key-1": 1}, "KEY-1", "../key-1", "__class__", "key-1\x00"]
)
async def test_a_key_that_the_issuer_does_not_publish_is_unknown(google, read, kid) -> None:
    assert await refusal(read, google.key.token(good(google), {"kid": kid})) == "id_token_unknown_key"


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
async def test_a_key_that_the_token_itself_brings_or_names_is_not_used(google, read, name) -> None:
    brought = {"jwk": {"kty": "RSA"}, "x5c": [FOREIGN.pem]}.get(name, f"{google.certs_url}?mine")

    code = await refusal(read, FOREIGN.token(good(google), {name: brought}))

    assert (code, google.hits) == ("id_token_signature", 1)


async def test_a_foreign_key_under_a_published_name_is_refused(google, read) -> None:
    assert await refusal(read, FOREIGN.token(good(google))) == "id_token_signature"


@pytest.mark.parametrize("part", [0, 1])
async def test_a_token_that_was_changed_after_it_was_signed_is_refused(google, read, part) -> None:
    token = google.key.token(good(google))
    changed = {"alg": "RS256", "kid": google.key.kid, "x": 1} if part == 0 else good(google, sub="another")

    forged = token.split(".")
    forged[part] = base64url(json.dumps(changed).encode())

    assert await refusal(read, ".".join(forged)) == "id_token_signature"


@pytest.mark.parametrize("length", [1, 255, 257, 1024])
async def test_a_signature_of_another_length_is_refused(google, read, length) -> None:
    token = reassembled(google.key.token(good(google)), signature=base64url(b"\x01" * length))

    assert await refusal(read, token) == "id_token_signature"


async def test_the_signature_of_another_token_is_refused(google, read) -> None:
    one, other = google.key.token(good(google)), google.key.token(good(google, sub="another"))

    assert await refusal(read, reassembled(one, signature=other.split(".")[2])) == "id_token_signature"


async def test_nothing_of_a_token_is_judged_before_its_signature(google, read) -> None:
    wrong_in_all = good(google, iss="https://evil.example", aud="other", exp=1, iat=0, sub="")

    assert await refusal(read, FOREIGN.token(wrong_in_all)) == "id_token_signature"


async def test_keys_are_fetched_once_for_many_tokens(google, read) -> None:
    for _ in range(20):
        await read(google.key.token(good(google)))

    assert google.hits == 1


async def test_a_key_that_is_new_is_found(google, read) -> None:
    await read(google.key.token(good(google)))
    google.rotate()

    assert await read(google.key.token(good(google)))
    assert google.hits == 2


async def test_a_key_that_was_withdrawn_is_unknown_as_soon_as_the_new_ones_are_known(google, read, clock) -> None:
    of_old = google.key.token(good(google))
    await read(of_old)
    google.rotate()
    await read(google.key.token(good(google)))

    assert await refusal(read, of_old) == "id_token_unknown_key"


async def test_tokens_of_unknown_keys_do_not_make_us_ask_at_will(google, read) -> None:
    await read(google.key.token(good(google)))

    for number in range(50):
        await refusal(read, google.key.token(good(google), {"kid": f"made up {number}"}))

    assert google.hits == 2


# --- The keys cannot be had -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outage", OUTAGES)
async def test_without_keys_nothing_is_refused_or_believed(google, read, outage) -> None:
    google.outage = outage

    with pytest.raises(FetchFailed) as caught:
        await read(google.key.token(good(google)))

    assert caught.value.status == 503


@pytest.mark.parametrize("outage", OUTAGES)
async def test_keys_that_are_known_outlast_an_outage(google, read, outage, clock) -> None:
    await read(google.key.token(good(google)))
    google.outage = outage
    clock.pass_by(timedelta(minutes=30))

    assert await read(google.key.token(good(google)))
    assert await refusal(read, FOREIGN.token(good(google))) == "id_token_signature"


async def test_after_an_outage_everything_is_as_before(google, read, clock) -> None:
    google.outage = "empty"
    with pytest.raises(FetchFailed):
        await read(google.key.token(good(google)))
    google.outage = ""
    clock.pass_by(timedelta(minutes=1))

    assert await read(google.key.token(good(google)))


async def test_what_was_garbled_once_is_asked_for_again_although_it_might_be_kept(google, read, clock) -> None:
    google.certs = {**google.certs, "error": "half broken"}
    with pytest.raises(FetchFailed):
        await read(google.key.token(good(google)))
    del google.certs["error"]
    clock.pass_by(timedelta(minutes=1))

    assert await read(google.key.token(good(google)))


def certificate_of_another_kind() -> str:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    made = x509.load_pem_x509_certificate(FOREIGN.pem.encode())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(made.not_valid_before_utc)
        .not_valid_after(made.not_valid_after_utc)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


@pytest.mark.parametrize(
    "published",
    [
        {"key-1": 1},
        {"key-1": None},
        {"key-1": ["-----BEGIN CERTIFICATE-----"]},
        {"key-1": "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"},
        {"key-1": "a secret text"},
        {"keys": [{"kid": "key-1", "kty": "RSA"}]},
        {"error": "temporarily unavailable"},
        {"key-1": FOREIGN.pem, "error": "half broken"},
        {"key-1": certificate_of_another_kind()},
    ],
    ids=lambda published: repr(published)[:40],
)
async def test_what_is_published_must_be_certificates(google, read, published) -> None:
    google.certs = published

    with pytest.raises(FetchFailed):
        await read(google.key.token(good(google)))


# --- 6: what it says --------------------------------------------------------------------------------------------------


ODD = (1, True, 1.5, [], {}, ["x"], {"x": 1})


@pytest.mark.parametrize(
    "issuer",
    [None, "", "https://accounts.google.com/", "https://accounts.google.com.evil.example", "https://evil.example",
     "http://accounts.google.com", "HTTPS://ACCOUNTS.GOOGLE.COM", " accounts.google.com", [ISSUER], *ODD],
)  # fmt: skip
async def test_another_issuer_is_refused(google, read, issuer) -> None:
    assert await refusal(read, google.key.token(good(google, iss=issuer))) == "id_token_issuer"


@pytest.mark.parametrize(
    "audience",
    [None, "", "other", AUDIENCE.upper(), AUDIENCE + " ", AUDIENCE[:-1], AUDIENCE + "x", [], [AUDIENCE, "other"],
     ["other", AUDIENCE], [AUDIENCE, AUDIENCE], [[AUDIENCE]], {AUDIENCE: 1}, *ODD],
)  # fmt: skip
async def test_another_audience_is_refused(google, read, audience) -> None:
    assert await refusal(read, google.key.token(good(google, aud=audience))) == "id_token_audience"


@pytest.mark.parametrize("audience", ["", [""], []])
async def test_without_an_audience_of_our_own_no_token_is_for_us(google, read, audience) -> None:
    token = google.key.token(good(google, aud=audience, azp=None))

    assert await refusal(read, token, audience="") == "id_token_audience"


@pytest.mark.parametrize("party", ["", "other", AUDIENCE.upper(), [AUDIENCE], *ODD])
async def test_another_authorized_party_is_refused(google, read, party) -> None:
    assert await refusal(read, google.key.token(good(google, azp=party))) == "id_token_authorized_party"


async def test_no_authorized_party_in_so_many_words_is_none_of_ours(google, read) -> None:
    token = google.key.token({**good(google), "azp": None})

    assert await refusal(read, token) == "id_token_authorized_party"


def at(clock: Clock, seconds: float) -> int:
    return int(clock().timestamp() + seconds)


async def test_a_token_is_good_until_the_instant_it_expires(google, read, clock) -> None:
    token = google.key.token(good(google, exp=at(clock, 3600)))
    clock.pass_by(timedelta(seconds=3599, milliseconds=999))

    assert await read(token)

    clock.pass_by(timedelta(milliseconds=1))
    assert await refusal(read, token) == "id_token_expired"


@pytest.mark.parametrize("name", ["iat", "nbf"])
async def test_the_issuers_clock_may_be_ten_seconds_ahead_and_no_more(google, read, clock, name) -> None:
    ahead, too_far = ({name: at(clock, seconds), "exp": at(clock, 3600)} for seconds in (10, 11))

    assert await read(google.key.token(good(google, **ahead)))
    assert await refusal(read, google.key.token(good(google, **too_far))) == "id_token_early"


async def test_a_token_that_is_valid_for_more_than_a_day_is_refused(google, read, clock) -> None:
    assert await read(google.key.token(good(google, exp=at(clock, 86_400))))
    assert await refusal(read, google.key.token(good(google, exp=at(clock, 86_401)))) == "id_token_lifetime"


@pytest.mark.parametrize("seconds", [0, -1, -3600])
async def test_a_token_that_is_never_valid_is_refused(google, read, clock, seconds) -> None:
    token = google.key.token(good(google, iat=at(clock, 0), exp=at(clock, seconds)))

    assert await refusal(read, token) == "id_token_lifetime"


@pytest.mark.parametrize("name", ["iat", "exp"])
async def test_a_token_without_its_times_is_refused(google, read, name) -> None:
    assert await refusal(read, google.key.token(good(google, **{name: None}))) == "id_token_lifetime"


@pytest.mark.parametrize("name", ["iat", "exp", "nbf"])
@pytest.mark.parametrize("value", [True, False, 1.5, "1772370000", "now", [], {}, -1, 10**400])
async def test_a_time_that_is_no_whole_number_is_refused(google, read, clock, name, value) -> None:
    code = await refusal(read, google.key.token(good(google, **{name: value})))

    assert code == ("id_token_early" if (name, value) == ("nbf", 10**400) else "id_token_lifetime")


async def test_a_time_that_is_null_is_refused(google, read) -> None:
    for name in ("iat", "exp", "nbf"):
        token = google.key.token({**good(google), name: None})
        assert await refusal(read, token) == "id_token_lifetime"


async def test_the_time_is_the_engines_and_not_the_machines(google, read, clock) -> None:
    clock.pass_by(-timedelta(days=3650))

    assert await read(google.key.token(good(google)))


@pytest.mark.parametrize("subject", [None, "", "x" * 256, "ä", "1\n", "1\x00", "\u212a", *ODD])
async def test_a_subject_that_is_no_short_plain_text_is_refused(google, read, subject) -> None:
    token = google.key.token(good(google, azp=None, sub=subject))

    assert await refusal(read, token) == "id_token_subject"


async def test_a_subject_of_255_characters_is_taken(google, read) -> None:
    assert await read(google.key.token(good(google, sub="x" * 255)))


# --- Whatever comes ---------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["iss", "aud", "azp", "sub", "iat", "exp", "nbf"])


@pytest.fixture(scope="module")
def standing_google() -> Iterator[GoogleIssuer]:
    with GoogleIssuer(Clock()) as issuer:
        yield issuer


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(NAMES, JSON, min_size=1, max_size=3))
def test_a_claim_of_any_shape_is_taken_or_refused_and_never_an_error(standing_google, changes) -> None:
    clock = Clock()
    token = standing_google.key.token({**good(standing_google), **changes})

    async def reading() -> Mapping | None:
        try:
            return await read_id_token(
                token, fetching=Known(standing_google), certs_url="", issuers=ISSUERS, audience=AUDIENCE, now=clock()
            )
        except IdTokenRefused:
            return None

    claims = asyncio.run(reading())

    if claims is not None:
        now = clock().timestamp()
        assert claims["iss"] in ISSUERS
        assert claims["aud"] in (AUDIENCE, [AUDIENCE])
        assert claims["iat"] <= now + 10
        assert now < claims["exp"] <= claims["iat"] + 86_400
        assert 0 < len(claims["sub"]) <= 255


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.from_regex(r"\A[A-Za-z0-9_-]{1,20}\.[A-Za-z0-9_-]{1,20}\.[A-Za-z0-9_-]{1,20}\Z"))
def test_a_text_of_any_kind_is_refused_and_never_an_error(standing_google, text) -> None:
    async def reading() -> None:
        await read_id_token(
            text, fetching=Known(standing_google), certs_url="", issuers=ISSUERS, audience=AUDIENCE, now=Clock()()
        )

    with pytest.raises(IdTokenRefused):
        asyncio.run(reading())


class Known:
    """The issuer's certificates without a fetch, for many tokens in little time."""

    def __init__(self, google: GoogleIssuer) -> None:
        self._certificates = google.certs

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Any]:
        return self._certificates

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Any]:
        raise AssertionError("nothing is posted to read a token")
