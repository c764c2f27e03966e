"""The transaction log, read again and again: which requests for it may leave when, and what of it is new. Pure.

The venue takes one of these requests a second and ends a session that asks more often, so one is under way at a time. What was
read covers a stretch of time that only grows: whoever asks from a moment inside it waits for nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from adapters.deribit import requests
from adapters.deribit.instruments import VenueInstrument
from adapters.deribit.link import Link
from adapters.deribit.log_rows import NOTHING, Meaning, meaning_of
from adapters.deribit.settings import DeribitSettings, FactKind
from adapters.deribit.wire import Answer, LogResult, LogRow, decode_result
from core.errors import VenueProtocolError
from core.events import CashMoved, OrderFilled
from core.units import NS_PER_MS, NS_PER_SECOND

ROWS_KEPT_MAX = 10_000  # that mean something
PAGES_MAX = 400  # of one look, each a request: some ten minutes
FRESH_NS = 2 * NS_PER_SECOND  # a look that began so long ago is as good as a new one
AHEAD_MS = 60_000  # rows may be stamped so much later than our clock says now

Done = Callable[[int], None]


class CashLog:
    """`on_new` is told of each row that means something, once."""

    def __init__(
        self,
        link: Link,
        instruments: Mapping[str, VenueInstrument],
        settings: DeribitSettings,
        on_new: Callable[[Meaning], None],
    ) -> None:
        self._link = link
        self._instruments = instruments
        self._settings = settings
        self._on_new = on_new
        self._known: OrderedDict[tuple[str, int], Meaning] = OrderedDict()
        self._covered_ms: int | None = None  # every row from here on up to the last look is known
        self._wanted_ms: int | None = None  # from where on somebody wants it, beyond what is covered
        self._looked_ms = 0  # the server's time when the last whole look began, as far as it was known then
        self._looked_ts = self._began_ts = -FRESH_NS - 1  # by our own clock
        self._waiting: list[tuple[int, int, Done]] = []  # (from ms, until ns, who is told when it is covered)
        self._left: list[tuple[str, int | None]] = []  # of the look under way: currency, continuation
        self._rows: dict[tuple[str, int], LogRow] = {}
        self._from_ms = self._began_ms = self._pages = self._asked = 0
        self._is_looking = self._is_asking = False
        self._due_ts: int | None = None  # of the next look
        self._free_ts = 0  # when the next request may leave

    # Who wants what.

    def ready(self, ts: int) -> None:
        """There is a connection: what has moved meanwhile is asked for."""
        self._due_ts = ts

    def want(self, ts: int, since_ms: int, done: Done) -> None:
        """`done` is called when every row from `since_ms` on up to now is known; or cannot be had, or not soon."""
        since_ms = max(since_ms - self._settings.cash_late_ms, 0)
        is_covered = self._covered_ms is not None and since_ms >= self._covered_ms
        if is_covered and ts - self._looked_ts <= FRESH_NS:
            done(ts)
            return
        self._waiting.append((since_ms, ts + self._settings.answer_ns_max, done))
        if not is_covered:
            self._wanted_ms = since_ms if self._wanted_ms is None else min(since_ms, self._wanted_ms)
        if not self._is_looking:
            self._begin(ts)

    def since(self, since_ms: int) -> tuple[list[CashMoved], list[OrderFilled]]:
        """What is known, in the order it happened. A row that was shown late counts as of the moment it was shown."""
        from_ns = max(since_ms - self._settings.cash_late_ms, 0) * NS_PER_MS
        found = list(self._known.values())
        moves = [move for meaning in found for move in meaning.moves if move.ts_event >= from_ns]
        fills = [fill for meaning in found for fill in meaning.fills if fill.ts_event >= from_ns]
        return sorted(moves, key=_moment), sorted(fills, key=_moment)

    # Time.

    def next_ts(self) -> int | None:
        due = [until_ts for _, until_ts, _ in self._waiting]
        if self._is_looking and not self._is_asking:
            due.append(self._free_ts)
        elif self._due_ts is not None and not self._is_looking:
            due.append(self._due_ts)
        return min(due, default=None)

    def tick(self, ts: int) -> None:
        late = [waiting for waiting in self._waiting if waiting[1] <= ts]
        self._waiting = [waiting for waiting in self._waiting if waiting[1] > ts]
        for _, _, done in late:
            done(ts)
        if self._is_asking:
            return
        if self._is_looking:
            if ts >= self._free_ts:
                self._ask(ts)
        elif self._due_ts is not None and ts >= self._due_ts:
            self._begin(ts)

    def down(self, ts: int) -> None:
        """The connection is gone, and what was read of a look with it."""
        self._due_ts = None
        self._is_looking = self._is_asking = False
        self._give_up(ts)

    # One look.

    def _begin(self, ts: int) -> None:
        self._began_ms, self._began_ts = self._link.server_ms(ts), ts
        looked_ms = self._looked_ms or self._began_ms
        if looked_ms > self._began_ms and self._covered_ms is not None:
            # The clock was wrong then: what that look was too late for is not known.
            looked_ms = self._covered_ms
        newest_ms = max(looked_ms - self._settings.cash_late_ms, 0)
        self._from_ms = newest_ms if self._wanted_ms is None else min(self._wanted_ms, newest_ms)
        self._left = [(currency, None) for currency in dict.fromkeys(each.currency for each in self._instruments.values())]
        self._rows.clear()
        self._pages = 0
        self._is_looking = True
        self.tick(ts)

    def _ask(self, ts: int) -> None:
        currency, continuation = self._left[0]
        from_ms, to_ms = self._from_ms, self._link.server_ms(ts) + AHEAD_MS
        self._is_asking = True
        self._pages += 1
        self._asked += 1
        asked = self._asked
        self._free_ts = ts + self._settings.log_pause_ns

        def answered(now: int, answer: Answer) -> None:
            if self._is_asking and asked == self._asked:
                self._answered(now, answer)

        def lost(now: int, text: str) -> None:
            if self._is_asking and asked == self._asked:
                self._failed(now, text)

        self._link.ask(
            ts,
            lambda request_id: requests.get_transaction_log(request_id, currency, from_ms, to_ms, continuation),
            answered,
            lambda now, refusal: lost(now, f"{refusal.code} {refusal.text}"),
            lost,
        )

    def _answered(self, ts: int, answer: Answer) -> None:
        self._is_asking = False
        self._free_ts = ts + self._settings.log_pause_ns
        try:
            page = decode_result(LogResult, answer.result)
        except VenueProtocolError as error:
            self._failed(ts, str(error))
            return
        for row in page.logs:
            self._rows[row.currency, row.id] = row
        currency, _ = self._left.pop(0)
        if page.continuation is not None and page.logs:
            if self._pages >= PAGES_MAX:
                self._failed(ts, f"more than {PAGES_MAX} pages")
                return
            self._left.insert(0, (currency, page.continuation))
        if not self._left:
            self._finish(ts)

    def _failed(self, ts: int, text: str) -> None:
        self._is_asking = self._is_looking = False
        self._free_ts = ts + self._settings.log_pause_ns
        self._due_ts = ts + self._settings.cash_interval_ns
        self._link.fact(FactKind.CASH, f"the transaction log cannot be read: {text}")
        self._give_up(ts)

    def _give_up(self, ts: int) -> None:
        """Whoever waits is told; what they wanted is asked for again with the next look."""
        waiting, self._waiting = self._waiting, []
        for _, _, done in waiting:
            done(ts)

    def _finish(self, ts: int) -> None:
        self._is_looking = False
        self._due_ts = ts + self._settings.cash_interval_ns
        for key, row in sorted(self._rows.items(), key=_row_order):
            if key not in self._known:
                self._learn(ts, key, row)
        self._rows.clear()
        self._looked_ms, self._looked_ts = self._began_ms, self._began_ts
        if self._covered_ms is None or self._from_ms < self._covered_ms:
            self._covered_ms = self._from_ms
        if self._wanted_ms is not None and self._wanted_ms >= self._covered_ms:
            self._wanted_ms = None
        waiting, self._waiting = self._waiting, []
        for since_ms, until_ts, done in waiting:
            if since_ms >= self._covered_ms:
                done(ts)
            else:
                self._waiting.append((since_ms, until_ts, done))
        if self._waiting:
            self._begin(ts)

    def _learn(self, ts: int, key: tuple[str, int], row: LogRow) -> None:
        try:
            meaning = meaning_of(ts, row, self._instruments)
        except VenueProtocolError as error:
            meaning = Meaning(text=f"a row of the transaction log cannot be read: {error}")
        if meaning is NOTHING:
            return
        self._known[key] = meaning
        if len(self._known) > ROWS_KEPT_MAX:
            (_, forgotten) = self._known.popitem(last=False)
            for event in (*forgotten.moves, *forgotten.fills):
                self._covered_ms = max(self._covered_ms or 0, event.ts_event // NS_PER_MS + 1)
        if meaning.text:
            self._link.fact(FactKind.CASH, meaning.text)
        self._on_new(meaning)


def _moment(event: CashMoved | OrderFilled) -> int:
    return event.ts_event


def _row_order(item: tuple[tuple[str, int], LogRow]) -> tuple[int, int]:
    key, row = item
    return row.timestamp, key[1]
