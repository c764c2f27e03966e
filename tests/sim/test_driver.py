"""The backtest's loop: one hand-computed run, the same result however it is cut, halts, denials and strategies that raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.enums import InstrumentClass, Side, TradingState
from core.errors import StrategyError
from core.events import AnyEvent, OrderFilled, Quote, Started, Stopping, TimerFired, TradingStateSet
from core.instruments import Instrument
from core.orders import Order
from core.risk import InstrumentLimits, RateLimit
from core.strategy import Context, Subscription
from core.trader import Trader
from core.units import NS_PER_SECOND
from sim.driver import Driver
from sim.recorder import Recorder, row_values
from sim.report import live_numbers, statistics
from tests.sim.scripted_venue import ScriptedVenue

S = NS_PER_SECOND
ACME = Instrument(
    instrument_id="ACME.SIM",
    instrument_class=InstrumentClass.EQUITY,
    base_currency="ACME",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=2,
    qty_scale=0,
    maker_fee_rate=100_000,  # 0.01 %
)
LIMITS = {
    "ACME.SIM": InstrumentLimits(order_qty_max=10, order_notional_max=10**15, position_qty_max=100, price_collar_ppm=100_000)
}


class BuyThenSell:
    """Buys 5 at the first bid, sells them one point higher; asks for a timer; remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.order: Order | None = None

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id="ACME.SIM", quotes="price")]

    def on_start(self, context: Context) -> None:
        context.set_timer("late", context.now + 3 * S)

    def on_quote(self, context: Context, quote: Quote) -> None:
        if self.order is None:
            self.order = context.submit("ACME.SIM", Side.BUY, 5, quote.bid_price)

    def on_fill(self, context: Context, order: Order, fill: OrderFilled) -> None:
        self.told.append(("fill", context.now // S, fill.side.name, fill.price))
        if fill.side is Side.BUY:
            context.submit("ACME.SIM", Side.SELL, 5, fill.price + 100)

    def on_timer(self, context: Context, name: str) -> None:
        self.told.append((name, context.now // S))

    def on_halt(self, context: Context, state: TradingState, reason: str) -> None:
        self.told.append(("halt", state.name, reason))

    def on_stop(self, context: Context, reason: str) -> None:
        self.told.append(("stop", reason))


def quote(second: int, bid: int, ask: int) -> Quote:
    return Quote(second * S, second * S, "ACME.SIM", bid, 10, ask, 10)


# Bid 99.00; falls through it at 4 s; rises through 100.00 at 8 s.
QUOTES = [
    quote(1, 9_900, 9_902),
    quote(4, 9_898, 9_900),
    quote(6, 9_950, 9_952),
    quote(8, 10_000, 10_002),
    quote(20, 10_004, 10_006),
]


class Kept:
    """A journal that keeps its records in a list."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    @property
    def append(self) -> Callable[[Any], None]:
        return self.records.append

    def flush_if_full(self) -> None:
        return


def make(strategy: Any, quotes: list[Quote] = QUOTES, samples_max: int = 1_000) -> tuple[Driver, Kept]:
    trader = Trader(instruments=[ACME], cash={"USD": 1_000 * 10**8}, limits=LIMITS, rate=RateLimit(orders_max=100), run_number=1)
    trader.add_strategy("maker", strategy)
    journal = Kept()
    venue = ScriptedVenue(ACME, quotes)
    recorder = Recorder(trader, venue.best, quotes[0].ts_init, S, samples_max)
    driver = Driver(trader, venue, recorder, run_id="test-1", ts_start=quotes[0].ts_init, journal=journal)
    return driver, journal


def run(driver: Driver, wakeups: int = 1_000) -> None:
    driver.start()
    while not driver.venue.done:
        driver.advance(wakeups, 1 << 62)
    driver.finish("end of data")


def run_on(driver: Driver) -> None:
    while not driver.venue.done:
        driver.advance(10, 1 << 62)


def test_a_run_by_hand() -> None:
    strategy = BuyThenSell()
    driver, journal = make(strategy)
    run(driver)
    assert strategy.told == [
        ("late", 4),
        ("fill", 4, "BUY", 9_900),
        ("fill", 8, "SELL", 10_000),
        ("stop", "end of data"),
    ]
    found = statistics(driver.trader, driver.recorder, trading_day_ns=86_400 * S, trading_days_per_year=365)
    # Bought 5 at 99.00 and sold them at 100.00; fees 0.01 % of 495 and of 500. The equity curve never falls but by the fees.
    assert {key: found[key] for key in ("realized_pnl", "unrealized_pnl", "fees", "net_pnl", "equity_start", "equity_end")} == {
        "realized_pnl": "5.00000000",
        "unrealized_pnl": "0.00000000",
        "fees": "0.09950000",
        "net_pnl": "4.90050000",
        "equity_start": "1000.00000000",
        "equity_end": "1004.90050000",
    }
    # Held from 4 s to 8 s of the 19 s: 20 / 19.
    assert found["inventory_time_weighted"] == "1.0526"
    assert (found["orders"], found["fills"], found["fill_rate"]) == (2, 2, 1.0)
    # The middle five seconds later: 99.51 at 9 s (the quote of 6 s was 99.51, that of 8 s 100.01), and 100.01 at 13 s.
    # 2 * (100.01 - 99.00) = 2.02 and -2 * (100.01 - 100.00) = -0.02; the mean of both by quantity is 1.
    assert found["realized_spread"] == "1.000000"
    # At the fill: 2 * (98.99 - 99.00) = -0.02 and -2 * (100.01 - 100.00) = -0.02.
    assert found["effective_spread"] == "-0.020000"
    assert [type(record).__name__ for record in journal.records][:4] == ["Started", "SetTimer", "Quote", "SubmitOrder"]
    assert type(journal.records[-1]) is Stopping


def test_rows_of_fills_and_orders() -> None:
    driver, _journal = make(BuyThenSell())
    run(driver)
    first, second = driver.recorder.take_fills()
    assert row_values(first) == (
        *(4 * S, 4 * S, "maker", 1 << 32 | 1, "ACME.SIM", "1", "BUY", 9_900, 5, 2, 0, "MAKER", 4_950_000, "USD", 5, 19_798),
        [19_798, 20_002, None],
    )
    assert (first.position_qty, second.position_qty) == (5, 0)
    assert second.mid_twice_later == [20_002, 20_002, None]
    orders = driver.recorder.take_orders()
    assert [(order.side, order.status, order.filled_qty, order.filled_value) for order in orders] == [
        ("BUY", "FILLED", 5, 49_500),
        ("SELL", "FILLED", 5, 50_000),
    ]


def test_the_cut_into_calls_changes_nothing() -> None:
    results = []
    for wakeups in (1, 2, 1_000):
        driver, journal = make(BuyThenSell())
        run(driver, wakeups)
        results.append((driver.trader.commands_digest.hexdigest(), driver.trader.state_digest(), journal.records, driver.events))
    assert results[0] == results[1] == results[2]


def test_until_a_moment_and_on() -> None:
    driver, _journal = make(BuyThenSell())
    driver.start()
    while driver.advance(10, 5 * S) == 10:
        pass
    assert driver.venue.now == 5 * S
    run_on(driver)


def test_equity_is_sampled_on_a_grid_that_grows_coarser() -> None:
    driver, _journal = make(BuyThenSell())
    run(driver)
    assert [sample[0].ts // S for sample in driver.recorder.samples] == list(range(1, 21))
    driver, _journal = make(BuyThenSell(), samples_max=6)
    run(driver)
    assert [sample[0].ts // S for sample in driver.recorder.samples] == [1, 5, 9, 13, 17, 20]
    assert driver.recorder.interval_ns == 4 * S


def test_halt_cancels_everything_and_stops_new_orders() -> None:
    strategy = BuyThenSell()
    driver, journal = make(strategy)
    driver.start()
    driver.advance(3, 1 << 62)
    assert driver.has_open_orders
    driver.halt("operator")
    driver.drain()
    assert sum(state.open_orders for state in driver.trader.states.values()) == 0
    driver.finish("halted")
    assert strategy.told[-2:] == [("halt", "HALTED", "operator"), ("stop", "halted")]
    assert any(isinstance(record, TradingStateSet) for record in journal.records)
    assert driver.recorder.take_orders()[-1].status == "CANCELED"
    assert live_numbers(driver.trader, driver.recorder)["trading_state"] == "HALTED"


class TooLarge(BuyThenSell):
    def on_quote(self, context: Context, quote: Quote) -> None:
        if self.order is None:
            self.order = context.submit("ACME.SIM", Side.BUY, 11, quote.bid_price)


def test_a_denial_is_journalled_and_counted() -> None:
    driver, journal = make(TooLarge())
    run(driver)
    denied = [record for record in journal.records if type(record).__name__ == "OrderDenied"]
    assert [(record.limit, record.value, record.bound) for record in denied] == [("order_qty_max", 11, 10)]
    found = statistics(driver.trader, driver.recorder, trading_day_ns=86_400 * S, trading_days_per_year=365)
    assert (found["orders"], found["orders_denied"], found["fill_rate"]) == (0, 1, None)
    assert [order.status for order in driver.recorder.take_orders()] == ["DENIED"]


class RaisesOnFill(BuyThenSell):
    def on_fill(self, context: Context, order: Order, fill: OrderFilled) -> None:
        raise ZeroDivisionError("by design")


def test_a_fill_that_a_strategy_raised_on_is_recorded_all_the_same() -> None:
    driver, _journal = make(RaisesOnFill())
    driver.start()
    with pytest.raises(StrategyError, match="by design"):
        driver.advance(1_000, 1 << 62)
    driver.abandon()
    assert [row.qty for row in driver.recorder.take_fills()] == [5]
    assert driver.trader.portfolio.by_instrument["ACME.SIM"].qty == 5


def test_events_of_time_and_control_have_their_place() -> None:
    driver, journal = make(BuyThenSell())
    run(driver)
    kinds: list[type[AnyEvent]] = [type(record) for record in journal.records]
    assert kinds.index(Started) == 0
    assert TimerFired in kinds
