"""Passkeys: what a device signs for this site, this flow and this step is taken once, and nothing that is nearly it.

The device is made of software and answers as browsers do; `test_in_browser.py` has a real browser.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from authflow.model import Credential
from authflow.provider import Ask, Charge, Enrolled, Rejected, Submission, Verified
from examples.kits import SoftwareDevice
from examples.passkey import MAX_LENGTH, MOST_DEVICES, MyUser, Passkey
from tests.providers.context import Context, account_named
from tests.web_kit import BASE_URL, Page, Person, Site, make_site

TEMPLATES = str(Path(__file__).parents[2] / "examples" / "templates")
ORIGIN = "https://login.example.org"
PROVIDER = Passkey()


@dataclass
class At(Context):
    """A step in a flow at a site."""

    site: str = ORIGIN

    def callback_url(self) -> str:
        return f"{self.site}/user/f2_passkey/otp"


def options(ask: Ask) -> Mapping[str, Any]:
    return ask.params["options"]


async def enrol(device: SoftwareDevice, **changes: Any):
    ask = PROVIDER.begin_enrolment(At())
    sent = device.create(options(ask), **{"origin": ORIGIN, **changes})
    return await PROVIDER.answer_enrolment(Submission({"response": sent}, ask.scratch), At())


@pytest.fixture
def device() -> SoftwareDevice:
    return SoftwareDevice()


@pytest.fixture
async def kept(device: SoftwareDevice) -> Credential:
    outcome = await enrol(device)
    assert isinstance(outcome, Enrolled)
    return outcome.credential


async def answer(kept: Credential | None, sent: str, context: At | None = None):
    return await PROVIDER.answer(kept, Submission({"response": sent}), context or At())


def signed(device: SoftwareDevice, context: At | None = None, origin: str = ORIGIN, **changes: Any) -> str:
    return device.get(options(PROVIDER.begin(context or At())), origin, **changes)


def changed(sent: str, change: Callable[[dict[str, Any]], object]) -> str:
    whole = json.loads(sent)
    change(whole)
    return json.dumps(whole)


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- Logging in -------------------------------------------------------------------------------------------------------


async def test_a_signature_of_this_step_proves_the_factor_and_moves_the_counter(device, kept) -> None:
    outcome = await answer(kept, signed(device))

    assert isinstance(outcome, Verified)
    assert outcome.credential.data["devices"][0]["sign_count"] == 1
    assert kept.data["devices"][0]["sign_count"] == 0


async def test_devices_that_do_not_count_are_taken(device) -> None:
    still = SoftwareDevice(count=None)
    outcome = await enrol(still)

    first = await answer(outcome.credential, signed(still))
    assert isinstance(first, Verified)
    second = await answer(first.credential, signed(still, At(flow_id="the next")), At(flow_id="the next"))
    assert isinstance(second, Verified)


async def test_the_same_answer_is_not_taken_twice_even_where_no_device_counts(device) -> None:
    still = SoftwareDevice(count=None)
    outcome = await enrol(still)
    sent = signed(still)
    first = await answer(outcome.credential, sent)

    assert await answer(first.credential, sent) == Rejected("passkey_wrong", Charge.FLOW)


async def test_a_counter_that_goes_back_is_the_sign_of_a_copy(device, kept) -> None:
    device.count = 7
    first = await answer(kept, signed(device))
    later = At(flow_id="the next")

    for before in (0, 5, 7):  # It counts on by one when it signs; 8 is what was seen last.
        device.count = before
        assert await answer(first.credential, signed(device, later), later) == Rejected("passkey_copied")
    assert isinstance(await answer(first.credential, signed(device, later), later), Verified)


@pytest.mark.parametrize("context", [At(flow_id="another"), At(step=2), At(keys=(b"another key",))])
async def test_the_challenge_of_another_step_flow_or_house_is_not_signed_here(device, kept, context) -> None:
    assert await answer(kept, signed(device, context)) == Rejected("passkey_wrong")


@pytest.mark.parametrize(
    "origin",
    ["https://login.example.com", "http://login.example.org", "https://evil.login.example.org", "https://example.org",
     "https://login.example.org:8443", "https://login.example.org/", "null", ""],
)  # fmt: skip
async def test_what_was_signed_for_another_page_is_refused(device, kept, origin) -> None:
    assert await answer(kept, signed(device, origin=origin)) == Rejected("passkey_wrong")


async def test_a_site_of_another_name_is_refused(device, kept) -> None:
    for rp_id in ("example.org", "evil.example", ""):
        wanted = {**options(PROVIDER.begin(At())), "rpId": rp_id}

        assert await answer(kept, device.get(wanted, ORIGIN)) == Rejected("passkey_wrong")


@pytest.mark.parametrize("flags", [0x00, 0x01, 0x04])
async def test_somebody_must_be_there_and_be_verified_by_the_device(device, kept, flags) -> None:
    device.flags = flags

    assert await answer(kept, signed(device)) == Rejected("passkey_wrong")


@pytest.mark.parametrize(
    "claimed", [{"type": "webauthn.create"}, {"type": "payment.get"}, {"challenge": ""}, {"challenge": "AAAA"}]
)
async def test_what_the_browser_signed_for_something_else_is_refused(device, kept, claimed) -> None:
    assert await answer(kept, signed(device, **claimed)) == Rejected("passkey_wrong")


@pytest.mark.parametrize("claimed", [{"crossOrigin": True}, {"topOrigin": "https://evil.example"}, {"crossOrigin": 1}])
async def test_a_page_in_a_strangers_frame_is_not_ours(device, kept, claimed) -> None:
    assert await answer(kept, signed(device, **claimed)) == Rejected("passkey_missing", Charge.NOTHING)


async def test_the_key_of_another_device_is_refused(device, kept) -> None:
    device.key = ec.generate_private_key(ec.SECP256R1())

    assert await answer(kept, signed(device)) == Rejected("passkey_wrong")


async def test_a_device_of_somebody_else_is_refused(device, kept) -> None:
    stranger = SoftwareDevice()
    await enrol(stranger)

    assert await answer(kept, signed(stranger)) == Rejected("passkey_wrong")


async def test_a_passkey_that_was_made_for_another_account_is_refused(device, kept) -> None:
    for handle in (encode(b"another-account"), encode(b"an-account "), "é", "!"):
        sent = changed(signed(device), lambda whole, handle=handle: whole["response"].update(userHandle=handle))

        assert await answer(kept, sent) == Rejected("passkey_wrong")


async def test_a_passkey_that_names_no_account_is_known_by_its_id(device, kept) -> None:
    sent = changed(signed(device), lambda whole: whole["response"].pop("userHandle"))

    assert isinstance(await answer(kept, sent), Verified)


async def test_without_a_passkey_every_answer_is_wrong_like_a_wrong_one(device, kept) -> None:
    assert await answer(None, signed(device)) == Rejected("passkey_wrong")
    assert await answer(replace(kept, data={}), signed(device)) == Rejected("passkey_wrong")


@pytest.mark.parametrize("name", ["clientDataJSON", "authenticatorData", "signature"])
async def test_a_changed_answer_is_refused(device, kept, name) -> None:
    sent = signed(device)
    for place in range(0, len(decode(json.loads(sent)["response"][name])), 7):

        def flip(whole: dict[str, Any], place: int = place) -> None:
            raw = bytearray(decode(whole["response"][name]))
            raw[place] ^= 1
            whole["response"][name] = encode(bytes(raw))

        assert isinstance(await answer(kept, changed(sent, flip)), Rejected)


ODD = (None, "", 1, True, [], {}, "!", "AA", "é", "\x00", "A" * 3000, ["x"], {"x": 1})


@pytest.mark.parametrize("path", [("id",), ("rawId",), ("type",), ("response",), ("response", "clientDataJSON"),
                                  ("response", "authenticatorData"), ("response", "signature"),
                                  ("response", "userHandle")])  # fmt: skip
async def test_whatever_stands_in_an_answer_is_judged_and_never_an_error(device, kept, path) -> None:
    for odd in ODD:
        whole = json.loads(signed(device))
        place = whole
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = odd

        outcome = await answer(kept, json.dumps(whole))

        is_no_handle = path == ("response", "userHandle") and odd in (None, "")
        assert isinstance(outcome, Verified if is_no_handle else Rejected)


@pytest.mark.parametrize(
    "text",
    ["", " ", "null", "[]", "{}", '"x"', "1", "[" * 5000, '{"id": ' * 900, "nonsense", "\x00", "\ud800", "é",
     '{"response": {"clientDataJSON": "e30"}}', '{"id": "x", "response": []}', "x" * (MAX_LENGTH + 1)],
    ids=lambda text: ascii(text[:20]),
)  # fmt: skip
async def test_what_no_browser_sends_is_not_judged(kept, text) -> None:
    assert await answer(kept, text) == Rejected("passkey_missing", Charge.NOTHING)


async def test_a_huge_answer_is_not_judged_however_right(device, kept) -> None:
    sent = signed(device)

    assert await answer(kept, sent + " " * MAX_LENGTH) == Rejected("passkey_missing", Charge.NOTHING)
    assert isinstance(await answer(kept, sent), Verified)


async def test_the_question_is_the_same_each_time_and_another_in_each_step() -> None:
    assert PROVIDER.begin(At()) == PROVIDER.begin(At())
    asked = {options(PROVIDER.begin(At(step=step)))["challenge"] for step in range(5)}
    assert len(asked) == 5


# --- Adding -----------------------------------------------------------------------------------------------------------


async def test_a_device_is_added_by_what_it_signs(device, kept) -> None:
    assert kept.account_id == "an-account"
    assert [one["id"] for one in kept.data["devices"]] == [encode(device.id)]
    assert kept.secret == b""
    assert json.loads(json.dumps(dict(kept.data))) == kept.data


@pytest.mark.parametrize(
    "claimed",
    [{"challenge": "AAAA"}, {"origin": "https://evil.example"}, {"type": "webauthn.get"}, {"origin": ORIGIN + ":1"}],
)
async def test_a_passkey_that_was_made_elsewhere_is_not_added(device, claimed) -> None:
    assert await enrol(device, **claimed) == Rejected("passkey_refused", Charge.FLOW)


async def test_a_device_that_does_not_verify_its_owner_is_not_added() -> None:
    assert await enrol(SoftwareDevice(flags=0x01)) == Rejected("passkey_refused", Charge.FLOW)


async def test_an_answer_to_the_login_adds_no_device(device) -> None:
    ask = PROVIDER.begin_enrolment(At())

    for sent in (signed(device), "", "{}", "null"):
        outcome = await PROVIDER.answer_enrolment(Submission({"response": sent}, ask.scratch), At())
        assert isinstance(outcome, Rejected)


async def test_several_devices_are_added_one_after_the_other() -> None:
    devices = [SoftwareDevice() for _ in range(MOST_DEVICES)]
    ask = PROVIDER.begin_enrolment(At())
    for number, device in enumerate(devices):
        assert len(options(ask)["excludeCredentials"]) == number
        sent = {"response": device.create(options(ask), ORIGIN), "more": "1"}
        outcome = await PROVIDER.answer_enrolment(Submission(sent, ask.scratch), At())
        if isinstance(outcome, Ask):
            assert options(outcome)["challenge"] != options(ask)["challenge"]
            ask = outcome

    assert isinstance(outcome, Enrolled)
    for number, device in enumerate(devices):
        context = At(flow_id=f"flow {number}")
        assert isinstance(await answer(outcome.credential, signed(device, context), context), Verified)


async def test_whoever_has_no_further_device_stops_with_those_there_are(device) -> None:
    ask = PROVIDER.begin_enrolment(At())
    sent = {"response": device.create(options(ask), ORIGIN), "more": "1"}
    ask = await PROVIDER.answer_enrolment(Submission(sent, ask.scratch), At())

    outcome = await PROVIDER.answer_enrolment(Submission({"enough": "1"}, ask.scratch), At())

    assert isinstance(outcome, Enrolled)
    assert len(outcome.credential.data["devices"]) == 1


async def test_no_device_is_never_enough() -> None:
    ask = PROVIDER.begin_enrolment(At())

    outcome = await PROVIDER.answer_enrolment(Submission({"enough": "1"}, ask.scratch), At())

    assert outcome == Rejected("passkey_missing", Charge.NOTHING)


async def test_the_same_device_is_not_added_twice(device) -> None:
    ask = PROVIDER.begin_enrolment(At())
    sent = {"response": device.create(options(ask), ORIGIN), "more": "1"}
    ask = await PROVIDER.answer_enrolment(Submission(sent, ask.scratch), At())

    again = {"response": device.create(options(ask), ORIGIN)}

    assert await PROVIDER.answer_enrolment(Submission(again, ask.scratch), At()) == Rejected(
        "passkey_known", Charge.FLOW
    )


async def test_what_devices_are_told_of_a_person_is_a_random_id_and_their_name() -> None:
    context = At(account=account_named("ada@example.org", "random-id"))

    user = options(PROVIDER.begin_enrolment(context))["user"]

    assert user == {"id": encode(b"random-id"), "name": "ada@example.org", "displayName": "ada@example.org"}


async def test_a_damaged_credential_is_none(kept) -> None:
    assert PROVIDER.can_handle(kept)
    for data in ({}, {"devices": []}, {"devices": "x"}, {"devices": [{}]}, {"devices": [{"id": 1}]}):
        assert not PROVIDER.can_handle(replace(kept, data=data))


# --- By the pages -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def site() -> Site:
    return await make_site(MyUser(), templates=TEMPLATES)


def asked(page: Page) -> Mapping[str, Any]:
    """Read what the page gives its script."""
    return json.loads(unescape(page.text.partition("data-options='")[2].partition("'")[0]))


async def add(person: Person, device: SoftwareDevice, **more: str) -> Page:
    page = await person.send((await person.get("/user/f2_passkey/add")).form("add"))
    return await person.send(page.form("add"), response=device.create(asked(page), BASE_URL), **more)


async def open_step(site: Site) -> tuple[Person, Page]:
    person = site.person()
    page = await person.follow(await person.log_in())
    assert "Use your passkey" in page.text
    return person, page


async def test_somebody_adds_a_passkey_and_logs_in_by_it(site, device) -> None:
    account = await site.account()
    page = await add(await site.logged_in(), device)
    assert "recovery codes" in page.text
    assert (await site.kit.account_now(account)).factors == ("passkey",)

    for _ in range(2):
        person, page = await open_step(site)
        done = await person.send(page.form("f2_passkey"), response=device.get(asked(page), BASE_URL))
        assert done.location == "/user/view/self"


async def test_two_devices_are_added_on_one_page_after_the_other(site, device) -> None:
    await site.account()
    person, spare = await site.logged_in(), SoftwareDevice()
    page = await add(person, device, more="1")
    assert "add the next device" in page.text

    page = await person.send(page.form("add"), response=spare.create(asked(page), BASE_URL))

    assert "recovery codes" in page.text
    person, page = await open_step(site)
    done = await person.send(page.form("f2_passkey"), response=spare.get(asked(page), BASE_URL))
    assert done.location == "/user/view/self"


async def test_nothing_and_nonsense_leave_the_step_open(site, device) -> None:
    await site.account()
    await add(await site.logged_in(), device)
    person, page = await open_step(site)

    for nonsense in ("", "{}", "x"):
        refused = await person.send(page.form("f2_passkey"), response=nonsense)
        assert refused.status == 400
        assert "has not used a passkey" in refused.text

    done = await person.send(page.form("f2_passkey"), response=device.get(asked(page), BASE_URL))
    assert done.location == "/user/view/self"


async def test_what_one_login_signed_opens_no_other(site, device) -> None:
    await site.account()
    await add(await site.logged_in(), device)
    _, page = await open_step(site)
    eve, hers = await open_step(site)

    refused = await eve.send(hers.form("f2_passkey"), response=device.get(asked(page), BASE_URL))

    assert "does not belong to your account" in refused.text


async def test_the_script_runs_by_the_nonce_of_its_page_and_no_other_does(site, device) -> None:
    await site.account()
    await add(await site.logged_in(), device)

    _, one = await open_step(site)
    _, other = await open_step(site)

    nonces = []
    for page in (one, other):
        policy = page.header("content-security-policy")
        nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
        assert len(nonce) >= 16
        assert page.text.count("<script") == page.text.count(f'<script nonce="{nonce}">') == 1
        assert "unsafe" not in policy
        nonces.append(nonce)
    assert nonces[0] != nonces[1]
