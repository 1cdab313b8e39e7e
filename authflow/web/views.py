"""What a request is answered with, before a renderer gives it a form: the same for html, json and later dialects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from authflow.fields import Field, FieldError
from authflow.model import Account
from authflow.provider import Provider
from authflow.sessions import DeviceClaim, IssuedSession


class Meaning(StrEnum):
    """What an answer says. Renderers translate it: pages, ViUR's strings, envelopes."""

    FORM = "form"
    LOGGED_IN = "logged_in"
    LOGGED_OUT = "logged_out"
    REFUSED = "refused"
    SECOND_FACTOR = "second_factor"
    CHOICE = "choice"
    METHODS = "methods"
    OFFER = "offer"
    """The first steps that are open to tools."""
    ENTRY = "entry"
    LIST = "list"
    """A page of entries: `data` is a list of their values, `form` their structure, `params` may hold a `cursor`."""
    STRUCTURE = "structure"
    """The fields of `form`, for a program that wants to know them."""
    ADDED = "added"
    """An entry was made: `data` holds its values, `form` its structure."""
    EDITED = "edited"
    DONE = "done"
    DATA = "data"
    GO = "go"


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A form to be filled in. Compared by identity, so that what is made of one can be kept for the next answer.

    Attributes:
        path: Where it is posted to, below the mount point and without a renderer's prefix.
        values: What stands in the fields; secret ones stay empty.
    """

    path: str
    fields: Sequence[Field]
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    errors: Sequence[FieldError] = ()


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What becomes of the browser's cookies with this answer.

    Attributes:
        issued: A new session.
        account_id: Whose it is, or whose pending flow it holds.
        device: This browser is a known device of an account from now on.
        is_ended: The session cookie is cleared.
    """

    issued: IssuedSession | None = None
    account_id: str = ""
    device: DeviceClaim | None = None
    is_ended: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """One answer.

    Attributes:
        meaning: What it says.
        template: The page that html shows.
        form: What is asked for, where something is.
        errors: Sentences about the whole page (gettext message ids).
        reason: Stable code of a refusal.
        next_path: Where html goes on to by 303, below the mount point.
        extra: Further values for the template.
        data: What json shows, for `DATA`, `ENTRY`, `METHODS`, and those about entries. With a form that is about an
            entry: the values as programs are shown them.
        action: What ViUR's dialects call a form of an entry: `add` or `edit`.
        flow: Reference of the flow that the form belongs to.
        provider: Who asks, for the dialects that name a method.
        choices: Who may be chosen, for `CHOICE` and `OFFER`.
        account: Whose entry the answer is about, for dialects that show it after a change or a login.
        is_ticket: The page's own address holds a mailed token.
    """

    meaning: Meaning
    template: str = ""
    status: int = 200
    form: Form | None = None
    errors: Sequence[str] = ()
    notices: Sequence[str] = ()
    reason: str = ""
    next_path: str = ""
    params: Mapping[str, object] = field(default_factory=dict, repr=False)
    extra: Mapping[str, object] = field(default_factory=dict, repr=False)
    data: object = field(default=None, repr=False)
    action: str = ""
    flow: str = ""
    provider: Provider | None = None
    choices: Sequence[Provider] = ()
    account: Account | None = None
    session: SessionChange = SessionChange()
    is_ticket: bool = False
