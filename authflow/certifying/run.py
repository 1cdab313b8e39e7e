"""Making a certificate: every check on one bench, in order."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from authflow.assembly import make_renderer
from authflow.certifying import (
    asking,
    binding,
    declared,
    ending,
    enrolling,
    issuing,
    judging,
    pages,
    proving,
    remote,
    served,
    typed,
    unheard,
)  # fmt: skip
from authflow.certifying.bench import Bench
from authflow.certifying.chance import drawn_from
from authflow.certifying.check import Check
from authflow.certifying.kit import Kit
from authflow.certifying.people import known
from authflow.certifying.report import Certificate, DoesNotApply, Failed, NotShown, Result, State
from authflow.errors import ConfigurationError
from authflow.provider import Ask, Provider
from authflow.registry import import_object, resolve_class
from authflow.settings import Settings

CHECKS: tuple[Check, ...] = (
    *declared.CHECKS,
    *asking.CHECKS,
    *judging.CHECKS,
    *binding.CHECKS,
    *proving.CHECKS,
    *remote.CHECKS,
    *typed.CHECKS,
    *enrolling.CHECKS,
    *issuing.CHECKS,
    *pages.CHECKS,
    *served.CHECKS,
    *unheard.CHECKS,
    *ending.CHECKS,
    *declared.AT_THE_END,
)


_TRIES = 3
"""How often an answer must be right where it should not be, if each flow asks for another one."""


class Nobody(Kit):
    """Stands for: no kit is wanted."""


def certify(
    provider: str | type[Provider],
    *,
    kit: str | type[Kit] | None = None,
    settings: Mapping[str, str] | None = None,
    templates: str = "",
    only: Collection[str] = (),
    with_kit: bool = True,
    seed: int | None = None,
) -> Certificate:
    """Try a provider and say what was found.

    Args:
        provider: Its class, or `package.module:Class`, or its entry point's name.
        kit: Who gives right answers; else what the provider's `certification` names, else one that is known.
        settings: Deployment settings by their names without `AUTHFLOW_`, lower case.
        templates: Folder that is searched before ours.
        only: Names of checks to make instead of all, as while mending something. Those of `ending` judge what the
            others have seen, and so find less.
        with_kit: Whether a kit is looked for where none is named.
        seed: Of an earlier certificate, to draw the same once more; else one by chance.

    Raises:
        ConfigurationError: There is no such class, kit or check, the kit cannot be made, or the provider declines to be
            configured.
    """
    cls = resolve_class(provider) if isinstance(provider, str) else provider
    person = _kit_of(cls, kit) if with_kit else Nobody
    if unknown := set(only) - {check.name for check in CHECKS}:
        raise ConfigurationError(f"there is no check named {', '.join(sorted(unknown))}")
    chosen = tuple(check for check in CHECKS if not only or check.name in only)
    found: list[Certificate] = []
    raised: list[BaseException] = []

    seed = secrets.randbelow(10**9) if seed is None else seed

    def run() -> None:
        try:
            with drawn_from(seed):
                certificate = asyncio.run(_certify(cls, person, dict(settings or {}), templates, chosen))
            found.append(replace(certificate, only=tuple(check.name for check in chosen) if only else (), seed=seed))
        except BaseException as error:
            raised.append(error)

    # In a thread of its own: whoever asks may have an event loop running, or a profiler.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]


def _kit_of(cls: type[Provider], kit: str | type[Kit] | None) -> type[Kit] | None:
    named: object = kit or getattr(cls, "certification", None)
    if isinstance(named, str) and named:
        named = import_object(named)
    if not named:
        return None
    if not (isinstance(named, type) and issubclass(named, Kit)):
        raise ConfigurationError(f"{named!r} is no subclass of authflow.certifying.kit:Kit")
    return named


async def _certify(
    cls: type[Provider], kit: type[Kit] | None, settings: dict[str, str], templates: str, checks: Sequence[Check]
) -> Certificate:
    name = f"{cls.__module__}:{cls.__qualname__}"
    with (kit or Kit).surroundings() as around:
        environment = {**(kit.settings if kit else {}), **around, **settings}
        alone = Settings(store="memory:", templates=templates, provider_environment=environment)
        make_renderer(alone)  # A folder that is not there is no fault of the provider.
        said = _said_of_settings(cls, environment)
        if said is None:
            why = "configure answers with nothing, and nothing is taken for False"
            return Certificate(name, "", (_refused(why, declared.configuring),))
        if not said:
            raise ConfigurationError(
                f"{name} declines to be offered with these settings: name what it reads by --setting NAME=VALUE"
            )
        try:
            bench = Bench(cls, kit, alone)
        except ConfigurationError as error:
            return Certificate(name, "", (_refused(error.detail, declared.declaration),))
        try:
            await bench.app.open(with_worker=False)
            if bench.kit is Nobody:
                bench.kit = None
            elif bench.kit is None:
                bench.kit = _known(bench)
            _demand_kit(bench)
            with _quiet():
                results = [await _result(one, bench) for one in checks]
            return Certificate(name, bench.kit.__qualname__ if bench.kit else "", tuple(results))
        finally:
            await bench.close()


def _said_of_settings(cls: type[Provider], environment: Mapping[str, str]) -> bool | None:
    try:
        return cls().configure(environment)
    except Exception:
        return True  # Found by a check.


def _known(bench: Bench) -> type[Kit] | None:
    try:
        return known(bench.provider, bench.begin(bench.flow()))
    except Failed:
        return None


def _demand_kit(bench: Bench) -> None:
    """Make one kit and throw it away: a kit that cannot be made says nothing of the provider."""
    if bench.kit is None:
        return
    try:
        made = bench.kit(bench.fresh())
    except Exception as error:
        raise ConfigurationError(
            f"the kit cannot be made: {type(error).__name__}: {error} (it is made once for each person, with one"
            " argument that it passes on: def __init__(self, provider): super().__init__(provider))"
        ) from error
    if not hasattr(made, "provider"):
        raise ConfigurationError("the kit cannot be made: its __init__ does not call super().__init__(provider)")


def _refused(why: str, check: Check) -> Result:
    return Result(check.name, State.FAILED, check.shows, why, check.mend)


async def _result(check: Check, bench: Bench) -> Result:
    if check.needs_kit and bench.kit is None:
        return Result(check.name, State.NOT_SHOWN, check.shows, "nobody can give a right answer: name a kit")
    result = await _tried(check, bench)
    for _ in range(_TRIES - 1):
        if result.state is not State.FAILED or not check.by_chance or not _asks_by_flow(bench):
            break
        result = await _tried(check, bench)
    return result


async def _tried(check: Check, bench: Bench) -> Result:
    try:
        await check.work(bench)
    except DoesNotApply as error:
        return Result(check.name, State.NOT_APPLICABLE, check.shows, f"does not apply: {error}")
    except NotShown as error:
        return Result(check.name, State.NOT_SHOWN, check.shows, str(error))
    except Failed as error:
        return Result(check.name, State.FAILED, check.shows, str(error), error.mend or check.mend)
    except Exception as error:
        return Result(
            check.name, State.FAILED, check.shows, f"it could not be made: {type(error).__name__}: {error}", check.mend
        )
    return Result(check.name, State.OK, check.shows)


def _asks_by_flow(bench: Bench) -> bool:
    """Whether each flow is asked something else, such as other letters of a word: answers may then meet by chance."""
    try:
        asked = [bench.begin(bench.flow()) for _ in range(6)]
    except Failed:
        return False
    return all(isinstance(one, Ask) for one in asked) and any(one != asked[0] for one in asked)


@contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """Keep the log off the terminal: faults are provoked on purpose."""
    log = logging.getLogger("authflow")
    before = log.propagate, log.level
    handler = logging.NullHandler()
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.propagate, log.level = before
        log.removeHandler(handler)
