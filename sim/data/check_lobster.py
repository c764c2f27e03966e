"""Holds LOBSTER messages against the order-book file recorded beside them, row by row.

Four proofs, each from the same MD_ROW rows that a backtest gets:
  rows    the levels of book row k-1 with message k applied are the levels of book row k;
  states  a book seeded with row 1 and fed with all messages goes through the best prices of a best-price file;
  orders  no order is added twice, loses more than is left of it, is deleted with another rest, or moves;
  queues  executions of orders whose entry is in the file hit the head of their level's queue (counted, never a mismatch:
          NASDAQ orders may lose their place invisibly, for example when a reserve order is refreshed).
The file shows a window of N levels, and no message tells of a level beyond it. So a level that enters the window because
another one left is taken from the book file as it is; and the seeded book is only certain up to a horizon, which moves in
when more than N levels are known and never out again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import DataError
from native.market_data import ADD, BUY, DELETE, EXECUTE, REDUCE, SELL, STATUS
from sim.data.check_books import Best, DictOrderBook, Level, OrderBook, describe
from sim.data.check_result import CheckResult, Findings
from sim.data.files import Progress, numbered_lines, read_blocks
from sim.data.lobster import EMPTY_LEVEL_PRICE, LOBSTER_PRICE_SCALE, LobsterSource, parse_book_row, read_lobster

Sides = tuple[dict[int, int], dict[int, int]]


def check_lobster(
    messages: Path,
    book: Path,
    best: Path | None = None,
    *,
    new_book: Callable[[], OrderBook] = DictOrderBook,
    progress: Progress | None = None,
) -> CheckResult:
    """`book`: the order-book file of `messages`; `best`: a one-level order-book file of the same day, for the states proof.

    `new_book` makes the book that the states and queues are shown with. Raises DataError for files that cannot be read.
    """
    findings = Findings()
    levels_max = _compare_rows(messages, book, findings, None if best is not None else progress)
    if best is not None:
        _compare_states(messages, book, best, levels_max, new_book(), findings, progress)
    _check_orders(messages, new_book(), findings)
    files = (messages, book) if best is None else (messages, book, best)
    return findings.result("lobster", tuple(str(file) for file in files))


def _rows(source: LobsterSource, progress: Progress | None = None) -> Iterator[tuple[int, int, int, int, int]]:
    """(kind, side, price, qty, order id) in plain ints."""
    for chunk in read_lobster(source, progress):
        yield from zip(*(chunk[name].tolist() for name in ("kind", "side", "price", "qty", "order_id")), strict=True)


def _book_rows(book: Path) -> Iterator[tuple[int, str]]:
    for block in read_blocks(book):
        yield from numbered_lines(block)


# Rows.


def _compare_rows(messages: Path, book: Path, findings: Findings, progress: Progress | None) -> int:
    """Message by message against the book file; the number of levels in its window."""
    rows = _rows(LobsterSource(messages), progress)
    seen: Sides | None = None
    books = 0
    levels_max = 0
    for line, text in _book_rows(book):
        message = next(rows, None)
        if message is None:
            raise DataError("the order-book file has more rows than the message file", file=str(book), line=line)
        levels_max = levels_max or (text.count(",") + 1) // 4
        if (text.count(",") + 1) != 4 * levels_max:
            raise DataError(f"expected {4 * levels_max} columns", file=str(book), line=line)
        now = parse_book_row(text, str(book), line, may_cross=True)
        books += 1
        if now[BUY] and now[SELL] and max(now[BUY]) >= min(now[SELL]):
            findings.crossed += 1
        if seen is not None:
            fault = _apply(seen, message) or _difference(seen, now, levels_max)
            findings.compare(fault is None, f"{book}:{line}: after message {message}: {fault}")
        seen = now
    findings.rows = books + sum(1 for _ in rows)
    if findings.rows > books:
        findings.notes.append(f"rows: the order-book file ends after {books} of {findings.rows} messages")
    return levels_max


def _apply(levels: Sides, message: tuple[int, int, int, int, int]) -> str | None:
    """Message onto the visible levels; what is wrong with it, or None."""
    kind, side, price, qty, _ = message
    visible = levels[side] if side in (BUY, SELL) else {}
    if kind == ADD:
        visible[price] = visible.get(price, 0) + qty
    elif kind in (REDUCE, DELETE, EXECUTE):
        left = visible.pop(price, 0) - qty
        if left < 0:
            return f"level {price} holds {left + qty}, the message takes {qty}"
        if left:
            visible[price] = left
    return None


def _difference(levels: Sides, row: Sides, levels_max: int) -> str | None:
    """How `row` differs from `levels`, cut to the window; None where it does not."""
    for side, name in ((BUY, "bid"), (SELL, "ask")):
        expected = sorted(levels[side].items(), reverse=side == BUY)[:levels_max]
        found = sorted(row[side].items(), reverse=side == BUY)
        # One level may have entered from beyond the window, as the deepest; only the file knows it.
        if len(found) == len(expected) + 1 and len(found) == levels_max:
            found.pop()
        if expected != found:
            first = next((pair for pair in zip(expected, found, strict=False) if pair[0] != pair[1]), (len(expected), len(found)))
            return f"{name}: expected {first[0]}, the file has {first[1]}"
    return None


# States.


class _Horizon:
    """Up to which price one side of a seeded book is certain."""

    def __init__(self, side: int, prices: list[int], levels_max: int) -> None:
        self._sign = -1 if side == BUY else 1
        self._ranks = sorted(price * self._sign for price in prices)
        self._levels_max = levels_max
        # A window that is not full shows the whole side: nothing is beyond it.
        self._limit = self._ranks[-1] if len(self._ranks) == levels_max else EMPTY_LEVEL_PRICE

    def update(self, price: int, is_there: bool) -> None:
        rank = price * self._sign
        if rank > self._limit:
            return
        index = bisect_left(self._ranks, rank)
        known = index < len(self._ranks) and self._ranks[index] == rank
        if is_there and not known:
            insort(self._ranks, rank)
            if len(self._ranks) > self._levels_max:
                self._ranks.pop()
                self._limit = self._ranks[-1]
        elif known and not is_there:
            del self._ranks[index]

    def covers(self, level: Level | None) -> bool:
        """Whether this best level is certain; None, an empty side, is where the window never was full."""
        return self._limit == EMPTY_LEVEL_PRICE if level is None else level[0] * self._sign <= self._limit


def _compare_states(
    messages: Path, book: Path, best: Path, levels_max: int, orders: OrderBook, findings: Findings, progress: Progress | None
) -> None:
    """Distinct best states of the seeded book against the best-price file's, until one of them cannot be known."""
    expected = _distinct_best_states(best)
    line, target = next(expected, (0, Best(None, None)))
    levels: Sides = ({}, {})
    horizons: list[_Horizon] = []
    state: Best | None = None
    states = certain = 0
    is_certain = True
    for kind, side, price, qty, order_id in _rows(LobsterSource(messages, book), progress):
        is_seed = order_id < 0 and kind == ADD
        if not is_seed and not horizons:
            horizons = [_Horizon(side, list(levels[side]), levels_max) for side in (BUY, SELL)]
        _apply_order(orders, levels, kind, side, price, qty, order_id)
        if is_seed:
            continue
        if kind <= EXECUTE:
            horizons[side].update(price, price in levels[side])
        now = orders.best()
        if now == state:
            continue
        state = now
        findings.crossed += now.is_crossed
        is_certain &= all(horizon.covers(level) for level, horizon in zip(now, horizons, strict=True))
        if now != target and not is_certain:
            break
        what = f"{best}:{line}: state {states + 1}: rebuilt {describe(now)}, the file has {describe(target)}"
        findings.compare(now == target, what)
        if now != target:
            break
        states += 1
        certain += is_certain
        line, target = next(expected, (0, Best(None, None)))
        if not line:
            break
    findings.notes.append(f"states: {states} distinct best states equal")
    if not is_certain:
        findings.notes.append(
            f"states: certain up to the {certain}th; after it the best price left the window of {levels_max} levels"
        )


def _distinct_best_states(best: Path) -> Iterator[tuple[int, Best]]:
    last: Best | None = None
    for line, text in _book_rows(best):
        bids, asks = parse_book_row(text, str(best), line)
        bid, ask = max(bids, default=None), min(asks, default=None)
        now = Best(None if bid is None else (bid, bids[bid]), None if ask is None else (ask, asks[ask]))
        if now != last:
            yield line, now
        last = now


def _apply_order(orders: OrderBook, levels: Sides, kind: int, side: int, price: int, qty: int, order_id: int) -> None:
    """Onto the order book, and its prices onto `levels`; what no order allows is passed over here and told by `_check_orders`."""
    if kind > EXECUTE or _order_fault(orders, kind, side, price, qty, order_id) is not None:
        return
    if kind == ADD:
        orders.add(order_id, side, price, qty)
        levels[side][price] = levels[side].get(price, 0) + qty
    elif orders.resting(order_id) is not None:
        orders.take(order_id, qty)
        left = levels[side][price] - qty
        if left:
            levels[side][price] = left
        else:
            del levels[side][price]


# Orders.


def _order_fault(orders: OrderBook, kind: int, side: int, price: int, qty: int, order_id: int) -> str | None:
    """What is wrong with a message about an order, or None; an order that precedes the file is no fault."""
    resting = orders.resting(order_id)
    if kind == ADD:
        return None if resting is None else f"order {order_id} is added while it rests"
    if resting is None:
        return None
    if (side, price) != resting[:2]:
        return f"order {order_id} rests on side {resting.side} at {resting.price}, not on side {side} at {price}"
    if qty > resting.qty or (kind == DELETE and qty != resting.qty):
        return f"order {order_id} has {resting.qty} left, the message says {qty}"
    return None


def _check_orders(messages: Path, orders: OrderBook, findings: Findings) -> None:
    """The life of each order of the file; and how many executions hit the head of their level's queue."""
    heads = executions = decimals = 0
    for line, (kind, side, price, qty, order_id) in enumerate(_rows(LobsterSource(messages)), 1):
        while kind != STATUS and price % 10 ** (LOBSTER_PRICE_SCALE - decimals):
            decimals += 1
        if kind > EXECUTE:
            continue
        fault = _order_fault(orders, kind, side, price, qty, order_id)
        if fault is not None:
            findings.contradict(f"{messages}:{line}: {fault}")
        elif kind == ADD:
            orders.add(order_id, side, price, qty)
        elif orders.resting(order_id) is not None:
            if kind == EXECUTE:
                executions += 1
                heads += orders.is_head(order_id)
            orders.take(order_id, qty)
    findings.notes.append(f"queues: {heads} of {executions} executions of known orders hit the head of their queue")
    findings.notes.append(f"scales: {decimals} decimals hold every price, hidden executions included")
