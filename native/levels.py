"""LevelBook: price levels fed with the text of depth updates, in C (native/levels_api.h), or in Python where that is missing."""

from __future__ import annotations

import struct
from typing import Any, Protocol

import msgspec

from core.errors import UnitError, VenueProtocolError
from core.units import parse_fixed
from native.loader import extension

Levels = tuple[tuple[int, int], ...]
Text = bytes | memoryview | msgspec.Raw
BEST_MAX = 5_000  # levels asked for at once
SIDE_MAX = 32_768  # kept on a side

_WORDS = {
    -1: "levels that are no list of pairs of decimal texts",
    -2: "a number that the instrument's scales cannot hold",
    -3: "a price that is not positive, or off the tick",
    -4: "too many levels in one message",
}
_PAIR = struct.Struct("2q")


class LevelBook(Protocol):
    def clear(self) -> None: ...

    def update(self, bids: Text, asks: Text) -> int:
        """Levels as the venue's JSON has them: `[["61837.6","0.25"],…]`; quantity 0 removes one. Returns how many.

        Raises VenueProtocolError for text that is not that, UnitError for numbers that do not fit; nothing has changed then.
        """

    def best(self) -> tuple[int, int, int, int]:
        """Bid price and quantity, ask price and quantity; an empty side is 0, 0."""

    def levels(self, count: int) -> tuple[Levels, Levels]:
        """The best `count` (at most BEST_MAX) bids and asks, best first."""

    def sizes(self) -> tuple[int, int]: ...

    def check(self) -> None:
        """Raises AssertionError where an invariant is broken."""


def make_level_book(*, price_scale: int, qty_scale: int, tick: int, message_max: int) -> LevelBook:
    """`message_max`: levels in one update."""
    module = extension()
    if module is None or not hasattr(module.lib, "levels_new"):
        return ReferenceLevelBook(price_scale=price_scale, qty_scale=qty_scale, tick=tick, message_max=message_max)
    return NativeLevelBook(module, price_scale=price_scale, qty_scale=qty_scale, tick=tick, message_max=message_max)


class NativeLevelBook:
    def __init__(self, module: Any, *, price_scale: int, qty_scale: int, tick: int, message_max: int) -> None:
        self._lib, self._ffi = module.lib, module.ffi
        book = self._lib.levels_new(price_scale, qty_scale, tick, message_max)
        if book == self._ffi.NULL:
            raise MemoryError("a book of levels cannot be made: no memory, or scales and tick that cannot be")
        self._book = self._ffi.gc(book, self._lib.levels_free)
        out = bytearray(_PAIR.size * BEST_MAX * 2)
        self._out, self._pairs = memoryview(out), self._ffi.from_buffer("level_pair *", out, require_writable=True)
        self._count, self._asked = 0, self._out[:0]  # so many levels were asked for last, and where in `_out` they are
        # Looked up once: two of these are all that a live market calls, thousands of times a second.
        self._update, self._best, self._from_buffer = self._lib.levels_update, self._lib.levels_best, self._ffi.from_buffer

    def clear(self) -> None:
        self._lib.levels_clear(self._book)

    def update(self, bids: Text, asks: Text) -> int:
        view = self._from_buffer
        bid_text, ask_text = view(bids), view(asks)
        count: int = self._update(self._book, bid_text, len(bid_text), ask_text, len(ask_text))
        if count < 0:
            raise (VenueProtocolError if count in (-1, -4) else UnitError)(_WORDS[count])
        return count

    def best(self) -> tuple[int, int, int, int]:
        (bid,), (ask,) = self._both(1)
        return (*bid, *ask)

    def levels(self, count: int) -> tuple[Levels, Levels]:
        both = bids, asks = self._both(count)
        if count and not (bids[-1][1] and asks[-1][1]):
            return tuple(each for each in bids if each[1]), tuple(each for each in asks if each[1])
        return both

    def _both(self, count: int) -> tuple[Levels, Levels]:
        """So many bids, and so many asks; a level that is not there is 0, 0."""
        if count != self._count:
            assert 0 <= count <= BEST_MAX
            self._count, self._asked = count, self._out[: 2 * count * _PAIR.size]
        self._best(self._book, count, self._pairs)
        pairs = tuple(_PAIR.iter_unpack(self._asked))
        return pairs[:count], pairs[count:]

    def sizes(self) -> tuple[int, int]:
        return self._lib.levels_count(self._book, 0), self._lib.levels_count(self._book, 1)

    def check(self) -> None:
        assert self._lib.levels_check(self._book) == 0


class ReferenceLevelBook:
    """Slow and obvious: the oracle of the C book, and its stand-in."""

    def __init__(self, *, price_scale: int, qty_scale: int, tick: int, message_max: int) -> None:
        self._price_scale, self._qty_scale, self._tick, self._message_max = price_scale, qty_scale, tick, message_max
        self._sides: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def clear(self) -> None:
        for side in self._sides:
            side.clear()

    def update(self, bids: Text, asks: Text) -> int:
        read = [self._read(bids), self._read(asks)]
        if sum(map(len, read)) > self._message_max:
            raise VenueProtocolError(_WORDS[-4])
        for number, (held, pairs) in enumerate(zip(self._sides, read, strict=True)):
            for price, qty in pairs:
                if qty:
                    held[price] = qty
                else:
                    held.pop(price, None)
                if len(held) > SIDE_MAX:
                    del held[max(held) if number else min(held)]
        return sum(map(len, read))

    def _read(self, text: Text) -> list[tuple[int, int]]:
        try:
            rows = msgspec.json.decode(bytes(text), type=list[tuple[str, str]])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise VenueProtocolError(_WORDS[-1]) from error
        return [(self._price(price), self._number(qty, self._qty_scale)) for price, qty in rows]

    def _price(self, text: str) -> int:
        price = self._number(text, self._price_scale)
        if price < 1 or price % self._tick:
            raise UnitError(_WORDS[-3])
        return price

    @staticmethod
    def _number(text: str, scale: int) -> int:
        whole, dot, fraction = text.partition(".")
        if not (whole.isdecimal() and whole.isascii()) or (dot and not (fraction.isdecimal() and fraction.isascii())):
            raise VenueProtocolError(_WORDS[-1])
        try:
            return parse_fixed(text, scale)
        except UnitError:
            raise UnitError(_WORDS[-2]) from None

    def best(self) -> tuple[int, int, int, int]:
        bids, asks = self._sides
        bid, ask = max(bids, default=0), min(asks, default=0)
        return bid, bids.get(bid, 0), ask, asks.get(ask, 0)

    def levels(self, count: int) -> tuple[Levels, Levels]:
        bids, asks = self._sides
        return (
            tuple((price, bids[price]) for price in sorted(bids, reverse=True)[:count]),
            tuple((price, asks[price]) for price in sorted(asks)[:count]),
        )

    def sizes(self) -> tuple[int, int]:
        return len(self._sides[0]), len(self._sides[1])

    def check(self) -> None:
        return
