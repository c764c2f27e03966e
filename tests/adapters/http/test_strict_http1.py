"""The wire as an httpx transport: any client may use it, and its errors say what they prove."""

from __future__ import annotations

import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import httpx
import pytest

from adapters.http.progress import Journey
from adapters.http.request import Progress
from adapters.http.strict_http1 import StrictHttp1
from tests.adapters.http.loopback import WAIT_S, Conversation, Loopback, Script, always, http_answer, serving

GOOD = http_answer(200, b'{"a":1}', "Content-Type: application/json", "X-Two: 1", "X-Two: 2")
Work = Callable[[httpx.AsyncClient, Loopback], Awaitable[None]]


def with_client(script: Script, work: Work, wire: StrictHttp1 | None = None, *, use_uvloop: bool = False) -> Loopback:
    async def run() -> Loopback:
        transport = wire or StrictHttp1()
        with anyio.fail_after(WAIT_S):
            async with (
                serving(script) as server,
                httpx.AsyncClient(transport=transport, base_url=server.origin, timeout=20) as client,
            ):
                await work(client, server)
        return server

    return anyio.run(run, backend_options={"use_uvloop": use_uvloop})


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_a_client_of_httpx_asks_over_one_connection(use_uvloop: bool) -> None:
    async def work(client: httpx.AsyncClient, server: Loopback) -> None:
        first = await client.get("/path", params={"q": "a b&c"}, headers={"X-Key": "k"})
        assert (first.status_code, first.json(), first.headers["x-two"]) == (200, {"a": 1}, "1, 2")
        second = await client.post("/path", json={"side": "BUY"})
        third = await client.put("/path", content=parts())
        assert (second.is_success, third.is_success) == (True, True)

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    server = with_client(always(GOOD), work, use_uvloop=use_uvloop)
    assert server.connections == 1
    assert server.requests[0].startswith(b"GET /path?q=a+b%26c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Key: k\r\n" in server.requests[0]
    assert [request.partition(b"\r\n\r\n")[2] for request in server.requests] == [b"", b'{"side":"BUY"}', b"onetwo"]
    assert all(request.lower().count(b"content-length:") <= 1 for request in server.requests)
    assert all(request.lower().count(b"accept-encoding: gzip\r\n") == 1 for request in server.requests)


def test_an_answer_is_decompressed_within_its_bound() -> None:
    async def work(client: httpx.AsyncClient, server: Loopback) -> None:
        assert (await client.get("/small")).content == b"x" * 1000
        with pytest.raises(httpx.RemoteProtocolError, match="more than the limit"):
            await client.get("/bomb")
        larger = client.build_request("GET", "/bomb", extensions={"answer_bytes_max": 1 << 24})
        assert len((await client.send(larger)).content) == 1 << 22

    async def script(conversation: Conversation) -> None:
        while request := await conversation.request():
            body = b"x" * 1000 if b"/small" in request else bytes(1 << 22)
            await conversation.send(http_answer(200, gzip.compress(body, mtime=0), "Content-Encoding: gzip"))

    with_client(script, work)


def test_head_has_no_body_and_the_connection_stays() -> None:
    async def script(conversation: Conversation) -> None:
        while request := await conversation.request():
            await conversation.send(http_answer(200, b"" if request.startswith(b"HEAD") else b"abc", length=3))

    async def work(client: httpx.AsyncClient, server: Loopback) -> None:
        assert (await client.head("/x")).content == b""
        assert (await client.get("/x")).content == b"abc"

    assert with_client(script, work).connections == 1


def test_no_redirect_is_followed_and_no_answer_too_many_is_read() -> None:
    async def script(conversation: Conversation) -> None:
        while await conversation.request():
            number = len(conversation.server.requests)
            surplus = http_answer(200, b"surplus") if number == 1 else b""
            await conversation.send(http_answer(302, b"%d" % number, "Location: /other") + surplus)

    async def work(client: httpx.AsyncClient, server: Loopback) -> None:
        answers = [await client.get("/x") for _ in range(3)]
        assert [(answer.status_code, answer.content) for answer in answers] == [(302, b"1"), (302, b"2"), (302, b"3")]

    assert with_client(script, work).connections == 2


def test_each_error_proves_what_its_type_says() -> None:
    """Cut after every byte of an answer: an error of httpx that does not claim that nothing was sent, and the journey agrees."""
    lengths = iter(range(len(GOOD)))

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(GOOD[: next(lengths)])

    async def work(client: httpx.AsyncClient, server: Loopback) -> None:
        for length in range(len(GOOD)):
            journey = Journey(time.monotonic_ns)
            request = client.build_request("POST", "/order", content=b"a=1", extensions={"journey": journey})
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                await client.send(request)
            expected = (
                Progress.SENDING if not length else Progress.ANSWERING if length <= GOOD.index(b"\r\n\r\n") + 3 else Progress.HEAD
            )
            assert journey.progress is expected
            assert journey.sending_ns > 0

    assert len(with_client(script, work).requests) == len(GOOD)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:1/", httpx.ConnectError),
        ("http://no-such-host.invalid/", httpx.ConnectError),
        ("https://127.0.0.1:1/", httpx.ConnectError),
        ("ftp://127.0.0.1/", httpx.UnsupportedProtocol),
    ],
)
def test_what_proves_that_nothing_was_sent(url: str, kind: type[Exception]) -> None:
    journey = Journey(time.monotonic_ns)

    async def run() -> None:
        async with httpx.AsyncClient(transport=StrictHttp1()) as client:
            with pytest.raises(kind):
                await client.get(url, extensions={"journey": journey})

    anyio.run(run)
    assert journey.progress < Progress.SENDING


def test_a_header_that_would_be_two_is_not_sent() -> None:
    async def run() -> None:
        async with httpx.AsyncClient(transport=StrictHttp1()) as client:
            with pytest.raises(httpx.LocalProtocolError, match="cannot be sent"):
                await client.get("http://127.0.0.1:1/", headers={"X": "a\r\nHost: b"})

    anyio.run(run)


def test_the_clients_own_timeouts_count() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await anyio.sleep_forever()

    async def work(client: httpx.AsyncClient, server: Loopback) -> None:
        with pytest.raises(httpx.ReadTimeout, match=r"nothing was heard for 0\.1 s"):
            await client.get("/", timeout=httpx.Timeout(20, read=0.1))

    with_client(script, work)


def test_no_more_connections_than_allowed() -> None:
    go = anyio.Event()
    at_once: list[int] = []

    async def script(conversation: Conversation) -> None:
        while await conversation.request():
            at_once.append(conversation.server.connections)
            await go.wait()
            await conversation.send(GOOD)

    async def work(client: httpx.AsyncClient, server: Loopback) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(client.get, "/")
            while len(at_once) < 2:
                await anyio.sleep(0.01)
            with pytest.raises(httpx.PoolTimeout):
                await client.get("/", timeout=httpx.Timeout(20, pool=0.05))
            go.set()

    server = with_client(script, work, StrictHttp1(connections_max=2))
    assert (server.connections, len(server.requests)) == (2, 3)
