"""Request weight by address and order counts by account, in the venue's windows; throttles and bans."""

from __future__ import annotations

import msgspec

from core.units import NS_PER_DAY, NS_PER_MINUTE, NS_PER_SECOND
from sim.venues.binance.markets import Product
from sim.venues.binance.wire import ApiError

BAN_AFTER = 10  # throttled answers in a row that a client does not heed
BAN_NS = 2 * NS_PER_MINUTE


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    weight_1m: int
    raw_5m: int
    orders_10s: int
    orders_long: int
    orders_long_ns: int
    orders_long_name: str


LIMITS = {
    Product.SPOT: Limits(
        weight_1m=6000, raw_5m=61_000, orders_10s=100, orders_long=200_000, orders_long_ns=NS_PER_DAY, orders_long_name="1d"
    ),
    Product.USDM: Limits(
        weight_1m=2400, raw_5m=61_000, orders_10s=300, orders_long=1200, orders_long_ns=NS_PER_MINUTE, orders_long_name="1m"
    ),
}


class _Window:
    """A count that begins anew at each multiple of its length."""

    def __init__(self, length_ns: int) -> None:
        self.length_ns = length_ns
        self.count = 0
        self._at = -1

    def add(self, ts: int, count: int) -> int:
        at = ts // self.length_ns
        if at != self._at:
            self._at, self.count = at, 0
        self.count += count
        return self.count

    def rest_s(self, ts: int) -> int:
        return max(1, -(-(self.length_ns - ts % self.length_ns) // NS_PER_SECOND))


class Meters:
    """One address (all connections are of one) and its accounts."""

    def __init__(self, product: Product, limits: Limits | None = None) -> None:
        self.limits = limits or LIMITS[product]
        self._weight = _Window(NS_PER_MINUTE)
        self._raw = _Window(5 * NS_PER_MINUTE)
        self._orders: dict[str, tuple[_Window, _Window]] = {}
        self._unheeded = 0
        self.banned_until = 0

    def ban(self, ts: int) -> None:
        self.banned_until = ts + BAN_NS

    def take(self, ts: int, weight: int) -> None:
        """A request of so much weight. Raises ApiError 418 or 429."""
        if ts < self.banned_until:
            until = self.banned_until // 1_000_000
            retry = max(1, (self.banned_until - ts) // NS_PER_SECOND)
            text = f"Way too much request weight used; IP banned until {until}."
            raise ApiError(-1003, text, 418, (("Retry-After", str(retry)),))
        over = self._weight.add(ts, weight) > self.limits.weight_1m or self._raw.add(ts, 1) > self.limits.raw_5m
        if not over:
            self._unheeded = 0
            return
        self._unheeded += 1
        if self._unheeded > BAN_AFTER:
            self._unheeded = 0
            self.ban(ts)
        text = f"Too much request weight used; current limit is {self.limits.weight_1m} request weight per 1 MINUTE."
        raise ApiError(-1003, text, 429, (("Retry-After", str(self._weight.rest_s(ts))),))

    def take_order(self, ts: int, account: str) -> None:
        """An order of this account. Raises ApiError 429."""
        short, long = self._windows(account)
        if short.add(ts, 1) > self.limits.orders_10s or long.add(ts, 1) > self.limits.orders_long:
            text = f"Too many new orders; current limit is {self.limits.orders_10s} orders per 10 SECOND."
            raise ApiError(-1015, text, 429, (("Retry-After", str(short.rest_s(ts))),))

    def headers(self, account: str | None) -> tuple[tuple[str, str], ...]:
        found = [("x-mbx-used-weight", str(self._weight.count)), ("x-mbx-used-weight-1m", str(self._weight.count))]
        if account is not None:
            short, long = self._windows(account)
            found.append(("x-mbx-order-count-10s", str(short.count)))
            found.append((f"x-mbx-order-count-{self.limits.orders_long_name}", str(long.count)))
        return tuple(found)

    def _windows(self, account: str) -> tuple[_Window, _Window]:
        if account not in self._orders:
            self._orders[account] = (_Window(10 * NS_PER_SECOND), _Window(self.limits.orders_long_ns))
        return self._orders[account]

    def as_info(self) -> list[dict[str, object]]:
        limits = self.limits
        long = ("DAY", 1) if limits.orders_long_ns == NS_PER_DAY else ("MINUTE", 1)
        rows = (
            ("REQUEST_WEIGHT", "MINUTE", 1, limits.weight_1m),
            ("ORDERS", "SECOND", 10, limits.orders_10s),
            ("ORDERS", *long, limits.orders_long),
            ("RAW_REQUESTS", "MINUTE", 5, limits.raw_5m),
        )
        return [
            {"rateLimitType": kind, "interval": unit, "intervalNum": count, "limit": limit} for kind, unit, count, limit in rows
        ]
