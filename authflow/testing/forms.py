"""What a browser reads out of a page: forms with their labels and buttons, links, and the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TypeAlias

Value: TypeAlias = "str | Sequence[str]"
"""What a form sends under a name: one text, or several where several boxes of that name are ticked."""

_NEVER_SENT = frozenset({"submit", "button", "reset", "image", "file"})
_UNSEEN = frozenset({"script", "style", "template", "title"})


@dataclass
class Form:
    """A form as it stands on a page.

    Attributes:
        values: What it would send if nobody touched it: hidden and filled fields, ticked boxes, chosen options.
        labels: Names of its fields by the text of their labels.
        codes: Names of the fields that a browser offers one-time codes for (`autocomplete="one-time-code"`).
        texts: Names of the plain text fields of which nothing says what they are for.
        buttons: What each button adds, by its text: a name and a value, or two empty texts.
    """

    action: str
    values: dict[str, Value]
    method: str = "post"
    names: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    codes: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)

    def filled(self, typed: Mapping[str, Value], *, button: str = "") -> dict[str, Value]:
        """Return what the form sends once it is filled in.

        Args:
            typed: By label (its beginning is enough where it is the only one) or by name.
            button: The text of the button that is pressed, where it matters.

        Raises:
            LookupError: The form has no such field or button; the message says which ones it has.
        """
        sent = self.values | {self.name_of(field): value for field, value in typed.items()}
        if button:
            if button not in self.buttons:
                raise LookupError(f"no button {button!r} in the form to {self.action}: {list(self.buttons)}")
            name, value = self.buttons[button]
            sent |= {name: value} if name else {}
        return sent

    def name_of(self, field: str) -> str:
        """Return the name of a field that is given by its label or by its name.

        Raises:
            LookupError: There is none, or several labels begin so.
        """
        if field in self.names:
            return field
        if field in self.labels:
            return self.labels[field]
        alike = {name for label, name in self.labels.items() if label.casefold().startswith(field.casefold())}
        if len(alike) != 1:
            raise LookupError(f"no field {field!r} in the form to {self.action}: {[*self.labels]}, {self.names}")
        return alike.pop()


class PageReader(HTMLParser):
    """Reads a page. Feed it the text, then ask.

    Attributes:
        forms: In the order of the page.
        links: Words and address of each.
        words: All that is to be read, with single spaces.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self._ids: dict[str, tuple[Form, str]] = {}
        self._form: Form | None = None
        self._labels: list[tuple[str, str]] = []
        self._text: list[str] = []
        self._unseen = 0
        # What is open and wants its words: kind, what it is about, and where its words begin.
        self._open: list[tuple[str, str, tuple[str, str], int]] = []
        self._select: tuple[str, bool] | None = None
        if text:
            self.feed(text)
            self.close()
        for target, label in self._labels:
            if target in self._ids:
                form, name = self._ids[target]
                form.labels.setdefault(label, name)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag == "form":
            self._form = Form(given.get("action", ""), {}, given.get("method", "get").lower())
            self.forms.append(self._form)
        elif tag == "a" and "href" in given:
            self._begin("a", given["href"])
        elif tag == "label":
            self._begin("label", given.get("for", ""))
        elif self._form is not None:
            self._control(self._form, tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None
        elif self._open and self._open[-1][0] == tag:
            self._end()

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._text.append(data)

    def _begin(self, kind: str, about: str, pair: tuple[str, str] = ("", "")) -> None:
        self._open.append((kind, about, pair, len(self._text)))

    def _end(self) -> None:
        kind, about, pair, begin = self._open.pop()
        words = " ".join("".join(self._text[begin:]).split())
        match kind:
            case "a":
                self.links.append((words, about))
            case "label":
                self._labels.append((about, words))
            case "button" if self._form is not None:
                self._form.buttons[words] = pair
            case "textarea" if self._form is not None:
                self._add(self._form, about, "".join(self._text[begin:]).removeprefix("\n"))

    def _control(self, form: Form, tag: str, given: Mapping[str, str]) -> None:
        name, value, kind = given.get("name", ""), given.get("value", ""), given.get("type", "text").lower()
        if tag == "button":
            if kind in ("submit", "text") and "disabled" not in given:
                self._begin("button", "", (name, value))
            return
        if tag == "option":
            self._option(form, value, "selected" in given)
            return
        if not name or tag not in ("input", "select", "textarea") or (tag == "input" and kind in _NEVER_SENT):
            return
        if "id" in given:
            self._ids[given["id"]] = (form, name)
        if "disabled" in given:
            return
        if name not in form.names:
            form.names.append(name)
        if given.get("autocomplete") == "one-time-code":
            form.codes.append(name)
        elif tag == "input" and kind == "text" and not given.keys() & {"autocomplete", "readonly"}:
            form.texts.append(name)
        if tag == "select":
            self._select = (name, False)
        elif tag == "textarea":
            self._begin("textarea", name)
        elif kind not in ("checkbox", "radio"):
            self._add(form, name, value)
        elif "checked" in given:
            self._add(form, name, value or "on")

    def _option(self, form: Form, value: str, is_selected: bool) -> None:
        if self._select is None:
            return
        name, is_chosen = self._select
        if is_selected or (not is_chosen and name not in form.values):
            form.values[name] = value
        self._select = (name, is_chosen or is_selected)

    def _add(self, form: Form, name: str, value: str) -> None:
        before = form.values.get(name)
        if before is None:
            form.values[name] = value
        else:
            form.values[name] = (before, value) if isinstance(before, str) else (*before, value)
