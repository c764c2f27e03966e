"""Runs the drills that a configuration can be put through, one after the other, and says of each other fault why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio

from core.errors import ConfigError
from daemon.config.loader import LoadedConfig
from daemon.drill.at_host import HOST_DRILLS, drill_at_host
from daemon.drill.at_venue import drill_at_venue
from daemon.drill.catalogue import ADVERSARY, FAULTS, HOST, SHOWN_BY_TESTS
from daemon.drill.place import Places
from daemon.drill.plans import plan_of
from daemon.drill.profiles import kind_of
from daemon.drill.venues import known_faults, simulator_of, why_not_shown
from daemon.drill.verdict import Result, Verdict
from daemon.trading.router import venue_of

JOBS_MAX = 16


@dataclass(frozen=True, slots=True)
class Exercise:
    """One row of the table. `why_not` "": it can be drilled."""

    number: int
    venue: str
    why_not: str = ""


def alone(loaded: LoadedConfig, venues: Sequence[str]) -> LoadedConfig:
    """The configuration as far as it is about these venues: their connections and instruments, and who trades nowhere else."""
    config = loaded.config
    dropped = {each.instrument_id for each in loaded.instruments if venue_of(each.instrument_id) not in venues}
    limits = {key: each for key, each in config.risk.instruments.items() if key not in dropped}
    return replace(
        loaded,
        instruments=tuple(each for each in loaded.instruments if each.instrument_id not in dropped),
        config=config.model_copy(
            update={
                "connections": [each for each in config.connections if each.venue in venues],
                "strategies": [each for each in config.strategies if not _names(each.params) & dropped],
                "risk": config.risk.model_copy(update={"instruments": limits}),
            }
        ),
    )


def _names(value: Any) -> set[str]:
    """Every text in somebody's parameters."""
    if isinstance(value, dict):
        return set().union(*(_names(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(_names(each) for each in value))
    return {value} if isinstance(value, str) else set()


def check(loaded: LoadedConfig) -> None:
    """Raises ConfigError where a connection cannot be simulated."""
    if not loaded.config.connections:
        raise ConfigError(f"{loaded.file}: connections: there is none: drills need [[connections]] to venues")
    for place, connection in enumerate(loaded.config.connections):
        try:
            simulator_of(connection)
        except ConfigError as error:
            raise ConfigError(f"{loaded.file}: connections[{place}]: {error}") from None


def exercises(loaded: LoadedConfig, numbers: Sequence[int], venues: Sequence[str]) -> list[Exercise]:
    """Every fault of `numbers` at every one of `venues` that it may happen at; those of the host once."""
    found = []
    for number in numbers:
        if number in HOST or number in ADVERSARY:
            elsewhere = SHOWN_BY_TESTS.get(number, "")
            why_not = "" if number in HOST_DRILLS else f"shown by {elsewhere}"
            found.append(Exercise(number, "", why_not))
        else:
            found += _at_venues(loaded, number, venues)
    return found


def _at_venues(loaded: LoadedConfig, number: int, venues: Sequence[str]) -> Iterator[Exercise]:
    for connection in loaded.config.connections:
        if connection.venue not in venues:
            continue
        plan = plan_of(number, kind_of(connection))
        can = plan.deeds is not None or {number, *plan.together} <= known_faults(connection)
        why_not = "" if can else why_not_shown(connection, number)
        yield Exercise(number, connection.venue, why_not)


def run(
    loaded: LoadedConfig,
    wanted: Sequence[Exercise],
    *,
    seed: int,
    jobs: int,
    keep: Path | None,
    on_begin: Callable[[Exercise], None],
    on_verdict: Callable[[Verdict], None],
) -> list[Verdict]:
    """In the order of `wanted`; `on_verdict` hears of each as it is there."""
    verdicts: dict[int, Verdict] = {}
    places = Places(keep)

    async def one(place_number: int, exercise: Exercise, turns: anyio.Semaphore) -> None:
        async with turns:
            on_begin(exercise)
            verdict = await _drill(loaded, exercise, places, seed)
        verdicts[place_number] = verdict
        on_verdict(verdict)

    async def all_of_them() -> None:
        turns = anyio.Semaphore(jobs)
        async with anyio.create_task_group() as tasks:
            for place_number, exercise in enumerate(wanted):
                tasks.start_soon(one, place_number, exercise, turns)

    try:
        anyio.run(all_of_them)
    finally:
        places.close()
    return [verdicts[place_number] for place_number in range(len(wanted))]


async def _drill(loaded: LoadedConfig, exercise: Exercise, places: Places, seed: int) -> Verdict:
    if exercise.why_not:
        return Verdict(number=exercise.number, venue=exercise.venue, result=Result.NOT_APPLICABLE, note=exercise.why_not)
    place = places.make(f"{exercise.number}-{exercise.venue or 'host'}")
    if exercise.venue:
        verdict = await drill_at_venue(loaded, exercise.number, exercise.venue, place, seed)
    else:
        verdict = await drill_at_host(loaded, exercise.number, place, seed)
    return replace(verdict, kept=places.done(place, is_kept=verdict.result is not Result.HELD))


def numbers_of(texts: Sequence[str]) -> list[int]:
    """ "7", "22-29" and "all" as numbers of the catalogue. Raises ConfigError."""
    found: set[int] = set()
    for text in texts or ("all",):
        first, dash, last = text.partition("-")
        if text == "all":
            found |= set(FAULTS)
        elif first.isdecimal() and (not dash or last.isdecimal()):
            found |= set(range(int(first), int(last if dash else first) + 1))
        else:
            raise ConfigError(f"--fault {text}: write a number of the catalogue, or a range such as 22-29")
    unknown = sorted(found - set(FAULTS))
    if unknown or not found:
        raise ConfigError(f"--fault: the catalogue has the numbers 1 to {max(FAULTS)}, and not {unknown}")
    return sorted(found)
