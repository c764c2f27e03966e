"""Opens the venues that the configuration connects to: an adapter for each, and one Adapter for the Trader."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from adapters.sim.address import parse_address
from adapters.sim.io import OnFrame, SimAdapter
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
        recording = {} if frames_of is None else {"on_frame": frames_of(connection.venue)}
        return SimAdapter(
            venue=connection.venue,
            address=address,
            account=connection.account,
            token="" if connection.token is None else read_secret(connection.token),
            instrument_ids=mine,
            subscriptions=subscriptions,
            now=clock.now,
            on_trouble=on_trouble,
            **recording,
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
