"""The entries of others, by access right: list, view, make, edit, delete, end their sessions, tell their structure.

Who may not do something with entries at all gets 403 where no entry is named. Where one is, it looks as if there was
none: 404. Nothing is changed by GET: ViUR's tools post `trigger/kick` too, since its address in the configuration asks
for an skey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from authflow.accounts import Invalid
from authflow.errors import BadInput, Forbidden, MethodNotAllowed, NotFound, Withheld
from authflow.fields import Field, FieldType, plain
from authflow.model import Account, Status
from authflow.sessions import Current
from authflow.web import entries
from authflow.web.entries import LIST, PROFILE, VERSION, entry_edit_view, is_check, saved, version_of
from authflow.web.exchange import Exchange
from authflow.web.routes import Assurance, Route
from authflow.web.views import Form, Meaning, View

if TYPE_CHECKING:
    from authflow.managing import Managing

VIEW, ADD, EDIT, DELETE, KICK = (f"/user/{name}" for name in ("view", "add", "edit", "delete", "trigger/kick"))
STRUCTURE = "/user/structure"
MAX_AMOUNT = 100
AMOUNT = 30

_KEY = Field("key", FieldType.HIDDEN, "Key", is_readonly=True)


def routes() -> list[Route]:
    """Return the routes of others' entries. An entry is named in the path, or by the parameter `key`."""
    session = Assurance.SESSION
    return [
        Route(LIST, session, get=list_page),
        Route(VIEW, session, get=view_entry),
        Route(VIEW, session, get=view_entry, takes_key=True),
        Route(ADD, session, get=add_page, post=add, is_form=True),
        Route(EDIT, session, get=edit_page, post=edit, is_form=True),
        Route(EDIT, session, get=edit_page, post=edit, is_form=True, takes_key=True),
        Route(DELETE, session, post=delete),
        Route(DELETE, session, get=delete_page, post=delete, takes_key=True),
        Route(KICK, session, post=kick),
        Route(KICK, session, post=kick, takes_key=True),
        Route(STRUCTURE, session, get=structure),
        Route(STRUCTURE, session, get=structure, takes_key=True),
    ]


def managing(x: Exchange) -> Managing:
    # Here, since most processes never come to it, and its records take time to be defined.
    from authflow.managing import Managing

    return Managing(x.edge.app.engine)


# --- Seeing -----------------------------------------------------------------------------------------------------------


async def list_page(x: Exchange) -> View:
    """List entries by name. ViUR: `list`; its filters `search` and `name` say how names begin."""
    current = await x.demand_current()
    if x.get("orderby") not in ("", "name") or x.get("orderdir") not in ("", "0", "asc"):
        raise BadInput("entries are listed by name, ascending")
    search = next((text for name in ("search", "name", "name$lk") if (text := x.get(name).strip(" "))), "")
    amount, cursor = _amount(x), x.get("cursor")
    page = await managing(x).listing(current, search=search, cursor=cursor or None, amount=amount)
    user = x.edge.user
    if x.by_program:
        values = [entries.entry_values(user, account) for account in page.accounts]
        return View(Meaning.LIST, data=values, form=entries.entry_form(user), params={"cursor": page.cursor})
    asked = {name: text for name in ("search", "amount") if (text := x.get(name))}
    extra = {
        "rows": [_line(x, account) for account in page.accounts],
        "search": search,
        "first_href": f"{LIST}?{urlencode(asked)}" if cursor else "",
        "next_href": f"{LIST}?{urlencode({**asked, 'cursor': page.cursor})}" if page.cursor else "",
        "add_href": ADD if user.can_add(current.account) else "",
        "search_href": LIST,
    }
    return View(Meaning.LIST, "entries.html", extra=extra)


async def view_entry(x: Exchange) -> View:
    """Show an entry that the viewer may see. ViUR: `view/<key>`; without a key the own one."""
    current = await x.demand_current()
    if _is_own(x, current):
        return await entries.profile(x) if x.by_program else View(Meaning.GO, next_path=PROFILE)
    user, viewer = x.edge.user, current.account
    account = await user.view(viewer, _key(x))
    if x.by_program:
        return entries.entry_view(x, account)
    is_over = user.is_over(viewer, account)
    extra = {
        "name": account.name,
        "rows": _rows(x, account),
        "edit_href": f"{EDIT}/{account.id}" if user.can_edit(viewer, account) else "",
        "delete_href": f"{DELETE}/{account.id}" if is_over and user.can_delete(viewer, account) else "",
        "kick_href": f"{KICK}/{account.id}" if is_over and user.can_kick(viewer, account) else "",
        "list_href": LIST if user.can_list(viewer) else "",
    }
    return View(Meaning.ENTRY, "entry.html", extra=extra)


async def structure(x: Exchange) -> View:
    """Tell the fields of entries: as they are seen, made or edited. ViUR: `structure`, with its `action`."""
    editor = (await x.demand_current()).account
    if not x.by_program:
        raise NotFound()
    match x.key or x.get("action") or "view":
        case "view":
            if not (x.edge.user.can_list(editor) or x.edge.user.can_add(editor)):
                raise Forbidden("may see no entries")
            form = entries.entry_form(x.edge.user)
        case "add":
            form = Form("", managing(x).add_fields(editor))
        case "edit":
            somebody = managing(x).blank("somebody@localhost", status=Status.ACTIVE)
            form = Form("", (_KEY, *managing(x).edit_fields(editor, somebody), VERSION))
        case _:
            raise NotFound("no such structure")
    return View(Meaning.STRUCTURE, data={f.name: plain(f, "") for f in form.fields}, form=form)


# --- Changing ---------------------------------------------------------------------------------------------------------


async def add_page(x: Exchange) -> View:
    """Show what making an entry asks for. ViUR: `add`."""
    return _add_form(x, (await x.demand_current()).account)


async def add(x: Exchange) -> View:
    """Make an entry."""
    current = await x.demand_current()
    result = await managing(x).add(current, x.values, client=x.visitor.network, is_check=is_check(x))
    if isinstance(result, Invalid):
        return _add_form(x, current.account, result)
    return saved(x, result, Meaning.ADDED, _page_of(x, current, result))


def _add_form(x: Exchange, editor: Account, invalid: Invalid | None = None) -> View:
    values = {"status": str(int(Status.ACTIVE))}
    back = {"back_href": LIST if x.edge.user.can_list(editor) else PROFILE}
    return entry_edit_view(x, ADD, "entry_add.html", managing(x).add_fields(editor), values, invalid, back)


async def edit_page(x: Exchange) -> View:
    """Show an entry to be edited. ViUR: `edit/<key>`; without a key the own one."""
    current = await x.demand_current()
    return await entries.edit_page(x) if _is_own(x, current) else await _edit_form(x, current)


async def edit(x: Exchange) -> View:
    """Save an entry as far as the editor may."""
    current = await x.demand_current()
    if _is_own(x, current):
        return await entries.edit(x)
    result = await managing(x).edit(
        current, _key(x), x.values, version_of(x), client=x.visitor.network, is_check=is_check(x)
    )
    if isinstance(result, Invalid):
        return await _edit_form(x, current, result)
    return saved(x, result, Meaning.EDITED, _page_of(x, current, result))


async def _edit_form(x: Exchange, current: Current, invalid: Invalid | None = None) -> View:
    account, fields = await managing(x).to_edit(current.account, _key(x))
    form = ((_KEY,) if x.by_program else ()) + (*fields, VERSION)
    values = {**entries.texts(account, fields), "key": account.id, "version": str(account.version)}
    path = f"{EDIT}/{account.id}"
    extra = {"name": account.name, "back_href": _page_of(x, current, account)}
    return entry_edit_view(x, path, "entry_edit.html", form, values, invalid, extra)


async def delete_page(x: Exchange) -> View:
    """Ask whether to delete an entry."""
    current = await x.demand_current()
    account = await x.edge.app.engine.account_by_id(_key(x))
    if account is None:
        raise NotFound("no such entry")
    if not x.edge.user.can_delete(current.account, account):
        raise Withheld("may not delete this entry")
    if x.by_program:
        raise MethodNotAllowed(("POST",))
    managing(x).demand_over(current.account, account)
    extra = {"name": account.name, "back_href": _page_of(x, current, account)}
    return View(Meaning.FORM, "entry_delete.html", form=Form(f"{DELETE}/{account.id}", ()), extra=extra)


async def delete(x: Exchange) -> View:
    """Delete an entry. ViUR: `delete`."""
    current = await x.demand_current()
    await managing(x).delete(current, _key(x), client=x.visitor.network)
    return View(Meaning.DONE, next_path=LIST if x.edge.user.can_list(current.account) else PROFILE)


async def kick(x: Exchange) -> View:
    """End every session of somebody. ViUR: `trigger/kick`."""
    current = await x.demand_current()
    key = current.account.id if _key(x) == "self" else _key(x)
    account = await managing(x).kick(current, key, client=x.visitor.network)
    return View(Meaning.DONE, next_path=_page_of(x, current, account))


# --- Parts ------------------------------------------------------------------------------------------------------------


def _key(x: Exchange) -> str:
    """Return which entry is meant.

    Raises:
        BadInput: Path and parameter name two.
    """
    named = x.get("key")
    if x.key and named and x.key != named:
        raise BadInput("key: another one than in the path")
    return x.key or named


def _page_of(x: Exchange, current: Current, account: Account) -> str:
    """Return where an account is seen, by those who may see it."""
    is_other = account.id != current.account.id and x.edge.user.can_view(current.account, account)
    return f"{VIEW}/{account.id}" if is_other else PROFILE


def _is_own(x: Exchange, current: Current) -> bool:
    return _key(x) in ("", "self", current.account.id)


def _amount(x: Exchange) -> int:
    text = x.get("amount") or x.get("limit") or str(AMOUNT)
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_AMOUNT):
        raise BadInput(f"amount must be a number from 1 to {MAX_AMOUNT}")
    return int(text)


def _line(x: Exchange, account: Account) -> dict[str, str]:
    shown = [str(account.profile[f.name]) for f in x.edge.user.profile_fields if account.profile.get(f.name)]
    return {
        "name": account.name,
        "detail": " ".join(shown[:2]),
        "state": "" if x.edge.user.is_active(account) else _state(account),
        "roles": ", ".join(_labels(x, account)),
        "href": f"{VIEW}/{account.id}",
    }


def _rows(x: Exchange, account: Account) -> list[tuple[str, str]]:
    return [
        *entries.rows(x, account),
        ("Status", _state(account)),
        ("Roles", ", ".join(_labels(x, account)) or "–"),
        ("Access rights", ", ".join(sorted(x.edge.user.access_of(account))) or "–"),
        ("Since", f"{account.created_at:%d %B %Y}"),
    ]


def _labels(x: Exchange, account: Account) -> Sequence[str]:
    labels = {role.id: role.label for role in x.edge.user.roles}
    return [labels.get(role, role) for role in account.roles]


def _state(account: Account) -> str:
    try:
        return Status(account.status).name.replace("_", " ").capitalize()
    except ValueError:
        return str(account.status)
