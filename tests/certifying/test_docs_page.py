"""docs/providers.md is true: its providers are certified as they stand there, its quotes are in the files named.

That they can be logged in with is in `test_docs_served`.
The table of checks and the quotations are written anew by `python -m tests.certifying.test_docs_page`.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from authflow.certifying.run import CHECKS

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/providers.md"
QUOTE = re.compile(r"<!-- from: ([^\n]+?) -->\n```python\n(.*?)```\n<!-- end -->", re.S)
BLOCK = re.compile(r"<!-- made: checks -->\n(.*?)<!-- end -->", re.S)


def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def table() -> str:
    lines = ["| check | where it is ok | to mend it |", "|---|---|---|"]
    for check in CHECKS:
        cells = (
            cell.replace("|", "\\|").replace("{{", "`{{").replace("}}", "}}`") for cell in (check.shows, check.mend)
        )
        lines.append(f"| `{check.name}` | {' | '.join(cell.replace('<', '&lt;') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def quotation(what: str) -> str:
    """Return methods as they stand in a file.

    Args:
        what: The file, and each method as `Class.method`.
    """
    path, *methods = what.split()
    source = (ROOT / path).read_text(encoding="utf-8")
    found = []
    for name in methods:
        cls, _, method = name.partition(".")
        inside = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == cls)
        node = next(n for n in inside.body if getattr(n, "name", "") == method)
        found.append("\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno]) + "\n")
    return "\n".join(found)


def files() -> dict[str, str]:
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text(), re.S))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(tmp_path)


def copied(folder: Path) -> Path:
    """Fill an empty folder as a reader does who copies what the page says."""
    for name, source in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source, encoding="utf-8")
    return folder


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTHFLOW_")}
    environment |= {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), **settings}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=120)


def command_of(program: str) -> list[str]:
    """Return the arguments of a command that the page gives, from the last of these words on."""
    found = re.search(rf"^(?:PYTHONPATH=\. )?(?:AUTHFLOW_\w+=\S+ )*({program}.*)$", text(), re.M)
    assert found is not None
    return found[1].split()[len(program.split()) - 1 :]


@pytest.mark.parametrize(
    ("provider", "kit"),
    [("button_token:ButtonToken", "token_owner:TokenOwner"), ("staff_badge:StaffBadge", "badge_holder:BadgeHolder")],
)
def test_the_providers_of_the_page_are_certified_as_the_page_says(folder: Path, provider: str, kit: str) -> None:
    said = run(folder, "-m", "authflow.cli", "check-provider", *command_of(f"authflow check-provider {provider}"))

    assert kit in command_of(f"authflow check-provider {provider}")
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"{provider}: certified; 0 of" in said.stdout


def test_the_test_of_the_page_passes(folder: Path) -> None:
    # By its module, whether or not this checkout's entry points are installed.
    plugins = ("-p", "no:authflow_certifying", "-p", "authflow.certifying.plugin", "-p", "no:cacheprovider")
    said = run(folder, "-m", "pytest", "-q", *plugins, *command_of("pytest test_button_token.py"))

    assert said.returncode == 0, said.stdout + said.stderr


def test_the_fault_that_the_page_proposes_is_found_as_it_says(folder: Path) -> None:
    file = folder / "button_token.py"
    source = file.read_text(encoding="utf-8")
    assert "Verified(context.prove(self), spent)" in source
    file.write_text(source.replace("Verified(context.prove(self), spent)", "Verified(context.prove(self))"))

    said = run(folder, "-m", "authflow.cli", *command_of("authflow check-provider"))

    assert said.returncode == 1
    assert re.search(r"^FAILED +replay_is_refused +.*taken again", said.stdout, re.M)


def test_the_codes_of_the_page_are_those_of_rfc_4226(folder: Path) -> None:
    module: dict[str, object] = {"__name__": "button_token"}
    exec(files()["button_token.py"], module)

    assert [module["hotp"](b"12345678901234567890", n) for n in range(3)] == ["755224", "287082", "359152"]


def test_what_is_quoted_stands_in_the_file_it_is_from() -> None:
    found = QUOTE.findall(text())

    assert {what.split()[0] for what, _ in found} == {
        "examples/printed_list.py", "examples/passkey.py", "examples/openid_connect.py", "examples/code_by_mail.py",
    }  # fmt: skip
    for what, quoted in found:
        assert quoted == quotation(what), f"{what}: write it anew by: python -m tests.certifying.test_docs_page"


def test_every_check_is_told_with_the_way_out() -> None:
    found = BLOCK.search(text())

    assert found is not None
    assert found[1] == table(), "write it anew by: python -m tests.certifying.test_docs_page"


def write() -> None:
    """Write the table and the quotations anew."""
    new = BLOCK.sub(lambda _: f"<!-- made: checks -->\n{table()}<!-- end -->", text())
    new = QUOTE.sub(lambda m: f"<!-- from: {m[1]} -->\n```python\n{quotation(m[1])}```\n<!-- end -->", new)
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    write()
