"""A loop that stood still, and a connection that went on meanwhile."""

from __future__ import annotations

import socket
import threading

import anyio
import pytest

from tests.adapters.websocket.server import TEXT, frame, handshake_answer
from tests.adapters.websocket.test_link import connect

SILENCE_S = 1.5  # so long the other side's thread may be off the processor


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_a_loop_that_stood_still_takes_nobody_for_silent(use_uvloop: bool) -> None:
    """The other side, in a thread of its own, goes on talking while this loop is blocked for longer than silence may last."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()

    def talk_on() -> None:
        connection, _ = listener.accept()
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65_536)
            connection.sendall(handshake_answer(request))
            while not is_over.wait(0.02):
                connection.sendall(frame(TEXT, b"beat"))

    thread = threading.Thread(target=talk_on)
    thread.start()

    async def run() -> None:
        link = await connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/", silence_timeout_s=SILENCE_S)
        assert await link.receive() == "beat"
        for _ in range(2):
            threading.Event().wait(SILENCE_S + 0.3)  # the loop is blocked on purpose
            await anyio.sleep(0.2)
            assert link.is_open
        is_over.set()
        await link.close()

    try:
        anyio.run(run, backend_options={"use_uvloop": use_uvloop})
    finally:
        is_over.set()
        thread.join()
        listener.close()
