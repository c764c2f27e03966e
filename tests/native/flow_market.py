"""One generator on one native book, for the tests of the order flow."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from native._native import ffi, lib

from native.flow import Flow
from sim.order_flow import flow_config, preset

REPORTS_MAX = 1 << 15
TRADE = lib.BOOK_REPORT_TRADE
NS = 1_000_000_000
NEVER = (1 << 63) - 1


class Market:
    """A Flow and its book: `symbol` is 0, tick and lot as given, the snapshot is in the book."""

    def __init__(
        self, preset_name: str = "normal", *, seed: int = 1, seconds: int = 3600, tick: int = 1, lot: int = 1, **changes: Any
    ):
        fields = {name: changes.pop(name) for name in list(changes) if name in type(preset("normal")).__struct_fields__}
        session = {"ts_start": 0, "ts_end": seconds * NS, "price_min": tick, "price_max": 1_000_000 * tick}
        session |= {"price_start": 10_000 * tick, **changes}
        settings = msgspec.structs.replace(preset(preset_name), **fields)
        self.config = flow_config(settings, seed=seed, tick=tick, lot=lot, **session)
        self.flow = Flow(self.config)
        limits = {"orders_max": 1 << 15, "levels_max": 1 << 13, "symbols_max": 2, "owners_max": 8, "stp_mode": 0}
        self.book = ffi.gc(lib.book_new(ffi.new("book_config *", limits)), lib.book_free)
        rules = {"tick": tick, "lot": lot, "qty_min": lot, "qty_max": 1 << 40}
        rules |= {"price_min": session["price_min"], "price_max": session["price_max"]}
        assert lib.book_symbol_add(self.book, ffi.new("book_symbol *", rules)) == 0
        self.reports = ffi.new("book_report[]", REPORTS_MAX)
        self.initial = self.flow.snapshot()
        for index in range(len(self.initial)):
            assert self.apply(self.initial[index : index + 1]) == 1

    def apply(self, row: npt.NDArray[Any]) -> int:
        """Gives a row of the generator to the book: the number of reports."""
        source = ffi.from_buffer("md_row *", row)
        return int(lib.flow_apply(self.book, 0, source, self.reports, REPORTS_MAX))

    def run(self, *, until_ts: int = NEVER, rows_max: int = 1_000_000) -> npt.NDArray[Any]:
        return self.flow.run(self.book, 0, until_ts=until_ts, rows_max=rows_max)[0]

    def best(self, side: int) -> tuple[int, int] | None:
        """(price, quantity) of the best level, None where the side is empty."""
        level = ffi.new("book_level *")
        return (level.price, level.qty) if lib.book_best(self.book, 0, side, level) == 1 else None

    def crossed(self) -> bool:
        bid, ask = self.best(0), self.best(1)
        return bid is not None and ask is not None and bid[0] >= ask[0]

    def check(self) -> None:
        self.flow.check(self.book, 0)
        assert lib.book_check(self.book) == 0


def limits(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return rows[(rows["kind"] == lib.MD_ADD) & (rows["flags"] & lib.MD_FLAG_IOC == 0)]


def markets(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return rows[(rows["kind"] == lib.MD_ADD) & (rows["flags"] & lib.MD_FLAG_IOC != 0)]


def kolmogorov_smirnov(sample: npt.NDArray[np.float64], cdf: Any) -> float:
    """Largest distance between the sample's distribution and `cdf` (vectorised), times sqrt(n): 1.95 is one in a thousand."""
    ordered = np.sort(sample)
    n = len(ordered)
    values = cdf(ordered)
    above = np.arange(1, n + 1) / n - values
    below = values - np.arange(n) / n
    return float(max(above.max(), below.max()) * np.sqrt(n))
