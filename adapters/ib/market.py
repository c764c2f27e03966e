"""Market data of one connection: lines, ticks and depth as quotes, prints and books. Pure.

A side without a price or size (-1, 0, unset) is empty. What is no price of its instrument is left out, and told once.
"""

from __future__ import annotations

from collections.abc import Iterable

from adapters.ib.contracts import Listed
from adapters.ib.messages import (
    BidAsk,
    DataType,
    Depth,
    GenericTick,
    Last,
    MarketMessage,
    PriceTick,
    SizeTick,
    TextTick,
)
from adapters.ib.numbers import price_on_tick, qty_of
from adapters.ib.settings import IbSettings
from adapters.ib.wire import Wire
from adapters.sim.market import MarketFilter
from core.enums import AggressorSide, MarketStatus
from core.errors import UnitError
from core.events import AnyEvent, Book, GapDetected, Quote, StatusChanged, Trade
from core.strategy import Subscription
from core.units import NS_PER_MS, NS_PER_SECOND

# Requests and orders share the numbers of error messages: requests have those from here on, orders those below.
REQUEST_FIRST = 1_500_000_000
MARKET_FIRST = REQUEST_FIRST + 100_000_000
BOOK_ROWS_MAX = 60
# A book that breaks again and again is not to eat the message budget: it ends until the next connection.
REBUILDS_MAX = 20
RT_VOLUME = "233"
TICKS_BID, TICKS_ASK, TICKS_BID_SIZE, TICKS_ASK_SIZE = (1, 66), (2, 67), (0, 69), (3, 70)
DELAYED = frozenset((66, 67, 69, 70))
HALTED_TICK, RT_VOLUME_TICK = 49, 48
LIVE, FROZEN = 1, 2
Level = tuple[int, int]


class View:
    """One instrument as it was last seen."""

    __slots__ = (
        "asks",
        "bids",
        "has_ticks",
        "is_dirty",
        "is_dirty_book",
        "listed",
        "quote",
        "rows",
        "status",
        "told",
        "ts_quote",
        "wants_trades",
    )

    def __init__(self, listed: Listed, rows: int, wants_trades: bool) -> None:
        self.listed = listed
        self.rows = rows
        self.wants_trades = wants_trades
        self.has_ticks = False  # whether every change comes, and lines count no more
        self.status = MarketStatus.TRADING
        self.forget()

    def forget(self) -> None:
        self.quote = [0, 0, 0, 0]  # bid price and size, ask price and size
        self.told: list[int] = []
        self.ts_quote = 0
        self.bids: list[Level] = []
        self.asks: list[Level] = []
        self.is_dirty = self.is_dirty_book = False


class Market:
    def __init__(self, settings: IbSettings, listed: Iterable[Listed], subscriptions: Iterable[Subscription]) -> None:
        self._settings = settings
        wanted = list(subscriptions)
        self.filter = MarketFilter(wanted)
        by_id = {each.instrument.instrument_id: each for each in listed}
        self._views: dict[str, View] = {}
        self._quoted: set[str] = set()
        for each in wanted:
            if each.instrument_id not in by_id:
                continue
            view = self._views.get(each.instrument_id)
            if view is None:
                view = self._views[each.instrument_id] = View(by_id[each.instrument_id], 0, False)
            view.rows = max(view.rows, each.book_levels)
            view.wants_trades = view.wants_trades or each.trades or bool(each.bars_ns)
            if each.quotes != "off" or each.book_levels:
                self._quoted.add(each.instrument_id)
        self._requests: dict[int, tuple[str, View]] = {}
        self._next = MARKET_FIRST
        self._events: list[AnyEvent] = []
        self._told: set[str] = set()
        self.rebuilt = 0  # books, on this connection
        self.troubles: list[str] = []

    # Requests.

    def subscribe(self, wire: Wire) -> list[bytes]:
        """The requests of a connection on which nothing was asked for yet, or of one whose requests were forgotten."""
        self._requests.clear()
        self.rebuilt = 0
        frames = [wire.market_data_type(self._settings.market_data_type)] if self._views else []
        for key, view in self._views.items():
            view.forget()
            view.has_ticks = False
            contract = view.listed.contract
            ticks = RT_VOLUME if view.wants_trades and not self._settings.tick_by_tick else ""
            # The line tells halts, and quotes until there are ticks.
            frames.append(wire.market_data(self._number("line", view), contract, ticks))
            if self._settings.tick_by_tick:
                if key in self._quoted:
                    frames.append(wire.tick_by_tick(self._number("quotes", view), contract, "BidAsk"))
                if view.wants_trades:
                    frames.append(wire.tick_by_tick(self._number("trades", view), contract, "Last"))
            if view.rows:
                frames.append(self._ask_depth(wire, view))
        return frames

    def _ask_depth(self, wire: Wire, view: View) -> bytes:
        return wire.depth(self._number("depth", view), view.listed.contract, view.rows, self._is_smart(view))

    def _is_smart(self, view: View) -> bool:
        return self._settings.smart_depth and view.listed.contract.exchange == "SMART"

    def _number(self, kind: str, view: View) -> int:
        self._next += 1
        self._requests[self._next] = (kind, view)
        return self._next

    # What comes.

    def receive(self, ts: int, message: MarketMessage, wire: Wire) -> list[bytes]:
        """The requests that follow from it: none, but where a book has to be built again."""
        known = self._requests.get(message.request)
        if known is None:
            return []  # of a request that was given up
        kind, view = known
        try:
            self._take(ts, view, message)
        except UnitError as error:
            key = view.listed.instrument.instrument_id
            self._tell(f"{key}: left out: {error}", f"{kind} {key}")
            if kind == "depth":
                return self._rebuild(ts, message.request, view, wire)
        return []

    def _rebuild(self, ts: int, request: int, view: View, wire: Wire) -> list[bytes]:
        """Rows that are not known move all those below them: the book begins again."""
        del self._requests[request]
        view.bids, view.asks = [], []
        self._events.append(GapDetected(ts, ts, view.listed.instrument.instrument_id))
        self.rebuilt += 1
        if self.rebuilt > REBUILDS_MAX:
            return [wire.cancel_depth(request, self._is_smart(view))]
        return [wire.cancel_depth(request, self._is_smart(view)), self._ask_depth(wire, view)]

    def _take(self, ts: int, view: View, message: MarketMessage) -> None:
        match message:
            case BidAsk():
                view.has_ticks = True
                bid = self._side(view, message.bid_price, message.bid_size)
                ask = self._side(view, message.ask_price, message.ask_size)
                view.quote[:] = [*bid, *ask]
                view.is_dirty = False
                view.ts_quote = _stamp(ts, message.seconds)
                self._quote(ts, view)
            case Depth():
                self._depth(view, message)
            case PriceTick() | SizeTick():
                self._line(ts, view, message)
            case Last():
                if not message.is_unreported:
                    self._trade(ts, view, message.price, message.size, _stamp(ts, message.seconds))
            case TextTick(tick_type=48, text=text):
                price, size, millis, *_ = [*text.split(";"), "", "", ""]
                stamp = min(ts, int(millis) * NS_PER_MS) if millis.isdigit() and len(millis) < 16 else ts
                self._trade(ts, view, price or None, size or None, stamp)
            case GenericTick(tick_type=49, value=value):
                self._halted(ts, view, value)
            case DataType(kind=kind):
                if kind != self._settings.market_data_type:
                    self._tell(
                        f"{view.listed.instrument.instrument_id}: the venue sends data of kind {kind}",
                        f"kind {view.listed.con_id}",
                    )
            case _:
                pass

    @staticmethod
    def _side(view: View, price: str | None, size: str | None) -> Level:
        instrument = view.listed.instrument
        if price is None or size is None or size in ("0", "-1") or (price == "-1" and instrument.price_min > 0):
            return 0, 0
        value, qty = price_on_tick(instrument, price), qty_of(instrument, size)
        if qty <= 0 or not instrument.price_min <= value <= instrument.price_max:
            raise UnitError(f"{size} at {price} cannot be")
        return value, qty

    def _line(self, ts: int, view: View, message: PriceTick | SizeTick) -> None:
        kind = message.tick_type
        if view.has_ticks or (kind in DELAYED) != (self._settings.market_data_type not in (LIVE, FROZEN)):
            return
        quote = view.quote
        if isinstance(message, PriceTick):
            if kind in TICKS_BID:
                quote[0:2] = self._side(view, message.price, message.size)
            elif kind in TICKS_ASK:
                quote[2:4] = self._side(view, message.price, message.size)
            else:
                return
        elif kind in TICKS_BID_SIZE or kind in TICKS_ASK_SIZE:
            size = qty_of(view.listed.instrument, message.size or "0")
            if size < 0:
                raise UnitError(f"a size of {message.size} cannot be")
            index = 1 if kind in TICKS_BID_SIZE else 3
            if quote[index - 1]:
                quote[index] = size
        else:
            return
        view.ts_quote = ts
        view.is_dirty = True

    def _trade(self, ts: int, view: View, price: str | None, size: str | None, stamp: int) -> None:
        instrument = view.listed.instrument
        if price is None or size is None or size == "0" or not view.wants_trades:
            return
        value, qty = price_on_tick(instrument, price), qty_of(instrument, size)
        if qty <= 0 or not instrument.price_min <= value <= instrument.price_max:
            raise UnitError(f"a print of {size} at {price} cannot be")
        self._pass(ts, Trade(stamp, ts, instrument.instrument_id, value, qty, AggressorSide.NONE))

    def _halted(self, ts: int, view: View, value: str | None) -> None:
        if value not in ("0", "1", "2"):
            return  # -1: not known
        status = MarketStatus.TRADING if value == "0" else MarketStatus.HALTED
        if status is not view.status:
            view.status = status
            self._events.append(StatusChanged(ts, ts, view.listed.instrument.instrument_id, status))

    def _depth(self, view: View, message: Depth) -> None:
        rows = view.bids if message.side == 1 else view.asks
        at = message.position
        if message.operation == 2:
            if not 0 <= at < len(rows):
                raise UnitError(f"depth: row {at} of {len(rows)} cannot be deleted")
            del rows[at]
        else:
            level = self._side(view, message.price, message.size)
            if message.operation not in (0, 1) or not 0 <= at <= len(rows) or at >= BOOK_ROWS_MAX:
                raise UnitError(f"depth: operation {message.operation} on row {at} of {len(rows)}")
            if message.operation == 0 or at == len(rows):
                rows.insert(at, level)
                del rows[BOOK_ROWS_MAX:]
            else:
                rows[at] = level
        view.is_dirty_book = True

    def flush(self, ts: int) -> list[AnyEvent]:
        """What the messages of one read came to."""
        for view in self._views.values():
            if view.is_dirty:
                view.is_dirty = False
                self._quote(ts, view)
            if view.is_dirty_book:
                view.is_dirty_book = False
                self._book(ts, view)
        events, self._events = self._events, []
        return events + self.filter.due(ts)

    def _quote(self, ts: int, view: View) -> None:
        bid_price, bid_qty, ask_price, ask_qty = view.quote
        if view.told == view.quote:
            return
        view.told = list(view.quote)
        key = view.listed.instrument.instrument_id
        self._pass(ts, Quote(view.ts_quote or ts, ts, key, bid_price, bid_qty, ask_price, ask_qty))

    def _book(self, ts: int, view: View) -> None:
        bids, asks = _levels(view.bids, view.rows, -1), _levels(view.asks, view.rows, 1)
        # Between two messages rows may stand in no order: the next one puts that right.
        if bids is not None and asks is not None:
            self._pass(ts, Book(ts, ts, view.listed.instrument.instrument_id, bids, asks))

    def _pass(self, ts: int, event: Quote | Book | Trade) -> None:
        self._events += self.filter.receive(ts, event)

    # What goes wrong.

    def error(self, ts: int, number: int, code: int, text: str, wire: Wire) -> list[bytes]:
        """Of a request made here; the requests that follow from it."""
        known = self._requests.get(number)
        if known is None:
            return []
        kind, view = known
        key = view.listed.instrument.instrument_id
        if code in (316, 317):  # depth was halted, or is to be built again from nothing
            view.bids, view.asks = [], []
            self._events.append(GapDetected(ts, ts, key))
            if code == 316:
                del self._requests[number]
                return [self._ask_depth(wire, view)]
            return []
        if kind == "quotes":
            view.has_ticks = False
        self._tell(f"{key}: {kind}: {code} {' '.join(text.split())[:160]}", f"{kind} {code} {key}")
        return []

    def lost(self, ts: int, *, is_kept: bool = False) -> list[AnyEvent]:
        """Nothing of the market is known; `is_kept`: the requests go on, and books with them."""
        self.filter.forget()
        for view in self._views.values():
            if not is_kept:
                view.forget()
        return [GapDetected(ts, ts, key) for key in self._views]

    def _tell(self, trouble: str, subject: str) -> None:
        if subject not in self._told:
            self._told.add(subject)
            self.troubles.append(trouble)


def _stamp(ts: int, seconds: int) -> int:
    """The protocol's stamps are whole seconds: the latest moment that one may mean, and not after it came."""
    return min(ts, seconds * NS_PER_SECOND + NS_PER_SECOND - 1) if 0 < seconds < 10**10 else ts


def _levels(rows: list[Level], count: int, direction: int) -> tuple[Level, ...] | None:
    """Best first, rows of one price as one; None where they are in no order."""
    levels: list[Level] = []
    for price, qty in rows:
        if not qty:
            continue
        if levels and levels[-1][0] == price:
            levels[-1] = (price, levels[-1][1] + qty)
        elif levels and (price - levels[-1][0]) * direction < 0:
            return None
        else:
            levels.append((price, qty))
    return tuple(levels[:count])
