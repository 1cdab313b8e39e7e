"""Keys out of Secret Manager: read once at the start, or a refusal that says what to do and shows nothing.

Google's library reads where its metadata server is when it is imported, so each test reads in a process of its own. All
of its code runs; what answers is `GoogleCloud`, over the network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from authflow.errors import ConfigurationError
from authflow.secret_manager import parse
from tests.deployment.google_cloud import PROJECT, SECRET_MANAGER, TOKEN, GoogleCloud

ROOT = Path(__file__).resolve().parents[2]
KEY, OLD_KEY = "canary-" + "n" * 32, "canary-" + "o" * 32

READ = """
import json, sys
from datetime import timedelta
from authflow import secret_manager
from authflow.errors import ConfigurationError
setting, endpoint, deadline = sys.argv[1:]
try:
    text = secret_manager.read(
        setting, "AUTHFLOW_SECRET_KEYS", project="test-project", endpoint=endpoint, pause=timedelta(0),
        deadline=timedelta(seconds=float(deadline)),
    )
    print(json.dumps({"text": text}))
except ConfigurationError as error:
    print(json.dumps({"refused": str(error)}))
"""

BUILD = """
import json
from authflow.assembly import secret_keys
from authflow.errors import ConfigurationError
from authflow.settings import from_environment
from authflow.tokens import Keyring
try:
    keys = secret_keys(from_environment())
    print(json.dumps({"keys": keys, "count": Keyring(keys).key_count}))
except ConfigurationError as error:
    print(json.dumps({"refused": str(error)}))
"""


def run(program: str, cloud: GoogleCloud, *arguments: str, **settings: str) -> dict[str, object]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AUTHFLOW_", "GOOGLE_", "GCE_", "GAE_"))}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env=clean | cloud.environment | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def read(cloud: GoogleCloud, setting: str = "secretmanager:keys", *, deadline: float = 20) -> dict[str, object]:
    """Read a secret; the deadline is generous where it is not what is tested."""
    return run(READ, cloud, setting, cloud.endpoint, str(deadline))


def refusal(cloud: GoogleCloud, setting: str = "secretmanager:keys", *, deadline: float = 20) -> str:
    refused = read(cloud, setting, deadline=deadline)["refused"]
    assert isinstance(refused, str)
    assert refused.startswith("AUTHFLOW_SECRET_KEYS: ")
    assert "canary" not in refused
    return refused


# --- What is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "version"),
    [
        ("secretmanager:keys", "latest"),
        ("secretmanager:keys/versions/3", "3"),
        (f"secretmanager:projects/{PROJECT}/secrets/keys", "latest"),
        (f"secretmanager:projects/{PROJECT}/secrets/keys/versions/7", "7"),
    ],
)
def test_a_secret_is_read_with_the_service_accounts_credentials(setting: str, version: str) -> None:
    with GoogleCloud(secrets={"keys": KEY}) as cloud:
        answer = read(cloud, setting)

        assert answer == {"text": KEY}
        assert cloud.asked == [f"projects/{PROJECT}/secrets/keys/versions/{version}"]


@pytest.mark.parametrize("answers", [(503,), (429, 500), (0,), (0, 503)])
def test_a_passing_fault_is_tried_again(answers: tuple[int, ...]) -> None:
    with GoogleCloud(secrets={"keys": KEY}, answers=answers) as cloud:
        answer = read(cloud)

        assert answer == {"text": KEY}
        assert len(cloud.asked) == len(answers) + 1


# --- What is refused --------------------------------------------------------------------------------------------------


def test_a_secret_that_is_not_there_is_named() -> None:
    with GoogleCloud() as cloud:
        assert "has no secret keys" in refusal(cloud)
        assert len(cloud.asked) == 1, "it does not get better by asking again"


def test_a_missing_right_names_the_role_and_the_command() -> None:
    with GoogleCloud(secrets={"keys": KEY}, denied=("keys",)) as cloud:
        said = refusal(cloud)

    assert "gcloud secrets add-iam-policy-binding keys" in said
    assert "roles/secretmanager.secretAccessor" in said


def test_an_api_that_is_off_names_the_command() -> None:
    with GoogleCloud(secrets={"keys": KEY}, is_enabled=False) as cloud:
        assert f"gcloud services enable {SECRET_MANAGER} --project={PROJECT}" in refusal(cloud)


def test_a_version_that_is_switched_off_is_named() -> None:
    with GoogleCloud(secrets={"keys": KEY}, disabled=("1",)) as cloud:
        assert "version 1 of the secret keys is disabled" in refusal(cloud, "secretmanager:keys/versions/1")


def test_credentials_that_are_not_accepted_are_told() -> None:
    with GoogleCloud(secrets={"keys": KEY}, answers=(401,)) as cloud:
        assert "gcloud auth application-default login" in refusal(cloud)


def test_a_fault_that_stays_is_told_by_its_status() -> None:
    with GoogleCloud(secrets={"keys": KEY}, answers=(503,) * 10) as cloud:
        assert "Secret Manager answers 503" in refusal(cloud)
        assert len(cloud.asked) == 3


def test_without_credentials_it_is_said_how_to_get_some() -> None:
    with GoogleCloud() as cloud:
        said = run(
            READ,
            cloud,
            "secretmanager:keys",
            cloud.endpoint,
            "20",
            GOOGLE_APPLICATION_CREDENTIALS="/nowhere/there.json",
        )

    assert "no usable Google credentials" in str(said["refused"])
    assert "gcloud auth application-default login" in str(said["refused"])


@pytest.mark.parametrize(
    ("hangs", "doing"), [("metadata", "looking for credentials"), ("secrets", f"reading projects/{PROJECT}")]
)
def test_a_server_that_never_answers_is_given_up_in_time(hangs: str, doing: str) -> None:
    with GoogleCloud(secrets={"keys": KEY}, hangs=hangs) as cloud:
        began = time.monotonic()

        said = refusal(cloud, deadline=1.5)

    assert doing in said
    assert "took longer than 1.5 s" in said
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"canary",
        b"[]",
        b"{}",
        b'{"payload": {}}',
        b'{"payload": {"data": 7}}',
        b'{"payload": {"data": "canary!"}}',
        b'{"payload": {"data": "/w=="}}',
        b"[" * 100_000,
    ],
)
def test_an_answer_that_is_none_is_refused_and_not_shown(body: bytes) -> None:
    with GoogleCloud(secrets={"keys": KEY}, body=body) as cloud:
        assert "is not a secret's text" in refusal(cloud)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "canary key",
        "keys/versions/",
        "keys/latest",
        "projects/p/secrets/",
        "projects/P/secrets/keys",
        "../keys",
        "keys:access",
        "keys/versions/1/versions/2",
        "keys\n",
        "k" * 256,
        "kéys",
    ],
)
def test_a_name_of_another_form_is_refused_and_not_shown(written: str) -> None:
    with pytest.raises(ConfigurationError, match=r"AUTHFLOW_SECRET_KEYS must be secretmanager:NAME") as refused:
        parse(f"secretmanager:{written}", "AUTHFLOW_SECRET_KEYS", project=PROJECT)

    assert "canary" not in str(refused.value)


def test_a_name_without_a_project_needs_the_deployments() -> None:
    with pytest.raises(ConfigurationError, match="GOOGLE_CLOUD_PROJECT"):
        parse("secretmanager:keys", "AUTHFLOW_SECRET_KEYS")


# --- The setting, as a process on Google Cloud reads it ---------------------------------------------------------------


@pytest.mark.parametrize("held", [f"{KEY}\n{OLD_KEY}\n", f" {KEY} , {OLD_KEY},", f"{KEY},\r\n\r\n{OLD_KEY}"])
def test_the_secret_holds_keys_one_a_line_or_by_commas(held: str) -> None:
    with GoogleCloud(secrets={"keys": held}) as cloud:
        answer = run(BUILD, cloud, AUTHFLOW_SECRET_KEYS="secretmanager:keys", GOOGLE_CLOUD_PROJECT=PROJECT)

    assert answer == {"keys": [KEY, OLD_KEY], "count": 2}


def test_versions_and_keys_can_stand_side_by_side() -> None:
    named = f"secretmanager:projects/{PROJECT}/secrets/keys/versions/2,{OLD_KEY}"

    with GoogleCloud(secrets={"keys": KEY}) as cloud:
        answer = run(BUILD, cloud, AUTHFLOW_SECRET_KEYS=named)

    assert answer["keys"] == [KEY, OLD_KEY]


@pytest.mark.parametrize("held", ["", "\n , \n", "canary", f"{KEY},canary"])
def test_what_is_no_key_is_refused_as_in_the_variable(held: str) -> None:
    with GoogleCloud(secrets={"keys": held}) as cloud:
        answer = run(BUILD, cloud, AUTHFLOW_SECRET_KEYS="secretmanager:keys", GOOGLE_CLOUD_PROJECT=PROJECT)

    assert "AUTHFLOW_SECRET_KEYS" in str(answer["refused"])
    assert "canary" not in str(answer["refused"])


def test_nothing_of_google_is_imported_where_no_secret_is_named() -> None:
    program = BUILD + "import sys\nassert not any(m == 'google.auth' or m == 'requests' for m in sys.modules)\n"

    with GoogleCloud() as cloud:
        answer = run(program, cloud, AUTHFLOW_SECRET_KEYS=KEY, AUTHFLOW_STORE="memory:")

        assert answer["keys"] == [KEY]
        assert cloud.asked == []
        assert TOKEN not in json.dumps(answer)
