"""Random trading against a simulator that does everything wrong at a rate, with cuts and fills by others in between.

ALPACA_SEEDS=50 runs more; a failure names its seed, which is run alone by ALPACA_SEED=….
"""

from __future__ import annotations

import os
import random
from collections import Counter

import anyio
import pytest

from core.enums import OrderStatus, Side, TimeInForce
from sim.venues.alpaca.faults import KNOWN
from tests.adapters.alpaca.world import World, run

SEEDS = (
    [int(os.environ["ALPACA_SEED"])]
    if "ALPACA_SEED" in os.environ
    else list(range(1, int(os.environ.get("ALPACA_SEEDS", "12")) + 1))
)
DEEDS = 60
RATE_PPM = 30_000
# 31 is what no client can make right; 10 and 55 take seconds each, and have tests of their own.
FAULTS = sorted(set(KNOWN) - {10, 31, 55})


def deed(world: World, source: random.Random) -> None:
    working = [order for order in world.trader.orders.open_orders() if order.status is not OrderStatus.PENDING_CANCEL]
    match source.randrange(8):
        case 0 | 1:
            world.buy(source.randint(1, 20), 2_000_000 + 100 * source.randrange(200), time_in_force=TimeInForce.GTC)
        case 2:
            world.buy(source.randint(1, 20), None)
        case 3:
            held = world.trader.portfolio.by_instrument["AAPL.ALPACA"].qty
            if held > 0:
                world.submit(Side.SELL, source.randint(1, held), None)
        case 4 if working:
            order = source.choice(working)
            world.do(lambda context: context.cancel(order))
        case 5 if working:
            order = source.choice(working)
            world.do(lambda context: context.replace(order, source.randint(1, 20), 2_000_000 + 100 * source.randrange(200)))
        case 6:
            open_there = [ticket for ticket in world.venue.engine.open_tickets("main") if ticket.order is not None]
            if open_there:
                ticket = source.choice(open_there)
                if ticket.limit is not None and ticket.leaves > 0:
                    qty = source.randint(1, ticket.leaves)
                    world.served.act("hit", {"account": "main", "id": ticket.id, "qty": qty})
        case 7 if source.random() < 0.2:
            world.served.cut_all()
        case _:
            world.do(lambda context: context.cancel_all())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_books_are_the_venues_whatever_went_wrong(seed: int) -> None:
    source = random.Random(seed)

    async def test(world: World) -> None:
        for number in FAULTS:
            world.venue.faults.set_rate(number, RATE_PPM)
        for _ in range(DEEDS):
            deed(world, source)
            await anyio.sleep(source.random())
        world.venue.faults.is_quiet = True
        world.do(lambda context: context.cancel_all())
        await world.settled()
        names = Counter(row["client_order_id"] for row in world.venue.ledger()["orders"])
        assert max(names.values(), default=1) == 1
        assert world.trader.portfolio.fills_booked == len(world.venue.ledger()["fills"])

    try:
        run(test)
    except BaseException:
        print(f"repeat it: ALPACA_SEED={seed} python -m pytest tests/adapters/alpaca/test_simulation.py")
        raise
