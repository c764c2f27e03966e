"""Runs pytest on a machine that stalls: stops the run with everything it has started, again and again, for a moment.

A process may be taken off the processor for a second between any two lines. A test that fails here judges by a window that is too
narrow, or the program under test takes a pause of its own for something that somebody else did; both are defects.

    python -m tests.stalled [--seed 7] [--one] [--stop-s 0.2 1.5] [--run-s 0.3 3.0] [what pytest takes]

It touches no process but its own descendants.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PROC = Path("/proc")
# A tree that forks while it is being stopped is looked through again; more often than this it is left half stopped for a moment.
LOOKS_MAX = 10


def state_and_parent(pid: int) -> tuple[str, int] | None:
    """The state letter of a process and its parent; None where it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def descendants(root: int) -> dict[int, str]:
    """The state of every process below `root`, by its id."""
    processes = {
        int(path.name): found for path in PROC.iterdir() if path.name.isdigit() and (found := state_and_parent(int(path.name)))
    }
    children: dict[int, list[int]] = {}
    for pid, (_, parent) in processes.items():
        children.setdefault(parent, []).append(pid)
    below: dict[int, str] = {}
    left = [root]
    while left:
        for pid in children.get(left.pop(), []):
            below[pid] = processes[pid][0]
            left.append(pid)
    return below


def signalled(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def stop(draw: random.Random, *, only_one: bool) -> list[int]:
    """Stops all that runs below this process, or one of it. What a test itself has stopped is not ours to wake up."""
    running = [pid for pid, state in descendants(os.getpid()).items() if state not in "TtZX"]
    if only_one:
        chosen = draw.choice(sorted(running)) if running else 0
        return [chosen] if chosen and signalled(chosen, signal.SIGSTOP) else []
    stopped: list[int] = []
    for _ in range(LOOKS_MAX):
        fresh = [pid for pid, state in descendants(os.getpid()).items() if state not in "TtZX" and pid not in stopped]
        if not fresh:
            break
        stopped += [pid for pid in fresh if signalled(pid, signal.SIGSTOP)]
    return stopped


def run(arguments: argparse.Namespace, pytest_arguments: list[str]) -> int:
    """The exit status of pytest."""
    # What a test leaves without a parent becomes a child of this process, and so stays ours to stop.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Ended by a bound on the whole run, it ends as after Control-C: what it has stopped goes on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    draw = random.Random(arguments.seed)
    pause = threading.Event().wait  # nobody sets it
    stops = 0
    stopped_s = 0.0
    with subprocess.Popen([sys.executable, "-m", "pytest", *pytest_arguments]) as tests:
        try:
            while tests.poll() is None:
                pause(draw.uniform(*arguments.run_s))
                pause_s = draw.uniform(*arguments.stop_s)
                stopped = stop(draw, only_one=arguments.one)
                try:
                    pause(pause_s)
                finally:
                    # Children first: a parent that finds its child still stopped would see what no stall shows.
                    for pid in reversed(stopped):
                        signalled(pid, signal.SIGCONT)
                stops, stopped_s = stops + bool(stopped), stopped_s + (pause_s if stopped else 0.0)
        except KeyboardInterrupt:
            for pid in descendants(os.getpid()):
                signalled(pid, signal.SIGCONT)
            tests.send_signal(signal.SIGINT)
    print(f"stopped {stops} times, {stopped_s:.0f} s in all; again: --seed {arguments.seed}{' --one' if arguments.one else ''}")
    return tests.returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stalled", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the moments and lengths of the stops")
    parser.add_argument("--one", action="store_true", help="stop one process of the run at a time, not all at once")
    parser.add_argument("--stop-s", type=float, nargs=2, default=(0.2, 1.5), metavar=("MIN", "MAX"), help="seconds stopped")
    parser.add_argument("--run-s", type=float, nargs=2, default=(0.3, 3.0), metavar=("MIN", "MAX"), help="seconds in between")
    return run(*parser.parse_known_args())


if __name__ == "__main__":
    raise SystemExit(main())
