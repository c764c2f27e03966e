"""The disk of a simulated machine: real files in memory, and what a power cut may leave of them; it can die and it can refuse."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.daemon.trading.recording_disk import RecordingDisk, after_power_cut


class Killed(BaseException):
    """The process ends at this very call. No code of ours may catch it."""


class Disk(RecordingDisk):
    """One process's view of the files below `root`. After `die` nothing that it is told changes anything.

    `die_at_call`: the process ends in the place of that call, counted from 1. `refuse`: calls that fail with ENOSPC or EIO.
    """

    def __init__(self, root: Path, chance: random.Random, on_death: Callable[[], None]) -> None:
        super().__init__(root, self._before)
        self.calls = 0
        self.die_at_call: int | None = None
        self.refused = 0
        self._refusals_left = 0
        self._refused_kinds: tuple[str, ...] = ()
        self.is_dead = False
        self._chance = chance
        self._on_death = on_death

    def refuse(self, calls: int, kinds: tuple[str, ...] = ()) -> None:
        """The next `calls` of these kinds fail; of any kind where none is named. 0: no more."""
        self._refusals_left, self._refused_kinds = calls, kinds

    def _before(self, kind: str) -> None:
        if self.is_dead:
            raise OSError(errno.EIO, "the process is dead")
        self.calls += 1
        if self.calls == self.die_at_call:
            self._on_death()
            raise Killed
        if self._refusals_left and (not self._refused_kinds or kind in self._refused_kinds):
            self._refusals_left -= 1
            self.refused += 1
            raise OSError(self._chance.choice((errno.ENOSPC, errno.EIO)), "the disk refuses")

    def die(self) -> None:
        self.is_dead = True

    def close(self, descriptor: int) -> None:
        if not self.is_dead:
            super().close(descriptor)
        elif self._open.pop(descriptor, None) is not None:
            os.close(descriptor)

    def close_all(self) -> None:
        """As the system does with what a dead process had open."""
        assert self.is_dead
        for descriptor in list(self._open):
            self.close(descriptor)

    def cut_power(self, target: Path) -> None:
        """Write to `target` what a machine that lost its power now may find."""
        after_power_cut(self, len(self.steps), self._chance, target)
