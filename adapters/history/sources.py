"""Every source of recorded market data, by name, and what its requests need."""

from __future__ import annotations

from adapters.history import alpha_vantage, binance_archive, polygon, theta
from adapters.history.alpha_vantage import AlphaVantage
from adapters.history.binance_archive import BinanceArchive
from adapters.history.polygon import Polygon
from adapters.history.tables import Source
from adapters.history.theta import Theta
from adapters.history.yahoo import Yahoo

# The parameter that carries the key, where one is needed.
KEY_PARAMETERS = {"alphavantage": "apikey", "polygon": "apiKey"}


def sources() -> dict[str, Source]:
    found: list[Source] = [BinanceArchive(), Polygon(), AlphaVantage(), Theta(), Yahoo()]
    return {source.name: source for source in found}


def origin_of(name: str) -> str:
    """Where its requests go; "" where they are not ours to send."""
    return _ORIGINS.get(name, "")


_ORIGINS = {
    "binance": binance_archive.ORIGIN,
    "polygon": polygon.ORIGIN,
    "alphavantage": alpha_vantage.ORIGIN,
    "theta": theta.ORIGIN,
}
