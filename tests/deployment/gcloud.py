"""What the installed gcloud knows by itself: its commands with their flags, and its readers of YAML files."""

from __future__ import annotations

import functools
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HIDDEN = ("gcloud meta list-files-for-upload",)
"""Commands that are there and not in the table; `upload` runs this one."""

_ARGUMENTS = r"""(?:'[^']*'|"[^"]*"|[^|;)'"])*"""

_READ = """
import sys
sdk = sys.argv[1]
sys.path[:0] = [f"{sdk}/lib", f"{sdk}/lib/third_party"]
from googlecloudsdk.api_lib.app import yaml_parsing
for file in sys.argv[2:]:
    name = file.rpartition("/")[2]
    is_service = name.removesuffix(".yaml") not in ("cron", "queue", "index")
    reader = yaml_parsing.ServiceYamlInfo if is_service else yaml_parsing.ConfigYamlInfo
    print(name, type(reader.FromFile(file).parsed).__name__)
"""


def root() -> Path | None:
    """Return where the Cloud SDK lies, if it is here with what these tests read."""
    found = shutil.which("gcloud")
    sdk = Path(found).resolve().parents[1] if found else None
    return sdk if sdk and (sdk / "data" / "cli" / "gcloud_completions.py").exists() else None


def missing_part() -> str | None:
    return None if root() else "checking commands needs gcloud with its table of completions"


@functools.cache
def _tree() -> Mapping[str, Any]:
    sdk = root()
    assert sdk is not None
    tree: Mapping[str, Any] = runpy.run_path(str(sdk / "data" / "cli" / "gcloud_completions.py"))[
        "STATIC_COMPLETION_CLI_TREE"
    ]
    return tree


def problem_of(command: str) -> str | None:
    """Say what gcloud does not know of a command, or answer `None`."""
    if command in HIDDEN:
        return None
    words = shlex.split(command, comments=True)
    assert words[0] == "gcloud"
    node, position = _tree(), 1
    while position < len(words) and words[position] in node["commands"]:
        node = node["commands"][words[position]]
        position += 1
    if node.get("commands"):
        return f"{command}: {' '.join(words[:position])} is no command"
    known = {*node["flags"], *_tree()["flags"]}
    known |= {"--no-" + flag[2:] for flag in known}
    unknown = [word.partition("=")[0] for word in words[position:] if word.startswith("--")]
    unknown = [flag for flag in unknown if flag not in known]
    return f"{command}: unknown {unknown}" if unknown else None


def commands_in(page: str) -> Iterator[str]:
    """Find the gcloud commands of a Markdown page: in blocks, indented, and within sentences."""
    blocks = re.findall(r"```sh\n(.*?)```", page, re.S) + re.findall(r"(?:^    .*\n)+", page, re.M)
    for block in blocks:
        joined = re.sub(r"\\\n\s*", " ", block)
        for line in joined.splitlines():
            # Behind a pipe, in a loop, in a substitution, in braces.
            for found in re.finditer(rf"(?:^|[|;{{(]|do)\s*(gcloud {_ARGUMENTS})", line.strip()):
                yield found[1].strip()
    yield from re.findall(r"`(gcloud [^`]*)`", page)


def read_yaml(*files: Path) -> list[str]:
    """Read files as `gcloud app deploy` does; return the name and kind of each."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(root()), *map(str, files)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
