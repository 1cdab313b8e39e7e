"""What one connection may take: heads without end, requests without reading, and silence."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.parts.server import Server

CEILING = 60
"""Megabytes that a connection may make a server grow by."""


def memory(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def flood(port: int, opening: bytes, more: bytes, total: int) -> bytes:
    """Send without reading, until the server has had enough; return what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent, said = 0, b""
    try:
        writer.write(opening)
        while sent < total:
            writer.write(more)
            sent += len(more)
            async with asyncio.timeout(2):
                await writer.drain()
    except (OSError, TimeoutError):
        pass
    try:
        async with asyncio.timeout(5):
            said = await reader.read(4096)
    except (OSError, TimeoutError):
        pass
    writer.close()
    return said


@pytest.mark.parametrize(
    ("opening", "more"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"a:b\r\n" * 10_000),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", b"y" * 60_000),
        (b"", b"GET /user/login HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000),
    ],
    ids=["many headers", "a long header", "many requests"],
)
async def test_one_connection_takes_little_memory(opening: bytes, more: bytes) -> None:
    with Server() as server:
        before = memory(server.pids()[0])

        await flood(server.port, opening, more, 20_000_000)

        assert memory(server.pids()[0]) - before < CEILING
        assert server.is_healthy()


async def test_a_head_that_is_too_large_is_refused_and_a_usual_one_is_not() -> None:
    with Server() as server:
        large = await flood(server.port, b"GET /healthz HTTP/1.1\r\n", b"a: b\r\n" * 100_000, 600_000)
        usual = await flood(server.port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"\r\n", 1)

    assert large == b"" or large.startswith(b"HTTP/1.1 400")
    assert usual.startswith(b"HTTP/1.1 200")
