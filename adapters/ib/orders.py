"""The account's orders: what was asked for, what the gateway's messages make of it, as core events. Pure.

Order messages come one behind the other on one connection, without a stamp of their own: what they mean is ordered by when they
came, which is also what their events bear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adapters.ib.contracts import Listed
from adapters.ib.fills import Done, Fills
from adapters.ib.messages import Commission, Error, Execution, OpenOrder, OrderStatus
from adapters.ib.numbers import price_of, qty_of
from adapters.ib.outcomes import CANCEL_REFUSALS, CANCEL_UNDER_WAY, REFUSALS, Meaning, meaning_of
from adapters.ib.requests import ORDER_TYPES_BACK, TIMES_IN_FORCE, order_from, side_of
from adapters.ib.settings import IbSettings
from adapters.ib.tracked import Asked, OrderBook, Tracked, Waiting
from core.commands import ReplaceOrder, SubmitOrder
from core.enums import OrderType, Reason, TimeInForce
from core.errors import UnitError, VenueProtocolError
from core.events import (
    AnyEvent,
    AnyOrderEvent,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderTriggered,
    ReplaceRejected,
)
from core.identifiers import parse_order_id
from core.order_store import FOREIGN_ORDER_ID
from core.units import INT64_MAX, NS_PER_SECOND
from core.venue_adapter import VenueOrder

NEVER = INT64_MAX
MISSES_MIN = 2  # looks behind the bound that prove that an order is not there
WORKING = frozenset(("PreSubmitted", "Submitted"))
UNCONFIRMED = frozenset(("PendingSubmit", "ApiPending", "PendingCancel"))
CANCELED = frozenset(("Cancelled", "ApiCancelled"))
STATUSES = WORKING | UNCONFIRMED | CANCELED | {"Filled", "Inactive"}
STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
TIMES_BACK = {text: kind for kind, text in TIMES_IN_FORCE.items()}
ENDS_BY_ITSELF = {TimeInForce.IOC: Reason.IOC, TimeInForce.FOK: Reason.FOK}


class Desk:
    """`listed`: by conId. `take_events` after each call."""

    def __init__(self, settings: IbSettings, venue: str, account: str, prefix: str, client_id: int) -> None:
        self._settings = settings
        self._venue = venue
        self._account = account
        self._prefix = prefix
        self._client_id = client_id
        self.listed: Mapping[int, Listed] = {}
        self.orders = OrderBook()
        self.fills = Fills(venue)
        self.mark = 0  # the number of the look that is being taken
        self.is_listing = False  # whether the open orders of that look are coming in
        self.order_id_seen = 0  # the largest order id of this client that the venue has shown
        self._waiting: dict[int, Tracked] = {}  # those with a queue
        self._events: list[AnyEvent] = []
        self.troubles: list[str] = []

    def take_events(self) -> list[AnyEvent]:
        events, self._events = [*self._events, *self.fills.moves], []
        self.fills.moves.clear()
        self.troubles += self.fills.troubles
        self.fills.troubles.clear()
        return events

    # What was sent.

    def submitted(self, ts: int, command: SubmitOrder, listed: Listed, order_id: int, order: object) -> None:
        tracked = Tracked(
            client_order_id=command.client_order_id,
            listed=listed,
            instrument_id=command.instrument_id,
            side=command.side,
            total=command.quantity,
        )
        tracked.price = command.price
        tracked.order = order
        tracked.order_id, tracked.client_id = order_id, self._client_id
        tracked.is_stop = command.order_type in STOPS
        tracked.is_reduce_only = command.reduce_only
        tracked.time_in_force = command.time_in_force
        tracked.ask(ts, Asked.SUBMIT)
        self.orders.add(tracked)

    def cancel_sent(self, ts: int, tracked: Tracked) -> None:
        tracked.ask(ts, Asked.CANCEL)

    def replace_sent(self, ts: int, tracked: Tracked, command: ReplaceOrder) -> None:
        tracked.replace_total = command.filled_qty + command.quantity
        tracked.replace_price = command.price
        tracked.ask(ts, Asked.REPLACE)

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        tracked = self.orders.by_venue_id(order.venue_order_id)
        if tracked is not None:
            self.orders.rename(tracked, client_order_id)

    # What came back.

    def on_open_order(self, ts: int, message: OpenOrder) -> None:
        if message.account and message.account != self._account:
            return
        if message.client_id == self._client_id:
            self.order_id_seen = max(self.order_id_seen, message.order_id)
        tracked = self.orders.find(message.client_id, message.order_id, message.perm_id)
        if tracked is None:
            tracked = self._found(message)
        elif tracked.client_order_id is not None and tracked.listed is not None:
            self._take_terms(ts, tracked, message)
        if message.status in WORKING or message.status in UNCONFIRMED or message.status == "Inactive":
            tracked.mark = self.mark
        self._status(ts, tracked, message.status, "")

    def _found(self, message: OpenOrder) -> Tracked:
        """An order of an earlier run, of another client, or by hand."""
        listed = self.listed.get(message.con_id)
        order_id = self._own_id(message.client_id, message.order_ref)
        if order_id is not None and self.orders.get(order_id) is not None:
            order_id = None  # two orders bear the id of one: the other one is ours
        instrument_id = listed.instrument.instrument_id if listed is not None else f"{message.symbol}.{self._venue}"
        try:
            total = _whole(message.total) if listed is None else qty_of(listed.instrument, message.total)
            price = None
            if listed is not None and message.order_type in ("LMT", "STP LMT") and message.limit_price is not None:
                price = price_of(listed.instrument, message.limit_price)
        except UnitError as error:
            raise VenueProtocolError(f"open order {message.perm_id} in {instrument_id}: {error}") from None
        tracked = Tracked(
            client_order_id=order_id, listed=listed, instrument_id=instrument_id, side=side_of(message.action), total=total
        )
        tracked.price = price
        tracked.order_id, tracked.client_id, tracked.perm_id = message.order_id, message.client_id, message.perm_id
        tracked.is_stop = ORDER_TYPES_BACK.get(message.order_type) in STOPS
        tracked.order = order_from(message)
        tracked.is_accepted = True
        tracked.time_in_force = TIMES_BACK.get(message.time_in_force)
        self.orders.add(tracked)
        return tracked

    def _own_id(self, client_id: int, reference: str) -> int | None:
        """Ours where this client has sent it: the guardian's orders bear the same prefix."""
        return parse_order_id(reference, self._prefix) if client_id == self._client_id else None

    def _take_terms(self, ts: int, tracked: Tracked, message: OpenOrder) -> None:
        assert tracked.listed is not None
        instrument = tracked.listed.instrument
        try:
            total = qty_of(instrument, message.total)
            price = (
                price_of(instrument, message.limit_price) if tracked.price is not None and message.limit_price else tracked.price
            )
        except UnitError as error:
            raise VenueProtocolError(f"order {tracked.client_order_id}: {error}") from None
        is_asked = Asked.REPLACE in tracked.asked
        if is_asked and message.status in WORKING and (total, price) == (tracked.replace_total, tracked.replace_price):
            tracked.total, tracked.price = total, price
            tracked.answered(Asked.REPLACE | Asked.SUBMIT)
            self._accept(ts, tracked)
            self._say(tracked, OrderReplaced(ts, ts, self._id(tracked), tracked.replace_price, tracked.leaves))
        elif not is_asked and not tracked.asked and (total, price) != (tracked.total, tracked.price):
            # Somebody has changed it by hand; what the books make of it is decided when the venue is asked.
            tracked.total, tracked.price = total, price
            self.troubles.append(
                f"order {tracked.client_order_id} was changed at the venue: {message.total} at {message.limit_price}"
            )

    def on_status(self, ts: int, message: OrderStatus) -> None:
        tracked = self.orders.find(message.client_id, message.order_id, message.perm_id)
        if tracked is None:
            return  # its openOrder comes first, or it is of no account of ours
        if tracked.listed is not None and self.is_listing:
            # The executions that are asked for next hold everything this counts, but those of earlier days.
            tracked.looked_filled = max(tracked.looked_filled, qty_of(tracked.listed.instrument, message.filled))
        if message.status in WORKING or message.status in UNCONFIRMED:
            tracked.mark = self.mark
        self._status(ts, tracked, message.status, message.why_held)

    def _status(self, ts: int, tracked: Tracked, status: str, why_held: str) -> None:
        if status not in STATUSES:
            raise VenueProtocolError(f"order {tracked.venue_order_id}: there is no status {status[:40]!r}")
        before, tracked.status = tracked.status, status
        if tracked.is_ended:
            if status in WORKING and not tracked.is_refused and tracked.filled < tracked.total:
                self.orders.reopen(tracked)
                self.troubles.append(f"order {tracked.venue_order_id} had ended and is {status} again")
            return
        if status in WORKING:
            self._work(ts, tracked, status)
        elif status in CANCELED:
            self._cancel(ts, tracked)
        elif status == "Filled":
            self._filled_up(ts, tracked)
        elif status == "Inactive" and before != "Inactive" and not tracked.asked:
            self._lose(ts, tracked, f"the order is inactive at the venue {why_held}".rstrip())

    def _work(self, ts: int, tracked: Tracked, status: str) -> None:
        self._accept(ts, tracked)
        # A stop that the exchange itself keeps is Submitted from the first; one that was held before is so when it is elected.
        if tracked.is_parked and status == "Submitted":
            self._say(tracked, OrderTriggered(ts, ts, self._id(tracked)))
        tracked.is_parked = tracked.is_stop and status == "PreSubmitted"

    def _accept(self, ts: int, tracked: Tracked) -> None:
        was_unknown = tracked.told_unknown
        tracked.answered(Asked.SUBMIT)
        # What else was asked and not answered is as unknown as before.
        if not tracked.is_accepted or (was_unknown and not tracked.asked):
            tracked.is_accepted = True
            self._say(
                tracked, OrderAccepted(ts, ts, self._id(tracked), tracked.price or 0, tracked.leaves, tracked.venue_order_id)
            )

    def _cancel(self, ts: int, tracked: Tracked) -> None:
        reason = Reason.REQUESTED if Asked.CANCEL in tracked.asked else Reason.NONE
        if reason is Reason.NONE and tracked.time_in_force is not None:
            reason = ENDS_BY_ITSELF.get(tracked.time_in_force, Reason.NONE)
        self._say(tracked, OrderCanceled(ts, ts, self._id(tracked), tracked.leaves, reason))
        self.orders.end(tracked)

    def _filled_up(self, ts: int, tracked: Tracked) -> None:
        """Its executions say what of; they come before or after this."""
        tracked.answered(Asked.SUBMIT)
        if tracked.filled < tracked.total and not tracked.asked:
            tracked.ask(ts, Asked.SUBMIT)  # answered by the execution; where none comes, it is UNKNOWN

    def on_error(self, ts: int, message: Error) -> bool:
        """Whether the message was of an order of this client."""
        tracked = self.orders.find(self._client_id, message.number, 0)
        if tracked is None:
            return False
        meaning, code = meaning_of(message.code), message.code
        said = f"{code} {_one_line(message.text)}"
        if tracked.is_ended:
            return True
        if meaning is Meaning.REFUSED:
            self._refused(ts, tracked, REFUSALS[code], said)
        elif meaning is Meaning.NO_CANCEL:
            if CANCEL_UNDER_WAY not in message.text and Asked.CANCEL in tracked.asked:
                tracked.answered(Asked.CANCEL)
                self._say(tracked, CancelRejected(ts, ts, self._id(tracked), CANCEL_REFUSALS[code]))
        elif meaning is Meaning.CANCELED:
            self._cancel(ts, tracked)
        elif meaning in (Meaning.UNKNOWN, Meaning.THROTTLED):
            self._lose(ts, tracked, said)
        else:
            self.troubles.append(f"order {tracked.client_order_id}: {said}")
        return True

    def _refused(self, ts: int, tracked: Tracked, reason: Reason, said: str) -> None:
        order_id = self._id(tracked)
        if Asked.REPLACE in tracked.asked:
            tracked.answered(Asked.REPLACE)
            self._say(tracked, ReplaceRejected(ts, ts, order_id, reason))
            self.troubles.append(f"order {order_id}: the change was refused: {said}")
        elif Asked.SUBMIT in tracked.asked and not tracked.filled and tracked.status not in WORKING:
            tracked.is_refused = True
            self._say(tracked, OrderRejected(ts, ts, order_id, reason, said))
            self.orders.end(tracked)
        elif Asked.CANCEL in tracked.asked:
            tracked.answered(Asked.CANCEL)
            self._say(tracked, CancelRejected(ts, ts, order_id, reason))
        else:
            # Refused after it was taken: its status says what has become of it.
            self._lose(ts, tracked, said)

    def on_execution(self, ts: int, message: Execution, is_fresh: bool) -> Done | None:
        """The execution; None where it is known, of another account or of an instrument that is not configured."""
        listed = self.listed.get(message.con_id)
        if message.account != self._account or listed is None:
            return None
        if message.client_id == self._client_id:
            self.order_id_seen = max(self.order_id_seen, message.order_id)
        tracked = self.orders.find(message.client_id, message.order_id, message.perm_id)
        order_id = tracked.client_order_id if tracked is not None else self._own_id(message.client_id, message.order_ref)
        filled = qty_of(listed.instrument, message.total_filled)
        leaves = 0
        if tracked is not None:
            leaves = max(tracked.total - filled, 0)
            if Asked.REPLACE in tracked.asked:
                leaves = max(tracked.replace_total - filled, leaves)
        span = filled - qty_of(listed.instrument, message.qty), filled
        is_known = self.fills.get(message.execution_id) is not None
        if tracked is not None and not is_known and span[0] >= 0 and tracked.fills_again(*span):
            self.troubles.append(f"execution {message.execution_id} fills what another one has filled: it is not booked")
            return None
        done = self.fills.take(ts, message, listed, FOREIGN_ORDER_ID if order_id is None else order_id, leaves, is_fresh)
        if tracked is not None and side_of(message.side) is not tracked.side:
            raise VenueProtocolError(f"execution {message.execution_id} is on the other side of its order")
        if tracked is not None and done is not None and span[0] >= 0:
            tracked.spans.append(span)
        if not is_fresh:
            if tracked is not None:
                tracked.looked_filled = max(tracked.looked_filled, filled)
                tracked.is_accepted = True  # it was there: what has become of the rest of it the daemon finds by the same look
            return done
        if done is None:
            return None
        self._book(ts, done, tracked, filled)
        return done

    def _book(self, ts: int, done: Done, tracked: Tracked | None, filled: int) -> None:
        if tracked is None:
            # Nothing is known of its order but this: its event waits for nobody.
            self._events.append(self.fills.say(done, self._listed_of(done), done.fill.leaves_qty))
            return
        tracked.filled = max(tracked.filled, filled)
        tracked.answered(Asked.SUBMIT)
        tracked.is_accepted = True
        due = ts + int(self._settings.commission_wait_s * NS_PER_SECOND)
        waiting = Waiting(done.fill, done.base, due)
        tracked.queue.append(waiting)
        self._waiting[id(tracked)] = tracked
        if tracked.filled >= tracked.total and Asked.REPLACE not in tracked.asked:
            self.orders.end(tracked)
        self._release(ts, tracked)

    def on_commission(self, ts: int, message: Commission) -> None:
        done = self.fills.charge(ts, message)
        if done is None:
            return
        for tracked in list(self._waiting.values()):
            self._release(ts, tracked)

    # What waits.

    def due(self, ts: int) -> None:
        """Fills whose commission has not come, and requests that nobody has answered."""
        for tracked in list(self._waiting.values()):
            self._release(ts, tracked)
        bound = int(self._settings.answer_timeout_s * NS_PER_SECOND)
        for tracked in list(self.orders.open.values()):
            if tracked.asked and not tracked.told_unknown and ts - tracked.asked_ts >= bound:
                self._lose(ts, tracked, f"no answer to {tracked.asked!r}")

    @property
    def next_deadline(self) -> int:
        bound = int(self._settings.answer_timeout_s * NS_PER_SECOND)
        asked = (each.asked_ts + bound for each in self.orders.open.values() if each.asked and not each.told_unknown)
        waiting = (each.queue[0].due for each in self._waiting.values() if each.queue)
        return min([*asked, *waiting], default=NEVER)

    def lost(self, ts: int) -> None:
        """The connection, or the servers behind it: what is not answered is UNKNOWN; what waited is said as it stands."""
        self.say_all()
        for tracked in list(self.orders.open.values()):
            if tracked.asked and not tracked.told_unknown:
                self._lose(ts, tracked, f"the connection was lost before the answer to {tracked.asked!r}")

    def say_all(self) -> None:
        """Fills that wait for their commission wait no longer."""
        for tracked in list(self._waiting.values()):
            self._release(NEVER, tracked)

    def _lose(self, ts: int, tracked: Tracked, text: str) -> None:
        tracked.told_unknown = True
        self._say(tracked, OrderOutcomeUnknown(ts, ts, self._id(tracked), text))

    def _say(self, tracked: Tracked, event: AnyOrderEvent) -> None:
        if tracked.client_order_id is None:
            return
        if tracked.queue:
            tracked.queue.append(Waiting(event))
        else:
            self._events.append(event)

    def _release(self, ts: int, tracked: Tracked) -> None:
        queue = tracked.queue
        while queue:
            waiting = queue[0]
            event = waiting.event
            if waiting.execution_id:
                done = self.fills.by_base(waiting.execution_id)
                if done is not None and done.commission is None and ts < waiting.due:
                    return
                if done is not None and isinstance(event, OrderFilled):
                    event = self.fills.say(done, self._listed_of(done), event.leaves_qty)
            queue.popleft()
            self._events.append(event)
        self._waiting.pop(id(tracked), None)

    def _listed_of(self, done: Done) -> Listed:
        key = done.fill.instrument_id
        return next(each for each in self.listed.values() if each.instrument.instrument_id == key)

    @staticmethod
    def _id(tracked: Tracked) -> int:
        return FOREIGN_ORDER_ID if tracked.client_order_id is None else tracked.client_order_id

    # The state of things.

    def own_open(self, instrument_id: str | None) -> Iterator[Tracked]:
        """For a cancel of everything: ours, and what was adopted."""
        for tracked in list(self.orders.open.values()):
            if tracked.client_order_id is not None and instrument_id in (None, tracked.instrument_id):
                yield tracked

    def shown(self, mark: int) -> Iterator[Tracked]:
        """What is open by the look `mark` and by everything that came since it began."""
        for tracked in self.orders.open.values():
            if tracked.mark >= mark and not tracked.is_refused:
                yield tracked

    def settle(self, ts: int, begun_ts: int, mark: int) -> None:
        """A look is over: what was asked so long ago that it shows the outcome is answered, and what it has not shown is gone."""
        bound = int(self._settings.not_found_s * NS_PER_SECOND)
        for tracked in list(self.orders.open.values()):
            is_late = bool(tracked.asked) and begun_ts - tracked.asked_ts >= bound
            if is_late and tracked.mark < mark and not tracked.is_accepted:
                # Sent, never heard of, and twice not there: it has not arrived.
                tracked.misses += 1
                if tracked.misses >= MISSES_MIN:
                    self._say(tracked, OrderCanceled(ts, ts, self._id(tracked), tracked.leaves, Reason.UNKNOWN_ORDER))
                    self.orders.end(tracked)
            elif is_late:
                tracked.answered(Asked.SUBMIT | Asked.REPLACE | Asked.CANCEL)
            if tracked.mark < mark and not tracked.asked:
                self.orders.end(tracked)


def _whole(text: str) -> int:
    """Of an instrument that is not configured: whole units, at least one, so that it is seen."""
    return max(int(text.partition(".")[0]) if text.partition(".")[0].isdigit() else 1, 1)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def as_venue_order(tracked: Tracked) -> VenueOrder:
    return VenueOrder(
        tracked.client_order_id,
        tracked.instrument_id,
        tracked.side,
        tracked.price,
        max(tracked.total - max(tracked.filled, tracked.looked_filled), 0),
        tracked.venue_order_id,
        tracked.is_reduce_only,
    )
