"""Deribit's two budgets as we count them: never more than the venue has for us, with a reserve that only cancels may touch.

Running out (10028) ends the session, and with cancel-on-disconnect on, that is a mass cancel: so our own count must run out
first. The venue counts a request when it arrives, we when it leaves. Whatever left within `jitter_ns` may arrive at one
moment, so our bucket is smaller than the venue's by what flows back in that time: then no bunching on the way can empty the
venue's.
"""

from __future__ import annotations

import msgspec

from core.units import NS_PER_SECOND

SUBSCRIBE_COST = 3_000  # documented as a cost of its own; in the same pool here, which is the safe way to read it


class CreditSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Documented defaults. The engine's rate depends on the account's turnover (private/get_account_summary shows it)."""

    request_cost: int = 500
    pool: int = 50_000
    refill_per_s: int = 10_000
    engine_burst: int = 20
    engine_per_s: int = 5
    cancel_reserve: int = 6  # requests of the engine's burst that only cancels may use
    query_reserve: int = 20  # requests of the pool that only heartbeats and cancels may use
    jitter_ns: int = NS_PER_SECOND // 2


class Bucket:
    """Tokens counted in 10^-9, so that a refill of whole tokens per second is exact to the nanosecond."""

    def __init__(self, size: int, refill_per_s: int, ts: int) -> None:
        assert size > 0
        assert refill_per_s > 0
        self._size = size * NS_PER_SECOND
        self._refill = refill_per_s
        self._tokens = self._size
        self._ts = ts

    def _advance(self, ts: int) -> None:
        if ts > self._ts:
            self._tokens = min(self._size, self._tokens + (ts - self._ts) * self._refill)
            self._ts = ts

    def take(self, ts: int, cost: int, reserve: int = 0) -> bool:
        """False where less than `reserve` would be left; then nothing was taken."""
        self._advance(ts)
        if self._tokens - cost * NS_PER_SECOND < reserve * NS_PER_SECOND:
            return False
        self._tokens -= cost * NS_PER_SECOND
        return True

    def ready_at(self, ts: int, cost: int, reserve: int = 0) -> int:
        """When take would succeed, if nobody else takes."""
        self._advance(ts)
        missing = (cost + reserve) * NS_PER_SECOND - self._tokens
        return self._ts if missing <= 0 else self._ts - (-missing // self._refill)

    def drain(self, ts: int) -> None:
        """The venue says that it is empty."""
        self._advance(ts)
        self._tokens = 0


class Credits:
    """The budgets of one sub-account as far as this connection uses them; others on it need settings that share."""

    def __init__(self, settings: CreditSettings, ts: int) -> None:
        self._settings = settings
        back = settings.refill_per_s * settings.jitter_ns // NS_PER_SECOND
        engine_back = -(-settings.engine_per_s * settings.jitter_ns // NS_PER_SECOND)
        self.pool = Bucket(settings.pool - back, settings.refill_per_s, ts)
        self.engine = Bucket(settings.engine_burst - engine_back, settings.engine_per_s, ts)

    def take_order(self, ts: int) -> bool:
        return self.engine.take(ts, 1, self._settings.cancel_reserve)

    def take_cancel(self, ts: int) -> bool:
        return self.engine.take(ts, 1)

    def cancel_ready_at(self, ts: int) -> int:
        return self.engine.ready_at(ts, 1)

    def _query_reserve(self) -> int:
        return self._settings.query_reserve * self._settings.request_cost

    def take_query(self, ts: int, cost: int | None = None) -> bool:
        return self.pool.take(ts, self._settings.request_cost if cost is None else cost, self._query_reserve())

    def query_ready_at(self, ts: int, cost: int | None = None) -> int:
        return self.pool.ready_at(ts, self._settings.request_cost if cost is None else cost, self._query_reserve())

    def take_session(self, ts: int) -> bool:
        """For heartbeats and the login: what keeps the connection alive."""
        return self.pool.take(ts, self._settings.request_cost)

    def drain(self, ts: int) -> None:
        self.pool.drain(ts)
        self.engine.drain(ts)
