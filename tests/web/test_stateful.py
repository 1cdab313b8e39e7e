"""People who do anything in any order, beside a model: the rules of the engine's machine, over HTTP."""

from __future__ import annotations

from tests.stateful.drivers import HttpDriver
from tests.stateful.machine import Machine, scaled


class Http(Machine):
    """The rules of `Machine`, by the requests that programs send."""

    make = HttpDriver


TestHttp = Http.TestCase
TestHttp.settings = scaled(8, 40)
