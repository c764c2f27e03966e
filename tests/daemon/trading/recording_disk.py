"""A disk that writes down what it is told, and the disks that a power cut may leave at any moment of that.

What was synced is there. Of everything else any part may have arrived, in any order: each sector of a file holds what any
write since the last sync made of it (zeros where nothing was), the file is as long as any of them made it, and a name stands for
what it stood for at any moment since its folder was last synced. Only a name is always whole: it is the old one or the new one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.journal.files import FILE_MODE, DiskFiles

SECTOR_BYTES = 64  # small, so that short frames lie across several
FOLDER = -1


@dataclass(frozen=True, slots=True)
class Operation:
    """`kind` and what it needs: inode, place, bytes; or folder, name and what the name stands for from now on (None: nothing)."""

    kind: str
    inode: int = 0
    offset: int = 0
    data: bytes = b""
    folder: str = ""
    name: str = ""
    target: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something else that happened between two operations: what a venue took, what somebody was told."""

    what: str
    value: Any


Step = Operation | Note


class RecordingDisk(DiskFiles):
    """The real files below `root`, and `steps`. `files_before` is what was on the disk at its beginning, by inode.

    `before_call` is told the kind of each call that changes the disk; it may raise OSError in its place.
    """

    def __init__(self, root: Path, before_call: Callable[[str], None] = lambda _kind: None) -> None:
        self.root = root
        self.steps: list[Step] = []
        self._may_refuse = before_call
        self._inodes: dict[Path, int] = {}
        self._open: dict[int, int] = {}
        self._next = 1
        self.names_before: dict[tuple[str, str], int] = {}
        self.files_before: dict[int, bytes] = {}
        for path in sorted(root.rglob("*")):
            folder = str(path.parent.relative_to(root))
            if path.is_dir():
                self.names_before[folder, path.name] = FOLDER
            else:
                inode = self._new_inode(path)
                self.names_before[folder, path.name] = inode
                self.files_before[inode] = path.read_bytes()

    def take_over(self, before: RecordingDisk) -> None:
        """Go on where another process's view of the same disk has ended: what it did not sync is not synced yet."""
        assert before.root == self.root
        self.steps = before.steps
        self.names_before, self.files_before = before.names_before, before.files_before
        self._inodes, self._next = before._inodes, before._next

    def note(self, what: str, value: Any) -> None:
        self.steps.append(Note(what, value))

    def _before_call(self, kind: str) -> None:
        try:
            self._may_refuse(kind)
        except OSError:
            self.note("refused", kind)
            raise

    def _new_inode(self, path: Path) -> int:
        inode, self._next = self._next, self._next + 1
        self._inodes[path] = inode
        return inode

    def _name(self, path: Path, target: int | None) -> None:
        self.steps.append(Operation("name", folder=str(path.parent.relative_to(self.root)), name=path.name, target=target))

    def make_folder(self, folder: Path) -> None:
        self._before_call("make_folder")
        if not folder.exists() and folder.is_relative_to(self.root):
            self._name(folder, FOLDER)
        super().make_folder(folder)

    def create(self, path: Path) -> int:
        self._before_call("create")
        descriptor = super().create(path)
        self._name(path, self._new_inode(path))
        return self._opened(descriptor, path)

    def open_to_append(self, path: Path) -> int:
        self._before_call("open_to_append")
        return self._opened(super().open_to_append(path), path)

    def open_in_place(self, path: Path, mode: int = FILE_MODE) -> int:
        self._before_call("open_in_place")
        is_new = not path.exists()
        descriptor = super().open_in_place(path, mode)
        if is_new:
            self._name(path, self._new_inode(path))
        return self._opened(descriptor, path)

    def open_empty(self, path: Path) -> int:
        self._before_call("open_empty")
        is_new = not path.exists()
        descriptor = super().open_empty(path)
        if is_new:
            self._name(path, self._new_inode(path))
        else:
            self.steps.append(Operation("truncate", self._inodes[path], 0))
        return self._opened(descriptor, path)

    def _opened(self, descriptor: int, path: Path) -> int:
        self._open[descriptor] = self._inodes[path]
        return descriptor

    def write(self, descriptor: int, data: bytes) -> int:
        self._before_call("write")
        offset = self.size(descriptor)  # everything that is written without a place is appended
        taken = super().write(descriptor, data)
        self.steps.append(Operation("write", self._open[descriptor], offset, data[:taken]))
        return taken

    def identity(self, descriptor: int) -> int:
        # A power cut leaves the same file, but each of these disks has a folder of its own.
        return 1

    def write_at(self, descriptor: int, data: bytes, offset: int) -> int:
        self._before_call("write_at")
        taken = super().write_at(descriptor, data, offset)
        self.steps.append(Operation("write", self._open[descriptor], offset, data[:taken]))
        return taken

    def truncate(self, descriptor: int, size: int) -> None:
        self._before_call("truncate")
        super().truncate(descriptor, size)
        self.steps.append(Operation("truncate", self._open[descriptor], size))

    def sync(self, descriptor: int) -> None:
        # The real disk is not waited for: what a sync promises is what `after_power_cut` keeps.
        self._before_call("sync")
        self.steps.append(Operation("sync", self._open[descriptor]))

    def sync_folder(self, folder: Path) -> None:
        self._before_call("sync_folder")
        if folder.is_relative_to(self.root):
            self.steps.append(Operation("sync_folder", folder=str(folder.relative_to(self.root))))

    def rename(self, source: Path, target: Path) -> None:
        self._before_call("rename")
        super().rename(source, target)
        self._inodes[target] = self._inodes.pop(source)
        self._name(target, self._inodes[target])
        self._name(source, None)

    def remove(self, path: Path) -> None:
        self._before_call("remove")
        super().remove(path)
        self._name(path, None)

    def close(self, descriptor: int) -> None:
        super().close(descriptor)
        del self._open[descriptor]


@dataclass
class Inode:
    """`versions`: its content at the last sync, and after each change since."""

    versions: list[bytes] = field(default_factory=lambda: [b""])

    def change(self, content: bytes) -> None:
        self.versions.append(content)

    def after_power_cut(self, fate: Fate) -> bytes:
        sizes = [len(version) for version in self.versions]
        size = fate.pick([sizes[0], sizes[-1], fate.between(min(sizes), max(sizes))])
        found = bytearray()
        for start in range(0, size, SECTOR_BYTES):
            end = min(start + SECTOR_BYTES, size)
            found += fate.pick(self.versions)[start:end].ljust(end - start, b"\0")
        return bytes(found)


class Fate:
    """What a power cut keeps of what was not synced: nothing, everything, or any mixture."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._lost_of_ten = chance.choice((0, 1, 5, 9, 10))

    def pick(self, versions: Sequence[Any]) -> Any:
        """One of them: the first is what was synced, the last what the daemon saw."""
        if self._chance.randrange(10) >= self._lost_of_ten:
            return versions[-1]
        return versions[0] if self._lost_of_ten == 10 else self._chance.choice(versions)

    def between(self, low: int, high: int) -> int:
        return self._chance.randint(low, high)


def after_power_cut(disk: RecordingDisk, steps: int, chance: random.Random, folder: Path) -> None:
    """Write to `folder` what a cut after the first `steps` steps may leave."""
    inodes = {inode: Inode([content]) for inode, content in disk.files_before.items()}
    names: dict[tuple[str, str], list[int | None]] = {key: [target] for key, target in disk.names_before.items()}
    for step in disk.steps[:steps]:
        if isinstance(step, Operation):
            _apply(step, inodes, names)
    fate = Fate(chance)
    folder.mkdir()
    # A folder comes before what is in it.
    for parent, name in sorted(names):
        target = fate.pick(names[parent, name])
        if target is None or not (folder / parent).is_dir():
            continue
        if target == FOLDER:
            (folder / parent / name).mkdir()
        else:
            (folder / parent / name).write_bytes(inodes[target].after_power_cut(fate))


def _apply(step: Operation, inodes: dict[int, Inode], names: dict[tuple[str, str], list[int | None]]) -> None:
    inode = inodes.setdefault(step.inode, Inode())
    last = inode.versions[-1]
    match step.kind:
        case "name":
            names.setdefault((step.folder, step.name), [None]).append(step.target)
            if step.target is not None:
                inodes.setdefault(step.target, Inode())
        case "write":
            inode.change(last[: step.offset].ljust(step.offset, b"\0") + step.data + last[step.offset + len(step.data) :])
        case "truncate":
            inode.change(last[: step.offset])
        case "sync":
            inode.versions = [last]
        case "sync_folder":
            for key, targets in names.items():
                if key[0] == step.folder:
                    names[key] = targets[-1:]
        case _:
            raise AssertionError(step.kind)
