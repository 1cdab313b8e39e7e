"""`authflow users factors`, `add-token` and `identities`: what an account is logged in to by, beside its password."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from authflow.cli.common import AsJson, Name, hint, say_json, table, with_application
from authflow.cli.users import app, told

__all__ = ["app"]

if TYPE_CHECKING:
    from authflow.factor_administration import HeldFactor
    from authflow.identity_administration import HeldIdentity


@app.command()
def factors(
    name: Name,
    remove: Annotated[
        str | None, typer.Option(metavar="FACTOR", help="Take this one away.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the second factors of an account, or take one away: the way out for somebody who has lost theirs.

    Examples:

    authflow users factors ada@example.org

    authflow users factors ada@example.org --remove time_based_otp
    """
    if remove is not None:
        removed: str = remove
        account = with_application(lambda app: app.administration.remove_factor(name, removed))
        told(account, f"has no factor {remove} any more", as_json)
        return
    held = with_application(lambda app: app.administration.factors(name))
    if as_json:
        say_json([_factor_data(factor) for factor in held])
    elif held:
        rows = [
            (
                factor.name,
                f"{factor.enrolled_at:%Y-%m-%d}" if factor.enrolled_at else "-",
                "" if factor.remaining is None else f"{factor.remaining} left",
                "" if factor.is_usable else "cannot be asked for: remove it",
            )
            for factor in held
        ]
        table(("FACTOR", "SINCE", "USES", ""), rows)
    else:
        hint(f"{name} has no second factor")


@app.command("add-token")
def add_token(
    name: Name,
    serial: Annotated[str, typer.Option(help="Serial number, as printed on the token.", show_default=False)],
    secret_stdin: Annotated[
        bool, typer.Option("--secret-stdin", help="Read the secret (hexadecimal) from stdin.")
    ] = False,
    interval: Annotated[int, typer.Option(help="Seconds that a code is shown for.")] = 60,
    digits: Annotated[int, typer.Option(help="Length of a code.")] = 6,
    algorithm: Annotated[str, typer.Option(help="SHA1, SHA256 or SHA512.")] = "SHA1",
    as_json: AsJson = False,
) -> None:
    """Hand out a hardware token that shows one-time codes.

    Example: authflow users add-token ada@example.org --serial GA-0815 --secret-stdin < secret.txt
    """
    if not secret_stdin:
        raise typer.BadParameter("the secret is read from standard input alone: give --secret-stdin")
    secret = sys.stdin.readline().strip()
    account = with_application(
        lambda app: app.administration.add_token(name, serial, secret, interval, digits, algorithm.upper())
    )
    told(account, f"has the token {serial}", as_json)


@app.command()
def identities(
    name: Name,
    remove: Annotated[
        str | None, typer.Option(metavar="PROVIDER", help="Disconnect this one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the accounts of elsewhere that an account can be logged in to with, or disconnect one.

    Examples:

    authflow users identities ada@example.org

    authflow users identities ada@example.org --remove google_account
    """
    if remove is not None:
        removed: str = remove
        account = with_application(lambda app: app.administration.remove_identity(name, removed))
        told(account, f"is not connected to {remove} any more", as_json)
        return
    held = with_application(lambda app: app.administration.identities(name))
    if as_json:
        say_json([_identity_data(identity) for identity in held])
    elif held:
        rows = [
            (
                i.provider,
                i.shown_as,
                i.issuer,
                i.subject,
                f"{i.linked_at:%Y-%m-%d}",
                "" if i.is_offered else "not offered",
            )
            for i in held
        ]
        table(("PROVIDER", "SHOWN AS", "ISSUER", "SUBJECT", "SINCE", ""), rows)
    else:
        hint(f"{name} is connected to no account of elsewhere")


# --- Parts ------------------------------------------------------------------------------------------------------------


def _factor_data(factor: HeldFactor) -> dict[str, object]:
    return {
        "name": factor.name,
        "method": factor.method,
        "is_usable": factor.is_usable,
        "enrolled_at": factor.enrolled_at.isoformat() if factor.enrolled_at else None,
        "remaining": factor.remaining,
    }


def _note(identity: HeldIdentity) -> str:
    return "" if identity.is_offered else "its provider is not offered"


def _identity_data(identity: HeldIdentity) -> dict[str, object]:
    return {
        "provider": identity.provider,
        "issuer": identity.issuer,
        "subject": identity.subject,
        "shown_as": identity.shown_as,
        "linked_at": identity.linked_at.isoformat(),
        "is_offered": identity.is_offered,
    }
