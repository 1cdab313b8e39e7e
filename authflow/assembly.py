"""From settings to a running whole: the one place where adapters are chosen, each imported only if configured."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from authflow import declarations
from authflow.accounts import Accounts
from authflow.engine import Engine
from authflow.enrolment import Enrolment
from authflow.errors import ConfigurationError
from authflow.fetching import HttpFetching
from authflow.hashing_pool import HashingPool, threads_for
from authflow.mail import MailTransport, transport_from_url
from authflow.notices import handlers
from authflow.passwords import PasswordHasher
from authflow.provider import Fetching
from authflow.registry import import_object
from authflow.render import Renderer
from authflow.seam import Observer, Seam
from authflow.services import Services, system_clock
from authflow.settings import Settings
from authflow.store.instrumented import InstrumentedStore
from authflow.store.protocol import Store
from authflow.tasks.protocol import Handler, TaskQueue
from authflow.tokens import Keyring
from authflow.user import User

if TYPE_CHECKING:
    from authflow.administration import Administration
    from authflow.identities import Identities

log = logging.getLogger("authflow")


@dataclass(frozen=True)
class Application:
    """Everything of one application, wired. Open it on the event loop that serves."""

    settings: Settings
    services: Services
    engine: Engine
    accounts: Accounts
    enrolment: Enrolment
    renderer: Renderer
    transport: MailTransport
    handlers: Mapping[str, Handler]
    fetcher: HttpFetching

    @cached_property
    def identities(self) -> Identities:
        """Identities of elsewhere on accounts. Made when the first page asks for it."""
        from authflow.identities import Identities

        return Identities(self.engine)

    @cached_property
    def administration(self) -> Administration:
        """What operators do. Made when it is asked for: a process that serves seldom does."""
        from authflow.administration import Administration

        return Administration(self.engine)

    async def open(self, *, with_worker: bool = True) -> None:
        """Open the store and, in a server, begin to carry out deferred tasks."""
        await self.services.store.open()
        if with_worker:
            await self.services.tasks.start(self.handlers)

    async def close(self) -> None:
        """Finish what is running and let go of everything."""
        await self.services.tasks.stop()
        await self.engine.settle()
        await self.fetcher.close()
        await self.services.store.close()
        self.services.pool.close()


def build(
    settings: Settings,
    *,
    user: User | None = None,
    store: Store | None = None,
    transport: MailTransport | None = None,
    clock: Callable[[], datetime] = system_clock,
    observers: tuple[Observer, ...] = (),
    fetching: Fetching | None = None,
    checks_declarations: bool = True,
) -> Application:
    """Wire an application.

    Args:
        settings: From `settings.from_environment`.
        user: Instead of the class that `AUTHFLOW_USER` names.
        store, transport, clock, fetching: Instead of what the settings name, for tests and for other adapters.
        observers: Told of every call to store, mail and remote parties.
        checks_declarations: Whether declarations that would serve nobody, or end no flow, are refused. Not for those
            who look for just that.

    Raises:
        ConfigurationError: A setting or declaration is refused.
    """
    keyring = Keyring(secret_keys(settings))
    seam = Seam(observers)
    fetcher = HttpFetching(seam, clock)
    instrumented = InstrumentedStore(store or make_store(settings), seam)
    pool = HashingPool(threads_for(settings.workers))
    renderer = make_renderer(settings)
    services = Services(
        settings=settings,
        store=instrumented,
        tasks=make_queue(settings, instrumented, clock, seam),
        keyring=keyring,
        pool=pool,
        hasher=PasswordHasher(pool, settings.bcrypt_rounds),
        seam=seam,
        clock=clock,
        fetching=fetching or fetcher,
    )
    engine = Engine(user or make_user(settings), services)
    if checks_declarations:
        declarations.check(engine.user, engine.registry)
    sending = transport or make_transport(settings)
    return Application(
        settings=settings,
        services=services,
        engine=engine,
        accounts=Accounts(engine),
        enrolment=Enrolment(engine),
        renderer=renderer,
        transport=sending,
        handlers=handlers(engine, renderer, sending),
        fetcher=fetcher,
    )


def make_renderer(settings: Settings) -> Renderer:
    """Make the renderer, with the application's own templates before ours."""
    try:
        return Renderer(settings.templates or None)
    except ConfigurationError as error:
        raise ConfigurationError(f"AUTHFLOW_TEMPLATES: {error.detail}") from error


def make_user(settings: Settings) -> User:
    """Make the application's `User`."""
    try:
        cls = import_object(settings.user)
    except ConfigurationError as error:
        raise ConfigurationError(f"AUTHFLOW_USER: {error.detail}") from error
    if not (isinstance(cls, type) and issubclass(cls, User)):
        raise ConfigurationError(f"AUTHFLOW_USER: {settings.user} is not a subclass of authflow.user:User")
    return cls()


def make_store(settings: Settings) -> Store:
    """Make the store that the settings name."""
    scheme, _, rest = settings.store.partition(":")
    if scheme == "memory":
        from authflow.store.memory import MemoryStore

        return MemoryStore()
    if scheme == "sqlite":
        from authflow.store.sqlite import SqliteStore

        return SqliteStore(rest)
    from authflow.store.datastore import DatastoreStore

    project, namespace = settings.datastore
    return DatastoreStore(project, namespace, emulator_host=settings.datastore_emulator)


def make_queue(settings: Settings, store: Store, clock: Callable[[], datetime], seam: Seam) -> TaskQueue:
    """Make the task queue that the settings name."""
    if settings.tasks.startswith("local:"):
        from authflow.tasks.local import LocalQueue

        return LocalQueue(store, clock=clock, seam=seam)
    from authflow.tasks.cloud_tasks import CloudTasksQueue

    return CloudTasksQueue(
        store,
        settings.cloud_tasks,
        base_url=settings.base_url,
        service=settings.app_engine_service,
        clock=clock,
        seam=seam,
        emulator_host=settings.tasks_emulator,
    )


def make_transport(settings: Settings) -> MailTransport:
    """Make the mail transport that the settings name."""
    address = settings.mail
    if address.startswith("secretmanager:"):
        # It holds a password. What is for a developer's machine has no business in a secret.
        address = _secret(address, "AUTHFLOW_MAIL", settings).strip()
        if not address.startswith(("smtp://", "smtps://")):
            raise ConfigurationError("AUTHFLOW_MAIL: the secret that it names must hold smtp://... or smtps://...")
    try:
        return transport_from_url(address, sender=mail_sender(settings))
    except ConfigurationError as error:
        raise ConfigurationError(f"AUTHFLOW_MAIL, AUTHFLOW_MAIL_FROM: {error.detail}") from error


def mail_sender(settings: Settings) -> str:
    """Return the address mails come from; made up only where mail does not leave the machine."""
    if settings.mail_from:
        return settings.mail_from
    if settings.mail.startswith(("console:", "file:")):
        return "authflow@localhost"
    raise ConfigurationError("AUTHFLOW_MAIL_FROM must name the sender's address")


def secret_keys(settings: Settings) -> tuple[str, ...]:
    """Return the master keys; beside a SQLite file they are made at the first start.

    Raises:
        ConfigurationError: None are set where they must be, Secret Manager does not give them, or the file of keys is
            readable by others.
    """
    if settings.secret_keys:
        return tuple(key for given in settings.secret_keys for key in _keys_named(given, settings))
    scheme, _, path = settings.store.partition(":")
    if scheme == "memory":
        return (secrets.token_urlsafe(48),)
    if scheme != "sqlite":
        raise ConfigurationError("AUTHFLOW_SECRET_KEYS must be set for this store")
    return _keys_beside(Path(path))


def _keys_named(given: str, settings: Settings) -> tuple[str, ...]:
    """Return a key that was given, or those that lie in the secret whose name was given: one a line, or by commas."""
    if not given.startswith("secretmanager:"):
        return (given,)
    text = _secret(given, "AUTHFLOW_SECRET_KEYS", settings)
    keys = tuple(key for line in text.splitlines() for part in line.split(",") if (key := part.strip()))
    if not keys:
        raise ConfigurationError("AUTHFLOW_SECRET_KEYS: the secret that it names holds no key")
    return keys


def _secret(given: str, variable: str, settings: Settings) -> str:
    from authflow import secret_manager

    return secret_manager.read(given, variable, project=settings.google_cloud_project)


def _keys_beside(database: Path) -> tuple[str, ...]:
    file = database.with_name(database.name + ".keys")
    try:
        # Made by exactly one process: the others find it there.
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_keys(file)
    except OSError as error:
        raise ConfigurationError(f"AUTHFLOW_STORE: {file} cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "w") as stream:
        stream.write(secrets.token_urlsafe(48) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return _read_keys(file)


def _read_keys(file: Path) -> tuple[str, ...]:
    if file.stat().st_mode & 0o077:
        raise ConfigurationError(f"{file} is readable by others; run: chmod 600 {file}")
    for _ in range(200):
        keys = tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
        if keys:
            return keys
        import time

        time.sleep(0.01)  # Another process has made it and is about to write it.
    raise ConfigurationError(f"{file} is empty")
