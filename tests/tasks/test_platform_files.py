"""What `gcloud app deploy` is given says what the code counts on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import yaml

from authflow.tasks import outbox
from authflow.tasks.cloud_tasks import OVERDUE
from authflow.web.tasks import CLEANING
from tests.parts.server import ROOT

UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_queue_calls_as_often_as_the_application_would_try() -> None:
    (queue,) = read("queue.yaml")["queue"]
    retries = queue["retry_parameters"]

    first, longest = retries["min_backoff_seconds"], retries["max_backoff_seconds"]
    assert timedelta(seconds=first) == outbox.FIRST_WAIT
    assert timedelta(seconds=longest) == outbox.LONGEST_WAIT
    # Doubled so often, the first wait has grown into the longest.
    assert first * 2 ** (retries["max_doublings"] - 1) < longest <= first * 2 ** retries["max_doublings"]


def test_the_queue_does_not_give_up_before_the_application() -> None:
    (queue,) = read("queue.yaml")["queue"]
    age = queue["retry_parameters"]["task_age_limit"]

    assert int(age[:-1]) * UNITS[age[-1]] >= outbox.MAX_AGE
    assert "task_retry_limit" not in queue["retry_parameters"]


def test_tasks_are_routed_by_the_application_and_not_by_the_queue() -> None:
    (queue,) = read("queue.yaml")["queue"]

    assert "target" not in queue


def test_cron_calls_the_sweep_of_the_service_that_is_deployed() -> None:
    (job,) = read("cron.yaml")["cron"]

    assert (job["url"], job["target"]) == ("/_tasks/sweep", read("app.yaml")["service"])


def test_a_sweep_is_over_before_the_next_one_and_long_before_app_engine_ends_it() -> None:
    (job,) = read("cron.yaml")["cron"]
    every, count, unit = job["schedule"].split()
    sweeping = timedelta(minutes=2) + timedelta(seconds=30) + timedelta(seconds=CLEANING)

    assert (every, unit) == ("every", "minutes")
    assert sweeping < timedelta(minutes=int(count)) < timedelta(minutes=10)
    assert timedelta(minutes=int(count)) > OVERDUE


def test_the_emulators_environment_is_pinned_with_hashes_and_names_no_address() -> None:
    text = (ROOT / "requirements-tasks-emulator.txt").read_text(encoding="utf-8")
    pins = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]

    assert any(pin.startswith("gcloud-tasks-emulator==") for pin in pins)
    assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)
    assert "://" not in text
    assert "--index-url" not in text
