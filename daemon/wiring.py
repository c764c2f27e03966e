"""Puts the parts of a run together: the only place that knows modes, venues and where market data comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, assert_never

from core.bars import Bars
from core.enums import SelfTradePrevention
from core.errors import ConfigError, DataError, UnitError
from core.instruments import Instrument
from core.strategy import Subscription
from core.trader import Trader
from core.units import NS_PER_SECOND, NS_PER_US, parse_duration_ns
from core.venue_opening import Environment
from daemon.bars import heard_in_simulation, make_bars
from daemon.config.build import build_cash, build_instruments, build_limits, build_rate, resolve_path
from daemon.config.build_account import build_account_limits
from daemon.config.loader import LoadedConfig
from daemon.config.models import (
    BarsData,
    BinanceData,
    ConstantLatency,
    FlowData,
    LobsterData,
    LogNormalLatency,
    QuotesData,
    TableLatency,
    TradesData,
    Venue,
)
from daemon.config.text_types import parse_percentage_ppm
from daemon.funding import funded, funding_files
from daemon.sources import Source, locate_in, open_source, table_source
from daemon.strategies import build_strategy
from native.loader import extension
from sim.driver import Venue as DriverVenue

_LIVE_VERB = "tradingd live CONFIG --account NAME trades live, and nothing else does"
# In a backtest the Trader's own run number is always this: order ids are part of the commands, and equal runs must give equal
# commands whatever their number in the runs folder is.
BACKTEST_RUN_NUMBER = 1

_FIDELITY_OF_FORMAT = {
    "flow": ("flow",),
    "lobster": ("l3",),
    "binance": ("l2",),
    "trades": ("l2",),
    "quotes": ("l2",),
    "bars": ("bars",),
}
# What the bar venue does not heed; `config show` writes every key, so the default itself is no mistake.
_NOT_WITH_BARS = ("self_trade_prevention", "rejects_per_million", "post_only", "orders_max", "timers_max")


@dataclass(frozen=True, slots=True)
class Wired:
    """One run, ready to start. `fraction` says how much of the input is done, 0 to 1."""

    trader: Trader
    venue: DriverVenue
    cash_start: dict[str, int]
    ts_start: int
    files: list[Path]
    fraction: Callable[[], float]
    totals: Callable[[], dict[str, int]]
    bars: Bars


def wire_backtest(loaded: LoadedConfig) -> Wired:
    """Everything a backtest needs. Raises ConfigError, StrategyError, or DataError from the first rows."""
    if not loaded.config.data:
        raise ConfigError(f"{loaded.file}: data: this key is missing: a backtest has a market of its own")
    trader = build_trader(loaded, BACKTEST_RUN_NUMBER)
    cash_start = dict(trader.portfolio.cash)
    _check_fidelity(loaded)
    subscriptions = [subscription for context in trader.contexts for subscription in context.subscriptions]
    instruments = list(trader.instruments.values())
    venue, files, fraction, totals, ts_start = wire_venue(loaded, instruments, subscriptions)
    paying = funded(loaded, instruments, venue, ts_start, {}) or venue
    files += funding_files(loaded)
    bars = make_bars(loaded, subscriptions, is_simulated=True)
    return Wired(trader, paying, cash_start, ts_start, files, fraction, totals, bars)


def for_paper(loaded: LoadedConfig) -> LoadedConfig:
    """The configuration in paper mode. Raises ConfigError for one that was written to trade live."""
    if loaded.config.run.mode == "live":
        raise ConfigError(f"{loaded.file}: run.mode: is 'live', and paper trading would reach the same venues: {_LIVE_VERB}")
    run = loaded.config.run.model_copy(update={"mode": "paper"})
    return replace(loaded, config=loaded.config.model_copy(update={"run": run}))


def for_live(loaded: LoadedConfig, account: str) -> LoadedConfig:
    """The configuration, where everything says that it is to trade live: its mode, its connections, and who starts it."""
    run = loaded.config.run
    if run.mode != "live":
        raise ConfigError(f"{loaded.file}: run.mode: is {run.mode!r}: only a configuration that says 'live' itself trades live")
    if not loaded.config.connections:
        raise ConfigError(f"{loaded.file}: connections: there is none: live trading needs a venue to reach")
    if account != run.name:
        raise ConfigError(f"{loaded.file}: run.name: is {run.name!r}, and --account says {account!r}: both must name the account")
    return loaded


def for_run(loaded: LoadedConfig) -> LoadedConfig:
    """The configuration in its own mode, where no more has to be said. Raises ConfigError for live."""
    if loaded.config.run.mode == "live":
        raise ConfigError(f"{loaded.file}: run.mode: is 'live': {_LIVE_VERB}")
    return loaded


def is_execution_simulated(loaded: LoadedConfig) -> bool:
    """Orders meet the simulated venue in this process. Raises ConfigError for a mix, and where paper orders would be real."""
    config = loaded.config
    kinds = set()
    for place, connection in enumerate(config.connections):
        where = f"{loaded.file}: connections[{place}].execution"
        is_live = connection.environment == Environment.LIVE.value
        kind = connection.execution or ("simulated" if config.run.mode == "paper" and is_live else "venue")
        if config.run.mode == "live" and kind == "simulated":
            raise ConfigError(f"{where}: 'simulated' is paper trading: set run.mode = \"paper\"")
        if config.run.mode == "paper" and kind == "venue" and is_live:
            raise ConfigError(f"{where}: 'venue' with environment 'live' is no paper trading: set run.mode = \"live\"")
        kinds.add(kind)
    if len(kinds) > 1:
        raise ConfigError(f"{loaded.file}: connections: execution must be the same for all: 'venue' or 'simulated'")
    return kinds != {"venue"}


def moves_real_money(loaded: LoadedConfig) -> bool:
    """Whether an order of this configuration would."""
    is_live = any(connection.environment == Environment.LIVE.value for connection in loaded.config.connections)
    return loaded.config.run.mode == "live" and is_live


def why_no_evidence(loaded: LoadedConfig) -> str:
    """Why a run of this configuration shows nothing of how it trades on paper in a real market; empty where it does."""
    if loaded.config.run.mode != "paper":
        return "it is no paper run"
    if any(connection.environment == Environment.SIMULATOR.value for connection in loaded.config.connections):
        return "its market was simulated: connect it to the venues' live or test environment"
    return ""


def goes_by_the_clock(loaded: LoadedConfig) -> bool:
    """A daemon that trades until it is stopped; else a run that ends with its data."""
    return loaded.config.run.mode != "backtest"


def build_trader(loaded: LoadedConfig, run_number: int) -> Trader:
    """The Trader of a configuration with its strategies, before its first event: a run's, or a replay's."""
    trader = build_empty_trader(loaded, run_number)
    for index, table in enumerate(loaded.config.strategies):
        trader.add_strategy(table.id, build_strategy(loaded, index, list(trader.instruments.values())))
    add_clients(loaded, trader)
    return trader


def build_empty_trader(loaded: LoadedConfig, run_number: int) -> Trader:
    """Instruments, cash and limits; nobody trades yet."""
    instruments = build_instruments(loaded)
    return Trader(
        instruments=instruments,
        cash=build_cash(loaded),
        limits=build_limits(loaded, instruments),
        rate=build_rate(loaded.config.risk),
        account=build_account_limits(loaded, instruments),
        run_number=run_number,
    )


def add_clients(loaded: LoadedConfig, trader: Trader) -> None:
    """Programs outside trade by the clock only: a backtest takes no notice of them. Raises ConfigError."""
    if not goes_by_the_clock(loaded):
        return
    for index, client in enumerate(loaded.config.clients):
        for instrument_id in client.instruments:
            if instrument_id not in trader.instruments:
                known = ", ".join(trader.instruments)
                raise ConfigError(
                    f"{loaded.file}: clients[{index}].instruments: {instrument_id} is not configured; configured: {known}"
                )
        interval_ns = parse_duration_ns(client.interval)
        subscriptions = [
            Subscription(instrument_id=instrument_id, quotes="size", interval_ns=interval_ns, book_levels=client.levels)
            for instrument_id in dict.fromkeys(client.instruments)
        ]
        trader.clients.add(client.id, subscriptions)


def input_files(loaded: LoadedConfig) -> list[Path]:
    """Every file that the data sections and the latency table name, in their order. Raises ConfigError where one is absent."""
    files: list[Path] = []
    for index, data in enumerate(loaded.config.data):
        where = f"data[{index}]"
        match data:
            case FlowData():
                pass
            case LobsterData():
                files += [resolve_path(loaded, data.messages, f"{where}.messages")]
                files += [resolve_path(loaded, data.book, f"{where}.book")] if data.book is not None else []
            case BinanceData():
                files += [resolve_path(loaded, name, f"{where}.files[{place}]") for place, name in enumerate(data.files)]
            case BarsData() | TradesData() | QuotesData():
                files += [resolve_path(loaded, data.file, f"{where}.file")]
            case _:
                assert_never(data)
    if isinstance(loaded.config.venue.latency, TableLatency):
        files.append(resolve_path(loaded, loaded.config.venue.latency.file, "venue.latency.file"))
    return files + funding_files(loaded)


# The venue.


def _check_fidelity(loaded: LoadedConfig) -> None:
    fidelity = loaded.config.venue.fidelity
    for index, data in enumerate(loaded.config.data):
        allowed = _FIDELITY_OF_FORMAT[data.format]
        if fidelity not in allowed:
            raise ConfigError(
                f"{loaded.file}: venue.fidelity: {fidelity!r} cannot play data[{index}], which is {data.format!r}; "
                f"use {' or '.join(map(repr, allowed))}"
            )
    venue = loaded.config.venue
    for name in _NOT_WITH_BARS if fidelity == "bars" else ():
        if getattr(venue, name) != Venue.model_fields[name].default:
            raise ConfigError(f"{loaded.file}: venue.{name}: the bar venue has no such choice; leave it out with fidelity 'bars'")
    if fidelity in ("flow", "bars") and len(loaded.config.data) > 1:
        raise ConfigError(f"{loaded.file}: data: fidelity {fidelity!r} takes one data section, not {len(loaded.config.data)}")


def wire_venue(
    loaded: LoadedConfig, instruments: list[Instrument], subscriptions: Sequence[Subscription]
) -> tuple[DriverVenue, list[Path], Callable[[], float], Callable[[], dict[str, int]], int]:
    first = loaded.config.data[0]
    match first:
        case FlowData():
            return _wire_flow(loaded, first, instruments, subscriptions)
        case BarsData():
            return _wire_bars(loaded, first, instruments)
        case _:
            return _wire_tape(loaded, instruments, subscriptions)


def require_extension(loaded: LoadedConfig) -> None:
    if extension() is None:
        raise ConfigError(
            f"{loaded.file}: venue.fidelity: {loaded.config.venue.fidelity!r} needs the C extension, which is not built here: "
            "install a C compiler and Python's headers, and install tradingd again; only 'bars' runs without"
        )


def instrument_index(loaded: LoadedConfig, instruments: list[Instrument], instrument_id: str, where: str) -> int:
    for index, instrument in enumerate(instruments):
        if instrument.instrument_id == instrument_id:
            return index
    known = ", ".join(instrument.instrument_id for instrument in instruments)
    raise ConfigError(f"{loaded.file}: {where}.instrument_id: {instrument_id} is not configured; configured: {known}")


def _wire_tape(
    loaded: LoadedConfig, instruments: list[Instrument], subscriptions: Sequence[Subscription]
) -> tuple[DriverVenue, list[Path], Callable[[], float], Callable[[], dict[str, int]], int]:
    require_extension(loaded)
    from sim.tape import TapeVenue
    from sim.tape_merge import merge_tapes

    sources: list[Source] = []
    for position, data in enumerate(loaded.config.data):
        assert isinstance(data, LobsterData | BinanceData | TradesData | QuotesData)
        where = f"data[{position}]"
        index = instrument_index(loaded, instruments, data.instrument_id, where)
        sources.append(open_source(loaded, data, where, instruments[index], index))
    inner = simulated_venue(loaded, instruments, subscriptions)
    files = [path for source in sources for path in source.files]
    merged = merge_tapes([source.open() for source in sources])
    venue = TapeVenue(inner, merged, ", ".join(map(str, files)), locate_in(sources))
    total = max(sum(source.bytes_total for source in sources), 1)

    def fraction() -> float:
        return min(sum(source.bytes_read for source in sources) / total, 1.0)

    return venue, files, fraction, venue.totals, venue.ts_start


def _wire_flow(
    loaded: LoadedConfig, data: FlowData, instruments: list[Instrument], subscriptions: Sequence[Subscription]
) -> tuple[DriverVenue, list[Path], Callable[[], float], Callable[[], dict[str, int]], int]:
    """The generated market."""
    require_extension(loaded)
    from native.flow import Flow
    from sim.flow_venue import FlowVenue
    from sim.order_flow import flow_config, settings_from_mapping

    index = instrument_index(loaded, instruments, data.instrument_id, "data[0]")
    instrument = instruments[index]
    try:
        settings = settings_from_mapping(data.market)
        price_start = instrument.parse_price(data.price_start)
        ts_start = int(data.start.timestamp()) * NS_PER_SECOND + data.start.microsecond * NS_PER_US
        ts_end = ts_start + parse_duration_ns(data.duration)
        config = flow_config(
            settings,
            seed=loaded.config.run.seed,
            ts_start=ts_start,
            ts_end=ts_end,
            tick=instrument.tick,
            lot=instrument.lot,
            price_min=instrument.price_min,
            price_max=instrument.price_max,
            price_start=price_start,
            instrument=index,
            feed_latency_ns=parse_duration_ns(data.feed_latency),
        )
    except (ConfigError, UnitError) as error:
        raise ConfigError(f"{loaded.file}: data[0]: {error}") from None
    inner = simulated_venue(loaded, instruments, subscriptions)
    venue = FlowVenue(inner, Flow(config), instrument.instrument_id, ts_start=ts_start, ts_end=ts_end)
    return venue, [], lambda: min((venue.now - ts_start) / (ts_end - ts_start), 1.0), venue.totals, ts_start


def _wire_bars(
    loaded: LoadedConfig, data: BarsData, instruments: list[Instrument]
) -> tuple[DriverVenue, list[Path], Callable[[], float], Callable[[], dict[str, int]], int]:
    import numpy as np

    from sim.bar_matching import BarFillRules
    from sim.bar_series import BarSeries
    from sim.bar_tape import BarTape
    from sim.bar_venue import BarVenue
    from sim.data.tables import read_bars

    index = instrument_index(loaded, instruments, data.instrument_id, "data[0]")
    path = resolve_path(loaded, data.file, "data[0].file")
    interval_ns = parse_duration_ns(data.interval)
    chunks = list(read_bars(table_source(data, path, instruments[index], index), interval_ns, data.stamp))
    if not chunks:
        raise DataError("there is not a single bar", file=str(path))
    rows = np.concatenate(chunks)
    rules = loaded.config.venue.bars
    latency = loaded.config.venue.latency
    if not isinstance(latency, ConstantLatency):
        raise ConfigError(f"{loaded.file}: venue.latency.model: bars take a constant latency")
    inner = BarVenue(
        instruments,
        [BarSeries.from_rows(data.instrument_id, rows)],
        BarFillRules(
            slippage_ticks=rules.slippage_ticks,
            fills_on_touch=rules.fills_on_touch,
            gap_improvement=rules.gap_improvement,
            participation_ppm=parse_percentage_ppm(rules.participation),
            latency_ns=parse_duration_ns(latency.entry),
            response_ns=parse_duration_ns(latency.response),
            day_end_offset_ns=parse_duration_ns(loaded.config.venue.day_end),
        ),
    )
    ts_start = int(rows["ts_event"][0]) - interval_ns
    venue = BarTape(inner, ts_start)
    return venue, [path], lambda: inner.rows / len(rows), venue.totals, ts_start


def simulated_venue(loaded: LoadedConfig, instruments: list[Instrument], subscriptions: Sequence[Subscription]) -> Any:
    """The SimulatedVenue that the configuration describes; instruments keep their order as its indices."""
    from sim.venue import InstrumentSettings, SimulatedVenue, VenueSettings

    venue = loaded.config.venue
    wanted = heard_in_simulation(loaded, subscriptions)
    settings = VenueSettings(
        latency=_latency(loaded, venue),
        self_trade_prevention=SelfTradePrevention[venue.self_trade_prevention.upper()],
        reject_per_million=venue.rejects_per_million,
        orders_max=venue.orders_max,
        timers_max=venue.timers_max,
        day_end_offset_ns=parse_duration_ns(venue.day_end),
        post_only_slides=venue.post_only == "slide",
    )
    each = [
        InstrumentSettings(
            instrument=instrument,
            fidelity=venue.fidelity,
            queue_model=venue.queue_model,
            queue_power=float(venue.queue_power),
            subscriptions=tuple(each for each in wanted if each.instrument_id == instrument.instrument_id),
            check_crossed=venue.crossed == "stop",
            orders_max=venue.book_orders_max,
            levels_max=venue.levels_max,
        )
        for instrument in instruments
    ]
    return SimulatedVenue(each, settings)


def _latency(loaded: LoadedConfig, venue: Venue) -> Any:
    from sim import latency

    match venue.latency:
        case ConstantLatency(entry=entry, response=response):
            return latency.ConstantLatency(entry_ns=parse_duration_ns(entry), response_ns=parse_duration_ns(response))
        case LogNormalLatency() as model:
            return latency.LogNormalLatency(
                entry_median_ns=parse_duration_ns(model.entry),
                response_median_ns=parse_duration_ns(model.response),
                entry_sigma=float(model.entry_sigma),
                response_sigma=float(model.response_sigma),
                seed=loaded.config.run.seed,
            )
        case TableLatency(file=file):
            return latency.read_recorded_latency(resolve_path(loaded, file, "venue.latency.file"))
