"""Trading over connections that come and go: what the venue says as events, what was sent and is not answered. Pure.

Bytes and time in; events, bytes to send and the next deadline out. A connection that is lost leaves the account unknown:
`lost` says GapDetected for each instrument and OrderOutcomeUnknown for each order with a request that nobody has answered, and
the state that the next login brings decides.
"""

from __future__ import annotations

from collections.abc import Iterable

from adapters.sim.foreign import ForeignOrders
from adapters.sim.link import Link
from adapters.sim.market import MarketFilter
from adapters.sim.pending import Pending
from adapters.sim.wire import (
    FIRST_LOGIN,
    Answer,
    CashEvents,
    Done,
    FeedEnded,
    LoggedIn,
    Logout,
    MarketEvents,
    OrderEvents,
    Query,
    Role,
    SendCommand,
    StateReply,
)
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.errors import VenueProtocolError
from core.events import (
    AnyEvent,
    CancelRejected,
    GapDetected,
    OrderEvent,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    ReplaceRejected,
)
from core.strategy import Subscription
from core.venue_adapter import VenueOrder, VenueState


class TradeSession:
    """One account's trading at one venue, over any number of connections, one after the other."""

    def __init__(
        self,
        *,
        account: str,
        token: str,
        instrument_ids: Iterable[str],
        subscriptions: Iterable[Subscription],
        role: Role = "trade",
    ) -> None:
        self.instrument_ids = frozenset(instrument_ids)
        self.market = MarketFilter(subscriptions)
        self.feed_ended: str | None = None
        self._foreign = ForeignOrders()
        self._account = account
        self._token = token
        self._role: Role = role
        self._link: Link | None = None
        self._last_event = FIRST_LOGIN  # of the account, on this connection
        # What was handed out knows of all events up to this one: the next login asks for what is behind it.
        self._given_event = FIRST_LOGIN
        self._settling: set[int] = set()
        self._market_sequence = 0
        self._pending = Pending()
        self._login_state: VenueState | None = None
        self._replies: dict[int, tuple[int, VenueState]] = {}
        self._broken: VenueProtocolError | None = None

    # A connection's life.

    def connected(self, ts: int) -> bytes:
        """A connection is there: the login to send on it."""
        self._link = link = Link(ts)
        self._market_sequence = 0
        self._login_state = None
        self._replies.clear()
        self._settling.clear()
        self._broken = None
        self.feed_ended = None
        return link.login(ts, account=self._account, token=self._token, role=self._role, last_event=self._given_event)

    def login_without_token(self, ts: int) -> bytes:
        """The login as a recording may keep it."""
        return Link(ts).login(ts, account=self._account, token="", role=self._role, last_event=self._given_event)

    def take_login_state(self) -> VenueState | None:
        """What the venue said at the login, once; None while it has not."""
        state, self._login_state = self._login_state, None
        if state is not None:
            self._given_event = self._last_event
        return state

    def lost(self, ts: int) -> list[AnyEvent]:
        """The connection is gone. The events that say so, in the order to apply them."""
        self._link = None
        self.market.forget()
        events: list[AnyEvent] = [GapDetected(ts, ts, key) for key in sorted(self.instrument_ids)]
        events += [
            OrderOutcomeUnknown(ts, ts, order_id, f"the connection was lost before {asked.name} was answered")
            for order_id, asked in self._pending.asked.items()
        ]
        self._pending.asked.clear()
        return events

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self._foreign.adopt(client_order_id, order)
        self._pending.open[client_order_id] = order.instrument_id

    # What goes out.

    def send(self, ts: int, command: OrderCommand) -> bytes:
        """The bytes of a command; from now on it waits for its answer."""
        self._pending.sent(command)
        return self._linked.say(ts, SendCommand(self._foreign.outgoing(command)))

    def refuse(self, ts: int, command: OrderCommand) -> list[AnyEvent]:
        """What answers a command that has not left and does not."""
        match command:
            case SubmitOrder(client_order_id=order_id):
                return [OrderRejected(ts, ts, order_id, Reason.NOT_SENT)]
            case CancelOrder(client_order_id=order_id):
                return [CancelRejected(ts, ts, order_id, Reason.NOT_SENT)]
            case ReplaceOrder(client_order_id=order_id):
                return [ReplaceRejected(ts, ts, order_id, Reason.NOT_SENT)]
            case CancelAll():
                return [CancelRejected(ts, ts, order_id, Reason.NOT_SENT) for order_id in self._pending.scope(command)]

    def query(self, ts: int, since_ts: int, *, settles: bool = False) -> tuple[int, bytes]:
        """The request's number, and its bytes.

        `settles`: nobody has heard of the order events before the answer, and nobody shall: what they say is in it.
        """
        link = self._linked
        number = link.next_request()
        if settles:
            self._settling.add(number)
        return number, link.say(ts, Query(number, max(since_ts, 0)))

    def has_reply(self, request: int) -> bool:
        return request in self._replies

    def take_reply(self, request: int) -> tuple[int, VenueState] | None:
        """The number of the account's last event that the state knows of, and the state; None while it is not here."""
        return self._replies.pop(request, None)

    def logout(self, ts: int) -> bytes:
        return self._linked.say(ts, Logout("the daemon ends"))

    def tick(self, ts: int) -> bytes:
        """Heartbeats. Raises TransportError where the venue has fallen silent, VenueProtocolError where `receive` found one."""
        if self._broken is not None:
            raise self._broken
        return b"" if self._link is None else self._link.tick(ts)

    def next_deadline(self) -> int:
        """When `tick` or `due` has something to do, ns UTC."""
        due = self.market.next_deadline
        return due if self._link is None else min(due, self._link.next_deadline)

    # What comes in.

    def receive(self, ts: int, data: bytes) -> list[AnyEvent]:
        """Events in the order in which they count.

        Raises VenueProtocolError, RefusedError and TransportError as Link does. Where the venue contradicts itself behind
        something that counts, that is returned, and the next call of `receive` or `tick` raises.
        """
        if self._broken is not None:
            raise self._broken
        events: list[AnyEvent] = []
        try:
            for answer in self._linked.receive(ts, data):
                self._take(ts, answer, events)
        except VenueProtocolError as error:
            if not events:
                raise
            # They count, and so do their numbers: the next login asks for what is behind them.
            self._broken = error
        if self._login_state is None:
            self._given_event = self._last_event
        return events

    @property
    def _linked(self) -> Link:
        assert self._link is not None, "there is no connection"
        return self._link

    def _take(self, ts: int, answer: Answer, events: list[AnyEvent]) -> None:
        match answer:
            case MarketEvents():
                self._check_market(ts, answer, events)
                for market_event in answer.events:
                    if market_event.instrument_id in self.instrument_ids:
                        events += self.market.receive(ts, market_event)
            case OrderEvents(number=number):
                self._check_number(number)
                for order_event in answer.events:
                    self._last_event += 1
                    if isinstance(order_event, OrderRejected) and order_event.reason is Reason.DUPLICATE_ID:
                        # It says nothing about the order that has the id: only the venue's state can.
                        raise VenueProtocolError(f"the venue has the order id {order_event.client_order_id} already")
                    known = self._foreign.incoming(order_event)
                    if known is not None:
                        self._pending.happened(known)
                        events.append(known)
            case CashEvents(number=number):
                # Told again with a state, each is known by its name.
                self._check_number(number)
                self._last_event += len(answer.events)
                events += answer.events
            case StateReply(request=request, number=number, state=state):
                self._replies[request] = (number, self._of_ours(state))
                if request in self._settling:
                    self._settling.remove(request)
                    events[:] = [event for event in events if not isinstance(event, OrderEvent)]
            case LoggedIn(number=number, state=state):
                self._last_event = number
                self._login_state = ours = self._of_ours(state)
                self._pending = Pending()
                for order in ours.open_orders:
                    if order.client_order_id is not None:
                        self._pending.open[order.client_order_id] = order.instrument_id
            case FeedEnded(reason=reason):
                self.feed_ended = reason
            case Done(request=request):
                raise VenueProtocolError(f"the venue answers request {request}, which was not made here")
            case _:
                raise AssertionError(f"the link gave {type(answer).__name__} on")

    def _check_number(self, number: int) -> None:
        if number != self._last_event + 1:
            raise VenueProtocolError(f"event {self._last_event + 1} of the account is missing: {number} came")

    def _check_market(self, ts: int, answer: MarketEvents, events: list[AnyEvent]) -> None:
        expected, self._market_sequence = self._market_sequence + 1, answer.sequence
        if answer.sequence < expected:
            raise VenueProtocolError(f"market data {answer.sequence} came after {expected - 1}")
        if answer.sequence > expected:
            self.market.forget()
            events += [GapDetected(ts, ts, key) for key in sorted(self.instrument_ids)]

    def _of_ours(self, state: VenueState) -> VenueState:
        """The state as the venue's word on the instruments that are traded here, and on all of the account's money."""
        positions = {key: qty for key, qty in state.positions.items() if key in self.instrument_ids}
        executions = [known for fill in state.executions if isinstance(known := self._foreign.incoming(fill), OrderFilled)]
        orders = tuple(self._foreign.order(order) for order in state.open_orders)
        about = self.instrument_ids
        return VenueState(
            orders, tuple(executions), positions, about, state.not_found_ns, cash_moves=state.cash_moves, ts=state.ts
        )
