"""What has not happened yet changes nothing: two tapes that part at some moment give the same events and fills until then."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from native.flow import Flow
from native.market_data import FLAG_LAST
from native.venue import FLOW, L2, L3, QUEUE_POWER, QUEUE_RISK_AVERSE, NativeVenue, lib
from sim.order_flow import flow_config, preset
from tests.sim import oracle_venue as oracle
from tests.sim import test_venue_fuzz as levels
from tests.sim import test_venue_l3_fuzz as orders

Rows = npt.NDArray[Any]
Event = tuple[int, ...]
FIRST_ORDER_EVENT = oracle.ACCEPTED
SECOND_NS = 1_000_000_000
FLOW_START = 1_767_623_400 * SECOND_NS


def lived(venue: NativeVenue, seed: int, start: int, end: int, step_max: int, middle: int) -> list[Event]:
    """Every event of a trader who acts at random moments until `end`; what it does depends on `seed` and the time alone."""
    rng = random.Random(seed)
    seen: list[Event] = []
    until, next_id = start, 1
    while until < end:
        until += rng.randrange(1, step_max)
        while events := venue.run(until):
            seen += events
        action, known, side = rng.randrange(6), rng.randrange(1, next_id + 1), rng.randrange(2)
        price, qty = middle + rng.randrange(-6, 7), rng.randrange(1, 12)
        tif, flags, trigger = rng.choice([0, 0, 0, 1, 2]), rng.choice([0, 0, 1, 2]), middle + rng.randrange(-5, 6)
        order_type = rng.choice([0, 0, 0, 1, 2, 3])
        if action < 4:
            venue.submit(
                0,
                next_id,
                side,
                qty,
                price=price,
                order_type=order_type,
                tif=tif,
                flags=flags,
                trigger_price=trigger,
            )
            next_id += 1
        elif action == 4:
            venue.cancel(known)
        else:
            venue.replace(known, qty, price)
    return seen


def before(events: list[Event], cut: int) -> list[Event]:
    """What was known before `cut`, and what the venue had decided about our orders by then, whenever we heard of it."""
    return [event for event in events if event[0] < cut or (event[2] >= FIRST_ORDER_EVENT and event[1] < cut)]


def parted(rng: random.Random, rows: Rows) -> tuple[Rows, int]:
    """The same tape up to a random row, other sides, prices and sizes from there on; and when that row happened."""
    at = rng.randrange(len(rows))
    other = rows.copy()
    future = other[at:]
    kinds = np.isin(future["kind"], (oracle.LEVEL, oracle.TRADE, oracle.BBO))
    future["price"][kinds] += np.array([rng.randrange(-2, 3) for _ in range(int(kinds.sum()))], dtype=np.int64)
    future["qty"][kinds] += np.array([rng.randrange(1, 9) for _ in range(int(kinds.sum()))], dtype=np.int64)
    return other, int(rows["ts_event"][at])


def level_venue(rows: Rows, rng: random.Random) -> NativeVenue:
    power = rng.choice([0.0, 1.0, 3.0])
    venue = NativeVenue(orders_max=512, entry_ns=rng.choice([0, 4]), response_ns=rng.choice([0, 9]))
    venue.add_instrument(
        fidelity=L2,
        wake=63,
        queue_model=QUEUE_POWER if power else QUEUE_RISK_AVERSE,
        queue_power=power or 1.0,
        levels_max=256,
    )
    venue.feed(rows)
    venue.finish()
    return venue


def order_venue(rows: Rows, rng: random.Random) -> NativeVenue:
    venue = NativeVenue(
        orders_max=512, entry_ns=rng.choice([0, 4]), response_ns=rng.choice([0, 9]), feed_latency_ns=rng.choice([0, 3])
    )
    venue.add_instrument(fidelity=L3, wake=63, orders_max=1024, levels_max=256)
    venue.feed(rows)
    venue.finish()
    return venue


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32))
def test_recorded_levels(seed: int) -> None:
    rng = random.Random(seed)
    rows = levels.to_array(levels.make_rows(rng, oracle.Rules(), rng.randrange(20, 200)))
    other, cut = parted(rng, rows)
    first, second = (
        before(lived(level_venue(tape, random.Random(seed)), seed, 1000, int(rows["ts_init"][-1]), 12, levels.MIDDLE), cut)
        for tape in (rows, other)
    )
    assert first == second


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32))
def test_recorded_orders(seed: int) -> None:
    rng = random.Random(seed)
    rows = orders.to_array(orders.make_rows(rng, rng.randrange(20, 200)))
    # Packets are whole: half of one is another tape, not the same one with a different future.
    at = rng.choice([row for row in range(1, len(rows)) if rows["flags"][row - 1] & FLAG_LAST] or [0])
    cut, end = int(rows["ts_event"][at]), int(rows["ts_init"][-1])
    # A future in which nothing happens but its end: nothing may be taken from the other one.
    quiet = np.concatenate([rows[:at], rows[-1:]])
    quiet[-1]["kind"], quiet[-1]["price"], quiet[-1]["qty"], quiet[-1]["order_id"] = oracle.STATUS, 0, 0, 0
    quiet[-1]["flags"] = FLAG_LAST
    first, second = (
        before(lived(order_venue(tape, random.Random(seed)), seed, 1000, end, 12, levels.MIDDLE), cut) for tape in (rows, quiet)
    )
    assert first == second


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 1 << 32), st.integers(2, 6))
def test_generated_market(seed: int, seconds: int) -> None:
    def life(duration_s: int) -> list[Event]:
        venue = NativeVenue(orders_max=512, entry_ns=1_000_000, response_ns=2_000_000)
        venue.add_instrument(fidelity=FLOW, wake=63, price_max=20_000, orders_max=1 << 15, levels_max=1 << 13)
        config = flow_config(
            preset("normal"),
            seed=seed,
            ts_start=FLOW_START,
            ts_end=FLOW_START + duration_s * SECOND_NS,
            tick=1,
            lot=1,
            price_min=1,
            price_max=20_000,
            price_start=10_000,
            instrument=0,
            feed_latency_ns=0,
        )
        flow = Flow(config)  # the venue borrows it
        assert lib.venue_flow_attach(venue.handle, 0, flow.handle) == 0
        venue.finish()
        return before(lived(venue, seed, FLOW_START, cut, 50_000_000, 10_000), cut)

    cut = FLOW_START + seconds * SECOND_NS
    assert life(seconds + 1) == life(seconds + 5)
