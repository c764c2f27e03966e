"""The regulators' fees on sells by the New York date of the trade: with all decimals; a day's at the venue's grain. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from core.instruments import Instrument
from core.units import POW10
from sim.venues.alpaca.settings import AlpacaSimSettings, Fee

SEC_SCALE = 8
TAF_SCALE = 9
DUE_SCALE = 18  # of what is due: finer than any of it


def of_sale(settings: AlpacaSimSettings, rules: Instrument, price: int, qty: int, day: str) -> tuple[int, int]:
    """What the SEC and FINRA take of one execution, 10^-DUE_SCALE USD."""
    sec, taf = _in_force(settings.sec_fees, day), _in_force(settings.taf_fees, day)
    of_value = price * qty * sec.rate * POW10[DUE_SCALE - SEC_SCALE] // POW10[rules.price_scale + rules.qty_scale]
    of_shares = qty * taf.rate * POW10[DUE_SCALE - TAF_SCALE] // POW10[rules.qty_scale]
    return of_value, min(of_shares, taf.most * POW10[DUE_SCALE - 8])


def rounded(settings: AlpacaSimSettings, due: int) -> int:
    """Up to the venue's grain, 10^-8 USD; nothing where nothing is due."""
    grain = settings.fee_grain * POW10[DUE_SCALE - 8]
    return -(-max(due, 0) // grain) * settings.fee_grain


def _in_force(schedule: Sequence[Fee], day: str) -> Fee:
    return max((fee for fee in schedule if fee.since <= day), key=lambda fee: fee.since, default=Fee("", 0, 0))
