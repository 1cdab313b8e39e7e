"""A browser that talks to an ASGI application in process: cookies, forms, redirects, and what each request costs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes, urlencode, urlsplit

from authflow.seam import billing
from authflow.testing.forms import Form, Value
from authflow.testing.page import Page

BASE_URL = "http://127.0.0.1:8000"
ADDRESS = "192.0.2.10"

Message: TypeAlias = "MutableMapping[str, Any]"
AsgiApp: TypeAlias = "Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]"
"""Any ASGI application; loosely typed, as frameworks name the same thing differently."""

_FORM = {"content-type": "application/x-www-form-urlencoded"}
_MOST_REDIRECTS = 10


class Browser:
    """A browser of its own. It keeps cookies past their age, as a thief would: how old one may be is for the server.

    Args:
        edge: The application.
        address: Where it comes from.
        headers: Sent with every request.
        origin: The application's, scheme and host; requests go there whatever their address says.

    Attributes:
        cookies: Texts by name; may be looked at, changed and replaced.
        page: The last answer, where there is one.
    """

    def __init__(
        self,
        edge: AsgiApp,
        *,
        address: str = ADDRESS,
        headers: Mapping[str, str] | None = None,
        origin: str = BASE_URL,
    ) -> None:
        self.edge = edge
        self.address = address
        self.headers = dict(headers or {})
        self.origin = origin
        self.cookies: dict[str, str] = {}
        self.page: Page | None = None

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Page:
        return await self.request("GET", path, headers=headers)

    async def post(
        self, path: str, values: Mapping[str, Value] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Page:
        body = urlencode(values or {}, doseq=True).encode()
        return await self.request("POST", path, body=body, headers={**_FORM, **(headers or {})})

    async def send(self, form: Form, **typed: Value) -> Page:
        """Fill in a form by the names of its fields and send it; return the answer. Any name is sent."""
        return await self._sent(form, {**form.values, **typed})

    async def fill_in(self, form: Form, typed: Mapping[str, Value], *, button: str = "") -> Page:
        """Fill in a form by its labels and send it; return the answer.

        Raises:
            LookupError: See `Form.filled`.
        """
        return await self._sent(form, form.filled(typed, button=button))

    async def press(self, button: str, typed: Mapping[str, Value] | None = None) -> Page:
        """Press a button of the page at hand, after filling in its form by labels; return the answer.

        Raises:
            LookupError: The page has no such button or field.
        """
        form = self.here.form_with(button)
        return await self.fill_in(form, typed or {}, button=button)

    async def click(self, words: str, *, to: str = "") -> Page:
        """Follow the first link of these words on the page at hand; return the page it leads to.

        Args:
            to: What its address holds, where several read the same.

        Raises:
            LookupError: The page has no such link.
        """
        return await self.open(self.here.link(words, to=to))

    async def open(self, path: str) -> Page:
        """Open an address as people do: to the page it leads to."""
        return await self.follow(await self.get(path))

    async def follow(self, page: Page) -> Page:
        """Go where an answer leads, until it is a page.

        Raises:
            LookupError: It leads in circles.
        """
        for _ in range(_MOST_REDIRECTS):
            if page.status != 303:
                return page
            page = await self.get(page.location)
        raise LookupError(f"redirected more than {_MOST_REDIRECTS} times, at last to {page.location}")

    @property
    def here(self) -> Page:
        """The last answer.

        Raises:
            LookupError: Nothing was asked for yet.
        """
        if self.page is None:
            raise LookupError("no page is open")
        return self.page

    async def skey(self, prefix: str = "/json") -> str:
        """Ask for an skey, as programs do."""
        return str((await self.get(f"{prefix}/skey")).json)

    async def json_post(self, path: str, **values: str) -> Page:
        """Send a secure request as a program does: with an skey of its own."""
        return await self.post(path, {"skey": await self.skey(), **values})

    async def request(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Page:
        """Send a request as it is given; return the answer and keep its cookies."""
        sent: list[Message] = []
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        with billing() as bill:
            await self.edge(self._scope(method, path, body, headers or {}), receive, send)
        if not sent:
            raise LookupError(f"{method} {path}: no answer")
        answer = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        page = Page(sent[0]["status"], answer, b"".join(m.get("body", b"") for m in sent[1:]), bill)
        self.keep(page)
        return page

    def keep(self, page: Page) -> None:
        """Have an answer before one's eyes, and take its cookies."""
        self.page = page
        for name, text in page.set_cookies.items():
            value = text.partition("=")[2].partition(";")[0]
            if "Max-Age=0" in text or not value:
                self.cookies.pop(name, None)
            elif _is_acceptable(name, text):
                self.cookies[name] = value

    async def _sent(self, form: Form, values: Mapping[str, Value]) -> Page:
        if form.method == "get":
            return await self.get(f"{form.action.partition('?')[0]}?{urlencode(values, doseq=True)}")
        # As browsers say it of a form on a page of the same site (Fetch Metadata, section 2.3).
        said = {"origin": self.origin, "sec-fetch-site": "same-origin"}
        own = {name.lower() for name in self.headers}
        return await self.post(form.action, values, headers={k: v for k, v in said.items() if k not in own})

    def _scope(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Message:
        path, _, query = path.removeprefix(self.origin).partition("?")
        parts = urlsplit(self.origin)
        raw = [(b"host", parts.netloc.encode())]
        raw += [(name.lower().encode(), value.encode()) for name, value in {**self.headers, **headers}.items()]
        if self.cookies:
            raw.append((b"cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()).encode()))
        if body:
            raw.append((b"content-length", str(len(body)).encode()))
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": parts.scheme,
            # As servers do it: the path arrives decoded, once.
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path.encode(),
            "query_string": query.partition("#")[0].encode(),
            "root_path": "",
            "headers": raw,
            "client": (self.address, 1234),
            "server": (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)),
        }


def _is_acceptable(name: str, text: str) -> bool:
    """Whether a browser takes a cookie of this name (RFC 6265bis, section 4.1.3)."""
    attributes = {part.strip().partition("=")[0].lower(): part.strip() for part in text.split(";")[1:]}
    if name.startswith("__Host-"):
        return "secure" in attributes and attributes.get("path") == "Path=/" and "domain" not in attributes
    return "secure" in attributes or not name.startswith("__Secure-")
