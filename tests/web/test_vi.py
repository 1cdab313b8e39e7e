"""The renderer of `/vi`: the envelope of ViUR 3.8 and 3.9, step by step."""

from __future__ import annotations

from base64 import b32decode

import pytest

from authflow.model import Status
from authflow.testing import ADA, PASSWORD, Person, Site, make_site
from authflow.user import User
from authflow.web.app import Edge, create_app
from tests.vi_kit import (
    BOB,
    ENVELOPE,
    HARDWARE,
    LOGIN,
    NEW,
    OTP,
    RECOVER,
    START,
    Old,
    Open,
    action_of,
    log_in,
    post,
    site_with_two_factors,
)


@pytest.fixture
async def site() -> Site:
    return await make_site()


# --- Logging in -------------------------------------------------------------------------------------------------------


async def test_a_right_password_is_a_success_with_the_own_entry(site: Site) -> None:
    account = await site.account(access=("root",))
    person = site.person()

    page = await log_in(person)
    entry = await person.get("/vi/user/view/self")

    assert action_of(page) == "login_success"
    assert page.json["values"]["key"] == account.id
    assert "root" in page.json["values"]["access"]
    assert page.json["values"] == entry.json["values"]
    assert page.json["structure"] == entry.json["structure"]
    # A tool goes on to where `next_url` leads, so there must be none.
    assert page.json["next_url"] is None
    assert page.json["errors"] == []


@pytest.mark.parametrize(
    ("name", "password"),
    [(ADA, "wrong"), ("nobody@example.org", PASSWORD), ("off@example.org", PASSWORD), ("none@example.org", PASSWORD)],
)
async def test_every_other_name_or_password_is_the_form_with_both_fields_wrong(
    site: Site, name: str, password: str
) -> None:
    await site.account()
    await site.account("off@example.org", status=Status.DISABLED)
    await site.account("none@example.org", password=None)

    page = await log_in(site.person(), name, password)

    assert action_of(page) == "login"
    assert page.json["values"] == {"name": name, "password": ""}
    assert [(e["fieldPath"], e["error"], e["severity"]) for e in page.json["errors"]] == [
        (["name"], "INVALID", 3),
        (["password"], "INVALID", 3),
    ]
    assert {e["code"] for e in page.json["errors"]} == {"invalid_credentials"}
    assert all(set(e) >= {"errorMessage", "invalidatedFields"} for e in page.json["errors"])
    assert page.json["next_url"] is None
    assert PASSWORD not in page.text


async def test_a_missing_password_is_an_empty_field_of_the_form(site: Site) -> None:
    page = await log_in(site.person(), password="")

    assert action_of(page) == "login"
    assert [(e["fieldPath"], e["error"], e["severity"]) for e in page.json["errors"]] == [(["password"], "EMPTY", 2)]


async def test_the_form_of_a_method_is_described_as_viur_39_does(site: Site) -> None:
    page = await site.person().get(LOGIN)

    assert action_of(page) == "login"
    assert list(page.json["structure"]) == ["name", "password"]
    name, password = page.json["structure"].values()
    common = {
        "clone_behavior", "descr", "emptyvalue", "indexed", "languages", "multiple", "params", "readonly", "required",
        "tags", "type", "unique", "visible",
    }  # fmt: skip
    assert set(name) == common | {"maxlength", "minlength"}
    assert set(password) == common | {"tests", "test_threshold"}
    assert (name["type"], password["type"]) == ("str", "password")
    assert name["required"] is password["required"] is name["visible"] is True
    assert page.json["params"]["action_url"] == LOGIN


@pytest.mark.parametrize("path", [LOGIN, RECOVER])
@pytest.mark.parametrize("with_skey", [True, False])
async def test_a_form_is_shown_to_a_post_that_brings_nothing(site: Site, path: str, with_skey: bool) -> None:
    """The forms of vue-utils are fetched by POST."""
    person = site.person()

    shown = await (post(person, path) if with_skey else person.post(path))

    by_get = await person.get(path)
    assert action_of(shown) == action_of(by_get)
    assert shown.json["structure"] == by_get.json["structure"]
    assert shown.json["errors"] == []


async def test_a_post_that_brings_something_needs_an_skey(site: Site) -> None:
    await site.account()
    person = site.person()

    pages = [
        await person.post(LOGIN, {"name": ADA, "password": PASSWORD}),
        await person.post(LOGIN, {"name": ADA}),
        await person.post(LOGIN, {"skey": "x.y.z"}),
        await person.post(LOGIN, {"skey": await site.person().skey("/vi"), "name": ADA, "password": PASSWORD}),
    ]

    assert [(page.status, page.json["code"]) for page in pages] == [(412, "skey_invalid")] * 4


async def test_an_empty_post_from_another_site_is_refused(site: Site) -> None:
    page = await site.person(headers={"sec-fetch-site": "cross-site"}).post(LOGIN)

    assert page.status == 412


async def test_a_post_without_fields_is_still_a_deed_where_no_form_is(site: Site) -> None:
    await site.account()
    person = site.person()
    await log_in(person)

    without_skey = await person.post("/vi/user/logout")
    done = await post(person, "/vi/user/logout")

    assert without_skey.status == 412
    assert action_of(done) == "logout_success"
    assert (await person.get("/vi/user/view/self")).status == 401


# --- Second factors ---------------------------------------------------------------------------------------------------


async def test_one_owed_factor_is_its_form(site: Site) -> None:
    await site.account_with_totp()

    page = await log_in(site.person())

    assert action_of(page) == "edit"
    assert page.json["values"] == {"otptoken": None}
    assert list(page.json["structure"]) == ["otptoken"]
    assert page.json["params"]["action_url"] == OTP
    assert page.json["params"]["action_name"] == "otp"
    assert page.json["params"]["name"] == "Authenticator app"
    assert page.json["errors"] == []


async def test_a_right_code_logs_in(site: Site) -> None:
    account = await site.account_with_totp()
    person = site.person()
    await log_in(person)

    page = await post(person, OTP, otptoken=site.code())

    assert action_of(page) == "login_success"
    assert page.json["values"]["key"] == account.id


@pytest.mark.parametrize("code", ["wrong", "abc"])
async def test_a_wrong_code_is_the_form_again_with_its_address(site: Site, code: str) -> None:
    """ViUR forgets the params here, so that its tools know no address any more."""
    await site.account_with_totp()
    person = site.person()
    await log_in(person)

    page = await post(person, OTP, otptoken=site.wrong_code() if code == "wrong" else code)
    again = await post(person, page.json["params"]["action_url"], otptoken=site.code())

    assert action_of(page) == "edit"
    (error,) = page.json["errors"]
    assert (error["fieldPath"], error["severity"], error["error"]) == (["otptoken"], 3, "INVALID")
    assert error["code"].startswith("code_")
    assert page.json["values"] == {"otptoken": None}
    assert action_of(again) == "login_success"


async def test_several_factors_are_a_choice_of_start_paths() -> None:
    site = await site_with_two_factors()
    person = site.person()

    choice = await log_in(person)

    assert action_of(choice) == "select_secondfactor_provider"
    assert choice.json["values"] == {"provider": None}
    assert choice.json["structure"]["provider"]["type"] == "select"
    assert choice.json["structure"]["provider"]["values"] == {
        "/vi/user/f2_hardwareotp/start": "Hardware token",
        START: "Authenticator app",
    }


@pytest.mark.parametrize("by_post", [True, False])
async def test_the_start_path_of_a_choice_opens_its_form(by_post: bool) -> None:
    site = await site_with_two_factors()
    person = site.person()
    await log_in(person)
    path = "/vi/user/f2_hardwareotp/start"

    form = await (post(person, path) if by_post else person.get(path))
    code = site.code(secret=bytes.fromhex(HARDWARE))
    done = await post(person, form.json["params"]["action_url"], otptoken=code)

    assert action_of(form) == "edit"
    assert form.json["params"]["action_url"] == "/vi/user/f2_hardwareotp/otp"
    assert action_of(done) == "login_success"


@pytest.mark.parametrize("choice", [START, "time_based_otp", "X-VIUR-2FACTOR-TimeBasedOTP"])
async def test_a_sent_choice_is_answered_by_where_to_go_on(choice: str) -> None:
    site = await site_with_two_factors()
    person = site.person()
    await log_in(person)

    page = await post(person, "/vi/user/select_secondfactor_provider", provider=choice)
    form = await person.get(page.json["next_url"])

    assert action_of(page) == "select_secondfactor_provider_success"
    assert page.json["next_url"] == START
    assert page.json["values"] == {"provider": START}
    assert form.json["params"]["action_url"] == OTP


async def test_the_choice_is_shown_again_to_who_asks() -> None:
    site = await site_with_two_factors()
    person = site.person()
    first = await log_in(person)

    by_get = await person.get("/vi/user/select_secondfactor_provider")
    by_post = await post(person, "/vi/user/select_secondfactor_provider")

    assert action_of(by_get) == action_of(by_post) == "select_secondfactor_provider"
    assert by_get.json["structure"] == by_post.json["structure"] == first.json["structure"]


@pytest.mark.parametrize("path", [OTP, START, "/vi/user/select_secondfactor_provider"])
async def test_a_second_step_without_a_first_is_refused(site: Site, path: str) -> None:
    page = await post(site.person(), path, otptoken="123456", provider=START)

    assert page.status == 412
    assert page.json["code"] == "flow_invalid"


# --- Which method -----------------------------------------------------------------------------------------------------


async def test_one_first_step_is_chosen_already(site: Site) -> None:
    page = await site.person().get("/vi/user/login")

    assert action_of(page) == "select_authentication_provider_success"
    assert page.json["next_url"] == LOGIN
    assert page.json["values"] == {"provider": LOGIN}
    assert page.json["structure"]["provider"]["values"] == {LOGIN: "E-mail and password"}


# --- Entries and registration -----------------------------------------------------------------------------------------


async def test_the_own_entry_has_the_keys_of_39_and_no_secret(site: Site) -> None:
    await site.account_with_totp(access=("root",))
    person = site.person()
    await log_in(person)
    await post(person, OTP, otptoken=site.code())

    page = await person.get("/vi/user/view/self")

    assert set(page.json) == ENVELOPE
    assert page.json["action"] == "view"
    assert page.json["next_url"] is page.json["params"] is None
    assert page.json["values"]["name"] == ADA
    assert isinstance(page.json["structure"], dict)
    assert not {"password", "secret", "otp", "hash", "factors", "epoch"} & set(page.json["values"])


async def test_the_own_entry_is_edited(site: Site) -> None:
    await site.account()
    person = site.person()
    await log_in(person)

    form = await person.get("/vi/user/edit/self")
    done = await post(person, "/vi/user/edit/self", firstname="Ada", version=form.json["values"]["version"])
    entry = await person.get("/vi/user/view/self")

    assert action_of(form) == "edit"
    assert action_of(done) == "editSuccess"
    assert entry.json["values"]["firstname"] == "Ada"


async def test_a_field_that_is_not_accepted_is_told_in_the_form(site: Site) -> None:
    await site.account()
    person = site.person()
    await log_in(person)

    page = await post(person, "/vi/user/edit/self", firstname="A" * 101)

    assert action_of(page) == "edit"
    assert [(e["fieldPath"], e["error"], e["code"]) for e in page.json["errors"]] == [
        (["firstname"], "INVALID", "field_too_long")
    ]


async def test_somebody_registers() -> None:
    site = await make_site(Open())
    person = site.person()
    path = "/vi/user/auth_userpassword/add"

    form = await person.get(path)
    weak = await post(person, path, name=BOB, password="12345678")
    done = await post(person, path, name=BOB, password=NEW)

    assert action_of(form) == action_of(weak) == "add"
    assert weak.json["errors"][0]["fieldPath"] == ["password"]
    assert action_of(done) == "addSuccess"


async def test_recovery_goes_step_by_step(site: Site) -> None:
    await site.account()
    person = site.person()

    first = await person.get(RECOVER)
    second = await post(person, RECOVER, name=ADA)
    await site.run_tasks()
    key = site.link().partition("recovery_key=")[2]
    third = await post(person, RECOVER, recovery_key=key)
    weak = await post(person, RECOVER, recovery_key=key, password="12345678")
    done = await post(person, RECOVER, recovery_key=key, password=NEW)

    assert [list(page.json["structure"]) for page in (first, second, third, weak)] == [
        ["name"],
        ["recovery_key"],
        ["recovery_key", "password"],
        ["recovery_key", "password"],
    ]
    assert {action_of(page) for page in (first, second, third, weak)} == {"pwrecover"}
    assert third.json["structure"]["recovery_key"]["visible"] is False
    assert third.json["values"] == {"recovery_key": key, "password": ""}
    assert weak.json["errors"][0]["fieldPath"] == ["password"]
    assert action_of(done) == "pwrecover_success"
    assert done.json["next_url"] == LOGIN
    assert action_of(await log_in(site.person(), password=NEW)) == "login_success"


async def test_a_wrong_or_spent_recovery_key_is_refused(site: Site) -> None:
    page = await post(site.person(), RECOVER, recovery_key="x." + "A" * 43, password=NEW)

    assert (page.status, page.json["code"]) == (412, "ticket_invalid")


async def test_an_owed_enrolment_says_where_it_is_done() -> None:
    class Strict(User):
        second_factor_required_roles = frozenset({"admin"})

    site = await make_site(Strict())
    await site.account(roles=("admin",))

    page = await log_in(site.person())

    assert page.json["action"] == "edit"
    assert page.json["code"] == "enrolment_owed"
    assert page.json["next_url"].startswith("/vi/user/f2_timebasedotp/add")


async def test_an_owed_enrolment_is_carried_out_and_logs_in() -> None:
    class Strict(User):
        second_factor_required_roles = frozenset({"admin"})

    site = await make_site(Strict())
    await site.account(roles=("admin",))
    person = site.person()
    owed = await log_in(person)
    path = "/vi/user/f2_timebasedotp/add"

    begun = await post(person, path, flow=owed.json["params"]["flow"])
    secret = b32decode(begun.json["params"]["secret"].replace(" ", ""))
    done = await post(person, path, flow=begun.json["params"]["flow"], otptoken=site.code(secret=secret))

    assert begun.json["params"]["action_url"] == path
    assert action_of(done) == "login_success"
    assert done.json["values"]["name"] == ADA
    assert len(done.json["params"]["codes"]) == 10
    assert (await person.get("/vi/user/view/self")).status == 200


async def test_a_factor_is_added_and_taken_away(site: Site) -> None:
    await site.account()
    person = site.person()
    await log_in(person)
    path = "/vi/user/f2_timebasedotp/"

    begun = await post(person, path + "add")
    secret = b32decode(begun.json["params"]["secret"].replace(" ", ""))
    added = await post(person, path + "add", flow=begun.json["params"]["flow"], otptoken=site.code(secret=secret))
    removed = await post(person, path + "remove")

    assert action_of(added) == "view"
    assert len(added.json["values"]["codes"]) == 10
    assert action_of(removed) == "remove_success"
    assert action_of(await log_in(site.person())) == "login_success"


async def test_giving_up_a_step_is_done(site: Site) -> None:
    await site.account_with_totp()
    person = site.person()
    await log_in(person)

    page = await post(person, "/vi/user/cancel")

    assert action_of(page) == "cancel_success"
    assert (await post(person, OTP, otptoken=site.code())).status == 412


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/vi", "/json", "/admin"])
async def test_an_error_is_an_object_and_its_sentence_a_header(site: Site, prefix: str) -> None:
    page = await site.person().get(prefix + "/user/view/self")

    assert page.status == 401
    assert page.json == {
        "status": 401,
        "reason": "Unauthorized",
        "title": "Unauthorized",
        "descr": "Please log in first.",
        "code": "not_authenticated",
    }
    assert page.header("x-viur-error") == page.json["descr"]


async def test_nothing_that_was_typed_gets_into_the_header(site: Site) -> None:
    person = site.person()
    typed = "eve\r\nset-cookie: a=b"

    pages = [
        await post(person, LOGIN + "x", name=typed, password=typed),
        await post(person, RECOVER, recovery_key=typed, password=NEW),
        await person.get("/vi/skey?amount=eve"),
        await post(person, "/vi/user/select_authentication_provider", provider=typed),
    ]

    for page in pages:
        assert page.status >= 400
        assert "eve" not in page.header("x-viur-error")
        assert page.header("x-viur-error").isprintable()


async def test_pages_have_no_such_header(site: Site) -> None:
    page = await site.person().get("/nothing")

    assert page.status == 404
    assert not page.header("x-viur-error")


# --- Where it is mounted, and what is refused -------------------------------------------------------------------------


async def test_an_unknown_dialect_is_refused_at_start(site: Site) -> None:
    class Future(User):
        vi_dialect = "4.0"

    with pytest.raises(Exception, match="vi_dialect"):
        await make_site(Future())

    assert create_app(site.app)


async def test_the_old_dialect_answers_in_strings() -> None:
    site = await make_site(Old())
    await site.account()

    page = await log_in(site.person())

    assert page.json == "OKAY"


async def test_below_a_mount_point_every_address_has_it(site: Site) -> None:
    """Tools take what they are answered for paths from the root of the origin."""
    await site.account_with_totp()
    mounted = Mounted(site.edge, "/auth")
    person = Person(mounted)

    offer = await person.get("/auth/vi/user/login")
    skey = (await person.get("/auth/vi/skey")).json
    owed = await person.post(offer.json["next_url"], {"skey": skey, "name": ADA, "password": PASSWORD})
    skey = (await person.get("/auth/vi/skey")).json
    done = await person.post(owed.json["params"]["action_url"], {"skey": skey, "otptoken": site.code()})

    assert offer.json["next_url"] == "/auth" + LOGIN
    assert owed.json["params"]["action_url"] == "/auth" + OTP
    assert action_of(done) == "login_success"


class Mounted:
    """Passes requests on as a framework does that mounts us."""

    def __init__(self, edge: Edge, root: str) -> None:
        self.edge = edge
        self.root = root

    async def __call__(self, scope: dict, receive: object, send: object) -> None:
        await self.edge({**scope, "root_path": self.root}, receive, send)
