"""`make bench`: every benchmark of ours, one after the other.

python -m tests.bench [--json] [--rows N] [matching|replay|bars|journal|flow|kill|trading|restart|api|venues|simulation ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from tests.bench.inputs import MESSAGES, ROWS, mbo_file, tape_file, workload_file


def commands(names: list[str], rows: int) -> dict[str, list[str]]:
    """The module and arguments of each benchmark, its input made where it is not there yet."""
    made = {
        "matching": lambda: ["tests.bench.matching", str(workload_file(MESSAGES))],
        "replay": lambda: ["tests.bench.replay", str(tape_file(rows)), "--mbo", str(mbo_file(rows))],
        "bars": lambda: ["tests.bench.bars"],
        "journal": lambda: ["tests.bench.journal"],
        "flow": lambda: ["tests.bench.flow"],
        "kill": lambda: ["tests.bench.kill_latency", "--kills", "50", "--cli-kills", "10"],
        "trading": lambda: ["tests.bench.trading"],
        "restart": lambda: ["tests.bench.restart"],
        "api": lambda: ["tests.bench.api"],
        "venues": lambda: ["tests.bench.venues"],
        "simulation": lambda: ["tests.bench.whole_sim"],
    }
    if unknown := [name for name in names if name not in made]:
        raise SystemExit(f"tests.bench: there is no benchmark {unknown[0]!r}; there are {', '.join(made)}")
    return {name: made[name]() for name in names or made}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="which; all of them by default")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the level-2 tape")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report: dict[str, Any] = {}
    # Each in a process of its own, so that none inherits the heap of the one before.
    for name, module in commands(arguments.names, arguments.rows).items():
        command = [sys.executable, "-m", *module]
        if not arguments.json:
            print(f"== {name}", flush=True)
            if subprocess.run(command, check=False).returncode:
                return 1
            print()
            continue
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return 1
        report[name] = json.loads(done.stdout)
    if arguments.json:
        json.dump(report, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
