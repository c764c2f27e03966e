"""Market data of one connection: books joined or subscribed again, prints, the state of platform and instruments. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import UNSET

from adapters.deribit import requests
from adapters.deribit.book import DeribitBook, Sides
from adapters.deribit.credits import SUBSCRIBE_COST
from adapters.deribit.exact import exact
from adapters.deribit.instruments import VenueInstrument
from adapters.deribit.link import Link
from adapters.deribit.settings import DeribitSettings, FactKind
from adapters.deribit.wire import (
    Answer,
    Book,
    InstrumentState,
    OrderBookResult,
    PlatformState,
    PublicTrades,
    Quote,
    Refusal,
    decode_result,
)
from core.enums import AggressorSide, MarketStatus
from core.errors import VenueProtocolError
from core.events import GapDetected, StatusChanged, Trade
from core.units import NS_PER_MS, NS_PER_SECOND

# After a gap the book is subscribed to again; a book that breaks at once is not to eat the credits.
RESUBSCRIBE_NS_MIN = NS_PER_SECOND
PICTURES_MAX = 5_000  # of one book while it is compared: a thousand changes a second
CLOSED_STATES = frozenset(("settled", "closed", "deactivated", "terminated"))


class Market:
    def __init__(self, link: Link, instruments: Mapping[str, VenueInstrument], settings: DeribitSettings) -> None:
        self._link = link
        self._instruments = instruments
        self._settings = settings
        self.books: dict[str, DeribitBook] = {}
        self._best: dict[str, tuple[int, int, int, int]] = {}
        self._trade_seq: dict[str, int] = {}
        self._resubscribe_ts: dict[str, int] = {}
        self._under_way: set[str] = set()  # books for which a subscription is being renewed: what comes is of the old one
        self._status: dict[str, MarketStatus] = {}
        self._seen_elsewhere: dict[str, tuple[int, int, Sides]] = {}  # (change id that a query knows, its due time, its levels)
        self._missing: dict[str, int] = {}  # books without a picture, and when there must be one
        self._pictures: dict[str, dict[int, Sides]] = {}  # by change id, of books that are being compared
        self.gaps = 0

    def compare(self, ts: int) -> None:
        """Ask for each book which change it is at, and what it looks like then.

        A stream that has died shows no gap, and neither does one that leaves changes out under numbers that go on.
        """
        for name in self._instruments:
            book = self.books.get(name)
            if book is None or book.change_id is None:
                # Its snapshot should have come long ago.
                self._missing.setdefault(name, ts + self._settings.stream_late_ms_max * NS_PER_MS)
            elif name not in self._pictures:
                self._pictures[name] = {book.change_id: book.sides(requests.BOOK_DEPTH)}
                self._link.ask(ts, self._ask_book(name), self._compared, self._not_compared, self._not_compared)

    def _ask_book(self, name: str) -> Callable[[int], bytes]:
        return lambda request_id: requests.get_order_book(request_id, name)

    def _compared(self, ts: int, answer: Answer) -> None:
        try:
            found = decode_result(OrderBookResult, answer.result)
            book = self.books.get(found.instrument_name)
            if book is None:
                raise VenueProtocolError(f"nobody asked for the book of {found.instrument_name}")
            sides = book.read_sides(found.bids, found.asks)
        except VenueProtocolError as error:
            self._link.fact(FactKind.PROTOCOL, str(error))
            self._pictures.clear()
            return
        late_ns = self._settings.stream_late_ms_max * NS_PER_MS
        self._seen_elsewhere.setdefault(found.instrument_name, (found.change_id, ts + late_ns, sides))

    def _not_compared(self, _ts: int, _why: Refusal | str) -> None:
        # Which one it was does not matter: the next comparison is never far.
        self._pictures = {name: kept for name, kept in self._pictures.items() if name in self._seen_elsewhere}

    def dead_book(self, ts: int) -> str:
        """A book that never came, or whose stream is behind what a query knew long enough ago; "": there is none.

        One that is not behind and looked otherwise at that change is broken, and begun again.
        """
        for name, due_ts in list(self._missing.items()):
            if due_ts <= ts:
                del self._missing[name]
                book = self.books.get(name)
                is_renewed = name in self._resubscribe_ts or name in self._under_way
                if (book is None or book.change_id is None) and not is_renewed:
                    return name
        for name, (change_id, due_ts, sides) in list(self._seen_elsewhere.items()):
            if due_ts > ts:
                continue
            del self._seen_elsewhere[name]
            kept = self._pictures.pop(name, {})
            book = self.books.get(name)
            if book is None or book.change_id is None:
                continue
            if book.change_id < change_id:
                return name
            if kept.get(change_id, sides) != sides:
                self._link.fact(FactKind.STREAM, f"the book of {name} was not what a query shows at change {change_id}")
                self._broken(ts, name)
        return ""

    def receive(self, ts: int, message: Book | Quote | PublicTrades | PlatformState | InstrumentState) -> None:
        """Raises nothing: what cannot be read is a gap in that instrument."""
        match message:
            case Book():
                self._book(ts, message)
            case PublicTrades():
                self._trades(ts, message)
            case PlatformState():
                self._platform(ts, message)
            case InstrumentState():
                if message.instrument_name in self._instruments:
                    is_closed = message.state in CLOSED_STATES
                    status = MarketStatus.CLOSED if is_closed else MarketStatus.TRADING
                    self._say_status(ts, message.timestamp * NS_PER_MS, message.instrument_name, status)
            case Quote():
                pass  # the book says the same, joined; nobody subscribes

    def spoiled(self, ts: int, channel: str) -> bool:
        """A notification of `channel` could not be read. False: it is none of the market's."""
        kind, _, rest = channel.partition(".")
        name = rest.rpartition(".")[0]
        if kind not in ("book", "trades", "quote") or name not in self._instruments:
            return kind in ("ticker", "platform_state")
        if kind == "book":
            self._broken(ts, name)
        return True

    def disconnected(self, ts: int) -> None:
        for name in self.books:
            self._gap(ts, name)
        self._resubscribe_ts.clear()
        self._under_way.clear()
        self._trade_seq.clear()
        self._seen_elsewhere.clear()
        self._pictures.clear()
        self._missing.clear()

    def next_ts(self) -> int | None:
        late = [due_ts for _, due_ts, _ in self._seen_elsewhere.values()]
        return min([*self._resubscribe_ts.values(), *self._missing.values(), *late], default=None)

    def tick(self, ts: int) -> None:
        for name, due_ts in list(self._resubscribe_ts.items()):
            if due_ts <= ts and self._link.is_up:
                del self._resubscribe_ts[name]
                self._resubscribe(ts, name)

    # Books.

    def _book(self, ts: int, message: Book) -> None:
        name = message.instrument_name
        venue = self._instruments.get(name)
        if venue is None or name in self._under_way:
            return
        book = self.books.get(name)
        if book is None:
            book = self.books[name] = DeribitBook(venue)
        if book.change_id is None and message.type == "change" and name in self._resubscribe_ts:
            return  # of a book that is known to be broken
        try:
            book.receive(message)
        except VenueProtocolError as error:
            self._link.fact(FactKind.PROTOCOL, str(error))
            self._broken(ts, name)
            return
        kept = self._pictures.get(name)
        if kept is not None and len(kept) < PICTURES_MAX:
            kept[message.change_id] = book.sides(requests.BOOK_DEPTH)
        best = book.best()
        if best != self._best.get(name):
            self._best[name] = best
            self._link.output.events.append(book.quote(ts))
        if self._settings.book_levels:
            self._link.output.events.append(book.levels(ts, self._settings.book_levels))

    def _broken(self, ts: int, name: str) -> None:
        self._gap(ts, name)
        if name not in self._resubscribe_ts and name not in self._under_way:
            self._resubscribe_ts[name] = ts + RESUBSCRIBE_NS_MIN

    def _gap(self, ts: int, name: str) -> None:
        book = self.books.get(name)
        if book is not None:
            book.clear()
        self._best.pop(name, None)
        self.gaps += 1
        self._link.output.events.append(GapDetected(ts, ts, self._instruments[name].instrument.instrument_id))

    def _resubscribe(self, ts: int, name: str) -> None:
        """Unsubscribe, then subscribe: a subscription that exists gives no new snapshot."""
        channel = f"book.{name}.{self._settings.book_interval}"
        is_public = self._settings.is_watch
        self._under_way.add(name)

        def subscribed(_now: int, _answer: Answer) -> None:
            return

        def unsubscribed(now: int, _answer: Answer) -> None:
            # From here on the next book message is the new subscription's.
            self._under_way.discard(name)
            self._link.ask(
                now,
                lambda request_id: requests.subscribe(request_id, [channel], is_public=is_public),
                subscribed,
                again,
                again,
                cost=SUBSCRIBE_COST,
            )

        def again(now: int, _why: Refusal | str) -> None:
            self._under_way.discard(name)
            self._resubscribe_ts[name] = now + RESUBSCRIBE_NS_MIN

        self._link.ask(
            ts,
            lambda request_id: requests.unsubscribe(request_id, [channel], is_public=is_public),
            unsubscribed,
            again,
            again,
            cost=SUBSCRIBE_COST,
        )

    # Prints and states.

    def _trades(self, ts: int, message: PublicTrades) -> None:
        for trade in message.trades:
            venue = self._instruments.get(trade.instrument_name)
            if venue is None or trade.trade_seq <= self._trade_seq.get(trade.instrument_name, -1):
                continue  # seen before
            instrument = venue.instrument
            try:
                price, qty = exact(trade.price, instrument.price_scale), exact(trade.amount, instrument.qty_scale)
                if qty <= 0 or price < instrument.price_min:
                    raise VenueProtocolError(f"trade {trade.trade_id}: price {price}, amount {qty}")
            except VenueProtocolError as error:
                self._link.fact(FactKind.PROTOCOL, str(error))
                continue
            self._trade_seq[trade.instrument_name] = trade.trade_seq
            side = AggressorSide.BUY if trade.direction == "buy" else AggressorSide.SELL
            self._link.output.events.append(
                Trade(trade.timestamp * NS_PER_MS, ts, instrument.instrument_id, price, qty, side, trade.trade_seq)
            )

    def _platform(self, ts: int, message: PlatformState) -> None:
        self._link.fact(FactKind.PLATFORM, f"{message}")
        is_stopped = message.maintenance is True or message.locked is True
        if message.maintenance is UNSET and message.locked is UNSET:
            return
        for name, venue in self._instruments.items():
            if message.price_index in (UNSET, venue.price_index):
                self._say_status(ts, ts, name, MarketStatus.HALTED if is_stopped else MarketStatus.TRADING)

    def _say_status(self, ts: int, ts_event: int, name: str, status: MarketStatus) -> None:
        if self._status.get(name, MarketStatus.TRADING) is not status:
            self._status[name] = status
            self._link.output.events.append(StatusChanged(ts_event, ts, self._instruments[name].instrument.instrument_id, status))
