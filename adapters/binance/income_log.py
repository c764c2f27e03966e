"""The futures account's income history as far as it was asked for: what to ask next, and what is known. Pure; ms of the venue.

A row may become visible later than its stamp, so that the end is read again each time. What executions bear is not kept.
"""

from __future__ import annotations

import msgspec

from adapters.binance.cash_moves import is_of_a_fill
from adapters.binance.rest_bodies import IncomeBody
from core.errors import CapacityError

PAGE_ROWS = 1000  # the most that the venue gives at once
# [?] How late a row may be is nowhere said.
READ_AGAIN_MS = 10 * 60_000
# The venue keeps three months.
KEPT_BY_VENUE_MS = 90 * 24 * 3600 * 1000
ROWS_KEPT_MAX = 100_000
PAGES_MAX = 1_000  # in one asking


class IncomePage(msgspec.Struct, frozen=True):
    """`number` from 1, of what is between two stamps, both included."""

    since_ms: int
    until_ms: int
    number: int


class IncomeLog:
    def __init__(self) -> None:
        self.next: IncomePage | None = None  # what to ask; None: everything is known
        self._since_ms = -1  # known from there on; -1: nothing is
        self._until_ms = 0
        self._rows: dict[str, IncomeBody] = {}

    def begin(self, since_ms: int, now_ms: int) -> None:
        """Have everything from `since_ms` to `now_ms`, and what of before may have been late."""
        since_ms = max(since_ms - READ_AGAIN_MS, now_ms - KEPT_BY_VENUE_MS, 0)
        if self._since_ms < 0 or since_ms < self._since_ms:
            self._until_ms = since_ms
        self._since_ms = since_ms
        self._rows = {name: row for name, row in self._rows.items() if row.time >= since_ms}
        self.next = IncomePage(max(self._until_ms - READ_AGAIN_MS, self._since_ms), max(now_ms, since_ms), 1)

    def answered(self, rows: list[IncomeBody]) -> None:
        """The answer to `next`. Raises CapacityError where there is more than can be kept."""
        asked = self.next
        assert asked is not None
        self._rows.update((row.name, row) for row in rows if not is_of_a_fill(row))
        if len(self._rows) > ROWS_KEPT_MAX or asked.number >= PAGES_MAX:
            raise CapacityError(f"more than {ROWS_KEPT_MAX} payments, or {PAGES_MAX} pages of them, since they were asked for")
        if len(rows) >= PAGE_ROWS:
            self.next = IncomePage(asked.since_ms, asked.until_ms, asked.number + 1)
            return
        self.next, self._until_ms = None, asked.until_ms

    def known(self) -> list[IncomeBody]:
        """In order."""
        return sorted(self._rows.values(), key=lambda row: (row.time, row.name))
