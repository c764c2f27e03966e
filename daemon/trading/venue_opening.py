"""From a configuration's [[connections]] to what adapters and the guardian's switches are opened with."""

from __future__ import annotations

import hashlib
import importlib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from core.errors import ConfigError
from core.identifiers import PREFIX_LENGTH_MAX
from core.instruments import Instrument
from core.strategy import Subscription
from core.venue_adapter import Adapter
from core.venue_opening import Environment, OnFrame, Role, VenueOpening, no_frame
from core.venue_switch import VenueSwitch
from daemon.config.loader import LoadedConfig
from daemon.config.models_connections import Connection
from daemon.secrets import read_secret
from daemon.trading.clock import wall_now
from daemon.trading.router import venue_of

HASH_LENGTH = 5
# Beside this package, in a checkout as in an installation; it has no __init__.py of its own.
CONFIG_FOLDER = Path(__file__).parents[2] / "config"
# By the configuration's word: where its package is. Imported when it is used: each brings libraries of its own.
PACKAGES = {
    "sim": "adapters.sim",
    "binance-spot": "adapters.binance",
    "binance-usdm": "adapters.binance",
    "deribit": "adapters.deribit",
    "alpaca": "adapters.alpaca",
    "oanda": "adapters.oanda",
    "ib": "adapters.ib",
    "ccxt": "adapters.ccxt_any",
}


def secret_names(connection: Connection) -> list[str]:
    """Of every secret that it names."""
    names = (connection.key, connection.secret, connection.token)
    own = (connection.guardian_key, connection.guardian_secret, connection.guardian_token)
    return [name for name in (*names, *own) if name is not None]


class VenuePackage(Protocol):
    """adapters/NAME/opening.py (core/venue_opening.py)."""

    def check(self, opening: VenueOpening) -> None: ...

    def open_adapter(self, opening: VenueOpening) -> Adapter: ...

    def open_switch(self, opening: VenueOpening) -> VenueSwitch: ...


def package_of(connection: Connection) -> VenuePackage:
    """Raises ConfigError where a library that it needs is not installed."""
    name = PACKAGES[connection.adapter]
    try:
        return cast(VenuePackage, importlib.import_module(f"{name}.opening"))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("adapters", "core", "native"):
            raise
        fix = "install it with: pip install 'tradingd[venues]'"
        raise ConfigError(f'adapter: "{connection.adapter}" needs the package {error.name}: {fix}') from None


def opening_of(
    loaded: LoadedConfig,
    connection: Connection,
    *,
    instruments: Mapping[str, Instrument],
    subscriptions: Sequence[Subscription] = (),
    now: Callable[[], int],
    on_trouble: Callable[[str], None],
    on_frame: OnFrame = no_frame,
    role: Role = Role.TRADE,
    is_guardian: bool = False,
    first_order_id: int = 0,
) -> VenueOpening:
    """`instruments`: of every venue; those of others are left out. Raises ConfigError."""
    names = {"key": connection.key, "secret": connection.secret, "token": connection.token}
    if is_guardian:
        own = {"key": connection.guardian_key, "secret": connection.guardian_secret, "token": connection.guardian_token}
        names = {part: own[part] or name for part, name in names.items()}

    def secret(part: str) -> str:
        name = names[part]
        return "" if name is None else read_secret(name)

    mine = {key: instrument for key, instrument in instruments.items() if venue_of(key) == connection.venue}
    for key in connection.symbols:
        if key not in mine:
            raise ConfigError(f"symbols: {key} is no configured instrument of {connection.venue}")
    return VenueOpening(
        venue=connection.venue,
        environment=Environment(connection.environment),
        account=connection.account,
        address=connection.address or "",
        settings=venue_defaults(connection.adapter) | connection.settings,
        secret=secret,
        instruments=mine,
        subscriptions=[each for each in subscriptions if venue_of(each.instrument_id) == connection.venue],
        order_id_prefix=connection.order_id_prefix or prefix_of(loaded.config.run.name),
        now=now,
        machine_clock=wall_now,
        on_trouble=on_trouble,
        on_frame=on_frame,
        role=role,
        symbols=connection.symbols,
        first_order_id=first_order_id,
        kind=connection.adapter,
    )


def venue_defaults(kind: str) -> dict[str, Any]:
    """Of config/venues/KIND.toml; empty where there is none."""
    file = CONFIG_FOLDER / "venues" / f"{kind}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def prefix_of(run_name: str) -> str:
    """What order ids begin with: the run's name, shortened with a hash where it is too long or has other signs in it."""
    cleaned = re.sub(r"[^A-Za-z0-9_]", "_", run_name)
    if cleaned == run_name and len(cleaned) <= PREFIX_LENGTH_MAX:
        return cleaned
    digest = hashlib.sha256(run_name.encode()).hexdigest()[:HASH_LENGTH]
    return f"{cleaned[: PREFIX_LENGTH_MAX - HASH_LENGTH]}{digest}"
