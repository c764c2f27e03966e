"""What a broken strategy asks for is denied, and the record of it can be written and read: a journal survives any strategy."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.enums import Side
from core.errors import StrategyError
from core.events import AnyEvent, OrderDenied, Quote, Started
from core.trader import DENIED_NAME_MAX
from tests.core.records import EQUITY
from tests.core.test_trader import Scripted, trader_of

KEY = EQUITY.instrument_id
HUGE = 1 << 70


def denied_by(**arguments: Any) -> OrderDenied:
    """The denial of one order with these arguments, through the journal's codec."""
    order = {"instrument_id": KEY, "side": Side.BUY, "quantity": 1, "price": 10_000, **arguments}
    trader = trader_of(Scripted(on_quote=lambda context, _quote: context.submit(**order)))
    trader.step(Started(1, 1, "r"))
    assert trader.step(Quote(2, 2, KEY, 9_999, 5, 10_001, 5)) == ()
    (denied,) = trader.denied
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(denied), type=AnyEvent) == denied
    assert trader.state_digest()
    return denied


@pytest.mark.parametrize("quantity", [HUGE, -HUGE, 1.5, float("nan"), None, "ten", True])
def test_absurd_quantities(quantity: Any) -> None:
    denied = denied_by(quantity=quantity)
    assert denied.limit == "order_qty_max"
    assert abs(denied.value) <= 1 << 63


@pytest.mark.parametrize("price", [HUGE, -HUGE, 1.5, float("nan"), "dear", True])
def test_absurd_prices(price: Any) -> None:
    assert abs(denied_by(price=price).value) <= 1 << 63


def test_an_expiry_beyond_64_bits() -> None:
    assert denied_by(expire_ts=HUGE).limit == "order_expire_ts"


@pytest.mark.parametrize("name", [5, None, ["ACME"], "\ud800", "x" * 1_000, "NOBODY.SIM"])
def test_absurd_instruments(name: Any) -> None:
    denied = denied_by(instrument_id=name)
    assert denied.limit == "instrument_allowed"
    assert len(denied.instrument_id) <= DENIED_NAME_MAX
    assert denied.instrument_id.strip("'")[:2] == ascii(name).strip("'")[:2]


def test_a_timer_beyond_64_bits_is_the_strategys_mistake() -> None:
    trader = trader_of(Scripted(on_start=lambda context: context.set_timer("later", HUGE)))
    with pytest.raises(StrategyError, match="does not fit in 64 bits"):
        trader.step(Started(1, 1, "r"))
