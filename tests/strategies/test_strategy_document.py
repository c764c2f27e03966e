"""docs/STRATEGY.md: its examples are taken out of the document and run."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from core.approved import Approved
from core.commands import CancelOrder, SubmitOrder
from core.context import StrategyContext
from core.enums import OrderType, Side
from core.events import OrderFilled, Started
from core.risk import InstrumentLimits, RateLimit
from core.strategy import Subscription
from core.trader import Trader
from sim.bar_matching import BarFillRules
from sim.bar_venue import BarVenue
from strategies.catalog import CALLBACKS, STRATEGIES, load_strategy
from tests.sim.bar_driver import INSTRUMENT, make_series
from tests.strategies.scripted import INSTRUMENT as QUOTED
from tests.strategies.scripted import INSTRUMENT_ID, Script

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "STRATEGY.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
TOML = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def breakout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "breakout.py").write_text(PYTHON[0], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("breakout", None)
    name = tomllib.loads(TOML[0])["strategies"][0]["class"]
    return load_strategy(name)


def test_the_example_trades(breakout: Any) -> None:
    params = breakout.Params(instrument_id=INSTRUMENT.instrument_id, order_qty="3", stop_distance="5", window_bars=3)
    trader = Trader(
        instruments=[INSTRUMENT],
        cash={"USD": 10**12},
        limits={
            INSTRUMENT.instrument_id: InstrumentLimits(
                order_qty_max=10, order_notional_max=10**15, position_qty_max=10, price_collar_ppm=100_000
            )
        },
        rate=RateLimit(orders_max=10),
        run_number=1,
    )
    trader.add_strategy("breakout", breakout(params, [INSTRUMENT]))
    flat, jump = (100, 101, 99, 100, 9), (101, 106, 101, 105, 9)
    rows = [flat, flat, flat, jump, (105, 108, 104, 108, 9), (108, 108, 99, 101, 9), flat, flat, flat, flat, jump]
    rows += [(105, 106, 104, 106, 9), (106, 106, 102, 102, 9), (102, 103, 101, 102, 9), (102, 103, 101, 102, 9)]
    venue = BarVenue([INSTRUMENT], [make_series(rows)], BarFillRules())
    seen = []
    trader.step(Started(0, 0, "run"))
    for event in venue.events():
        if isinstance(event, OrderFilled):
            seen.append((event.side.name, event.qty, event.price))
        for command in trader.step(event):
            assert isinstance(command, Approved)
            venue.send(command)
    # In at the open after the first breakout, out by the stop 5 below; in again, out by the signal.
    assert seen == [("BUY", 3, 105), ("SELL", 3, 100), ("BUY", 3, 105), ("SELL", 3, 102)]
    assert trader.portfolio.by_instrument[INSTRUMENT.instrument_id].qty == 0


def test_the_maker_example_quotes() -> None:
    scope: dict[str, Any] = {"__name__": "one_tick_back"}
    (example,) = (block for block in PYTHON if "class OneTickBack" in block)
    exec(compile(example, "STRATEGY.md", "exec"), scope)
    maker = scope["OneTickBack"]
    params = maker.Params(instrument_id=INSTRUMENT_ID, order_qty="0.010", position_qty_max="0.020", ticks_back=2)
    script = Script(maker(params, [QUOTED]))
    commands = script.at(1).quote(1000, 1001)
    sent = [approved.command for approved in commands]
    assert [(type(one), one.side, one.price, one.post_only) for one in sent] == [
        (SubmitOrder, Side.BUY, 998, True),
        (SubmitOrder, Side.SELL, 1003, True),
    ]
    stopped = [approved.command for approved in script.at(2).stop()]
    assert [type(one) for one in stopped] == [CancelOrder, CancelOrder]


def test_the_document_names_what_there_is() -> None:
    for name in (*STRATEGIES, *CALLBACKS):
        assert f"`{name}" in TEXT or f'"{name}"' in TEXT, name
    for name in (
        "submit",
        "replace",
        "cancel",
        "cancel_all",
        "set_timer",
        "position",
        "quote",
        "book",
        "last_trade",
        "open_orders",
    ):
        assert hasattr(StrategyContext, name)
        assert f"context.{name}" in TEXT, name
    for field in Subscription.__struct_fields__:
        assert field in TEXT, field
    assert OrderType.STOP.name in PYTHON[0]
