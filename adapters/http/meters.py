"""How much of a venue's budget is used: counts over a sliding window, and credits that refill. Pure; times in ns."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Protocol

from core.units import NS_PER_SECOND

NEVER = 1 << 62
# A window keeps its counts in so many slices: memory is bounded, and a count leaves at most one slice late.
SLICES = 64


class Lane(IntEnum):
    """Who goes first, and who may use which part of a budget."""

    CANCEL = 0  # all of it
    ORDER = 1  # all but what is kept for cancels
    QUERY = 2  # all but what is kept for cancels and orders


class Meter(Protocol):
    def wait(self, now: int, amount: int, lane: Lane) -> int:
        """ns until `amount` may be taken; 0: now; NEVER: it is more than this lane may ever use."""

    def take(self, now: int, amount: int) -> None: ...

    def give_back(self, amount: int) -> None:
        """What was taken for a request that was provably not sent."""

    def observe(self, now: int, used: int) -> None:
        """What the venue says is used of it."""


class SlidingWindow:
    """At most `limit` in any `interval_ns`, wherever the venue's own window begins.

    A venue's fixed window cannot overflow while every sliding one holds. `cancel_reserve` is for cancels alone,
    `order_reserve` for them and orders, `query_reserve` for them and queries.
    """

    def __init__(
        self, limit: int, interval_ns: int, *, cancel_reserve: int = 0, order_reserve: int = 0, query_reserve: int = 0
    ) -> None:
        assert limit > 0
        assert interval_ns > 0
        assert cancel_reserve + max(order_reserve, query_reserve) < limit
        self.limit = limit
        self._interval = interval_ns
        self._slice = max(1, interval_ns // SLICES)
        self._allowed = (limit, limit - cancel_reserve - query_reserve, limit - cancel_reserve - order_reserve)
        self._counts: deque[list[int]] = deque()  # [end of its slice, amount], oldest first
        self.used = 0

    def wait(self, now: int, amount: int, lane: Lane) -> int:
        allowed = self._allowed[lane]
        if amount > allowed:
            return NEVER
        self._expire(now)
        too_many = self.used + amount - allowed
        if too_many <= 0:
            return 0
        for end, count in self._counts:
            too_many -= count
            if too_many <= 0:
                return end + self._interval - now
        raise AssertionError("the window's counts do not add up to what it says is used")

    def most(self, lane: Lane) -> int:
        """What this lane may use of a window at all."""
        return self._allowed[lane]

    def left(self, now: int, lane: Lane) -> int:
        """What this lane may take at once."""
        self._expire(now)
        return max(0, self._allowed[lane] - self.used)

    def take(self, now: int, amount: int) -> None:
        self._expire(now)
        self._add(now, amount)

    def give_back(self, amount: int) -> None:
        while amount > 0 and self._counts:
            newest = self._counts[-1]
            taken = min(amount, newest[1])
            newest[1] -= taken
            self.used -= taken
            amount -= taken
            if newest[1]:
                return
            self._counts.pop()

    def observe(self, now: int, used: int) -> None:
        """Believed upward: others share the budget. Downward this side's sliding count is the more careful one."""
        self._expire(now)
        if used > self.used:
            self._add(now, used - self.used)

    def _add(self, now: int, amount: int) -> None:
        # The end of the slice, so that nothing leaves before its full interval has passed.
        end = now + self._slice - now % self._slice
        if self._counts and self._counts[-1][0] >= end:
            self._counts[-1][1] += amount
        else:
            self._counts.append([end, amount])
        self.used += amount

    def _expire(self, now: int) -> None:
        while self._counts and self._counts[0][0] + self._interval <= now:
            self.used -= self._counts.popleft()[1]


class TokenBucket:
    """Credits up to `capacity` that refill at `refill_per_s`; the reserves as in SlidingWindow."""

    def __init__(self, capacity: int, refill_per_s: int, *, cancel_reserve: int = 0, order_reserve: int = 0) -> None:
        assert capacity > 0
        assert refill_per_s > 0
        assert cancel_reserve + order_reserve < capacity
        self.capacity = capacity
        self._refill = refill_per_s
        self._floors = (0, cancel_reserve, cancel_reserve + order_reserve)
        # Credits times NS_PER_SECOND: whole numbers, so that no refill is ever rounded away.
        self._held = capacity * NS_PER_SECOND
        self._at = 0

    def wait(self, now: int, amount: int, lane: Lane) -> int:
        floor = self._floors[lane]
        if amount > self.capacity - floor:
            return NEVER
        self._advance(now)
        missing = (amount + floor) * NS_PER_SECOND - self._held
        return 0 if missing <= 0 else -(-missing // self._refill)

    def take(self, now: int, amount: int) -> None:
        self._advance(now)
        self._held -= amount * NS_PER_SECOND

    def give_back(self, amount: int) -> None:
        self._held = min(self._held + amount * NS_PER_SECOND, self.capacity * NS_PER_SECOND)

    def observe(self, now: int, used: int) -> None:
        self._advance(now)
        self._held = min(self._held, (self.capacity - used) * NS_PER_SECOND)

    def _advance(self, now: int) -> None:
        if now > self._at:
            self._held = min(self._held + (now - self._at) * self._refill, self.capacity * NS_PER_SECOND)
            self._at = now
