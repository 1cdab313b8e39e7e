"""Certifying providers: does one keep the contract that the engine relies on, whatever is sent to it?

`authflow check-provider package.module:Class`, and the same as the pytest fixture `certify_provider`. What needs a
right answer needs somebody who can give one: see `kit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authflow.assembly import Application
    from authflow.findings import Finding
    from authflow.provider import Provider

_QUICK = (
    "declaration", "configuring", "fields", "evidence", "begin_is_pure", "challenge_is_of_the_flow",
    "identify_is_closed", "can_handle_is_pure", "empty_is_refused", "address_is_safe",
    "outcomes_are_closed", "raises_nothing", "nothing_global", "sentences",
)  # fmt: skip


def quick(app: Application, provider: Provider) -> list[Finding]:
    """Make the checks that need nobody's answer and no page: some tens of milliseconds.

    Args:
        app: Whose settings the provider was configured with.
        provider: One of its providers; others of its class are made.

    Returns:
        What failed. An empty list is no certificate.
    """
    from authflow.certifying.run import certify
    from authflow.errors import ConfigurationError
    from authflow.findings import Finding

    settings = app.settings
    try:
        certificate = certify(
            type(provider), settings=settings.provider_environment, templates=settings.templates, only=_QUICK,
            with_kit=False,
        )  # fmt: skip
    except ConfigurationError as error:
        return [Finding("provider_declines", f"{provider.name}: {error.detail}")]
    return [Finding(f"provider_{one.name}", f"{provider.name}: {one.why}") for one in certificate.failed]
