"""People who come over the network: the browser of `web_kit`, on real connections, and volleys of requests at once."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from authflow.seam import Bill
from authflow.testing import Form, Page, Person
from tests.parts.server import Server

_addresses = itertools.count(1)
_FORM = {"content-type": "application/x-www-form-urlencoded"}


def rounds(default: int) -> int:
    """Return how often to repeat: the default, or as `AUTHFLOW_ROUNDS` scales it (10 is the scale of the default)."""
    wanted = os.environ.get("AUTHFLOW_ROUNDS")
    return default if wanted is None else max(1, default * int(wanted) // 10)


def progress(text: str) -> None:
    """Say how far a long run is; silent in ordinary test runs."""
    if os.environ.get("AUTHFLOW_PROGRESS"):
        print(text, file=sys.__stderr__, flush=True)


def new_address() -> str:
    """Return an address that nobody of this process has come from yet."""
    number = next(_addresses)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


class RemotePerson(Person):
    """Somebody with a browser of their own and, unless told otherwise, an address of their own.

    Args:
        connection: Stay on this one; without it each request makes its own.
    """

    def __init__(self, server: Server, *, address: str = "", connection: Connection | None = None) -> None:
        # Where the application believes to be, and says in its links: not always where it listens.
        origin = getattr(server, "origin", server.base_url)
        super().__init__(None, address=address or new_address(), origin=origin)  # type: ignore[arg-type]
        self.server = server
        self.connection = connection

    async def request(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Page:
        raw = self.encode(method, path, body=body, headers=headers)
        if self.connection is not None:
            page = await self.connection.exchange(raw)
        else:
            async with Connection(self.server) as connection:
                page = await connection.exchange(raw)
        self.keep(page)
        return page

    def encode(self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        """Return a request as it goes over the wire."""
        lines = [f"{method} {path.removeprefix(self.server.base_url).removeprefix(self.origin)} HTTP/1.1"]
        given = {"host": self.server.base_url.removeprefix("http://"), "x-forwarded-for": self.address}
        given |= self.headers | dict(headers or {})
        if self.cookies:
            given["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body or method == "POST":
            given["content-length"] = str(len(body))
        lines += [f"{name}: {value}" for name, value in given.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def filled(self, form: Form, **typed: str) -> bytes:
        """Return the request that sends a filled-in form."""
        return self.encode(
            "POST", form.action, body=urlencode({**form.values, **typed}, doseq=True).encode(), headers=_FORM
        )

    def posting(self, path: str, **values: str) -> bytes:
        return self.encode("POST", path, body=urlencode(values).encode(), headers=_FORM)


@dataclass
class Connection:
    """One kept-alive connection."""

    server: Server

    async def __aenter__(self) -> Connection:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()

    async def worker(self) -> int:
        """Return the process that answers on this connection. An exchange must have been made on it."""
        return await asyncio.to_thread(self.server.serving, self.writer.get_extra_info("socket"))

    async def exchange(self, raw: bytes) -> Page:
        self.writer.write(raw)
        return await self.answer()

    async def answer(self) -> Page:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        headers = []
        for line in filter(None, head[1:]):
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip()))
        page = Page(status, headers, b"", Bill())
        page.body = await self.reader.readexactly(int(page.header("content-length") or 0))
        return page


async def volley(server: Server, requests: Sequence[bytes]) -> list[Page]:
    """Send requests so that all are in the server's hands, but for a last byte each, before any is whole.

    Returns:
        The answers, in the order of the requests.
    """
    connections = [Connection(server) for _ in requests]
    await asyncio.gather(*(connection.__aenter__() for connection in connections))
    try:
        for connection, raw in zip(connections, requests, strict=True):
            connection.writer.write(raw[:-1])
        await asyncio.gather(*(connection.writer.drain() for connection in connections))
        await asyncio.sleep(0.02)
        for connection, raw in zip(connections, requests, strict=True):
            connection.writer.write(raw[-1:])
        return list(await asyncio.gather(*(connection.answer() for connection in connections)))
    finally:
        for connection in connections:
            connection.writer.close()
