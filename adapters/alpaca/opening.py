"""Opens Alpaca from a configuration, for the daemon and for its guardian."""

from __future__ import annotations

import re

from adapters.alpaca.market import check_subscriptions
from adapters.alpaca.settings import AlpacaSettings, Endpoints, endpoints_of, require_key_of
from core.errors import ConfigError
from core.identifiers import format_order_id, make_order_id
from core.venue_adapter import Adapter
from core.venue_opening import Environment, VenueOpening
from core.venue_switch import VenueSwitch

_SYMBOL = re.compile(r"[A-Z]{1,6}(\.[A-Z]{1,2})?\Z", re.ASCII)


def check(opening: VenueOpening) -> None:
    """Raises ConfigError for what can be said without secrets."""
    _endpoints(opening)
    _symbols(opening)
    check_subscriptions(opening.subscriptions, opening.instruments)
    format_order_id(make_order_id(1, 1), opening.order_id_prefix)


def _endpoints(opening: VenueOpening) -> tuple[AlpacaSettings, Endpoints]:
    settings = opening.read_settings(AlpacaSettings)
    if opening.environment is Environment.SIMULATOR:
        if not opening.address:
            raise ConfigError('address: this key is missing: "HOST:PORT" of tradingd venue-sim alpaca')
        opening.host_and_port()
    return settings, endpoints_of(settings, opening.environment, opening.address)


def _symbols(opening: VenueOpening) -> dict[str, str]:
    """AAPL.ALPACA is AAPL there, BRK_B.ALPACA is BRK.B."""
    found: dict[str, str] = {}
    for instrument_id in opening.instruments:
        symbol = opening.symbols.get(instrument_id) or instrument_id.rpartition(".")[0].replace("_", ".")
        if _SYMBOL.match(symbol) is None:
            raise ConfigError(f"symbols: {instrument_id} would be {symbol!r}, which is no symbol of a US equity: name it")
        if symbol in found.values():
            raise ConfigError(f"symbols: {symbol} would be two instruments here")
        found[instrument_id] = symbol
    return found


def _credentials(opening: VenueOpening) -> tuple[str, str]:
    key, secret = opening.secret("key"), opening.secret("secret")
    require_key_of(opening.environment, key)
    if not secret:
        raise ConfigError("secret: this connection needs one: the name of the secret that belongs to the key")
    return key, secret


def open_adapter(opening: VenueOpening) -> Adapter:
    # Here and not at the top: what checks a configuration need not wait for alpaca-py and what it brings along.
    from adapters.alpaca.io import AlpacaAdapter

    check(opening)
    settings, endpoints = _endpoints(opening)
    key, secret = _credentials(opening)
    return AlpacaAdapter(opening, settings, endpoints, key=key, secret=secret, symbols=_symbols(opening))


def open_switch(opening: VenueOpening) -> VenueSwitch:
    from adapters.alpaca.io import open_switch as open_over_http

    check(opening)
    settings, endpoints = _endpoints(opening)
    key, secret = _credentials(opening)
    return open_over_http(opening, settings, endpoints, key=key, secret=secret, symbols=_symbols(opening))
