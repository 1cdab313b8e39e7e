"""Parts are made once, anew when what they are made of has changed, and not taken for made when making them failed."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from tests.parts import viur_clients, vue_login
from tests.parts.made_once import complaint, made_once


class Maker:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.times = 0
        self.reason: str | None = None

    def __call__(self) -> str | None:
        self.times += 1
        assert not self.home.exists()
        self.home.mkdir()
        time.sleep(0.05)
        return self.reason


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "parts" / "home")


def test_what_is_made_is_not_made_again(maker: Maker) -> None:
    assert [made_once(maker.home, (b"a", b"b"), maker) for _ in range(2)] == [None, None]
    assert maker.times == 1


def test_other_ingredients_make_it_anew(maker: Maker) -> None:
    made_once(maker.home, (b"a", b"b"), maker)
    made_once(maker.home, (b"ab", b""), maker)

    assert maker.times == 2


def test_a_failure_is_told_and_the_next_one_tries_again(maker: Maker) -> None:
    maker.reason = "no network"
    assert made_once(maker.home, (b"a",), maker) == "no network"
    maker.reason = None
    assert made_once(maker.home, (b"a",), maker) is None

    assert maker.times == 2


def test_who_comes_while_it_is_made_waits_and_finds_it(maker: Maker) -> None:
    threads = [threading.Thread(target=made_once, args=(maker.home, (b"a",), maker)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert maker.times == 1
    assert (maker.home / "stamp").exists()


def test_a_command_that_fails_or_is_not_there_complains() -> None:
    assert complaint([sys.executable, "-c", ""]) is None
    assert complaint([sys.executable, "-c", "print('so it is'); raise SystemExit(1)"]) == "so it is\n"
    assert "no-such-command" in (complaint(["no-such-command"]) or "")


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHON_FOR_VIUR", str(tmp_path / "python"))

    assert "npm" in (vue_login.missing_part.__wrapped__() or "")
    assert "Python 3.12" in (viur_clients.missing_part.__wrapped__() or "")
