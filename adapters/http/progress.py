"""How far one request got: the proof behind "not sent". Pure.

The connection calls this before it hands bytes to the socket (strict_http1.py): there is no byte without a call. Other httpx
transports say nothing; for them it is called before they are asked.
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

    def did_not_send(self) -> None:
        """Whoever was handed the request has proven that none of it left (wire.py)."""
        self.progress = Progress.CONNECTING
        self.sending_ns = 0

    def reached(self, progress: Progress) -> None:
        self.progress = max(self.progress, progress)
