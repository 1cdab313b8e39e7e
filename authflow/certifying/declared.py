"""Checks of what a provider declares: names, fields, sentences, the kind of evidence. They need nobody's answer."""

from __future__ import annotations

import inspect
import json
import re

from authflow.certifying import reading
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.report import DoesNotApply, Failed
from authflow.errors import ConfigurationError
from authflow.federated import FederatedProvider
from authflow.fields import Field, FieldType
from authflow.messages import SENTENCES
from authflow.model import Factor
from authflow.powers import AcceptsTokens, IssuesCodes, SetsPassword
from authflow.provider import Ask, PrimaryProvider, Rejected
from authflow.registry import Registry

_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}", re.ASCII)
_RESERVED = frozenset({"skey", "flow", "state", "next", "reauthenticate"})
_LONGEST = 64 * 1024
_SECRET_WORDS = re.compile(r"pass(word|phrase)|\bpin\b|secret|one.?time|\bcode\b|\botp\b|\btan\b", re.I)
_AUTOCOMPLETE = {
    FieldType.PASSWORD: frozenset({"current-password", "new-password", "one-time-code", "off"}),
    FieldType.CODE: frozenset({"one-time-code", "off", "current-password"}),
}
_UNSAFE_IN_SENTENCE = re.compile(r"[<>{}]|%[sdr(]")


@check(
    "name, label, path and action are well formed, and its methods are async where they must be",
    mend="the message says which declaration is refused; the registry refuses it in a deployment, too",
)
async def declaration(bench: Bench) -> None:
    one = bench.make()
    is_first = isinstance(one, PrimaryProvider)
    pairs = [(one.name, None)] if is_first else []
    try:
        if is_first:
            Registry((one,), (), pairs, environment=dict(bench.environment))
        else:
            user = bench.user
            Registry(user.authentication_providers, user.second_factor_providers, user.valid_authentication_methods,
                     environment=dict(bench.environment))  # fmt: skip
    except ConfigurationError as error:
        raise Failed(error.detail) from error
    for method in ("begin", "can_handle", "configure"):
        if inspect.iscoroutinefunction(getattr(one, method)):
            raise Failed(f"{method} must not be async: it is pure")
    if one.label != one.label.strip() or not one.label.isprintable() or len(one.label) > 60:
        raise Failed(f"the label {one.label!r} is not fit for a page")
    if not isinstance(one.factor, Factor):
        raise Failed(f"factor is {one.factor!r}, none of authflow.model.Factor")


@check(
    "configure takes its settings from what it is handed, and says whether it can be offered",
    mend="return True or False; read nothing but the mapping you are handed; refuse bad values by ConfigurationError",
)
async def configuring(bench: Bench) -> None:
    for environment in ({}, dict(bench.environment)):
        one = bench.make()
        try:
            said = bench.watch.call("configure", lambda one=one, env=environment: one.configure(env))  # type: ignore[misc]
        except ConfigurationError:
            continue
        except Exception as error:
            raise Failed(f"configure raised {type(error).__name__}, which is no ConfigurationError") from error
        if not isinstance(said, bool):
            raise Failed(f"configure answered with {type(said).__name__}, not with True or False")


@check(
    "the fields it asks for have names, labels, types, limits and autocomplete that fit",
    mend="declare each field as authflow.fields.Field says; what is secret is of type PASSWORD or CODE",
)
async def fields(bench: Bench) -> None:
    ask = bench.begin(bench.flow())
    if not isinstance(ask, Ask):
        raise DoesNotApply("it sends people elsewhere and asks for no fields")
    names = [declared.name for declared in ask.fields]
    if len(set(names)) != len(names):
        raise Failed("two fields have the same name")
    if unknown := set(ask.values) - set(names):
        raise Failed(f"values are given for fields that are not declared: {', '.join(sorted(unknown))}")
    for declared in ask.fields:
        if problem := _problem(declared):
            raise Failed(f"field {declared.name}: {problem}")
        if declared.is_secret and ask.values.get(declared.name):
            raise Failed(f"field {declared.name} is secret and comes with a value")
    for place in ("values", "params", "scratch"):
        value = dict(getattr(ask, place))
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError):
            same = False
        if not same:
            raise Failed(f"Ask.{place} holds more than plain values (texts, numbers, truths, lists and dicts of them)")


def _problem(declared: Field) -> str:
    if not _FIELD_NAME.fullmatch(declared.name):
        return "a name is a letter and then letters, digits and underscores"
    if declared.name in _RESERVED:
        return "this name is taken by the engine"
    if declared.type is FieldType.HIDDEN:
        return ""
    if not declared.label:
        return "people see no label"
    if not 0 < declared.max_length <= _LONGEST or declared.min_length > declared.max_length:
        return f"max_length must be 1 to {_LONGEST} and not below min_length"
    if declared.type in (FieldType.SELECT,) and not declared.options:
        return "there is nothing to select"
    if declared.type in (FieldType.TEXT, FieldType.EMAIL) and (
        _SECRET_WORDS.search(f"{declared.name.replace('_', ' ')} {declared.label}")
        or declared.autocomplete in ("current-password", "new-password", "one-time-code")
    ):
        return "it asks for a secret as plain text, which pages show again; use PASSWORD or CODE"
    fitting = _AUTOCOMPLETE.get(declared.type)
    if fitting and declared.autocomplete and declared.autocomplete not in fitting:
        return f"autocomplete {declared.autocomplete!r} does not fit a field of this type"
    if declared.type is FieldType.PASSWORD and not declared.autocomplete:
        return "a password manager needs autocomplete: current-password"
    return ""


@check(
    "every reason it gives has a sentence that is fit to be shown",
    mend="add the code and a sentence to the class attribute messages",
)
async def sentences(bench: Bench) -> None:
    provider = bench.provider
    for code, said in provider.messages.items():
        if not said.strip() or _UNSAFE_IN_SENTENCE.search(said):
            raise Failed(f"the sentence for {code!r} is empty, or holds markup or placeholders")
    given = {outcome.reason for outcome in bench.seen.outcomes if isinstance(outcome, Rejected)}
    for reason in sorted({*given, *reading.reasons(type(provider))}):
        if not isinstance(reason, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", reason):
            raise Failed(f"the reason {reason!r} is no stable code such as code_wrong")
        if reason not in SENTENCES and reason not in provider.messages:
            raise Failed(f"there is no sentence for the reason {reason!r}")


@check(
    "it calls its evidence what it is",
    mend="mailed codes are Factor.MAILBOX, passwords KNOWLEDGE, devices and lists POSSESSION, issuers FEDERATED",
)
async def evidence(bench: Bench) -> None:
    provider, ask = bench.provider, bench.begin(bench.flow())
    types = {declared.type for declared in ask.fields} if isinstance(ask, Ask) else set()
    expected: Factor | None = None
    if isinstance(provider, FederatedProvider):
        expected = Factor.FEDERATED
    elif isinstance(ask, Ask) and ask.delivery is not None:
        expected = Factor.MAILBOX
    elif isinstance(provider, SetsPassword) or (FieldType.PASSWORD in types and not isinstance(provider, IssuesCodes)):
        expected = Factor.KNOWLEDGE
    elif isinstance(provider, AcceptsTokens | IssuesCodes):
        expected = Factor.POSSESSION
    if expected is not None and provider.factor is not expected:
        raise Failed(f"factor is {provider.factor.value}, and what it asks for is {expected.value}")


CHECKS = (declaration, configuring, fields, evidence)
AT_THE_END = (sentences,)
