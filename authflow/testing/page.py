"""An answer of an application, as a browser and as a program see it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from authflow.seam import Bill
from authflow.testing.forms import Form, PageReader


@dataclass
class Page:
    """An answer.

    Attributes:
        bill: What it cost in calls to the outside.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    bill: Bill = field(default_factory=Bill)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str:
        """Return the first header of this name, in lower case; empty without one."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def location(self) -> str:
        return self.header("location")

    @property
    def cost(self) -> int:
        """Round trips to the store."""
        return self.bill.total("store")

    @property
    def set_cookies(self) -> dict[str, str]:
        """The cookies that it sets: by name the whole text, with all attributes."""
        found = [value for key, value in self.headers if key == "set-cookie"]
        return {text.partition("=")[0]: text for text in found}

    @cached_property
    def _read(self) -> PageReader:
        return PageReader(self.text if "html" in self.header("content-type") else "")

    @property
    def forms(self) -> list[Form]:
        return self._read.forms

    @property
    def links(self) -> list[tuple[str, str]]:
        """Words and address of each link."""
        return self._read.links

    @property
    def words(self) -> str:
        """What is to be read on it, with single spaces."""
        return self._read.words

    def form(self, action: str = "") -> Form:
        """Return the first form whose action holds a text.

        Raises:
            LookupError: There is none.
        """
        for form in self.forms:
            if action in form.action:
                return form
        raise LookupError(f"no form to {action!r} on a page with status {self.status}: {self.words[:500]}")

    def link(self, words: str, *, to: str = "") -> str:
        """Return the address of the first link of these words, whose address holds a text.

        Raises:
            LookupError: There is none.
        """
        for told, address in self.links:
            if told == words and to in address:
                return address
        raise LookupError(f"no link {words!r} to {to!r}: {self.links}")

    def form_with(self, button: str) -> Form:
        """Return the first form with a button of these words.

        Raises:
            LookupError: There is none.
        """
        for form in self.forms:
            if button in form.buttons:
                return form
        raise LookupError(f"no button {button!r} on a page with status {self.status}: {self.words[:500]}")
