"""What a mail may say of the device that a request came from. A closed set: nothing that a visitor typed gets out."""

from __future__ import annotations

from typing import Final

_PROGRAMS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def describe(agent: str) -> str:
    """Return what a user agent is known by, such as `Firefox, Windows`; empty for what we do not know.

    A parser that repeats parts of the text would let a stranger write into a mail that goes out under our name.
    """
    known = (next((name for mark, name in marks if mark in agent), "") for marks in (_PROGRAMS, _SYSTEMS))
    return ", ".join(filter(None, known))
