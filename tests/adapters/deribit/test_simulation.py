"""The adapter against the simulated venue in virtual time, from one seed: after everything has gone wrong, both books are equal.

A failure names its seed; `run_seed(SEED, NUMBERS, cuts_ppm=…)` repeats it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from adapters.deribit.session import Phase
from adapters.deribit.settings import FactKind
from core.enums import OrderStatus
from sim.venues.deribit.faults import KNOWN
from sim.venues.faults import Faults
from tests.adapters.deribit.auditor import differences
from tests.adapters.deribit.world import MS, PREFIX, Gambler, S, World

# Everything after which the two books must be equal again, at once and often.
ORDER_PATH = (1, 2, 3, 9, 10, 14, 15, 20, 22, 23, 24, 25, 26, 27, 28, 29, 31, 32, 34, 35, 36, 40, 57, 61)
NETWORK = (41, 42, 43, 44, 46, 47)
MARKET = (49, 50, 51, 53, 54, 55, 56, 59)
# What is wrong only with a question, a subscription or a login shows where there is one.
NEEDS = {20: (14,), 53: (51,)}
NEED_CUTS = (36, 44)
SEEDS = int(os.environ.get("DERIBIT_SEEDS", "6"))


def run_seed(seed: int, numbers: Sequence[int], *, cuts_ppm: int = 0, ppm: int = 30_000, busy_s: int = 30) -> World:
    """Busy with faults on, then calm until everything unknown is known; asserts what must hold and gives the world back."""
    faults = Faults(KNOWN, seed, dict.fromkeys(numbers, ppm))
    faults.is_quiet = True
    world = World(seed, faults=faults)
    world.begin()
    faults.is_quiet = False
    world.cuts_ppm = cuts_ppm
    world.run(busy_s * S)
    world.calm()
    world.run(40 * S)
    world.run_until(lambda: world.session.phase is Phase.READY)
    world.run(80 * S)
    # One more change in each book: a gap shows at the next message only, and is then mended.
    for _ in range(2):
        world.open_market()
        world.run(10 * S)
    ledger, trader = world.venue.books, world.trader
    found = differences(ledger, world.account, trader, PREFIX)
    assert found == [], f"seed {seed}, faults {numbers}, cuts {cuts_ppm}: {found}"
    unknown = [order for order in trader.orders.open_orders() if order.status is OrderStatus.UNKNOWN]
    assert unknown == [], f"seed {seed}: {unknown}"
    for name, book in world.session.market.books.items():
        levels = book.levels(0, 10_000)
        bids, asks = world.venue.markets[name].published
        shown = (dict(levels.bids), dict(levels.asks))
        assert shown == (bids, asks), f"seed {seed}: the book of {name} is not the venue's"
    assert world.refused == ""
    return world


@pytest.mark.parametrize("seed", range(3))
def test_a_quiet_venue_and_ours_agree(seed: int) -> None:
    world = run_seed(seed, ())
    assert world.facts == []
    assert world.reconnects == 0
    assert len(world.fills()) > 0


@pytest.mark.parametrize("seed", range(SEEDS))
def test_cuts_alone(seed: int) -> None:
    world = run_seed(seed, (), cuts_ppm=60_000)
    assert world.reconnects > 0


@pytest.mark.parametrize("seed", range(SEEDS))
def test_faults_of_the_order_path(seed: int) -> None:
    run_seed(1_000 + seed, ORDER_PATH, ppm=40_000)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_everything_at_once(seed: int) -> None:
    run_seed(2_000 + seed, (*ORDER_PATH, *NETWORK, *MARKET), cuts_ppm=10_000)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_gateway_that_holds_requests_beyond_the_end_of_their_connection(seed: int) -> None:
    """An order may begin to live seconds after its connection has ended: cancel-on-disconnect misses it, valid_until does not."""
    world = World(6_000 + seed)
    world.begin()
    world.venue.gateway_ns_max = 3 * S
    world.cuts_ppm = 40_000
    world.run(60 * S)
    world.calm()
    world.run_until(lambda: world.session.phase is Phase.READY)
    world.run(60 * S)
    assert differences(world.venue.books, world.account, world.trader, PREFIX) == []
    assert world.foreign == []


def run_restarts(seed: int) -> None:
    """Orders may be on their way when a process dies, and nobody remembers them: the next one waits until they cannot come."""
    world = World(seed)
    world.begin()
    world.venue.gateway_ns_max = 3 * S
    for _ in range(4):
        world.run(world.random.randrange(1 * S, 8 * S))
        world.restart()
        found = differences(world.venue.books, world.account, world.trader, PREFIX)
        gone = [text for text in found if "UNKNOWN" not in text]
        assert gone == [], f"seed {seed}: {found}"
    world.calm()
    world.run(60 * S)
    assert differences(world.venue.books, world.account, world.trader, PREFIX) == []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_processes_that_die_and_others_that_take_over(seed: int) -> None:
    run_restarts(5_000 + seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_seeds(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        run_seed(10_000 + seed, (*ORDER_PATH, *NETWORK, *MARKET), cuts_ppm=10_000, busy_s=90)


@pytest.mark.parametrize("number", [*ORDER_PATH, *NETWORK, *MARKET])
def test_each_fault_alone(number: int) -> None:
    """Often enough to happen; the seeds go on until it has."""
    for seed in range(15):
        cuts_ppm = 60_000 if number in NEED_CUTS else 0
        world = run_seed(3_000 + seed, (number, *NEEDS.get(number, ())), ppm=150_000, cuts_ppm=cuts_ppm)
        if world.faults.fired.get(number):
            return
    raise AssertionError(f"fault {number} never happened")


@pytest.mark.parametrize("seed", range(3))
def test_our_credits_run_out_before_the_venues(seed: int) -> None:
    """Forty commands a second, delayed by up to 400 ms: refused here, and never there."""
    world = World(seed, strategy=Gambler(seed, pause_ns=25 * MS), latency_ms=(1, 400))
    world.begin()
    world.run(60 * S)
    world.calm()
    world.run(60 * S)
    assert [fact for fact in world.facts if fact.kind is FactKind.CREDITS] == []
    assert differences(world.venue.books, world.account, world.trader, PREFIX) == []
    assert world.reconnects == 0


def test_the_same_seed_gives_the_same_run() -> None:
    def digest(seed: int) -> tuple[str, ...]:
        world = run_seed(seed, ORDER_PATH, cuts_ppm=10_000, busy_s=20)
        return tuple(repr(event) for event in world.events)

    assert digest(7) == digest(7)
    assert digest(7) != digest(8)
