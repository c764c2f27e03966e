"""Looks at the account: open orders, executions and positions asked for in that order, and what they come to. Pure.

The three are not of one moment. Executions are asked for behind the orders, so that every fill which an order's answer counts is
among them; what happens meanwhile comes on the same connection and counts too.
"""

from __future__ import annotations

from collections import deque

import msgspec

from adapters.ib.contracts import Listed
from adapters.ib.fills import Done
from adapters.ib.holdings import Holdings
from adapters.ib.messages import Execution, ExecutionsEnd, OpenOrdersEnd, Position, PositionsEnd
from adapters.ib.numbers import qty_of
from adapters.ib.orders import Desk, as_venue_order
from adapters.ib.settings import IbSettings
from adapters.ib.wire import Wire
from core.errors import CapacityError
from core.events import OrderFilled
from core.units import INT64_MAX, NS_PER_SECOND
from core.venue_adapter import VenueState

NEVER = INT64_MAX
LOOKS_WAITING_MAX = 64


class _Look(msgspec.Struct):
    number: int
    since_ts: int
    begun_ts: int = 0
    request: int = 0
    has_orders: bool = False
    has_executions: bool = False
    has_positions: bool = False
    complete_ts: int = 0
    is_first: bool = False  # of this process
    positions: dict[str, int] = {}
    executions: dict[str, Done] = {}


class Looks:
    """One at a time; the others wait."""

    def __init__(self, settings: IbSettings, account: str, desk: Desk, holdings: Holdings, first_request: int) -> None:
        self._settings = settings
        self._account = account
        self._desk = desk
        self._holdings = holdings
        self._request = first_request
        self._number = 0
        self.ahead_ns = 0  # our clock before the gateway's, at least
        self._is_known = False  # whether this process has seen the account once
        self._now: _Look | None = None
        self._waiting: deque[_Look] = deque()
        self._done: dict[int, VenueState | None] = {}
        self.listed: dict[str, Listed] = {}

    def ask(self, since_ts: int) -> int:
        """The number to ask for the answer by. Raises CapacityError."""
        if len(self._waiting) >= LOOKS_WAITING_MAX:
            raise CapacityError(f"{LOOKS_WAITING_MAX} questions wait for the gateway already")
        self._number += 1
        self._waiting.append(_Look(self._number, since_ts, is_first=not self._is_known))
        return self._number

    def begin(self, ts: int, wire: Wire) -> list[bytes]:
        """The requests of the next look, where its turn has come."""
        if self._now is not None or not self._waiting:
            return []
        self._now = look = self._waiting.popleft()
        self._request += 1
        look.request, look.begun_ts = self._request, ts
        self._desk.mark += 1
        self._desk.is_listing = True
        # The gateway's clock first: what is asked for by ours means nothing where ours is wrong.
        return [wire.current_time(), wire.all_open_orders(), wire.executions(self._request, self._account), wire.positions()]

    def forget(self) -> None:
        """The connection is gone: nobody answers any more."""
        for look in (self._now, *self._waiting):
            if look is not None:
                self._done[look.number] = None
        self._now = None
        self._waiting.clear()
        self._desk.is_listing = False

    def take(self, number: int) -> VenueState | None:
        """The answer, once; None while there is none. See `failed`."""
        return self._done.pop(number, None)

    def has(self, number: int) -> bool:
        return self._done.get(number) is not None

    def failed(self, number: int) -> bool:
        if number in self._done and self._done[number] is None:
            del self._done[number]
            return True
        return False

    # What comes.

    def on_orders_end(self, _message: OpenOrdersEnd) -> None:
        self._desk.is_listing = False
        if self._now is not None:
            self._now.has_orders = True

    def on_execution(self, message: Execution, done: Done | None) -> None:
        look = self._now
        if look is None:
            return
        found = done if done is not None else self._desk.fills.get(message.execution_id)
        if found is not None:
            look.executions[found.base] = found

    def on_executions_end(self, message: ExecutionsEnd) -> None:
        if self._now is not None and message.request == self._now.request:
            self._now.has_executions = True

    def on_position(self, message: Position, instrument_id: str) -> None:
        qty = qty_of(self.listed[instrument_id].instrument, message.qty)
        if self._now is not None and not self._now.has_positions:
            self._now.positions[instrument_id] = qty
        self._holdings.said(instrument_id, qty)

    def on_positions_end(self, _message: PositionsEnd) -> None:
        if self._now is not None:
            self._now.has_positions = True

    def fail(self, number: int) -> bool:
        """The request with this number was refused; whether it was one of a look."""
        look = self._now
        if look is None or look.request != number:
            return False
        self._done[look.number] = None
        self._now = None
        self._desk.is_listing = False
        return True

    def due(self, ts: int) -> None:
        """Finish the look where everything is in, or give it up."""
        look = self._now
        if look is None:
            return
        if look.has_orders and look.has_executions and look.has_positions:
            look.complete_ts = look.complete_ts or ts
            is_late = ts - look.complete_ts >= int(self._settings.commission_wait_s * NS_PER_SECOND)
            if is_late or all(done.commission is not None for done in look.executions.values()):
                self._finish(ts, look)
        elif ts - look.begun_ts >= int(self._settings.request_timeout_s * NS_PER_SECOND):
            self._done[look.number] = None
            self._now = None
            self._desk.is_listing = False

    @property
    def next_deadline(self) -> int:
        look = self._now
        if look is None:
            return NEVER
        if look.complete_ts:
            return look.complete_ts + int(self._settings.commission_wait_s * NS_PER_SECOND)
        return look.begun_ts + int(self._settings.request_timeout_s * NS_PER_SECOND)

    def _finish(self, ts: int, look: _Look) -> None:
        self._now = None
        # What the answer holds is an event before it, or none at all: nothing is told twice.
        self._desk.say_all()
        self._holdings.looked(look.positions)
        self._desk.settle(ts, look.begun_ts, self._desk.mark)
        # The stamps of what was not heard of live are whole seconds.
        since = look.since_ts - NS_PER_SECOND
        if look.since_ts > ts - self.ahead_ns:
            # The books' last stamp is of a clock that was ahead: everything of the day, which they know by its names.
            since = 0
        executions = [self._shown(done, look) for done in look.executions.values() if done.fill.ts_event >= since]
        executions.sort(key=lambda fill: fill.ts_event)
        moves = [move for done in look.executions.values() for move in done.moves if move.ts_event >= since]
        moves.sort(key=lambda move: move.ts_event)
        self._is_known = True
        self._done[look.number] = VenueState(
            tuple(as_venue_order(tracked) for tracked in self._desk.shown(self._desk.mark)),
            tuple(executions),
            {key: look.positions.get(key, 0) for key in self.listed},
            frozenset(self.listed),
            int(self._settings.not_found_s * NS_PER_SECOND),
            cash_moves=tuple(moves),
        )

    def _shown(self, done: Done, look: _Look) -> OrderFilled:
        """What was first heard of by this look is said by it, but for what a process before this one may have said."""
        fills, listed = self._desk.fills, self.listed[done.fill.instrument_id]
        if not done.is_said:
            done.is_of_before = done.is_of_before or look.is_first
        show = fills.shown if done.is_of_before and not done.is_said else fills.say
        return show(done, listed, done.fill.leaves_qty)
