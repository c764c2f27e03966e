"""SimulatedVenue: the ExecutionEngine of backtest and paper. Approved commands go in, core events come out; C does the rest.

What a fill rests on is written where the fill is decided: native/venue_l2.c and native/venue_l3.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, CancelTimer, OrderCommand, ReplaceOrder, SetTimer, SubmitOrder
from core.enums import AGGRESSOR_SIDES, LIQUIDITY_SIDES, SIDES, MarketStatus, OrderType, Reason, SelfTradePrevention
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
    OrderRestated,
    OrderTriggered,
    Quote,
    ReplaceRejected,
    StatusChanged,
    TimerFired,
    Trade,
)
from core.instruments import FEE_RATE_SCALE, MONEY_SCALE, Instrument
from core.strategy import Subscription
from core.units import NS_PER_DAY, POW10, divide_half_even
from native import venue as native
from native.market_data import MD_ROW
from native.venue import EVENT, EVENTS_PER_CALL_MAX, TIME_MAX, NativeVenue, ffi, lib
from sim.latency import ConstantLatency, LatencyModel, native_latency

FIDELITIES: Final = {"l2": native.L2, "l3": native.L3, "flow": native.FLOW}
QUEUE_MODELS: Final = {"risk_averse": native.QUEUE_RISK_AVERSE, "power": native.QUEUE_POWER, "log": native.QUEUE_LOG}
QUOTE_WAKES: Final = {"off": 0, "price": native.WAKE_BEST, "size": native.WAKE_BEST_QTY, "packet": native.WAKE_BOOK}
REASONS: Final = tuple(Reason)
# Names of this module, not attributes of another: `advance` asks for them with every event.
QUOTE, TRADE, TIMER = native.QUOTE, native.TRADE, native.TIMER
ACCEPTED, REPLACED, CANCELED = native.ACCEPTED, native.REPLACED, native.CANCELED
FILL, FILL_TAKER = native.FILL, native.FILL_TAKER
UNPACK_EVENT: Final = EVENT.unpack_from

LIMIT: Final = OrderType.LIMIT
FLAG_POST_ONLY, FLAG_POST_ONLY_SLIDE, FLAG_REDUCE_ONLY = 1, 2, 4


class InstrumentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one instrument is simulated. queue_power is the n of the "power" model. The limits are taken once, at the start."""

    instrument: Instrument
    fidelity: str = "l2"
    queue_model: str = "power"
    queue_power: float = 2.0
    subscriptions: tuple[Subscription, ...] = ()
    wakes_on_orders: bool = True
    check_crossed: bool = False
    orders_max: int = 1 << 16
    levels_max: int = 1 << 14


class VenueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for the whole venue. stp NONE means CANCEL_NEWEST: no own order ever trades with another.

    DAY orders end at midnight UTC plus `day_end_offset_ns`.
    """

    latency: LatencyModel = ConstantLatency()
    feed_latency_ns: int = 0
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.CANCEL_NEWEST
    reject_per_million: int = 0
    orders_max: int = 4096
    timers_max: int = 1024
    day_end_offset_ns: int = 0
    post_only_slides: bool = False


def wake_bits(subscriptions: Iterable[Subscription], *, wakes_on_orders: bool) -> tuple[int, int]:
    """The native filter that serves all of one instrument's subscriptions: bits, and ns between quote wake-ups.

    Where subscriptions differ, the finest wins: whoever asked for less gets more, never the other way round.
    """
    bits = native.WAKE_STATUS | (native.WAKE_ORDER if wakes_on_orders else 0)
    intervals: list[int] = []
    for subscription in subscriptions:
        quotes = QUOTE_WAKES[subscription.quotes]
        if subscription.book_levels:
            quotes |= native.WAKE_BOOK
        if quotes:
            intervals.append(subscription.interval_ns)
        bits |= quotes | (native.WAKE_TRADE if subscription.trades or subscription.bars_ns else 0)
    return bits, min(intervals, default=0)


class SimulatedVenue:
    """Feed rows (dtype MD_ROW), advance to the next wake-up, send what the Trader answers."""

    def __init__(self, instruments: Sequence[InstrumentSettings], settings: VenueSettings) -> None:
        self.settings = settings
        self.native = NativeVenue(
            orders_max=settings.orders_max,
            timers_max=settings.timers_max,
            instruments_max=len(instruments),
            feed_latency_ns=settings.feed_latency_ns,
            stp_mode=int(settings.self_trade_prevention),
            reject_per_million=settings.reject_per_million,
            day_ns=NS_PER_DAY,
            day_end_offset_ns=settings.day_end_offset_ns,
            **native_latency(settings.latency),
        )
        self._index: dict[str, int] = {}
        self._ids: list[str] = []
        self._book_levels: list[int] = []
        self._commissions: list[Callable[[int, int, int], int]] = []
        self._currencies: list[str] = []
        for each in instruments:
            self._add(each)
        self._post_only = FLAG_POST_ONLY_SLIDE if settings.post_only_slides else FLAG_POST_ONLY
        # Bound once: a look-up per order is a look-up too many.
        self._run = lib.venue_run
        self._submit_limit = lib.venue_submit_limit
        self._handle = self.native.handle
        self._out = self.native.events_out
        self._view = memoryview(ffi.buffer(self._out))
        self._cancel = lib.venue_cancel

    def _add(self, each: InstrumentSettings) -> None:
        instrument = each.instrument
        if each.fidelity not in FIDELITIES:
            raise ConfigError(
                f"{instrument.instrument_id}: fidelity must be one of {', '.join(FIDELITIES)}, not {each.fidelity!r}"
            )
        if each.queue_model not in QUEUE_MODELS:
            raise ConfigError(
                f"{instrument.instrument_id}: queue_model must be one of {', '.join(QUEUE_MODELS)}, not {each.queue_model!r}"
            )
        if instrument.instrument_id in self._index:
            raise ConfigError(f"{instrument.instrument_id} is configured twice")
        wake, wake_interval_ns = wake_bits(each.subscriptions, wakes_on_orders=each.wakes_on_orders)
        index = self.native.add_instrument(
            tick=instrument.tick,
            lot=instrument.lot,
            qty_min=instrument.qty_min,
            qty_max=instrument.qty_max,
            price_min=instrument.price_min,
            price_max=instrument.price_max,
            orders_max=each.orders_max,
            levels_max=each.levels_max,
            fidelity=FIDELITIES[each.fidelity],
            queue_model=QUEUE_MODELS[each.queue_model],
            queue_power=each.queue_power,
            wake=wake,
            wake_interval_ns=wake_interval_ns,
            check_crossed=each.check_crossed,
        )
        assert index == len(self._ids)
        self._index[instrument.instrument_id] = index
        self._ids.append(instrument.instrument_id)
        self._book_levels.append(max((s.book_levels for s in each.subscriptions), default=0))
        self._commissions.append(commission_function(instrument))
        self._currencies.append(instrument.settlement_currency)

    # The tape and time.

    def feed(self, rows: npt.NDArray[Any]) -> None:
        """The next rows of the tape; `instrument` in a row is index_of(instrument_id)."""
        self.native.feed(rows)

    def finish(self) -> None:
        self.native.finish()

    def horizon(self, ts: int) -> None:
        self.native.horizon(ts)

    def index_of(self, instrument_id: str) -> int:
        return self._index[instrument_id]

    @property
    def now(self) -> int:
        return self.native.now

    @property
    def is_done(self) -> bool:
        return self.native.is_done

    def totals(self) -> dict[str, int]:
        return self.native.totals()

    def depth(self, instrument_id: str, levels_max: int = 10) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Bids and asks as we see them: (price, quantity), best first."""
        index = self._index[instrument_id]
        return self.native.depth(index, 0, levels_max), self.native.depth(index, 1, levels_max)

    def advance(self, until_ts: int = TIME_MAX) -> list[AnyEvent]:
        """Events of the next wake-up, oldest first. [] when until_ts is reached, more rows are needed, or all `is_done`.

        Raises DataError for a bad row and CapacityError where a limit is reached.
        """
        n = self._run(self._handle, until_ts, self._out, EVENTS_PER_CALL_MAX)
        ids = self._ids
        if n == 1:
            # A wake-up by the market alone is by far the most frequent one: it has a path of its own.
            ts_init, ts_event, kind, index, _, a, b, c, d, _ = UNPACK_EVENT(self._view)
            if kind == QUOTE and not self._book_levels[index]:
                return [Quote(ts_event, ts_init, ids[index], a, b, c, d)]
        elif n <= 0:
            if n < 0:
                self.native.stopped(n)
            return []
        events: list[AnyEvent] = []
        for ts_init, ts_event, kind, index, order_id, a, b, c, d, e in EVENT.iter_unpack(self._view[: n * 80]):
            if kind == QUOTE:
                events.append(Quote(ts_event, ts_init, ids[index], a, b, c, d))
                if self._book_levels[index]:
                    events.append(self._book(ts_event, ts_init, index))
            elif kind == ACCEPTED:
                events.append(OrderAccepted(ts_event, ts_init, order_id, a, b))
            elif kind == REPLACED:
                events.append(OrderReplaced(ts_event, ts_init, order_id, a, b))
            elif kind == CANCELED:
                events.append(OrderCanceled(ts_event, ts_init, order_id, a, REASONS[b]))
            elif kind == FILL:
                taker = d & FILL_TAKER
                side = SIDES[d >> 1]
                commission = self._commissions[index](a, b, taker)
                events.append(
                    OrderFilled(
                        ts_event,
                        ts_init,
                        order_id,
                        ids[index],
                        str(e),
                        side,
                        a,
                        b,
                        c,
                        LIQUIDITY_SIDES[taker],
                        commission,
                        self._currencies[index],
                    )
                )
            elif kind == TRADE:
                events.append(Trade(ts_event, ts_init, ids[index], a, b, AGGRESSOR_SIDES[c], d))
            elif kind == TIMER:
                events.append(TimerFired(ts_event, ts_init, a))
            else:
                events.append(self._rare(ts_event, ts_init, kind, index, order_id, a, b))
        return events

    def _rare(self, ts_event: int, ts_init: int, kind: int, index: int, order_id: int, a: int, b: int) -> AnyEvent:
        match kind:
            case native.REJECTED:
                return OrderRejected(ts_event, ts_init, order_id, REASONS[a])
            case native.EXPIRED:
                return OrderExpired(ts_event, ts_init, order_id, a)
            case native.TRIGGERED:
                return OrderTriggered(ts_event, ts_init, order_id)
            case native.CANCEL_REJECTED:
                return CancelRejected(ts_event, ts_init, order_id, REASONS[a])
            case native.REPLACE_REJECTED:
                return ReplaceRejected(ts_event, ts_init, order_id, REASONS[a])
            case native.RESTATED:
                return OrderRestated(ts_event, ts_init, order_id, a, REASONS[b])
            case native.STATUS:
                return StatusChanged(ts_event, ts_init, self._ids[index], MarketStatus(a))
            case native.GAP:
                return GapDetected(ts_event, ts_init, self._ids[index])
            case _:
                raise AssertionError(f"the simulated venue made an event of unknown kind {kind}")

    def _book(self, ts_event: int, ts_init: int, index: int) -> Book:
        levels = self._book_levels[index]
        bids, asks = self.native.depth(index, 0, levels), self.native.depth(index, 1, levels)
        return Book(ts_event, ts_init, self._ids[index], tuple(bids), tuple(asks))

    # Commands.

    def send(self, approved: Approved) -> None:
        """Leaves at the local clock's now and arrives after the entry latency. CapacityError: too much is under way."""
        command = approved.command
        if type(command) is SubmitOrder:
            self._send_submit(command)
        elif type(command) is CancelOrder:
            code = self._cancel(self._handle, command.client_order_id)
            if code:
                self.native.checked(code, "venue_cancel")
        elif type(command) is ReplaceOrder:
            self.native.replace(command.client_order_id, command.quantity, command.price, command.filled_qty)
        else:
            assert isinstance(command, CancelAll)
            self.native.mass_cancel(-1 if command.instrument_id is None else self._index[command.instrument_id])

    def take(self, command: OrderCommand) -> None:
        """As `send`, for the far side of a wire: whoever sent it had it approved before it left."""
        if isinstance(command, SubmitOrder):
            self._send_submit(command)
        elif isinstance(command, CancelOrder):
            self.native.cancel(command.client_order_id)
        elif isinstance(command, ReplaceOrder):
            self.native.replace(command.client_order_id, command.quantity, command.price, command.filled_qty)
        else:
            self.native.mass_cancel(-1 if command.instrument_id is None else self._index[command.instrument_id])

    def schedule(self, command: SetTimer | CancelTimer) -> None:
        if isinstance(command, SetTimer):
            self.native.timer(command.at, command.timer_id)
        else:
            self.native.cancel_timer(command.timer_id)

    def set_position(self, instrument_id: str, position: int) -> None:
        """The position carried over from an earlier run, in units, signed: reduce-only orders are held to it."""
        self.native.set_position(self._index[instrument_id], position)

    def end_of_day(self, instrument_id: str | None = None) -> None:
        """DAY orders of one instrument, or of all, expire now."""
        self.native.end_of_day(-1 if instrument_id is None else self._index[instrument_id])

    def _send_submit(self, command: SubmitOrder) -> None:
        flags = (self._post_only if command.post_only else 0) | (FLAG_REDUCE_ONLY if command.reduce_only else 0)
        index = self._index[command.instrument_id]
        if command.order_type is LIMIT and not command.display_qty and not command.expire_ts:
            packed = command.side | command.time_in_force << 8 | flags << 16
            code = self._submit_limit(self._handle, index, command.client_order_id, packed, command.price, command.quantity)
            if code:
                self.native.checked(code, "venue_submit_limit")
            return
        self.native.submit(
            index,
            command.client_order_id,
            int(command.side),
            command.quantity,
            price=command.price or 0,
            order_type=int(command.order_type),
            tif=int(command.time_in_force),
            flags=flags,
            trigger_price=command.trigger_price or 0,
            display_qty=command.display_qty,
            expire_ts=command.expire_ts,
        )


def commission_function(instrument: Instrument) -> Callable[[int, int, int], int]:
    """(price, qty, 1 for taker or 0 for maker) -> commission; equal to Instrument.commission, with the constants folded in."""
    rates = (instrument.maker_fee_rate, instrument.taker_fee_rate)
    scale = instrument.price_scale + instrument.qty_scale
    if not any(rates):
        return lambda price, qty, taker: 0
    if instrument.is_inverse or scale > MONEY_SCALE:
        return lambda price, qty, taker: instrument.commission(price, qty, rates[taker])
    factors = tuple(rate * instrument.multiplier * POW10[MONEY_SCALE - scale] for rate in rates)
    unit = POW10[FEE_RATE_SCALE]
    return lambda price, qty, taker: divide_half_even(abs(price * qty) * factors[taker], unit)


def empty_rows(n: int) -> npt.NDArray[Any]:
    """n zeroed rows for whoever builds a tape by hand."""
    return np.zeros(n, dtype=MD_ROW)
