"""The requests of ViUR's tools in their order, as each of them makes them, and what each looks for in the answers."""

from __future__ import annotations

import re

import pytest

from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from authflow.web.csrf import STATIC_KEY_HEADERS
from tests.vi_kit import HARDWARE, NEW, Old, TwoFactors, site_with_two_factors

SKEY_MARKERS = ("staticSessionKey", "STATIC_SESSION_KEY", "Sec-X-ViUR-StaticSessionKey")


async def multipart(person: Person, path: str, values: dict[str, str]) -> Page:
    """Send a form as `FormData` does."""
    parts = [f'--x1\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in values.items()]
    body = ("".join(parts) + "--x1--\r\n").encode()
    headers = {"content-type": "multipart/form-data; boundary=x1", "accept": "application/json, text/plain, */*"}
    return await person.request("POST", path, body=body, headers=headers)


# --- viur-admin: the desktop tool, below /admin -----------------------------------------------------------------------


async def desktop_login(site: Site, password: str = PASSWORD) -> tuple[Person, Page]:
    wizard = site.person()
    methods = (await wizard.get("/admin/user/getAuthMethods")).json
    assert "X-VIUR-AUTH-User-Password" in {first for first, _ in methods}
    person = site.person()
    await person.get("/admin/skey")
    await person.get("/admin/user/view/self")
    person.cookies.clear()
    skey = (await person.get("/admin/skey")).json
    values = {"name": ADA, "password": password, "skey": skey}
    return person, await person.post("/admin/user/auth_userpassword/login", values)


async def test_the_desktop_tool_logs_in_and_reads_modules_and_rights() -> None:
    site = await make_site()
    await site.account(access=("root",))

    person, page = await desktop_login(site)
    static_key = page.header("sec-x-viur-staticskey")
    own = (await person.get("/admin/user/view/self")).json
    config = (await person.get("/admin/config")).json

    assert page.json.lower() == "okay"
    assert static_key
    assert "root" in own["values"]["access"]
    assert dict(own["structure"])["name"]["descr"]
    assert config["modules"]["user"]["handler"] == "list"
    assert "configuration" in config


async def test_the_desktop_tool_asks_for_a_token_until_it_is_right() -> None:
    site = await make_site()
    await site.account_with_totp()
    person, page = await desktop_login(site)

    path = "/admin/user/f2_timebasedotp/otp"
    wrong = await person.post(path, {"otptoken": site.wrong_code(), "skey": (await person.get("/admin/skey")).json})
    right = await person.post(path, {"otptoken": site.code(), "skey": (await person.get("/admin/skey")).json})

    assert page.json.startswith("X-VIUR-2FACTOR-")
    assert wrong.json["action"] == "edit"
    assert right.json.lower() == "okay"
    assert right.header("sec-x-viur-staticskey")


async def test_the_desktop_tool_takes_anything_else_for_an_error() -> None:
    site = await make_site()
    await site.account()

    _, page = await desktop_login(site, "wrong")

    assert page.json == "FAILURE"
    assert not page.header("sec-x-viur-staticskey")


@pytest.mark.parametrize("prefix", ["/json", "/admin", "/vi"])
@pytest.mark.parametrize("header", STATIC_KEY_HEADERS)
@pytest.mark.parametrize("marker", SKEY_MARKERS)
async def test_a_static_key_does_for_every_secure_call(prefix: str, header: str, marker: str) -> None:
    site = await make_site()
    await site.account()
    person = site.person()
    values = {"skey": await person.skey(prefix), "name": ADA, "password": PASSWORD}
    page = await person.post(f"{prefix}/user/auth_userpassword/login", values)
    key = page.header(header.lower())

    pages = [
        await person.post(
            f"{prefix}/user/edit/self", {"skey": marker, "firstname": f"A{n}"}, headers={header.lower(): key}
        )
        for n in range(3)
    ]
    refused = [
        await person.post(f"{prefix}/user/edit/self", {"skey": marker, "firstname": "X"}),
        await person.post(f"{prefix}/user/edit/self", {"skey": marker, "firstname": "X"}, headers={header: key[:-1]}),
        await person.post(f"{prefix}/user/edit/self", {"skey": "x", "firstname": "X"}, headers={header: key}),
        await site.person().post(f"{prefix}/user/edit/self", {"skey": marker}, headers={header: key}),
    ]

    assert [page.status for page in pages] == [200, 200, 200]
    assert [page.status for page in refused] == [412] * 4
    assert (await person.get(f"{prefix}/user/view/self")).json["values"]["firstname"] == "A2"


# --- viur-vi: the admin in Pyodide, below /vi in its old dialect ------------------------------------------------------


async def pyodide_login(site: Site, person: Person, password: str = PASSWORD) -> Page:
    version = (await person.get("/vi/getVersion")).json
    assert [3, 0] <= version[:2] < [3, 6]
    assert (await person.get("/vi/config")).status in (401, 403)
    methods = (await person.get("/vi/user/getAuthMethods")).json
    assert all(len(pair) == 2 for pair in methods)
    assert (await person.get("/vi/user/view/self")).status == 401
    skey = (await person.get("/vi/skey")).json
    return await multipart(
        person, "/vi/user/auth_userpassword/login", {"name": ADA, "password": password, "skey": skey}
    )


async def test_the_admin_in_pyodide_logs_in_and_out() -> None:
    site = await make_site(Old())
    await site.account(access=("root",))
    person = site.person()

    wrong = await pyodide_login(site, person, "wrong")
    page = await pyodide_login(site, person)
    own = (await person.get("/vi/user/view/self")).json
    config = (await person.get("/vi/config")).json
    out = await multipart(person, "/vi/user/logout", {"skey": (await person.get("/vi/skey")).json})

    assert wrong.json == "FAILURE"
    assert page.json == "OKAY"
    assert own["action"] == "view"
    assert "root" in own["values"]["access"]
    assert all(len(pair) == 2 for pair in own["structure"])
    assert "user" in config["modules"]
    assert out.json == "OKAY"
    assert (await person.get("/vi/config")).status == 401


async def test_the_admin_in_pyodide_shows_the_form_for_a_token() -> None:
    site = await make_site(Old())
    await site.account_with_totp()
    person = site.person()
    path = "/vi/user/f2_timebasedotp/otp"

    page = await pyodide_login(site, person)
    wrong = await multipart(person, path, {"otptoken": site.wrong_code(), "skey": await person.skey("/vi")})
    right = await multipart(person, path, {"otptoken": site.code(), "skey": await person.skey("/vi")})

    assert "X-VIUR-2FACTOR-TimeBasedOTP" in page.text
    assert wrong.json["action"] == "edit"
    assert right.json == "OKAY"


# --- vue-utils: the login screen of today, below /vi ------------------------------------------------------------------


class Screen:
    """The new screen: it asks for forms by POST and takes its skeys from a pool."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.person = site.person()
        self.skeys: list[str] = []
        self.amount = 1
        self.url = ""
        self.form: dict = {}

    async def secure_post(self, url: str, values: dict[str, str] | None = None) -> Page:
        if not self.skeys:
            answer = (await self.person.get(f"/vi/skey?amount={self.amount}")).json
            self.skeys = answer if isinstance(answer, list) else [answer]
        return await multipart(self.person, url, {**(values or {}), "skey": self.skeys.pop(0)})

    async def open(self) -> dict:
        """Look whether somebody is logged in, and ask how to log in."""
        assert (await self.person.get("/vi/user/view/self")).status == 401
        page = await self.person.get("/vi/user/login")
        assert not isinstance(page.json, list)
        return page.json

    async def fetch(self, url: str) -> None:
        """Fetch a form, as `vi-form` does."""
        page = await self.secure_post(url)
        assert page.status == 200, page.text
        self.url, self.form = url, page.json

    async def send(self, **typed: str) -> dict:
        """Send every field of the form, filled or not, and take the answer for the next form."""
        values = {name: str(self.form["values"].get(name) or "") for name in self.form["structure"]}
        page = await self.secure_post(self.url, {**values, **typed})
        assert page.status == 200, page.text
        return page.json

    async def send_from_the_form_login(self, **typed: str) -> dict:
        """Send from the form that goes on beside its own address, with the action it was answered."""
        answer = await self.send(**typed)
        if not answer["action"].endswith("_success"):
            self.form = answer
            self.url = f"{self.url.rpartition('/')[0]}/{answer['action']}"
        elif answer["next_url"]:
            self.url = answer["next_url"]
            return await self.send_from_the_form_login()
        return answer

    async def is_logged_in(self) -> bool:
        return (await self.person.get("/vi/user/view/self")).status == 200


async def opened(site: Site) -> Screen:
    screen = Screen(site)
    offer = await screen.open()
    paths = offer["structure"]["provider"]["values"]
    assert [re.search(r"auth_(.+?)/login", path)[1] for path in paths] == ["userpassword"]
    await screen.fetch(offer["next_url"])
    return screen


async def test_the_login_screen_shows_what_is_wrong_and_then_logs_in() -> None:
    site = await make_site()
    await site.account()
    screen = await opened(site)

    wrong = await screen.send_from_the_form_login(name=ADA, password="wrong")
    right = await screen.send_from_the_form_login(name=ADA, password=PASSWORD)

    assert wrong["action"] == "login"
    # It shows an error at the field whose name stands first in the path.
    assert [error["fieldPath"][0] for error in wrong["errors"]] == ["name", "password"]
    assert right["action"] == "login_success"
    assert await screen.is_logged_in()


async def test_the_login_screen_takes_a_code_where_it_took_the_password() -> None:
    site = await make_site()
    await site.account_with_totp()
    screen = await opened(site)

    owed = await screen.send_from_the_form_login(name=ADA, password=PASSWORD)
    wrong = await screen.send_from_the_form_login(otptoken=site.wrong_code())
    right = await screen.send_from_the_form_login(otptoken=site.code())

    assert owed["action"] == wrong["action"] == "edit"
    assert [error["fieldPath"][0] for error in wrong["errors"]] == ["otptoken"]
    assert right["action"] == "login_success"
    assert await screen.is_logged_in()


async def test_the_login_screen_takes_a_choice_where_it_took_the_password() -> None:
    site = await site_with_two_factors()
    screen = await opened(site)

    choice = await screen.send_from_the_form_login(name=ADA, password=PASSWORD)
    start = next(iter(choice["structure"]["provider"]["values"]))
    form = await screen.send_from_the_form_login(provider=start)
    right = await screen.send_from_the_form_login(otptoken=site.code(secret=bytes.fromhex(HARDWARE)))

    assert choice["action"] == "select_secondfactor_provider"
    assert form["action"] == "edit"
    assert right["action"] == "login_success"
    assert await screen.is_logged_in()


async def test_the_widget_of_passwords_goes_to_the_address_it_is_given() -> None:
    site = await make_site()
    await site.account_with_totp()
    screen = Screen(site)
    await screen.fetch("/vi/user/auth_userpassword/login")

    owed = await screen.send(name=ADA, password=PASSWORD)
    screen.url, screen.form = owed["params"]["action_url"], owed
    wrong = await screen.send(otptoken=site.wrong_code())
    right = await screen.send(otptoken=site.code())

    assert wrong["action"] == "edit"
    assert wrong["errors"]
    assert right["action"] == "login_success"


async def test_the_widget_of_passwords_opens_the_chosen_factor() -> None:
    site = await site_with_two_factors()
    screen = Screen(site)
    await screen.fetch("/vi/user/auth_userpassword/login")

    choice = await screen.send(name=ADA, password=PASSWORD)
    starts = {re.search(r"f2_(.+?)/start", path)[1]: path for path in choice["structure"]["provider"]["values"]}
    await screen.fetch(starts["timebasedotp"])
    screen.url = screen.form["params"]["action_url"]
    right = await screen.send(otptoken=site.code())

    assert set(starts) == {"timebasedotp", "hardwareotp"}
    assert right["action"] == "login_success"


async def test_the_login_screen_recovers_a_password() -> None:
    site = await make_site()
    await site.account()
    screen = Screen(site)
    assert (await screen.person.get("/vi/user/auth_userpassword/pwrecover")).json["action"] == "pwrecover"
    await screen.fetch("/vi/user/auth_userpassword/pwrecover")

    asked = await screen.send_from_the_form_login(name=ADA)
    await site.run_tasks()
    key = site.link().partition("recovery_key=")[2]
    shown = await screen.send_from_the_form_login(recovery_key=key)
    weak = await screen.send_from_the_form_login(password="12345678")
    done = await screen.send(password=NEW)

    assert asked["action"] == shown["action"] == weak["action"] == "pwrecover"
    assert [error["fieldPath"][0] for error in weak["errors"]] == ["password"]
    assert done["action"] == "pwrecover_success"
    assert (await site.person().log_in(password=NEW)).status == 303


async def test_the_login_screen_takes_thirty_skeys_and_logs_out_with_one() -> None:
    site = await make_site()
    await site.account()
    screen = await opened(site)
    await screen.send(name=ADA, password=PASSWORD)
    screen.amount = 30

    page = await screen.secure_post("/vi/user/logout")

    assert len(screen.skeys) == 29
    assert page.json["action"] == "logout_success"
    assert page.json["next_url"] is None
    assert not await screen.is_logged_in()


# --- vue-utils: its older screen, for servers that answer `user/login` by a list --------------------------------------


class TwoFactorsOfOld(TwoFactors):
    vi_dialect = "3.3"


async def test_the_older_screen_logs_in_or_says_that_it_did_not() -> None:
    site = await make_site(Old())
    await site.account()
    screen = Screen(site)
    offer = (await screen.person.get("/vi/user/login")).json
    methods = (await screen.person.get("/vi/user/getAuthMethods")).json
    path = "/vi/user/auth_userpassword/login"

    wrong = await screen.secure_post(path, {"name": ADA, "password": "wrong"})
    right = await screen.secure_post(path, {"name": ADA, "password": PASSWORD})

    assert offer == ["X-VIUR-AUTH-User-Password"]
    assert "X-VIUR-AUTH-User-Password" in {pair[0] for pair in methods}
    assert wrong.json == "FAILURE"
    assert right.json == "OKAY"
    assert await screen.is_logged_in()


async def test_the_older_screen_lets_the_factor_be_chosen() -> None:
    site = await site_with_two_factors(TwoFactorsOfOld())
    screen = Screen(site)

    choice = await screen.secure_post("/vi/user/auth_userpassword/login", {"name": ADA, "password": PASSWORD})
    start = next(item["start_url"] for item in choice.json if item["name"] == "Authenticator app")
    form = (await screen.person.get(start)).json
    done = await screen.secure_post(form["params"]["action_url"], {"otptoken": site.code()})

    assert "otptoken" in dict(form["structure"])
    assert done.json == "OKAY"


async def test_the_older_screen_recovers_a_password() -> None:
    site = await make_site(Old())
    await site.account()
    screen = Screen(site)
    path = "/vi/user/auth_userpassword/pwrecover"

    form = await screen.secure_post(path)
    asked = await screen.secure_post(path, {"name": ADA})
    await site.run_tasks()
    key = site.link().partition("recovery_key=")[2]
    done = await screen.secure_post(path, {"recovery_key": key, "password": NEW})

    assert form.json["action"] == asked.json["action"] == "edit"
    assert list(dict(form.json["structure"])) == ["name"]
    assert done.json["action"] == "view"
    assert (await site.person().log_in(password=NEW)).status == 303


# --- viur-cli and viur-scriptor-api -----------------------------------------------------------------------------------


async def test_the_command_line_logs_in_where_no_cookie_is_handed_over() -> None:
    """A session's cookie never stands in an address: the way by browser is not there, the one by password is."""
    site = await make_site()
    await site.account(access=("root",))
    person = site.person()

    handed = await person.get("/vi/user/get_cookie_for_app?redirect_to=http://localhost:60000")
    skey = (await person.get("/json/skey")).json
    page = await person.post("/json/user/auth_userpassword/login", {"skey": skey, "name": ADA, "password": PASSWORD})

    assert handed.status == 404
    assert page.json == "OKAY"
    assert 200 <= (await person.get("/vi/user/view/self")).status < 300


async def test_a_script_logs_in_reads_the_modules_and_logs_out() -> None:
    site = await make_site()
    await site.account(access=("root",))
    person = site.person(headers={"x-scriptor": "1"})
    path = "/vi/user/auth_userpassword/login?@vi-admin=true"

    wrong = await person.post(path, {"skey": (await person.get("/json/skey")).json, "name": ADA, "password": "no"})
    right = await person.post(path, {"skey": (await person.get("/json/skey")).json, "name": ADA, "password": PASSWORD})
    config = await person.get("/vi/config")
    out = await person.post("/json/user/logout", {"skey": (await person.get("/json/skey")).json})
    refused = await person.get("/vi/user/view/self")

    assert wrong.json == "FAILURE"
    assert right.json == "OKAY"
    assert "user" in config.json["modules"]
    assert out.json == "OKAY"
    assert refused.json["reason"] == "Unauthorized"
    assert refused.json["descr"]
