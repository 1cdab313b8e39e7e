"""From declarations to providers: objects, classes, dotted paths and entry points. Refuses a bad declaration at start.

The engine never imports `providers`; the stock ones are named by strings like everybody else's.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import TypeAlias, TypeVar

from authflow.errors import ConfigurationError
from authflow.policy import CONSENT, TICKET, Rules
from authflow.powers import Enrols, SetsPassword
from authflow.provider import PrimaryProvider, Provider, SecondFactorProvider

ProviderSpec: TypeAlias = str | type[Provider] | Provider
"""A dotted path `package.module:Class`, a class, or an instance."""

MethodSpec: TypeAlias = tuple[str | type[Provider], str | type[Provider] | None]
"""A pair of `valid_authentication_methods`: provider names, classes or dotted paths; None is no second factor."""

ENTRY_POINT_GROUP = "authflow.providers"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PATH = re.compile(r"[a-z0-9][a-z0-9_]{0,59}")
P = TypeVar("P", bound=Provider)
_RESERVED = frozenset({TICKET, CONSENT})


class Registry:
    """The providers of one application, by name, and the rules that their pairs make.

    Args:
        primaries, second_factors: In the order they are offered.
        methods: `User.valid_authentication_methods`.
        environment: Deployment settings for `Provider.configure`; a provider that declines is left out with its pairs.

    Raises:
        ConfigurationError: A declaration is refused; the message says which and why.
    """

    def __init__(
        self,
        primaries: Sequence[ProviderSpec],
        second_factors: Sequence[ProviderSpec],
        methods: Sequence[MethodSpec],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        env = environment or {}
        declared_primaries = [_checked(resolve(spec), PrimaryProvider) for spec in primaries]
        declared_seconds = [_checked(resolve(spec), SecondFactorProvider) for spec in second_factors]
        everything = [*declared_primaries, *declared_seconds]
        _refuse_doubles(everything)
        offered = {provider.name for provider in everything if provider.configure(env)}
        self.declared: Mapping[str, Provider] = {provider.name: provider for provider in everything}
        self.providers: Mapping[str, Provider] = {name: p for name, p in self.declared.items() if name in offered}
        self.primaries = tuple(p for p in declared_primaries if p.name in offered)
        self.second_factors = tuple(p for p in declared_seconds if p.name in offered)
        self._pairs = tuple(self._pair(method) for method in methods)
        if not self.rules.pairs:
            raise ConfigurationError("valid_authentication_methods leaves no way to log in")

    def _pair(self, method: MethodSpec) -> tuple[str, str | None]:
        if not (isinstance(method, tuple) and len(method) == 2):
            raise ConfigurationError(f"valid_authentication_methods: {_shown(method)} is not a pair{_meant(method)}")
        primary, second = self._name(method[0]), None if method[1] is None else self._name(method[1])
        if not isinstance(self.declared.get(primary), PrimaryProvider):
            raise ConfigurationError(f"valid_authentication_methods: {primary} is not among authentication_providers")
        if second is not None and not isinstance(self.declared.get(second), SecondFactorProvider):
            raise ConfigurationError(f"valid_authentication_methods: {second} is not among second_factor_providers")
        return primary, second

    def _name(self, spec: str | type[Provider]) -> str:
        if isinstance(spec, type):
            return spec.name
        return resolve_class(spec).name if ":" in spec else spec

    @cached_property
    def rules(self) -> Rules:
        """The configuration as policy sees it."""
        offered = self.providers
        paired = {second for _, second in self._pairs}
        return Rules(
            pairs=tuple((p, s) for p, s in self._pairs if p in offered and (s is None or s in offered)),
            second_factors=tuple(p.name for p in self.second_factors),
            substitutes=frozenset(p.name for p in self.second_factors if p.is_substitute),
            # A factor in no pair would never be asked for: nobody should believe to be protected by it.
            enrollable=frozenset(p.name for p in self.second_factors if isinstance(p, Enrols) and p.name in paired),
            # One: where several ways to log in are offered, what recovery makes must not be a matter of choice.
            passwords=(self.password_provider.name,) if self.password_provider else (),
        )

    @cached_property
    def password_provider(self) -> PrimaryProvider | None:
        """The provider that registration, recovery and set-up make credentials with: the first that can."""
        return next((p for p in self.primaries if isinstance(p, SetsPassword)), None)

    def get(self, name: str) -> Provider | None:
        return self.providers.get(name)

    def by_path(self, path: str) -> Provider | None:
        """Find an offered provider by its path segment."""
        return next((p for p in self.providers.values() if p.path == path), None)


def provider_name(spec: ProviderSpec) -> str:
    """Return the name of a declared provider.

    Raises:
        ConfigurationError: The path does not lead to a provider class.
    """
    return resolve_class(spec).name if isinstance(spec, str) else spec.name


def resolve(spec: ProviderSpec) -> Provider:
    """Turn a declaration into an instance.

    Raises:
        ConfigurationError: The path does not lead to a provider class.
    """
    if isinstance(spec, Provider):
        return spec
    cls = resolve_class(spec) if isinstance(spec, str) else spec
    if not (isinstance(cls, type) and issubclass(cls, Provider)):
        raise ConfigurationError(f"{spec!r} is not a provider class")
    try:
        return cls()
    except TypeError as error:
        raise ConfigurationError(f"{cls.__name__} cannot be made without arguments: {error}") from error


def resolve_class(path: str) -> type[Provider]:
    """Import a provider class by `package.module:Class`, or by its entry-point name."""
    cls = import_object(path) if ":" in path else _from_entry_point(path)
    if not (isinstance(cls, type) and issubclass(cls, Provider)):
        raise ConfigurationError(f"{path} is not a provider class")
    return cls


def import_object(path: str) -> object:
    """Import `package.module:name`.

    Raises:
        ConfigurationError: There is no such module or name, or importing it fails.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be imported: {error}") from error


def _from_entry_point(name: str) -> object:
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINT_GROUP, name=name)
    for entry in found:
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"entry point {name} cannot be loaded: {error}") from error
    raise ConfigurationError(f"no provider is installed under the entry point {name!r} of {ENTRY_POINT_GROUP}")


def _checked(provider: Provider, kind: type[P]) -> P:
    where = type(provider).__name__
    if not isinstance(provider, kind):
        raise ConfigurationError(f"{where} is no {kind.__name__}")
    if not _NAME.fullmatch(provider.name) or provider.name in _RESERVED:
        raise ConfigurationError(f"{where}.name must be one lower-case word such as time_based_otp")
    if not _PATH.fullmatch(provider.path) or not _PATH.fullmatch(provider.action):
        raise ConfigurationError(f"{where}.path and .action must be lower-case path segments")
    if not provider.label:
        raise ConfigurationError(f"{where}.label must say what people read")
    for method in ("identify", "answer"):
        if not inspect.iscoroutinefunction(getattr(provider, method)):
            raise ConfigurationError(f"{where}.{method} must be an async method")
    for method in ("begin", "answer"):
        if getattr(type(provider), method) is getattr(Provider, method):
            raise ConfigurationError(f"{where} does not say how to {method}")
    return provider


def _shown(method: object) -> str:
    """Write what was declared as its author did: classes by their names."""
    if isinstance(method, tuple | list):
        ends = ("(", ",)" if len(method) == 1 else ")") if isinstance(method, tuple) else ("[", "]")
        return f"{ends[0]}{', '.join(map(_shown, method))}{ends[1]}"
    return method.__name__ if isinstance(method, type) else repr(method)


def _meant(method: object) -> str:
    """Say what was probably meant: a login with one step."""
    alone = method[0] if isinstance(method, tuple | list) and len(method) == 1 else method
    if not isinstance(alone, str | type):
        return ""
    return f": write ({_shown(alone)}, None) for a login with one step"


def _refuse_doubles(providers: Iterable[Provider]) -> None:
    for attribute in ("name", "path", "method_name"):
        seen: dict[str, str] = {}
        for provider in providers:
            value, where = getattr(provider, attribute), type(provider).__name__
            if value in seen:
                raise ConfigurationError(f"{where} and {seen[value]} have the same {attribute}: {value}")
            seen[value] = where
