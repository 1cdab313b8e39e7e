"""A browser at the edge of an application, in process: pages, forms, cookies, redirects."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlencode, urlsplit

from authflow.certifying.report import Failed
from authflow.sessions import Visitor
from authflow.web.app import Edge
from authflow.web.exchange import Exchange

_FAULT = "mend the fault that is named: nothing else can be shown before that"
_BOXES = ("checkbox", "radio")


@dataclass(frozen=True)
class Element:
    """A start tag, and for scripts and styles what stands in it."""

    tag: str
    attributes: Mapping[str, str | None]
    text: str = ""


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Element] = []
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(Element(tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style", "noscript", "p") and self.found and data.strip():
            last = self.found[-1]
            self.found[-1] = Element(last.tag, last.attributes, last.text + data)


@dataclass
class Page:
    """An answer.

    Attributes:
        fault: What the log says of it where it is a fault.
    """

    status: int
    headers: list[tuple[str, str]]
    text: str
    fault: str = ""

    @property
    def said(self) -> str:
        """Name the status, and of a fault what it was."""
        return f"status {self.status}: {self.fault}" if self.fault else f"status {self.status}"

    def failed(self, what: str) -> Failed:
        """Say what is wrong with this answer; of a fault, that it comes first."""
        return Failed(f"{what} ({self.said})", mend=_FAULT if self.status >= 500 else "")

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def location(self) -> str:
        return self.header("location")

    @property
    def elements(self) -> list[Element]:
        parser = _Elements()
        parser.feed(self.text)
        return parser.found

    def form(self, action: str, *, as_sent: bool = False) -> dict[str, str] | None:
        """Return what stands in the first form that goes to an action, or None without one.

        Args:
            as_sent: Without boxes that are not ticked, which a browser does not send.
        """
        found: dict[str, str] | None = None
        for element in self.elements:
            if element.tag == "form":
                if found is not None:
                    break
                if urlsplit(element.attributes.get("action") or "").path.endswith(action):
                    found = {}
            elif (
                found is not None and element.tag in ("input", "select", "textarea") and element.attributes.get("name")
            ):
                if as_sent and element.attributes.get("type") in _BOXES and "checked" not in element.attributes:
                    continue
                found[str(element.attributes["name"])] = element.attributes.get("value") or ""
        if found is not None:
            found.pop("", None)
        return found


class _Faults(logging.Handler):
    """Keeps what the log says of faults."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            self.found.append(record.getMessage())
        else:
            # What was raised says more than that something was.
            self.found.insert(0, f"{type(error).__name__}: {getattr(error, 'detail', '') or error}")


class Browser:
    """Somebody's browser."""

    def __init__(self, edge: Edge, address: str = "192.0.2.10") -> None:
        self.edge, self.address = edge, address
        self.cookies: dict[str, str] = {}

    async def get(self, path: str) -> Page:
        return await self._request("GET", path)

    async def post(self, path: str, values: Mapping[str, str], *, media: str = "") -> Page:
        body = urlencode(values).encode() if not media else values["body"].encode()
        return await self._request("POST", path, body, media or "application/x-www-form-urlencoded")

    async def follow(self, page: Page) -> Page:
        """Go where an answer of ours leads, until it is a page."""
        for _ in range(5):
            if page.status != 303 or not page.location.startswith("/"):
                break
            page = await self.get(page.location)
        return page

    def visitor(self) -> Visitor:
        """Return how the edge sees this browser."""
        return Exchange(self.edge, self.scope(), nothing).visitor

    def scope(
        self, method: str = "GET", path: str = "/", more: tuple[tuple[bytes, bytes], ...] = ()
    ) -> dict[str, object]:
        """Return a request of this browser as a server would hand it over."""
        path, _, query = path.partition("?")
        headers = [(b"host", self.edge.app.settings.host.encode()), *more]
        if self.cookies:
            headers.append((b"cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()).encode()))
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.partition("#")[0].encode(), "root_path": "",
            "headers": headers, "client": (self.address, 4321), "server": ("127.0.0.1", 8000),
        }  # fmt: skip

    async def _request(self, method: str, path: str, body: bytes = b"", media: str = "") -> Page:
        more = ((b"content-type", media.encode()), (b"content-length", str(len(body)).encode())) if media else ()
        sent: list[dict[str, object]] = []
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, object]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        faults, log = _Faults(), logging.getLogger("authflow")
        log.addHandler(faults)
        try:
            await self.edge(self.scope(method, path, more), receive, send)  # type: ignore[arg-type]
        finally:
            log.removeHandler(faults)
        raw: list[tuple[bytes, bytes]] = sent[0]["headers"]  # type: ignore[assignment]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]
        text = b"".join(part.get("body", b"") for part in sent[1:]).decode("utf-8", "replace")  # type: ignore[misc]
        for name, value in headers:
            if name == "set-cookie":
                cookie, _, rest = value.partition("=")
                self.cookies[cookie] = rest.partition(";")[0]
                if "Max-Age=0" in value or not self.cookies[cookie]:
                    self.cookies.pop(cookie)
        status = int(str(sent[0]["status"]))
        fault = " ".join(faults.found[0].split())[:300] if status >= 500 and faults.found else ""
        return Page(status, headers, text, fault)


async def nothing() -> dict[str, object]:
    return {"type": "http.disconnect"}
