"""DAY orders end at the configured time of day, to the nanosecond and alike at every fidelity."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.daemon.session import run_of, tradingd, write_config

STRATEGY = """
from pydantic import BaseModel

from core.enums import Side, TimeInForce
from core.strategy import Subscription


class Params(BaseModel):
    pass


class Scripted:
    \"\"\"Two bids far below the market: one for the day, one until cancelled.\"\"\"

    Params = Params

    def __init__(self, params, instruments):
        self.sent = False

    def subscriptions(self):
        return [Subscription(instrument_id="AAPL.NASDAQ", quotes="price", bars_ns=60_000_000_000)]

    def on_quote(self, context, quote):
        if quote.bid_qty and quote.ask_qty:
            self._send(context)

    def on_bar(self, context, bar):
        self._send(context)

    def _send(self, context):
        if not self.sent:
            self.sent = True
            for time_in_force in (TimeInForce.DAY, TimeInForce.GTC):
                context.submit("AAPL.NASDAQ", Side.BUY, 10, 5700000, time_in_force=time_in_force)
"""
COMMON = """
[run]
name = "days"

[account.cash]
USD = 1000000

[[instruments.inline]]
instrument_id = "AAPL.NASDAQ"
class = "equity"
base_currency = "AAPL"
quote_currency = "USD"
price_scale = 4
qty_scale = 0
tick = 0.01
lot = 1

[risk]
order_qty_max = 100
order_notional_max = 100000
position_qty_max = 500
price_collar = "5%"

[[strategies]]
id = "mine"
class = "mine:Scripted"
"""
QUOTES = """
[[data]]
format = "quotes"
instrument_id = "AAPL.NASDAQ"
file = "data.csv"
"""
LOBSTER = """
[[data]]
format = "lobster"
instrument_id = "AAPL.NASDAQ"
messages = "data.csv"
session_date = 2012-06-21
"""
BARS = """
[[data]]
format = "bars"
instrument_id = "AAPL.NASDAQ"
file = "data.csv"
interval = "1m"
"""
FLOW = """
[[data]]
format = "flow"
instrument_id = "AAPL.NASDAQ"
start = 2012-06-21T13:59:58Z
duration = "5s"
price_start = 580
"""
FILES = {
    "l2": "ts_event,bid_price,ask_price,bid_qty,ask_qty\n"
    + "".join(f"2012-06-21T{time}Z,580.00,580.02,100,100\n" for time in ("13:59:00", "13:59:59", "14:00:00", "14:01:00")),
    # New York is four hours behind.
    "l3": "35940.0,1,1,100,5800000,1\n35940.1,1,2,100,5800200,-1\n36001.0,1,3,100,5799900,1\n",
    "bars": "ts_event,open,high,low,close,volume\n"
    + "".join(
        f"2012-06-21T{time}Z,580.00,580.10,579.90,580.00,100\n" for time in ("13:57:00", "13:58:00", "13:59:00", "14:00:00")
    ),
    "flow": "",
}


@pytest.mark.parametrize("day_end", ["14h", "0ns"])
@pytest.mark.parametrize(
    ("fidelity", "data"), [("l2", QUOTES), ("l3", LOBSTER), ("bars", BARS), ("flow", FLOW)], ids=["l2", "l3", "bars", "flow"]
)
def test_what_is_for_the_day_ends_with_it(tmp_path: Path, fidelity: str, data: str, day_end: str) -> None:
    (tmp_path / "mine.py").write_text(STRATEGY, encoding="utf-8")
    (tmp_path / "data.csv").write_text(FILES[fidelity], encoding="ascii")
    latency = 'model = "constant"\nentry = "1ms"\nresponse = "0ns"'
    venue = f'\n[venue]\nfidelity = "{fidelity}"\nday_end = "{day_end}"\n\n[venue.latency]\n{latency}\n'
    result = tradingd("backtest", write_config(tmp_path, COMMON + data + venue), "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    orders = pl.read_parquet(Path(run_of(result)["folder"]) / "orders.parquet").sort("client_order_id")
    assert orders.select("time_in_force", "status").rows() == [
        ("DAY", "EXPIRED" if day_end == "14h" else "ACCEPTED"),
        ("GTC", "ACCEPTED"),
    ]


def test_a_day_end_beyond_the_day_is_refused(tmp_path: Path) -> None:
    path = write_config(tmp_path, COMMON + QUOTES + '\n[venue]\nfidelity = "l2"\nday_end = "24h"\n')
    result = tradingd("config", "check", path, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (3, f"tradingd: {path}: venue.day_end: '24h' must be below 24h\n")
