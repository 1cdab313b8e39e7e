"""The races of `test_races.py` over two processes on Datastore: both emulators, optimistic and pessimistic.

`scripts/explore races --store datastore` and `--store firestore` run more rounds.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.datastore_emulator import DatastoreEmulator
from tests.parts.server import Server
from tests.served.datastore import served
from tests.served.test_races import (  # noqa: F401 - they are collected here, with the server of this module
    app,
    test_a_code_of_an_app_opens_one_of_two_sessions_once,
    test_a_login_form_makes_one_session,
    test_a_recovery_code_opens_one_of_two_sessions_once,
    test_a_right_guess_among_two_hundred_does_not_outrun_the_count,
    test_a_ticket_sets_one_password,
    test_a_verification_ticket_confirms_once,
    test_an_enrolment_is_confirmed_once,
    test_requests_in_flight_do_not_bring_a_dead_session_back,
    test_the_next_request_of_a_dead_session_is_refused_by_both_processes,
    test_two_hundred_codes_at_once_get_five_verdicts,
    test_two_hundred_passwords_at_once_get_ten_verdicts,
)

pytestmark = [pytest.mark.slow, pytest.mark.emulator]


@pytest.fixture(scope="module", params=["datastore", "firestore"])
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Server, DatastoreEmulator]]:
    with served(request, request.param) as running:
        yield running


@pytest.fixture
def server(running: tuple[Server, DatastoreEmulator]) -> Server:
    """The server on an empty store. The emulator keeps all it was given, and pauses for seconds to tidy up."""
    server, emulator = running
    emulator.reset()
    return server
