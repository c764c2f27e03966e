"""HTTP records as frames: what a daemon keeps of a connection, readable and without secrets."""

from __future__ import annotations

import anyio
import httpx

from adapters.http.frames import frame_recorder
from tests.adapters.http.requests_for_tests import SECRET, request, transport


def test_requests_answers_and_failures_are_frames() -> None:
    frames: list[tuple[str, bytes]] = []
    answers = iter([httpx.Response(200, json={"id": "a"}), httpx.ReadError("cut")])

    def handler(asked: httpx.Request) -> httpx.Response:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run() -> None:
        record = frame_recorder(lambda ts, what, data: frames.append((what, data)))
        http = transport(wire=httpx.MockTransport(handler), record=record)
        for _ in range(2):
            await http.send(request("http://venue.test", cost=0))
        await http.aclose()

    anyio.run(run)
    sent = b"#%d test.place POST http://venue.test/order\r\nX-MBX-APIKEY: ***\r\n\r\nside=BUY&signature=***"
    assert frames == [
        ("sent", sent % 1),
        ("received", b'#1 test.place 200 ACCEPTED\r\ncontent-length: 10\r\ncontent-type: application/json\r\n\r\n{"id":"a"}'),
        ("sent", sent % 2),
        ("closed", b"#2 test.place SENDING UNKNOWN ReadError: cut\r\n\r\n"),
    ]
    assert SECRET not in repr(frames)
