"""New York's trading days: holidays, half days and sessions, by the exchanges' own rules. Pure; ns UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from core.units import NS_PER_SECOND

NEW_YORK = ZoneInfo("America/New_York")
EARLY, OPEN, CLOSE, LATE = time(4, 0), time(9, 30), time(16, 0), time(20, 0)
HALF_CLOSE, HALF_LATE = time(13, 0), time(17, 0)
NIGHT = time(0, 17)
DAY_BEGIN, DAY_END = time(0, 0), time(23, 59)
LOOK_AHEAD_DAYS = 14


class Phase(Enum):
    CLOSED = "closed"
    EARLY = "early"
    REGULAR = "regular"
    LATE = "late"


class Day(msgspec.Struct, frozen=True):
    day: date
    early: time
    opens: time
    closes: time
    late: time

    def stamps(self) -> tuple[int, int, int, int]:
        """early, opens, closes, late in ns UTC."""
        return (
            stamp(self.day, self.early),
            stamp(self.day, self.opens),
            stamp(self.day, self.closes),
            stamp(self.day, self.late),
        )


def stamp(day: date, at: time) -> int:
    return int(datetime.combine(day, at, NEW_YORK).astimezone(UTC).timestamp()) * NS_PER_SECOND


def new_york(ts: int) -> datetime:
    return datetime.fromtimestamp(ts // NS_PER_SECOND, NEW_YORK)


def after_midnight(ts: int) -> int:
    """When the venue reckons the New York day of `ts`: shortly behind its end."""
    return stamp(new_york(ts).date() + timedelta(days=1), NIGHT)


def trading_day(day: date, *, is_always_open: bool) -> Day | None:
    """None: weekend or holiday."""
    if is_always_open:
        return Day(day, DAY_BEGIN, DAY_BEGIN, DAY_END, DAY_END)
    if day.weekday() >= 5 or day in _holidays(day.year):
        return None
    if _is_half(day):
        return Day(day, EARLY, OPEN, HALF_CLOSE, HALF_LATE)
    return Day(day, EARLY, OPEN, CLOSE, LATE)


def trading_days(first: date, last: date, *, is_always_open: bool) -> list[Day]:
    count = min((last - first).days + 1, 3_660)
    days = (trading_day(first + timedelta(days=number), is_always_open=is_always_open) for number in range(max(count, 0)))
    return [day for day in days if day is not None]


def around(ts: int, *, is_always_open: bool) -> list[Day]:
    """The trading days from today on, at least one of them later."""
    today = new_york(ts).date()
    return trading_days(today, today + timedelta(days=LOOK_AHEAD_DAYS), is_always_open=is_always_open)


def phase_at(ts: int, *, is_always_open: bool) -> tuple[Phase, int]:
    """Which session it is, and when that changes."""
    for day in around(ts, is_always_open=is_always_open):
        early, opens, closes, late = day.stamps()
        for edge, phase in ((early, Phase.CLOSED), (opens, Phase.EARLY), (closes, Phase.REGULAR), (late, Phase.LATE)):
            if ts < edge:
                return phase, edge
    raise AssertionError("there is always another trading day")


@lru_cache(maxsize=64)
def _holidays(year: int) -> frozenset[date]:
    thanksgiving = _nth(year, 11, 3, 4)
    fixed = [date(year, 6, 19), date(year, 7, 4), date(year, 12, 25)]
    observed = [_observed(day) for day in fixed]
    new_year = date(year, 1, 1)
    # A New Year's Day on a Saturday is not made up for in the old year.
    if new_year.weekday() != 5:
        observed.append(new_year + timedelta(days=new_year.weekday() == 6))
    floating = [
        _nth(year, 1, 0, 3),
        _nth(year, 2, 0, 3),
        easter(year) - timedelta(days=2),
        _last_monday_of_may(year),
        _nth(year, 9, 0, 1),
        thanksgiving,
    ]
    return frozenset((*observed, *floating))


def _observed(day: date) -> date:
    return day - timedelta(days=1) if day.weekday() == 5 else day + timedelta(days=day.weekday() == 6)


def _is_half(day: date) -> bool:
    """The day behind Thanksgiving, Christmas Eve, and the day before Independence Day where that is a weekday."""
    if day == _nth(day.year, 11, 3, 4) + timedelta(days=1):
        return True
    return (day.month, day.day) in ((12, 24), (7, 3)) and (day + timedelta(days=1)).weekday() < 5


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))


def _last_monday_of_may(year: int) -> date:
    last = date(year, 5, 31)
    return last - timedelta(days=last.weekday())


def easter(year: int) -> date:
    """Butcher's rule."""
    a, b, c = year % 19, year // 100, year % 100
    d, e, f = b // 4, b % 4, (b + 8) // 25
    g = (b - f + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = c // 4, c % 4
    j = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * j) // 451
    month, day = divmod(h + j - 7 * m + 114, 31)
    return date(year, month, day + 1)
