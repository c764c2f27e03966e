"""The symbols of the simulated Binance: rules, filters and what exchangeInfo says of them; accounts and their keys."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from core.enums import InstrumentClass, MarketStatus
from core.instruments import MONEY_SCALE, Instrument
from core.units import POW10, format_fixed
from sim.venues.exchange.model import Account, Listing

USD: int = 10**MONEY_SCALE


class Product(Enum):
    SPOT = "spot"
    USDM = "usdm"


class Bracket(msgspec.Struct, frozen=True):
    """Notionals and `cum` in whole USDT, the ratio in parts of ten thousand."""

    leverage: int
    cap: int
    floor: int
    ratio_bp: int
    cum: int


class Market(msgspec.Struct, kw_only=True, eq=False):
    """One symbol. `notional_min` in 10^-8; `fair` points, where its market begins; `status` in the venue's words."""

    symbol: str
    listing: Listing
    fair: int
    notional_min: int
    market_qty_max: int
    status: str = "TRADING"
    funding_rate_ppb: int = 100_000
    brackets: tuple[Bracket, ...] = ()

    @property
    def rules(self) -> Instrument:
        return self.listing.rules


class Client(msgspec.Struct, kw_only=True, eq=False):
    """An account with its key. `may` are the key's rights as apiRestrictions names them."""

    account: Account
    key: str
    secret: str
    may: dict[str, bool]
    is_revoked: bool = False


class ClientSetup(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    key: str
    secret: str
    balances: dict[str, int]  # 10^-8
    may_withdraw: bool = False
    may_trade: bool = True


def default_clients(product: Product) -> list[ClientSetup]:
    """Two accounts whose keys are no secrets."""
    spot = {"USDT": 100_000 * USD, "BTC": 2 * USD, "ETH": 20 * USD, "BNB": 10 * USD}
    balances = spot if product is Product.SPOT else {"USDT": 100_000 * USD, "BNB": 10 * USD}
    return [ClientSetup(name=name, key=f"{name}-key", secret=f"{name}-secret", balances=balances) for name in ("us", "them")]


_BRACKETS = (
    Bracket(125, 50_000, 0, 40, 0),
    Bracket(100, 600_000, 50_000, 50, 50),
    Bracket(50, 3_000_000, 600_000, 100, 3_050),
    Bracket(20, 12_000_000, 3_000_000, 250, 48_050),
    Bracket(10, 70_000_000, 12_000_000, 500, 348_050),
    Bracket(5, 100_000_000, 70_000_000, 1_000, 3_848_050),
    Bracket(1, 600_000_000, 100_000_000, 5_000, 43_848_050),
)
# Symbol: base, price scale, tick, quantity scale, lot, fair price in points.
_SPOT = (
    ("BTCUSDT", "BTC", 2, 1, 5, 1, 5_000_000),
    ("ETHUSDT", "ETH", 2, 1, 4, 1, 250_000),
    ("BNBUSDT", "BNB", 2, 1, 3, 1, 60_000),
)
_USDM = (("BTCUSDT", "BTC", 1, 1, 3, 1, 500_000), ("ETHUSDT", "ETH", 2, 1, 3, 1, 250_000))


def default_markets(product: Product) -> list[Market]:
    is_spot = product is Product.SPOT
    return [_market(product, *row) for row in (_SPOT if is_spot else _USDM)]


def _market(product: Product, symbol: str, base: str, price_scale: int, tick: int, qty_scale: int, lot: int, fair: int) -> Market:
    is_spot = product is Product.SPOT
    rules = Instrument(
        instrument_id=f"{symbol}.BINANCE" if is_spot else f"{symbol}-PERP.BINANCE",
        instrument_class=InstrumentClass.SPOT if is_spot else InstrumentClass.PERPETUAL,
        base_currency=base,
        quote_currency="USDT",
        settlement_currency="USDT",
        price_scale=price_scale,
        qty_scale=qty_scale,
        tick=tick,
        lot=lot,
        qty_min=lot,
        qty_max=9_000 * POW10[qty_scale],
        price_min=tick,
        price_max=10_000_000 * POW10[price_scale],
        maker_fee_rate=1_000_000 if is_spot else 200_000,
        taker_fee_rate=1_000_000 if is_spot else 500_000,
    )
    listing = Listing(
        name=symbol,
        rules=rules,
        leverage_max=1 if is_spot else 125,
        margin="cash" if is_spot else "margin",
        mark=0 if is_spot else fair,
        index=fair,
        last=fair,
    )
    return Market(
        symbol=symbol,
        listing=listing,
        fair=fair,
        notional_min=5 * USD,
        market_qty_max=120 * POW10[qty_scale],
        brackets=() if is_spot else _BRACKETS,
    )


def rights(setup: ClientSetup) -> dict[str, bool]:
    return {
        "ipRestrict": True,
        "enableReading": True,
        "enableWithdrawals": setup.may_withdraw,
        "enableInternalTransfer": setup.may_withdraw,
        "permitsUniversalTransfer": setup.may_withdraw,
        "enableVanillaOptions": False,
        "enableFutures": setup.may_trade,
        "enableMargin": False,
        "enableSpotAndMarginTrading": setup.may_trade,
        "enablePortfolioMarginTrading": False,
    }


# What exchangeInfo says.


def status_of(market: Market) -> str:
    """A halted listing is a BREAK, whatever else was said of it."""
    return market.status if market.listing.status is MarketStatus.TRADING or market.status != "TRADING" else "BREAK"


def symbol_info(product: Product, market: Market) -> dict[str, Any]:
    return _spot_info(market) if product is Product.SPOT else _usdm_info(market)


def _filters(market: Market, scale_of_texts: int | None) -> list[dict[str, Any]]:
    rules = market.rules

    def price(value: int) -> str:
        return format_fixed(
            value * POW10[(scale_of_texts or rules.price_scale) - rules.price_scale], scale_of_texts or rules.price_scale
        )

    def qty(value: int) -> str:
        return format_fixed(
            value * POW10[(scale_of_texts or rules.qty_scale) - rules.qty_scale], scale_of_texts or rules.qty_scale
        )

    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": price(rules.price_min),
            "maxPrice": price(rules.price_max),
            "tickSize": price(rules.tick),
        },
        {"filterType": "LOT_SIZE", "minQty": qty(rules.qty_min), "maxQty": qty(rules.qty_max), "stepSize": qty(rules.lot)},
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": qty(rules.qty_min),
            "maxQty": qty(market.market_qty_max),
            "stepSize": qty(rules.lot),
        },
    ]


def _spot_info(market: Market) -> dict[str, Any]:
    rules = market.rules
    filters = [
        *_filters(market, 8),
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": "5",
            "bidMultiplierDown": "0.2",
            "askMultiplierUp": "5",
            "askMultiplierDown": "0.2",
            "avgPriceMins": 5,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": format_fixed(market.notional_min, 8),
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]
    return {
        "symbol": market.symbol,
        "status": status_of(market),
        "baseAsset": rules.base_currency,
        "baseAssetPrecision": 8,
        "quoteAsset": rules.quote_currency,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters,
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _usdm_info(market: Market) -> dict[str, Any]:
    rules = market.rules
    filters = [
        *_filters(market, None),
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
        {"filterType": "MIN_NOTIONAL", "notional": str(market.notional_min // USD)},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500", "multiplierDecimal": "4"},
    ]
    return {
        "symbol": market.symbol,
        "pair": market.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": status_of(market) if status_of(market) != "BREAK" else "PENDING_TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": rules.base_currency,
        "quoteAsset": rules.quote_currency,
        "marginAsset": rules.settlement_currency,
        "pricePrecision": rules.price_scale,
        "quantityPrecision": rules.qty_scale,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": filters,
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }
