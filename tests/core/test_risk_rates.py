"""Sliding windows against a plain count, and what they limit: messages, executions, a budget's orders."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.enums import Side
from core.errors import ConfigError
from core.events import TradingResumed
from core.risk_limits import ExecutionLimit, MessageLimit, StrategyBudget, WindowLimit
from core.risk_rates import SlidingWindow
from tests.core.account import Desk

BUY, SELL = Side.BUY, Side.SELL


@given(
    steps=st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=80),
    events_max=st.integers(1, 6),
    window_ns=st.integers(1, 12),
    data=st.data(),
)
def test_a_window_counts_what_happened_within_it(
    steps: list[tuple[int, bool]], events_max: int, window_ns: int, data: st.DataObject
) -> None:
    reserve = data.draw(st.integers(0, events_max - 1))
    window = SlidingWindow(events_max, window_ns)
    happened: list[int] = []
    now = 0
    for gap, is_event in steps:
        now += gap
        inside = [ts for ts in happened if now - ts < window_ns]
        assert window.has_room(now) is (len(inside) < events_max)
        assert window.has_room(now, reserve) is (len(inside) < events_max - reserve)
        assert window.count(now) == min(len(inside), events_max)
        if is_event:
            happened.append(now)
            window.add(now)


def test_cancels_are_counted_never_denied_and_have_a_reserve() -> None:
    desk = Desk(messages=MessageLimit(messages_max=5, cancel_reserve=2, window_ns=100))
    desk.stock()
    orders = [desk.order(BUY, 1) for _ in range(3)]
    assert desk.verdict(BUY, 1) == "messages_max 4 > 3"
    context = desk.trader.contexts[0]
    assert [context.cancel(order) for order in orders] == [True] * 3  # the third is past the limit itself
    assert desk.verdict(BUY, 1) == "messages_max 6 > 3"
    desk.stock(ts=100)
    assert desk.verdict(BUY, 1) == "messages_max 6 > 3"
    desk.stock(ts=101)  # everything was sent at 1
    assert desk.verdict(BUY, 1) == "sent"


def test_a_replace_is_a_message_and_an_order_of_the_budget() -> None:
    budget = StrategyBudget(orders=WindowLimit(events_max=2, window_ns=100))
    desk = Desk(strategies={"a": budget})
    desk.stock()
    order = desk.order(BUY, 1, 9_990)
    desk.accept(order)
    assert desk.trader.contexts[0].replace(order, 1, 9_991)
    assert desk.verdict(BUY, 1) == "strategy_orders_max 3 > 2"
    assert desk.verdict(BUY, 1, who="b") == "sent"
    desk.stock(ts=101)
    assert desk.verdict(BUY, 1) == "sent"  # the first has left the window, the replace has not
    assert desk.verdict(BUY, 1) == "strategy_orders_max 3 > 2"


def test_a_denied_order_is_no_message() -> None:
    desk = Desk(messages=MessageLimit(messages_max=1, cancel_reserve=0, window_ns=100))
    desk.stock()
    assert desk.verdict(BUY, 10**10).startswith("order_qty_max")
    assert desk.verdict(BUY, 1) == "sent"


def test_repeated_executions_of_one_side_are_throttled() -> None:
    desk = Desk(executions=ExecutionLimit(executions_max=2, window_ns=100))
    desk.stock()
    for _ in range(2):
        assert desk.verdict(BUY, 1) == "sent"
        desk.fill(next(iter(desk.trader.orders.open_orders())))
    assert desk.verdict(BUY, 1) == "executions_max 3 > 2"
    assert desk.verdict(SELL, 1) == "sent"
    assert desk.verdict(BUY, 1, who="b") == "sent"
    desk.stock(ts=101)
    assert desk.verdict(BUY, 1) == "executions_max 3 > 2"  # the fills came at 2 and 3
    desk.stock(ts=102)
    assert desk.verdict(BUY, 1) == "sent"
    assert (desk.trader.tripped, desk.trader.risk.states.strategies()) == ([], [])


def test_one_execution_too_many_halts_the_strategy_alone_until_it_is_resumed() -> None:
    desk = Desk(executions=ExecutionLimit(executions_max=2, window_ns=100, is_halting=True))
    desk.stock()
    order = desk.order(BUY, 10)
    other = desk.order(BUY, 10, who="b")
    for _ in range(2):
        desk.fill(order, 1)
    assert desk.trader.tripped == []
    desk.fill(order, 1)
    (tripped,) = desk.trader.tripped
    assert (tripped.limit, tripped.value, tripped.bound, tripped.strategy_id) == ("executions_max", 3, 2, "a")
    assert desk.sent[-1] == "CancelOrder"
    assert (order.status.name, other.status.name) == ("PENDING_CANCEL", "SUBMITTED")
    assert desk.verdict(SELL, 1) == "trading_state 2 > 0"
    assert desk.verdict(BUY, 1, who="b") == "sent"
    desk.step(TradingResumed(desk.now, desk.now, "looked into", strategy_id="a"))
    assert desk.verdict(BUY, 1) == "sent"  # counted from none


@pytest.mark.parametrize("value", [0, -1, 1.0, True, None, float("nan"), "1"])
@pytest.mark.parametrize(
    ("kind", "good", "name"),
    [
        (MessageLimit, {"messages_max": 5, "cancel_reserve": 1}, "messages_max"),
        (MessageLimit, {"messages_max": 5, "cancel_reserve": 1}, "window_ns"),
        (WindowLimit, {"events_max": 5, "window_ns": 1}, "events_max"),
        (WindowLimit, {"events_max": 5, "window_ns": 1}, "window_ns"),
        (ExecutionLimit, {"executions_max": 5, "window_ns": 1}, "executions_max"),
        (ExecutionLimit, {"executions_max": 5, "window_ns": 1}, "window_ns"),
    ],
)
def test_windows_that_are_no_whole_numbers_are_refused(kind: Any, good: dict[str, Any], name: str, value: Any) -> None:
    kind(**good)
    with pytest.raises(ConfigError):
        kind(**{**good, name: value})


@pytest.mark.parametrize("reserve", [-1, 5, 6, 1.0, True, None, float("nan")])
def test_a_reserve_leaves_room_for_orders(reserve: Any) -> None:
    with pytest.raises(ConfigError, match="cancel_reserve"):
        MessageLimit(messages_max=5, cancel_reserve=reserve)
