"""Everything that can go away does, at random, again and again: the daemon, its venue, the wire; afterwards the books are one.

TRADINGD_TEST_SEED=N repeats the choices; the moments are the machine's.
"""

from __future__ import annotations

import os
import random
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from daemon.exit_codes import ExitCode
from tests.daemon.venue_sim.processes import (
    Wire,
    ask,
    config_with_venue,
    daemon,
    end,
    ledger_lines,
    require_well,
    venue,
    wait_for_fills,
    wait_until,
    wire,
)


def disturb(folder: Path, draw: random.Random, between: Wire, lives: ExitStack) -> str:
    """One thing that goes wrong, and what it was; the venue may be another process afterwards."""
    what = draw.choice(("cut", "hold and cut", "kill the venue", "kill the daemon", "kill both"))
    if what == "hold and cut":
        between.hold(True)
        ask(folder, "status")
        between.cut()
        between.hold(False)
    elif what == "cut":
        between.cut()
    return what


@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_after_any_number_of_disasters_the_books_are_one(tmp_path: Path) -> None:
    seed = int(os.environ.get("TRADINGD_TEST_SEED", "1"))
    rounds = int(os.environ.get("TRADINGD_TEST_ROUNDS", "25"))
    draw = random.Random(seed)
    config_with_venue(tmp_path, through_proxy=True)
    happened = []
    with wire(tmp_path) as between, ExitStack() as everything:
        place = everything.enter_context(venue(tmp_path))
        trading = everything.enter_context(daemon(tmp_path))
        for _ in range(rounds):
            fills = ask(tmp_path, "status")["fills"]
            if draw.random() < 0.7:
                wait_for_fills(tmp_path, fills + draw.randint(0, 3))
            what = disturb(tmp_path, draw, between, everything)
            happened.append(what)
            if what in ("kill the venue", "kill both"):
                end(place, signal.SIGKILL)
            if what in ("kill the daemon", "kill both"):
                end(trading, signal.SIGKILL)
            if place.poll() is not None:
                place = everything.enter_context(venue(tmp_path))
            if trading.poll() is not None:
                trading = everything.enter_context(daemon(tmp_path))
            status = wait_until(
                tmp_path, lambda status: status["open_orders"] and status["instruments"]["ACME.SIM"]["bid"], "it quotes again"
            )
            assert status["trading_state"] == "ACTIVE", (seed, happened)
        assert end(trading) == ExitCode.OK, (seed, happened)
        end(place)
    require_well(tmp_path)
    assert sum(line["kind"] == "filled" for line in ledger_lines(tmp_path)) > rounds
