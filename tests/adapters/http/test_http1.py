"""Our HTTP/1.1 against h11: every cut, every split, every surplus; and what is ambiguous is refused."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.http1 import HEAD_BYTES_MAX, AnswerReader, RawAnswer, request_bytes
from adapters.http.request import Wire
from core.errors import TransportError, VenueProtocolError

BODIES = st.binary(max_size=60)
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


def by_length(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nX-A: y\r\nx-a:  z \r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def in_chunks(body: bytes, size: int, trailer: bytes = b"") -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 418 I'm a teapot\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


ANSWERS = st.builds(by_length, BODIES) | st.builds(
    in_chunks, BODIES, st.integers(1, 30), st.sampled_from([b"", b"A: b\r\nC: d\r\n"])
)


def by_h11(raw: bytes) -> tuple[int, bytes, bytes] | None:
    """Status, body and what lies behind; None where h11 wants more."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    status, body = 0, b""
    while True:
        event = connection.next_event()
        match event:
            case h11.Response():
                status = event.status_code
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage():
                return status, body, connection.trailing_data[0]
            case h11.NEED_DATA:
                return None


def read(*pieces: bytes) -> AnswerReader:
    reader = AnswerReader(1 << 16)
    for piece in pieces:
        if reader.answer is None:
            reader.feed(piece)
    return reader


@given(ANSWERS, st.booleans(), st.binary(max_size=20) | ANSWERS)
def test_the_answer_and_its_end_are_those_of_h11(answer: bytes, has_interim: bool, behind: bytes) -> None:
    raw = (INTERIM if has_interim else b"") + answer + behind
    expected = by_h11(raw)
    assert expected is not None
    reader = read(raw)
    assert reader.answer is not None
    assert (reader.answer.status, reader.answer.body, reader.has_surplus) == (*expected[:2], bool(expected[2]))


@given(ANSWERS, st.data())
def test_the_pieces_it_comes_in_do_not_matter(answer: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=10)))
    pieces = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    whole = read(answer)
    assert whole.answer is not None
    assert read(*pieces).answer == whole.answer
    # Before its last byte there is no answer, and its connection's end makes none.
    cut = read(answer[: data.draw(st.integers(0, len(answer) - 1))])
    assert cut.answer is None
    with pytest.raises(VenueProtocolError, match="the connection was closed"):
        cut.end()


def test_headers_are_joined_and_lowered() -> None:
    answer = read(by_length(b"x")).answer
    assert answer == RawAnswer(200, {"x-a": "y, z", "content-length": "1"}, b"x")


@pytest.mark.parametrize(
    ("head", "stays"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0", True),
        (b"HTTP/1.1 204 No Content", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, Close", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0", False),
        (b"HTTP/1.1 200", False),
    ],
)
def test_whether_a_connection_may_be_used_again(head: bytes, stays: bool) -> None:
    reader = read(head + b"\r\n\r\n")
    if reader.answer is None:
        reader.end()
    assert (reader.answer is not None, reader.may_stay_open) == (True, stays)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/2 200 OK\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 099 X\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n", "not an HTTP header"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", "not an HTTP header"),
        (b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "not an HTTP header"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "not an HTTP header"),
        (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", "not an HTTP header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "of length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "of length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n", "of length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", "of length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "above the limit"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer coding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "transfer coding"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "upgrade"),
        (INTERIM * 9, "interim answers"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * HEAD_BYTES_MAX, "head above the limit"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70_000, "above the limit"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "size of a chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "size of a chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "above the limit"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 300, "a chunk without a size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", "longer than its size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n", "trailers that cannot be"),
    ],
)
def test_what_is_ambiguous_or_endless_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(VenueProtocolError, match=why):
        read(raw)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
)
def test_no_bytes_raise_anything_else(raw: bytes, prefix: bytes) -> None:
    try:
        reader = read(prefix + raw)
        if reader.answer is None:
            reader.end()
    except VenueProtocolError:
        pass


# Requests.


def by_h11_server(data: bytes) -> tuple[bytes, bytes, dict[bytes, bytes], bytes]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    head = connection.next_event()
    assert isinstance(head, h11.Request)
    body = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += bytes(event.data)
    assert connection.trailing_data[0] == b""
    return head.method, head.target, dict(head.headers), body


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40),
    st.binary(max_size=50),
)
def test_requests_are_read_by_h11_as_they_were_meant(method: str, path: str, body: bytes) -> None:
    content = b"" if method == "GET" else body
    wire = Wire(method, "https://api.test", "/" + path, (("X-MBX-APIKEY", "abc"),), content)
    seen = by_h11_server(request_bytes(wire, "api.test"))
    headers = {b"host": b"api.test", b"accept": b"application/json", b"accept-encoding": b"gzip", b"x-mbx-apikey": b"abc"}
    if content or method in ("POST", "PUT"):
        headers[b"content-length"] = b"%d" % len(content)
    assert seen == (method.encode(), b"/" + path.encode(), headers, content)


@pytest.mark.parametrize(
    ("method", "target", "header"),
    [
        ("GET", "/a b", ("X", "y")),
        ("GET", "/a\r\nX: y", ("X", "y")),
        ("GET", "a", ("X", "y")),
        ("GET", "/é", ("X", "y")),
        ("get", "/", ("X", "y")),
        ("GET / HTTP/1.1\r\n", "/", ("X", "y")),
        ("GET", "/", ("X:", "y")),
        ("GET", "/", ("X", "y\r\nZ: 1")),
        ("GET", "/", ("X", "y\n")),
        ("GET", "/", ("X", " y")),
        ("GET", "/", ("X", "é")),
        ("GET", "/", ("", "y")),
    ],
)
def test_what_would_be_another_request_is_not_sent(method: str, target: str, header: tuple[str, str]) -> None:
    with pytest.raises(TransportError, match="cannot be sent") as refused:
        request_bytes(Wire(method, "https://x", target, (header,)), "x")
    assert "Z: 1" not in str(refused.value)
