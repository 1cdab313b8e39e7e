"""viur-cli 3.1.1, unchanged: `viur script` at a terminal, with somebody who types.

It wants a project around it, `uv` on the path, and to listen on port 60000.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.house import PASSWORD, House, open_house
from tests.clients.terminal import Terminal
from tests.parts.server import PATIENCE
from tests.parts.viur_clients import PROGRAMS, VIUR

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("python_clients")]

PORT = 60_000
ROOT = "root@example.org"
PROJECT = {
    "format": "2.0.0",
    "cli-version": "3.1.1",
    "default": {"application_name": "app", "version": "1", "builds": {}},
}

SCRIPT = """
from viur.scriptor import modules


async def main():
    users = await modules.get_module("user")
    async for user in users.list():
        print(f"There is {user['name']}.")
"""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as house:
        house.add_person(ROOT, is_admin=True)
        yield house


@pytest.fixture(scope="module")
def port() -> Iterator[None]:
    """Keep the port that the program has chosen for all of the world from being given to anybody's connections.

    A socket that is bound and does not listen does that, and is no hindrance to one that is bound alike and listens. A
    connection that had the port before keeps it for a minute.
    """
    until = time.monotonic() + 2 * 60
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            try:
                holder.bind(("", PORT))
                break
            except OSError:
                assert time.monotonic() < until, f"port {PORT} stays taken, and viur-cli insists on it"
                time.sleep(0.2)
        yield


@pytest.fixture
def only_listener(port: None) -> Iterator[None]:
    """One test at a time listens there."""
    with open(Path(tempfile.gettempdir()) / "authflow-viur-cli.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Developer:
    """Somebody in the folder of a project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "project.json").write_text(json.dumps(PROJECT))
        (folder / "scripts").mkdir()
        self.opened = folder / "opened"
        browser = folder / "browser"
        browser.write_text(f'#!/bin/sh\necho "$1" >{self.opened}.new && mv {self.opened}.new {self.opened}\n')
        browser.chmod(0o755)
        self._environment = {
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "BROWSER": str(browser),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
        }

    def viur(self, *arguments: str) -> Terminal:
        return Terminal([VIUR, *arguments], folder=self.folder, environment=self._environment)

    def run(self, *arguments: str) -> str:
        """Run a command that asks nothing; return what it said."""
        with self.viur(*arguments) as terminal:
            code = terminal.end()
        assert code == 0, terminal.shown
        return terminal.shown

    def set_up(self, *, password: str) -> str:
        """Have the program log in: it tries the browser first, and then asks; return what it said."""
        with self.viur("script", "setup") as terminal:
            terminal.wait_for("Serving HTTP on")
            until = time.monotonic() + PATIENCE
            while not self.opened.exists() and time.monotonic() < until:
                time.sleep(0.01)
            terminal.interrupt()
            # The space comes when what is typed is hidden; what was typed before is thrown away.
            terminal.wait_for("Enter the password: ")
            terminal.type(password + "\n")
            terminal.end()
        return terminal.shown

    @property
    def settings(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.folder / "viur_scriptor_config.json").read_text())
        return read


@pytest.fixture
def developer(tmp_path: Path, house: House) -> Developer:
    developer = Developer(tmp_path)
    developer.run("script", "configure", "--url", house.url, "--username", ROOT)
    return developer


@pytest.mark.usefixtures("only_listener")
def test_it_logs_in_with_name_and_password(developer: Developer, house: House) -> None:
    before = len(house.front.asked)

    said = developer.set_up(password=PASSWORD)

    assert "Setup done" in said
    asked = house.front.asked[before:]
    assert [one.line for one in asked] == ["GET /json/skey", "POST /json/user/auth_userpassword/login"]
    assert asked[1].fields.keys() == {"skey", "name", "password"}
    assert asked[1].got == b'"OKAY"'
    profile = httpx.get(f"{house.url}/vi/user/view/self", cookies=developer.settings["cookies"])
    assert profile.json()["values"]["name"] == ROOT


@pytest.mark.usefixtures("only_listener")
def test_a_wrong_password_is_told_and_keeps_nothing(developer: Developer) -> None:
    said = developer.set_up(password="a wrong password")

    assert "Failed to login" in said
    assert "Setup done" not in said
    assert developer.settings["cookies"] == {}


@pytest.mark.usefixtures("only_listener")
def test_no_session_is_handed_over_in_an_address(developer: Developer, house: House) -> None:
    developer.set_up(password=PASSWORD)
    cookies = developer.settings["cookies"]

    address = developer.opened.read_text().strip()
    answers = [httpx.get(address, cookies=given) for given in ({}, cookies)]

    assert address.startswith(f"{house.url}/vi/user/get_cookie_for_app?redirect_to=")
    assert [answer.status_code for answer in answers] == [404, 404]
    for answer in answers:
        assert not any(value in str(answer.headers) + answer.text for value in cookies.values())


# --- With a session ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("only_listener")
def test_a_script_of_the_project_runs_with_the_session(developer: Developer, house: House) -> None:
    developer.set_up(password=PASSWORD)
    (developer.folder / "scripts" / "names.py").write_text(SCRIPT)
    before = len(house.front.asked)

    said = developer.run("script", "run", "names.py")

    assert f"There is {ROOT}." in said
    lines = [one.line for one in house.front.asked[before:]]
    # It asks whether the session is good, and then twice for the modules.
    assert lines == ["GET /vi/user/view/self", "GET /vi/config", "GET /vi/config", "GET /json/user/list"]


@pytest.mark.usefixtures("only_listener")
def test_a_session_that_has_ended_is_noticed(developer: Developer, house: House) -> None:
    developer.set_up(password=PASSWORD)
    (developer.folder / "scripts" / "names.py").write_text(SCRIPT)
    with httpx.Client(base_url=house.url, cookies=developer.settings["cookies"]) as elsewhere:
        skey = elsewhere.get("/json/skey").json()
        assert elsewhere.post("/json/user/logout", data={"skey": skey}).json() == "OKAY"

    with developer.viur("script", "run", "names.py") as terminal:
        terminal.wait_for("Invalid session, please run `viur script setup` again.")
        terminal.wait_for("Serving HTTP on")


@pytest.mark.usefixtures("only_listener")
def test_it_takes_a_demand_for_a_second_factor_for_success_and_gets_nowhere_with_it(
    developer: Developer, house: House
) -> None:
    house.add_person("factor@example.org", is_admin=True, with_totp=True)
    developer.run("script", "configure", "--username", "factor@example.org")
    before = len(house.front.asked)

    said = developer.set_up(password=PASSWORD)

    assert "Setup done" in said
    assert house.front.asked[before + 1].got == b'"X-VIUR-2FACTOR-TimeBasedOTP"'
    assert httpx.get(f"{house.url}/vi/user/view/self", cookies=developer.settings["cookies"]).status_code == 401
