"""What a spot account must hold at least, for all that we believe to hold there is in it. Pure.

Such an account has balances and no positions. It may hold more of a currency than we know of: what it had before, what somebody
has sent. It may not hold less than our positions and those set aside come to, less what was paid with that currency there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from core.enums import InstrumentClass
from core.instruments import MONEY_SCALE, Instrument
from core.trader import Trader
from core.units import POW10, SCALE_MAX, format_fixed
from core.venue_adapter import VenueBalance

Held = Mapping[str, Collection[int]]
NO_UNITS: Mapping[str, int] = {}
NO_MONEY: Mapping[tuple[str, str], int] = {}


@dataclass(frozen=True, slots=True)
class Shortfall:
    """`needed` is more than `total`; both in 10^-MONEY_SCALE of the currency."""

    venue: str
    currency: str
    needed: int
    total: int

    @property
    def text(self) -> str:
        needed, total = (format_fixed(amount, MONEY_SCALE) for amount in (self.needed, self.total))
        return f"{self.currency} at {self.venue}: at least {needed} by what is held here, {total} in the account"


def shortfalls(
    trader: Trader,
    balances: Iterable[VenueBalance],
    held: Held,
    units_now: Mapping[str, int] = NO_UNITS,
    money_now: Mapping[tuple[str, str], int] = NO_MONEY,
) -> Iterator[Shortfall]:
    """Where an account holds less than it must.

    `held`: positions at one moment or another since the venue was asked, by instrument: the least of them counts. `units_now` and
    `money_now`: what the venue has done and is not booked here, in units by instrument and in money as Portfolio.venue_money.
    """
    for balance in balances:
        needed = needed_at_least(trader, balance.venue, balance.currency, held, units_now, money_now)
        if needed is not None and balance.total < needed:
            yield Shortfall(balance.venue, balance.currency, needed, balance.total)


def needed_at_least(
    trader: Trader,
    venue: str,
    currency: str,
    held: Held,
    units_now: Mapping[str, int] = NO_UNITS,
    money_now: Mapping[tuple[str, str], int] = NO_MONEY,
) -> int | None:
    """In 10^-MONEY_SCALE; None where it cannot be told: the currency has been paid with while the venue was asked."""
    aside, found = trader.foreign.set_aside, 0
    for key, instrument in trader.instruments.items():
        if instrument.instrument_class is not InstrumentClass.SPOT or instrument.venue != venue:
            continue
        if instrument.settlement_currency == currency and held.get(key):
            return None
        if instrument.base_currency == currency:
            here = min((trader.portfolio.by_instrument[key].qty, *held.get(key, ())))
            found += _finest(instrument, here + aside.get(key, 0) + units_now.get(key, 0))
    # What was paid with the currency has left the account, and no position: fees, what was bought with it, withdrawals.
    at_venue = (venue, currency)
    money = trader.portfolio.venue_money.get(at_venue, 0) + money_now.get(at_venue, 0)
    return max(found // POW10[SCALE_MAX - MONEY_SCALE] + min(money, 0), 0)


def _finest(instrument: Instrument, qty: int) -> int:
    """Units as 10^-SCALE_MAX of the base currency."""
    return qty * instrument.multiplier * POW10[SCALE_MAX - instrument.qty_scale]
