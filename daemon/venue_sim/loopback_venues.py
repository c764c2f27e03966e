"""Which simulated venues there are by name, and what goes wrong at them: the faults file."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import msgspec

from core.errors import ConfigError
from sim.venues.faults import PPM
from sim.venues.protocol import SimVenue

# Name on the command line: the package, and what its open_venue is told besides.
VENUES: dict[str, tuple[str, dict[str, str]]] = {
    "binance-spot": ("binance", {"product": "spot"}),
    "binance-usdm": ("binance", {"product": "usdm"}),
    "deribit": ("deribit", {}),
    "alpaca": ("alpaca", {}),
    "oanda": ("oanda", {}),
    "ib": ("ib", {}),
}
FAULTS_BYTES_MAX = 1 << 16


class FaultPlan(msgspec.Struct, frozen=True):
    """By the catalogue's number: how often in a million occasions, and how many times for certain at the next ones."""

    ppm: dict[int, int] = {}
    armed: dict[int, int] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ppm: dict[str, int] = {}
    armed: dict[str, int] = {}


def read_faults(path: Path) -> FaultPlan:
    """A TOML file with the tables [ppm] and [armed], each `"NUMBER" = COUNT`. Raises ConfigError."""
    try:
        content = path.read_bytes()
        if len(content) > FAULTS_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FAULTS_BYTES_MAX} bytes")
        found = msgspec.convert(tomllib.loads(content.decode()), _File)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return FaultPlan(_numbered(path, "ppm", found.ppm, PPM), _numbered(path, "armed", found.armed, PPM))


def _numbered(path: Path, table: str, rows: dict[str, int], most: int) -> dict[int, int]:
    for text, count in rows.items():
        if not (text.isascii() and text.isdecimal()):
            raise ConfigError(f"{path}: [{table}] {text!r} is no number of the fault catalogue")
        if not 0 <= count <= most:
            raise ConfigError(f"{path}: [{table}] {text} = {count} is not from 0 to {most}")
    return {int(text): count for text, count in rows.items()}


def open_simulator(name: str, *, seed: int, plan: FaultPlan, ts: int) -> SimVenue:
    """The simulated venue of that name at `ts`. Raises ConfigError for a name or a fault that is none of its."""
    if name not in VENUES:
        raise ConfigError(f"there is no simulated venue {name!r}; there are {', '.join(VENUES)}")
    package, options = VENUES[name]
    try:
        module = importlib.import_module(f"sim.venues.{package}.opening")
    except ModuleNotFoundError as error:
        raise ConfigError(f"the simulated venue {name} is not in this installation: {error}") from None
    try:
        venue: SimVenue = module.open_venue(seed=seed, faults=plan.ppm, ts=ts, **options)
        for number, times in plan.armed.items():
            venue.faults.arm(number, times)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    return venue
