"""People who are about to change their second factors: sessions of every kind, and what their apps show."""

from __future__ import annotations

import base64

from authflow.enrolment import Enrolment
from authflow.model import Account
from authflow.results import Changed, LoggedIn, StepOwed
from authflow.sessions import Current, Visitor
from authflow.testing import PASSWORD, Kit, browser
from providers.recovery_codes import RecoveryCodes
from providers.time_based_otp import TimeBasedOTP, generate_otps


class Person:
    """Somebody with a browser.

    Attributes:
        secret: Of the app that was enrolled last.
    """

    def __init__(self, kit: Kit, account: Account, browser_id: str = "browser-1") -> None:
        self.kit = kit
        self.account = account
        self.enrolment = Enrolment(kit.engine)
        self.visitor = browser(browser_id=browser_id)
        self.browser_id = browser_id
        self.secret = b""

    @property
    def totp(self) -> TimeBasedOTP:
        return self.kit.provider("time_based_otp")

    @property
    def codes(self) -> RecoveryCodes:
        return self.kit.provider("recovery_codes")

    def has_session(self, issued) -> Visitor:
        """Take the cookie of a new session."""
        self.visitor = browser(issued, self.account.id, browser_id=self.browser_id)
        return self.visitor

    async def logs_in(self) -> LoggedIn | StepOwed:
        """Give the password, and nothing else."""
        result = await self.kit.login(self.account.name, PASSWORD, browser(browser_id=self.browser_id))
        self.has_session(result.session)
        return result

    async def gives(self, provider, code: str) -> LoggedIn:
        result = await self.kit.engine.submit(provider, {"otptoken": code}, self.visitor)
        assert isinstance(result, LoggedIn)
        self.has_session(result.session)
        return result

    async def current(self) -> Current | None:
        others = self.enrolment.status_keys(self.account.id)
        return await self.kit.engine.sessions.current(self.visitor, self.kit.clock(), also=others)

    def code(self, offset: int = 0, secret: bytes = b"") -> str:
        counter = int(self.kit.clock().timestamp()) // 30 + offset
        return generate_otps(secret or self.secret, [counter], digits=6, algorithm="SHA1")[0]

    def wrong_code(self) -> str:
        right = {self.code(offset) for offset in (-1, 0, 1)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in right)

    async def begins(self, **more) -> StepOwed:
        """Ask for a new app's secret, and read it off the page."""
        owed = await self.enrolment.begin(self.totp, self.visitor, await self.current(), **more)
        self.secret = secret_of(owed)
        return owed

    def handle(self, owed: StepOwed) -> str:
        return self.kit.engine.reference(owed.flow, self.visitor)

    async def confirms(self, owed: StepOwed, code: str = ""):
        return await self.enrolment.confirm(
            self.totp, {"otptoken": code or self.code()}, self.visitor, self.handle(owed)
        )

    async def enrols(self) -> Changed:
        """Log in, and add an app."""
        await self.logs_in()
        changed = await self.confirms(await self.begins())
        assert isinstance(changed, Changed)
        self.account = changed.account
        self.has_session(changed.session)
        return changed

    async def account_now(self) -> Account:
        return await self.kit.account_now(self.account)


def secret_of(owed: StepOwed) -> bytes:
    text = str(owed.ask.params["secret"]).replace(" ", "")
    return base64.b32decode(text)
