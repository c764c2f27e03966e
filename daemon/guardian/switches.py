"""Opens the guardian's own way to each venue of a configuration."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import ConfigError
from core.venue_switch import VenueSwitch
from daemon.config.loader import LoadedConfig
from daemon.guardian.daemon_hand import DaemonHand
from daemon.guardian.embedded import EmbeddedSwitch


def open_switches(loaded: LoadedConfig, hand: DaemonHand) -> Sequence[VenueSwitch]:
    """One for each venue, not connected yet. Raises ConfigError."""
    if not loaded.config.connections:
        return (EmbeddedSwitch(hand),)
    raise ConfigError(f"{loaded.file}: connections: no adapter has a switch for the guardian")
