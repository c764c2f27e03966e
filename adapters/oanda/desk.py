"""Our orders at OANDA: what was asked, which transaction is about which of them, and what it means as core events. Pure.

A core order may have several orders at OANDA, one after the other: a replacement and what is left of a partial fill have numbers
of their own. They are found by the client's id, or by the number that they replace.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from adapters.oanda.cash import Cash
from adapters.oanda.codec import LimitTerms
from adapters.oanda.exact import decimal_of, positive_of, rounded_of, time_of
from adapters.oanda.our_order import Asked, Doubt, OurOrder
from adapters.oanda.outcomes import DUPLICATE, EXPIRED, REPLACED, reason_of
from adapters.oanda.rules import Rules
from adapters.oanda.wire import AccountBody, OrderBody, TradePart, Transaction
from core.commands import CancelAll, ReplaceOrder, SubmitOrder
from core.enums import LiquiditySide, OrderType, Reason, Side, TimeInForce
from core.errors import UnitError, VenueProtocolError
from core.events import (
    AnyEvent,
    CancelRejected,
    CashMoved,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)
from core.identifiers import format_order_id, parse_order_id
from core.instruments import MONEY_SCALE
from core.order_store import FOREIGN_ORDER_ID
from core.units import NS_PER_MS
from core.venue_adapter import VenueOrder

LOOKS_TO_BELIEVE = 2
ENDED_KEPT_MAX = 10_000  # orders remembered behind their end, for a fill that comes late
CANCEL_WAITS_NS = 500 * NS_PER_MS  # for the answer that says which order it is about; then it goes by the client's id
_CREATES = frozenset(
    {
        "MARKET_ORDER",
        "FIXED_PRICE_ORDER",
        "LIMIT_ORDER",
        "STOP_ORDER",
        "MARKET_IF_TOUCHED_ORDER",
        "TAKE_PROFIT_ORDER",
        "STOP_LOSS_ORDER",
        "GUARANTEED_STOP_LOSS_ORDER",
        "TRAILING_STOP_LOSS_ORDER",
    }
)
_REJECTS = frozenset(f"{kind}_REJECT" for kind in _CREATES)
_ALARMS = frozenset(
    {"MARGIN_CALL_ENTER", "MARGIN_CALL_EXTEND", "MARGIN_CALL_EXIT", "CLOSE", "CLIENT_CONFIGURE", "DELAYED_TRADE_CLOSURE"}
)
# An order that was made and at once canceled for one of these did what IOC and FOK are for; for any other it was refused.
_ENDS_BY_TIME = frozenset({"INSUFFICIENT_LIQUIDITY", "BOUNDS_VIOLATION", EXPIRED})


class Desk:
    """`rules` by instrument_id. `home_currency` is the account's, known from `begin` on."""

    def __init__(self, *, venue: str, rules: Mapping[str, Rules], prefix: str, first_order_id: int) -> None:
        self._venue = venue
        self._rules = dict(rules)
        self._by_name = {each.name: each for each in rules.values()}
        self._cash = Cash(venue, self._by_name)
        self._prefix = prefix
        self._first_order_id = first_order_id
        self._orders: dict[int, OurOrder] = {}
        self._ended: OrderedDict[int, OurOrder] = OrderedDict()
        self._by_venue_id: dict[str, OurOrder] = {}
        self.home_currency = ""
        self.notes: list[str] = []  # what a person should hear of, one line each
        self.doubts: dict[int, Doubt] = {}
        self.rests: dict[str, int] = {}  # orders filled in part whose rest nobody has spoken of, and since when

    # What is known of our orders.

    def begin(self, body: AccountBody) -> None:
        """The account as it stands: what of it is ours is known from here on, also what an earlier process has sent."""
        self.home_currency = body.currency
        for found in body.orders:
            order_id = self.order_id_of(found)
            if order_id is not None and order_id not in self._orders and order_id not in self._ended:
                order = self._of_body(order_id, found)
                if order is not None:
                    self._enter(order, found.id)

    def forget(self) -> None:
        """All orders: the next answer says which there are, and what is left of them."""
        self._orders.clear()
        self._ended.clear()
        self._by_venue_id.clear()
        self.doubts.clear()
        self.rests.clear()

    def _of_body(self, order_id: int, found: OrderBody) -> OurOrder | None:
        rules = self._by_name.get(found.instrument or "")
        if rules is None or found.units is None:
            return None
        units = decimal_of(found.units, rules.instrument.qty_scale, "units")
        kind = OrderType.LIMIT if found.type == "LIMIT" else OrderType.STOP
        side = Side.BUY if units > 0 else Side.SELL
        order = OurOrder(order_id, rules.instrument.instrument_id, side, abs(units), self._price_of(rules, found), kind)
        order.terms = LimitTerms(found.time_in_force, found.gtd_time, _fill_word(found.position_fill))
        order.is_acknowledged = True
        return order

    def _enter(self, order: OurOrder, venue_id: str) -> None:
        self._orders[order.id] = order
        self._rename(order, venue_id)

    def _rename(self, order: OurOrder, venue_id: str) -> None:
        self.rests.pop(order.venue_id, None)
        order.venue_id = venue_id
        if venue_id not in self._by_venue_id:
            order.venue_ids.append(venue_id)
            self._by_venue_id[venue_id] = order

    def _end(self, order: OurOrder) -> int:
        left = order.end()
        self.rests.pop(order.venue_id, None)
        if self._orders.pop(order.id, None) is not None:
            self._ended[order.id] = order
            if len(self._ended) > ENDED_KEPT_MAX:
                _, forgotten = self._ended.popitem(last=False)
                for venue_id in forgotten.venue_ids:
                    del self._by_venue_id[venue_id]
        return left

    def adopt(self, order_id: int, found: VenueOrder) -> None:
        kind = OrderType.STOP if found.price is None else OrderType.LIMIT
        order = OurOrder(order_id, found.instrument_id, found.side, found.leaves_qty, found.price, kind)
        order.is_acknowledged = order.is_adopted = True
        self._enter(order, found.venue_order_id)

    def trades(self, name: str) -> bool:
        """Whether the venue's instrument of this name is configured."""
        return name in self._by_name

    def find(self, order_id: int) -> OurOrder | None:
        return self._orders.get(order_id)

    def open_orders(self, command: CancelAll) -> list[OurOrder]:
        wanted = command.instrument_id
        return [order for order in self._orders.values() if wanted is None or order.instrument_id == wanted]

    def text_of(self, order_id: int) -> str:
        return format_order_id(order_id, self._prefix)

    def order_id_of(self, found: OrderBody) -> int | None:
        """The id that it goes by here; None: it is not ours."""
        known = self._by_venue_id.get(found.id)
        if known is not None:
            return known.id
        text = "" if found.client_extensions is None else found.client_extensions.id
        return self._own_id(text)

    def _own_id(self, text: str) -> int | None:
        order_id = parse_order_id(text, self._prefix)
        if order_id is None or order_id in self._orders or order_id in self._ended:
            return order_id
        # Somebody else's order under an id that was never given away here.
        return order_id if order_id < self._first_order_id else None

    # What is asked.

    def submitted(self, command: SubmitOrder, terms: LimitTerms) -> OurOrder:
        order = OurOrder(
            command.client_order_id, command.instrument_id, command.side, command.quantity, command.price, command.order_type
        )
        is_market = command.order_type is OrderType.MARKET and command.time_in_force is TimeInForce.GTC
        order.time_in_force = TimeInForce.IOC if is_market else command.time_in_force
        order.terms, order.asked = terms, Asked.SUBMIT
        self._orders[order.id] = order
        return order

    def left_to_replace(self, order: OurOrder, command: ReplaceOrder) -> int:
        """The remaining quantity that `command` means now: fills that it did not know of come off it."""
        return command.quantity - max(order.filled - command.filled_qty, 0) if order.filled else command.quantity

    def specifier(self, order: OurOrder) -> str:
        return order.venue_id or f"@{self.text_of(order.id)}"

    def cancels_due(self, ts: int) -> list[OurOrder]:
        """Cancels that have waited, and whose order is known now or may never be."""
        due = [
            order
            for order in self._orders.values()
            if order.cancel_due and (ts >= order.cancel_due or not order.asked & (Asked.SUBMIT | Asked.REPLACE))
        ]
        for order in due:
            order.cancel_due = 0
        return due

    # What comes of it, said by the answer itself. What the answer's transactions say comes by `apply`.

    def refused(self, ts: int, order_id: int, asked: Asked, reason: Reason, text: str) -> list[AnyEvent]:
        """Proven not to have happened."""
        order = self._orders.get(order_id)
        if order is None:
            return []
        order.asked &= ~asked
        match asked:
            case Asked.SUBMIT:
                if order.is_acknowledged:
                    return []  # by the word of a transaction, which counts more
                self._end(order)
                return [OrderRejected(ts, ts, order_id, reason, text)]
            case Asked.CANCEL:
                return [CancelRejected(ts, ts, order_id, reason)]
            case _:
                return [ReplaceRejected(ts, ts, order_id, reason)]

    def doubted(self, ts: int, order_id: int, asked: Asked, text: str) -> list[AnyEvent]:
        """Sent, and nobody knows: only a transaction ends it."""
        order = self._orders.get(order_id)
        if order is None or not order.asked & asked:
            return []
        order.asked &= ~asked
        before = self.doubts.get(order_id)
        self.doubts[order_id] = Doubt(asked if before is None else before.asked | asked, ts)
        return [OrderOutcomeUnknown(ts, ts, order_id, text)]

    def looked(self, begun_ts: int, bound_ns: int, ts: int) -> list[AnyEvent]:
        """Everything up to `begun_ts` is known. What could have arrived by then and has left no trace, twice, was never done."""
        events: list[AnyEvent] = []
        for order_id, doubt in list(self.doubts.items()):
            order = self._orders.get(order_id)
            if order is None:
                del self.doubts[order_id]
            elif begun_ts >= doubt.ts + bound_ns:
                doubt.looks += 1
                if doubt.looks >= LOOKS_TO_BELIEVE:
                    del self.doubts[order_id]
                    events += self._never_done(ts, order, doubt.asked)
        return events

    def _settled(self, order: OurOrder, asked: Asked) -> None:
        doubt = self.doubts.get(order.id)
        if doubt is not None:
            doubt.asked &= ~asked
            if not doubt.asked:
                del self.doubts[order.id]

    def _never_done(self, ts: int, order: OurOrder, asked: Asked) -> list[AnyEvent]:
        if not order.is_acknowledged:
            return [OrderCanceled(ts, ts, order.id, self._end(order), Reason.UNKNOWN_ORDER)]
        refused: list[AnyEvent] = []
        if asked & Asked.REPLACE:
            refused.append(ReplaceRejected(ts, ts, order.id, Reason.NONE))
        if asked & Asked.CANCEL:
            refused.append(CancelRejected(ts, ts, order.id, Reason.NONE))
        return [*refused, OrderAccepted(ts, ts, order.id, order.price or 0, order.leaves, order.venue_id)] if refused else []

    # Transactions.

    def apply(self, ts: int, transaction: Transaction) -> list[AnyEvent]:
        """What it means. Raises VenueProtocolError for one that cannot be read."""
        kind = transaction.type
        if kind == "ORDER_FILL":
            return [*self._fill(ts, transaction), *self.cash_of(ts, transaction)]
        if kind in _CREATES:
            return self._created(ts, transaction)
        if kind == "ORDER_CANCEL":
            return self._canceled(ts, transaction)
        if kind in _REJECTS:
            return self._rejected(ts, transaction)
        if kind in _ALARMS:
            self.notes.append(f"{kind} (transaction {transaction.id})")
        return [*self.cash_of(ts, transaction)]

    def cash_of(self, ts: int, transaction: Transaction) -> list[CashMoved]:
        """The money that it moves beside what its fills carry. What cannot be read is told: the fill itself stands."""
        try:
            return self._cash.moves(ts, transaction, self.home_currency)
        except VenueProtocolError as error:
            self.notes.append(f"the money of transaction {transaction.id} ({transaction.type[:40]}) is not booked: {error}")
            return []

    def _order_of(self, transaction: Transaction) -> OurOrder | None:
        """Of an order's later transaction."""
        order = self._by_venue_id.get(transaction.order_id)
        if order is None:
            order_id = self._own_id(transaction.client_text)
            order = None if order_id is None else self._orders.get(order_id) or self._ended.get(order_id)
        return order

    def _created(self, ts: int, transaction: Transaction) -> list[AnyEvent]:
        replaced = self._by_venue_id.get(transaction.replaces_order_id)
        if replaced is not None:
            return self._replaced(ts, replaced, transaction)
        order_id = self._own_id(transaction.client_text)
        order = None if order_id is None else self._orders.get(order_id)
        if order is None:
            if order_id is not None and order_id in self._ended:
                self.notes.append(f"order {transaction.client_text} has ended here, and transaction {transaction.id} makes it")
            return []
        if order.venue_id and order.venue_id != transaction.id:
            self.notes.append(f"order {transaction.client_text} is {order.venue_id} there, and {transaction.id} has its id too")
            return []
        order.asked &= ~Asked.SUBMIT
        self._settled(order, Asked.SUBMIT)
        order.made_in = transaction.batch_id
        order.is_acknowledged = True
        self._rename(order, transaction.id)
        return [OrderAccepted(time_of(transaction.time), ts, order.id, order.price or 0, order.leaves, transaction.id)]

    def _replaced(self, ts: int, order: OurOrder, transaction: Transaction) -> list[AnyEvent]:
        rules = self._rules[order.instrument_id]
        leaves = abs(decimal_of(transaction.units, rules.instrument.qty_scale, "units"))
        price = order.price
        if price is not None and transaction.price and order.order_type is OrderType.LIMIT:
            price = positive_of(transaction.price, rules.instrument.price_scale, "price")
        if not order.is_open:
            self.notes.append(f"order {order.id} has ended here, and transaction {transaction.id} replaces it")
            return []
        was_asked = bool(order.asked & Asked.REPLACE)
        is_rest = not was_asked and order.venue_id in self.rests and (leaves, price) == (order.leaves, order.price)
        order.asked &= ~Asked.REPLACE
        self._settled(order, Asked.SUBMIT | Asked.REPLACE)
        order.leaves, order.price, order.made_in = leaves, price, transaction.batch_id
        self._rename(order, transaction.id)
        if is_rest:
            return []  # of a partial fill, under a number of its own
        return [OrderReplaced(time_of(transaction.time), ts, order.id, price or 0, leaves)]

    def _canceled(self, ts: int, transaction: Transaction) -> list[AnyEvent]:
        order = self._order_of(transaction)
        if order is None or not order.is_open:
            return []
        if transaction.reason == REPLACED or transaction.replaced_by_order_id:
            return []  # its replacement is the next transaction
        if order.venue_id and transaction.order_id != order.venue_id:
            return []  # of a number that it had before
        ts_event, order_id = time_of(transaction.time), order.id
        is_refused = (
            bool(order.made_in)
            and order.made_in == transaction.batch_id
            and not order.filled
            and transaction.reason not in _ENDS_BY_TIME
            and transaction.reason != "CLIENT_REQUEST"
        )
        left = self._end(order)
        if is_refused:
            return [OrderRejected(ts_event, ts, order_id, reason_of(transaction.reason), transaction.reason)]
        if transaction.reason == EXPIRED and order.time_in_force not in (TimeInForce.IOC, TimeInForce.FOK):
            return [OrderExpired(ts_event, ts, order_id, left)]
        return [OrderCanceled(ts_event, ts, order_id, left, self._end_reason(order, transaction.reason))]

    def _end_reason(self, order: OurOrder, text: str) -> Reason:
        if text in _ENDS_BY_TIME and order.time_in_force is TimeInForce.FOK:
            return Reason.FOK
        if text in _ENDS_BY_TIME and order.time_in_force is TimeInForce.IOC:
            return Reason.IOC
        return reason_of(text)

    def _rejected(self, ts: int, transaction: Transaction) -> list[AnyEvent]:
        """The answer says the same, if it comes; it may not."""
        if transaction.reject_reason == DUPLICATE:
            return []
        reason, text = reason_of(transaction.reject_reason), transaction.reject_reason
        replacing = self._by_venue_id.get(transaction.intended_replaces_order_id)
        if replacing is not None:
            return self.refused(ts, replacing.id, Asked.REPLACE, reason, text) if replacing.asked & Asked.REPLACE else []
        order_id = self._own_id(transaction.client_text)
        order = None if order_id is None else self._orders.get(order_id)
        if order is None or order.is_acknowledged:
            return []
        return self.refused(ts, order.id, Asked.SUBMIT, reason, text)

    def _fill(self, ts: int, transaction: Transaction) -> list[AnyEvent]:
        fills = self.fills_of(ts, transaction)
        order = self._order_of(transaction)
        if order is None or not fills:
            return list(fills)
        qty = sum(fill.qty for fill in fills)
        is_other = (fills[0].side, fills[0].instrument_id) != (order.side, order.instrument_id)
        if is_other or qty > (order.leaves if order.is_open else order.left_at_end):
            self.notes.append(
                f"order {order.id} cannot have been filled by {qty} units: transaction {transaction.id} is not booked"
            )
            return []
        order.filled += qty
        order.is_acknowledged = True
        order.asked &= ~Asked.SUBMIT
        if not order.is_open:
            order.left_at_end -= qty
            return list(fills)
        order.leaves -= qty
        if order.leaves:
            self.rests[order.venue_id] = ts
        else:
            self._end(order)
        return list(fills)

    def fills_of(self, ts: int, transaction: Transaction) -> list[OrderFilled]:
        """One for each price that it was filled at; none of an instrument that is not configured."""
        rules = self._by_name.get(transaction.instrument)
        if rules is None:
            self.notes.append(
                f"transaction {transaction.id} fills {transaction.units} {transaction.instrument}, not configured here"
            )
            return []
        instrument = rules.instrument
        units = decimal_of(transaction.units, instrument.qty_scale, "units")
        if not units:
            raise VenueProtocolError(f"transaction {transaction.id}: a fill of nothing")
        order = self._order_of(transaction)
        order_id = order.id if order is not None else self._own_id(transaction.client_text)
        leaves = order.leaves if order is not None and order.is_open else 0
        is_taker = transaction.reason != "LIMIT_ORDER" or (order is not None and order.made_in == transaction.batch_id)
        commission = sum(
            rounded_of(text, MONEY_SCALE, "commission")
            for text in (transaction.commission, transaction.guaranteed_execution_fee)
            if text
        )
        pieces = _pieces(rules, transaction, abs(units))
        fills = []
        for place, (qty, price) in enumerate(pieces):
            leaves = max(leaves - qty, 0)
            fills.append(
                OrderFilled(
                    time_of(transaction.time),
                    ts,
                    FOREIGN_ORDER_ID if order_id is None else order_id,
                    instrument.instrument_id,
                    transaction.id if len(pieces) == 1 else f"{transaction.id}.{place + 1}",
                    Side.BUY if units > 0 else Side.SELL,
                    price,
                    qty,
                    leaves,
                    LiquiditySide.TAKER if is_taker else LiquiditySide.MAKER,
                    commission if place == 0 else 0,
                    self.home_currency or instrument.settlement_currency,
                )
            )
        return fills

    def rest_ended(self, ts: int, venue_id: str, state: str) -> list[AnyEvent]:
        """The venue's word on an order that was filled in part and of whose rest no transaction speaks."""
        self.rests.pop(venue_id, None)
        order = self._by_venue_id.get(venue_id)
        if order is None or not order.is_open or order.venue_id != venue_id or state == "PENDING":
            return []
        left = self._end(order)
        reason = Reason.IOC if order.time_in_force is TimeInForce.IOC else Reason.NONE
        return [OrderCanceled(ts, ts, order.id, left, reason)]

    # What the venue says there is.

    def venue_orders(self, body: AccountBody) -> tuple[VenueOrder, ...]:
        trades = {trade.id: trade for trade in body.trades}
        found = []
        for order in body.orders:
            units, name = order.units, order.instrument
            closes = trades.get(order.trade_id)
            if units is None and closes is not None:
                # Take profit and stop loss: whatever their trade has left, the other way.
                name = closes.instrument
                units = closes.current_units[1:] if closes.current_units.startswith("-") else f"-{closes.current_units}"
            if units is None or name is None:
                self.notes.append(f"order {order.id} ({order.type}) says neither its instrument nor its units")
                continue
            found.append(self._venue_order(order, name, units, reduces=closes is not None))
        return tuple(found)

    def _venue_order(self, order: OrderBody, name: str, units: str, *, reduces: bool) -> VenueOrder:
        rules = self._by_name.get(name)
        reduce_only = reduces or order.position_fill == "REDUCE_ONLY"
        if rules is None:
            # Not configured: that it is there counts, its quantity as whole as it can be said.
            size = rounded_of(units, 0, "units")
            side = Side.SELL if units.startswith("-") else Side.BUY
            return VenueOrder(None, f"{name}.{self._venue}", side, None, max(abs(size), 1), order.id, reduce_only)
        size = decimal_of(units, rules.instrument.qty_scale, "units")
        if not size:
            raise VenueProtocolError(f"order {order.id}: an order for nothing")
        return VenueOrder(
            self.order_id_of(order),
            rules.instrument.instrument_id,
            Side.BUY if size > 0 else Side.SELL,
            self._price_of(rules, order),
            abs(size),
            order.id,
            reduce_only,
        )

    def _price_of(self, rules: Rules, order: OrderBody) -> int | None:
        """Where it rests; of a stop its bound, None without one."""
        text = order.price if order.type == "LIMIT" else order.price_bound
        return None if not text else positive_of(text, rules.instrument.price_scale, "price")

    def positions(self, body: AccountBody) -> dict[str, int]:
        """Of every configured instrument: one that the venue does not list was never held."""
        held = {each.instrument.instrument_id: 0 for each in self._rules.values()}
        for position in body.positions:
            rules = self._by_name.get(position.instrument)
            if rules is not None:
                scale = rules.instrument.qty_scale
                long, short = (decimal_of(side.units, scale, "units") for side in (position.long, position.short))
                held[rules.instrument.instrument_id] = long + short
        return held


def _fill_word(text: str) -> str:
    """Orders say POSITION_DEFAULT where requests say DEFAULT."""
    return text if text in ("OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY") else "DEFAULT"


def _pieces(rules: Rules, transaction: Transaction, qty: int) -> list[tuple[int, int]]:
    """(quantity, price): the parts by their own prices where they have any, else the whole at the fill's."""
    parts: Iterable[TradePart] = [
        part for part in (transaction.trade_opened, transaction.trade_reduced, *transaction.trades_closed) if part is not None
    ]
    by_price: dict[int, int] = {}
    for part in parts:
        if part.price is not None:
            size = abs(decimal_of(part.units, rules.instrument.qty_scale, "units"))
            by_price[_fill_price(rules, part.price)] = by_price.get(_fill_price(rules, part.price), 0) + size
    if sum(by_price.values()) == qty and all(by_price.values()):
        return [(size, price) for price, size in by_price.items()]
    text = transaction.price or transaction.full_vwap
    if not text:
        raise VenueProtocolError(f"transaction {transaction.id}: a fill without a price")
    return [(qty, _fill_price(rules, text))]


def _fill_price(rules: Rules, text: str) -> int:
    """An average over several prices may have more digits than the instrument counts: then the nearest."""
    try:
        price = rounded_of(text, rules.instrument.price_scale, "price")
    except UnitError as error:
        raise VenueProtocolError(f"price: {error}") from error
    if price <= 0:
        raise VenueProtocolError(f"a fill at {text[:40]!r}")
    return price
