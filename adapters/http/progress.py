"""How far one request got, by what was done with its connection: the proof behind "not sent". Pure.

io.py's own network stream calls this before it hands bytes to the socket, so there is no byte without a call. What the HTTP
library raises says less: httpcore even hides a failed write and reads on, in case the server has answered early.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters.http.framing import answer_length
from adapters.http.request import Progress


class Journey:
    """One request's way out and its answer's way in."""

    __slots__ = ("_now", "progress", "received", "sending_ns")

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.progress = Progress.QUEUED
        self.sending_ns = 0  # just before the first byte
        self.received = bytearray()

    def connecting(self) -> None:
        self.progress = max(self.progress, Progress.CONNECTING)

    def writing(self) -> None:
        if self.progress < Progress.SENDING:
            self.progress = Progress.SENDING
            self.sending_ns = self._now()

    def reading(self) -> None:
        """The library reads only when all of the request is handed over."""
        if self.progress is Progress.SENDING:
            self.progress = Progress.SENT

    def head(self) -> None:
        self.progress = max(self.progress, Progress.HEAD)

    def has_surplus(self) -> bool:
        """True where something came behind the answer, or where its end cannot be told: that connection is not used again."""
        return answer_length(bytes(self.received)) != len(self.received)
