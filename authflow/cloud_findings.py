"""What is dangerous about a deployment on Google Cloud, and about upkeep that nobody does. See `findings`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from authflow.errors import StoreConflict
from authflow.findings import Finding
from authflow.model import from_instant
from authflow.store.protocol import Delete, Insert, Key, Store, Update
from authflow.tasks import outbox
from authflow.tokens import new_id

if TYPE_CHECKING:
    from authflow.assembly import Application
    from authflow.settings import Settings

OVERDUE = timedelta(minutes=15)
"""Nobody looks after tasks that are late by this; a failed one is put off and not late."""

LEFT_OVER = timedelta(days=3)
"""Nobody deletes what has expired if something is there for so long; Datastore's own deletion takes a day or two."""

_SMTP_RELAY = 25

_PROBE_LIVES = timedelta(hours=1)
"""So that the sweep finds the record of a probe that was cut short."""


def of_cloud(settings: Settings) -> Iterator[Finding]:
    """Look at settings that work and do harm."""
    if settings.store.startswith("datastore:"):
        if settings.datastore_emulator:
            yield Finding(
                "store_emulator", "DATASTORE_EMULATOR_HOST: an emulator forgets everything when it ends; unset it"
            )
        if settings.tasks == "local:":
            yield Finding(
                "tasks_local",
                "AUTHFLOW_TASKS: local: looks into Datastore every two seconds, in every process; set cloudtasks:",
            )
    if settings.tasks.startswith("cloudtasks:"):
        yield from _of_queue(settings)
    if settings.on_app_engine:
        yield from _of_app_engine(settings)


def _of_queue(settings: Settings) -> Iterator[Finding]:
    queue = settings.cloud_tasks
    if settings.tasks_emulator:
        yield Finding(
            "tasks_emulator", "CLOUD_TASKS_EMULATOR_HOST: an emulator forgets its queue when it ends; unset it"
        )
    own = settings.google_cloud_project
    if settings.on_app_engine and not queue.service_account and own and queue.project != own:
        yield Finding(
            "tasks_project",
            f"AUTHFLOW_TASKS: a queue of {queue.project} calls that project's application, never this one of {own}",
        )


def _of_app_engine(settings: Settings) -> Iterator[Finding]:
    if any(not key.startswith("secretmanager:") for key in settings.secret_keys):
        yield Finding(
            "keys_in_settings",
            "AUTHFLOW_SECRET_KEYS: whoever may look at the deployed version sees the keys; set secretmanager:NAME",
        )
    server = _server(settings.mail)
    if server is not None and server.password:
        yield Finding(
            "mail_password_in_settings",
            "AUTHFLOW_MAIL: whoever may look at the deployed version sees the password; set secretmanager:NAME",
        )
    if server is not None and server.port == _SMTP_RELAY:
        yield Finding("mail_port", "AUTHFLOW_MAIL: Google Cloud closes port 25; mail providers take mail at 587 or 465")
    if settings.trusted_proxies:
        yield Finding(
            "trusted_proxies", "AUTHFLOW_TRUSTED_PROXIES: of no effect on App Engine, whose own header counts; unset it"
        )


def _server(mail: str) -> SplitResult | None:
    """Take apart the address of a mail server; None where there is none, or where it is refused anyway."""
    if not mail.startswith(("smtp://", "smtps://")):
        return None
    try:
        server = urlsplit(mail)
        _ = server.port
    except ValueError:
        return None
    return server


async def of_upkeep(app: Application) -> AsyncIterator[Finding]:
    """Look whether the store guards what it must, and whether anybody does the deferred work and the cleaning.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    store, now = app.services.store, app.services.clock()
    if app.settings.store.startswith("datastore:") and not await _guards(store, now + _PROBE_LIVES):
        yield Finding("store_unguarded", "AUTHFLOW_STORE: it takes a change made to an older record; use another")
    late = await store.find(outbox.KIND, outbox.DUE, at_most=from_instant(now - OVERDUE), limit=1)
    if late.records:
        yield Finding(
            "tasks_overdue",
            "deferred work, such as mails, waits for more than a quarter of an hour: nobody does it. With Cloud Tasks"
            " deploy queue.yaml and cron.yaml; without it let a server run, or authflow tasks run",
        )
    if await store.find_expired(now - LEFT_OVER, limit=1):
        yield Finding(
            "cleaning_overdue",
            "what expired days ago is still there: deploy cron.yaml, or let cron run authflow clean once a day",
        )


async def _guards(store: Store, expires_at: datetime) -> bool:
    """Try whether a store refuses a write under a version that has passed, on a record of its own that is then gone."""
    key = Key("probe", new_id())
    await store.commit((Insert(key, {"step": 1}, expires_at),))
    try:
        passed = (await store.get((key,)))[key].version
        await store.commit((Update(key, {"step": 2}, passed, expires_at),))
        try:
            await store.commit((Update(key, {"step": 3}, passed, expires_at),))
        except StoreConflict:
            return True
        return False
    finally:
        await store.commit((Delete(key),))
