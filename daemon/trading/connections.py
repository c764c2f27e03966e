"""Opens the venues that the configuration connects to: an adapter for each, and one Adapter for the Trader."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from adapters.sim.address import parse_address
from adapters.sim.io import OnFrame, SimAdapter, no_frame
from core.errors import ConfigError
from core.trader import Trader
from core.venue_adapter import Adapter
from daemon.config.loader import LoadedConfig
from daemon.config.models_connections import Connection
from daemon.secrets import read_secret
from daemon.trading.clock import Clock
from daemon.trading.router import Router, venue_of

# The frames of one connection, by the venue's name.
FramesOf = Callable[[str], OnFrame]
Trouble = Callable[[str], None]


def check_connections(loaded: LoadedConfig) -> None:
    """Raises ConfigError where an instrument's venue has no connection, or a connection cannot be used. Reads no secret."""
    known = [connection.venue for connection in loaded.config.connections]
    for place, connection in enumerate(loaded.config.connections):
        where = f"{loaded.file}: connections[{place}]"
        if known.index(connection.venue) != place:
            raise ConfigError(f"{where}.venue: {connection.venue} is connected to twice")
        try:
            parse_address(connection.address)
        except ConfigError as error:
            raise ConfigError(f"{where}.address: {error}") from None
    for table in loaded.instruments:
        venue = venue_of(table.instrument_id)
        if venue not in known:
            close = difflib.get_close_matches(venue, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are connections to {', '.join(known)}"
            raise ConfigError(f"{loaded.file}: instruments: {table.instrument_id}: no connection is for the venue {venue}{hint}")


def open_connections(
    loaded: LoadedConfig, trader: Trader, clock: Clock, frames_of: FramesOf | None, on_trouble: Trouble
) -> Adapter:
    """Not connected yet. Raises ConfigError; for a secret that is not there and subscriptions that no venue serves, too."""
    adapters: dict[str, Adapter] = {}
    for place, connection in enumerate(loaded.config.connections):
        where = f"{loaded.file}: connections[{place}]"
        adapters[connection.venue] = _open(loaded, trader, clock, connection, where, frames_of, on_trouble)
    if len(adapters) == 1:
        return next(iter(adapters.values()))

    def instrument_of(order_id: int) -> str | None:
        order = trader.orders.get(order_id)
        return None if order is None else order.instrument_id

    return Router(adapters, instrument_of)


def open_watching(loaded: LoadedConfig, clock: Clock, frames_of: FramesOf, on_trouble: Trouble) -> dict[str, Adapter]:
    """Connections that hear everything and send nothing, by venue: whoever trades there is not disturbed. Raises ConfigError."""
    adapters: dict[str, Adapter] = {}
    for place, connection in enumerate(loaded.config.connections):
        try:
            adapters[connection.venue] = SimAdapter(
                venue=connection.venue,
                address=parse_address(connection.address),
                account=connection.account,
                token="" if connection.token is None else read_secret(connection.token),
                instrument_ids=[
                    table.instrument_id for table in loaded.instruments if venue_of(table.instrument_id) == connection.venue
                ],
                subscriptions=(),
                now=clock.now,
                on_frame=frames_of(connection.venue),
                on_trouble=on_trouble,
                role="watch",
            )
        except ConfigError as error:
            raise ConfigError(f"{loaded.file}: connections[{place}]: {error}") from None
    return adapters


def _open(
    loaded: LoadedConfig,
    trader: Trader,
    clock: Clock,
    connection: Connection,
    where: str,
    frames_of: FramesOf | None,
    on_trouble: Trouble,
) -> Adapter:
    mine = [key for key in trader.instruments if venue_of(key) == connection.venue]
    subscriptions = [
        each for context in trader.contexts for each in context.subscriptions if venue_of(each.instrument_id) == connection.venue
    ]
    try:
        address = parse_address(connection.address)
        return SimAdapter(
            venue=connection.venue,
            address=address,
            account=connection.account,
            token="" if connection.token is None else read_secret(connection.token),
            instrument_ids=mine,
            subscriptions=subscriptions,
            now=clock.now,
            on_trouble=on_trouble,
            on_frame=no_frame if frames_of is None else frames_of(connection.venue),
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
