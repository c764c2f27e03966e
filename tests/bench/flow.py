"""The default market alone: what a generated row costs, matching in the native book included.

    python -m tests.bench.flow [--json] [--rows N] [--preset NAME]

Prints nanoseconds a row with the generator running against the book, and for the book alone given the same rows again; the
difference is the generator. Best of five, so that another process on the machine shows least.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from native._native import ffi, lib

from sim.order_flow import preset_names
from tests.native.flow_market import REPORTS_MAX, Market

REPEATS = 5


def measure(preset: str, rows_n: int) -> dict[str, Any]:
    """Nanoseconds a row over the first `rows_n` rows of seed 1."""
    both, replay = [], []
    tape = Market(preset, seconds=10**8).run(rows_max=rows_n)
    source = ffi.from_buffer("md_row[]", tape)
    for _ in range(REPEATS):
        market = Market(preset, seconds=10**8)
        started = time.perf_counter_ns()
        done, _ = market.flow.skip(market.book, 0, until_ts=1 << 62, rows_max=rows_n)
        both.append((time.perf_counter_ns() - started) / done)
        candidates = market.flow.state()["candidates"] / done
        market = Market(preset, seconds=10**8)
        started = time.perf_counter_ns()
        done = lib.flow_replay(market.book, 0, source, len(tape), market.reports, REPORTS_MAX)
        replay.append((time.perf_counter_ns() - started) / done)
    return {
        "preset": preset,
        "rows": rows_n,
        "ns_per_row": round(min(both), 1),
        "book_ns_per_row": round(min(replay), 1),
        "candidates_per_row": round(candidates, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.flow", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--preset", choices=preset_names(), default="normal")
    arguments = parser.parse_args()
    result = measure(arguments.preset, arguments.rows)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
