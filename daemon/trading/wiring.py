"""Turns a configuration into what a session by the clock needs: a Trader, and the simulated venue inside this process."""

from __future__ import annotations

from adapters.sim.io import no_trouble
from core.errors import ConfigError
from core.strategy import Subscription
from core.trader import Trader
from core.trader_state import TraderState
from core.venue_adapter import Adapter
from daemon.api.settings import api_settings
from daemon.config.loader import LoadedConfig
from daemon.funding import funded
from daemon.trading.clock import Clock
from daemon.trading.connections import FramesOf, Trouble, check_connections, open_connections, open_watching
from daemon.trading.feed_paper import FeedPaperAdapter
from daemon.trading.market import check_market, open_market
from daemon.trading.router import Router
from daemon.trading.simulated_adapter import SimulatedAdapter
from daemon.wiring import add_clients, build_empty_trader, is_execution_simulated, require_extension, simulated_venue


class Silent:
    """A strategy that is woken for nothing."""

    def subscriptions(self) -> list[Subscription]:
        return []


def check_config(loaded: LoadedConfig) -> None:
    """Raises ConfigError for what a backtest can do and a session by the clock cannot."""
    if loaded.config.run.pace != "full":
        raise ConfigError(f"{loaded.file}: run.pace: is for backtests; a paper session goes by the clock (see daemon.speed)")
    if loaded.config.connections:
        check_connections(loaded)
        if is_execution_simulated(loaded):
            check_feeds(loaded)
    else:
        check_market(loaded)
    if loaded.config.api.enabled:
        if not loaded.config.clients:
            raise ConfigError(f"{loaded.file}: api.enabled: there is nobody to serve: no [[clients]] are configured")
        api_settings(loaded, None)


def build_bare_trader(loaded: LoadedConfig) -> Trader:
    """A Trader whose strategies have names and nothing else: it takes facts and decides nothing."""
    trader = build_empty_trader(loaded, 1)
    for table in loaded.config.strategies:
        trader.add_strategy(table.id, Silent())
    add_clients(loaded, trader)
    return trader


def check_state(loaded: LoadedConfig, state: TraderState) -> None:
    """Raises ConfigError where the account holds something that is not configured any more."""
    configured = {table.instrument_id for table in loaded.instruments}
    held = {record.instrument_id for record in state.positions} | {record.instrument_id for record in state.orders}
    for instrument_id in sorted(held - configured):
        raise ConfigError(
            f"{loaded.file}: instruments: the account has traded {instrument_id}: keep it, or take another run.name"
        )


def open_venues(
    loaded: LoadedConfig,
    trader: Trader,
    clock: Clock,
    frames_of: FramesOf | None = None,
    on_trouble: Trouble = no_trouble,
) -> Adapter:
    """The venues that the configuration connects to; without any, the simulated one in this process.

    `frames_of` gives what hears of a connection's frames, `on_trouble` hears of connections that are lost.
    """
    if not loaded.config.connections:
        return open_simulated(loaded, trader, clock)
    if is_execution_simulated(loaded):
        return open_on_feeds(loaded, trader, clock, frames_of, on_trouble)
    return open_connections(loaded, trader, clock, frames_of, on_trouble)


def check_feeds(loaded: LoadedConfig) -> None:
    """Raises ConfigError where a live feed cannot be traded on by the simulated venue."""
    require_extension(loaded)
    if loaded.config.venue.fidelity != "l2":
        raise ConfigError(f'{loaded.file}: venue.fidelity: live feeds are played as "l2", not {loaded.config.venue.fidelity!r}')


def open_on_feeds(
    loaded: LoadedConfig, trader: Trader, clock: Clock, frames_of: FramesOf | None, on_trouble: Trouble
) -> FeedPaperAdapter:
    """The simulated venue of the configuration, on the live market of its connections."""
    from sim.live_feed import LiveFeedVenue

    subscriptions = [each for context in trader.contexts for each in context.subscriptions]
    book_levels: dict[str, int] = {}
    for each in subscriptions:
        book_levels[each.instrument_id] = max(book_levels.get(each.instrument_id, 0), each.book_levels)
    positions = {key: position.qty for key, position in trader.portfolio.by_instrument.items()}
    inner = simulated_venue(loaded, list(trader.instruments.values()), subscriptions)
    for key, position in positions.items():
        inner.set_position(key, position)
    watching = Router(
        open_watching(loaded, clock, frames_of, on_trouble, book_levels), lambda _order_id: None, trader.instruments
    )
    venue = LiveFeedVenue(inner, clock.now())
    paying = funded(loaded, list(trader.instruments.values()), venue, clock.now(), positions)
    return FeedPaperAdapter(watching, venue, clock, positions, paying)


def open_simulated(loaded: LoadedConfig, trader: Trader, clock: Clock) -> SimulatedAdapter:
    """The venue of the configuration in this process, its market beginning now."""
    positions = {key: position.qty for key, position in trader.portfolio.by_instrument.items()}
    venue = open_market(
        loaded,
        list(trader.instruments.values()),
        [subscription for context in trader.contexts for subscription in context.subscriptions],
        now=clock.now(),
        life=trader.run_number,
        marks=trader.marks_restored,
        positions=positions,
    )
    return SimulatedAdapter(venue, clock, positions)
