"""Lets through of the market data what was subscribed to, no more often than asked: the native filter behind a wire. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.sim.wire import BOOK_LEVELS_MAX
from core.errors import ConfigError
from core.events import AnyEvent, Book, Quote, Trade
from core.strategy import Subscription

NEVER = (1 << 63) - 1


class Wanted:
    """What all subscriptions of one instrument come to: where they differ the finest wins, as in sim/venue.py."""

    __slots__ = ("best_only", "book", "due", "interval_ns", "last", "levels", "passed_ts", "quote", "quotes", "trades")

    def __init__(self, subscriptions: list[Subscription]) -> None:
        quoting = [each for each in subscriptions if each.quotes != "off" or each.book_levels]
        self.quotes = bool(quoting)
        # The venue sends a quote when a best price or size has changed: "size" and "packet" are one here.
        self.best_only = self.quotes and all(each.quotes == "price" and not each.book_levels for each in quoting)
        self.interval_ns = min((each.interval_ns for each in quoting), default=0)
        self.levels = max((each.book_levels for each in subscriptions), default=0)
        self.trades = any(each.trades or each.bars_ns for each in subscriptions)
        self.last: Quote | None = None  # passed on last
        self.passed_ts = -NEVER
        self.quote: Quote | None = None  # waits for its time
        self.book: Book | None = None
        self.due = NEVER

    def differs(self, quote: Quote) -> bool:
        last = self.last
        if last is None:
            return True
        if not self.best_only:
            return True
        return (quote.bid_price, quote.ask_price, quote.bid_qty == 0, quote.ask_qty == 0) != (
            last.bid_price,
            last.ask_price,
            last.bid_qty == 0,
            last.ask_qty == 0,
        )


class MarketFilter:
    """`ts` in ns UTC is the time here. Raises ConfigError for more levels than the venue publishes."""

    def __init__(self, subscriptions: Iterable[Subscription], book_levels_max: int = BOOK_LEVELS_MAX) -> None:
        by_instrument: dict[str, list[Subscription]] = {}
        for each in subscriptions:
            if each.book_levels > book_levels_max:
                raise ConfigError(
                    f"{each.instrument_id}: a strategy wants {each.book_levels} levels of the book; "
                    f"the venue publishes {book_levels_max}"
                )
            by_instrument.setdefault(each.instrument_id, []).append(each)
        self._wanted = {key: Wanted(found) for key, found in by_instrument.items()}
        self.next_deadline = NEVER  # when `due` has something to give, ns UTC

    def receive(self, ts: int, event: AnyEvent) -> list[AnyEvent]:
        """What of `event` goes on now: itself, or nothing. Status and gaps of every instrument always do."""
        if isinstance(event, Quote):
            wanted = self._wanted.get(event.instrument_id)
            return [] if wanted is None else self._quote(ts, wanted, event)
        if isinstance(event, Book):
            wanted = self._wanted.get(event.instrument_id)
            return [] if wanted is None or not wanted.levels else self._book(wanted, event)
        if isinstance(event, Trade):
            wanted = self._wanted.get(event.instrument_id)
            return [event] if wanted is not None and wanted.trades else []
        return [event]

    def due(self, ts: int) -> list[AnyEvent]:
        """The latest quotes and books that had to wait and whose time has come."""
        events: list[AnyEvent] = []
        if ts < self.next_deadline:
            return events
        for wanted in self._wanted.values():
            if wanted.due <= ts:
                events += self._release(ts, wanted)
        self.next_deadline = min((wanted.due for wanted in self._wanted.values()), default=NEVER)
        return events

    def forget(self, instrument_id: str | None = None) -> None:
        """The market is unknown, of one instrument or of all: what waits is old, and whatever comes next is news."""
        for key, wanted in self._wanted.items():
            if instrument_id is None or key == instrument_id:
                wanted.last = wanted.quote = wanted.book = None
                wanted.due = NEVER
        self.next_deadline = min((wanted.due for wanted in self._wanted.values()), default=NEVER)

    def _quote(self, ts: int, wanted: Wanted, quote: Quote) -> list[AnyEvent]:
        if not wanted.quotes:
            return []
        if wanted.due != NEVER:
            # The latest one waits; the one before it is nobody's market any more.
            wanted.quote = quote
            return []
        if not wanted.differs(quote):
            return []
        due = wanted.passed_ts + wanted.interval_ns
        if ts < due:
            wanted.quote, wanted.due = quote, due
            self.next_deadline = min(self.next_deadline, due)
            return []
        wanted.last, wanted.passed_ts = quote, ts
        return [quote]

    def _book(self, wanted: Wanted, book: Book) -> list[AnyEvent]:
        levels = wanted.levels
        if len(book.bids) > levels or len(book.asks) > levels:
            book = Book(book.ts_event, book.ts_init, book.instrument_id, book.bids[:levels], book.asks[:levels])
        if wanted.due != NEVER:
            wanted.book = book
            return []
        return [book]

    def _release(self, ts: int, wanted: Wanted) -> list[AnyEvent]:
        quote, book = wanted.quote, wanted.book
        wanted.quote = wanted.book = None
        wanted.due = NEVER
        if quote is None or not wanted.differs(quote):
            return [] if book is None else [book]
        wanted.last, wanted.passed_ts = quote, ts
        return [quote] if book is None else [quote, book]
