"""Opens Binance, spot or USDⓈ-M futures, for the daemon and for its guardian: which endpoints, whose key, which symbols."""

from __future__ import annotations

import itertools

from adapters.binance.account import Account
from adapters.binance.codec import BinanceCodec
from adapters.binance.endpoints import Product
from adapters.binance.instrument_rules import SymbolRules
from adapters.binance.io import BinanceAdapter
from adapters.binance.rest.io import budgets_of, transport_of
from adapters.binance.settings import BinanceSettings, Endpoints, endpoints_of, product_of, read_binance_settings
from adapters.binance.signing import Keyless, Signer
from adapters.binance.switch import BinanceSwitch
from adapters.http.clock_offset import ClockOffset
from adapters.http.record import Redactor
from core.enums import InstrumentClass, MarketStatus
from core.errors import ConfigError
from core.strategy import Subscription
from core.venue_opening import Role, VenueOpening

CLASSES = {
    Product.SPOT: (InstrumentClass.SPOT,),
    Product.USDM: (InstrumentClass.PERPETUAL, InstrumentClass.FUTURE),
}
PERPETUAL_SUFFIX = "-PERP"
GUARDIAN_PERCENT = 100  # of the venue's budgets


def check(opening: VenueOpening) -> None:
    """Raises ConfigError for what can be said without secrets."""
    settings, product = read_binance_settings(opening), product_of(opening)
    endpoints_of(opening, settings, product)
    _symbols_of(opening, product)


def open_adapter(opening: VenueOpening) -> BinanceAdapter:
    return BinanceAdapter(_account(opening))


def open_switch(opening: VenueOpening) -> BinanceSwitch:
    account = _account(opening)
    clock = ClockOffset()
    rules = {
        symbol: SymbolRules(symbol=symbol, instrument=each, status=MarketStatus.TRADING, market_qty_max=each.qty_max)
        for symbol, each in account.instruments.items()
    }
    return BinanceSwitch(
        opening.venue,
        account.codec,
        # All of it: the venue counts both processes together and says so, and the daemon keeps to its share. With a share of its
        # own, the guardian would take the daemon's requests for its own, and have nothing left for a kill.
        transport_of(account, clock, budgets_of(account, GUARDIAN_PERCENT)),
        clock,
        rules,
        opening.order_id_prefix,
        itertools.count(opening.first_order_id),
        checks_rights=bool(account.endpoints.rights),
    )


def _account(opening: VenueOpening) -> Account:
    settings, product = read_binance_settings(opening), product_of(opening)
    endpoints = endpoints_of(opening, settings, product)
    symbols = _symbols_of(opening, product)
    instruments = {symbol: opening.instruments[key] for key, symbol in symbols.items()}
    codec = BinanceCodec(
        product,
        _signer(opening, product, endpoints),
        instruments,
        opening.order_id_prefix,
        recv_window_ms=settings.recv_window_ms,
        deadline_s=settings.request_deadline_s,
    )
    secrets = [] if opening.role is Role.WATCH else [opening.secret("key"), opening.secret("secret")]
    return Account(
        venue=opening.venue,
        product=product,
        endpoints=endpoints,
        settings=settings,
        codec=codec,
        redactor=Redactor(secrets),
        symbols=symbols,
        instruments=instruments,
        subscriptions=_subscriptions(opening, settings),
        prefix=opening.order_id_prefix,
        now=opening.now,
        on_trouble=opening.on_trouble,
        on_frame=opening.on_frame,
        role=opening.role,
    )


def _subscriptions(opening: VenueOpening, settings: BinanceSettings) -> list[Subscription]:
    for each in opening.subscriptions:
        if each.book_levels > settings.book_levels_max:
            raise ConfigError(
                f"settings.book_levels_max: a strategy wants {each.book_levels} levels of {each.instrument_id}, and it is "
                f"{settings.book_levels_max}"
            )
    return list(opening.subscriptions)


def _symbols_of(opening: VenueOpening, product: Product) -> dict[str, str]:
    """The venue's symbols by instrument_id. Raises ConfigError for an instrument that this product does not have."""
    if not opening.instruments:
        raise ConfigError(f"instruments: none is of the venue {opening.venue}")
    symbols: dict[str, str] = {}
    for key, instrument in opening.instruments.items():
        if instrument.instrument_class not in CLASSES[product]:
            kind = instrument.instrument_class.name.lower()
            raise ConfigError(f"instruments: {key}: {kind} is not what {opening.kind} trades")
        name = key.rpartition(".")[0]
        symbol = opening.symbols.get(key, name.removesuffix(PERPETUAL_SUFFIX))
        if symbol in symbols.values():
            raise ConfigError(f"symbols: two instruments have the name {symbol} at the venue")
        symbols[key] = symbol
    return symbols


def _signer(opening: VenueOpening, product: Product, endpoints: Endpoints) -> Signer:
    if opening.role is Role.WATCH:
        return Keyless(endpoints.rest)
    # Here, so that whoever only watches needs no ccxt.
    from adapters.binance.ccxt_signer import CcxtSigner

    for part in ("key", "secret"):
        if not opening.secret(part):
            raise ConfigError(f"{part}: this key is missing: the name of the secret that holds the API key's {part}")
    return CcxtSigner(
        api_key=opening.secret("key"),
        secret=opening.secret("secret"),
        # The rights of a key are told by the spot interface, whatever the product.
        spot_origin=endpoints.rest if product is Product.SPOT else endpoints.rights or endpoints.rest,
        futures_origin=endpoints.rest,
    )
