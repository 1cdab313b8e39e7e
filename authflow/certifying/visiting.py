"""A site of its own for one person: an application apart, what it mails and logs, and the way to where it asks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from authflow.assembly import Application
from authflow.certifying.attempts import Person
from authflow.certifying.bench import Bench
from authflow.certifying.browsing import Browser, Page, nothing
from authflow.certifying.kit import CannotBeShown
from authflow.certifying.opener import NAME, Opener
from authflow.certifying.report import Failed, NotShown
from authflow.flow import Flow
from authflow.mail import MailTransport
from authflow.mail.protocol import Mail
from authflow.notices import handlers
from authflow.provider import Ask, PrimaryProvider, Provider, Redirect
from authflow.results import StepOwed
from authflow.store.protocol import Key
from authflow.web.app import Edge, create_app
from authflow.web.exchange import Exchange

# With a level of its own, a logger may be silent to the root.
_LOGGERS = (logging.getLogger(), logging.getLogger("authflow"), logging.getLogger("authflow.audit"))


class _Post(MailTransport):
    """A mail transport that keeps what it is given."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        self.mails.append(mail)


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class Step:
    """The page that asks, and all that is needed to answer it."""

    page: Page
    flow: Flow
    ask: Ask | Redirect
    reference: str


@dataclass
class Site:
    """An application apart of its own, with one person, and all that it says.

    Attributes:
        heard: Every page, address, line of the log and mail so far, each with what it is.
    """

    bench: Bench
    app: Application
    edge: Edge
    person: Person
    post: _Post = field(default_factory=_Post)
    log: _Log = field(default_factory=_Log)
    heard: list[tuple[str, str]] = field(default_factory=list)
    levels: dict[str, int] = field(default_factory=dict)

    @classmethod
    async def open(cls, bench: Bench, name: str = "ada@example.org", *, is_equipped: bool = True) -> Site:
        """Make the application and put the person into it."""
        app = bench.new_app()
        person = await bench.person(name, app=app)
        await app.open(with_worker=False)
        bench.party.stand_in = person.kit.fetching
        if not is_equipped:
            person.credential = None
        await bench.stored(person, app)
        site = cls(bench, app, create_app(app), person)
        for logger in _LOGGERS:
            site.levels[logger.name] = logger.level
            logger.addHandler(site.log)
            logger.setLevel(logging.DEBUG)
        return site

    async def close(self) -> None:
        for logger in _LOGGERS:
            logger.removeHandler(self.log)
            logger.setLevel(self.levels[logger.name])
        self.bench.party.stand_in = None
        await self.app.close()

    def browser(self) -> Browser:
        return _Heard(self)

    @property
    def path(self) -> str:
        """Where answers to the provider are posted."""
        return f"/user/{self.bench.provider.path}/{self.bench.provider.action}"

    async def step(self, browser: Browser) -> Step:
        """Come to where the provider asks.

        Raises:
            Failed: There is no such page.
        """
        provider = self.bench.provider
        if isinstance(provider, PrimaryProvider):
            page = await browser.get(self.path)
            if page.status == 303 and "://" in page.location:
                state = parse_qs(urlsplit(page.location).query).get("state", [""])[0]
                flow = self.app.engine.travelling(state, browser.visitor())
                return Step(page, flow, Redirect(page.location, flow.scratch.get(provider.name, {})), state)
            reference = _flow_of(page, self.path)
            flow = self.app.engine.travelling(reference, browser.visitor())
            return Step(page, flow, self.app.engine.ask(flow, self._own(), None), reference)
        page = await self.open_second(browser)
        if self.bench.user.is_substitute:
            start = f"/user/{provider.path}/start"
            links = [e.attributes.get("href") or "" for e in page.elements if e.tag == "a"]
            page = await browser.follow(await browser.get(next((link for link in links if start in link), start)))
        reference = _flow_of(page, self.path)
        return await self._stored_step(browser, page, reference)

    async def open_second(self, browser: Browser) -> Page:
        """Take the first step of a login that a second factor is for."""
        opener = f"/user/{Opener.path}/{Opener.action}"
        first = (await browser.get(opener)).form(opener) or {}
        return await browser.follow(await browser.post(opener, {**first, NAME.name: self.person.account.name}))

    async def _stored_step(self, browser: Browser, page: Page, reference: str) -> Step:
        owed = await self.app.engine.waiting.show(browser.visitor(), flow_reference=reference, provider=self._own())
        if not isinstance(owed, StepOwed):
            raise Failed(f"after the first step the provider is not asked for ({type(owed).__name__})")
        return Step(page, owed.flow, owed.ask, reference)

    async def answer(self, browser: Browser, step: Step) -> Page:
        """Give the right answer, over as many pages as are asked for.

        Raises:
            NotShown: The kit has none.
        """
        for _ in range(5):
            page = await self.send(browser, step, await self.values(step))
            if page.status != 200 or self.is_refused(page):
                return page
            reference = _flow_of(page, self.path)
            if isinstance(self.bench.provider, PrimaryProvider):
                flow = self.app.engine.travelling(reference, browser.visitor())
                notes = flow.scratch.get(self.bench.provider.name, {})
                fields = [f for f in (page.form(self.path) or {}) if f not in ("skey", "flow")]
                step = Step(page, flow, await self._asked_on(step, notes, fields), reference)
            else:
                step = await self._stored_step(browser, page, reference)
        return page

    async def _asked_on(self, step: Step, notes: object, fields: list[str]) -> Ask | Redirect:
        """Find what a provider asked on, by asking it once more what it makes of the answer."""
        attempt = await self.bench.attempt(self.person)
        if [declared.name for declared in getattr(attempt.ask, "fields", ())] != fields:
            raise NotShown("the form of the second question is not the one that was asked for")
        return attempt.ask

    async def values(self, step: Step) -> dict[str, str]:
        """Have the kit answer for this very flow."""
        try:
            context = self.app.engine.context(step.flow, self.bench.provider, account=self.person.account)
            return dict(await self.person.kit.answer(step.ask, context))
        except CannotBeShown as error:
            raise NotShown(str(error)) from error

    async def send(self, browser: Browser, step: Step, values: Mapping[str, str]) -> Page:
        """Send an answer as a form would, or come back from where one was sent."""
        if isinstance(step.ask, Redirect):
            return await browser.get(f"{self.path}?{urlencode({**values, 'state': step.reference})}")
        return await browser.post(self.path, {**(step.page.form(self.path) or {}), **values})

    def is_refused(self, page: Page) -> bool:
        """Whether a page says that an answer was not accepted."""
        return 'role="alert"' in page.text

    async def is_logged_in(self, browser: Browser) -> bool:
        return (await browser.get("/user/view/self")).status == 200

    async def begin_enrolment(self, browser: Browser) -> StepOwed:
        """Open an enrolment for whoever is logged in."""
        x = Exchange(self.edge, browser.scope(), nothing)
        return await self.app.enrolment.begin(self._own(), x.visitor, await x.current())

    def stored(self) -> Iterator[tuple[str, str]]:
        """Give every record of the store, as a copy of it would show them: its kind, and its text."""
        rows: Mapping[Key, object] = getattr(getattr(self.app.services.store, "_store", None), "_rows", {})
        for key, row in rows.items():
            yield key.kind, str(getattr(row, "body", ""))

    async def run_tasks(self) -> None:
        """Carry out what was deferred; mails are kept."""
        await self.app.services.tasks.run_due(handlers(self.app.engine, self.app.renderer, self.post))

    def _own(self) -> Provider:
        return self.app.engine.registry.providers[self.bench.provider.name]


class _Heard(Browser):
    """A browser whose answers are kept."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.edge)
        self._site = site

    async def _request(self, method: str, path: str, body: bytes = b"", media: str = "") -> Page:
        page = await super()._request(method, path, body, media)
        where = f"{method} {path.partition('?')[0]}"
        self._site.heard.append((f"the page that answers {where}", page.text))
        for name, value in page.headers:
            if name != "set-cookie":
                self._site.heard.append((f"the header {name} of the answer to {where}", value))
        return page


def _flow_of(page: Page, path: str) -> str:
    form = page.form(path)
    if page.status != 200 or form is None:
        raise page.failed(f"there is no page with a form that goes to {path}")
    return form.get("flow", "")
