"""Follows one order through a journal: every record that touched it, and the state it was in afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import OrderStatus
from core.errors import StateError
from core.events import (
    CancelRejected,
    ClientOrderRequested,
    ForeignOrderFound,
    GapDetected,
    LimitTripped,
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderRestated,
    OrderTriggered,
    Quote,
    ReplaceRejected,
    StateRestored,
    StatusChanged,
    TradingResumed,
    TradingStateSet,
)
from core.instruments import Instrument
from core.market_state import MarketState
from core.order_store import OrderStore
from core.orders import Order
from core.portfolio import Position
from core.restore import order_of
from daemon.journal.format import Record


class Moment(NamedTuple):
    """One record of an order's life. `number` counts the journal's records from 1."""

    number: int
    record: Record
    status: str  # after it; empty before the order was made
    quote: Quote | None  # the market as the strategies last saw it, where we decided something
    problem: str  # why the order could not take this record, where it could not


class OrderLife:
    """Feed it every record of a journal in order."""

    def __init__(self, client_order_id: int, instruments: dict[str, Instrument]) -> None:
        self.client_order_id = client_order_id
        self.instrument: Instrument | None = None
        self._instruments = instruments
        self._store = OrderStore({key: MarketState(value, Position(value)) for key, value in instruments.items()})
        self._order: Order | None = None
        self._was_denied = False
        self._quotes: dict[str, Quote] = {}
        self._requested: tuple[int, ClientOrderRequested] | None = None
        store = self._store
        self._facts: dict[type, Callable[[Any], Any]] = {
            OrderAccepted: store.accepted,
            OrderRejected: store.rejected,
            OrderFilled: store.filled,
            OrderCanceled: store.canceled,
            OrderExpired: store.expired,
            OrderReplaced: store.replaced,
            OrderTriggered: store.triggered,
            OrderRestated: store.restated,
            CancelRejected: store.cancel_rejected,
            ReplaceRejected: store.replace_rejected,
            OrderOutcomeUnknown: store.lost,
        }

    def moments(self, records: Iterator[Record]) -> Iterator[Moment]:
        for number, record in enumerate(records, 1):
            if type(record) is Quote:
                self._quotes[record.instrument_id] = record
            elif isinstance(record, ClientOrderRequested):
                self._requested = (number, record)
            elif self._touches(record):
                yield from self._asked_for(number, record)
                problem = ""
                try:
                    self._apply(record)
                except StateError as error:
                    problem = str(error)
                decided = isinstance(record, SubmitOrder | ReplaceOrder | CancelOrder | OrderDenied)
                quote = self._quotes.get(self.instrument.instrument_id) if decided and self.instrument is not None else None
                yield Moment(number, record, self._status(), quote, problem)

    def _asked_for(self, number: int, record: Record) -> Iterator[Moment]:
        """The request of a client that led to the order stands right before it."""
        if self._order is None and self._requested is not None and isinstance(record, SubmitOrder | OrderDenied):
            at, request = self._requested
            if at == number - 1 and request.client_id == record.strategy_id:
                self.instrument = self._instruments.get(request.instrument_id)
                yield Moment(at, request, "", self._quotes.get(request.instrument_id), "")

    def _touches(self, record: Record) -> bool:
        if getattr(record, "client_order_id", None) == self.client_order_id:
            return True
        if isinstance(record, StateRestored):
            return any(order.client_order_id == self.client_order_id for order in record.state.orders)
        order = self._order
        if order is None or not order.is_open:
            return False
        if isinstance(record, CancelAll):
            return record.instrument_id in (None, order.instrument_id)
        if isinstance(record, StatusChanged | GapDetected):
            return record.instrument_id == order.instrument_id
        if isinstance(record, TradingStateSet | TradingResumed | LimitTripped):
            return record.strategy_id in ("", order.strategy_id)
        return False

    def _apply(self, record: Record) -> None:
        fact = self._facts.get(type(record))
        order = self._order
        if fact is not None:
            fact(record)
        elif isinstance(record, StateRestored):
            # Sent by a run before this one: its life goes on from here.
            (found,) = [order_of(each) for each in record.state.orders if each.client_order_id == self.client_order_id]
            self.instrument = self._instruments.get(found.instrument_id)
            self._order = found
            self._store.restore([found], ())
        elif isinstance(record, SubmitOrder):
            if order is not None:
                raise StateError(f"order {record.client_order_id} was sent a second time")
            self.instrument = self._instruments.get(record.instrument_id)
            if self.instrument is None:
                raise StateError(f"{record.instrument_id} is no instrument of this run")
            self._order = self._store.create(record)
            self._store.submitted(self._order)
        elif isinstance(record, ForeignOrderFound):
            self.instrument = self._instruments.get(record.instrument_id)
            self._order = self._store.adopt(record)
        elif isinstance(record, OrderDenied):
            self.instrument = self._instruments.get(record.instrument_id)
            self._was_denied = order is None
        elif order is not None and isinstance(record, CancelOrder):
            self._store.cancel_requested(order, record.ts)
        elif order is not None and isinstance(record, ReplaceOrder):
            self._store.replace_requested(order, record)
        elif order is not None and isinstance(record, CancelAll) and order.status is not OrderStatus.PENDING_CANCEL:
            self._store.cancel_requested(order, record.ts)

    def _status(self) -> str:
        if self._order is not None:
            return self._order.status.name
        return OrderStatus.DENIED.name if self._was_denied else ""
