"""What the simulated world needs of a venue, whatever it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sim.venues.faults import Random
from sim.virtual.loop import VirtualLoop

Ledger = dict[str, Any]  # as sim/venues/protocol.py says


class VenueKit(Protocol):
    """One venue in a world: made with the world's seed, it listens once `start` was called."""

    venue: str  # the part of instrument_ids behind the last dot
    account: str
    limits: dict[str, int]  # position_qty_max of its instruments, in units

    rest_ns: int  # after which its request budget is whole again
    clock_step_ns_max: int  # further off, nobody can log in there

    def config(self) -> str:
        """TOML: instruments, connections and limits."""

    def start(self, loop: VirtualLoop) -> None:
        """Listen in the network of `loop`."""

    def act(self, random: Random) -> str:
        """Something happens at the venue that is none of our doing; says what."""

    def calm(self) -> None:
        """From here on nothing goes wrong there."""

    def cash(self) -> Mapping[str, str]:
        """What the account begins with, by currency, as a configuration has it."""

    def lots(self) -> Mapping[str, int]:
        """Lots of one step of the strategy's quantities, by instrument; where it says nothing, one."""

    def secrets(self) -> Mapping[str, str]:
        """By the name that TRADINGD_SECRET_ begins."""

    def failure(self) -> str:
        """A bug of the simulator itself; empty where there is none."""

    def fired(self) -> dict[str, int]:
        """What went wrong there, and how often."""

    def ledger(self) -> Ledger: ...
