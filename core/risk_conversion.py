"""What one unit of each currency is worth in the account's currency: a fixed rate, or the market of an instrument."""

from __future__ import annotations

from core.errors import ConfigError
from core.instruments import Instrument
from core.risk_limits import RATE_SCALE
from core.units import POW10

ONE = POW10[RATE_SCALE]


class Conversion:
    """`rates` at RATE_SCALE by currency. A currency that is not in it is unknown, and unknown is for the caller to deny."""

    __slots__ = ("_markets", "currency", "rates")

    def __init__(self, currency: str, given: dict[str, int | str], instruments: dict[str, Instrument]) -> None:
        self.currency = currency
        self.rates: dict[str, int] = {currency: ONE} if currency else {}
        # By instrument: the currency whose rate its market is, and whether the market quotes the inverse of it.
        self._markets: dict[str, list[tuple[str, bool]]] = {}
        for source, rate in given.items():
            if type(rate) is int:
                if source == currency and rate != ONE:
                    raise ConfigError(f"the conversion rate of {currency} into itself is 1")
                self.rates[source] = rate
            else:
                assert isinstance(rate, str)
                instrument = instruments.get(rate)
                if instrument is None:
                    raise ConfigError(f"the conversion of {source} names an instrument that is not configured: {rate}")
                self._markets.setdefault(rate, []).append((source, self._is_inverted(source, instrument)))

    def _is_inverted(self, source: str, instrument: Instrument) -> bool:
        if instrument.multiplier == 1 or instrument.is_inverse:
            if (instrument.base_currency, instrument.quote_currency) == (source, self.currency):
                return False
            if (instrument.base_currency, instrument.quote_currency) == (self.currency, source):
                return True
        raise ConfigError(f"{instrument.instrument_id} is no market between {source} and {self.currency}")

    @property
    def has_markets(self) -> bool:
        return bool(self._markets)

    def covers(self, currency: str) -> bool:
        return currency in self.rates or any(currency == source for found in self._markets.values() for source, _ in found)

    def mark(self, instrument: Instrument, bid_price: int, ask_price: int) -> bool:
        """Takes the middle of an instrument's market where it is a rate; returns whether it is one."""
        found = self._markets.get(instrument.instrument_id)
        if found is None:
            return False
        twice = bid_price + ask_price
        for source, is_inverted in found:
            if not twice > 0:
                self.rates.pop(source, None)
            elif is_inverted:
                self.rates[source] = 2 * POW10[RATE_SCALE + instrument.price_scale] // twice
            else:
                self.rates[source] = twice * ONE // (2 * POW10[instrument.price_scale])
        return True

    def down(self, currency: str, value: int) -> int | None:
        """`value` in the account's currency, rounded towards minus infinity: for equity. None where there is no rate."""
        rate = self.rates.get(currency)
        return None if rate is None else value * rate // ONE

    def up(self, currency: str, value: int) -> int | None:
        """As `down`, rounded towards plus infinity: for exposure."""
        rate = self.rates.get(currency)
        return None if rate is None else -(-value * rate // ONE)
