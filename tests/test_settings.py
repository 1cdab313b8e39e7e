"""Deployment settings: each variable good and bad, and no secret in what is said about it."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from authflow.errors import ConfigurationError
from authflow.settings import Settings, from_environment, is_loopback

HTTPS = "https://login.example.org"
KEY = "canary" * 6
QUEUE = "cloudtasks:my-project/europe-west1/mail"
WITH_ACCOUNT = f"{QUEUE}?service_account=tasks@my-project.iam.gserviceaccount.com"
APP_ENGINE = {
    "GAE_ENV": "standard",
    "GOOGLE_CLOUD_PROJECT": "my-project",
    "AUTHFLOW_BASE_URL": HTTPS,
    "AUTHFLOW_STORE": "datastore:",
    "AUTHFLOW_TASKS": QUEUE,
    "AUTHFLOW_MAIL": "smtps://u:canary@mail.example.org",
}


def read(**variables: str) -> Settings:
    return from_environment({f"AUTHFLOW_{name}": value for name, value in variables.items()})


def test_a_bare_laptop_needs_no_setting() -> None:
    settings = from_environment({})

    assert settings == Settings()
    assert (settings.store, settings.base_url, settings.is_secure) == (
        "sqlite:authflow.db",
        "http://127.0.0.1:8000",
        False,
    )


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("STORE", "sqlite:/var/lib/x.db", "store", "sqlite:/var/lib/x.db"),
        ("STORE", "memory:", "store", "memory:"),
        ("STORE", "datastore:my-project/space", "store", "datastore:my-project/space"),
        ("TASKS", WITH_ACCOUNT, "tasks", WITH_ACCOUNT),
        ("MAIL", "file:/tmp/mail", "mail", "file:/tmp/mail"),
        ("MAIL", "smtp://u:p@host:587", "mail", "smtp://u:p@host:587"),
        ("MAIL", "secretmanager:mail/versions/1", "mail", "secretmanager:mail/versions/1"),
        ("MAIL_FROM", "login@example.org", "mail_from", "login@example.org"),
        ("SECRET_KEYS", f"{KEY}, {KEY[::-1]} ,", "secret_keys", (KEY, KEY[::-1])),
        ("SECRET_KEYS", "secretmanager:x", "secret_keys", ("secretmanager:x",)),
        ("USER", "shop.user:ShopUser", "user", "shop.user:ShopUser"),
        ("TEMPLATES", "/srv/templates", "templates", "/srv/templates"),
        ("BCRYPT_ROUNDS", "14", "bcrypt_rounds", 14),
        ("TRUSTED_PROXIES", "2", "trusted_proxies", 2),
        ("TESTING", "1", "testing", True),
        ("TESTING", "0", "testing", False),
        ("ADMIN", "root@example.org", "admin", "root@example.org"),
        ("WORKERS", "4", "workers", 4),
        ("BCRYPT_ROUNDS", "  ", "bcrypt_rounds", 12),
        ("STORE", "", "store", "sqlite:authflow.db"),
    ],
)
def test_each_variable_is_read(name: str, value: str, attribute: str, expected: object) -> None:
    assert getattr(read(**{name: value}), attribute) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("STORE", bad) for bad in ("sqlite", "sqlite:", "postgres://canary@x", "canary")),
        *(("TASKS", bad) for bad in ("local", "celery:canary", "canary")),
        *(("MAIL", bad) for bad in ("smtp:canary", "canary", "http://u:canary@host")),
        *(("SECRET_KEYS", bad) for bad in ("canary", f"{KEY},canary", ",", " , ,")),
        *(("BCRYPT_ROUNDS", bad) for bad in ("3", "21", "-1", "12.0", "x", "1e1", "\uff11\uff12", "9" * 5000)),
        *(("TRUSTED_PROXIES", bad) for bad in ("-1", "17", "two")),
        *(("WORKERS", bad) for bad in ("0", "257", "auto")),
        *(("TESTING", bad) for bad in ("2", "yes", "canary")),
    ],
)
def test_a_bad_value_is_refused_by_the_variables_name_and_never_shown(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"AUTHFLOW_{name}") as refusal:
        read(**{name: value})

    assert "canary" not in str(refusal.value)


def test_a_store_in_memory_cannot_be_shared() -> None:
    with pytest.raises(ConfigurationError, match="AUTHFLOW_STORE"):
        read(STORE="memory:", WORKERS="2")


@pytest.mark.parametrize("where", [{"GAE_ENV": "standard"}, {"K_SERVICE": "login"}, {"AUTHFLOW_BASE_URL": HTTPS}])
def test_a_deployment_is_not_a_test(where: dict[str, str]) -> None:
    environment = {**APP_ENGINE, **where}
    if where != {"GAE_ENV": "standard"}:
        del environment["GAE_ENV"]
        environment["AUTHFLOW_TASKS"] = "local:"
    from_environment(environment)

    with pytest.raises(ConfigurationError, match="AUTHFLOW_TESTING"):
        from_environment({**environment, "AUTHFLOW_TESTING": "1"})


# --- The base URL -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://login.example.org", "https://login.example.org"),
        ("https://login.example.org/", "https://login.example.org"),
        ("https://login.example.org:8443", "https://login.example.org:8443"),
        # As browsers write it, or no origin would ever be ours and no cookie secure.
        ("HTTPS://Login.Example.ORG", "https://login.example.org"),
        ("https://login.example.org:443", "https://login.example.org"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_the_base_url_is_an_origin_as_browsers_write_it(written: str, origin: str) -> None:
    settings = read(BASE_URL=written, MAIL="file:mail")

    assert settings.base_url == origin
    assert settings.is_secure == origin.startswith("https:")
    assert settings.host == origin.partition("//")[2]


@pytest.mark.parametrize(
    "written",
    [
        "login.example.org",
        "//login.example.org",
        "ftp://login.example.org",
        "https://",
        "https:///user",
        "https://login.example.org/app",
        "https://login.example.org?x=1",
        "https://login.example.org?",
        "https://login.example.org#",
        "https://user:canary@login.example.org",
        "https://@login.example.org",
        "https://login.example.org:",
        "https://login.example.org:99999",
        "https://login.example.org:x",
        "https://login.exam\nple.org",
        "https://login.example.org\\@evil.example",
        "https://login example.org",
        "https://b\u00fccher.example",
        "https://-x.example",
        "https://[::1",
        "http://login.example.org",
        "http://0.0.0.0:8000",
        "http://192.168.0.1",
        "http://localhost.example.org",
        "http://localhost@example.org",
        "http://example.org[::1]",
    ],
)
def test_what_is_no_origin_or_no_safe_one_is_refused(written: str) -> None:
    with pytest.raises(ConfigurationError, match="AUTHFLOW_BASE_URL") as refusal:
        read(BASE_URL=written, MAIL="file:mail")

    assert "canary" not in str(refusal.value)


def test_the_variable_wins_over_what_the_server_listens_on() -> None:
    listening = "http://127.0.0.1:9000"

    assert from_environment({}, base_url=listening).base_url == listening
    assert from_environment({"AUTHFLOW_BASE_URL": "http://localhost"}, base_url=listening).base_url == (
        "http://localhost"
    )


def test_mail_on_the_console_is_for_this_machine_only() -> None:
    with pytest.raises(ConfigurationError, match="AUTHFLOW_MAIL"):
        read(BASE_URL=HTTPS)


@pytest.mark.parametrize("url", ["http://localhost", "http://127.0.0.1:1", "http://[::1]:1", "https://localhost"])
def test_loopback_origins_are_known(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize("url", [HTTPS, "http://localhost.example.org", "http://127.0.0.1.example.org", "localhost"])
def test_other_origins_are_no_loopback(url: str) -> None:
    assert not is_loopback(url)


# --- App Engine -------------------------------------------------------------------------------------------------------


def test_app_engine_takes_what_lives_outside_the_instance() -> None:
    assert from_environment(APP_ENGINE).on_app_engine
    assert not from_environment({"GAE_ENV": "localdev"}).on_app_engine


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORE", "sqlite:x.db"),
        ("STORE", "memory:"),
        ("STORE", ""),
        ("TASKS", "local:"),
        ("TASKS", ""),
        ("MAIL", "console:"),
        ("MAIL", "file:mail"),
        ("MAIL", ""),
        ("BASE_URL", ""),
        ("BASE_URL", "http://localhost:8000"),
    ],
)
def test_app_engine_refuses_what_dies_with_the_instance(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"AUTHFLOW_{name}"):
        from_environment(APP_ENGINE | {f"AUTHFLOW_{name}": value})


def test_app_engine_takes_secrets_by_their_names() -> None:
    named = {"AUTHFLOW_SECRET_KEYS": "secretmanager:keys", "AUTHFLOW_MAIL": "secretmanager:mail"}

    settings = from_environment(APP_ENGINE | named)

    assert (settings.secret_keys, settings.mail) == (("secretmanager:keys",), "secretmanager:mail")


@pytest.mark.parametrize("name", ["DATASTORE_EMULATOR_HOST", "CLOUD_TASKS_EMULATOR_HOST"])
def test_an_emulator_on_this_machine_is_accepted_with_app_engines_settings(name: str) -> None:
    settings = from_environment({**APP_ENGINE, name: "127.0.0.1:8081"})

    assert "127.0.0.1:8081" in (settings.datastore_emulator, settings.tasks_emulator)


# --- As docs/settings.md has them -------------------------------------------------------------------------------------


def examples() -> dict[str, dict[str, str]]:
    """Return the examples of the page by their headings; each goes on from the one before."""
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    block = page.partition("### Examples")[2].partition("```sh\n")[2].partition("```")[0]
    found: dict[str, dict[str, str]] = {}
    so_far: dict[str, str] = {}
    for part in block.split("\n\n"):
        heading, *lines = part.splitlines()
        words = [shlex.split(line) for line in lines if line.startswith("export ")]
        so_far = so_far | dict(word.split("=", 1) for _, word in words)
        found[heading] = so_far
    return found


@pytest.mark.parametrize("heading", examples())
def test_an_example_of_the_page_is_accepted(heading: str) -> None:
    # The one substitution in it.
    variables = {name: value.replace("$(cat /etc/authflow/keys)", KEY) for name, value in examples()[heading].items()}

    assert from_environment(variables)


def test_a_value_for_google_cloud_on_the_page_is_accepted() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = page.partition("### Google Cloud")[2].partition("\n\nThe credentials")[0]
    told = re.findall(r"`((?:AUTHFLOW_\w+=)?((?:datastore|cloudtasks|secretmanager):[^`]*))`", rows)

    assert len(told) >= 8
    for _, value in told:
        value = value.replace("EMAIL", "tasks@my-project.iam.gserviceaccount.com").replace("PROJECT", "my-project")
        variable = {"datastore": "STORE", "cloudtasks": "TASKS", "secretmanager": "SECRET_KEYS"}[
            value.partition(":")[0]
        ]
        assert from_environment(APP_ENGINE | {f"AUTHFLOW_{variable}": value})


# --- Secrets ----------------------------------------------------------------------------------------------------------


def test_neither_repr_nor_what_providers_are_given_holds_a_secret() -> None:
    settings = read(SECRET_KEYS=KEY, MAIL="smtp://u:canary@host", GOOGLE_CLIENT_ID="id-1", GOOGLE_CLIENT_SECRET=KEY)

    assert "canary" not in repr(settings)
    assert settings.provider_environment["google_client_id"] == "id-1"
    assert settings.provider_environment["google_client_secret"] == KEY, "a provider's own secret is its business"
    assert not {"secret_keys", "mail"} & set(settings.provider_environment)


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().store = "memory:"  # type: ignore[misc]


def test_the_parts_of_a_queue_are_read() -> None:
    queue = read(TASKS=WITH_ACCOUNT).cloud_tasks

    assert queue.path == "projects/my-project/locations/europe-west1/queues/mail"
    assert queue.service_account == "tasks@my-project.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    "value",
    [QUEUE, "cloudtasks:", "cloudtasks:my-project/europe-west1", f"{WITH_ACCOUNT}&x=1", f"{QUEUE}?service_account="],
)
def test_outside_app_engine_a_queue_needs_whole_parts_and_a_service_account(value: str) -> None:
    with pytest.raises(ConfigurationError, match="AUTHFLOW_TASKS"):
        read(TASKS=value)


def test_a_datastore_without_a_project_takes_that_of_the_deployment() -> None:
    environ = {"AUTHFLOW_STORE": "datastore:/space", "GOOGLE_CLOUD_PROJECT": "my-project"}

    assert from_environment(environ).datastore == ("my-project", "space")
    with pytest.raises(ConfigurationError, match="GOOGLE_CLOUD_PROJECT"):
        from_environment({"AUTHFLOW_STORE": "datastore:/space"})


@pytest.mark.parametrize("value", ["datastore:Nobody", "datastore:my-project/a/b", "datastore:my-project/a b"])
def test_what_is_no_project_or_namespace_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="AUTHFLOW_STORE"):
        read(STORE=value)


@pytest.mark.parametrize("host", ["db.example.org:8081", "localhost#.evil.com", "localhost/../evil:80", "localhost"])
@pytest.mark.parametrize("name", ["DATASTORE_EMULATOR_HOST", "CLOUD_TASKS_EMULATOR_HOST"])
def test_an_emulator_elsewhere_is_refused_on_app_engine(name: str, host: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        from_environment({**APP_ENGINE, name: host})


@pytest.mark.parametrize("environ", [{"K_SERVICE": "accounts"}, APP_ENGINE])
def test_a_platform_that_runs_us_is_known(environ: dict[str, str]) -> None:
    assert from_environment(environ).is_hosted
    assert not from_environment({}).is_hosted
