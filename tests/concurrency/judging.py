"""What a schedule must leave behind: the state that some serial order leaves, and nothing that may never be.

The state is told without ids and instants, so that two runs can be compared. Left out is what is lost by choice: the
limits of clients, which are approximate, `seen_at`, and the form of a hash, whose renewal may fail.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, permutations
from typing import Any, TypeAlias

from authflow.account_work import Invalid, Registered
from authflow.errors import AuthflowError, FlowInvalid, NotAuthenticated, StoreUnavailable
from authflow.model import Account, LoginInfo, Session, Ticket
from authflow.records import credential_key, name_key
from authflow.results import Changed, ChoiceOwed, EnrolmentOwed, LoggedIn, NotProved, StepOwed
from authflow.sessions import IssuedSession
from authflow.store.protocol import Delete, Insert, Key, Put
from authflow.testing.schedules import Run, Step
from authflow.throttle import bucket_key
from tests.concurrency.operations import Operation
from tests.concurrency.world import World

SECOND = frozenset({"time_based_otp", "spare_app", "recovery_codes"})
UNGUARDED = frozenset({"account", "credential", "session", "ticket", "login_info", "name", "identity", "spent"})
"""Kinds that are never overwritten without a look at what is there."""

ADVANCES = frozenset({"first_factor_verified", "login_completed", "reauthenticated", "password_changed"})
"""Events of submissions that were right."""

REFUSALS: frozenset[Hashable] = frozenset({
    ("refused", FlowInvalid.code),
    ("refused", NotAuthenticated.code),
    ("refused", StoreUnavailable.code),
    # The account of the address was there at the first look and is somebody's, or gone, at the second.
    ("not proved", "identity_address_taken", "flow", True),
})  # fmt: skip
"""What an operation may answer that met another one, if it then has done nothing at all but say so."""

State: TypeAlias = frozenset[tuple[tuple[Any, ...], int]]


class Violation(AssertionError):
    """A schedule that must not be."""


def outcome(answer: Any) -> Hashable:
    """Say what an operation answered, comparable between runs."""
    match answer:
        case LoggedIn():
            return "logged in", answer.account.canonical_name, len(answer.codes)
        case StepOwed():
            return "owed", answer.provider.name
        case ChoiceOwed():
            return "choice", tuple(provider.name for provider in answer.providers)
        case EnrolmentOwed():
            return "enrolment", tuple(provider.name for provider in answer.providers)
        case NotProved():
            return "not proved", answer.reason, answer.charge.value, answer.flow.is_open
        case Changed():
            return "changed", answer.account.epoch, answer.account.factors, len(answer.codes)
        case Account():
            return "account", answer.canonical_name, answer.epoch, answer.version, answer.status
        case Invalid():
            return "invalid", tuple(error.code for error in answer.errors)
        case Registered():
            return "registered", answer.stage
        case IssuedSession():
            return "issued", answer.session.epoch
        case AuthflowError():
            return "refused", answer.code
        case BaseException():
            raise Violation(f"an operation broke: {answer!r}") from answer
        case None:
            return "done"
        case _:
            return type(answer).__name__


def is_success(told: Hashable) -> bool:
    """Whether an operation did what it was asked for."""
    kind = told[0] if isinstance(told, tuple) else told
    return kind in {"logged in", "owed", "choice", "enrolment", "changed", "account", "issued", "done", "str"}


def is_failure(told: Hashable) -> bool:
    """Whether an operation was told that a secret was wrong."""
    wrong = {"invalid_credentials", "code_wrong", ("password_wrong",)}
    return isinstance(told, tuple) and told[0] in ("not proved", "invalid") and told[1] in wrong


# --- The state that is left -------------------------------------------------------------------------------------------


class Reader:
    """Reads the records of a world and tells them without ids and instants."""

    def __init__(self, world: World) -> None:
        self._world = world
        # Rows are frozen and shared with the beginning: most of them are read once for all runs.
        self._data = lru_cache(maxsize=4096)(json.loads)

    def data(self, key: Key) -> Mapping[str, Any] | None:
        row = self._world.memory._rows.get(key)
        return None if row is None else self._data(row.body)

    def all(self, kind: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
        return [(key.name, self._data(row.body)) for key, row in self._world.memory._rows.items() if key.kind == kind]

    def accounts(self) -> dict[str, Account]:
        return {account_id: Account.from_data(data) for account_id, data in self.all("account")}

    def is_alive(self, session: Session, accounts: Mapping[str, Account]) -> bool:
        account = accounts.get(session.account_id)
        return account is not None and session.epoch == account.epoch and self._world.engine.user.is_active(account)

    def state(self) -> State:
        """Return everything that is left and still means something. All of it is decoded on the way."""
        accounts, home = self.accounts(), self._world.home
        names = {account.id: account.canonical_name for account in accounts.values()}

        def who(account_id: object) -> str:
            return names.get(str(account_id)) or next((n for n, i in home.ids.items() if i == account_id), "nobody")

        left: list[tuple[Any, ...]] = []
        for account in accounts.values():
            left.append((
                "account", account.canonical_name, account.email, account.status, account.roles, account.access,
                account.factors, account.epoch, account.version, tuple(sorted(account.profile.items())),
            ))  # fmt: skip
        left += [("name", name, who(data["account_id"])) for name, data in self.all("name")]
        left += [("identity", name, who(data["account_id"])) for name, data in self.all("identity")]
        left += [
            (*self._credential(data), data["provider"], who(data["account_id"])) for _, data in self.all("credential")
        ]
        for session_id, data in self.all("session"):
            left += self._session(session_id, data, accounts)
        for _, data in self.all("ticket"):
            ticket = Ticket.from_data(data)
            if ticket.account_id in accounts and ticket.epoch == accounts[ticket.account_id].epoch:
                left.append(("ticket", ticket.purpose, who(ticket.account_id)))
        left += [
            ("login info", who(i), LoginInfo.from_data(data).count)
            for i, data in self.all("login_info")
            if data  # An empty one marks that its account is gone.
        ]
        left += [("spent",) for _ in self.all("spent")]
        if not home.ids:
            left += [("marker", name) for name, _ in self.all("marker")]
        # A refusal may know whom it was about or not; a log-out says so although the session was gone by then.
        left += [
            (
                "event",
                d["type"],
                d["reason"],
                d["provider"],
                "" if d["type"] == "login_refused" else who(d["account_id"]),
            )
            for _, d in self.all("event")
            if d["type"] != "logged_out"
        ]
        left += [("task", d["task"], d["payload"].get("template")) for _, d in self.all("outbox")]
        left += [("bucket", name, *counted) for name, counted in self.buckets().items()]
        left += [("attempt",) for _ in self.all("attempt")]
        # Written without a look at the account, which may be gone: it expires by itself.
        left += [("newest attempt", who(i)) for i, _ in self.all("newest_attempt") if i in accounts]
        return frozenset(Counter(left).items())

    def buckets(self) -> dict[str, tuple[int, ...]]:
        """Return what the exact limits have counted, for whom."""
        keyring, found = self._world.engine.services.keyring, {}
        counted = {}
        for name, account_id in self._world.home.ids.items():
            counted[f"password of {name}"] = ("password_per_name", name)
            counted[f"code of {name}"] = ("second_factor_per_account", account_id)
        for what, (limit, key) in counted.items():
            data = self.data(bucket_key(keyring, limit, key)) or {}
            told = len(data.get("today", ())) or len(data.get("failures") or () if "row" in data else ())
            found[what] = (told, data.get("row", 0), data.get("stage", 0))
        return found

    def _credential(self, data: Mapping[str, Any]) -> tuple[Hashable, ...]:
        read = self._world.engine.vault.credential(data)
        kept = read.data
        match read.provider:
            case "user_password":
                return ("password", str(kept["hash"]))
            case "recovery_codes":
                digests, first = kept["digests"], self._first_digests()
                assert isinstance(digests, list)
                return ("codes", len(digests), len(first.intersection(map(str, digests))))
            case "elsewhere" | "yonder":
                return ("linked", str(kept["subject"]))
            case _:
                began = read.created_at == self._world.began
                return ("app", kept["last_counter"], kept["candidate"], began)

    def _first_digests(self) -> frozenset[str]:
        for key, row in self._world.rows.items():
            if key.kind == "credential" and key.name.endswith(".recovery_codes"):
                return frozenset(self._data(row.body)["data"]["digests"])
        return frozenset()

    def _session(self, session_id: str, data: Mapping[str, Any], accounts: Mapping[str, Account]) -> Iterable[Hashable]:
        session = Session.from_data(session_id, data)
        where = self._world.home.sessions.get(session_id, "new")
        if self.is_alive(session, accounts):
            yield "session", where, accounts[session.account_id].canonical_name, proofs_of(session)
        for flow in map(self._world.engine.vault.flow, session.flows):
            account = accounts.get(flow.subject)
            if account is not None and flow.epoch == account.epoch and self._world.engine.user.is_active(account):
                yield "flow", where, flow.kind, flow.state, flow.provider, flow.rejections, len(flow.proofs)


def proofs_of(session: Session) -> tuple[str, ...]:
    return tuple(proof.provider for proof in session.proofs)


# --- What may never be, not for a moment ------------------------------------------------------------------------------


@dataclass
class Watch:
    """Looks at each commit of a run as it is done; raises `Violation`."""

    world: World | None = None
    reader: Reader | None = None
    closed: frozenset[str] = frozenset()
    epochs: dict[str, int] = field(default_factory=dict)

    def over(self, world: World) -> None:
        self.world, self.reader = world, Reader(world)

    def began(self) -> None:
        self.epochs.clear()
        self.closed = self._at_the_limit()

    def step(self, step: Step) -> None:
        if self.reader is None or not step.writes:
            return
        for write in step.writes:
            kind = write.key.kind
            # The mark of a deleted account is empty, and may take the place of anything.
            if isinstance(write, Put) and kind in UNGUARDED and write.data:
                raise Violation(f"{step}: {kind} is overwritten unseen")
            if isinstance(write, Delete) and write.version is None and kind == "ticket":
                raise Violation(f"{step}: a ticket is spent without a look at whether it is there")
            if kind == "spent" and not isinstance(write, Insert):
                raise Violation(f"{step}: what is used up is marked twice")
        self._look_at_limits(step)
        accounts = self.reader.accounts()
        for account in accounts.values():
            self._look_at(account, step)
        if any(write.key.kind in ("session", "account") for write in step.writes):
            self._look_at_sessions(accounts, step)

    def _look_at_limits(self, step: Step) -> None:
        """Nobody gets on by a submission that a limit refuses by the time that it is counted."""
        for write in step.writes:
            if write.key.kind == "event" and not isinstance(write, Delete) and write.data["type"] in ADVANCES:
                provider = str(write.data["provider"])
                factor = "code of" if provider in SECOND else "password of" if provider == "user_password" else ""
                if f"{factor} {write.data['account_id']}" in self.closed:
                    raise Violation(f"{step}: let in at the limit")
        self.closed = self._at_the_limit()

    def _at_the_limit(self) -> frozenset[str]:
        assert self.world is not None
        assert self.reader is not None
        limits, now = self.world.engine.user.limits, self.world.clock()
        closed = set()
        for name, account_id in self.world.home.ids.items():
            for what, limit, key, who in (
                ("password of", limits.password_per_name, "password_per_name", name),
                ("code of", limits.second_factor_per_account, "second_factor_per_account", account_id),
            ):
                data = self.reader.data(bucket_key(self.world.engine.services.keyring, key, who))
                if data is not None and limit.wait(data, now) is not None:
                    closed.add(f"{what} {account_id}")
        return frozenset(closed)

    def _look_at(self, account: Account, step: Step) -> None:
        assert self.reader is not None
        if account.epoch < self.epochs.get(account.id, 0):
            raise Violation(f"{step}: the epoch fell to {account.epoch}")
        self.epochs[account.id] = account.epoch
        for factor in account.factors:
            if self.reader.data(credential_key(account.id, factor)) is None:
                raise Violation(f"{step}: {factor} is enrolled and not there")
        named = self.reader.data(name_key(account.canonical_name))
        if named is None or named["account_id"] != account.id:
            raise Violation(f"{step}: {account.canonical_name} does not find its account")

    def _look_at_sessions(self, accounts: Mapping[str, Account], step: Step) -> None:
        """Whoever is logged in has proved what the account demands."""
        assert self.reader is not None
        for session_id, data in self.reader.all("session"):
            session = Session.from_data(session_id, data)
            if not session.account_id or not self.reader.is_alive(session, accounts):
                continue
            proofs = session.proofs
            if not proofs or any(proof.subject != session.account_id for proof in proofs):
                raise Violation(f"{step}: logged in without a proof of one's own")
            if accounts[session.account_id].factors and SECOND.isdisjoint(proofs_of(session)):
                raise Violation(f"{step}: logged in past the second factor")


# --- A whole run ------------------------------------------------------------------------------------------------------


class Judge:
    """Judges the runs of some operations against those in which they come one after the other."""

    def __init__(self, world: World, operations: Sequence[Operation]) -> None:
        self._world = world
        self._operations = operations
        self._reader = Reader(world)
        self._begin = [lambda op=op: op.begin(world) for op in operations]  # type: ignore[misc]
        world.fresh()
        self._counted = {what: counted for what, (counted, *_) in self._reader.buckets().items()}
        self._without: dict[tuple[int, ...], set[Hashable]] = {}

    def explore(self, limit: int | None = None) -> int:
        """Judge every schedule; return how many there were.

        Raises:
            Violation: With the schedule.
        """
        everybody = range(len(self._operations))
        allowed = {self._one_by_one(order) for order in permutations(everybody)}
        if len(everybody) == 2:
            allowed |= {self._found_first(*pair, calls) for pair in permutations(everybody) for calls in (1, 2, 3)}
        count = 0
        for run in self._world.explorer.explore(self._begin, limit):
            count += 1
            self._judge(run, allowed)
        return count

    def succeeds_alone(self) -> bool:
        """Whether the first operation does what it is asked for where nobody is in its way."""
        return is_success(outcome(self._world.explorer.in_series(self._begin[:1]).outcomes[0]))

    def _one_by_one(self, order: Sequence[int]) -> Hashable:
        run = self._world.explorer.in_series([self._begin[index] for index in order])
        return self._told(order, run), self._reader.state()

    def _found_first(self, finder: int, other: int, calls: int) -> Hashable:
        """Return what is left when one finds the account by its name, and goes on after it got another one.

        Args:
            calls: To the store, which the finding took.
        """
        if not self._operations[finder].finds or self._operations[other].name != "is renamed":
            return None
        run = self._world.explorer.guided(
            [self._begin[finder], self._begin[other]], lambda place, points: 0 if place < calls else len(points) - 1
        )
        return self._told((finder, other), run), self._reader.state()

    def _told(self, order: Sequence[int], run: Run) -> tuple[tuple[int, Hashable], ...]:
        return tuple(sorted((index, outcome(answer)) for index, answer in zip(order, run.outcomes, strict=True)))

    def _judge(self, run: Run, allowed: set[Hashable]) -> None:
        told = tuple(outcome(answer) for answer in run.outcomes)
        state = self._reader.state()
        self._demand_single_use(run, told)
        self._demand_ended(run, told)
        self._demand_counted(run, told)
        if (tuple(enumerate(told)), state) not in allowed and not self._is_with_refusals(told, state):
            raise Violation(self._shown(run, told, "no serial order has this outcome", allowed, state))

    def _is_with_refusals(self, told: tuple[Hashable, ...], state: State) -> bool:
        """Whether those that were refused did nothing, and the others came one after the other."""
        refused = [index for index, told_ in enumerate(told) if told_ in REFUSALS]
        for count in range(1, len(refused) + 1):
            for left in combinations(refused, count):
                others = tuple(index for index in range(len(told)) if index not in left)
                if others not in self._without:
                    self._without[others] = {
                        (told_, _without_refusals(state_))
                        for told_, state_ in map(self._one_by_one, permutations(others))  # type: ignore[misc]
                    }
                if (tuple((index, told[index]) for index in others), _without_refusals(state)) in self._without[others]:
                    return True
        return False

    def _demand_single_use(self, run: Run, told: tuple[Hashable, ...]) -> None:
        spent = Counter(
            what for op, told_ in zip(self._operations, told, strict=True) if is_success(told_) for what in op.spends
        )
        twice = [what for what, count in spent.items() if count > 1]
        if twice:
            raise Violation(self._shown(run, told, f"used twice: {', '.join(twice)}"))

    def _demand_ended(self, run: Run, told: tuple[Hashable, ...]) -> None:
        """A session that was ended lets nobody in."""
        accounts = self._reader.accounts()
        sessions = [Session.from_data(name, data) for name, data in self._reader.all("session")]
        alive = {session.id for session in sessions if self._reader.is_alive(session, accounts)}
        ended = {
            where for op, told_ in zip(self._operations, told, strict=True) if is_success(told_) for where in op.ends
        }
        back = [where for name, where in self._world.home.sessions.items() if name in alive and where in ended]
        if back:
            raise Violation(self._shown(run, told, f"logged in again: {', '.join(back)}"))

    def _demand_counted(self, run: Run, told: tuple[Hashable, ...]) -> None:
        """Each failure that was told is counted, and nothing else, unless something has cleared the count."""
        done = list(zip(self._operations, told, strict=True))
        for what, (counted, *_) in self._reader.buckets().items():
            if any(what in op.clears and is_success(told_) for op, told_ in done):
                continue
            failures = sum(op.fails_on == what and is_failure(told_) for op, told_ in done)
            counted -= self._counted[what]
            if counted != failures:
                raise Violation(self._shown(run, told, f"{what}: {counted} counted and {failures} told"))

    def _shown(
        self, run: Run, told: Sequence[Hashable], reason: str, allowed: Iterable[Any] = (), state: State = frozenset()
    ) -> str:
        lines = [reason, *(f"  {op}: {told_}" for op, told_ in zip(self._operations, told, strict=True))]
        lines += [f"  path {list(run.path)}", *(f"    {step}" for step in run.steps)]
        for outcomes, serial in filter(None, allowed):
            lines.append(f"  a serial order: {dict(outcomes)}")
            lines += [f"    there and not here: {item}" for item in sorted(serial - state, key=str)]
            lines += [f"    here and not there: {item}" for item in sorted(state - serial, key=str)]
        return "\n".join(lines)


def _without_refusals(state: State) -> State:
    return frozenset(item for item in state if not (item[0][0] == "event" and item[0][1].endswith("_refused")))
