"""Holds our books against the venue's: at the start, after a reconnect, on a slow timer, when an answer is overdue, when asked.

While the daemon trades nothing is concluded from one look: what the venue says now may be on its way here, or our order on its
way there. Only what a second look, SETTLE_S later, shows in the same way, for an order that nothing has happened to meanwhile,
is a fact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import structlog

from core.enums import OrderStatus, TradingState
from core.errors import RefusedError, TransportError, VenueProtocolError
from core.events import (
    AnyEvent,
    CancelAllRequested,
    CashMoved,
    ForeignOrderFound,
    OrderEvent,
    OrderFilled,
    TradingStateSet,
    VenueCompared,
)
from core.order_store import FOREIGN_ORDER_ID
from core.orders import Order
from core.trader import Trader
from core.units import NS_PER_SECOND, parse_duration_ns
from core.venue_adapter import VenueOrder, VenueState
from daemon.config.models import Daemon as Settings
from daemon.trading.closing import BATCH_EVENTS_MAX
from daemon.trading.listener import Severity, Tell
from daemon.trading.reconcile import (
    NOTHING_HELD,
    ForeignPolicy,
    Kind,
    Look,
    execution_name,
    executions_since,
    foreign_fill,
    foreign_fill_text,
    foreign_name,
    held_since,
    is_numbered_here,
    look,
    position_differences,
)
from daemon.trading.session import Session
from daemon.trading.spot_balances import Held

SETTLE_S = 1.0  # within which a fill that the venue has booked is known here too
FINDINGS_SHOWN_MAX = 100
TOLD_MAX = 10_000  # foreign orders and fills of which nobody is told twice
# The kinds that one look cannot be sure of, even at the start: a venue may not find what it has (docs/PAPER.md), and what it said
# may be older than the end of an order that was heard of since.
NEEDS_A_SECOND_LOOK = (Kind.GONE, Kind.CLOSED, Kind.POSITION)


Booked = tuple[int, dict[str, int]]
NOT_STILL: Booked = (-1, {})  # something was filled between the question and the answer


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The last comparison with the venue's own books."""

    ts: int = 0
    count: int = 0  # facts that the venue has added in this run, the start's included
    facts: tuple[str, ...] = ()  # of this comparison, in words
    differences: tuple[str, ...] = ()
    error: str = ""  # the venue could not be asked


class Reconciling:
    """`alert` and `halt` are the daemon's; `is_stopping` says that it is being ended."""

    def __init__(
        self,
        session: Session,
        settings: Settings,
        *,
        alert: Tell,
        halt: Callable[[str], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._session = session
        self._policy = ForeignPolicy(settings.foreign_orders)
        self._interval_s = parse_duration_ns(settings.reconcile_interval) / NS_PER_SECOND
        self._unknown_ns = parse_duration_ns(settings.unknown_timeout)
        self._alert, self._halt, self._is_stopping = alert, halt, is_stopping
        self._log: Any = structlog.get_logger("reconcile")
        self._asked = anyio.Event()
        self._done = anyio.Event()
        self._begun = 0
        self._asked_ts = 0
        self._finished = 0
        self._adopted = 0
        self._held: Held = NOTHING_HELD  # since the venue was last asked
        self._told_foreign: dict[str, None] = {}
        self._told_unknown: set[int] = set()
        self._is_unreachable = False
        self.last = Reconciliation()
        self.shown: VenueState | None = None  # the answer that `last` is about, where that is of all venues
        self.shown_at: Booked = (0, {})  # what was booked when it was asked for, and by it
        self._asked_at: Booked = (0, {})
        session.on_foreign_fill = self.foreign_fill

    # The start, and the start of a connection.

    async def at_start(self) -> tuple[str, ...]:
        """The venue's own word on what we think is open, before anything new may leave; what a person has to look at."""
        session = self._session
        venue, found = await self._ask(0)
        venue.whole()
        if venue.not_found_ns and found.has(*NEEDS_A_SECOND_LOOK):
            await anyio.sleep(SETTLE_S)
            first = found
            venue, found = await self._ask(0)
            venue.whole()
            found = found.lasting(first, *NEEDS_A_SECOND_LOOK)
        self._apply(found, venue)
        session.journal.make_durable()
        return found.problems

    def reconnected(self, venue: VenueState) -> None:
        """A venue is back, and nothing has been sent to it since it said this: what had come in before counts first."""
        session = self._session
        self._drain()
        self._held = NOTHING_HELD
        found = look(session.trader, venue, session.clock.now(), self._policy, adopted_before=self._adopted)
        if venue.not_found_ns and found.has(*NEEDS_A_SECOND_LOOK):
            found = found.without(*NEEDS_A_SECOND_LOOK)
            self._asked.set()
        added = self._apply(found, venue)
        self._alert("reconnected", Severity.WARNING, f"a venue is back; it added {added} facts")
        if found.problems:
            self._halt(f"after a reconnect the venue says otherwise: {'; '.join(found.problems)}")

    # While it runs.

    async def run(self) -> None:
        """Until cancelled."""
        due = anyio.current_time() + self._interval_s
        while True:
            with anyio.move_on_after(max(min(due - anyio.current_time(), self._overdue_s()), 0)):
                await self._asked.wait()
            if self._asked.is_set() or anyio.current_time() >= due or self._overdue_s() <= 0:
                self._asked = anyio.Event()
                due = anyio.current_time() + self._interval_s
                self._begun += 1
                await self._reconcile()
                self._finished = self._begun
                done, self._done = self._done, anyio.Event()
                done.set()

    def nudge(self) -> None:
        """Ask the venue soon."""
        self._asked.set()

    async def ask(self) -> Reconciliation:
        """One comparison that begins after this call; returns when it is done."""
        wanted = self._begun + 1
        self._asked.set()
        while self._finished < wanted:
            await self._done.wait()
        return self.last

    def _overdue_s(self) -> float:
        """Until the first order without an answer is overdue; at most the timeout itself, after which it is looked at again."""
        waiting = [order for order in self._session.trader.orders.open_orders() if is_unanswered(order)]
        self._told_unknown &= {order.client_order_id for order in waiting}
        # One that is overdue already is asked about again when as much time has passed.
        since = [self._asked_ts if order.client_order_id in self._told_unknown else order.ts_updated for order in waiting]
        now = self._session.clock.now()
        return min([self._unknown_ns, *(ts + self._unknown_ns - now for ts in since)]) / NS_PER_SECOND

    def left_open(self, venue: VenueState) -> tuple[VenueOrder, ...]:
        """What should not be open there after everything was canceled: all of it, but for what is left alone by policy."""
        if self._policy is not ForeignPolicy.IGNORE:
            return venue.open_orders
        trader = self._session.trader
        return tuple(
            order
            for order in venue.open_orders
            if trader.orders.get(order.client_order_id or FOREIGN_ORDER_ID) is not None
            or is_numbered_here(trader, order.client_order_id)
        )

    async def _reconcile(self) -> None:
        """Two looks; what both show is applied, and what no policy covers halts."""
        self._asked_ts = self._session.clock.now()
        self._tell_unknown()
        try:
            venue, found = await self._ask(self._unknown_ns)
            if found.findings:
                await anyio.sleep(SETTLE_S)
                first = found
                venue, found = await self._ask(self._unknown_ns)
                found = found.lasting(first)
        except (TransportError, RefusedError, VenueProtocolError) as error:
            self._not_reached(str(error))
            return
        self._apply(found, venue)
        if venue.silent:
            # What the others said counts; of these nothing is known.
            self._not_reached("; ".join(venue.silent))
        else:
            self._is_unreachable = False
        session = self._session
        is_halted = session.trader.risk.trading_state is TradingState.HALTED
        if found.problems and not is_halted and not self._is_stopping():
            self._halt(f"the venue's books are not ours: {'; '.join(found.problems)}")
        elif is_halted and venue.open_orders and session.has_open_orders:
            session.apply(lambda now: [CancelAllRequested(now, now, "halted, and the venue has orders open still")])

    def _not_reached(self, error: str) -> None:
        self.last = Reconciliation(self._session.clock.now(), self.last.count, (), self.last.differences, error)
        if not self._is_unreachable:
            self._is_unreachable = True
            self._alert("not_reconciled", Severity.WARNING, f"the venue cannot be asked where things stand: {error}")

    def _tell_unknown(self) -> None:
        now = self._session.clock.now()
        for order in self._session.trader.orders.open_orders():
            is_overdue = is_unanswered(order) and now - order.ts_updated >= self._unknown_ns
            if is_overdue and order.client_order_id not in self._told_unknown:
                self._told_unknown.add(order.client_order_id)
                text = f"nobody knows what became of {order!r}; the venue is asked until it says"
                self._alert("order_unknown", Severity.CRITICAL, text)

    async def _ask(self, doubt_ns: int) -> tuple[VenueState, Look]:
        session = self._session
        trader, before = session.trader, session.fills_count
        self._asked_at = booked(trader)
        venue = await session.adapter.query(executions_since(trader))
        # What had come in before the answer counts first.
        self._drain()
        count = min(session.fills_count - before, len(session.fills))
        self._held = held_since(trader, list(session.fills)[len(session.fills) - count :])
        now = session.clock.now()
        return venue, look(trader, venue, now, self._policy, adopted_before=self._adopted, doubt_ns=doubt_ns, held=self._held)

    def _drain(self) -> None:
        session = self._session
        if self._is_stopping():
            # The market is not ours any more: only what concerns orders and money still counts.
            session.process(
                [event for event in session.inbox.take(len(session.inbox)) if isinstance(event, OrderEvent | CashMoved)]
            )
            return
        while session.drain_inbox(BATCH_EVENTS_MAX):
            pass

    def _apply(self, found: Look, venue: VenueState) -> int:
        """Take the facts; returns how many there were."""
        session = self._session
        for finding in found.findings:
            self._log.info("found", kind=finding.kind.value, text=finding.text, facts=[repr(event) for event in finding.events])
        events: Sequence[AnyEvent] = found.events
        adopted = {event.client_order_id for event in events if isinstance(event, ForeignOrderFound)}
        self._adopted += len(adopted)
        is_whole = not venue.silent and (
            venue.instrument_ids is None or venue.instrument_ids >= session.trader.instruments.keys()
        )
        is_still = booked(session.trader) == self._asked_at
        session.apply(lambda now: [*events, VenueCompared(venue.ts or now, now, len(events), len(found.problems), is_whole)])
        for order_id, order in found.adopted:
            known = session.trader.orders.get(order_id)
            if known is not None and known.is_open:
                session.adapter.adopt(order_id, order)
        for finding in found.findings:
            if finding.kind is Kind.FOREIGN and finding.key not in self._told_foreign:
                self._tell_foreign(finding.key, finding.text)
        self.shown = venue if is_whole else None
        self.shown_at = booked(session.trader) if is_still else NOT_STILL
        # One venue's word ends nothing of what is to be said of the others.
        error, others = ("", ()) if is_whole else (self.last.error, self.last.differences)
        differences = tuple(dict.fromkeys((*found.problems, *position_differences(session.trader, venue, self._held), *others)))
        self.last = Reconciliation(
            session.clock.now(),
            self.last.count + len(events),
            found.texts[:FINDINGS_SHOWN_MAX],
            differences[:FINDINGS_SHOWN_MAX],
            error,
        )
        return len(events)

    # What is not ours, as the stream brings it.

    def foreign_fill(self, fill: OrderFilled) -> Sequence[AnyEvent]:
        """What an execution that no order of ours explains becomes; called by the session in place of the fill."""
        trader = self._session.trader
        if trader.orders.is_known(execution_name(trader, fill)) or trader.orders.is_known(foreign_name(fill)):
            return ()
        text = foreign_fill_text(trader, fill)
        event = foreign_fill(trader, fill, fill.ts_init, self._policy)
        if event is not None:
            self._tell_foreign(f"execution {fill.execution_id}", text)
            return (event,)
        self._alert("foreign", Severity.CRITICAL, text)
        return (TradingStateSet(fill.ts_init, fill.ts_init, TradingState.HALTED, text),)

    def _tell_foreign(self, key: str, text: str) -> None:
        self._told_foreign[key] = None
        if len(self._told_foreign) > TOLD_MAX:
            del self._told_foreign[next(iter(self._told_foreign))]
        self._alert("foreign", Severity.WARNING, f"{text}: {self._policy.value}")


def booked(trader: Trader) -> Booked:
    """What changes with every fill, ours or not."""
    return trader.portfolio.fills_booked, dict(trader.foreign.set_aside)


def is_unanswered(order: Order) -> bool:
    """Sent, and nothing is known of it: SUBMITTED, or UNKNOWN."""
    return order.status in (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN)
