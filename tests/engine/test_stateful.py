"""People who do anything in any order, beside a model: by calls to the engine.

`scripts/explore stateful`, or `AUTHFLOW_STATEFUL_EXAMPLES` and `AUTHFLOW_STATEFUL_STEPS`, ask for more than the few
seconds of the default.
"""

from __future__ import annotations

from tests.stateful.drivers import EngineDriver
from tests.stateful.machine import Machine, scaled


class Engine(Machine):
    """The rules of `Machine`, by calls."""

    make = EngineDriver


TestEngine = Engine.TestCase
TestEngine.settings = scaled(20, 40)
