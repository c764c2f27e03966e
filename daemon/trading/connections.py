"""Opens the venues that the configuration connects to: an adapter for each, and one Adapter for the Trader."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from core.bars import BarSource
from core.errors import ConfigError
from core.identifiers import make_order_id
from core.strategy import Subscription
from core.trader import Trader
from core.venue_adapter import Adapter
from core.venue_opening import OnFrame, Role, no_frame
from daemon.bars import heard_at_venue, source_of
from daemon.config.build import build_instruments
from daemon.config.loader import LoadedConfig
from daemon.trading.clock import Clock
from daemon.trading.router import Router, venue_of
from daemon.trading.venue_opening import opening_of, package_of

# The frames of one connection, by the venue's name.
FramesOf = Callable[[str], OnFrame]
Trouble = Callable[[str], None]


def check_connections(loaded: LoadedConfig) -> None:
    """Raises ConfigError where an instrument's venue has no connection, or a connection cannot be used. Reads no secret."""
    instruments = {instrument.instrument_id: instrument for instrument in build_instruments(loaded)}
    known = [connection.venue for connection in loaded.config.connections]
    for place, connection in enumerate(loaded.config.connections):
        where = f"{loaded.file}: connections[{place}]"
        if known.index(connection.venue) != place:
            raise ConfigError(f"{where}.venue: {connection.venue} is connected to twice")
        try:
            package_of(connection).check(
                opening_of(loaded, connection, instruments=instruments, now=lambda: 0, on_trouble=lambda _text: None)
            )
        except ConfigError as error:
            raise ConfigError(f"{where}.{error}") from None
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
        try:
            adapters[connection.venue] = package_of(connection).open_adapter(
                opening_of(
                    loaded,
                    connection,
                    instruments=trader.instruments,
                    subscriptions=heard_at_venue(
                        connection, [each for context in trader.contexts for each in context.subscriptions]
                    ),
                    now=clock.now,
                    on_trouble=on_trouble,
                    on_frame=no_frame if frames_of is None else frames_of(connection.venue),
                    first_order_id=make_order_id(trader.run_number, 1),
                )
            )
        except ConfigError as error:
            raise ConfigError(f"{loaded.file}: connections[{place}]: {error}") from None
    if len(adapters) == 1:
        return next(iter(adapters.values()))

    def instrument_of(order_id: int) -> str | None:
        order = trader.orders.get(order_id)
        return None if order is None else order.instrument_id

    return Router(adapters, instrument_of, trader.instruments)


def open_watching(
    loaded: LoadedConfig,
    clock: Clock,
    frames_of: FramesOf | None,
    on_trouble: Trouble,
    book_levels: Mapping[str, int],
) -> dict[str, Adapter]:
    """Connections that hear everything and send nothing, by venue: whoever trades there is not disturbed. Raises ConfigError.
    Prints are asked for where a venue has them.

    `book_levels`: how deep a book is wanted, by instrument; where none is, the best prices are.
    """
    subscriptions = [
        Subscription(
            instrument_id=table.instrument_id,
            quotes="off" if book_levels.get(table.instrument_id) else "size",
            book_levels=book_levels.get(table.instrument_id, 0),
            trades=source_of(loaded, table.instrument_id) is BarSource.TRADES,
        )
        for table in loaded.instruments
    ]
    instruments = {instrument.instrument_id: instrument for instrument in build_instruments(loaded)}
    adapters: dict[str, Adapter] = {}
    for place, connection in enumerate(loaded.config.connections):
        try:
            adapters[connection.venue] = package_of(connection).open_adapter(
                opening_of(
                    loaded,
                    connection,
                    instruments=instruments,
                    subscriptions=subscriptions,
                    now=clock.now,
                    on_trouble=on_trouble,
                    on_frame=no_frame if frames_of is None else frames_of(connection.venue),
                    role=Role.WATCH,
                )
            )
        except ConfigError as error:
            raise ConfigError(f"{loaded.file}: connections[{place}]: {error}") from None
    return adapters
