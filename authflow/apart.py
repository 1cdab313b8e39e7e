"""The configured application on a store in memory, with nobody to write to: to look at it without touching anything.

What `authflow flows` and `authflow check-provider` work on. Providers, pairs, policy and templates are those of the
deployment; store, queue, mail and keys are not.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from authflow.assembly import Application, build, make_user
from authflow.provider import Fetching
from authflow.seam import Observer
from authflow.services import system_clock
from authflow.settings import Settings
from authflow.user import User


def apart(
    settings: Settings,
    user: User | None = None,
    *,
    clock: Callable[[], datetime] | None = None,
    fetching: Fetching | None = None,
    observers: Sequence[Observer] = (),
    checks_declarations: bool = True,
) -> Application:
    """Build the application apart from everything it is deployed on.

    Args:
        settings: The deployment's; where it runs, and whatever leads outside, is replaced.
        user: Instead of the class that `AUTHFLOW_USER` names.

    Returns:
        An application that has not been opened. Its hashes are the cheapest, since nothing of it is kept.

    Raises:
        ConfigurationError: A declaration is refused.
    """
    alone = replace(
        settings,
        store="memory:",
        tasks="local:",
        mail="console:",
        mail_from="",
        secret_keys=(secrets.token_urlsafe(48),),
        bcrypt_rounds=4,
        workers=1,
        on_app_engine=False,
        on_cloud_run=False,
    )
    return build(
        alone,
        user=user or make_user(settings),
        clock=clock or system_clock,
        fetching=fetching,
        observers=tuple(observers),
        checks_declarations=checks_declarations,
    )
