"""Reads recorded frames: one line each, the local time in ns UTC, a blank, and the raw bytes as they came off the wire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from core.errors import DataError
from sim.data.files import read_blocks

# Local stamps are ns: 19 digits from 2001 to 2286.
_TS_DIGITS = 19


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame as it arrived; `line` and `bytes_read` (of the files, by the end of its block) are for messages and progress."""

    ts: int
    payload: bytes
    line: int
    bytes_read: int


def read_frames(path: Path, bytes_before: int = 0) -> Iterator[Frame]:
    """The file's frames in order; `bytes_before` is added to their bytes_read.

    Raises DataError for a line that is none, one cut short, or time that goes backwards.
    """
    file = str(path)
    last_ts = 0
    for block in read_blocks(path):
        line = block.first_line - 1
        lines = block.data.split(b"\n")
        is_cut = not block.data.endswith(b"\n")
        if not is_cut:
            lines.pop()
        for text in lines:
            line += 1
            stamp, _, payload = text.partition(b" ")
            if len(stamp) != _TS_DIGITS or not stamp.isdigit():
                raise DataError(f"no local time in ns before the first blank: {text[:80]!r}", file=file, line=line)
            payload = payload.rstrip(b"\r")
            if not payload.startswith(b"{") or not payload.endswith(b"}"):
                what = "the last line is cut short" if is_cut and text is lines[-1] else "no JSON object after the local time"
                raise DataError(f"{what}: …{text[-80:]!r}", file=file, line=line)
            ts = int(stamp)
            if ts < last_ts:
                raise DataError(f"local time goes backwards by {last_ts - ts} ns", file=file, line=line)
            last_ts = ts
            yield Frame(ts, payload, line, bytes_before + block.bytes_read)


def read_all_frames(paths: Sequence[Path]) -> Iterator[tuple[Path, Frame]]:
    """Frames of several files that continue each other, as a recorder cuts them at midnight; bytes_read adds up."""
    last_ts = bytes_read = 0
    for path in paths:
        for frame in read_frames(path, bytes_read):
            if frame.ts < last_ts:
                raise DataError("the file begins before the one in front of it ends", file=str(path), line=frame.line)
            last_ts = frame.ts
            yield path, frame
        bytes_read += path.stat().st_size
