"""The stylesheet and the scripts of our pages: files of this package, read once, under addresses known at start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from authflow.web.answer import Answer
from authflow.web.headers import Kind

PREFIX = "/user/static/"

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": b"text/css; charset=utf-8", ".js": b"text/javascript; charset=utf-8"}


def static_files() -> Mapping[str, Callable[[], Answer]]:
    """Return for each address what answers it. No other file can be asked for."""
    return {PREFIX + file.name: _answering(file) for file in _FOLDER.iterdir() if file.suffix in _TYPES}


def _answering(file: Path) -> Callable[[], Answer]:
    read = lru_cache(maxsize=1)(file.read_bytes)
    return lambda: Answer(200, [(b"content-type", _TYPES[file.suffix])], read(), Kind.STATIC)
