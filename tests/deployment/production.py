"""The settings of `app.yaml` with its marked names replaced, and the parts of Google Cloud that they speak to.

with Production(uploaded, bin_folder, log_folder) as production:
    production.command("users", "create", ...)
    ... Visitor(production.server, through_app_engine=True)
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.deployment.entrypoint import Entrypoint, app_yaml, clean_environment
from tests.deployment.google_cloud import PROJECT, GoogleCloud
from tests.parts.datastore_emulator import DatastoreEmulator
from tests.parts.smtp_sink import SmtpSink
from tests.parts.tasks_emulator import TasksEmulator

LOCATION = "europe-west1"
QUEUE = "mail"
DOMAIN = "login.example.org"
BASE_URL = f"https://{DOMAIN}"
MAIL_PASSWORD = "p@ss of the m/ail"
KEY = "canary-key-of-a-production-that-is-none"
MARKED = {"PROJECT": PROJECT, "LOCATION": LOCATION, "DOMAIN": DOMAIN}
APP_ENGINE = {"GAE_ENV": "standard", "GAE_SERVICE": "default", "GOOGLE_CLOUD_PROJECT": PROJECT}


def deployed_settings(folder: Path) -> dict[str, str]:
    """Return the variables of a folder's `app.yaml`, its marked names replaced as its first lines tell."""
    variables: Mapping[str, str] = app_yaml(folder)["env_variables"]
    names = re.compile(r"\b(" + "|".join(MARKED) + r")\b")
    return {name: names.sub(lambda found: MARKED[found[1]], value) for name, value in variables.items()}


class Production:
    """A deployed application while the context lasts: the process of its entrypoint, and all that it needs.

    Args:
        folder: What was uploaded.
        bin_folder: Where the programs of its requirements are.
        log_folder: Where output is kept.
        confined: See `Entrypoint`.
        settings: Instead of what `app.yaml` says.

    Attributes:
        server, cloud, sink: The process; Secret Manager; the mail server.
    """

    def __init__(
        self,
        folder: Path,
        bin_folder: Path,
        log_folder: Path,
        *,
        confined: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder, self._bin = folder, bin_folder
        self._settings = deployed_settings(folder) | dict(settings or {})
        self.server = Entrypoint(folder, {}, log_folder, base_url=BASE_URL, confined=confined)
        self.cloud = GoogleCloud(secrets={"authflow-keys": KEY + "\n"})
        self.sink = SmtpSink(login=("mailer", MAIL_PASSWORD))
        self._datastore = DatastoreEmulator()
        self._tasks = TasksEmulator(target_port=self.server.port)
        self._tasks.queue = f"projects/{PROJECT}/locations/{LOCATION}/queues/{QUEUE}"
        self._parts = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as parts:
            for part in (self.cloud, self.sink, self._datastore, self._tasks):
                parts.enter_context(part)  # type: ignore[arg-type]
            self.cloud.secrets["authflow-mail"] = self.sink.url
            self.server.environment = {**self.environment, **APP_ENGINE, "PORT": str(self.server.port)}
            parts.enter_context(self.server)
            self._parts = parts.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    @property
    def environment(self) -> dict[str, str]:
        """The settings, and where the parts of Google Cloud are; but not that this is App Engine."""
        return clean_environment(
            self._bin,
            **self.cloud.environment,
            **self._settings
            | {"DATASTORE_EMULATOR_HOST": self._datastore.host, "CLOUD_TASKS_EMULATOR_HOST": self._tasks.host},
        )

    def shell(self, script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run lines as an operator types them, who has none of the settings yet."""
        parts = {k: v for k, v in self.environment.items() if not k.startswith("AUTHFLOW_")}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={**parts, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
