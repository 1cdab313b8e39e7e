"""Google in a browser: answers every request to accounts.google.com in the place of Google's script and windows.

It does what the real one does as far as a page can tell: reads the attributes, copies its own nonce to the styles it
puts into the page, loads a stylesheet, asks Google in the background, draws a button in a frame, opens a window, and
has that window answer the page that opened it. So it works only where the page's policy lets the real one work.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authflow.testing import GoogleIssuer

ORIGIN = "https://accounts.google.com"

_CLIENT = """
(() => {
  const script = document.currentScript;
  const set = document.getElementById("g_id_onload").dataset;
  const style = document.createElement("style");
  style.nonce = script.nonce;
  style.textContent = ".g_id_signin iframe { border: 0; width: 240px; height: 44px; }";
  document.head.append(style);
  const sheet = document.createElement("link");
  sheet.rel = "stylesheet";
  sheet.href = "https://accounts.google.com/gsi/style";
  document.head.append(sheet);
  fetch("https://accounts.google.com/gsi/status");
  const query = new URLSearchParams({client_id: set.client_id, nonce: set.nonce, context: set.context,
    ux_mode: set.ux_mode, fedcm: set.use_fedcm_for_button, auto_prompt: set.auto_prompt});
  addEventListener("load", () => {
    for (const place of document.querySelectorAll(".g_id_signin")) {
      const frame = document.createElement("iframe");
      frame.title = "Sign in with Google Button";
      frame.src = "https://accounts.google.com/gsi/button?" + query;
      place.append(frame);
    }
  });
  addEventListener("message", (event) => {
    if (event.origin !== "https://accounts.google.com") return;
    if (event.data === "pressed") {
      open("https://accounts.google.com/gsi/select?" + query, "google", "width=500,height=600");
    } else {
      window[set.callback]({credential: event.data, select_by: "btn"});
    }
  });
})();
"""
_HEAD = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Google</title></head><body style="margin:0">'
_BUTTON = (
    _HEAD + '<button style="font:500 14px Arial;width:100%;height:40px;margin:2px 0;color:#1f1f1f;background:#fff;'
    "border:1px solid #747775;border-radius:4px\" onclick=\"parent.postMessage('pressed', '*')\">"
    "Continue with Google</button></body></html>"
)
_STYLE = ".g_id_signin { min-height: 44px }"


class GoogleStandIn:
    """Google as the browsers of one test see it.

    Args:
        issuer: Signs what it confirms.
        people: By the text on the button that chooses them, further claims of those who can be chosen.

    Attributes:
        is_blocked: Nothing of Google's is reached any more.
        asked: The addresses that were asked for, and of which page.
        wishes: What the page has asked of the window.
    """

    def __init__(self, issuer: GoogleIssuer, people: dict[str, dict[str, Any]]) -> None:
        self.issuer = issuer
        self.people = people
        self.is_blocked = False
        self.asked: list[tuple[str, str]] = []
        self.wishes: dict[str, str] = {}

    def stand_in(self, context: Any) -> None:
        """Answer for Google in a browser's context."""
        context.route(ORIGIN + "/**", self._answer)

    def _answer(self, route: Any) -> None:
        address = urlsplit(route.request.url)
        self.asked.append((address.path, route.request.headers.get("referer", "")))
        if self.is_blocked:
            route.abort()
            return
        match address.path:
            case "/gsi/client":
                route.fulfill(body=_CLIENT, content_type="text/javascript")
            case "/gsi/style":
                route.fulfill(body=_STYLE, content_type="text/css")
            case "/gsi/status":
                route.fulfill(body="{}", content_type="application/json", headers={"Access-Control-Allow-Origin": "*"})
            case "/gsi/button":
                route.fulfill(body=_BUTTON, content_type="text/html")
            case "/gsi/select":
                self.wishes = {name: values[0] for name, values in parse_qs(address.query).items()}
                route.fulfill(body=self._window(), content_type="text/html")
            case _:
                route.abort()

    def _window(self) -> str:
        client_id, nonce = self.wishes["client_id"], self.wishes["nonce"]
        buttons = []
        for number, (who, claims) in enumerate(self.people.items()):
            honest = {"aud": client_id, "azp": client_id, "nonce": nonce, "email_verified": True}
            token = self.issuer.id_token(**{**honest, **claims})
            answer = f"opener.postMessage({json.dumps(token)}, '*'); window.close()".replace('"', "&quot;")
            focus = " autofocus" if number == 0 else ""
            buttons.append(f'<p><button{focus} onclick="{answer}">{who}</button></p>')
        return f"{_HEAD}{''.join(buttons)}</body></html>"
