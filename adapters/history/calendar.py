"""Days and months in UTC as the units that sources are asked in. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from adapters.history.tables import Unit
from core.units import NS_PER_DAY, NS_PER_SECOND

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def day_of(ts: int) -> datetime:
    """Midnight UTC of the day of `ts`."""
    return EPOCH + timedelta(days=ts // NS_PER_DAY)


def ns_of(moment: datetime) -> int:
    return int((moment - EPOCH) / timedelta(seconds=1)) * NS_PER_SECOND


def days(start: int, end: int, count: int = 1) -> list[Unit]:
    """Stretches of `count` whole days over [start, end), named by their first."""
    found, day = [], day_of(start)
    while ns_of(day) < end:
        following = day + timedelta(days=count)
        found.append(Unit(f"{day:%Y-%m-%d}", ns_of(day), ns_of(following)))
        day = following
    return found


def months(start: int, end: int) -> list[Unit]:
    found, month = [], day_of(start).replace(day=1)
    while ns_of(month) < end:
        following = (month + timedelta(days=32)).replace(day=1)
        found.append(Unit(f"{month:%Y-%m}", ns_of(month), ns_of(following)))
        month = following
    return found
