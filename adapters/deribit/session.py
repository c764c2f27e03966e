"""One Deribit connection's life: login, streams, orders, reconnect. Pure: (ts, bytes) in; events, frames and a deadline out.

A connection goes through
  DOWN → LOGIN (auth, heartbeat, cancel-on-disconnect, instruments, subscriptions)
       → TRUTH (every unknown outcome resolved, then one consistent look at orders, executions and positions) → READY.
Orders leave in READY only, so: never before auth, never before cancel-on-disconnect is armed, and after a lost connection
never before the venue has said where things stand. What is to be sent earlier is refused by an event, cancels too.

Whoever owns the socket calls `connected`, `receive`, `disconnected`, and `tick` when `next_ts` is reached; each returns an
Output.
"""

from __future__ import annotations

from enum import Enum
from typing import assert_never

import msgspec

from adapters.deribit import requests
from adapters.deribit.cash_log import CashLog
from adapters.deribit.instruments import VenueInstrument
from adapters.deribit.link import Link
from adapters.deribit.log_rows import Meaning
from adapters.deribit.login import Login
from adapters.deribit.market import Market
from adapters.deribit.orders import Orders
from adapters.deribit.outcomes import LOGIN_IS_OVER, TOO_MANY_REQUESTS
from adapters.deribit.settings import DeribitSettings, FactKind, Output
from adapters.deribit.truth import Truth, since_ms_of
from adapters.deribit.wire import (
    Answer,
    Book,
    Heartbeat,
    InstrumentState,
    PlatformState,
    Portfolio,
    PublicTrades,
    Quote,
    Refusal,
    Skipped,
    Spoiled,
    UserChanges,
    UserOrders,
    UserTrades,
    decode,
)
from core.approved import Approved
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.errors import VenueProtocolError
from core.events import AnyEvent, CancelRejected, OrderFilled, OrderRejected, ReplaceRejected
from core.units import NS_PER_MS, NS_PER_SECOND
from core.venue_adapter import VenueOrder, VenueState

# Executions are asked for again from so long before the connection was lost.
EXECUTIONS_OVERLAP_MS = 60_000
TRUTH_RETRY_NS = NS_PER_SECOND
TRUTH_TRIES_MAX = 10
QUIET_CHECK_NS = NS_PER_SECOND // 4


class Phase(Enum):
    DOWN = "down"
    LOGIN = "login"
    TRUTH = "truth"
    READY = "ready"


class DeribitSession:
    """`instruments` maps the venue's names, and is filled at the first login; `phase` says how far the connection is."""

    def __init__(self, settings: DeribitSettings, ts: int) -> None:
        self.settings = settings
        self.phase = Phase.DOWN
        self.instruments: dict[str, VenueInstrument] = {}
        self.link = Link(settings, ts)
        self.orders = Orders(self.link, self.instruments, settings)
        self.market = Market(self.link, self.instruments, settings)
        self.login = Login(self.link, self.instruments, settings, self._logged_in, self._refuse)
        self.cash = CashLog(self.link, self.instruments, settings, self._cash_learned)
        self.portfolio: dict[str, Portfolio] = {}
        self._heard_ts = ts
        self._was_ready = False  # on any connection before: the next truth is for `reconnected`
        self._truth: Truth | None = None
        self._truth_due_ts: int | None = None
        self._truth_tries = 0
        self._begun_ts = ts
        # Moments are kept by the server's own stamps: ours may be ahead by as much as the machine's clock ever was.
        self._lost_ms: int | None = None
        # Orders of a process before this one may still be under way: the first truth is not taken before their valid_until.
        self._quiet_until_ms: int | None = None
        self._look: Truth | None = None  # the slow comparison, while it is under way
        self._look_due_ts: int | None = None
        self._look_since_ms = 0
        self._changes = 0
        self._query_number = 0
        self._queries: dict[int, Truth] = {}

    # The connection.

    def connected(self, ts: int, nonce: str, wall_ns: int | None = None) -> Output:
        """The socket is open. `nonce` is random text for this login's signature, `wall_ns` its stamp; None: `ts`."""
        assert self.phase is Phase.DOWN
        self.phase = Phase.LOGIN
        self._heard_ts = ts
        self.link.up()
        self.login.start(ts, nonce, ts if wall_ns is None else wall_ns)
        return self._output()

    def disconnected(self, ts: int) -> Output:
        """The socket is gone, whoever closed it. What was sent and not answered is unknown from here on."""
        if self.phase is Phase.DOWN:
            return self._output()
        if self.phase is Phase.READY:
            self._lost_ms = self.link.server_seen_ms
        self.phase = Phase.DOWN
        self._truth = self._truth_due_ts = self._look = self._look_due_ts = None
        self.cash.down(ts)
        self.link.down(ts)
        self.orders.disconnected()
        self.market.disconnected(ts)
        self.login.stop()
        return self._output()

    def receive(self, ts: int, payload: bytes) -> Output:
        """A whole frame. What cannot be read and could be about our orders ends the connection: the truth is asked for again."""
        if self.phase is Phase.DOWN:
            return self._output()
        self._heard_ts = ts
        try:
            self._dispatch(ts, payload)
        except VenueProtocolError as error:
            self.link.fact(FactKind.PROTOCOL, str(error))
            self._close(f"protocol error: {error}"[:200])
        self._advance(ts)
        return self._output()

    def tick(self, ts: int) -> Output:
        """Time has passed; `next_ts` says when to call."""
        if self.phase is Phase.DOWN:
            return self._output()
        if ts - self._heard_ts >= self.settings.silence_ns_max:
            self._close("the venue is silent")
            return self._output()
        self.link.tick(ts)
        self.login.tick(ts)
        self.orders.tick(ts)
        self.market.tick(ts)
        self.cash.tick(ts)
        dead = self.market.dead_book(ts)
        if dead:
            self.link.fact(FactKind.STREAM, f"the book's stream does not tell what there is of {dead}")
            self._close("a book's stream is dead")
        if self._truth_due_ts is not None and self._truth_due_ts <= ts:
            self._truth_due_ts = None
            self._take_truth(ts)
        if self._look_due_ts is not None and self._look_due_ts <= ts:
            self._look_due_ts = None
            self._take_look(ts)
        self._advance(ts)
        return self._output()

    def next_ts(self) -> int | None:
        """When to call `tick`; None while there is no connection."""
        if self.phase is Phase.DOWN:
            return None
        due = [
            self._heard_ts + self.settings.silence_ns_max,
            self.link.next_ts(),
            self.login.next_ts(),
            self.orders.next_ts(),
            self.market.next_ts(),
            self.cash.next_ts(),
            self._truth_due_ts,
            self._look_due_ts,
        ]
        return min(each for each in due if each is not None)

    def logout(self, ts: int) -> Output:
        """Say goodbye: orders stay open, cancel-on-disconnect or not. Close the socket once the frame is out."""
        if self.phase is not Phase.DOWN and self.login.is_authenticated:
            self.link.keep_alive(ts, requests.logout)
        return self._output()

    # Orders.

    def send(self, ts: int, approved: Approved) -> Output:
        command = approved.command
        if self.phase is not Phase.READY or self.settings.is_watch:
            return self.refuse(ts, command)
        match command:
            case SubmitOrder():
                self.orders.submit(ts, command)
            case CancelOrder():
                self.orders.cancel(ts, command)
            case ReplaceOrder():
                self.orders.replace(ts, command)
            case CancelAll():
                self.orders.cancel_all(ts, command)
            case _:
                assert_never(command)
        return self._output()

    def refuse(self, ts: int, command: OrderCommand) -> Output:
        """What is not to leave now: answered by an event, Reason.NOT_SENT."""
        self.link.output.events += self._not_sent(ts, command)
        return self._output()

    def _not_sent(self, ts: int, command: OrderCommand) -> list[AnyEvent]:
        match command:
            case SubmitOrder():
                return [OrderRejected(ts, ts, command.client_order_id, Reason.NOT_SENT)]
            case CancelOrder():
                return [CancelRejected(ts, ts, command.client_order_id, Reason.NOT_SENT)]
            case ReplaceOrder():
                return [ReplaceRejected(ts, ts, command.client_order_id, Reason.NOT_SENT)]
            case CancelAll():
                return [
                    CancelRejected(ts, ts, order_id, Reason.NOT_SENT) for order_id in self.orders.open_in(command.instrument_id)
                ]

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        """From here on the foreign `order` goes by this id."""
        self.orders.adopt_foreign(client_order_id, order)

    def query(self, ts: int, since_ts: int) -> tuple[int, Output]:
        """Ask where things stand; the answer comes in Output.states under the number returned."""
        self._query_number += 1
        number = self._query_number
        # What was sent so long ago has been begun with by now, or never is.
        not_found_ns = self.settings.order_valid_ns + self.settings.server_clock_error_ms * NS_PER_MS
        if self.phase is not Phase.READY or self.settings.is_watch:
            why = "this connection only watches" if self.settings.is_watch else f"the connection is {self.phase.value}"
            self.link.output.states.append((number, None, why))
            return number, self._output()

        def done(now: int, truth: Truth) -> None:
            self._apply_truth(now, truth)
            # An answer without what has moved is better than none: it comes by the stream later.
            self.cash.want(now, since_ms_of(since_ts), lambda last: told(last, truth))

        def told(now: int, truth: Truth) -> None:
            self._queries.pop(number, None)
            self.link.output.states.append((number, self._state(now, truth, not_found_ns), ""))

        def failed(_now: int, text: str) -> None:
            self._queries.pop(number, None)
            self.link.output.states.append((number, None, text))

        truth = Truth(self.link, self.instruments, since_ms_of(since_ts), lambda: self._changes, done, failed)
        self._queries[number] = truth
        truth.start(ts)
        return number, self._output()

    def _state(self, ts: int, truth: Truth, not_found_ns: int) -> VenueState:
        state = truth.state(ts, self.orders.tracker, not_found_ns)
        moves, delivered = self.cash.since(truth.since_ms)
        executions = sorted((*state.executions, *delivered), key=lambda fill: fill.ts_event) if delivered else state.executions
        venue_ts = 0 if self.link.clock_offset_ms is None else self.link.server_ms(ts) * NS_PER_MS
        return msgspec.structs.replace(state, executions=tuple(executions), cash_moves=tuple(moves), ts=venue_ts)

    def _cash_learned(self, meaning: Meaning) -> None:
        self.link.output.events += [*meaning.fills, *meaning.moves]

    # What comes in.

    def _dispatch(self, ts: int, payload: bytes) -> None:
        message = decode(payload)
        match message:
            case Book() | Quote() | PublicTrades() | PlatformState() | InstrumentState():
                self.market.receive(ts, message)
            case UserChanges():
                self._changes += 1
                self.orders.apply(ts, message.orders, message.trades)
            case UserOrders():
                self._changes += 1
                self.orders.apply(ts, message.orders, [])
            case UserTrades():
                self._changes += 1
                self.orders.apply(ts, [], message.trades)
            case Answer() | Refusal():
                self._check_mode(message)
                self.link.receive(ts, message)
            case Heartbeat():
                if message.is_test_request:
                    self.link.keep_alive(ts, requests.test)
            case Portfolio():
                self.portfolio[message.currency] = message
            case Skipped():
                self.link.fact(FactKind.PROTOCOL, f"a notification that nobody asked for: {message.channel}")
            case Spoiled():
                self._spoiled(ts, message)
            case _:
                assert_never(message)

    def _spoiled(self, ts: int, message: Spoiled) -> None:
        if message.id is not None:
            self.link.receive(ts, message)
            return
        self.link.fact(FactKind.PROTOCOL, f"{message.channel}: {message.text}")
        if not self.market.spoiled(ts, message.channel):
            # It may have been a fill of ours.
            self._close(f"{message.channel} cannot be read")

    def _check_mode(self, message: Answer | Refusal) -> None:
        if message.testnet is not None and message.testnet is not self.settings.is_testnet:
            names = {True: "the test venue", False: "the live venue"}
            self._refuse(f"this is {names[message.testnet]}, and {names[self.settings.is_testnet]} is configured")
        if isinstance(message, Refusal) and message.code == TOO_MANY_REQUESTS:
            # The venue ends the session now.
            self.link.fact(FactKind.CREDITS, f"the venue's credits ran out: {message.text}")
            self.link.credits.drain(self._heard_ts)
        is_over = isinstance(message, Refusal) and message.code in LOGIN_IS_OVER and not self.login.is_renewal(message.id)
        if is_over and isinstance(message, Refusal) and self.phase in (Phase.TRUTH, Phase.READY):
            self._close(f"the login does not hold any more: {message.code} {message.text}")

    # Login and truth.

    def _logged_in(self, ts: int) -> None:
        if self.settings.is_watch:
            self.phase = Phase.READY
            self.link.output.is_ready = True
            return
        self.phase = Phase.TRUTH
        self.orders.resolver.is_active = True
        self._truth_tries = 0
        if self._quiet_until_ms is None:
            # Whatever a process before this one has sent was valid for so long from a moment before this stamp.
            valid_ms = self.settings.order_valid_ns // NS_PER_MS
            self._quiet_until_ms = self.link.server_seen_ms + valid_ms + self.settings.server_clock_error_ms
        self._advance(ts)

    def _advance(self, ts: int) -> None:
        """From TRUTH on as soon as nothing is unknown and nothing of a process before this one can still come."""
        if self.phase is not Phase.TRUTH or self._truth is not None or self._truth_due_ts is not None:
            return
        if not self.orders.resolver.is_idle:
            return
        assert self._quiet_until_ms is not None
        wait_ms = self._quiet_until_ms - self.link.server_seen_ms
        if wait_ms > 0:
            # By the server's own stamps: its next answer after this wait will say that the moment has passed.
            self._truth_due_ts = ts + wait_ms * NS_PER_MS
            return
        self._take_truth(ts)

    def _take_truth(self, ts: int) -> None:
        if not self.orders.resolver.is_idle:
            return
        if self._quiet_until_ms is not None and self.link.server_seen_ms <= self._quiet_until_ms:
            self.link.keep_alive(ts, requests.test)
            self._truth_due_ts = ts + QUIET_CHECK_NS
            return
        lost_ms = self.link.server_ms(self._begun_ts) if self._lost_ms is None else self._lost_ms
        since_ms = lost_ms - EXECUTIONS_OVERLAP_MS
        self._truth = Truth(self.link, self.instruments, since_ms, lambda: self._changes, self._told, self._untold)
        self._truth.start(ts)

    def _told(self, ts: int, truth: Truth) -> None:
        self._truth = None
        tracker = self.orders.tracker
        for order in truth.orders:
            if not tracker.owns(order.label, order.order_id):
                self.orders.adopt(order, truth.trades)
        self._apply_truth(ts, truth)
        self.orders.settle(truth)
        if not self.orders.resolver.is_idle:
            return  # what was found raised a question: once it is answered, another look
        self.phase = Phase.READY
        self._look_since_ms, self._look_due_ts = self.link.server_seen_ms, ts + self.settings.look_interval_ns
        self.cash.ready(ts)
        output = self.link.output
        if self._was_ready:
            # Nothing is on its way any more: whatever was has been found, or proven never to have been.
            output.reconnected = self._state(ts, truth, 0)
        self._was_ready = True
        output.is_ready = True

    def _untold(self, ts: int, text: str) -> None:
        self._truth = None
        if not self.link.is_up:
            return
        self._truth_tries += 1
        if self._truth_tries >= TRUTH_TRIES_MAX:
            self._close(f"the venue does not say where things stand: {text}")
        else:
            self._truth_due_ts = ts + TRUTH_RETRY_NS

    def _apply_truth(self, ts: int, truth: Truth) -> None:
        """What a query knows, as if the stream had said it: of our orders everything, of others' what is open."""
        owns = self.orders.tracker.owns
        self.orders.apply(ts, truth.orders, [trade for trade in truth.trades if owns(trade.label or "", trade.order_id)])
        if truth.is_one_moment:
            self.orders.forget_foreign(truth)

    # The slow comparison: order truth never rests on one stream.

    def _take_look(self, ts: int) -> None:
        since_ms = self._look_since_ms - EXECUTIONS_OVERLAP_MS
        self._look_since_ms = self.link.server_seen_ms
        self._look = Truth(
            self.link, self.instruments, since_ms, lambda: self._changes, self._looked, self._not_looked, rounds_max=1
        )
        self._look.start(ts)
        self.market.compare(ts)

    def _looked(self, ts: int, truth: Truth) -> None:
        self._look = None
        self._look_due_ts = ts + self.settings.look_interval_ns
        booked = {event.execution_id for event in self.link.output.events if isinstance(event, OrderFilled)}
        self._apply_truth(ts, truth)
        oldest_ms = self.link.server_ms(ts) - self.settings.stream_late_ms_max
        for event in self.link.output.events:
            is_new = isinstance(event, OrderFilled) and event.execution_id not in booked
            if is_new and event.ts_event < oldest_ms * NS_PER_MS:
                self.link.fact(FactKind.STREAM, "a query knows a fill that the user stream has not told")
                self._close("the user stream is dead")
                break
        self.orders.ask_for_missing(ts, truth, self._look_since_ms)

    def _not_looked(self, ts: int, _text: str) -> None:
        self._look = None
        if self.phase is Phase.READY:
            self._look_due_ts = ts + self.settings.look_interval_ns

    # Ends.

    def _close(self, why: str) -> None:
        self.link.output.close = self.link.output.close or why

    def _refuse(self, why: str) -> None:
        self.link.output.refused = self.link.output.refused or why
        self._close(why)

    def _output(self) -> Output:
        output, self.link.output = self.link.output, Output()
        return output
