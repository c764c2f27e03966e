"""Folders of drills: one for each, and a short one for its sockets, which have little room for a path."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from core.errors import StorageError


@dataclass(frozen=True, slots=True)
class Place:
    folder: Path
    runtime: Path


class Places:
    """Below `keep`, where what is broken stays; absent: below the temporary folder, and nothing stays."""

    def __init__(self, keep: Path | None) -> None:
        self._keep = keep
        try:
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
            self._root = Path(tempfile.mkdtemp(prefix="tradingd-drill-"))
        except OSError as error:
            raise StorageError(f"a folder for the drills cannot be made: {error.strerror or error}") from error
        self._count = 0

    def make(self, name: str) -> Place:
        self._count += 1
        folder = self._root / f"{self._count:03d}-{name}"
        runtime = self._root / f"{self._count}"
        folder.mkdir(mode=0o700)
        runtime.mkdir(mode=0o700)
        return Place(folder, runtime)

    def done(self, place: Place, *, is_kept: bool) -> str:
        """Where it is now; "": nowhere."""
        shutil.rmtree(place.runtime, ignore_errors=True)
        if not is_kept or self._keep is None:
            shutil.rmtree(place.folder, ignore_errors=True)
            return ""
        target = self._keep / place.folder.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(place.folder, target)
        return str(target)

    def close(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
