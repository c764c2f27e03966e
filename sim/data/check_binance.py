"""Holds a recorded Binance book, rebuilt from snapshot and diffs, against the best prices that bookTicker tells beside it.

Deliberately a second implementation: plain json, plain dicts, the sequence rules written out again, no code shared with the
adapter. Where a decoder is given, its rows build a book of their own, and the two books must agree after every frame too.

A diff ends at update u, and bookTicker speaks whenever the best price or size changes, stamped with its own update id. So the
last bookTicker with an id at or below u states the best prices after the diff. It may arrive before the diff or after it: the
comparison waits for a bookTicker at or beyond u, or the file's end. A diff is comparable where that bookTicker is newer than the
snapshot: an older one says nothing about a book that this snapshot began. A snapshot has a limited depth, and a level
beyond it is unknown until it changes: where a best price lies there and differs, the diff counts as not comparable.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import DataError, InputError, RefusedError, UnitError, VenueProtocolError
from core.feed import FrameDecoder
from core.units import parse_fixed
from native.market_data import BUY, CLEAR, GAP, LEVEL, SELL
from sim.data.check_books import Best, DictLevelBook, LevelBook, describe
from sim.data.check_result import CheckResult, Findings
from sim.data.files import Progress
from sim.data.recording import Frame, read_all_frames

BUFFERED_DIFFS_MAX = 50_000
TICKERS_MAX = 1_000_000
_NUMBER = rb'"([0-9.]+)"'
# A level, a trade, and one side of a bookTicker: each a price and its quantity.
_PRICE_AND_QTY = re.compile(
    rb"\[\s*%b\s*,\s*%b\s*\]" % (_NUMBER, _NUMBER)
    + rb'|"p"\s*:\s*%b\s*,\s*"q"\s*:\s*%b' % (_NUMBER, _NUMBER)
    + rb'|"[ba]"\s*:\s*%b\s*,\s*"[BA]"\s*:\s*%b' % (_NUMBER, _NUMBER)
)

_SYMBOL = re.compile(rb'"(?:s|symbol)"\s*:\s*"([^"\\]+)"')


@dataclass(frozen=True, slots=True)
class Scales:
    """The fewest decimals that hold every number seen, and the first symbol named."""

    price_scale: int
    qty_scale: int
    symbol: str = ""


def guess_scales(paths: Sequence[Path]) -> Scales:
    """From every price and quantity in the recordings; trailing zeros do not count. For checks only: a backtest is told."""
    texts: tuple[set[bytes], set[bytes]] = (set(), set())
    decimals = [0, 0]
    symbol = b""
    for _, frame in read_all_frames(paths):
        if not symbol and (named := _SYMBOL.search(frame.payload)):
            symbol = named[1]
        for groups in _PRICE_AND_QTY.findall(frame.payload):
            for index in (0, 1):
                text = groups[index] or groups[index + 2] or groups[index + 4]
                # Most texts repeat; the set keeps the count of decimals from being taken a million times.
                if text not in texts[index]:
                    decimals[index] = max(decimals[index], len(text.partition(b".")[2].rstrip(b"0")))
                    if len(texts[index]) < 1_000_000:
                        texts[index].add(text)
    return Scales(decimals[0], decimals[1], symbol.decode("utf-8", "backslashreplace"))


def check_binance(
    paths: Sequence[Path],
    *,
    symbol: str | None = None,
    new_decoder: Callable[[Scales], FrameDecoder] | None = None,
    new_book: Callable[[], LevelBook] = DictLevelBook,
    progress: Progress | None = None,
) -> CheckResult:
    """Recordings that continue each other. `symbol` may be left out where they hold one symbol only.

    `new_decoder` makes the decoder under test and `new_book` the book of its rows. Raises DataError with file and line.
    """
    scales = guess_scales(paths)
    findings = Findings()
    plain = _PlainBook(scales, findings, symbol)
    tested = None if new_decoder is None else _TestedBook(new_decoder(scales), new_book(), findings)
    bytes_read = 0
    for path, frame in read_all_frames(paths):
        findings.rows += 1
        bytes_read = frame.bytes_read
        where = f"{path}:{frame.line}"
        try:
            changed = plain.receive(frame, where)
        except (UnitError, InputError) as error:
            raise DataError(str(error), file=str(path), line=frame.line) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"not a Binance frame: {error!r}", file=str(path), line=frame.line) from error
        if tested is not None:
            try:
                tested.receive(frame, where, plain if changed else None)
            except (UnitError, VenueProtocolError, RefusedError) as error:
                raise DataError(str(error), file=str(path), line=frame.line) from error
        if progress is not None and findings.rows % 4096 == 0:
            progress(findings.rows, bytes_read)
    if progress is not None:
        progress(findings.rows, bytes_read)
    plain.finish()
    if not plain.snapshots:
        findings.notes.append("no snapshot joins the diffs: nothing could be compared")
    findings.notes += plain.notes()
    if tested is not None:
        findings.notes.append(f"decoder: its book equals the plain one after {tested.compared} packets")
        if tested.gaps != findings.gaps:
            findings.contradict(f"the decoder reports {tested.gaps} gaps, the plain reading {findings.gaps}")
    return findings.result("binance", tuple(str(path) for path in paths))


@dataclass(frozen=True, slots=True)
class _Pending:
    """The rebuilt book's best prices after diff `update_id`."""

    update_id: int
    snapshot_id: int
    where: str
    best: Best


class _PlainBook:
    def __init__(self, scales: Scales, findings: Findings, symbol: str | None) -> None:
        self._scales = scales
        self._symbol = symbol
        self._is_chosen = symbol is not None
        self._findings = findings
        self.book = DictLevelBook()
        self.snapshots = 0
        self._live = False
        self._joined = False
        self._last = 0
        self._snapshot_id = 0
        self._buffer: deque[tuple[dict[str, Any], str]] = deque(maxlen=BUFFERED_DIFFS_MAX)
        self._pending: deque[_Pending] = deque()
        # bookTickers, oldest first, from the last one at or below the next diff to be compared.
        self._tickers: deque[tuple[int, Best]] = deque(maxlen=TICKERS_MAX)
        self._depth = (0, 0)  # deepest bid and ask of the snapshot
        self._diffs = self._too_early = self._too_deep = 0

    def receive(self, frame: Frame, where: str) -> bool:
        """One frame; True where the book changed."""
        payload = json.loads(frame.payload)
        body = payload.get("data", payload)
        if not isinstance(body, dict) or not self._is_ours(body):
            return False
        kind = body.get("e") or ("bookTicker" if "B" in body else "snapshot" if "lastUpdateId" in body else "other")
        if kind == "depthUpdate":
            return self._diff(body, where)
        if kind == "bookTicker":
            self._book_ticker(body)
        elif kind == "snapshot" and "stream" not in payload:
            return self._snapshot(body, where)
        return False

    def _is_ours(self, body: dict[str, Any]) -> bool:
        symbol = body.get("s", body.get("symbol"))
        if symbol is None or symbol == self._symbol:
            return True
        if self._symbol is None:
            self._symbol = symbol
            return True
        if self._is_chosen:
            return False
        raise InputError(f"both {self._symbol} and {symbol} are recorded: say which one to check")

    def notes(self) -> Iterator[str]:
        yield f"scales: {self._scales.price_scale} decimals of price, {self._scales.qty_scale} of quantity"
        yield f"diffs: {self._diffs} applied"
        if self._too_early:
            yield f"not comparable: {self._too_early} diffs before the first bookTicker after the snapshot"
        if self._too_deep:
            yield f"not comparable: {self._too_deep} diffs whose best prices lay beyond the snapshot's depth, and differ"

    def _diff(self, diff: dict[str, Any], where: str) -> bool:
        if not self._live:
            self._buffer.append((diff, where))
            return False
        futures = "pu" in diff
        if self._joined:
            if diff["u"] <= self._last:
                return False
            chained = diff["pu"] == self._last if futures else diff["U"] <= self._last + 1
        else:
            if diff["u"] < self._last + (not futures):
                return False
            chained = diff["U"] <= self._last + (not futures) <= diff["u"]
        if not chained:
            self._findings.gaps += 1
            self._live = False
            self._buffer.append((diff, where))
            return False
        for side, levels in ((BUY, diff["b"]), (SELL, diff["a"])):
            self._set_levels(side, levels)
        self._last = diff["u"]
        self._joined = True
        self._diffs += 1
        best = self.book.best()
        self._findings.crossed += best.is_crossed
        self._pending.append(_Pending(self._last, self._snapshot_id, where, best))
        return True

    def _snapshot(self, snapshot: dict[str, Any], where: str) -> bool:
        if self._live:
            return False
        last = snapshot["lastUpdateId"]
        waiting = [(diff, line) for diff, line in self._buffer if diff["u"] >= last + ("pu" not in diff)]
        if waiting and waiting[0][0]["U"] > last + ("pu" not in waiting[0][0]):
            return False
        self.book.clear()
        self._set_levels(BUY, snapshot["bids"])
        self._set_levels(SELL, snapshot["asks"])
        bids, asks = self.book.levels(BUY), self.book.levels(SELL)
        self._depth = (bids[-1][0] if bids else 0, asks[-1][0] if asks else 0)
        self._live, self._joined, self._last, self._snapshot_id = True, False, last, last
        self.snapshots += 1
        self._buffer.clear()
        for diff, line in waiting:
            self._diff(diff, line)
        return True

    def _set_levels(self, side: int, levels: list[list[str]]) -> None:
        for price, qty in levels:
            self.book.set_level(side, self._price(price), self._qty(qty))

    def _book_ticker(self, ticker: dict[str, Any]) -> None:
        update_id: int = ticker["u"]
        bid, bid_qty = self._price(ticker["b"]), self._qty(ticker["B"])
        ask, ask_qty = self._price(ticker["a"]), self._qty(ticker["A"])
        now = Best((bid, bid_qty) if bid_qty else None, (ask, ask_qty) if ask_qty else None)
        if self._tickers and update_id <= self._tickers[-1][0]:
            return
        self._tickers.append((update_id, now))
        while self._pending and self._pending[0].update_id <= update_id:
            self._compare(self._pending.popleft())

    def finish(self) -> None:
        """No more frames: what still waits is compared with the last bookTicker there was."""
        while self._pending:
            self._compare(self._pending.popleft())

    def _compare(self, diff: _Pending) -> None:
        tickers = self._tickers
        while len(tickers) > 1 and tickers[1][0] <= diff.update_id:
            tickers.popleft()
        if not tickers or not diff.snapshot_id < tickers[0][0] <= diff.update_id:
            self._too_early += 1
            return
        stated = tickers[0][1]
        if diff.best != stated and not (self._is_known(diff.best) and self._is_known(stated)):
            self._too_deep += 1
            return
        what = f"{diff.where}: rebuilt {describe(diff.best)}, bookTicker says {describe(stated)}"
        self._findings.compare(diff.best == stated, what)

    def _is_known(self, best: Best) -> bool:
        lowest_bid, highest_ask = self._depth
        return best.bid is not None and best.ask is not None and best.bid[0] >= lowest_bid and best.ask[0] <= highest_ask

    def _price(self, text: str) -> int:
        return parse_fixed(text, self._scales.price_scale)

    def _qty(self, text: str) -> int:
        return parse_fixed(text, self._scales.qty_scale)


class _TestedBook:
    """The book that a decoder's rows make, compared with the plain one."""

    def __init__(self, decoder: FrameDecoder, book: LevelBook, findings: Findings) -> None:
        self._decoder = decoder
        self._book = book
        self._findings = findings
        self.compared = 0
        self.gaps = 0

    def receive(self, frame: Frame, where: str, plain: _PlainBook | None) -> None:
        changed = False
        for _, _, price, qty, _, _, kind, side, _ in self._decoder.receive(frame.ts, frame.payload):
            if kind == LEVEL:
                self._book.set_level(side, price, qty)
                changed = True
            elif kind == CLEAR:
                self._book.clear()
                changed = True
            elif kind == GAP:
                self.gaps += 1
        if plain is None:
            if changed:
                self._findings.contradict(f"{where}: the decoder changes the book, the plain reading does not")
            return
        expected, found = plain.book.best(), self._book.best()
        self.compared += 1
        if expected != found:
            self._findings.contradict(f"{where}: the decoder's book has {describe(found)}, the plain one {describe(expected)}")
