"""What the regulators take of a sale: the SEC's and FINRA's fees by the date of the trade. Pure; money in 10^-MONEY_SCALE."""

from __future__ import annotations

from adapters.alpaca.exact import date_days
from adapters.alpaca.hours import trade_date
from adapters.alpaca.settings import SEC_RATE_SCALE, TAF_RATE_SCALE, AlpacaSettings
from core.enums import Side
from core.instruments import MONEY_SCALE, Instrument
from core.units import POW10, parse_fixed

MILLION = 1_000_000


class Fees:
    """Both are zero before the schedule's first date."""

    def __init__(self, settings: AlpacaSettings) -> None:
        self._is_on = settings.fees_from_schedule
        self._grain = POW10[MONEY_SCALE - settings.fee_decimals]
        self._sec = [(date_days(row.since), parse_fixed(row.usd_per_million, SEC_RATE_SCALE)) for row in settings.sec_fees]
        self._taf = [
            (date_days(row.since), parse_fixed(row.usd_per_share, TAF_RATE_SCALE), parse_fixed(row.usd_max, MONEY_SCALE))
            for row in settings.taf_fees
        ]

    def of(self, instrument: Instrument, side: Side, price: int, qty: int, ts: int) -> int:
        """Of one execution, each fee rounded up to the venue's grain."""
        if side is Side.BUY or not self._is_on:
            return 0
        day = trade_date(ts)
        rate = next((rate for since, rate in reversed(self._sec) if since <= day), 0)
        sec = self._up(instrument.notional(price, qty) * rate, MILLION * POW10[SEC_RATE_SCALE])
        per_share, most = next(((share, most) for since, share, most in reversed(self._taf) if since <= day), (0, 0))
        taf = self._up(qty * per_share * POW10[MONEY_SCALE], POW10[instrument.qty_scale + TAF_RATE_SCALE])
        return sec + min(taf, most)

    def _up(self, numerator: int, denominator: int) -> int:
        return -(-numerator // (denominator * self._grain)) * self._grain
