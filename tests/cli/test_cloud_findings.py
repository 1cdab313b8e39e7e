"""What `check-config` finds about deployments on Google Cloud, and about work that nobody does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from authflow.assembly import build
from authflow.cloud_findings import LEFT_OVER, OVERDUE, of_cloud, of_upkeep
from authflow.settings import Settings, from_environment
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Insert, Key, Put, Update, Write
from authflow.tasks import outbox
from tests.cli.conftest import KEY

ON_APP_ENGINE = {
    "GAE_ENV": "standard",
    "GOOGLE_CLOUD_PROJECT": "my-project",
    "AUTHFLOW_STORE": "datastore:",
    "AUTHFLOW_TASKS": "cloudtasks:my-project/europe-west1/mail",
    "AUTHFLOW_SECRET_KEYS": "secretmanager:keys",
    "AUTHFLOW_BASE_URL": "https://login.example.org",
    "AUTHFLOW_MAIL": "secretmanager:mail",
}
ACCOUNT = "?service_account=tasks@my-project.iam.gserviceaccount.com"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def codes(**changed: str) -> list[str]:
    """Return what is found about settings of App Engine with some of them changed."""
    return [finding.code for finding in of_cloud(from_environment(ON_APP_ENGINE | changed))]


def test_the_settings_of_app_engine_are_sound() -> None:
    assert codes() == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("DATASTORE_EMULATOR_HOST", "127.0.0.1:8081", "store_emulator"),
        ("CLOUD_TASKS_EMULATOR_HOST", "127.0.0.1:8123", "tasks_emulator"),
        ("AUTHFLOW_TASKS", "cloudtasks:other-project/europe-west1/mail", "tasks_project"),
        ("AUTHFLOW_SECRET_KEYS", KEY, "keys_in_settings"),
        ("AUTHFLOW_SECRET_KEYS", f"secretmanager:keys,{KEY}", "keys_in_settings"),
        ("AUTHFLOW_MAIL", "smtp://mail.example.org:25", "mail_port"),
        ("AUTHFLOW_MAIL", f"smtps://user:{KEY.replace(' ', '')}@mail.example.org", "mail_password_in_settings"),
        ("AUTHFLOW_TRUSTED_PROXIES", "1", "trusted_proxies"),
    ],
)
def test_what_works_and_does_harm_is_found_by_its_variable(name: str, value: str, code: str) -> None:
    (finding,) = of_cloud(from_environment(ON_APP_ENGINE | {name: value}))

    assert finding.code == code
    assert name in finding.message
    assert KEY not in finding.message
    assert "command" not in finding.message, "no part of it either"


def test_an_identity_token_may_come_with_the_tasks_of_another_project() -> None:
    assert codes(AUTHFLOW_TASKS=f"cloudtasks:other-project/europe-west1/mail{ACCOUNT}") == []


def test_elsewhere_than_on_app_engine_other_rules_hold() -> None:
    settings = from_environment(
        {
            "AUTHFLOW_STORE": "datastore:my-project",
            "AUTHFLOW_SECRET_KEYS": KEY,
            "AUTHFLOW_BASE_URL": "https://login.example.org",
            "AUTHFLOW_MAIL": "smtp://relay.example.org:25",
            "AUTHFLOW_TRUSTED_PROXIES": "1",
        }
    )

    assert [finding.code for finding in of_cloud(settings)] == ["tasks_local"]
    assert list(of_cloud(Settings())) == []


# --- The store --------------------------------------------------------------------------------------------------------


class Watched(MemoryStore):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: set[Key] = set()

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        self.written |= {write.key for write in writes}
        await super().commit(writes, durable=durable)


class Lax(Watched):
    """Takes every change, whatever record it was made for."""

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        taken = [Put(one.key, one.data, one.expires_at) if isinstance(one, Update) else one for one in writes]
        await super().commit(taken, durable=durable)


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.open()
    return store


async def of_store(store: MemoryStore, *, setting: str = "memory:") -> list[str]:
    await store.open()
    app = build(Settings(store=setting, secret_keys=(KEY,)), store=store, clock=lambda: NOW)
    return [finding.code async for finding in of_upkeep(app)]


async def test_a_store_that_guards_is_sound_and_nothing_stays_in_it() -> None:
    store = Watched()

    assert await of_store(store, setting="datastore:my-project") == []
    assert len(store.written) == 1
    assert await store.get(tuple(store.written)) == {}


async def test_a_store_that_guards_nothing_is_found() -> None:
    store = Lax()

    assert await of_store(store, setting="datastore:my-project") == ["store_unguarded"]
    assert await store.get(tuple(store.written)) == {}


async def test_a_file_of_ones_own_is_not_written_to_by_looking_at_it() -> None:
    store = Watched()

    assert await of_store(store) == []
    assert store.written == set()


@pytest.mark.parametrize(
    ("late", "found"), [(OVERDUE + timedelta(seconds=1), ["tasks_overdue"]), (OVERDUE - timedelta(minutes=1), [])]
)
async def test_work_that_nobody_does_is_found(store: MemoryStore, late: timedelta, found: list[str]) -> None:
    await store.commit((outbox.written("send_notice", {"account_id": "a"}, NOW - late),))

    assert await of_store(store) == found


@pytest.mark.parametrize(
    ("ago", "found"), [(LEFT_OVER + timedelta(hours=1), ["cleaning_overdue"]), (LEFT_OVER - timedelta(hours=1), [])]
)
async def test_what_nobody_deletes_is_found(store: MemoryStore, ago: timedelta, found: list[str]) -> None:
    await store.commit((Insert(Key("spent", "f"), {}, NOW - ago),))

    assert await of_store(store) == found
