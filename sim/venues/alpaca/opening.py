"""Opens a simulated Alpaca for `tradingd venue-sim alpaca`, rehearsals and drills."""

from __future__ import annotations

from collections.abc import Mapping

from sim.venues.alpaca.settings import DEFAULT, AlpacaSimSettings
from sim.venues.alpaca.venue import AlpacaVenue


def open_venue(
    *, seed: int, faults: Mapping[int, int] | None = None, ts: int, settings: AlpacaSimSettings = DEFAULT
) -> AlpacaVenue:
    """`faults`: how often in a million occasions, by the catalogue's number. Raises ValueError for one that is not known."""
    return AlpacaVenue(settings, seed=seed, ts=ts, ppm=dict(faults or {}))
