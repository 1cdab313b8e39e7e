"""Puts the commands together, and turns whatever goes wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from authflow.cli import check, check_provider, flows, importing, methods, serve, upkeep
from authflow.cli.common import REFUSED, fail, groups
from authflow.errors import AuthflowError, ConfigurationError, RequestError


def make_app() -> typer.Typer:
    """Return all commands."""
    app = groups("Serve authflow, and look after its accounts and its store.")
    app.command("serve", no_args_is_help=False)(serve.serve)
    app.add_typer(importing.app, name="users")
    app.command("auth-methods")(methods.auth_methods)
    app.add_typer(upkeep.tasks, name="tasks")
    app.command("clean")(upkeep.clean)
    app.add_typer(upkeep.keys, name="keys")
    app.command("check-config")(check.check_config)
    app.command("check-provider")(check_provider.check_provider)
    app.add_typer(flows.app, name="flows")
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code.

    Args:
        arguments: Instead of the process's own.
    """
    try:
        sys.exit(run(arguments))
    except BrokenPipeError:
        # Whoever read our output has had enough. What is left in the buffer must not raise again at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        result = get_command(make_app()).main(
            args=None if arguments is None else list(arguments), prog_name="authflow", standalone_mode=False
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except typer.TyperException as error:
        if "\n" in error.format_message():
            # No command was given: what comes is the help, and a reader wants its lines.
            print(error.format_message(), file=sys.stderr)
            return REFUSED
        # Usage: the library would print three lines.
        return fail(f"{error.format_message()} (try --help)", REFUSED)
    except typer.Abort:
        return fail("stopped", 1)
    except KeyboardInterrupt:
        return fail("stopped", 130)
    except (ConfigurationError, RequestError) as error:
        return fail(error.detail or error.sentence, REFUSED)
    except AuthflowError as error:
        return fail(error.detail or error.sentence, 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        return fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except Exception as error:
        return fail(f"a fault of authflow itself: {type(error).__name__}: {error}", 1)
