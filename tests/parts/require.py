"""Skip a test whose real part is not installed, or fail it where the parts are demanded."""

from __future__ import annotations

import pytest


def require(asker: pytest.FixtureRequest | pytest.Config, condition: bool, reason: str) -> None:
    """Skip the test unless the condition holds; with `--require-real-parts` fail it instead.

    Args:
        asker: The test's `request`, or the configuration.
        reason: What is missing, for the person who reads the report.
    """
    if condition:
        return
    config = asker if isinstance(asker, pytest.Config) else asker.config
    if config.getoption("--require-real-parts", default=False):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
