"""The run folder: built under a temporary name beside its place and renamed when whole; half a run is never taken for one."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from core.errors import ConfigError, StorageError
from daemon.run_file import RUN_FILE
from sim.metrics import MARKOUT_HORIZONS_NS
from sim.recorder import CashRow, EquitySample, FillRow, OrderRow, row_values

ROWS_PER_PART = 20_000

Result = TypeVar("Result")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")

_MARKOUTS = [f"mid_twice_{horizon // 10**9}s" for horizon in MARKOUT_HORIZONS_NS]
FILL_SCHEMA: dict[str, Any] = {
    "ts_event": pl.Int64,
    "ts_init": pl.Int64,
    "strategy_id": pl.String,
    "client_order_id": pl.Int64,
    "instrument_id": pl.String,
    "execution_id": pl.String,
    "side": pl.String,
    "price": pl.Int64,
    "qty": pl.Int64,
    "price_scale": pl.Int8,
    "qty_scale": pl.Int8,
    "liquidity_side": pl.String,
    "commission": pl.Int64,
    "commission_currency": pl.String,
    "position_qty": pl.Int64,
    "mid_twice": pl.Int64,
    **dict.fromkeys(_MARKOUTS, pl.Int64),
}
ORDER_SCHEMA: dict[str, Any] = {
    "client_order_id": pl.Int64,
    "strategy_id": pl.String,
    "instrument_id": pl.String,
    "side": pl.String,
    "order_type": pl.String,
    "time_in_force": pl.String,
    "post_only": pl.Boolean,
    "reduce_only": pl.Boolean,
    "quantity": pl.Int64,
    "price": pl.Int64,
    "trigger_price": pl.Int64,
    "price_scale": pl.Int8,
    "qty_scale": pl.Int8,
    "status": pl.String,
    "filled_qty": pl.Int64,
    "filled_value": pl.Int128,
    "ts_created": pl.Int64,
    "ts_updated": pl.Int64,
}
CASH_SCHEMA: dict[str, Any] = {
    "ts_event": pl.Int64,
    "ts_init": pl.Int64,
    "kind": pl.String,
    "currency": pl.String,
    "amount": pl.Int64,
    "instrument_id": pl.String,
    "movement_id": pl.String,
}
EQUITY_SCHEMA: dict[str, Any] = {
    "ts": pl.Int64,
    "currency": pl.String,
    "equity": pl.Int64,
    "realized_pnl": pl.Int64,
    "unrealized_pnl": pl.Int64,
    "fees": pl.Int64,
    "carry": pl.Int64,
}


class RunFolder:
    """`path` is where files go while the run lasts; `final` is the name it gets in the end."""

    def __init__(self, final: Path) -> None:
        self.final = final
        _check_name(final)
        self.path = final.with_name(f".{final.name}.incomplete")
        if self._guard(lambda: final.exists() and (not final.is_dir() or any(final.iterdir()))):
            raise ConfigError(f"{final}: is there already; a run folder is never written over: choose another with --out")
        self._guard(self._prepare)
        self._parts: dict[str, int] = {"fills": 0, "orders": 0, "cash": 0}

    def _prepare(self) -> None:
        if self.path.exists():
            shutil.rmtree(self.path)  # what a run that was killed left behind
        self.path.mkdir(parents=True)

    def add_fills(self, rows: Sequence[FillRow]) -> None:
        """One part of fills.parquet; parts keep the memory of a long run bounded."""
        if rows:
            values = [(*row_values(row)[:-1], *row.mid_twice_later) for row in rows]
            self._add_part("fills", values, FILL_SCHEMA)

    def add_orders(self, rows: Sequence[OrderRow]) -> None:
        if rows:
            self._add_part("orders", [row_values(row) for row in rows], ORDER_SCHEMA)

    def add_cash(self, rows: Sequence[CashRow]) -> None:
        if rows:
            self._add_part("cash", [row_values(row) for row in rows], CASH_SCHEMA)

    def _add_part(self, name: str, values: list[tuple[Any, ...]], schema: dict[str, Any]) -> None:
        self._parts[name] += 1
        path = self.path / f".{name}.{self._parts[name]:06d}.parquet"
        self._guard(lambda: pl.DataFrame(values, schema=schema, orient="row").write_parquet(path))

    def write_equity(self, samples: Sequence[tuple[EquitySample, ...]]) -> None:
        rows = [row_values(sample) for moment in samples for sample in moment]
        frame = pl.DataFrame(rows, schema=EQUITY_SCHEMA, orient="row")
        self._guard(lambda: frame.write_parquet(self.path / "equity.parquet"))

    def close_tables(self) -> None:
        """Parts become one file each; a run without fills has an empty table with the same columns."""
        for name, schema in (("fills", FILL_SCHEMA), ("orders", ORDER_SCHEMA), ("cash", CASH_SCHEMA)):
            self._guard(partial(self._join, name, schema))

    def _join(self, name: str, schema: dict[str, Any]) -> None:
        parts = sorted(self.path.glob(f".{name}.*.parquet"))
        target = self.path / f"{name}.parquet"
        if not parts:
            pl.DataFrame(schema=schema).write_parquet(target)
        elif len(parts) == 1:
            parts[0].rename(target)
        else:
            pl.scan_parquet(parts, glob=False).sink_parquet(target)
            for part in parts:
                part.unlink()

    def publish(self, run: dict[str, Any]) -> Path:
        """Write run.json, flush it to the disk, and give the folder its name."""
        self._guard(lambda: self._publish(run))
        return self.final

    def _publish(self, run: dict[str, Any]) -> None:
        with open(self.path / RUN_FILE, "w", encoding="utf-8") as file:
            json.dump(run, file, indent=2, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        if self.final.exists():
            self.final.rmdir()  # an empty folder that --out named
        self.path.rename(self.final)

    def discard(self) -> None:
        """Take away what was written: after a full disk, half a run is worth less than the space it takes."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _guard(self, write: Callable[[], Result]) -> Result:
        try:
            return write()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StorageError(f"{self.final}: the run folder cannot be written: {_reason(error)}") from error


def _check_name(folder: Path) -> None:
    if not folder.name:
        raise ConfigError(f"{folder}: is no name for a run folder")
    if "\0" in str(folder):
        raise ConfigError(f"{str(folder)!r}: a zero byte cannot be part of a folder's name")
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError:
        # Parquet files are written by polars, which takes names as text.
        raise ConfigError(f"{str(folder)!r}: the run folder's name must be UTF-8 text; choose another with --out") from None


def _reason(error: Exception) -> str:
    """The system's own words; polars passes them on wrapped in its own."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    number = _OS_ERROR.search(str(error))
    return os.strerror(int(number[1])) if number else str(error)
