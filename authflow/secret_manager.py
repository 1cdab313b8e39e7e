"""Google Cloud Secret Manager: secrets that a setting names, read once when the process starts.

The one door to Google's default credentials for it. Imported only where a setting says `secretmanager:`; blocking,
since nothing is served yet.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote

import google.auth
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.auth.transport.requests import Request

from authflow.errors import ConfigurationError

PREFIX: Final = "secretmanager:"
ENDPOINT: Final = "https://secretmanager.googleapis.com"
ROLE: Final = "roles/secretmanager.secretAccessor"
MAX_TRIES: Final = 3

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_FORM = f"{PREFIX}NAME or {PREFIX}projects/PROJECT/secrets/NAME[/versions/VERSION]"
_REFERENCE = re.compile(
    r"(?:projects/(?P<project>[a-z0-9.:-]{1,100})/secrets/)?(?P<name>[A-Za-z0-9_-]{1,255})"
    r"(?:/versions/(?P<version>[A-Za-z0-9_-]{1,63}))?",
    re.ASCII,
)
_SERVICE = "secretmanager.googleapis.com"
_LOOKING = "looking for credentials"
_LOG_IN = "elsewhere than on Google Cloud run: gcloud auth application-default login"
_NO_CREDENTIALS = f"no usable Google credentials are found; {_LOG_IN}"
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """Which version of which secret."""

    project: str
    name: str
    version: str

    @property
    def path(self) -> str:
        """Its full name (Secret Manager API v1, `projects.secrets.versions`)."""
        return f"projects/{self.project}/secrets/{self.name}/versions/{self.version}"


def parse(setting: str, variable: str, *, project: str = "") -> SecretVersion:
    """Take apart `secretmanager:...`.

    Args:
        variable: Which setting it is, for the refusal.
        project: Whose secret it is where the setting does not say.

    Raises:
        ConfigurationError: It has another form, or the project is not known. What was written is not shown: it may
            be the secret itself, in the wrong place.
    """
    found = _REFERENCE.fullmatch(setting.removeprefix(PREFIX))
    if found is None:
        raise ConfigurationError(f"{variable} must be {_FORM}")
    wanted = SecretVersion(found["project"] or project, found["name"], found["version"] or "latest")
    if not wanted.project:
        raise ConfigurationError(
            f"{variable}: name the project, {PREFIX}projects/PROJECT/..., or set GOOGLE_CLOUD_PROJECT"
        )
    return wanted


def read(
    setting: str,
    variable: str,
    *,
    project: str = "",
    endpoint: str = ENDPOINT,
    deadline: timedelta = timedelta(seconds=5),
    pause: timedelta = timedelta(milliseconds=250),
) -> str:
    """Return the text of the secret that a setting names.

    Args:
        setting: `secretmanager:NAME`, or with the full name; see `parse`.
        variable: Which setting it is, for the refusal.
        project: Whose secret it is where the setting does not say.
        endpoint: Where Secret Manager is.
        deadline: For all of it: finding credentials, and up to three tries.
        pause: Before the second try; it doubles.

    Raises:
        ConfigurationError: It cannot be had. Names the variable and the cause, never the value.
    """
    wanted = parse(setting, variable, project=project)
    reader = _Reader(wanted, variable, endpoint, deadline, pause)
    # The library's own time limits are one for each try and each server it looks for credentials at: a thread that is
    # left behind keeps ours. It ends with the process, which does not start.
    thread = threading.Thread(target=reader.run, name="authflow-secret-manager", daemon=True)
    thread.start()
    thread.join(deadline.total_seconds())
    return reader.outcome()


class _Reader:
    """One read. `run` happens in a thread of its own; `outcome` is asked of afterwards, or when it takes too long."""

    def __init__(
        self, wanted: SecretVersion, variable: str, endpoint: str, deadline: timedelta, pause: timedelta
    ) -> None:
        self._wanted = wanted
        self._variable = variable
        self._url = f"{endpoint}/v1/{quote(wanted.path)}:access"
        self._deadline = deadline
        self._pause = pause.total_seconds()
        self._doing = _LOOKING
        self._outcome: str | Exception | None = None

    def run(self) -> None:
        try:
            self._outcome = self._read()
        except Exception as error:
            self._outcome = error

    def outcome(self) -> str:
        error = self._outcome
        if isinstance(error, str):
            return error
        if error is None:
            seconds = f"{self._deadline.total_seconds():g}"
            hint = "; " + _NO_CREDENTIALS if self._doing == _LOOKING else ""
            raise self._refusal(f"{self._doing} took longer than {seconds} s{hint}")
        if isinstance(error, DefaultCredentialsError):
            raise self._refusal(_NO_CREDENTIALS) from error
        if isinstance(error, GoogleAuthError):
            raise self._refusal(f"{self._doing} failed ({type(error).__name__})") from error
        raise error

    def _read(self) -> str:
        request: Callable[..., object] = Request()
        timeout = self._deadline.total_seconds()
        credentials, _ = google.auth.default(scopes=_SCOPES)
        headers: dict[str, str] = {}
        credentials.before_request(request, "GET", self._url, headers)  # type: ignore[no-untyped-call]
        self._doing = f"reading {self._wanted.path}"
        for number in range(1, MAX_TRIES + 1):
            try:
                answer = request(self._url, method="GET", headers=headers, timeout=timeout)
            except TransportError:
                if number == MAX_TRIES:
                    raise
            else:
                status, body = int(answer.status), bytes(answer.data)  # type: ignore[attr-defined]
                if status == 200:
                    return self._text(body)
                if status not in _PASSING or number == MAX_TRIES:
                    raise self._refusal(self._cause(status, body))
            time.sleep(self._pause * 2 ** (number - 1))
        raise AssertionError("unreachable")

    def _text(self, body: bytes) -> str:
        try:
            return base64.b64decode(json.loads(body)["payload"]["data"], validate=True).decode()
        except (ValueError, KeyError, TypeError, RecursionError):
            # Not chained: the error would hold the answer.
            raise self._refusal(f"the answer about {self._wanted.path} is not a secret's text") from None

    def _cause(self, status: int, body: bytes) -> str:
        name, project, version = self._wanted.name, self._wanted.project, self._wanted.version
        match status:
            case 400:
                return f"version {version} of the secret {name} is disabled or destroyed, or its name is refused"
            case 401:
                return f"the credentials are not accepted; {_LOG_IN}"
            case 403 if b"SERVICE_DISABLED" in body:
                return f"Secret Manager is off; run: gcloud services enable {_SERVICE} --project={project}"
            case 403:
                return (
                    f"the secret {name} is not there, or may not be read by the account that this runs as; run: gcloud"
                    f" secrets add-iam-policy-binding {name} --project={project} --role={ROLE}"
                    " --member=serviceAccount:EMAIL"
                )
            case 404:
                return f"project {project} has no secret {name} with a version {version}"
            case _:
                return f"Secret Manager answers {status}"

    def _refusal(self, cause: str) -> ConfigurationError:
        return ConfigurationError(f"{self._variable}: {cause}")
