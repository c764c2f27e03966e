"""Opens the simulated gateway: its contracts, a crowd, two paper accounts. Nothing here is a secret: the gateway has none."""

from __future__ import annotations

from collections.abc import Mapping

from core.enums import InstrumentClass, Side
from core.instruments import Instrument
from sim.venues.exchange.crowd import Crowd, CrowdSettings
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.model import Account, Listing
from sim.venues.faults import Faults
from sim.venues.ib.faults import KNOWN
from sim.venues.ib.listed import Contract
from sim.venues.ib.venue import IbVenue
from sim.venues.ib.wire import VERSION_MAX

__all__ = ["ACCOUNTS", "INSTRUMENTS", "KNOWN", "SYMBOLS", "open_venue"]

ACCOUNTS = ("DU1000001", "DU1000002")
CASH = {"USD": 1_000_000 * 10**8}
CENT = 10**6  # of money
FUTURE_FEE = 225 * CENT  # for each contract
OPTION_FEE = 65 * CENT
SHARE_FEE = CENT // 2  # for each share, a dollar at least
STOCK_RULE, FUTURE_RULE, OPTION_RULE = 26, 67, 110
RULES: dict[int, tuple[tuple[str, str], ...]] = {
    STOCK_RULE: (("0.0", "0.0001"), ("1.0", "0.01")),
    FUTURE_RULE: (("0.0", "0.25"),),
    OPTION_RULE: (("0.0", "0.01"), ("3.0", "0.05")),
}


def _instrument(
    symbol: str, kind: InstrumentClass, *, scale: int, tick: int, multiplier: int = 1, price_min: int = 1
) -> Instrument:
    return Instrument(
        instrument_id=f"{symbol}.IB",
        instrument_class=kind,
        base_currency=symbol,
        quote_currency="USD",
        settlement_currency="USD",
        price_scale=scale,
        qty_scale=0,
        tick=tick,
        price_min=price_min,
        price_max=10**9,
        qty_max=10**6,
        multiplier=multiplier,
    )


# Shares to four decimals: executions of them are finer than the tick.
INSTRUMENTS = {
    each.instrument_id: each
    for each in (
        _instrument("ESZ6", InstrumentClass.FUTURE, scale=2, tick=25, multiplier=50),
        _instrument("MESZ6", InstrumentClass.FUTURE, scale=2, tick=25, multiplier=5),
        _instrument("AAPL", InstrumentClass.EQUITY, scale=4, tick=100, price_min=10_000),
        _instrument("AAPL-C250", InstrumentClass.OPTION, scale=2, tick=5, multiplier=100, price_min=5),
    )
}
SYMBOLS = {"AAPL-C250.IB": "OPT AAPL 20261218 C 250 SMART USD"}
FAIR = {"ESZ6.IB": 680_000, "MESZ6.IB": 680_000, "AAPL.IB": 2_500_000, "AAPL-C250.IB": 500}
CONTRACTS = {
    "ESZ6.IB": Contract(
        con_id=495512557,
        symbol="ES",
        security_type="FUT",
        local_symbol="ESZ6",
        trading_class="ES",
        exchanges=("CME",),
        currency="USD",
        multiplier="50",
        expiry="20261218",
        long_name="E-mini S&P 500",
        rule=FUTURE_RULE,
    ),
    "MESZ6.IB": Contract(
        con_id=495512572,
        symbol="MES",
        security_type="FUT",
        local_symbol="MESZ6",
        trading_class="MES",
        exchanges=("CME",),
        currency="USD",
        multiplier="5",
        expiry="20261218",
        long_name="Micro E-Mini S&P 500 Stock Price Index",
        rule=FUTURE_RULE,
    ),
    "AAPL.IB": Contract(
        con_id=265598,
        symbol="AAPL",
        security_type="STK",
        local_symbol="AAPL",
        trading_class="NMS",
        exchanges=("NASDAQ", "SMART", "ARCA"),
        currency="USD",
        long_name="APPLE INC",
        rule=STOCK_RULE,
        min_tick="0.01",
    ),
    "AAPL-C250.IB": Contract(
        con_id=700000250,
        symbol="AAPL",
        security_type="OPT",
        local_symbol="AAPL  261218C00250000",
        trading_class="AAPL",
        exchanges=("CBOE", "SMART", "AMEX"),
        currency="USD",
        multiplier="100",
        expiry="20261218",
        strike="250.0",
        right="C",
        long_name="APPLE INC",
        rule=OPTION_RULE,
        min_tick="0.01",
    ),
}


def commission(_account: Account, listing: Listing, _side: Side, _price: int, qty: int, _is_maker: bool) -> tuple[int, str]:
    kind = listing.rules.instrument_class
    if kind is InstrumentClass.EQUITY:
        return max(qty * SHARE_FEE, 100 * CENT), "USD"
    return qty * (FUTURE_FEE if kind is InstrumentClass.FUTURE else OPTION_FEE), "USD"


def open_venue(
    *,
    seed: int,
    faults: Mapping[int, int] | Faults | None,
    ts: int,
    is_alone: bool = False,
    version_max: int = VERSION_MAX,
) -> IbVenue:
    """`faults`: how often in a million occasions, by number. `is_alone`: without a crowd, everybody else does what `act` says."""
    planned = faults if isinstance(faults, Faults) else Faults(KNOWN, seed, faults)
    listings = [
        Listing(
            name=key, rules=rules, leverage_max=12, margin="margin", last=FAIR[key], takes_when_closed=True, tag=CONTRACTS[key]
        )
        for key, rules in INSTRUMENTS.items()
    ]
    exchange = Exchange(listings, fee=commission)
    for account in ACCOUNTS:
        exchange.add_account(account, dict(CASH))
    crowd = None
    if not is_alone:
        crowd = Crowd(exchange, seed, {key: CrowdSettings(fair=fair) for key, fair in FAIR.items()}, ts)
    return IbVenue(exchange, faults=planned, rules=RULES, crowd=crowd, version_max=version_max)
