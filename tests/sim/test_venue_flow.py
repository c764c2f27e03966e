"""The generated market inside the simulated venue: alone it is the generator's own market; with a trader in it, it reacts."""

from __future__ import annotations

from typing import Any

import pytest

from native import venue as native
from native.flow import Flow
from native.venue import NativeVenue, ffi, lib
from tests.native.flow_market import NS, Market

SECONDS = 600


def flow_venue(
    seed: int, *, wake: int = native.WAKE_BEST_QTY, feed_latency_ns: int = 0, **settings: Any
) -> tuple[NativeVenue, Market, Flow]:
    """A venue driven by a generator (borrowed: keep it), and the same generator beside it on a plain book."""
    market = Market(seed=seed, seconds=SECONDS)
    twin = Flow(market.config)
    venue = NativeVenue(feed_latency_ns=feed_latency_ns, orders_max=256, **settings)
    venue.add_instrument(fidelity=native.FLOW, wake=wake, orders_max=1 << 15, levels_max=1 << 13, price_max=1_000_000)
    assert lib.venue_flow_attach(venue.handle, 0, twin.handle) == 0
    venue.finish()
    return venue, market, twin


def levels(market: Market, side: int) -> list[tuple[int, int]]:
    out = ffi.new("book_level[]", 1000)
    count = lib.book_levels(market.book, 0, side, out, 1000)
    return [(out[at].price, out[at].qty) for at in range(count)]


@pytest.mark.parametrize(("seed", "feed_latency_ns"), [(1, 0), (2, 1_000_000), (3, 60 * NS)])
def test_alone_it_is_the_generators_own_market(seed: int, feed_latency_ns: int) -> None:
    venue, market, _flow = flow_venue(seed, feed_latency_ns=feed_latency_ns)
    quotes = []
    while not venue.is_done:
        quotes += venue.run()
    rows = market.run()
    assert venue.totals()["rows_venue"] == len(rows) + len(market.initial)
    for side in (0, 1):
        assert venue.depth_at_venue(0, side, 1000) == venue.depth(0, side, 1000) == levels(market, side)
    assert len(quotes) > 1000
    assert {event[0] - event[1] for event in quotes} == {feed_latency_ns}
    assert [event[0] for event in quotes] == sorted(event[0] for event in quotes)
    assert venue.check()


def trade(seed: int, until_step_ns: int) -> list[tuple[int, ...]]:
    """A trader that joins the best prices and now and then takes; its whole life."""
    venue, _, _flow = flow_venue(
        seed, wake=native.WAKE_BEST | native.WAKE_ORDER, feed_latency_ns=500_000, entry_ns=300_000, response_ns=200_000
    )
    seen: list[tuple[int, ...]] = []
    counter = 0
    until = 0
    while not venue.is_done:
        batch = venue.run(until)
        if not batch:
            until += until_step_ns
            continue
        seen += batch
        for event in batch:
            if event[2] != native.QUOTE or not event[6] or not event[8]:
                continue
            counter += 1
            side = counter & 1
            venue.submit_limit(0, counter, side, event[7] if side else event[5], 3, 0, 1)
            if counter % 7 == 0:
                venue.submit(0, 1_000_000 + counter, 1 - side, 5, order_type=1)
            if counter > 6:
                venue.cancel(counter - 6)
        if counter % 50 == 0:
            assert venue.check()
    return seen


def test_a_trader_moves_it_and_the_same_seed_lives_the_same_life() -> None:
    first = trade(3, NS)
    assert trade(3, NS) == first
    assert trade(3, NS // 7) == first  # how far each call may look changes nothing
    kinds = {event[2] for event in first}
    assert {native.QUOTE, native.ACCEPTED, native.FILL, native.CANCELED} <= kinds
    takers = [event for event in first if event[2] == native.FILL and event[8] & native.FILL_TAKER]
    makers = [event for event in first if event[2] == native.FILL and not event[8] & native.FILL_TAKER]
    assert takers
    assert makers
    # The generator answers to our orders: the market is another one than without us.
    quiet, _, _flow = flow_venue(3, wake=native.WAKE_BEST, feed_latency_ns=500_000)
    alone = []
    while not quiet.is_done:
        alone += quiet.run()
    assert [event for event in first if event[2] == native.QUOTE] != alone


def test_wrong_attachments_are_refused() -> None:
    market = Market(seed=1, seconds=10)
    venue = NativeVenue()
    venue.add_instrument(fidelity=native.L3)
    assert lib.venue_flow_attach(venue.handle, 0, market.flow.handle) == native.ERR_ARGUMENT
    assert lib.venue_flow_attach(venue.handle, 1, market.flow.handle) == native.ERR_ARGUMENT
