"""Opens Deribit for the daemon and for its guardian: which endpoint, whose key, and what the pure halves are told."""

from __future__ import annotations

import ipaddress

from adapters.deribit.instruments import VENUE, instrument_name_of
from adapters.deribit.io import BOOK_LEVELS_MAX, DeribitAdapter, DeribitGuardianSwitch
from adapters.deribit.options import Options, limits_of, settings_of
from adapters.deribit.settings import DeribitSettings
from core.enums import InstrumentClass
from core.errors import ConfigError
from core.venue_opening import Environment, Role, VenueOpening

KINDS = (InstrumentClass.PERPETUAL, InstrumentClass.FUTURE, InstrumentClass.OPTION)


def check(opening: VenueOpening) -> None:
    """Raises ConfigError for what can be said without secrets."""
    options = opening.read_settings(Options)
    if opening.venue != VENUE:
        raise ConfigError(f'venue: {opening.venue!r}: instruments of Deribit end in ".{VENUE}"')
    if opening.symbols:
        raise ConfigError("symbols: an instrument_id of Deribit begins with the venue's own name: there is nothing to translate")
    _url_of(opening, options)
    for key, instrument in opening.instruments.items():
        if instrument.instrument_class not in KINDS:
            raise ConfigError(f"instruments: {key}: {instrument.instrument_class.name.lower()} is not supported at Deribit")


def open_adapter(opening: VenueOpening) -> DeribitAdapter:
    check(opening)
    options = opening.read_settings(Options)
    levels = max((each.book_levels for each in opening.subscriptions), default=0)
    return DeribitAdapter(
        venue=opening.venue,
        url=_url_of(opening, options),
        settings=_settings(opening, options, book_levels=BOOK_LEVELS_MAX if opening.role is Role.WATCH else levels),
        limits=limits_of(options),
        instruments=opening.instruments,
        subscriptions=opening.subscriptions,
        now=opening.now,
        wall=opening.wall,
        on_trouble=opening.on_trouble,
        on_frame=opening.on_frame,
    )


def open_switch(opening: VenueOpening) -> DeribitGuardianSwitch:
    check(opening)
    options = opening.read_settings(Options)
    return DeribitGuardianSwitch(
        venue=opening.venue,
        url=_url_of(opening, options),
        settings=_settings(opening, options, is_guardian=True),
        limits=limits_of(options),
        now=opening.now,
        wall=opening.wall,
        on_trouble=opening.on_trouble,
    )


def _settings(opening: VenueOpening, options: Options, *, book_levels: int = 0, is_guardian: bool = False) -> DeribitSettings:
    is_watch = opening.role is Role.WATCH
    return settings_of(
        options,
        client_id="" if is_watch else _required(opening, "key"),
        client_secret="" if is_watch else _required(opening, "secret"),
        instrument_names=tuple(instrument_name_of(key) for key in opening.instruments),
        order_id_prefix=opening.order_id_prefix,
        # The simulator answers as the test network does; that it is one says its address.
        is_testnet=opening.environment is not Environment.LIVE,
        book_levels=book_levels,
        is_watch=is_watch,
        is_guardian=is_guardian,
    )


def _required(opening: VenueOpening, part: str) -> str:
    found = opening.secret(part)
    if not found:
        raise ConfigError(f"{part}: this key is missing: the name of the secret that holds the API key's {part}")
    return found


def _url_of(opening: VenueOpening, options: Options) -> str:
    """The venue's own endpoint has no address, and a simulator is on this machine: neither can be taken for the other."""
    if opening.environment is not Environment.SIMULATOR:
        if opening.address:
            raise ConfigError('address: the venue\'s own endpoints are in its settings; only environment "simulator" has one')
        return options.url_live if opening.environment is Environment.LIVE else options.url_test
    if not opening.address:
        raise ConfigError('address: this key is missing: "HOST:PORT" of tradingd venue-sim deribit')
    host, port = opening.host_and_port()
    if not _is_here(host):
        raise ConfigError(f"address: {host} is not this machine: a simulator is on loopback")
    return options.url_simulator.format(address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
