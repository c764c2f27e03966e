"""A strategy that asks for nonsense is denied, again and again: the run goes on, its folder is whole, its journal replays."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from core.events import OrderDenied
from daemon.journal.reader import JournalReader
from tests.daemon.session import CONFIG, run_of, tradingd, write_config

STRATEGY = """
from pydantic import BaseModel

from core.enums import Side
from core.strategy import Subscription


class Params(BaseModel):
    pass


class Absurd:
    Params = Params

    def __init__(self, params, instruments):
        self.left = [
            ("ACME.SIM", Side.BUY, 2**70, 10_000),
            ("ACME.SIM", Side.BUY, float("nan"), 10_000),
            ("ACME.SIM", Side.BUY, 1, 2**70),
            ("ACME.SIM", Side.BUY, 1, float("inf")),
            ("ACME.SIM", "buy", 1, 10_000),
            ("NOBODY.SIM", Side.BUY, 1, 10_000),
            (5, Side.SELL, 1, 10_000),
        ]

    def subscriptions(self):
        return [Subscription(instrument_id="ACME.SIM", quotes="price")]

    def on_quote(self, context, quote):
        if quote.ask_qty and self.left:
            context.submit(*self.left.pop())
"""


def test_nonsense_is_denied_and_recorded(tmp_path: Path) -> None:
    (tmp_path / "absurd_strategy.py").write_text(STRATEGY, encoding="utf-8")
    config = write_config(tmp_path, CONFIG.partition('class = "symmetric_maker"')[0] + 'class = "absurd_strategy:Absurd"\n')
    result = tradingd("backtest", config, "--json", "--out", "run", cwd=tmp_path)
    assert result.returncode == 0, result
    assert (run_of(result)["orders"], run_of(result)["orders_denied"]) == (0, 5)
    with JournalReader(tmp_path / "run") as reader:
        denied = [(record.instrument_id, record.limit) for record in reader if isinstance(record, OrderDenied)]
    assert denied == [
        ("5", "instrument_allowed"),
        ("NOBODY.SIM", "instrument_allowed"),
        ("ACME.SIM", "order_side"),
        ("ACME.SIM", "order_price_missing"),
        ("ACME.SIM", "instrument_tick"),
        ("ACME.SIM", "order_qty_max"),
        ("ACME.SIM", "order_qty_max"),
    ]
    orders = pl.read_parquet(tmp_path / "run" / "orders.parquet")
    assert orders["quantity"].to_list() == [1, 1, 1, None, None]
    assert orders["side"].to_list() == ["'buy'", "BUY", "BUY", "BUY", "BUY"]
    assert tradingd("replay", "run", cwd=tmp_path).returncode == 0
    assert tradingd("audit", "verify", "run", cwd=tmp_path).returncode == 0
    shown = tradingd("audit", "show", "run", "--kind", "denied", cwd=tmp_path)
    assert (shown.returncode, len(shown.stdout.splitlines())) == (0, 7)
