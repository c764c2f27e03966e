"""Opens any exchange of ccxt for the daemon and for its guardian: which endpoint, whose key, and whose part of the budget."""

from __future__ import annotations

import ipaddress
from itertools import count
from typing import Any

from adapters.ccxt_any.account import Account
from adapters.ccxt_any.calls import COST, COST_SCALE, Calls
from adapters.ccxt_any.exchange import make_exchange, origins_of, require_exchange
from adapters.ccxt_any.io import CcxtAdapter
from adapters.ccxt_any.order_ids import OrderIds
from adapters.ccxt_any.outcomes import read_signals
from adapters.ccxt_any.settings import CcxtSettings
from adapters.ccxt_any.switch import CcxtSwitch
from adapters.http.clock_offset import ClockOffset
from adapters.http.frames import frame_recorder
from adapters.http.gate import GateLimits
from adapters.http.io import HttpSettings, HttpTransport, monotonic_now_ns
from adapters.http.meters import TokenBucket
from adapters.http.record import Redactor
from adapters.http.wire import AnyTransport
from core.enums import InstrumentClass
from core.errors import ConfigError
from core.units import NS_PER_MS
from core.venue_opening import Environment, Role, VenueOpening

KINDS = (InstrumentClass.SPOT, InstrumentClass.PERPETUAL, InstrumentClass.FUTURE)


def check(opening: VenueOpening) -> None:
    """Raises ConfigError for what can be said without secrets."""
    settings = _settings(opening)
    _address(opening)
    require_exchange(settings.exchange)
    if settings.order_ids == "letters" and "_" in opening.order_id_prefix:
        raise ConfigError('order_id_prefix: with order_ids = "letters" it has no _: set one without')
    for key, instrument in opening.instruments.items():
        if instrument.instrument_class not in KINDS:
            raise ConfigError(f"instruments: {key}: {instrument.instrument_class.name.lower()} is not supported by this adapter")


def open_adapter(opening: VenueOpening, *, wire: AnyTransport | None = None) -> CcxtAdapter:
    """`wire`: any httpx transport instead of our own, for tests."""
    account, http, settings, clock = _account(opening, wire, is_guardian=False)
    return CcxtAdapter(
        account,
        http,
        settings,
        _ids(opening, settings),
        clock,
        subscriptions=opening.subscriptions,
        now=opening.now,
        wall=opening.wall,
        on_trouble=opening.on_trouble,
        role=opening.role,
    )


def open_switch(opening: VenueOpening, *, wire: AnyTransport | None = None) -> CcxtSwitch:
    account, http, settings, clock = _account(opening, wire, is_guardian=True)
    ids, order_ids = _ids(opening, settings), count(opening.first_order_id)
    return CcxtSwitch(account, http, clock, ids, order_ids, settings.order_id_name)


def _account(
    opening: VenueOpening, wire: AnyTransport | None, *, is_guardian: bool
) -> tuple[Account, HttpTransport, CcxtSettings, ClockOffset]:
    check(opening)
    settings = _settings(opening)
    is_public = opening.role is Role.WATCH and not is_guardian
    key, secret, token = ("", "", "") if is_public else (opening.secret(part) for part in ("key", "secret", "token"))
    if not is_public and not (key and secret):
        raise ConfigError("key: this key and secret are missing: the names of the secrets that hold the exchange's key")
    calls_of: list[Calls] = []

    async def door(exchange: Any, path: str, api: Any, method: str, params: Any, cost: float) -> Any:
        return await calls_of[0].pass_through(exchange, path, api, method, params, cost)

    exchange = make_exchange(
        settings.exchange,
        door,
        environment=opening.environment,
        address=_address(opening),
        credentials=_credentials(settings, key, secret, token),
        options=settings.options,
        wall_ms=lambda: opening.wall() // NS_PER_MS,
    )
    clock = ClockOffset()
    percent = settings.guardian_rate_percent if is_guardian else settings.rate_percent
    http = HttpTransport(
        opening.venue,
        _http_settings(settings),
        read_signals=read_signals,
        meters={COST: _meter(settings, exchange.rateLimit, percent)},
        venue_clock=clock,
        record=frame_recorder(opening.on_frame),
        redactor=Redactor([each for each in (key, secret, token) if each]),
        wire=wire,
        wall_ns=opening.wall,
        on_ban=opening.on_trouble,
    )
    calls = Calls(http, settings.deadline_s, settings.headers)
    calls.origins = origins_of(exchange)
    calls_of.append(calls)
    symbols = {name: opening.symbols.get(name) or _symbol_of(instrument) for name, instrument in opening.instruments.items()}

    def venue_now() -> int:
        return clock.venue_now(monotonic_now_ns()) if clock.is_known else opening.now()

    account = Account(opening.venue, exchange, calls, settings, opening.instruments, symbols, venue_now)
    return account, http, settings, clock


def _credentials(settings: CcxtSettings, key: str, secret: str, token: str) -> dict[str, str]:
    found = {"apiKey": key, "secret": secret, settings.token_is: token, **settings.login}
    return {name: value for name, value in found.items() if value}


def _symbol_of(instrument: Any) -> str:
    """As ccxt writes it: BTC/USDT, and BTC/USDT:USDT for a perpetual. Dated futures are given in `symbols`."""
    pair = f"{instrument.base_currency}/{instrument.quote_currency}"
    return pair if instrument.pays_notional else f"{pair}:{instrument.settlement_currency}"


def _ids(opening: VenueOpening, settings: CcxtSettings) -> OrderIds:
    return OrderIds(opening.order_id_prefix, is_letters=settings.order_ids == "letters")


def _settings(opening: VenueOpening) -> CcxtSettings:
    settings = opening.read_settings(CcxtSettings)
    try:
        settings.check()
    except ConfigError as error:
        raise ConfigError(f"settings: {error}") from None
    return settings


def _http_settings(settings: CcxtSettings) -> HttpSettings:
    at_once = settings.requests_at_once
    reserve = 1 if at_once >= 3 else 0
    return HttpSettings(
        connect_timeout_s=settings.connect_timeout_s,
        silence_timeout_s=settings.silence_timeout_s,
        connections_max=at_once,
        gate=GateLimits(in_flight_max=at_once, cancel_slots=reserve, order_slots=reserve),
    )


def _meter(settings: CcxtSettings, rate_limit_ms: Any, percent: int) -> TokenBucket:
    """ccxt's rateLimit is the time in ms that a request of cost 1 takes of the exchange's budget."""
    per_s = int(1000 * COST_SCALE * percent / 100 / max(float(rate_limit_ms), 1.0))
    capacity = max(int(per_s * settings.rate_burst_s), 10 * COST_SCALE)
    reserve = capacity * settings.cancel_reserve_percent // 100
    return TokenBucket(capacity, max(per_s, 1), cancel_reserve=reserve, order_reserve=reserve // 2)


def _address(opening: VenueOpening) -> str:
    """The exchange's own endpoint has no address, and a simulator is on this machine: neither can be taken for the other."""
    if opening.environment is not Environment.SIMULATOR:
        if opening.address:
            raise ConfigError('address: the exchange\'s own endpoints are known; only environment "simulator" has one')
        return ""
    if not opening.address:
        raise ConfigError('address: this key is missing: "HOST:PORT" of a simulator')
    host, port = opening.host_and_port()
    if not _is_here(host):
        raise ConfigError(f"address: {host} is not this machine: a simulator is on loopback")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
