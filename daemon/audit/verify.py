"""Verifies a journal from its bytes alone: follows the chain, checks each seal, and names what was touched and where.

A broken link says only that two neighbours do not fit. Which of them was touched is read from the frame numbers and from the
frames after them: a frame whose successor still fits its stored hash was edited itself; numbers that jump were removed; numbers
that come back were copied or moved. The first finding is where the journal stops being what was written; later ones are as good
as the bytes left allow.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from core.errors import DataError
from daemon.audit.anchors import AnchorCheck
from daemon.audit.contents import Contents
from daemon.audit.findings import Damage, Finding, Report
from daemon.journal.format import (
    GENESIS,
    HOLE,
    MAGIC,
    PREAMBLE,
    VERSION,
    Frame,
    Kind,
    find_frame,
    frame_hash,
    is_unfinished,
    parse_frame,
    segment_name,
)
from daemon.journal.reader import find_journal, segments_of

FINDINGS_MAX = 100  # a journal of noise would have millions
UNKNOWN = -1


def verify(path: Path, *, key: str | None = None, anchors: AnchorCheck | None = None) -> Report:
    """Check the journal of a run folder, or a journal's own folder. Raises DataError where there is none that can be read.

    `key`: the public key that must have signed it, hexadecimal; None: whatever key it names. `anchors`: what was kept elsewhere.
    """
    folder = find_journal(path)

    def segments() -> Iterable[tuple[int, bytes]]:
        for number in segments_of(folder):
            try:
                yield number, (folder / segment_name(number)).read_bytes()
            except OSError as error:
                raise DataError(f"cannot be read: {error.strerror or error}", file=str(folder / segment_name(number))) from error

    return verify_segments(segments(), key=key, anchors=anchors)


def verify_segments(
    segments: Iterable[tuple[int, bytes]], *, key: str | None = None, anchors: AnchorCheck | None = None
) -> Report:
    """The same over segments at hand: their numbers, ascending, and their bytes."""
    verifier = _Verifier(key, anchors)
    # One segment behind: how a segment must end depends on whether another one follows.
    held: tuple[int, bytes] | None = None
    for found in segments:
        if held is not None:
            verifier.segment(*held, is_last=False)
        held = found
    if held is not None:
        verifier.segment(*held, is_last=True)
    return verifier.finish()


class _Verifier:
    def __init__(self, key: str | None, anchors: AnchorCheck | None) -> None:
        self.report = Report()
        self._anchors = anchors
        self._contents = Contents(self.report, key, anchors, self._tell)
        self._segment = 0
        self._file = ""
        self._number = 0  # of the last frame taken
        self._records = 0  # before the next frame; UNKNOWN behind a frame that cannot be trusted
        self._records_last = 0  # the last known
        # Hashes that the next frame may continue; none where that is unknown after damage.
        self._before: tuple[bytes, ...] = (GENESIS,)
        self._kind_last: Kind | None = None
        self._missing: dict[int, Finding] = {}  # single frames that may still turn up further down
        self._displaced: dict[int, tuple[Finding, bytes]] = {}  # frames found too early, and their hashes

    # Segments.

    def segment(self, number: int, data: bytes, *, is_last: bool) -> None:
        expected = self._segment + 1
        self._file = segment_name(number)
        if number != expected:
            last = f" to {segment_name(number - 1)}" if number > expected + 1 else ""
            self._find(Damage.REMOVED, f"{segment_name(expected)}{last} missing before this segment", 0)
            self._before, self._kind_last = (), None
        self._segment = number
        self.report.segments += 1
        offset = self._preamble(data, number, is_last)
        is_first = True
        while offset < len(data):
            frame = parse_frame(data, offset)
            if isinstance(frame, str):
                offset = self._noise(data, offset, frame, is_last)
            elif self._is_last_and_torn(data, frame, is_last):
                offset = self._unfinished(data, offset, "its bytes did not all arrive")
            else:
                self._frame(data, frame, is_first)
                offset = frame.end
            is_first = False
        if not is_last and self._kind_last not in (Kind.SEGMENT_END, Kind.END):
            self._find(Damage.CUT, "the end of this segment is missing, and another segment follows", len(data))

    def _preamble(self, data: bytes, number: int, is_last: bool) -> int:
        preamble = PREAMBLE.pack(MAGIC, VERSION)
        if data.startswith(preamble):
            return PREAMBLE.size
        first = find_frame(data, 0)
        if first is None and len(data) >= PREAMBLE.size and data.startswith(MAGIC):
            version = PREAMBLE.unpack_from(data)[1]
            raise DataError(f"journal version {version} is not {VERSION}, the one this tradingd reads", file=self._file)
        if first is not None:
            self._find(Damage.EDITED, "the file does not begin as a journal does", 0)
            return first.offset
        if is_last and number > 1 and is_unfinished(data, 0, self._number + 1, is_synced=False):
            return self._unfinished(data, 0, "a segment that had just been begun")
        self._find(Damage.CUT if preamble.startswith(data) else Damage.EDITED, "the file is no segment of a journal", 0)
        return len(data)

    def _is_last_and_torn(self, data: bytes, frame: Frame, is_last: bool) -> bool:
        """A frame some of whose bytes a power cut kept from arriving. Later ones may have: unsynced sectors come in any order."""
        if not is_last or not self._before or self._fitting(frame) is not None:
            return False
        # Zeros from within the frame to the end of the file: its last sector, with what of the next frame lies in there too.
        ends_in_zeros = data[frame.end - 1] == 0 and not data[frame.end :].strip(b"\0")
        if frame.end < len(data) and not ends_in_zeros and data.find(HOLE, frame.offset) < 0:
            return False
        return self._is_unfinished(data, frame.offset)

    def _is_unfinished(self, data: bytes, offset: int) -> bool:
        return is_unfinished(data, offset, self._number + 1, is_synced=self._contents.is_synced)

    def _noise(self, data: bytes, offset: int, reason: str, is_last: bool) -> int:
        """What is at `offset` is no frame: say so, and return where to go on."""
        number = self._number + 1
        if is_last and self._before and self._is_unfinished(data, offset):
            return self._unfinished(data, offset, reason)
        later = find_frame(data, offset + 1)
        end = later.offset if later is not None else len(data)
        damage = Damage.CUT if later is None and not is_last else Damage.EDITED
        self._find(damage, f"{end - offset} bytes are no frame: {reason}", offset, number)
        if later is not None and later.number in (number, number + 1):
            # They stood in the place of one frame, or of part of one.
            self._number = later.number - 1
        self._before, self._records, self._kind_last = (), UNKNOWN, None
        return end

    def _unfinished(self, data: bytes, offset: int, reason: str) -> int:
        """The last frame was not finished: a writer that was killed leaves this, and so does somebody who cuts."""
        count = len(data) - offset
        if self._kind_last is Kind.END:
            self._find(Damage.INSERTED, f"{count} bytes follow the end", offset)
        self.report.unfinished_bytes = count
        self.report.notes.append(
            f"{self._file}: byte {offset}: {count} bytes of an unfinished frame {self._number + 1}: {reason}"
        )
        return len(data)

    # Frames.

    def _fitting(self, frame: Frame) -> bytes | None:
        """The hash that this frame continues."""
        return next((h for h in self._before if frame_hash(h, frame.head, frame.payload) == frame.hash), None)

    def _frame(self, data: bytes, frame: Frame, is_first: bool) -> None:
        if frame.kind is Kind.HEADER and not is_first:
            self._tell(frame, Damage.INSERTED, "a header in the middle of a segment")
            return
        if is_first and frame.kind is not Kind.HEADER:
            self._tell(frame, Damage.REMOVED, "the segment's header is missing")
            self._before, self._number, self._records = (), frame.number - 1, UNKNOWN
        before = self._fitting(frame)
        if before is not None and frame.number == self._number + 1 and self._records in (frame.records, UNKNOWN):
            self._good(frame, before)
        elif not self._before and frame.number > self._number:
            # After damage, what it says of itself is all there is; the frame behind it tells whether it was touched too.
            self._lost(frame)
            self._good(frame, None)
        else:
            self._misfit(data, frame)

    def _good(self, frame: Frame, before: bytes | None) -> None:
        ended = self._kind_last
        if (ended is Kind.END and frame.kind is not Kind.OPENED) or (ended is Kind.SEGMENT_END and frame.kind is not Kind.HEADER):
            self._tell(frame, Damage.INSERTED, "something follows the end")
        self._before = (frame.hash,)
        self._number = frame.number
        self._records = self._records_last = frame.records
        self._kind_last = frame.kind
        self.report.frames += before is not None
        if frame.kind is Kind.RECORDS:
            count = self._contents.records(frame)
            self._records = UNKNOWN if count is None else frame.records + count
            self._records_last = max(self._records, frame.records)
            self.report.records += count or 0 if before is not None else 0
        elif frame.kind is Kind.HEADER:
            self._contents.header(frame, self._segment, is_linked=before is not None)
        elif frame.kind is Kind.OPENED:
            self._contents.opened(frame, self._records)
        else:
            self._contents.seal(frame, self._segment, before, self._records)
        if before is not None and self._records != UNKNOWN:
            self._contents.linked(frame, self._records)

    def _misfit(self, data: bytes, frame: Frame) -> None:
        """A frame that does not continue the one before it."""
        number = self._number + 1
        after = parse_frame(data, frame.end)
        computed = tuple(frame_hash(before, frame.head, frame.payload) for before in self._before)
        is_stood_on = isinstance(after, Frame) and after.number == number + 1 and _continues(after, (frame.hash, *computed))
        if frame.number == number or is_stood_on:
            self._find(Damage.EDITED, f"{_name(frame)} was changed", frame.offset, number, self._records_last + 1)
            self._before, self._number, self._records = (frame.hash, *computed), number, UNKNOWN
            self._kind_last = frame.kind
        elif frame.number in self._missing:
            self._replace(
                self._missing.pop(frame.number),
                Damage.REORDERED,
                f"frame {frame.number} is not here; it was moved behind frame {self._number}, to byte {frame.offset}",
            )
        elif isinstance(after, Frame) and after.number == number and self._fitting(after) is not None:
            found = self._tell(frame, Damage.INSERTED, f"frame {frame.number} stands where frame {number} belongs")
            self._displaced[frame.number] = (found, frame.hash)
        elif frame.number > number:
            self._lost(frame)
            if self._fitting(frame) is None:
                self._before = ()
            self._good(frame, self._fitting(frame))
        else:
            self._tell(frame, Damage.INSERTED, f"frame {frame.number} stands behind frame {self._number}: a copy, or forged")
            self._before = (*self._before, frame.hash)

    def _lost(self, frame: Frame) -> None:
        """The frames between the last one taken and this one are not where they belong."""
        first, last = self._number + 1, frame.number - 1
        if last < first:
            return
        if first == last and first in self._displaced:
            found, digest = self._displaced.pop(first)
            self._replace(found, Damage.REORDERED, f"frame {first} stands here; it was moved from behind frame {first - 1}")
            self._before = (digest,)
            return
        which = f"frame {first}" if first == last else f"frames {first} to {last}"
        lost = frame.records - self._records_last
        records = f", with records {self._records_last + 1} to {frame.records}" if self._records != UNKNOWN and lost > 0 else ""
        found = self._find(
            Damage.REMOVED, f"{which} missing before this place{records}", frame.offset, first, self._records_last + 1
        )
        if first == last:
            self._missing[first] = found

    # The end.

    def finish(self) -> Report:
        report = self.report
        report.is_ended = self._kind_last is Kind.END and not report.unfinished_bytes
        if self._anchors is not None:
            report.findings += self._anchors.findings(report)
        return report

    # Findings.

    def _tell(self, frame: Frame, damage: Damage, message: str) -> Finding:
        return self._find(damage, message, frame.offset, frame.number, frame.records + 1)

    def _find(self, damage: Damage, message: str, offset: int, frame: int | None = None, record: int | None = None) -> Finding:
        finding = Finding(damage=damage, file=self._file, message=message, offset=offset, frame=frame, record=record)
        if len(self.report.findings) < FINDINGS_MAX:
            self.report.findings.append(finding)
        return finding

    def _replace(self, old: Finding, damage: Damage, message: str) -> None:
        """What was found turns out to be part of something else."""
        new = Finding(damage=damage, file=old.file, message=message, offset=old.offset, frame=old.frame, record=old.record)
        self.report.findings = [new if finding is old else finding for finding in self.report.findings]


def _continues(after: Frame, hashes: tuple[bytes, ...]) -> bool:
    return any(frame_hash(before, after.head, after.payload) == after.hash for before in hashes)


def _name(frame: Frame) -> str:
    names = {Kind.RECORDS: "a frame of records", Kind.HEADER: "a header", Kind.OPENED: "a note of opening"}
    return names.get(frame.kind, "a seal")
