"""A reverse proxy before a served instance that remembers what it was asked, and serves a page of its own beside it.

with Front() as front, Server(environment={"AUTHFLOW_BASE_URL": front.origin}) as server:
    front.goes_to(server.port)
    ... clients talk to front.origin ...
    front.asked
"""

from __future__ import annotations

import email
import email.policy
import http.client
import mimetypes
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


@dataclass(frozen=True)
class Asked:
    """One request that went through, and what came back.

    Attributes:
        target: Path and query as they were sent.
        headers: By lower-case name.
        sent, got: The bodies.
    """

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    sent: bytes = field(repr=False)
    status: int
    got: bytes = field(repr=False)

    @property
    def line(self) -> str:
        """Method and path."""
        return f"{self.method} {urlsplit(self.target).path}"

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def fields(self) -> dict[str, str]:
        """The form in the body, whichever way it was encoded."""
        kind = self.headers.get("content-type", "")
        if not kind.startswith("multipart/form-data"):
            return dict(parse_qsl(self.sent.decode(), keep_blank_values=True))
        whole = f"content-type: {kind}\r\n\r\n".encode() + self.sent
        parts = email.message_from_bytes(whole, policy=email.policy.HTTP).iter_parts()
        return {
            str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True).decode()
            for part in parts
        }


class Front:
    """The proxy, in threads of its own while the context lasts.

    Args:
        pages: By prefix, folders whose files are served below it instead of being asked of the instance.

    Attributes:
        origin: What clients, browsers among them, take for the instance.
        asked: All that went through to the instance, in the order of the answers.
    """

    def __init__(self, *, pages: dict[str, Path] | None = None) -> None:
        self.pages = pages or {}
        self.asked: list[Asked] = []
        self._upstream = 0

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def goes_to(self, port: int) -> None:
        """Say where on loopback the instance is."""
        self._upstream = port

    def file(self, path: str) -> Path | None:
        """Return the file of a page that a path names, if there is one."""
        for prefix, folder in self.pages.items():
            if path.startswith(prefix):
                found = (folder / (path.removeprefix(prefix) or "index.html")).resolve()
                return found if found.is_relative_to(folder.resolve()) and found.is_file() else None
        return None

    def forward(
        self, method: str, target: str, headers: dict[str, str], sent: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Ask the instance; return status, headers and body of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=30)
        try:
            passed = {name: value for name, value in headers.items() if name not in _HOP_BY_HOP}
            connection.request(method, target, sent or None, passed | {"x-forwarded-for": "127.0.0.1"})
            answer = connection.getresponse()
            got = answer.read()
        finally:
            connection.close()
        self.asked.append(Asked(method, target, headers, sent, answer.status, got))
        return answer.status, [(n, v) for n, v in answer.getheaders() if n.lower() not in _HOP_BY_HOP], got


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            file = front.file(urlsplit(self.path).path)
            if file is not None:
                kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                self._answer(200, [("content-type", kind)], file.read_bytes())
            else:
                self._forward()

        def do_POST(self) -> None:
            self._forward()

        def _forward(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            sent = self.rfile.read(int(headers.get("content-length", "0")))
            self._answer(*front.forward(self.command, self.path, headers, sent))

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
