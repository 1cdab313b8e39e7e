"""The entrypoint line of `app.yaml`, in what would be uploaded, with what requirements.txt brings and nothing else.

Around it are Google's Datastore emulator, an emulator of Cloud Tasks that really delivers, a mail server with STARTTLS,
and the metadata server and Secret Manager of `GoogleCloud`.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from authflow.testing import Page
from authflow.testing.devices import totp
from authflow.web.html import STYLESHEET
from tests.deployment import upload
from tests.deployment.entrypoint import PATIENCE, Entrypoint, Visitor, clean_environment
from tests.deployment.mails import link_in, wait_until
from tests.deployment.production import APP_ENGINE, BASE_URL, KEY, MAIL_PASSWORD, MARKED, Production, deployed_settings
from tests.parts import datastore_emulator, tasks_emulator
from tests.parts.require import require
from tests.served.people import begun_enrolment, shown_codes

ROOT = Path(__file__).resolve().parents[2]
ADMIN = "you@example.org"
PASSWORD, NEW_PASSWORD = "correct horse battery", "a quite different phrase"
PROFILE = "/user/view/self"

pytestmark = [pytest.mark.emulator, pytest.mark.slow]


@pytest.fixture(scope="module")
def production(
    request: pytest.FixtureRequest,
    uploaded: Path,
    deployed_bin: Path,
    confined: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Production]:
    for missing in (datastore_emulator.missing_part(), tasks_emulator.missing_part()):
        require(request, missing is None, missing or "")
    with Production(uploaded, deployed_bin, tmp_path_factory.mktemp("logs"), confined=confined) as production:
        yield production


def marked_block(mark: str) -> str:
    """Return the lines of docs/deploy.md that follow a mark."""
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", text, re.S)
    assert found is not None, f"docs/deploy.md has no block {mark}"
    return found[1]


def operator(production: Production, folder: Path, script: str) -> str:
    """Do in a shell what docs/deploy.md tells, from an operator's machine with the operator's own credentials."""
    shutil.copyfile(ROOT / "app.yaml", folder / "app.yaml")
    settings = marked_block("settings file") + marked_block("operator's settings")
    done = production.shell(
        f'authflow() {{ python -m authflow.cli "$@"; }}\n{settings}\n{script}',
        folder,
        PYTHONPATH=str(ROOT),
        ADMIN=ADMIN,
        **MARKED,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def admin(production: Production, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The first administrator, made as docs/deploy.md tells, whose password was chosen by the link."""
    said = operator(production, tmp_path_factory.mktemp("operator"), marked_block("first administrator"))
    link = said.strip().splitlines()[-1]
    assert link.startswith(f"{BASE_URL}/user/auth_userpassword/setup?setup_key=")

    async def choose() -> Page:
        person = visitor(production)
        page = await person.get(link)
        return await person.send(page.form("setup"), password=PASSWORD)

    page = asyncio.run(choose())
    assert page.status in (200, 303), page.text
    return ADMIN


def visitor(production: Production, *, address: str = "") -> Visitor:
    return Visitor(production.server, address=address, through_app_engine=True)


# --- The main job -----------------------------------------------------------------------------------------------------


async def test_it_runs_on_a_disk_that_cannot_be_written_to(
    production: Production, admin: str, uploaded: Path, deployed_bin: Path
) -> None:
    before = upload.state(uploaded), upload.state(deployed_bin.parent)

    for path in ("/user/login", "/user/auth_userpassword/pwrecover", STYLESHEET, "/_ah/warmup", "/nowhere"):
        await visitor(production).get(path)
    await visitor(production).log_in(admin, PASSWORD)

    assert (upload.state(uploaded), upload.state(deployed_bin.parent)) == before
    assert not [name for name in before[0] if name.endswith(("__pycache__", ".cache"))], "nor when it started"


async def test_the_first_administrator_logs_in_and_out(production: Production, admin: str) -> None:
    person = visitor(production)

    page = await person.log_in(admin, PASSWORD)

    assert page.location == PROFILE
    cookies = [text for text in page.set_cookies.values() if text.startswith("__Host-")]
    assert cookies
    assert all({"Secure", "HttpOnly"} <= set(text.split("; ")) for text in cookies)
    assert admin in (await person.get(PROFILE)).text
    await person.send((await person.get("/user/logout")).form("logout"))
    assert (await person.get(PROFILE)).location.startswith("/user/login")


async def test_a_wrong_password_is_refused(production: Production, admin: str) -> None:
    person = visitor(production)

    page = await person.log_in(admin, "not this one at all")

    assert page.status == 200
    assert (await person.get(PROFILE)).status == 303


async def test_an_authenticator_app_is_set_up_and_asked_for(production: Production, tmp_path: Path) -> None:
    name = "careful@example.org"
    operator(production, tmp_path, f"authflow users create {name} --active --password '{PASSWORD}'")
    person = visitor(production)
    await person.log_in(name, PASSWORD)
    page, secret = await begun_enrolment(person)
    page = await person.send(page.form("/add"), otptoken=totp(secret))
    assert len(shown_codes(page)) == 10

    again = visitor(production)
    page = await again.follow(await again.log_in(name, PASSWORD))
    assert (await again.get(PROFILE)).status == 303, "a code is owed"
    code = totp(secret, step=1)  # the one that confirmed the app is spent
    done = await again.send(page.form("/otp"), otptoken=code)

    assert done.location == PROFILE
    assert name in (await again.get(PROFILE)).text
    replayed = visitor(production)
    page = await replayed.follow(await replayed.log_in(name, PASSWORD))
    assert (await replayed.send(page.form("/otp"), otptoken=code)).status == 200
    assert (await replayed.get(PROFILE)).status == 303


async def test_a_forgotten_password_is_recovered_by_a_mail_that_cloud_tasks_has_delivered(
    production: Production, tmp_path: Path
) -> None:
    name = "forgetful@example.org"
    operator(production, tmp_path, f"authflow users create {name} --active --password '{PASSWORD}'")
    person, count = visitor(production), len(production.sink.messages)

    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form("pwrecover"), name=name)
    await wait_until(lambda: len(production.sink.messages) > count, "no mail came")
    page = await person.get(link_in(production.sink.messages[-1], BASE_URL))
    page = await person.send(page.form("pwrecover"), password=NEW_PASSWORD)

    assert page.status in (200, 303), page.text
    assert (await visitor(production).log_in(name, PASSWORD)).status == 200
    assert (await visitor(production).log_in(name, NEW_PASSWORD)).location == PROFILE


async def test_the_instance_is_warmed_up(production: Production) -> None:
    page = await visitor(production).get("/_ah/warmup")

    assert page.status == 200
    assert page.json["status"] == "warm"


def test_the_deployed_settings_are_found_sound(production: Production, admin: str, tmp_path: Path) -> None:
    said = operator(production, tmp_path, "authflow check-config --json || test $? = 1")

    # The two things that are not as in production.
    assert [finding["code"] for finding in json.loads(said)["findings"]] == ["store_emulator", "tasks_emulator"]


async def test_the_log_tells_events_and_neither_keys_nor_links(production: Production, admin: str) -> None:
    await visitor(production).log_in(admin, PASSWORD)

    log = production.server.log()
    assert '"type": "login_completed"' in log
    assert KEY not in log
    assert MAIL_PASSWORD not in log
    assert quote(MAIL_PASSWORD, safe="") not in log
    assert "setup_key" not in log
    assert PASSWORD not in log


# --- Whose address counts ---------------------------------------------------------------------------------------------


async def test_the_address_is_app_engines_word_and_never_the_visitors(production: Production, admin: str) -> None:
    """Thirty failures of one client in a quarter of an hour are the limit; whoever could choose addresses had none."""
    statuses = []
    for number in range(32):
        person = visitor(production, address="198.51.100.7")
        person.headers["x-forwarded-for"] = f"203.0.113.{number}"
        person.headers["forwarded"] = f"for=203.0.113.{number}"
        person.address = f"203.0.113.{number}"
        page = await person.log_in(f"nobody{number}@example.org", "not this one at all")
        statuses.append(page.status)

    assert statuses == [200] * 30 + [429] * 2
    assert (await visitor(production).log_in("nobody@example.org", "not this one")).status == 200


# --- When the store is away -------------------------------------------------------------------------------------------


async def test_an_instance_that_starts_while_datastore_is_away_answers_503_and_recovers(
    request: pytest.FixtureRequest, uploaded: Path, deployed_bin: Path, confined: tuple[str, ...], tmp_path: Path
) -> None:
    missing = datastore_emulator.missing_part()
    require(request, missing is None, missing or "")
    emulator = datastore_emulator.DatastoreEmulator()
    own = {"AUTHFLOW_SECRET_KEYS": KEY, "AUTHFLOW_MAIL": "smtp://smtp.example.org:587"}
    places = {"DATASTORE_EMULATOR_HOST": emulator.host, "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:9"}
    environment = clean_environment(deployed_bin, **APP_ENGINE, **deployed_settings(uploaded) | own | places)

    with Entrypoint(uploaded, environment, tmp_path, base_url=BASE_URL, confined=confined) as server:
        person = Visitor(server, through_app_engine=True)
        form = (await person.get("/user/login")).form("login")
        began = time.monotonic()
        away = await person.send(form, name=ADMIN, password=PASSWORD)
        seconds = time.monotonic() - began
        with emulator:
            back = away
            while back.status == 503 and time.monotonic() - began < PATIENCE:
                back = await person.send(form, name=ADMIN, password=PASSWORD)
                await asyncio.sleep(0.1)

    assert away.status == 503
    assert away.header("retry-after")
    assert seconds < 3
    assert back.status == 200, "nobody of this name, but somebody to ask"


# --- What it refuses to start with ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTHFLOW_STORE", "sqlite:/tmp/authflow.db"),
        ("AUTHFLOW_STORE", "memory:"),
        ("AUTHFLOW_STORE", ""),
        ("AUTHFLOW_TASKS", "local:"),
        ("AUTHFLOW_TASKS", ""),
        ("AUTHFLOW_MAIL", "console:"),
        ("AUTHFLOW_MAIL", "file:/tmp/mails"),
        ("AUTHFLOW_MAIL", ""),
        ("AUTHFLOW_MAIL", "http://smtp.example.org"),
        ("AUTHFLOW_MAIL_FROM", ""),
        ("AUTHFLOW_BASE_URL", f"http://{BASE_URL.partition('//')[2]}"),
        ("AUTHFLOW_BASE_URL", "http://localhost:8080"),
        ("AUTHFLOW_BASE_URL", ""),
        ("AUTHFLOW_SECRET_KEYS", ""),
        ("AUTHFLOW_SECRET_KEYS", "too short"),
        ("AUTHFLOW_USER", "myapp.user:MyUser"),
        ("AUTHFLOW_TEMPLATES", "not/there"),
    ],
)
def test_an_unsafe_or_missing_setting_refuses_to_start(
    uploaded: Path, deployed_bin: Path, confined: tuple[str, ...], tmp_path: Path, name: str, value: str
) -> None:
    known = {"AUTHFLOW_SECRET_KEYS": KEY, "AUTHFLOW_MAIL": "smtp://smtp.example.org:587"}
    settings = deployed_settings(uploaded) | known | {name: value}
    environment = clean_environment(deployed_bin, **APP_ENGINE, **settings)
    process = Entrypoint(uploaded, environment, tmp_path, confined=confined)

    code = process.run()

    assert code != 0
    assert name in process.log()
    assert "Traceback" not in process.log()
    assert len(process.log().splitlines()) == 1, process.log()
