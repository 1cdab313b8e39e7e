"""`authflow auth-methods`: which ways to log in are open."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import urlsplit

import typer

from authflow.cli.common import AsJson, say, say_json

_LARGEST = 1_000_000
_SECONDS = 10


def auth_methods(
    url: Annotated[str | None, typer.Option(help="Ask the server at this address.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List the open authentication methods: pairs of a first step and a second step or none.

    From the configuration of this machine, or from a running server, as ViUR's admin tools ask for them.

    Examples:

    authflow auth-methods

    authflow auth-methods --url https://login.example.org --json
    """
    pairs = _configured() if url is None else _asked(url)
    if as_json:
        say_json(pairs)
        return
    for primary, second in pairs:
        say(primary if second is None else f"{primary} + {second}")


def _configured() -> list[tuple[str, str | None]]:
    from authflow.assembly import make_user
    from authflow.settings import from_environment

    settings = from_environment()
    registry = make_user(settings).make_registry(settings.provider_environment)
    names = {name: provider.method_name for name, provider in registry.providers.items()}
    return [(names[primary], names[second] if second else None) for primary, second in registry.rules.pairs]


def _asked(url: str) -> list[tuple[str, str | None]]:
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    from authflow.errors import BadInput, FetchFailed

    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise BadInput("--url must be an address such as https://login.example.org")
    request = Request(url.rstrip("/") + "/json/user/getAuthMethods", headers={"Accept": "application/json"})  # noqa: S310
    try:
        with urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - the scheme was checked
            found = json.loads(answer.read(_LARGEST))
    except URLError as error:
        raise FetchFailed(f"{url} does not answer: {error.reason}") from error
    except (OSError, ValueError) as error:
        raise FetchFailed(f"{url} does not answer as authflow does") from error
    if not isinstance(found, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in found):
        raise FetchFailed(f"{url} does not answer as authflow does")
    return [(str(primary), None if second is None else str(second)) for primary, second in found]
