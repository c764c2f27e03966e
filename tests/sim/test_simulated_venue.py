"""SimulatedVenue: every native event as the core record that says the same, and every command as what the venue is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from core.commands import CancelAll, CancelOrder, CancelTimer, ReplaceOrder, SetTimer, SubmitOrder
from core.enums import AggressorSide, InstrumentClass, LiquiditySide, MarketStatus, OrderType, Reason, Side, TimeInForce
from core.errors import ConfigError
from core.events import (
    AnyEvent,
    Book,
    CancelRejected,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderTriggered,
    Quote,
    ReplaceRejected,
    StatusChanged,
    TimerFired,
    Trade,
)
from core.instruments import Instrument
from core.strategy import Subscription
from core.units import NS_PER_DAY
from native import venue as native
from native.market_data import BUY, FLAG_LAST, GAP, LEVEL, MD_ROW, SELL, STATUS, TRADE
from sim.venue import InstrumentSettings, SimulatedVenue, VenueSettings, commission_function, wake_bits

ID = "BTCUSDT-PERP.TEST"
INSTRUMENT = Instrument(
    instrument_id=ID,
    instrument_class=InstrumentClass.PERPETUAL,
    base_currency="BTC",
    quote_currency="USDT",
    settlement_currency="USDT",
    price_scale=1,
    qty_scale=3,
    maker_fee_rate=-100_000,
    taker_fee_rate=500_000,
)


class Passed:
    """Stands for an Approved command: the venue reads nothing but `command`."""

    def __init__(self, command: Any) -> None:
        self.command = command


def tape(*rows: tuple[int, int, int, int, int]) -> npt.NDArray[Any]:
    array = np.zeros(len(rows), dtype=MD_ROW)
    for at, (ts, kind, side, price, qty) in enumerate(rows):
        array[at] = (ts, ts, price, qty, 0, 0, kind, side, FLAG_LAST)
    return array


def venue_with(*rows: tuple[int, int, int, int, int], **subscription: Any) -> SimulatedVenue:
    subscriptions = (Subscription(instrument_id=ID, **subscription),) if subscription else ()
    venue = SimulatedVenue([InstrumentSettings(instrument=INSTRUMENT, subscriptions=subscriptions)], VenueSettings())
    venue.feed(tape(*rows))
    venue.finish()
    return venue


def events(venue: SimulatedVenue, until: int) -> list[AnyEvent]:
    found: list[AnyEvent] = []
    while not venue.is_done and (batch := venue.advance(until)):
        found += batch
    return found


def order(order_id: int, side: Side, quantity: int, price: int | None, **fields: Any) -> Any:
    fields.setdefault("order_type", OrderType.LIMIT if price is not None else OrderType.MARKET)
    return Passed(SubmitOrder(5, order_id, "maker", ID, side, quantity=quantity, price=price, **fields))


def test_market_events() -> None:
    venue = venue_with(
        (1, LEVEL, BUY, 999, 5),
        (2, LEVEL, SELL, 1001, 6),
        (3, TRADE, BUY, 1001, 2),
        (4, STATUS, 0, 1, 0),
        (5, GAP, 0, 0, 0),
        (9, TRADE, BUY, 1001, 2),
        quotes="price",
        trades=True,
        book_levels=2,
    )
    assert events(venue, 8) == [
        Quote(1, 1, ID, 999, 5, 0, 0),
        Book(1, 1, ID, ((999, 5),), ()),
        Quote(2, 2, ID, 999, 5, 1001, 6),
        Book(2, 2, ID, ((999, 5),), ((1001, 6),)),
        Trade(3, 3, ID, 1001, 2, AggressorSide.BUY, 0),
        Quote(3, 3, ID, 999, 5, 1001, 6),
        Book(3, 3, ID, ((999, 5),), ((1001, 6),)),
        StatusChanged(4, 4, ID, MarketStatus.HALTED),
        Quote(4, 4, ID, 999, 5, 1001, 6),
        Book(4, 4, ID, ((999, 5),), ((1001, 6),)),
        GapDetected(5, 5, ID),
    ]
    assert venue.depth(ID) == ([(999, 5)], [(1001, 6)])


def test_orders_become_events_with_exact_commissions() -> None:
    venue = venue_with((1, LEVEL, BUY, 999, 5), (2, LEVEL, SELL, 1001, 6), (10, TRADE, SELL, 998, 9), (90, LEVEL, BUY, 999, 5))
    events(venue, 5)
    venue.send(order(1, Side.BUY, 3, 999, post_only=True))
    venue.send(order(2, Side.BUY, 2, None))
    venue.send(order(3, Side.BUY, 2, 1001, post_only=True))
    venue.send(order(4, Side.SELL, 2, None, order_type=OrderType.STOP, trigger_price=998, reduce_only=True))
    venue.send(order(5, Side.BUY, 9, 990, time_in_force=TimeInForce.GTD, expire_ts=20))
    venue.send(Passed(ReplaceOrder(5, 5, 4, 991)))
    venue.send(Passed(CancelOrder(5, 77)))
    venue.send(Passed(ReplaceOrder(5, 78, 1, 991)))
    venue.schedule(SetTimer(5, 6, 15))
    venue.schedule(SetTimer(5, 7, 16))
    venue.schedule(CancelTimer(5, 7))
    # 100.1 * 0.002 * 0.05 % = 0.0001001; 99.9 * 0.003 * -0.01 % = -0.00002997; money in 10^-8.
    assert events(venue, 30) == [
        OrderAccepted(5, 5, 1, 999, 3),
        OrderAccepted(5, 5, 2, 0, 2),
        OrderFilled(5, 5, 2, ID, "1", Side.BUY, 1001, 2, 0, LiquiditySide.TAKER, 10_010, "USDT"),
        OrderRejected(5, 5, 3, Reason.POST_ONLY),
        OrderAccepted(5, 5, 4, 0, 2),
        OrderAccepted(5, 5, 5, 990, 9),
        OrderReplaced(5, 5, 5, 991, 4),
        CancelRejected(5, 5, 77, Reason.UNKNOWN_ORDER),
        ReplaceRejected(5, 5, 78, Reason.UNKNOWN_ORDER),
        OrderFilled(10, 10, 1, ID, "2", Side.BUY, 999, 3, 0, LiquiditySide.MAKER, -2_997, "USDT"),
        OrderTriggered(10, 10, 4),
        OrderFilled(10, 10, 4, ID, "3", Side.SELL, 999, 2, 0, LiquiditySide.TAKER, 9_990, "USDT"),
        TimerFired(15, 15, 6),
        OrderExpired(20, 20, 5, 4),
    ]
    venue.send(order(6, Side.BUY, 1, 900, time_in_force=TimeInForce.DAY))
    venue.send(order(7, Side.BUY, 1, 900))
    events(venue, 40)
    venue.end_of_day(ID)
    venue.send(Passed(CancelAll(40, ID)))
    assert events(venue, 50) == [OrderExpired(40, 40, 6, 1), OrderCanceled(40, 40, 7, 1, Reason.MASS_CANCEL)]


def test_days_end_at_midnight_utc_plus_the_offset() -> None:
    for offset in (0, NS_PER_DAY - 40):
        first, second = NS_PER_DAY + offset, 2 * NS_PER_DAY + offset
        venue = SimulatedVenue([InstrumentSettings(instrument=INSTRUMENT)], VenueSettings(day_end_offset_ns=offset))
        venue.feed(tape(*((ts, LEVEL, BUY, 999, 5) for ts in (first - 1, first, first + 1, second))))
        venue.finish()
        events(venue, first - 1)
        venue.send(order(1, Side.BUY, 1, 900, time_in_force=TimeInForce.DAY))
        assert events(venue, first) == [OrderAccepted(first - 1, first - 1, 1, 900, 1), OrderExpired(first, first, 1, 1)]
        venue.send(order(2, Side.BUY, 1, 900, time_in_force=TimeInForce.DAY))
        assert events(venue, second) == [OrderAccepted(first, first, 2, 900, 1), OrderExpired(second, second, 2, 1)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"price_scale": 8, "qty_scale": 8},
        {"is_inverse": True, "multiplier": 100, "qty_scale": 0, "settlement_currency": "BTC"},
        {"maker_fee_rate": 0, "taker_fee_rate": 0},
        {"multiplier": 50},
    ],
)
def test_folded_commission_equals_the_instruments(changes: dict[str, Any]) -> None:
    fields = {name: getattr(INSTRUMENT, name) for name in INSTRUMENT.__struct_fields__}
    instrument = Instrument(**(fields | changes))
    folded = commission_function(instrument)
    for price in (1, 7, 999, 123_457):
        for qty in (1, 3, 50_001):
            for taker, rate in enumerate((instrument.maker_fee_rate, instrument.taker_fee_rate)):
                assert folded(price, qty, taker) == instrument.commission(price, qty, rate)


def test_the_filter_serves_the_finest_subscription() -> None:
    slow = Subscription(instrument_id=ID, quotes="price", interval_ns=100)
    fast = Subscription(instrument_id=ID, quotes="size", interval_ns=10)
    bars = Subscription(instrument_id=ID, bars_ns=60)
    assert wake_bits([slow], wakes_on_orders=False) == (native.WAKE_BEST | native.WAKE_STATUS, 100)
    assert wake_bits([slow, fast], wakes_on_orders=True) == (
        native.WAKE_BEST | native.WAKE_BEST_QTY | native.WAKE_STATUS | native.WAKE_ORDER,
        10,
    )
    assert wake_bits([bars], wakes_on_orders=False) == (native.WAKE_TRADE | native.WAKE_STATUS, 0)


@pytest.mark.parametrize("wrong", [{"fidelity": "l4"}, {"queue_model": "fifo"}])
def test_wrong_settings_are_named(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"{ID}: {next(iter(wrong))} must be one of"):
        SimulatedVenue([InstrumentSettings(instrument=INSTRUMENT, **wrong)], VenueSettings())
    with pytest.raises(ConfigError, match="twice"):
        SimulatedVenue([InstrumentSettings(instrument=INSTRUMENT)] * 2, VenueSettings())
