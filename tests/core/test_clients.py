"""Client programs in the Trader: the same orders as a strategy's, one for each name, nobody else's, over restarts too."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import clients
from core.approved import Approved
from core.commands import CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import OrderType, Reason, Side, TradingState
from core.errors import StrategyError
from core.events import (
    ClientCancelRequested,
    ClientOrderRequested,
    ClientReplaceRequested,
    FlattenRequested,
    OrderAccepted,
    OrderCanceled,
    Quote,
    StateRestored,
    TradingStateSet,
)
from core.restore import capture
from core.risk import InstrumentLimits, RateLimit
from core.risk_limits import AccountLimits, StrategyBudget
from core.strategy import Subscription
from core.trader import Trader
from tests.core.records import EQUITY, filled

KEY = EQUITY.instrument_id
LIMITS = InstrumentLimits(order_qty_max=100, order_notional_max=10**16, position_qty_max=1_000, price_collar_ppm=500_000)
SEES = [Subscription(instrument_id=KEY, quotes="size")]


class Idle:
    def subscriptions(self) -> list[Subscription]:
        return SEES


def make_trader(run_number: int = 1, account: AccountLimits | None = None) -> Trader:
    trader = Trader(
        instruments=[EQUITY],
        cash={"USD": 10**14},
        limits={KEY: LIMITS},
        rate=RateLimit(orders_max=10_000),
        run_number=run_number,
        account=account,
    )
    trader.add_strategy("maker", Idle())
    trader.clients.add("alice", SEES)
    trader.clients.add("bob", SEES)
    return trader


def started(account: AccountLimits | None = None) -> Trader:
    trader = make_trader(account=account)
    trader.step(Quote(1, 1, KEY, 10_000, 10, 10_001, 10))
    return trader


def wanted(
    ref: str, client_id: str = "alice", quantity: int = 5, price: int | None = 10_000, **more: Any
) -> ClientOrderRequested:
    return ClientOrderRequested(2, 2, client_id, ref, KEY, Side.BUY, OrderType.LIMIT, quantity, price, **more)


def commands(trader: Trader, event: Any) -> list[Any]:
    return [sent.command if isinstance(sent, Approved) else sent for sent in trader.step(event)]


def test_a_clients_order_is_the_one_a_strategy_would_have_sent() -> None:
    trader, other = started(), started()
    (sent,) = commands(trader, wanted("a", post_only=True))
    other.now = 2
    order = other.contexts[1].submit(KEY, Side.BUY, 5, 10_000, post_only=True)
    assert sent == SubmitOrder(2, order.client_order_id, "alice", KEY, Side.BUY, OrderType.LIMIT, 5, 10_000, post_only=True)
    assert trader.clients.name_of(order.client_order_id) == "a"


def test_a_denial_is_the_gates_own_and_is_remembered_with_the_name() -> None:
    account = AccountLimits(currency="USD", strategies={"alice": StrategyBudget(position_qty_max={KEY: 7})})
    trader = started(account)
    assert len(commands(trader, wanted("a"))) == 1
    assert commands(trader, wanted("b")) == []
    (denied,) = trader.denied
    assert (denied.strategy_id, denied.limit, denied.value, denied.bound) == ("alice", "strategy_position_qty_max", 10, 7)
    found = trader.clients.find("alice", "b")
    assert found is not None
    assert (found.client_order_id, found.limit, found.value, found.bound) == (denied.client_order_id, denied.limit, 10, 7)
    # Another client has a budget of its own, or none.
    assert len(commands(trader, wanted("b", "bob"))) == 1


def test_the_same_name_makes_no_second_order_but_another_clients_does() -> None:
    trader = started()
    (first,) = commands(trader, wanted("a"))
    assert commands(trader, wanted("a", quantity=9)) == []
    (other,) = commands(trader, wanted("a", "bob"))
    assert (first.strategy_id, other.strategy_id) == ("alice", "bob")
    assert len(trader.orders.orders) == 2


def test_a_client_cancels_and_replaces_its_own_orders_only() -> None:
    trader = started()
    (sent,) = commands(trader, wanted("a"))
    order_id = sent.client_order_id
    trader.step(OrderAccepted(3, 3, order_id, 10_000, 5))
    assert commands(trader, ClientCancelRequested(4, 4, "bob", order_id)) == []
    assert commands(trader, ClientReplaceRequested(4, 4, "bob", order_id, 4, 9_999)) == []
    assert commands(trader, ClientReplaceRequested(5, 5, "alice", order_id, 4, 9_999)) == [ReplaceOrder(5, order_id, 4, 9_999, 0)]
    assert commands(trader, ClientCancelRequested(6, 6, "alice", order_id)) == [CancelOrder(6, order_id)]
    assert commands(trader, ClientCancelRequested(6, 6, "alice", order_id)) == [], "one is on its way"


def test_an_operator_cancels_anybodys_order_and_what_is_gone_is_left_alone() -> None:
    trader = started()
    trader.now = 2
    order = trader.contexts[0].submit(KEY, Side.BUY, 5, 10_000)
    assert commands(trader, ClientCancelRequested(4, 4, "", order.client_order_id))[-1] == CancelOrder(4, order.client_order_id)
    trader.step(OrderCanceled(5, 5, order.client_order_id, 5, Reason.REQUESTED))
    assert commands(trader, ClientCancelRequested(6, 6, "", order.client_order_id)) == []
    assert commands(trader, ClientCancelRequested(6, 6, "", 999)) == []


def test_a_replace_that_the_gate_denies_says_so() -> None:
    trader = started()
    (sent,) = commands(trader, wanted("a"))
    trader.step(OrderAccepted(3, 3, sent.client_order_id, 10_000, 5))
    assert commands(trader, ClientReplaceRequested(4, 4, "alice", sent.client_order_id, 101, 10_000)) == []
    denied = trader.clients.last_denied
    assert denied is not None
    assert (denied.limit, denied.value, denied.bound, trader.denied) == ("order_qty_max", 101, 100, [denied])
    assert len(commands(trader, ClientReplaceRequested(5, 5, "alice", sent.client_order_id, 6, 10_000))) == 1
    assert trader.clients.last_denied is None


def test_a_client_is_halted_and_flattened_like_any_strategy() -> None:
    trader = started()
    (sent,) = commands(trader, wanted("a"))
    trader.step(filled(1, qty=5, ts=3))
    (closing,) = commands(trader, FlattenRequested(4, 4, "evening"))
    assert (closing.strategy_id, closing.side, closing.quantity, closing.reduce_only) == ("alice", Side.SELL, 5, True)
    trader.step(TradingStateSet(5, 5, TradingState.HALTED, "no more", "alice"))
    assert commands(trader, msgspec.structs.replace(wanted("b"), ts_init=5)) == []
    assert [denied.limit for denied in trader.denied] == ["trading_state"]
    assert len(commands(trader, msgspec.structs.replace(wanted("b", "bob"), ts_init=5))) == 1
    assert sent.strategy_id == "alice"


def test_a_request_of_nobody_is_an_error() -> None:
    trader = started()
    with pytest.raises(StrategyError, match="there is no client 'eve'"):
        trader.step(wanted("a", "eve"))
    with pytest.raises(StrategyError, match="two strategies are called 'maker'"):
        trader.clients.add("maker", [])


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["alice", "bob"]), st.integers(0, 120)), max_size=30))
def test_names_are_the_same_after_a_restart(script: list[tuple[str, str, int]]) -> None:
    trader = started()
    made: dict[tuple[str, str], int] = {}
    for ts, (ref, client_id, quantity) in enumerate(script, 2):
        trader.step(msgspec.structs.replace(wanted(ref, client_id, quantity), ts_init=ts))
        found = trader.clients.find(client_id, ref)
        assert found is not None
        assert made.setdefault((client_id, ref), found.client_order_id) == found.client_order_id
    state = capture(trader)
    event = msgspec.msgpack.decode(msgspec.msgpack.encode(StateRestored(10**6, 10**6, 1, state)), type=StateRestored)
    again = make_trader(run_number=2)
    again.step(event)
    assert capture(again) == state
    again.step(Quote(10**6, 10**6, KEY, 10_000, 10, 10_001, 10))
    for (client_id, ref), order_id in made.items():
        assert commands(again, msgspec.structs.replace(wanted(ref, client_id, 1), ts_init=10**6)) == []
        assert again.clients.find(client_id, ref) == trader.clients.find(client_id, ref)
        assert again.clients.name_of(order_id) == ref


def test_an_old_name_is_forgotten_only_with_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "REFS_KEPT_MAX", 3)
    trader = started()
    trader.orders.closed_kept_max = 2
    for number in range(8):
        (sent,) = commands(trader, wanted(f"n{number}", quantity=1))
        if number:  # the first one stays open
            trader.step(OrderCanceled(2, 2, sent.client_order_id, 1, Reason.REQUESTED))
    known = [record.client_ref for record in trader.clients.capture()]
    assert known[0] == "n0", "its order is open"
    assert known[-3:] == ["n5", "n6", "n7"]
    assert len(known) <= 6
    for record in trader.clients.capture():
        assert trader.clients.name_of(record.client_order_id) == record.client_ref


def test_names_are_part_of_the_state_digest() -> None:
    trader, other = started(), started()
    trader.step(wanted("a"))
    other.step(wanted("b"))
    assert trader.state_digest() != other.state_digest()
