"""Any venue simulator of sim/venues in a world: behind the very shell that serves it on loopback, on the world's network."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from daemon.venue_sim.loopback import Served, serve
from sim.venues.faults import Random
from sim.venues.protocol import SimVenue
from sim.virtual.agenda import NS_PER_S, Agenda
from sim.virtual.loop import VirtualLoop
from tests.sim.whole.venue_kit import Ledger

HOST = "127.0.0.1"
FAULTS_MAX = 6  # kinds at once
RATE_PPM_MAX = 40_000

# (random, the venue's ledger) to what `act` is told; None: nothing fits just now.
Deed = Callable[[Random, Ledger], tuple[str, dict[str, Any]] | None]


def _as_they_are(_ledger: Ledger) -> None:
    return


def _as_it_is(_simulator: Any, _seed: int) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Spec:
    """`faults`: the numbers after which, in the end, both sides' books must be equal again.

    `config` has the instruments and the connection; `limits` are the instruments' position_qty_max, in units; `cash` by currency.
    `lots`: by instrument, how many lots are one step of the strategy's quantities, where one lot is not.
    """

    kind: str
    venue: str
    package: str
    options: Mapping[str, Any]
    port: int
    account: str
    config: str
    limits: Mapping[str, int]
    lots: Mapping[str, int] = field(default_factory=dict)
    cash: Mapping[str, str]
    secrets: Mapping[str, str]
    faults: tuple[int, ...]
    clock_step_ns_max: int = 5 * NS_PER_S
    rest_ns: int = 0
    name_executions: Callable[[Ledger], None] = _as_they_are  # the venue's own names for them, in place of trade ids
    prepare: Callable[[Any, int], None] = _as_it_is  # told the simulator and a seed, before anybody connects
    deeds: tuple[Deed, ...]


class WorldClock:
    """The venue's own clock, which nobody steps."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda

    def now(self) -> int:
        return self._agenda.ns


class SimulatedKit:
    def __init__(self, agenda: Agenda, seed: int, spec: Spec) -> None:
        self.spec = spec
        self.venue = spec.venue
        self.account = spec.account
        self.limits = dict(spec.limits)
        self.rest_ns = spec.rest_ns
        self.clock_step_ns_max = spec.clock_step_ns_max
        self._agenda = agenda
        module = importlib.import_module(f"sim.venues.{spec.package}.opening")
        rates = _rates(Random(seed + 1), spec.faults)
        self.simulator: SimVenue = module.open_venue(seed=seed, faults=rates, ts=agenda.ns, **spec.options)
        spec.prepare(self.simulator, seed)
        self._served: Served | None = None

    def config(self) -> str:
        return self.spec.config

    def cash(self) -> Mapping[str, str]:
        return self.spec.cash

    def lots(self) -> Mapping[str, int]:
        return self.spec.lots

    def secrets(self) -> Mapping[str, str]:
        return self.spec.secrets

    def start(self, loop: VirtualLoop) -> None:
        loop.create_task(self._serve())

    async def _serve(self) -> None:
        async with serve(self.simulator, WorldClock(self._agenda), HOST, self.spec.port) as served:
            self._served = served
            await anyio.sleep_forever()

    def failure(self) -> str:
        served = self._served
        return "" if served is None or served.failure is None else f"{self.venue}'s simulator: {served.failure!r}"

    def act(self, random: Random) -> str:
        if self._served is None or not self.spec.deeds:
            return "nothing"
        wanted = self.spec.deeds[random.below(len(self.spec.deeds))](random, self.ledger())
        if wanted is None:
            return "nothing"
        name, arguments = wanted
        self._served.act(name, arguments)
        return f"{self.venue}: {name} {arguments}"

    def calm(self) -> None:
        self.simulator.faults.is_quiet = True

    def fired(self) -> dict[str, int]:
        return {f"{self.spec.kind} {number}": count for number, count in self.simulator.faults.fired.items()}

    def ledger(self) -> Ledger:
        ledger = self.simulator.ledger()
        self.spec.name_executions(ledger)
        return ledger


def _rates(random: Random, numbers: tuple[int, ...]) -> dict[int, int]:
    """Some of them, at rates of their own; in one of three worlds the venue does nothing wrong."""
    if not random.below(3) or not numbers:
        return {}
    left = list(numbers)
    chosen = [left.pop(random.below(len(left))) for _ in range(1 + random.below(min(FAULTS_MAX, len(left))))]
    return {number: 1 + random.below(RATE_PPM_MAX) for number in chosen}
