"""Recorded markets through the simulated venue without orders of ours: what we see is what a second record says."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from native import venue as native
from native.venue import NativeVenue
from sim.data.lobster import LobsterSource, read_lobster
from tests.data_path import market_data

Best = tuple[int, int, int, int]  # bid price, bid size, ask price, ask size

DAY = "lobster/AAPL_2012-06-21_34200000_57600000"
HOUR = "lobster/AAPL_2012-06-21_34200000_37800000"
STATES = 15_999  # then the best price leaves the 50 levels that the seeded book began with (data/README.md)


def recorded_states(limit: int) -> list[Best]:
    """Distinct states of LOBSTER's best-price file: ask price, ask size, bid price, bid size."""
    states: list[Best] = []
    with gzip.open(market_data(f"{DAY}_orderbook_1.csv.gz"), "rt") as file:
        for line in file:
            ask, ask_size, bid, bid_size = map(int, line.split(","))
            state = (bid, bid_size, ask, ask_size)
            if not states or states[-1] != state:
                states.append(state)
            if len(states) == limit:
                break
    return states


def seen_states(venue: NativeVenue, source: LobsterSource, limit: int) -> Iterator[Best]:
    for rows in read_lobster(source):
        venue.feed(rows)
        while batch := venue.run():
            for _, _, kind, _, _, a, b, c, d, _ in batch:
                if kind == native.QUOTE and b and d:
                    yield a, b, c, d
    venue.finish()


def test_best_prices_of_an_order_by_order_replay_equal_the_recorded_ones() -> None:
    source = LobsterSource(
        messages=market_data(f"{HOUR}_message_50.csv.gz"), book=market_data(f"{HOUR}_orderbook_50.first672.csv.gz")
    )
    venue = NativeVenue()
    venue.add_instrument(fidelity=native.L3, wake=native.WAKE_BEST_QTY, orders_max=1 << 16, levels_max=1 << 14)
    expected = recorded_states(STATES)
    seen: list[Best] = []
    for state in seen_states(venue, source, STATES):
        if seen or state == expected[0]:
            seen.append(state)
        if len(seen) == STATES:
            break
    assert seen == expected
    assert venue.totals()["crossed"] == 0
    assert venue.check()
