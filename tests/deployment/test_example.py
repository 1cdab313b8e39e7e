"""The bookshop of `examples/`: somebody else's application on authflow, started by its own entrypoint."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from authflow.testing import Page
from tests.deployment import upload
from tests.deployment.entrypoint import Entrypoint, Visitor, clean_environment
from tests.deployment.google_cloud import PROJECT
from tests.deployment.mails import in_folder, link_in, wait_until
from tests.deployment.production import Production
from tests.deployment.ssh import SshIdentity, missing_part
from tests.parts import datastore_emulator, tasks_emulator
from tests.parts.require import require

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples" / "bookshop"
BIN = Path(sys.executable).parent
NAME, PASSWORD = "ada@example.org", "correct horse battery"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A developer's own machine."""
    return clean_environment(
        BIN,
        AUTHFLOW_USER="shop.user:ShopUser",
        AUTHFLOW_TEMPLATES="shop/templates",
        AUTHFLOW_STORE=f"sqlite:{tmp_path / 'shop.db'}",
        AUTHFLOW_MAIL=f"file:{tmp_path / 'mails'}",
        AUTHFLOW_BCRYPT_ROUNDS="4",
    )


@pytest.fixture
def shop(environment: dict[str, str], tmp_path: Path) -> Iterator[Entrypoint]:
    shop = Entrypoint(SHOP, environment, tmp_path)
    shop.environment["AUTHFLOW_BASE_URL"] = shop.base_url
    with shop:
        yield shop


@pytest.fixture
def key(request: pytest.FixtureRequest, tmp_path: Path) -> SshIdentity:
    require(request, missing_part() is None, missing_part() or "")
    return SshIdentity(tmp_path)


def command(shop: Entrypoint, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "authflow.cli", *arguments],
        cwd=SHOP,
        env=shop.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def new_person(shop: Entrypoint, *arguments: str, name: str = NAME) -> None:
    command(shop, "users", "create", name, "--active", "--password", PASSWORD, *arguments)


# --- Its own pages ----------------------------------------------------------------------------------------------------


async def test_everybody_sees_the_front_page(shop: Entrypoint) -> None:
    page = await Visitor(shop).get("/")

    assert page.status == 200
    assert "Rain on a Tin Roof" in page.text
    assert "Log in" in page.text


async def test_the_members_page_leads_through_the_login_and_back(shop: Entrypoint) -> None:
    new_person(shop)
    person = Visitor(shop)

    page = await person.follow(await person.get("/shelf"))
    assert "The Corner Bookshop" in page.text
    assert "Have a look at our books first." in page.text, "the shop's own part of our page"
    page = await person.send(page.form("login"), name=NAME, password=PASSWORD)

    assert page.location == "/shelf"
    assert f"Hello {NAME}!" in (await person.follow(page)).text
    assert NAME in (await person.get("/")).text
    assert "welcome back" in shop.log(), "the shop's own hook"
    assert NAME not in shop.log()


async def test_a_customer_does_not_see_the_orders_and_the_owner_does(shop: Entrypoint) -> None:
    new_person(shop)
    new_person(shop, "--admin", name="owner@example.org")
    customer, owner = Visitor(shop), Visitor(shop)

    assert (await customer.get("/orders")).location == "/user/login?next=/orders"
    await customer.log_in(NAME, PASSWORD)
    await owner.log_in("owner@example.org", PASSWORD)

    assert (await customer.get("/orders")).status == 403
    assert "A Winter in Porto" in (await owner.get("/orders")).text


async def test_a_customer_registers_and_tells_what_to_read(shop: Entrypoint, tmp_path: Path) -> None:
    person = Visitor(shop)
    page = await person.get("/user/auth_userpassword/add")
    page = await person.send(
        page.form("add"), name=NAME, password=PASSWORD, genre="poetry", firstname="Ada", lastname=""
    )
    await wait_until(lambda: bool(in_folder(tmp_path / "mails")), "no mail came")
    page = await person.get(link_in(in_folder(tmp_path / "mails")[-1], shop.base_url))
    page = await person.send(page.form("verify"))

    await person.log_in(NAME, PASSWORD)
    page = await person.get("/shelf")

    assert "Hello Ada!" in page.text
    assert "Small Hours" in page.text
    assert "By Rail to the Sea" not in page.text


# --- Its own second factor --------------------------------------------------------------------------------------------


async def enrolled(person: Visitor, key: SshIdentity, page: Page) -> Page:
    page = await person.send(page.form("add"))
    return await person.send(page.form("add"), public_key=key.public_key, signature=key.follow(page.text))


async def test_staff_must_set_up_a_factor_and_log_in_with_it_from_then_on(shop: Entrypoint, key: SshIdentity) -> None:
    new_person(shop, "--role", "staff")
    person = Visitor(shop)
    page = await person.follow(await person.log_in(NAME, PASSWORD))
    assert (await person.get("/orders")).status == 303, "nothing is open before the factor is set up"
    page = await person.follow(await person.send(page.form("select"), provider="ssh_key"))

    page = await enrolled(person, key, page)

    assert page.status == 200, page.text
    assert len(re.findall(r"<li>[0-9a-z-]{19}</li>", page.text)) == 10
    assert "A Winter in Porto" in (await person.get("/orders")).text
    again = Visitor(shop)
    page = await again.follow(await again.log_in(NAME, PASSWORD))
    page = await again.send(page.form("otp"), signature=key.follow(page.text))
    assert page.location == "/shelf"
    assert "A Winter in Porto" in (await again.get("/orders")).text


@pytest.fixture
async def owing(shop: Entrypoint, key: SshIdentity) -> tuple[Visitor, Page]:
    """Somebody with an SSH key whose password was right, and the page that asks for a signature."""
    new_person(shop)
    person = Visitor(shop)
    await person.log_in(NAME, PASSWORD)
    await enrolled(person, key, await person.get("/user/f2_sshkey/add"))
    again = Visitor(shop)
    return again, await again.follow(await again.log_in(NAME, PASSWORD))


async def test_a_signature_of_another_key_text_or_purpose_is_refused(
    owing: tuple[Visitor, Page], key: SshIdentity, tmp_path: Path
) -> None:
    person, page = owing
    text = re.search(r"printf %s (\S+)", page.text)
    assert text is not None
    (tmp_path / "other").mkdir()
    stranger = SshIdentity(tmp_path / "other")
    right = key.sign(text[1], namespace="bookshop")

    for wrong in (
        stranger.sign(text[1], namespace="bookshop"),
        key.sign(text[1].replace("login", "enrolment"), namespace="bookshop"),
        key.sign(text[1], namespace="file"),
        right[:-60] + "A" * 60,
        "not a signature",
    ):
        answer = await person.send(page.form("otp"), signature=wrong)
        assert answer.status in (200, 429), answer.text
        assert (await person.get("/shelf")).status == 303


async def test_a_signature_that_was_seen_is_worth_nothing_in_another_login(
    shop: Entrypoint, owing: tuple[Visitor, Page], key: SshIdentity
) -> None:
    person, page = owing
    seen = key.follow(page.text)
    assert (await person.send(page.form("otp"), signature=seen)).location == "/shelf"
    thief = Visitor(shop)
    page = await thief.follow(await thief.log_in(NAME, PASSWORD))

    page = await thief.send(page.form("otp"), signature=seen)

    assert "This is not a signature of that text by your key." in page.text
    assert (await thief.get("/shelf")).status == 303


@pytest.mark.parametrize(
    "public_key",
    ["", "ssh-rsa AAAAB3NzaC1yc2E=", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 ////", "x" * 400, "ssh-ed25519 é"],
)
async def test_what_is_no_public_key_is_refused(shop: Entrypoint, key: SshIdentity, public_key: str) -> None:
    new_person(shop)
    person = Visitor(shop)
    await person.log_in(NAME, PASSWORD)
    page = await person.send((await person.get("/user/f2_sshkey/add")).form("add"))

    page = await person.send(page.form("add"), public_key=public_key, signature=key.follow(page.text))

    assert page.status == 400
    assert "This is not the public part of an Ed25519 key." in page.text
    assert page.form("add")
    assert "Not set up" in (await person.get("/user/view/self")).text


# --- Deployed ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, since the shop is prepared in its folder."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("authflow", "providers", "templates", "examples"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*", "wheels"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        shutil.copyfile(ROOT / name, copy / name)
    for name in (".gcloudignore", ".gitignore"):
        shutil.copyfile(SHOP / name, copy / "examples" / "bookshop" / name)
    return copy


@pytest.fixture(scope="module")
def prepared(request: pytest.FixtureRequest, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What would be uploaded of the shop, once it is prepared as its README tells."""
    missing = upload.missing_part()
    require(request, missing is None, missing or "")
    shop = checkout / "examples" / "bookshop"
    done = subprocess.run(
        [sys.executable, "prepare.py", "--no-build-isolation", "--no-index"],
        cwd=shop,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (shop / "shop.db").write_text("canary")
    return upload.copied(shop, tmp_path_factory.mktemp("shop"))


def test_the_shop_uploads_its_own_code_and_the_wheel_of_authflow(prepared: Path) -> None:
    names = {str(path.relative_to(prepared)) for path in prepared.rglob("*") if path.is_file()}
    own = {f"shop/{path.relative_to(SHOP / 'shop')}" for path in (SHOP / "shop").rglob("*.*") if path.suffix != ".pyc"}

    (wheel,) = {name for name in names if name.startswith("wheels/")}
    assert names == own | {"app.yaml", "requirements.txt", wheel}


@pytest.mark.emulator
@pytest.mark.slow
async def test_the_shop_runs_deployed_by_its_own_entrypoint(
    request: pytest.FixtureRequest,
    prepared: Path,
    confined: tuple[str, ...],
    key: SshIdentity,
    tmp_path: Path,
) -> None:
    for missing in (datastore_emulator.missing_part(), tasks_emulator.missing_part()):
        require(request, missing is None, missing or "")
    problem = upload.installed(prepared / "requirements.txt", tmp_path / "deployed")
    require(request, problem is None, problem or "")
    upload.make_read_only(prepared)

    with Production(prepared, tmp_path / "deployed" / "bin", tmp_path, confined=confined) as production:
        settings = "".join(
            f"export {k}='{v}'\n" for k, v in production.environment.items() if k.startswith("AUTHFLOW_")
        )
        command = "python -m authflow.cli users create"
        script = f"{settings}export GAE_ENV=standard\n{command} {NAME} --active --role staff --password '{PASSWORD}'"
        made = production.shell(script, prepared, GOOGLE_CLOUD_PROJECT=PROJECT)
        assert made.returncode == 0, made.stderr

        person = Visitor(production.server, through_app_engine=True)
        page = await person.follow(await person.get("/orders"))
        assert "Have a look at our books first." in page.text
        page = await person.follow(await person.send(page.form("login"), name=NAME, password=PASSWORD))
        page = await person.follow(await person.send(page.form("select"), provider="ssh_key"))
        await enrolled(person, key, page)

        assert "A Winter in Porto" in (await person.get("/orders")).text
        await wait_until(lambda: bool(production.sink.messages), "nobody was told of the new factor")
        assert production.sink.messages[0]["To"] == NAME
        assert "welcome back" in production.server.log()
