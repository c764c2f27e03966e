"""How far one request got, by the HTTP library's own account of what it begins. Pure.

httpcore calls a request's `trace` extension before and after each step it takes. The first step that can put a byte of the
request into a socket begins with `http11.send_request_headers.started`; connecting, TLS and waiting for a connection come before
it. So a request that fails before that call has provably not been sent, and after it nothing is proven, whatever the exception's
name: httpcore even hides a failed write and reads on, in case the server has answered early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapters.http.request import Progress

_STEPS = {
    "connection.connect_tcp.started": Progress.CONNECTING,
    "connection.connect_unix_socket.started": Progress.CONNECTING,
    "connection.start_tls.started": Progress.CONNECTING,
    "http11.send_request_headers.started": Progress.SENDING,
    "http11.send_request_body.complete": Progress.SENT,
    "http11.receive_response_headers.complete": Progress.HEAD,
}


class ProgressTrace:
    """The `trace` extension of one request."""

    __slots__ = ("_now", "progress", "sending_ns", "sent_ns")

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.progress = Progress.QUEUED
        self.sending_ns = 0  # just before the first byte
        self.sent_ns = 0  # when the last byte was handed over

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        step = _STEPS.get(event)
        if step is None:
            return
        self.progress = max(self.progress, step)
        if step is Progress.SENDING:
            self.sending_ns = self._now()
        elif step is Progress.SENT:
            self.sent_ns = self._now()
