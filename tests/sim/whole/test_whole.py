"""Whole worlds: in none of them anything is as it must not be. `make sim` runs ten thousand of them (docs/SIMULATION.md).

A failure prints the command that repeats it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

import pytest

from core.errors import TransportError
from core.venue_adapter import Adapter
from daemon.trading.router import Router
from tests.sim.whole.__main__ import report, smallest
from tests.sim.whole.world import VENUES, run_world

SEEDS = int(os.environ.get("TRADINGD_SIM_SEEDS", "200"))
SEEDS_PER_TEST = 10  # so that they are shared out where tests run side by side
SETTLED = tuple(VENUES)


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_worlds(first: int) -> None:
    for seed in range(first, min(first + SEEDS_PER_TEST, SEEDS)):
        verdict = run_world(seed, venues=SETTLED)
        assert verdict.violations == [], report(smallest(verdict, SETTLED), SETTLED)


def test_the_same_seed_is_the_same_world_and_another_seed_another() -> None:
    first, second, other = (run_world(seed, venues=SETTLED) for seed in (3, 3, 4))
    assert first == second
    assert first.digest != other.digest


def test_fewer_steps_are_the_beginning_of_the_same_world() -> None:
    told: list[list[str]] = []
    for steps in (3, 6):
        lines: list[str] = []
        run_world(5, steps=steps, venues=SETTLED, tell=lines.append)
        told.append(lines)
    short, whole = told
    until = next(place for place, line in enumerate(short) if line.endswith(" calm"))
    assert until > 0
    assert short[:until] == whole[:until]


def test_a_venue_that_waited_for_another_one_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a start of several, each of them: nobody has read its connection meanwhile."""
    opened, failed = Counter[str](), list[str]()
    open_them = Router._open

    async def watched(self: Router, there: dict[str, float], venues: Mapping[str, Adapter]) -> None:
        try:
            await open_them(self, there, venues)
        except TransportError as error:
            failed.append(str(error))
            raise
        opened.update([*venues])

    monkeypatch.setattr("daemon.trading.router.UNREAD_S_MAX", -1.0)
    monkeypatch.setattr(Router, "_open", watched)
    for seed in range(40):
        if len(opened) == 7:
            break
        assert run_world(seed, steps=0).violations == []
    assert failed == []
    assert set(opened) == {"ALPACA", "BINANCE", "CCXT", "DERIBIT", "IB", "OANDA", "SIM"}
    assert all(times >= 2 for times in opened.values())
