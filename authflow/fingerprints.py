"""A short name for a definition of flows: changes with whatever decides what a flow owes or how it moves.

Two processes with the same definition have the same one, wherever they run. Where two differ, nothing is refused for
that alone: `gates` finds out whether a flow can go on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from functools import cached_property
from types import CellType, CodeType, FunctionType, MappingProxyType, MethodType
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

_NONE: Mapping[str, object] = MappingProxyType({})


def of(user: User) -> str:
    """Return the fingerprint of an application's definition: twelve hexadecimal digits.

    It covers rules, order, classes and settings of the providers, the table of transitions, the settings of the user
    module such as its time windows, the methods that it overrides, and this library's version. Settings are public
    attributes of plain values, of the class or, with a provider, of the object. Of a method its code is seen, the
    defaults of its arguments, what it has taken along from around it, and what a decorator wraps; not what it calls
    elsewhere. That is decided anew with each proof all the same.
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
    own = {name: value for name, value in vars(provider).items() if not _is_cached(cls, name)}
    return (cls.__module__, cls.__qualname__, _settings(cls, own))


def _settings(cls: type, own: Mapping[str, object] = _NONE) -> object:
    names = sorted({name for name in {*dir(cls), *own} - _SHOWN if not name.startswith("_")})
    named = ((name, _plain(own[name] if name in own else getattr(cls, name))) for name in names)
    return [(name, value) for name, value in named if value is not None]


def _is_cached(cls: type, name: str) -> bool:
    """Whether an attribute is there only since somebody has asked for it."""
    return isinstance(getattr(cls, name, None), cached_property)


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
            yield (name, _callable(method, ()))


def _callable(found: Any, within: tuple[object, ...]) -> object:
    """Return what a function does, with what it has taken along.

    Args:
        within: The functions that are being looked at: one that holds itself has an end.
    """
    function = getattr(found, "__func__", found)
    if any(function is one for one in within):
        return "itself"
    within = (*within, function)
    code, wrapped = getattr(function, "__code__", None), getattr(function, "__wrapped__", None)
    return (
        getattr(function, "__module__", ""),
        getattr(function, "__qualname__", ""),
        _code(code) if isinstance(code, CodeType) else "",
        [_taken_along(value, within) for value in getattr(function, "__defaults__", None) or ()],
        [(name, _taken_along(value, within))
         for name, value in sorted((getattr(function, "__kwdefaults__", None) or {}).items())],
        [_taken_along(_content(cell), within) for cell in getattr(function, "__closure__", None) or ()],
        _callable(wrapped, within) if callable(wrapped) else "",
    )  # fmt: skip


def _taken_along(value: object, within: tuple[object, ...]) -> object:
    return _callable(value, within) if isinstance(value, FunctionType | MethodType) else _plain(value)


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # Nothing is in it yet.
        return None


def _code(code: CodeType) -> object:
    """Return what a function does: its bytecode, names and constants, not where it stands."""
    constants = [_code(item) if isinstance(item, CodeType) else _plain(item) for item in code.co_consts]
    return (code.co_code.hex(), code.co_names, constants)
