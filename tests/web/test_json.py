"""The json renderer: the strings and objects of ViUR 3.0 to 3.3, as its clients read them."""

from __future__ import annotations

import json
from base64 import b32decode
from datetime import timedelta

import pytest

from authflow.errors import StoreUnavailable
from authflow.model import Factor, Status
from authflow.provider import PrimaryProvider
from authflow.seam import Call
from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from authflow.user import User
from authflow.web.csrf import STATIC_KEY_HEADERS
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword

BOB = "bob@example.org"
NEW = "another long password"
LOGIN = "/user/auth_userpassword/login"
OTP = "/user/f2_timebasedotp/otp"

PREFIXES = pytest.mark.parametrize("prefix", ["/json", "/admin"])


class HardwareOTP(TimeBasedOTP):
    name = "hardware_otp"
    label = "Hardware token"
    path = "f2_hardwareotp"
    method_name = "X-Test-Hardware-OTP"


class TwoFactors(User):
    second_factor_providers = (TimeBasedOTP, HardwareOTP, "providers.recovery_codes:RecoveryCodes")
    valid_authentication_methods = (
        ("user_password", "hardware_otp"),
        ("user_password", "time_based_otp"),
        ("user_password", None),
    )


class Registering(UserPassword):
    registration_enabled = True
    registration_email_verification_required = False
    registration_admin_verification_required = False


class Open(User):
    authentication_providers = (Registering,)


@pytest.fixture
async def site() -> Site:
    return await make_site()


async def log_in(person: Person, name: str = ADA, password: str = PASSWORD, *, prefix: str = "/json") -> Page:
    values = {"skey": await person.skey(prefix), "name": name, "password": password}
    return await person.post(prefix + LOGIN, values)


def structure_of(page: Page) -> dict[str, dict]:
    """Return a form's structure by field, after checking that it is ViUR's ordered list of pairs."""
    structure = page.json["structure"]
    assert all(isinstance(pair, list) and len(pair) == 2 for pair in structure)
    return dict(structure)


# --- Logging in -------------------------------------------------------------------------------------------------------


@PREFIXES
async def test_a_right_password_is_answered_okay(site: Site, prefix: str) -> None:
    await site.account()
    person = site.person()

    page = await log_in(person, prefix=prefix)

    assert (page.status, page.json) == (200, "OKAY")
    assert page.header("content-type") == "application/json"
    assert (await person.get(prefix + "/user/view/self")).status == 200


@PREFIXES
@pytest.mark.parametrize(
    ("name", "password"),
    [(ADA, "wrong"), ("nobody@example.org", PASSWORD), ("off@example.org", PASSWORD), ("none@example.org", PASSWORD)],
)
async def test_every_other_name_or_password_is_answered_failure(
    site: Site, prefix: str, name: str, password: str
) -> None:
    await site.account()
    await site.account("off@example.org", status=Status.DISABLED)
    await site.account("none@example.org", password=None)

    page = await log_in(site.person(), name, password, prefix=prefix)

    assert (page.status, page.json) == (200, "FAILURE")


@PREFIXES
async def test_an_owed_code_is_announced_by_the_name_of_its_method(site: Site, prefix: str) -> None:
    await site.account_with_totp()
    person = site.person()

    first = await log_in(person, prefix=prefix)
    skey = await person.skey(prefix)
    second = await person.post(prefix + OTP, {"skey": skey, "otptoken": site.code()})

    assert first.json == "X-VIUR-2FACTOR-TimeBasedOTP"
    assert second.json == "OKAY"
    assert (await person.get(prefix + "/user/view/self")).json["values"]["name"] == ADA


async def test_a_wrong_code_is_answered_with_the_form_and_why(site: Site) -> None:
    await site.account_with_totp()
    person = site.person()
    await log_in(person)

    page = await person.json_post("/json" + OTP, otptoken=site.wrong_code())

    assert page.status == 200
    assert page.json["action"] == "edit"
    assert page.json["code"] == "code_wrong"
    assert page.json["values"] == {"otptoken": ""}
    (error,) = page.json["errors"]
    assert error["fieldPath"] == ["otptoken"]
    assert error["severity"] == 3
    assert error["code"] == "code_wrong"
    assert error["errorMessage"].startswith("That code is not right")
    assert page.json["params"]["action_url"] == "/json" + OTP


async def test_a_code_that_cannot_be_one_is_malformed(site: Site) -> None:
    await site.account_with_totp()
    person = site.person()
    await log_in(person)

    page = await person.json_post("/json" + OTP, otptoken="abc")

    assert (page.status, page.json["code"]) == (400, "code_malformed")


async def test_several_factors_are_a_list_of_names_and_paths() -> None:
    site = await make_site(TwoFactors())
    account = await site.account_with_totp()
    token = HardwareOTP().new_hardware_token(
        account.id, serial="2", secret_hex="ab" * 20, now=site.clock(), interval=30
    )
    await site.kit.enrolled(account, token)
    person = site.person()

    choice = (await log_in(person)).json
    form = await person.get(choice[0]["start_url"])
    done = await person.json_post(
        form.json["params"]["action_url"], otptoken=site.code(secret=bytes.fromhex("ab" * 20))
    )

    assert choice == [
        {"name": "Hardware token", "start_url": "/json/user/f2_hardwareotp/start"},
        {"name": "Authenticator app", "start_url": "/json/user/f2_timebasedotp/start"},
    ]
    assert form.json["action"] == "edit"
    assert "otptoken" in structure_of(form)
    assert done.json == "OKAY"


@pytest.mark.parametrize(
    "choice",
    ["time_based_otp", "f2_timebasedotp", "X-VIUR-2FACTOR-TimeBasedOTP", "/json/user/f2_timebasedotp/start"],
)
async def test_a_factor_is_chosen_by_any_of_its_names(choice: str) -> None:
    site = await make_site(TwoFactors())
    account = await site.account_with_totp()
    token = HardwareOTP().new_hardware_token(
        account.id, serial="2", secret_hex="ab" * 20, now=site.clock(), interval=30
    )
    await site.kit.enrolled(account, token)
    person = site.person()
    await log_in(person)

    page = await person.json_post("/json/user/select_secondfactor_provider", provider=choice)

    assert page.json == "X-VIUR-2FACTOR-TimeBasedOTP"


async def test_choosing_what_is_not_offered_is_not_found(site: Site) -> None:
    await site.account_with_totp()
    person = site.person()
    await log_in(person)

    page = await person.json_post("/json/user/select_secondfactor_provider", provider="carrier_pigeon")

    assert (page.status, page.json["code"]) == (404, "not_found")


@PREFIXES
async def test_a_form_sent_without_a_password_comes_back_empty_of_secrets(site: Site, prefix: str) -> None:
    person = site.person()

    page = await log_in(person, password="", prefix=prefix)

    assert page.status == 400
    assert page.json["action"] == "edit"
    assert page.json["values"] == {"name": ADA, "password": ""}
    assert [error["fieldPath"] for error in page.json["errors"]] == [["password"]]
    assert [error["severity"] for error in page.json["errors"]] == [2]


async def test_the_form_of_a_method_is_described(site: Site) -> None:
    page = await site.person().get("/json" + LOGIN)

    fields = structure_of(page)
    assert page.json["action"] == "edit"
    assert list(fields) == ["name", "password"]
    assert fields["name"]["type"].startswith("str")
    assert fields["password"]["type"] == "password"
    for description in fields.values():
        assert description["required"] is True
        assert {"descr", "params", "visible", "readonly", "unique", "languages", "emptyValue", "multiple"} <= set(
            description
        )


async def test_a_body_may_be_json(site: Site) -> None:
    await site.account()
    person = site.person()
    body = json.dumps({"skey": await person.skey(), "name": ADA, "password": PASSWORD}).encode()

    page = await person.request("POST", "/json" + LOGIN, body=body, headers={"content-type": "application/json"})

    assert page.json == "OKAY"


async def test_a_body_may_be_multipart(site: Site) -> None:
    await site.account()
    person = site.person()
    values = {"skey": await person.skey(), "name": ADA, "password": PASSWORD}
    parts = [f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in values.items()]
    body = ("".join(parts) + "--x--\r\n").encode()

    page = await person.request(
        "POST", "/json" + LOGIN, body=body, headers={"content-type": "multipart/form-data; boundary=x"}
    )

    assert page.json == "OKAY"


# --- What tools ask ---------------------------------------------------------------------------------------------------


@PREFIXES
async def test_tools_learn_which_pairs_of_methods_are_open(site: Site, prefix: str) -> None:
    page = await site.person().get(prefix + "/user/getAuthMethods")

    assert page.json == [
        ["X-VIUR-AUTH-User-Password", "X-VIUR-2FACTOR-TimeBasedOTP"],
        ["X-VIUR-AUTH-User-Password", None],
    ]


async def test_pages_know_them_too(site: Site) -> None:
    page = await site.person().get("/user/getAuthMethods")

    assert page.json[1] == ["X-VIUR-AUTH-User-Password", None]


class BadgeReader(PrimaryProvider):
    name = "badge_reader"
    label = "Badge"
    factor = Factor.POSSESSION

    def begin(self, context):
        raise NotImplementedError

    async def identify(self, submission, context):
        raise NotImplementedError

    async def answer(self, credential, submission, context):
        raise NotImplementedError


async def test_own_providers_are_named_after_their_class_and_in_their_order() -> None:
    class Factory(User):
        authentication_providers = (BadgeReader, "providers.user_password:UserPassword")
        second_factor_providers = (TimeBasedOTP, HardwareOTP)
        valid_authentication_methods = (
            ("badge_reader", "hardware_otp"),
            ("user_password", "time_based_otp"),
            ("badge_reader", None),
        )

    site = await make_site(Factory())

    page = await site.person().get("/json/user/getAuthMethods")

    assert page.json == [
        ["X-VIUR-AUTH-BadgeReader", "X-Test-Hardware-OTP"],
        ["X-VIUR-AUTH-User-Password", "X-VIUR-2FACTOR-TimeBasedOTP"],
        ["X-VIUR-AUTH-BadgeReader", None],
    ]


@PREFIXES
async def test_the_login_names_the_primary_methods(site: Site, prefix: str) -> None:
    page = await site.person().get(prefix + "/user/login")

    assert page.json == ["X-VIUR-AUTH-User-Password"]


@PREFIXES
@pytest.mark.parametrize(("query", "count"), [("", None), ("?amount=1", None), ("?amount=2", 2), ("?amount=100", 100)])
async def test_skeys_come_one_or_many(site: Site, prefix: str, query: str, count: int | None) -> None:
    page = await site.person().get(prefix + "/skey" + query)

    if count is None:
        assert isinstance(page.json, str)
    else:
        assert len(set(page.json)) == count


@pytest.mark.parametrize(
    "amount", ["0", "-1", "101", "1e2", "2.0", "ten", "%EF%BC%92", "00000000000000001", "+5", "99999"]
)
async def test_an_amount_of_skeys_out_of_range_is_refused(site: Site, amount: str) -> None:
    page = await site.person().get(f"/json/skey?amount={amount}")

    assert (page.status, page.json["code"]) == (400, "bad_input")


async def test_each_of_many_skeys_is_good(site: Site) -> None:
    await site.account()
    person = site.person()
    await log_in(person)

    skeys = (await person.get("/json/skey?amount=3")).json
    answers = [await person.post("/json/user/edit/self", {"skey": skey, "firstname": skey[:5]}) for skey in skeys]

    assert [page.json["values"]["firstname"] for page in answers] == [skey[:5] for skey in skeys]


# --- The own entry ----------------------------------------------------------------------------------------------------


@PREFIXES
async def test_the_own_entry_has_viurs_shape_and_no_secret(site: Site, prefix: str) -> None:
    account = await site.account_with_totp(roles=("viewer", "custom"), access=("root",))
    person = site.person()
    await log_in(person, prefix=prefix)
    await person.post(prefix + OTP, {"skey": await person.skey(prefix), "otptoken": site.code()})

    page = await person.get(prefix + "/user/view/self")

    entry = page.json
    assert set(entry) == {"values", "structure", "errors", "action", "params"}
    assert entry["action"] == "view"
    assert entry["values"]["key"] == account.id
    assert entry["values"]["name"] == ADA
    assert entry["values"]["access"] == ["admin", "root", "user-view"]
    assert entry["values"]["status"] == 10
    allowed = {
        "key", "name", "firstname", "lastname", "status", "roles", "access", "version", "creationdate", "changedate",
    }  # fmt: skip
    assert set(entry["values"]) <= allowed
    assert set(structure_of(page)) <= allowed


async def test_nobody_has_no_entry(site: Site) -> None:
    page = await site.person().get("/json/user/view/self")

    assert page.status == 401
    assert page.json == {
        "status": 401,
        "reason": "Unauthorized",
        "title": "Unauthorized",
        "descr": "Please log in first.",
        "code": "not_authenticated",
    }


async def test_an_entry_is_edited_by_its_owner(site: Site) -> None:
    await site.account()
    person = site.person()
    await log_in(person)

    form = await person.get("/json/user/edit/self")
    answer = await person.json_post("/json/user/edit/self", firstname="Ada", version=form.json["values"]["version"])
    entry = await person.get("/json/user/view/self")

    assert form.json["action"] == "edit"
    assert answer.json["action"] == "editSuccess"
    assert answer.json["values"] == entry.json["values"]
    assert entry.json["values"]["firstname"] == "Ada"


async def test_logging_out_is_answered_okay_and_ends_the_session(site: Site) -> None:
    await site.account()
    person = site.person()
    await log_in(person)

    page = await person.json_post("/json/user/logout")
    after = await person.get("/json/user/view/self")

    assert page.json == "OKAY"
    assert after.status == 401


# --- Registration, recovery, factors ----------------------------------------------------------------------------------


async def test_a_program_registers_somebody() -> None:
    site = await make_site(Open())
    person = site.person()

    form = await person.get("/json/user/auth_userpassword/add")
    done = await person.json_post("/json/user/auth_userpassword/add", name=BOB, password=NEW)
    taken = await person.json_post("/json/user/auth_userpassword/add", name=BOB, password=NEW)

    assert list(structure_of(form)) == ["name", "firstname", "lastname", "password"]
    assert done.json == "OKAY"
    assert (taken.status, taken.json["errors"][0]["code"]) == (409, "name_taken")


@pytest.mark.parametrize("field", ["recovery_key", "recoveryKey"])
async def test_a_program_recovers_a_password(site: Site, field: str) -> None:
    await site.account()
    person = site.person()

    asked = await person.json_post("/json/user/auth_userpassword/pwrecover", name=ADA)
    await site.run_tasks()
    code = site.link().partition("recovery_key=")[2]
    done = await person.json_post("/json/user/auth_userpassword/pwrecover", **{field: code, "password": NEW})

    assert asked.json["action"] == "edit"
    assert list(structure_of(asked)) == ["recovery_key", "password"]
    assert (done.json["action"], done.json["values"]) == ("view", None)
    assert (await log_in(person, password=NEW)).json == "OKAY"


async def test_a_program_sets_up_an_app_and_gets_the_codes_once(site: Site) -> None:
    await site.account()
    person = site.person()
    await log_in(person)

    begun = await person.json_post("/json/user/f2_timebasedotp/add")
    secret = begun.json["params"]["secret"]
    code = site.code(secret=b32decode(secret.replace(" ", "")))
    done = await person.json_post("/json/user/f2_timebasedotp/add", otptoken=code, flow=begun.json["params"]["flow"])

    assert begun.json["params"]["uri"].startswith("otpauth://totp/")
    assert begun.json["params"]["action_url"] == "/json/user/f2_timebasedotp/add"
    assert len(done.json["values"]["codes"]) == 10


# --- The static session key -------------------------------------------------------------------------------------------


async def test_a_program_gets_a_static_key_at_its_login_and_a_page_does_not(site: Site) -> None:
    await site.account()

    program = await log_in(site.person())
    page = await site.person().log_in()

    keys = {program.header(name.lower()) for name in STATIC_KEY_HEADERS}
    assert len(keys) == 1
    assert len(keys.pop()) >= 22
    assert not any(page.header(name.lower()) for name in STATIC_KEY_HEADERS)


@PREFIXES
@pytest.mark.parametrize("header", STATIC_KEY_HEADERS)
@pytest.mark.parametrize("marker", ["staticSessionKey", "STATIC_SESSION_KEY", *STATIC_KEY_HEADERS])
async def test_the_static_key_takes_the_place_of_the_skey(site: Site, prefix: str, header: str, marker: str) -> None:
    await site.account()
    person = site.person()
    key = (await log_in(person, prefix=prefix)).header(header.lower())

    page = await person.post(prefix + "/user/edit/self", {"skey": marker, "firstname": "A"}, headers={header: key})

    assert page.json["action"] == "editSuccess"


async def test_the_marker_without_the_header_or_the_header_without_the_marker_is_refused(site: Site) -> None:
    await site.account()
    person = site.person()
    key = (await log_in(person)).header("sec-x-viur-staticskey")
    url = "/json/user/edit/self"

    without_header = await person.post(url, {"skey": "staticSessionKey"})
    without_marker = await person.post(url, {}, headers={"Sec-X-ViUR-StaticSKey": key})
    wrong = await person.post(url, {"skey": "staticSessionKey"}, headers={"Sec-X-ViUR-StaticSKey": key[:-1] + "~"})
    empty = await person.post(url, {"skey": "staticSessionKey"}, headers={"Sec-X-ViUR-StaticSKey": ""})

    assert [page.status for page in (without_header, without_marker, wrong, empty)] == [412] * 4


async def test_the_static_key_is_good_for_its_own_session_alone(site: Site) -> None:
    await site.account()
    mine, other = site.person(), site.person()
    key = (await log_in(mine)).header("sec-x-viur-staticskey")
    await log_in(other)
    headers = {"Sec-X-ViUR-StaticSKey": key}

    stolen = await other.post("/json/user/edit/self", {"skey": "staticSessionKey"}, headers=headers)
    await mine.json_post("/json/user/logout")
    dead = await mine.post("/json/user/edit/self", {"skey": "staticSessionKey"}, headers=headers)

    assert [stolen.status, dead.status] == [412, 412]


async def test_the_static_key_is_worth_nothing_on_pages(site: Site) -> None:
    await site.account()
    person = site.person()
    key = (await log_in(person)).header("sec-x-viur-staticskey")
    headers = {"Sec-X-ViUR-StaticSKey": key}

    page = await person.post("/user/edit/self", {"skey": "staticSessionKey", "firstname": "A"}, headers=headers)

    assert page.status == 412
    assert (await person.get("/json/user/view/self")).json["values"]["firstname"] == ""


async def test_a_session_without_a_static_key_has_none_that_is_empty(site: Site) -> None:
    await site.account()
    person = await site.logged_in()

    for key in ("", " ", "x"):
        headers = {"Sec-X-ViUR-StaticSKey": key}
        page = await person.post("/json/user/edit/self", {"skey": "staticSessionKey"}, headers=headers)
        assert page.status == 412


# --- Errors -----------------------------------------------------------------------------------------------------------


def is_error(page: Page, status: int, code: str) -> None:
    """Check an error object: ViUR's keys and the stable code, nothing of the inside."""
    assert page.status == status
    assert page.header("content-type") == "application/json"
    body = page.json
    assert body["status"] == status
    assert body["code"] == code
    assert body["reason"] == body["title"]
    assert body["descr"].endswith(".")
    assert set(body) <= {"status", "reason", "title", "descr", "code", "retry_after"}


async def test_400_what_is_malformed(site: Site) -> None:
    is_error(await site.person().get("/json/skey?amount=x"), 400, "bad_input")
    is_error(await site.person().get("/json/skey?amount=1&amount=2"), 400, "bad_input")


async def test_400_a_secret_in_the_query(site: Site) -> None:
    person = site.person()
    skey = await person.skey()

    page = await person.post(f"/json{LOGIN}?password=secret", {"name": ADA, "skey": skey})

    is_error(page, 400, "bad_input")


async def test_401_nobody_is_logged_in(site: Site) -> None:
    is_error(await site.person().json_post("/json/user/edit/self"), 401, "not_authenticated")


async def test_403_a_login_that_is_not_fresh(site: Site) -> None:
    await site.account()
    person = site.person()
    await log_in(person)
    site.clock.pass_by(timedelta(minutes=11))

    page = await person.json_post("/json/user/f2_timebasedotp/add")

    is_error(page, 403, "reauthentication_required")


async def test_404_nothing_there(site: Site) -> None:
    is_error(await site.person().get("/json/nothing"), 404, "not_found")
    is_error(await site.person().get("/admin/user/nothing"), 404, "not_found")


async def test_405_another_method(site: Site) -> None:
    page = await site.person().request("DELETE", "/json/user/edit/self")

    is_error(page, 405, "method_not_allowed")
    assert page.header("allow") == "GET, HEAD, POST"


async def test_406_no_method_left() -> None:
    class WithoutFactors(User):
        second_factor_providers = ()
        valid_authentication_methods = (("user_password", None),)

    before = await make_site()
    await before.account_with_totp()
    site = await make_site(WithoutFactors(), store=before.kit.memory)

    page = await log_in(site.person())

    is_error(page, 406, "factor_unavailable")


async def test_408_a_second_step_that_comes_too_late(site: Site) -> None:
    await site.account_with_totp()
    person = site.person()
    await log_in(person)
    site.clock.pass_by(timedelta(minutes=11))

    page = await person.json_post("/json" + OTP, otptoken=site.code())

    is_error(page, 408, "too_late")


async def test_409_an_edit_of_another_version(site: Site) -> None:
    await site.account()
    person = site.person()
    await log_in(person)

    page = await person.json_post("/json/user/edit/self", firstname="A", version="41")

    is_error(page, 409, "version_conflict")


async def test_412_without_an_skey(site: Site) -> None:
    is_error(await site.person().post("/json" + LOGIN, {"name": ADA, "password": PASSWORD}), 412, "skey_invalid")


async def test_412_a_step_that_nobody_opened(site: Site) -> None:
    is_error(await site.person().json_post("/json" + OTP, otptoken="123456"), 412, "flow_invalid")


async def test_412_a_ticket_that_is_not_good(site: Site) -> None:
    page = await site.person().json_post(
        "/json/user/auth_userpassword/pwrecover", recovery_key="someone." + "A" * 43, password=NEW
    )

    is_error(page, 412, "ticket_invalid")


async def test_413_a_body_that_is_too_large(site: Site) -> None:
    page = await site.person().post("/json" + LOGIN, {"name": "x" * 70_000})

    is_error(page, 413, "payload_too_large")


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "", "text/json", "application/jsonp"])
async def test_415_a_body_of_another_type(site: Site, content_type: str) -> None:
    page = await site.person().request("POST", "/json" + LOGIN, body=b"{}", headers={"content-type": content_type})

    is_error(page, 415, "unsupported_media_type")


async def test_429_the_limit_with_the_time_to_wait(site: Site) -> None:
    await site.account()
    person = site.person()
    for _ in range(10):
        await log_in(person, password="wrong")

    page = await log_in(person)

    is_error(page, 429, "too_many_attempts")
    assert page.header("retry-after") == str(page.json["retry_after"]) == "900"


async def test_503_a_store_that_does_not_answer() -> None:
    class Fault:
        is_on = False

        async def before(self, call: Call) -> None:
            if self.is_on and call.kind == "store":
                raise StoreUnavailable("a detail for the log alone")

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    fault = Fault()
    site = await make_site(observers=(fault,))
    await site.account()
    person = site.person()
    await log_in(person)
    fault.is_on = True

    page = await person.get("/json/user/view/self")
    fault.is_on = False

    is_error(page, 503, "store_unavailable")
    assert page.header("retry-after") == "2"
    assert "detail" not in page.text
    assert (await person.get("/json/user/view/self")).status == 200
