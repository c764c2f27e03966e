"""Makes the funding schedules of a configuration, and puts them around a simulated venue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError
from core.instruments import Instrument, parse_fee_rate
from core.units import parse_duration_ns
from daemon.config.build import resolve_path
from daemon.config.loader import LoadedConfig

if TYPE_CHECKING:
    from sim.driver import Venue
    from sim.funding import FundedVenue, Schedule


def funding_files(loaded: LoadedConfig) -> list[Path]:
    """Raises ConfigError where one is absent."""
    return [
        resolve_path(loaded, each.file, f"venue.funding[{place}].file")
        for place, each in enumerate(loaded.config.venue.funding)
        if each.file is not None
    ]


def build_funding(loaded: LoadedConfig, instruments: Sequence[Instrument]) -> list[Schedule]:
    """Raises ConfigError for an instrument that cannot pay, DataError for a table that cannot be read."""
    from sim.data.funding import read_funding
    from sim.funding import ConstantFunding, RecordedFunding

    by_id = {each.instrument_id: each for each in instruments}
    schedules: dict[str, Schedule] = {}
    for place, each in enumerate(loaded.config.venue.funding):
        where, key = f"{loaded.file}: venue.funding[{place}].instrument_id", each.instrument_id
        instrument = by_id.get(key)
        if instrument is None:
            raise ConfigError(f"{where}: {key} is not configured; configured: {', '.join(by_id)}")
        if instrument.pays_notional:
            raise ConfigError(f"{where}: {key} is paid for in full when it is bought: there is nothing to fund")
        if key in schedules:
            raise ConfigError(f"{where}: {key} has funding already")
        if each.file is not None:
            stamps, rates = read_funding(resolve_path(loaded, each.file, f"venue.funding[{place}].file"))
            schedules[key] = RecordedFunding(instrument=instrument, stamps=stamps, rates=rates)
        else:
            assert each.rate is not None
            assert each.interval is not None
            rate, interval_ns = parse_fee_rate(each.rate), parse_duration_ns(each.interval)
            schedules[key] = ConstantFunding(instrument=instrument, interval_ns=interval_ns, rate_each=rate)
    return list(schedules.values())


def funded(
    loaded: LoadedConfig, instruments: Sequence[Instrument], venue: Venue, ts_start: int, positions: Mapping[str, int]
) -> FundedVenue | None:
    """The venue with what its positions pay, from behind `ts_start`; None where nothing is to be paid.

    `positions`: what the account brings along, in units. Raises as `build_funding`.
    """
    if not loaded.config.venue.funding:
        return None
    from sim.funding import FundedVenue

    return FundedVenue(venue, build_funding(loaded, instruments), positions, ts_start)
