"""Turns a configuration into what a paper session needs: a Trader, and the simulated venue as a live one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, assert_never

import numpy.typing as npt

from core.errors import ConfigError
from core.strategy import Subscription
from core.trader import Trader
from core.trader_state import TraderState
from core.units import NS_PER_SECOND, NS_PER_US, format_fixed, parse_fixed
from daemon.api.settings import api_settings
from daemon.config.loader import LoadedConfig
from daemon.config.models import BarsData, BinanceData, FlowData, LobsterData, QuotesData, TradesData
from daemon.sources import locate_in, open_source
from daemon.trading.clock import Clock
from daemon.trading.simulated_adapter import SimulatedAdapter
from daemon.wiring import add_clients, build_empty_trader, require_extension, simulated_venue, wire_venue
from sim.driver import Venue

Rows = npt.NDArray[Any]
# The generated market of one run goes on for ten years; a run does not.
GENERATED_DURATION = "87600h"
SPEED_SCALE = 3
SEED_STEP = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: seeds of following runs share nothing
SEED_RANGE = 1 << 63


class Silent:
    """A strategy that is woken for nothing."""

    def subscriptions(self) -> list[Subscription]:
        return []


def check_config(loaded: LoadedConfig) -> None:
    """Raises ConfigError for what a backtest can do and a paper session cannot."""
    config = loaded.config
    require_extension(loaded)
    if config.run.pace != "full":
        raise ConfigError(f"{loaded.file}: run.pace: is for backtests; a paper session goes by the clock (see daemon.speed)")
    if any(isinstance(data, BarsData) for data in config.data):
        raise ConfigError(
            f"{loaded.file}: data: bars are known only when they have ended, too late for a paper session; use a backtest"
        )
    if config.api.enabled:
        if not config.clients:
            raise ConfigError(f"{loaded.file}: api.enabled: there is nobody to serve: no [[clients]] are configured")
        api_settings(loaded, None)
    is_real_time = parse_speed(config.daemon.speed) == 10**SPEED_SCALE
    if any(isinstance(data, FlowData) for data in config.data) and not is_real_time:
        raise ConfigError(
            f"{loaded.file}: daemon.speed: the generated market goes by the clock: 1x; its rates are under data.market"
        )


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


def parse_speed(text: str) -> int:
    """Thousandths: "1.5x" is 1500. Raises ConfigError for a speed of nothing."""
    speed = parse_fixed(text.removesuffix("x"), SPEED_SCALE)
    if speed == 0:
        raise ConfigError("daemon.speed: must be above 0x")
    return speed


def open_simulated(loaded: LoadedConfig, trader: Trader, clock: Clock) -> SimulatedAdapter:
    """The venue of the configuration, its market beginning now. Raises ConfigError where the C extension is not built."""
    require_extension(loaded)
    from sim.flow_venue import FlowVenue
    from sim.tape import TapeVenue

    positions = {key: position.qty for key, position in trader.portfolio.by_instrument.items()}
    seed = (loaded.config.run.seed + (trader.run_number - 1) * SEED_STEP) % SEED_RANGE
    run = loaded.config.run.model_copy(update={"seed": seed})
    loaded = replace(loaded, config=loaded.config.model_copy(update={"run": run}))
    subscriptions = [subscription for context in trader.contexts for subscription in context.subscriptions]
    instruments = list(trader.instruments.values())
    first = loaded.config.data[0]
    match first:
        case FlowData():
            venue = wire_venue(_generated_from_now(loaded, first, trader, clock), instruments, subscriptions)[0]
        case LobsterData() | BinanceData() | TradesData() | QuotesData():
            venue = _recorded(loaded, trader, clock, simulated_venue(loaded, instruments, subscriptions))
        case BarsData():
            raise AssertionError("check_config has refused bars")
        case _:
            assert_never(first)
    assert isinstance(venue, FlowVenue | TapeVenue)
    for key, position in positions.items():
        # The venue holds reduce-only orders to the position that the account carries over.
        venue.inner.set_position(key, position)
    return SimulatedAdapter(venue, clock, positions)


def _generated_from_now(loaded: LoadedConfig, data: FlowData, trader: Trader, clock: Clock) -> LoadedConfig:
    """The same market, from now on, at the price where the run before this one saw it last."""
    now = clock.now()
    start = datetime.fromtimestamp(now // NS_PER_SECOND, UTC).replace(microsecond=now % NS_PER_SECOND // NS_PER_US)
    update: dict[str, Any] = {"start": start, "duration": GENERATED_DURATION}
    mark = trader.marks_restored.get(data.instrument_id)
    if mark is not None:
        instrument = trader.instruments[data.instrument_id]
        price = max(mark - mark % instrument.tick, instrument.price_min)
        update["price_start"] = format_fixed(price, instrument.price_scale)
    moved = data.model_copy(update=update)
    return replace(loaded, config=loaded.config.model_copy(update={"data": [moved]}))


def _recorded(loaded: LoadedConfig, trader: Trader, clock: Clock, inner: Any) -> Venue:
    from sim.tape import TapeVenue
    from sim.tape_merge import merge_tapes

    index_of = {instrument_id: index for index, instrument_id in enumerate(trader.instruments)}
    sources = []
    for position, data in enumerate(loaded.config.data):
        assert isinstance(data, LobsterData | BinanceData | TradesData | QuotesData)
        where = f"data[{position}]"
        index = index_of.get(data.instrument_id)
        if index is None:
            raise ConfigError(f"{loaded.file}: {where}.instrument_id: {data.instrument_id} is not configured")
        sources.append(open_source(loaded, data, where, trader.instruments[data.instrument_id], index))
    files = ", ".join(str(path) for source in sources for path in source.files)
    rows = merge_tapes([source.open() for source in sources])
    moved = moved_to(rows, clock.now(), parse_speed(loaded.config.daemon.speed))
    return TapeVenue(inner, moved, files, locate_in(sources))


def moved_to(chunks: Iterator[Rows], ts_start: int, speed: int) -> Iterator[Rows]:
    """Rows with both stamps moved: the first becomes visible at `ts_start`, the rest `speed` thousandths as fast as recorded.

    The feed's latency is scaled with the rest: at ten times the speed a millisecond on the wire is a tenth of one.
    """
    origin: int | None = None
    for rows in chunks:
        if not len(rows):
            continue
        if origin is None:
            origin = int(rows["ts_init"][0])
        moved = rows.copy()
        for name in ("ts_event", "ts_init"):
            since = rows[name] - origin
            # Whole and rest apart: thousand times the ns of a long recording would not fit in 64 bits.
            moved[name] = ts_start + since // speed * 10**SPEED_SCALE + since % speed * 10**SPEED_SCALE // speed
        yield moved
