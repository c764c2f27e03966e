"""What Binance says of orders and executions as core events: exact integers, our own ids, one event for each fact. Pure.

An order that is not ours comes out as ForeignOrder or ForeignFill, never as nothing: forced orders (autoclose-…, adl_autoclose,
settlement_autoclose-…) and what somebody does by hand are real, and the daemon's policy decides about them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import msgspec
from msgspec import UNSET

from adapters.binance.numbers import money_of, price_of, qty_of, signed_qty_of, stamp_of, total_of
from adapters.binance.outcomes import reason_of
from adapters.binance.rest_bodies import AlgoOrderBody, Balance, OrderBody, PositionBody, TradeBody
from adapters.binance.user_stream import AlgoUpdate, ExecutionReport, OrderTradeUpdate
from core.enums import LiquiditySide, Reason, Side
from core.errors import VenueProtocolError
from core.events import (
    AnyOrderEvent,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderRestated,
    OrderTriggered,
)
from core.identifiers import parse_order_id
from core.instruments import Instrument
from core.order_store import FOREIGN_ORDER_ID
from core.venue_adapter import VenueBalance, VenueOrder

# How Binance names orders that it makes itself.
FORCED_PREFIXES = ("autoclose-", "adl_autoclose", "settlement_autoclose-", "delivery_autoclose-")
ONE_WAY = "BOTH"
OPEN_STATUSES = frozenset({"NEW", "PENDING_NEW", "PARTIALLY_FILLED", "PENDING_CANCEL"})
ENDED_STATUSES = frozenset({"FILLED", "CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"})
STATUSES = OPEN_STATUSES | ENDED_STATUSES
TOLD_MAX = 100_000  # executions that are kept to know them again under another id
# Of spot orders that wait for a trigger: the ones whose `w` says whether they are on the book yet.
_TRIGGERED_TYPES = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}


class ForeignOrder(msgspec.Struct, frozen=True):
    """An order of somebody else changed. `is_forced`: liquidation, auto-deleveraging or settlement by the venue."""

    symbol: str
    wire_id: str
    venue_order_id: str
    is_forced: bool
    what: str


class ForeignFill(msgspec.Struct, frozen=True):
    """An execution of such an order: the position changed by it. `fill` bears FOREIGN_ORDER_ID."""

    order: ForeignOrder
    fill: OrderFilled


OrderFact = AnyOrderEvent | ForeignOrder | ForeignFill


class _Change(msgspec.Struct, frozen=True):
    """One order's change, whichever product and stream told of it."""

    symbol: str
    wire_id: str
    venue_order_id: int
    side: str
    price: str
    quantity: str
    filled: str
    what: str  # the execution type
    status: str
    last_qty: str
    last_price: str
    commission: str
    commission_asset: str
    trade_id: int
    is_maker: bool
    stamp: int
    reject: str = ""
    is_triggered: bool = False


class OrderEvents:
    """`instruments` by the venue's symbol; `prefix` is that of our order ids (core/identifiers.py)."""

    def __init__(self, instruments: Mapping[str, Instrument], prefix: str) -> None:
        self._instruments = dict(instruments)
        self._prefix = prefix
        # Orders that conditional orders of ours became: their client ids are the venue's choice.
        self._children: dict[int, str] = {}
        # Executions that streams have told, by symbol, order and what it had filled with them: one execution each.
        self._told: OrderedDict[tuple[str, int, int], int] = OrderedDict()
        self._adopted: dict[str, int] = {}  # orders that are not ours and go by an id of ours, by the venue's name

    def adopt(self, client_order_id: int, venue_order_id: str) -> None:
        """`venue_order_id` as VenueOrder has it: the venue's number, "a" before that of a conditional order."""
        self._adopted[venue_order_id] = client_order_id

    def _own_id(self, number: int, wire_id: str) -> int | None:
        """Our id of an order on the book; None for somebody else's."""
        adopted = self._adopted.get(str(number)) if self._adopted else None
        return adopted if adopted is not None else parse_order_id(self._children.get(number, wire_id), self._prefix)

    def _own_conditional_id(self, number: int, wire_id: str) -> int | None:
        adopted = self._adopted.get(f"a{number}") if self._adopted else None
        return adopted if adopted is not None else parse_order_id(wire_id, self._prefix)

    def instrument(self, symbol: str) -> Instrument | None:
        return self._instruments.get(symbol)

    # Streams.

    def execution_report(self, report: ExecutionReport, ts: int) -> list[OrderFact]:
        """Spot. `ts` is ts_init, ns UTC. Raises VenueProtocolError for a report that cannot be."""
        change = _Change(
            symbol=report.s,
            # In the report of a cancel `c` is the id of the cancel request, and `C` that of the order.
            wire_id=report.C or report.c,
            venue_order_id=report.i,
            side=report.S,
            price=report.p,
            quantity=report.q,
            filled=report.z,
            what=report.x,
            status=report.X,
            last_qty=report.l,
            last_price=report.L,
            commission=report.n,
            commission_asset=report.N or "",
            trade_id=report.t,
            is_maker=report.m,
            stamp=report.T,
            reject=report.r,
            is_triggered=report.w and report.o in _TRIGGERED_TYPES,
        )
        return self._facts(change, ts)

    def order_update(self, update: OrderTradeUpdate, ts: int) -> list[OrderFact]:
        """USDⓈ-M. Raises VenueProtocolError in hedge mode: its two positions for one instrument are not ours to hold."""
        fields = update.o
        if fields.ps != ONE_WAY:
            raise VenueProtocolError(f"{fields.s}: position side {fields.ps}: the account is in hedge mode")
        change = _Change(
            symbol=fields.s,
            wire_id=fields.c,
            venue_order_id=fields.i,
            side=fields.S,
            price=fields.p,
            quantity=fields.q,
            filled=fields.z,
            what=fields.x,
            status=fields.X,
            last_qty=fields.l,
            last_price=fields.L,
            commission=fields.n,
            commission_asset=fields.N or "",
            trade_id=fields.t,
            is_maker=fields.m,
            stamp=fields.T,
        )
        return self._facts(change, ts)

    def algo_update(self, update: AlgoUpdate, ts: int) -> list[OrderFact]:
        """USDⓈ-M conditional orders. What one became bears its id from then on."""
        fields, stamp = update.o, stamp_of(update.T)
        instrument = self._instruments.get(fields.s)
        order_id = self._own_conditional_id(fields.aid, fields.caid)
        if instrument is None or order_id is None:
            return [ForeignOrder(fields.s, fields.caid, str(fields.aid), is_forced(fields.caid), f"conditional {fields.X}")]
        quantity = qty_of(instrument, fields.q, "q")
        if fields.ai.isascii() and fields.ai.isdecimal() and int(fields.ai) > 0:
            self._children[int(fields.ai)] = fields.caid
        match fields.X:
            case "NEW" | "WORKING":
                return [OrderAccepted(stamp, ts, order_id, price_of(instrument, fields.p, "p"), quantity, f"a{fields.aid}")]
            case "TRIGGERING" | "TRIGGERED":
                return [OrderTriggered(stamp, ts, order_id)] if fields.X == "TRIGGERED" else []
            case "CANCELED":
                return [OrderCanceled(stamp, ts, order_id, quantity, Reason.REQUESTED)]
            case "REJECTED":
                return [OrderRejected(stamp, ts, order_id, Reason.NONE, fields.rm)]
            case "EXPIRED":
                return [OrderExpired(stamp, ts, order_id, quantity)]
            case "FINISHED":
                return []  # the order that it became says how it ended
        raise VenueProtocolError(f"{fields.s}: conditional order {fields.caid!r} in unknown status {fields.X!r}")

    def _facts(self, change: _Change, ts: int) -> list[OrderFact]:
        instrument = self._instruments.get(change.symbol)
        order_id = self._own_id(change.venue_order_id, change.wire_id)
        if change.status not in STATUSES:
            raise VenueProtocolError(f"{change.symbol}: order {change.wire_id!r} in unknown status {change.status!r}")
        foreign = None
        if instrument is None or order_id is None:
            foreign = ForeignOrder(
                change.symbol,
                change.wire_id,
                str(change.venue_order_id),
                is_forced(change.wire_id),
                f"{change.what} {change.status}",
            )
            if instrument is None or not self._is_fill(instrument, change):
                return [foreign]
        assert instrument is not None
        stamp, side = stamp_of(change.stamp), side_of(change.symbol, change.side)
        quantity, filled = qty_of(instrument, change.quantity, "q"), qty_of(instrument, change.filled, "z")
        # More than was asked for is told as what it is: the daemon knows what to make of it.
        leaves = max(quantity - filled, 0)
        if self._is_fill(instrument, change):
            return [self._fill(change, instrument, order_id, foreign, side, leaves, stamp, ts)]
        assert order_id is not None
        return self._life(change, instrument, order_id, leaves, stamp, ts)

    @staticmethod
    def _is_fill(instrument: Instrument, change: _Change) -> bool:
        # CALCULATED is a liquidation's execution; with quantity 0 it says only that one was begun.
        return change.what == "TRADE" or (change.what == "CALCULATED" and qty_of(instrument, change.last_qty, "l") > 0)

    def _fill(
        self,
        change: _Change,
        instrument: Instrument,
        order_id: int | None,
        foreign: ForeignOrder | None,
        side: Side,
        leaves: int,
        stamp: int,
        ts: int,
    ) -> OrderFact:
        price, qty = price_of(instrument, change.last_price, "L"), qty_of(instrument, change.last_qty, "l")
        if price <= 0 or qty <= 0 or change.trade_id < 0:
            raise VenueProtocolError(
                f"{change.symbol}: a fill of {change.last_qty} at {change.last_price} with trade id {change.trade_id}"
            )
        self._refuse_second_name(change, instrument)
        key = execution_id(change.symbol, change.trade_id, change.venue_order_id)
        fill = OrderFilled(
            stamp,
            ts,
            FOREIGN_ORDER_ID if order_id is None else order_id,
            instrument.instrument_id,
            key,
            side,
            price,
            qty,
            leaves,
            LiquiditySide.MAKER if change.is_maker else LiquiditySide.TAKER,
            money_of(change.commission, "commission"),
            change.commission_asset or instrument.settlement_currency,
        )
        return fill if foreign is None else ForeignFill(foreign, fill)

    def _refuse_second_name(self, change: _Change, instrument: Instrument) -> None:
        """What an order has filled in all grows with each execution: the same total under another id is no second execution."""
        if change.what != "TRADE":
            return
        place = (change.symbol, change.venue_order_id, qty_of(instrument, change.filled, "z"))
        told = self._told.setdefault(place, change.trade_id)
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        if told != change.trade_id:
            raise VenueProtocolError(
                f"{change.symbol}: order {change.wire_id!r}: trades {told} and {change.trade_id} both make it {change.filled}"
            )

    def _life(self, change: _Change, instrument: Instrument, order_id: int, leaves: int, stamp: int, ts: int) -> list[OrderFact]:
        price = price_of(instrument, change.price, "p")
        match change.what:
            case "NEW":
                if change.is_triggered:
                    return [OrderTriggered(stamp, ts, order_id)]
                return [OrderAccepted(stamp, ts, order_id, price, leaves, str(change.venue_order_id))]
            case "CANCELED":
                return [OrderCanceled(stamp, ts, order_id, leaves, Reason.REQUESTED)]
            case "EXPIRED":
                return [OrderExpired(stamp, ts, order_id, leaves)]
            case "REPLACED" | "AMENDMENT":
                return [OrderReplaced(stamp, ts, order_id, price, leaves, qty_of(instrument, change.filled, "z"))]
            case "REJECTED":
                return [OrderRejected(stamp, ts, order_id, reason_of(0, change.reject), change.reject)]
            case "TRADE_PREVENTION":
                if change.status == "EXPIRED_IN_MATCH":
                    return [OrderExpired(stamp, ts, order_id, leaves)]
                return [OrderRestated(stamp, ts, order_id, leaves, Reason.SELF_TRADE)]
            case "CALCULATED":
                return []  # a liquidation of ours was begun; its executions follow
        raise VenueProtocolError(f"{change.symbol}: order {change.wire_id!r}: unknown execution type {change.what!r}")

    # Answers to requests.

    def accepted(self, body: OrderBody, ts: int) -> list[OrderFact]:
        """The acknowledgement of a new order. Its fills, and its end if it ended at once, come by the stream or by a query."""
        instrument = self._instruments.get(body.symbol)
        order_id = self._own_id(body.order_id, body.own_id)
        if instrument is None or order_id is None:
            raise VenueProtocolError(f"{body.symbol}: order {body.own_id!r} is not what was asked for")
        stamp, price = _stamp_or(body.stamp, ts), price_of(instrument, body.price, "price")
        quantity = qty_of(instrument, body.orig_qty, "origQty")
        facts: list[OrderFact] = [OrderAccepted(stamp, ts, order_id, price, quantity, str(body.order_id))]
        executed = qty_of(instrument, body.executed_qty, "executedQty")
        if body.status in ("EXPIRED", "EXPIRED_IN_MATCH") and not executed:
            facts.append(OrderExpired(stamp, ts, order_id, quantity))
        elif body.status == "REJECTED":
            return [OrderRejected(stamp, ts, order_id, Reason.NONE, body.status)]
        return facts

    def algo_accepted(self, body: AlgoOrderBody, ts: int) -> list[OrderFact]:
        instrument = self._instruments.get(body.symbol)
        order_id = self._own_conditional_id(body.algo_id, body.client_algo_id)
        if instrument is None or order_id is None:
            raise VenueProtocolError(f"{body.symbol}: conditional order {body.client_algo_id!r} is not what was asked for")
        price, quantity = price_of(instrument, body.price, "price"), qty_of(instrument, body.quantity, "quantity")
        return [OrderAccepted(_stamp_or(body.update_time, ts), ts, order_id, price, quantity, f"a{body.algo_id}")]

    def replaced(self, body: OrderBody, ts: int) -> list[OrderFact]:
        """The answer to a change of price or quantity. One that ended the order says so by its status."""
        instrument = self._instruments.get(body.symbol)
        order_id = self._own_id(body.order_id, body.own_id)
        if instrument is None or order_id is None:
            raise VenueProtocolError(f"{body.symbol}: order {body.own_id!r} is not what was asked for")
        stamp = _stamp_or(body.stamp, ts)
        leaves = self._leaves(instrument, body)
        if body.status in ENDED_STATUSES:
            return [] if body.status == "FILLED" else [OrderCanceled(stamp, ts, order_id, leaves, Reason.REQUESTED)]
        executed = qty_of(instrument, body.executed_qty, "executedQty")
        return [OrderReplaced(stamp, ts, order_id, price_of(instrument, body.price, "price"), leaves, executed)]

    def canceled(self, body: OrderBody, ts: int) -> list[OrderFact]:
        """The answer to a cancel. Anything but an end is no end: then the stream or a query says what became of it."""
        instrument = self._instruments.get(body.symbol)
        order_id = self._own_id(body.order_id, body.own_id)
        if instrument is None or order_id is None:
            raise VenueProtocolError(f"{body.symbol}: order {body.own_id!r} is not what was asked for")
        if body.status != "CANCELED":
            return []
        return [OrderCanceled(_stamp_or(body.stamp, ts), ts, order_id, self._leaves(instrument, body), Reason.REQUESTED)]

    def found(self, body: OrderBody, fills: list[OrderFilled], ts: int, *, was_changed: bool = False) -> list[OrderFact]:
        """What a question about one order of ours has answered, with its executions: the facts that end an UNKNOWN.

        `was_changed`: a change of it is unanswered, and what the venue has is the answer. Raises VenueProtocolError where
        `fills` are not all of what the order executed: ask for them again.
        """
        instrument = self._instruments.get(body.symbol)
        order_id = self._own_id(body.order_id, body.own_id)
        if instrument is None or order_id is None:
            raise VenueProtocolError(f"{body.symbol}: order {body.own_id!r} is not what was asked for")
        if body.status not in STATUSES:
            raise VenueProtocolError(f"{body.symbol}: order {body.own_id!r} in unknown status {body.status!r}")
        ours = [fill for fill in fills if fill.client_order_id == order_id]
        executed = qty_of(instrument, body.executed_qty, "executedQty")
        if sum(fill.qty for fill in ours) != executed:
            raise VenueProtocolError(
                f"{body.symbol}: order {body.own_id!r} executed {body.executed_qty}, its trades are not that"
            )
        stamp, leaves = _stamp_or(body.stamp, ts), self._leaves(instrument, body)
        if body.status == "REJECTED":
            return [OrderRejected(stamp, ts, order_id, Reason.NONE, body.status)]
        price, quantity = price_of(instrument, body.price, "price"), qty_of(instrument, body.orig_qty, "origQty")
        facts: list[OrderFact] = [OrderAccepted(stamp, ts, order_id, price, quantity, str(body.order_id)), *ours]
        if body.status == "CANCELED":
            facts.append(OrderCanceled(stamp, ts, order_id, leaves, Reason.REQUESTED))
        elif body.status in ("EXPIRED", "EXPIRED_IN_MATCH"):
            facts.append(OrderExpired(stamp, ts, order_id, leaves))
        elif was_changed and body.status != "FILLED":
            facts.append(OrderReplaced(stamp, ts, order_id, price, leaves, executed))
        return facts

    # What the venue has: for reconciliation.

    def open_order(self, body: OrderBody) -> VenueOrder | None:
        """None for an instrument that is not configured, or an order that is not open."""
        instrument = self._instruments.get(body.symbol)
        if instrument is None or body.status not in OPEN_STATUSES:
            return None
        price = price_of(instrument, body.price, "price")
        return VenueOrder(
            client_order_id=self._own_id(body.order_id, body.own_id),
            instrument_id=instrument.instrument_id,
            side=side_of(body.symbol, body.side),
            price=price if price > 0 else None,
            leaves_qty=self._leaves(instrument, body),
            venue_order_id=str(body.order_id),
            reduce_only=body.reduce_only is True,
        )

    def open_algo_order(self, body: AlgoOrderBody) -> VenueOrder | None:
        instrument = self._instruments.get(body.symbol)
        if instrument is None or body.algo_status not in ("NEW", "WORKING", "TRIGGERING"):
            return None
        price = price_of(instrument, body.price, "price")
        return VenueOrder(
            client_order_id=self._own_conditional_id(body.algo_id, body.client_algo_id),
            instrument_id=instrument.instrument_id,
            side=side_of(body.symbol, body.side),
            price=price if price > 0 else None,
            leaves_qty=qty_of(instrument, body.quantity, "quantity"),
            venue_order_id=f"a{body.algo_id}",
        )

    def positions(self, bodies: list[PositionBody]) -> dict[str, int]:
        """Units by instrument, of those configured. Raises VenueProtocolError in hedge mode."""
        held: dict[str, int] = {}
        for body in bodies:
            instrument = self._instruments.get(body.symbol)
            if instrument is None:
                continue
            qty = signed_qty_of(instrument, body.position_amt, "positionAmt")
            if body.position_side != ONE_WAY and qty:
                raise VenueProtocolError(f"{body.symbol}: position side {body.position_side}: the account is in hedge mode")
            held[instrument.instrument_id] = held.get(instrument.instrument_id, 0) + qty
        return held

    def balances(self, rows: list[Balance]) -> tuple[VenueBalance, ...]:
        """Of the base currencies of those configured: the venue leaves zeros out."""
        wanted = dict.fromkeys((each.venue, each.base_currency) for each in self._instruments.values())
        currencies = {currency for _, currency in wanted}
        totals = {row.asset: total_of(row.free, row.locked) for row in rows if row.asset in currencies}
        return tuple(VenueBalance(venue, currency, totals.get(currency, 0)) for venue, currency in wanted)

    def executions(
        self, trades: list[TradeBody], orders: Mapping[int, OrderBody], ts: int
    ) -> tuple[list[OrderFilled], list[int]]:
        """Executions in order, and the ids of orders that must be asked for first: a trade does not name its client id.

        `orders` by the venue's order id. What was left after each is counted back from what the order has executed in all,
        so `trades` must reach to the order's latest. Those of orders that are not ours bear FOREIGN_ORDER_ID.
        """
        filled: list[OrderFilled] = []
        missing: list[int] = []
        left: dict[int, int] = {}
        for trade in sorted(trades, key=lambda row: (row.time, row.id), reverse=True):
            instrument = self._instruments.get(trade.symbol)
            if instrument is None:
                continue
            order = orders.get(trade.order_id)
            if order is None:
                if trade.order_id not in missing:
                    missing.append(trade.order_id)
                continue
            order_id = self._own_id(order.order_id, order.own_id)
            leaves = left.setdefault(trade.order_id, self._rest(instrument, order))
            fill = self._execution(trade, instrument, FOREIGN_ORDER_ID if order_id is None else order_id, max(leaves, 0), ts)
            left[trade.order_id] = leaves + fill.qty
            filled.append(fill)
        return filled[::-1], missing

    def _execution(self, trade: TradeBody, instrument: Instrument, order_id: int, leaves: int, ts: int) -> OrderFilled:
        is_maker = trade.is_maker if trade.maker is UNSET else trade.maker
        if trade.side is not UNSET:
            side = side_of(trade.symbol, trade.side)
        elif trade.is_buyer is not UNSET:
            side = Side.BUY if trade.is_buyer else Side.SELL
        else:
            raise VenueProtocolError(f"{trade.symbol}: trade {trade.id} has no side")
        price, qty = price_of(instrument, trade.price, "price"), qty_of(instrument, trade.qty, "qty")
        if price <= 0 or qty <= 0 or is_maker is UNSET:
            raise VenueProtocolError(f"{trade.symbol}: trade {trade.id} of {trade.qty} at {trade.price}")
        return OrderFilled(
            stamp_of(trade.time),
            ts,
            order_id,
            instrument.instrument_id,
            execution_id(trade.symbol, trade.id, trade.order_id),
            side,
            price,
            qty,
            leaves,
            LiquiditySide.MAKER if is_maker else LiquiditySide.TAKER,
            money_of(trade.commission, "commission"),
            trade.commission_asset,
        )

    @classmethod
    def _leaves(cls, instrument: Instrument, body: OrderBody) -> int:
        return max(cls._rest(instrument, body), 0)

    @staticmethod
    def _rest(instrument: Instrument, body: OrderBody) -> int:
        """Negative where more was executed than was asked for."""
        return qty_of(instrument, body.orig_qty, "origQty") - qty_of(instrument, body.executed_qty, "executedQty")


def execution_id(symbol: str, trade_id: int, order_id: int) -> str:
    """The same whether a stream or a query tells of it. With the order: two of ours that meet share one trade id."""
    return f"{symbol}-{trade_id}-{order_id}"


def side_of(symbol: str, text: str) -> Side:
    side = _SIDES.get(text)
    if side is None:
        raise VenueProtocolError(f"{symbol}: unknown side {text!r}")
    return side


def is_forced(wire_id: str) -> bool:
    return wire_id.startswith(FORCED_PREFIXES)


def _stamp_or(stamp_ms: int, ts: int) -> int:
    return stamp_of(stamp_ms) if stamp_ms else ts
