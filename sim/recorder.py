"""What a backtest remembers: fills, closed orders, equity samples and the sums behind its statistics, in bounded memory.

Fills and orders leave in chunks through `take_fills` and `take_orders`; equity is sampled on a fixed grid of simulated time that
grows coarser when it would hold too many samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import msgspec

from core.enums import LiquiditySide, OrderStatus, Side
from core.events import CashMoved, OrderFilled
from core.orders import Order
from core.trader import Trader
from core.units import INT64_MAX, INT64_MIN
from sim.metrics import MARKOUT_HORIZONS_NS, FillQuality, Inventory

NEVER = (1 << 63) - 1
Best = Callable[[str], tuple[int, int] | None]


class EquitySample(msgspec.Struct, frozen=True, gc=False):
    """Money of one currency at one moment, in 10^-MONEY_SCALE; realised profit is before fees and carry."""

    ts: int
    currency: str
    equity: int
    realized_pnl: int
    unrealized_pnl: int
    fees: int
    carry: int

    @property
    def net_pnl(self) -> int:
        return self.realized_pnl + self.unrealized_pnl - self.fees + self.carry


class CashRow(msgspec.Struct, frozen=True, gc=False):
    """One row of cash.parquet. `amount` in 10^-MONEY_SCALE of `currency`, > 0: received."""

    ts_event: int
    ts_init: int
    kind: str
    currency: str
    amount: int
    instrument_id: str
    movement_id: str


class FillRow(msgspec.Struct, gc=False):
    """One row of fills.parquet. mid_twice is bid + ask in points, None while unknown."""

    ts_event: int
    ts_init: int
    strategy_id: str
    client_order_id: int
    instrument_id: str
    execution_id: str
    side: str
    price: int
    qty: int
    price_scale: int
    qty_scale: int
    liquidity_side: str
    commission: int
    commission_currency: str
    position_qty: int  # the account's, after this fill
    mid_twice: int | None
    mid_twice_later: list[int | None]


class OrderRow(msgspec.Struct, frozen=True, gc=False):
    """One row of orders.parquet: an order as it ended, or as it stood when the run did."""

    client_order_id: int
    strategy_id: str
    instrument_id: str
    side: str
    order_type: str
    time_in_force: str
    post_only: bool
    reduce_only: bool
    quantity: int | None  # None: denied, and no number that fits in 64 bits
    price: int | None
    trigger_price: int | None
    price_scale: int
    qty_scale: int
    status: str
    filled_qty: int
    filled_value: int  # sum of price * qty over its fills
    ts_created: int
    ts_updated: int


class Tally:
    """Sums of one instrument."""

    __slots__ = ("inventory", "orders", "orders_canceled", "orders_denied", "orders_filled", "orders_rejected", "quality")

    def __init__(self, ts_start: int) -> None:
        self.quality = FillQuality(len(MARKOUT_HORIZONS_NS))
        self.inventory = Inventory(ts_start)
        self.orders = 0  # that passed the risk gate
        self.orders_denied = 0
        self.orders_rejected = 0
        self.orders_canceled = 0
        self.orders_filled = 0  # with at least one fill


class Recorder:
    """Watches one Trader. `due` is the next moment that `observe` must see, once all events up to it have been taken.

    `best` gives the market's best bid and ask as we can see them now; what it does not know is marked as the Trader does.
    """

    def __init__(self, trader: Trader, best: Best, ts_start: int, interval_ns: int, samples_max: int) -> None:
        assert interval_ns > 0
        assert samples_max >= 2
        self._trader = trader
        self._best = best
        self.interval_ns = interval_ns
        self._samples_max = samples_max - samples_max % 2
        settlement = [instrument.settlement_currency for instrument in trader.instruments.values()]
        self.currencies = tuple(dict.fromkeys([*settlement, *sorted(trader.portfolio.cash)]))
        self.samples: list[tuple[EquitySample, ...]] = []
        self.tallies = {key: Tally(ts_start) for key in trader.instruments}
        self._next_sample = ts_start
        # Fills that wait for the market after them; per horizon, how many of the waiting ones it has reached.
        self._waiting: deque[FillRow] = deque()
        self._reached = [0] * len(MARKOUT_HORIZONS_NS)
        self._fill_rows: list[FillRow] = []
        self._order_rows: list[OrderRow] = []
        self._cash_rows: list[CashRow] = []
        self.fills = 0
        self.due = ts_start

    # Time.

    def observe(self, ts: int) -> None:
        """Everything due up to `ts`, from the state as it is: no event up to `ts` may come later."""
        self._reach_horizons(ts)
        while self._next_sample <= ts:
            if len(self.samples) >= self._samples_max:
                # Every second sample goes, and the grid is twice as wide from here on: a run of any length fits. Their number
                # is even, so the next moment lies on the wider grid too.
                del self.samples[1::2]
                self.interval_ns *= 2
            self._keep_sample(self._next_sample)
            self._next_sample += self.interval_ns
        self._set_due()

    def finish(self, ts: int) -> None:
        """The last sample, and the rows of what is still open."""
        self.observe(ts)
        if not self.samples or self.samples[-1][0].ts < ts:
            self._keep_sample(ts)
        self._fill_rows += self._waiting
        for row in self._waiting:
            self._add_quality(row)
        self._waiting.clear()
        for tally in self.tallies.values():
            tally.inventory.advance(max(ts, tally.inventory.ts))
        for order in self._trader.orders.open_orders():
            self.order_closed(order)
        self.due = NEVER

    def _set_due(self) -> None:
        due = self._next_sample
        for horizon, reached in zip(MARKOUT_HORIZONS_NS, self._reached, strict=True):
            if reached < len(self._waiting):
                due = min(due, self._waiting[reached].ts_init + horizon)
        self.due = due

    def _keep_sample(self, ts: int) -> None:
        self.samples.append(tuple(self.measure(ts, currency) for currency in self.currencies))

    def measure(self, ts: int, currency: str) -> EquitySample:
        """Equity and profit of one currency now."""
        trader = self._trader
        marks: dict[str, tuple[int, int]] = {}
        realized = unrealized = fees = carry = 0
        for key, position in trader.portfolio.by_instrument.items():
            if position.instrument.settlement_currency != currency:
                continue
            realized += position.realized_pnl
            fees += position.fees
            carry += position.carry
            mark = self.mark(key) if position.qty else None
            if mark is not None:
                marks[key] = mark
                unrealized += position.unrealized_pnl(*mark)
        return EquitySample(ts, currency, trader.portfolio.equity(currency, marks), realized, unrealized, fees, carry)

    def mark(self, instrument_id: str) -> tuple[int, int] | None:
        """(bid, ask) to value a position at now."""
        return self._best(instrument_id) or self._trader.states[instrument_id].mark()

    def _reach_horizons(self, ts: int) -> None:
        waiting = self._waiting
        for index, horizon in enumerate(MARKOUT_HORIZONS_NS):
            reached = self._reached[index]
            while reached < len(waiting) and waiting[reached].ts_init + horizon <= ts:
                row = waiting[reached]
                row.mid_twice_later[index] = self._mid_twice(row.instrument_id)
                reached += 1
            self._reached[index] = reached
        # The last horizon is the longest: what it has reached is complete.
        for _ in range(self._reached[-1]):
            row = waiting.popleft()
            self._add_quality(row)
            self._fill_rows.append(row)
        self._reached = [reached - self._reached[-1] for reached in self._reached]

    def _mid_twice(self, instrument_id: str) -> int | None:
        mark = self.mark(instrument_id)
        return None if mark is None else mark[0] + mark[1]

    # Orders and fills, after the Trader has taken them.

    def order_sent(self, instrument_id: str) -> None:
        self.tallies[instrument_id].orders += 1

    def order_closed(self, order: Order) -> None:
        """Once for each order: when it ends, is denied, or is still open at the end."""
        # A denied order may hold anything; one of an instrument that nobody has is in the journal only.
        tally = self.tallies.get(order.instrument_id) if type(order.instrument_id) is str else None
        if tally is None:
            assert order.status is OrderStatus.DENIED
            return
        if order.filled_qty:
            tally.orders_filled += 1
        if order.status is OrderStatus.DENIED:
            tally.orders_denied += 1
        elif order.status is OrderStatus.REJECTED:
            tally.orders_rejected += 1
        elif order.status is OrderStatus.CANCELED:
            tally.orders_canceled += 1
        instrument = self._trader.instruments[order.instrument_id]
        self._order_rows.append(
            OrderRow(
                order.client_order_id,
                order.strategy_id,
                order.instrument_id,
                _name_of(order.side),
                _name_of(order.order_type),
                _name_of(order.time_in_force),
                bool(order.post_only),
                bool(order.reduce_only),
                _whole_number(order.quantity),
                _whole_number(order.price),
                _whole_number(order.trigger_price),
                instrument.price_scale,
                instrument.qty_scale,
                order.status.name,
                order.filled_qty,
                order.filled_value,
                order.ts_created,
                order.ts_updated,
            )
        )

    def fill(self, order: Order, fill: OrderFilled) -> None:
        key = fill.instrument_id
        instrument = self._trader.instruments[key]
        self.fills += 1
        self.tallies[key].inventory.fill(fill.ts_init, fill.qty if fill.side is Side.BUY else -fill.qty)
        self._waiting.append(
            FillRow(
                fill.ts_event,
                fill.ts_init,
                order.strategy_id,
                fill.client_order_id,
                key,
                fill.execution_id,
                fill.side.name,
                fill.price,
                fill.qty,
                instrument.price_scale,
                instrument.qty_scale,
                fill.liquidity_side.name,
                fill.commission,
                fill.commission_currency,
                self._trader.portfolio.by_instrument[key].qty,
                self._mid_twice(key),
                [None] * len(MARKOUT_HORIZONS_NS),
            )
        )
        self.due = min(self.due, fill.ts_init + MARKOUT_HORIZONS_NS[0])

    def cash_moved(self, moved: CashMoved) -> None:
        fields = (moved.currency, moved.amount, moved.instrument_id, moved.movement_id)
        self._cash_rows.append(CashRow(moved.ts_event, moved.ts_init, moved.kind.name, *fields))

    def _add_quality(self, row: FillRow) -> None:
        self.tallies[row.instrument_id].quality.add(
            Side[row.side], row.price, row.qty, row.liquidity_side == LiquiditySide.MAKER.name, row.mid_twice, row.mid_twice_later
        )

    # Chunks.

    def take_fills(self) -> list[FillRow]:
        rows, self._fill_rows = self._fill_rows, []
        return rows

    def take_orders(self) -> list[OrderRow]:
        rows, self._order_rows = self._order_rows, []
        return rows

    def take_cash(self) -> list[CashRow]:
        rows, self._cash_rows = self._cash_rows, []
        return rows

    @property
    def rows_waiting(self) -> int:
        return len(self._fill_rows) + len(self._order_rows) + len(self._cash_rows)


def row_values(row: Any) -> tuple[Any, ...]:
    """A row's fields in order, for a data frame."""
    return tuple(getattr(row, name) for name in row.__struct_fields__)


def _name_of(value: object) -> str:
    """An enumeration member's name; what else a denied order holds there, as text."""
    return value.name if isinstance(value, IntEnum) else ascii(value)


def _whole_number(value: object) -> int | None:
    return value if type(value) is int and INT64_MIN <= value <= INT64_MAX else None
