"""Commands out and what becomes of them: requests matched to intents, outcomes decided, unknown ones handed to the resolver.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.deribit import requests
from adapters.deribit.instruments import VenueInstrument, instrument_name_of
from adapters.deribit.link import Link
from adapters.deribit.outcomes import ORDER_IS_GONE, outcome_of_error, reason_of_error
from adapters.deribit.resolving import Resolver
from adapters.deribit.settings import DeribitSettings, Fact, FactKind
from adapters.deribit.tracker import Tracked, Tracker
from adapters.deribit.truth import Truth
from adapters.deribit.wire import Answer, Count, Order, OrderResult, Refusal, UserTrade, decode_result
from adapters.http.request import Outcome
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.errors import VenueProtocolError
from core.events import AnyEvent, CancelRejected, OrderOutcomeUnknown, OrderRejected, ReplaceRejected
from core.units import NS_PER_MS
from core.venue_adapter import VenueOrder


class Orders:
    def __init__(self, link: Link, instruments: Mapping[str, VenueInstrument], settings: DeribitSettings) -> None:
        self._link = link
        self._instruments = instruments
        self._settings = settings
        self.tracker = Tracker(instruments, settings.order_id_prefix, self._emit, self._fact)
        self.resolver = Resolver(link, self.tracker, self.apply)
        self.tracker.on_missing = self.resolver.fills_missing

    def _fact(self, fact: Fact) -> None:
        self._link.output.facts.append(fact)

    def _emit(self, event: AnyEvent) -> None:
        self._link.output.events.append(event)

    def apply(self, ts: int, orders: Sequence[Order], trades: Sequence[UserTrade]) -> None:
        """Order objects and trades, wherever they come from. Raises VenueProtocolError where a number cannot be read."""
        self.tracker.apply(ts, orders, trades)

    def adopt(self, order: Order, trades: Sequence[UserTrade]) -> None:
        self.tracker.adopt(order, trades)

    def adopt_foreign(self, client_order_id: int, order: VenueOrder) -> None:
        self.tracker.adopt_foreign(client_order_id, order)

    def settle(self, truth: Truth) -> None:
        """Orders that had been accepted and are not among those the venue names as open have ended; the daemon concludes how."""
        named = {order.order_id for order in truth.orders}
        for tracked in self.tracker.open():
            if tracked.order_id not in named:
                self.tracker.gone(tracked)
        self.forget_foreign(truth)

    def forget_foreign(self, truth: Truth) -> None:
        """Orders that are not ours and that the venue does not name as open: they have ended, or a stream has made them up."""
        named = {order.order_id for order in truth.orders}
        for order_id in [order_id for order_id in self.tracker.foreign if order_id not in named]:
            del self.tracker.foreign[order_id]
            del self.tracker.pictures[order_id]

    def ask_for_missing(self, ts: int, truth: Truth, before_ms: int) -> None:
        """Orders that the venue does not name as open any more, and whose end nobody has told: ask what became of them.

        `before_ms`: only those that were known, by the server's clock, before the look began.
        """
        named = {order.order_id for order in truth.orders}
        for tracked in self.tracker.open():
            if tracked.is_accepted and tracked.order_id not in named and tracked.updated_ms < before_ms:
                self.resolver.add(ts, tracked, before_ms)

    def open_in(self, instrument_id: str | None) -> list[int]:
        return [
            tracked.client_order_id
            for tracked in self.tracker.open()
            if instrument_id in (None, tracked.venue.instrument.instrument_id)
        ]

    def disconnected(self) -> None:
        self.resolver.disconnected()

    def next_ts(self) -> int | None:
        return self.resolver.next_ts()

    def tick(self, ts: int) -> None:
        self.resolver.tick(ts)

    def _valid_until_ms(self, ts: int) -> int:
        return self._link.server_ms(ts) + self._settings.order_valid_ns // NS_PER_MS

    def _unknown(self, ts: int, tracked: Tracked, bound_ms: int, text: str) -> None:
        """The outcome of a request is unknown: say so, and find out."""
        if not tracked.is_ended:
            tracked.is_unknown = True
            self._emit(OrderOutcomeUnknown(ts, ts, tracked.client_order_id, text))
            self.resolver.add(ts, tracked, bound_ms)

    # New orders.

    def submit(self, ts: int, command: SubmitOrder) -> None:
        order_id = command.client_order_id
        venue = self._instruments.get(instrument_name_of(command.instrument_id))
        if venue is None or venue.instrument.instrument_id != command.instrument_id:
            self._emit(OrderRejected(ts, ts, order_id, Reason.BAD_FIELD, f"{command.instrument_id} is not loaded"))
            return
        for price in (command.price, command.trigger_price):
            if price is not None and price % venue.tick_at(price):
                text = f"price {price} is off the tick of {venue.tick_at(price)} that holds there"
                self._emit(OrderRejected(ts, ts, order_id, Reason.BAD_TICK, text))
                return
        valid_until_ms = self._valid_until_ms(ts)
        label, settings = self.tracker.label_of(order_id), self._settings

        def build(request_id: int) -> bytes | None:
            return requests.submit(
                request_id,
                command,
                venue,
                label,
                valid_until_ms,
                trigger=settings.trigger,
                reprice=settings.reprice_post_only,
            )

        if build(0) is None:
            self._emit(OrderRejected(ts, ts, order_id, Reason.BAD_FIELD, "the venue has no such order"))
            return
        if not self._link.credits.take_order(ts):
            self._emit(OrderRejected(ts, ts, order_id, Reason.FULL, "our own count of the venue's credits"))
            return
        tracked = self.tracker.expect(command, venue)
        tracked.valid_until_ms = valid_until_ms

        def lost(now: int, text: str) -> None:
            # The user stream may have told of it already.
            if not tracked.is_accepted:
                self._unknown(now, tracked, valid_until_ms, text)

        def answered(now: int, answer: Answer) -> None:
            if not self._take_order(now, tracked, answer):
                lost(now, "the answer cannot be read")

        def refused(now: int, refusal: Refusal) -> None:
            text = f"{refusal.code} {refusal.text}"
            if tracked.is_ended and not tracked.filled and not tracked.is_accepted:
                return
            if tracked.is_accepted or tracked.filled:
                self._link.fact(FactKind.CONTRADICTION, f"{label} was refused ({text}) after it had been shown")
                self.resolver.add(now, tracked, valid_until_ms)
            elif outcome_of_error(refusal.code) is Outcome.REJECTED_PROVEN:
                self.tracker.refused(now, tracked, reason_of_error(refusal.code), text)
            else:
                lost(now, text)

        self._link.send(ts, lambda request_id: build(request_id) or b"", answered, refused, lost)

    def _take_order(self, ts: int, tracked: Tracked, answer: Answer) -> bool:
        """The answer to a buy, sell or edit; False where it is not about this order or cannot be read."""
        try:
            result = decode_result(OrderResult, answer.result)
            if result.order.label != tracked.label:
                raise VenueProtocolError(f"the answer for {tracked.label} is about {result.order.label!r}")
            self.apply(ts, [result.order], result.trades)
        except VenueProtocolError as error:
            self._link.fact(FactKind.PROTOCOL, str(error))
            return False
        return True

    # Changes.

    def replace(self, ts: int, command: ReplaceOrder) -> None:
        order_id = command.client_order_id
        tracked = self.tracker.orders.get(order_id)
        if tracked is None or tracked.is_ended:
            self._emit(ReplaceRejected(ts, ts, order_id, Reason.UNKNOWN_ORDER))
            return
        if command.price % tracked.venue.tick_at(command.price):
            self._emit(ReplaceRejected(ts, ts, order_id, Reason.BAD_TICK))
            return
        if not self._link.credits.take_order(ts):
            self._emit(ReplaceRejected(ts, ts, order_id, Reason.FULL))
            return
        valid_until_ms = self._valid_until_ms(ts)
        amount = command.filled_qty + command.quantity
        wanted = (amount, command.price)
        tracked.edit_wanted = wanted
        tracked.valid_until_ms = valid_until_ms

        def build(request_id: int) -> bytes:
            return requests.edit(
                request_id,
                tracked.venue,
                order_id=tracked.order_id,
                label=tracked.label,
                amount=amount,
                price=command.price,
                post_only=tracked.post_only,
                reduce_only=tracked.reduce_only,
                reprice=self._settings.reprice_post_only,
                valid_until_ms=valid_until_ms,
            )

        def lost(now: int, text: str) -> None:
            if tracked.edit_wanted == wanted:
                self._unknown(now, tracked, valid_until_ms, text)

        def answered(now: int, answer: Answer) -> None:
            if not self._take_order(now, tracked, answer):
                lost(now, "the answer cannot be read")
            elif tracked.edit_wanted == wanted and not tracked.is_ended:
                # The venue made something else of it: what it shows is the answer.
                self.tracker.replaced(now, now, tracked)

        def refused(now: int, refusal: Refusal) -> None:
            if tracked.edit_wanted != wanted:
                return
            if outcome_of_error(refusal.code) is not Outcome.REJECTED_PROVEN:
                lost(now, f"{refusal.code} {refusal.text}")
            elif tracked.is_unknown and (tracked.is_accepted or tracked.filled):
                self.tracker.replaced(now, now, tracked)  # a late refusal: as it was is how it is
            else:
                tracked.edit_wanted = None
                self._emit(ReplaceRejected(now, now, order_id, reason_of_error(refusal.code)))
            if refusal.code in ORDER_IS_GONE and not tracked.is_ended:
                self.resolver.add(now, tracked, valid_until_ms)

        self._link.send(ts, build, answered, refused, lost)

    # Cancels.

    def cancel(self, ts: int, command: CancelOrder) -> None:
        order_id = command.client_order_id
        tracked = self.tracker.orders.get(order_id)
        if tracked is None or tracked.is_ended:
            self._emit(CancelRejected(ts, ts, order_id, Reason.UNKNOWN_ORDER))
            return
        tracked.cancel_wanted = True

        def build(request_id: int) -> bytes:
            # Its id may have become known while the cancel waited. Where two orders bear the label, both are to go.
            if tracked.order_id and not tracked.has_twin:
                return requests.cancel(request_id, tracked.order_id)
            return requests.cancel_by_label(request_id, tracked.label, tracked.venue.currency)

        def lost(now: int, text: str) -> None:
            if tracked.cancel_wanted:
                self._unknown(now, tracked, 0, text)

        def answered(now: int, answer: Answer) -> None:
            try:
                if bytes(answer.result)[:1] == b"{":
                    order = decode_result(Order, answer.result)
                    if order.label != tracked.label:
                        raise VenueProtocolError(f"the answer for {tracked.label} is about {order.label!r}")
                    self.apply(now, [order], [])
                else:
                    decode_result(Count, answer.result)
            except VenueProtocolError as error:
                self._link.fact(FactKind.PROTOCOL, str(error))
                lost(now, "the answer cannot be read")
                return
            if not tracked.is_ended:
                # Accepted and not done, or done and not shown yet: ask.
                self.resolver.add(now, tracked, 0)

        def refused(now: int, refusal: Refusal) -> None:
            if not tracked.cancel_wanted:
                return
            if outcome_of_error(refusal.code) is not Outcome.REJECTED_PROVEN:
                lost(now, f"{refusal.code} {refusal.text}")
                return
            if refusal.code in ORDER_IS_GONE:
                # Filled, or canceled by somebody: the venue knows, and the stream may not have said it yet.
                self.resolver.add(now, tracked, self._link.server_ms(now))
                return
            tracked.cancel_wanted = False
            self._emit(CancelRejected(now, now, order_id, reason_of_error(refusal.code)))

        self._link.cancel(ts, build, answered, refused, lost)

    def cancel_all(self, ts: int, command: CancelAll) -> None:
        """By the venue's own bulk call. The user stream says what became of each order; where the answer is lost, a question."""
        key = command.instrument_id
        targets = [self.tracker.orders[order_id] for order_id in self.open_in(key)]
        for tracked in targets:
            tracked.cancel_wanted = True

        def build(request_id: int) -> bytes:
            if key is None:
                return requests.cancel_all(request_id)
            return requests.cancel_all_by_instrument(request_id, instrument_name_of(key))

        def check(now: int, _why: object) -> None:
            for tracked in targets:
                if tracked.cancel_wanted:
                    self._unknown(now, tracked, 0, "the answer to a cancel of everything is not known")

        def answered(now: int, answer: Answer) -> None:
            try:
                decode_result(Count, answer.result)
            except VenueProtocolError as error:
                self._link.fact(FactKind.PROTOCOL, str(error))
                check(now, None)
                return
            for tracked in targets:
                if tracked.cancel_wanted:
                    self.resolver.add(now, tracked, 0)

        self._link.cancel(ts, build, answered, check, check)
