"""What the README tells is true: its programs run as they stand, its map is whole, its names exist."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from authflow.accounts import Accounts
from authflow.model import Account, LoginInfo
from authflow.provider import Provider
from authflow.render import template_dir
from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from authflow.throttle import Limits
from authflow.user import User
from providers.google_account import GoogleAccount
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword
from tests.test_docs import declared_routes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

SEED_NAMES = """
userSkel UserPassword GoogleAccount TimeBasedOTP User createNewUserIfNotExists kindName name password uid gaeadmin
access status lastlogin otpid otpkey otptimedrift loginSkel lostPasswordStep1Skel captcha lostPasswordStep2Skel
registrationEnabled registrationEmailVerificationRequired registrationAdminVerificationRequired verifySuccessTemplate
verifyEmailAddressMail verifyFailedTemplate passwordRecoveryTemplate passwordRecoveryMail
passwordRecoveryAlreadySendTemplate passwordRecoverySuccessTemplate passwordRecoveryInvalidTokenTemplate
passwordRecoveryInstuctionsSendTemplate passwordRecoveryStep1Template passwordRecoveryStep2Template
passwordRecoveryFailedTemplate passwordRecoveryRateLimit passwordRecoveryKeyExpired passwordRecoveryKeyInvalid
passwordRecoveryUserNotFound passwordRecoveryAccountLocked getAuthMethodName login pwrecover
sendUserPasswordRecoveryCode verify canAdd addSkel add otpSkel windowSize otpTemplate get2FactorMethodName canHandle
startProcessing generateOtps otp updateTimeDrift addTemplate addSuccessTemplate lostPasswordTemplate
authenticationProviders secondFactorProviders validAuthenticationMethods secondFactorTimeWindow adminInfo
extendAccessRights editSkel secondFactorProviderByClass getCurrentUser continueAuthenticationFlow
secondFactorSucceeded authenticateUser logout onLogin onLogout edit view canView getAuthMethods onDeleted
"""


def program(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", README, re.S)
    assert found is not None
    return found[1]


def section(heading: str) -> str:
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def run_as_module(source: str, name: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(source, f"README.md:{name}", "exec"), module.__dict__)
    return module


# --- A second factor of one's own -------------------------------------------------------------------------------------


@pytest.fixture
async def site() -> Site:
    return await make_site(run_as_module(program("own provider"), "myapp").MyUser())


async def mailed_code(site: Site) -> str:
    """Return the code of the mail that the last step sent."""
    sent = len(site.outbox.mails)
    await site.run_tasks()
    [mail] = site.outbox.mails[sent:]
    found = re.search(r"^\s+(\d{6})$", mail.text, re.M)
    assert found is not None
    return found[1]


def other_than(code: str) -> str:
    return "000000" if code != "000000" else "111111"


async def enrol(site: Site, person: Person) -> Page:
    page = await person.get("/user/f2_codebymail/add")
    page = await person.send(page.form("add"))
    page = await person.send(page.form("add"), otptoken=await mailed_code(site))
    assert page.status == 200, page.text
    return page


def test_the_own_provider_is_at_most_forty_lines() -> None:
    assert len(program("own provider").splitlines()) <= 40


@pytest.mark.parametrize(("mark", "file"), [("own provider", "code_by_mail.py"), ("mounting", "mounted.py")])
def test_a_program_of_the_readme_is_the_example(mark: str, file: str) -> None:
    assert program(mark) == (ROOT / "examples" / file).read_text(encoding="utf-8")


async def test_a_person_adds_the_own_factor_and_gets_recovery_codes(site: Site) -> None:
    account = await site.account()
    person = await site.logged_in()
    profile = await person.get("/user/view/self")
    assert "/user/f2_codebymail/add" in profile.text

    page = await enrol(site, person)

    assert (await site.kit.account_now(account)).factors == ("code_by_mail",)
    assert len(re.findall(r"<li>[0-9a-z-]{19}</li>", page.text)) == 10


async def test_a_wrong_code_adds_nothing(site: Site) -> None:
    account = await site.account()
    person = await site.logged_in()
    page = await person.send((await person.get("/user/f2_codebymail/add")).form("add"))
    code = await mailed_code(site)

    page = await person.send(page.form("add"), otptoken=other_than(code))

    assert "That is not the code from our last mail." in page.text
    assert (await site.kit.account_now(account)).factors == ()


async def test_a_login_with_the_own_factor_asks_for_the_mailed_code_and_takes_it_once(site: Site) -> None:
    await site.account()
    await enrol(site, await site.logged_in())
    await site.run_tasks()
    person = site.person()

    page = await person.follow(await person.log_in())
    code = await mailed_code(site)
    assert (await person.get("/user/view/self")).location.startswith("/user/login")
    wrong = await person.send(page.form("otp"), otptoken=other_than(code))
    assert wrong.status == 200
    assert "That is not the code from our last mail." in wrong.text
    done = await person.send(wrong.form("otp"), otptoken=code)

    assert done.location == "/user/view/self"
    assert ADA in (await person.get("/user/view/self")).text
    other = site.person()
    page = await other.follow(await other.log_in())
    again = await other.send(page.form("otp"), otptoken=code)
    assert "That is not the code from our last mail." in again.text


async def test_the_own_factor_locks_after_five_wrong_codes(site: Site) -> None:
    await site.account()
    await enrol(site, await site.logged_in())
    person = site.person()
    page = await person.follow(await person.log_in())
    code = await mailed_code_of_login(site)

    statuses = [(await person.send(page.form("otp"), otptoken=other_than(code))).status for _ in range(6)]

    assert statuses == [200] * 5 + [429]
    assert (await person.send(page.form("otp"), otptoken=code)).status == 429


async def mailed_code_of_login(site: Site) -> str:
    await site.run_tasks()
    codes = [found[1] for mail in site.outbox.mails if (found := re.search(r"^\s+(\d{6})$", mail.text, re.M))]
    return codes[-1]


# --- In an application of one's own -----------------------------------------------------------------------------------

MOUNTING = """
import asyncio, re, sys
from urllib.parse import urlencode
from starlette.testclient import TestClient
name, password = "ada@example.org", "correct horse battery"
module = {}
exec(compile(sys.stdin.read(), "README.md", "exec"), module)
with TestClient(module["app"], base_url="http://127.0.0.1:8000") as client:
    create = module["whole"].administration.create
    client.portal.call(lambda: create(name, password=password, is_active=True))
    page = client.get("/")
    assert page.history and page.url.path == "/user/login", page.url
    values = dict(re.findall(r'type="hidden" name="(\\w+)" value="([^"]*)"', page.text))
    done = client.post("/user/auth_userpassword/login", data={**values, "name": name, "password": password})
    assert done.text == f"Hello {name}", (done.status_code, done.text)
    assert client.get("/user/view/self").status_code == 200
    assert client.get("/healthz").status_code == 200
print("hello")
"""


def test_the_mounting_example_runs(tmp_path: Path) -> None:
    environment = {
        "AUTHFLOW_STORE": f"sqlite:{tmp_path / 'authflow.db'}",
        "AUTHFLOW_BCRYPT_ROUNDS": "4",
        "PYTHONPATH": str(ROOT),
        "PATH": "",
    }

    done = subprocess.run(
        [sys.executable, "-c", MOUNTING],
        input=program("mounting"),
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )

    assert done.stdout == "hello\n", done.stderr


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_every_path_of_the_json_example_is_a_route() -> None:
    paths = re.findall(r"\$URL(/[\w/]+)", program("curl"))

    assert len(paths) >= 6
    assert set(paths) <= set(declared_routes())


async def test_the_json_example_gets_the_answers_that_it_tells() -> None:
    site = await make_site()
    await site.account_with_totp()
    person, text = site.person(), program("curl")

    methods = await person.get("/json/user/getAuthMethods")
    wrong = await person.json_post("/json/user/auth_userpassword/login", name=ADA, password="not this one")
    owed = await person.json_post("/json/user/auth_userpassword/login", name=ADA, password=PASSWORD)
    done = await person.json_post("/json/user/f2_timebasedotp/otp", otptoken=site.code())
    own = await person.get("/json/user/view/self")
    out = await person.json_post("/json/user/logout")

    for page in (methods, wrong, owed, done):
        assert page.text in text, page.text
    assert own.json["values"]["name"] == ADA
    assert out.json == "OKAY"


# --- Names, map, settings ---------------------------------------------------------------------------------------------


def name_rows() -> list[tuple[str, str]]:
    return re.findall(r"^\| (`.*?`) \| (.*?) \|$", section("ViUR's names"), re.M)


def test_every_name_of_viurs_module_is_in_the_table() -> None:
    told = {name for left, _ in name_rows() for name in re.findall(r"`(\w+)`", left)}

    assert told == set(SEED_NAMES.split())


def test_our_names_in_the_table_exist() -> None:
    owners = {
        cls.__name__: cls
        for cls in (User, UserPassword, GoogleAccount, TimeBasedOTP, Provider, Accounts, Limits, Account, LoginInfo)
    }

    for _, right in name_rows():
        for owner, attribute in re.findall(r"`(\w+)\.(\w+)`", right):
            fields = getattr(owners[owner], "__dataclass_fields__", {})
            assert hasattr(owners[owner], attribute) or attribute in fields, f"{owner}.{attribute}"
        for module, name in re.findall(r"`([\w.]+):(\w+)`", right):
            assert hasattr(importlib.import_module(module), name), f"{module}:{name}"
        for template in re.findall(r"`templates/([\w/.]+)`", right):
            assert (template_dir() / template).is_file(), template


def tracked(folder: str) -> set[str]:
    """Return the first parts of the paths below a folder that are kept in the repository."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", folder or "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    prefix = f"{folder}/" if folder else ""
    return {
        rest.split("/")[0] + ("/" if "/" in rest else "")
        for path in done.stdout.splitlines()
        if (rest := path.removeprefix(prefix))
    }


def in_map(heads: str) -> set[str]:
    rows = section("Map").partition(heads)[2].partition("\n\n")[0]
    return set(re.findall(r"`([\w./-]+)`", rows))


def test_the_map_shows_every_top_level_path() -> None:
    rows = section("Map").partition("| path | what |\n")[2].partition("\n\n")[0]
    told = {name for left in re.findall(r"^\| (`.*?`) \|", rows, re.M) for name in re.findall(r"`([^`]+)`", left)}

    assert told == tracked("")


def test_the_map_shows_every_module_of_the_package() -> None:
    assert in_map("| concern | modules |\n") == tracked("authflow")


def test_the_variables_of_the_readme_are_told_in_full_elsewhere() -> None:
    settings = (ROOT / "docs/settings.md").read_text(encoding="utf-8")

    for name in set(re.findall(r"AUTHFLOW_[A-Z_]+", README)):
        assert f"`{name}`" in settings, name


def test_the_commands_of_the_readme_exist() -> None:
    from typer.main import get_command

    from authflow.cli.main import make_app

    known = get_command(make_app())
    for line in re.findall(r"authflow ((?:users |keys |tasks )?[a-z-]+)", README):
        command = known
        words = line.split()
        if words[0] in known.commands:
            for word in words:
                command = command.commands[word]
    for name in ("serve", "users", "check-config", "clean"):
        assert name in known.commands
