"""Pages and mails from templates: the one door to Jinja.

Jinja is imported, and each template compiled, when first needed: both together cost more than all else that a start
does, and a process that only speaks JSON never pays for them. `Renderer.warm` pays ahead of the first visitor.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from authflow.errors import AuthflowError, ConfigurationError

if TYPE_CHECKING:
    import jinja2

# Every page needs these beside its own.
_SHARED = ("base.html", "forms.html")

# Line breaks and other controls, and the marks that turn the direction of text around.
_NOT_IN_ONE_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class RenderError(AuthflowError):
    """A template is missing, is broken, or wants a value that it was not given."""

    code = "render_failed"


class Translations(Protocol):
    """What `gettext.NullTranslations` and Babel's `Translations` offer."""

    def gettext(self, message: str, /) -> str: ...

    def ngettext(self, singular: str, plural: str, count: int, /) -> str: ...


class AsWritten:
    """The translations of a site that has none."""

    def gettext(self, message: str, /) -> str:
        """Return the message."""
        return message

    def ngettext(self, singular: str, plural: str, count: int, /) -> str:
        """Return the English form for a count."""
        return singular if count == 1 else plural


_AS_WRITTEN = AsWritten()


@dataclass(frozen=True, slots=True)
class MailText:
    """A rendered mail. The parts hold links with tokens and stay out of `repr`."""

    subject: str
    text: str = field(repr=False)
    html: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class BrokenTemplate:
    """A template that cannot be used, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def template_dir() -> Path:
    """Return our template folder: inside the package in a wheel, beside it in a checkout or an editable install."""
    package = Path(__file__).resolve().parent
    packaged = package / "templates"
    return packaged if packaged.is_dir() else package.parent / "templates"


class Renderer:
    """Renders templates; one for the whole process, safe to use from several threads.

    Args:
        overrides: A folder searched before ours. A template in it can extend ours of the same name by the prefix
            `authflow/`, as in `{% extends "authflow/login.html" %}`.
        site_name: What pages and mails call the site, unless their context says another name.
        translate: Finds the translations of a language; called with the context's `lang`, which may be empty.

    Raises:
        ConfigurationError: `overrides` is not a folder.
    """

    def __init__(
        self,
        overrides: str | Path | None = None,
        site_name: str = "",
        *,
        translate: Callable[[str], Translations] | None = None,
    ) -> None:
        if overrides is not None and not Path(overrides).is_dir():
            raise ConfigurationError(f"templates: {str(overrides)!r} is not a folder")
        self._overrides = overrides
        self._site_name = site_name
        self._translate = translate or (lambda lang: _AS_WRITTEN)
        self._lock = threading.Lock()
        self._made: jinja2.Environment | None = None

    def page(self, template: str, context: Mapping[str, object]) -> str:
        """Render a page. Every value is escaped; a value that is missing is an error, not an empty text.

        Raises:
            RenderError: The template is missing or broken, or misses a value.
        """
        with _told_as_render_error(template):
            return self._environment.get_template(template).render(context)

    def mail(self, name: str, context: Mapping[str, object]) -> MailText:
        """Render a mail from `mail/<name>.txt` (subject, empty line, body) and, where there is one, `mail/<name>.html`.

        Raises:
            RenderError: The text is missing or broken, misses a value or has no subject.
        """
        text = self.page(f"mail/{name}.txt", context)
        subject, _, body = text.lstrip().partition("\n")
        if not subject.strip():
            raise RenderError(f"mail/{name}.txt: the first line, the subject, is empty")
        html = f"mail/{name}.html"
        return MailText(
            subject=subject.strip(),
            text=body.strip("\n") + "\n",
            html=self.page(html, context) if self.has(html) else None,
        )

    def has(self, template: str) -> bool:
        """Say whether there is such a template, be it sound or broken."""
        import jinja2

        try:
            self._environment.get_template(template)
        except jinja2.TemplateNotFound:
            return False
        except jinja2.TemplateError:
            return True
        return True

    def check(self, names: Iterable[str]) -> list[BrokenTemplate]:
        """Compile templates and all that they extend, import and include, and return those that fail."""
        broken: list[BrokenTemplate] = []
        waiting, seen = list(names), set[str]()
        while waiting:
            name = waiting.pop(0)
            if name in seen:
                continue
            seen.add(name)
            try:
                with _told_as_render_error(name):
                    self._environment.get_template(name)
                    waiting += self._referenced_by(name)
            except RenderError as error:
                broken.append(BrokenTemplate(name, error.detail.removeprefix(f"{name}: ")))
        return broken

    def warm(self, names: Iterable[str]) -> None:
        """Compile templates ahead of the first visitor.

        Raises:
            RenderError: One is missing or broken.
        """
        for name in (*_SHARED, *names):
            with _told_as_render_error(name):
                self._environment.get_template(name)

    @property
    def _environment(self) -> jinja2.Environment:
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = self._make_environment()
        return self._made

    def _make_environment(self) -> jinja2.Environment:
        import jinja2

        ours = template_dir()
        folders = [ours] if self._overrides is None else [self._overrides, ours]
        environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader(
                [
                    jinja2.FileSystemLoader(folders),
                    jinja2.PrefixLoader({"authflow": jinja2.FileSystemLoader(ours)}),
                ]
            ),
            # All but plain text: a page under a name without the usual ending is escaped too.
            autoescape=jinja2.select_autoescape(disabled_extensions=("txt",), default=True),
            undefined=jinja2.StrictUndefined,
            finalize=jinja2.pass_eval_context(_finalize),
            extensions=["jinja2.ext.i18n"],
            bytecode_cache=_bytecode_cache(),
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )

        @jinja2.pass_context
        def gettext(context: jinja2.runtime.Context, message: str, /, **values: object) -> str:
            # Plain text even where values are filled in, so that the page escapes the whole. Jinja's own "new style"
            # marks the message as safe, which holds for literals but not for a label that comes from elsewhere.
            found = self._translate(str(context.get("lang", ""))).gettext(message) if message else ""
            return _fill(found, message, values) if values else found

        @jinja2.pass_context
        def ngettext(
            context: jinja2.runtime.Context, singular: str, plural: str, count: int, /, **values: object
        ) -> str:
            found = self._translate(str(context.get("lang", ""))).ngettext(singular, plural, count)
            return _fill(found, singular if count == 1 else plural, {"count": count, **values})

        environment.globals.update(_=gettext, gettext=gettext, ngettext=ngettext, site_name=self._site_name, lang="")
        return environment

    def _referenced_by(self, name: str) -> Iterator[str]:
        """Find the templates that one cannot be rendered without."""
        from jinja2 import nodes

        environment = self._environment
        assert environment.loader is not None  # noqa: S101 (narrows the type; it is always set)
        source, path, _ = environment.loader.get_source(environment, name)
        tree = environment.parse(source, name, path)
        for node in tree.find_all((nodes.Extends, nodes.Import, nodes.FromImport, nodes.Include)):
            wanted = node.template  # type: ignore[attr-defined]  # the four share it, their base does not
            if isinstance(wanted, nodes.Const) and not getattr(node, "ignore_missing", False):
                yield str(wanted.value)


def _bytecode_cache() -> jinja2.BytecodeCache:
    """Keep compiled templates where Python keeps our compiled modules: compiling costs more than all else of a start.

    Whoever may write there may change our code too. A folder that nobody can write to, as on App Engine, serves what it
    holds; Python's switches for writing no bytecode hold for this as well.
    """
    import jinja2

    class Beside(jinja2.FileSystemBytecodeCache):
        def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
            if not sys.dont_write_bytecode:
                with suppress(OSError):
                    super().dump_bytecode(bucket)

    cache = Path(__file__).parent / "__pycache__"
    if not sys.dont_write_bytecode:
        with suppress(OSError):
            cache.mkdir(exist_ok=True)
    # The number rises when an option of the environment changes what a template compiles to.
    return Beside(str(cache), "authflow-1-%s.cache")


def _fill(translated: str, message: str, values: Mapping[str, object]) -> str:
    try:
        return translated % values
    except (KeyError, TypeError, ValueError):  # a slip in a translation must not take the login page away
        return message % values


def _finalize(evaluation: jinja2.nodes.EvalContext, value: object) -> object:
    """Keep values in text mails to one line: nobody's name may add a paragraph, a link of its own or a header."""
    if evaluation.autoescape:
        return value
    return _NOT_IN_ONE_LINE.sub(" ", str(value))


@contextmanager
def _told_as_render_error(name: str) -> Iterator[None]:
    import jinja2

    try:
        yield
    except jinja2.TemplateNotFound as error:
        reason = "there is no such template" if error.name == name else f"needs {error.name}, which does not exist"
        raise RenderError(f"{name}: {reason}") from error
    except jinja2.TemplateSyntaxError as error:
        raise RenderError(f"{name}: line {error.lineno} of {error.name or name}: {error.message}") from error
    except jinja2.TemplateError as error:
        raise RenderError(f"{name}: {error.message}") from error
