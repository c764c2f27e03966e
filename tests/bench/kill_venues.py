"""Five venues in one process, as small as can be, for the kill benchmark: orders that rest, and the moment each cancel came in.

A line each way: `reset N` puts N orders there, `cancel ID`, `cancel_all`, `query` is answered with the ids that rest, `times`
with the moments (ns, the machine's monotonic clock) of the first and the last cancel since the reset.
"""

from __future__ import annotations

import selectors
import socket
import time
from pathlib import Path
from typing import NoReturn


class BenchVenue:
    def __init__(self) -> None:
        self.open: set[int] = set()
        self.first = 0
        self.last = 0

    def take(self, line: bytes) -> bytes:
        """The answer, without any for a cancel."""
        word, _, argument = line.partition(b" ")
        if word in (b"cancel_all", b"cancel"):
            self.last = time.monotonic_ns()
            self.first = self.first or self.last
            if word == b"cancel":
                self.open.discard(int(argument))
            else:
                self.open.clear()
            return b""
        if word == b"reset":
            self.open, self.first, self.last = set(range(1, int(argument) + 1)), 0, 0
            return b"done\n"
        if word == b"times":
            return f"{self.first} {self.last} {len(self.open)}\n".encode()
        return b" ".join(b"%d" % order for order in sorted(self.open)) + b"\n"


def serve(paths: list[Path]) -> NoReturn:
    """Each path is one venue's socket."""
    selector = selectors.DefaultSelector()
    for path in paths:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(16)
        selector.register(listener, selectors.EVENT_READ, (BenchVenue(), None))
    buffers: dict[socket.socket, bytes] = {}
    while True:
        for key, _ in selector.select():
            venue, _none = key.data
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            if ready not in buffers:
                if key.data[1] is None:
                    connection, _ = ready.accept()
                    buffers[connection] = b""
                    selector.register(connection, selectors.EVENT_READ, (venue, connection))
                continue
            data = ready.recv(1 << 16)
            if not data:
                selector.unregister(ready)
                del buffers[ready]
                ready.close()
                continue
            *lines, buffers[ready] = (buffers[ready] + data).split(b"\n")
            answer = b"".join(venue.take(line) for line in lines)
            if answer:
                ready.sendall(answer)
