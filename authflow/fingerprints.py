"""A short name for a definition of flows: changes with whatever decides what a flow owes or how it moves.

Two processes with the same definition have the same one, wherever they run. Where two differ, nothing is refused for
that alone: `gates` finds out whether a flow can go on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from types import CodeType
from typing import TYPE_CHECKING, Any

from authflow import __version__
from authflow.flow import TRANSITIONS, Transitions
from authflow.provider import Provider

if TYPE_CHECKING:
    from authflow.user import User

FORM = 2
"""Of stored flows. It is raised when what a version stores cannot be read by the one before."""

_DECIDING = (
    "advance",
    "authenticate_user",
    "continue_authentication_flow",
    "definition",
    "demands_second_factor",
    "is_active",
    "owed_after",
    "remaining_steps",
    "second_factor_succeeded",
    "standing",
)
"""Methods of `User` that decide about flows."""

_SHOWN = frozenset({"label", "messages", "page_sources", "site_name", "admin_info", "login_redirect", "vi_dialect"})
"""What of a provider or a user module is shown, and decides nothing."""


def of(user: User) -> str:
    """Return the fingerprint of an application's definition: twelve hexadecimal digits.

    It covers rules, order, classes and settings of the providers, the table of transitions, the settings of the user
    module such as its time windows, the code of the methods that it overrides, and this library's version. Settings are
    class attributes of plain values. What a method calls outside of itself is not seen; it is decided anew with each
    proof all the same.
    """
    rules, registry = user.registry.rules, user.registry
    parts: list[object] = [
        (FORM, __version__),
        (rules.pairs, rules.second_factors, sorted(rules.substitutes), sorted(rules.enrollable), rules.passwords),
        [_provider(provider) for provider in registry.declared.values()],
        sorted(registry.providers),
        _table(TRANSITIONS if user.transitions is None else user.transitions),
        _settings(type(user)),
        list(_overridden(type(user))),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _provider(provider: Provider) -> object:
    cls = type(provider)
    return (cls.__module__, cls.__qualname__, _settings(cls))


def _settings(cls: type) -> object:
    named = ((name, _plain(getattr(cls, name))) for name in sorted(set(dir(cls)) - _SHOWN) if not name.startswith("_"))
    return [(name, value) for name, value in named if value is not None]


def _plain(value: object) -> str | None:
    """Return a setting as text, or None for what is none, or is not the same text in every process."""
    match value:
        case Enum():
            return str(value.value)
        case bool() | int() | float() | str() | bytes() | timedelta():
            return repr(value)
        case tuple() | list():
            return repr([_plain(item) for item in value])
        case set() | frozenset():
            return repr(sorted(str(_plain(item)) for item in value))
        case Mapping():
            return repr([(str(key), _plain(value[key])) for key in sorted(value, key=str)])
        case _:
            return None


def _table(transitions: Transitions) -> object:
    return sorted(
        (state.value, event.__name__, sorted(target.value for target in targets))
        for state, edges in transitions.items()
        for event, targets in edges.items()
    )


def _overridden(cls: type[User]) -> Iterator[object]:
    from authflow.user import User

    for name in _DECIDING:
        method: Any = getattr(cls, name)
        if method is not getattr(User, name):
            code = getattr(method, "__code__", None)
            yield (name, method.__module__, method.__qualname__, _code(code) if isinstance(code, CodeType) else "")


def _code(code: CodeType) -> object:
    """Return what a function does: its bytecode, names and constants, not where it stands."""
    constants = [_code(item) if isinstance(item, CodeType) else _plain(item) for item in code.co_consts]
    return (code.co_code.hex(), code.co_names, constants)
