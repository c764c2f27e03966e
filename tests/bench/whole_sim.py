"""The simulation of the whole: `python -m tests.bench.whole_sim [--json] [--seeds N]`. What a world costs, venue by venue.

Times are of the processor, for the machine may be shared; the first world of a venue, which loads its modules, is not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass

from tests.sim.whole.__main__ import NS_PER_HOUR
from tests.sim.whole.world import VENUES, run_world

SEEDS = 10


@dataclass(frozen=True)
class Cost:
    worlds: int
    cpu_s_per_world: float
    events_per_cpu_s: int
    venue_hours_per_cpu_s: float
    violated: int


def measure(venues: tuple[str, ...], seeds: int) -> Cost:
    run_world(0, steps=1, venues=venues)
    began = time.process_time()
    verdicts = [run_world(seed, venues=venues) for seed in range(seeds)]
    seconds = time.process_time() - began
    hours = sum(verdict.ns * len(verdict.venues) for verdict in verdicts) / NS_PER_HOUR
    return Cost(
        worlds=seeds,
        cpu_s_per_world=round(seconds / seeds, 3),
        events_per_cpu_s=round(sum(verdict.events for verdict in verdicts) / seconds),
        venue_hours_per_cpu_s=round(hours / seconds, 3),
        violated=sum(bool(verdict.violations) for verdict in verdicts),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.whole_sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"worlds of each (default {SEEDS})")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    costs = {name: measure((name,), arguments.seeds) for name in VENUES}
    costs["all"] = measure(tuple(VENUES), arguments.seeds)
    if arguments.json:
        print(json.dumps({name: asdict(cost) for name, cost in costs.items()}))
        return 0
    print(f"{'venues':<14} {'CPU s a world':>14} {'events a CPU s':>15} {'venue-hours a CPU s':>20} {'violated':>9}")
    for name, cost in costs.items():
        rates = f"{cost.events_per_cpu_s:>15,} {cost.venue_hours_per_cpu_s:>20}"
        print(f"{name:<14} {cost.cpu_s_per_world:>14} {rates} {cost.violated:>9}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
