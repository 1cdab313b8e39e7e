"""`authflow flows explain`: which ways are open to an account, why, and what each costs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from authflow.cli.common import AsJson, say, say_json
from authflow.cli.flows_show import settings_with
from authflow.flow import FlowKind

if TYPE_CHECKING:
    from authflow.engine import Engine
    from authflow.explained_accounts import Subject
    from authflow.explaining import Explained, Explanation, Path
    from authflow.model import Plain
    from authflow.rehearsal.ways import Cost
    from authflow.settings import Settings

Costs: TypeAlias = "Mapping[tuple[FlowKind, tuple[str, ...]], Cost | None]"

_WIDTH = 100


def explain(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="What the person logs in with.", show_default=False)
    ] = None,
    factors: Annotated[
        str | None, typer.Option(metavar="A,B", help="Describe an account: what it has.", show_default=False)
    ] = None,
    roles: Annotated[
        str | None, typer.Option(metavar="A,B", help="Describe an account: its roles.", show_default=False)
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="Describe an account: active, disabled, or a number.", show_default=False)
    ] = None,
    kinds: Annotated[
        list[FlowKind] | None, typer.Option("--kind", help="Only this kind of flow; may be given again.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="PACKAGE.MODULE:CLASS", help="Instead of the one of AUTHFLOW_USER.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which ways are open to an account, why each step is owed, and what each way costs.

    Of an account in the store, which is read and not changed, or of one that is only described. Costs are measured:
    each way is gone through by the engine itself on a store in memory, with a stand-in for a provider that only a
    person can answer. Nothing is written, and nothing is sent.

    Examples:

    authflow flows explain ada@example.org

    authflow flows explain --factors time_based_otp,recovery_codes --roles admin

    authflow flows explain --status disabled --kind login --json
    """
    from authflow.explaining import EXPLAINED

    is_described = not (factors is None and roles is None and status is None)
    if is_described == (name is not None):
        raise typer.BadParameter("name an account, or describe one by --factors, --roles or --status; not both")
    settings, wanted = settings_with(user), tuple(kinds or EXPLAINED)
    unknown = [kind.value for kind in wanted if kind not in EXPLAINED]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: no flow of an account that is there")
    if name is not None:
        _demand_store(settings)
    found, costs = asyncio.run(
        _explained(settings, name, (_listed(factors), _listed(roles), status or "active"), wanted)
    )
    if as_json:
        say_json(_data(found, costs))
        return
    for line in _lines(found, costs):
        say(line)


def _listed(value: str | None) -> tuple[str, ...]:
    return tuple(part for part in (value or "").replace(" ", "").split(",") if part)


async def _explained(
    settings: Settings,
    name: str | None,
    description: tuple[tuple[str, ...], tuple[str, ...], str],
    kinds: Sequence[FlowKind],
) -> tuple[Explanation, Costs]:
    from authflow.apart import apart
    from authflow.explaining import explain as explained
    from authflow.rehearsal.rehearsing import Rehearsal

    app = apart(settings)
    rehearsal = await Rehearsal.of(settings, app.engine.user)
    try:
        subject = _described(app.engine, *description) if name is None else await _stored(settings, name)
        found = explained(app.engine, subject, kinds)
        everything = found if FlowKind.LOGIN in kinds else explained(app.engine, subject, (FlowKind.LOGIN,))
        logins = [flow.paths for flow in everything.flows if flow.kind is FlowKind.LOGIN]
        login = next((path.answers for paths in logins for path in paths if path.is_open), ())
        costs = {
            (flow.kind, path.answers): await rehearsal.cost(subject, flow.kind, path.answers, login)
            for flow in found.flows
            for path in flow.paths
        }
        return found, costs
    finally:
        await rehearsal.close()
        app.services.pool.close()


def _demand_store(settings: Settings) -> None:
    from pathlib import Path as File

    from authflow.errors import ConfigurationError

    scheme, _, path = settings.store.partition(":")
    if scheme == "sqlite" and not File(path).exists():
        raise ConfigurationError(f"AUTHFLOW_STORE: there is no store at {path}; `authflow serve` makes one")


async def _stored(settings: Settings, name: str) -> Subject:
    from authflow.assembly import build
    from authflow.explained_accounts import subject_of

    app = build(settings)
    try:
        await app.open(with_worker=False)
        return subject_of(app.engine, *await app.administration.read(name))
    finally:
        await app.close()


def _described(engine: Engine, factors: Sequence[str], roles: Sequence[str], status: str) -> Subject:
    from authflow.errors import BadInput
    from authflow.explained_accounts import described
    from authflow.model import Status

    known = {role.id for role in engine.user.roles} | engine.user.second_factor_required_roles
    unknown = [role for role in roles if role not in known]
    if unknown:
        raise BadInput(f"there is no role {', '.join(unknown)}")
    names = {each.name.lower(): each.value for each in Status}
    number = int(status) if status.isascii() and status.isdigit() and len(status) < 5 else names.get(status.lower())
    if number is None:
        raise BadInput(f"--status is a number, or one of {', '.join(names)}")
    return described(engine, factors=factors, roles=roles, status=number)


# --- In words ---------------------------------------------------------------------------------------------------------


def _lines(found: Explanation, costs: Costs) -> Iterator[str]:
    yield found.name
    width = max(len(fact) for fact, _ in found.facts)
    yield from (f"  {fact.ljust(width)}  {value}" for fact, value in found.facts)
    for factor, cause, way_out in found.orphans:
        yield ""
        yield f"  {factor} cannot be asked for: {cause}."
        yield f"  The way out: {way_out}"
    told: dict[object, FlowKind] = {}
    for flow in found.flows:
        yield ""
        yield f"{flow.kind.value}: {flow.goal}"
        said = [*_ways(flow, costs)]
        same = told.setdefault(tuple(said), flow.kind)
        if same is not flow.kind and flow.paths:
            yield f"  the same ways as {same.value}, for the same reasons, at the same cost"
        else:
            yield from said
    yield ""
    yield "Costs are measured: each way was gone through by the engine, on a store in memory. Pages that are"
    yield "only shown are not in them: at most one round trip each."
    stand_ins = sorted({name for cost in costs.values() if cost for name in cost.stand_ins})
    if stand_ins:
        yield f"A stand-in answered for {', '.join(stand_ins)}."


def _ways(flow: Explained, costs: Costs) -> Iterator[str]:
    for path in flow.paths:
        yield f"  {', '.join(path.answers)} -> {', '.join(filter(None, (path.outcome, path.level)))}"
        for name, reason in zip(path.answers, path.reasons, strict=False):
            yield from wrap(f"after {name}: {reason}", _WIDTH, initial_indent="    ", subsequent_indent="      ")
        yield from wrap(_bill(path, costs.get((flow.kind, path.answers))), _WIDTH, initial_indent="    ",
                        subsequent_indent="      ")  # fmt: skip
    for reason in flow.shut:
        yield from wrap(f"not open: {reason}", _WIDTH, initial_indent="  ", subsequent_indent="    ")


def _bill(path: Path, cost: Cost | None) -> str:
    if cost is None:
        return "cost not measured, since nothing serves it like this"
    if not _fits(path, cost):
        return f"cost not measured: gone through, it ended otherwise ({cost.outcome})"
    sums = " + ".join(f"{spent.what} {spent.round_trips}" for spent in cost.requests)
    trips = f"{cost.round_trips} round trips" + (f" ({sums})" if len(cost.requests) > 1 else "")
    hashes = f"{cost.hashes or 'no'} hash{'es' if cost.hashes > 1 else ''}"
    mails = f"mails: {', '.join(cost.mails)}" if cost.mails else "no mail"
    return f"costs {trips}, {hashes}, {mails}"


def _fits(path: Path, cost: Cost) -> bool:
    """Whether it ended as was said. The page does not tell an account that is not active from a wrong password."""
    return cost.outcome == path.outcome or (cost.outcome == "refused" and not path.is_open)


def _data(found: Explanation, costs: Costs) -> dict[str, Plain]:
    data: dict[str, Plain] = {
        "name": found.name,
        "facts": dict(found.facts),
        "orphaned": [{"factor": f, "because": cause, "way_out": way_out} for f, cause, way_out in found.orphans],
        "flows": [
            {
                "kind": flow.kind.value,
                "goal": flow.goal,
                "begins": flow.begins,
                "not_open": list(flow.shut),
                "paths": [_path_data(path, costs.get((flow.kind, path.answers))) for path in flow.paths],
            }
            for flow in found.flows
        ],
    }
    return data


def _path_data(path: Path, cost: Cost | None) -> dict[str, Plain]:
    return {
        "answers": list(path.answers),
        "reasons": list(path.reasons),
        "is_open": path.is_open,
        "outcome": path.outcome,
        "level": path.level,
        "cost": None if cost is None or not _fits(path, cost) else {
            "round_trips": cost.round_trips,
            "hashes": cost.hashes,
            "mails": list(cost.mails),
            "requests": [asdict(spent) for spent in cost.requests],
            "stand_ins": list(cost.stand_ins),
        },
    }  # fmt: skip
