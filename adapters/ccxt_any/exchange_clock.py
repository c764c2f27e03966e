"""The exchange's clock, asked for through ccxt: requests are signed with it, and what is listed bears its stamps."""

from __future__ import annotations

from collections.abc import Callable

from adapters.ccxt_any.account import Account
from adapters.http.clock_offset import ClockOffset
from core.errors import VenueProtocolError
from core.units import NS_PER_MS

CLOCK_READS = 3


async def read_clock(account: Account, clock: ClockOffset, monotonic_ns: Callable[[], int]) -> None:
    """A few readings into `clock`; nothing where ccxt has no fetchTime. Raises TransportError or VenueProtocolError."""
    if not account.has("fetchTime"):
        return
    for _ in range(CLOCK_READS):
        sent = monotonic_ns()
        ms = await account.ask("time", account.exchange.fetch_time)
        received = monotonic_ns()
        if type(ms) is not int or not 10**11 < ms < 10**14:
            raise VenueProtocolError(f"{account.venue}: {ms!r} is no time")
        if not clock.is_known:
            # So far nothing was signed for anybody: a number that this machine's wrong clock gave must not bind those to come.
            account.exchange.begin_nonces()
        clock.observe(sent, ms * NS_PER_MS, received)
