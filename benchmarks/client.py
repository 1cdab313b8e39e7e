"""A small closed-loop HTTP/1.1 client on plain sockets: what it costs is not counted, but it must keep up.

A script is a generator that yields requests and is sent their replies. Each script has a connection of its own and its
next request goes out when the last one is answered.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import urlencode

_COOKIE = re.compile(rb"\r\nset-cookie: ?([^=;\r\n]+)=([^;\r\n]*)", re.I)
_LENGTH = re.compile(rb"\r\ncontent-length: ?(\d+)", re.I)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        found = re.search(rb"\r\n" + name.encode() + rb": ?([^\r\n]*)", self.head, re.I)
        return found[1].decode("latin-1") if found else ""


Script: TypeAlias = Generator[bytes, Reply, None]


class Failed(Exception):
    """A reply is not what the script needs, or the time is over: what was measured means nothing."""


@dataclass(slots=True)
class Browser:
    """Makes requests and keeps cookies."""

    port: int
    jar: dict[bytes, bytes] = field(default_factory=dict)

    def get(self, path: str) -> bytes:
        return self._head("GET", path) + b"\r\n"

    def post(self, path: str, fields: Mapping[str, str]) -> bytes:
        body = urlencode(fields).encode()
        kind = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        origin = f"Origin: http://127.0.0.1:{self.port}\r\n"
        return self._head("POST", path) + (origin + kind + "\r\n").encode() + body

    def take(self, reply: Reply) -> None:
        """Keep the cookies of a reply."""
        for name, value in _COOKIE.findall(reply.head):
            if value:
                self.jar[name] = value
            else:
                self.jar.pop(name, None)

    def _head(self, method: str, path: str) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAccept: */*\r\nUser-Agent: bench\r\n"
        cookies = b"; ".join(name + b"=" + value for name, value in self.jar.items())
        return head.encode() + (b"Cookie: " + cookies + b"\r\n" if cookies else b"")


def drive(port: int, scripts: Iterable[Script], *, within: float) -> None:
    """Run scripts side by side until all have ended.

    Raises:
        Failed: A script was not content, the server hung up, or `within` seconds were not enough.
    """
    until = time.monotonic() + within
    with selectors.DefaultSelector() as selector:
        try:
            for script in scripts:
                if (request := next(script, None)) is not None:
                    connection = _Connection(port, script)
                    selector.register(connection.socket, selectors.EVENT_READ, connection)
                    connection.socket.sendall(request)
            while selector.get_map():
                if time.monotonic() > until:
                    raise Failed(f"not done within {within} s")
                for key, _ in selector.select(1.0):
                    connection = key.data
                    if not connection.go_on():
                        selector.unregister(connection.socket)
                        connection.socket.close()
        finally:
            for key in list(selector.get_map().values()):
                key.data.socket.close()


class _Connection:
    def __init__(self, port: int, script: Script) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._script = script
        self._buffer = b""

    def go_on(self) -> bool:
        """Read what has come; send the next request once the reply is complete. False at the script's end."""
        data = self.socket.recv(262_144)
        if not data:
            raise Failed("the server closed the connection")
        self._buffer += data
        reply = self._reply()
        if reply is None:
            return True
        try:
            self.socket.sendall(self._script.send(reply))
        except StopIteration:
            return False
        return True

    def _reply(self) -> Reply | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._buffer[: end + 2]
        length = _LENGTH.search(head)
        if length is None:
            raise Failed(f"a reply without content-length: {head[:200]!r}")
        size = end + 4 + int(length[1])
        if len(self._buffer) < size:
            return None
        body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
        return Reply(int(head[9:12]), head, body)
