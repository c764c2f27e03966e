"""The run folder: parts become one table, nothing is visible before it is whole, and nothing is written over."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from core.errors import ConfigError, StorageError
from daemon.run_file import read_run
from daemon.run_folder import FILL_SCHEMA, RunFolder
from sim.recorder import EquitySample, OrderRow


def order(number: int) -> OrderRow:
    return OrderRow(
        client_order_id=number,
        strategy_id="maker",
        instrument_id="ACME.SIM",
        side="BUY",
        order_type="LIMIT",
        time_in_force="GTC",
        post_only=True,
        reduce_only=False,
        quantity=5,
        price=None if number % 2 else 9_900,
        trigger_price=None,
        price_scale=2,
        qty_scale=0,
        status="CANCELED",
        filled_qty=0,
        filled_value=1 << 70,
        ts_created=1,
        ts_updated=2,
    )


def test_parts_become_one_table_in_their_order(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    for start in (0, 10, 20):
        folder.add_orders([order(number) for number in range(start, start + 10)])
    folder.add_orders([])
    folder.write_equity([(EquitySample(1, "USD", 5, 4, 3, 2, 1), EquitySample(1, "BTC", 9, 8, 7, 6, 5))])
    folder.close_tables()
    assert not (tmp_path / "run").exists()
    assert folder.publish({"run_id": "run-1"}) == tmp_path / "run"
    orders = pl.read_parquet(tmp_path / "run" / "orders.parquet")
    assert orders["client_order_id"].to_list() == list(range(30))
    assert orders["filled_value"].to_list() == [1 << 70] * 30
    assert pl.read_parquet(tmp_path / "run" / "fills.parquet").schema == pl.Schema(FILL_SCHEMA)
    assert pl.read_parquet(tmp_path / "run" / "equity.parquet").rows() == [(1, "USD", 5, 4, 3, 2, 1), (1, "BTC", 9, 8, 7, 6, 5)]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "cash.parquet",
        "equity.parquet",
        "fills.parquet",
        "orders.parquet",
        "run.json",
    ]
    assert read_run(tmp_path / "run") == {"run_id": "run-1"}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / ".run.incomplete"
    left.mkdir()
    (left / "journal").mkdir()
    folder = RunFolder(tmp_path / "run")
    assert list(folder.path.iterdir()) == []
    folder.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").touch()
    with pytest.raises(ConfigError, match="is there already; a run folder is never written over"):
        RunFolder(tmp_path / "run")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="the run folder cannot be written: Not a directory"):
        RunFolder(tmp_path / "file" / "run")


def test_what_is_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no run folder: run\.json: No such file or directory"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.json: is damaged: "):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.json: is not the record of a run"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("/", "is no name for a run folder"), ("a\0b", "a zero byte"), ("a\udcff", "must be UTF-8 text")],
)
def test_a_name_that_no_table_can_be_written_under(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        RunFolder(tmp_path / name)


def test_a_name_that_is_too_long_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="File name too long"):
        RunFolder(tmp_path / ("a" * 300))


def test_characters_of_a_pattern_in_the_name_are_only_characters(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run[1]*")
    folder.add_orders([order(1)])
    folder.add_orders([order(2)])
    folder.close_tables()
    assert pl.read_parquet(folder.path / "orders.parquet", glob=False)["client_order_id"].to_list() == [1, 2]
