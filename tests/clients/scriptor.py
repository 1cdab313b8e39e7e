"""Scripts that somebody writes with viur-scriptor-api, run by the interpreter that has it."""

from __future__ import annotations

import json
import subprocess
import textwrap
from typing import Any

from tests.clients.house import PASSWORD, House
from tests.parts.viur_clients import PYTHON

_MARK = "RESULT: "
_BEFORE = """\
import asyncio
import json
import sys

from viur.scriptor import Modules
from viur.scriptor.http_errors import HTTPException

url, name, password = sys.argv[1:]


async def script():
"""
_AFTER = f"""

print({_MARK!r} + json.dumps(asyncio.run(script())))
"""


def run(house: House, script: str, *, name: str, password: str = PASSWORD) -> Any:
    """Run the body of a coroutine that finds `url`, `name`, `password` and `Modules`; return what it returns."""
    done = subprocess.run(
        [
            PYTHON,
            "-I",
            "-c",
            _BEFORE + textwrap.indent(textwrap.dedent(script), "    ") + _AFTER,
            house.url,
            name,
            password,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    last = done.stdout.rstrip().rpartition("\n")[2]
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert last.startswith(_MARK), (done.stdout, done.stderr)
    return json.loads(last.removeprefix(_MARK))
