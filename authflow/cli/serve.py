"""`authflow serve`: the stock application under uvicorn."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from authflow.cli.common import hint, say

if TYPE_CHECKING:
    from authflow.assembly import Application

_START_PAGES = 5
"""Hundreds of accounts that are looked at for orphaned factors before serving."""

_GRACE = 10
"""Seconds that requests in progress get when the server is told to stop."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that serve.  [default: AUTHFLOW_WORKERS or 1]")
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log every request.")] = False,
) -> None:
    """Serve the pages and the JSON interface.

    Everything else is set by the environment, see docs/settings.md. On the first start of a store that never had an
    account, an administrator is made and a link is printed by which to choose its password.

    Examples:

    authflow serve

    AUTHFLOW_BASE_URL=https://login.example.org authflow serve --port 9000 --workers 4
    """
    from authflow.assembly import build
    from authflow.settings import from_environment

    listening = _bind(host, port)
    port = listening.getsockname()[1]
    origin = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if workers is not None:
        os.environ["AUTHFLOW_WORKERS"] = str(workers)
    settings = from_environment(base_url=origin)
    # What workers read when they build their own application.
    os.environ.setdefault("AUTHFLOW_BASE_URL", settings.base_url)
    app = build(settings)
    link, locked_out = asyncio.run(_prepare(app))
    if link is not None:
        say(f"This store is new. Choose the password of {settings.admin} here, within an hour and once:\n\n  {link}\n")
        sys.stdout.flush()
    for message in locked_out:
        hint(f"warning: {message}")
    _announce(host, port, settings.base_url)
    _run(app, listening, settings.workers, access_log)


async def _prepare(app: Application) -> tuple[str | None, list[str]]:
    """Make the first administrator; look for people whose enrolled factor nobody can ask for any more."""
    from authflow.findings import orphans

    await app.services.store.open()
    try:
        link = await app.administration.create_new_user_if_not_exists()
        # A few pages: `authflow check-config` looks at everybody.
        return link, [finding.message async for finding in orphans(app, pages=_START_PAGES)]
    finally:
        # Opened again by the server, on its own event loop.
        await app.services.store.close()


def _run(app: Application, listening: socket.socket, workers: int, access_log: bool) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from authflow.web.app import create_app

    config = uvicorn.Config(
        create_app(app) if workers == 1 else "authflow.asgi:app",
        workers=workers,
        http="authflow.web.bounded:BoundedProtocol",
        ws="none",
        lifespan="on",
        access_log=access_log,
        log_config=_logging(),
        server_header=False,
        # The application works out by itself whom a proxy may speak for (AUTHFLOW_TRUSTED_PROXIES).
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE,
    )
    # uvicorn raises the signal again after an orderly stop, and that would end us as if we had crashed.
    for stopping in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stopping, lambda *_: None)
    if workers > 1:
        app.services.pool.close()
        Multiprocess(config, sockets=[listening]).run()
        return
    server = uvicorn.Server(config)
    server.run(sockets=[listening])
    if not server.started:
        raise typer.Exit(1)


def _bind(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    listening.set_inheritable(True)
    return listening


def _announce(host: str, port: int, base_url: str) -> None:
    """Say where to go as soon as somebody answers there."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound

    def wait() -> None:
        import http.client

        while True:
            connection = http.client.HTTPConnection(reachable, port, timeout=2)
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            finally:
                connection.close()
            say(f"authflow serves {base_url}/user/login")
            sys.stdout.flush()
            return

    threading.Thread(target=wait, name="announce", daemon=True).start()


def _logging() -> dict[str, object]:
    """Return how to log: plain lines on stderr, the events of authflow among them."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "filters": {"paths": {"()": "authflow.web.access_log.PathsAlone"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
        "loggers": {
            "authflow": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            "uvicorn.error": {"level": "WARNING"},
            "uvicorn.access": {"handlers": ["stderr"], "level": "INFO", "propagate": False, "filters": ["paths"]},
        },
    }
