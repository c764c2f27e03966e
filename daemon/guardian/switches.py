"""Opens the guardian's own way to each venue of a configuration."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.sim.address import parse_address
from adapters.sim.switch import SimSwitch
from core.errors import ConfigError
from core.venue_switch import VenueSwitch
from daemon.config.loader import LoadedConfig
from daemon.config.models_connections import Connection
from daemon.guardian.daemon_hand import DaemonHand
from daemon.guardian.embedded import EmbeddedSwitch
from daemon.secrets import read_secret


def open_switches(loaded: LoadedConfig, hand: DaemonHand) -> Sequence[VenueSwitch]:
    """One for each venue, not connected yet. Raises ConfigError, for a secret that is not there too."""
    if not loaded.config.connections:
        return (EmbeddedSwitch(hand),)
    switches = []
    for place, connection in enumerate(loaded.config.connections):
        try:
            switches.append(_open(connection))
        except ConfigError as error:
            raise ConfigError(f"{loaded.file}: connections[{place}]: {error}") from None
    return switches


def _open(connection: Connection) -> VenueSwitch:
    secret = connection.guardian_token or connection.token
    return SimSwitch(
        venue=connection.venue,
        address=parse_address(connection.address),
        account=connection.account,
        token="" if secret is None else read_secret(secret),
    )
