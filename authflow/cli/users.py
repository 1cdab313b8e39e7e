"""`authflow users`: accounts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from authflow.cli.common import AsJson, Name, entries, groups, hint, say, say_json, table, with_application

if TYPE_CHECKING:
    from authflow.assembly import Application
    from authflow.model import Account, LoginInfo

app = groups("Make, find, open and close accounts.")

Password = Annotated[
    str | None, typer.Option(help="Everybody on this machine can see it; better --password-stdin.", show_default=False)
]
PasswordFromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


@app.command()
def create(
    name: Name,
    is_active: Annotated[bool, typer.Option("--active", help="May log in at once.")] = False,
    is_admin: Annotated[bool, typer.Option("--admin", help="May do everything (access right root).")] = False,
    email: Annotated[str | None, typer.Option(help="Where mail goes, unless it is NAME.", show_default=False)] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role to have. Several are given one by one.")] = None,
    password: Password = None,
    password_stdin: PasswordFromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Make an account. Without --active it cannot log in yet; without a password its owner chooses one by a link.

    Examples:

    authflow users create ada@example.org --active

    authflow users create root@example.org --active --admin --password-stdin < password.txt
    """
    chosen = _password(password, password_stdin)

    async def work(app: Application) -> Account:
        return await app.administration.create(
            name, email=email, password=chosen, is_active=is_active, is_admin=is_admin, roles=tuple(role or ())
        )

    account = with_application(work, makes_store=True)
    if as_json:
        say_json(as_data(account))
        return
    say(f"created {account.name} ({_status(account.status)})")
    if chosen is None:
        hint(f"It has no password: make a link to choose one by `authflow users setup-link {account.name}`.")


@app.command("list")
def list_accounts(
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at a time.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Of the page before.", show_default=False)] = None,
    search: Annotated[str, typer.Option(help="How the names begin.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """List accounts by name, a page at a time.

    Examples:

    authflow users list

    authflow users list --limit 500 --json
    """

    async def work(app: Application) -> tuple[tuple[Account, ...], str | None]:
        page = await app.administration.list(cursor, limit, search)
        return page.accounts, page.cursor

    accounts, following = with_application(work)
    if as_json:
        say_json({"accounts": [as_data(account) for account in accounts], "cursor": following})
        return
    rows = [
        (a.name, _status(a.status), " ".join((*a.roles, *a.access)), " ".join(a.factors), f"{a.created_at:%Y-%m-%d}")
        for a in accounts
    ]
    table(("NAME", "STATUS", "RIGHTS", "FACTORS", "CREATED"), rows)
    if following is not None:
        hint(f"There are more: --cursor {following}")


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show an account.

    Example: authflow users show ada@example.org
    """

    async def work(app: Application) -> tuple[Account, LoginInfo]:
        from authflow.model import LoginInfo
        from authflow.records import login_info_key

        account = await app.administration.find(name)
        key = login_info_key(account.id)
        record = (await app.services.store.get((key,))).get(key)
        return account, LoginInfo() if record is None else LoginInfo.from_data(record.data)

    account, info = with_application(work)
    last = info.last_at.isoformat(timespec="seconds") if info.last_at else None
    if as_json:
        say_json({**as_data(account), "logins": info.count, "last_login_at": last})
        return
    entries(
        {
            "name": account.name,
            "id": account.id,
            "e-mail": account.email or "-",
            "status": _status(account.status),
            "roles": " ".join(account.roles) or "-",
            "access": " ".join(account.access) or "-",
            "factors": " ".join(account.factors) or "-",
            "created": account.created_at.isoformat(timespec="seconds"),
            "changed": account.changed_at.isoformat(timespec="seconds"),
            "logins": str(info.count),
            "last login": last or "-",
        }
    )


@app.command()
def activate(name: Name, as_json: AsJson = False) -> None:
    """Let an account log in.

    Example: authflow users activate ada@example.org
    """
    told(with_application(lambda app: app.administration.activate(name)), "is active", as_json)


@app.command()
def deactivate(name: Name, as_json: AsJson = False) -> None:
    """Shut an account out at once; its sessions and links end.

    Example: authflow users deactivate ada@example.org
    """
    told(with_application(lambda app: app.administration.deactivate(name)), "is shut out", as_json)


@app.command()
def delete(
    name: Name,
    is_certain: Annotated[bool, typer.Option("--yes", help="Do not ask, also at a terminal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove an account with all that is its own.

    Example: authflow users delete ada@example.org
    """
    if not is_certain and sys.stdin.isatty():
        typer.confirm(f"Delete {name} for good?", abort=True, err=True)
    told(with_application(lambda app: app.administration.delete(name)), "is gone", as_json)


@app.command("set-password")
def set_password(
    name: Name, password: Password = None, password_stdin: PasswordFromStdin = False, as_json: AsJson = False
) -> None:
    """Give an account another password; its sessions end.

    Examples:

    authflow users set-password ada@example.org --password-stdin < password.txt

    authflow users set-password ada@example.org
    """
    chosen = _password(password, password_stdin)
    if chosen is None:
        if not sys.stdin.isatty():
            raise typer.BadParameter("give --password-stdin or --password")
        chosen = typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    password_text: str = chosen
    told(
        with_application(lambda app: app.administration.set_password(name, password_text)),
        "has a new password",
        as_json,
    )


@app.command("setup-link")
def setup_link(name: Name, as_json: AsJson = False) -> None:
    """Print a link by which the owner chooses a password: good once, for an hour.

    Example: authflow users setup-link ada@example.org
    """
    link = with_application(lambda app: app.administration.setup_link(name))
    if as_json:
        say_json({"link": link})
    else:
        say(link)


@app.command()
def logout(name: Name, as_json: AsJson = False) -> None:
    """End every session of an account.

    Example: authflow users logout ada@example.org
    """
    told(with_application(lambda app: app.administration.log_out(name)), "is logged out everywhere", as_json)


# --- Parts ------------------------------------------------------------------------------------------------------------


def _password(password: str | None, from_stdin: bool) -> str | None:
    if not from_stdin:
        return password
    if password is not None:
        raise typer.BadParameter("--password and --password-stdin exclude each other")
    # Spaces at the ends are part of a password; the line's end is not.
    return sys.stdin.readline().removesuffix("\n").removesuffix("\r")


def told(account: Account, what: str, as_json: bool) -> None:
    """Say what has become of an account."""
    if as_json:
        say_json(as_data(account))
    else:
        say(f"{account.name} {what}")


def _status(status: int) -> str:
    from authflow.model import Status

    try:
        return Status(status).name.lower().replace("_", " ")
    except ValueError:
        return str(status)


def as_data(account: Account) -> dict[str, object]:
    """Return an account for programs."""
    return {
        "id": account.id,
        "name": account.name,
        "email": account.email,
        "status": int(account.status),
        "access": list(account.access),
        "roles": list(account.roles),
        "factors": list(account.factors),
        "created_at": account.created_at.isoformat(),
        "changed_at": account.changed_at.isoformat(),
        "profile": dict(account.profile),
    }
