"""Answers without an end: lines however they are cut, and one word on how the stream ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.line_stream import WAITING_LINES_MAX, LineCutter, Lines, LineStream, RefusedStream
from adapters.http.record import HttpRecord
from adapters.http.request import Intent
from core.errors import TransportError, VenueProtocolError
from tests.adapters.http.loopback import WAIT_S, Conversation, Loopback, Script, http_answer, serving
from tests.adapters.http.requests_for_tests import SECRET, read_signals, request, transport

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FAST = HttpSettings(connect_timeout_s=10, silence_timeout_s=10)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def all_of(lines: Lines) -> tuple[list[bytes], str]:
    found: list[bytes] = []
    try:
        async for line in lines:
            found.append(line)
    except TransportError as end:
        return found, str(end)
    raise AssertionError("a stream ends by an error only")


def stream(
    script: Script, *, silence_timeout_s: float = 20.0, use_uvloop: bool = False, line_bytes_max: int = 1000
) -> tuple[list[bytes], str]:
    async def run() -> tuple[list[bytes], str]:
        async with serving(script) as server:
            http = transport(settings=FAST)
            ask = request(server.origin, intent=Intent.QUERY, cost=0)
            async with http.open_stream(ask, silence_timeout_s=silence_timeout_s, line_bytes_max=line_bytes_max) as lines:
                found = await all_of(lines)
            await http.aclose()
        return found

    return anyio.run(run, backend_options={"use_uvloop": use_uvloop})


def sends(*parts: bytes, holds: bool = False) -> Script:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        for part in parts:
            await conversation.send(part)
        if holds:
            await anyio.sleep_forever()

    return script


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_lines_are_those_of_the_body_however_it_is_cut(use_uvloop: bool) -> None:
    data = HEAD + chunk(b'{"a":1}\n{"b"') + chunk(b":2}\r\n") + chunk(b"\n") + chunk(b"part of a line") + b"0\r\n\r\n"
    expected = ([b'{"a":1}', b'{"b":2}', b""], "the venue has ended the stream")
    assert stream(sends(data), use_uvloop=use_uvloop) == expected
    assert stream(sends(*(data[at : at + 1] for at in range(len(data)))), use_uvloop=use_uvloop) == expected


def test_a_chunk_that_is_not_whole_yet_gives_its_lines() -> None:
    data = HEAD + b"ffff\r\n" + b'{"price":1}\n{"pri'
    lines, end = stream(sends(data, holds=True), silence_timeout_s=1.5, line_bytes_max=1 << 17)
    assert (lines, end) == ([b'{"price":1}'], "nothing was heard for 1.5 s")


def test_a_body_that_ends_with_its_connection_and_one_with_a_length() -> None:
    until_end = b"HTTP/1.1 200 OK\r\n\r\none\ntwo\nthr"
    assert stream(sends(until_end)) == ([b"one", b"two"], "the venue has ended the stream")
    assert stream(sends(http_answer(200, b"one\ntwo\n"))) == ([b"one", b"two"], "the venue has ended the stream")


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_stream_cut_at_every_byte(is_reset: bool) -> None:
    whole = [b"first", b"second"]
    data = HEAD + chunk(b"first\n") + chunk(b"sec") + chunk(b"ond\n")

    async def run() -> None:
        at = iter(range(len(data) + 1))

        async def script(conversation: Conversation) -> None:
            await conversation.request()
            await conversation.send(data[: next(at)])
            if is_reset:
                conversation.reset()

        async with serving(script) as server:
            http = transport(settings=FAST)
            for length in range(len(data) + 1):
                ask = request(server.origin, intent=Intent.QUERY, cost=0)
                try:
                    async with http.open_stream(ask, silence_timeout_s=20) as lines:
                        found, end = await all_of(lines)
                except TransportError:
                    assert length < len(HEAD) or is_reset
                    continue
                assert length >= len(HEAD)
                assert found == whole[: len(found)]
                assert is_reset or len(found) == data[:length].count(b"\n") - HEAD.count(b"\n") - data[len(HEAD) : length].count(
                    b"\r\n"
                )
                assert end
            await http.aclose()

    anyio.run(run)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (HEAD + chunk(b"x" * 1001), "limit of 1000 bytes"),
        (HEAD + chunk(b"x" * 600) + chunk(b"x" * 600), "limit of 1000 bytes"),
        (HEAD + b"zz\r\n", "not the size of a chunk"),
        (HEAD + b"1\r\nab\r\n", "longer than its size"),
    ],
)
def test_what_no_stream_may_say(answer: bytes, text: str) -> None:
    lines, end = stream(sends(answer, holds=True))
    assert lines == []
    assert text in end


def opened(script: Script, client: Callable[[HttpTransport, Loopback], Awaitable[None]], records: list[HttpRecord]) -> None:
    async def run() -> None:
        with anyio.fail_after(WAIT_S):
            async with serving(script) as server:
                http = transport(settings=FAST, record=records.append)
                await client(http, server)
                await http.aclose()

    anyio.run(run)


@pytest.mark.parametrize("status", [204, 401, 403, 404, 429, 503])
def test_a_refusal_has_its_status_headers_and_body(status: int) -> None:
    records: list[HttpRecord] = []

    async def client(http: HttpTransport, server: Loopback) -> None:
        with pytest.raises(RefusedStream) as caught:
            async with http.open_stream(request(server.origin, intent=Intent.QUERY, cost=0), silence_timeout_s=20):
                raise AssertionError
        body = b"" if status == 204 else b'{"errorMessage":"no"}'
        assert (caught.value.status, caught.value.headers["x-why"], caught.value.body) == (status, "because", body)

    body = b"" if status == 204 else b'{"errorMessage":"no"}'
    opened(sends(http_answer(status, body, "X-Why: because")), client, records)
    assert [(record.kind, record.status) for record in records] == [("request", 0), ("answer", status)]
    assert SECRET not in repr(records)


def test_a_throttled_stream_slows_the_gate_and_an_open_one_holds_no_place() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(HEAD + chunk(b"beat\n"))
        await anyio.sleep_forever()

    async def client(http: HttpTransport, server: Loopback) -> None:
        async with http.open_stream(request(server.origin, intent=Intent.QUERY, cost=0), silence_timeout_s=20) as lines:
            assert await anext(lines) == b"beat"
            assert http._gate.in_flight == 0

    async def throttled(http: HttpTransport, server: Loopback) -> None:
        with pytest.raises(RefusedStream):
            async with http.open_stream(request(server.origin, intent=Intent.QUERY, cost=0), silence_timeout_s=20):
                raise AssertionError
        with pytest.raises(TransportError, match="wants no requests"):
            async with http.open_stream(
                request(server.origin, intent=Intent.QUERY, cost=0, deadline_s=0.1), silence_timeout_s=20
            ):
                raise AssertionError

    opened(script, client, [])
    opened(sends(http_answer(429, b"slower", "Retry-After: 100")), throttled, [])


def test_a_head_that_never_comes_is_given_up_at_the_deadline() -> None:
    async def client(http: HttpTransport, server: Loopback) -> None:
        with pytest.raises(TransportError, match="the deadline passed"):
            async with http.open_stream(
                request(server.origin, intent=Intent.QUERY, cost=0, deadline_s=0.2), silence_timeout_s=20
            ):
                raise AssertionError

    opened(sends(b"HTTP/1.1 200 OK\r\n", holds=True), client, [])


def test_a_coding_that_was_not_asked_for_is_refused() -> None:
    async def client(http: HttpTransport, server: Loopback) -> None:
        with pytest.raises(TransportError, match="content coding 'gzip' was not asked for"):
            async with http.open_stream(request(server.origin, intent=Intent.QUERY, cost=0), silence_timeout_s=20):
                raise AssertionError

    opened(sends(HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), holds=True), client, [])


def test_a_slow_reader_stops_the_venue_and_loses_nothing() -> None:
    total = 3 * WAITING_LINES_MAX

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(HEAD)
        for number in range(total):
            conversation.writer.write(chunk(b"%d" % number + b" " * 200 + b"\n"))
            if number % 500 == 0:
                await conversation.writer.drain()
        await conversation.send(b"0\r\n\r\n")

    async def client(http: HttpTransport, server: Loopback) -> None:
        async with http.open_stream(request(server.origin, intent=Intent.QUERY, cost=0), silence_timeout_s=20) as lines:
            assert isinstance(lines, LineStream)
            while not lines._is_paused:
                await anyio.sleep(0.01)
            lines._heard -= 3600.0  # longer than the silence that is allowed: it is this side that does not listen
            lines._watch()
            found, end = await all_of(lines)
        assert [int(line) for line in found] == list(range(total))
        assert end == "the venue has ended the stream"

    opened(script, client, [])


def test_a_mock_of_httpx_streams_too() -> None:
    def handler(asked: httpx.Request) -> httpx.Response:
        if asked.url.path == "/order":
            return httpx.Response(200, content=b"one\ntwo\nthr")
        return httpx.Response(403, content=b"no")

    async def run() -> None:
        http = HttpTransport("TEST", FAST, read_signals=read_signals, meters={}, wire=httpx.MockTransport(handler))
        async with http.open_stream(request("http://mock", intent=Intent.QUERY, cost=0), silence_timeout_s=20) as lines:
            assert await all_of(lines) == ([b"one", b"two"], "the venue has ended the stream")
        with pytest.raises(RefusedStream):
            async with http.open_stream(request("http://mock", intent=Intent.QUERY, cost=0, target="/x"), silence_timeout_s=20):
                raise AssertionError

    anyio.run(run)


@given(st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"x", b"\n")), max_size=20))
def test_the_cutter_against_split(parts: list[bytes]) -> None:
    cutter = LineCutter(1000)
    lines = [line for part in parts for line in cutter.feed(part)]
    assert lines == [line.removesuffix(b"\r") for line in b"".join(parts).split(b"\n")[:-1]]


def test_the_cutter_refuses_a_line_too_long_wherever_it_ends() -> None:
    for parts in ([b"x" * 11], [b"x" * 11 + b"\n"], [b"a\n" + b"x" * 11 + b"\nb\n"], [b"x" * 6, b"x" * 6]):
        cutter = LineCutter(10)
        for part in parts[:-1]:
            cutter.feed(part)
        with pytest.raises(VenueProtocolError, match="above the limit of 10"):
            cutter.feed(parts[-1])
