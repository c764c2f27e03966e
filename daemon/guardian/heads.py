"""The audit heads: what the guardian knows of each journal, kept apart from the daemon's folder and only ever appended to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from core.errors import StorageError
from daemon.journal.anchor import Anchor, AnchorFile, Head
from daemon.trading.listener import Beat

HEADS_FILE = "heads.jsonl"
WAITING_MAX = 1_024  # lines that wait for the disk; then the oldest head goes


class Heads:
    """Appends to `folder`/heads.jsonl. `failed` hears each time that the disk refuses; nothing raises."""

    def __init__(self, folder: Path, interval_s: float, failed: Callable[[str], None]) -> None:
        self.path = folder / HEADS_FILE
        self._interval_s = interval_s
        self._failed = failed
        self._file: AnchorFile | None = None
        self._waiting: deque[Anchor | Head] = deque(maxlen=WAITING_MAX)
        self._arrived = anyio.Event()
        self._last_at: float | None = None
        self._journal_id = ""
        self.kept = 0

    def seal(self, anchor: Anchor) -> None:
        self._put(anchor)

    def beat(self, beat: Beat, now: float) -> None:
        """At most one in each interval; the first of a journal always."""
        is_due = self._last_at is None or now - self._last_at >= self._interval_s or beat.journal_id != self._journal_id
        if not is_due:
            return
        self._last_at, self._journal_id = now, beat.journal_id
        self._put(
            Head(
                head=beat.head,
                journal_id=beat.journal_id,
                run_id=beat.run_id,
                records=beat.records,
                records_durable=beat.records_durable,
                ts=beat.ts,
            )
        )

    def _put(self, line: Anchor | Head) -> None:
        if len(self._waiting) == WAITING_MAX:
            self._failed(f"{self.path}: {WAITING_MAX} lines wait for the disk; the oldest is lost")
        self._waiting.append(line)
        self._arrived.set()

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            if not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            await self._write_next()

    async def drain(self, seconds_max: float) -> None:
        """At the end."""
        with anyio.move_on_after(seconds_max):
            while self._waiting:
                await self._write_next()

    async def _write_next(self) -> None:
        line = self._waiting.popleft()
        try:
            # In a thread: a disk that hangs must not hold the guardian up.
            await anyio.to_thread.run_sync(self._append, line, abandon_on_cancel=True)
            self.kept += 1
        except StorageError as error:
            # Opened anew with the next one: the disk may have room again, or be mounted again.
            self._file = None
            self._failed(str(error))

    def _append(self, line: Anchor | Head) -> None:
        if self._file is None:
            self._file = AnchorFile(self.path)
        try:
            self._file.write(line)
        except StorageError:
            self._file.close()
            raise
