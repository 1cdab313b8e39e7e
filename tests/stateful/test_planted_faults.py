"""What the machines are worth: the product is broken in one place, and they must notice, by calls and by HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from authflow import gates, sessions, tickets
from authflow.throttle import Escalating, SlidingWindow
from providers.recovery_codes import RecoveryCodes
from providers.time_based_otp import TimeBasedOTP
from tests.stateful.drivers import EngineDriver, HttpDriver
from tests.stateful.machine import Machine


def epochs_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "belongs_to", lambda session, account: session.account_id == account.id)


def flows_outlive_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gates.demand_stored

    def without_epoch(flow, *, now, epoch, is_active, fingerprint, **more):
        epoch = None if epoch is None else flow.epoch
        return right(flow, now=now, epoch=epoch, is_active=epoch is not None, fingerprint=fingerprint, **more)

    monkeypatch.setattr(gates, "demand_stored", without_epoch)


def codes_can_be_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = TimeBasedOTP._judge
    monkeypatch.setattr(
        TimeBasedOTP, "_judge", lambda self, device, *rest: right(self, replace(device, last_counter=-1), *rest)
    )


def recovery_codes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    right = RecoveryCodes.answer

    async def answer(self, credential, submission, context):
        outcome = await right(self, credential, submission, context)
        return replace(outcome, credential=credential) if hasattr(outcome, "proof") else outcome

    monkeypatch.setattr(RecoveryCodes, "answer", answer)


def codes_are_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Escalating, "wait", lambda self, state, now: None)
    monkeypatch.setattr(Escalating, "room", lambda self, state, now: 100)


def failures_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlidingWindow, "after_failure", lambda self, state, now: dict(state))


def tickets_outlive_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    right = tickets.judge

    def judge(record, account, purpose, now):
        if record is not None and account is not None:
            account = replace(account, epoch=record.data["epoch"])
        return right(record, account, purpose, now)

    monkeypatch.setattr(tickets, "judge", judge)


FAULTS = (
    epochs_do_not_count,
    flows_outlive_changes,
    codes_can_be_replayed,
    recovery_codes_are_kept,
    codes_are_not_limited,
    failures_are_forgotten,
    tickets_outlive_changes,
)


@pytest.mark.parametrize("driver", [EngineDriver, HttpDriver])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found(fault: Callable[[pytest.MonkeyPatch], None], driver: type, monkeypatch) -> None:
    fault(monkeypatch)
    machine = type("Broken", (Machine,), {"make": driver})
    quickly = settings(
        max_examples=300,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )

    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=quickly)
