"""A Trader's state as records: restored in a fresh Trader and taken down again it is the same, and limits go on from it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.enums import LiquiditySide, Reason, Side, TradingState
from core.errors import StateError
from core.events import (
    AnyEvent,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    Quote,
    Started,
    StateRestored,
    Stopping,
    TradingStateSet,
)
from core.restore import CLOSED_ORDERS_KEPT_MAX, capture
from core.risk import InstrumentLimits, RateLimit
from core.risk_limits import AccountLimits, LossLimits
from core.strategy import Subscription
from core.trader import Trader
from core.trader_state import TraderState
from tests.core.records import EQUITY

KEY = EQUITY.instrument_id
LIMITS = InstrumentLimits(order_qty_max=10**6, order_notional_max=10**16, position_qty_max=10**6, price_collar_ppm=500_000)
MONEY = 10**8


class Listener:
    """Does nothing but hear."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=KEY, quotes="size")]

    def on_start(self, context: Any) -> None:
        self.heard.append("start")

    def on_order(self, context: Any, order: Any, event: AnyEvent) -> None:
        self.heard.append(type(event).__name__)


def make_trader(account: AccountLimits | None = None, run_number: int = 1) -> tuple[Trader, Any]:
    rate = RateLimit(orders_max=10_000)
    cash = {"USD": 10**6 * MONEY}
    trader = Trader(instruments=[EQUITY], cash=cash, limits={KEY: LIMITS}, rate=rate, run_number=run_number, account=account)
    return trader, trader.add_strategy("a", Listener())


def quote(ts: int, price: int = 10_000) -> Quote:
    return Quote(ts, ts, KEY, price, 10, price + 1, 10)


def again(state: TraderState, account: AccountLimits | None = None, ts: int = 10**6) -> Trader:
    """A fresh Trader that took `state` from its record's bytes."""
    event = msgspec.msgpack.decode(msgspec.msgpack.encode(StateRestored(ts, ts, 1, state)), type=StateRestored)
    trader, _ = make_trader(account, run_number=2)
    trader.step(event)
    return trader


@given(
    st.lists(st.tuples(st.sampled_from(["buy", "sell", "accept", "fill", "cancel", "replace"]), st.integers(0, 9)), max_size=40)
)
def test_taken_down_restored_and_taken_down_again(script: list[tuple[str, int]]) -> None:
    trader, context = make_trader()
    ts = 1
    trader.step(quote(ts))
    for number, (what, pick) in enumerate(script):
        ts += 1
        orders = trader.orders.open_orders()
        order = orders[pick % len(orders)] if orders else None
        trader.now = ts
        if what in ("buy", "sell"):
            context.submit(KEY, Side.BUY if what == "buy" else Side.SELL, pick + 1, 10_000)
        elif order is None:
            continue
        elif what == "cancel":
            context.cancel(order)
            if pick % 2:
                trader.step(OrderCanceled(ts, ts, order.client_order_id, order.leaves_qty, Reason.REQUESTED))
        elif what == "replace":
            context.replace(order, pick + 1, 9_999)
        elif what == "accept" and not order.accepted and order.price is not None:
            trader.step(OrderAccepted(ts, ts, order.client_order_id, order.price, order.leaves_qty))
        elif what == "fill" and order.leaves_qty:
            qty = min(pick + 1, order.leaves_qty)
            left = order.leaves_qty - qty
            maker = LiquiditySide.MAKER
            trader.step(
                OrderFilled(
                    ts, ts, order.client_order_id, KEY, f"x{number}", order.side, 10_000 + pick, qty, left, maker, 3, "USD"
                )
            )
    state = capture(trader)
    restored = again(state)
    assert capture(restored) == state
    for name in ("open_buy_qty", "open_sell_qty", "open_orders"):
        assert getattr(restored.states[KEY], name) == getattr(trader.states[KEY], name)


def test_a_fill_booked_before_the_restart_is_not_booked_again() -> None:
    trader, context = make_trader()
    trader.step(quote(1))
    order = context.submit(KEY, Side.BUY, 5, 10_000)
    fill = OrderFilled(2, 2, order.client_order_id, KEY, "x1", Side.BUY, 10_000, 2, 3, LiquiditySide.MAKER, 0, "USD")
    trader.step(fill)
    restored = again(capture(trader))
    restored.step(msgspec.structs.replace(fill, ts_init=10**6))
    assert restored.duplicate_fills == 1
    assert restored.portfolio.by_instrument[KEY].qty == 2


def test_nobody_hears_of_anything_before_the_start_and_after_the_last_word() -> None:
    trader, context = make_trader()
    trader.step(quote(1))
    first, second = (context.submit(KEY, Side.BUY, 5, 10_000) for _ in range(2))
    restored = again(capture(trader))
    listener = restored.contexts[0].strategy
    ts = 10**6
    restored.step(OrderAccepted(ts, ts, first.client_order_id, 10_000, 5))
    assert listener.heard == []
    restored.step(Started(ts, ts, "r"))
    restored.step(OrderAccepted(ts, ts, second.client_order_id, 10_000, 5))
    restored.step(Stopping(ts, ts, "evening", is_final=True))
    restored.step(OrderCanceled(ts, ts, second.client_order_id, 5, Reason.REQUESTED))
    assert listener.heard == ["start", "OrderAccepted"]


def test_closed_orders_are_carried_over_up_to_their_bound() -> None:
    trader, context = make_trader()
    trader.step(quote(1))
    for number in range(CLOSED_ORDERS_KEPT_MAX + 5):
        order = context.submit(KEY, Side.BUY, 1, 10_000)
        trader.step(OrderCanceled(2 + number, 2 + number, order.client_order_id, 1, Reason.REQUESTED))
    kept = capture(trader).orders
    assert len(kept) == CLOSED_ORDERS_KEPT_MAX
    assert kept[-1].client_order_id == order.client_order_id


def test_a_state_is_restored_only_into_a_trader_that_has_done_nothing() -> None:
    trader, context = make_trader()
    state = capture(trader)
    trader.step(quote(1))
    context.submit(KEY, Side.BUY, 1, 10_000)
    with pytest.raises(StateError, match="only before the first order"):
        trader.step(StateRestored(2, 2, 1, state))


def test_a_restart_is_no_new_day_for_the_loss_limits() -> None:
    account = AccountLimits(currency="USD", loss=LossLimits(daily_loss_max=1_000 * MONEY))
    trader, context = make_trader(account)
    trader.step(Started(1, 1, "r"))
    trader.step(quote(10**9))
    order = context.submit(KEY, Side.BUY, 100, 10_000)
    ts = 2 * 10**9
    trader.step(OrderFilled(ts, ts, order.client_order_id, KEY, "x", Side.BUY, 10_000, 100, 0, LiquiditySide.MAKER, 0, "USD"))
    trader.step(quote(3 * 10**9, 9_400))
    assert trader.risk.trading_state is TradingState.ACTIVE
    restored = again(capture(trader), account, 4 * 10**9)
    restored.step(Started(4 * 10**9, 4 * 10**9, "r"))
    # The position has no market yet: equity is unknown, and what needs it is denied.
    assert restored.risk.trading_state is TradingState.ACTIVE
    restored.step(quote(5 * 10**9, 8_900))
    assert [tripped.limit for tripped in restored.tripped] == ["daily_loss_max"]
    assert restored.risk.trading_state is TradingState.HALTED


def test_the_state_of_each_strategy_is_kept() -> None:
    trader, _ = make_trader()
    trader.step(TradingStateSet(1, 1, TradingState.REDUCING, "all"))
    trader.step(TradingStateSet(1, 1, TradingState.HALTED, "this one", "a"))
    restored = again(capture(trader))
    assert (restored.risk.trading_state, restored.risk.states.strategies()) == (
        TradingState.REDUCING,
        [("a", TradingState.HALTED)],
    )
