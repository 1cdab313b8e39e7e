"""A kit: somebody who can use a provider, with all they need for it. Without one, nothing right can be submitted.

The certifier makes one kit for each person and asks it for what that person has and does. Most providers need none:
passwords, printed codes, authenticator apps and mailed codes are known (`people`). For any other, write a subclass next
to your tests and name it by `--kit package.module:Class`, by the class attribute `certification` of the provider (that
path, or the class), or by the fixture's `kit=`.

    class Badge(Kit):
        async def equip(self, context):                 # what the store holds for this person
            self.pin = "4711-0815"
            hashed = await context.hashing.hash(self.pin)
            return Credential(context.account.id, "badge", context.now, context.now, {"hash": hashed})

        async def answer(self, ask, context):           # what this person types when asked
            return {"pin": self.pin}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import ClassVar

from authflow.model import Credential
from authflow.powers import Enrols
from authflow.provider import (
    Ask,
    CredentialId,
    Enrolled,
    Fetching,
    Provider,
    ProviderContext,
    Redirect,
    Subject,
    Submission,
)

_MOST_ASKED = 5


class CannotBeShown(Exception):
    """A kit has no answer, so what needs one is reported as not shown."""


class Kit:
    """One person who can use a provider, and what stands behind them: a device, a mailbox, an issuer.

    A new one is made for each person that a check needs. Only `answer` must be written where the provider enrols,
    issues codes or sets passwords by its powers.

    Args:
        provider: A configured instance. Others of the same class judge, too: keep what you know in the kit.

    Attributes:
        settings: What the provider reads in `configure` (names without `AUTHFLOW_`, lower case). `--setting` wins.
        fetching: The remote party, instead of real requests; `surroundings` is for one that listens on loopback.
        answers_live: How long an unused answer stays right in another flow; None where it does not age.
        wait: How long a person waits until they have another answer, such as the next code of a device.
        name: The account's name, where not every name will do for it. Draw it in `__init__`: each person needs another.
        chosen: What the person chose, of a provider that says `chosen_by_person`. Set it in `__init__` and answer from
            it: the certifier puts weak ones in its place.
    """

    settings: ClassVar[Mapping[str, str]] = {}
    fetching: Fetching | None = None
    answers_live: timedelta | None = None
    wait: timedelta = timedelta(minutes=2)
    name: str = ""
    chosen: str = ""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    @classmethod
    def surroundings(cls) -> AbstractContextManager[Mapping[str, str]]:
        """Set up what the whole check needs, such as an issuer on loopback, and give the settings that lead to it.

        Returns:
            A context manager, left when the check is over. Its settings are added to `settings`.
        """
        return nullcontext({})

    async def equip(self, context: ProviderContext) -> Credential | None:
        """Make the credential of `context.account` and remember what its owner knows or holds.

        Unless overridden: enrols as the owner would, by `confirm`.

        Returns:
            What the store holds of this provider for the account; None where the provider stores nothing.

        Raises:
            CannotBeShown: The kit does not know how.
        """
        if not isinstance(self.provider, Enrols):
            raise CannotBeShown("the kit does not say how to equip an account")
        ask = self.provider.begin_enrolment(context)
        for _ in range(_MOST_ASKED):
            values = await self.confirm(ask, context)
            outcome = await self.provider.answer_enrolment(Submission(values, ask.scratch), context)
            if isinstance(outcome, Enrolled):
                return outcome.credential
            if not isinstance(outcome, Ask):
                raise CannotBeShown(f"the kit's confirmation was refused: {outcome.reason}")
            ask = outcome
        raise CannotBeShown("the enrolment did not come to an end")

    async def answer(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str]:
        """Give the right answer.

        Args:
            ask: What `begin`, or the outcome before, wants. After a `Redirect`: visit its address as a browser would,
                and return the query that the remote party sends back, without `state`.
            context: Time and place of this answer. `context.code()` is what a message out of band says.

        Raises:
            CannotBeShown: There is none (any more), such as when all codes are spent.
        """
        raise CannotBeShown("the kit does not say how to answer")

    async def wrong(self, ask: Ask | Redirect, context: ProviderContext) -> Mapping[str, str] | None:
        """Give a wrong answer of the right form, such as a signature of another key.

        Returns:
            None where it is enough to change some letters of the right answer.
        """
        return None

    async def confirm(self, ask: Ask, context: ProviderContext) -> Mapping[str, str]:
        """Give the right answer to what enrolling asks, for each `Ask` of it. Unless overridden: as anywhere else."""
        return await self.answer(ask, context)

    async def wrong_confirmation(self, ask: Ask, context: ProviderContext) -> Mapping[str, str] | None:
        """Give a wrong answer to what enrolling asks, of the right form. Asked for after `confirm`.

        Returns:
            None where it is enough to change some letters of the right answer; of what is `chosen`, none are changed.
        """
        return None

    def found_by(self) -> Subject | CredentialId | None:
        """Say by what the engine finds the account, where that is neither a typed name nor the flow.

        Returns:
            The identity elsewhere, or the public id of the credential. Asked for after `equip`.
        """
        return None

    def secrets(self) -> Iterable[str]:
        """Name further texts that must show up nowhere: not in `repr`, logs, pages, addresses, mails."""
        return ()
