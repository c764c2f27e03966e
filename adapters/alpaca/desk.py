"""From commands to requests, and from answers and the stream to events: the part of the adapter that knows orders. Pure.

io.py sends and waits. Every request that could place, change or cancel an order ends in events: accepted, refused, not sent, or
unknown; what is unknown is asked about until a fact ends it. Nothing is sent a second time from here. Times called `now` are
monotonic ns, `ts` is ns UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, assert_never

import msgspec

from adapters.alpaca.codec import AlpacaCodec
from adapters.alpaca.orders import Orders, Ours, Replacing, on_one_list, stamp
from adapters.alpaca.outcomes import NOT_FOUND, reason_of
from adapters.alpaca.questions import Questions, Why
from adapters.alpaca.wire import ACTIVITIES_PAGE_MAX, ENDED, ActivityBody, Canceling, OrderBody, Status, TradeUpdate
from adapters.http.request import Outcome, Request, Sent
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.errors import RefusedError, VenueProtocolError
from core.events import (
    AnyOrderEvent,
    CancelRejected,
    OrderCanceled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)
from core.units import NS_PER_SECOND

STILL_UNKNOWN = "what became of a request about it is not known yet"
UNDER_WAY = '"pending_cancel"'  # in the text that refuses a cancel: the state that the order is in [?]
CANCEL_AGAIN_NS = 2 * NS_PER_SECOND  # for so long a cancel that was not refused is taken to be on its way
REFUSED_DOUBLINGS_MAX = 4  # of that, with each refusal in a row: what the order is now a question has to say
AFTER_MARGIN_NS = NS_PER_SECOND  # the venue's `after` is exclusive, and its stamps are of several clocks
# Events of trade_updates that tell how the order stands; the others are named where they are handled.
_STANDING = frozenset({each.value for each in Status} - {"filled", "partially_filled"} | {"restated"})


_OTHERS = frozenset({"fill", "partial_fill", "order_cancel_rejected", "order_replace_rejected"})


class Purpose(IntEnum):
    PLACE = 0
    CANCEL = 1
    REPLACE = 2
    CANCEL_ALL = 3
    LOOK = 4  # how an order stands
    LIST = 5  # how several do
    FILLS = 6  # executions of one or several


class Ask(msgspec.Struct, frozen=True):
    """A request to send, and what for. `orders`: where it is about several. `asked`: when it was begun."""

    purpose: Purpose
    request: Request[Any]
    client_order_id: int = 0
    orders: tuple[int, ...] = ()
    asked: int = 0
    after_ts: int = 0


@dataclass(slots=True)
class Reaction:
    events: list[AnyOrderEvent] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


class OrderDesk:
    def __init__(self, codec: AlpacaCodec, orders: Orders, questions: Questions, *, replaces: bool, fills_late_ns: int) -> None:
        self.orders = orders
        self.questions = questions
        self._codec = codec
        self._replaces = replaces
        self._fills_late_ns = fills_late_ns
        self._bulk_ts = 0  # of the last cancel of everything
        self._is_bulk_out = False

    # Commands.

    def send(self, command: OrderCommand, ts: int) -> Reaction:
        """What to send for an approved command; what cannot be said to this venue comes back as a refusal."""
        out = Reaction()
        try:
            match command:
                case SubmitOrder():
                    request = self._codec.place(command)
                    self.orders.submit(command).submitted_ts = ts
                    out.asks.append(Ask(Purpose.PLACE, request, command.client_order_id))
                case CancelOrder():
                    self._cancel(self._known(command.client_order_id), ts, out)
                case ReplaceOrder():
                    self._replace(command, out)
                case CancelAll():
                    self._cancel_all(command, ts, out)
                case _:
                    assert_never(command)
        except RefusedError as error:
            out.events += self.refusal(command, Reason.BAD_FIELD, str(error), ts)
        return out

    def refusal(self, command: OrderCommand, reason: Reason, text: str, ts: int) -> list[AnyOrderEvent]:
        """What answers a command that does not leave."""
        match command:
            case SubmitOrder(client_order_id=order_id):
                return [OrderRejected(ts, ts, order_id, reason, text)]
            case CancelOrder(client_order_id=order_id):
                return [CancelRejected(ts, ts, order_id, reason)]
            case ReplaceOrder(client_order_id=order_id):
                return [ReplaceRejected(ts, ts, order_id, reason)]
            case CancelAll(instrument_id=instrument_id):
                return [CancelRejected(ts, ts, each.client_order_id, reason) for each in self.orders.open(instrument_id)]
            case _:
                assert_never(command)

    def _known(self, client_order_id: int) -> Ours:
        ours = self.orders.get(client_order_id)
        if ours is None:
            raise RefusedError(f"order {client_order_id} is not known to this connection")
        return ours

    def _cancel(self, ours: Ours, ts: int, out: Reaction) -> None:
        """One that has just left and was not refused is still to be done: it is not sent again, for requests are few."""
        ours.is_cancel_asked = True
        if not ours.venue_id:
            # Only the venue's own id names it in a cancel: as soon as that is known.
            ours.is_cancel_waiting = True
            return
        ours.is_cancel_waiting = False
        if 0 <= ts - ours.cancel_sent_ts < CANCEL_AGAIN_NS:
            return
        if self._would_be_refused(ours, ts):
            self._cancel_refused(ours, Reason.UNKNOWN_ORDER, ts, out)
            return
        ours.cancel_sent_ts = ts
        out.asks.append(Ask(Purpose.CANCEL, self._codec.cancel(ours.venue_id), ours.client_order_id))

    def _would_be_refused(self, ours: Ours, ts: int) -> bool:
        """The venue has refused a cancel of it, and has not said since how it stands.

        Cancels go before questions: whoever cancels again at each refusal would use up what the answer costs, for ever.
        """
        if not ours.cancel_refusals:
            return False
        wait = CANCEL_AGAIN_NS << min(ours.cancel_refusals - 1, REFUSED_DOUBLINGS_MAX)
        return 0 <= ts - ours.cancel_refused_ts < wait

    def _replace(self, command: ReplaceOrder, out: Reaction) -> None:
        ours = self._known(command.client_order_id)
        if not self._replaces:
            raise RefusedError("replace is switched off: cancel the order and place a new one")
        if ours.is_adopted or not ours.venue_id or ours.replacing is not None or not ours.price:
            raise RefusedError("this order cannot be replaced now")
        if command.filled_qty or ours.told:
            # Whether the new order's quantity counts what was filled before, the venue does not say: it could be bought twice.
            raise RefusedError("an order with fills is not replaced here: cancel it and place a new one")
        generation = ours.generation + 1
        instrument = self.orders.instrument(ours)
        request = self._codec.replace(
            ours.venue_id, ours.client_order_id, generation, instrument, command.quantity, command.price
        )
        ours.replacing = Replacing(generation, command.quantity, command.price)
        out.asks.append(Ask(Purpose.REPLACE, request, ours.client_order_id))

    def _cancel_all(self, command: CancelAll, ts: int, out: Reaction) -> None:
        scope = self.orders.open(command.instrument_id)
        is_again = command.instrument_id is None and 0 <= ts - self._bulk_ts < CANCEL_AGAIN_NS
        if is_again and (self._is_bulk_out or all(self._is_being_canceled(ours) for ours in scope)):
            return  # the first is being done; requests are few, and a stop asks four times a second
        if command.instrument_id is not None:
            for ours in scope:
                self._cancel(ours, ts, out)
            return
        for ours in scope:
            ours.is_cancel_asked = True
            ours.is_cancel_waiting = not ours.venue_id
        self._bulk_ts, self._is_bulk_out = ts, True
        named = tuple(ours.client_order_id for ours in scope if ours.venue_id)
        out.asks.append(Ask(Purpose.CANCEL_ALL, self._codec.cancel_all(), orders=named))

    def _is_being_canceled(self, ours: Ours) -> bool:
        """The venue has taken a cancel of it, or it is the first thing to be sent once the venue's id is known."""
        question = self.questions.get(ours.client_order_id)
        return ours.is_cancel_waiting or (question is not None and Why.CANCEL in question.why)

    # Outcomes.

    def answered(self, ask: Ask, sent: Sent[Any], now: int, ts: int) -> Reaction:
        """What became of a request that `send` or `due` gave out."""
        out = Reaction()
        match ask.purpose:
            case Purpose.CANCEL_ALL:
                self._all_answered(ask, sent, now, ts, out)
                return out
            case Purpose.LIST:
                self._listed(ask, sent, now, ts, out)
                return out
            case Purpose.FILLS:
                self._fills_answered(ask, sent, now, ts, out)
                return out
        ours = self.orders.get(ask.client_order_id)
        if ours is None:
            return out
        match ask.purpose:
            case Purpose.PLACE:
                self._placed(ours, sent, now, ts, out)
            case Purpose.CANCEL:
                self._cancel_answered(ours, sent, now, ts, out)
            case Purpose.REPLACE:
                self._replace_answered(ours, sent, now, ts, out)
            case Purpose.LOOK:
                self._looked(ours, ask, sent, now, ts, out)
            case _:
                assert_never(ask.purpose)
        self._still_unknown(ours, ts, out)
        return out

    def _placed(self, ours: Ours, sent: Sent[Any], now: int, ts: int, out: Reaction) -> None:
        order_id = ours.client_order_id
        match sent.outcome:
            case Outcome.ACCEPTED:
                assert isinstance(sent.value, OrderBody)
                try:
                    self.orders.require_same(ours, sent.value)
                    self._stands(ours, sent.value, now, ts, out)
                except VenueProtocolError as error:
                    self._lost(ours, Why.NEW, f"{error}", sent, now, ts, out)
            case Outcome.UNKNOWN:
                self._lost(ours, Why.NEW, sent.reason, sent, now, ts, out)
            case Outcome.NOT_SENT_PROVEN | Outcome.REJECTED_PROVEN if ours.venue_id:
                out.troubles.append(f"order {order_id} was refused, and the stream knows it: {sent.reason}")
                self._ask(ours, Why.LOOK, now, now)
            case Outcome.NOT_SENT_PROVEN:
                out.events.append(OrderRejected(ts, ts, order_id, Reason.NOT_SENT, sent.reason))
                self._close(ours)
            case Outcome.REJECTED_PROVEN:
                out.events.append(OrderRejected(ts, ts, order_id, reason_of(sent.code, sent.reason), sent.reason))
                self._close(ours)

    def _cancel_answered(self, ours: Ours, sent: Sent[Any], now: int, ts: int, out: Reaction) -> None:
        match sent.outcome:
            case Outcome.ACCEPTED:
                # Taken, not done: the stream says the end, and if it does not, a question does.
                self._ask(ours, Why.CANCEL, sent.sent_ns or now, now)
            case Outcome.UNKNOWN:
                ours.cancel_sent_ts = 0
                self._lost(ours, Why.CANCEL, sent.reason, sent, now, ts, out)
            case Outcome.NOT_SENT_PROVEN:
                self._cancel_refused(ours, Reason.NOT_SENT, ts, out)
            case Outcome.REJECTED_PROVEN if UNDER_WAY in sent.reason:
                # An earlier one is: it is asked about already, or sent by somebody else. This one moves no bound.
                question = self.questions.get(ours.client_order_id)
                if question is None or Why.CANCEL not in question.why:
                    self._ask(ours, Why.CANCEL, sent.sent_ns or now, now)
            case Outcome.REJECTED_PROVEN:
                reason = reason_of(sent.code, sent.reason)
                self._cancel_refused(ours, reason, ts, out)
                if reason is Reason.UNKNOWN_ORDER:  # and not of the key or of too many requests, which says nothing of the order
                    ours.cancel_refused_ts, ours.cancel_refusals = ts, ours.cancel_refusals + 1
                if ours.is_open:
                    self._ask(ours, Why.LOOK, now, now)

    def _replace_answered(self, ours: Ours, sent: Sent[Any], now: int, ts: int, out: Reaction) -> None:
        match sent.outcome:
            case Outcome.ACCEPTED:
                # A success does not say that the order was replaced: the stream or a question does.
                self._ask(ours, Why.CHANGE, sent.sent_ns or now, now)
            case Outcome.UNKNOWN:
                self._lost(ours, Why.CHANGE, sent.reason, sent, now, ts, out)
            case Outcome.NOT_SENT_PROVEN:
                self._replace_refused(ours, Reason.NOT_SENT, ts, out)
            case Outcome.REJECTED_PROVEN:
                self._replace_refused(ours, reason_of(sent.code, sent.reason), ts, out)
                if ours.is_open and sent.code == NOT_FOUND:
                    self._ask(ours, Why.LOOK, now, now)

    def _all_answered(self, ask: Ask, sent: Sent[Any], now: int, ts: int, out: Reaction) -> None:
        """Whatever the bulk call left, each order by itself."""
        self._is_bulk_out = False
        lines: list[Canceling] = sent.value if sent.outcome is Outcome.ACCEPTED and sent.value is not None else []
        taken = {line.id for line in lines if 200 <= line.status < 300}
        for order_id in ask.orders:
            ours = self.orders.get(order_id)
            if ours is None or not ours.is_open:
                continue
            if ours.venue_id in taken:
                ours.cancel_sent_ts = ts
                self._ask(ours, Why.CANCEL, sent.sent_ns or now, now)
            else:
                self._cancel(ours, ts, out)
        if sent.outcome is not Outcome.ACCEPTED:
            out.troubles.append(f"cancel everything: {sent.outcome.name} {sent.reason}: each order is canceled by itself")

    def _lost(self, ours: Ours, why: Why, text: str, sent: Sent[Any], now: int, ts: int, out: Reaction) -> None:
        if not ours.is_open:
            # It has ended meanwhile, by a fact: whatever became of the request, it changed nothing.
            self._cancel_refused(ours, Reason.UNKNOWN_ORDER, ts, out)
            return
        if why is Why.NEW and ours.is_accepted:
            return  # the stream was faster than the answer that is lost
        ours.is_unknown = True
        self._ask(ours, why, sent.sent_ns or now, now)
        out.events.append(OrderOutcomeUnknown(ts, ts, ours.client_order_id, text))

    def _ask(self, ours: Ours, why: Why, sent: int, now: int) -> None:
        if ours.is_open or why is Why.FILLS:
            self.questions.add(ours.client_order_id, why, sent=sent, now=now)

    def _cancel_refused(self, ours: Ours, reason: Reason, ts: int, out: Reaction) -> None:
        # Asked for twice and refused twice: it is one refusal.
        was_asked, ours.is_cancel_asked = ours.is_cancel_asked, False
        ours.is_cancel_waiting = False
        ours.cancel_sent_ts = 0
        if was_asked:
            out.events.append(CancelRejected(ts, ts, ours.client_order_id, reason))

    def _replace_refused(self, ours: Ours, reason: Reason, ts: int, out: Reaction) -> None:
        was_asked, ours.replacing = ours.replacing, None
        self.questions.settle(ours.client_order_id, Why.CHANGE)
        if was_asked is not None:
            out.events.append(ReplaceRejected(ts, ts, ours.client_order_id, reason))

    # How an order stands.

    def _stands(self, ours: Ours, body: OrderBody, now: int, ts: int, out: Reaction) -> None:
        """What a body says of an order that is ours: by an answer, the stream or a question. Raises VenueProtocolError."""
        self.orders.require_same(ours, body)
        quantity, filled = self.orders.quantities(self.orders.instrument(ours), body)
        if not ours.venue_id:
            self.orders.name(ours, body.id)
        ours.submitted_ts = min(ours.submitted_ts or ts, stamp(body.submitted_at, ts))
        ours.claimed[body.id] = max(filled, ours.claimed.get(body.id, 0))
        ours.cancel_refusals = 0
        if not ours.is_complete():
            self._want_fills(ours, now, out)
        if not ours.is_open or body.id != ours.venue_id:
            return
        self.questions.settle(ours.client_order_id, Why.NEW | Why.LOOK)
        if ours.is_replace_untold and body.status is not Status.REPLACED:
            self._replaced(ours, body, quantity, filled, ts, out)
        if body.status not in ENDED:
            is_settled = not self._is_doubtful(ours)
            if not ours.is_accepted or (ours.is_unknown and is_settled):
                out.events.append(self.orders.accepted(ours, body, ts))
            if ours.is_cancel_waiting:
                self._cancel(ours, ts, out)
        elif body.status is Status.REPLACED:
            self._follow(ours, body, now, out)
        elif ours.is_complete():
            event = self.orders.ended(ours, body, ts)
            if event is not None:
                out.events.append(event)
            self._close(ours)

    def _want_fills(self, ours: Ours, now: int, out: Reaction) -> None:
        if not ours.fills_wanted_ts:
            ours.fills_wanted_ts = now
        self._ask(ours, Why.FILLS, now, now)
        if now - ours.fills_wanted_ts > self._fills_late_ns:
            ours.fills_wanted_ts = now
            text = f"order {ours.client_order_id} says that more of it is filled than the venue has executions of; it is asked on"
            out.troubles.append(text)

    def _follow(self, ours: Ours, body: OrderBody, now: int, out: Reaction) -> None:
        """It lives on under another id: by our replace, by hand, or for a corporate action."""
        if body.replaced_by is None:
            out.troubles.append(f"order {ours.client_order_id} is replaced, and the venue does not say by which")
            self._ask(ours, Why.LOOK, now, now)
            return
        self.orders.name(ours, body.replaced_by)
        ours.generation += 1
        ours.is_replace_untold = True
        self.questions.settle(ours.client_order_id, Why.CHANGE)
        self._ask(ours, Why.LOOK, now, now)

    def _replaced(self, ours: Ours, body: OrderBody, quantity: int, filled: int, ts: int, out: Reaction) -> None:
        price, leaves = self.orders.price_of(ours, body), max(quantity - filled, 0)
        if ours.replacing is None:
            out.troubles.append(f"order {ours.client_order_id} was replaced, and not by us: {leaves} units at {price} now")
        ours.is_replace_untold, ours.replacing = False, None
        ours.price, ours.is_accepted = price, True
        # What the body counts as filled may not have been told yet, and comes off what is left when it is.
        counted = ours.filled_in_all(body.id, filled)
        out.events.append(OrderReplaced(stamp(body.submitted_at, ts), ts, ours.client_order_id, price, leaves, counted))

    def _is_doubtful(self, ours: Ours) -> bool:
        """Whether a cancel or a change of it may still be done."""
        question = self.questions.get(ours.client_order_id)
        return question is not None and bool(question.why & (Why.NEW | Why.CANCEL | Why.CHANGE))

    def _still_unknown(self, ours: Ours, ts: int, out: Reaction) -> None:
        """A fill or an acceptance ends nothing where a cancel or a change is unknown: said again, or it is taken for settled."""
        if not ours.is_open or not ours.is_unknown or not self._is_doubtful(ours):
            return
        mine = [event for event in out.events if event.client_order_id == ours.client_order_id]
        if mine and not isinstance(mine[-1], OrderOutcomeUnknown):
            out.events.append(OrderOutcomeUnknown(ts, ts, ours.client_order_id, STILL_UNKNOWN))

    def _close(self, ours: Ours) -> None:
        self.orders.end(ours)
        ours.is_unknown = ours.is_cancel_asked = ours.is_cancel_waiting = False
        ours.replacing = None
        self.questions.settled(ours.client_order_id)

    # Questions.

    def due(self, now: int, most: int) -> list[Ask]:
        """The questions to ask now, at most so many. What one list answers is asked in one request: there are few of them."""
        looks: list[Ours] = []
        alone: list[Ours] = []
        fills: list[Ours] = []
        for question in self.questions.due(now, most):
            ours = self.orders.get(question.client_order_id)
            if ours is None or (not ours.is_open and Why.FILLS not in question.why):
                self.questions.settled(question.client_order_id)
            elif Why.FILLS in question.why:
                fills.append(ours)
            else:
                (alone if question.is_alone else looks).append(ours)
        listed = on_one_list(looks)
        alone += [ours for ours in looks if ours not in listed]
        asks = [Ask(Purpose.LOOK, self._look(ours), ours.client_order_id, asked=now) for ours in alone]
        for purpose, group in ((Purpose.LIST, listed), (Purpose.FILLS, fills)):
            if group:
                after = min(ours.submitted_ts for ours in group) - AFTER_MARGIN_NS
                request = self._codec.orders("all", after) if purpose is Purpose.LIST else self._codec.fills(after)
                names = tuple(ours.client_order_id for ours in group)
                asks.append(Ask(purpose, request, orders=names, asked=now, after_ts=after))
        return asks

    def _look(self, ours: Ours) -> Request[OrderBody]:
        if ours.venue_id:
            return self._codec.order_by_id(ours.venue_id)
        return self._codec.order_by_client_id(ours.client_order_id)

    def _looked(self, ours: Ours, ask: Ask, sent: Sent[Any], now: int, ts: int, out: Reaction) -> None:
        order_id, asked = ours.client_order_id, sent.sent_ns or ask.asked
        if sent.outcome is Outcome.REJECTED_PROVEN and sent.code == NOT_FOUND:
            self._not_found(ours, asked, now, ts, out)
            return
        if sent.outcome is Outcome.ACCEPTED:
            assert isinstance(sent.value, OrderBody)
            self._shown(ours, sent.value, asked, now, ts, out)
        self.questions.later(order_id, now)

    def _listed(self, ask: Ask, sent: Sent[Any], now: int, ts: int, out: Reaction) -> None:
        bodies: dict[str, OrderBody] = {}
        if sent.outcome is Outcome.ACCEPTED:
            bodies = {body.id: body for body in sent.value or ()}
        for order_id in ask.orders:
            ours = self.orders.get(order_id)
            if ours is None:
                continue
            body = bodies.get(ours.venue_id)
            if body is not None:
                self._shown(ours, body, sent.sent_ns or ask.asked, now, ts, out)
            elif sent.outcome is Outcome.ACCEPTED:
                self.questions.not_listed(order_id)
            self.questions.later(order_id, now)
            self._still_unknown(ours, ts, out)

    def _shown(self, ours: Ours, body: OrderBody, asked: int, now: int, ts: int, out: Reaction) -> None:
        """An answer to a question that was begun at `asked`."""
        try:
            self.orders.require_same(ours, body)
            if not ours.venue_id:
                self.orders.name(ours, body.id)
            if body.id == ours.venue_id and body.status not in ENDED:
                self._undo_doubts(ours, body, asked, ts, out)
            self._stands(ours, body, now, ts, out)
        except VenueProtocolError as error:
            out.troubles.append(f"order {ours.client_order_id} cannot be read: {error}")

    def _undo_doubts(self, ours: Ours, body: OrderBody, asked: int, ts: int, out: Reaction) -> None:
        """It is open. What was asked of it and is not done after the bound is not done at all."""
        question = self.questions.get(ours.client_order_id)
        if question is None or not self.questions.is_past_bound(ours.client_order_id, asked):
            return
        why = question.why
        if Why.CHANGE in why and body.status is not Status.PENDING_REPLACE:
            self._replace_refused(ours, Reason.NONE, ts, out)
        if Why.CANCEL in why and body.status is not Status.PENDING_CANCEL:
            self.questions.settle(ours.client_order_id, Why.CANCEL)
            self._cancel_refused(ours, Reason.NONE, ts, out)

    def _not_found(self, ours: Ours, asked: int, now: int, ts: int, out: Reaction) -> None:
        order_id = ours.client_order_id
        if not self.questions.not_found(order_id, asked, now):
            return
        text = "not found, several times, after nothing of it could be under way any more"
        if ours.venue_id or ours.is_accepted:
            # The venue has forgotten an order that it had: the comparison of the whole account says so, with what is left of it.
            out.troubles.append(f"order {order_id} was at the venue and is {text}")
            return
        # As the comparison of the whole account says it, which may have come to the same a moment ago.
        out.events.append(OrderCanceled(ts, ts, order_id, ours.quantity, Reason.UNKNOWN_ORDER))
        self._close(ours)

    def _fills_answered(self, ask: Ask, sent: Sent[Any], now: int, ts: int, out: Reaction) -> None:
        asked = [ours for order_id in ask.orders if (ours := self.orders.get(order_id)) is not None]
        page: list[ActivityBody] = sent.value or [] if sent.outcome is Outcome.ACCEPTED else []
        for activity in page:
            ours = self.orders.by_venue_id(activity.order_id)
            if ours is None or ours.client_order_id not in ask.orders:
                continue
            try:
                fill = self.orders.fill_of_activity(ours, activity, ts)
            except VenueProtocolError as error:
                out.troubles.append(f"an execution of order {ours.client_order_id} cannot be read: {error}")
                continue
            if fill is not None and self.orders.tell(ours, fill):
                out.events.append(fill)
        is_more = len(page) >= ACTIVITIES_PAGE_MAX
        if is_more:
            request = self._codec.fills(ask.after_ts, page[-1].id)
            out.asks.append(msgspec.structs.replace(ask, request=request))
        for ours in asked:
            if not is_more and sent.outcome is Outcome.ACCEPTED and ours.is_complete():
                ours.fills_wanted_ts = 0
                self.questions.settle(ours.client_order_id, Why.FILLS)
                self._ask(ours, Why.LOOK, now, now)
            if not is_more:
                self.questions.later(ours.client_order_id, now)
            self._still_unknown(ours, ts, out)

    # The stream.

    def heard(self, update: TradeUpdate, now: int, ts: int) -> Reaction:
        """A message of trade_updates. Raises VenueProtocolError for one that cannot be: then ask how everything stands."""
        out = Reaction()
        ours = self.orders.of_body(update.order)
        if update.event in ("fill", "partial_fill"):
            self._filled(ours, update, now, ts, out)
        elif ours is None:
            pass  # a stranger's order, of which only fills are told
        elif update.event == "order_cancel_rejected":
            self.questions.settle(ours.client_order_id, Why.CANCEL)
            self._cancel_refused(ours, Reason.NONE, ts, out)
            self._ask(ours, Why.LOOK, now, now)
        elif update.event == "order_replace_rejected":
            self._replace_refused(ours, Reason.NONE, ts, out)
            self._ask(ours, Why.LOOK, now, now)
        else:
            self._stands(ours, update.order, now, ts, out)
        if update.event in ("trade_bust", "trade_correct"):
            out.troubles.append(f"the venue takes back or corrects an execution of order {update.order.id} ({update.event})")
        elif update.event not in _STANDING | _OTHERS:
            out.troubles.append(f"the event {update.event!r} of order {update.order.id} is not known here")
        if ours is not None:
            self._still_unknown(ours, ts, out)
        return out

    def _filled(self, ours: Ours | None, update: TradeUpdate, now: int, ts: int, out: Reaction) -> None:
        fill = self.orders.fill_of_update(ours, update, ts)
        if fill is None:
            return
        if ours is None:
            out.events.append(fill)
            return
        if self.orders.tell(ours, fill):
            out.events.append(fill)
        self._stands(ours, update.order, now, ts, out)
