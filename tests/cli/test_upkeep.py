"""`clean`, `keys rotate`, `auth-methods`, `check-config`, and what becomes of bad settings."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import KEY, Command

NAME = "ada@example.org"
SECRET = "3132333435363738393031323334353637383930"
NEW_KEY = "a newer command line test key that is long enough"


def codes(answer) -> list[str]:
    return [finding["code"] for finding in answer.data["findings"]]


@pytest.fixture
def sound(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that nothing is wrong with."""
    monkeypatch.setenv("AUTHFLOW_BASE_URL", "https://login.example.org")
    monkeypatch.setenv("AUTHFLOW_MAIL", "smtps://user:hunter2hunter2@mail.example.org")
    monkeypatch.setenv("AUTHFLOW_MAIL_FROM", "noreply@example.org")
    monkeypatch.setenv("AUTHFLOW_BCRYPT_ROUNDS", "10")


def test_a_sound_deployment_passes(authflow: Command, sound: None) -> None:
    answer = authflow("check-config")

    assert (answer.code, answer.out) == (0, "nothing found\n")


def test_what_is_for_a_developers_machine_is_found(authflow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHFLOW_MAIL", "console:")
    monkeypatch.setenv("AUTHFLOW_STORE", "memory:")

    answer = authflow("check-config", "--json")

    assert answer.code == 1
    assert codes(answer) == ["mail_console", "http", "store_memory", "bcrypt_rounds"]


def test_what_app_engine_refuses_is_found(authflow: Command, sound: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAE_ENV", "standard")

    answer = authflow("check-config", "--json")

    assert (answer.code, codes(answer)) == (1, ["refused"])


def test_a_broken_template_is_found(
    authflow: Command, sound: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "login.html").write_text("{% block %}")
    monkeypatch.setenv("AUTHFLOW_TEMPLATES", str(tmp_path / "pages"))

    answer = authflow("check-config", "--json")

    assert codes(answer) == ["template"]
    assert "login.html" in answer.data["findings"][0]["message"]


def test_somebody_locked_out_by_a_lost_provider_is_found(
    authflow: Command, sound: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    authflow("users", "create", NAME)
    authflow("users", "add-token", NAME, "--serial", "1", "--secret-stdin", typed=SECRET)
    monkeypatch.setenv("AUTHFLOW_USER", "tests.cli.without_totp:User")

    answer = authflow("check-config", "--json")

    assert codes(answer) == ["factor_orphaned"]
    assert f"authflow users factors {NAME} --remove time_based_otp" in answer.data["findings"][0]["message"]
    assert authflow("users", "factors", NAME, "--remove", "time_based_otp").code == 0
    assert authflow("check-config").code == 0


def test_a_store_that_does_not_answer_is_found(
    authflow: Command, sound: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.db").write_bytes(b"this is no database" * 100)
    monkeypatch.setenv("AUTHFLOW_STORE", f"sqlite:{tmp_path / 'broken.db'}")

    answer = authflow("check-config", "--json")

    assert (answer.code, codes(answer)) == (1, ["store_unavailable"])


def test_keys_are_rotated_and_the_old_one_is_then_unused(
    authflow: Command, sound: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    authflow("users", "create", NAME)
    authflow("users", "add-token", NAME, "--serial", "1", "--secret-stdin", typed=SECRET)
    monkeypatch.setenv("AUTHFLOW_SECRET_KEYS", f"{NEW_KEY},{KEY}")

    before = authflow("check-config", "--json")
    rotation = authflow("keys", "rotate", "--json").data
    after = authflow("check-config", "--json")

    assert codes(before) == ["keys_not_rotated"]
    assert rotation == {"checked": 1, "rotated": 1, "unreadable": 0, "keyed": 0}
    assert codes(after) == ["key_unused"]


def test_no_finding_shows_a_secret(authflow: Command, sound: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHFLOW_SECRET_KEYS", f"{NEW_KEY},{KEY}")

    answer = authflow("check-config")

    assert answer.code == 1
    for secret in (KEY, NEW_KEY, "hunter2hunter2"):
        assert secret not in answer.out + answer.err


@pytest.mark.parametrize("command", [("users", "list"), ("clean",), ("auth-methods",), ("serve", "--port", "0")])
def test_a_refused_setting_is_one_line_and_exit_code_2(
    authflow: Command, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("AUTHFLOW_BCRYPT_ROUNDS", "many")

    answer = authflow(*command)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "authflow: AUTHFLOW_BCRYPT_ROUNDS must be a whole number from 4 to 16\n"


def test_a_store_that_does_not_answer_is_a_fault(
    authflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.db").write_bytes(b"this is no database" * 100)
    monkeypatch.setenv("AUTHFLOW_STORE", f"sqlite:{tmp_path / 'broken.db'}")

    answer = authflow("users", "list")

    assert (answer.code, answer.err.count("\n")) == (1, 1)


def test_a_store_that_is_not_there_is_not_made_by_looking_after_it(authflow: Command, tmp_path: Path) -> None:
    for command in (("clean",), ("users", "list"), ("tasks", "run"), ("keys", "rotate")):
        answer = authflow(*command)
        assert answer.code == 2
        assert "there is no store" in answer.err

    assert not (tmp_path / "store.db").exists()


def test_cleaning_says_what_was_deleted(authflow: Command) -> None:
    authflow("users", "create", NAME)

    assert authflow("clean").out == "nothing had expired\n"
    assert authflow("clean", "--json").data == {}


# --- Methods ----------------------------------------------------------------------------------------------------------

METHODS = [
    ["X-VIUR-AUTH-User-Password", "X-VIUR-2FACTOR-TimeBasedOTP"],
    ["X-VIUR-AUTH-User-Password", None],
]


class _Server(http.server.BaseHTTPRequestHandler):
    answer = b""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/json/user/getAuthMethods" else 404)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    running = http.server.HTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def test_methods_are_told_from_the_configuration(authflow: Command, tmp_path: Path) -> None:
    assert authflow("auth-methods", "--json").data == METHODS
    assert not list(tmp_path.glob("store.db*"))


def test_methods_are_asked_of_a_running_server(authflow: Command, server: str) -> None:
    _Server.answer = b'[["X-VIUR-AUTH-User-Password", null]]'

    assert authflow("auth-methods", "--url", server + "/").out == "X-VIUR-AUTH-User-Password\n"


@pytest.mark.parametrize("said", [b"", b"<html>", b'{"a": 1}', b'["one"]'])
def test_a_server_that_answers_something_else_is_a_fault(authflow: Command, server: str, said: bytes) -> None:
    _Server.answer = said

    answer = authflow("auth-methods", "--url", server)

    assert (answer.code, answer.err.count("\n")) == (1, 1)


def test_a_server_that_is_not_there_is_a_fault(authflow: Command) -> None:
    assert authflow("auth-methods", "--url", "http://127.0.0.1:9").code == 1


@pytest.mark.parametrize("url", ["file:///etc/hostname", "nonsense", "ftp://example.org"])
def test_what_is_no_address_of_a_server_is_refused(authflow: Command, url: str) -> None:
    assert authflow("auth-methods", "--url", url).code == 2


def test_a_missing_key_is_told_from_a_missing_provider(
    authflow: Command, sound: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    authflow("users", "create", NAME)
    authflow("users", "add-token", NAME, "--serial", "1", "--secret-stdin", typed=SECRET)
    monkeypatch.setenv("AUTHFLOW_SECRET_KEYS", NEW_KEY)

    answer = authflow("check-config", "--json")

    assert codes(answer) == ["secret_unreadable"]
    assert "AUTHFLOW_SECRET_KEYS" in answer.data["findings"][0]["message"]


def test_a_provider_without_a_page_of_its_own_is_no_finding(
    authflow: Command, sound: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHFLOW_USER", "examples.code_by_mail:MyUser")

    assert authflow("check-config").code == 0
