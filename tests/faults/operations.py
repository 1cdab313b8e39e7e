"""Every operation of the product, each as one request (or one call of what commands and the clock do).

An operation is set up on a stage without faults, and returns what is then done once for each fault: the same bytes,
from the same browser, on the same store.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeAlias

from authflow.foreign_hashes import Pbkdf2
from authflow.importing import Arrival, Importing
from authflow.model import Account, Status
from authflow.records import account_key
from authflow.store.protocol import Update
from authflow.tokens import Keyring
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP, new_hardware_token
from tests.engine_kit import KEY, PASSWORD
from tests.faults.scene import Act, Everything, Stage
from tests.parts.google_people import LINK as GOOGLE_LINK
from tests.parts.google_people import LOGIN as GOOGLE_LOGIN
from tests.threats.tools import codes_on, secret_on
from tests.web_kit import ADA, OTP_SECRET, Form, Person

NEW_PASSWORD = "a quite different phrase"
BOB, ROOT, NEW = "bob@example.org", "root@example.org", "new@example.org"
PASSWORDS = "/user/auth_userpassword"
TOTP = "/user/f2_timebasedotp"
CODES = "/user/f2_recoverycode"


class Token(TimeBasedOTP):
    """A second app, for those who choose between two."""

    name, path, method_name, label = "token", "f2_token", "X-VIUR-2FACTOR-Token", "Token"


class TwoFactors(Everything):
    second_factor_providers = (*Everything.second_factor_providers, Token)
    valid_authentication_methods = (*Everything.valid_authentication_methods, ("user_password", "token"))


class Demanding(Everything):
    """A second factor is demanded of everybody: whoever has none owes its enrolment."""

    def demands_second_factor(self, account: Any, flow: Any) -> bool:
        return True


SetUp: TypeAlias = Callable[[Stage], Awaitable[Act]]


@dataclass(frozen=True)
class Operation:
    """One thing that people, programs, operators or the clock do.

    Attributes:
        set_up: Makes everything ready, and returns what is done.
        user: The user module of the site it is done on.
        lets_in: Whether somebody who was not logged in is, once it is done.
        is_request: Whether it is a request, which must be answered within three seconds.
        commits: How many a request may make. More than one only where each of them stands for itself.
        may_drop: Whether what it writes beside its answer is dropped when somebody else is at it.
        counts_roughly: Whether it counts on a client alone, which is unguarded by choice.
        has_cloud_tasks: Whether it is done on App Engine, where tasks are delivered from outside.
        repeated: Statuses with which the same request is answered once it was carried out unseen.
    """

    name: str
    set_up: SetUp
    user: type[User] = Everything
    lets_in: bool = False
    is_request: bool = True
    commits: int = 1
    may_drop: bool = False
    counts_roughly: bool = False
    has_cloud_tasks: bool = False
    repeated: tuple[int, ...] = ()


OPERATIONS: dict[str, Operation] = {}


def operation(name: str, **more: Any) -> Callable[[SetUp], SetUp]:
    def take(set_up: SetUp) -> SetUp:
        assert name not in OPERATIONS
        OPERATIONS[name] = Operation(name, set_up, **more)
        return set_up

    return take


def sending(stage: Stage, form: Form, *, by: Person | None = None, **typed: str) -> Act:
    """Return the request that sends a form, made once."""
    stage.secrets += [text for name, text in typed.items() if name not in ("name", "firstname", "status", "provider")]
    stage.secrets += [text for name, text in form.values.items() if name in ("skey", "recovery_key", "setup_key")]
    values = {**form.values, **typed}
    return lambda: (by or stage.person).post(form.action, values)


def getting(stage: Stage, path: str) -> Act:
    return lambda: stage.person.get(path)


async def logged_in(stage: Stage, name: str = ADA) -> Person:
    page = await stage.person.log_in(name)
    assert page.location == "/user/view/self", page.text
    # So that what follows is not the same instant as the login.
    stage.site.clock.pass_by(timedelta(seconds=40))
    return stage.person


async def with_app(stage: Stage, name: str = ADA) -> Account:
    """Write an account with an app, as the product writes one: its epoch has risen with the factor."""
    account = await stage.site.account(name)
    now, key = stage.site.clock(), account_key(account.id)
    token = new_hardware_token(account.id, serial="1", secret_hex=OTP_SECRET.hex(), now=now, interval=30)
    changed = replace(account, factors=("time_based_otp",), epoch=account.epoch + 1)
    record = (await stage.store.get((key,)))[key]
    write = stage.site.kit.credential_write(token)
    await stage.store.commit((Update(key, changed.to_data(), record.version), write))
    return changed


async def owing(stage: Stage, name: str = ADA) -> Form:
    page = await stage.person.follow(await stage.person.log_in(name))
    return page.form("otp")


async def with_codes(stage: Stage) -> tuple[bytes, list[str]]:
    """Enrol an app by the pages; the person stays logged in."""
    await stage.site.account()
    person = await logged_in(stage)
    page = await person.send((await person.get(f"{TOTP}/add")).form("/add"))
    secret = secret_on(page)
    done = await person.send(page.form("add"), otptoken=stage.site.code(secret=secret))
    stage.site.clock.pass_by(timedelta(minutes=1))
    return secret, codes_on(done)


# --- Logging in -------------------------------------------------------------------------------------------------------


@operation("login page")
async def _login_page(stage: Stage) -> Act:
    await stage.site.account()
    await stage.person.get("/user/login")
    return getting(stage, "/user/login")


@operation("login page of a session")
async def _reauthentication_page(stage: Stage) -> Act:
    await stage.site.account()
    await logged_in(stage)
    return getting(stage, "/user/login?reauthenticate=1")


@operation("login right", lets_in=True, repeated=(412,))
async def _login_right(stage: Stage) -> Act:
    await stage.site.account()
    form = (await stage.person.get("/user/login")).form("login")
    return sending(stage, form, name=ADA, password=PASSWORD)


@operation("login right, as json", lets_in=True)
async def _login_json(stage: Stage) -> Act:
    await stage.site.account()
    skey = await stage.person.skey()
    return sending(stage, Form(f"/json{PASSWORDS}/login", {"skey": skey}), name=ADA, password=PASSWORD)


@operation("login right, as vi", lets_in=True)
async def _login_vi(stage: Stage) -> Act:
    await stage.site.account()
    skey = (await stage.person.get("/vi/skey")).json
    return sending(stage, Form(f"/vi{PASSWORDS}/login", {"skey": skey}), name=ADA, password=PASSWORD)


@operation("login right with an old hash", lets_in=True, commits=2, repeated=(412,))
async def _login_rehash(stage: Stage) -> Act:
    await stage.site.account()
    stage.site.app.services.hasher.rounds = 5
    form = (await stage.person.get("/user/login")).form("login")
    send = sending(stage, form, name=ADA, password=PASSWORD)

    async def act() -> Any:
        page = await send()
        await stage.site.app.engine.settle()
        return page

    return act


@operation("login wrong")
async def _login_wrong(stage: Stage) -> Act:
    await stage.site.account()
    form = (await stage.person.get("/user/login")).form("login")
    return sending(stage, form, name=ADA, password="not the right one")


@operation("login of an unknown name")
async def _login_unknown(stage: Stage) -> Act:
    form = (await stage.person.get("/user/login")).form("login")
    return sending(stage, form, name="nobody@example.org", password="not the right one")


@operation("login with a factor owed", repeated=(412,))
async def _login_with_factor(stage: Stage) -> Act:
    await with_app(stage)
    form = (await stage.person.get("/user/login")).form("login")
    return sending(stage, form, name=ADA, password=PASSWORD)


@operation("login of a disabled account")
async def _login_disabled(stage: Stage) -> Act:
    await stage.site.account(status=Status.DISABLED)
    form = (await stage.person.get("/user/login")).form("login")
    return sending(stage, form, name=ADA, password=PASSWORD)


@operation("login again, in a session", repeated=(412,))
async def _reauthenticate(stage: Stage) -> Act:
    await stage.site.account()
    await logged_in(stage)
    form = (await stage.person.get("/user/login?reauthenticate=1")).form("login")
    return sending(stage, form, name=ADA, password=PASSWORD)


@operation("code right", lets_in=True, repeated=(412,))
async def _otp_right(stage: Stage) -> Act:
    await with_app(stage)
    return sending(stage, await owing(stage), otptoken=stage.site.code())


@operation("code right, as json", lets_in=True, repeated=(412,))
async def _otp_json(stage: Stage) -> Act:
    await with_app(stage)
    await stage.person.json_post(f"/json{PASSWORDS}/login", name=ADA, password=PASSWORD)
    skey = await stage.person.skey()
    return sending(stage, Form(f"/json{TOTP}/otp", {"skey": skey}), otptoken=stage.site.code())


@operation("code wrong")
async def _otp_wrong(stage: Stage) -> Act:
    await with_app(stage)
    return sending(stage, await owing(stage), otptoken=stage.site.wrong_code())


@operation("code replayed")
async def _otp_replayed(stage: Stage) -> Act:
    await with_app(stage)
    form, code = await owing(stage), stage.site.code()
    await stage.person.send(form, otptoken=code)
    stage.person = stage.site.person()
    return sending(stage, await owing(stage), otptoken=code)


@operation("recovery code right", lets_in=True, repeated=(412,))
async def _code_right(stage: Stage) -> Act:
    _, codes = await with_codes(stage)
    stage.person = stage.site.person()
    form = await owing(stage)
    return sending(stage, Form(f"{CODES}/otp", form.values), otptoken=codes[0])


@operation("recovery code wrong")
async def _code_wrong(stage: Stage) -> Act:
    await with_codes(stage)
    stage.person = stage.site.person()
    form = await owing(stage)
    return sending(stage, Form(f"{CODES}/otp", form.values), otptoken="aaaa-bbbb-cccc-dddd")


async def _two_factors(stage: Stage) -> None:
    account = await with_app(stage)
    now = stage.site.clock()
    made = new_hardware_token(account.id, serial="2", secret_hex=OTP_SECRET.hex(), now=now, interval=30)
    await stage.site.kit.enrolled(account, replace(made, provider="token"))


@operation("page of the choice", user=TwoFactors)
async def _choice_page(stage: Stage) -> Act:
    await _two_factors(stage)
    page = await stage.person.log_in()
    return getting(stage, page.location)


@operation("choose", user=TwoFactors)
async def _choose(stage: Stage) -> Act:
    await _two_factors(stage)
    page = await stage.person.follow(await stage.person.log_in())
    return sending(stage, page.form("select"), provider="token")


@operation("open a factor", user=TwoFactors)
async def _start(stage: Stage) -> Act:
    await _two_factors(stage)
    await stage.person.follow(await stage.person.log_in())
    return getting(stage, "/user/f2_token/start")


@operation("cancel")
async def _cancel(stage: Stage) -> Act:
    await with_app(stage)
    page = await stage.person.follow(await stage.person.log_in())
    return sending(stage, page.form("cancel"))


@operation("log out", repeated=(303, 401))
async def _log_out(stage: Stage) -> Act:
    await stage.site.account()
    person = await logged_in(stage)
    return sending(stage, (await person.get("/user/logout")).form("logout"))


@operation("enrolment that is owed, begin", user=Demanding)
async def _owed_begin(stage: Stage) -> Act:
    await stage.site.account()
    page = await stage.person.follow(await stage.person.log_in())
    return sending(stage, page.form("/add"))


@operation("enrolment that is owed, confirm", user=Demanding, lets_in=True, repeated=(412,))
async def _owed_confirm(stage: Stage) -> Act:
    await stage.site.account()
    page = await stage.person.follow(await stage.person.log_in())
    page = await stage.person.send(page.form("/add"))
    return sending(stage, page.form("/add"), otptoken=stage.site.code(secret=secret_on(page)))


# --- Google -----------------------------------------------------------------------------------------------------------


@operation("google page")
async def _google_page(stage: Stage) -> Act:
    await stage.person.get(GOOGLE_LOGIN)
    return getting(stage, GOOGLE_LOGIN)


async def _google_form(stage: Stage, path: str = GOOGLE_LOGIN, **claims: Any) -> Act:
    page = await stage.person.get(path)
    return sending(stage, page.form("auth_googleaccount"), token=stage.google_token(page, **claims))


@operation("google login", lets_in=True, repeated=(412,))
async def _google_login(stage: Stage) -> Act:
    await stage.linked(await stage.site.account())
    return await _google_form(stage)


@operation("google login with a factor owed", repeated=(412,))
async def _google_with_factor(stage: Stage) -> Act:
    await stage.linked(await with_app(stage))
    return await _google_form(stage)


@operation("google login, forged")
async def _google_forged(stage: Stage) -> Act:
    await stage.linked(await stage.site.account())
    return await _google_form(stage, nonce="of another flow")


@operation("google login of a stranger who may come", lets_in=True, repeated=(412,))
async def _google_newcomer(stage: Stage) -> Act:
    return await _google_form(stage)


@operation("google login of a stranger who may not come")
async def _google_stranger(stage: Stage) -> Act:
    return await _google_form(stage, email="ada@elsewhere.test")


@operation("google login that takes an unconfirmed account", lets_in=True, repeated=(412,))
async def _google_takes_over(stage: Stage) -> Act:
    await stage.site.account("ada@gmail.com", status=Status.WAITING_FOR_EMAIL_VERIFICATION)
    return await _google_form(stage)


@operation("google link page")
async def _google_link_page(stage: Stage) -> Act:
    await stage.site.account()
    await logged_in(stage)
    return getting(stage, GOOGLE_LINK)


@operation("google link", repeated=(303, 401))
async def _google_link(stage: Stage) -> Act:
    await stage.site.account()
    await logged_in(stage)
    return await _google_form(stage, GOOGLE_LINK)


@operation("google unlink", repeated=(303, 401))
async def _google_unlink(stage: Stage) -> Act:
    await stage.linked(await stage.site.account())
    person = await logged_in(stage)
    return sending(stage, (await person.get("/user/auth_googleaccount/remove")).form("remove"))


# --- Accounts ---------------------------------------------------------------------------------------------------------


async def _registration(stage: Stage) -> Act:
    page = await stage.person.get(f"{PASSWORDS}/add")
    return sending(stage, page.form("/add"), name=NEW, password=NEW_PASSWORD, firstname="Nora", lastname="New")


@operation("register", repeated=(200,))
async def _register(stage: Stage) -> Act:
    return await _registration(stage)


@operation("register a name that is taken", repeated=(200,))
async def _register_taken(stage: Stage) -> Act:
    await stage.site.account(NEW)
    return await _registration(stage)


@operation("register a name that waits", repeated=(200,))
async def _register_again(stage: Stage) -> Act:
    await (await _registration(stage))()
    return await _registration(stage)


async def _verification_link(stage: Stage) -> str:
    await (await _registration(stage))()
    await stage.site.run_tasks()
    return stage.site.link()


@operation("verification page")
async def _verify_page(stage: Stage) -> Act:
    return getting(stage, await _verification_link(stage))


@operation("verify", repeated=(410, 412, 404, 400, 409))
async def _verify(stage: Stage) -> Act:
    page = await stage.person.get(await _verification_link(stage))
    return sending(stage, page.form("verify"))


FORGED = f"{'A' * 22}.{'A' * 43}"
"""A mailed token of the right form."""


@operation("verify, forged")
async def _verify_forged(stage: Stage) -> Act:
    page = await stage.person.get(f"{PASSWORDS}/verify?skey={FORGED}")
    return sending(stage, page.form("verify"))


@operation("resend", repeated=(200,))
async def _resend(stage: Stage) -> Act:
    await (await _registration(stage))()
    return sending(stage, (await stage.person.get(f"{PASSWORDS}/resend")).form("resend"), name=NEW)


@operation("ask for recovery", repeated=(303,))
async def _ask(stage: Stage) -> Act:
    await stage.site.account()
    return sending(stage, (await stage.person.get(f"{PASSWORDS}/pwrecover")).form("pwrecover"), name=ADA)


async def _recovery_form(stage: Stage) -> Form:
    await stage.person.send((await stage.person.get(f"{PASSWORDS}/pwrecover")).form("pwrecover"), name=ADA)
    await stage.site.run_tasks()
    return (await stage.person.get(stage.site.link())).form("pwrecover")


@operation("recover", repeated=(410, 412, 404, 400, 409))
async def _recover(stage: Stage) -> Act:
    await stage.linked(await stage.site.account())
    return sending(stage, await _recovery_form(stage), password=NEW_PASSWORD)


@operation("recover, forged", counts_roughly=True)
async def _recover_forged(stage: Stage) -> Act:
    await stage.site.account()
    form = await _recovery_form(stage)
    return sending(stage, replace(form, values={**form.values, "recovery_key": FORGED}), password=NEW_PASSWORD)


@operation("set up", repeated=(410, 412, 404, 400, 409))
async def _set_up(stage: Stage) -> Act:
    await stage.site.account(password=None)
    link = await stage.site.app.administration.setup_link(ADA)
    page = await stage.person.get(link)
    return sending(stage, page.form("setup"), password=NEW_PASSWORD)


@operation("change password", repeated=(303, 401))
async def _change(stage: Stage) -> Act:
    await stage.site.account()
    person = await logged_in(stage)
    page = await person.get(f"{PASSWORDS}/change")
    return sending(stage, page.form("change"), current_password=PASSWORD, password=NEW_PASSWORD)


@operation("change password, wrong")
async def _change_wrong(stage: Stage) -> Act:
    await stage.site.account()
    person = await logged_in(stage)
    page = await person.get(f"{PASSWORDS}/change")
    return sending(stage, page.form("change"), current_password="not the right one", password=NEW_PASSWORD)


# --- Factors ----------------------------------------------------------------------------------------------------------


@operation("enrol, begin")
async def _enrol_begin(stage: Stage) -> Act:
    await stage.site.account()
    person = await logged_in(stage)
    return sending(stage, (await person.get(f"{TOTP}/add")).form("/add"))


@operation("enrol, confirm", repeated=(303, 401, 412))
async def _enrol_confirm(stage: Stage) -> Act:
    await stage.site.account()
    person = await logged_in(stage)
    page = await person.send((await person.get(f"{TOTP}/add")).form("/add"))
    return sending(stage, page.form("/add"), otptoken=stage.site.code(secret=secret_on(page)))


@operation("enrol, confirm wrong")
async def _enrol_wrong(stage: Stage) -> Act:
    await stage.site.account()
    person = await logged_in(stage)
    page = await person.send((await person.get(f"{TOTP}/add")).form("/add"))
    return sending(stage, page.form("/add"), otptoken=stage.site.wrong_code())


async def _fully_logged_in(stage: Stage) -> Person:
    secret, _ = await with_codes(stage)
    stage.person = stage.site.person()
    form = await owing(stage)
    page = await stage.person.send(form, otptoken=stage.site.code(secret=secret))
    assert page.location == "/user/view/self", page.text
    stage.site.clock.pass_by(timedelta(seconds=40))
    return stage.person


@operation("remove a factor", repeated=(303, 401))
async def _remove(stage: Stage) -> Act:
    person = await _fully_logged_in(stage)
    return sending(stage, (await person.get(f"{TOTP}/remove")).form("remove"))


@operation("renew codes", repeated=(303, 401))
async def _renew(stage: Stage) -> Act:
    person = await _fully_logged_in(stage)
    return sending(stage, (await person.get(f"{CODES}/add")).form("add"))


# --- Entries ----------------------------------------------------------------------------------------------------------


@operation("view self")
async def _view_self(stage: Stage) -> Act:
    await stage.site.account()
    await logged_in(stage)
    return getting(stage, "/user/view/self")


@operation("view self, use noted", may_drop=True)
async def _view_self_later(stage: Stage) -> Act:
    await stage.site.account()
    await logged_in(stage)
    stage.site.clock.pass_by(timedelta(minutes=6))
    return getting(stage, "/json/user/view/self")


@operation("edit self", repeated=(409, 303))
async def _edit_self(stage: Stage) -> Act:
    await stage.site.account()
    person = await logged_in(stage)
    return sending(stage, (await person.get("/user/edit/self")).form("edit"), firstname="Augusta")


async def _as_root(stage: Stage) -> tuple[Person, str]:
    await stage.site.account(ROOT, access=("root",))
    bob = await stage.site.account(BOB)
    return await logged_in(stage, ROOT), bob.id


@operation("list entries")
async def _list(stage: Stage) -> Act:
    await _as_root(stage)
    return getting(stage, "/user/list")


@operation("view an entry")
async def _view(stage: Stage) -> Act:
    _, bob = await _as_root(stage)
    return getting(stage, f"/user/view/{bob}")


@operation("add an entry", repeated=(409, 400))
async def _add(stage: Stage) -> Act:
    person, _ = await _as_root(stage)
    form = (await person.get("/user/add")).form("add")
    return sending(stage, form, name=NEW, password=NEW_PASSWORD, status="10")


@operation("edit an entry", repeated=(409, 303))
async def _edit(stage: Stage) -> Act:
    person, bob = await _as_root(stage)
    form = (await person.get(f"/user/edit/{bob}")).form("edit")
    return sending(stage, form, name="rob@example.org", firstname="Rob", status="10")


@operation("set the password of an entry", repeated=(409, 303))
async def _edit_password(stage: Stage) -> Act:
    person, bob = await _as_root(stage)
    form = (await person.get(f"/user/edit/{bob}")).form("edit")
    return sending(stage, form, status="10", password=NEW_PASSWORD)


@operation("delete an entry", repeated=(404,))
async def _delete(stage: Stage) -> Act:
    person, bob = await _as_root(stage)
    return sending(stage, (await person.get(f"/user/delete/{bob}")).form("delete"))


@operation("kick", repeated=(303,))
async def _kick(stage: Stage) -> Act:
    person, bob = await _as_root(stage)
    return sending(stage, (await person.get(f"/user/view/{bob}")).form("kick"))


@operation("configuration of admin tools")
async def _vi_config(stage: Stage) -> Act:
    await _as_root(stage)
    return getting(stage, "/vi/config")


@operation("methods and skeys")
async def _methods(stage: Stage) -> Act:
    return getting(stage, "/json/user/getAuthMethods")


# --- What the clock and operators do ----------------------------------------------------------------------------------


def task(name: str) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    """Declare a task that waits in the outbox once its cause has been set up."""

    def take(cause: Callable[[Stage], Awaitable[None]]) -> None:
        async def set_up(stage: Stage) -> Act:
            await cause(stage)
            return stage.site.run_tasks

        operation(f"task: {name}", is_request=False)(set_up)

    return take


@task("recovery mail")
async def _recovery_mail(stage: Stage) -> None:
    await (await _ask(stage))()


@task("recovery mail of an unknown name")
async def _recovery_mail_of_nobody(stage: Stage) -> None:
    form = (await stage.person.get(f"{PASSWORDS}/pwrecover")).form("pwrecover")
    await stage.person.send(form, name="nobody@example.org")


@task("verification mail")
async def _verification_mail(stage: Stage) -> None:
    await (await _registration(stage))()


@task("verification mail, asked for again")
async def _verification_mail_again(stage: Stage) -> None:
    await (await _registration(stage))()
    await stage.site.run_tasks()
    stage.site.clock.pass_by(timedelta(minutes=16))
    await stage.person.send((await stage.person.get(f"{PASSWORDS}/resend")).form("resend"), name=NEW)


@task("mail about a taken name")
async def _taken_mail(stage: Stage) -> None:
    await (await _register_taken(stage))()


@task("mail of a repeated registration")
async def _repeated_mail(stage: Stage) -> None:
    await (await _registration(stage))()
    await stage.site.run_tasks()
    stage.site.clock.pass_by(timedelta(minutes=16))
    await (await _registration(stage))()


@task("notice of a changed password")
async def _notice(stage: Stage) -> None:
    await (await _change(stage))()


@task("welcome mail")
async def _welcome(stage: Stage) -> None:
    person, _ = await _as_root(stage)
    form = (await person.get("/user/add")).form("add")
    await person.send(form, name=NEW, password="", status="10")


@operation("ask for recovery, with Cloud Tasks", has_cloud_tasks=True, repeated=(303,))
async def _ask_with_cloud_tasks(stage: Stage) -> Act:
    return await _ask(stage)


@operation("register, with Cloud Tasks", has_cloud_tasks=True, repeated=(200,))
async def _register_with_cloud_tasks(stage: Stage) -> Act:
    return await _registration(stage)


@operation("delivery by Cloud Tasks", has_cloud_tasks=True, is_request=False)
async def _delivery(stage: Stage) -> Act:
    await (await _ask(stage))()
    waiting = (await stage.store.find("outbox", "due_at")).records[0]
    body, name = json.dumps({"id": waiting.key.name}).encode(), waiting.data["task"]
    headers = {"x-appengine-queuename": "mail", "content-type": "application/json"}
    caller = stage.site.person()
    return lambda: caller.request("POST", f"/_tasks/{name}", body=body, headers=headers)


@operation("sweep by the clock", has_cloud_tasks=True, is_request=False)
async def _sweep(stage: Stage) -> Act:
    await (await _ask(stage))()
    stage.site.clock.pass_by(timedelta(minutes=10))
    caller = stage.site.person()
    return lambda: caller.get("/_tasks/sweep", headers={"x-appengine-cron": "true"})


@operation("clean", is_request=False)
async def _clean(stage: Stage) -> Act:
    await (await _login_wrong(stage))()
    await logged_in(stage)
    stage.site.clock.pass_by(timedelta(days=2))
    return stage.site.app.administration.clean


@operation("first administrator", is_request=False)
async def _first_admin(stage: Stage) -> Act:
    async def act() -> Any:
        link = await stage.site.app.administration.create_new_user_if_not_exists()
        return link and re.sub(r"=.*", "=*", link)

    return act


@operation("import an account", is_request=False)
async def _import(stage: Stage) -> Act:
    arrival = Arrival(source="viur", name=ADA, status=10, password=Pbkdf2(1000, 42, b"salt", b"x" * 42))
    return lambda: Importing(stage.site.app.engine).take_in(arrival)


@operation("rotate keys", is_request=False)
async def _rotate(stage: Stage) -> Act:
    await with_app(stage)
    await with_app(stage, BOB)
    keyring = Keyring(("a newer master key, long enough too", KEY))
    services = replace(stage.site.app.services, keyring=keyring)
    from authflow.administration import Administration
    from authflow.engine import Engine

    return Administration(Engine(Everything(), services)).rotate_keys
