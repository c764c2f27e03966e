"""Where a journal may be continued: the end of its last good frame, and what a crash left unfinished behind it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from core.errors import StorageError
from daemon.journal.anchor import Anchors
from daemon.journal.files import Files
from daemon.journal.format import (
    DECODE_ERRORS,
    GENESIS,
    MAGIC,
    PREAMBLE,
    SEAL,
    SEALS,
    VERSION,
    Frame,
    Kind,
    Opened,
    SegmentHeader,
    count_of,
    frame_hash,
    is_unfinished,
    parse_frame,
    segment_name,
    segment_number,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What must be cut off before anything is appended. `whole_file`: not even the segment's header had been finished."""

    file: str
    offset: int
    size: int
    digest: str
    whole_file: bool


@dataclass(slots=True, kw_only=True)
class Resume:
    """The state of the writer that wrote the last good frame."""

    header: SegmentHeader
    segment: int
    size: int  # good bytes of that segment
    number: int
    records: int
    hash: bytes
    synced: int
    token_max: int
    kind_last: Kind
    records_sealed: int


@dataclass(frozen=True, slots=True)
class End:
    """`resume` is None where nothing had been finished at all."""

    resume: Resume | None
    cut: Cut | None


def find_end(folder: Path, files: Files) -> End:
    """Check the last segment of the journal at `folder` and say where to go on.

    Raises StorageError where anything but an unfinished end is wrong: that is damage, and writing on would bury it.
    """
    numbers = sorted(number for name in files.names(folder) if (number := segment_number(name)) is not None)
    if not numbers:
        return End(None, None)
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise _damaged(folder, segment_name(numbers[-1]), 0, "a segment before it is missing")
    last = numbers[-1]
    data = files.read(folder / segment_name(last))
    before = _end_of_segment(folder, last - 1, files) if len(numbers) > 1 else None
    number = before.number + 1 if before is not None else 1
    header = _header_of(data)
    if isinstance(header, str):
        if (before is None and last > 1) or not is_unfinished(data, 0, number, is_synced=False):
            raise _damaged(folder, segment_name(last), 0, header)
        return End(before, _cut(data, last, 0, whole_file=True))
    frame, content = header
    if before is not None and (content.before, frame.number, frame.records) != (before.hash, number, before.records):
        raise _damaged(folder, segment_name(last), 0, "it does not continue the segment before it")
    resume, problem = _walk(data, last, frame, content)
    if not problem:
        return End(resume, None)
    if not is_unfinished(data, resume.size, resume.number + 1, is_synced=content.is_synced):
        raise _damaged(folder, segment_name(last), resume.size, problem)
    return End(resume, _cut(data, last, resume.size, whole_file=False))


def refuse_cut(end: End, folder: Path, anchors: Anchors) -> None:
    """Raises StorageError where an anchor knows more of this journal than is here: its tail was cut, or the disk has lost it.

    A writer that went on from here would bury that. What the anchors say of the rest is for `audit verify`.
    """
    resume = end.resume
    if resume is None:
        return
    for anchor in anchors.anchors:
        if anchor.journal_id != resume.header.journal_id:
            continue
        if anchor.records > resume.records or anchor.frame > resume.number:
            raise StorageError(
                f"{folder}: an anchor knows {anchor.records} records of this journal and there are {resume.records}: "
                "its end was cut off, or the disk has lost it; `tradingd audit verify --anchor` says more"
            )


def _end_of_segment(folder: Path, segment: int, files: Files) -> Resume:
    """The end of a segment that another one follows: it must be whole."""
    data = files.read(folder / segment_name(segment))
    header = _header_of(data)
    if isinstance(header, str):
        raise _damaged(folder, segment_name(segment), 0, header)
    resume, problem = _walk(data, segment, *header)
    if problem or resume.kind_last is not Kind.SEGMENT_END:
        raise _damaged(folder, segment_name(segment), resume.size, problem or "its end is missing")
    return resume


def _header_of(data: bytes) -> tuple[Frame, SegmentHeader] | str:
    if len(data) < PREAMBLE.size or data[: len(MAGIC)] != MAGIC:
        return "this is no journal of tradingd"
    if PREAMBLE.unpack_from(data)[1] != VERSION:
        return f"journal version {PREAMBLE.unpack_from(data)[1]} is not {VERSION}, the one this tradingd writes"
    frame = parse_frame(data, PREAMBLE.size)
    if isinstance(frame, str):
        return frame
    if frame.kind is not Kind.HEADER:
        return "the header is missing"
    try:
        content = msgspec.msgpack.decode(frame.payload, type=SegmentHeader)
    except DECODE_ERRORS as error:
        return f"the header cannot be read: {error}"
    if frame_hash(content.before, frame.head, frame.payload) != frame.hash:
        return "the header is not what was written"
    if content.segment == 1 and (content.before, frame.number, frame.records) != (GENESIS, 1, 0):
        return "the header is not the beginning of a journal"
    return frame, content


def _walk(data: bytes, segment: int, frame: Frame, header: SegmentHeader) -> tuple[Resume, str]:
    """Follow the chain from the header to the last good frame; and what is wrong there, empty at the end of the file."""
    resume = Resume(
        header=header,
        segment=segment,
        size=frame.end,
        number=frame.number,
        records=frame.records,
        hash=frame.hash,
        synced=frame.synced,
        token_max=header.token,
        kind_last=Kind.HEADER,
        records_sealed=frame.records,
    )
    while resume.size < len(data):
        found = parse_frame(data, resume.size)
        if isinstance(found, str):
            return resume, found
        if found.hash != frame_hash(resume.hash, found.head, found.payload):
            return resume, "the frame does not fit those before it"
        if (found.number, found.records) != (resume.number + 1, resume.records) or found.kind is Kind.HEADER:
            return resume, "the frame is out of order"
        problem = _take(resume, found)
        if problem:
            return resume, problem
    return resume, ""


def _take(resume: Resume, frame: Frame) -> str:
    records = resume.records
    if frame.kind is Kind.RECORDS:
        count = count_of(frame.payload)
        if count is None:
            return "the frame holds no records"
        records += count
    elif frame.kind is Kind.OPENED:
        try:
            resume.token_max = max(resume.token_max, msgspec.msgpack.decode(frame.payload, type=Opened).token)
        except DECODE_ERRORS as error:
            return f"the frame cannot be read: {error}"
    elif frame.kind in SEALS:
        if len(frame.payload) != SEAL.size:
            return "the seal has the wrong size"
        resume.token_max = max(resume.token_max, SEAL.unpack(frame.payload)[0])
        resume.records_sealed = records
    resume.records = records
    resume.size = frame.end
    resume.number = frame.number
    resume.hash = frame.hash
    resume.synced = frame.synced
    resume.kind_last = frame.kind
    return ""


def _cut(data: bytes, segment: int, offset: int, *, whole_file: bool) -> Cut:
    rest = data[offset:]
    return Cut(file=segment_name(segment), offset=offset, size=len(rest), digest=sha256(rest).hexdigest(), whole_file=whole_file)


def _damaged(folder: Path, name: str, offset: int, message: str) -> StorageError:
    return StorageError(
        f"{folder / name}: byte {offset}: {message}; this is more than an unfinished end, so nothing is appended: "
        f"see `tradingd audit verify {folder}`"
    )
