"""Frames of Binance market streams as the events that were subscribed to: one book session for each symbol. Pure.

A book that cannot be right (crossed, or another best price than bookTicker has at the same update) is thrown away like one with a
gap: GapDetected, and a snapshot is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.binance.book_sync import BinanceBookSession, SyncState
from adapters.binance.wire import LEVELS_MAX, Skipped, Snapshot, decode_raw
from adapters.sim.market import NEVER, MarketFilter
from core.enums import AGGRESSOR_SIDES
from core.errors import RefusedError, UnitError, VenueProtocolError
from core.events import AnyEvent, Book, GapDetected, Quote, Trade
from core.feed import ROW_BBO, ROW_BUY, ROW_CLEAR, ROW_FLAG_SNAPSHOT, ROW_GAP, ROW_NO_SIDE, ROW_TRADE, UNSTAMPED, Row
from core.instruments import Instrument
from core.strategy import Subscription
from native.levels import make_level_book

SHUTDOWN = "event serverShutdown"


ROWS_APPLIED = 100  # a row of our own: levels went into the book, and none is told one by one


class LiveBookSession(BinanceBookSession):
    """The session whose levels go into a book as the text that they came as, instead of out as rows.

    Where one of several waiting updates cannot be read, the book is left as it is and no snapshot was taken: it is unknown still.
    """

    def __init__(self, instrument: Instrument, symbol: str) -> None:
        super().__init__(instrument, symbol)
        self.book = make_level_book(
            price_scale=instrument.price_scale,
            qty_scale=instrument.qty_scale,
            tick=instrument.tick,
            message_max=2 * LEVELS_MAX,
        )

    def _levels(self, ts_event: int, ts: int, bids: Any, asks: Any, flags: int) -> list[Row]:
        if flags & ROW_FLAG_SNAPSHOT:
            self.book.clear()
        self.book.update(bids, asks)
        return [(ts_event, ts, 0, 0, 0, 0, ROWS_APPLIED, ROW_NO_SIDE, flags)]

    def _end_packet(self, rows: list[Row], update_id: int) -> None:
        # Nobody here asks where a packet ends: only a ticker that is ahead has something to add.
        if self._best.update_id > update_id:
            super()._end_packet(rows, update_id)


class Listing:
    """What is known of one symbol's market."""

    def __init__(self, symbol: str, instrument: Instrument, levels: int) -> None:
        self.symbol = symbol
        self.instrument_id = instrument.instrument_id
        self.session = LiveBookSession(instrument, symbol)
        self.book = self.session.book
        self.levels = levels
        self._bid = (0, 0)

    def events(self, ts: int, rows: Sequence[Row]) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        stamp, has_levels = ts, False
        for ts_event, _, price, qty, number, _, kind, side, _ in rows:
            if kind == ROWS_APPLIED:
                stamp, has_levels = ts_event, True
            elif kind == ROW_BBO:
                if side == ROW_BUY:
                    self._bid = (price, qty)
                    continue
                stamp = ts if ts_event == UNSTAMPED else ts_event
                events.append(Quote(stamp, ts, self.instrument_id, *self._bid, price, qty))
            elif kind == ROW_TRADE:
                events.append(Trade(ts_event, ts, self.instrument_id, price, qty, AGGRESSOR_SIDES[side], number))
            elif kind == ROW_CLEAR:
                continue  # the levels of a snapshot have replaced what was there
            else:
                assert kind == ROW_GAP, f"a row of kind {kind}"
                self.book.clear()
                events.append(GapDetected(ts_event, ts, self.instrument_id))
        if has_levels:
            bids, asks = self.book.levels(self.levels or 1)
            if bids and asks and bids[0][0] >= asks[0][0]:
                return [*events, *self.distrust(ts)]
            if self.levels and self.session.state is not SyncState.BUFFERING:
                events.append(Book(stamp, ts, self.instrument_id, bids, asks))
        return events

    def distrust(self, ts: int) -> list[AnyEvent]:
        """The book is unknown from here on."""
        self.session.restart()
        self.book.clear()
        return [GapDetected(ts, ts, self.instrument_id)]


class MarketFeed:
    """`instruments` by the venue's symbol. `hears_all` (a recording of everything) wants each stream of each instrument."""

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        subscriptions: Sequence[Subscription],
        *,
        levels_max: int,
        hears_all: bool = False,
    ) -> None:
        # Whoever records everything, or plays it to a simulated venue, is given it as it comes.
        self._filter = None if hears_all else MarketFilter(subscriptions, levels_max)
        self._listings: dict[str, Listing] = {}
        self._wanted: dict[str, tuple[bool, bool, bool]] = {}  # depth, best prices, prints
        for symbol, instrument in instruments.items():
            mine = [each for each in subscriptions if each.instrument_id == instrument.instrument_id]
            levels = max((each.book_levels for each in mine), default=0)
            quotes = any(each.quotes != "off" or each.book_levels for each in mine)
            prints = any(each.trades or each.bars_ns for each in mine)
            self._listings[symbol] = Listing(symbol, instrument, levels_max if hears_all else levels)
            self._wanted[symbol] = (hears_all or levels > 0, hears_all or quotes, hears_all or prints)
        self.is_ending = False  # the venue has said that it will close the connection
        self.unreadable = 0
        self.why_unreadable = ""

    @property
    def symbols(self) -> list[str]:
        return list(self._listings)

    def wanted(self, symbol: str) -> tuple[bool, bool, bool]:
        """Whether depth, best prices and prints are wanted."""
        return self._wanted[symbol]

    def listing(self, symbol: str) -> Listing:
        return self._listings[symbol]

    @property
    def next_deadline(self) -> int:
        """When `due` has something to give, ns UTC."""
        return NEVER if self._filter is None else self._filter.next_deadline

    def receive(self, ts: int, payload: bytes) -> list[AnyEvent]:
        """What goes on of one frame. A frame that cannot be read is counted; what it would have said shows as a gap."""
        try:
            message = decode_raw(payload)
            if isinstance(message, Skipped):
                self.is_ending |= message.reason == SHUTDOWN
                return []
            symbol = message.symbol if isinstance(message, Snapshot) else message.s
            listing = self._listings.get(str(symbol))
            if listing is None:
                return []
            rows = listing.session.take(ts, message)
        except (VenueProtocolError, UnitError, RefusedError) as error:
            self.unreadable += 1
            self.why_unreadable = str(error)
            return []
        return self._pass(ts, listing.events(ts, rows)) if rows else []

    def snapshot(self, ts: int, symbol: str, body: bytes) -> list[AnyEvent]:
        """The answer to a question for the whole book."""
        listing = self._listings[symbol]
        try:
            rows = listing.session.take(ts, decode_raw(body))
        except (VenueProtocolError, UnitError, RefusedError) as error:
            self.unreadable += 1
            self.why_unreadable = str(error)
            return []
        return self._pass(ts, listing.events(ts, rows)) if rows else []

    def needs_snapshot(self, symbol: str) -> bool:
        return self._wanted[symbol][0] and self._listings[symbol].session.needs_snapshot

    def has_waiting_diffs(self, symbol: str) -> bool:
        """A snapshot asked for now will have something to join."""
        return self._listings[symbol].session.has_waiting_diffs

    def lost(self, ts: int, symbols: Sequence[str]) -> list[AnyEvent]:
        """The connection that brought these is gone."""
        self.is_ending = False
        events: list[AnyEvent] = []
        for symbol in symbols:
            events += self._listings[symbol].distrust(ts)
        return self._pass(ts, events)

    def due(self, ts: int) -> list[AnyEvent]:
        """The latest quotes and books that had to wait and whose time has come."""
        return [] if self._filter is None else self._filter.due(ts)

    def _pass(self, ts: int, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        if self._filter is None:
            return list(events)
        passed: list[AnyEvent] = []
        for event in events:
            if isinstance(event, GapDetected):
                self._filter.forget(event.instrument_id)
            passed += self._filter.receive(ts, event)
        return passed


def plan_streams(
    feed: MarketFeed, bases: tuple[str, str], speed: str, trade_events: str, streams_max: int
) -> list[tuple[str, list[str], list[str]]]:
    """Connections to open: where, for which symbols, and the names of their streams; `bases` are of books and of prints."""
    by_base: dict[str, list[tuple[str, list[str]]]] = {}
    for symbol in feed.symbols:
        for base, names in zip(bases, _stream_names(symbol, feed.wanted(symbol), speed, trade_events), strict=True):
            if names:
                by_base.setdefault(base, []).append((symbol, names))
    plan = []
    for base, wanted in by_base.items():
        symbols: list[str] = []
        streams: list[str] = []
        for symbol, names in wanted:
            if streams and len(streams) + len(names) > streams_max:
                plan.append((base, symbols, streams))
                symbols, streams = [], []
            symbols += [] if symbol in symbols else [symbol]
            streams += names
        plan.append((base, symbols, streams))
    return plan


def _stream_names(symbol: str, wanted: tuple[bool, bool, bool], speed: str, trade_events: str) -> tuple[list[str], list[str]]:
    depth, best, prints = wanted
    low = symbol.lower()
    # Without a suffix spot sends once a second, futures every 250 ms.
    suffix = "" if speed in ("1000ms", "250ms") else f"@{speed}"
    books = ([f"{low}@depth{suffix}"] if depth else []) + ([f"{low}@bookTicker"] if best else [])
    return books, [f"{low}@{trade_events}"] if prints else []
