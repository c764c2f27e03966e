"""From commands to requests, and from outcomes to facts: the part of the adapter that knows orders. Pure; io.py sends and waits.

Every request that could place, change or cancel ends in events: accepted, refused, not sent, or unknown, and an unknown one is
asked about until a fact ends it. Nothing is sent a second time from here. Times called `now` are monotonic ns, `ts` is ns UTC.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, assert_never

import msgspec

from adapters.binance.codec import BinanceCodec
from adapters.binance.endpoints import Product
from adapters.binance.order_events import ForeignFill, ForeignOrder, OrderEvents, OrderFact
from adapters.binance.outcomes import NO_SUCH_ORDER, UNKNOWN_CANCEL, reason_of
from adapters.binance.rest_bodies import AlgoCanceled, AlgoOrderBody, OrderBody
from adapters.binance.stream_debts import StreamDebts
from adapters.binance.unknown_orders import Unknown, UnknownOrders
from adapters.binance.user_stream import AlgoUpdate, ExecutionReport, OrderTradeUpdate, UserMessage
from adapters.http.request import Intent, Outcome, Request, Sent
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import OrderType, Reason, Side
from core.errors import CapacityError, RefusedError, VenueProtocolError
from core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderTriggered,
    ReplaceRejected,
)
from core.units import NS_PER_MS
from core.venue_adapter import VenueOrder

ORDERS_KEPT_MAX = 100_000
FILLS_KEPT_MAX = 100_000  # told, so that none is told twice
STILL_UNKNOWN = "what became of a request about it is not known yet"


class Purpose(IntEnum):
    PLACE = 0
    CANCEL = 1
    REPLACE = 2
    CANCEL_ALL = 3
    QUERY = 4  # an order whose outcome is unknown
    FILLS = 5  # the executions of one that was found


class Ask(msgspec.Struct, frozen=True):
    """A request to send, and what for. `orders`: those that a cancel of everything is about, as far as they are known.

    `found` is the answer of the query that a FILLS goes with.
    """

    purpose: Purpose
    request: Request[Any]
    client_order_id: int = 0
    symbol: str = ""
    orders: tuple[int, ...] = ()
    found: OrderBody | None = None
    asked: int = 0  # when the question was begun


class Reaction(msgspec.Struct, frozen=True):
    """`must_recover`: what was said cannot be told apart order by order; ask for open orders and executions."""

    facts: tuple[OrderFact, ...] = ()
    asks: tuple[Ask, ...] = ()
    must_recover: bool = False


class _NotKnown(RefusedError):
    """A command about an order that nobody has told this connection of: there is no symbol to send it with."""


class _Known(msgspec.Struct):
    instrument_id: str
    side: Side
    is_conditional: bool
    is_open: bool = True
    is_seen: bool = False  # a fact has told that it exists
    is_streamed: bool = False  # the account's stream has
    is_cancel_asked: bool = False  # and not answered
    foreign: str = ""  # the venue's name of an order that is not ours and was adopted
    touched_ts: int = 0  # ns UTC: when something was last learned or asked of it
    ended_ts: int = 0  # ns UTC: when its end was learned
    end: type[OrderFact] | None = None  # canceled or expired, whichever was told first
    replaced: tuple[int, int] = (0, 0)  # ts_event and price of the last change that was told


_OK = Outcome.ACCEPTED
_INTENTS = {Purpose.PLACE: Intent.PLACE, Purpose.CANCEL: Intent.CANCEL, Purpose.REPLACE: Intent.CHANGE}


class OrderDesk:
    """`symbols` maps each instrument_id to the venue's symbol."""

    def __init__(self, codec: BinanceCodec, events: OrderEvents, unknown: UnknownOrders, symbols: dict[str, str]) -> None:
        self.unknown = unknown
        self.debts = StreamDebts()
        self._codec = codec
        self._events = events
        self._symbols = dict(symbols)
        self._orders: OrderedDict[int, _Known] = OrderedDict()
        self._told: OrderedDict[tuple[int, str], None] = OrderedDict()  # executions

    # Commands.

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        """An order from before: of an earlier run, or somebody else's that goes by this id from now on."""
        if client_order_id in self._orders:
            return
        is_foreign = order.client_order_id != client_order_id
        if is_foreign:
            self._events.adopt(client_order_id, order.venue_order_id)
        known = _Known(order.instrument_id, order.side, order.venue_order_id.startswith("a"))
        known.foreign = order.venue_order_id if is_foreign else ""
        known.is_seen = True
        self._remember(client_order_id, known)

    def instrument_of(self, client_order_id: int) -> str | None:
        """None for an order that nobody has told this connection of."""
        known = self._orders.get(client_order_id)
        return None if known is None else known.instrument_id

    def has_open_cancels(self) -> bool:
        """Whether an order is open that a cancel was asked for; those that are asked about one by one aside."""
        return any(
            known.is_open and known.is_cancel_asked and order_id not in self.unknown for order_id, known in self._orders.items()
        )

    def touched_since(self, ts: int) -> frozenset[str]:
        """Instruments with an order that something was learned or asked of at `ts` or later."""
        return frozenset(known.instrument_id for known in self._orders.values() if known.touched_ts >= ts)

    def has_ended_since(self, client_order_id: int, ts: int) -> bool:
        """Its end was learned at `ts` or later: what was asked before then may show it open still."""
        known = self._orders.get(client_order_id)
        return known is not None and not known.is_open and known.ended_ts >= ts

    def send(self, command: OrderCommand, ts: int) -> Reaction:
        """What to send for an approved command; what cannot be said to this venue comes back as a refusal."""
        try:
            match command:
                case SubmitOrder():
                    return self._place(command, ts)
                case CancelOrder():
                    return self._cancel(command, ts)
                case ReplaceOrder():
                    return self._replace(command, ts)
                case CancelAll():
                    return self._cancel_all(command)
                case _:
                    assert_never(command)
        except _NotKnown as error:
            return self.refuse(command, Reason.NOT_SENT, str(error), ts)
        except RefusedError as error:
            return self.refuse(command, Reason.BAD_FIELD, str(error), ts)

    def refuse(self, command: OrderCommand, reason: Reason, text: str, ts: int) -> Reaction:
        """Nothing of it leaves."""
        match command:
            case SubmitOrder():
                return Reaction((OrderRejected(ts, ts, command.client_order_id, reason, text),))
            case CancelOrder():
                return Reaction((CancelRejected(ts, ts, command.client_order_id, reason),))
            case ReplaceOrder():
                return Reaction((ReplaceRejected(ts, ts, command.client_order_id, reason),))
            case CancelAll():
                scope = self._symbols if command.instrument_id is None else (command.instrument_id,)
                orders = [order_id for key in scope for kind in self._open_in(key) for order_id in kind]
                return Reaction(tuple(CancelRejected(ts, ts, order_id, reason) for order_id in orders))
        assert_never(command)

    def _place(self, command: SubmitOrder, ts: int) -> Reaction:
        is_stop = command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        is_conditional = is_stop and self._codec.product is Product.USDM
        request: Request[Any]
        request = self._codec.place_conditional(command, ts) if is_conditional else self._codec.place(command, ts)
        known = _Known(command.instrument_id, command.side, is_conditional, touched_ts=ts)
        self._remember(command.client_order_id, known)
        return Reaction(asks=(Ask(Purpose.PLACE, request, command.client_order_id),))

    def _cancel(self, command: CancelOrder, ts: int) -> Reaction:
        known = self._known(command.client_order_id)
        request: Request[Any]
        if known.foreign:
            request = self._by_name(known)
        elif known.is_conditional:
            request = self._codec.cancel_conditional(command.client_order_id)
        else:
            request = self._codec.cancel(command.client_order_id, known.instrument_id)
        known.is_cancel_asked, known.touched_ts = True, ts
        return Reaction(asks=(Ask(Purpose.CANCEL, request, command.client_order_id),))

    def _by_name(self, known: _Known) -> Request[Any]:
        """A cancel of an adopted order, which has no id of ours at the venue."""
        if known.is_conditional:
            return self._codec.cancel_venue_conditional(int(known.foreign[1:]))
        return self._codec.cancel_venue_order(int(known.foreign), self._symbols[known.instrument_id])

    def _replace(self, command: ReplaceOrder, ts: int) -> Reaction:
        known = self._known(command.client_order_id)
        if known.foreign:
            raise RefusedError("an order that is not ours is canceled, never changed")
        if known.is_conditional:
            raise RefusedError("a conditional order cannot be changed: cancel it and place a new one")
        request = self._codec.replace(command, known.instrument_id, known.side)
        known.touched_ts = ts
        return Reaction(asks=(Ask(Purpose.REPLACE, request, command.client_order_id),))

    def _cancel_all(self, command: CancelAll) -> Reaction:
        scope = self._symbols if command.instrument_id is None else {command.instrument_id: self._symbols[command.instrument_id]}
        asks = []
        for instrument_id, symbol in scope.items():
            kept, conditional = self._open_in(instrument_id)
            asks.append(Ask(Purpose.CANCEL_ALL, self._codec.cancel_all(symbol), symbol=symbol, orders=kept))
            if self._codec.product is Product.USDM:
                # Conditional orders are with another service, which the first call does not reach.
                request = self._codec.cancel_all_conditional(symbol)
                asks.append(Ask(Purpose.CANCEL_ALL, request, symbol=symbol, orders=conditional))
        return Reaction(asks=tuple(asks))

    def _open_in(self, instrument_id: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Open orders of an instrument, on the book and conditional; each is being canceled from now on."""
        found: tuple[list[int], list[int]] = ([], [])
        for order_id, known in self._orders.items():
            if known.is_open and known.instrument_id == instrument_id:
                known.is_cancel_asked = True
                found[known.is_conditional].append(order_id)
        return tuple(found[0]), tuple(found[1])

    # Outcomes.

    def answered(self, ask: Ask, sent: Sent[Any], now: int, ts: int, clock_error_ns: int) -> Reaction:
        """What became of a request that `send` or `due` gave out."""
        match ask.purpose:
            case Purpose.PLACE | Purpose.CANCEL | Purpose.REPLACE:
                return self._heard(self._order_answered(ask, sent, now, ts, clock_error_ns))
            case Purpose.CANCEL_ALL:
                return self._heard(self._all_answered(ask, sent, now, ts, clock_error_ns))
            case Purpose.QUERY:
                return self._heard(self._query_answered(ask, sent, now, ts))
            case Purpose.FILLS:
                return self._heard(self._fills_answered(ask, sent, now, ts))
            case _:
                assert_never(ask.purpose)

    def _order_answered(self, ask: Ask, sent: Sent[Any], now: int, ts: int, clock_error_ns: int) -> Reaction:
        order_id = ask.client_order_id
        match sent.outcome:
            case Outcome.ACCEPTED:
                known = self._orders.get(order_id)
                if ask.purpose is Purpose.PLACE and known is not None and not known.is_streamed:
                    self.debts.taken(order_id, now)
                try:
                    facts = self._accepted(ask.purpose, sent.value, ts)
                except VenueProtocolError as error:
                    # It names our order and says something that cannot be: it was taken, and how is to be asked.
                    return self._lost(ask.purpose, order_id, f"{error}", now, ts, clock_error_ns, sent.sent_ns)
                return self._confirmed((order_id,), now) if ask.purpose is Purpose.CANCEL else Reaction(tuple(facts))
            case Outcome.UNKNOWN:
                return self._lost(ask.purpose, order_id, sent.reason, now, ts, clock_error_ns, sent.sent_ns)
            case Outcome.NOT_SENT_PROVEN:
                return Reaction((self._refused(ask.purpose, order_id, Reason.NOT_SENT, sent.reason, ts),))
            case Outcome.REJECTED_PROVEN:
                fact = self._refused(ask.purpose, order_id, reason_of(sent.code, sent.reason), sent.reason, ts)
                if ask.purpose is Purpose.CANCEL and sent.code in (UNKNOWN_CANCEL, NO_SUCH_ORDER):
                    # Filled, canceled or never there: which of them is a question of its own.
                    self._ask_about(order_id, Intent.CANCEL, now, clock_error_ns, sent.sent_ns)
                return Reaction((fact,))
            case _:
                assert_never(sent.outcome)

    def _confirmed(self, orders: Iterable[int], now: int, *, must_recover: bool = False) -> Reaction:
        """Cancels that were answered as done. An order that is called canceled and is not would be counted by nobody."""
        for order_id in orders:
            known = self._orders.get(order_id)
            if known is None or not known.is_open:
                continue
            try:
                self.unknown.confirm(order_id, known.instrument_id, now)
            except CapacityError:
                must_recover = True
        return Reaction(must_recover=must_recover)

    def _accepted(self, purpose: Purpose, value: object, ts: int) -> list[OrderFact]:
        match value:
            case AlgoOrderBody():
                return self._events.algo_accepted(value, ts)
            case AlgoCanceled():
                return []  # the stream says it, with the quantity
            case OrderBody() if purpose is Purpose.PLACE:
                return self._events.accepted(value, ts)
            case OrderBody() if purpose is Purpose.CANCEL:
                return self._events.canceled(value, ts)
            case OrderBody():
                return self._events.replaced(value, ts)
        raise AssertionError(f"{purpose.name} was answered with {type(value).__name__}")

    @staticmethod
    def _refused(purpose: Purpose, order_id: int, reason: Reason, text: str, ts: int) -> OrderFact:
        if purpose is Purpose.PLACE:
            return OrderRejected(ts, ts, order_id, reason, text)
        return (
            CancelRejected(ts, ts, order_id, reason) if purpose is Purpose.CANCEL else ReplaceRejected(ts, ts, order_id, reason)
        )

    def _lost(self, purpose: Purpose, order_id: int, text: str, now: int, ts: int, clock_error_ns: int, sent_ns: int) -> Reaction:
        known = self._orders.get(order_id)
        if known is not None and not known.is_open and purpose is not Purpose.PLACE:
            # It has ended meanwhile, by a fact. Whatever became of the request, it changed nothing.
            return Reaction((self._refused(purpose, order_id, Reason.UNKNOWN_ORDER, text, ts),))
        if known is not None and known.is_seen and purpose is Purpose.PLACE:
            # The stream was faster than the answer that is lost now. To call the order unknown again would also hide a change of
            # it that is under way.
            return Reaction()
        is_asked = self._ask_about(order_id, _INTENTS[purpose], now, clock_error_ns, sent_ns)
        return Reaction((OrderOutcomeUnknown(ts, ts, order_id, text),), must_recover=not is_asked)

    def _ask_about(self, order_id: int, intent: Intent, now: int, clock_error_ns: int, sent_ns: int) -> bool:
        """False: it cannot be asked about alone."""
        known = self._orders.get(order_id)
        if known is None:
            return False
        if not known.is_open:
            return True  # how it ended is known: nothing that comes late changes that
        try:
            self.unknown.add(
                order_id,
                known.instrument_id,
                intent,
                sent=sent_ns or now,
                recv_window_ns=self._codec.recv_window_ms * NS_PER_MS,
                clock_error_ns=clock_error_ns,
            )
        except CapacityError:
            return False
        return True

    def _all_answered(self, ask: Ask, sent: Sent[Any], now: int, ts: int, clock_error_ns: int) -> Reaction:
        if sent.outcome is _OK:
            facts: list[OrderFact] = []
            for body in sent.value if isinstance(sent.value, list) else []:
                try:
                    facts += self._events.canceled(body, ts)
                except VenueProtocolError:
                    continue  # somebody else's order, or one that cannot be read: the recovery sees what is left
            orders = [fact.client_order_id for fact in facts if isinstance(fact, OrderCanceled)]
            return self._confirmed(orders, now, must_recover=True)
        if sent.outcome is Outcome.UNKNOWN:
            for order_id in ask.orders:
                self._ask_about(order_id, Intent.CANCEL, now, clock_error_ns, sent.sent_ns)
            return Reaction(
                tuple(OrderOutcomeUnknown(ts, ts, order_id, sent.reason) for order_id in ask.orders), must_recover=True
            )
        reason = Reason.NOT_SENT if sent.outcome is Outcome.NOT_SENT_PROVEN else reason_of(sent.code, sent.reason)
        return Reaction(tuple(CancelRejected(ts, ts, order_id, reason) for order_id in ask.orders), must_recover=True)

    # Questions about orders whose outcome is unknown.

    def still_unknown(self, ts: int) -> tuple[OrderOutcomeUnknown, ...]:
        """To be said after a recovery: what it told of these orders, fills for example, settles nothing that is asked about."""
        return tuple(OrderOutcomeUnknown(ts, ts, order_id, STILL_UNKNOWN) for order_id in self.unknown.order_ids())

    def due(self, now: int) -> Reaction:
        """The questions to ask now."""
        return Reaction(asks=tuple(self._question(order, now) for order in self.unknown.due(now)))

    def _question(self, order: Unknown, now: int) -> Ask:
        known = self._known(order.client_order_id)
        request: Request[Any]
        if known.foreign and known.is_conditional:
            request = self._codec.query_venue_conditional(int(known.foreign[1:]), self._symbols[known.instrument_id])
        elif known.foreign:
            request = self._codec.query_venue_order(int(known.foreign), self._symbols[known.instrument_id])
        elif known.is_conditional:
            request = self._codec.query_conditional(order.client_order_id, order.instrument_id)
        else:
            request = self._codec.query_order(order.client_order_id, order.instrument_id)
        return Ask(Purpose.QUERY, request, order.client_order_id, asked=now)

    def _query_answered(self, ask: Ask, sent: Sent[Any], now: int, ts: int) -> Reaction:
        order_id = ask.client_order_id
        # Retries inside the transport begin a question anew; the last one's beginning is what counts, and it is the later.
        asked = sent.sent_ns or ask.asked
        if sent.outcome is Outcome.REJECTED_PROVEN and sent.code == NO_SUCH_ORDER:
            return self._not_found(order_id, asked, now, ts)
        if sent.outcome is not _OK:
            self.unknown.asked_in_vain(order_id, now)
            return Reaction()
        body = sent.value
        if isinstance(body, AlgoOrderBody):
            return self._conditional_found(body, order_id, asked, now, ts)
        assert isinstance(body, OrderBody)
        if body.executed_qty.strip("0.") == "":
            return self._found(ask, body, [], asked, now, ts)
        request = self._codec.trades_of_order(body.order_id, body.symbol)
        return Reaction(asks=(Ask(Purpose.FILLS, request, order_id, body.symbol, found=body, asked=asked),))

    def _fills_answered(self, ask: Ask, sent: Sent[Any], now: int, ts: int) -> Reaction:
        assert ask.found is not None
        if sent.outcome is not _OK:
            self.unknown.asked_in_vain(ask.client_order_id, now)
            return Reaction()
        assert isinstance(sent.value, list)
        try:
            fills, _ = self._events.executions(sent.value, {ask.found.order_id: ask.found}, ts)
        except VenueProtocolError:
            return self._unreadable(ask, now)
        return self._found(ask, ask.found, fills, ask.asked, now, ts)

    def _found(self, ask: Ask, body: OrderBody, fills: list[OrderFilled], asked: int, now: int, ts: int) -> Reaction:
        order_id = ask.client_order_id
        unknown = self.unknown.get(order_id)
        was_changed = unknown is not None and unknown.is_changing
        was_canceled = unknown is not None and unknown.is_canceling
        try:
            facts = self._events.found(body, fills, ts, was_changed=was_changed)
        except VenueProtocolError:
            return self._unreadable(ask, now)
        is_open = (
            not any(isinstance(fact, OrderCanceled | OrderExpired | OrderRejected) for fact in facts) and body.status != "FILLED"
        )
        # A comparison may have found it gone and called it canceled meanwhile: two different ends would contradict each other.
        facts = [
            OrderCanceled(fact.ts_event, fact.ts_init, fact.client_order_id, fact.qty, Reason.NONE)
            if isinstance(fact, OrderExpired)
            else fact
            for fact in facts
        ]
        if self.unknown.found(order_id, asked, now, is_open=is_open):
            # It is open long after the cancel: whoever wants it gone has to ask again.
            undone = [CancelRejected(ts, ts, order_id, Reason.NONE)] if is_open and was_canceled else []
            return Reaction((*facts, *undone))
        # Not settled: what is certain already is said, that it is open is not.
        return Reaction(tuple(fills))

    def _unreadable(self, ask: Ask, now: int) -> Reaction:
        """An answer that cannot be, or executions that are not all there yet: the question is asked again."""
        self.unknown.asked_in_vain(ask.client_order_id, now)
        return Reaction()

    def _conditional_found(self, body: AlgoOrderBody, order_id: int, asked: int, now: int, ts: int) -> Reaction:
        is_open = body.algo_status in ("NEW", "WORKING", "TRIGGERING")
        unknown = self.unknown.get(order_id)
        was_canceled = unknown is not None and unknown.is_canceling
        if not self.unknown.found(order_id, asked, now, is_open=is_open):
            return Reaction()
        try:
            facts = self._events.algo_accepted(body, ts)
        except VenueProtocolError:
            return Reaction(must_recover=True)
        if is_open:
            undone = [CancelRejected(ts, ts, order_id, Reason.NONE)] if was_canceled else []
            return Reaction((*facts, *undone))
        if body.algo_status in ("CANCELED", "EXPIRED", "REJECTED"):
            return Reaction((*facts, OrderCanceled(ts, ts, order_id, 0, Reason.REQUESTED)))
        # Triggered: what it became is an order of its own, which the recovery finds.
        return Reaction(tuple(facts), must_recover=True)

    def _not_found(self, order_id: int, asked: int, now: int, ts: int) -> Reaction:
        unknown = self.unknown.get(order_id)
        if unknown is None or not self.unknown.not_found(order_id, asked, now):
            return Reaction()
        if unknown.is_new:
            text = "not found twice after nothing of it could be under way any more"
            return Reaction((OrderRejected(ts, ts, order_id, Reason.UNKNOWN_ORDER, text),))
        return Reaction((OrderCanceled(ts, ts, order_id, 0, Reason.UNKNOWN_ORDER),), must_recover=True)

    # The stream.

    def heard(self, message: UserMessage, ts: int) -> Reaction:
        """A message of the user-data stream. Raises VenueProtocolError for one that cannot be: recover then."""
        match message:
            case ExecutionReport():
                facts = self._events.execution_report(message, ts)
            case OrderTradeUpdate():
                facts = self._events.order_update(message, ts)
            case AlgoUpdate():
                facts = self._events.algo_update(message, ts)
            case _:
                return Reaction()
        for fact in facts:
            if isinstance(fact, ForeignOrder | ForeignFill):
                continue
            self.debts.told(fact.client_order_id)
            known = self._orders.get(fact.client_order_id)
            if known is not None:
                known.is_streamed = True
        return self._heard(Reaction(tuple(facts)))

    def _heard(self, reaction: Reaction) -> Reaction:
        """Keep what the facts say of our orders, end the questions that they answer, and leave the others open."""
        news = [fact for fact in reaction.facts if not self._is_repeated(fact)]
        for fact in news:
            if isinstance(fact, ForeignOrder | ForeignFill | OrderOutcomeUnknown):
                continue
            order_id = fact.client_order_id
            is_end = isinstance(fact, OrderCanceled | OrderExpired | OrderRejected) or (
                isinstance(fact, OrderFilled) and fact.leaves_qty == 0
            )
            known = self._orders.get(order_id)
            if known is not None:
                known.touched_ts = fact.ts_init
                if isinstance(fact, OrderAccepted | OrderFilled | OrderReplaced | OrderTriggered):
                    known.is_seen = True
            if is_end:
                if known is not None and known.is_open:
                    known.is_open, known.ended_ts = False, fact.ts_init
                self.unknown.ended(order_id)
            elif isinstance(fact, OrderReplaced):
                self.unknown.changed(order_id)
            elif isinstance(fact, OrderAccepted | OrderFilled | OrderTriggered):
                self.unknown.exists(order_id)
        return Reaction((*news, *self._still_unknown(news)), reaction.asks, reaction.must_recover)

    def _still_unknown(self, facts: list[OrderFact]) -> list[OrderFact]:
        """A fill ends nothing where a change or a cancel is unknown: said again, or the order would be taken for settled."""
        last: dict[int, OrderFact] = {}
        for fact in facts:
            if not isinstance(fact, ForeignOrder | ForeignFill):
                last[fact.client_order_id] = fact
        return [
            OrderOutcomeUnknown(fact.ts_init, fact.ts_init, order_id, STILL_UNKNOWN)
            for order_id, fact in last.items()
            if isinstance(fact, OrderAccepted | OrderFilled | OrderTriggered) and order_id in self.unknown
        ]

    def _is_repeated(self, fact: OrderFact) -> bool:
        """Told before: what answers one wish must not be taken for the answer to the next.

        A change comes by the answer and by the stream; the second telling of one would end the change after it. Several cancels
        of one order may be refused: it was asked for once, so it is refused once.
        """
        if isinstance(fact, ForeignOrder):
            return False
        if isinstance(fact, ForeignFill | OrderFilled):
            return self._is_told(fact.fill if isinstance(fact, ForeignFill) else fact)
        known = self._orders.get(fact.client_order_id)
        if known is None:
            return False
        match fact:
            case OrderCanceled() | OrderExpired():
                # A cancel was answered and the order ended otherwise, before it or later: it is over, and the first word counts.
                known.end = known.end or type(fact)
                return known.end is not type(fact)
            case OrderReplaced():
                if (fact.ts_event, fact.price) == known.replaced or fact.ts_event < known.replaced[0]:
                    return True
                known.replaced = (fact.ts_event, fact.price)
            case CancelRejected():
                was_asked, known.is_cancel_asked = known.is_cancel_asked, False
                return not was_asked
            case OrderOutcomeUnknown():
                known.is_cancel_asked = False
        return False

    def tell_no_more(self, fills: Iterable[OrderFilled]) -> None:
        """They are known by a question: the stream may stay silent about them."""
        for fill in fills:
            self._is_told(fill)

    def _is_told(self, fill: OrderFilled) -> bool:
        """The stream may say one twice, and a question about an order says what the stream has said."""
        key = (fill.client_order_id, fill.execution_id)
        if key in self._told:
            return True
        self._told[key] = None
        if len(self._told) > FILLS_KEPT_MAX:
            self._told.popitem(last=False)
        return False

    # What is known.

    def _known(self, client_order_id: int) -> _Known:
        known = self._orders.get(client_order_id)
        if known is None:
            raise _NotKnown(f"order {client_order_id} is not known to this connection")
        return known

    def _remember(self, client_order_id: int, known: _Known) -> None:
        self._orders[client_order_id] = known
        while len(self._orders) > ORDERS_KEPT_MAX:
            oldest = next((order_id for order_id, order in self._orders.items() if not order.is_open), None)
            if oldest is None:
                return
            del self._orders[oldest]
