"""Our benchmarks and the peers' on the same work, one after the other in one session, as ratios.

python -m tests.bench.peers.compare --peers PEERS_PYTHON [--json] [--rows N]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.inputs import bars_file, mbo_file, tape_file

HERE = Path(__file__).resolve().parent


def run_json(command: list[str]) -> Any:
    """The JSON a benchmark prints last; its failure is ours, with what it said."""
    print("running", " ".join(Path(part).name if "/" in part else part for part in command[:4]), file=sys.stderr)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("[") :] if done.stdout.lstrip().startswith("[") else done.stdout)


def rows_of_replay(peers: str, rows: int) -> list[dict[str, Any]]:
    """ns a row of each case; the last one is ns a bar."""
    tape, mbo = tape_file(rows), mbo_file(rows)
    replay = run_json([sys.executable, "-m", "tests.bench.replay", str(tape), "--mbo", str(mbo), "--json"])
    found = {
        "hftbacktest": {case["case"]: case for case in run_json([peers, str(HERE / "peer_hftbacktest.py"), str(tape), str(mbo)])},
        "nautilus_trader": {
            case["case"]: case for case in run_json([peers, str(HERE / "peer_nautilus.py"), str(tape), str(bars_file())])
        },
    }
    table = []
    for case in replay["cases"]:
        name = case["case"]
        row = {"case": name, "unit": "ns/row", "tradingd": case["ns_per_row"]}
        table.append(row | {peer: cases[name]["ns_per_row"] for peer, cases in found.items() if name in cases})
    ours = run_json([sys.executable, "-m", "tests.bench.bars", "--json"])
    row = {"case": "bars, SMA 20/50", "unit": "ns/bar", "tradingd": 1e9 / ours["bars_per_s"]}
    row["nautilus_trader"] = 1e9 / found["nautilus_trader"]["bars"]["bars_per_s"]
    for case in run_json([peers, str(HERE / "peer_bars.py"), str(bars_file())]):
        row[case["case"]] = 1e9 / case["bars_per_s"]
    return [*table, row]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", required=True, help="the interpreter of the environment that has the peers")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the level-2 tape")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    table = rows_of_replay(arguments.peers, arguments.rows)
    if arguments.json:
        json.dump(table, sys.stdout, indent=1)
        return
    names = ["tradingd", "hftbacktest", "nautilus_trader", "backtesting.py", "vectorbt"]
    print(f"{'case':<26}{'unit':<8}" + "".join(f"{name:>17}" for name in names))
    for row in table:
        cells = []
        for name in names:
            value = row.get(name)
            ratio = "" if name == "tradingd" or value is None or "tradingd" not in row else f" ({value / row['tradingd']:.1f}x)"
            cells.append(f"{'-' if value is None else f'{value:.1f}{ratio}':>17}")
        print(f"{row['case']:<26}{row['unit']:<8}" + "".join(cells))
    print("ratio: how many times longer the peer takes than tradingd")


if __name__ == "__main__":
    main()
