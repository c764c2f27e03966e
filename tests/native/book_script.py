"""Readable book scenarios: a small language of messages, and reports printed one a line.

A scenario file has `book` and `symbol` lines, then messages; below each message stand, after `>`, the reports it must give.

    book orders_max=10 levels_max=10 stp_mode=CANCEL_OLDEST
    symbol tick=1 lot=1 qty_min=1 qty_max=100 price_min=1 price_max=1000
    buy 1 5@100 owner=7 display_qty=2
    > ACCEPTED 1 BUY 5@100 leaves 5
    levels 0 BUY
    > 2@100 orders 1

Each message advances the time by one. `check` runs after every line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from native.book_types import (
    BookError,
    Flag,
    Kind,
    Level,
    OrderType,
    OrderView,
    Reason,
    Report,
    SelfTrade,
    Side,
    Status,
    TimeInForce,
)

KEY_ENUM = {
    "order_type": OrderType,
    "time_in_force": TimeInForce,
    "stp_mode": SelfTrade,
    "flags": Flag,
    "side": Side,
    "status": Status,
}
SHORT = {
    "type": "order_type",
    "tif": "time_in_force",
    "trigger": "trigger_price",
    "display": "display_qty",
    "expire": "expire_ts",
}


def parse_value(key: str, text: str) -> int:
    if text.lstrip("-").isdigit():
        return int(text)
    return sum(int(KEY_ENUM[key][part]) for part in text.split("+"))


def parse_keywords(words: list[str]) -> dict[str, int]:
    pairs = (word.split("=", 1) for word in words)
    return {SHORT.get(key, key): parse_value(SHORT.get(key, key), text) for key, text in pairs}


def show_report(r: Report) -> str:
    side = Side(r.side).name if r.side < 2 else f"side {r.side}"
    line = f"{Kind(r.kind).name} {r.order_id} {side} {r.qty}@{r.price} leaves {r.leaves_qty}"
    if r.kind == Kind.TRADE:
        line += f" maker {r.contra_id} leaves {r.contra_leaves_qty}"
    if r.reason != Reason.NONE:
        line += f" because {Reason(r.reason).name}"
    return line if r.symbol == 0 else f"{line} symbol {r.symbol}"


def show(answer: Any) -> list[str]:
    if answer is None:
        return ["nothing"]
    if not isinstance(answer, list):
        return [str(answer)]
    lines = []
    for row in answer:
        if isinstance(row, Report):
            lines.append(show_report(row))
        elif isinstance(row, Level):
            lines.append(f"{row.qty}@{row.price} orders {row.orders}")
        else:
            assert isinstance(row, OrderView)
            lines.append(f"{row.order_id} {row.qty} of {row.leaves_qty}@{row.price} owner {row.owner}")
    return lines or ["nothing"]


class Script:
    """Runs scenario lines on one book made by `make` (a class with the keywords of NativeBook)."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make
        self.book: Any = None
        self.now = 0

    def run_line(self, line: str) -> list[str] | None:
        """The answer as lines; None for lines that answer nothing."""
        verb, *words = line.split()
        if verb == "book":
            self.book = self.make(**parse_keywords(words))
            return None
        if verb == "symbol":
            self.book.symbol_add(**parse_keywords(words))
            return None
        self.now += 1
        try:
            answer = self.message(verb, words)
        except BookError as error:
            answer = type(error).__name__
        self.book.check()
        return show(answer)

    def message(self, verb: str, words: list[str]) -> Any:
        book = self.book
        if verb in ("buy", "sell"):
            qty, _, price = words[1].partition("@")
            keywords = parse_keywords(words[2:])
            side = Side[verb.upper()]
            return book.submit(self.now, order_id=int(words[0]), side=side, qty=int(qty), price=int(price or 0), **keywords)
        if verb == "replace":
            qty, _, price = words[1].partition("@")
            return book.replace(self.now, int(words[0]), int(qty), int(price))
        if verb == "mass_cancel":
            return book.mass_cancel(self.now, **parse_keywords(words))
        if verb in ("cancel", "execute_resting", "reduce", "uncross"):
            return getattr(book, verb)(self.now, *map(int, words))
        if verb == "end_of_day":
            return book.end_of_day(self.now, *map(int, words))
        if verb == "advance":
            self.now = int(words[0])
            return book.advance(self.now)
        if verb in ("levels", "orders", "best"):
            return getattr(book, verb)(int(words[0]), Side[words[1]] if words[1] in Side.__members__ else int(words[1]))
        if verb == "status_set":
            return book.status_set(int(words[0]), Status[words[1]])
        return getattr(book, verb)(*map(int, words))


def replay(path: Path, make: Callable[..., Any]) -> str:
    """The scenario's text with every answer as this book gives it: equal to the file where the book is right."""
    script = Script(make)
    out: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(">"):
            continue
        out.append(line)
        if line.strip() and not line.startswith("#"):
            answer = script.run_line(line)
            out += [f"> {text}" for text in answer or ()]
    return "\n".join(out) + "\n"
