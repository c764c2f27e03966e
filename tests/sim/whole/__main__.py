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
from itertools import islice

from tests.sim.whole.guarded import begin_process, run_guarded
from tests.sim.whole.verdict import STEPS, Verdict
from tests.sim.whole.world import VENUES, run_world

SEEDS = 10_000
WORLDS_PER_PROCESS = 250  # then new ones take over: what leaks in so many is no matter
VIOLATED_MAX = 5  # then no more worlds are begun
TOLD_S = 10.0  # between two signs of progress
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
    venues: Counter[str] = field(default_factory=Counter)
    violated: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        self.worlds += 1
        self.events += verdict.events
        self.venue_ns += verdict.ns * len(verdict.venues)
        self.orders += verdict.orders
        self.fills += verdict.fills
        self.lives += verdict.lives
        self.fired.update(verdict.fired)
        self.venues.update(verdict.venues)
        if verdict.violations:
            self.violated.append(verdict)

    def progress(self, worlds: int) -> str:
        found = self.as_json()
        seconds = time.perf_counter() - self.began
        left_min = (worlds - self.worlds) * seconds / self.worlds / 60
        rates = (
            f"{found['worlds_per_s']} worlds, {found['events_per_s']:,} events, {found['venue_hours_per_s']} venue-hours a second"
        )
        return f"{self.worlds:,} of {worlds:,} worlds, {len(self.violated)} violated; {rates}; {left_min:.0f} min left"

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
            "venues": dict(sorted(self.venues.items())),
            "fired": dict(sorted(self.fired.items())),
        }


def smallest(verdict: Verdict, venues: tuple[str, ...]) -> Verdict:
    """The same world with as few steps as still violate it."""
    begin_process()
    for steps in range(verdict.steps):
        found = run_guarded(verdict.seed, steps=steps, venues=venues)
        if found.violations:
            return found
    return verdict


def report(verdict: Verdict, venues: tuple[str, ...]) -> str:
    chosen = f" ARGS='{_chosen(venues).strip()}'" if _chosen(venues) else ""
    lines = "".join(f"\n    {each[:1_000]}" for each in verdict.violations)
    return f"seed {verdict.seed}: {lines}\n  again: make sim SEED={verdict.seed} STEPS={verdict.steps}{chosen}"


def _chosen(venues: tuple[str, ...]) -> str:
    return "" if venues == tuple(VENUES) else f" --venues {','.join(venues)}"


def verdicts(seeds: Iterable[int], steps: int, venues: tuple[str, ...], workers: int) -> Iterator[Verdict]:
    """As they come, in any order."""
    run = partial(run_guarded, steps=steps, venues=venues)
    if workers == 1:
        yield from map(run, seeds)
        return
    # Spawned, not forked: each world begins in a process that knows nothing. A pool for each block of worlds: one that replaces
    # its processes by itself (max_tasks_per_child) stands still for ever in some versions of Python, when several end at once.
    context = multiprocessing.get_context("spawn")
    rest = iter(seeds)
    while block := list(islice(rest, WORLDS_PER_PROCESS * workers)):
        with ProcessPoolExecutor(workers, mp_context=context, initializer=begin_process) as pool:
            try:
                for done in as_completed([pool.submit(run, seed) for seed in block]):
                    yield done.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def many(arguments: argparse.Namespace, venues: tuple[str, ...]) -> int:
    begin_process()
    total, told = Total(), time.perf_counter()
    first, left = arguments.first, set(range(arguments.first, arguments.first + arguments.seeds))
    is_cut = False
    try:
        for verdict in verdicts(sorted(left), arguments.steps, venues, arguments.workers):
            total.add(verdict)
            left.discard(verdict.seed)
            if verdict.violations:
                print(report(smallest(verdict, venues), venues), file=sys.stderr, flush=True)
                if len(total.violated) >= arguments.violations:
                    print(f"{len(total.violated)} worlds were violated: the others are left", file=sys.stderr)
                    break
            if time.perf_counter() - told > TOLD_S:
                told = time.perf_counter()
                print(total.progress(arguments.seeds), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        is_cut = True
    found = total.as_json()
    if arguments.json:
        print(json.dumps(found))
    else:
        print(f"{total.worlds:,} worlds in {found['seconds']} s, {len(total.violated)} violated")
        print(f"{found['events_per_s']:,} simulated events and {found['venue_hours_per_s']} venue-hours a second")
        print(f"{total.lives:,} lives of the daemon, {total.orders:,} orders, {total.fills:,} fills")
        print("by venue: " + ", ".join(f"{venue} {count:,}" for venue, count in sorted(total.venues.items())))
        print("went wrong: " + ", ".join(f"{what} {times:,}" for what, times in sorted(total.fired.items())))
    if left:
        again = f"--first {min(left)} --seeds {first + arguments.seeds - min(left)}"
        print(f"every seed below {min(left)} is done; go on with: make sim ARGS='{again}{_chosen(venues)}'", file=sys.stderr)
    return 1 if total.violated or is_cut else 0


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
    parser.add_argument("--violations", type=int, default=VIOLATED_MAX, help=f"then the others are left (default {VIOLATED_MAX})")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    venues = tuple(arguments.venues.split(","))
    unknown = sorted(set(venues) - set(VENUES))
    if unknown:
        parser.error(f"no venue is called {', '.join(unknown)}; there are {', '.join(VENUES)}")
    return one(arguments, venues) if arguments.seed is not None else many(arguments, venues)


if __name__ == "__main__":
    sys.exit(main())
