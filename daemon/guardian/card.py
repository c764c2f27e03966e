"""The card of a running daemon: who it is and where its things are, on the disk for whoever has to stop it without its help.

Written at each phase by the daemon (GuardianLink) into the account's folder and into the control folder; one JSON object.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from daemon.guardian.process import WatchedProcess, boot_id, watch_process

CARD_BYTES_MAX = 1 << 16


class Card(msgspec.Struct, frozen=True, kw_only=True):
    name: str  # run.name: the account
    pid: int
    started: int  # ticks since the boot, as /proc has it
    boot: str
    state_folder: str  # the account's own, absolute
    config: str  # absolute path of its configuration
    overrides: list[str] = []  # what --set gave
    phase: str = ""
    run_id: str = ""  # empty while it has none yet

    def process(self) -> WatchedProcess | None:
        """The daemon of this card, where it still runs."""
        return watch_process(self.pid, self.started) if self.boot == boot_id() else None


def write_card(path: Path, card: Card) -> None:
    """Whole or not at all, but not waited for until the disk has it: a card is worth nothing after a boot. Raises OSError."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(msgspec.json.encode(card) + b"\n")
    os.replace(temporary, path)


def read_card(path: Path) -> Card | None:
    """None where there is none, or nothing that one could use."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(CARD_BYTES_MAX), type=Card)
    except (OSError, msgspec.DecodeError):
        return None
