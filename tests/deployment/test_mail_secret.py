"""The mail server's address out of Secret Manager, since it holds a password."""

from __future__ import annotations

import pytest

from tests.deployment.google_cloud import PROJECT, GoogleCloud
from tests.deployment.test_secret_manager import run

BUILD = """
import json
from authflow.assembly import make_transport
from authflow.errors import ConfigurationError
from authflow.settings import from_environment
try:
    print(json.dumps({"transport": type(make_transport(from_environment())).__name__}))
except ConfigurationError as error:
    print(json.dumps({"refused": str(error)}))
"""
SETTINGS = {
    "AUTHFLOW_MAIL": "secretmanager:mail",
    "AUTHFLOW_MAIL_FROM": "login@example.org",
    "AUTHFLOW_BASE_URL": "https://login.example.org",
    "GOOGLE_CLOUD_PROJECT": PROJECT,
}


def test_the_address_of_the_mail_server_may_be_a_secret() -> None:
    with GoogleCloud(secrets={"mail": "smtps://user:canary@mail.example.org:465\n"}) as cloud:
        answer = run(BUILD, cloud, **SETTINGS)

    assert answer == {"transport": "SmtpTransport"}


@pytest.mark.parametrize("held", ["", "canary", "console:", "file:/tmp/canary", "smtp://canary:25:25"])
def test_a_secret_that_is_no_mail_server_is_refused_and_not_shown(held: str) -> None:
    with GoogleCloud(secrets={"mail": held}) as cloud:
        answer = run(BUILD, cloud, **SETTINGS)

    assert "AUTHFLOW_MAIL" in str(answer["refused"])
    assert "canary" not in str(answer["refused"])
