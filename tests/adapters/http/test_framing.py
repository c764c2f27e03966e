"""Where an answer ends, against h11 itself: whatever is cut off or put behind it."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.framing import answer_length

BODIES = st.binary(max_size=60)
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


def by_length(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def in_chunks(body: bytes, size: int, trailer: bytes = b"") -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


ANSWERS = st.builds(by_length, BODIES) | st.builds(
    in_chunks, BODIES, st.integers(1, 30), st.sampled_from([b"", b"A: b\r\nC: d\r\n"])
)


def consumed_by_h11(raw: bytes) -> int | None:
    """Bytes that h11 needed for one answer; None where it wants more."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    while True:
        event = connection.next_event()
        if isinstance(event, h11.EndOfMessage):
            return len(raw) - len(connection.trailing_data[0])
        if event is h11.NEED_DATA:
            return None


@given(ANSWERS, st.booleans(), st.binary(max_size=20) | ANSWERS)
def test_the_end_is_where_h11_finds_it(answer: bytes, has_interim: bool, behind: bytes) -> None:
    whole = INTERIM + answer if has_interim else answer
    assert answer_length(whole + behind) == consumed_by_h11(whole + behind) == len(whole)


@given(ANSWERS, st.floats(0, 0.999))
def test_an_answer_that_is_cut_has_no_end(answer: bytes, share: float) -> None:
    assert answer_length(answer[: int(len(answer) * share)]) is None


@pytest.mark.parametrize(
    ("raw", "length"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\nx", 27),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil it closes", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", None),
        (b"HTTP/1.1 2xx OK\r\n\r\n", None),
        (b"garbage\r\n\r\n", None),
        (b"", None),
    ],
)
def test_odd_answers(raw: bytes, length: int | None) -> None:
    assert answer_length(raw) == length


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    answer_length(raw)
    answer_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
