"""What ViUR stores of a user, read: both eras' names, and nothing that ViUR would not have stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authflow.errors import BadInput
from authflow.importing import LinkedElsewhere
from authflow.viur_entries import read_entry
from tests.importing.kit import ADA, FIRST_ERA, GOOGLE_SUBJECT, LATER, LATER_ERA, OTP_APP, OTP_KEY, SALT, SEED, entity

PROFILE = ("firstname", "lastname")


def test_an_entity_of_the_seed_era_is_read() -> None:
    arrival = read_entry(entity(SEED, otpid="GA-1", otpkey=OTP_KEY, otptimedrift=-0.6), PROFILE)

    assert (arrival.name, arrival.status, arrival.access, arrival.roles) == ("Ada@example.org", 10, ("root",), ())
    assert arrival.password is not None
    assert (arrival.password.iterations, arrival.password.salt) == (1001, SALT.encode())
    assert arrival.token is not None
    assert (arrival.token.serial, arrival.token.interval, arrival.token.drift) == ("GA-1", 60, -0.6)
    assert arrival.created_at == datetime(2021, 11, 2, 8, 30, tzinfo=UTC)
    assert arrival.last_login_at == datetime(2024, 5, 1, 10, 0, 0, 250000, tzinfo=UTC)
    assert arrival.ignored == ("gaeadmin",)


def test_an_entity_of_later_days_is_read() -> None:
    arrival = read_entry(LATER, PROFILE)

    assert (arrival.name, arrival.roles) == (ADA, ("editor",))
    assert arrival.profile == {"firstname": "Ada", "lastname": "Lovelace"}
    assert arrival.password is not None
    assert arrival.password.iterations == 600_000
    assert arrival.identity == LinkedElsewhere("google_account", "https://accounts.google.com", GOOGLE_SUBJECT)
    assert arrival.token is not None
    assert (arrival.token.serial, arrival.token.secret_hex) == ("GA-0815", OTP_KEY)
    assert arrival.ignored == ("sync",)


def test_an_app_has_a_step_of_thirty_seconds_and_no_serial() -> None:
    token = read_entry(entity(otp_app_secret=OTP_APP), ()).token

    assert token is not None
    assert (token.serial, token.secret_hex, token.interval) == ("", OTP_KEY, 30)


def test_of_both_eras_fields_the_later_ones_count() -> None:
    arrival = read_entry(entity(LATER, otpid="OLD", otpkey="00" * 20), ())

    assert arrival.token is not None
    assert arrival.token.serial == "GA-0815"


@pytest.mark.parametrize("nothing", [None, {}, {"pwhash": None, "salt": None}, {"pwhash": "", "salt": ""}, ...])
def test_without_a_hash_there_is_no_password(nothing: object) -> None:
    assert read_entry(entity(password=nothing), ()).password is None


@pytest.mark.parametrize("status", [10, "10"])
def test_a_status_may_be_written_as_text(status: object) -> None:
    assert read_entry(entity(status=status), ()).status == 10


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": ...}, "name: missing"),
        ({"name": ""}, "name: missing"),
        ({"name": {"val": None, "idx": "x"}}, "name: missing"),
        ({"name": 5}, "name: a text"),
        ({"name": ["a"]}, "name: a text"),
        ({"status": ...}, "status"),
        ({"status": None}, "status"),
        ({"status": True}, "status"),
        ({"status": -1}, "status"),
        ({"status": 1000}, "status"),
        ({"status": 10.0}, "status"),
        ({"status": "ACTIVE"}, "status"),
        ({"status": "١٠"}, "status"),
        ({"access": "root"}, "access"),
        ({"access": ["root", 1]}, "access"),
        ({"access": [""]}, "access"),
        ({"roles": {"admin": True}}, "roles"),
        ({"firstname": 5}, "firstname"),
        ({"password": "secret"}, "password"),
        ({"password": [FIRST_ERA]}, "password"),
        ({"password": {"pwhash": FIRST_ERA}}, "password: salt"),
        ({"password": {"pwhash": FIRST_ERA, "salt": SALT, "iterations": 0}}, "password: iterations"),
        ({"uid": 5}, "uid"),
        ({"uid": "with space"}, "uid"),
        ({"uid": "1" * 256}, "uid"),
        ({"uid": "１２"}, "uid"),
        ({"otpid": "GA-1"}, "otpid, otpkey"),
        ({"otpkey": OTP_KEY}, "otpid, otpkey"),
        ({"otp_serial": "GA-1"}, "otp_serial, otp_secret"),
        ({"otpid": "GA-1", "otpkey": OTP_KEY, "otptimedrift": "0"}, "otptimedrift"),
        ({"otpid": "GA-1", "otpkey": OTP_KEY, "otptimedrift": True}, "otptimedrift"),
        ({"otpid": "GA-1", "otpkey": OTP_KEY, "otptimedrift": 10.5}, "otptimedrift"),
        ({"otpid": "GA-1", "otpkey": OTP_KEY, "otp_app_secret": OTP_APP}, "otp_app_secret"),
        ({"otp_app_secret": "0189!"}, "otp_app_secret"),
        ({"lastlogin": 1714557600}, "lastlogin"),
        ({"lastlogin": "yesterday"}, "lastlogin"),
        ({"lastlogin": "0001-01-01T00:00:00+14:00"}, "lastlogin"),
        ({"creationdate": "2021-13-01"}, "creationdate"),
    ],
)
def test_what_viur_does_not_store_is_bad_input_that_quotes_nothing(fields: dict, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_entry(entity(**fields), PROFILE)

    assert caught.value.detail.startswith(says)
    for secret in (FIRST_ERA, SALT, OTP_KEY, OTP_APP):
        assert secret not in str(caught.value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["val", "pwhash", "salt"]), inner),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ["name", "status", "access", "roles", "password", "uid", "lastlogin", "creationdate", "firstname", "otpid",
     "otpkey", "otptimedrift", "otp_serial", "otp_secret", "otp_timedrift", "otp_app_secret"]
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(changes=st.dictionaries(NAMES, PLAIN, max_size=4))
def test_whatever_stands_in_an_entity_it_is_read_or_refused(changes: dict) -> None:
    try:
        arrival = read_entry({**LATER, **changes}, PROFILE)
    except BadInput:
        return

    assert arrival.name
    assert 0 <= arrival.status <= 999


def test_no_repr_holds_a_secret() -> None:
    shown = repr(read_entry(entity(LATER), PROFILE))

    for secret in (OTP_KEY, LATER_ERA[:16], bytes.fromhex(LATER_ERA).decode("latin-1")[:8], SALT):
        assert secret not in shown


def test_the_exports_of_this_room_are_json() -> None:
    assert json.loads(json.dumps(LATER)) == LATER
