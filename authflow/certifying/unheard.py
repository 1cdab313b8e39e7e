"""The check of what is heard of secrets, while somebody logs in and while they add the factor."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout

from authflow.certifying import hostile
from authflow.certifying.adding import add
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.judging import fields_of
from authflow.certifying.proving import secrets_of
from authflow.certifying.report import Failed
from authflow.certifying.served import logged_in
from authflow.certifying.visiting import Site, Step
from authflow.powers import Enrols
from authflow.provider import Ask, SecondFactorProvider


@check(
    "no secret is heard of: not in pages, addresses, logs, events, traces, mails or repr",
    mend="declare secret fields PASSWORD or CODE; field(repr=False); log nothing that was typed; scratch, not params",
    needs_kit=True,
)
async def secrets_are_kept(bench: Bench) -> None:
    site = await Site.open(bench)
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            await _keeps_secrets(bench, site, printed)
    finally:
        await site.close()
    if not isinstance(bench.provider, SecondFactorProvider) or not isinstance(bench.provider, Enrols):
        return
    site, printed = await Site.open(bench, is_equipped=False), io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            await _keeps_secrets_of_adding(bench, site, printed)
    finally:
        await site.close()


async def _keeps_secrets(bench: Bench, site: Site, printed: io.StringIO) -> None:
    browser = site.browser()
    step = await site.step(browser)
    values = await site.values(step)
    wrong = hostile.wrong(values, hostile.proving(fields_of(step.ask), values))
    await site.send(browser, step, wrong)
    again = site.browser()
    step, values, _ = await logged_in(site, again)
    await again.get("/user/view/self")
    await site.run_tasks()
    secrets = secrets_of(bench, site.person, step.ask, values)
    for what, text in secrets_of(bench, site.person, step.ask, wrong):
        if "submitted" in what:
            secrets.append((f"{what}, which was wrong,", text))
    site.heard.append(("what it prints", printed.getvalue()))
    _demand_unheard(site, secrets, step)
    _demand_mute(bench, site, step, secrets)


async def _keeps_secrets_of_adding(bench: Bench, site: Site, printed: io.StringIO) -> None:
    """The pages of it may show a secret; nothing else may."""
    browser = site.browser()
    await site.open_second(browser)
    added = await add(site, browser, with_slips=True)
    await site.run_tasks()
    site.person.credential = added.credential
    secrets = []
    for ask, right, slip in added.steps:
        secrets += secrets_of(bench, site.person, ask, right)
        secrets += [
            (f"{what}, which was wrong,", text) for what, text in secrets_of(bench, site.person, ask, slip or {})
        ]
    site.heard = [("what it prints while it is added", printed.getvalue())]
    for number, page in enumerate(added.pages):
        where = "addresses and headers while it is added"
        site.heard += [(where, value) for name, value in page.headers if name != "set-cookie"]
        if number and number == len(added.pages) - 1:
            site.heard.append(("the page after it was added", page.text))
    is_code = any(ask.delivery is not None for ask, _, _ in added.steps)
    _demand_unheard_texts(site, secrets, is_code=is_code, when=" while it is added")


def _demand_unheard(site: Site, secrets: list[tuple[str, str]], step: Step) -> None:
    is_code = isinstance(step.ask, Ask) and step.ask.delivery is not None
    _demand_unheard_texts(site, secrets, is_code=is_code)


def _demand_unheard_texts(site: Site, secrets: list[tuple[str, str]], *, is_code: bool, when: str = "") -> None:
    heard = [*site.heard, *((f"the log{when}", line) for line in site.log.lines)]
    for mail in site.post.mails:
        heard.append(("the subject of a mail", mail.subject))
        if not is_code:
            heard.append(("a mail", mail.text + (mail.html or "")))
    heard += [(f"a stored {kind}", text) for kind, text in site.stored()]
    for what, text in secrets:
        pattern = re.compile(rf"(?<![A-Za-z0-9]){re.escape(text)}(?![A-Za-z0-9])")
        for where, said in heard:
            if text in said and pattern.search(said):
                raise Failed(f"{what} stands in {where}")


def _demand_mute(bench: Bench, site: Site, step: Step, secrets: list[tuple[str, str]]) -> None:
    provider = bench.fresh()
    shown = [
        ("repr of the provider", repr(provider) + str(provider)),
        ("repr of what it asks", repr(step.ask)),
        ("repr of its credential", repr(site.person.credential)),
    ]
    shown += [("repr of its outcomes", repr(outcome)) for outcome in bench.seen.outcomes[-200:]]
    for what, text in secrets:
        for where, said in shown:
            if text in said:
                raise Failed(f"{what} stands in {where}")


CHECKS = (secrets_are_kept,)
