"""What docs/deploy.md tells can be done as it stands: commands exist, files are read, and the figures hold."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from authflow.cli.main import make_app
from authflow.hashing_pool import HashingPool, threads_for
from authflow.store.datastore_codec import EXPIRES_AT
from authflow.store.datastore_query import SWEPT
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Delete, Key, Page, Record, Write
from authflow.testing import ADA, PASSWORD, Person, Site, make_site
from tests.deployment import gcloud
from tests.deployment.entrypoint import app_yaml
from tests.deployment.production import MARKED
from tests.parts.require import require

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples" / "bookshop"
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
PAGES = [ROOT / "docs" / "deploy.md", ROOT / "docs" / "tasks.md", ROOT / "docs" / "datastore.md", SHOP / "README.md"]


@pytest.fixture
def sdk(request: pytest.FixtureRequest) -> None:
    missing = gcloud.missing_part()
    require(request, missing is None, missing or "")


def marked_block(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", PAGE, re.S)
    assert found is not None
    return found[1]


# --- Commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("sdk")
def test_gcloud_knows_every_command_and_flag() -> None:
    commands = [command for page in PAGES for command in gcloud.commands_in(page.read_text(encoding="utf-8"))]

    assert len(commands) > 40
    assert [problem for command in commands if (problem := gcloud.problem_of(command))] == []


@pytest.mark.usefixtures("sdk")
@pytest.mark.parametrize("command", ["gcloud app deplyo", "gcloud app deploy --promot", "gcloud firestore databases"])
def test_a_command_that_gcloud_does_not_know_is_seen(command: str) -> None:
    assert gcloud.problem_of(command)


def test_every_command_of_authflow_exists() -> None:
    known = get_command(make_app())
    found = [re.match(r"authflow ((?:users|keys|tasks)? ?[a-z-]+)", line) for line in shell_lines()]
    told = [one[1].split() for one in found if one is not None]

    assert len(told) >= 6
    for words in told:
        command = known
        for word in words:
            command = command.commands[word]  # type: ignore[attr-defined]


def shell_lines() -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]


def test_the_page_goes_through_every_file_that_is_deployed() -> None:
    deployed = {name for line in re.findall(r"gcloud app deploy ([\w. ]+)", PAGE) for name in line.split()}

    assert {"production.yaml", "queue.yaml", "cron.yaml", "index.yaml"} <= deployed
    assert {path.name for path in ROOT.glob("*.yaml")} <= deployed | {"app.yaml", "production.yaml"}


def test_expired_records_are_deleted_by_the_property_that_is_written() -> None:
    block = marked_block("time to live")
    kinds = re.search(r"for kind in ([\w ]+);", block)
    assert kinds is not None

    assert f"update {EXPIRES_AT} " in block
    assert set(kinds[1].split()) <= SWEPT


# --- Files ------------------------------------------------------------------------------------------------------------


def prepared(folder: Path) -> Path:
    """Make the settings file as the page tells."""
    done = subprocess.run(
        ["bash", "-euc", marked_block("settings file")],
        cwd=folder,
        env=os.environ | MARKED,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "production.yaml"


@pytest.mark.usefixtures("sdk")
def test_gcloud_reads_the_files(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_bytes((ROOT / "app.yaml").read_bytes())

    read = gcloud.read_yaml(
        prepared(tmp_path), SHOP / "app.yaml", *(ROOT / name for name in ("queue.yaml", "cron.yaml", "index.yaml"))
    )

    kinds = ["AppInfoExternal", "AppInfoExternal", "QueueInfoExternal", "CronInfoExternal", "IndexDefinitions"]
    assert [line.split()[1] for line in read] == kinds


@pytest.mark.parametrize("folder", [ROOT, SHOP], ids=["authflow", "shop"])
def test_the_settings_file_has_every_marked_name_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_bytes((folder / "app.yaml").read_bytes())

    made = yaml.safe_load(prepared(tmp_path).read_text())

    assert made["service_account"] == f"authflow@{MARKED['PROJECT']}.iam.gserviceaccount.com"
    assert not re.search(r"\b(" + "|".join(MARKED) + r")\b", yaml.safe_dump(made))


@pytest.mark.parametrize("folder", [ROOT, SHOP], ids=["authflow", "shop"])
def test_what_app_yaml_names_is_there(folder: Path) -> None:
    settings = app_yaml(folder)
    queue = yaml.safe_load((ROOT / "queue.yaml").read_text())["queue"]
    (job,) = yaml.safe_load((ROOT / "cron.yaml").read_text())["cron"]

    assert settings["env_variables"]["AUTHFLOW_TASKS"].rpartition("/")[2] in {one["name"] for one in queue}
    assert job["target"] == settings["service"]
    assert settings["inbound_services"] == ["warmup"]
    assert [handler["secure"] for handler in settings["handlers"]] == ["always"]


@pytest.mark.parametrize("folder", [ROOT, SHOP], ids=["authflow", "shop"])
def test_an_instance_gets_no_more_requests_at_once_than_passwords_may_wait(folder: Path) -> None:
    settings = app_yaml(folder)
    pool = HashingPool(threads_for(1, cores=int(settings["env_variables"]["PYTHON_CPU_COUNT"])))

    slots = [pool.reserve() for _ in range(settings["automatic_scaling"]["max_concurrent_requests"])]

    assert len(slots) > 10
    pool.close()


@pytest.mark.parametrize("folder", [ROOT, SHOP], ids=["authflow", "shop"])
def test_app_yaml_holds_names_of_secrets_and_no_secret(folder: Path) -> None:
    variables = app_yaml(folder)["env_variables"]

    assert variables["AUTHFLOW_SECRET_KEYS"] == "secretmanager:authflow-keys/versions/1"
    assert variables["AUTHFLOW_MAIL"] == "secretmanager:authflow-mail/versions/1"


# --- What it costs ----------------------------------------------------------------------------------------------------


class Counting(MemoryStore):
    """Counts what Datastore would charge for."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    async def get(self, keys: Sequence[Key]) -> dict[Key, Record]:
        self.count["read"] += len(set(keys))
        return dict(await super().get(keys))

    async def find(self, *question: Any, **bounds: Any) -> Page:
        # How a task is found here. Cloud Tasks calls with its id, and the same record is read.
        page = await super().find(*question, **bounds)
        self.count["read"] += len(page.records)
        return page

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        await super().commit(writes, durable=durable)
        for write in writes:
            self.count["deleted" if isinstance(write, Delete) else "written"] += 1

    def taken(self) -> tuple[int, int, int]:
        """Return entities read, written and deleted since it was asked last."""
        found = self.count["read"], self.count["written"], self.count["deleted"]
        self.count.clear()
        return found


async def _site(*, with_totp: bool = False) -> tuple[Site, Person, Counting]:
    store = Counting()
    site = await make_site(store=store)
    await (site.account_with_totp() if with_totp else site.account())
    store.taken()
    return site, site.person(), store


async def measured() -> dict[str, tuple[int, int, int]]:
    costs = {}
    site, person, store = await _site()
    page = await person.get("/user/login")
    costs["login page"] = store.taken()
    await person.send(page.form("login"), name=ADA, password="not this one at all")
    costs["wrong password"] = store.taken()
    assert (await person.send(page.form("login"), name=ADA, password=PASSWORD)).status == 303
    costs["login by password"] = store.taken()
    await person.get("/json/user/view/self")
    costs["page or request of somebody logged in"] = store.taken()
    await person.send((await person.get("/user/logout")).form("logout"))
    costs["log out, page and post"] = store.taken()

    site, person, store = await _site()
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form("pwrecover"), name=ADA)
    await site.run_tasks()
    page = await person.get(site.link())
    await person.send(page.form("pwrecover"), password="a quite different phrase")
    await site.run_tasks()
    assert len(site.outbox.mails) == 2
    costs["recovery by mail, with its two mails"] = store.taken()

    site, person, store = await _site(with_totp=True)
    page = await person.follow(await person.log_in(ADA, PASSWORD))
    assert (await person.send(page.form("otp"), otptoken=site.code())).status == 303
    costs["login by password and code"] = store.taken()
    return costs


async def test_the_table_of_operations_is_what_is_measured() -> None:
    rows = re.findall(r"^\| ([\w ,-]+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE.partition("<!-- operations -->")[2], re.M)

    assert {what: (int(read), int(written), int(deleted)) for what, read, written, deleted in rows} == await measured()
