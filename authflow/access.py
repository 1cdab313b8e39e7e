"""Rights and roles: which flags there are, what a role may do, who may do what to whose account. Pure.

A right is a flag, `root` or `<module>-<what>` (`user-edit`). An account has flags of its own or roles, whose flags are
configuration. As in ViUR, flags of its own count beside roles only if `custom` is one of these: else what the roles may
do is all.

Two rules keep rights from growing. Who has not `root` gives nobody a right that he lacks, and does nothing dangerous to
an account that has one; and nobody changes the own name, status or rights, so that whoever takes `root` from somebody
still has it: there is no request that leaves a site without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from authflow.errors import ConfigurationError
from authflow.model import Account, Role

ROOT = "root"
"""May do everything."""

CUSTOM = "custom"
"""The role with which an account's own flags count beside its other roles."""

ALL = "*"
"""In `Module.roles`: every right, or every role that is not named."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the application, as far as rights go. ViUR: a module with `accessRights` and `roles`.

    Attributes:
        name: First part of its flags: `user` makes `user-view` and so on.
        rights: What can be allowed; the second part of its flags.
        roles: What roles may do here: role id, or `*` for all others, to rights, or `*` for all of them. Who may edit
            or delete may view.
    """

    name: str
    rights: tuple[str, ...] = ("view", "add", "edit", "delete", "manage")
    roles: Mapping[str, str | Sequence[str]] = field(default_factory=dict)

    @property
    def flags(self) -> tuple[str, ...]:
        return tuple(f"{self.name}-{right}" for right in self.rights)

    def flags_of(self, role: str) -> tuple[str, ...]:
        """Return what a role may do here."""
        named = self.roles.get(role, self.roles.get(ALL, ()))
        wanted = {named} if isinstance(named, str) else set(named)
        if ALL in wanted:
            return self.flags
        if not wanted.isdisjoint({"edit", "delete"}):
            wanted.add("view")
        return tuple(f"{self.name}-{right}" for right in self.rights if right in wanted)


class Access:
    """What the accounts of an application may do. Made once, from what it declares.

    Args:
        flags: Those that are declared one by one.
        roles, modules: See `User.roles`, `User.modules`.

    Raises:
        ConfigurationError: A name cannot be sent in a list; a module is declared twice, or allows what it has not.
    """

    def __init__(self, flags: Sequence[str], roles: Sequence[Role], modules: Sequence[Module]) -> None:
        self.flags = tuple(dict.fromkeys([*flags, *(flag for module in modules for flag in module.flags)]))
        names = [module.name for module in modules]
        for name in (*self.flags, *(role.id for role in roles)):
            if not name or not name.isprintable() or "," in name or name != name.strip():
                raise ConfigurationError(f"{name!r} cannot be the name of a right or a role")
        for module in modules:
            allowed = {
                right for named in module.roles.values() for right in ([named] if isinstance(named, str) else named)
            }
            if unknown := allowed - {ALL, *module.rights}:
                raise ConfigurationError(f"module {module.name} has no right {', '.join(sorted(unknown))}")
            if names.count(module.name) > 1:
                raise ConfigurationError(f"module {module.name} is declared twice")
        self._by_role = {
            role.id: frozenset(role.access).union(*(module.flags_of(role.id) for module in modules)) for role in roles
        }

    def of(self, account: Account) -> frozenset[str]:
        """Return every flag that counts for an account."""
        own = account.access if _keeps_flags(account.roles) else ()
        return frozenset(own).union(*[self._by_role.get(role, ()) for role in account.roles])


def kept_flags(roles: Sequence[str], access: Iterable[str]) -> tuple[str, ...]:
    """Return which flags of its own an account with these roles keeps: without `custom` among them none."""
    return tuple(access) if _keeps_flags(roles) else ()


def _keeps_flags(roles: Sequence[str]) -> bool:
    return not roles or CUSTOM in roles


class Rights:
    """Base of `User`: its rules of access, to be called and to be overridden."""

    roles: ClassVar[Sequence[Role]]
    access_rights: ClassVar[Sequence[str]]
    modules: ClassVar[Sequence[Module]]

    @cached_property
    def access(self) -> Access:
        return Access(self.access_rights, self.roles, self.modules)

    def access_of(self, account: Account) -> frozenset[str]:
        """Return every flag an account has, by its roles and, where they count, by itself."""
        return self.access.of(account)

    def is_admin(self, account: Account) -> bool:
        """Whether somebody may give names, passwords, states and rights to others. ViUR: `is_admin`.

        Who has not `root` gives no right all the same that he does not have.
        """
        return ROOT in self.access_of(account)

    def extend_access_rights(self) -> tuple[tuple[str, str], ...]:
        """Return (flag, label) pairs to choose from when an account is edited. ViUR: `extendAccessRights`."""
        return tuple((flag, flag.replace("-", " ")) for flag in self.access.flags)

    def can_list(self, viewer: Account) -> bool:
        """Whether somebody may list all entries. ViUR: `listFilter`."""
        return self._has(viewer, "user-view")

    def can_view(self, viewer: Account | None, account: Account) -> bool:
        """Whether somebody may see an entry: the own one, or with the right to. ViUR: `canView`."""
        return viewer is not None and (viewer.id == account.id or self._has(viewer, "user-view"))

    def can_add(self, editor: Account) -> bool:
        """Whether somebody may make accounts. ViUR: `canAdd`."""
        return self._has(editor, "user-add")

    def can_edit(self, editor: Account | None, account: Account) -> bool:
        """Whether somebody may edit an entry at all; `User.edit_skel` says what of it. ViUR: `canEdit`."""
        return editor is not None and (editor.id == account.id or self._has(editor, "user-edit"))

    def can_delete(self, editor: Account, account: Account) -> bool:
        """Whether somebody may delete entries. ViUR: `canDelete`."""
        return self._has(editor, "user-delete")

    def can_kick(self, editor: Account, account: Account) -> bool:
        """Whether somebody may end the sessions of others. ViUR: `trigger`."""
        return self.is_admin(editor)

    def is_over(self, editor: Account, account: Account) -> bool:
        """Whether an account may do nothing that the editor may not: only then may dangerous things be done to it."""
        own = self.access_of(editor)
        return ROOT in own or self.access_of(account) <= own

    def _has(self, account: Account, right: str) -> bool:
        return not self.access_of(account).isdisjoint({ROOT, right})
