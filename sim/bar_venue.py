"""BarVenue: an ExecutionEngine over bars. What fills an order, and at which price, is written in sim/bar_matching.py.

A bar is known when it ends: its event carries that time. At one instant things happen in this order: answers reach us, bars
end, our commands arrive, timers run out, orders expire, the next bars open. What the open fills is reported at the open; what
happens inside a bar is reported at its end, before the bar itself, because a bar does not say when. With a share of the volume
to respect (participation_ppm) the fills of the open too are reported at the end, when the volume is known. A report reaches us
response_ns later.

While no order is alive and no command under way, bars are handed over as they are, without any look at orders.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from operator import length_hint

from msgspec.structs import replace

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, CancelTimer, OrderCommand, ReplaceOrder, SetTimer, SubmitOrder
from core.enums import OrderType, Reason, TimeInForce
from core.errors import ConfigError
from core.events import (
    AnyEvent,
    Bar,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderTriggered,
    ReplaceRejected,
    TimerFired,
)
from core.instruments import Instrument
from core.units import NS_PER_DAY
from sim.bar_matching import NEVER, BarBook, BarFillRules, BarOrder, Outcome
from sim.bar_series import CHUNK_ROWS, BarSeries, BarTable


class BarVenue:
    """All instruments of one run on bars. Of an instrument's series the one with the shortest bars matches its orders."""

    def __init__(self, instruments: Sequence[Instrument], series: Sequence[BarSeries], rules: BarFillRules) -> None:
        self.rules = rules
        self._table = BarTable(series)
        known = {instrument.instrument_id: instrument for instrument in instruments}
        self._series_of: dict[str, int] = {}
        for index, one in enumerate(series):
            if one.instrument_id not in known:
                raise ConfigError(f"bars of {one.instrument_id}: this instrument is not configured")
            other = self._series_of.get(one.instrument_id)
            if other is None or one.interval_ns < series[other].interval_ns:
                self._series_of[one.instrument_id] = index
        self._books = {key: BarBook(known[key], rules) for key in self._series_of}
        self._active: dict[str, BarBook] = {}  # those with a live order
        self._arrivals: deque[tuple[int, OrderCommand]] = deque()
        self._timers: list[tuple[int, int]] = []  # heap of (at, timer id)
        self._ready: deque[AnyEvent] = deque()  # happened, not yet handed over
        self._answers: deque[AnyEvent] = deque()  # on their way to us
        self._is_single = len(series) == 1
        self._expires = False  # an order with an end was ever sent
        self._rows_total = len(self._table)
        self._row = 0
        self._chunk: list[Bar] = []
        self._chunk_start = 0
        self._head: Bar | None = None  # the bar of `_row`: the next to end
        self._go_to(0)
        # The bars being handed over untouched: how many there were, and the iterator over the rest.
        self._passing_rows = 0
        self._passing: Iterator[Bar] = iter(())
        self._is_interrupted = False
        self._now = 0
        self._ts_last = int(self._table.ts_event[-1]) if len(self._table) else 0
        self._executions = 0
        self._stream: Iterator[AnyEvent] | None = None
        self._stream_until_ts = 0

    # Time.

    @property
    def now(self) -> int:
        """ns UTC: the time of the last event handed over, or the until_ts that was reached."""
        row = self.rows
        return max(self._now, int(self._table.ts_event[row - 1])) if row else self._now

    @property
    def rows(self) -> int:
        """Bars handed over or under way."""
        return self._row + self._passing_rows - length_hint(self._passing)

    @property
    def is_done(self) -> bool:
        """All bars handed over and all commands answered; orders that still rest will never fill."""
        return self.rows >= self._rows_total and not self._arrivals and not self._answers and not self._ready

    def advance(self, until_ts: int = NEVER) -> list[AnyEvent]:
        """The next event, in a list as every venue gives it; [] when until_ts is reached or all `is_done`."""
        if self._stream is None or self._stream_until_ts != until_ts:
            self._stream, self._stream_until_ts = self.events(until_ts), until_ts
        for event in self._stream:
            return [event]
        self._stream = None
        return []

    def events(self, until_ts: int = NEVER) -> Iterator[AnyEvent]:
        """Every event up to until_ts, one at a time: what is sent in answer to one is taken into account before the next.

        Use one iterator at a time, and never collect it into a list: the Trader has to answer between two events.
        """
        ready = self._ready
        while True:
            while ready:
                yield ready.popleft()
            self._is_interrupted = False
            if self._arrivals or self._active or self._answers or not self._pass_bars(until_ts):
                if not self._step(until_ts):
                    return
                continue
            bars, bar = self._passing, self._head
            assert bar is not None
            try:
                for bar in bars:
                    yield bar
                    if self._is_interrupted:
                        break
            finally:
                passed = self._passing_rows - length_hint(bars)
                self._passing_rows, self._passing = 0, iter(())
                self._go_to(self._row + passed)
                self._now = max(self._now, bar.ts_event)

    def _pass_bars(self, until_ts: int) -> bool:
        """Prepare the bars of this chunk that end before anything else can happen; False when there are none."""
        limit = min(until_ts, self._timers[0][0]) if self._timers else until_ts
        if self._head is None or self._head.ts_event > limit:
            return False
        rows = self._chunk[self._row - self._chunk_start :]
        if rows[-1].ts_event > limit:
            rows = [bar for bar in rows if bar.ts_event <= limit]
        self._passing_rows, self._passing = len(rows), iter(rows)
        return True

    def _go_to(self, row: int) -> None:
        self._row = row
        if not self._chunk_start <= row < self._chunk_start + len(self._chunk):
            self._chunk_start = row // CHUNK_ROWS * CHUNK_ROWS
            self._chunk = self._table.chunk(self._chunk_start) if row < self._rows_total else []
        self._head = self._chunk[row - self._chunk_start] if self._chunk else None

    def _step(self, until_ts: int) -> bool:
        """Let the next thing happen; False when there is none up to until_ts."""
        bar = self._head
        # In the order in which things happen at one instant: each later kind must be strictly earlier to come first.
        ts = NEVER if bar is None else bar.ts_event
        what = self._end_bar
        if self._answers and self._answers[0].ts_init <= ts:
            ts, what = self._answers[0].ts_init, self._tell
        if self._arrivals and self._arrivals[0][0] < ts:
            ts, what = self._arrivals[0][0], self._arrive
        if self._timers and self._timers[0][0] < ts and self._timers[0][0] <= self._ts_last:
            ts, what = self._timers[0][0], self._fire
        if self._active:
            expires = min(book.first_expiry() for book in self._active.values()) if self._expires else NEVER
            if expires < ts and expires <= self._ts_last:
                ts, what = expires, self._expire
            opens = NEVER if self.rules.participation_ppm else self._next_open()
            if opens < ts:
                ts, what = opens, self._open
        if ts > until_ts or ts == NEVER:
            if until_ts != NEVER:
                self._now = max(self._now, until_ts)
            return False
        self._now = max(self._now, ts)
        what(ts)
        return True

    # Bars.

    def _next_bar(self, book: BarBook) -> tuple[int, int, int]:
        """(index in its series, start, open) of the bar of this instrument that ends next; start NEVER after the last one."""
        bar = self._head
        if self._is_single and bar is not None:
            return self._row, bar.ts_event - bar.interval_ns, bar.open
        series_index = self._series_of[book.instrument.instrument_id]
        index = self._table.rows_before(series_index, self._row)
        series = self._table.series[series_index]
        if index >= len(series):
            return index, NEVER, 0
        return index, int(series.ts_event[index]) - series.interval_ns, int(series.open[index])

    def _next_open(self) -> int:
        """When the next bar of an instrument with live orders opens."""
        earliest = NEVER
        for book in self._active.values():
            index, start, _ = self._next_bar(book)
            # A bar under way has opened before these orders came.
            if index > book.opened_index and self._now <= start < earliest:
                earliest = start
        return earliest

    def _open(self, ts: int) -> None:
        for book in list(self._active.values()):
            index, start, price = self._next_bar(book)
            if start == ts and index > book.opened_index:
                book.opened_index = index
                self._report(book, book.at_open(index, price), ts, ts)

    def _end_bar(self, ts: int) -> None:
        bar = self._head
        assert bar is not None
        book = self._active.get(bar.instrument_id)
        if book is not None:
            index, start, price = self._next_bar(book)
            if self._table.series[self._series_of[bar.instrument_id]].interval_ns == bar.interval_ns:
                book.open_budget(bar.volume)
                if self.rules.participation_ppm:
                    self._report(book, book.at_open(index, price), start, ts)
                self._report(book, book.inside(index, bar), ts, ts)
        self._go_to(self._row + 1)
        self._ready.append(bar)

    def _report(self, book: BarBook, outcomes: Sequence[Outcome], ts_event: int, ts_init: int) -> None:
        instrument = book.instrument
        for outcome in outcomes:
            order = outcome.order
            client_order_id = order.client_order_id
            if outcome.liquidity is not None:
                self._executions += 1
                fee_rate = book.fee_rate(outcome.liquidity)
                self._answer(
                    OrderFilled(
                        ts_event,
                        ts_init,
                        client_order_id,
                        instrument.instrument_id,
                        f"B{self._executions}",
                        order.side,
                        outcome.price,
                        outcome.qty,
                        outcome.leaves_qty,
                        outcome.liquidity,
                        instrument.commission(outcome.price, outcome.qty, fee_rate) if fee_rate else 0,
                        instrument.settlement_currency,
                    )
                )
            elif outcome.reason is not None:
                self._answer(OrderCanceled(ts_event, ts_init, client_order_id, outcome.qty, outcome.reason))
            else:
                self._answer(OrderTriggered(ts_event, ts_init, client_order_id))
        if not book.orders:
            self._active.pop(instrument.instrument_id, None)

    def _answer(self, event: AnyEvent) -> None:
        """The venue tells us something now; we know it response_ns later."""
        if not self.rules.response_ns:
            self._ready.append(event)
        else:
            self._answers.append(replace(event, ts_init=event.ts_init + self.rules.response_ns))

    def _tell(self, ts: int) -> None:
        answer = self._answers.popleft()
        assert answer.ts_init == ts
        self._ready.append(answer)

    # Timers and expiry.

    def schedule(self, command: SetTimer | CancelTimer) -> None:
        """A timer beyond the last bar never fires."""
        self._is_interrupted = True
        if isinstance(command, SetTimer):
            heapq.heappush(self._timers, (command.at, command.timer_id))
        else:
            self._timers = [timer for timer in self._timers if timer[1] != command.timer_id]
            heapq.heapify(self._timers)

    def _fire(self, ts: int) -> None:
        _, timer_id = heapq.heappop(self._timers)
        self._ready.append(TimerFired(ts, ts, timer_id))

    def _expire(self, ts: int) -> None:
        for key, book in list(self._active.items()):
            for order in [order for order in book.orders.values() if order.expire_ts <= ts]:
                del book.orders[order.client_order_id]
                self._answer(OrderExpired(ts, ts, order.client_order_id, order.leaves_qty))
            if not book.orders:
                del self._active[key]

    # Commands.

    def send(self, approved: Approved) -> None:
        """Arrives after latency_ns, in the order sent."""
        command = approved.command
        self._is_interrupted = True
        self._arrivals.append((command.ts + self.rules.latency_ns, command))

    def _arrive(self, ts: int) -> None:
        _, command = self._arrivals.popleft()
        if type(command) is SubmitOrder:
            self._submit(ts, command)
        elif type(command) is CancelAll:
            for key, book in list(self._active.items()):
                if command.instrument_id in (None, key):
                    for order in list(book.orders.values()):
                        self._cancel(ts, book, order, Reason.MASS_CANCEL)
        else:
            assert isinstance(command, CancelOrder | ReplaceOrder)
            holder = next((book for book in self._active.values() if command.client_order_id in book.orders), None)
            if isinstance(command, ReplaceOrder):
                self._replace(ts, holder, command)
            elif holder is None:
                self._answer(CancelRejected(ts, ts, command.client_order_id, Reason.UNKNOWN_ORDER))
            else:
                self._cancel(ts, holder, holder.orders[command.client_order_id], Reason.REQUESTED)

    def _submit(self, ts: int, command: SubmitOrder) -> None:
        book = self._books.get(command.instrument_id)
        if book is None:
            # Configured, but without bars: there is no market for it here.
            self._answer(OrderRejected(ts, ts, command.client_order_id, Reason.NO_LIQUIDITY))
            return
        if command.post_only:
            self._note_last_price(ts, book)
        expire_ts = self._expiry(ts, command)
        reason = Reason.BAD_FIELD if expire_ts <= ts else book.refusal(command)
        if reason is not None:
            self._answer(OrderRejected(ts, ts, command.client_order_id, reason))
            return
        order = BarOrder(command, expire_ts)
        self._place(ts, book, order)
        book.orders[order.client_order_id] = order
        self._active[command.instrument_id] = book
        self._answer(OrderAccepted(ts, ts, order.client_order_id, order.price, order.leaves_qty))

    def _expiry(self, ts: int, command: SubmitOrder) -> int:
        if command.time_in_force is TimeInForce.GTD:
            self._expires = True
            return command.expire_ts
        if command.time_in_force is TimeInForce.DAY:
            self._expires = True
            offset = self.rules.day_end_offset_ns
            return ((ts - offset) // NS_PER_DAY + 1) * NS_PER_DAY + offset
        return NEVER

    def _place(self, ts: int, book: BarBook, order: BarOrder) -> None:
        """From which bar on the order is seen: never one that began before it arrived."""
        index, start, price = self._next_bar(book)
        has_opened = book.opened_index >= index
        order.open_from = index if ts <= start and not has_opened else index + 1
        order.path_from = index if ts <= start else index + 1
        if has_opened and book.meets(order, price):
            # Sent in answer to this very open, and good for it: but that price is gone. The next open decides.
            order.path_from = index + 1

    def _note_last_price(self, ts: int, book: BarBook) -> None:
        """The open of the bar under way, or the close of the one before."""
        index, start, price = self._next_bar(book)
        if start < ts or book.opened_index >= index:
            book.last_price = price
        elif index:
            book.last_price = int(self._table.series[self._series_of[book.instrument.instrument_id]].close[index - 1])

    def _cancel(self, ts: int, book: BarBook, order: BarOrder, reason: Reason) -> None:
        del book.orders[order.client_order_id]
        self._answer(OrderCanceled(ts, ts, order.client_order_id, order.leaves_qty, reason))
        if not book.orders:
            del self._active[book.instrument.instrument_id]

    def _replace(self, ts: int, book: BarBook | None, command: ReplaceOrder) -> None:
        key = command.client_order_id
        reason = Reason.UNKNOWN_ORDER if book is None else self._replace_refusal(ts, book, book.orders[key], command)
        if book is None or reason is not None:
            self._answer(ReplaceRejected(ts, ts, key, reason or Reason.UNKNOWN_ORDER))
            return
        order = book.orders[key]
        # The quantity is counted from the fills that the sender knew of; later ones come off it.
        leaves_qty = command.quantity - (order.filled_qty - command.filled_qty)
        if leaves_qty <= 0:
            self._cancel(ts, book, order, Reason.REQUESTED)
            return
        keeps_place = command.price == order.price and leaves_qty <= order.leaves_qty
        order.price, order.leaves_qty = command.price, leaves_qty
        if not keeps_place:
            book.orders[key] = book.orders.pop(key)  # to the end
            order.is_resting = order.post_only
            self._place(ts, book, order)
        self._answer(OrderReplaced(ts, ts, key, order.price, order.leaves_qty))

    def _replace_refusal(self, ts: int, book: BarBook, order: BarOrder, command: ReplaceOrder) -> Reason | None:
        instrument = book.instrument
        self._note_last_price(ts, book)
        if command.quantity <= 0 or command.quantity % instrument.lot:
            return Reason.BAD_QTY
        if order.order_type not in (OrderType.LIMIT, OrderType.STOP_LIMIT):
            return Reason.BAD_FIELD
        if command.price % instrument.tick:
            return Reason.BAD_TICK
        if order.post_only and book.would_take(order.side, command.price):
            return Reason.POST_ONLY
        return None
