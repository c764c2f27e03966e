"""Breaks the Deribit adapter on purpose in every process that is started with this folder on its path: a fill is booked whatever
its order says of it."""

from __future__ import annotations

from typing import Any

from adapters.deribit.tracker import Tracker

_book = Tracker.book


def _gullible(self: Tracker, ts: int, trade: Any, _filled_max: int | None) -> None:
    _book(self, ts, trade, None)


Tracker.book = _gullible  # type: ignore[method-assign]  # that is the break
