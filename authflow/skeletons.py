"""What is asked for when an account is made or edited, and by whom. ViUR: the skeletons of the user module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from authflow.access import CUSTOM, Rights
from authflow.errors import ConfigurationError
from authflow.fields import Field, FieldType
from authflow.model import Account, Status

_TAKEN = frozenset(
    {"key", "name", "email", "status", "roles", "access", "password", "version", "skey", "flow", "bounce", "factors",
     "creationdate", "changedate", "cursor", "action"}
)  # fmt: skip
"""Names that forms and entries have a meaning for."""


class Skeletons(Rights):
    """Base of `User`: its forms, to be called and to be overridden."""

    profile_fields: ClassVar[tuple[Field, ...]]

    def add_skel(self) -> tuple[Field, ...]:
        """Declare what registration asks for, the password apart. ViUR: `addSkel`."""
        return (
            Field("name", FieldType.EMAIL, "E-mail address", max_length=254, autocomplete="username"),
            *self.profile_fields,
        )

    def entry_skel(self, editor: Account) -> tuple[Field, ...]:
        """Declare what making an entry for somebody else asks for, the password apart. ViUR: `addSkel`.

        Only admins say what the account may do; what others make waits for them.
        """
        name = Field("name", FieldType.EMAIL, "E-mail address", max_length=254)
        return (name, *self.profile_fields, *(self._governed() if self.is_admin(editor) else ()))

    def edit_skel(self, editor: Account, account: Account) -> tuple[Field, ...]:
        """Declare what may be edited by whom, the password apart. ViUR: `editSkel`.

        Name, status and rights are never a person's own; in the entries of others they are the admins' alone.
        """
        if editor.id == account.id:
            return self.profile_fields
        name = Field("name", FieldType.EMAIL, "E-mail address", max_length=254)
        fields = (name, *self.profile_fields, *self._governed(account))
        if self.is_admin(editor) and self.is_over(editor, account):
            return fields
        own = {declared.name for declared in self.profile_fields}
        return tuple(field if field.name in own else replace(field, is_readonly=True) for field in fields)

    def _governed(self, account: Account | None = None) -> tuple[Field, ...]:
        """Return the fields that say what an account may do. What it has stays an option, declared or not."""
        waiting = Status.WAITING_FOR_EMAIL_VERIFICATION
        states = {
            str(int(status)): status.name.replace("_", " ").capitalize()
            for status in Status
            if status is not waiting or (account is not None and account.status == waiting)
        }
        roles = {role.id: role.label for role in self.roles}
        flags = dict(self.extend_access_rights())
        if account is not None:
            states.setdefault(str(int(account.status)), str(int(account.status)))
            roles = {**roles, **{role: role for role in account.roles if role not in roles}}
            flags = {**flags, **{flag: flag for flag in account.access if flag not in flags}}
        counts = f"These count for accounts without roles, or with the role {CUSTOM}."
        return (
            Field("status", FieldType.SELECT, "Status", options=tuple(states.items())),
            Field("roles", FieldType.LIST, "Roles", required=False, options=tuple(roles.items())),
            Field("access", FieldType.LIST, "Access rights", required=False, options=tuple(flags.items()), help=counts),
        )


def demand_own_names(profile_fields: Sequence[Field]) -> None:
    """Refuse profile fields that would be taken for something else in a form or an entry.

    Raises:
        ConfigurationError: A name is taken or given twice, or the field is secret: profiles are shown.
    """
    seen = set(_TAKEN)
    for declared in profile_fields:
        if declared.name in seen:
            raise ConfigurationError(f"profile_fields: the name {declared.name!r} is taken")
        if declared.is_secret:
            raise ConfigurationError(f"profile_fields: {declared.name!r} is secret, and profiles are shown")
        seen.add(declared.name)
