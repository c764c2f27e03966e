"""Holds what the paper runs show against what the configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.units import NS_PER_SECOND, parse_duration_ns
from daemon.config.models_promotion import Promotion as Rules
from daemon.promotion.evidence import PaperRun


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is asked for. Texts for a person; `is_met` decides."""

    name: str
    needed: str
    found: str
    is_met: bool


def judge(rules: Rules, runs: Sequence[PaperRun]) -> list[Criterion]:
    """Only runs that count; all of them together. A run that failed counts, and fails."""
    counted = [run for run in runs if not run.why_not]
    traded = sum(run.traded_ns for run in counted)
    orders, fills, trips = (sum(getattr(run, name) for run in counted) for name in ("orders", "fills", "trips"))
    failures = sum(bool(run.failure) for run in counted)
    time_min = parse_duration_ns(rules.paper_time_min)
    return [
        _at_least("runs", 1, len(counted)),
        Criterion(
            name="time traded on paper",
            needed=f"at least {clock_text(time_min)}",
            found=clock_text(traded),
            is_met=traded >= time_min,
        ),
        _at_least("orders", rules.orders_min, orders),
        _at_least("fills", rules.fills_min, fills),
        _at_most("limits tripped", rules.trips_max, trips),
        _at_most("failures", 0, failures),
    ]


def _at_least(name: str, needed: int, found: int) -> Criterion:
    return Criterion(name=name, needed=f"at least {needed:,}", found=f"{found:,}", is_met=found >= needed)


def _at_most(name: str, needed: int, found: int) -> Criterion:
    return Criterion(name=name, needed=f"at most {needed:,}", found=f"{found:,}", is_met=found <= needed)


def clock_text(duration_ns: int) -> str:
    """Hours, minutes, seconds."""
    minutes, seconds = divmod(duration_ns // NS_PER_SECOND, 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} h"
