"""Checks of a provider's pages, as a browser gets them."""

from __future__ import annotations

from pathlib import Path

from authflow.certifying.adding import add
from authflow.certifying.bench import Bench
from authflow.certifying.browsing import Browser, Element, Page
from authflow.certifying.check import check
from authflow.certifying.report import DoesNotApply, Failed
from authflow.certifying.visiting import Site, Step
from authflow.errors import ConfigurationError
from authflow.fields import FieldType
from authflow.powers import Enrols
from authflow.provider import Ask, PrimaryProvider, SecondFactorProvider
from authflow.render import template_dir
from authflow.web.app import create_app
from authflow.web.page_policy import page_policies

_TEMPLATE = "write the page after second_factor.html or login.html: {{ ui.form(form, ...) }} shows every declared field"
_ADDRESSES = frozenset({"href", "src", "action", "formaction"})
_HOSTILE = "\"'><img src=x onerror=alert(1)>@example.org"


async def _asking(bench: Bench, name: str = "ada@example.org") -> Step:
    """Return the page that asks."""
    if bench.kit is None and isinstance(bench.provider, PrimaryProvider):
        return await _page_for_nobody(bench)
    site = await Site.open(bench, name)
    try:
        return await site.step(site.browser())
    finally:
        await site.close()


async def _page_for_nobody(bench: Bench) -> Step:
    app = bench.new_app()
    await app.open(with_worker=False)
    try:
        flow = app.engine.start()
        page = await Browser(create_app(app)).get(f"/user/{bench.provider.path}/{bench.provider.action}")
        return Step(page, flow, bench.begin(flow), "")
    finally:
        await app.close()


@check("its page is shown, has every declared field and a way to send it", mend=_TEMPLATE)
async def page_is_whole(bench: Bench) -> None:
    step = await _asking(bench)
    path, page = f"/user/{bench.provider.path}/{bench.provider.action}", step.page
    if not isinstance(step.ask, Ask):
        raise DoesNotApply("it sends people elsewhere and has no page")
    form = page.form(path)
    if page.status != 200 or form is None:
        raise page.failed(f"there is no page with a form that goes to {path}")
    if missing := [declared.name for declared in step.ask.fields if declared.name not in form]:
        raise Failed(f"the form lacks the field {', '.join(missing)}")
    if missing := [name for name in ("skey", "flow") if not form.get(name)]:
        raise Failed(f"the form does not send {' and '.join(missing)} along: write {{{{ ui.hidden() }}}} in it")
    if not any(e.tag == "form" and (e.attributes.get("method") or "").lower() == "post" for e in page.elements):
        raise Failed("the form is not sent by POST")
    named = {e.attributes.get("name"): e for e in page.elements if e.tag == "input"}
    for declared in step.ask.fields:
        shown = named.get(declared.name)
        if shown is None:
            continue
        kind = shown.attributes.get("type") or "text"
        if declared.type is FieldType.PASSWORD and kind != "password":
            raise Failed(f"the field {declared.name} is a password and shows what is typed")
        if declared.is_secret and shown.attributes.get("value"):
            raise Failed(f"the secret field {declared.name} is filled in")
        identity = shown.attributes.get("id")
        labels = {e.attributes.get("for") for e in page.elements if e.tag == "label"}
        if kind != "hidden" and identity not in labels and not shown.attributes.get("aria-label"):
            raise Failed(f"the field {declared.name} has no label in the page")


@check(
    "its pages keep the content security policy",
    mend="no inline script or style, no on... attributes; declare other origins in page_sources; use csp_nonce",
)
async def page_keeps_the_policy(bench: Bench) -> None:
    try:
        page_policies((bench.fresh(),))
    except ConfigurationError as error:
        raise Failed(error.detail) from error
    step = await _asking(bench)
    if isinstance(step.ask, Ask):
        demand_policy(step.page)


def demand_policy(page: Page) -> None:
    """Fail where a page holds what its own policy forbids: the browser would leave it out."""
    policy: dict[str, list[str]] = {}
    for part in page.header("content-security-policy").split(";"):
        words = part.split()
        if words:
            policy[words[0]] = words[1:]

    def allowed(directive: str) -> list[str]:
        return policy.get(directive, policy.get("default-src", []))

    for element in page.elements:
        for name, value in element.attributes.items():
            if name.startswith("on"):
                raise Failed(f"<{element.tag}> has the attribute {name}: inline script, which the policy forbids")
            if name == "style":
                raise Failed(f"<{element.tag}> has a style attribute, which the policy forbids")
            if name in _ADDRESSES and (value or "").strip().lower().startswith("javascript:"):
                raise Failed(f"<{element.tag}> has a javascript: address")
        if element.tag in ("script", "style"):
            _demand_allowed(element, allowed(f"{element.tag}-src"))
        if element.tag == "link" and (element.attributes.get("rel") or "") == "stylesheet":
            _demand_allowed(element, allowed("style-src"))
        if element.tag == "iframe":
            _demand_allowed(element, allowed("frame-src"))
        if element.tag == "img":
            _demand_allowed(element, allowed("img-src"))


def _demand_allowed(element: Element, sources: list[str]) -> None:
    nonce = element.attributes.get("nonce")
    if nonce and f"'nonce-{nonce}'" in sources:
        return
    address = element.attributes.get("src") or element.attributes.get("href") or ""
    if not address:
        raise Failed(f"<{element.tag}> holds inline code without the nonce of the policy")
    own = address.startswith("/") and not address.startswith("//")
    if own and "'self'" in sources:
        return
    if address.startswith("data:") and "data:" in sources:
        return
    if any(not s.startswith("'") and (address == s or address.startswith(s.rstrip("/") + "/")) for s in sources):
        return
    raise Failed(f"<{element.tag}> loads {address[:80]}, which the policy does not allow")


@check("a page that needs a script says so to whoever has none", mend="put a sentence into <noscript>, or do without")
async def page_without_script(bench: Bench) -> None:
    step = await _asking(bench)
    if not isinstance(step.ask, Ask):
        raise DoesNotApply("it sends people elsewhere and has no page")
    elements = step.page.elements
    scripts = [e for e in elements if e.tag == "script"]
    if not scripts:
        if not any(e.tag == "button" or (e.tag == "input" and e.attributes.get("type") == "submit") for e in elements):
            raise Failed("the page has no button to send its form with")
        typed = [f for f in step.ask.fields if f.required]
        if typed and all(f.type is FieldType.HIDDEN for f in typed):
            raise Failed("all required fields are hidden and no script fills them in: nobody can answer")
        return
    if not any(e.tag == "noscript" for e in elements):
        raise Failed("the page has a script and no <noscript>")


@check(
    "what people are called and what they type is text in its pages, never markup",
    mend="leave out |safe and autoescape; put values into attributes with quotes around them",
    needs_kit=True,
)
async def page_is_escaped(bench: Bench) -> None:
    for folder in (template_dir(), *([Path(bench.settings.templates)] if bench.settings.templates else [])):
        for file in sorted((folder / bench.provider.name).glob("*.html")):
            text = file.read_text(encoding="utf-8")
            if "|safe" in text.replace(" ", "") or "autoescape false" in text:
                raise Failed(f"{bench.provider.name}/{file.name} switches escaping off")
    site = await Site.open(bench, _HOSTILE)
    try:
        browser = site.browser()
        step = await site.step(browser)
        pages = [step.page]
        if isinstance(step.ask, Ask):
            names = [declared.name for declared in step.ask.fields]
            form = step.page.form(site.path) or {}
            pages.append(await browser.post(site.path, {**form, **dict.fromkeys(names, _HOSTILE)}))
        for page in pages:
            if "<img src=x" in page.text:
                raise Failed("markup in a name or in what was typed stands in the page as markup")
    finally:
        await site.close()


@check(
    "the pages of setting it up are shown, also after a mistake, keep the policy and are not kept by the browser",
    mend="write <name>/add.html after enrol.html: {{ ui.form(form, ...) }} in both stages; after a mistake its params "
    "are what show_enrolment(notes, context) returns, and empty without it",
    needs_kit=True,
)
async def enrolling_pages(bench: Bench) -> None:
    if not isinstance(bench.provider, SecondFactorProvider) or not isinstance(bench.provider, Enrols):
        raise DoesNotApply("people cannot add it by themselves (Enrols)")
    site = await Site.open(bench, is_equipped=False)
    try:
        browser = site.browser()
        await site.open_second(browser)
        added = await add(site, browser, with_slips=True)
        for page in added.pages[:-1]:
            demand_policy(page)
            if page is not added.pages[0] and "no-store" not in page.header("cache-control"):
                raise Failed("the page with the secret may be kept by the browser")
    finally:
        await site.close()


CHECKS = (page_is_whole, page_keeps_the_policy, page_without_script, page_is_escaped, enrolling_pages)
