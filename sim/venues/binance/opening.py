"""Opens the simulated Binance for a shell: which product, what goes wrong. Its two accounts are `us` and `them`.

The keys are "us-key" with the secret "us-secret", and "them-key" with "them-secret".
"""

from __future__ import annotations

from collections.abc import Mapping

from sim.venues.binance.faults import KNOWN, NOT_SHOWN
from sim.venues.binance.markets import Product
from sim.venues.binance.venue import BinanceVenue
from sim.venues.faults import Faults

__all__ = ["KNOWN", "NOT_SHOWN", "open_venue"]


def open_venue(*, seed: int, faults: Mapping[int, int], ts: int, product: str) -> BinanceVenue:
    """`faults`: occasions in a million by number; `product` "spot" or "usdm". Raises ValueError."""
    return BinanceVenue(Product(product), ts, seed=seed, faults=Faults(KNOWN, seed, faults))
