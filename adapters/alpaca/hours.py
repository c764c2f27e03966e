"""New York's clock and the venue's calendar: when a market trades, and what trade date a moment belongs to. Pure; ns UTC.

The United States' rule since 2007: daylight time from the second Sunday of March, 2:00, to the first Sunday of November, 2:00.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import msgspec

from adapters.alpaca.exact import date_days, date_of_days, days_of
from adapters.alpaca.wire import DayBody
from core.enums import MarketStatus
from core.errors import VenueProtocolError
from core.units import NS_PER_DAY, NS_PER_MINUTE

HOUR_NS = 60 * NS_PER_MINUTE
STANDARD_NS = -5 * HOUR_NS
DAYLIGHT_NS = -4 * HOUR_NS
EARLY_OPEN_MIN, LATE_CLOSE_MIN = 4 * 60, 20 * 60  # of a whole day, where the calendar does not say
NEVER = (1 << 63) - 1

_CLOCK = re.compile(r"(\d{2}):?(\d{2})\Z", re.ASCII)


def offset_ns(ts: int) -> int:
    """What New York's clock shows minus UTC."""
    year, _, _ = date_of_days((ts + STANDARD_NS) // NS_PER_DAY)
    begins = _sunday(year, 3, 2) * NS_PER_DAY + 2 * HOUR_NS - STANDARD_NS
    ends = _sunday(year, 11, 1) * NS_PER_DAY + 2 * HOUR_NS - DAYLIGHT_NS
    return DAYLIGHT_NS if begins <= ts < ends else STANDARD_NS


def _sunday(year: int, month: int, number: int) -> int:
    """Days since 1970 of the month's so-manieth Sunday."""
    first = days_of(year, month, 1)
    return first + (3 - first) % 7 + 7 * (number - 1)  # 1970-01-01 was a Thursday


def trade_date(ts: int) -> int:
    """New York's date at `ts`, as days since 1970."""
    return (ts + offset_ns(ts)) // NS_PER_DAY


def moment(day: int, minutes: int) -> int:
    """ns UTC of a time of day in New York. No session begins or ends in the hour that the clocks change."""
    local = day * NS_PER_DAY + minutes * NS_PER_MINUTE
    return local - offset_ns(local - STANDARD_NS)


class TradingDay(msgspec.Struct, frozen=True):
    """Sessions of one day, ns UTC: early, regular, late."""

    day: int
    early: int
    opens: int
    closes: int
    late: int


def trading_days(bodies: Iterable[DayBody]) -> tuple[TradingDay, ...]:
    """The calendar as moments. Raises VenueProtocolError for days or times that cannot be."""
    days = []
    for body in bodies:
        day = date_days(body.date)
        opens, closes = _minutes(body.open), _minutes(body.close)
        # A half day's late session ends as much earlier as the regular one.
        early = _minutes(body.session_open) if body.session_open else EARLY_OPEN_MIN
        late = _minutes(body.session_close) if body.session_close else LATE_CLOSE_MIN
        if not early <= opens < closes <= late:
            raise VenueProtocolError(f"{body.date}: sessions in no order: {body.open}, {body.close}")
        days.append(TradingDay(day, moment(day, early), moment(day, opens), moment(day, closes), moment(day, late)))
    if any(later.day <= earlier.day for earlier, later in itertools.pairwise(days)):
        raise VenueProtocolError("the calendar's days do not rise")
    return tuple(days)


def _minutes(text: str) -> int:
    match = _CLOCK.match(text)
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise VenueProtocolError(f"{text[:20]!r} is no time of day")
    return int(match[1]) * 60 + int(match[2])


class Hours:
    """Where in the calendar a moment is. `is_extended`: the early and the late session count as trading."""

    def __init__(self, *, is_extended: bool) -> None:
        self._is_extended = is_extended
        self._days: tuple[TradingDay, ...] = ()

    def load(self, days: tuple[TradingDay, ...]) -> None:
        self._days = days

    @property
    def until(self) -> int:
        """What is behind this is not in the calendar that was loaded."""
        return self._days[-1].late if self._days else 0

    def status(self, ts: int) -> MarketStatus:
        for day in self._days:
            begins, ends = (day.early, day.late) if self._is_extended else (day.opens, day.closes)
            if begins <= ts < ends:
                return MarketStatus.TRADING
        return MarketStatus.CLOSED

    def next_change(self, ts: int) -> int:
        """When `status` next becomes another one; NEVER where the calendar does not reach."""
        for day in self._days:
            for edge in (day.early, day.late) if self._is_extended else (day.opens, day.closes):
                if edge > ts:
                    return edge
        return NEVER
