"""exchangeInfo as instruments: scales from the steps, bounds cut to them, statuses, and what cannot be told is refused."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.binance.endpoints import TABLES, Product
from adapters.binance.instrument_rules import STATUSES, SymbolRules, meters_of, rules_of, symbol_rules
from adapters.binance.rest_bodies import ExchangeInfo, read_exchange_info
from core.enums import InstrumentClass, MarketStatus
from core.errors import VenueProtocolError
from core.instruments import Instrument
from tests.adapters.binance.account_for_tests import encoded

SPOT, USDM = Product.SPOT, Product.USDM
FILTERS = [
    {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
    {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "103.12345678", "stepSize": "0.00000000"},
    {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
    {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
]


def info(*symbols: dict[str, Any], limits: list[dict[str, Any]] | None = None) -> ExchangeInfo:
    return read_exchange_info(encoded({"serverTime": 5, "rateLimits": limits or [], "symbols": list(symbols)}))


def symbol(**changes: Any) -> dict[str, Any]:
    body = {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "filters": FILTERS,
        "orderTypes": ["LIMIT"],
    }
    return {**body, **changes}


def changed(index: int, **changes: Any) -> list[dict[str, Any]]:
    return [{**row, **changes} if at == index else row for at, row in enumerate(FILTERS)]


def test_a_spot_symbol() -> None:
    assert symbol_rules(SPOT, info(symbol()).symbols[0], "BINANCE") == SymbolRules(
        symbol="BTCUSDT",
        instrument=Instrument(
            instrument_id="BTCUSDT.BINANCE",
            instrument_class=InstrumentClass.SPOT,
            base_currency="BTC",
            quote_currency="USDT",
            settlement_currency="USDT",
            price_scale=2,
            qty_scale=5,
            qty_max=900_000_000,
            price_max=100_000_000,
        ),
        status=MarketStatus.TRADING,
        market_qty_max=10_312_345,
        notional_min=500_000_000,
        order_types=frozenset({"LIMIT"}),
    )


@pytest.mark.parametrize(
    ("step", "scale", "size"),
    [("0.00100000", 3, 1), ("0.25", 2, 25), ("1", 0, 1), ("10.0", 0, 10), ("0.5", 1, 5), ("1.00", 0, 1)],
)
def test_a_step_gives_scale_and_tick(step: str, scale: int, size: int) -> None:
    filters = changed(0, tickSize=step, minPrice=step)
    instrument = symbol_rules(SPOT, info(symbol(filters=filters)).symbols[0], "BINANCE").instrument
    assert (instrument.price_scale, instrument.tick, instrument.price_min) == (scale, size, size)


@pytest.mark.parametrize(
    ("changes", "instrument_id", "kind"),
    [
        ({"contractType": "PERPETUAL", "marginAsset": "USDT"}, "BTCUSDT-PERP.BINANCE", InstrumentClass.PERPETUAL),
        (
            {"contractType": "CURRENT_QUARTER", "marginAsset": "USDT", "symbol": "BTCUSDT_261225"},
            "BTCUSDT_261225.BINANCE",
            InstrumentClass.FUTURE,
        ),
    ],
)
def test_futures_symbols(changes: dict[str, Any], instrument_id: str, kind: InstrumentClass) -> None:
    instrument = symbol_rules(USDM, info(symbol(**changes)).symbols[0], "BINANCE").instrument
    assert (instrument.instrument_id, instrument.instrument_class) == (instrument_id, kind)


@pytest.mark.parametrize(("status", "market"), sorted(STATUSES.items()))
def test_statuses(status: str, market: MarketStatus) -> None:
    assert symbol_rules(SPOT, info(symbol(status=status)).symbols[0], "BINANCE").status is market


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "DREAMING"}, "unknown status"),
        ({"filters": FILTERS[1:]}, "no PRICE_FILTER filter"),
        ({"filters": FILTERS[:1]}, "no LOT_SIZE filter"),
        ({"filters": changed(0, tickSize="0.00")}, "a step of"),
        ({"filters": changed(0, tickSize="-1")}, "a step of"),
        ({"filters": changed(0, tickSize="NaN")}, "not a decimal"),
        ({"filters": changed(0, tickSize="0." + "0" * 25 + "1")}, "more than 18 decimals"),
        ({"filters": changed(1, minQty="10", maxQty="9")}, "a minimum lies above its maximum"),
        ({"filters": changed(1, maxQty="1e999")}, "does not fit|not"),
        ({"marginAsset": "BTC"}, "settles in"),
        ({"filters": changed(3, minNotional="x")}, "least notional"),
    ],
)
def test_rules_that_cannot_be(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(VenueProtocolError, match=why):
        symbol_rules(SPOT, info(symbol(**changes)).symbols[0], "BINANCE")


def test_a_symbol_that_is_not_there_is_named() -> None:
    found = rules_of(SPOT, info(symbol(), symbol(symbol="X", status="DREAMING")), "BINANCE", frozenset({"BTCUSDT"}))
    assert found.keys() == {"BTCUSDT"}
    with pytest.raises(VenueProtocolError, match="no symbol BTCUDST"):
        rules_of(SPOT, info(symbol()), "BINANCE", frozenset({"BTCUSDT", "BTCUDST"}))


def test_budgets_are_those_of_the_venue_and_only_our_share() -> None:
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 1000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
        {"rateLimitType": "SOMETHING", "interval": "FORTNIGHT", "intervalNum": 1, "limit": 1},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 0},
    ]
    meters = meters_of(SPOT, info(limits=limits).rate_limits, share_percent=80, cancel_reserve_percent=10)
    assert {name: meter.limit for name, meter in meters.items()} == {
        "weight": 800,
        "raw": 48_800,
        "orders_10s": 40,
        "orders_1d": 160_000,
    }


@pytest.mark.parametrize("product", list(Product))
def test_every_cost_has_its_meter(product: Product) -> None:
    meters = meters_of(product, [], share_percent=100, cancel_reserve_percent=10)
    costs = {name for endpoint in TABLES[product].values() for name, _ in endpoint.costs(product)}
    assert costs == meters.keys()
