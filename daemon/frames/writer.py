"""Keeps every frame of every connection in a folder, without ever making the loop wait or trading stop.

Frames wait in memory, at most WAITING_BYTES_MAX, for a thread that writes them. Where the disk cannot follow, frames are left out
and the recording says how many; where it refuses, or the recording has its full size, recording ends. Each is told once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from core.errors import StorageError
from core.venue_opening import CLOSED, OPENED, RECEIVED, SENT, OnFrame
from daemon.frames.format import CONNECTIONS_MAX, COUNT, SUFFIX, Kind, pack, preamble

WAITING_BYTES_MAX = 1 << 25
SEGMENT_BYTES_MAX = 1 << 26
WRITE_EVERY_S = 0.1
_KIND_OF = {OPENED: Kind.OPENED, RECEIVED: Kind.RECEIVED, SENT: Kind.SENT, CLOSED: Kind.CLOSED}


class FrameRecorder:
    """`on_trouble` gets a sentence where something is not recorded. Raises StorageError where the folder cannot be made."""

    def __init__(self, folder: Path, *, bytes_max: int, on_trouble: Callable[[str], None]) -> None:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be made for recorded frames: {error.strerror or error}") from error
        self.folder = folder
        self.frames = 0  # taken so far, those left out not
        self.bytes = 0
        self.lost = 0
        self._bytes_max = bytes_max
        self._on_trouble = on_trouble
        self._names: list[str] = []
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._lost_here = 0  # left out since the last record that was taken
        self._is_losing = False
        self._has_ended = False
        self._file = -1
        self._segment = 0
        self._segment_bytes = 0

    def of(self, name: str) -> OnFrame:
        """What a connection called `name` tells its frames to."""
        assert len(self._names) < CONNECTIONS_MAX
        number = len(self._names)
        self._names.append(name)

        def on_frame(ts: int, what: str, data: bytes) -> None:
            self._take(number, ts, _KIND_OF[what], data)

        return on_frame

    def _take(self, connection: int, ts: int, kind: Kind, data: bytes) -> None:
        if self._has_ended:
            return
        if self._waiting_bytes + len(data) > WAITING_BYTES_MAX:
            self.lost += 1
            self._lost_here += 1
            if not self._is_losing:
                self._is_losing = True
                self._on_trouble(f"{self.folder}: the disk is too slow: frames are left out of the recording")
            return
        if self._lost_here:
            self._keep(pack(ts, connection, Kind.LOST, COUNT.pack(self._lost_here)))
            self._lost_here = 0
        self._keep(pack(ts, connection, kind, data))
        self.frames += 1

    def _keep(self, record: bytes) -> None:
        self._waiting.append(record)
        self._waiting_bytes += len(record)
        self.bytes += len(record)

    async def run(self) -> None:
        """Until cancelled; never raises for a disk that refuses, and never ends for it."""
        while True:
            await anyio.sleep(WRITE_EVERY_S)
            await self._write_waiting()

    async def close(self) -> None:
        """What still waits is written. Never raises."""
        await self._write_waiting()
        self._end("")

    async def _write_waiting(self) -> None:
        if not self._waiting or self._has_ended:
            return
        batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
        try:
            await anyio.to_thread.run_sync(self._write, batch)
        except OSError as error:
            self._end(f"{self.folder}: frames are recorded no more: {error.strerror or error}")
            return
        self._is_losing = False
        if self.bytes >= self._bytes_max:
            self._end(f"{self.folder}: frames are recorded no more: the recording has its {self._bytes_max} bytes")

    def _write(self, batch: list[bytes]) -> None:
        """In a thread of its own; nothing else touches the file meanwhile."""
        if self._file < 0 or self._segment_bytes >= SEGMENT_BYTES_MAX:
            self._next_segment()
        data = memoryview(b"".join(batch))
        self._segment_bytes += len(data)
        while data:
            data = data[os.write(self._file, data) :]

    def _next_segment(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._segment += 1
        path = self.folder / f"{self._segment:06d}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        head = preamble() + b"".join(pack(0, number, Kind.NAMED, name.encode()) for number, name in enumerate(self._names))
        os.write(self._file, head)
        self._segment_bytes = len(head)

    def _end(self, trouble: str) -> None:
        self._has_ended = True
        self._waiting.clear()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if trouble:
            self._on_trouble(trouble)
