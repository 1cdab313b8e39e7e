"""What the configuration in force says, in the explorer's own words: read from declarations, not from policy."""

from __future__ import annotations

from dataclasses import dataclass

from authflow.powers import Enrols
from authflow.registry import Registry


@dataclass(frozen=True, slots=True)
class Facts:
    """The configuration of one application.

    Attributes:
        pairs: First step and second step or None, in order, of providers that are offered.
        primaries: Offered first steps that are in a pair, in the order of the pairs.
        factors: Offered second factors that can be demanded.
        substitutes: Offered second factors that only stand in for others.
        enrollable: Factors that are in a pair and that people can add by themselves.
        password: What registration, recovery and set-up make; empty where they are not served.
        withdrawn: Second factors that are declared and not offered.
    """

    pairs: tuple[tuple[str, str | None], ...]
    primaries: tuple[str, ...]
    factors: tuple[str, ...]
    substitutes: tuple[str, ...]
    enrollable: tuple[str, ...]
    password: str
    withdrawn: tuple[str, ...]

    @property
    def providers(self) -> frozenset[str]:
        return frozenset((*self.primaries, *self.factors, *self.substitutes))

    def seconds(self, primary: str) -> tuple[str, ...]:
        """Return what is paired with a first step, in order."""
        return tuple(dict.fromkeys(second for first, second in self.pairs if first == primary and second))


def facts_of(registry: Registry) -> Facts:
    """Read the configuration."""
    offered = registry.providers
    pairs = tuple(pair for pair in registry.rules.pairs if set(pair) - {None} <= set(offered))
    paired = {second for _, second in pairs}
    seconds = registry.second_factors
    primaries = tuple(dict.fromkeys(first for first, _ in pairs))
    password = registry.password_provider
    declared = {name for name, provider in registry.declared.items() if hasattr(provider, "is_substitute")}
    return Facts(
        pairs=pairs,
        primaries=primaries,
        factors=tuple(p.name for p in seconds if not p.is_substitute),
        substitutes=tuple(p.name for p in seconds if p.is_substitute),
        enrollable=tuple(p.name for p in seconds if isinstance(p, Enrols) and p.name in paired and not p.is_substitute),
        password=password.name if password is not None and password.name in primaries else "",
        withdrawn=tuple(sorted(declared - set(offered))),
    )
