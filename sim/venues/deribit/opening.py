"""Opens the simulated Deribit: its markets, a crowd, two accounts and their keys, which are no secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.instruments import Instrument
from sim.venues.deribit.crowd import Crowd
from sim.venues.deribit.faults import KNOWN, NOT_SHOWN
from sim.venues.deribit.markets import default_markets, market_of
from sim.venues.deribit.venue import DeribitVenue
from sim.venues.faults import Faults

__all__ = ["KEYS", "KNOWN", "NOT_SHOWN", "open_venue"]

# By account: the parts of its key, and of a second one for the guardian. They open the simulator and nothing else.
KEYS: dict[str, dict[str, str]] = {
    "main": {
        "key": "sim-main",
        "secret": "sim-main-secret",
        "guardian_key": "sim-main-guardian",
        "guardian_secret": "sim-main-guardian-secret",
    },
    "other": {
        "key": "sim-other",
        "secret": "sim-other-secret",
        "guardian_key": "sim-other-guardian",
        "guardian_secret": "sim-other-guardian-secret",
    },
}
# A key that no careful adapter takes: it may withdraw.
WITHDRAWING_KEY = ("sim-withdraw", "sim-withdraw-secret")
CASH = {"BTC": 10 * 10**8, "USDC": 1_000_000 * 10**8}
CASH_ELSEWHERE = 1_000 * 10**8


def open_venue(
    *,
    seed: int,
    faults: Mapping[int, int] | None,
    ts: int,
    instruments: Sequence[Instrument] = (),
    is_alone: bool = False,
) -> DeribitVenue:
    """`faults`: how often in a million occasions, by number. `instruments`: listed beside its own where they are not among them.

    `is_alone`: without a crowd, everybody else does what `act` says. Raises ValueError for faults that it does not know.
    """
    markets = dict(default_markets())
    for place, instrument in enumerate(instruments):
        market = market_of(instrument, 900_000 + place)
        markets.setdefault(market.name, market)
    venue = DeribitVenue(ts, markets=markets, faults=Faults(KNOWN, seed, faults))
    cash = CASH | dict.fromkeys((market.rules.settlement_currency for market in markets.values()), CASH_ELSEWHERE) | CASH
    for name, parts in KEYS.items():
        account = venue.add_account(name, parts["key"], parts["secret"], cash)
        venue.add_key(account, parts["guardian_key"], parts["guardian_secret"])
    main = venue.accounts[KEYS["main"]["key"]]
    venue.add_key(main, *WITHDRAWING_KEY, scope="account:read_write trade:read_write wallet:read_write")
    if not is_alone:
        venue.market_crowd = Crowd(seed, ts)
    return venue
