"""config/venues/oanda.toml as the adapter's own type: endpoints, limits, times. Pure."""

from __future__ import annotations

import msgspec


class Endpoints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Origins without a slash at the end."""

    api: str
    stream: str
    account_prefix: str  # what account ids there begin with


class OandaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times in seconds. The ranges are the types' and `problem`'s."""

    live: Endpoints
    test: Endpoints
    requests_per_s: int = 100  # of OANDA's 120; the rest is for the guardian and for people
    cancel_reserve: int = 20  # of them, for cancels alone
    order_reserve: int = 40  # of them, for cancels and orders
    connections_max: int = 6
    request_deadline_s: float = 10.0
    connect_timeout_s: float = 3.0
    connection_idle_s: float = 45.0
    stream_silence_s: float = 12.0  # both streams say something every 5 s
    connect_interval_s: float = 0.7  # between new connections: OANDA takes two a second
    backoff_first_s: float = 0.5
    backoff_max_s: float = 30.0
    holds_s: float = 10.0  # a stream that has lived so long was a good one
    look_s: float = 20.0  # how often transactions are asked for whatever the stream says
    rest_s: float = 0.5  # what is left of a partly filled order is asked about so long after the fill
    rules_s: float = 3_600.0  # how often the instruments' rules are read again
    not_found_s: float = 15.0  # an order sent so long ago has arrived or never will
    clock_error_s_max: float = 5.0
    page_size: int = 1_000  # transactions in one answer; OANDA takes at most 1000
    pages_max: int = 200

    @property
    def problem(self) -> str:
        """What cannot be, or nothing."""
        if not 0 < self.cancel_reserve + self.order_reserve < self.requests_per_s:
            return "cancel_reserve and order_reserve must leave something of requests_per_s"
        if not 3 <= self.connections_max <= 64:
            return "connections_max must be 3 to 64"
        if not 1 <= self.page_size <= 1_000 or self.pages_max < 1:
            return "page_size must be 1 to 1000, pages_max at least 1"
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not 0 < value <= 86_400:
                return f"{name} must be more than 0 and at most 86400"
        return ""
