"""What was fetched is kept exactly, joined in order, and read by the readers of backtests."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from core.errors import DataError
from core.units import NS_PER_DAY, NS_PER_MINUTE
from sim.data.store import DataSet, data_sets
from sim.data.tables import TableSource, read_bars, read_trades

START = 1_704_067_200_000_000_000  # 2024-01-01
BARS = ("ts_event", "open", "high", "low", "close", "volume")
TRADES = ("ts_event", "price", "qty", "side", "trade_id")


def bar(minute: int, price: str = "1.5") -> tuple[int | str, ...]:
    return (START + minute * NS_PER_MINUTE, price, price, price, price, "2.125")


def test_parts_of_different_decimals_become_one_file_that_backtests_read(tmp_path: Path) -> None:
    data = DataSet(tmp_path, "binance", "BTCUSDT", "bars-1m")
    data.write("2024-02", BARS, [bar(44_640, "2.25")])
    data.write("2024-01", BARS, [bar(0), bar(1), bar(3)])
    found = data.join(NS_PER_MINUTE)
    assert (found.rows, found.first, found.last) == (4, START, START + 44_640 * NS_PER_MINUTE)
    assert (found.gaps, found.gaps_within_days, found.gaps_shown) == (2, 1, ((START + NS_PER_MINUTE, START + 3 * NS_PER_MINUTE),))
    (rows,) = read_bars(TableSource(data.file, 2, 3), NS_PER_MINUTE)
    assert rows["open"].tolist() == [150, 150, 150, 225]
    assert rows["volume"].tolist() == [2_125] * 4
    assert list(data_sets(tmp_path)) == [data.file]


def test_prints_keep_every_row_also_those_that_look_alike(tmp_path: Path) -> None:
    data = DataSet(tmp_path, "theta", "AAPL", "trades")
    row = (START, "1.50", "100", "none", "0")
    data.write("2024-01-01", TRADES, [row, row])
    assert data.join(0).rows == 2
    (rows,) = read_trades(TableSource(data.file, 2))
    assert rows["price"].tolist() == [150, 150]


def test_a_month_replaces_its_days(tmp_path: Path) -> None:
    data = DataSet(tmp_path, "binance", "BTCUSDT", "bars-1m")
    data.write("2024-01-01", BARS, [bar(0), bar(1)])
    data.write("2024-01", BARS, [bar(0), bar(1), bar(2)])
    assert data.join(NS_PER_MINUTE).rows == 3


def test_a_part_that_is_written_again_is_replaced_whole(tmp_path: Path) -> None:
    data = DataSet(tmp_path, "binance", "BTCUSDT", "bars-1m")
    data.write("2024-01-01", BARS, [bar(0)])
    data.write("2024-01-01", BARS, [bar(0, "9"), bar(1, "9")])
    data.join(NS_PER_MINUTE)
    assert pl.read_parquet(data.file)["ts_event"].to_list() == [START, START + NS_PER_MINUTE]
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_empty_part_is_kept_so_that_it_is_not_asked_for_again(tmp_path: Path) -> None:
    data = DataSet(tmp_path, "binance", "BTCUSDT", "trades")
    data.write("2024-01", TRADES, [])
    assert data.has("2024-01")
    assert data.join(0).rows == 0


def test_time_that_goes_backwards_is_refused(tmp_path: Path) -> None:
    data = DataSet(tmp_path, "x", "Y", "bars-1m")
    with pytest.raises(DataError, match="order of their time"):
        data.write("2024-01-01", BARS, [bar(1), bar(0)])
    data.write("2024-01-01", BARS, [bar(5)])
    data.write("2024-01-02", BARS, [bar(4)])
    with pytest.raises(DataError, match="overlap"):
        data.join(NS_PER_MINUTE)


@pytest.mark.parametrize("symbol", ["../../etc/x", "X:BTCUSD", ".", "", "a/b"])
def test_no_symbol_leaves_the_folder(tmp_path: Path, symbol: str) -> None:
    data = DataSet(tmp_path, "x", symbol, "bars-1m")
    data.write("2024-01-01", BARS, [bar(0)])
    data.join(NS_PER_DAY)
    assert data.file.resolve().is_relative_to(tmp_path.resolve())
    assert len(data.file.relative_to(tmp_path).parts) == 3
