"""Opens the simulated venue that runs in a process of its own, for the daemon and for its guardian."""

from __future__ import annotations

from adapters.sim.address import parse_address
from adapters.sim.io import SimAdapter
from adapters.sim.switch import SimSwitch
from core.errors import ConfigError
from core.venue_opening import Environment, Role, VenueOpening


def check(opening: VenueOpening) -> None:
    """Raises ConfigError for what can be said without secrets."""
    if opening.environment is not Environment.SIMULATOR:
        raise ConfigError(f'environment: {opening.environment.value!r}: the adapter "sim" knows only "simulator"')
    if not opening.address:
        raise ConfigError('address: this key is missing: "unix:PATH" or "HOST:PORT" of tradingd venue-sim sim')
    try:
        parse_address(opening.address)
    except ConfigError as error:
        raise ConfigError(f"address: {error}") from None
    for name in ("settings", "symbols"):
        if getattr(opening, name):
            raise ConfigError(f'{name}: the adapter "sim" has none')


def open_adapter(opening: VenueOpening) -> SimAdapter:
    check(opening)
    return SimAdapter(
        venue=opening.venue,
        address=parse_address(opening.address),
        account=opening.account,
        token=opening.secret("token"),
        instrument_ids=list(opening.instruments),
        subscriptions=opening.subscriptions,
        now=opening.now,
        on_frame=opening.on_frame,
        on_trouble=opening.on_trouble,
        role="watch" if opening.role is Role.WATCH else "trade",
    )


def open_switch(opening: VenueOpening) -> SimSwitch:
    check(opening)
    return SimSwitch(
        venue=opening.venue, address=parse_address(opening.address), account=opening.account, token=opening.secret("token")
    )
