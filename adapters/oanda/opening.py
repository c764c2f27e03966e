"""Opens OANDA for the daemon and for its guardian: which endpoints, whose token, and what the pure parts are told."""

from __future__ import annotations

import ipaddress

import msgspec

from adapters.http.gate import GateLimits
from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.meters import SlidingWindow
from adapters.http.record import HttpRecord, Recorder, Redactor, unrecorded
from adapters.http.strict_http1 import StrictHttp1
from adapters.oanda.codec import REQUESTS, OandaCodec
from adapters.oanda.desk import Desk
from adapters.oanda.io import OandaAdapter
from adapters.oanda.market import Market, check_subscriptions
from adapters.oanda.outcomes import signals_of
from adapters.oanda.rules import Rules, name_of, rules_of
from adapters.oanda.session import OandaSession
from adapters.oanda.settings import Endpoints, OandaSettings
from adapters.oanda.switch import OandaSwitch
from core.errors import ConfigError
from core.units import INT64_MAX, NS_PER_SECOND
from core.venue_opening import RECEIVED, SENT, Environment, OnFrame, Role, VenueOpening, no_frame

EVERY_ORDER_ID = INT64_MAX


def check(opening: VenueOpening) -> None:
    """Raises ConfigError for what can be said without secrets."""
    settings = opening.read_settings(OandaSettings)
    if settings.problem:
        raise ConfigError(f"settings: {settings.problem}")
    endpoints = _endpoints(opening, settings)
    if endpoints.account_prefix and not opening.account.startswith(endpoints.account_prefix):
        raise ConfigError(
            f"account: {opening.account!r} is none of environment {opening.environment.value!r}: "
            f"its accounts begin with {endpoints.account_prefix}"
        )
    if not opening.account.replace("-", "").isalnum():
        raise ConfigError(f"account: {opening.account!r} reads unlike OANDA's accounts, for example 101-001-1234567-001")
    _rules(opening)
    check_subscriptions(opening.subscriptions)


def open_adapter(opening: VenueOpening) -> OandaAdapter:
    check(opening)
    settings = opening.read_settings(OandaSettings)
    rules = _rules(opening)
    is_watch = opening.role is Role.WATCH
    desk = Desk(venue=opening.venue, rules=rules, prefix=opening.order_id_prefix, first_order_id=opening.first_order_id)
    return OandaAdapter(
        venue=opening.venue,
        account=opening.account,
        environment=opening.environment,
        account_prefix=_endpoints(opening, settings).account_prefix,
        codec=_codec(opening, settings),
        http=_transport(opening, settings, opening.on_frame),
        session=OandaSession(opening.account, desk, Market(rules, None if is_watch else opening.subscriptions)),
        rules=rules,
        settings=settings,
        now=opening.now,
        wall=opening.wall,
        on_trouble=opening.on_trouble,
        on_frame=opening.on_frame,
        is_watch=is_watch,
    )


def open_switch(opening: VenueOpening) -> OandaSwitch:
    check(opening)
    settings = opening.read_settings(OandaSettings)
    rules = _rules(opening)
    return OandaSwitch(
        venue=opening.venue,
        account=opening.account,
        environment=opening.environment,
        account_prefix=_endpoints(opening, settings).account_prefix,
        codec=_codec(opening, settings),
        http=_transport(opening, settings, opening.on_frame),
        # Whatever bears our prefix is ours: the guardian does not follow which ids were given away.
        desk=Desk(venue=opening.venue, rules=rules, prefix=opening.order_id_prefix, first_order_id=EVERY_ORDER_ID),
    )


def _rules(opening: VenueOpening) -> dict[str, Rules]:
    found = {key: rules_of(each, name_of(key, opening.symbols)) for key, each in opening.instruments.items()}
    names = [each.name for each in found.values()]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"symbols: two instruments are {name} at OANDA")
    return found


def _codec(opening: VenueOpening, settings: OandaSettings) -> OandaCodec:
    token = opening.secret("token")
    # A newline at the end of a credentials file would go into a header.
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        raise ConfigError("token: OANDA's token is empty, or has blanks or other signs in it: name the secret that holds it")
    endpoints = _endpoints(opening, settings)
    return OandaCodec(
        account=opening.account,
        token=token,
        api=endpoints.api,
        stream=endpoints.stream,
        deadline_s=settings.request_deadline_s,
    )


def _transport(opening: VenueOpening, settings: OandaSettings, on_frame: OnFrame) -> HttpTransport:
    connections = settings.connections_max
    reserve = max(connections // 3, 1)
    http = HttpSettings(
        connect_timeout_s=settings.connect_timeout_s,
        connection_idle_s=settings.connection_idle_s,
        connections_max=connections,
        gate=GateLimits(in_flight_max=connections, cancel_slots=reserve, order_slots=reserve),
    )
    meter = SlidingWindow(
        settings.requests_per_s, NS_PER_SECOND, cancel_reserve=settings.cancel_reserve, order_reserve=settings.order_reserve
    )
    return HttpTransport(
        opening.venue,
        http,
        read_signals=signals_of,
        meters={REQUESTS: meter},
        record=_recorder(on_frame),
        redactor=Redactor((opening.secret("token"),)),
        wire=StrictHttp1(
            connect_timeout_s=settings.connect_timeout_s,
            silence_timeout_s=settings.request_deadline_s,
            connection_idle_s=settings.connection_idle_s,
            connections_max=connections,
            connect_interval_s=settings.connect_interval_s,
        ),
        monotonic_ns=opening.now,
        wall_ns=opening.wall,
    )


def _recorder(on_frame: OnFrame) -> Recorder:
    if on_frame is no_frame:
        return unrecorded

    def record(found: HttpRecord) -> None:
        on_frame(found.ts, SENT if found.kind == "request" else RECEIVED, msgspec.json.encode(found))

    return record


def _endpoints(opening: VenueOpening, settings: OandaSettings) -> Endpoints:
    """The venue's own endpoints have no address, and a simulator is on this machine: neither can be taken for the other."""
    if opening.environment is not Environment.SIMULATOR:
        if opening.address:
            raise ConfigError('address: the venue\'s own endpoints are in its settings; only environment "simulator" has one')
        found = settings.live if opening.environment is Environment.LIVE else settings.test
        other = settings.test if opening.environment is Environment.LIVE else settings.live
        for origin in (found.api, found.stream):
            if not origin.startswith("https://") or origin in (other.api, other.stream):
                raise ConfigError(f"settings: {origin!r} is no endpoint of environment {opening.environment.value!r}")
        return found
    if not opening.address:
        raise ConfigError('address: this key is missing: "HOST:PORT" of tradingd venue-sim oanda')
    host, port = opening.host_and_port()
    if not _is_here(host):
        raise ConfigError(f"address: {host} is not this machine: a simulator is on loopback")
    origin = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    # The simulator answers as the practice environment does.
    return Endpoints(api=origin, stream=origin, account_prefix=settings.test.account_prefix)


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
