"""Watching a provider at work: what it reaches for beside its context, and how often it uses what the context offers.

Each step of a call runs under `sys.setprofile`, which tells of every function that is called, built-in ones too. What
the context does for the provider is not watched, nor what importing a module does.
"""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import importlib
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from datetime import date
from types import CodeType, FrameType
from typing import Any, TypeVar, cast

T = TypeVar("T")

_BUILT_IN: dict[int, str] = {
    **{id(getattr(time, name)): f"time.{name}" for name in (
        "time", "time_ns", "monotonic", "monotonic_ns", "localtime", "gmtime", "ctime", "sleep",
    )},
    id(os.urandom): "os.urandom",
    id(os.system): "os.system",
    id(sqlite3.connect): "sqlite3",
    id(builtins.open): "open",
    id(os.open): "os.open",
}  # fmt: skip
_CLOCKS = frozenset({"now", "utcnow", "today"})
_IN_PYTHON: dict[CodeType, str] = {
    type(os.environ).__getitem__.__code__: "os.environ",
    socket.socket.__init__.__code__: "a socket",
    socket.getaddrinfo.__code__: "a socket",
    subprocess.Popen.__init__.__code__: "another process",
    threading.Thread.start.__code__: "a thread",
    concurrent.futures.ThreadPoolExecutor.submit.__code__: "a thread",
    asyncio.sleep.__code__: "asyncio.sleep",
}
_IMPORTING: CodeType = importlib._bootstrap._find_and_load.__code__  # type: ignore[attr-defined]
# What may date its own lines: a provider may log.
_EXEMPT = ("logging", "warnings", "traceback", "linecache", "asyncio.")


class Watch:
    """What one provider does beside the context, over all its calls.

    Attributes:
        reached: What it reached for, and in which of its methods.
    """

    def __init__(self) -> None:
        self.reached: Counter[tuple[str, str]] = Counter()
        self._method = ""
        self._paused = 0
        self._importing = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Look away while something else works for the provider."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    @contextmanager
    def _on(self, method: str) -> Iterator[None]:
        before = sys.getprofile()
        self._method = method
        sys.setprofile(self._see)
        try:
            yield
        finally:
            sys.setprofile(before)
            self._importing = 0

    def call(self, method: str, work: Callable[[], T]) -> T:
        """Watch a plain call."""
        with self._on(method):
            return work()

    async def await_(self, method: str, work: Coroutine[Any, Any, T]) -> T:
        """Watch a coroutine, step by step."""
        return cast(T, await _Stepped(self, method, work))

    def _see(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            if frame.f_code is _IMPORTING:
                self._importing += 1
            elif not self._paused and not self._importing and frame.f_code in _IN_PYTHON:
                self._note(_IN_PYTHON[frame.f_code], frame.f_back)
        elif event == "return":
            if frame.f_code is _IMPORTING and self._importing:
                self._importing -= 1
        elif event == "c_call" and not self._paused and not self._importing:
            name = _BUILT_IN.get(id(arg), "")
            if not name:
                owner = getattr(arg, "__self__", None)
                if isinstance(owner, random.Random):
                    name = "random"
                elif isinstance(owner, type) and issubclass(owner, date) and arg.__name__ in _CLOCKS:
                    name = f"{owner.__name__}.{arg.__name__}"
            if name:
                self._note(name, frame)

    def _note(self, what: str, caller: FrameType | None) -> None:
        where = str(caller.f_globals.get("__name__", "")) if caller is not None else ""
        if not where.startswith(_EXEMPT):
            self.reached[what, self._method] += 1


class _Stepped:
    """Drives a coroutine for the event loop with the watch on in each of its steps alone."""

    def __init__(self, watch: Watch, method: str, work: Coroutine[Any, Any, Any]) -> None:
        self._watch, self._method, self._work = watch, method, work

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                with self._watch._on(self._method):
                    waits_for = self._work.send(value) if error is None else self._work.throw(error)
            except StopIteration as done:
                return done.value
            value, error = None, None
            try:
                value = yield waits_for
            except BaseException as raised:
                error = raised
