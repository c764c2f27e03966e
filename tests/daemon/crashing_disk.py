"""A disk that loses what was not synced: every call can be the last one, and any part of what was in flight may have arrived.

After a power cut each sector of a file that was written since its last sync is new or old (zeros where there was nothing), in any
mixture, and the file is as long as before, as it became, or anything between. An unsynced name is there or not. What was synced
is always there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from daemon.journal.lock import LOCK_FILE


class PowerCut(Exception):
    """The machine stops here."""


SECTOR_BYTES = 32  # small, so that short frames lie across several


@dataclass
class File:
    durable: bytes = b""
    content: bytes = b""

    def after_power_cut(self, chance: random.Random) -> bytes:
        old, new = self.durable, self.content
        if not new.startswith(old):
            return chance.choice((old, new))  # cut shorter, and not yet synced
        size = chance.choice((len(old), len(new), chance.randint(len(old), len(new))))
        lost_of_ten = chance.choice((0, 1, 5, 10))
        found = bytearray()
        for start in range(0, size, SECTOR_BYTES):
            end = min(start + SECTOR_BYTES, size)
            is_lost = chance.randrange(10) < lost_of_ten
            found += old[start:end].ljust(end - start, b"\0") if is_lost else new[start:end]
        return bytes(found)


class CrashingDisk:
    """The journal's files layer (daemon/journal/files.py) in memory, one folder.

    `stop_at` n: call n raises `failure`; a write takes some of its bytes first. None: all goes well.
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = {name: File(data, data) for name, data in (files or {}).items()}
        self.names_durable = set(self.files)
        self.removed: dict[str, File] = {}
        self.calls = 0
        self.syncs = 0
        self.stop_at: int | None = None
        self.failure: Exception = PowerCut()
        self.bytes_taken = 0
        self.stopped = False
        self._open: dict[int, str] = {}

    def segments(self) -> list[tuple[int, bytes]]:
        return [(int(name[:6]), self.files[name].content) for name in sorted(self.files) if name != LOCK_FILE]

    def after_power_cut(self, chance: random.Random) -> CrashingDisk:
        """What the next start finds."""
        found: dict[str, bytes] = {}
        for name, file in {**self.removed, **self.files}.items():
            is_certain = name in self.names_durable and name not in self.removed
            if is_certain or chance.random() < 0.5:
                found[name] = file.after_power_cut(chance)
        return CrashingDisk(found)

    def after_kill(self) -> CrashingDisk:
        """What the next start finds where only the process died: everything that was written."""
        return CrashingDisk({name: file.content for name, file in self.files.items()})

    def _call(self) -> None:
        self.calls += 1
        if self.stopped and isinstance(self.failure, PowerCut):
            raise PowerCut
        if self.stop_at is not None and self.calls == self.stop_at:
            self.stopped = True
            raise self.failure

    def make_folder(self, folder: Path) -> None:
        self._call()

    def names(self, folder: Path) -> list[str]:
        return list(self.files)

    def read(self, path: Path) -> bytes:
        return self.files[path.name].content

    def create(self, path: Path) -> int:
        self._call()
        assert path.name not in self.files
        self.files[path.name] = File()
        return self._descriptor(path.name)

    def open_to_append(self, path: Path) -> int:
        self._call()
        return self._descriptor(path.name)

    def open_in_place(self, path: Path, mode: int = 0) -> int:
        self._call()
        self.files.setdefault(path.name, File())
        return self._descriptor(path.name)

    def open_empty(self, path: Path) -> int:
        raise AssertionError("a journal empties no file")

    def rename(self, source: Path, target: Path) -> None:
        raise AssertionError("a journal renames no file")

    def _descriptor(self, name: str) -> int:
        descriptor = max(self._open, default=2) + 1
        self._open[descriptor] = name
        return descriptor

    def write(self, descriptor: int, data: bytes) -> int:
        file = self.files[self._open[descriptor]]
        try:
            self._call()
        except (PowerCut, OSError):
            if self.calls == self.stop_at:
                file.content += data[: self.bytes_taken]
            raise
        # Not all at once: a writer that forgets the rest is found.
        taken = data[: max(len(data) * 2 // 3, 1)]
        file.content += taken
        return len(taken)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> int:
        self._call()
        file = self.files[self._open[descriptor]]
        file.content = file.content[:offset].ljust(offset, b"\0") + data + file.content[offset + len(data) :]
        return len(data)

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        return self.files[self._open[descriptor]].content[offset : offset + size]

    def identity(self, descriptor: int) -> int:
        return 1

    def size(self, descriptor: int) -> int:
        return len(self.files[self._open[descriptor]].content)

    def truncate(self, descriptor: int, size: int) -> None:
        self._call()
        file = self.files[self._open[descriptor]]
        file.content = file.content[:size]

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        self._call()
        file = self.files[self._open[descriptor]]
        file.durable = file.content

    def sync_folder(self, folder: Path) -> None:
        self._call()
        self.names_durable = set(self.files)
        self.removed.clear()

    def remove(self, path: Path) -> None:
        self._call()
        self.removed[path.name] = self.files.pop(path.name)

    def remove_folder(self, folder: Path) -> None:
        raise AssertionError("no journal removes a folder")

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def lock(self, descriptor: int) -> None:
        """There is one process."""

    def is_at(self, descriptor: int, path: Path) -> bool:
        return path.name in self.files
