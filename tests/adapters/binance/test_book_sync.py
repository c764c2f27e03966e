"""The session: every sequence rule one by one, whole rows compared, and a small venue whose frames are lost and shuffled."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.binance import book_sync
from adapters.binance.book_sync import BinanceBookSession, SyncState, fixed_parser
from core import feed
from core.enums import InstrumentClass
from core.errors import UnitError, VenueProtocolError
from core.feed import FrameDecoder, Row
from core.instruments import Instrument
from core.units import parse_fixed
from native import market_data
from native.market_data import BBO, BUY, CLEAR, FLAG_LAST, FLAG_SNAPSHOT, GAP, LEVEL, NO_SIDE, SELL, TRADE
from tests.adapters.binance.venue_stream import MS, VenueStream, best_of

T0 = 1_700_000_000_500_000_000
DEMO = Instrument(
    instrument_id="DEMO.BINANCE",
    instrument_class=InstrumentClass.SPOT,
    base_currency="BTC",
    quote_currency="USDT",
    settlement_currency="USDT",
    price_scale=1,
    qty_scale=0,
)


def session(**options: object) -> BinanceBookSession:
    return BinanceBookSession(DEMO, "demo", index=4, **options)  # type: ignore[arg-type]


def diff(first: int, last: int, pu: int | None = None, b: object = (), a: object = (), **more: object) -> bytes:
    data = {"e": "depthUpdate", "E": MS + last, "s": "DEMO", "U": first, "u": last, "b": b, "a": a} | more
    if pu is not None:
        data |= {"pu": pu, "T": MS + last - 1}
    return json.dumps(data).encode()


def snapshot(last: int, **more: object) -> bytes:
    return json.dumps({"lastUpdateId": last, "bids": [["10.0", "5"]], "asks": [["10.5", "6"]]} | more).encode()


def event_ns(update_id: int) -> int:
    return (MS + update_id) * 1_000_000


def snapshot_rows(ts: int, ts_event: int = 0) -> list[Row]:
    return [
        (ts_event, ts, 0, 0, 0, 4, CLEAR, NO_SIDE, FLAG_SNAPSHOT),
        (ts_event, ts, 100, 5, 0, 4, LEVEL, BUY, FLAG_SNAPSHOT),
        (ts_event, ts, 105, 6, 0, 4, LEVEL, SELL, FLAG_SNAPSHOT | FLAG_LAST),
    ]


def test_row_constants_equal_the_native_ones() -> None:
    for name in ("LEVEL", "TRADE", "CLEAR", "BBO", "STATUS", "GAP", "BUY", "SELL", "NO_SIDE", "FLAG_LAST", "FLAG_SNAPSHOT"):
        assert getattr(feed, f"ROW_{name}") == getattr(market_data, name)
    assert len(snapshot_rows(T0)[0]) == len(market_data.MD_ROW)


def test_spot_joins_a_snapshot_in_the_middle_of_its_buffer() -> None:
    spot: FrameDecoder = session()
    assert spot.receive(T0, diff(1, 3, b=[["9.9", "1"]])) == []
    assert spot.receive(T0 + 1, diff(4, 6, b=[["9.8", "2"]], a=[["10.5", "0"], ["10.6", "3"]])) == []
    # Diff 4..6 holds update 5 + 1: it joins, and carries the moment it became usable.
    assert spot.receive(T0 + 2, snapshot(5)) == [
        *snapshot_rows(T0 + 2),
        (event_ns(6), T0 + 2, 98, 2, 0, 4, LEVEL, BUY, 0),
        (event_ns(6), T0 + 2, 105, 0, 0, 4, LEVEL, SELL, 0),
        (event_ns(6), T0 + 2, 106, 3, 0, 4, LEVEL, SELL, FLAG_LAST),
    ]
    assert spot.receive(T0 + 3, diff(7, 7, a=[["10.7", "1"]])) == [(event_ns(7), T0 + 3, 107, 1, 0, 4, LEVEL, SELL, FLAG_LAST)]


@pytest.mark.parametrize(
    ("first", "last", "joins"),
    [(1, 5, None), (1, 6, True), (5, 6, True), (6, 6, True), (6, 9, True), (7, 9, False)],
)
def test_spot_first_diff_after_snapshot_5(first: int, last: int, joins: bool | None) -> None:
    """Drop u <= 5; then U <= 6 <= u."""
    spot = session()
    spot.receive(T0, snapshot(5))
    rows = spot.receive(T0, diff(first, last, b=[["10.0", "7"]]))
    kind = {None: [], True: [LEVEL], False: [GAP]}[joins]
    assert [row[6] for row in rows] == kind
    assert spot.state == {None: SyncState.JOINING, True: SyncState.LIVE, False: SyncState.BUFFERING}[joins]


@pytest.mark.parametrize(
    ("first", "last", "joins"),
    [(1, 4, None), (1, 5, True), (5, 5, True), (5, 9, True), (6, 9, True), (7, 9, False)],
)
def test_futures_first_diff_after_snapshot_5(first: int, last: int, joins: bool | None) -> None:
    """Drop u < 5; then U <= 5 <= u, whatever pu says; or pu is 5."""
    futures = session()
    futures.receive(T0, snapshot(5))
    rows = futures.receive(T0, diff(first, last, pu=first - 1, b=[["10.0", "7"]]))
    kind = {None: [], True: [LEVEL], False: [GAP]}[joins]
    assert [row[6] for row in rows] == kind
    assert futures.state == {None: SyncState.JOINING, True: SyncState.LIVE, False: SyncState.BUFFERING}[joins]


def test_futures_chain_on_pu_not_on_the_ids() -> None:
    futures = session()
    futures.receive(T0, snapshot(5, T=MS + 4))
    assert futures.receive(T0, diff(5, 8, pu=3, b=[["10.0", "7"]])) == [
        (event_ns(7), T0, 100, 7, 0, 4, LEVEL, BUY, FLAG_LAST),
    ]
    assert [row[6] for row in futures.receive(T0, diff(20, 25, pu=8, b=[["10.0", "8"]]))] == [LEVEL]
    assert futures.receive(T0 + 9, diff(26, 30, pu=24, b=[["10.0", "9"]])) == [
        (event_ns(29), T0 + 9, 0, 0, 0, 4, GAP, NO_SIDE, FLAG_LAST),
    ]
    assert (futures.gaps, futures.needs_snapshot) == (1, True)
    # The diff that showed the gap waits for the snapshot, and joins it.
    rows = futures.receive(T0 + 10, snapshot(27))
    assert [(row[6], row[2], row[3]) for row in rows] == [(CLEAR, 0, 0), (LEVEL, 100, 5), (LEVEL, 105, 6), (LEVEL, 100, 9)]
    assert (futures.state, futures.last_update_id) == (SyncState.LIVE, 30)


def test_spot_gap_duplicate_and_overlap() -> None:
    spot = session()
    spot.receive(T0, snapshot(5))
    spot.receive(T0, diff(6, 8, b=[["10.0", "7"]]))
    assert spot.receive(T0, diff(6, 8, b=[["10.0", "7"]])) == []
    assert spot.skipped == {"depth update seen before": 1}
    assert [row[3] for row in spot.receive(T0, diff(7, 9, b=[["10.0", "8"]]))] == [8]  # U <= book id + 1: overlap is allowed
    assert [row[6] for row in spot.receive(T0, diff(11, 12))] == [GAP]


@pytest.mark.parametrize("pu", [None, 0])
def test_numbers_that_start_over_are_a_gap_and_not_a_silence(pu: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_sync, "STALE_DIFFS_MAX", 2)
    tested = session()
    tested.receive(T0, snapshot(500))
    tested.receive(T0, diff(500, 505, None if pu is None else 499, b=[["10.0", "7"]]))
    kinds = [[row[6] for row in tested.receive(T0, diff(step, step, None if pu is None else step - 1))] for step in range(1, 5)]
    assert kinds == [[], [], [GAP], []]
    assert [row[6] for row in tested.receive(T0, snapshot(4))] == [CLEAR, LEVEL, LEVEL]
    assert [row[6] for row in tested.receive(T0, diff(5, 5, None if pu is None else 4, b=[["10.0", "8"]]))] == [LEVEL]


def test_snapshot_older_than_the_buffer_is_refused() -> None:
    spot = session()
    spot.receive(T0, diff(10, 12))
    assert spot.receive(T0, snapshot(8)) == []
    assert (spot.needs_snapshot, spot.skipped) == (True, {"snapshot older than the buffer": 1})
    assert [row[6] for row in spot.receive(T0, snapshot(9))] == [CLEAR, LEVEL, LEVEL]


def test_gap_inside_the_buffer_drops_what_lies_before_it() -> None:
    spot = session()
    spot.receive(T0, diff(1, 3))
    spot.receive(T0, diff(9, 10))
    assert spot.receive(T0, snapshot(2)) == []
    rows = spot.receive(T0, snapshot(8))
    assert (len(rows), spot.last_update_id) == (3, 10)
    assert spot.skipped == {"depth update before a gap in the buffer": 1, "snapshot older than the buffer": 1}


def test_snapshot_while_live_changes_nothing() -> None:
    spot = session()
    spot.receive(T0, snapshot(5))
    assert spot.receive(T0, snapshot(50)) == []
    assert spot.skipped == {"snapshot not needed": 1}


def test_buffer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_sync, "BUFFERED_DIFFS_MAX", 3)
    spot = session()
    for update_id in range(1, 6):
        spot.receive(T0, diff(update_id, update_id))
    assert spot.skipped == {"depth update beyond the buffer": 2}
    assert spot.receive(T0, snapshot(1)) == []  # the diffs after it were given up
    assert len(spot.receive(T0, snapshot(2))) == 3


def test_start_from_diffs_must_be_asked_for_and_starts_over_after_a_gap() -> None:
    spot = session(start_from_diffs=True)
    assert spot.receive(T0, diff(7, 9, b=[["10.0", "7"]])) == [
        (event_ns(9), T0, 0, 0, 0, 4, CLEAR, NO_SIDE, FLAG_SNAPSHOT),
        (event_ns(9), T0, 100, 7, 0, 4, LEVEL, BUY, FLAG_LAST),
    ]
    assert [row[6] for row in spot.receive(T0, diff(12, 13, b=[["10.0", "8"]]))] == [GAP, CLEAR, LEVEL]
    assert (spot.gaps, spot.needs_snapshot) == (1, False)


def test_trades() -> None:
    spot = session()
    trade = {"e": "trade", "E": MS + 2, "T": MS + 1, "s": "DEMO", "t": 77, "p": "10.5", "q": "3", "m": True}
    assert spot.receive(T0, json.dumps(trade).encode()) == [(event_ns(1), T0, 105, 3, 77, 4, TRADE, SELL, FLAG_LAST)]
    assert spot.receive(T0, json.dumps(trade | {"m": False, "t": 78}).encode()) == [
        (event_ns(1), T0, 105, 3, 78, 4, TRADE, BUY, FLAG_LAST)
    ]
    for kind in ("INSURANCE_FUND", "ADL", "NA"):
        assert spot.receive(T0, json.dumps(trade | {"X": kind, "p": "0", "q": "0"}).encode()) == []
    aggregate = {"e": "aggTrade", "E": MS, "T": MS, "s": "DEMO", "a": 7, "p": "10.5", "q": "3", "f": 1, "l": 2, "m": True}
    assert spot.receive(T0, json.dumps(aggregate).encode()) == []
    assert spot.skipped == {
        "trade of type INSURANCE_FUND": 1,
        "trade of type ADL": 1,
        "trade of type NA": 1,
        "aggTrade beside trade": 1,
    }


def test_book_ticker() -> None:
    spot = session()
    ticker = {"u": 9, "s": "DEMO", "b": "10.0", "B": "5", "a": "10.5", "A": "0"}
    assert spot.receive(T0, json.dumps(ticker).encode()) == [
        (0, T0, 100, 5, 0, 4, BBO, BUY, 0),
        (0, T0, 105, 0, 0, 4, BBO, SELL, FLAG_LAST),
    ]
    # A snapshot and a diff that are behind the ticker end with what it said; one that is ahead does not.
    assert [row[6:] for row in spot.receive(T0, snapshot(8))] == [
        (CLEAR, NO_SIDE, FLAG_SNAPSHOT),
        (LEVEL, BUY, FLAG_SNAPSHOT),
        (LEVEL, SELL, FLAG_SNAPSHOT),
        (BBO, BUY, 0),
        (BBO, SELL, FLAG_LAST),
    ]
    assert [row[6:] for row in spot.receive(T0, diff(9, 12, b=[["10.0", "1"]]))] == [(LEVEL, BUY, FLAG_LAST)]
    assert spot.receive(T0, json.dumps(ticker | {"u": 11}).encode()) == []
    assert spot.receive(T0, json.dumps(ticker).encode()) == []
    assert spot.skipped == {"bookTicker behind the book": 1, "bookTicker seen before": 1}
    futures = ticker | {"u": 12, "e": "bookTicker", "T": MS + 1, "E": MS + 2}
    assert [row[0] for row in spot.receive(T0, json.dumps(futures).encode())] == [event_ns(1)] * 2
    without = session(use_book_ticker=False)
    assert without.receive(T0, json.dumps(ticker).encode()) == []
    assert without.skipped == {"bookTicker not asked for": 1}


def test_other_symbols_and_streams_are_counted() -> None:
    spot = session()
    spot.receive(T0, diff(1, 2, s="OTHER"))
    spot.receive(T0, snapshot(1, symbol="OTHER"))
    spot.receive(T0, b'{"stream":"demo@kline_1m","data":{"e":"kline"}}')
    assert spot.skipped == {"other symbol": 2, "stream kline_1m": 1}


@pytest.mark.parametrize(
    ("payload", "error", "message"),
    [
        (diff(6, 7, b=[["10.05", "1"]]), UnitError, "'10.05' has more than 1 decimals"),
        (diff(6, 7, b=[["-10.0", "1"]]), UnitError, "'-10.0' is not positive"),
        (diff(6, 7, b=[["10.0", "-1"]]), UnitError, "'-1' is negative"),
        (diff(6, 7, b=[["10.0", "NaN"]]), UnitError, "'NaN' is not a decimal number"),
        (diff(6, 7, b=[["10.0", "Infinity"]]), UnitError, "'Infinity' is not a decimal number"),
        (diff(6, 7, b=[["1e999", "1"]]), UnitError, "'1e999' at scale 1 does not fit in 64 bits"),
        (diff(6, 7, b=[["99999999999999999999", "1"]]), UnitError, "'99999999999999999999' at scale 1 does not fit in 64 bits"),
        (diff(6, 7, b=[["0.0", "1"]]), UnitError, "'0.0' is not positive"),
        (diff(8, 7), VenueProtocolError, "depth update from U 8 to u 7 runs backwards"),
        (diff(6, 7, E=170), VenueProtocolError, "170 is neither milliseconds nor microseconds since 1970"),
    ],
)
def test_a_refused_diff_changes_nothing(payload: bytes, error: type[Exception], message: str) -> None:
    spot = session()
    spot.receive(T0, snapshot(5))
    spot.receive(T0, diff(6, 6))
    with pytest.raises(error) as caught:
        spot.receive(T0, payload)
    assert message in str(caught.value)
    assert (spot.state, spot.last_update_id) == (SyncState.LIVE, 6)
    # What was lost with it shows as a gap.
    assert [row[6] for row in spot.receive(T0, diff(8, 9))] == [GAP]


def test_a_bad_diff_in_the_buffer_leaves_the_snapshot_unused() -> None:
    spot = session()
    spot.receive(T0, diff(6, 7, b=[["10.05", "1"]]))
    with pytest.raises(UnitError):
        spot.receive(T0, snapshot(5))
    assert spot.state == SyncState.BUFFERING


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": "10.5", "a": "10.5"}, "bookTicker 9: bid 10.5 and ask 10.5 are crossed or not positive"),
        ({"b": "10.6", "a": "10.5"}, "bookTicker 9: bid 10.6 and ask 10.5 are crossed or not positive"),
        ({"b": "0"}, "bookTicker 9: bid 0 and ask 10.5 are crossed or not positive"),
    ],
)
def test_crossed_book_ticker(change: dict[str, str], message: str) -> None:
    ticker = {"u": 9, "s": "DEMO", "b": "10.0", "B": "5", "a": "10.5", "A": "1"} | change
    with pytest.raises(VenueProtocolError) as caught:
        session().receive(T0, json.dumps(ticker).encode())
    assert message in str(caught.value)


@pytest.mark.parametrize(("p", "q"), [("0", "1"), ("10.0", "0")])
def test_trade_of_nothing(p: str, q: str) -> None:
    trade = {"e": "trade", "E": MS, "T": MS, "s": "DEMO", "t": 77, "p": p, "q": q, "m": True}
    with pytest.raises(VenueProtocolError, match=f"trade 77: price {p} and quantity {q} must be positive"):
        session().receive(T0, json.dumps(trade).encode())


def test_microsecond_stamps() -> None:
    spot = session(start_from_diffs=True)
    assert spot.receive(T0, diff(1, 2, E=MS * 1000 + 7, b=[["10.0", "1"]]))[0][0] == MS * 1_000_000 + 7000


@settings(deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    futures=st.booleans(),
    lags=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40),
    joins_at=st.integers(0, 5),
)
def test_levels_and_best_prices_together_are_the_venue_s(
    seed: int, futures: bool, lags: list[tuple[int, int]], joins_at: int
) -> None:
    """Diffs and bookTickers overtake each other; the book made of both is the venue's best at the newest update of either."""
    venue = VenueStream(seed, futures)
    arrivals: list[tuple[int, int, bytes]] = []
    depth_at = ticker_at = 0
    for step, (depth_lag, ticker_lag) in enumerate(lags):
        told = venue.diff()
        # A stream delays its frames but keeps their order.
        depth_at, ticker_at = max(depth_at, step + depth_lag), max(ticker_at, step + ticker_lag)
        arrivals.append((depth_at, 0, told))
        arrivals += [(ticker_at, 1, ticker) for ticker in venue.tickers]
        venue.tickers.clear()
        if step == joins_at:
            arrivals.append((step, 2, venue.snapshot()))
    tested = session()
    fused: tuple[dict[int, int], dict[int, int]] = ({}, {})
    newest_ticker = 0
    for _, stream, frame in sorted(arrivals, key=lambda arrival: arrival[:2]):
        rows = tested.receive(T0, frame)
        if stream == 1:
            newest_ticker = json.loads(frame)["u"]
        for _, _, price, qty, _, _, kind, side, _ in rows:
            if kind == CLEAR:
                fused = ({}, {})
            elif kind == BBO:
                better = [
                    level for level in fused[side] if qty == 0 or (level > price // 10 if side == BUY else level < price // 10)
                ]
                for level in better:
                    del fused[side][level]
            if kind in (LEVEL, BBO):
                fused[side][price // 10] = qty
                if not qty:
                    del fused[side][price // 10]
        assert not rows or rows[-1][8] & FLAG_LAST
        if tested.state is SyncState.LIVE:
            assert best_of(fused) == best_of(venue.history[max(tested.last_update_id, newest_ticker)])
    assert tested.gaps == 0


_FRAMES = st.lists(st.sampled_from(["pass", "pass", "pass", "lose", "twice", "swap", "snapshot"]), max_size=60)


@settings(deadline=None)
@given(seed=st.integers(0, 1 << 32), futures=st.booleans(), fates=_FRAMES, delay=st.integers(0, 4))
def test_live_means_equal_to_the_venue(seed: int, futures: bool, fates: list[str], delay: int) -> None:
    """Whatever is lost, repeated, swapped or late: a session that says LIVE holds the venue's book at its update id."""
    venue = VenueStream(seed, futures)
    tested = session()
    frames: list[bytes] = []
    late: list[tuple[int, bytes]] = []
    for step, fate in enumerate(fates):
        if fate == "snapshot":
            late.append((step + delay, venue.snapshot()))
        else:
            told = venue.diff()
            frames += {"lose": [], "twice": [told, told]}.get(fate, [told])
            if fate == "swap" and len(frames) > 1:
                frames[-2:] = frames[:-3:-1]
        frames += [body for due, body in late if due == step]
    book: tuple[dict[int, int], dict[int, int]] = ({}, {})
    trusted = False
    gaps = 0
    for frame in frames:
        for _, _, price, qty, _, _, kind, side, _ in tested.receive(T0, frame):
            if kind == CLEAR:
                book, trusted = ({}, {}), True
            elif kind == GAP:
                trusted = False
                gaps += 1
            else:
                book[side][price // 10] = qty
                if not qty:
                    del book[side][price // 10]
        assert trusted == (tested.state != SyncState.BUFFERING)
        if tested.state == SyncState.LIVE:
            assert book == venue.history[tested.last_update_id]
    assert gaps == tested.gaps


@given(
    st.text("0123456789.-+eE", max_size=12) | st.decimals(-(10**9), 10**9, places=4).map(str),
    st.integers(0, 8),
    st.integers(1, 20),
)
def test_fixed_parser_equals_parse_fixed(text: str, scale: int, step: int) -> None:
    parse = fixed_parser(scale, step)
    try:
        expected: int | None = parse_fixed(text, scale)
    except UnitError:
        expected = None
    if expected is not None and (expected < 0 or expected % step):
        expected = None
    for _ in range(2):  # parsed, then remembered
        if expected is None:
            with pytest.raises(UnitError):
                parse(text)
        else:
            assert parse(text) == expected


def test_fixed_parser_forgets_when_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_sync, "PARSED_TEXTS_MAX", 2)
    parse = fixed_parser(1, 1)
    assert [parse(text) for text in ("1.0", "2.0", "3.0", "1.0")] == [10, 20, 30, 10]


def test_rows_pack_into_the_native_layout() -> None:
    rows = np.array(snapshot_rows(T0), dtype=market_data.MD_ROW)
    assert [tuple(row) for row in rows.tolist()] == snapshot_rows(T0)
