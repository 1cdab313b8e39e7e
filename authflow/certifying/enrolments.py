"""An enrolment in process: what is asked step by step, and what the kit's person makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from authflow.certifying import hostile
from authflow.certifying.bench import Bench
from authflow.certifying.given import Uses
from authflow.certifying.kit import CannotBeShown, Kit
from authflow.certifying.report import DoesNotApply, Failed, NotShown
from authflow.flow import Flow
from authflow.model import Account
from authflow.powers import Enrols
from authflow.provider import Ask, Enrolled, Provider, ProviderContext, Submission

MOST_STEPS = 5


def is_chosen(provider: Provider) -> bool:
    """Whether people choose what this provider keeps of them."""
    return bool(getattr(provider, "chosen_by_person", False))


async def wrong_confirmation(
    provider: Provider, kit: Kit, ask: Ask, context: ProviderContext, right: Mapping[str, str]
) -> dict[str, str] | None:
    """Return a wrong answer to a step of an enrolment, or None where any answer would be another right one.

    The kit's own; else a slip in what proves. What the person chooses is left as it is: a slip in that is another
    choice. Where it is typed twice, the slip is in the second.
    """
    own = await kit.wrong_confirmation(ask, context)
    if own is not None:
        return dict(own)
    names = hostile.proving(ask.fields, right)
    if is_chosen(provider):
        chosen = [name for name in names if right[name] == kit.chosen]
        names = [name for name in names if name not in chosen] or chosen[1:]
    return hostile.wrong(right, names) if names else None


@dataclass
class Enrolling:
    """An open enrolment of somebody new.

    Attributes:
        ask: What is asked now.
        trail: What was asked and answered before.
    """

    bench: Bench
    kit: Kit
    account: Account
    flow: Flow
    ask: Ask
    uses: Uses
    trail: list[tuple[Ask, dict[str, str]]] = field(default_factory=list)

    def context(self) -> ProviderContext:
        return self.bench.context(self.flow, self.account)

    async def values(self) -> dict[str, str]:
        """Have the kit answer what is asked now.

        Raises:
            NotShown: It has no answer.
        """
        try:
            return dict(await self.kit.confirm(self.ask, self.context()))
        except CannotBeShown as error:
            raise NotShown(str(error)) from error

    async def slip(self, right: Mapping[str, str]) -> dict[str, str] | None:
        """Return a wrong answer to what is asked now; see `wrong_confirmation`."""
        return await wrong_confirmation(self.bench.provider, self.kit, self.ask, self.context(), right)

    async def answer(
        self, values: Mapping[str, str], *, ask: Ask | None = None, has_notes: bool = True, uses: Uses | None = None
    ) -> object:
        """Submit to what is asked now, or to another question; what is raised is returned."""
        bench, provider = self.bench, self.bench.fresh()
        submission = Submission(values, (ask or self.ask).scratch if has_notes else {})
        with bench.app.services.pool.reserve() as slot:
            context = bench.context(
                self.flow,
                self.account,
                submission,
                slot=slot if provider.uses_hashing else None,
                uses=uses or self.uses,
            )
            try:
                work = provider.answer_enrolment(submission, context)  # type: ignore[attr-defined]
                return await bench.watch.await_("answer_enrolment", work)
            except Exception as error:
                return error

    def move(self, values: dict[str, str], asked: Ask) -> None:
        """Go on to the next question, as the engine does: with its notes instead of those before."""
        self.trail.append((self.ask, values))
        self.ask = asked

    async def finish(self) -> tuple[dict[str, str], object]:
        """Answer rightly until no more is asked.

        Returns:
            The last answer, and what it came to. `ask` is the last question then.
        """
        for _ in range(MOST_STEPS):
            values = await self.values()
            outcome = await self.answer(values)
            if not isinstance(outcome, Ask):
                return values, outcome
            self.move(values, outcome)
        raise Failed(f"after {MOST_STEPS} right answers the enrolment still asks for more")

    async def finished(self) -> tuple[dict[str, str], Enrolled]:
        """The same, where it must come to an end.

        Raises:
            Failed: It came to something else.
        """
        values, outcome = await self.finish()
        if not isinstance(outcome, Enrolled):
            raise Failed(f"the kit's confirmation came to {said_of(outcome)}")
        return values, outcome


def said_of(outcome: object) -> str:
    """Name an outcome in a sentence."""
    if isinstance(outcome, BaseException):
        return f"{type(outcome).__name__} ({outcome})"
    return repr(getattr(outcome, "reason", outcome))


async def begin(bench: Bench) -> Enrolling:
    """Begin to enrol somebody new.

    Raises:
        DoesNotApply: People cannot add the factor by themselves.
        Failed: It cannot be begun.
    """
    if not isinstance(bench.provider, Enrols):
        raise DoesNotApply("people cannot add it by themselves (Enrols)")
    kit = (bench.kit or Kit)(bench.fresh())
    account = bench.account(kit.name or "ada@example.org")
    flow = bench.app.engine.start(subject=account.id, epoch=account.epoch)
    uses = Uses()
    provider: Provider = bench.fresh()
    context = bench.context(flow, account, uses=uses)
    try:
        ask = bench.watch.call("begin_enrolment", lambda: provider.begin_enrolment(context))  # type: ignore[attr-defined]
    except Exception as error:
        raise Failed(f"begin_enrolment raised {type(error).__name__}: {error}") from error
    if not isinstance(ask, Ask):
        raise Failed(f"begin_enrolment answered with {type(ask).__name__}, not with Ask")
    return Enrolling(bench, kit, account, flow, ask, uses)
