"""The matrix can fail: mistakes that are put into the product are found, each for what it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest

from authflow.errors import StoreConflict, StoreUnavailable
from authflow.tasks.protocol import Handler, Task
from tests.faults.matrix import try_all
from tests.faults.operations import OPERATIONS
from tests.faults.scene import Stage
from tests.faults.virtual_time import run


def lost_commits_are_taken_for_done(stage: Stage) -> None:
    commit = stage.site.app.engine.commit

    async def careless(plan: Any) -> None:
        with contextlib.suppress(StoreUnavailable):
            await commit(plan)

    stage.site.app.engine.commit = careless  # type: ignore[method-assign]


def conflicts_are_taken_for_done(stage: Stage) -> None:
    commit = stage.site.app.engine.commit

    async def careless(plan: Any) -> None:
        with contextlib.suppress(StoreConflict):
            await commit(plan)

    stage.site.app.engine.commit = careless  # type: ignore[method-assign]


def one_commit_is_split_in_two(stage: Stage) -> None:
    store = stage.site.app.services.store
    commit = store.commit

    async def split(writes: Any, **more: Any) -> None:
        half = len(writes) // 2
        for part in (writes[:half], writes[half:]):
            if part:
                await commit(part, **more)

    store.commit = split  # type: ignore[method-assign]


def guards_are_left_out(stage: Stage) -> None:
    store = stage.site.app.services.store
    commit = store.commit

    async def stubborn(writes: Any, **more: Any) -> None:
        while True:
            try:
                return await commit(writes, **more)
            except StoreConflict:
                await asyncio.sleep(0)

    store.commit = stubborn  # type: ignore[method-assign]


def a_store_that_is_away_is_asked_again(stage: Stage) -> None:
    store = stage.site.app.services.store
    get = store.get

    async def patient(keys: Any) -> Any:
        try:
            return await get(keys)
        except StoreUnavailable:
            return await get(keys)

    store.get = patient  # type: ignore[method-assign]


def faults_are_told_without_when_to_come_back(stage: Stage) -> None:
    edge = stage.site.edge
    refused = edge._refused

    def silent(*given: Any) -> Any:
        answer = refused(*given)
        answer.headers = [header for header in answer.headers if header[0] != b"retry-after"]
        return answer

    edge._refused = silent  # type: ignore[method-assign]


def faults_are_told_with_their_detail(stage: Stage) -> None:
    edge = stage.site.edge
    refused = edge._refused

    def talkative(x: Any, error: Any, render: Any) -> Any:
        answer = refused(x, error, render)
        answer.body += error.detail.encode()
        return answer

    edge._refused = talkative  # type: ignore[method-assign]


def what_was_typed_is_logged_with_a_fault(stage: Stage) -> None:
    edge = stage.site.edge
    refused = edge._refused

    def talkative(x: Any, error: Any, render: Any) -> Any:
        logging.getLogger("authflow.web").error("failed with %s", dict(x.values))
        return refused(x, error, render)

    edge._refused = talkative  # type: ignore[method-assign]


def a_place_is_kept_after_a_fault(stage: Stage) -> None:
    store, pool = stage.site.app.services.store, stage.site.app.services.pool
    get = store.get

    async def leaking(keys: Any) -> Any:
        try:
            return await get(keys)
        except StoreUnavailable:
            pool.reserve()
            raise

    store.get = leaking  # type: ignore[method-assign]


def a_login_answers_before_it_is_written(stage: Stage) -> None:
    submissions = stage.site.app.engine.submissions
    first = submissions.first

    async def hasty(*given: Any) -> Any:
        told: list[Any] = []
        tell = submissions._told

        async def listening(plan: Any, *more: Any) -> Any:
            told.append(plan.result)
            return await tell(plan, *more)

        submissions._told = listening  # type: ignore[method-assign]
        commit = stage.site.app.engine.commit

        async def later(plan: Any) -> None:
            told.append(plan.result)
            await commit(plan)

        stage.site.app.engine.commit = later  # type: ignore[method-assign]
        try:
            return await first(*given)
        except StoreUnavailable:
            if told:
                return told[-1]
            raise
        finally:
            stage.site.app.engine.commit = commit  # type: ignore[method-assign]
            submissions._told = tell  # type: ignore[method-assign]

    submissions.first = hasty  # type: ignore[method-assign]


def mails_that_fail_are_forgotten(stage: Stage) -> None:
    handlers: dict[str, Handler] = dict(stage.site.app.handlers)

    def forgetful(do: Handler) -> Handler:
        async def handler(task: Task) -> None:
            try:
                await do(task)
            except Exception:
                logging.getLogger("authflow.tasks").info("a mail was not sent")

        return handler

    object.__setattr__(stage.site.app, "handlers", {name: forgetful(do) for name, do in handlers.items()})


@pytest.mark.parametrize(
    ("plant", "name", "told"),
    [
        (lost_commits_are_taken_for_done, "login wrong", "answered as done, but it is not"),
        (lost_commits_are_taken_for_done, "code right", "answered as done, but it is not"),
        (conflicts_are_taken_for_done, "login wrong", "answered as done, but it is not"),
        (one_commit_is_split_in_two, "change password", "and so may be half done"),
        (one_commit_is_split_in_two, "enrol, confirm", "and so may be half done"),
        (guards_are_left_out, "login wrong", "goes on for ever"),
        (a_store_that_is_away_is_asked_again, "login right", "took 4.0 s"),
        (faults_are_told_without_when_to_come_back, "login page of a session", "without Retry-After"),
        (faults_are_told_with_their_detail, "login right", "the answer holds"),
        (what_was_typed_is_logged_with_a_fault, "login right", "a secret is in the log"),
        (a_place_is_kept_after_a_fault, "login right", "something is still taken"),
        (a_login_answers_before_it_is_written, "login wrong", "answered as done, but it is not"),
        (mails_that_fail_are_forgotten, "task: recovery mail", "0 mails instead of 1"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_a_planted_mistake_is_found(plant: Callable[[Stage], None], name: str, told: str) -> None:
    findings = run(try_all(OPERATIONS[name], plant))

    assert any(told in what for what in findings.wrong), findings.wrong[:5]
