"""The simulated OANDA as `tradingd venue-sim oanda` opens it: two practice accounts behind tokens that say whose they are."""

from __future__ import annotations

from collections.abc import Mapping

from sim.venues.oanda.faults import NOT_SHOWN
from sim.venues.oanda.venue import OandaVenue

__all__ = ["ACCOUNTS", "BALANCE", "NOT_SHOWN", "open_venue"]

ACCOUNTS = {
    "101-001-1000001-001": "simulated-token-1",
    "101-001-1000002-001": "simulated-token-2",
}
BALANCE = 100_000 * 10**8


def open_venue(seed: int = 0, faults: Mapping[int, int] | None = None, ts: int = 0) -> OandaVenue:
    """`faults`: rates in a million by the catalogue's number. Raises ValueError for one that this venue cannot show.

    It never closes: a rehearsal may be on a Sunday.
    """
    venue = OandaVenue(ts, seed=seed, faults=faults, keeps_week=False)
    for name, token in ACCOUNTS.items():
        venue.add_account(ts, name, token, BALANCE)
    return venue
