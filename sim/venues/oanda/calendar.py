"""New York's clock as OANDA keeps it: trading week, end of the day at 17:00, how wide quotes are at which hour. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from core.units import NS_PER_SECOND

NEW_YORK = ZoneInfo("America/New_York")
DAY_END_HOUR = 17
FRIDAY, SATURDAY, SUNDAY = 4, 5, 6
SPREAD_FACTOR_SCALE = 10
# Multiples of a pair's own spread, in tenths, by New York's hour: the hours around 17:00 are the widest.
_FACTORS = {16: 15, 17: 60, 18: 25, 19: 15, 20: 15, 21: 15, 22: 15, 23: 15, 0: 13, 1: 13, 2: 12}


def local(ts: int) -> datetime:
    return datetime.fromtimestamp(ts // NS_PER_SECOND, NEW_YORK)


def is_open(ts: int) -> bool:
    """From Sunday 17:00 to Friday 17:00."""
    now = local(ts)
    day, hour = now.weekday(), now.hour
    if day == SATURDAY:
        return False
    if day == SUNDAY:
        return hour >= DAY_END_HOUR
    return day != FRIDAY or hour < DAY_END_HOUR


def next_day_end(ts: int) -> int:
    """The first 17:00 after `ts`, ns UTC; of every day of the week."""
    now = local(ts)
    end = now.replace(hour=DAY_END_HOUR, minute=0, second=0, microsecond=0)
    while int(end.timestamp()) * NS_PER_SECOND <= ts:
        # By the calendar, not by 24 hours: twice a year they differ.
        day = (end + timedelta(days=1)).date()
        end = datetime(day.year, day.month, day.day, DAY_END_HOUR, tzinfo=NEW_YORK)
    return int(end.timestamp()) * NS_PER_SECOND


def spread_at(ts: int, points: int) -> int:
    """A pair's spread at this hour, in points, at least one."""
    return max(points * _FACTORS.get(local(ts).hour, SPREAD_FACTOR_SCALE) // SPREAD_FACTOR_SCALE, 1)
