"""Opens the guardian's own way to each venue of a configuration."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from core.errors import ConfigError
from core.identifiers import RUN_NUMBER_MAX, make_order_id
from core.venue_switch import VenueSwitch
from daemon.config.build import build_instruments
from daemon.config.loader import LoadedConfig
from daemon.guardian.daemon_hand import DaemonHand
from daemon.guardian.embedded import EmbeddedSwitch
from daemon.trading.venue_opening import opening_of, package_of
from daemon.wiring import is_execution_simulated

# Orders that a switch places itself (to flatten) are numbered in a run that no daemon ever has, from the second it was opened on.
SWITCH_RUN_NUMBER = RUN_NUMBER_MAX


def open_switches(loaded: LoadedConfig, hand: DaemonHand) -> Sequence[VenueSwitch]:
    """One for each venue, not connected yet. Raises ConfigError, for a secret that is not there too."""
    if is_execution_simulated(loaded):
        return (EmbeddedSwitch(hand),)
    instruments = {instrument.instrument_id: instrument for instrument in build_instruments(loaded)}
    switches = []
    for place, connection in enumerate(loaded.config.connections):
        try:
            opening = opening_of(
                loaded,
                connection,
                instruments=instruments,
                now=time.time_ns,
                on_trouble=_say,
                is_guardian=True,
                first_order_id=make_order_id(SWITCH_RUN_NUMBER, int(time.time())),
            )
            switches.append(package_of(connection).open_switch(opening))
        except ConfigError as error:
            raise ConfigError(f"{loaded.file}: connections[{place}]: {error}") from None
    return switches


def _say(text: str) -> None:
    print(f"tradingd: {text}", file=sys.stderr, flush=True)
