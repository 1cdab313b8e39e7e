"""The export that docs/viur.md has, run as it stands on entities as ViUR writes them; and what becomes of its file."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.cloud import datastore

from authflow.results import LoggedIn, StepOwed
from authflow.testing import Kit, make_kit
from tests.importing.kit import FIRST_ERA, GOOGLE_SUBJECT, LATER, LATER_ERA, OTP_KEY, PASSWORD, SALT, bring
from tests.parts.datastore_emulator import Backend
from tests.store.emulators import BACKENDS, PROJECT, Emulators, new_namespace

PAGE = Path(__file__).parents[2] / "docs/viur.md"

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def emulators(request: pytest.FixtureRequest) -> Iterator[Emulators]:
    emulators = Emulators(request.config)
    yield emulators
    emulators.close()


@pytest.fixture
def project(emulators: Emulators, monkeypatch: pytest.MonkeyPatch) -> datastore.Client:
    """An emulator that a client without arguments speaks to."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", emulators.host("datastore"))
    monkeypatch.setenv("DATASTORE_DATASET", PROJECT)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    namespace = new_namespace()
    whole = datastore.Client
    monkeypatch.setattr(datastore, "Client", lambda: whole(namespace=namespace))
    return datastore.Client()


def inner(**values: object) -> datastore.Entity:
    entity = datastore.Entity(exclude_from_indexes=tuple(values))
    entity.update(values)
    return entity


def put(client: datastore.Client, **values: object) -> None:
    entity = datastore.Entity(client.key("user"))
    entity.update(values)
    client.put(entity)


async def test_users_of_both_eras_come_out_of_datastore_and_log_in(
    project: datastore.Client, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Texts of a case-insensitive bone are entities, hashes are bytes, instants have a zone, keys refer to others.
    put(
        project,
        name=inner(val="Ada@Example.org", idx="ada@example.org"),
        password=inner(pwhash=FIRST_ERA.encode(), salt=SALT),
        status=10,
        access=["root"],
        uid=None,
        otpid=None,
        otpkey=None,
        otptimedrift=0.0,
        lastlogin=datetime(2024, 5, 1, 10, tzinfo=UTC),
        creator=project.key("user", 5),
    )
    put(
        project,
        name=inner(val="bob@example.org", idx="bob@example.org"),
        password=inner(pwhash=LATER_ERA.encode(), salt=SALT.encode(), iterations=600000, dklen=42),
        status=10,
        roles=["custom"],
        access=[],
        uid=GOOGLE_SUBJECT,
        otp_serial="GA-0815",
        otp_secret=OTP_KEY,
        otp_timedrift=0.3,
    )
    source = re.search(r'```python\n("""Write the users.*?)```', PAGE.read_text(encoding="utf-8"), re.S)
    assert source is not None
    script = tmp_path / "export.py"
    script.write_text(source[1], encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    runpy.run_path(str(script))
    written = tmp_path / "users.jsonl"
    report = await bring(kit, *written.read_text(encoding="utf-8").splitlines())

    assert written.stat().st_mode & 0o077 == 0
    assert (report.taken_in, report.refused) == (2, [])
    assert report.ignored == {"creator": 1}
    assert isinstance(await kit.login("ada@example.org", PASSWORD), LoggedIn)
    assert isinstance(await kit.login("bob@example.org", PASSWORD), StepOwed)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_accounts_are_taken_into_datastore_and_known_again(emulators: Emulators, backend: Backend) -> None:
    store = emulators.store(backend)
    await store.open()
    kit = make_kit(store=store)

    first, second = await bring(kit, LATER), await bring(kit, LATER)
    owed = await kit.login("ada@example.org", PASSWORD)
    await store.close()

    assert (first.taken_in, second.taken_in, second.already_here, second.refused) == (1, 0, 1, [])
    assert isinstance(owed, StepOwed)
