"""The login screen of ViUR's admin in a browser, and somebody who sits before it."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from tests.clients.house import PASSWORD, House
from tests.parts.server import PATIENCE
from tests.parts.vue_login import PREFIX

GOOGLES_SCRIPT = """
let callback;
window.google = {accounts: {id: {
  initialize: (set) => { callback = set.callback },
  prompt: () => callback({credential: TOKEN, select_by: "btn"}),
  renderButton: () => {},
  revoke: () => {},
}}};
"""


class LoginScreen:
    """One browser with the screen open.

    Args:
        google_confirms: The token that Google's script hands to whoever asks.

    Attributes:
        complaints: What the page's scripts stumbled over.
    """

    def __init__(self, chromium: Any, house: House, *, google_confirms: str = "") -> None:
        self.house = house
        self.context = chromium.new_context(locale="en-GB")
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.complaints: list[str] = []
        self.page.on("pageerror", self._complained)
        self.context.route("https://**", lambda route: route.abort())
        script = GOOGLES_SCRIPT.replace("TOKEN", json.dumps(google_confirms))
        self.context.route(
            "https://accounts.google.com/gsi/client",
            lambda route: route.fulfill(content_type="text/javascript", body=script),
        )

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.context.close()

    def _complained(self, error: Any) -> None:
        # Its own slips: it puts the cursor into a field after a while, also when that is gone by then, and does not
        # expect that nobody is logged in where it asks who is.
        if "reading 'focus'" not in error.message and not error.message.startswith("401 Unauthorized"):
            self.complaints.append(f"{error.message}\n{error.stack}")

    def open(self, query: str = "") -> None:
        self.page.goto(self.house.url + PREFIX + query)

    def field(self, name: str) -> Any:
        return self.page.locator(f"input[name={name}]")

    def fill(self, name: str, text: str) -> None:
        self.field(name).fill(text)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def send(self, name: str, password: str = PASSWORD) -> None:
        """Fill the first form and send it."""
        self.fill("name", name)
        self.fill("password", password)
        self.press("Sign in")

    def choose(self, option: str) -> None:
        """Choose in the one list that is there."""
        self.page.locator("sl-select").click()
        self.page.get_by_role("option", name=option).click()

    def sees(self, text: str) -> None:
        """Wait for a text."""
        self.page.get_by_text(text).first.wait_for()

    def is_in_as(self, name: str) -> None:
        """Wait until the page says who is logged in."""
        self.page.get_by_role("heading", name="Logged in").wait_for()
        assert self.page.locator("#name").inner_text() == name
        assert not self.complaints, self.complaints
