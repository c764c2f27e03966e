"""The contracts that the simulated gateway knows, and what it says of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core.instruments import Instrument
from sim.venues.exchange.model import Listing
from sim.venues.ib.requests import Wanted


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """One contract; `tag` of its Listing. `exchanges`: where an order for it may go; the first one is where it is listed."""

    con_id: int
    symbol: str
    security_type: str
    local_symbol: str
    trading_class: str
    exchanges: tuple[str, ...]
    currency: str
    multiplier: str = ""
    expiry: str = ""
    strike: str = "0.0"
    right: str = ""
    long_name: str = ""
    rule: int = 0
    price_magnifier: int = 1
    min_tick: str = ""  # where it is finer than the rule

    def fields(self, exchange: str = "") -> list[object]:
        """As open orders, executions and positions name it: conId to tradingClass, without a primary exchange."""
        return [
            self.con_id,
            self.symbol,
            self.security_type,
            self.expiry,
            self.strike,
            self.right,
            self.multiplier,
            exchange,
            self.currency,
            self.local_symbol,
            self.trading_class,
        ]


def contract_of(listing: Listing) -> Contract:
    assert isinstance(listing.tag, Contract)
    return listing.tag


def matching(listings: Iterable[Listing], wanted: Wanted) -> list[Listing]:
    """Every contract that is what the client names."""
    return [listing for listing in listings if _is(contract_of(listing), wanted)]


def _is(known: Contract, wanted: Wanted) -> bool:
    if wanted.exchange and wanted.exchange not in known.exchanges:
        return False
    if wanted.con_id:
        return wanted.con_id == known.con_id
    same = (
        (wanted.symbol, known.symbol),
        (wanted.security_type, known.security_type),
        (wanted.expiry, known.expiry),
        (wanted.right[:1], known.right),
        (wanted.multiplier, known.multiplier),
        (wanted.primary_exchange, known.exchanges[0]),
        (wanted.currency, known.currency),
        (wanted.local_symbol, known.local_symbol),
        (wanted.trading_class, known.trading_class),
    )
    if not (wanted.symbol or wanted.local_symbol):
        return False
    if any(asked and asked != there for asked, there in same):
        return False
    return wanted.strike in ("", "0", "0.0") or float(wanted.strike) == float(known.strike)


def details(known: Contract, rules: Instrument, request: int, exchange: str) -> list[object]:
    """The fields of a contractData message."""
    exchange = exchange or known.exchanges[0]
    return [
        10,
        request,
        known.symbol,
        known.security_type,
        known.expiry,
        known.strike,
        known.right,
        exchange,
        known.currency,
        known.local_symbol,
        known.trading_class,
        known.trading_class,
        known.con_id,
        known.min_tick or rules.format_price(rules.tick),
        known.multiplier,
        "ACTIVETIM,DAY,GTC,GTD,IOC,LMT,MKT,OPG,STP,STPLMT,WHATIF",
        ",".join(known.exchanges),
        known.price_magnifier,
        0,
        known.long_name,
        known.exchanges[0] if known.security_type == "STK" else "",
        known.expiry[:6],
        "",
        "",
        "",
        "US/Eastern",
        "20261120:0000-20261120:2359",
        "20261120:0930-20261120:1600",
        "",
        0,
        0,  # secIdList
        1,
        known.symbol,
        "",
        ",".join(str(known.rule) for _ in known.exchanges),
        known.expiry,
        "COMMON" if known.security_type == "STK" else "",
        rules.format_qty(rules.qty_min),
        rules.format_qty(rules.lot),
        rules.format_qty(rules.lot),
    ]
