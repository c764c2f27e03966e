"""Opens the simulated market of a configuration by the clock: generated from now on, or recorded and moved to now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, assert_never

import numpy.typing as npt

from core.errors import ConfigError
from core.instruments import Instrument
from core.strategy import Subscription
from core.units import NS_PER_SECOND, NS_PER_US, format_fixed, parse_fixed
from daemon.config.loader import LoadedConfig
from daemon.config.models import BarsData, BinanceData, FlowData, LobsterData, QuotesData, TradesData
from daemon.funding import funded
from daemon.sources import locate_in, open_source
from daemon.wiring import require_extension, simulated_venue, wire_venue

if TYPE_CHECKING:
    from sim.flow_venue import FlowVenue
    from sim.funding import FundedVenue
    from sim.tape import TapeVenue

Rows = npt.NDArray[Any]
# The generated market of one run goes on for ten years; a run does not.
GENERATED_DURATION = "87600h"
SPEED_SCALE = 3
SEED_STEP = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: seeds of following runs share nothing
SEED_RANGE = 1 << 63


def check_market(loaded: LoadedConfig) -> None:
    """Raises ConfigError for what a backtest can do and a market by the clock cannot."""
    config = loaded.config
    require_extension(loaded)
    if any(isinstance(data, BarsData) for data in config.data):
        raise ConfigError(
            f"{loaded.file}: data: bars are known only when they have ended, too late for a paper session; use a backtest"
        )
    is_real_time = parse_speed(config.daemon.speed) == 10**SPEED_SCALE
    if any(isinstance(data, FlowData) for data in config.data) and not is_real_time:
        raise ConfigError(
            f"{loaded.file}: daemon.speed: the generated market goes by the clock: 1x; its rates are under data.market"
        )


def open_market(
    loaded: LoadedConfig,
    instruments: Sequence[Instrument],
    subscriptions: Sequence[Subscription],
    *,
    now: int,
    life: int,
    marks: Mapping[str, int],
    positions: Mapping[str, int],
) -> FlowVenue | TapeVenue | FundedVenue:
    """The venue of the configuration, its market beginning at `now` (ns UTC).

    `life` counts the venue's lives from 1: the generated market of each is another one, and begins at the price in `marks`, in
    points. `positions` is what the account carries over, in units. Raises ConfigError where the C extension is not built.
    """
    require_extension(loaded)
    from sim.flow_venue import FlowVenue
    from sim.tape import TapeVenue

    seed = (loaded.config.run.seed + (life - 1) * SEED_STEP) % SEED_RANGE
    run = loaded.config.run.model_copy(update={"seed": seed})
    loaded = replace(loaded, config=loaded.config.model_copy(update={"run": run}))
    first = loaded.config.data[0]
    match first:
        case FlowData():
            generated = _generated_from_now(loaded, first, instruments, now, marks)
            venue = wire_venue(generated, list(instruments), subscriptions)[0]
        case LobsterData() | BinanceData() | TradesData() | QuotesData():
            venue = _recorded(loaded, instruments, now, simulated_venue(loaded, list(instruments), subscriptions))
        case BarsData():
            raise AssertionError("check_market has refused bars")
        case _:
            assert_never(first)
    assert isinstance(venue, FlowVenue | TapeVenue)
    for key, position in positions.items():
        # The venue holds reduce-only orders to the position that the account carries over.
        venue.inner.set_position(key, position)
    return funded(loaded, instruments, venue, now, positions) or venue


def _generated_from_now(
    loaded: LoadedConfig, data: FlowData, instruments: Sequence[Instrument], now: int, marks: Mapping[str, int]
) -> LoadedConfig:
    """The same market, from now on, at the price where it was seen last."""
    start = datetime.fromtimestamp(now // NS_PER_SECOND, UTC).replace(microsecond=now % NS_PER_SECOND // NS_PER_US)
    update: dict[str, Any] = {"start": start, "duration": GENERATED_DURATION}
    mark = marks.get(data.instrument_id)
    instrument = next((each for each in instruments if each.instrument_id == data.instrument_id), None)
    if mark is not None and instrument is not None:
        price = max(mark - mark % instrument.tick, instrument.price_min)
        update["price_start"] = format_fixed(price, instrument.price_scale)
    moved = data.model_copy(update=update)
    return replace(loaded, config=loaded.config.model_copy(update={"data": [moved]}))


def _recorded(loaded: LoadedConfig, instruments: Sequence[Instrument], now: int, inner: Any) -> TapeVenue:
    from sim.tape import TapeVenue
    from sim.tape_merge import merge_tapes

    index_of = {instrument.instrument_id: index for index, instrument in enumerate(instruments)}
    sources = []
    for position, data in enumerate(loaded.config.data):
        assert isinstance(data, LobsterData | BinanceData | TradesData | QuotesData)
        where = f"data[{position}]"
        index = index_of.get(data.instrument_id)
        if index is None:
            raise ConfigError(f"{loaded.file}: {where}.instrument_id: {data.instrument_id} is not configured")
        sources.append(open_source(loaded, data, where, instruments[index], index))
    files = ", ".join(str(path) for source in sources for path in source.files)
    rows = merge_tapes([source.open() for source in sources])
    moved = moved_to(rows, now, parse_speed(loaded.config.daemon.speed))
    return TapeVenue(inner, moved, files, locate_in(sources))


def parse_speed(text: str) -> int:
    """Thousandths: "1.5x" is 1500. Raises ConfigError for a speed of nothing."""
    speed = parse_fixed(text.removesuffix("x"), SPEED_SCALE)
    if speed == 0:
        raise ConfigError("daemon.speed: must be above 0x")
    return speed


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
