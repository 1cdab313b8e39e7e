"""uvicorn's HTTP protocol with bounds: on the head of a request, on pipelined requests, and on patience.

Without them one connection that sends headers for ever, or requests without reading answers, takes as much memory as it
likes, and one that sends nothing stays for ever. Bodies are bounded in `body`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request line and its headers, give or take what arrives at once."""

MAX_PIPELINED: Final = 32
"""Requests that may wait behind the one in progress on a connection (RFC 9112, section 9.3.2)."""

PATIENCE: Final = 20.0
"""Seconds for the head of a request to arrive."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _head_began: float
    _head_bytes: int
    _is_in_head: bool
    _watch: asyncio.TimerHandle | None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_in_head, self._head_bytes, self._head_began = True, 0, self.loop.time()
        self._watch = self.loop.call_later(PATIENCE, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD and not self.transport.is_closing():
                self.send_400_response("The head of this request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes, self._head_began = True, 0, self.loop.time()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if len(self.pipeline) >= MAX_PIPELINED:
            # Answered by the parser's caller with a 400 and the end of the connection.
            raise ValueError("too many pipelined requests")
        super().on_headers_complete()

    def _look(self) -> None:
        """Close a connection whose request does not arrive; one timer a connection, not one a request."""
        if self._is_in_head and self.loop.time() - self._head_began >= PATIENCE:
            self._watch = None
            self.transport.close()
            return
        self._watch = self.loop.call_later(PATIENCE, self._look)
