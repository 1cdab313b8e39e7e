"""What people, programs, mails and operators do, each as one operation on the world as it was made.

Each reads the session first where the edge does. What it returns, or raises, is its outcome.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from authflow.errors import NameTaken, NotAuthenticated
from authflow.sessions import Current
from tests.concurrency.world import ADA, GRACE, OTHER_THERE, THERE, WAITING, World, renewing
from tests.engine_kit import PASSWORD


@dataclass(frozen=True)
class Operation:
    """Something that is done to one account.

    Attributes:
        spends: What it uses up where it succeeds: good for one operation at most.
        ends: Browsers of the beginning that are not logged in any more once it has succeeded.
        fails_on: The exact limit that its failures count on.
        clears: The exact limits that its success puts back to nothing.
        finds: Whether it finds the account by name or identity in a look-up of its own, and goes on with the account:
            between the two the account may get another name.
    """

    name: str
    begin: Callable[[World], Awaitable[Any]]
    spends: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    fails_on: str = ""
    clears: tuple[str, ...] = ()
    finds: bool = False

    def __str__(self) -> str:
        return self.name


EVERYWHERE = ("desk", "phone", "cafe", "train")

NEW = {
    "change": "changed by herself",
    "recovery": "recovered by mail",
    "set-up": "set up by link",
    "operator": "by hand of the operator",
}


# --- Logging in -------------------------------------------------------------------------------------------------------


async def _password(world: World, browser: str, password: str = PASSWORD, reference: str = "", name: str = ADA) -> Any:
    values = {"name": name, "password": password}
    form = {"flow_reference": reference} if reference else {}
    return await world.engine.submit(world.provider("user_password"), values, world.visitor(browser), **form)


async def _renewing(world: World) -> Any:
    token = renewing.set(True)
    try:
        return await _password(world, "kiosk")
    finally:
        renewing.reset(token)


async def _second(world: World, provider: str, text: str, browser: str) -> Any:
    return await world.engine.submit(world.provider(provider), {"otptoken": text}, world.visitor(browser))


def _code(text: str, browser: str) -> Callable[[World], Awaitable[Any]]:
    def begin(world: World) -> Awaitable[Any]:
        texts = {"right": world.code(), "next": world.code(step=1), "wrong": world.wrong_code()}
        return _second(world, "time_based_otp", texts.get(text) or world.home.held[text], browser)

    return begin


def _recovery_code(held: str, browser: str) -> Callable[[World], Awaitable[Any]]:
    return lambda world: _second(world, "recovery_codes", world.home.held[held], browser)


async def _there(world: World, provider: str, subject: str, browser: str, **claims: str) -> Any:
    values = {"token": world.token(subject, **claims)}
    return await world.engine.submit(world.provider(provider), values, world.visitor(browser))


# --- Who is logged in -------------------------------------------------------------------------------------------------


async def _who(world: World, browser: str) -> Current:
    current = await world.current(browser)
    if current is None:
        raise NotAuthenticated()
    return current


async def _asks(world: World, browser: str) -> Any:
    return (await _who(world, browser)).account


async def _logs_out(world: World, browser: str) -> Any:
    # Whoever is logged out already is told so by another status, and that is all the difference.
    current = await world.current(browser)
    return None if current is None else await world.engine.log_out(current)


async def _changes_password(world: World, browser: str, password: str = PASSWORD) -> Any:
    values = {"current_password": password, "password": NEW["change"]}
    return await world.accounts.change_password(await _who(world, browser), values, world.visitor(browser))


async def _edits(world: World, browser: str, values: dict[str, str], version: int | None = None) -> Any:
    return await world.accounts.edit(await _who(world, browser), values, version)


async def _begins_app(world: World) -> Any:
    current = await _who(world, "desk")
    return await world.enrolment.begin(world.provider("spare_app"), world.visitor("desk"), current)


async def _confirms_app(world: World, is_right: bool = True) -> Any:
    held = world.home.held
    code = world.code(base64.b32decode(held["app secret"])) if is_right else world.wrong_code()
    provider, visitor = world.provider("spare_app"), world.visitor("desk")
    return await world.enrolment.confirm(provider, {"otptoken": code}, visitor, held["enrolment"])


async def _removes_app(world: World, browser: str) -> Any:
    current = await _who(world, browser)
    return await world.enrolment.remove(world.provider("time_based_otp"), world.visitor(browser), current)


async def _renews_codes(world: World) -> Any:
    current = await _who(world, "desk")
    return await world.enrolment.renew_codes(world.provider("recovery_codes"), world.visitor("desk"), current)


async def _links(world: World) -> Any:
    return await world.identities.link(
        world.provider("yonder"),
        {"token": world.token(OTHER_THERE)},
        world.visitor("desk"),
        await _who(world, "desk"),
        flow_reference=world.home.held["connection"],
    )


async def _unlinks(world: World, browser: str) -> Any:
    current = await _who(world, browser)
    return await world.identities.unlink(world.provider("elsewhere"), world.visitor(browser), current)


async def _confirms_owed(world: World, browser: str, is_right: bool = True) -> Any:
    held = world.home.held
    code = world.code(base64.b32decode(held[f"app secret {browser}"])) if is_right else world.wrong_code()
    visitor = world.visitor(browser)
    return await world.enrolment.confirm(world.provider("time_based_otp"), {"otptoken": code}, visitor)


# --- By mail ----------------------------------------------------------------------------------------------------------


async def _recovers(world: World, held: str) -> Any:
    return await world.accounts.recover(world.home.held[held], {"password": NEW["recovery"]}, world.visitor("new"))


async def _sets_up(world: World) -> Any:
    return await world.accounts.set_up(world.home.held["set-up"], {"password": NEW["set-up"]}, world.visitor("new"))


# --- By somebody with rights, and by the operator ---------------------------------------------------------------------


async def _manages(world: World, values: dict[str, str], who: str = ADA) -> Any:
    return await world.managing.edit(await _who(world, "office"), world.home.ids[who], values)


async def _deletes(world: World, who: str = ADA) -> Any:
    return await world.managing.delete(await _who(world, "office"), world.home.ids[who])


async def _kicks(world: World, who: str = ADA) -> Any:
    return await world.managing.kick(await _who(world, "office"), world.home.ids[who])


PASSWORDS, CODES = f"password of {ADA}", f"code of {ADA}"


def _by_operator(name: str, begin: Callable[[World], Awaitable[Any]], **more: Any) -> Operation:
    return Operation(name, begin, finds=True, **more)


async def _is_deleted(world: World) -> None:
    # The account that it returns is the one that was found at first.
    await world.operator.delete(ADA)


async def _starts(world: World) -> None:
    if await world.operator.create_new_user_if_not_exists() is None:
        raise NameTaken("somebody else was first")


SETTLED = (
    Operation("gives the password", lambda w: _password(w, "kiosk"), fails_on=PASSWORDS, finds=True),
    Operation("gives a wrong password", lambda w: _password(w, "kiosk", "wrong"), fails_on=PASSWORDS, finds=True),
    Operation("gives the password of a form", lambda w: _password(w, "library", reference=w.home.held["login"]),
              spends=("login form",), fails_on=PASSWORDS, finds=True),
    Operation("gives the password of the same form on a known device",
              lambda w: _password(w, "own library", reference=w.home.held["login"]), spends=("login form",),
              fails_on=PASSWORDS, finds=True),
    Operation("gives the password of an old hash", _renewing, fails_on=PASSWORDS, finds=True),
    Operation("types the code", _code("right", "cafe"), spends=("code", "login at the cafe"), fails_on=CODES),
    Operation("types the code elsewhere", _code("right", "train"), spends=("code", "login on the train"),
              fails_on=CODES),
    Operation("types the next code", _code("next", "train"), spends=("login on the train",), fails_on=CODES),
    Operation("types a wrong code", _code("wrong", "cafe"), fails_on=CODES),
    Operation("types a wrong code elsewhere", _code("wrong", "train"), fails_on=CODES),
    Operation("types a spent code", _code("spent code", "cafe"), spends=("spent",), fails_on=CODES),
    Operation("types a recovery code", _recovery_code("code 1", "cafe"), spends=("code 1", "login at the cafe"),
              fails_on=CODES),
    Operation("types a recovery code elsewhere", _recovery_code("code 1", "train"),
              spends=("code 1", "login on the train"), fails_on=CODES),
    Operation("types another recovery code", _recovery_code("code 2", "train"),
              spends=("code 2", "login on the train"), fails_on=CODES),
    Operation("chooses recovery codes",
              lambda w: w.engine.waiting.choose(w.provider("recovery_codes"), w.visitor("cafe"))),
    Operation("cancels", lambda w: w.engine.waiting.cancel(w.visitor("cafe"))),
    Operation("comes from there", lambda w: _there(w, "elsewhere", THERE, "kiosk"), spends=("token",), finds=True),
    Operation("comes from there elsewhere", lambda w: _there(w, "elsewhere", THERE, "library"), spends=("token",),
              finds=True),
    Operation("comes from there on a known device", lambda w: _there(w, "elsewhere", THERE, "home"),
              spends=("token",), finds=True),
    Operation("looks at a page", lambda w: _asks(w, "desk")),
    Operation("looks at a page after a while", lambda w: _asks(w, "phone")),
    Operation("logs out", lambda w: _logs_out(w, "desk"), ends=("desk",)),
    Operation("logs out the phone", lambda w: _logs_out(w, "phone"), ends=("phone",)),
    Operation("changes the password", lambda w: _changes_password(w, "desk"), ends=EVERYWHERE, fails_on=PASSWORDS),
    Operation("changes the password by phone", lambda w: _changes_password(w, "phone"), ends=EVERYWHERE,
              fails_on=PASSWORDS),
    Operation("mistypes while changing the password", lambda w: _changes_password(w, "desk", "wrong"),
              fails_on=PASSWORDS),
    Operation("edits the profile", lambda w: _edits(w, "desk", {"firstname": "Augusta"})),
    Operation("edits the profile by phone", lambda w: _edits(w, "phone", {"lastname": "King"}, 1)),
    Operation("begins to add an app", _begins_app),
    Operation("confirms the app", _confirms_app, spends=("enrolment",), ends=EVERYWHERE),
    Operation("mistypes while confirming the app", lambda w: _confirms_app(w, False)),
    Operation("removes the app", lambda w: _removes_app(w, "desk"), spends=("app",), ends=EVERYWHERE),
    Operation("removes the app by phone", lambda w: _removes_app(w, "phone"), spends=("app",), ends=EVERYWHERE),
    Operation("renews the codes", _renews_codes, ends=EVERYWHERE),
    Operation("connects an identity", _links, spends=("connection",), ends=EVERYWHERE),
    Operation("disconnects the identity", lambda w: _unlinks(w, "desk"), spends=("identity",), ends=EVERYWHERE),
    Operation("asks for a recovery mail", lambda w: w.accounts.ask_recovery({"name": ADA}, w.visitor("new"))),
    Operation("recovers", lambda w: _recovers(w, "recovery 1"), spends=("recovery", "recovery 1"), ends=EVERYWHERE,
              clears=(PASSWORDS,)),
    Operation("recovers by another mail", lambda w: _recovers(w, "recovery 2"), spends=("recovery",), ends=EVERYWHERE,
              clears=(PASSWORDS,)),
    Operation("follows the set-up link", _sets_up, spends=("recovery", "set-up"), ends=EVERYWHERE,
              clears=(PASSWORDS,)),
    Operation("is shut out by an admin", lambda w: _manages(w, {"status": "5"}), ends=EVERYWHERE),
    Operation("is given a role", lambda w: _manages(w, {"roles": "editor"}), ends=EVERYWHERE),
    Operation("is renamed", lambda w: _manages(w, {"name": "lovelace@example.org"}), ends=EVERYWHERE),
    Operation("is kicked", _kicks, ends=EVERYWHERE),
    Operation("is deleted", _deletes, spends=("account",), ends=EVERYWHERE),
    _by_operator("is shut out by the operator", lambda w: w.operator.deactivate(ADA), ends=EVERYWHERE),
    _by_operator("is logged out everywhere", lambda w: w.operator.log_out(ADA), ends=EVERYWHERE),
    _by_operator("is given a password", lambda w: w.operator.set_password(ADA, NEW["operator"]), ends=EVERYWHERE,
                 clears=(PASSWORDS,)),
    _by_operator("loses the app to the operator", lambda w: w.operator.remove_factor(ADA, "time_based_otp"),
                 spends=("app",), ends=EVERYWHERE, clears=(CODES,)),
    _by_operator("loses the identity to the operator", lambda w: w.operator.remove_identity(ADA, "elsewhere"),
                 spends=("identity",), ends=EVERYWHERE),
    _by_operator("is made a set-up link", lambda w: w.operator.setup_link(ADA)),
    _by_operator("is deleted by the operator", _is_deleted, spends=("account",), ends=EVERYWHERE),
)  # fmt: skip
"""On the account of Ada, as `world.settled` makes it."""

BRINK = tuple(op for op in SETTLED if op.fails_on and "known device" not in op.name)
"""On the account of Ada, as `world.on_the_brink` makes it."""

_AGAIN = {"name": WAITING, "password": "third choice here"}
WANDAS = f"password of {WAITING}"

REGISTERED = (
    Operation("follows the link", lambda w: w.accounts.verify(w.home.held["link 1"], w.visitor("new")), ("link",)),
    Operation("follows the other link", lambda w: w.accounts.verify(w.home.held["link 2"], w.visitor("new")),
              ("link",)),
    Operation("registers again", lambda w: w.accounts.register(_AGAIN, w.visitor("new"))),
    Operation("asks for another mail", lambda w: w.accounts.resend({"name": WAITING}, w.visitor("new"))),
    Operation("gives the first password", lambda w: _password(w, "kiosk", "first choice here", name=WAITING),
              fails_on=WANDAS),
    Operation("gives the second password", lambda w: _password(w, "kiosk", "second choice here", name=WAITING),
              fails_on=WANDAS),
    Operation("comes with the address", lambda w: _there(w, "elsewhere", "wanda", "kiosk", address=WAITING),
              ("token",)),
    Operation("comes with the address from yonder", lambda w: _there(w, "elsewhere", "wanda 2", "new", address=WAITING),
              ("token 2",)),
    Operation("is let in by an admin", lambda w: _manages(w, {"status": "10"}, WAITING)),
    Operation("is let in by the operator", lambda w: w.operator.activate(WAITING)),
    Operation("is shut out by the operator", lambda w: w.operator.deactivate(WAITING)),
    Operation("is given a password", lambda w: w.operator.set_password(WAITING, NEW["operator"]), clears=(WANDAS,)),
    Operation("is deleted", lambda w: _deletes(w, WAITING), ("account",)),
)  # fmt: skip
"""On the account of Wanda, as `world.waiting` makes it."""

GRACES = f"password of {GRACE}"

OWING = (
    Operation("gives the password", lambda w: _password(w, "kiosk", name=GRACE), fails_on=GRACES),
    Operation("confirms the app", lambda w: _confirms_owed(w, "cafe"), ("app", "login at the cafe")),
    Operation("confirms the app elsewhere", lambda w: _confirms_owed(w, "train"), ("app",)),
    Operation("mistypes while confirming the app", lambda w: _confirms_owed(w, "cafe", is_right=False)),
    Operation("begins again", lambda w: w.enrolment.begin(w.provider("time_based_otp"), w.visitor("cafe"), None)),
    Operation("cancels", lambda w: w.engine.waiting.cancel(w.visitor("cafe"))),
    Operation("recovers", lambda w: _recovers(w, "recovery 1"), ("recovery 1",), clears=(GRACES,)),
    Operation("is given another role", lambda w: _manages(w, {"roles": "user"}, GRACE)),
    Operation("is kicked", lambda w: _kicks(w, GRACE)),
    Operation("is deleted", lambda w: _deletes(w, GRACE), ("account",)),
)  # fmt: skip
"""On the account of Grace, who must have a factor and has none, as `world.owing` makes it."""

FRESH = (
    Operation("gives the password", lambda w: _password(w, "kiosk", name=GRACE), fails_on=GRACES),
    Operation("gives the password elsewhere", lambda w: _password(w, "library", name=GRACE), fails_on=GRACES),
    Operation("gives the password on a known device", lambda w: _password(w, "home", name=GRACE), fails_on=GRACES),
    Operation("gives the password of a form", lambda w: _password(w, "cafe", reference=w.home.held["login"],
              name=GRACE), ("login form",), fails_on=GRACES),
    Operation("recovers", lambda w: _recovers(w, "recovery 1"), ("recovery 1",), clears=(GRACES,)),
    Operation("must have a factor", lambda w: _manages(w, {"roles": "viewer"}, GRACE)),
    Operation("is kicked", lambda w: _kicks(w, GRACE)),
    Operation("is shut out by an admin", lambda w: _manages(w, {"status": "5"}, GRACE)),
    Operation("is deleted", lambda w: _deletes(w, GRACE), ("account",)),
)  # fmt: skip
"""On the account of Grace, who has never logged in, as `world.untouched` makes it."""

_ADA = {"name": ADA, "password": "first choice here"}

FIRST = (
    Operation("registers", lambda w: w.accounts.register(_ADA, w.visitor("new"))),
    Operation("registers elsewhere",
              lambda w: w.accounts.register({**_ADA, "password": "other choice"}, w.visitor("b"))),
    Operation("comes with an identity", lambda w: _there(w, "elsewhere", THERE, "kiosk", address=ADA), ("token",)),
    Operation("comes with the identity elsewhere", lambda w: _there(w, "elsewhere", THERE, "library", address=ADA),
              ("token",)),
    Operation("comes with the identity and another address",
              lambda w: _there(w, "elsewhere", THERE, "new", address="augusta@example.org")),
    Operation("comes with another identity", lambda w: _there(w, "elsewhere", OTHER_THERE, "kiosk", address=ADA)),
    Operation("is made by the operator", lambda w: w.operator.create(ADA, is_active=True), ("name",)),
    Operation("is made with a password", lambda w: w.operator.create(ADA, password=NEW["operator"]), ("name",)),
    Operation("starts for the first time", _starts, ("first start",)),
)  # fmt: skip
"""Where there is nobody yet."""

TRIPLES = (
    ("types the code", "types the code elsewhere", "types a recovery code"),
    ("types the code", "types a wrong code elsewhere", "types a spent code"),
    ("types a wrong code", "types a wrong code elsewhere", "types another recovery code"),
    ("types a recovery code", "types a recovery code elsewhere", "renews the codes"),
    ("types the code", "cancels", "chooses recovery codes"),
    ("types the code", "cancels", "recovers"),
    ("recovers", "recovers by another mail", "follows the set-up link"),
    ("recovers", "asks for a recovery mail", "types the code"),
    ("confirms the app", "recovers", "types the code elsewhere"),
    ("confirms the app", "mistypes while confirming the app", "cancels"),
    ("looks at a page after a while", "logs out", "confirms the app"),
    ("types the code", "logs out", "is logged out everywhere"),
    ("changes the password", "recovers", "types the code"),
    ("removes the app", "confirms the app", "types the code"),
)
"""Of the operations on Ada's account; the short ones, each in full."""

LONG_TRIPLES = (
    ("changes the password", "changes the password by phone", "recovers"),
    ("removes the app", "loses the app to the operator", "types the code"),
    ("connects an identity", "disconnects the identity", "comes from there"),
    ("edits the profile", "edits the profile by phone", "is given a role"),
    ("is shut out by an admin", "is given a password", "gives the password of an old hash"),
    ("logs out the phone", "changes the password by phone", "is kicked"),
    ("gives the password of a form", "gives a wrong password", "is given a password"),
    ("is renamed", "is deleted", "recovers"),
)
"""Thousands of orders each."""


def named(*names: str) -> tuple[Operation, ...]:
    """Return operations on Ada's account by their names."""
    return tuple(next(op for op in SETTLED if op.name == name) for name in names)
