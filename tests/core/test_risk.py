"""The risk gate: each limit passes at its bound and denies one past it; what is missing or not a number never passes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, ReplaceOrder
from core.enums import MarketStatus, OrderType, Side, TimeInForce, TradingState
from core.errors import ConfigError
from core.events import Quote, Trade
from core.instruments import MONEY_SCALE, Instrument
from core.market_state import MarketState
from core.orders import Order
from core.portfolio import Position
from core.risk import Denied, InstrumentLimits, RateLimit, RiskGate
from core.units import NS_PER_SECOND
from tests.core.records import CRUDE, EQUITY, INVERSE, order_id, quote, store_of, submit

MONEY = 10**MONEY_SCALE
WIDE = InstrumentLimits(order_qty_max=10**9, order_notional_max=10**24, position_qty_max=10**12, price_collar_ppm=10**6)
NO_RATE = RateLimit(orders_max=1_000_000)


def gate_of(
    instrument: Instrument = EQUITY, rate: RateLimit = NO_RATE, bid: int | None = 9_999, ask: int = 10_001, **limits: int
) -> tuple[RiskGate, MarketState]:
    state = MarketState(instrument, Position(instrument))
    key = instrument.instrument_id
    if bid is not None:
        state.quote = quote(bid, ask, instrument_id=key)
    return RiskGate({key: state}, {key: msgspec.structs.replace(WIDE, **limits)}, rate), state


def verdict(gate: RiskGate, **changes: Any) -> str:
    """ "approved", or the name of the limit that denied."""
    result = gate.submit(submit(**changes))
    return "approved" if isinstance(result, Approved) else result.limit


def open_order(gate_state: MarketState, **changes: Any) -> Order:
    store, _ = store_of()
    store._states = {gate_state.instrument.instrument_id: gate_state}
    order = store.create(submit(**changes))
    store.submitted(order)
    return order


# Each limit, at the bound and one past it.


@pytest.mark.parametrize(
    ("limits", "passing", "denied", "name"),
    [
        ({"order_qty_max": 10}, {"quantity": 10}, {"quantity": 11}, "order_qty_max"),
        ({"order_notional_max": 1_000 * MONEY}, {"quantity": 10}, {"quantity": 11}, "order_notional_max"),
        ({"position_qty_max": 10}, {"quantity": 10}, {"quantity": 11}, "position_qty_max"),
        ({"position_qty_max": 10}, {"quantity": 10, "side": Side.SELL}, {"quantity": 11, "side": Side.SELL}, "position_qty_max"),
        ({"price_collar_ppm": 1_000}, {"price": 10_011}, {"price": 10_012}, "price_collar_ppm"),
        (
            {"price_collar_ppm": 1_000},
            {"price": 9_990, "side": Side.SELL},
            {"price": 9_989, "side": Side.SELL},
            "price_collar_ppm",
        ),
        ({"price_collar_ppm": 0}, {"price": 10_001}, {"price": 10_002}, "price_collar_ppm"),
    ],
)
def test_a_limit_passes_at_its_bound_and_denies_one_past_it(
    limits: dict[str, int], passing: dict[str, Any], denied: dict[str, Any], name: str
) -> None:
    assert verdict(gate_of(**limits)[0], **passing) == "approved"
    assert verdict(gate_of(**limits)[0], **denied) == name


def test_a_denial_names_limit_value_and_bound() -> None:
    gate, _ = gate_of(position_qty_max=10)
    assert gate.submit(submit(quantity=12)) == Denied("position_qty_max", 12, 10)


def test_the_instruments_own_rules() -> None:
    instrument = msgspec.structs.replace(EQUITY, tick=5, lot=10, qty_min=20, qty_max=100, price_min=50, price_max=20_000)
    gate, _ = gate_of(instrument, bid=10_000, ask=10_005)
    cases = {
        "on tick": {"quantity": 20, "price": 10_000},
        "off tick": {"quantity": 20, "price": 10_001},
        "off lot": {"quantity": 25, "price": 10_000},
        "too few": {"quantity": 10, "price": 10_000},
        "most": {"quantity": 100, "price": 10_000},
        "too many": {"quantity": 110, "price": 10_000},
        "lowest": {"quantity": 20, "price": 50},
        "too low": {"quantity": 20, "price": 45},
        "highest": {"quantity": 20, "price": 20_000},
        "too high": {"quantity": 20, "price": 20_005, "side": Side.SELL},
    }
    assert {name: verdict(gate, **changes) for name, changes in cases.items()} == {
        "on tick": "approved",
        "off tick": "instrument_tick",
        "off lot": "instrument_lot",
        "too few": "instrument_lot",
        "most": "approved",
        "too many": "order_qty_max",
        "lowest": "approved",
        "too low": "instrument_tick",
        "highest": "approved",
        "too high": "instrument_tick",
    }


def test_an_instrument_without_limits_is_not_allowed() -> None:
    gate, _ = gate_of()
    assert [verdict(gate, instrument_id=key) for key in ("MSFT.XNAS", "", None, 5, [], float("nan"))] == [
        "instrument_allowed"
    ] * 6


def test_limits_for_an_instrument_that_does_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="MSFT"):
        RiskGate({}, {"MSFT.XNAS": WIDE}, NO_RATE)


# Missing, stale and impossible markets.


def test_a_missing_or_stale_market_denies() -> None:
    got = {}
    got["no quote"] = verdict(gate_of(bid=None)[0])
    gate, state = gate_of(market_age_ns_max=100)
    got["quote at its age limit"] = verdict(gate, ts=101)
    got["quote past it"] = verdict(gate, ts=102)
    state.trade = Trade(50, 50, EQUITY.instrument_id, 10_000, 1, 2)
    got["a trade is newer"] = verdict(gate, ts=150)
    got["a trade as old"] = verdict(gate, ts=151)
    gate, state = gate_of()
    state.quote = quote(qty=0)
    got["both sides empty"] = verdict(gate)
    state.trade = Trade(50, 50, EQUITY.instrument_id, 10_000, 1, 2)
    got["both sides empty, but a trade"] = verdict(gate)
    gate, state = gate_of()
    state.is_gapped, state.quote = True, None
    state.trade = Trade(50, 50, EQUITY.instrument_id, 10_000, 1, 2)
    got["gap"] = verdict(gate)
    gate, _ = gate_of(bid=-1, ask=0)
    got["price of zero"] = verdict(gate, price=1)
    got["locked"] = verdict(gate_of(bid=10_001, ask=10_001)[0])
    got["crossed"] = verdict(gate_of(bid=10_002, ask=10_001)[0])
    gate, state = gate_of()
    state.quote = Quote(1, 1, EQUITY.instrument_id, 10_002, 0, 10_001, 5)
    got["crossed by an empty side"] = verdict(gate)
    assert got == {
        "no quote": "market_missing",
        "quote at its age limit": "approved",
        "quote past it": "market_age_ns_max",
        "a trade is newer": "approved",
        "a trade as old": "market_age_ns_max",
        "both sides empty": "market_missing",
        "both sides empty, but a trade": "approved",
        "gap": "market_gap",
        "price of zero": "market_price",
        "locked": "approved",
        "crossed": "market_crossed",
        "crossed by an empty side": "approved",
    }


@pytest.mark.parametrize("status", MarketStatus)
def test_only_a_trading_market_takes_orders(status: MarketStatus) -> None:
    gate, state = gate_of()
    state.status = status
    assert verdict(gate) == ("approved" if status is MarketStatus.TRADING else "market_status")


# Order types.


@pytest.mark.parametrize("side", Side)
def test_each_order_type_needs_its_own_prices(side: Side) -> None:
    given = {"none": (None, None), "price": (10_000, None), "trigger": (None, 10_000), "both": (10_000, 10_000)}
    passing = {
        (order_type.name, shape)
        for order_type in OrderType
        for shape, (price, trigger) in given.items()
        if verdict(gate_of()[0], side=side, order_type=order_type, price=price, trigger_price=trigger) == "approved"
    }
    assert passing == {("LIMIT", "price"), ("MARKET", "none"), ("STOP", "trigger"), ("STOP_LIMIT", "both")}


def test_a_market_order_is_judged_at_the_dearest_price_it_may_trade_at() -> None:
    market = {"order_type": OrderType.MARKET, "price": None, "quantity": 10}
    bought = 10 * (10_001 + 100) * MONEY // 100  # one per cent above the offer
    assert verdict(gate_of(price_collar_ppm=10_000, order_notional_max=bought)[0], **market) == "approved"
    assert verdict(gate_of(price_collar_ppm=10_000, order_notional_max=bought - 1)[0], **market) == "order_notional_max"
    sold = 10 * 9_999 * MONEY // 100  # a seller can get no more than the bid
    assert verdict(gate_of(order_notional_max=sold)[0], **market, side=Side.SELL) == "approved"
    assert verdict(gate_of(order_notional_max=sold - 1)[0], **market, side=Side.SELL) == "order_notional_max"


def test_a_crossing_limit_is_judged_at_the_better_price_too() -> None:
    sell = {"side": Side.SELL, "price": 9_000, "quantity": 10}
    assert verdict(gate_of(order_notional_max=999_90 * MONEY // 100)[0], **sell) == "approved"
    assert verdict(gate_of(order_notional_max=999_90 * MONEY // 100 - 1)[0], **sell) == "order_notional_max"


def test_an_inverse_contract_is_worth_most_at_the_lowest_price() -> None:
    limit = INVERSE.notional(500_000, 10)
    key = {"instrument_id": INVERSE.instrument_id, "quantity": 10}
    for changes in ({"price": 510_000}, {"order_type": OrderType.MARKET, "price": None}):
        assert verdict(gate_of(INVERSE, bid=499_990, ask=500_000, order_notional_max=limit)[0], **key, **changes) == "approved"
        assert (
            verdict(gate_of(INVERSE, bid=499_990, ask=500_000, order_notional_max=limit - 1)[0], **key, **changes)
            == "order_notional_max"
        )
    sold = {**key, "side": Side.SELL, "order_type": OrderType.MARKET, "price": None}
    at_the_collar = INVERSE.notional(250_000, 10)
    gates = [
        gate_of(INVERSE, bid=500_000, ask=500_010, price_collar_ppm=500_000, order_notional_max=at_the_collar - off)[0]
        for off in (0, 1)
    ]
    assert [verdict(gate, **sold) for gate in gates] == ["approved", "order_notional_max"]
    assert verdict(gate_of(INVERSE, bid=500_000, ask=500_010)[0], **sold) == "approved"  # a collar of 100 % reaches price 0


def test_stops_are_collared_around_their_trigger() -> None:
    stop_limit = {"order_type": OrderType.STOP_LIMIT, "trigger_price": 10_500}
    gate, _ = gate_of(price_collar_ppm=1_000)
    assert verdict(gate, **stop_limit, price=10_510) == "approved"
    assert verdict(gate, **stop_limit, price=10_511) == "price_collar_ppm"
    down = {"order_type": OrderType.STOP_LIMIT, "trigger_price": 9_500, "side": Side.SELL}
    assert verdict(gate, **down, price=9_491) == "approved"
    assert verdict(gate, **down, price=9_490) == "price_collar_ppm"
    stop = {"order_type": OrderType.STOP, "price": None, "trigger_price": 10_500, "quantity": 10}
    worth = 10 * 10_510 * MONEY // 100
    assert verdict(gate_of(price_collar_ppm=1_000, order_notional_max=worth)[0], **stop) == "approved"
    assert verdict(gate_of(price_collar_ppm=1_000, order_notional_max=worth - 1)[0], **stop) == "order_notional_max"


def test_negative_prices_where_the_instrument_has_them() -> None:
    gate, _ = gate_of(CRUDE, bid=-3_770, ask=-3_760, price_collar_ppm=10_000, order_notional_max=37_700 * MONEY)
    oil = {"instrument_id": CRUDE.instrument_id, "quantity": 1}
    prices = {
        "buy": (-3_723, Side.BUY),
        "buy high": (-3_722, Side.BUY),
        "sell": (-3_770, Side.SELL),
        "sell low": (-3_808, Side.SELL),
    }
    assert {name: verdict(gate, **oil, price=price, side=side) for name, (price, side) in prices.items()} == {
        "buy": "approved",
        "buy high": "price_collar_ppm",
        "sell": "approved",
        "sell low": "price_collar_ppm",
    }


# Not a number.


class Alike(int):
    """An int by inheritance only."""


HOSTILE: list[Any] = [
    float("nan"),
    float("inf"),
    -float("inf"),
    1.0,
    10_000.0,
    True,
    False,
    None,
    "10",
    b"10",
    Decimal(10),
    Decimal("NaN"),
    Alike(10),
    -1,
    0,
    1j,
    [],
    object(),
]
LEGAL: dict[str, set[int]] = {"price": set(), "trigger_price": set(), "display_qty": {0}, "expire_ts": {0}}


@pytest.mark.parametrize("order_type", OrderType)
@pytest.mark.parametrize("side", Side)
def test_no_field_of_a_wrong_kind_ever_passes(order_type: OrderType, side: Side) -> None:
    base: dict[str, Any] = {
        "side": side,
        "order_type": order_type,
        "quantity": 10,
        "price": 10_000 if order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None,
        "trigger_price": 10_000 if order_type in (OrderType.STOP, OrderType.STOP_LIMIT) else None,
        "time_in_force": TimeInForce.GTC,
        "post_only": False,
        "reduce_only": False,
        "display_qty": 0,
        "expire_ts": 0,
    }
    gate, _ = gate_of()
    assert verdict(gate, **base) == "approved"
    passed = []
    for name, legal in base.items():
        for value in HOSTILE:
            same = type(value) is type(legal) and (type(value) is not int or value == legal)
            if not same and verdict(gate, **{**base, name: value}) == "approved":
                passed.append((name, value))
    assert passed == []


@pytest.mark.parametrize("value", [float("nan"), 1.5, True, None, "1", -1])
@pytest.mark.parametrize(
    "name", ["order_qty_max", "order_notional_max", "position_qty_max", "price_collar_ppm", "market_age_ns_max"]
)
def test_limits_that_are_no_whole_numbers_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        msgspec.structs.replace(WIDE, **{name: value})


@pytest.mark.parametrize(
    "changes", [{"orders_max": v} for v in (0, -1, 1.0, True, None)] + [{"window_ns": v} for v in (0, -5, 1e9, True)]
)
def test_rates_that_are_no_whole_numbers_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        msgspec.structs.replace(NO_RATE, **changes)


@given(
    value=st.one_of(st.floats(), st.text(max_size=3), st.none(), st.booleans(), st.decimals()),
    name=st.sampled_from(["quantity", "price"]),
)
def test_a_replace_with_anything_else_never_passes(value: Any, name: str) -> None:
    gate, state = gate_of()
    order = open_order(state)
    fields = {"ts": 2, "client_order_id": order.client_order_id, "quantity": 10, "price": 10_000, name: value}
    assert isinstance(gate.replace(ReplaceOrder(**fields), order), Denied)


def test_fields_that_contradict_each_other() -> None:
    gate, _ = gate_of()
    cases: dict[str, dict[str, Any]] = {
        "all of it shown": {"display_qty": 10},
        "more shown than there is": {"display_qty": 11},
        "good till later": {"ts": 5, "time_in_force": TimeInForce.GTD, "expire_ts": 6},
        "good till now": {"ts": 5, "time_in_force": TimeInForce.GTD, "expire_ts": 5},
        "good till nothing": {"ts": 5, "time_in_force": TimeInForce.GTD},
    }
    assert {name: verdict(gate, **changes) for name, changes in cases.items()} == {
        "all of it shown": "approved",
        "more shown than there is": "order_display_qty",
        "good till later": "approved",
        "good till now": "order_expire_ts",
        "good till nothing": "order_expire_ts",
    }


# Rate.


@given(
    gaps=st.lists(st.integers(0, NS_PER_SECOND // 2), min_size=1, max_size=60),
    orders_max=st.integers(1, 5),
    window_ns=st.sampled_from([1, NS_PER_SECOND]),
)
def test_the_rate_window_is_exact(gaps: list[int], orders_max: int, window_ns: int) -> None:
    gate, _ = gate_of(rate=RateLimit(orders_max=orders_max, window_ns=window_ns))
    passed: list[int] = []
    now = 0
    for gap in gaps:
        now += gap
        # An order ages out of the window exactly window_ns after it was sent.
        recent = [ts for ts in passed if now - ts < window_ns]
        expected = "approved" if len(recent) < orders_max else "order_rate_max"
        assert verdict(gate, ts=now) == expected
        if expected == "approved":
            passed.append(now)


def test_a_denied_order_does_not_count_against_the_rate_and_a_replace_does() -> None:
    gate, state = gate_of(rate=RateLimit(orders_max=2))
    assert [verdict(gate, quantity=0) for _ in range(5)] == ["order_qty_max"] * 5
    assert verdict(gate) == "approved"
    order = open_order(state)
    assert isinstance(gate.replace(ReplaceOrder(0, order.client_order_id, 10, 9_990), order), Approved)
    assert verdict(gate) == "order_rate_max"


# Trading state, position and replace.


def test_halted_lets_nothing_through_but_cancels() -> None:
    gate, state = gate_of()
    order = open_order(state)
    gate.states.restrict("", TradingState.HALTED)
    assert verdict(gate) == "trading_state"
    assert gate.replace(ReplaceOrder(1, order.client_order_id, 1, 10_000), order) == Denied("trading_state", 2, 0)
    for cancel in (CancelOrder(1, order.client_order_id), CancelAll(1, None)):
        assert gate.cancel(cancel).command is cancel


@given(
    position=st.integers(-20, 20),
    open_buy=st.integers(0, 20),
    open_sell=st.integers(0, 20),
    quantity=st.integers(1, 25),
    side=st.sampled_from(Side),
)
def test_reducing_lets_through_only_what_cannot_grow_or_turn_the_position(
    position: int, open_buy: int, open_sell: int, quantity: int, side: Side
) -> None:
    gate, state = gate_of()
    gate.states.restrict("", TradingState.REDUCING)
    state.position.qty, state.open_buy_qty, state.open_sell_qty = position, open_buy, open_sell
    if side is Side.BUY:
        shrinks = position < 0 and open_buy + quantity <= -position
    else:
        shrinks = position > 0 and open_sell + quantity <= position
    assert verdict(gate, quantity=quantity, side=side) == ("approved" if shrinks else "trading_state_reducing")


@given(
    position=st.integers(-15, 15),
    open_buy=st.integers(0, 10),
    open_sell=st.integers(0, 10),
    quantity=st.integers(1, 30),
    buy=st.booleans(),
)
def test_the_worst_case_position_is_what_is_limited(
    position: int, open_buy: int, open_sell: int, quantity: int, buy: bool
) -> None:
    gate, state = gate_of(position_qty_max=10)
    state.position.qty, state.open_buy_qty, state.open_sell_qty = position, open_buy, open_sell
    worst = position + open_buy + quantity if buy else -(position - open_sell - quantity)
    assert verdict(gate, quantity=quantity, side=Side.BUY if buy else Side.SELL) == (
        "approved" if worst <= 10 else "position_qty_max"
    )


@given(quantity=st.integers(1, 30), other=st.integers(0, 5))
def test_a_replace_counts_only_what_it_adds(quantity: int, other: int) -> None:
    gate, state = gate_of(position_qty_max=12)
    order = open_order(state, quantity=5)
    state.open_buy_qty += other
    result = gate.replace(ReplaceOrder(1, order.client_order_id, quantity, 10_000), order)
    assert isinstance(result, Approved) is (max(quantity, 5) + other <= 12)


def test_a_replace_is_held_to_collar_tick_and_notional() -> None:
    instrument = msgspec.structs.replace(EQUITY, tick=5)
    gate, state = gate_of(instrument, bid=9_995, ask=10_000, price_collar_ppm=1_000, order_notional_max=1_000 * MONEY)
    order = open_order(state)
    cases = {
        (10, 10_000): None,
        (10, 10_001): "instrument_tick",
        (10, 10_015): "price_collar_ppm",
        (11, 10_000): "order_notional_max",
    }
    for (quantity, price), limit in cases.items():
        result = gate.replace(ReplaceOrder(1, order.client_order_id, quantity, price), order)
        assert (result.limit if isinstance(result, Denied) else None) == limit


def test_a_market_order_cannot_be_replaced() -> None:
    gate, state = gate_of()
    order = open_order(state, order_type=OrderType.MARKET, price=None)
    assert gate.replace(ReplaceOrder(1, order.client_order_id, 5, 10_000), order) == Denied("replace_without_price", 0, 1)
    assert order_id(1) == order.client_order_id
