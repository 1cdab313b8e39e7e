"""What the engine stands on: one frozen bundle, made when the app is built and handed in everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from authflow.context import NoFetching
from authflow.hashing_pool import HashingPool
from authflow.passwords import PasswordHasher
from authflow.provider import Fetching
from authflow.seam import Seam
from authflow.settings import Settings
from authflow.store.protocol import Store
from authflow.tasks.protocol import TaskQueue
from authflow.tokens import Keyring


def system_clock() -> datetime:
    """Return the time, aware UTC. The only clock of the product; tests hand in another."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """Store, queue, keys, clock and hashing of one application."""

    settings: Settings
    store: Store
    tasks: TaskQueue
    keyring: Keyring
    pool: HashingPool
    hasher: PasswordHasher
    seam: Seam
    clock: Callable[[], datetime] = system_clock
    fetching: Fetching = field(default_factory=NoFetching)
