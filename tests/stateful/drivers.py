"""How the rules reach the product: by calls to the engine, or by requests to the edge. Both answer in the same words.

An answer is `in`, `done`, `owed <provider>`, `choice`, `wrong <reason>` or the code of an error.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from authflow.account_work import Invalid
from authflow.administration import Administration
from authflow.errors import AuthflowError, NotAuthenticated, Unavailable
from authflow.model import Account
from authflow.results import Changed, ChoiceOwed, LoggedIn, NotProved, StepOwed
from authflow.sessions import Current, DeviceClaim, IssuedSession, Visitor
from authflow.testing import Page, Person, Site, make_site
from authflow.tokens import digest
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP, new_hardware_token

PATHS = {
    "time_based_otp": "/json/user/f2_timebasedotp",
    "spare_app": "/json/user/f2_spareapp",
    "recovery_codes": "/json/user/f2_recoverycode",
}


class SpareApp(TimeBasedOTP):
    name, label = "spare_app", "Spare app"
    path, method_name = "f2_spareapp", "X-VIUR-2FACTOR-SpareApp"


class Everybody(User):
    """A password, two apps, and codes that stand in for them."""

    authentication_providers = ("providers.user_password:UserPassword",)
    second_factor_providers = (TimeBasedOTP, SpareApp, "providers.recovery_codes:RecoveryCodes")
    valid_authentication_methods = (
        ("user_password", "time_based_otp"),
        ("user_password", "spare_app"),
        ("user_password", None),
    )


class Driver(Protocol):
    """What people can do. `where` is a browser; what is secret and new comes beside the answer."""

    site: Site

    async def log_in(self, where: str, name: str, password: str) -> str: ...

    async def type_code(self, where: str, factor: str, text: str) -> str: ...

    async def choose(self, where: str, factor: str) -> str: ...

    async def cancel(self, where: str) -> str: ...

    async def log_out(self, where: str) -> str: ...

    async def who(self, where: str) -> str: ...

    async def change_password(self, where: str, old: str, new: str) -> str: ...

    async def begin_app(self, where: str, factor: str) -> tuple[str, bytes]: ...

    async def confirm_app(self, where: str, factor: str, text: str) -> tuple[str, Sequence[str]]: ...

    async def remove_app(self, where: str, factor: str) -> str: ...

    async def renew_codes(self, where: str) -> tuple[str, Sequence[str]]: ...

    async def ask_recovery(self, where: str, name: str) -> str: ...

    async def recover(self, where: str, token: str, new: str) -> str: ...


class Base:
    """What is the same for all: the site, its mails, and the operator, who has a shell."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.site: Site = runner.run(make_site(Everybody()))

    @property
    def operator(self) -> Administration:
        return Administration(self.site.app.engine)

    async def account(self, name: str, secret: bytes | None) -> Account:
        made = await self.site.account(name)
        if secret is None:
            return made
        token = new_hardware_token(made.id, serial="1", secret_hex=secret.hex(), now=self.site.clock(), interval=30)
        return await self.site.kit.enrolled(made, token)

    async def mailed_key(self, name: str) -> str:
        """Send what is due; return the recovery key that this brought to somebody, or nothing."""
        count = len(self.site.outbox.to(name))
        await self.site.run_tasks()
        for mail in self.site.outbox.to(name)[count:]:
            if found := re.search(r"recovery_key=(\S+)", mail.text):
                return found[1]
        return ""


# --- By calls ---------------------------------------------------------------------------------------------------------


@dataclass
class Held:
    """What a browser holds."""

    issued: IssuedSession | None = None
    owner: str = ""
    devices: tuple[DeviceClaim, ...] = ()


@dataclass
class EngineDriver(Base):
    """Calls what the edge calls, and keeps what browsers keep."""

    runner: asyncio.Runner
    held: dict[str, Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.runner)
        self.engine, self.accounts = self.site.app.engine, self.site.app.accounts
        self.enrolment = self.site.app.enrolment

    def visitor(self, where: str) -> Visitor:
        held = self.held.setdefault(where, Held())
        session_id = digest(held.issued.secret) if held.issued else ""
        return Visitor(where, session_id, held.owner if held.issued else "", held.devices, where, "test agent")

    async def current(self, where: str) -> Current:
        current = await self.engine.sessions.current(self.visitor(where), self.site.clock())
        if current is None:
            raise NotAuthenticated()
        return current

    async def fresh(self, where: str) -> Current:
        current = await self.current(where)
        self.accounts.demand_fresh_login(current.session)
        return current

    async def log_in(self, where: str, name: str, password: str) -> str:
        values = {"name": name, "password": password}
        provider = self.engine.registry.providers["user_password"]
        return await self._told(where, self.engine.submit(provider, values, self.visitor(where)))

    async def type_code(self, where: str, factor: str, text: str) -> str:
        provider = self.engine.registry.providers[factor]
        return await self._told(where, self.engine.submit(provider, {"otptoken": text}, self.visitor(where)))

    async def choose(self, where: str, factor: str) -> str:
        provider = self.engine.registry.providers[factor]
        return await self._told(where, self.engine.waiting.choose(provider, self.visitor(where)))

    async def cancel(self, where: str) -> str:
        is_in = bool(await self.who(where))
        told = await self._told(where, self.engine.waiting.cancel(self.visitor(where)))
        if not is_in:
            self.held[where].issued = None
        return told

    async def log_out(self, where: str) -> str:
        async def work() -> None:
            await self.engine.log_out(await self.current(where))
            self.held[where].issued = None

        return await self._told(where, work())

    async def who(self, where: str) -> str:
        try:
            return (await self.current(where)).account.name
        except NotAuthenticated:
            return ""

    async def change_password(self, where: str, old: str, new: str) -> str:
        async def work() -> Any:
            current = await self.fresh(where)
            values = {"current_password": old, "password": new}
            answer = await self.accounts.change_password(current, values, self.visitor(where))
            if isinstance(answer, IssuedSession):
                return Changed(answer, replace(current.account, epoch=answer.session.epoch))
            return answer

        return await self._told(where, work())

    async def begin_app(self, where: str, factor: str) -> tuple[str, bytes]:
        found: list[str] = []

        async def work() -> Any:
            provider = self.engine.registry.providers[factor]
            owed = await self.enrolment.begin(provider, self.visitor(where), await self._perhaps(where))
            found.append(str(owed.ask.params["secret"]))  # type: ignore[union-attr]

        return await self._told(where, work()), _secret(found)

    async def confirm_app(self, where: str, factor: str, text: str) -> tuple[str, Sequence[str]]:
        provider = self.engine.registry.providers[factor]
        return await self._with_codes(where, self.enrolment.confirm(provider, {"otptoken": text}, self.visitor(where)))

    async def remove_app(self, where: str, factor: str) -> str:
        async def work() -> Any:
            provider = self.engine.registry.providers[factor]
            return await self.enrolment.remove(provider, self.visitor(where), await self.fresh(where))

        return await self._told(where, work())

    async def renew_codes(self, where: str) -> tuple[str, Sequence[str]]:
        async def work() -> Any:
            provider = self.engine.registry.providers["recovery_codes"]
            return await self.enrolment.renew_codes(provider, self.visitor(where), await self.fresh(where))

        return await self._with_codes(where, work())

    async def ask_recovery(self, where: str, name: str) -> str:
        return await self._told(where, self.accounts.ask_recovery({"name": name}, self.visitor(where)))

    async def recover(self, where: str, token: str, new: str) -> str:
        return await self._told(where, self.accounts.recover(token, {"password": new}, self.visitor(where)))

    async def _perhaps(self, where: str) -> Current | None:
        return await self.engine.sessions.current(self.visitor(where), self.site.clock())

    async def _with_codes(self, where: str, work: Awaitable[Any]) -> tuple[str, Sequence[str]]:
        codes: list[str] = []

        async def seen() -> Any:
            answer = await work
            codes.extend(getattr(answer, "codes", ()))
            return answer

        return await self._told(where, seen()), codes

    async def _told(self, where: str, work: Awaitable[Any]) -> str:
        try:
            answer = await work
        except Unavailable:
            raise
        except AuthflowError as error:
            return error.code
        held = self.held.setdefault(where, Held())
        match answer:
            case LoggedIn():
                held.issued, held.owner = answer.session, answer.account.id
                others = [claim for claim in held.devices if claim.account_id != answer.account.id]
                held.devices = (answer.device, *others)
                return "in"
            case Changed():
                held.issued, held.owner = answer.session, answer.account.id
                held.devices = tuple(
                    replace(claim, epoch=answer.account.epoch)
                    if claim.account_id == answer.account.id and claim.epoch + 1 == answer.account.epoch
                    else claim
                    for claim in held.devices
                )
                return "done"
            case StepOwed() | ChoiceOwed():
                if answer.session is not None:
                    held.issued, held.owner = answer.session, answer.flow.subject
                return "choice" if isinstance(answer, ChoiceOwed) else f"owed {answer.provider.name}"
            case NotProved():
                return f"wrong {answer.reason}"
            case Invalid():
                return f"wrong {answer.errors[0].code}"
            case None:
                return "done"
        raise AssertionError(answer)


# --- By requests ------------------------------------------------------------------------------------------------------


@dataclass
class HttpDriver(Base):
    """Sends what programs send, in process, and keeps the cookies."""

    runner: asyncio.Runner
    people: dict[str, Person] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.runner)
        self.methods = {p.method_name: p.name for p in self.site.app.engine.registry.second_factors}

    def person(self, where: str) -> Person:
        if where not in self.people:
            self.people[where] = self.site.person(address=f"192.0.2.{len(self.people) + 1}")
        return self.people[where]

    async def log_in(self, where: str, name: str, password: str) -> str:
        return self._told(await self._post(where, "/json/user/auth_userpassword/login", name=name, password=password))

    async def type_code(self, where: str, factor: str, text: str) -> str:
        return self._told(await self._post(where, f"{PATHS[factor]}/otp", otptoken=text))

    async def choose(self, where: str, factor: str) -> str:
        return self._told(await self._post(where, f"{PATHS[factor]}/start"))

    async def cancel(self, where: str) -> str:
        return _done(self._told(await self._post(where, "/json/user/cancel")))

    async def log_out(self, where: str) -> str:
        return _done(self._told(await self._post(where, "/json/user/logout")))

    async def who(self, where: str) -> str:
        page = await self.person(where).get("/json/user/view/self")
        assert page.status in (200, 401), page.text
        return str(page.json["values"]["name"]) if page.status == 200 else ""

    async def change_password(self, where: str, old: str, new: str) -> str:
        path = "/json/user/auth_userpassword/change"
        return _done(self._told(await self._post(where, path, current_password=old, password=new)))

    async def begin_app(self, where: str, factor: str) -> tuple[str, bytes]:
        page = await self._post(where, f"{PATHS[factor]}/add")
        if page.status != 200:
            return self._told(page), b""
        return "done", _secret([page.json["params"]["secret"]])

    async def confirm_app(self, where: str, factor: str, text: str) -> tuple[str, Sequence[str]]:
        return self._with_codes(await self._post(where, f"{PATHS[factor]}/add", otptoken=text))

    async def remove_app(self, where: str, factor: str) -> str:
        return _done(self._told(await self._post(where, f"{PATHS[factor]}/remove")))

    async def renew_codes(self, where: str) -> tuple[str, Sequence[str]]:
        return self._with_codes(await self._post(where, f"{PATHS['recovery_codes']}/add"))

    async def ask_recovery(self, where: str, name: str) -> str:
        page = await self._post(where, "/json/user/auth_userpassword/pwrecover", name=name)
        return "done" if page.status == 200 else self._told(page)

    async def recover(self, where: str, token: str, new: str) -> str:
        path = "/json/user/auth_userpassword/pwrecover"
        page = await self._post(where, path, recovery_key=token, password=new)
        return "done" if page.status == 200 else self._told(page)

    async def _post(self, where: str, path: str, **values: str) -> Page:
        page = await self.person(where).json_post(path, **values)
        assert page.status < 500, page.text
        return page

    def _with_codes(self, page: Page) -> tuple[str, Sequence[str]]:
        said = page.json
        codes = said["values"].get("codes") if page.status == 200 and isinstance(said, dict) else None
        return ("done", codes) if codes else (_done(self._told(page)), ())

    def _told(self, page: Page) -> str:
        said = page.json
        match said:
            case "OKAY":
                return "in"
            case "FAILURE":
                return "wrong invalid_credentials"
            case str():
                return f"owed {self.methods[said]}"
            case list():
                return "choice"
            case {"errors": [{"code": str(code)}, *_]}:
                return f"wrong {code}"
            case {"code": str(code)}:
                return code if page.status >= 300 else f"wrong {code}"
        raise AssertionError(page.text)


def _done(told: str) -> str:
    """Every success that is no login is `OKAY` too."""
    return "done" if told == "in" else told


def _secret(shown: Sequence[str]) -> bytes:
    return base64.b32decode(shown[0].replace(" ", "")) if shown else b""
