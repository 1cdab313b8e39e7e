"""`authflow users edit`: what an account is called, and what it may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from authflow.cli.common import AsJson, Name, hint, with_application
from authflow.cli.credentials import app
from authflow.cli.users import told

__all__ = ["app"]

if TYPE_CHECKING:
    from authflow.assembly import Application
    from authflow.model import Account, Plain


@app.command()
def edit(
    name: Name,
    new_name: Annotated[
        str | None, typer.Option("--name", help="What to log in with from now on.", show_default=False)
    ] = None,
    email: Annotated[str | None, typer.Option(help="Where mail goes; empty for nowhere.", show_default=False)] = None,
    status: Annotated[
        str | None, typer.Option(help="A number, or a name such as active or disabled.", show_default=False)
    ] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role to have, instead of those so far.")] = None,
    no_roles: Annotated[bool, typer.Option("--no-roles", help="Take all roles away.")] = False,
    access: Annotated[list[str] | None, typer.Option(help="A right to have, instead of those so far.")] = None,
    no_access: Annotated[bool, typer.Option("--no-access", help="Take all rights of its own away.")] = False,
    firstname: Annotated[str | None, typer.Option(show_default=False)] = None,
    lastname: Annotated[str | None, typer.Option(show_default=False)] = None,
    field: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Any other field of the profile.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change an account. Name, address, status, roles and rights end its sessions.

    Examples:

    authflow users edit ada@example.org --role editor --firstname Ada

    authflow users edit ada@example.org --name countess@example.org

    authflow users edit ada@example.org --role custom --access user-view --status active
    """
    if (role and no_roles) or (access and no_access):
        raise typer.BadParameter("--role and --no-roles, --access and --no-access exclude each other")
    profile: dict[str, Plain] = {}
    for given in field or ():
        key, equals, value = given.partition("=")
        if not equals:
            raise typer.BadParameter("--field takes NAME=VALUE")
        profile[key] = value
    named = {"firstname": firstname, "lastname": lastname}
    profile |= {key: value for key, value in named.items() if value is not None}
    state = None if status is None else _status_of(status)

    async def work(app: Application) -> Account:
        from authflow.revising import Revision

        wanted = Revision(
            name=new_name,
            email=email,
            status=state,
            roles=() if no_roles else role or None,
            access=() if no_access else access or None,
            profile=profile,
        )
        return await app.administration.edit(name, wanted)

    account = with_application(work)
    told(account, "is as you said", as_json)
    if access and account.access != tuple(access):
        hint("Rights of its own count without a role, or with the role custom; they were taken away.")


def _status_of(text: str) -> int:
    from authflow.model import Status

    if text.isascii() and text.isdigit() and len(text) < 4:
        return int(text)
    try:
        return Status[text.strip().upper().replace(" ", "_").replace("-", "_")]
    except KeyError:
        known = ", ".join(status.name.lower().replace("_", "-") for status in Status)
        raise typer.BadParameter(f"--status: a number, or one of {known}") from None
