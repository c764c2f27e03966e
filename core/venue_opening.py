"""What an adapter is given to be opened with: one venue of a configuration, as its package under adapters takes it.

Each adapters/NAME/opening.py has

    def check(opening: VenueOpening) -> None
    def open_adapter(opening: VenueOpening) -> Adapter
    def open_switch(opening: VenueOpening) -> VenueSwitch

what they open is not connected yet. All raise ConfigError for what cannot be used, in words that begin with the connection's key;
`check` reads no secret, the others read every secret that they need here and now: a process that has started has its secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

import msgspec

from core.errors import ConfigError
from core.instruments import Instrument
from core.strategy import Subscription

# (ns UTC, what, bytes) of everything that happens on a connection, secrets taken out; `what` is one of these.
OnFrame = Callable[[int, str, bytes], None]
OPENED, RECEIVED, SENT, CLOSED = "opened", "received", "sent", "closed"

S = TypeVar("S", bound=msgspec.Struct)


class Environment(Enum):
    """Whose money it is. An adapter refuses an endpoint, a key or an answer that belongs to another one."""

    LIVE = "live"
    TEST = "test"  # the venue's own test network, paper or practice account
    SIMULATOR = "simulator"  # tradingd venue-sim, on loopback


class Role(Enum):
    TRADE = "trade"
    WATCH = "watch"  # market data only: logs in nowhere where it can, sends no order, sets nothing at the venue


def no_frame(_ts: int, _what: str, _data: bytes) -> None:
    """Where nobody keeps frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOpening:
    """`settings`: config/venues/KIND.toml with the connection's own `settings` over it. `address`: "HOST:PORT" of a simulator or
    gateway, "" for the venue's own. `secret`: by role ("key", "secret", "token"); "" where the connection names none.

    `symbols`: instrument_id -> the venue's own name, where it is not what the adapter makes of the instrument_id.
    `now`: ns UTC, never less than before: the stamps of events, and what waits are counted by. `wall`: the machine's own clock,
    which may step either way and is behind `now` after it was set back: for what a venue compares with its own (a signature's
    stamp, the check at login), and for nothing else. `first_order_id`: larger than every client_order_id that was ever used here;
    a switch that must place orders (to flatten) numbers them from there on.
    """

    venue: str
    environment: Environment
    account: str
    address: str
    settings: Mapping[str, Any]
    secret: Callable[[str], str]
    instruments: Mapping[str, Instrument]
    subscriptions: Sequence[Subscription]
    order_id_prefix: str
    now: Callable[[], int]
    on_trouble: Callable[[str], None]
    on_frame: OnFrame = no_frame
    role: Role = Role.TRADE
    symbols: Mapping[str, str] = field(default_factory=dict)
    first_order_id: int = 0
    kind: str = ""
    machine_clock: Callable[[], int] | None = None  # None: `now`

    @property
    def wall(self) -> Callable[[], int]:
        return self.now if self.machine_clock is None else self.machine_clock

    def host_and_port(self) -> tuple[str, int]:
        """Of `address`. Raises ConfigError where it is no HOST:PORT."""
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ConfigError(f'address: {self.address!r} must read "HOST:PORT"')
        return host.removeprefix("[").removesuffix("]"), int(port)

    def read_settings(self, kind: type[S]) -> S:
        """`settings` as the adapter's own struct (forbid_unknown_fields). Raises ConfigError that names the key."""
        try:
            return msgspec.convert(_plain(self.settings), kind)
        except msgspec.ValidationError as error:
            raise ConfigError(f"settings: {error}") from None


def _plain(value: Any) -> Any:
    """A configuration's floats remember their text, and msgspec takes no kind of float but float."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return float(value) if isinstance(value, float) else value
