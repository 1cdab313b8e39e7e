"""Looking at a deployment's application without touching what it is deployed on."""

from __future__ import annotations

from pathlib import Path

from authflow.apart import apart
from authflow.settings import from_environment
from authflow.store.memory import MemoryStore
from authflow.user import User


class Own(User):
    site_name = "own"


def test_an_application_apart_has_the_deployments_user_and_nothing_of_its_places(tmp_path: Path) -> None:
    file = tmp_path / "authflow.db"
    settings = from_environment(
        {
            "AUTHFLOW_STORE": f"sqlite:{file}",
            "AUTHFLOW_USER": "tests.test_apart:Own",
            "AUTHFLOW_MAIL": f"file:{tmp_path}/mail",
            "AUTHFLOW_GOOGLE_CLIENT_ID": "client.apps.googleusercontent.com",
        }
    )

    app = apart(settings)

    assert app.engine.user.site_name == "own"
    assert "google_account" in app.engine.registry.providers
    assert isinstance(app.services.store._store, MemoryStore)
    assert list(tmp_path.iterdir()) == []
    app.services.pool.close()
