"""Two definitions of flows that serve the same people at once, as while a new version is rolled out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from authflow.fields import Field, FieldType
from authflow.flow import Flow, FlowKind, Owing, Refusal, Step, StepKind
from authflow.model import Factor
from authflow.provider import Ask, Identifier, PrimaryProvider, Rejected, SecondFactorProvider, Verified
from authflow.user import User

FACTORS = ("amber", "beryl", "coral")
RIGHT = "open"
WORD = Field("word", FieldType.PASSWORD, "Word")


class Word(PrimaryProvider):
    """Knows everybody who says the word."""

    name, label, factor = "word", "Word", Factor.KNOWLEDGE

    def begin(self, context):
        return Ask((Field("name", FieldType.TEXT, "Name"), WORD))

    async def identify(self, submission, context):
        return Identifier(submission.get("name"))

    async def answer(self, credential, submission, context):
        if context.account is None or submission.get("word") != RIGHT:
            return Rejected("invalid_credentials")
        return Verified(context.prove(self))


class _Stone(SecondFactorProvider):
    def begin(self, context):
        return Ask((WORD,))

    async def answer(self, credential, submission, context):
        if credential is None or submission.get("word") != RIGHT:
            return Rejected("code_wrong")
        return Verified(context.prove(self))


def stone(name: str) -> type[_Stone]:
    return type(name.title(), (_Stone,), {"name": name, "label": name.title()})


STONES = {name: stone(name) for name in FACTORS}


def unmet(steps: Sequence[frozenset[str]], proved: Sequence[str]) -> list[frozenset[str]]:
    """Return the fewest of these steps that are left when each proof does one of them."""
    best = list(steps)
    for order in permutations(range(len(steps))):
        left, proofs = list(steps), list(proved)
        for place in order:
            used = next((name for name in proofs if name in steps[place]), None)
            if used is not None:
                proofs.remove(used)
                left.remove(steps[place])
        best = min(best, left, key=len)
    return best


class Demanding(User):
    """Owes some steps after the word, each answered by any of some stones."""

    wanted: tuple[frozenset[str], ...] = ()

    def remaining_steps(self, kind, proofs, standing):
        if kind is not FlowKind.LOGIN or not any(proof.provider == "word" for proof in proofs):
            return super().remaining_steps(kind, proofs, standing)
        if standing is None or not standing.is_active:
            return Refusal("account_inactive")
        left = unmet(self.wanted, [proof.provider for proof in proofs if proof.provider != "word"])
        return Owing(tuple(Step(StepKind.PROVE, tuple(sorted(names))) for names in left))


def demanding(offered: Sequence[str], wanted: Sequence[frozenset[str]]) -> User:
    """Return a definition that offers some stones and, after the word, wants these steps."""

    class Mine(Demanding):
        authentication_providers = (Word,)
        second_factor_providers = tuple(STONES[name] for name in offered)
        valid_authentication_methods = (("word", None), *(("word", name) for name in offered))

    Mine.wanted = tuple(wanted)
    return Mine()


def stock_rules(offered: Sequence[str], paired: Sequence[str]) -> User:
    """Return a definition by the stock policy: whoever has a paired stone owes one of them."""

    class Mine(User):
        authentication_providers = (Word,)
        second_factor_providers = tuple(STONES[name] for name in offered)
        valid_authentication_methods = (("word", None), *(("word", name) for name in paired))

    return Mine()


def is_done(flow: Flow, proofs: Sequence[str]) -> bool:
    """Whether what a flow owed has been done by these later proofs."""
    return not unmet([frozenset(step.accepted) for step in flow.owed], proofs)
