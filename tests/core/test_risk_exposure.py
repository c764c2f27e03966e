"""Exposure, margin, leverage and capital: each limit at its bound and one past it, and what is unknown denied."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.enums import InstrumentClass, OrderStatus, OrderType, Reason, Side, TradingState
from core.errors import ConfigError
from core.events import GapDetected, OrderCanceled, OrderOutcomeUnknown, TradingStateSet
from core.instruments import Instrument
from core.market_state import MarketState
from core.portfolio import Position
from core.risk import RateLimit
from core.risk_conversion import ONE, Conversion
from core.risk_exposure import ExposureBook
from core.risk_limits import (
    AccountLimits,
    ExecutionLimit,
    ExposureLimit,
    LossLimits,
    MessageLimit,
    SelfTrade,
    StrategyBudget,
)
from core.trader import Trader
from tests.core.account import CENT, MONEY, PERP, STOCK, WIDE, Desk
from tests.core.records import CRUDE, EQUITY, INVERSE, PERPETUAL, filled, quote
from tests.core.test_risk import HOSTILE

BUY, SELL = Side.BUY, Side.SELL


def at_bound(quantity: int, past: str, limits: dict[str, Any] | None = None, side: Side = BUY, **account: Any) -> None:
    """An order of `quantity` passes, and one of one more is denied as `past` says."""
    for wanted, expected in ((quantity, "sent"), (quantity + 1, past))[quantity == 0 :]:
        desk = Desk(limits=limits, **account)
        desk.stock()
        desk.perp()
        assert desk.verdict(side, wanted) == expected, wanted


# Gross and net.


def test_each_exposure_limit_at_its_bound() -> None:
    bought, sold = 10 * 10_001 * CENT, 10 * 9_999 * CENT
    at_bound(10, f"gross_exposure_max {11 * 10_001 * CENT} > {bought}", exposure=ExposureLimit(gross_max=bought))
    at_bound(
        10,
        f"gross_exposure_max.USD {11 * 10_001 * CENT} > {bought}",
        exposure_by_currency={"USD": ExposureLimit(gross_max=bought)},
    )
    at_bound(10, f"net_exposure_max {11 * 10_001 * CENT} > {bought}", exposure=ExposureLimit(net_max=bought))
    at_bound(10, f"net_exposure_max {11 * 9_999 * CENT} > {sold}", exposure=ExposureLimit(net_max=sold), side=SELL)
    at_bound(
        10, f"net_exposure_max.USD {11 * 10_001 * CENT} > {bought}", exposure_by_currency={"USD": ExposureLimit(net_max=bought)}
    )


def test_gross_adds_what_nets_out() -> None:
    desk = Desk(exposure=ExposureLimit(gross_max=2_100 * MONEY, net_max=1_010 * MONEY))
    desk.stock()
    desk.perp()
    assert desk.verdict(BUY, 10) == "sent"  # 1,000.10
    assert desk.verdict(SELL, 10_000, key=PERP) == "sent"  # 1,001: what is open in others is valued at the offer
    assert desk.verdict(BUY, 1) == f"gross_exposure_max {11 * 10_001 * CENT + 1_001 * MONEY} > {2_100 * MONEY}"
    # Whether the sale fills nobody knows: it is no room for another purchase, nor a purchase for another sale.
    desk.stock(4_999, 5_001)
    assert desk.verdict(BUY, 11, 5_001) == f"net_exposure_max {21 * 5_001 * CENT} > {1_010 * MONEY}"
    assert desk.verdict(SELL, 1, 4_999) == f"net_exposure_max {1_001 * MONEY + 4_999 * CENT} > {1_010 * MONEY}"


def test_open_orders_count_until_the_venue_says_they_are_gone() -> None:
    desk = Desk(exposure=ExposureLimit(gross_max=10 * 10_001 * CENT))
    desk.stock()
    order = desk.order(BUY, 6)
    assert desk.verdict(BUY, 5).startswith("gross_exposure_max")
    desk.trader.contexts[0].cancel(order)
    assert desk.verdict(BUY, 5).startswith("gross_exposure_max")
    desk.step(OrderOutcomeUnknown(desk.now, desk.now, order.client_order_id))
    assert order.status.name == "UNKNOWN"
    assert desk.verdict(BUY, 5).startswith("order_unknown")
    assert desk.verdict(BUY, 5, who="b").startswith("gross_exposure_max")
    desk.fill(order, 2)
    desk.stock()
    assert desk.verdict(BUY, 5).startswith("gross_exposure_max")
    assert desk.verdict(BUY, 4) == "sent"


def test_a_way_out_is_never_held_back() -> None:
    """The market has moved so far that what is held is past every limit: it can still be sold, and not added to."""
    limit = 10 * 10_001 * CENT
    desk = Desk(
        cash=1_100 * MONEY,
        limits={"initial_margin_ppm": 900_000},
        exposure=ExposureLimit(gross_max=limit, net_max=limit),
        leverage_ppm_max=1_000_000,
        strategies={"a": StrategyBudget(capital_max=limit)},
    )
    desk.stock()
    desk.fill(desk.order(BUY, 10))
    desk.stock(19_999, 20_001)
    assert desk.verdict(BUY, 1, 20_001).split()[0] == "strategy_capital_max"
    assert desk.verdict(BUY, 1, 20_001, who="b").split()[0] == "gross_exposure_max"
    assert desk.verdict(SELL, 10, 19_999) == "sent"
    assert desk.verdict(SELL, 1, 19_999) == "sent"  # one past flat is a worst case of 1 short: no more than the 10 long


def test_net_holds_a_hedge_together_until_trading_is_reducing() -> None:
    desk = Desk(exposure=ExposureLimit(net_max=100 * MONEY))
    desk.stock()
    desk.perp()
    for _ in range(5):
        desk.fill(desk.order(SELL, 1, who="a"))
        desk.fill(desk.order(BUY, 1_000, who="a", key=PERP))
    assert desk.verdict(BUY, 5).startswith("net_exposure_max")
    desk.step(TradingStateSet(desk.now, desk.now, TradingState.REDUCING, "close all"))
    assert desk.verdict(BUY, 5) == "sent"


# Several currencies.


def test_currencies_are_converted_for_the_limits_over_everything() -> None:
    conversion: dict[str, int | str] = {"USDT": ONE * 3 // 2}
    desk = Desk(exposure=ExposureLimit(gross_max=151 * MONEY), conversion=conversion)
    desk.stock()
    desk.perp()
    assert desk.verdict(BUY, 1_000, key=PERP) == "sent"  # 100.10 USDT are 150.15 USD
    assert desk.verdict(BUY, 1) == f"gross_exposure_max {15_015 * CENT + 10_001 * CENT} > {151 * MONEY}"
    assert desk.verdict(BUY, 9, key=PERP).startswith("gross_exposure_max")
    assert desk.verdict(BUY, 5, key=PERP) == "sent"


def test_a_limit_in_one_currency_leaves_the_others_alone() -> None:
    desk = Desk(exposure_by_currency={"USDT": ExposureLimit(gross_max=100 * MONEY)})
    desk.stock()
    desk.perp()
    assert desk.verdict(BUY, 100) == "sent"
    assert desk.verdict(BUY, 1_000, key=PERP) == f"gross_exposure_max.USDT {10_010 * CENT} > {100 * MONEY}"
    assert desk.verdict(BUY, 999, key=PERP) == "sent"


RATE = Instrument(
    instrument_id="USDTUSD.KRAKEN",
    instrument_class=InstrumentClass.SPOT,
    base_currency="USDT",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=4,
    qty_scale=2,
)


def test_the_market_of_an_instrument_is_a_rate_and_without_it_nothing_is_known() -> None:
    conversion = Conversion("USD", {"USDT": RATE.instrument_id}, {RATE.instrument_id: RATE})
    assert (conversion.covers("USDT"), conversion.down("USDT", 1), conversion.down("USD", 7)) == (True, None, 7)
    assert conversion.mark(RATE, 9_990, 9_994)
    assert (conversion.down("USDT", 10_000), conversion.up("USDT", 10_001), conversion.up("USDT", -10_001)) == (
        9_992,
        9_993,
        -9_992,
    )
    conversion.mark(RATE, -1, 1)
    assert conversion.down("USDT", 1) is None
    inverted = msgspec.structs.replace(RATE, base_currency="USD", quote_currency="USDT", settlement_currency="USDT")
    conversion = Conversion("USD", {"USDT": RATE.instrument_id}, {RATE.instrument_id: inverted})
    conversion.mark(inverted, 20_000, 20_000)
    assert conversion.down("USDT", 10) == 5


def desk_with_rate(**account: Any) -> tuple[Trader, Any]:
    instruments = [PERPETUAL, RATE]
    trader = Trader(
        instruments=instruments,
        cash={"USD": 1_000 * MONEY},
        limits={instrument.instrument_id: WIDE for instrument in instruments},
        rate=RateLimit(orders_max=100),
        run_number=1,
        account=AccountLimits(currency="USD", conversion={"USDT": RATE.instrument_id}, mark_interval_ns=0, **account),
    )

    class Quiet:
        def subscriptions(self) -> list[Any]:
            return []

    return trader, trader.add_strategy("a", Quiet())


def test_what_cannot_be_converted_is_denied() -> None:
    trader, context = desk_with_rate(exposure=ExposureLimit(gross_max=10**6 * MONEY, net_max=10**6 * MONEY))
    trader.step(quote(999, 1_001, 1, PERP))
    context.submit(PERP, BUY, 1_000, 1_001)
    assert (trader.denied[-1].limit, trader.denied[-1].bound) == ("conversion_rate.USDT", 1)
    trader.step(quote(9_998, 10_002, 2, RATE.instrument_id))
    assert context.submit(PERP, BUY, 1_000, 1_001).status.name == "SUBMITTED"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"USDT": "NOBODY.HERE"}, "not configured"),
        ({"BTC": RATE.instrument_id}, "no market between BTC and USD"),
        ({"USD": 5}, "into itself is 1"),
    ],
)
def test_a_conversion_that_cannot_be_is_refused(given: dict[str, int | str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Conversion("USD", given, {RATE.instrument_id: RATE})


@pytest.mark.parametrize("rate", [0, -1, 1.5, float("nan"), True, None])
def test_a_rate_that_is_no_whole_number_is_refused(rate: Any) -> None:
    with pytest.raises(ConfigError, match="USDT"):
        AccountLimits(currency="USD", conversion={"USDT": rate})


def test_a_currency_without_a_rate_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="USDT into USD is missing"):
        Desk(conversion={}, exposure=ExposureLimit(gross_max=1))


# Equity: margin and leverage.


def test_margin_and_leverage_at_their_bounds() -> None:
    ten = 10 * 10_001 * CENT
    at_bound(
        10, f"initial_margin_max {11 * 10_001 * CENT // 10} > {ten // 10}", limits={"initial_margin_ppm": 100_000}, cash=ten // 10
    )
    at_bound(10, f"leverage_max {11 * 10_001 * CENT} > {ten}", leverage_ppm_max=4_000_000, cash=ten // 4)
    at_bound(0, f"leverage_max {10_001 * CENT} > 0", leverage_ppm_max=0)


def test_profit_raises_what_may_be_held_and_a_loss_lowers_it() -> None:
    desk = Desk(cash=1_000 * MONEY, leverage_ppm_max=1_000_000)
    desk.stock()
    desk.fill(desk.order(BUY, 5))
    assert desk.verdict(BUY, 5).startswith("leverage_max")  # 1,000.10
    desk.stock(10_103, 10_105)  # worth 5.10 more: 1,005.10 of equity, ten cost 1,010.50
    assert desk.verdict(BUY, 5, 10_105).startswith("leverage_max")
    desk.stock(9_903, 9_905)  # worth 4.90 less: 995.10 of equity, ten cost 990.50, and one is 99.05
    assert desk.verdict(BUY, 6, 9_905) == f"leverage_max {11 * 9_905 * CENT} > {99_510 * CENT}"
    assert desk.verdict(BUY, 5, 9_905) == "sent"


def test_without_a_known_equity_nothing_new_leaves() -> None:
    desk = Desk(loss=LossLimits(daily_loss_max=100 * MONEY))
    desk.stock()
    order = desk.order(BUY, 1)
    # A fee in a currency that has no rate: what the account is worth is not known any more.
    desk.now += 1
    event = filled(qty=1, ts=desk.now, commission=5, commission_currency="BNB")
    desk.step(msgspec.structs.replace(event, client_order_id=order.client_order_id))
    assert desk.verdict(BUY, 1) == "equity_missing 0 > 1"
    desk.step(TradingStateSet(desk.now, desk.now, TradingState.REDUCING, "close all"))
    assert desk.verdict(SELL, 1) == "sent"


def test_a_margin_for_some_instruments_only_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"margin of BTCUSDT-PERP\.BINANCE is missing"):
        Trader(
            instruments=[EQUITY, PERPETUAL],
            cash={},
            limits={STOCK: msgspec.structs.replace(WIDE, initial_margin_ppm=1), PERP: WIDE},
            rate=RateLimit(orders_max=1),
            run_number=1,
            account=AccountLimits(currency="USD", conversion={"USDT": ONE}),
        )
    with pytest.raises(ConfigError, match="currency is missing"):
        Trader(
            instruments=[EQUITY],
            cash={},
            limits={STOCK: msgspec.structs.replace(WIDE, initial_margin_ppm=1)},
            rate=RateLimit(orders_max=1),
            run_number=1,
        )


# Budgets.


def test_each_limit_of_a_budget_at_its_bound() -> None:
    ten = 10 * 10_001 * CENT
    at_bound(10, f"strategy_capital_max {11 * 10_001 * CENT} > {ten}", strategies={"a": StrategyBudget(capital_max=ten)})
    at_bound(10, "strategy_position_qty_max 11 > 10", strategies={"a": StrategyBudget(position_qty_max={STOCK: 10})})
    at_bound(10, "strategy_position_qty_max 11 > 10", side=SELL, strategies={"a": StrategyBudget(position_qty_max={STOCK: 10})})
    desk = Desk(strategies={"a": StrategyBudget(open_orders_max=2)})
    desk.stock()
    desk.perp()
    first = desk.order(BUY, 1)
    assert desk.verdict(BUY, 1, key=PERP) == "sent"
    assert desk.verdict(BUY, 1) == "strategy_open_orders_max 3 > 2"
    assert desk.verdict(BUY, 1, who="b") == "sent"
    desk.fill(first)
    assert desk.verdict(BUY, 1) == "sent"


def test_a_budget_counts_the_strategys_own_position_over_all_its_instruments() -> None:
    budget = StrategyBudget(capital_max=1_100 * MONEY, position_qty_max={STOCK: 5})
    desk = Desk(strategies={"a": budget})
    desk.stock()
    desk.perp()
    desk.fill(desk.order(BUY, 50, who="b"))
    desk.fill(desk.order(BUY, 5))
    assert desk.verdict(BUY, 1) == "strategy_position_qty_max 6 > 5"
    assert desk.verdict(SELL, 10) == "sent"
    assert desk.verdict(SELL, 1) == "strategy_position_qty_max 6 > 5"
    assert desk.verdict(BUY, 5_989, key=PERP) == "sent"  # 500.05 and 599.4989
    assert desk.verdict(BUY, 20, key=PERP).startswith("strategy_capital_max")


def test_margin_is_what_binds_capital_where_there_is_one() -> None:
    desk = Desk(limits={"initial_margin_ppm": 100_000}, strategies={"a": StrategyBudget(capital_max=100 * MONEY)})
    desk.stock()
    assert desk.verdict(BUY, 9) == "sent"
    assert desk.verdict(BUY, 1).startswith("strategy_capital_max")


def test_open_orders_of_an_instrument() -> None:
    desk = Desk(limits={"open_orders_max": 2})
    desk.stock()
    desk.perp()
    for who in "ab":
        assert desk.verdict(BUY, 1, who=who) == "sent"
    assert desk.verdict(BUY, 1) == "open_orders_max 3 > 2"
    assert desk.verdict(BUY, 1, key=PERP) == "sent"
    order = desk.trader.orders.open_orders()[0]
    desk.accept(order)
    assert desk.trader.contexts[0].replace(order, 2, 9_990)  # no further order


def test_a_locked_market_is_a_choice() -> None:
    verdicts = []
    for is_denied in (False, True):
        desk = Desk(limits={"is_locked_denied": is_denied})
        desk.stock(10_000, 10_000)
        verdicts.append(desk.verdict(BUY, 1, 10_000))
    assert verdicts == ["sent", "market_locked 10000 > 10000"]


# Whatever order it comes in, the lazy sums are those of a plain count.


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "fill", "end", "stock", "perp", "lose"]),
        st.integers(1, 30),
        st.integers(0, 5),
        st.booleans(),
    ),
    max_size=40,
)


@given(actions=ACTIONS, rate=st.sampled_from([ONE // 3, ONE, ONE * 7 // 5]))
def test_each_verdict_is_that_of_a_plain_count(actions: list[tuple[str, int, int, bool]], rate: int) -> None:
    limits = {"gross": 3_000 * MONEY, "net": 2_000 * MONEY, "capital": 1_500 * MONEY}
    desk = Desk(
        conversion={"USDT": rate},
        exposure=ExposureLimit(gross_max=limits["gross"], net_max=limits["net"]),
        strategies={"a": StrategyBudget(capital_max=limits["capital"])},
    )
    prices = {STOCK: 10_000, PERP: 1_000}
    desk.stock(10_000, 10_000)
    desk.perp(1_000, 1_000)
    for action, number, which, flag in actions:
        key, who = (STOCK, PERP)[flag], "ab"[which % 2]
        open_orders = desk.trader.orders.open_orders()
        if action in ("buy", "sell"):
            side, qty = BUY if action == "buy" else SELL, number if key == STOCK else 1_000 * number
            expected = plain_verdict(desk, rate, prices, limits, side, qty, key, who)
            assert desk.verdict(side, qty, prices[key], who=who, key=key) == expected
        elif action in ("stock", "perp"):
            key = STOCK if action == "stock" else PERP
            prices[key] += (number - 15) * (10 if key == STOCK else 1)
            (desk.stock if key == STOCK else desk.perp)(prices[key], prices[key])
        elif open_orders:
            order = open_orders[which % len(open_orders)]
            if action == "fill":
                desk.fill(order, min(number, order.leaves_qty), price=prices[order.instrument_id])
            elif action == "lose":
                desk.step(OrderOutcomeUnknown(desk.now, desk.now, order.client_order_id))
            else:
                desk.now += 1
                desk.step(OrderCanceled(desk.now, desk.now, order.client_order_id, order.leaves_qty, Reason.REQUESTED))


def worst_of(desk: Desk, key: str, who: str, side: Side, qty: int) -> tuple[int, int]:
    """(bought, sold) of an instrument if all that buys (sells) fills, with `qty` more; counted from orders and positions."""
    orders = [order for order in desk.trader.orders.open_orders(key) if who in ("", order.strategy_id)]
    portfolio = desk.trader.portfolio
    held = (portfolio.position_of(who, key) if who else portfolio.by_instrument[key]).qty
    bought = held + sum(order.reserved_qty for order in orders if order.side is BUY)
    sold = -held + sum(order.reserved_qty for order in orders if order.side is SELL)
    return (bought + qty, sold) if side is BUY else (bought, sold + qty)


def plain_verdict(
    desk: Desk, rate: int, prices: dict[str, int], limits: dict[str, int], side: Side, qty: int, key: str, who: str
) -> str:
    def worth(of: str, amount: int) -> int:
        factor = ONE if of == STOCK else rate
        return -(-desk.trader.instruments[of].notional(prices[of], amount) * factor // ONE)

    def grows(scope: str) -> bool:
        return max(worst_of(desk, key, scope, side, qty)) > max(worst_of(desk, key, scope, side, 0))

    unknown = [
        order.reserved_qty
        for order in desk.trader.orders.open_orders(key)
        if order.status is OrderStatus.UNKNOWN and order.strategy_id == who and order.side is side
    ]
    if unknown:
        return f"order_unknown {sum(unknown)} > 0"
    if who == "a" and grows("a"):
        capital = sum(worth(of, max(worst_of(desk, of, "a", side, qty if of == key else 0))) for of in prices)
        if capital > limits["capital"]:
            return f"strategy_capital_max {capital} > {limits['capital']}"
    after = {of: worst_of(desk, of, "", side, qty if of == key else 0) for of in prices}
    gross = sum(worth(of, max(worst)) for of, worst in after.items())
    if grows("") and gross > limits["gross"]:
        return f"gross_exposure_max {gross} > {limits['gross']}"
    net = sum(worth(of, worst[side]) for of, worst in after.items())
    return f"net_exposure_max {net} > {limits['net']}" if net > limits["net"] else "sent"


# Other kinds of contract.


@pytest.mark.parametrize(("instrument", "bid", "ask"), [(INVERSE, 499_990, 500_010), (CRUDE, -3_770, -3_760)])
def test_inverse_contracts_and_negative_prices_are_counted_by_their_size(instrument: Instrument, bid: int, ask: int) -> None:
    key = instrument.instrument_id
    state = MarketState(instrument, Position(instrument))
    currency = instrument.settlement_currency
    conversion = Conversion(currency, {}, {})
    for side, price in ((BUY, ask), (SELL, bid)):
        worth = abs(instrument.notional(price, 10))
        verdicts = []
        for bound in (worth, worth - 1):
            limits = AccountLimits(currency=currency, exposure=ExposureLimit(gross_max=bound, net_max=bound))
            book = ExposureBook({key: state}, limits, {}, conversion, lambda _strategy, _key: Position(instrument))
            denied = book.check(book.instruments[key], side, 10, price, False)
            verdicts.append(None if denied is None else (denied.limit, denied.value))
        assert verdicts == [None, ("gross_exposure_max", worth)]


def test_a_position_whose_market_was_never_seen_denies_what_would_grow() -> None:
    desk = Desk(exposure=ExposureLimit(gross_max=10**6 * MONEY))
    desk.trader.portfolio.by_instrument[PERP].qty = 1_000
    state = desk.trader.states[PERP]
    assert state.watch is not None
    state.watch.touch()
    desk.stock()
    assert desk.verdict(BUY, 1) == "exposure_unpriced 1 > 0"
    desk.perp()
    assert desk.verdict(BUY, 1) == "sent"
    desk.step(GapDetected(desk.now, desk.now, PERP))  # the last mark is kept
    assert desk.verdict(BUY, 1) == "sent"
    assert desk.verdict(BUY, 1, None, order_type=OrderType.LIMIT) == "sent"


LEGAL_BESIDES: dict[str, tuple[Any, ...]] = {
    "display_qty": (0,),
    "expire_ts": (0,),
    "trigger_price": (None,),
    "post_only": (True, False),
}


@pytest.mark.parametrize(
    "field", ["quantity", "price", "trigger_price", "time_in_force", "post_only", "display_qty", "expire_ts"]
)
def test_with_every_limit_on_nothing_of_a_wrong_kind_passes(field: str) -> None:
    desk = Desk(
        limits={"initial_margin_ppm": 1, "open_orders_max": 10**6, "is_locked_denied": True, "market_age_ns_max": 10**9},
        exposure=ExposureLimit(gross_max=10**20, net_max=10**20),
        leverage_ppm_max=10**12,
        messages=MessageLimit(messages_max=10**5, cancel_reserve=1),
        self_trade=SelfTrade.ANY,
        executions=ExecutionLimit(executions_max=5, window_ns=5),
        loss=LossLimits(daily_loss_max=1, weekly_loss_max=1, drawdown_ppm_max=1),
        strategies={"a": StrategyBudget(capital_max=10**20, position_qty_max={STOCK: 10**9}, open_orders_max=10**6)},
    )
    desk.stock()
    context = desk.trader.contexts[0]
    base: dict[str, Any] = {"quantity": 1, "price": 10_000}
    assert context.submit(STOCK, BUY, **base).status.name == "SUBMITTED"
    passed = []
    for value in HOSTILE:
        if any(type(value) is type(fine) and value == fine for fine in LEGAL_BESIDES.get(field, ())):
            continue
        if context.submit(STOCK, BUY, **{**base, field: value}).status.name != "DENIED":
            passed.append(value)
    assert passed == []


@pytest.mark.parametrize("value", [float("nan"), 1.0, True, "1", -1])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ExposureLimit, "gross_max"),
        (ExposureLimit, "net_max"),
        (AccountLimits, "leverage_ppm_max"),
        (AccountLimits, "mark_interval_ns"),
        (StrategyBudget, "capital_max"),
        (StrategyBudget, "open_orders_max"),
    ],
)
def test_limits_that_are_no_whole_numbers_are_refused(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        kind(**{"currency": "USD", name: value} if kind is AccountLimits else {name: value})


@pytest.mark.parametrize("value", [float("nan"), 1.0, True, None, -1])
def test_a_position_limit_of_a_budget_is_a_whole_number_of_a_known_instrument(value: Any) -> None:
    with pytest.raises(ConfigError, match=STOCK):
        StrategyBudget(position_qty_max={STOCK: value})
    with pytest.raises(ConfigError, match=r"MSFT\.XNAS"):
        Desk(strategies={"a": StrategyBudget(position_qty_max={"MSFT.XNAS": 1})})


@pytest.mark.parametrize("name", ["open_orders_max", "initial_margin_ppm"])
@pytest.mark.parametrize("value", [float("nan"), 1.5, True, None, "1", -1])
def test_instrument_limits_that_are_no_whole_numbers_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        msgspec.structs.replace(WIDE, **{name: value})


@pytest.mark.parametrize("value", [0, 1, None, "true", float("nan")])
def test_a_choice_is_true_or_false(value: Any) -> None:
    with pytest.raises(ConfigError, match="is_locked_denied"):
        msgspec.structs.replace(WIDE, is_locked_denied=value)


def test_limits_in_money_need_a_currency() -> None:
    with pytest.raises(ConfigError, match="currency"):
        AccountLimits(leverage_ppm_max=1)
