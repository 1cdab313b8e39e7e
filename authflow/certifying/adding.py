"""Adding a factor over HTTP as its owner does it: page by page, with slips on the way if wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from authflow.certifying.browsing import Browser, Page
from authflow.certifying.enrolments import MOST_STEPS, said_of, wrong_confirmation
from authflow.certifying.kit import CannotBeShown
from authflow.certifying.report import Failed, NotShown
from authflow.certifying.visiting import Site
from authflow.model import Credential
from authflow.provider import Ask, Enrolled, Provider, ProviderContext, Rejected


@dataclass
class Added:
    """What came of it.

    Attributes:
        steps: Each question with what was answered to it: rightly, and wrongly where that was tried.
        pages: Every page on the way.
    """

    steps: list[tuple[Ask, dict[str, str], dict[str, str] | None]] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    credential: Credential | None = None


class _LedOn(Exception):
    """A slip was as good as the right answer: it was a choice. Holds the number of the step."""


class _Overheard:
    """What the provider of a site asks and answers while people add it."""

    def __init__(self) -> None:
        self.asked: tuple[Ask, ProviderContext] | None = None
        self.outcome: object = None
        self.context: ProviderContext | None = None


@contextmanager
def _overheard(provider: Any) -> Iterator[_Overheard]:
    heard = _Overheard()
    begin: Callable[[ProviderContext], Ask] = provider.begin_enrolment
    answer = provider.answer_enrolment

    def begin_enrolment(context: ProviderContext) -> Ask:
        ask = begin(context)
        heard.asked = ask, context
        return ask

    async def answer_enrolment(submission: Any, context: ProviderContext) -> object:
        heard.outcome, heard.context = None, context
        heard.outcome = await answer(submission, context)
        return heard.outcome

    provider.begin_enrolment, provider.answer_enrolment = begin_enrolment, answer_enrolment
    try:
        yield heard
    finally:
        del provider.begin_enrolment, provider.answer_enrolment


async def add(site: Site, browser: Browser, *, with_slips: bool = False) -> Added:
    """Add the factor in the browser of somebody who is logged in.

    Args:
        with_slips: Whether each question is answered wrongly once before.

    Raises:
        Failed: A page is not as it must be, or the right answers do not end it.
        NotShown: The kit has no answer.
    """
    choices: set[int] = set()
    own: Provider = site.app.engine.registry.providers[site.bench.provider.name]
    with _overheard(own) as heard:
        while True:
            walk = _Walk(site, browser, heard, f"/user/{own.path}/add")
            try:
                return await walk.all(choices if with_slips else None)
            except _LedOn as step:
                choices.add(int(str(step)))


@dataclass
class _Walk:
    site: Site
    browser: Browser
    heard: _Overheard
    path: str
    added: Added = field(default_factory=Added)

    async def all(self, choices: set[int] | None) -> Added:
        """Walk to the end.

        Args:
            choices: Steps at which there is no wrong answer; None where no wrong answers are given.
        """
        start = self._kept(await self.browser.get(self.path))
        form = start.form(self.path)
        if start.status != 200 or form is None:
            raise start.failed(f"the page {self.path} has no form to start with")
        hidden = {name: value for name, value in form.items() if name in ("skey", "flow")}
        page = self._kept(await self.browser.post(self.path, hidden))
        if page.status != 200 or page.form(self.path) is None or self.heard.asked is None:
            raise page.failed("after the start there is no form to confirm with")
        ask, context = self.heard.asked
        for number in range(MOST_STEPS):
            form = self._form(page, ask, "after the start" if number == 0 else "after a right confirmation")
            right = await self._right(ask, context)
            slip = None
            if choices is not None and number not in choices:
                slip = await wrong_confirmation(self.site.bench.provider, self.site.person.kit, ask, context, right)
            self.added.steps.append((ask, right, slip))
            if slip is not None:
                form = await self._slipped(number, form, ask, slip)
            page = self._kept(await self.browser.post(self.path, {**form, **right}))
            outcome = self.heard.outcome
            if isinstance(outcome, Enrolled) and page.status < 400:
                self.added.credential = outcome.credential
                return self.added
            if not isinstance(outcome, Ask) or self.heard.context is None or page.status >= 500:
                what = "the right confirmation does not end the enrolment"
                raise Failed(f"{what} ({said_of(outcome)})") if isinstance(outcome, Rejected) else page.failed(what)
            ask, context = outcome, self.heard.context
        raise Failed(f"after {MOST_STEPS} right answers the enrolment still asks for more")

    async def _slipped(self, number: int, form: dict[str, str], ask: Ask, slip: dict[str, str]) -> dict[str, str]:
        """Confirm wrongly, and return the form to try again with."""
        page = self._kept(await self.browser.post(self.path, {**form, **slip}))
        if page.status >= 500:
            raise page.failed("a wrong confirmation ends in a fault")
        if isinstance(self.heard.outcome, Ask):
            raise _LedOn(str(number))
        if isinstance(self.heard.outcome, Enrolled):
            raise Failed("a wrong confirmation enrols the factor")
        if page.form(self.path) is None:
            raise page.failed("after a wrong confirmation there is no form to try again with")
        return self._form(page, ask, "after a wrong confirmation")

    def _form(self, page: Page, ask: Ask, when: str) -> dict[str, str]:
        form = page.form(self.path)
        if form is None:
            raise page.failed(f"{when} there is no form to confirm with")
        wanted = {declared.name for declared in ask.fields}
        if missing := sorted(wanted - set(form)):
            shown = ", ".join(sorted(set(form) - {"skey", "flow"})) or "nothing"
            raise Failed(f"{when} the page asks for {shown}, and {', '.join(missing)} is waited for")
        return page.form(self.path, as_sent=True) or {}

    async def _right(self, ask: Ask, context: ProviderContext) -> dict[str, str]:
        try:
            return dict(await self.site.person.kit.confirm(ask, context))
        except CannotBeShown as error:
            raise NotShown(str(error)) from error

    def _kept(self, page: Page) -> Page:
        self.added.pages.append(page)
        return page
