"""Whom flows are about: every account that the configuration tells from another, and what may befall it midway."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from authflow.access import CUSTOM
from authflow.flow import Flow, FlowKind
from authflow.loading import Loaded
from authflow.model import Account, Credential, Status
from authflow.policy import Standing
from authflow.provider import Provider
from authflow.proving.facts import Facts
from authflow.user import User

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GONE = "provider_that_is_gone"
"""A factor that an account has, and that no provider of the application judges any more."""

_NEAR = 3
"""So many sets of factors are looked at with every status."""

EPOCH = 7
ADA, BOB = "account-of-ada", "account-of-bob"


@dataclass(frozen=True, slots=True)
class Imagined(Loaded):
    """Records whose credentials stand for real ones that only their owner could have made.

    Attributes:
        assumed: Providers whose credential counts as one that they can handle.
    """

    assumed: frozenset[str] = frozenset()

    def standing(self, providers: Mapping[str, Provider], *, is_active: bool, demands_second_factor: bool) -> Standing:
        found = Loaded.standing(self, providers, is_active=is_active, demands_second_factor=demands_second_factor)
        return replace(found, present=found.present | self.assumed)


@dataclass(frozen=True, slots=True)
class Scene:
    """An account and what the explorer knows of it.

    Attributes:
        told: What a person reads of it.
        usable: Its factors that can be asked for, substitutes apart.
        substitutes: Substitutes that it has.
        is_orphaned: Whether it has a factor that cannot be asked for.
        is_active: Whether it may log in, as the hook says where that is stricter than its status.
        is_demanded: Whether a second factor is demanded of it.
        is_plain: Whether nothing is amiss with the account: it is explored with all that changes no step, too.
        parts: What it was made from: names of enrolled factors, of credentials, of broken credentials.
    """

    told: str
    account: Account
    loaded: Loaded
    usable: frozenset[str]
    substitutes: frozenset[str]
    is_orphaned: bool
    is_active: bool
    is_demanded: bool
    is_plain: bool = False
    parts: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = field(default=((), (), ()))


@dataclass(frozen=True, slots=True)
class Rigging:
    """Factors of an account, as far as scenes tell them apart."""

    told: str
    enrolled: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


class Scenery:
    """Makes the scenes of one application.

    Args:
        user: Whose hooks say who is active and of whom more is demanded.
        made: Credentials that providers made themselves, by name.
        broken: Credentials that are none, by name.
        stands_in: Names of providers whose credentials nobody but their owner could make.
    """

    def __init__(
        self,
        user: User,
        facts: Facts,
        made: Mapping[str, Credential],
        broken: Mapping[str, Credential],
        stands_in: frozenset[str],
    ) -> None:
        self._user, self._facts = user, facts
        self._made, self._broken, self._stands_in = made, broken, stands_in
        self.broken_hooks: dict[str, str] = {}

    def scene(self, flow: Flow, rigging: Rigging, *, status: int = Status.ACTIVE, roles: Sequence[str] = (),
              access: Sequence[str] = (), account_id: str = ADA, epoch: int = EPOCH) -> Scene:  # fmt: skip
        """Make one scene.

        Args:
            flow: A flow of the kind that it is for: what is demanded may depend on it.

        A hook that raises is remembered in `broken_hooks`.
        """
        facts = self._facts
        name = f"{account_id.rpartition('-')[2]}@example.org"
        account = Account(
            account_id, name, name, BEGAN, BEGAN, email=name, status=status, roles=tuple(roles), access=tuple(access),
            factors=rigging.enrolled, epoch=epoch,
        )  # fmt: skip
        own = {name: replace(self._made[name], account_id=account_id) for name in (*facts.primaries, *rigging.held)
               if name in self._made}  # fmt: skip
        own |= {name: replace(self._broken[name], account_id=account_id) for name in rigging.broken}
        assumed = self._stands_in.intersection(rigging.held)
        loaded = Imagined({}, account, own, None, (), assumed=assumed)
        held = frozenset(rigging.held) & frozenset((*facts.factors, *facts.substitutes))
        usable = held.intersection(rigging.enrolled, facts.factors)
        required = not self._user.second_factor_required_roles.isdisjoint(roles)
        active_by_hook = self._asked("is_active", lambda: self._user.is_active(account), otherwise=True)
        demanded_by_hook = self._asked(
            "demands_second_factor", lambda: self._user.demands_second_factor(account, flow), otherwise=False
        )
        told = rigging.told
        if status != Status.ACTIVE:
            told += f", status {Status(status).name if status in set(Status) else status}"
        if roles or access:
            told += f", {', '.join((*roles, *access))}"
        return Scene(
            told=told,
            account=account,
            loaded=loaded,
            usable=usable,
            substitutes=held.intersection(facts.substitutes),
            is_orphaned=any(name not in held for name in rigging.enrolled),
            is_active=active_by_hook and status >= Status.ACTIVE,
            is_demanded=required or demanded_by_hook,
            parts=(rigging.enrolled, rigging.held, rigging.broken),
        )

    def _asked(self, hook: str, ask: Callable[[], bool], *, otherwise: bool) -> bool:
        try:
            return bool(ask())
        except Exception as error:
            self.broken_hooks[hook] = f"{type(error).__name__}: {error}"
            return otherwise

    def all_of(self, flow: Flow, *, tells_accounts_apart: bool) -> Iterator[Scene]:
        """Make every scene.

        Args:
            tells_accounts_apart: Whether hooks beyond `is_active` and `demands_second_factor` see the account. Else
                scenes of which these two say the same are one.
        """
        riggings = tuple(self.riggings())
        for number, rigging in enumerate(riggings):
            seen: set[tuple[bool, bool]] = set()
            is_far = number >= (_NEAR if flow.kind is FlowKind.LOGIN else 1)
            for roles, access in self._positions():
                scene = self.scene(flow, rigging, roles=roles, access=access)
                facts = scene.is_active, scene.is_demanded
                if (tells_accounts_apart and not is_far) or facts not in seen:
                    seen.add(facts)
                    yield replace(scene, is_plain=self._is_plain(rigging) and not (roles or access))
        for status in _statuses():
            for rigging in riggings[:_NEAR]:
                yield self.scene(flow, rigging, status=status)

    def _is_plain(self, rigging: Rigging) -> bool:
        """Whether the account has no factor, the first, or all of them, and what stands in for them: nothing amiss."""
        codes, factors = self._facts.substitutes, self._facts.factors
        if rigging.broken or rigging.enrolled not in ((), factors[:1], factors[::-1]):
            return False
        return set(rigging.held) == ({*rigging.enrolled, *codes} if rigging.enrolled else set())

    def changed(self, scene: Scene, flow: Flow) -> Iterator[tuple[str, Scene]]:
        """Say what may befall an account without a trace in its epoch: what is owed must follow all the same."""
        enrolled, held, broken = scene.parts
        account = scene.account
        same = {"status": account.status, "roles": account.roles, "access": account.access, "account_id": account.id,
                "epoch": account.epoch}  # fmt: skip
        for name in held:
            rest = Rigging(scene.told, enrolled, tuple(n for n in held if n != name), broken)
            yield f"the credential of {name} is lost", self.scene(flow, rest, **same)  # type: ignore[arg-type]
        for role in sorted(self._user.second_factor_required_roles)[:1]:
            if role not in account.roles:
                now = same | {"roles": (*account.roles, role)}
                yield f"the role {role} is given", self.scene(flow, Rigging(scene.told, *scene.parts), **now)  # type: ignore[arg-type]

    def riggings(self) -> Iterator[Rigging]:
        """Say which sets of factors are told apart: none, usable, lost, broken and gone ones, and mixtures."""
        facts = self._facts
        codes = facts.substitutes
        beside = f" and {' and '.join(codes)}" if codes else ""
        yield Rigging("no factor")
        for name in facts.factors:
            yield Rigging(f"has {name}", (name,), (name,))
            if codes:
                yield Rigging(f"has {name}{beside}", (name,), (name, *codes))
                yield Rigging(f"has {name}, whose credential is lost{beside}", (name,), codes)
            yield Rigging(f"has {name}, whose credential is lost", (name,))
            yield Rigging(f"holds a credential of {name} that it has not enrolled", (), (name,))
            yield Rigging(f"has {name} and one whose provider is gone", (name, GONE), (name,))
            if name in self._broken:
                yield Rigging(f"has {name}, whose credential is broken", (name,), (), (name,))
        if len(facts.factors) > 1:
            yield Rigging("has all factors", facts.factors, facts.factors)
            yield Rigging(f"has all factors{beside}", facts.factors[::-1], (*facts.factors, *codes))
            yield Rigging(f"has all factors, {facts.factors[0]} lost", facts.factors, facts.factors[1:])
        if codes:
            yield Rigging(f"holds {' and '.join(codes)} alone", (), codes)
            yield Rigging(f"has enrolled {' and '.join(codes)} alone", codes, codes)
            yield Rigging(f"has a factor whose provider is gone{beside}", (GONE,), codes)
        yield Rigging("has a factor whose provider is gone", (GONE,))
        for name in facts.primaries[:1]:
            yield Rigging(f"is said to have {name} as a second factor", (name,))
        for name in facts.withdrawn:
            yield Rigging(f"has {name}, which is not offered any more", (name,), (name,))

    def _positions(self) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        user = self._user
        ids = dict.fromkeys((*sorted(user.second_factor_required_roles), *(role.id for role in user.roles)))
        yield (), ()
        for role in ids:
            yield (role,), ()
        for right in user.access_rights:
            yield (CUSTOM,), (right,)
            yield (), (right,)
        yield tuple(ids), ()


def _statuses() -> Iterable[int]:
    return (*(int(status) for status in Status if status != Status.ACTIVE), Status.ACTIVE - 1, Status.ACTIVE + 1)
