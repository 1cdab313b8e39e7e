"""The pages below docs/ say what the code says. Tables that the code knows are made from it.

`python -m tests.test_docs` writes those tables anew.
"""

from __future__ import annotations

import inspect
import re
import string
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from authflow import errors
from authflow.assembly import build
from authflow.flow import FINAL_STATES, TRANSITIONS, FlowState
from authflow.messages import SENTENCES
from authflow.model import Role
from authflow.provider import PrimaryProvider, SecondFactorProvider
from authflow.render import template_dir
from authflow.sessions import Lifetimes
from authflow.settings import PREFIX, Settings
from authflow.testing import KEY, make_site
from authflow.throttle import Escalating, Limits, SlidingWindow
from authflow.tickets import LIFETIMES
from authflow.user import User
from authflow.web.app import create_app
from authflow.web.routes import Route
from providers.recovery_codes import RecoveryCodes
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = ("architecture", "settings", "pages", "providers", "json")


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


# --- What is made from the code ---------------------------------------------------------------------------------------


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(heads), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def transitions() -> str:
    rows = []
    for state, edges in TRANSITIONS.items():
        if state in FINAL_STATES:
            continue
        for event, targets in edges.items():
            rows.append((state.value, event.__name__, ", ".join(s.value for s in FlowState if s in targets)))
    return table(("state", "event", "may lead to"), rows)


def state_diagram() -> str:
    """Draw the table: one arrow for each pair of states, with all events that take it."""
    arrows: dict[tuple[FlowState, FlowState], list[str]] = {}
    for state, edges in TRANSITIONS.items():
        for event, targets in edges.items():
            for target in FlowState:
                if target in targets:
                    arrows.setdefault((state, target), []).append(event.__name__)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> asking"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(events)}" for (a, b), events in arrows.items()]
    lines += [f"    {state.value} --> [*]" for state in FlowState if state in FINAL_STATES]
    return "\n".join([*lines, "```"])


def span(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds % size == 0 and (size != 86400 or seconds > 86400):
            count = seconds // size
            return f"{count} {name}{'' if count == 1 else 's'}"
    raise AssertionError(value)


def limits() -> str:
    rows = []
    for declared in fields(Limits):
        limit = getattr(Limits(), declared.name)
        if isinstance(limit, Escalating):
            said = f"{limit.count}, then {span(limit.first_lock)}, doubling; {limit.per_day} in 24 hours"
        else:
            assert isinstance(limit, SlidingWindow)
            said = f"{limit.count} in {span(limit.window)}"
            if limit.in_a_row is not None:
                said += f"; {limit.in_a_row} in a row"
        rows.append((f"`{declared.name}`", said))
    return table(("limit", "default"), rows)


def lifetimes() -> str:
    own = [(f"session, {field.name}", span(getattr(Lifetimes(), field.name))) for field in fields(Lifetimes)]
    mailed = [(f"{purpose.value} ticket", span(lifetime)) for purpose, lifetime in LIFETIMES.items()]
    named = [
        ("second factor, after the first", span(User.second_factor_time_window)),
        ("fresh login", span(User.fresh_login_window)),
    ]
    return table(("what", "lives"), [*own, *mailed, *named])


def shown(value: object) -> str:
    """Write a default as the tables of docs/settings.md have it."""
    if isinstance(value, timedelta):
        return span(value)
    if isinstance(value, Limits):
        return "see architecture.md, limits"
    if isinstance(value, Lifetimes):
        return "see architecture.md, lifetimes"
    if isinstance(value, tuple) and value and isinstance(value[0], Role):
        return ", ".join(f"`{role.id}`" for role in value)
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return ", ".join(f"`{field.name}`" for field in value)
    if isinstance(value, tuple | frozenset) and not value:
        return "none"
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(f"`{item}`" for item in value)
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    if isinstance(value, str | bool | int):
        return f"`{value}`" if value != "" else "empty"
    return f"`{value}`"


def own_attributes(cls: type) -> dict[str, object]:
    """Return the public class attributes that a class declares itself."""
    return {
        name: value
        for name, value in vars(cls).items()
        if not name.startswith("_") and not callable(value) and not isinstance(value, property)
    }


def declared_routes() -> dict[str, Route]:
    settings = Settings(store="memory:", secret_keys=(KEY,))
    return dict(create_app(build(settings)).routes)


def routes() -> str:
    rows = []
    for path, route in declared_routes().items():
        skey = "yes" if route.post and route.needs_skey else ("own proof" if route.post else "")
        rows.append((f"`{path}`", ", ".join(m for m in route.methods if m != "HEAD"), route.needs.value, skey))
    return table(("path", "methods", "needs", "skey with POST"), rows)


def error_classes() -> list[type[errors.AuthflowError]]:
    found = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.RequestError)]
    found += [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.Unavailable)]
    # What is told in the very words of its parent is no answer of its own.
    found = [cls for cls in found if "code" in vars(cls)]
    from authflow.tickets import TicketInvalid

    return sorted([*found, TicketInvalid], key=lambda cls: (cls.status, cls.code))


def error_codes() -> str:
    rows = [(str(cls.status), f"`{cls.code}`", cls.sentence) for cls in error_classes()]
    return table(("status", "code", "sentence"), rows)


def reasons() -> str:
    return table(("code", "sentence"), [(f"`{code}`", sentence) for code, sentence in SENTENCES.items()])


def mails() -> str:
    subjects = []
    for text in sorted((template_dir() / "mail").glob("*.txt")):
        subject = re.search(r'_\("(.*?)"\)', text.read_text(encoding="utf-8"))
        assert subject is not None
        subjects.append((f"`mail/{text.stem}`", subject[1]))
    return table(("template", "subject"), subjects)


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "architecture": {
        "diagram": state_diagram,
        "transitions": transitions,
        "limits": limits,
        "lifetimes": lifetimes,
    },
    "json": {"routes": routes, "errors": error_codes, "reasons": reasons},
    "pages": {"mails": mails},
}


def block(text: str, name: str) -> str:
    found = re.search(rf"<!-- made: {name} -->\n(.*?)\n<!-- end -->", text, re.S)
    assert found is not None, f"no block {name}"
    return found[1]


@pytest.mark.parametrize(("name", "made"), [(n, b) for n, blocks in BLOCKS.items() for b in blocks])
def test_a_table_made_from_the_code_is_up_to_date(name: str, made: str) -> None:
    assert block(page(name), made) == BLOCKS[name][made](), "write it anew by: python -m tests.test_docs"


# --- Settings ---------------------------------------------------------------------------------------------------------


def variables_read() -> set[str]:
    """Return the variables that `settings.py` reads, by the names it hands to its readers."""
    source = (ROOT / "authflow/settings.py").read_text(encoding="utf-8")
    names = set(re.findall(r'\btext\("([A-Z_]+)"', source))
    names |= set(re.findall(r'_whole\(env, "([A-Z_]+)"', source))
    names |= set(re.findall(r'env\.get\(PREFIX \+ "([A-Z_]+)"', source))
    return {PREFIX + name for name in names}


def variables_told() -> set[str]:
    return set(re.findall(r"^\| `(AUTHFLOW_[A-Z_]+)` \|", page("settings"), re.M))


def test_every_variable_that_is_read_is_told_and_the_other_way_round() -> None:
    assert len(variables_read()) > 10

    assert variables_told() == variables_read()


def test_every_field_of_the_settings_has_a_variable() -> None:
    platform = {"google_cloud_project", "app_engine_service", "datastore_emulator", "tasks_emulator"}
    own = {"on_app_engine", "on_cloud_run", "provider_environment", *platform}

    assert {PREFIX + field.name.upper() for field in fields(Settings) if field.name not in own} == variables_read()


def test_the_defaults_of_the_variables_are_told() -> None:
    text, defaults = page("settings"), Settings()

    for field in fields(Settings):
        value = getattr(defaults, field.name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            row = re.search(rf"^\| `{PREFIX}{field.name.upper()}` \| (.*?) \|", text, re.M)
            assert row is not None
            assert f"`{value}`" in row[1], field.name


ATTRIBUTES: dict[str, type] = {
    "User": User,
    "PrimaryProvider": PrimaryProvider,
    "SecondFactorProvider": SecondFactorProvider,
    "UserPassword": UserPassword,
    "TimeBasedOTP": TimeBasedOTP,
    "RecoveryCodes": RecoveryCodes,
}


@pytest.mark.parametrize("name", ["User", "UserPassword", "TimeBasedOTP", "RecoveryCodes"])
def test_every_class_attribute_is_told_with_its_default(name: str) -> None:
    cls, text = ATTRIBUTES[name], page("settings")
    section = text.partition(f"### `{name}`\n")[2].partition("\n### ")[0].partition("\n## ")[0]

    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.M))
    attributes = own_attributes(cls).items()
    # Sentences are no settings: they are what the pages say.
    declared = {n: shown(value) for n, value in attributes if not n.endswith("_field") and n != "messages"}

    assert told == {name: default.replace("|", "\\|") for name, default in declared.items()}


# --- Pages, providers, json -------------------------------------------------------------------------------------------


def test_every_template_is_in_the_list_for_designers() -> None:
    ours = {path.relative_to(template_dir()).as_posix() for path in template_dir().rglob("*.html")}
    told = set(re.findall(r"`([\w/]+\.html)`", page("pages")))

    pages = {name for name in ours if not name.startswith("mail/")}
    assert pages <= told
    assert told <= ours


def test_every_variable_told_for_designers_is_one_that_a_template_uses_or_every_page_has() -> None:
    source = (ROOT / "authflow/web/html.py").read_text(encoding="utf-8")
    common = set(re.findall(r'^        "(\w+)":', source, re.M))
    section = page("pages").partition("## What every page has")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", section, re.M)) == common


async def test_the_templates_told_to_designers_work(tmp_path: Path) -> None:
    for source in re.findall(r"```jinja\n(.*?)```", page("pages"), re.S):
        name = re.match(r"\{# mytemplates/([\w.]+)", source)
        assert name is not None
        (tmp_path / name[1]).write_text(source, encoding="utf-8")
    site = await make_site(templates=str(tmp_path))

    shown = (await site.person().get("/user/login")).text

    assert "Call 0123 456" in shown
    assert "Forgot your password?" in shown
    assert '<link rel="stylesheet" href="/assets/login.css">' in shown
    assert 'alt="Example Society"' in shown


def test_the_user_of_the_settings_page_is_accepted() -> None:
    source = page("settings").partition("```python\n")[2].partition("```")[0]
    module: dict[str, type[User]] = {}
    exec(source, module)

    app = build(Settings(store="memory:", secret_keys=(KEY,)), user=module["MyUser"]())

    assert app.engine.user.get_auth_methods()


def test_the_outcomes_and_powers_of_the_contract_are_told() -> None:
    source = (ROOT / "authflow/powers.py").read_text(encoding="utf-8")
    powers = set(re.findall(r"@runtime_checkable\nclass (\w+)", source))
    text = page("providers")

    assert powers
    for name in (*powers, "Ask", "Verified", "Rejected", "Redirect", "Enrolled", "DeliversRecovery"):
        assert f"`{name}`" in text, name


# --- Links and paths --------------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_" or c not in string.punctuation)
    return kept.strip().replace(" ", "-").replace("`", "")


def headings(path: Path) -> set[str]:
    return {slug(line.lstrip("# ")) for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")}


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), f"{path.name}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in headings(file), f"{path.name}: {target}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_path_that_is_named_exists(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    named = re.findall(r"`((?:authflow|providers|templates|docs|tests|scripts|examples|benchmarks)/[\w./]+)`", text)

    for name in named:
        assert (ROOT / name.rstrip("/")).exists(), f"{path.name}: {name}"


def test_every_picture_is_shown_and_small() -> None:
    told = set(re.findall(r"img/(\w+\.png)", "".join(p.read_text(encoding="utf-8") for p in documents())))
    there = {file.name: file.stat().st_size for file in (DOCS / "img").glob("*.png")}

    assert set(there) == told
    assert all(size < 150_000 for size in there.values())


def write() -> None:
    """Write the tables anew."""
    for name, blocks in BLOCKS.items():
        text = page(name)
        for made, make in blocks.items():
            new = f"<!-- made: {made} -->\n{make()}\n<!-- end -->"
            text = re.sub(rf"<!-- made: {made} -->\n.*?<!-- end -->", lambda _, new=new: new, text, flags=re.S)
        (DOCS / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
