"""Asks where things stand: open orders, executions, positions or balances, until the answers belong together. Pure; io.py sends.

The answers are of different moments. So open orders are asked for before and after the executions: where both are equal,
nothing of what they show has happened in between; where they differ it is asked again, and after some tries what came last
counts: the daemon takes nothing for a fact that a second look does not show.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, assert_never

import msgspec

from adapters.binance.codec import TRADES_WINDOW_MS, BinanceCodec
from adapters.binance.endpoints import Product
from adapters.binance.order_events import ENDED_STATUSES, OrderEvents
from adapters.binance.rest_bodies import AlgoOrderBody, Balance, OrderBody, PositionBody
from adapters.binance.trade_log import Page, TradeLog
from adapters.http.request import Outcome, Request, Sent
from core.errors import TransportError
from core.events import OrderFilled
from core.instruments import Instrument
from core.units import NS_PER_MS
from core.venue_adapter import VenueOrder, VenueState

TRIES_MAX = 3
ORDERS_PER_BATCH_MAX = 32
ENDED_KEPT_MAX = 10_000


class _Phase(IntEnum):
    BEFORE = 0
    TRADES = 1
    AFTER = 2
    ORDERS = 3
    DONE = 4


class Memory:
    """What is kept from one inquiry to the next: executions, and orders that have ended and so stay as they are."""

    def __init__(self, product: Product, symbols: Sequence[str]) -> None:
        self.logs = {symbol: TradeLog(TRADES_WINDOW_MS[product]) for symbol in symbols}
        self.ended: OrderedDict[int, OrderBody] = OrderedDict()

    def keep(self, order: OrderBody) -> None:
        self.ended[order.order_id] = order
        if len(self.ended) > ENDED_KEPT_MAX:
            self.ended.popitem(last=False)


class _Open(msgspec.Struct):
    """What is open, as of one answer."""

    orders: dict[int, OrderBody] = msgspec.field(default_factory=dict)
    conditional: dict[int, AlgoOrderBody] = msgspec.field(default_factory=dict)

    def shape(self) -> tuple[Any, ...]:
        """What must not have changed between two answers that belong together."""
        rows = [(key, row.orig_qty, row.executed_qty, row.price, row.status) for key, row in sorted(self.orders.items())]
        return tuple(rows), tuple((key, row.algo_status) for key, row in sorted(self.conditional.items()))


class Inquiry:
    """`batch` gives what to send, all at once; `take` is given the answers in that order; empty: `state` has it.

    `since_ts` (ns UTC) is from where on executions are wanted; `venue_now` the venue's time. Not to be asked about the same
    `memory` twice at once.
    """

    def __init__(
        self,
        codec: BinanceCodec,
        events: OrderEvents,
        memory: Memory,
        symbols: Mapping[str, str],
        *,
        since_ts: int,
        venue_now: int,
        ts: int,
    ) -> None:
        self._codec = codec
        self._events = events
        self._memory = memory
        self._symbols = symbols  # instrument_id -> symbol
        self._since_ts = since_ts
        self._venue_now = venue_now
        self._ts = ts
        self._is_futures = codec.product is Product.USDM
        self._phase = _Phase.BEFORE
        self._tries = 0
        self._before = self._after = _Open()
        self._positions: list[PositionBody] = []
        self._balances: list[Balance] = []
        self._asked: list[str] = []  # symbols of the batch, where it is about executions
        self._missing: list[tuple[int, str]] = []
        self._fills: list[OrderFilled] = []
        self.is_consistent = True

    def batch(self) -> list[Request[Any]]:
        match self._phase:
            case _Phase.BEFORE:
                return self._ask_open()
            case _Phase.TRADES:
                return self._ask_trades()
            case _Phase.AFTER:
                return [*self._ask_open(), self._codec.positions() if self._is_futures else self._codec.spot_account()]
            case _Phase.ORDERS:
                asked = self._missing[:ORDERS_PER_BATCH_MAX]
                return [self._codec.query_venue_order(order_id, symbol) for order_id, symbol in asked]
            case _Phase.DONE:
                return []
        assert_never(self._phase)

    def take(self, answers: list[Sent[Any]]) -> None:
        """Raises TransportError where one is missing, VenueProtocolError where one cannot be."""
        for sent in answers:
            if sent.outcome is not Outcome.ACCEPTED:
                raise TransportError(f"the venue cannot be asked where things stand: {sent.outcome.name} {sent.reason}")
        values: list[Any] = [sent.value for sent in answers]
        match self._phase:
            case _Phase.BEFORE:
                self._before = _open_of(values)
                self._begin_trades()
            case _Phase.TRADES:
                for symbol, trades in zip(self._asked, values, strict=True):
                    self._memory.logs[symbol].answered(trades)
                if all(log.next is None for log in self._memory.logs.values()):
                    self._phase = _Phase.AFTER
            case _Phase.AFTER:
                if self._is_futures:
                    self._positions = values.pop()
                else:
                    self._balances = values.pop().balances
                self._after = _open_of(values)
                self._compare()
            case _Phase.ORDERS:
                self._take_orders(values)
            case _Phase.DONE:
                raise AssertionError("nothing was asked")
            case _:
                assert_never(self._phase)

    def state(self, not_found_ns: int) -> VenueState:
        assert self._phase is _Phase.DONE
        orders = [self._events.open_order(body) for body in self._after.orders.values()]
        orders += [self._events.open_algo_order(body) for body in self._after.conditional.values()]
        found: list[VenueOrder] = [order for order in orders if order is not None]
        positions: dict[str, int] = {}
        if self._is_futures:
            held = self._events.positions(self._positions)
            # The venue leaves out what was never held.
            positions = {instrument_id: held.get(instrument_id, 0) for instrument_id in self._symbols}
        balances = () if self._is_futures else self._events.balances(self._balances)
        about = frozenset(self._symbols)
        fills, ts = tuple(self._fills), self._venue_now
        return VenueState(tuple(found), fills, positions, about, not_found_ns, balances=balances, ts=ts)

    # What to ask.

    def _ask_open(self) -> list[Request[Any]]:
        return [*self._codec.all_open(self._symbols.values())]

    def _begin_trades(self) -> None:
        self._phase = _Phase.TRADES
        now_ms = self._venue_now // NS_PER_MS
        for log in self._memory.logs.values():
            # What the venue stamps while it is being asked must not be left out.
            log.begin(min(self._since_ts // NS_PER_MS, now_ms), now_ms + 1000)

    def _ask_trades(self) -> list[Request[Any]]:
        asked: list[Request[Any]] = []
        self._asked = []
        for symbol, log in self._memory.logs.items():
            if log.next is None:
                continue
            self._asked.append(symbol)
            if isinstance(log.next, Page):
                asked.append(self._codec.trades(symbol, from_id=log.next.from_id))
            else:
                asked.append(self._codec.trades_between(symbol, log.next.since_ms, log.next.until_ms))
        return asked

    # What the answers say.

    def _compare(self) -> None:
        self._tries += 1
        self.is_consistent = self._before.shape() == self._after.shape()
        if not self.is_consistent and self._tries < TRIES_MAX:
            self._before = self._after
            self._begin_trades()
            return
        self._resolve()

    def _resolve(self) -> None:
        """Executions of orders whose client ids are known; those that are not are asked for."""
        orders = {**self._memory.ended, **self._after.orders}
        trades = [trade for log in self._memory.logs.values() for trade in log.known(self._since_ts // NS_PER_MS)]
        fills, missing = self._events.executions(trades, orders, self._ts)
        if missing:
            symbols = {trade.order_id: trade.symbol for trade in trades}
            self._missing = [(order_id, symbols[order_id]) for order_id in missing]
            self._phase = _Phase.ORDERS
            return
        self._fills = [fill for fill in fills if fill.ts_event >= self._since_ts // NS_PER_MS * NS_PER_MS]
        self._phase = _Phase.DONE

    def _take_orders(self, values: list[OrderBody]) -> None:
        for body in values:
            if body.status in ENDED_STATUSES:
                self._memory.keep(body)
            else:
                # It was placed behind the last look at open orders.
                self._after.orders[body.order_id] = body
        self._missing = self._missing[len(values) :]
        if not self._missing:
            self._resolve()


def without(state: VenueState, touched: Collection[str], instruments: Iterable[Instrument]) -> VenueState:
    """Of a whole answer what is not about the instruments `touched`, nor about the money that they move."""
    if not touched:
        return state
    assert state.instrument_ids is not None
    changed = [instrument for instrument in instruments if instrument.instrument_id in touched]
    currencies = {name for each in changed for name in (each.base_currency, each.settlement_currency)}
    return msgspec.structs.replace(
        state,
        open_orders=tuple(order for order in state.open_orders if order.instrument_id not in touched),
        executions=tuple(fill for fill in state.executions if fill.instrument_id not in touched),
        positions={key: qty for key, qty in state.positions.items() if key not in touched},
        balances=tuple(balance for balance in state.balances if balance.currency not in currencies),
        instrument_ids=state.instrument_ids.difference(touched),
    )


def _open_of(values: list[Any]) -> _Open:
    found = _Open(orders={}, conditional={})
    for rows in values:
        for row in rows:
            if isinstance(row, OrderBody):
                found.orders[row.order_id] = row
            else:
                found.conditional[row.algo_id] = row
    return found
