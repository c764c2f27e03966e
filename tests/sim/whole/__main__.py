"""Runs whole worlds, thousands of seeds or one of them again.

    python -m tests.sim.whole                       # 10,000 seeds, as `make sim`
    python -m tests.sim.whole --seed 7 --steps 5    # one of them, with what happens told

Exit code 1 where a world was violated; the command that repeats it is printed, with as few steps as still show it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial

from tests.sim.whole.verdict import STEPS, Verdict
from tests.sim.whole.world import VENUES, run_world

SEEDS = 10_000
WORLDS_PER_PROCESS = 500  # then a new one takes over: what leaks in so many is no matter
VIOLATED_MAX = 5  # then no more worlds are begun
NS_PER_HOUR = 3_600 * 10**9


@dataclass
class Total:
    """Of all worlds so far; `began` is of the real clock."""

    began: float = field(default_factory=time.perf_counter)
    worlds: int = 0
    events: int = 0
    venue_ns: int = 0
    orders: int = 0
    fills: int = 0
    lives: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    violated: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        self.worlds += 1
        self.events += verdict.events
        self.venue_ns += verdict.ns * len(verdict.venues)
        self.orders += verdict.orders
        self.fills += verdict.fills
        self.lives += verdict.lives
        self.fired.update(verdict.fired)
        if verdict.violations:
            self.violated.append(verdict)

    def as_json(self) -> dict[str, object]:
        seconds = time.perf_counter() - self.began
        return {
            "worlds": self.worlds,
            "violated": [verdict.seed for verdict in self.violated],
            "seconds": round(seconds, 1),
            "events_per_s": round(self.events / seconds),
            "venue_hours_per_s": round(self.venue_ns / NS_PER_HOUR / seconds, 3),
            "worlds_per_s": round(self.worlds / seconds, 2),
            "orders": self.orders,
            "fills": self.fills,
            "lives": self.lives,
            "fired": dict(sorted(self.fired.items())),
        }


def smallest(verdict: Verdict, venues: tuple[str, ...]) -> Verdict:
    """The same world with as few steps as still violate it."""
    for steps in range(verdict.steps):
        found = run_world(verdict.seed, steps=steps, venues=venues)
        if found.violations:
            return found
    return verdict


def report(verdict: Verdict, venues: tuple[str, ...]) -> str:
    chosen = "" if venues == tuple(VENUES) else f" ARGS='--venues {','.join(venues)}'"
    lines = "".join(f"\n    {each[:1_000]}" for each in verdict.violations)
    return f"seed {verdict.seed}: {lines}\n  again: make sim SEED={verdict.seed} STEPS={verdict.steps}{chosen}"


def verdicts(seeds: Iterable[int], steps: int, venues: tuple[str, ...], workers: int) -> Iterator[Verdict]:
    """As they come, in any order."""
    run = partial(run_world, steps=steps, venues=venues)
    if workers == 1:
        yield from map(run, seeds)
        return
    # Spawned, not forked: each world begins in a process that knows nothing.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=WORLDS_PER_PROCESS) as pool:
        try:
            for done in as_completed([pool.submit(run, seed) for seed in seeds]):
                yield done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def many(arguments: argparse.Namespace, venues: tuple[str, ...]) -> int:
    total, told = Total(), time.perf_counter()
    for verdict in verdicts(
        range(arguments.first, arguments.first + arguments.seeds), arguments.steps, venues, arguments.workers
    ):
        total.add(verdict)
        if verdict.violations:
            print(report(smallest(verdict, venues), venues), file=sys.stderr, flush=True)
            if len(total.violated) >= VIOLATED_MAX:
                print(f"{VIOLATED_MAX} worlds were violated: the others are left", file=sys.stderr)
                break
        if time.perf_counter() - told > 10 and not arguments.json:
            told = time.perf_counter()
            print(f"{total.worlds:,} of {arguments.seeds:,} worlds", file=sys.stderr, flush=True)
    found = total.as_json()
    if arguments.json:
        print(json.dumps(found))
    else:
        print(f"{total.worlds:,} worlds in {found['seconds']} s, {len(total.violated)} violated")
        print(f"{found['events_per_s']:,} simulated events and {found['venue_hours_per_s']} venue-hours a second")
        print(f"{total.lives:,} lives of the daemon, {total.orders:,} orders, {total.fills:,} fills")
        print("went wrong: " + ", ".join(f"{what} {times:,}" for what, times in sorted(total.fired.items())))
    return 1 if total.violated else 0


def one(arguments: argparse.Namespace, venues: tuple[str, ...]) -> int:
    verdict = run_world(arguments.seed, steps=arguments.steps, venues=venues, tell=lambda text: print(text, flush=True))
    if verdict.violations:
        print(report(verdict, venues))
        return 1
    print(f"seed {verdict.seed}: no violation in {verdict.events:,} simulated events, {verdict.ns / 10**9:.1f} s")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.sim.whole", description="Whole worlds in virtual time, each from its seed.")
    parser.add_argument("--seed", type=int, help="this one only, and tell what happens")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"deeds of each world (default {STEPS})")
    parser.add_argument("--first", type=int, default=0, help="the first seed of many")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many (default {SEEDS:,})")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--venues", default=",".join(VENUES), help=f"of {','.join(VENUES)}: each world has some of these")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    venues = tuple(arguments.venues.split(","))
    unknown = sorted(set(venues) - set(VENUES))
    if unknown:
        parser.error(f"no venue is called {', '.join(unknown)}; there are {', '.join(VENUES)}")
    return one(arguments, venues) if arguments.seed is not None else many(arguments, venues)


if __name__ == "__main__":
    sys.exit(main())
