"""The session on recorded markets: its book against bookTicker and a second reading, its rows in order for the venue."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from adapters.binance.book_sync import BinanceBookSession, SyncState
from core.enums import InstrumentClass
from core.instruments import Instrument
from native.market_data import BBO, CLEAR, LEVEL, TRADE
from sim.data.check_binance import Scales, check_binance
from sim.data.check_books import DictLevelBook, LevelBook
from sim.data.clock import correct_rows, measure_skew
from sim.data.frames_to_rows import frames_to_rows
from sim.data.native_check_books import VenueLevelBook
from tests.data_path import market_data

ROOT = "crypto_l2/hftbacktest/"
USDM, SPOT, COIN = (
    ROOT + name for name in ("usdm/btcusdt_20240808.gz", "spot/btcusdt_20240808.gz", "cm/btcusd_perp_20240808.gz")
)
SPOT_NEXT_DAY = ROOT + "spot/btcusdt_20240809.gz"


def instrument(price_scale: int, qty_scale: int, tick: int = 1) -> Instrument:
    return Instrument(
        instrument_id="BTC.BINANCE",
        instrument_class=InstrumentClass.PERPETUAL,
        base_currency="BTC",
        quote_currency="USDT",
        settlement_currency="USDT",
        price_scale=price_scale,
        qty_scale=qty_scale,
        tick=tick,
    )


@pytest.mark.parametrize(
    ("names", "symbol", "compared", "new_book"),
    [
        ([USDM], "BTCUSDT", 6546, VenueLevelBook),
        ([SPOT], "BTCUSDT", 3449, VenueLevelBook),
        ([COIN], "BTCUSD_PERP", 26819, DictLevelBook),
        ([SPOT, SPOT_NEXT_DAY], "BTCUSDT", 6491, DictLevelBook),
    ],
)
def test_book_equals_book_ticker_and_a_second_reading(
    names: list[str], symbol: str, compared: int, new_book: Callable[[], LevelBook]
) -> None:
    def new_decoder(scales: Scales) -> BinanceBookSession:
        return BinanceBookSession(instrument(scales.price_scale, scales.qty_scale), symbol)

    result = check_binance([market_data(name) for name in names], new_decoder=new_decoder, new_book=new_book)
    assert (result.compared, result.mismatches, result.first_mismatch, result.gaps, result.crossed) == (compared, 0, None, 0, 0)


@pytest.mark.parametrize(
    ("name", "symbol", "rules", "rows", "skew_ns", "frames", "used", "skipped"),
    [
        (
            USDM,
            "BTCUSDT",
            instrument(2, 3, 10),
            {LEVEL: 445262, TRADE: 21313, CLEAR: 1, BBO: 130742},
            -1272402468,
            93954,
            {"bookTicker": 65122, "trade": 21313, "snapshot": 1, "depth update": 6547},
            {"depth update before the snapshot": 4, "bookTicker behind the book": 967},
        ),
        (
            SPOT,
            "BTCUSDT",
            instrument(2, 8),
            {LEVEL: 126073, TRADE: 9757, CLEAR: 1, BBO: 56116},
            -1274761454,
            41249,
            {"bookTicker": 28040, "trade": 9757, "snapshot": 1, "depth update": 3449},
            {"depth update before the snapshot": 2},
        ),
        (
            COIN,
            "BTCUSD_PERP",
            instrument(1, 0),
            {LEVEL: 297747, TRADE: 2286, CLEAR: 1, BBO: 38272},
            -1267953940,
            48270,
            {"bookTicker": 19136, "trade": 2286, "snapshot": 1, "depth update": 26824},
            {"depth update before the snapshot": 23},
        ),
    ],
)
def test_rows_of_a_recording(
    name: str,
    symbol: str,
    rules: Instrument,
    rows: dict[int, int],
    skew_ns: int,
    frames: int,
    used: dict[str, int],
    skipped: dict[str, int],
) -> None:
    session = BinanceBookSession(rules, symbol)
    tape = np.concatenate(list(frames_to_rows([market_data(name)], session)))
    kinds, counts = np.unique(tape["kind"], return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == rows
    assert (session.state, session.gaps) == (SyncState.LIVE, 0)
    # Every frame is accounted for.
    assert (dict(session.frames), dict(session.skipped)) == (used, skipped)
    assert sum(used.values()) + sum(skipped.values()) == frames
    assert measure_skew([tape]) == skew_ns
    corrected = correct_rows(tape)
    assert (corrected["ts_event"] <= corrected["ts_init"]).all()
    assert (np.diff(corrected["ts_event"]) >= 0).all()
    assert (np.diff(corrected["ts_init"]) >= 0).all()
    assert np.array_equal(corrected["ts_init"], tape["ts_init"])


def test_recording_without_snapshot_starts_from_diffs_when_asked() -> None:
    path = market_data(SPOT_NEXT_DAY)
    started = BinanceBookSession(instrument(2, 8), "BTCUSDT", start_from_diffs=True)
    rows = np.concatenate(list(frames_to_rows([path], started)))
    assert ((rows["kind"] == LEVEL).sum(), started.gaps) == (174021, 0)
