"""What of Binance is configured: config/venues/binance-spot.toml and binance-usdm.toml, with the connection's own over it."""

from __future__ import annotations

import msgspec

from adapters.binance.account_checks import url_problems
from adapters.binance.endpoints import Product
from core.errors import ConfigError
from core.venue_opening import Environment, VenueOpening

KINDS = {"binance-spot": Product.SPOT, "binance-usdm": Product.USDM}
BOOK_SPEEDS = {Product.SPOT: ("100ms", "1000ms"), Product.USDM: ("0ms", "100ms", "250ms", "500ms")}


class Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """URLs without what differs by request. `rights`: where a key's rights are told; "": nowhere."""

    rest: str
    book_stream: str  # depth and best prices; behind it comes /stream?streams=…
    trade_stream: str  # prints
    user_stream: str  # spot: the WebSocket API; futures: behind it comes /ws?listenKey=…
    rights: str = ""


class BinanceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Times in seconds or as their names say; shares of the venue's own budgets in percent."""

    live: Endpoints
    test: Endpoints
    book_speed: str = "100ms"  # of depth updates
    recv_window_ms: int = 5000
    request_deadline_s: float = 10.0
    connect_timeout_s: float = 5.0
    stream_silence_s: float = 75.0  # spot pings every 20 s, futures every 3 min, and each connection is pinged from here
    stream_ping_s: float = 20.0
    stream_life_s: float = 84_600.0  # the venue cuts after 24 h: before that at a moment of our own
    streams_per_connection: int = 100
    clock_refresh_s: float = 60.0
    clock_error_ms_max: int = 500  # beyond, no order is sent: the window would be a guess
    rules_refresh_s: float = 300.0
    dead_man_s: float = 0.0  # futures: the venue cancels by itself so long after the daemon's last word; 0: the guardian's matter
    budget_share_percent: int = 60  # the guardian uses the same address and account
    cancel_reserve_percent: int = 20
    book_levels_max: int = 1000
    trade_events: str = "trade"  # spot has both, futures document aggTrade


def product_of(opening: VenueOpening) -> Product:
    product = KINDS.get(opening.kind)
    if product is None:
        raise ConfigError(f"adapter: {opening.kind!r}: there are {', '.join(KINDS)}")
    return product


def read_binance_settings(opening: VenueOpening) -> BinanceSettings:
    """Raises ConfigError that names the key."""
    settings, product = opening.read_settings(BinanceSettings), product_of(opening)
    bounds = {
        "recv_window_ms": (1, 60_000),
        "request_deadline_s": (0.1, 60),
        "connect_timeout_s": (0.1, 60),
        "stream_silence_s": (1, 600),
        "stream_ping_s": (0.5, 300),
        "stream_life_s": (60, 86_000),
        "streams_per_connection": (3, 200),
        "clock_refresh_s": (1, 3600),
        "clock_error_ms_max": (1, 5_000),
        "rules_refresh_s": (1, 86_400),
        "dead_man_s": (0, 86_400),
        "budget_share_percent": (1, 100),
        "cancel_reserve_percent": (0, 50),
        "book_levels_max": (1, 5000),
    }
    for name, (least, most) in bounds.items():
        value = getattr(settings, name)
        if not least <= value <= most:
            raise ConfigError(f"settings.{name}: {value!r} must lie between {least} and {most}")
    if settings.book_speed not in BOOK_SPEEDS[product]:
        raise ConfigError(f"settings.book_speed: {settings.book_speed!r}: there are {', '.join(BOOK_SPEEDS[product])}")
    if settings.trade_events not in ("trade", "aggTrade"):
        raise ConfigError(f'settings.trade_events: {settings.trade_events!r}: there are "trade" and "aggTrade"')
    if 0 < settings.dead_man_s < 5 or (settings.dead_man_s and product is Product.SPOT):
        raise ConfigError("settings.dead_man_s: futures only, and at least 5: a shorter one would cancel after one slow answer")
    return settings


def endpoints_of(opening: VenueOpening, settings: BinanceSettings, product: Product) -> Endpoints:
    """Raises ConfigError for an endpoint of another environment than the connection's."""
    if opening.environment is Environment.SIMULATOR:
        if not opening.address:
            raise ConfigError('address: this key is missing: "HOST:PORT" of tradingd venue-sim')
        host, port = opening.host_and_port()
        found = _on_simulator(product, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    else:
        if opening.address:
            raise ConfigError(f"address: {opening.address!r}: only a simulator has one; the venue's own are in settings")
        found = settings.live if opening.environment is Environment.LIVE else settings.test
    urls = [found.rest, found.book_stream, found.trade_stream, found.user_stream, *([found.rights] if found.rights else [])]
    problems = list(dict.fromkeys(problem for url in urls for problem in url_problems(url, opening.environment)))
    if problems:
        raise ConfigError(f"environment: {'; '.join(problems)}")
    if opening.environment is Environment.LIVE and not found.rights:
        raise ConfigError("settings.live.rights: without it nobody knows whether the key may withdraw")
    return found


def _on_simulator(product: Product, place: str) -> Endpoints:
    http, ws = f"http://{place}", f"ws://{place}"
    if product is Product.SPOT:
        return Endpoints(rest=http, rights=http, book_stream=ws, trade_stream=ws, user_stream=f"{ws}/ws-api/v3")
    return Endpoints(rest=http, rights=http, book_stream=f"{ws}/public", trade_stream=f"{ws}/market", user_stream=f"{ws}/private")
