"""The regulators' fees on sells, by the New York date of the trade; each rounded up to the venue's grain. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.enums import Side
from core.instruments import MONEY_SCALE
from core.units import POW10
from sim.venues.alpaca.hours import new_york
from sim.venues.alpaca.settings import USD, AlpacaSimSettings, Fee
from sim.venues.exchange.model import Account, Listing

SEC_DENOMINATOR = POW10[8]
TAF_SCALE = 9


def fee_rule(
    settings: AlpacaSimSettings, now: Callable[[], int]
) -> Callable[[Account, Listing, Side, int, int, bool], tuple[int, str]]:
    """For the exchange; `now`: the stamp of what happens at this moment, ns UTC."""

    def fee(_account: Account, listing: Listing, side: Side, price: int, qty: int, _is_maker: bool) -> tuple[int, str]:
        if side is Side.BUY:
            return 0, USD
        day = new_york(now()).date().isoformat()
        sec = _in_force(settings.sec_fees, day)
        taf = _in_force(settings.taf_fees, day)
        grain = settings.fee_grain
        of_value = _up(listing.rules.notional(price, qty) * sec.rate, SEC_DENOMINATOR, grain)
        of_shares = _up(qty * taf.rate * POW10[MONEY_SCALE], POW10[listing.rules.qty_scale + TAF_SCALE], grain)
        return of_value + min(of_shares, taf.most), USD

    return fee


def _in_force(schedule: Sequence[Fee], day: str) -> Fee:
    return max((fee for fee in schedule if fee.since <= day), key=lambda fee: fee.since, default=Fee("", 0, 0))


def _up(numerator: int, denominator: int, grain: int) -> int:
    whole, rest = divmod(numerator, denominator * grain)
    return (whole + (rest > 0)) * grain
