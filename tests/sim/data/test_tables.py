"""Bars, trades and quotes from CSV and Parquet: one small table in every shape, every damage one by one, recorded files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from core.errors import DataError
from sim.data import tables
from sim.data.tables import BAR, BarGap, TableSource, find_gaps, guess_table_scales, read_bars, read_quotes, read_trades
from tests.data_path import market_data
from tests.sim.data.rows import FILES, as_text

MINUTE = 60_000_000_000
T0 = 1_704_067_200_000_000_000  # 2024-01-01T00:00:00Z
BARS = FILES / "bars.csv"
BAR_ROWS = [
    (T0 + MINUTE, 10050, 10100, 10025, 10075, 1250, MINUTE),
    (T0 + 2 * MINUTE, 10075, 10075, 9990, 10000, 0, MINUTE),
    (T0 + 5 * MINUTE, 10000, 10000, 10000, 10000, 5, MINUTE),
]


def bars(source: TableSource, **options: object) -> list[tuple[int, ...]]:
    return np.concatenate(list(read_bars(source, MINUTE, **options))).tolist()  # type: ignore[arg-type]


def test_bars_from_csv() -> None:
    assert bars(TableSource(BARS, 2, 1)) == BAR_ROWS
    assert bars(TableSource(BARS, 2, 1), stamp="close") == [(row[0] - MINUTE, *row[1:]) for row in BAR_ROWS]


def test_the_same_bars_in_every_shape(tmp_path: Path) -> None:
    text = pl.read_csv(BARS, infer_schema=False)
    decimals = text.with_columns(
        pl.col("open", "high", "low", "close").cast(pl.Decimal(10, 2)), pl.col("volume").cast(pl.Decimal(10, 1))
    )
    floats = text.with_columns(pl.col("open", "high", "low", "close", "volume").cast(pl.Float64))
    stamped = floats.with_columns(pl.col("ts_event").str.to_datetime(time_unit="ms", time_zone="UTC"))
    for number, frame in enumerate((text, decimals, floats, stamped)):
        path = tmp_path / f"{number}.parquet"
        frame.write_parquet(path)
        assert bars(TableSource(path, 2, 1)) == BAR_ROWS, frame.schema
    packed = tmp_path / "bars.csv.gz"
    packed.write_bytes(gzip.compress(BARS.read_bytes().replace(b"\n", b"\r\n")))
    assert bars(TableSource(packed, 2, 1)) == BAR_ROWS
    renamed = tmp_path / "renamed.csv"
    renamed.write_bytes(BARS.read_bytes().replace(b"ts_event", b"").replace(b"open", b'"Open"'))
    assert bars(TableSource(renamed, 2, 1, columns={"ts_event": "", "open": "Open"})) == BAR_ROWS


def test_points_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "points.parquet"
    pl.DataFrame(BAR_ROWS, schema=BAR.names, orient="row").write_parquet(path)
    assert bars(TableSource(path, 2, 1, raw_integers=True), stamp="close") == BAR_ROWS


def test_many_parts_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS_PER_CHUNK", 2)
    parquet = tmp_path / "bars.parquet"
    pl.read_csv(BARS, infer_schema=False).write_parquet(parquet)
    for path in (BARS, parquet):
        calls: list[tuple[int, int]] = []
        parts = list(
            read_bars(TableSource(path, 2, 1), MINUTE, progress=lambda rows, size, calls=calls: calls.append((rows, size)))
        )
        assert [len(part) for part in parts] == [2, 1]
        assert np.concatenate(parts).tolist() == BAR_ROWS
        assert calls[-1] == (3, path.stat().st_size)


def test_gaps() -> None:
    assert find_gaps(np.array(BAR_ROWS, dtype=BAR)) == [BarGap(T0 + 2 * MINUTE, T0 + 5 * MINUTE, 2)]
    assert find_gaps(np.empty(0, BAR)) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("100.25", "NaN", 2, "column 'low': 'NaN' is not a decimal number"),
        ("100.25", "", 2, "column 'low': None is empty"),
        ("100.25", "100.255", 2, "column 'low': '100.255' has more than 2 decimals"),
        ("100.25", "-100.25", 2, "column 'low': '-100.25' must be positive"),
        ("100.25", "100.23", 2, "column 'low': '100.23' is off the tick of 5"),
        ("100.25", "100.55", 2, "column 'low': '100.55' lies above the open or the close"),
        ("101.00", "100.60", 2, "column 'high': '100.60' lies below the open or the close"),
        ("125.0", "-125.0", 2, "column 'volume': '-125.0' is negative"),
        ("125.0", "125.05", 2, "column 'volume': '125.05' has more than 1 decimals"),
        ("00:01:00", "00:00:00", 3, "column 'ts_event': '2024-01-01T00:00:00Z' repeats the stamp of the row before"),
        ("00:04:00", "00:00:30", 4, "column 'ts_event': '2024-01-01T00:00:30Z' time goes backwards"),
        (",0.5\n", "\n", 4, "expected 6 columns, found 5: '2024-01-01T00:04:00Z,100.00,100.00,100.00,100.00'"),
        (",100.00,100.00,0.5\n", "", 4, "expected 6 columns, found 3: '2024-01-01T00:04:00Z,100.00,100.00'"),
        (",0.5\n", ",0.5,7\n", 4, "expected 6 columns, found 7: '2024-01-01T00:04:00Z,100.00,100.00,100.00,100.00,0.5,7'"),
        ("open", "opening", None, "no column 'open'; the file has ['ts_event', 'opening', 'high', 'low', 'close', 'volume']"),
        ("open", "high", 1, "a column name repeats in the header: ['ts_event', 'high', 'high', 'low', 'close', 'volume']"),
    ],
)
def test_damaged_bars(old: str, new: str, line: int | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    text = BARS.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        bars(TableSource(path, 2, 1, tick=5))
    at = f"{path}: " if line is None else f"{path}:{line}: "
    assert str(caught.value) == at + message


def test_damage_in_parquet_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    pl.DataFrame({"ts_event": [T0], "open": [0.1 + 0.2], "high": [1.0], "low": [0.1], "close": [0.5]}).write_parquet(path)
    with pytest.raises(DataError) as caught:
        bars(TableSource(path, 2))
    assert str(caught.value) == f"{path}: row 1, column 'open': 0.30000000000000004 as a float is no decimal with 2 digits"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"bars\.parquet: not a whole Parquet file: "):
        bars(TableSource(path, 2))


def test_empty_file_and_wrong_map(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("")
    with pytest.raises(DataError, match="the file is empty: it needs a header line"):
        bars(TableSource(path, 2))
    with pytest.raises(
        DataError, match=r"the column map names \['opens'\], known are \['close', 'high', 'low', 'open', 'ts_event', 'volume'\]"
    ):
        bars(TableSource(BARS, 2, columns={"opens": "Open"}))
    with pytest.raises(DataError, match=r"absent\.csv: cannot be read: No such file or directory"):
        bars(TableSource(tmp_path / "absent.csv", 2))


def test_trades() -> None:
    source = TableSource(FILES / "trades.csv", 2, 3, instrument=5)
    assert as_text(read_trades(source)) == (FILES / "trades_rows.expected.csv").read_text()


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("buy", "long", 2, "column 'side': 'long' is none of buy, sell, none"),
        ("0.500", "0", 2, "column 'qty': '0' must be positive"),
        ("0.500", "-0.5", 2, "column 'qty': '-0.5' must be positive"),
        ("0.500", "1e999", 2, "column 'qty': '1e999' at scale 3 does not fit in 64 bits"),
        ("1704067200000002", "1704067199000002", 3, "column 'ts_event': '1704067199000002' time goes backwards"),
        ("1704067200000102", "1704067199000102", 3, "column 'ts_init': '1704067199000102' time goes backwards"),
    ],
)
def test_damaged_trades(old: str, new: str, line: int, message: str, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    text = (FILES / "trades.csv").read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        list(read_trades(TableSource(path, 2, 3)))
    assert str(caught.value) == f"{path}:{line}: {message}"


def test_quotes() -> None:
    source = TableSource(FILES / "quotes.csv", 3, 0, instrument=1, zone="UTC")
    assert as_text(read_quotes(source)) == (FILES / "quotes_rows.expected.csv").read_text()


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("86.655", "86.729", 2, "column 'bid_price': '86.729' lies above the ask: the quote is crossed"),
        (",5,", ",-5,", 2, "column 'bid_qty': '-5' is negative"),
        ("86.655", "nan", 2, "column 'bid_price': 'nan' is not a decimal number"),
    ],
)
def test_damaged_quotes(old: str, new: str, line: int, message: str, tmp_path: Path) -> None:
    path = tmp_path / "quotes.csv"
    path.write_text((FILES / "quotes.csv").read_text().replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        list(read_quotes(TableSource(path, 3, zone="UTC")))
    assert str(caught.value) == f"{path}:{line}: {message}"


def test_scales_are_guessed_for_checks(tmp_path: Path) -> None:
    guessed = guess_table_scales(BARS, TableSource(BARS, 0, tick=5))
    assert (guessed.price_scale, guessed.qty_scale, guessed.tick) == (2, 1, 5)
    path = tmp_path / "bars.parquet"
    pl.read_csv(BARS).write_parquet(path)
    guessed = guess_table_scales(path, TableSource(path, 0))
    assert (guessed.price_scale, guessed.qty_scale) == (2, 1)


LOWER = {"ts_event": "timestamp"}


@pytest.mark.parametrize(
    ("source", "interval_ns", "rows", "gaps", "first"),
    [
        (
            TableSource(
                Path("bars/6EH4.XCME_1min_bars_20240101_20240131.csv.gz"),
                5,
                tick=5,
                columns={"ts_event": "timestamp_utc"},
                zone="UTC",
            ),
            MINUTE,
            29996,
            375,
            (1704150120000000000, 110760, 110785, 110760, 110780, 205, MINUTE),
        ),
        (
            TableSource(
                Path("bars/backtesting_py_GOOG.csv"),
                2,
                columns={"ts_event": "", **{name: name.capitalize() for name in ("open", "high", "low", "close", "volume")}},
                zone="America/New_York",
            ),
            1440 * MINUTE,
            2148,
            463,
            (1092974400000000000, 10000, 10406, 9596, 10034, 22351900, 1440 * MINUTE),
        ),
        (
            TableSource(Path("bars/btc-perp-20211231-20220201_1m.csv.gz"), 3, 4, columns=LOWER, zone="UTC", qty_cut=True),
            MINUTE,
            45031,
            0,
            (1640991720000000000, 46319000, 46385000, 46319000, 46377000, 23004137295, MINUTE),
        ),
        (
            TableSource(Path("fx/fxcm_usdjpy-m1-bid-2013.csv.gz"), 3, columns=LOWER),
            MINUTE,
            28761,
            38,
            (1359676860000000000, 91715, 91715, 91653, 91653, 0, MINUTE),
        ),
    ],
)
def test_recorded_bars(source: TableSource, interval_ns: int, rows: int, gaps: int, first: tuple[int, ...]) -> None:
    here = TableSource(
        market_data(str(source.path)),
        source.price_scale,
        source.qty_scale,
        source.tick,
        columns=source.columns,
        zone=source.zone,
        qty_cut=source.qty_cut,
    )
    read = np.concatenate(list(read_bars(here, interval_ns)))
    assert (len(read), len(find_gaps(read)), read[0].tolist()) == (rows, gaps, first)


def test_recorded_ticks() -> None:
    columns = {"ts_event": "timestamp", "bid_price": "bid", "ask_price": "ask"}
    source = TableSource(market_data("fx/truefx_usdjpy-ticks.csv"), 3, columns=columns)
    rows = np.concatenate(list(read_quotes(source, qty_default=1)))
    assert len(rows) == 2000
    assert rows[:2].tolist() == [
        (1357077600295000000, 1357077600295000000, 86655, 1, 0, 0, 3, 0, 0),
        (1357077600295000000, 1357077600295000000, 86728, 1, 0, 0, 3, 1, 1),
    ]
