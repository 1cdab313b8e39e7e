"""Keep the test kit out of every process that is no test: it turns clocks, knows secrets and makes accounts.

Importing this module judges the process. The package imports it before anything else of its own.
"""

from __future__ import annotations

import sys

from authflow.errors import ConfigurationError
from authflow.settings import why_not_testing

_RUNNERS = ("pytest", "unittest")


def refuse_outside_tests() -> None:
    """Raise unless this process is a test: pytest or unittest is loaded, or `AUTHFLOW_TESTING=1` says so.

    Raises:
        ConfigurationError: It is none, or it is deployed: on App Engine, on Cloud Run, or behind an https base URL.
    """
    refusal = why_not_testing(is_under_test=any(name in sys.modules for name in _RUNNERS))
    if refusal:
        raise ConfigurationError(f"authflow.testing is for tests alone; {refusal}")


refuse_outside_tests()
