"""exchangeInfo as instruments and rules: tick, lot, bounds, least notional, status; and the budgets it states. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, UnsetType

from adapters.binance.endpoints import ORDERS_1D, ORDERS_1M, ORDERS_10S, RAW, WEIGHT, Product
from adapters.binance.numbers import money_of
from adapters.binance.rest_bodies import ExchangeInfo, RateLimit, SymbolBody, SymbolFilter
from adapters.http.meters import SlidingWindow
from core.enums import InstrumentClass, MarketStatus
from core.errors import UnitError, VenueProtocolError
from core.instruments import Instrument
from core.units import INT64_MAX, NS_PER_DAY, NS_PER_MINUTE, NS_PER_SECOND, SCALE_MAX, parse_fixed

STATUSES = {
    "TRADING": MarketStatus.TRADING,
    "PRE_TRADING": MarketStatus.CLOSED,
    "POST_TRADING": MarketStatus.CLOSED,
    "END_OF_DAY": MarketStatus.CLOSED,
    "PENDING_TRADING": MarketStatus.CLOSED,
    "CLOSE": MarketStatus.CLOSED,
    "PRE_DELIVERING": MarketStatus.CLOSED,
    "DELIVERING": MarketStatus.CLOSED,
    "DELIVERED": MarketStatus.CLOSED,
    "PRE_SETTLE": MarketStatus.CLOSED,
    "SETTLING": MarketStatus.CLOSED,
    "HALT": MarketStatus.HALTED,
    "BREAK": MarketStatus.HALTED,
    "CANCEL_ONLY": MarketStatus.HALTED,
    "AUCTION_MATCH": MarketStatus.AUCTION,
}
PERPETUALS = ("PERPETUAL", "TRADIFI_PERPETUAL")

_INTERVALS = {"SECOND": NS_PER_SECOND, "MINUTE": NS_PER_MINUTE, "HOUR": 60 * NS_PER_MINUTE, "DAY": NS_PER_DAY}
_METERS = {
    ("REQUEST_WEIGHT", NS_PER_MINUTE): WEIGHT,
    ("RAW_REQUESTS", 5 * NS_PER_MINUTE): RAW,
    ("ORDERS", 10 * NS_PER_SECOND): ORDERS_10S,
    ("ORDERS", NS_PER_MINUTE): ORDERS_1M,
    ("ORDERS", NS_PER_DAY): ORDERS_1D,
}
# Where the venue states none: what its documentation gives as examples.
_DEFAULT_LIMITS = {
    Product.SPOT: {WEIGHT: (6000, 1), RAW: (61000, 5), ORDERS_10S: (100, 0), ORDERS_1D: (200_000, 1440)},
    Product.USDM: {WEIGHT: (2400, 1), RAW: (61000, 5), ORDERS_10S: (300, 0), ORDERS_1M: (1200, 1)},
}


class SymbolRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the instrument itself has no place for. Quantities in units, money in 10^-MONEY_SCALE of the quote currency."""

    symbol: str
    instrument: Instrument
    status: MarketStatus
    market_qty_max: int
    notional_min: int = 0
    order_types: frozenset[str] = frozenset()


def symbol_rules(product: Product, body: SymbolBody, venue: str) -> SymbolRules:
    """One symbol's rules. Raises VenueProtocolError where they cannot be, or cannot be told in our units."""
    status = STATUSES.get(body.status)
    if status is None:
        raise VenueProtocolError(f"{body.symbol}: unknown status {body.status!r}")
    prices, lots = _filter(body, "PRICE_FILTER"), _filter(body, "LOT_SIZE")
    market_lots = next((row for row in body.filters if row.filter_type == "MARKET_LOT_SIZE"), None)
    price_scale, tick = _step(body, prices.tick_size)
    qty_scale, lot = _step(body, lots.step_size)
    qty_max = _bound(body, lots.max_qty, qty_scale, lot, INT64_MAX)
    market_max = qty_max if market_lots is None else _bound(body, market_lots.max_qty, qty_scale, lot, qty_max)
    instrument_id, kind = _identity(product, body, venue)
    try:
        instrument = Instrument(
            instrument_id=instrument_id,
            instrument_class=kind,
            base_currency=body.base_asset,
            quote_currency=body.quote_asset,
            settlement_currency=body.quote_asset if body.margin_asset is UNSET else body.margin_asset,
            price_scale=price_scale,
            qty_scale=qty_scale,
            tick=tick,
            lot=lot,
            qty_min=max(_bound(body, lots.min_qty, qty_scale, lot, lot), lot),
            qty_max=qty_max,
            price_min=max(_bound(body, prices.min_price, price_scale, tick, tick), tick),
            price_max=_bound(body, prices.max_price, price_scale, tick, INT64_MAX),
        )
    except UnitError as error:
        raise VenueProtocolError(f"{body.symbol}: {error}") from error
    return SymbolRules(
        symbol=body.symbol,
        instrument=instrument,
        status=status,
        market_qty_max=market_max if market_max else qty_max,
        notional_min=_notional_min(body),
        order_types=frozenset(body.order_types),
    )


def _identity(product: Product, body: SymbolBody, venue: str) -> tuple[str, InstrumentClass]:
    if product is Product.SPOT:
        return f"{body.symbol}.{venue}", InstrumentClass.SPOT
    if body.contract_type in PERPETUALS:
        return f"{body.symbol}-PERP.{venue}", InstrumentClass.PERPETUAL
    return f"{body.symbol}.{venue}", InstrumentClass.FUTURE


def _filter(body: SymbolBody, kind: str) -> SymbolFilter:
    for row in body.filters:
        if row.filter_type == kind:
            return row
    raise VenueProtocolError(f"{body.symbol}: no {kind} filter")


def _step(body: SymbolBody, text: str | UnsetType) -> tuple[int, int]:
    """(scale, step in units of it) of "0.00010000": 4, 1."""
    if text is UNSET:
        raise VenueProtocolError(f"{body.symbol}: a filter without its step")
    fraction = text.partition(".")[2].rstrip("0")
    try:
        step = parse_fixed(text, min(len(fraction), SCALE_MAX))
    except UnitError as error:
        raise VenueProtocolError(f"{body.symbol}: {error}") from error
    if step <= 0:
        raise VenueProtocolError(f"{body.symbol}: a step of {text!r}")
    return len(fraction), step


def _bound(body: SymbolBody, text: str | UnsetType, scale: int, step: int, otherwise: int) -> int:
    """A bound in units, cut to the step; 0 and absent mean that there is none."""
    if text is UNSET:
        return otherwise
    # A bound may have more digits than the step. Those cannot be reached, so they are cut.
    whole, _, fraction = text.partition(".")
    try:
        value = parse_fixed(f"{whole}.{fraction[:scale]}" if fraction.isdecimal() else text, scale)
    except UnitError as error:
        raise VenueProtocolError(f"{body.symbol}: {error}") from error
    return value // step * step if value > 0 else otherwise


def _notional_min(body: SymbolBody) -> int:
    for row in body.filters:
        if row.filter_type in ("NOTIONAL", "MIN_NOTIONAL"):
            least = row.min_notional if row.notional is UNSET else row.notional
            if least is not UNSET:
                return money_of(least, f"{body.symbol}: least notional")
    return 0


def rules_of(product: Product, info: ExchangeInfo, venue: str, symbols: frozenset[str]) -> dict[str, SymbolRules]:
    """Rules by symbol of those asked for. Raises VenueProtocolError where one is missing: it is not traded there."""
    found = {body.symbol: symbol_rules(product, body, venue) for body in info.symbols if body.symbol in symbols}
    missing = sorted(symbols - found.keys())
    if missing:
        raise VenueProtocolError(f"the venue knows no symbol {', '.join(missing)}")
    return found


def meters_of(
    product: Product, limits: list[RateLimit], *, share_percent: int, cancel_reserve_percent: int
) -> Mapping[str, SlidingWindow]:
    """The venue's budgets. `share_percent` of each is ours: the guardian and others use the same address and account."""
    assert 1 <= share_percent <= 100
    assert 0 <= cancel_reserve_percent <= 50
    known = {
        name: (limit, minutes * NS_PER_MINUTE or 10 * NS_PER_SECOND)
        for name, (limit, minutes) in _DEFAULT_LIMITS[product].items()
    }
    for row in limits:
        interval = _INTERVALS.get(row.interval, 0) * row.interval_num
        name = _METERS.get((row.rate_limit_type, interval))
        if name is not None and row.limit > 0:
            known[name] = (row.limit, interval)
    meters: dict[str, SlidingWindow] = {}
    for name, (limit, interval) in known.items():
        ours = max(1, limit * share_percent // 100)
        # Order counts are not used up by cancels: nothing of them needs to be kept.
        reserve = ours * cancel_reserve_percent // 100 if name in (WEIGHT, RAW) else 0
        meters[name] = SlidingWindow(ours, interval, cancel_reserve=reserve, order_reserve=reserve // 2)
    return meters
