"""How far one request got: the proof behind "not sent". Pure.

The connection calls this before it hands bytes to the socket, and nothing else does: there is no byte without a call.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters.http.request import Progress


class Journey:
    """One request's way out and its answer's way in."""

    __slots__ = ("_now", "progress", "sending_ns")

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.progress = Progress.QUEUED
        self.sending_ns = 0  # just before the first byte

    def connecting(self) -> None:
        self.progress = Progress.CONNECTING

    def sending(self) -> None:
        self.progress = Progress.SENDING
        self.sending_ns = self._now()

    def reached(self, progress: Progress) -> None:
        self.progress = max(self.progress, progress)
