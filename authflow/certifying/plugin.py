"""For pytest: the fixture `certify_provider`. Loaded by its entry point; imports nothing of weight until it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from authflow.certifying.kit import Kit
    from authflow.certifying.report import Certificate
    from authflow.provider import Provider


class Certifier(Protocol):
    """What the fixture gives."""

    def __call__(
        self,
        provider: str | type[Provider],
        *,
        kit: str | type[Kit] | None = None,
        settings: Mapping[str, str] | None = None,
        templates: str = "",
        partial: bool = False,
        seed: int | None = None,
    ) -> Certificate:
        """Certify a provider, or fail the test with what was found. See `authflow.certifying.run.certify`.

        Args:
            partial: Let checks pass that nobody could make, for want of a kit.
            seed: What a failed test names, to draw the same once more.
        """


@pytest.fixture
def certify_provider() -> Certifier:
    """Certify a provider as `authflow check-provider` does; the test fails where the command would exit with 1."""

    def certified(
        provider: str | type[Provider],
        *,
        kit: str | type[Kit] | None = None,
        settings: Mapping[str, str] | None = None,
        templates: str = "",
        partial: bool = False,
        seed: int | None = None,
    ) -> Certificate:
        from authflow.certifying.run import certify

        __tracebackhide__ = True
        certificate = certify(provider, kit=kit, settings=settings, templates=templates, seed=seed)
        if certificate.failed or (certificate.not_shown and not partial):
            pytest.fail(
                "\n".join((certificate.provider, *certificate.lines(), f"drawn from seed={certificate.seed}")),
                pytrace=False,
            )
        return certificate

    return certified
