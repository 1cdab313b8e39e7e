"""`authflow serve`, in processes of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UP = "authflow serves "


class Server:
    """A server process.

    Attributes:
        said: Its lines up to the one that says it is up.
    """

    def __init__(self, *arguments: str, environment: dict[str, str], cwd: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AUTHFLOW_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "authflow.cli", "serve", "--port", "0", *arguments],
            env={**inherited, "PYTHONPATH": str(ROOT), **environment},
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []

    def wait_until_up(self) -> str:
        """Read on until it says where it serves."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith(UP):
                return line.removeprefix(UP).strip()
        raise AssertionError(self.process.communicate()[1])

    @property
    def links(self) -> list[str]:
        return [line.strip() for line in self.said if "setup_key=" in line]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def starter(*arguments: str, **more: str) -> Server:
        started.append(Server(*arguments, environment={**environment, **more}, cwd=tmp_path))
        return started[-1]

    yield starter
    for server in started:
        server.process.kill()
        server.process.communicate()


def get(address: str) -> tuple[int, dict[str, str], str]:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read().decode()


def test_it_says_where_it_serves_and_stops_in_good_order(start: Callable[..., Server]) -> None:
    server = start()

    status, headers, page = get(server.wait_until_up())

    assert status == 200
    assert "server" not in headers
    assert "password" in page
    assert server.stop() == 0


def test_a_new_store_gets_a_link_once(start: Callable[..., Server]) -> None:
    first = start()
    first.wait_until_up()
    first.stop()
    second = start()
    second.wait_until_up()

    assert len(first.links) == 1
    assert not second.links


def test_two_processes_that_start_on_an_empty_store_make_one_administrator(
    start: Callable[..., Server],
) -> None:
    servers = [start(), start()]
    for server in servers:
        server.wait_until_up()

    links = [link for server in servers for link in server.links]

    assert len(links) == 1
    assert get(links[0])[0] == 200


def test_the_link_of_a_store_in_memory_works(start: Callable[..., Server]) -> None:
    server = start(AUTHFLOW_STORE="memory:")
    server.wait_until_up()

    assert get(server.links[0])[0] == 200


def test_workers_share_the_port_and_the_address(start: Callable[..., Server]) -> None:
    server = start("--workers", "2")

    status, _, _ = get(server.wait_until_up())

    assert status == 200
    assert len(server.links) == 1
    assert server.stop() == 0


def test_a_port_in_use_is_one_line_and_a_fault(environment: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        server = Server("--port", port, environment=environment, cwd=tmp_path)
        _, said = server.process.communicate(timeout=20)

    assert server.process.returncode == 1
    assert said.count("\n") == 1
    assert "cannot listen" in said


def test_an_http_address_that_others_can_reach_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    server = Server("--host", "0.0.0.0", environment=environment, cwd=tmp_path)
    _, said = server.process.communicate(timeout=20)

    assert server.process.returncode == 2
    assert said.count("\n") == 1


def test_several_workers_on_a_store_in_memory_are_refused(environment: dict[str, str], tmp_path: Path) -> None:
    server = Server("--workers", "2", environment={**environment, "AUTHFLOW_STORE": "memory:"}, cwd=tmp_path)
    _, said = server.process.communicate(timeout=20)

    assert (server.process.returncode, said.count("\n")) == (2, 1)


def test_help_comes_at_once(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "authflow.cli", "--help"]
    spans = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        spans.append(time.perf_counter() - began)

    assert "users" in done.stdout
    assert min(spans) < 0.3


def test_help_needs_none_of_the_heavy_libraries() -> None:
    heavy = {"uvicorn", "starlette", "jinja2", "bcrypt", "cryptography", "google", "rich", "sqlite3"}
    program = f"import sys; from authflow.cli.main import run; run(['--help']); print({heavy} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.endswith("set()\n")


def test_people_whose_factor_is_gone_are_reported_at_the_start(
    authflow: Callable[..., object], environment: dict[str, str], start: Callable[..., Server]
) -> None:
    authflow("users", "create", "ada@example.org", "--active")
    authflow("users", "add-token", "ada@example.org", "--serial", "1", "--secret-stdin", typed="ab" * 20)

    server = start(AUTHFLOW_USER="tests.cli.without_totp:User")
    server.wait_until_up()
    server.stop()

    _, complaints = server.process.communicate()
    assert "warning: ada@example.org cannot log in: the enrolled factor time_based_otp" in complaints
