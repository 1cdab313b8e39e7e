"""The login screen of ViUR's admin (npm: `@viur/vue-utils`), built by Vite into a page of static files.

Made once, from `tests/clients/vue`. The page names no server: whoever serves it has the instance at the same origin.
"""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
from pathlib import Path

from tests.parts.made_once import CACHE, ROOT, complaint, made_once

SOURCE = ROOT / "tests" / "clients" / "vue"
PAGE = CACHE / "vue-login"
PREFIX = "/viur-login/"
"""Below which the page expects its files; `vite.config.js` says the same."""


@functools.cache
def missing_part() -> str | None:
    """Build the page unless it is there; say why it cannot be had, or answer `None`."""
    npm = shutil.which("npm")
    if npm is None:
        return "the login screen of ViUR's admin needs Node.js 20 or newer, with npm"

    def make() -> str | None:
        with tempfile.TemporaryDirectory(prefix="vue-login-") as temporary:
            folder = Path(temporary) / "vue"
            shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
            # No script of a package runs. What npm has fetched before comes from its own cache.
            install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]
            if reason := complaint(install, folder=folder):
                return f"npm cannot install the login screen of ViUR's admin: {reason}"
            if reason := complaint([npm, "run", "build"], folder=folder):
                return f"Vite cannot build the login screen of ViUR's admin: {reason}"
            shutil.copytree(folder / "dist", PAGE)
        return None

    files = sorted(file for file in SOURCE.rglob("*") if file.is_file() and "node_modules" not in file.parts)
    ingredients = [part for file in files for part in (str(file.relative_to(SOURCE)).encode(), file.read_bytes())]
    return made_once(PAGE, ingredients, make)


if __name__ == "__main__":
    sys.exit(missing_part())
