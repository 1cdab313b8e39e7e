"""A real OpenID issuer on loopback (npm: `oidc-provider`), and somebody who signs in there by hand.

with OpenIdProvider(["http://127.0.0.1:8000/user/auth_openidconnect/login"], {"ada": {"name": "Ada"}}) as it:
    address = await sign_in(redirect_url, "ada")     # where the issuer sends the browser back to
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import httpx

from tests.parts.made_once import CACHE, ROOT, complaint, made_once

SOURCE = ROOT / "tests" / "parts" / "openid"
HOME = CACHE / "openid-provider"
_MOST_PAGES = 12


@functools.cache
def missing_part() -> str | None:
    """Install the issuer unless it is there; say why it cannot be had, or answer `None`."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "the OpenID issuer needs Node.js 20 or newer, with npm"

    def make() -> str | None:
        with tempfile.TemporaryDirectory(prefix="openid-") as temporary:
            folder = Path(temporary) / "openid"
            shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules"))
            # No script of a package runs. What npm has fetched before comes from its own cache.
            install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]
            if reason := complaint(install, folder=folder):
                return f"npm cannot install the OpenID issuer: {reason}"
            shutil.copytree(folder, HOME)
        return None

    files = sorted(file for file in SOURCE.iterdir() if file.is_file())
    return made_once(HOME, [part for file in files for part in (file.name.encode(), file.read_bytes())], make)


class OpenIdProvider:
    """The issuer while the block lasts. It ends with the process that started it, too.

    Args:
        redirect_uris: Where its clients may be sent back to.
        claims: By login name, what the issuer says of them beside the subject, which is the name.
    """

    def __init__(self, redirect_uris: Sequence[str], claims: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._wishes = json.dumps({"redirect_uris": list(redirect_uris), "claims": dict(claims or {})})
        self._process: subprocess.Popen[str] | None = None
        self.issuer = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["node", "server.mjs", self._wishes], cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                self.issuer = json.loads(line)["issuer"]
                return self
        raise RuntimeError("the OpenID issuer did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, as an outage does: nobody listens any more."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def settings(self, client: str = "rsa") -> dict[str, str]:
        """Return the deployment settings that lead to it, without `AUTHFLOW_`, in lower case."""
        return {
            "oidc_client_id": client,
            "oidc_client_secret": f"the secret of {client}",
            "oidc_issuer": self.issuer,
            "oidc_authorization_endpoint": f"{self.issuer}/auth",
            "oidc_token_endpoint": f"{self.issuer}/token",
            "oidc_jwks_uri": f"{self.issuer}/jwks",
        }

    def environment(self, client: str = "rsa") -> dict[str, str]:
        """Return the same as variables."""
        return {f"AUTHFLOW_{name.upper()}": value for name, value in self.settings(client).items()}


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.action = given.get("action") or ""
        elif tag == "input" and given.get("name"):
            self.values[str(given["name"])] = given.get("value") or ""


async def sign_in(address: str, login: str, *, agrees: bool = True) -> str:
    """Go where a redirect leads, sign in and agree; return the address that the issuer sends the browser back to.

    Args:
        login: Any name; it is the subject.
        agrees: Whether the person goes on, or leaves by the issuer's own way out.
    """
    origin = address[: address.index("/", 8)]
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(address)
        for _ in range(_MOST_PAGES):
            if answer.has_redirect_location:
                target = urljoin(str(answer.url), answer.headers["location"])
                if not target.startswith(origin + "/"):
                    return target
                answer = await client.get(target)
                continue
            assert answer.status_code == 200, answer.text
            form = _Form()
            form.feed(answer.text)
            if not agrees:
                answer = await client.get(f"{answer.url}/abort")
                continue
            typed = {"login": login, "password": "not looked at"} if "login" in form.values else {}
            answer = await client.post(urljoin(str(answer.url), form.action), data={**form.values, **typed})
    raise AssertionError("the issuer did not send the browser back")


if __name__ == "__main__":
    sys.exit(missing_part())
