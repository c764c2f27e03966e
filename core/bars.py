"""Bars from prints, or from the middle of the best prices where a venue prints none: one rule for backtest, paper and live. Pure.

A bar is over [start, end) of the venue's stamps, on a grid that begins at 1970 UTC, and is told once: by the first print of a
later interval, or a grace after its end by our clock, later by as much as the venue's stamps are behind that clock.
- An interval without a price has no bar, as in recorded bars: nothing is made up.
- An interval that was not watched from its beginning to its end has no bar: the one of the first print of all, and those of a gap
  up to and with the one of the first print after it.
- What comes when its bar has been told is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

import msgspec

from core.events import AnyEvent, Bar, GapDetected, Quote, Trade
from core.strategy import Subscription
from core.units import INT64_MAX, NS_PER_SECOND, divide_half_even

BAR_GRACE_NS = NS_PER_SECOND // 4  # where prints are told as they happen; where they are asked for, it takes longer
# A stamp that is further ahead of our clock is a mistake, which would end bars long before their time.
AHEAD_NS_MAX = 60 * NS_PER_SECOND
NEVER = INT64_MAX
NO_BARS: list[Bar] = []


# An instrument, a length in ns, what its bars are made of, and for how long after its end a bar waits for prints (ns).
Wanted = tuple[str, int, "BarSource", int]


class BarSource(Enum):
    TRADES = "trades"
    QUOTES = "quotes"  # the middle of both sides, half-even to a whole point; volume 0


def heard(subscriptions: Iterable[Subscription], source: BarSource, own_ns: Sequence[int] = ()) -> list[Subscription]:
    """What a venue is asked for, so that bars can be made of it. Bars of `own_ns` it sends itself."""
    found: list[Subscription] = []
    for each in subscriptions:
        if not each.bars_ns or each.bars_ns in own_ns:
            found.append(each)
        elif source is BarSource.TRADES:
            found.append(msgspec.structs.replace(each, trades=True, bars_ns=0))
        else:
            # Beside the one that was asked for: where two differ the finest wins, and each change counts.
            found += [msgspec.structs.replace(each, bars_ns=0), Subscription(instrument_id=each.instrument_id, quotes="price")]
    return found


class _Series:
    """The bar of one length that is being made, over [start, end); `due` and `start` NEVER: none is."""

    __slots__ = ("close", "due", "end", "high", "interval_ns", "low", "open", "start", "told_until", "volume")

    def __init__(self, interval_ns: int) -> None:
        self.interval_ns = interval_ns
        self.due = self.start = NEVER
        self.told_until = 0
        self.end = self.open = self.high = self.low = self.close = self.volume = 0

    def begin(self, start: int, due: int, price: int, qty: int) -> None:
        self.start, self.end, self.due = start, start + self.interval_ns, due
        self.open = self.high = self.low = self.close = price
        self.volume = qty

    def add(self, price: int, qty: int) -> None:
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.volume += qty

    def tell(self, now: int, instrument_id: str) -> Bar:
        self.told_until = self.end
        self.drop()
        prices = (self.open, self.high, self.low, self.close)
        # Sizes are a venue's word: whatever they come to, the bar must fit into the journal.
        return Bar(self.end, now, instrument_id, *prices, min(self.volume, INT64_MAX), self.interval_ns)

    def drop(self) -> None:
        self.due = self.start = NEVER


class _Watched:
    """One instrument. `whole_from`: an interval that begins then or later has been watched from its beginning."""

    __slots__ = ("behind_ns", "grace_ns", "series", "source", "whole_from")

    def __init__(self, source: BarSource, grace_ns: int) -> None:
        self.source = source
        self.grace_ns = grace_ns
        self.series: list[_Series] = []
        self.whole_from = NEVER
        self.behind_ns = NEVER  # the least that a stamp was behind our clock


class Bars:
    """`receive` every market event before it goes on, and `due` at `next_due`: each gives the bars that go on before it."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        self._watched: dict[str, _Watched] = {}
        for instrument_id, interval_ns, source, grace_ns in wanted:
            watched = self._watched.setdefault(instrument_id, _Watched(source, grace_ns))
            assert (watched.source, watched.grace_ns) == (source, grace_ns), "one instrument, one source"
            if all(series.interval_ns != interval_ns for series in watched.series):
                watched.series.append(_Series(interval_ns))
        self.are_wanted = bool(self._watched)
        self.next_due = NEVER
        self.left_out = 0  # prints that came too late for their bar, each counted for each length

    def receive(self, now: int, event: AnyEvent) -> list[Bar]:
        """The bars that `event` ends, at `now` ns UTC by our clock; most events end none."""
        kind = type(event)
        if kind is Trade:
            assert isinstance(event, Trade)
            watched = self._watched.get(event.instrument_id)
            if watched is not None and watched.source is BarSource.TRADES:
                return self._price(watched, now, event, event.price, event.qty)
        elif kind is Quote:
            assert isinstance(event, Quote)
            watched = self._watched.get(event.instrument_id)
            if watched is not None and watched.source is BarSource.QUOTES and event.bid_qty and event.ask_qty:
                return self._price(watched, now, event, divide_half_even(event.bid_price + event.ask_price, 2), 0)
        elif kind is GapDetected:
            assert isinstance(event, GapDetected)
            self._lose(event.instrument_id)
        return NO_BARS

    def due(self, now: int) -> list[Bar]:
        """Those that have ended by the clock, in the order of their ends."""
        if now < self.next_due:
            return NO_BARS
        found: list[Bar] = []
        for instrument_id, watched in self._watched.items():
            for series in watched.series:
                if series.due > now:
                    continue
                if now - series.due > watched.grace_ns:
                    # This process stood still. What came in meanwhile waits at the door, and belongs in here.
                    series.due = now + watched.grace_ns
                else:
                    found.append(series.tell(now, instrument_id))
        self._look_ahead()
        found.sort(key=lambda bar: bar.ts_event)
        return found

    def _price(self, watched: _Watched, now: int, event: Trade | Quote, price: int, qty: int) -> list[Bar]:
        ts = event.ts_event
        if ts - now > AHEAD_NS_MAX:
            self.left_out += 1
            return NO_BARS
        if watched.whole_from == NEVER:
            # The first after nothing was known. Its stamp may be an old one, but it was heard now.
            watched.whole_from = max(now, ts) + 1
        watched.behind_ns = min(watched.behind_ns, now - ts)
        told: list[Bar] = []
        for series in watched.series:
            if series.start <= ts < series.end:
                series.add(price, qty)
                continue
            is_made = series.start != NEVER
            if is_made and ts >= series.end:
                told.append(series.tell(now, event.instrument_id))
                is_made = False
            start = ts - ts % series.interval_ns
            if start < watched.whole_from:
                continue
            if is_made or start < series.told_until:
                self.left_out += 1
                continue
            # What comes after its time, as behind a loop that stood still, is not alone: the rest gets the grace, too.
            due = max(start + series.interval_ns + max(watched.behind_ns, 0), now) + watched.grace_ns
            series.begin(start, due, price, qty)
            self.next_due = min(self.next_due, due)
        if told:
            self._look_ahead()
            told.sort(key=lambda bar: bar.ts_event)
        return told

    def _lose(self, instrument_id: str) -> None:
        watched = self._watched.get(instrument_id)
        if watched is None:
            return
        watched.whole_from = NEVER
        for series in watched.series:
            series.drop()
        self._look_ahead()

    def _look_ahead(self) -> None:
        self.next_due = min((series.due for each in self._watched.values() for series in each.series), default=NEVER)
