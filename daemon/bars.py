"""What the bars of a configuration's strategies are made of, and which of them the source sends itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.bars import BAR_GRACE_NS, Bars, BarSource, Wanted, heard
from core.strategy import Subscription
from core.units import NS_PER_MINUTE, NS_PER_SECOND
from daemon.config.loader import LoadedConfig
from daemon.config.models import BarsData, QuotesData
from daemon.config.models_connections import Connection
from daemon.trading.router import venue_of
from daemon.trading.venue_opening import venue_defaults

# By the configuration's word for a venue; all others print trades, and send no bars.
_SOURCES = {"oanda": BarSource.QUOTES}
_OWN_NS = {"alpaca": (NS_PER_MINUTE,)}
_POLLED = {"ccxt": "poll_trades_s"}  # the setting that says how often


def source_of(loaded: LoadedConfig, instrument_id: str) -> BarSource:
    venue = venue_of(instrument_id)
    for connection in loaded.config.connections:
        if connection.venue == venue:
            return _SOURCES.get(connection.adapter, BarSource.TRADES)
    is_quoted = any(isinstance(data, QuotesData) and data.instrument_id == instrument_id for data in loaded.config.data)
    return BarSource.QUOTES if is_quoted and not loaded.config.connections else BarSource.TRADES


def heard_at_venue(connection: Connection, subscriptions: Iterable[Subscription]) -> list[Subscription]:
    """What the adapter is asked for: its own bars, and what others can be made of."""
    source = _SOURCES.get(connection.adapter, BarSource.TRADES)
    return heard(subscriptions, source, _OWN_NS.get(connection.adapter, ()))


def heard_in_simulation(loaded: LoadedConfig, subscriptions: Iterable[Subscription]) -> list[Subscription]:
    """What the simulated venue wakes the Trader for, so that bars can be made of it."""
    return [found for each in subscriptions for found in heard([each], source_of(loaded, each.instrument_id))]


def make_bars(loaded: LoadedConfig, subscriptions: Sequence[Subscription], *, is_simulated: bool) -> Bars:
    """What makes the bars that nobody sends."""
    return Bars(wanted_bars(loaded, subscriptions, is_simulated=is_simulated))


def wanted_bars(loaded: LoadedConfig, subscriptions: Sequence[Subscription], *, is_simulated: bool) -> list[Wanted]:
    """`is_simulated`: orders meet the simulated venue, which sends no bars but those of a file of bars."""
    config = loaded.config
    own = {} if is_simulated else {each.venue: _OWN_NS.get(each.adapter, ()) for each in config.connections}
    read = {data.instrument_id for data in config.data if isinstance(data, BarsData)} if not config.connections else set()
    grace = {each.venue: _grace_ns(each) for each in config.connections}
    found: list[Wanted] = []
    for each in subscriptions:
        venue = venue_of(each.instrument_id)
        if each.bars_ns and each.instrument_id not in read and each.bars_ns not in own.get(venue, ()):
            source = source_of(loaded, each.instrument_id)
            found.append((each.instrument_id, each.bars_ns, source, grace.get(venue, BAR_GRACE_NS)))
    return found


def _grace_ns(connection: Connection) -> int:
    """Where prints are asked for now and then, those of an interval may come as late as that, and the answer takes its time."""
    name = _POLLED.get(connection.adapter)
    if name is None:
        return BAR_GRACE_NS
    settings = venue_defaults(connection.adapter) | connection.settings
    return max(round(2 * NS_PER_SECOND * float(settings[name])), BAR_GRACE_NS)
