"""Writes a journal: records gather in a list and leave as one chained frame, so that each costs little."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from core.errors import StorageError
from daemon.journal.anchor import Anchor, AnchorSink
from daemon.journal.files import DISK, Files, make_durable_folder
from daemon.journal.format import (
    BATCH_RECORDS_MAX,
    FRAME_BYTES_MAX,
    FRAME_OVERHEAD_BYTES,
    GENESIS,
    HEAD,
    MAGIC,
    MARK,
    PREAMBLE,
    SEAL,
    SEGMENTS_MAX,
    UNSIGNED,
    VERSION,
    JournalHeader,
    Kind,
    Opened,
    Record,
    SegmentHeader,
    frame_hash,
    seal_message,
    segment_name,
    segment_number,
)
from daemon.journal.keys import Signer
from daemon.journal.lock import LOCK_FILE, WriterLock
from daemon.journal.reopen import Cut, End, Resume, find_end
from daemon.journal.tail import Place

Value = TypeVar("Value")


class Sync(Enum):
    """When the disk, and not only the operating system, must have what was written (fdatasync)."""

    NONE = "none"  # never: a backtest can be run again
    BATCH = "batch"  # at each `flush`
    BEFORE_SEND = "before_send"  # when `make_durable` is called: before a new order leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSettings:
    sync: Sync = Sync.NONE
    segment_bytes_max: int = 1 << 26
    segment_ns_max: int | None = None  # by the clock given to the writer; None: segments end by size only
    checkpoint_records: int = 1 << 16  # at most so many records between two seals, but for those of one flush


class SyncJob:
    """One fdatasync, made elsewhere: `run` touches nothing of the writer's, and keeps what the disk said."""

    def __init__(self, files: Files, descriptor: int, number: int, records: int) -> None:
        self.number, self.records = number, records
        self.error: OSError | None = None
        self._files, self._descriptor = files, descriptor
        self._done = threading.Event()

    def run(self) -> None:
        try:
            self._files.sync(self._descriptor)
        except OSError as error:
            self.error = error
        finally:
            self._done.set()

    def wait(self) -> None:
        self._done.wait()


class JournalWriter:
    """One writer of one journal. `append` is the list's own append: call `flush_if_full` between steps.

    Raises StorageError from every method once the disk has refused anything: a failed fsync is never tried again, because nobody
    can say what the disk has kept; opening the journal again finds out.
    """

    def __init__(
        self,
        path: Path,
        header: JournalHeader,
        *,
        settings: JournalSettings | None = None,
        signer: Signer | None = None,
        anchor: AnchorSink | None = None,
        files: Files = DISK,
        clock: Callable[[], int] = time.monotonic_ns,
        journal_id: str | None = None,
        reopen: bool = False,
    ) -> None:
        """Begin a journal at `path`, a folder that has none; `reopen` True: continue the one that is there, if there is one."""
        self.path = path
        self.header = header
        self.settings = settings or JournalSettings()
        self.records_written = 0
        self.bytes_written = 0
        self.cut: Cut | None = None  # what a writer before us had left unfinished
        self._batch: list[Record] = []
        self.append: Callable[[Record], None] = self._batch.append
        self._encoder = msgspec.msgpack.Encoder()
        self._signer = signer
        self._anchor = anchor
        self._files = files
        self._clock = clock
        self._journal_id = journal_id or secrets.token_hex(16)
        self._failure: StorageError | None = None
        self._job: SyncJob | None = None  # under way in another thread
        self._descriptor: int | None = None
        self._segment = 0
        self._segment_bytes = 0
        self._segment_started = 0
        self._hash = GENESIS
        self._number = 0
        self._synced = 0
        self._records_sealed = 0
        self._records_durable = 0
        self._pending = bytearray()  # frames that one write will take
        self._do(lambda: make_durable_folder(path, 1, files))
        self._lock = WriterLock(path / LOCK_FILE, files)
        self._is_locked = True
        try:
            self._begin(reopen)
        except BaseException:
            self.abandon()
            raise

    @property
    def records_durable(self) -> int:
        """Records that survive a power cut: those of the last sync."""
        return self._records_durable

    @property
    def place(self) -> Place:
        """Where the journal ends now: what is flushed, not what has gathered."""
        return Place(self._segment, self._number, self._hash, self.records_written)

    @property
    def journal_id(self) -> str:
        return self._journal_id

    @property
    def token(self) -> int:
        return self._lock.token

    def flush_if_full(self) -> None:
        if len(self._batch) >= BATCH_RECORDS_MAX:
            self.flush()

    def flush(self) -> None:
        """Hand what has gathered to the operating system, and to the disk if the policy is BATCH."""
        self._refuse_after_failure()
        batch = self._batch
        if batch:
            for count, payload in self._encoded(batch):
                self._frame(Kind.RECORDS, payload)
                self.records_written += count
            batch.clear()
            self._write_pending()
            if self.records_written - self._records_sealed >= self.settings.checkpoint_records:
                self.checkpoint()
            elif self.settings.sync is Sync.BATCH:
                self._sync()
        if self._is_segment_full():
            self._next_segment(self.header)

    def _encoded(self, batch: list[Record]) -> list[tuple[int, bytes]]:
        """The batch as payloads of frames and their counts: all of it, before anything is chained."""
        parts = [batch[start : start + BATCH_RECORDS_MAX] for start in range(0, len(batch), BATCH_RECORDS_MAX)]
        try:
            return [(len(part), self._encoder.encode(part)) for part in parts]
        except (TypeError, ValueError, OverflowError) as error:
            # A record that cannot be written is as bad as a disk that refuses: what followed it would stand on a gap.
            raise self._stop(StorageError(f"{self.path}: a record cannot be written: {error}")) from error

    def make_durable(self) -> None:
        """Returns when everything appended is on the disk; with policy NONE, when the operating system has it."""
        self.flush()
        if not self.is_durable:
            self._sync()

    def begin_sync(self) -> SyncJob | None:
        """What puts everything that was flushed on the disk, for another thread to run; None where it is there already.

        One at a time, and each must be run and then given to `end_sync`: whoever closes the file waits for it.
        """
        self._refuse_after_failure()
        if self.is_durable:
            return None
        assert self._job is None, "one sync at a time"
        assert self._descriptor is not None
        self._job = SyncJob(self._files, self._descriptor, self._number, self.records_written)
        return self._job

    def end_sync(self, job: SyncJob) -> None:
        """It has run. Raises StorageError where the disk refused, or the journal was given up meanwhile."""
        assert job is self._job
        self._job = None
        self._refuse_after_failure()
        if job.error is not None:
            raise self._stop(self._refused(job.error)) from job.error
        self._check_lock()
        self._synced = max(self._synced, job.number)
        self._records_durable = max(self._records_durable, job.records)

    @property
    def is_durable(self) -> bool:
        """Everything flushed is on the disk; with policy NONE, with the operating system."""
        return self.settings.sync is Sync.NONE or self._synced >= self._number

    def _await_job(self) -> None:
        if self._job is not None:
            self._job.wait()

    def checkpoint(self) -> None:
        """Write a seal over everything flushed so far, and its anchor."""
        self._refuse_after_failure()
        self._seal(Kind.CHECKPOINT)

    def close(self) -> None:
        """Write what has gathered and the end."""
        self.flush()
        self._seal(Kind.END)
        self._await_job()
        descriptor, self._descriptor = self._descriptor, None
        assert descriptor is not None, "a journal is closed once"
        self._do(lambda: self._files.close(descriptor))
        self._release_lock()
        self._stop(StorageError(f"{self.path}: the journal is closed"))

    def abandon(self) -> None:
        """Close without writing what has gathered: the disk has refused already, or the run is given up."""
        self._batch.clear()
        self._await_job()
        descriptor, self._descriptor = self._descriptor, None
        if self._failure is None:
            self._stop(StorageError(f"{self.path}: the journal was abandoned"))
        self._release_lock()
        if descriptor is not None:
            try:
                self._files.close(descriptor)
            except OSError:
                # The descriptor is released all the same, and what it could not write is given up.
                return

    def _release_lock(self) -> None:
        if self._is_locked:
            self._is_locked = False
            self._lock.release()

    # The beginning.

    def _begin(self, reopen: bool) -> None:
        names = self._do(lambda: self._files.names(self.path))
        if not reopen:
            if any(segment_number(name) is not None for name in names):
                raise StorageError(f"{self.path}: the journal cannot be created: there is one already")
            self._start_segment(self.header)
            return
        end: End = self._do(lambda: find_end(self.path, self._files))
        self.cut = end.cut
        if end.resume is None:
            self._repair(end.cut, None)
            self._start_segment(self.header)
        else:
            self._resume(end.resume, end.cut)
        if end.resume is not None or end.cut is not None:
            self._say_opened(end.cut)
            if end.resume is not None and self._segment == end.resume.segment and not self._is_as_before(end.resume):
                # A new configuration or policy begins a new segment, whose header holds it.
                self._next_segment(self.header)
            self.checkpoint()
        if self.settings.sync is not Sync.NONE and self._synced < self._number:
            self._sync()

    def _is_as_before(self, resume: Resume) -> bool:
        header = resume.header
        return header.journal == self.header and header.is_synced is (self.settings.sync is not Sync.NONE)

    def _resume(self, resume: Resume, cut: Cut | None) -> None:
        header = resume.header
        if header.journal.run_id != self.header.run_id:
            raise StorageError(f"{self.path}: is the journal of {header.journal.run_id}, not of {self.header.run_id}")
        public_key = self._signer.public_key if self._signer is not None else ""
        if header.public_key != public_key:
            begun, given = header.public_key or "none", public_key or "none"
            raise StorageError(f"{self.path}: was begun with the key {begun} and not with {given}; a journal has one key")
        self._journal_id = header.journal_id
        self._lock.raise_token(resume.token_max + 1)
        self._segment, self._segment_bytes = resume.segment, resume.size
        self._number, self.records_written, self._hash = resume.number, resume.records, resume.hash
        self._synced, self._records_sealed = resume.synced, resume.records_sealed
        self._segment_started = self._clock()
        self._descriptor = self._do(lambda: self._files.open_to_append(self.path / segment_name(resume.segment)))
        self._repair(cut, self._descriptor)
        if resume.kind_last is Kind.SEGMENT_END:
            self._do(lambda: self._files.close(self._taken_descriptor()))
            self._start_segment(self.header)

    def _repair(self, cut: Cut | None, descriptor: int | None) -> None:
        """Cut the unfinished end off, and be sure of it before anything is appended."""
        if cut is not None and cut.whole_file:
            self._do(lambda: self._files.remove(self.path / cut.file))
            self._do(lambda: self._files.sync_folder(self.path))
        elif cut is not None and descriptor is not None:
            self._do(lambda: self._files.truncate(descriptor, cut.offset))
        if descriptor is not None:
            # Also without a cut: what we found may not be on the disk yet, and we are going to build on it.
            self._sync()

    def _say_opened(self, cut: Cut | None) -> None:
        opened = Opened(token=self.token, tradingd=self.header.tradingd)
        if cut is not None:
            opened = msgspec.structs.replace(
                opened, cut_file=cut.file, cut_offset=cut.offset, cut_bytes=cut.size, cut_sha256=cut.digest
            )
        self._frame(Kind.OPENED, self._encoder.encode(opened))
        self._write_pending()

    # Segments.

    def _is_segment_full(self) -> bool:
        settings = self.settings
        if self._segment_bytes >= settings.segment_bytes_max:
            return True
        return settings.segment_ns_max is not None and self._clock() - self._segment_started >= settings.segment_ns_max

    def _next_segment(self, header: JournalHeader) -> None:
        self._seal(Kind.SEGMENT_END)
        self._await_job()
        if self.settings.sync is not Sync.NONE:
            # Before the next segment is there: behind it nobody looks for an unfinished end.
            self._sync()
        self._do(lambda: self._files.close(self._taken_descriptor()))
        self._start_segment(header)

    def _taken_descriptor(self) -> int:
        descriptor, self._descriptor = self._descriptor, None
        assert descriptor is not None
        return descriptor

    def _start_segment(self, header: JournalHeader) -> None:
        self._segment += 1
        if self._segment > SEGMENTS_MAX:
            raise self._stop(StorageError(f"{self.path}: a journal has at most {SEGMENTS_MAX} segments; begin a new one"))
        self._descriptor = self._do(lambda: self._files.create(self.path / segment_name(self._segment)))
        self._segment_bytes = 0
        self._segment_started = self._clock()
        content = SegmentHeader(
            journal_id=self._journal_id,
            segment=self._segment,
            token=self.token,
            before=self._hash,
            is_synced=self.settings.sync is not Sync.NONE,
            public_key=self._signer.public_key if self._signer is not None else "",
            journal=header,
        )
        self._pending += PREAMBLE.pack(MAGIC, VERSION)
        self._frame(Kind.HEADER, self._encoder.encode(content))
        self._write_pending()
        if self.settings.sync is not Sync.NONE:
            self._sync()
            self._do(lambda: self._files.sync_folder(self.path))

    # Frames.

    def _frame(self, kind: Kind, payload: bytes) -> None:
        """Chain one frame onto what the next write takes."""
        head = self._head(kind, len(payload))
        self._hash = frame_hash(self._hash, head, payload)
        self._number += 1
        pending = self._pending
        pending += head
        pending += self._hash
        pending += payload

    def _head(self, kind: Kind, length: int) -> bytes:
        if length > FRAME_BYTES_MAX:
            raise self._stop(StorageError(f"{self.path}: a frame of {length} bytes exceeds {FRAME_BYTES_MAX}"))
        return HEAD.pack(MARK, length, kind, self._number + 1, self.records_written, self._synced)

    def _seal(self, kind: Kind) -> None:
        before = self._hash
        head = self._head(kind, SEAL.size)
        signature = UNSIGNED
        if self._signer is not None:
            signature = self._signer.sign(
                seal_message(
                    journal_id=self._journal_id,
                    run_id=self.header.run_id,
                    segment=self._segment,
                    token=self.token,
                    before=before,
                    head=head,
                )
            )
        self._frame(kind, SEAL.pack(self.token, signature))
        whole = bytes(self._pending[-(FRAME_OVERHEAD_BYTES + SEAL.size) :])
        self._write_pending()
        self._records_sealed = self.records_written
        self._check_lock()
        if self._anchor is not None or self.settings.sync is Sync.BATCH:
            # An anchor must never know more than the disk: that would read as a cut tail.
            self._sync()
        if self._anchor is not None:
            self._write_anchor(before, whole)

    def _write_anchor(self, before: bytes, seal: bytes) -> None:
        assert self._anchor is not None
        try:
            self._anchor.write(
                Anchor(
                    journal_id=self._journal_id,
                    run_id=self.header.run_id,
                    public_key=self._signer.public_key if self._signer is not None else "",
                    segment=self._segment,
                    frame=self._number,
                    records=self.records_written,
                    before=before.hex(),
                    seal=seal.hex(),
                )
            )
        except StorageError as error:
            raise self._stop(error) from error

    # The disk.

    def _write_pending(self) -> None:
        data = bytes(self._pending)
        self._pending.clear()
        descriptor = self._descriptor
        assert descriptor is not None
        taken = 0
        while taken < len(data):
            rest = data[taken:] if taken else data
            taken += self._do(partial(self._files.write, descriptor, rest))
        self.bytes_written += len(data)
        self._segment_bytes += len(data)

    def _sync(self) -> None:
        descriptor = self._descriptor
        assert descriptor is not None
        number, records = self._number, self.records_written
        self._do(lambda: self._files.sync(descriptor))
        self._check_lock()
        self._synced = number
        self._records_durable = records

    def _check_lock(self) -> None:
        try:
            self._lock.check()
        except StorageError as error:
            raise self._stop(error) from error

    def _do(self, call: Callable[[], Value]) -> Value:
        """Make one call of the disk; what it refuses is the end of this writer."""
        try:
            return call()
        except OSError as error:
            raise self._stop(self._refused(error)) from error

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(f"{self.path}: the journal cannot be written: {error.strerror or error}")

    def _stop(self, failure: StorageError) -> StorageError:
        self._failure = failure
        self.append = self._refuse
        return failure

    def _refuse(self, _record: Record) -> None:
        self._refuse_after_failure()

    def _refuse_after_failure(self) -> None:
        if self._failure is not None:
            raise StorageError(str(self._failure)) from self._failure
