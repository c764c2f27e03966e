"""Tapes played into the simulated venue: merged in order, cut anywhere with the same result, errors that name the place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.enums import InstrumentClass
from core.errors import DataError
from core.events import Quote
from core.instruments import Instrument
from core.strategy import Subscription
from native.market_data import BUY, FLAG_LAST, LEVEL, MD_ROW, SELL
from sim.tape import TapeVenue
from sim.tape_merge import Locate, Place, merge_tapes, merged_origin
from sim.venue import InstrumentSettings, SimulatedVenue, VenueSettings

ACME = Instrument(
    instrument_id="ACME.SIM",
    instrument_class=InstrumentClass.EQUITY,
    base_currency="ACME",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=2,
    qty_scale=0,
)
Rows = npt.NDArray[Any]


def chunks_of(stamps: list[int], sizes: list[int], instrument: int) -> Iterator[Rows]:
    """Rows at `stamps`, cut into chunks of the given sizes; order_id numbers them."""
    rows = np.zeros(len(stamps), MD_ROW)
    rows["ts_init"] = sorted(stamps)
    rows["ts_event"] = np.maximum(rows["ts_init"] - 3 * instrument, 0)
    rows["instrument"] = instrument
    rows["order_id"] = np.arange(len(stamps))
    start = 0
    for size in [*sizes, len(stamps)]:
        yield rows[start : start + size]
        start += size


TAPE = st.tuples(st.lists(st.integers(0, 12), max_size=20), st.lists(st.integers(0, 5), max_size=6))


@given(st.lists(TAPE, min_size=1, max_size=4))
def test_merged_tapes_are_every_row_in_the_order_of_arrival(tapes: list[tuple[list[int], list[int]]]) -> None:
    merged = list(merge_tapes([chunks_of(stamps, sizes, index) for index, (stamps, sizes) in enumerate(tapes)]))
    found = [(int(row["ts_init"]), int(row["instrument"]), int(row["order_id"])) for rows in merged for row in rows]
    expected = [(ts, index, number) for index, (stamps, _) in enumerate(tapes) for number, ts in enumerate(sorted(stamps))]
    assert found == sorted(expected)
    origins = [
        merged_origin([chunks_of(stamps, sizes, index) for index, (stamps, sizes) in enumerate(tapes)], row)
        for row in range(len(found) + 1)
    ]
    assert origins == [*((index, number) for _, index, number in found), None]
    ts_event = [int(row["ts_event"]) for rows in merged for row in rows]
    assert ts_event == sorted(ts_event)
    assert all(event <= init for event, (init, _, _) in zip(ts_event, found, strict=True))


def levels(*prices: tuple[int, int, int]) -> Rows:
    """A bid and an ask at each moment: (ts, bid, ask); the bid and ask of the moment before are taken away."""
    rows: list[tuple[int, ...]] = []
    last: tuple[int, int] | None = None
    for ts, bid, ask in prices:
        if last is not None:
            rows += [(ts, ts, last[0], 0, 0, 0, LEVEL, BUY, 0), (ts, ts, last[1], 0, 0, 0, LEVEL, SELL, 0)]
        rows += [(ts, ts, bid, 5, 0, 0, LEVEL, BUY, 0), (ts, ts, ask, 5, 0, 0, LEVEL, SELL, FLAG_LAST)]
        last = (bid, ask)
    return np.array(rows, MD_ROW)


def venue() -> SimulatedVenue:
    subscription = Subscription(instrument_id="ACME.SIM", quotes="price")
    settings = InstrumentSettings(instrument=ACME, fidelity="l2", subscriptions=(subscription,), check_crossed=True)
    return SimulatedVenue([settings], VenueSettings())


def played(chunks: list[Rows], locate: Locate | None = None) -> list[Any]:
    tape = TapeVenue(venue(), iter(chunks), "file", locate)
    events: list[Any] = []
    while not tape.done:
        events += tape.advance(1 << 62)
    return events


ROWS = levels((10, 100, 102), (20, 101, 103), (30, 99, 101), (40, 99, 100))


def test_the_cut_into_chunks_changes_nothing() -> None:
    whole = played([ROWS])
    assert [(event.ts_init, event.bid_price, event.ask_price) for event in whole if type(event) is Quote] == [
        (10, 100, 102),
        (20, 101, 103),
        (30, 99, 101),
        (40, 99, 100),
    ]
    for size in range(1, len(ROWS)):
        assert played([ROWS[start : start + size] for start in range(0, len(ROWS), size)]) == whole


def test_the_clock_stops_where_it_is_told() -> None:
    tape = TapeVenue(venue(), iter([ROWS]), "file")
    assert (tape.ts_start, tape.now) == (10, 10)
    events: list[Any] = []
    while tape.now < 25:
        events += tape.advance(25)
    assert ([event.ts_init for event in events], tape.now, tape.done) == ([10, 20], 25, False)


def test_no_rows_at_all() -> None:
    with pytest.raises(DataError, match=r"^file: there is not a single row of market data$"):
        TapeVenue(venue(), iter([np.zeros(0, MD_ROW)]), "file")


def test_an_error_names_the_row_or_its_place() -> None:
    crossed = levels((10, 100, 102), (20, 105, 103))
    with pytest.raises(DataError, match=r"^file: row 5 of the tape: .*crossed"):
        played([crossed])
    with pytest.raises(DataError, match=r"^part5:7: .*crossed"):
        played([crossed], lambda row: Place(f"part{row}", 7))
    with pytest.raises(DataError, match=r"^part5: row 7: .*crossed"):
        played([crossed], lambda row: Place(f"part{row}", None, 7))
