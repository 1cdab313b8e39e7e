"""The check that what is typed in secret is declared as one: pages show the rest again, and logs may name it."""

from __future__ import annotations

from collections.abc import Mapping

from authflow.certifying import hostile
from authflow.certifying.attempts import Attempt, Person
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.enrolments import begin
from authflow.certifying.judging import fields_of
from authflow.certifying.kit import Kit
from authflow.certifying.report import DoesNotApply, Failed
from authflow.fields import Field, FieldType
from authflow.powers import Enrols
from authflow.provider import Ask, Redirect, Rejected

_SHOWN = (FieldType.TEXT, FieldType.EMAIL)


@check(
    "what is typed in secret is typed into fields of type PASSWORD or CODE",
    mend="a field whose slip is refused holds a secret: FieldType.PASSWORD or CODE; TEXT is for names",
    needs_kit=True,
)
async def typed_secrets_are_declared(bench: Bench) -> None:
    person = await bench.person()
    attempt = await bench.attempt(person)
    if isinstance(attempt.ask, Redirect):
        raise DoesNotApply("it sends people elsewhere and asks for no fields")
    for field in _shown(fields_of(attempt.ask), attempt.values):
        if await _proves(bench, person, field.name):
            raise Failed(f"the field {field.name} is a text, and a slip in it is refused: pages show it again")
    if not isinstance(bench.provider, Enrols):
        return
    enrolling = await begin(bench)
    last, _ = await enrolling.finish()
    for ask, values in (*enrolling.trail, (enrolling.ask, last)):
        _demand_declared(ask, values, enrolling.kit)


def _shown(fields: tuple[Field, ...], values: Mapping[str, str]) -> list[Field]:
    return [field for field in fields if field.type in _SHOWN and values.get(field.name)]


async def _proves(bench: Bench, person: Person, name: str) -> bool:
    """Whether a slip in one field alone is refused, though the answer is still about the same person."""
    attempt: Attempt = await bench.attempt(person)
    value = attempt.values[name]
    if value.strip().casefold() in (person.account.name.casefold(), str(person.account.email).casefold()):
        return False
    if isinstance(attempt.ask, Ask) and value in repr((dict(attempt.ask.params), dict(attempt.ask.values))):
        return False  # What the page shows is copied, and no secret.
    slip = await bench.judge(attempt.of(hostile.wrong(attempt.values, [name])), person.account, person.credential)
    again = await bench.attempt(person)
    right = await bench.judge(again, person.account, person.credential)
    return isinstance(slip.outcome, Rejected) and right.is_verified and slip.who == right.who


def _demand_declared(ask: Ask, values: Mapping[str, str], kit: Kit) -> None:
    secret = {*kit.secrets(), kit.chosen} - {""}
    for field in _shown(ask.fields, values):
        if values[field.name] in secret:
            raise Failed(f"the field {field.name} is a text, and a secret is typed into it while it is added")


CHECKS = (typed_secrets_are_declared,)
