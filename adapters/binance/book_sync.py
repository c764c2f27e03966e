"""One Binance symbol's frames as rows: snapshot and diffs joined by the venue's exact sequence rules, prints, best prices.

Rules (developers.binance.com, "How to manage a local order book correctly"). Buffer the diffs; take a snapshot with id L.
  spot     drop u <= L; the first diff needs U <= L + 1 <= u; then U <= book id + 1.
  futures  drop u < L;  the first diff needs U <= L <= u (or pu == L); then pu == u of the diff before.
A snapshot older than the buffer is refused and another one is needed. A broken chain is a GAP row; the book is not to be
trusted until the CLEAR row of the next snapshot. The same object serves a recording and a live feed: io asks `needs_snapshot`.

bookTicker runs beside the diffs and is often ahead of them. Both streams number their updates alike, so the newer one is
known: a ticker behind the book is dropped, and a packet of levels behind the ticker ends with the ticker's BBO rows again.
Without that an old diff would put levels back that are gone, and the book made of both would cross.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, assert_never

from msgspec import UNSET, UnsetType

from adapters.binance.wire import AggregateTrade, BookTicker, DepthUpdate, Message, Skipped, Snapshot, Trade, decode
from core.errors import UnitError, VenueProtocolError
from core.feed import (
    ROW_BBO,
    ROW_BUY,
    ROW_CLEAR,
    ROW_FLAG_LAST,
    ROW_FLAG_SNAPSHOT,
    ROW_GAP,
    ROW_LEVEL,
    ROW_NO_SIDE,
    ROW_SELL,
    ROW_TRADE,
    UNSTAMPED,
    Row,
)
from core.instruments import Instrument
from core.units import NS_PER_MS, NS_PER_US, parse_fixed

# A snapshot takes a second or two; at 0 ms pace this is minutes of diffs. Beyond it the oldest are given up.
BUFFERED_DIFFS_MAX = 50_000
PARSED_TEXTS_MAX = 1 << 16
RECENT_TRADES_MAX = 1000  # a print may be told twice, as where two connections overlap
# One diff from the past is a repeat. So many without a new one between them: the venue's numbers started over.
STALE_DIFFS_MAX = 100


class SyncState(IntEnum):
    BUFFERING = 0  # no book: diffs wait for a snapshot
    JOINING = 1  # a snapshot was applied; the next diff must join it
    LIVE = 2


class _Best(NamedTuple):
    """What the newest bookTicker said."""

    update_id: int
    bid: int
    bid_qty: int
    ask: int
    ask_qty: int


_NO_BEST = _Best(0, 0, 0, 0, 0)


class BinanceBookSession:
    """Frames of one symbol in arrival order in, rows out. Whether spot or futures rules hold shows in the diffs' `pu`.

    `start_from_diffs` begins with an empty book at the first diff, for recordings without a snapshot: levels that never
    change stay unknown, so it must be asked for. `use_book_ticker` False leaves BBO rows out. Counters say what became of
    every frame.
    """

    def __init__(
        self,
        instrument: Instrument,
        symbol: str,
        *,
        index: int = 0,
        start_from_diffs: bool = False,
        use_book_ticker: bool = True,
    ) -> None:
        self.symbol = symbol.upper()
        self.state = SyncState.BUFFERING
        self.last_update_id = 0
        self.gaps = 0
        self.frames: Counter[str] = Counter()  # frames used, by kind
        self.skipped: Counter[str] = Counter()  # frames not used, by reason
        self._index = index
        self._start_from_diffs = start_from_diffs
        self._use_book_ticker = use_book_ticker
        self._best = _NO_BEST
        self._stale_diffs = 0  # in a row
        self._buffer: deque[DepthUpdate[Any]] = deque(maxlen=BUFFERED_DIFFS_MAX)
        self._trade_event = ""
        self._recent_trades: OrderedDict[int, None] = OrderedDict()
        self._price = fixed_parser(instrument.price_scale, instrument.tick)
        self._level_price = fixed_parser(instrument.price_scale, instrument.tick, least=1)
        self._qty = fixed_parser(instrument.qty_scale, 1)

    @property
    def needs_snapshot(self) -> bool:
        """True while diffs wait: fetch REST /depth and give its body to `receive`."""
        return self.state is SyncState.BUFFERING and not self._start_from_diffs

    @property
    def has_waiting_diffs(self) -> bool:
        """Whether a snapshot taken now would have diffs to join."""
        return bool(self._buffer)

    def receive(self, ts: int, payload: bytes) -> list[Row]:
        """Rows that this frame made known, stamped ts_init = `ts`; see core.feed.FrameDecoder for the errors."""
        return self.take(ts, decode(payload))

    def take(self, ts: int, message: Message[Any]) -> list[Row]:
        """As `receive`, of a frame that was decoded."""
        match message:
            case DepthUpdate():
                return self._depth_update(ts, message) if self._is_ours(message.s) else []
            case BookTicker():
                return self._book_ticker(ts, message) if self._is_ours(message.s) else []
            case Trade():
                return self._trade(ts, message) if self._is_ours(message.s) else []
            case AggregateTrade():
                return self._aggregate_trade(ts, message) if self._is_ours(message.s) else []
            case Snapshot():
                return self._snapshot(ts, message) if self._is_ours(message.symbol) else []
            case Skipped():
                self.skipped[message.reason] += 1
                return []
        assert_never(message)

    def _is_ours(self, symbol: str | UnsetType) -> bool:
        # Spot snapshots name no symbol: whoever feeds them in vouches for it.
        if symbol is UNSET or symbol == self.symbol:
            return True
        self.skipped["other symbol"] += 1
        return False

    def restart(self) -> None:
        """The connection was lost, or the book cannot be right: what is known is forgotten, and a snapshot is needed."""
        self.state = SyncState.BUFFERING
        self._stale_diffs = 0
        self._buffer.clear()
        self._best = _NO_BEST

    # Depth.

    def _depth_update(self, ts: int, diff: DepthUpdate[Any]) -> list[Row]:
        if diff.u < diff.U:
            raise VenueProtocolError(f"depth update from U {diff.U} to u {diff.u} runs backwards")
        match self.state:
            case SyncState.LIVE:
                return self._apply_or_gap(ts, diff, self._follows(diff, self.last_update_id))
            case SyncState.JOINING:
                if _is_before(diff, self.last_update_id):
                    self.skipped["depth update before the snapshot"] += 1
                    return []
                return self._apply_or_gap(ts, diff, _joins(diff, self.last_update_id))
            case SyncState.BUFFERING:
                if self._start_from_diffs:
                    return self._start_at(ts, diff)
                self._hold(diff)
                return []
        assert_never(self.state)

    def _apply_or_gap(self, ts: int, diff: DepthUpdate[Any], chained: bool) -> list[Row]:
        if chained:
            return self._apply(ts, diff)
        if diff.u <= self.last_update_id and self._stale_diffs < STALE_DIFFS_MAX:
            self._stale_diffs += 1
            self.skipped["depth update seen before"] += 1
            return []
        gap = self._marker(ts, diff, ROW_GAP, ROW_FLAG_LAST)
        rows = self._start_at(ts, diff) if self._start_from_diffs else []
        self.gaps += 1
        self._stale_diffs = 0
        if not self._start_from_diffs:
            self.state = SyncState.BUFFERING
            self._hold(diff)
        # Whatever broke the chain may have restarted its numbers: an id from before must not outrank those after.
        self._best = _NO_BEST
        return [gap, *rows]

    def _start_at(self, ts: int, diff: DepthUpdate[Any]) -> list[Row]:
        """An empty book that begins with this diff: only what changes from here on becomes known."""
        return [self._marker(ts, diff, ROW_CLEAR, ROW_FLAG_SNAPSHOT), *self._apply(ts, diff)]

    def _hold(self, diff: DepthUpdate[Any]) -> None:
        if self._buffer and not self._follows(diff, self._buffer[-1].u):
            if diff.u <= self._buffer[-1].u:
                self.skipped["depth update seen before"] += 1
                return
            # No snapshot from before this hole can be carried across it.
            self.skipped["depth update before a gap in the buffer"] += len(self._buffer)
            self._buffer.clear()
        elif len(self._buffer) == BUFFERED_DIFFS_MAX:
            self.skipped["depth update beyond the buffer"] += 1
        self._buffer.append(diff)

    @staticmethod
    def _follows(diff: DepthUpdate[Any], last: int) -> bool:
        if diff.pu is UNSET:
            return last + 1 >= diff.U and diff.u > last
        return diff.pu == last

    def _snapshot(self, ts: int, snapshot: Snapshot[Any]) -> list[Row]:
        if self.state is not SyncState.BUFFERING:
            self.skipped["snapshot not needed"] += 1
            return []
        waiting = [diff for diff in self._buffer if not _is_before(diff, snapshot.last_update_id)]
        if waiting and not _joins(waiting[0], snapshot.last_update_id):
            self.skipped["snapshot older than the buffer"] += 1
            return []
        ts_event = _stamp(snapshot.T)
        rows = self._levels(ts_event, ts, snapshot.bids, snapshot.asks, ROW_FLAG_SNAPSHOT)
        rows.insert(0, (ts_event, ts, 0, 0, 0, self._index, ROW_CLEAR, ROW_NO_SIDE, ROW_FLAG_SNAPSHOT))
        self._end_packet(rows, snapshot.last_update_id)
        # Converting the waiting diffs may fail too: only when all of it is known to be good does anything change.
        for diff in waiting:
            rows += self._diff_rows(ts, diff)
        self.frames["snapshot"] += 1
        self.frames["depth update"] += len(waiting)
        if len(waiting) < len(self._buffer):
            self.skipped["depth update before the snapshot"] += len(self._buffer) - len(waiting)
        self._buffer.clear()
        self.state = SyncState.LIVE if waiting else SyncState.JOINING
        self.last_update_id = waiting[-1].u if waiting else snapshot.last_update_id
        return rows

    def _apply(self, ts: int, diff: DepthUpdate[Any]) -> list[Row]:
        rows = self._diff_rows(ts, diff)
        self.state = SyncState.LIVE
        self.last_update_id = diff.u
        self._stale_diffs = 0
        self.frames["depth update"] += 1
        return rows

    def _diff_rows(self, ts: int, diff: DepthUpdate[Any]) -> list[Row]:
        rows = self._levels(_depth_stamp(diff), ts, diff.b, diff.a, 0)
        self._end_packet(rows, diff.u)
        return rows

    def _end_packet(self, rows: list[Row], update_id: int) -> None:
        """Flag the last row; where bookTicker is ahead of `update_id`, what it said stands."""
        if not rows:
            return
        ts_event, ts = rows[-1][:2]
        if self._best.update_id > update_id:
            rows += self._best_rows(ts_event, ts)
        else:
            rows[-1] = (*rows[-1][:8], rows[-1][8] | ROW_FLAG_LAST)

    def _levels(self, ts_event: int, ts: int, bids: Any, asks: Any, flags: int) -> list[Row]:
        price, qty, index = self._level_price, self._qty, self._index
        rows = [(ts_event, ts, price(text), qty(size), 0, index, ROW_LEVEL, ROW_BUY, flags) for text, size in bids]
        rows += [(ts_event, ts, price(text), qty(size), 0, index, ROW_LEVEL, ROW_SELL, flags) for text, size in asks]
        return rows

    def _marker(self, ts: int, diff: DepthUpdate[Any], kind: int, flags: int) -> Row:
        return (_depth_stamp(diff), ts, 0, 0, 0, self._index, kind, ROW_NO_SIDE, flags)

    # Prints and best prices.

    def _trade(self, ts: int, trade: Trade) -> list[Row]:
        if trade.X is not UNSET and trade.X != "MARKET":
            # Insurance fund and auto-deleveraging change hands outside the book; NA has neither price nor quantity.
            self.skipped[f"trade of type {trade.X}"] += 1
            return []
        return self._print(ts, "trade", trade.T, trade.t, trade.p, trade.q, trade.m)

    def _aggregate_trade(self, ts: int, trade: AggregateTrade) -> list[Row]:
        return self._print(ts, "aggTrade", trade.T, trade.a, trade.p, trade.q, trade.m)

    def _print(self, ts: int, event: str, stamp: int, trade_id: int, price: str, qty: str, buyer_is_maker: bool) -> list[Row]:
        if self._trade_event not in ("", event):
            # Both streams tell the same prints: the first one seen is used, or volume would count twice.
            self.skipped[f"{event} beside {self._trade_event}"] += 1
            return []
        if trade_id in self._recent_trades:
            self.skipped[f"{event} seen before"] += 1
            return []
        points, units = self._price(price), self._qty(qty)
        if points <= 0 or units <= 0:
            raise VenueProtocolError(f"trade {trade_id}: price {price} and quantity {qty} must be positive")
        self._trade_event = event
        self._recent_trades[trade_id] = None
        if len(self._recent_trades) > RECENT_TRADES_MAX:
            self._recent_trades.popitem(last=False)
        self.frames[event] += 1
        side = ROW_SELL if buyer_is_maker else ROW_BUY
        return [(_stamp(stamp), ts, points, units, trade_id, self._index, ROW_TRADE, side, ROW_FLAG_LAST)]

    def _book_ticker(self, ts: int, ticker: BookTicker) -> list[Row]:
        if not self._use_book_ticker:
            self.skipped["bookTicker not asked for"] += 1
            return []
        if ticker.u <= self._best.update_id:
            self.skipped["bookTicker seen before"] += 1
            return []
        if self.state is not SyncState.BUFFERING and ticker.u < self.last_update_id:
            self.skipped["bookTicker behind the book"] += 1
            return []
        bid, bid_qty = self._price(ticker.b), self._qty(ticker.B)
        ask, ask_qty = self._price(ticker.a), self._qty(ticker.A)
        # An empty side has quantity 0, and whatever price.
        if (bid_qty and bid <= 0) or (ask_qty and ask <= 0) or (bid_qty and ask_qty and bid >= ask):
            raise VenueProtocolError(f"bookTicker {ticker.u}: bid {ticker.b} and ask {ticker.a} are crossed or not positive")
        self._best = _Best(ticker.u, bid, bid_qty, ask, ask_qty)
        self.frames["bookTicker"] += 1
        return self._best_rows(_stamp(ticker.T), ts)

    def _best_rows(self, ts_event: int, ts: int) -> list[Row]:
        _, bid, bid_qty, ask, ask_qty = self._best
        return [
            (ts_event, ts, bid, bid_qty, 0, self._index, ROW_BBO, ROW_BUY, 0),
            (ts_event, ts, ask, ask_qty, 0, self._index, ROW_BBO, ROW_SELL, ROW_FLAG_LAST),
        ]


class _Parsed(dict[str, int]):
    """Texts and what they parse to; looking up one that is missing parses it. A hit never enters Python."""

    def __init__(self, scale: int, step: int, least: int) -> None:
        super().__init__()
        self._scale = scale
        self._step = step
        self._least = least

    def __missing__(self, text: str) -> int:
        value = parse_fixed(text, self._scale)
        if value < self._least:
            raise UnitError(f"{text!r} is {'not positive' if self._least else 'negative'}")
        if value % self._step:
            raise UnitError(f"{text!r} is off the step of {self._step} at scale {self._scale}")
        if len(self) >= PARSED_TEXTS_MAX:
            self.clear()
        self[text] = value
        return value


def fixed_parser(scale: int, step: int, least: int = 0) -> Callable[[str], int]:
    """parse_fixed at `scale` that remembers what it parsed: prices and sizes repeat, and a hit costs a tenth.

    The function returned raises UnitError as parse_fixed does, and also for a value below `least` (0 or 1) or off the `step`.
    """
    return _Parsed(scale, step, least).__getitem__


def _is_before(diff: DepthUpdate[Any], snapshot_id: int) -> bool:
    return diff.u <= snapshot_id if diff.pu is UNSET else diff.u < snapshot_id


def _joins(diff: DepthUpdate[Any], snapshot_id: int) -> bool:
    if diff.pu is UNSET:
        return diff.U <= snapshot_id + 1 <= diff.u
    # The diff behind one that ended with the snapshot's own update joins as well: nothing lies between.
    return diff.U <= snapshot_id <= diff.u or diff.pu == snapshot_id


def _depth_stamp(diff: DepthUpdate[Any]) -> int:
    """Futures say when the engine did it (T); spot only when the message was made (E)."""
    return _stamp(diff.E if diff.T is UNSET else diff.T)


def _stamp(stamp: int | UnsetType) -> int:
    """ns UTC. Stamps are ms, or µs where the connection asked for them: between 2001 and 2286 the ranges do not overlap."""
    if stamp is UNSET:
        return UNSTAMPED
    if 10**12 <= stamp < 10**13:
        return stamp * NS_PER_MS
    if 10**15 <= stamp < 10**16:
        return stamp * NS_PER_US
    raise VenueProtocolError(f"{stamp} is neither milliseconds nor microseconds since 1970")
