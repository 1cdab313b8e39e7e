"""Answering providers without a person, by what they say of themselves: passwords and codes that are shown or mailed.

Whatever a provider's powers and questions do not tell cannot be answered here; a stand-in takes its place then.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from authflow.context import Context
from authflow.engine import Engine
from authflow.fields import Field, FieldType
from authflow.flow import Flow, FlowKind
from authflow.hashing_pool import Slot
from authflow.model import Account, Credential
from authflow.powers import Enrols, IssuesCodes, SetsPassword
from authflow.provider import Ask, Enrolled, Provider, Submission
from authflow.rehearsal.stand_ins import NAME, SUBJECT, credential_of
from authflow.tokens import new_secret


@dataclass(slots=True)
class Person:
    """What the owner of a rehearsed account knows and has.

    Attributes:
        devices: The address of each enrolled authenticator (`otpauth://`), by provider.
        codes: Printed codes that are left, by provider.
    """

    account: Account
    password: str = field(default_factory=new_secret, repr=False)
    devices: dict[str, str] = field(default_factory=dict, repr=False)
    codes: dict[str, list[str]] = field(default_factory=dict, repr=False)


async def equip(engine: Engine, person: Person, provider: Provider, *, is_stand_in: bool) -> Credential | None:
    """Make a credential of a provider for a person.

    Returns:
        What is to be stored, or None where nobody but a person can do that.
    """
    flow = engine.start(FlowKind.SETTINGS, subject=person.account.id, epoch=person.account.epoch)
    with engine.services.pool.reserve() as slot:
        context = _context(engine, flow, provider, person, slot)
        if is_stand_in:
            return credential_of(provider, person.account.id, context)
        if isinstance(provider, SetsPassword):
            made = await provider.new_credential(person.password, context)
            is_answerable = values(engine, flow, provider, person) is not None
            return made if isinstance(made, Credential) and is_answerable else None
        if isinstance(provider, IssuesCodes):
            issued = provider.issue(context)
            person.codes[provider.name] = list(issued.codes)
            return issued.credential
        if isinstance(provider, Enrols):
            ask = provider.begin_enrolment(context)
            typed = enrolling(engine, flow, provider, person, ask)
            if typed is None:
                return None
            judged = _context(engine, flow, provider, person, slot)
            outcome = await provider.answer_enrolment(Submission(typed, ask.scratch), judged)
            return outcome.credential if isinstance(outcome, Enrolled) else None
    return None


def enrolling(engine: Engine, flow: Flow, provider: Provider, person: Person, ask: Ask) -> dict[str, str] | None:
    """Return what confirms an enrolment; None where nothing tells it."""
    address = ask.params.get("uri")
    if isinstance(address, str) and address.startswith("otpauth://totp/"):
        person.devices[provider.name] = address
    return _code(engine, flow, provider, person, ask)


def values(engine: Engine, flow: Flow, provider: Provider, person: Person) -> dict[str, str] | None:
    """Return what answers a provider's question at this point of a flow; None where nothing tells it."""
    ask = engine.ask(flow, provider, person.account)
    if not isinstance(ask, Ask):
        return None
    if isinstance(provider, SetsPassword):
        typed = {f.name: _typed(f, person) for f in ask.fields if f.required}
        known = {name: value for name, value in typed.items() if value is not None}
        return known if len(known) == len(typed) else None
    if isinstance(provider, IssuesCodes):
        left, name = person.codes.get(provider.name), _only(ask)
        return {name: left.pop()} if left and name else None
    return _code(engine, flow, provider, person, ask)


def scripted(person: Person) -> dict[str, str]:
    """Return what a stand-in takes for an answer."""
    return {NAME: person.account.name, SUBJECT: person.account.id}


def _code(engine: Engine, flow: Flow, provider: Provider, person: Person, ask: Ask) -> dict[str, str] | None:
    name, device = _only(ask), person.devices.get(provider.name)
    if name is None:
        return None
    if device is not None:
        return {name: _shown(device, engine.services.clock().timestamp())}
    if ask.delivery is not None:
        context = _context(engine, flow, provider, person, None)
        return {name: context.code(ask.delivery.digits)}
    return None


def _only(ask: Ask) -> str | None:
    names = [f.name for f in ask.fields if f.required]
    return names[0] if len(names) == 1 else None


def _typed(asked: Field, person: Person) -> str | None:
    if asked.type is FieldType.PASSWORD:
        return person.password
    return person.account.name if asked.autocomplete == "username" or asked.name == NAME else None


def _shown(address: str, at: float) -> str:
    """Return what an authenticator shows (RFC 6238, section 4; RFC 4226, section 5.3)."""
    told = {name: found[0] for name, found in parse_qs(urlsplit(address).query).items()}
    text = told["secret"]
    secret = base64.b32decode(text + "=" * (-len(text) % 8))
    counter = int(at) // int(told.get("period", 30))
    mac = hmac.digest(secret, counter.to_bytes(8, "big"), getattr(hashlib, told.get("algorithm", "SHA1").lower()))
    offset = mac[-1] & 0xF
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    digits = int(told.get("digits", 6))
    return str(number % 10**digits).zfill(digits)


def _context(engine: Engine, flow: Flow, provider: Provider, person: Person, slot: Slot | None) -> Context:
    return engine.context(flow, provider, account=person.account, slot=slot, submission=Submission({}))
