"""What was fetched is kept exactly, joined in order, and read by the readers of backtests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError, DataError
from core.units import NS_PER_DAY, NS_PER_MINUTE, parse_fixed
from sim.data.store import DataSet, data_sets, summary
from sim.data.tables import TableSource, read_bars, read_trades

START = 1_704_067_200_000_000_000  # 2024-01-01
BARS = ("ts_event", "open", "high", "low", "close", "volume")
TRADES = ("ts_event", "price", "qty", "side", "trade_id")


Opened = Callable[[Path, str, str, str], DataSet]


@pytest.fixture
def opened() -> Iterator[Opened]:
    with ExitStack() as stack:

        def opens(folder: Path, source: str, symbol: str, name: str) -> DataSet:
            data = DataSet(folder, source, symbol, name)
            stack.enter_context(data.opened())
            return data

        yield opens


def write(data: DataSet, name: str, columns: tuple[str, ...], rows: list[tuple[int | str, ...]], chunk_rows: int = 2) -> None:
    schema = {column: pl.Int64() if column == "ts_event" else pl.String() for column in columns}
    with data.part(name, columns) as part:
        for start in range(0, len(rows), chunk_rows):
            part.add(pl.DataFrame(rows[start : start + chunk_rows], schema=schema, orient="row"))
        part.keep()


def bar(minute: int, price: str = "1.5") -> tuple[int | str, ...]:
    return (START + minute * NS_PER_MINUTE, price, price, price, price, "2.125")


def test_parts_of_different_decimals_become_one_file_that_backtests_read(opened: Opened, tmp_path: Path) -> None:
    data = opened(tmp_path, "binance", "BTCUSDT", "bars-1m")
    write(data, "2024-02", BARS, [bar(44_640, "2.25")])
    write(data, "2024-01", BARS, [bar(0), bar(1), bar(3)])
    found = data.join(NS_PER_MINUTE)
    assert (found.rows, found.first, found.last) == (4, START, START + 44_640 * NS_PER_MINUTE)
    assert (found.gaps, found.gaps_within_days, found.gaps_shown) == (2, 1, ((START + NS_PER_MINUTE, START + 3 * NS_PER_MINUTE),))
    (rows,) = read_bars(TableSource(data.file, 2, 3), NS_PER_MINUTE)
    assert rows["open"].tolist() == [150, 150, 150, 225]
    assert rows["volume"].tolist() == [2_125] * 4
    assert list(data_sets(tmp_path)) == [data.file]


def test_prints_keep_every_row_also_those_that_look_alike(opened: Opened, tmp_path: Path) -> None:
    data = opened(tmp_path, "theta", "AAPL", "trades")
    row = (START, "1.50", "100", "none", "0")
    write(data, "2024-01-01", TRADES, [row, row])
    assert data.join(0).rows == 2
    (rows,) = read_trades(TableSource(data.file, 2))
    assert rows["price"].tolist() == [150, 150]


def test_a_month_replaces_its_days(opened: Opened, tmp_path: Path) -> None:
    data = opened(tmp_path, "binance", "BTCUSDT", "bars-1m")
    write(data, "2024-01-01", BARS, [bar(0), bar(1)])
    write(data, "2024-01", BARS, [bar(0), bar(1), bar(2)])
    assert data.join(NS_PER_MINUTE).rows == 3


def test_a_part_that_is_written_again_is_replaced_whole(opened: Opened, tmp_path: Path) -> None:
    data = opened(tmp_path, "binance", "BTCUSDT", "bars-1m")
    write(data, "2024-01-01", BARS, [bar(0)])
    write(data, "2024-01-01", BARS, [bar(0, "9"), bar(1, "9")])
    data.join(NS_PER_MINUTE)
    assert pl.read_parquet(data.file)["ts_event"].to_list() == [START, START + NS_PER_MINUTE]
    assert not list(data.scratch.iterdir())


def test_an_empty_part_is_kept_so_that_it_is_not_asked_for_again(opened: Opened, tmp_path: Path) -> None:
    data = opened(tmp_path, "binance", "BTCUSDT", "trades")
    write(data, "2024-01", TRADES, [])
    assert data.has("2024-01")
    assert data.join(0).rows == 0


def test_time_that_goes_backwards_is_refused(opened: Opened, tmp_path: Path) -> None:
    data = opened(tmp_path, "x", "Y", "bars-1m")
    for chunk_rows in (1, 2):
        with pytest.raises(DataError, match="order of their time"):
            write(data, "2024-01-01", BARS, [bar(1), bar(0)], chunk_rows)
    assert not data.has("2024-01-01")
    write(data, "2024-01-01", BARS, [bar(5)])
    write(data, "2024-01-02", BARS, [bar(4)])
    with pytest.raises(DataError, match="overlap"):
        data.join(NS_PER_MINUTE)


@pytest.mark.parametrize("symbol", ["../../etc/x", "X:BTCUSD", ".", "", "a/b"])
def test_no_symbol_leaves_the_folder(opened: Opened, tmp_path: Path, symbol: str) -> None:
    data = opened(tmp_path, "x", symbol, "bars-1m")
    write(data, "2024-01-01", BARS, [bar(0)])
    data.join(NS_PER_DAY)
    assert data.file.resolve().is_relative_to(tmp_path.resolve())
    assert len(data.file.relative_to(tmp_path).parts) == 3


@pytest.mark.parametrize("text", ["", "x", "1e5", "+1", ".5", "1.", "nan", "0x1", "1_000", "١"])
def test_what_is_no_decimal_is_refused(opened: Opened, tmp_path: Path, text: str) -> None:
    data = opened(tmp_path, "x", "Y", "trades")
    with pytest.raises(DataError, match=r"'price': .* is no decimal number"):
        write(data, "2024-01-01", TRADES, [(START, "1", "1", "buy", "1"), (START, text, "1", "buy", "1")])


def test_numbers_of_more_digits_than_a_file_can_hold_are_refused(opened: Opened, tmp_path: Path) -> None:
    data = opened(tmp_path, "x", "Y", "trades")
    write(data, "2024-01-01", TRADES, [(START, "1" * 20 + "." + "2" * 18, "1", "buy", "1")])
    write(data, "2024-01-02", TRADES, [(START + 1, "-0." + "3" * 38, "1", "buy", "1")])
    with pytest.raises(DataError, match="38 digits"):
        write(data, "2024-01-03", TRADES, [(START + 2, "1", "1." + "2" * 38, "buy", "1")])
    with pytest.raises(DataError, match="no one column"):
        data.join(0)


def test_one_process_writes_a_set_at_a_time(opened: Opened, tmp_path: Path) -> None:
    opened(tmp_path, "x", "Y", "trades")
    with pytest.raises(ConfigError, match="another"), DataSet(tmp_path, "x", "Y", "trades").opened():
        pass
    opened(tmp_path, "x", "Y", "quotes")


def test_a_day_is_there_where_its_month_is(opened: Opened, tmp_path: Path) -> None:
    data = opened(tmp_path, "x", "Y", "trades")
    write(data, "2024-01", TRADES, [])
    assert [data.has(name) for name in ("2024-01", "2024-01-31", "2024-02-01", "2024-02")] == [True, True, False, False]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 400), max_size=12), max_size=5), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_parts_and_chunks_of_any_size_become_what_one_frame_would(
    minutes: list[list[int]], chunk_rows: int, memory_rows: int, stamp_rows: int
) -> None:
    """Against plain Python over all rows at once."""
    found = sorted(minute for part in minutes for minute in part)
    parts, rows = [], [bar(minute, f"{index + 1}.{index % 7}") for index, minute in enumerate(found)]
    taken = 0
    for index, part in enumerate(minutes):
        parts.append((f"2024-{index + 1:02}", rows[taken : taken + len(part)]))
        taken += len(part)
    with (
        TemporaryDirectory() as folder,
        patch.multiple("sim.data.store", ROWS_IN_MEMORY_MAX=memory_rows, STAMPS_IN_MEMORY_MAX=stamp_rows),
    ):
        data = DataSet(Path(folder), "x", "Y", "bars-1m")
        with data.opened():
            for name, content in parts:
                write(data, name, BARS, content, chunk_rows)
            summed = data.join(NS_PER_MINUTE)
        kept = [row for row, following in pairwise([*rows, bar(-1)]) if row[0] != following[0]]
        stamps = [int(row[0]) for row in kept]
        gaps = [pair for pair in pairwise(stamps) if pair[1] - pair[0] > NS_PER_MINUTE]
        assert (summed.rows, summed.repeated, summed.gaps) == (len(kept), len(rows) - len(kept), len(gaps))
        assert summed.gaps_shown == tuple(pair for pair in gaps if pair[0] // NS_PER_DAY == (pair[1] - 1) // NS_PER_DAY)[:5]
        if not kept:
            return
        assert summary(data.file, NS_PER_MINUTE) == replace(summed, repeated=0)
        (read,) = read_bars(TableSource(data.file, 1, 3), NS_PER_MINUTE)
        assert read["ts_event"].tolist() == [stamp + NS_PER_MINUTE for stamp in stamps]
        assert read["open"].tolist() == [parse_fixed(str(row[1]), 1) for row in kept]
