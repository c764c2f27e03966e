"""HTTP records as the frames of a connection, for a daemon that keeps every byte: readable, one frame for each record. Pure."""

from __future__ import annotations

from adapters.http.record import HttpRecord, Recorder, unrecorded
from core.venue_opening import CLOSED, RECEIVED, SENT, OnFrame, no_frame

_WHAT = {"request": SENT, "answer": RECEIVED, "failure": CLOSED}


def frame_recorder(on_frame: OnFrame) -> Recorder:
    """Secrets are out of the records already."""
    if on_frame is no_frame:
        return unrecorded

    def record(entry: HttpRecord) -> None:
        on_frame(entry.ts, _WHAT[entry.kind], frame_of(entry))

    return record


def frame_of(entry: HttpRecord) -> bytes:
    """`#12 order.place POST https://…`, headers, an empty line, the body; `entry.number` joins a request with its answer."""
    if entry.kind == "request":
        first = f"#{entry.number} {entry.name} {entry.method} {entry.url}"
    else:
        outcome = "" if entry.outcome is None else f" {entry.outcome.name}"
        status = f" {entry.status}" if entry.status else f" {entry.progress.name}"
        first = f"#{entry.number} {entry.name}{status}{outcome}{f' {entry.reason}' if entry.reason else ''}"
    lines = [first, *(f"{name}: {value}" for name, value in entry.headers)]
    return "\r\n".join(lines).encode("utf-8", "backslashreplace") + b"\r\n\r\n" + entry.body
