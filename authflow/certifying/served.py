"""Checks of whole logins over HTTP: who gets in, and how often."""

from __future__ import annotations

import asyncio
import json

from authflow.certifying.adding import add
from authflow.certifying.attempts import is_one_time
from authflow.certifying.bench import Bench
from authflow.certifying.browsing import Browser, Page
from authflow.certifying.check import check
from authflow.certifying.judging import fields_of
from authflow.certifying.report import DoesNotApply, Failed, NotShown
from authflow.certifying.visiting import Site, Step
from authflow.fields import FieldType
from authflow.mail.protocol import Mail
from authflow.powers import Enrols
from authflow.provider import Ask, Redirect, SecondFactorProvider

_OVER_HTTP = (
    "",
    "\x00",
    "x" * 5000,
    "' OR '1'='1",
    "<script>alert(1)</script>",
    "\uff11\uff12\uff13\uff14\uff15\uff16",
)


async def logged_in(site: Site, browser: Browser) -> tuple[Step, dict[str, str], Page]:
    """Log in as the site's person; return the last question, the answer, and the page that came."""
    step = await site.step(browser)
    values = await site.values(step)
    page = await site.answer(browser, step)
    return step, values, page


@check(
    "a person can log in with it",
    mend="see right_answer; a fault is named with what the log says of it",
    needs_kit=True,
)
async def login_works(bench: Bench) -> None:
    site = await Site.open(bench)
    try:
        browser = site.browser()
        _, _, page = await logged_in(site, browser)
        if not await site.is_logged_in(browser):
            raise page.failed("the right answer over HTTP does not log in")
    finally:
        await site.close()


@check("nothing that is sent over HTTP ends in a fault or a login", mend="see hostile_is_refused", needs_kit=True)
async def hostile_over_http(bench: Bench) -> None:
    site = await Site.open(bench)
    try:
        for text in _OVER_HTTP:
            browser = site.browser()
            step = await site.step(browser)
            names = [declared.name for declared in fields_of(step.ask)] or ["code", "error"]
            page = await site.send(browser, step, dict.fromkeys(names, text))
            await _demand_not_in(site, browser, page, ascii(text)[:40])
        browser = site.browser()
        step = await site.step(browser)
        form = step.page.form(site.path) or {}
        for odd in ("\\ud800", "5", "[1]", "{}", "null"):
            value = f'"{odd}"' if odd.startswith("\\") else odd
            names = [declared.name for declared in fields_of(step.ask)] or ["code"]
            said = [f'"{name}": {value}' for name in names] + [f'"flow": {json.dumps(form.get("flow", ""))}']
            body = f"{{{', '.join(said)}}}"
            page = await browser.post(f"/json{site.path}", {"body": body}, media="application/json")
            await _demand_not_in(site, browser, page, f"JSON {odd}")
    finally:
        await site.close()


async def _demand_not_in(site: Site, browser: Browser, page: Page, what: str) -> None:
    if page.status >= 500:
        raise page.failed(f"{what} ended in a fault")
    if await site.is_logged_in(browser):
        raise Failed(f"{what} logs somebody in")


@check(
    "the same answer twice logs nobody in twice: one after the other, elsewhere, or at once",
    mend="see replay_is_refused: what was used must be spent in Verified.credential or named by single_use",
    needs_kit=True,
    by_chance=True,
)
async def one_answer_one_login(bench: Bench) -> None:
    site = await Site.open(bench)
    try:
        first, same, other = site.browser(), site.browser(), site.browser()
        step = await site.step(first)
        values = await site.values(step)
        elsewhere = await site.step(other)
        same.cookies = dict(first.cookies)
        await asyncio.gather(
            site.send(first, step, values), site.send(same, step, values), site.send(other, elsewhere, values)
        )
        counted = [await site.is_logged_in(one) for one in (first, same, other)]
        if not any(counted):
            raise NotShown("none of three answers at once was accepted")
        if first.cookies == same.cookies:
            counted[1] = False
        if counted[0] and counted[1]:
            raise Failed("two submissions of one form at the same time log in twice")
        if not is_one_time(bench.provider):
            return
        if counted[2] and (counted[0] or counted[1]):
            raise Failed("one answer, sent from two browsers at the same time, logs in twice")
        late = site.browser()
        await site.send(late, await site.step(late), values)
        if await site.is_logged_in(late):
            raise Failed("an answer that was used logs in once more")
    finally:
        await site.close()


@check(
    "nobody comes back by GET who was not sent away", mend="leave state and coming back to the engine", needs_kit=True
)
async def comeback_needs_leaving(bench: Bench) -> None:
    site = await Site.open(bench)
    try:
        browser, stranger = site.browser(), site.browser()
        step = await site.step(browser)
        values = await site.values(step)
        if isinstance(step.ask, Redirect):
            # In another browser the state means nothing.
            await site.send(stranger, step, values)
            if await site.is_logged_in(stranger):
                raise Failed("what came back logs in a browser that was not sent away")
            return
        back = Step(step.page, step.flow, Redirect("https://elsewhere.example/"), step.reference)
        await site.send(browser, back, values)
        if await site.is_logged_in(browser):
            raise Failed("an answer by GET logs in somebody who was not sent away")
    finally:
        await site.close()


@check(
    "the message with the code goes to the account's address, and the code is in no other place",
    mend="Delivery(template) names templates/mail/<template>.txt, which shows {{ code }} below its subject",
    needs_kit=True,
)
async def message_carries_the_code(bench: Bench) -> None:
    site = await Site.open(bench)
    try:
        browser = site.browser()
        step = await site.step(browser)
        if not isinstance(step.ask, Ask) or step.ask.delivery is None:
            raise DoesNotApply("it sends no message")
        code = next(iter(_codes(step, await site.values(step))), "")
        await site.run_tasks()
        mails: list[Mail] = site.post.mails
        if len(mails) != 1 or mails[0].to != site.person.account.email:
            raise Failed(f"{len(mails)} mails went out; one to the account's address is due")
        if code not in mails[0].text:
            raise Failed("the mail does not hold the code that is asked for")
        if mails[0].html is not None and code not in mails[0].html:
            raise Failed("the HTML of the mail does not hold the code")
        if site.path in mails[0].text:
            raise Failed("the mail holds an address that answers: whoever follows links for people would use it up")
    finally:
        await site.close()


def _codes(step: Step, values: dict[str, str]) -> list[str]:
    return [values[f.name] for f in fields_of(step.ask) if f.type is FieldType.CODE and f.name in values]


@check(
    "people add it, log in with it and take it away again",
    mend="begin_enrolment, answer_enrolment and answer must fit together; see the checks of enrolling",
    needs_kit=True,
)
async def factor_comes_and_goes(bench: Bench) -> None:
    if not isinstance(bench.provider, SecondFactorProvider) or not isinstance(bench.provider, Enrols):
        raise DoesNotApply("people cannot add it by themselves (Enrols)")
    site = await Site.open(bench, is_equipped=False)
    now = bench.clock.now
    try:
        browser = site.browser()
        await site.open_second(browser)
        added = await add(site, browser)
        bench.clock.pass_by(site.person.kit.wait)
        after = await browser.get("/user/view/self")
        if after.status != 200:
            raise after.failed("after the enrolment the person is not logged in")
        for ask, _, _ in added.steps:
            for name in ("secret", "uri", "qr"):
                if ask.params.get(name) and str(ask.params[name]) in after.text:
                    raise Failed(f"the param {name} is shown again after the enrolment")
        fresh = site.browser()
        _, _, page = await logged_in(site, fresh)
        if not await site.is_logged_in(fresh):
            raise page.failed("the factor that was just added is not accepted")
        remove = f"/user/{bench.provider.path}/remove"
        form = (await fresh.get(remove)).form(remove)
        page = await fresh.post(remove, form or {})
        if page.status != 303:
            raise page.failed("it cannot be taken away")
    finally:
        bench.clock.now = now
        await site.close()


CHECKS = (
    login_works, hostile_over_http, one_answer_one_login, comeback_needs_leaving,
    message_carries_the_code, factor_comes_and_goes,
)  # fmt: skip
