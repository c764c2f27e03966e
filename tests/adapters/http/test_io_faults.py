"""The transport against a server that cuts, stalls and lies at every byte: the outcome is never better than what is proven."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable
from functools import partial

import anyio
import httpx
import pytest

from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.record import HttpRecord
from adapters.http.request import Intent, Outcome, Progress, Sent
from adapters.http.strict_http1 import StrictHttp1
from tests.adapters.http.loopback import WAIT_S, Conversation, Loopback, Script, always, http_answer, serving
from tests.adapters.http.requests_for_tests import SECRET, Ack, Veiled, request, transport

GOOD = http_answer(200, b'{"id":"td-1-1"}', "Content-Type: application/json")
FAST = HttpSettings(connect_timeout_s=10, silence_timeout_s=10)
# Our own wire as it is asked in earnest, the same by httpx's objects, and httpx's own: the outcome is never better than proven.
Wired = Callable[[], httpx.AsyncBaseTransport | None]
WIRES: list[Wired] = [lambda: None, Veiled, httpx.AsyncHTTPTransport]


def exchange(script: Script, *, intent: Intent = Intent.PLACE, deadline_s: float = 20.0) -> tuple[Sent[Ack], Loopback]:
    """One request to a server that runs `script`; every request without a cost, so that nothing but the network decides."""

    async def run() -> tuple[Sent[Ack], Loopback]:
        async with serving(script) as server:
            http = transport(settings=FAST)
            try:
                sent = await http.send(request(server.origin, intent=intent, deadline_s=deadline_s, cost=0))
            finally:
                await http.aclose()
        return sent, server

    return anyio.run(run)


def test_a_whole_answer_is_read() -> None:
    sent, server = exchange(always(GOOD))
    assert (sent.outcome, sent.value, sent.progress) == (Outcome.ACCEPTED, Ack("td-1-1"), Progress.WHOLE)
    assert len(server.requests) == 1
    assert sent.sent_ns < sent.answered_ns


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("use_uvloop", [False, True])
def test_an_answer_cut_at_every_byte_leaves_the_outcome_unknown(wire: Wired, use_uvloop: bool) -> None:
    """Cut by FIN and by RST after each prefix of a good answer, on fresh connections to one server."""

    async def run() -> list[tuple[int, bool, str]]:
        wrong: list[tuple[int, bool, str]] = []
        cuts = [(count, is_reset) for count in range(len(GOOD)) for is_reset in (False, True)]
        at = iter(cuts)

        async def script(conversation: Conversation) -> None:
            count, is_reset = next(at)
            await conversation.request()
            await conversation.send(GOOD[:count])
            if is_reset:
                conversation.reset()

        async with serving(script) as server:
            http = transport(settings=FAST, wire=wire())
            for count, is_reset in cuts:
                sent = await http.send(request(server.origin, cost=0))
                if sent.outcome is not Outcome.UNKNOWN or sent.value is not None:
                    wrong.append((count, is_reset, f"{sent.outcome.name} {sent.reason}"))
            await http.aclose()
            assert len(server.requests) == len(cuts), "something was sent twice"
        return wrong

    assert anyio.run(run, backend_options={"use_uvloop": use_uvloop}) == []


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("use_uvloop", [False, True])
def test_a_request_cut_at_every_byte_is_never_called_not_sent(wire: Wired, use_uvloop: bool) -> None:
    """The server reads k bytes of the request and resets: nobody on this side can know that it was only k."""
    _, server = exchange(always(GOOD))
    whole = len(server.requests[0])

    async def run() -> list[tuple[int, str]]:
        wrong = []
        counts = [*range(whole), whole]
        at = iter(counts)

        async def script(conversation: Conversation) -> None:
            await conversation.read_only(next(at))
            conversation.reset()

        async with serving(script) as server:
            http = transport(settings=FAST, wire=wire())
            for count in counts:
                sent = await http.send(request(server.origin, cost=0))
                if sent.outcome is not Outcome.UNKNOWN:
                    wrong.append((count, f"{sent.outcome.name} {sent.reason}"))
            await http.aclose()
            assert server.connections == len(counts), "a request that may have been read was sent again"
        return wrong

    assert anyio.run(run, backend_options={"use_uvloop": use_uvloop}) == []


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("origin", ["http://127.0.0.1:PORT", "http://no-such-host.invalid", "https://127.0.0.1:PORT"])
@pytest.mark.parametrize("wire", WIRES)
def test_refused_and_unresolved_are_proven_not_sent(origin: str, wire: Wired) -> None:
    async def run() -> Sent[Ack]:
        http = transport(settings=FAST, wire=wire())
        sent = await http.send(request(origin.replace("PORT", str(closed_port())), cost=0))
        await http.aclose()
        return sent

    sent = anyio.run(run)
    assert (sent.outcome, sent.progress, sent.sent_ns) == (Outcome.NOT_SENT_PROVEN, Progress.CONNECTING, 0)


def test_a_tls_handshake_that_fails_is_proven_not_sent() -> None:
    """The server gets the client's hello and no byte of the request: it is in clear text nowhere."""
    seen: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        seen.append(await conversation.reader.read(1 << 16))
        await conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def run() -> Sent[Ack]:
        async with serving(script) as server:
            http = transport(settings=FAST)
            sent = await http.send(request(f"https://127.0.0.1:{server.port}", cost=0))
            await http.aclose()
        return sent

    sent = anyio.run(run)
    assert (sent.outcome, sent.progress) == (Outcome.NOT_SENT_PROVEN, Progress.CONNECTING)
    assert seen
    assert b"BUY" not in seen[0]


def test_a_handshake_that_never_ends_is_proven_not_sent() -> None:
    async def script(conversation: Conversation) -> None:
        await anyio.sleep_forever()

    async def run() -> Sent[Ack]:
        async with serving(script) as server:
            http = transport(settings=HttpSettings(connect_timeout_s=0.2))
            sent = await http.send(request(f"https://127.0.0.1:{server.port}", cost=0))
            await http.aclose()
        return sent

    sent = anyio.run(run)
    assert (sent.outcome, sent.progress) == (Outcome.NOT_SENT_PROVEN, Progress.CONNECTING)


async def silence(conversation: Conversation) -> None:
    await conversation.request()
    await anyio.sleep_forever()


async def one_byte_at_a_time(conversation: Conversation) -> None:
    await conversation.request()
    for byte in http_answer(200, b'{"id":"' + b"x" * 5000 + b'"}'):
        await conversation.send(bytes([byte]))
        await anyio.sleep(0.02)


@pytest.mark.parametrize("script", [silence, one_byte_at_a_time])
def test_a_deadline_ends_what_no_single_read_would(script: Script) -> None:
    sent, _ = exchange(script, deadline_s=1.5)  # in which the request has left, on a busy machine too
    assert (sent.outcome, sent.reason) == (Outcome.UNKNOWN, "the deadline passed")
    assert Progress.SENDING <= sent.progress <= Progress.HEAD


BODY = b'{"id":"td-1-1"}'
BOMB = gzip.compress(b'{"id":"' + b"0" * (8 << 20) + b'"}', mtime=0)


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (http_answer(200, b""), Outcome.UNKNOWN, "status 200"),
        (http_answer(200, b"{}"), Outcome.UNKNOWN, "missing required field `id`"),
        (http_answer(200, b"[]"), Outcome.UNKNOWN, "status 200"),
        (http_answer(200, b"<html>maintenance</html>"), Outcome.UNKNOWN, "status 200"),
        (http_answer(200, BODY[:-1]), Outcome.UNKNOWN, "status 200"),
        (http_answer(200, BODY, length=len(BODY) + 1), Outcome.UNKNOWN, "closed in the body of status 200"),
        (http_answer(200, BODY, length=len(BODY) - 1), Outcome.UNKNOWN, "status 200"),
        (http_answer(200, b'{"id":"td-1-1","id":"td-1-2"}'), Outcome.UNKNOWN, "duplicate keys"),
        (http_answer(200, b'{"id":"td-1-1","x":NaN}'), Outcome.UNKNOWN, "NaN"),
        (http_answer(200, b'{"id":"td-1-1","x":1e999}'), Outcome.UNKNOWN, "1e999"),
        (http_answer(200, b'{"id":"td-1-1","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"), Outcome.UNKNOWN, "nested"),
        (http_answer(200, b'{"id":"\xff"}'), Outcome.UNKNOWN, "utf-8"),
        (http_answer(200, b'{"id":"' + b"x" * (1 << 17) + b'"}'), Outcome.UNKNOWN, "above the limit"),
        (http_answer(200, BOMB, "Content-Encoding: gzip"), Outcome.UNKNOWN, "more than the limit"),
        (http_answer(200, b"\x1f\x8b" + bytes(50), "Content-Encoding: gzip"), Outcome.UNKNOWN, "damaged gzip body"),
        (http_answer(200, gzip.compress(BODY, mtime=0)[:-3], "Content-Encoding: gzip"), Outcome.UNKNOWN, "cut short"),
        (http_answer(200, gzip.compress(BODY, mtime=0), "Content-Encoding: gzip"), Outcome.ACCEPTED, ""),
        (http_answer(200, BODY, "Content-Encoding: br"), Outcome.UNKNOWN, "was not asked for"),
        (http_answer(302, b"", "Location: http://127.0.0.1:1/"), Outcome.UNKNOWN, "status 302"),
        (http_answer(403, b"<html>Forbidden</html>"), Outcome.REJECTED_PROVEN, "status 403"),
        (http_answer(408, b"<html>Timeout</html>"), Outcome.UNKNOWN, "status 408"),
        (http_answer(503, b"Service Unavailable"), Outcome.UNKNOWN, "status 503"),
        (http_answer(504, b"<html>Gateway</html>"), Outcome.UNKNOWN, "status 504"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Outcome.UNKNOWN, "not the size of a chunk"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", Outcome.UNKNOWN, "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * (1 << 18) + b"\r\n\r\n", Outcome.UNKNOWN, "head above the limit"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", Outcome.UNKNOWN, "an upgrade"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + BODY, Outcome.ACCEPTED, ""),  # it ends with its connection
        (b"HTTP/1.1 200 OK\r\n\r\n" + BODY[:-1], Outcome.UNKNOWN, "status 200"),
        (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + http_answer(200, BODY), Outcome.ACCEPTED, ""),
    ],
)
def test_what_an_answer_does_not_prove(answer: bytes, outcome: Outcome, reason: str) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(answer)

    sent, server = exchange(script)
    assert (sent.outcome, len(server.requests)) == (outcome, 1)
    assert reason in sent.reason


@pytest.mark.parametrize("intent", [Intent.PLACE, Intent.CHANGE, Intent.CANCEL, Intent.OTHER])
def test_nothing_but_a_query_is_sent_twice(intent: Intent) -> None:
    _, server = exchange(always(http_answer(503, b"")), intent=intent)
    assert len(server.requests) == 1


def test_a_query_is_asked_again_while_the_server_is_down() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        count = len(conversation.server.requests)
        if count == 1:
            conversation.reset()
        elif count == 2:
            await conversation.send(http_answer(502, b"<html>"))
        else:
            await conversation.send(GOOD)

    sent, server = exchange(script, intent=Intent.QUERY)
    assert (sent.outcome, sent.attempts, len(server.requests)) == (Outcome.ACCEPTED, 3, 3)


def test_a_query_that_is_refused_is_not_asked_again() -> None:
    sent, server = exchange(always(http_answer(400, b"{}")), intent=Intent.QUERY)
    assert (sent.outcome, sent.attempts, len(server.requests)) == (Outcome.REJECTED_PROVEN, 1, 1)


async def until_idle_is_closed(http: HttpTransport) -> None:
    """What the server did has arrived here: a request that leaves before could not know of it."""
    wire = http._wire
    assert isinstance(wire, StrictHttp1)
    with anyio.fail_after(WAIT_S):
        while any(not connection.is_closed for idle in wire._idle.values() for connection in idle):
            await anyio.sleep(0.01)


def test_a_connection_that_the_server_closed_while_idle_is_not_used_again() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(GOOD)

    async def run() -> tuple[list[Outcome], int]:
        async with serving(script) as server:
            http = transport(settings=FAST)
            outcomes = []
            for _ in range(5):
                outcomes.append((await http.send(request(server.origin, cost=0))).outcome)
                await until_idle_is_closed(http)
            await http.aclose()
            return outcomes, server.connections

    assert anyio.run(run) == ([Outcome.ACCEPTED] * 5, 5)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_answer_too_many_never_answers_the_next_request(framing: str) -> None:
    """The venue answers the first request twice, in one piece: the second answer must die with its connection."""

    def one(name: bytes) -> bytes:
        body = b'{"id":"' + name + b'"}'
        if framing == "length":
            return http_answer(200, body)
        return b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    async def script(conversation: Conversation) -> None:
        while await conversation.request():
            name = b"%d" % len(conversation.server.requests)
            await conversation.send(one(name) + (one(b"surplus") if name == b"2" else b""))

    async def run() -> tuple[list[str], int]:
        async with serving(script) as server:
            http = transport(settings=FAST)
            values = [(await http.send(request(server.origin, cost=0))).value for _ in range(4)]
            await http.aclose()
            return [value.id if value is not None else "" for value in values], server.connections

    # One connection for the first two; the surplus ended it.
    assert anyio.run(run) == (["1", "2", "3", "4"], 2)


def test_records_hold_everything_but_the_secrets() -> None:
    records: list[HttpRecord] = []

    async def run() -> None:
        async with serving(always(http_answer(200, b'{"id":"td-1-1","listenKey":"hush-hush"}', f"X-Echo: {SECRET}"))) as server:
            http = transport(record=records.append)
            await http.send(request(server.origin, cost=0, target="/order?symbol=X&signature=0123456789abcdef"))
            await http.send(request(f"http://127.0.0.1:{closed_port()}", cost=0))
            await http.aclose()

    anyio.run(run)
    assert [(record.number, record.kind, record.outcome) for record in records] == [
        (1, "request", None),
        (1, "answer", Outcome.ACCEPTED),
        (2, "request", None),
        (2, "failure", Outcome.NOT_SENT_PROVEN),
    ]
    text = repr(records)
    assert all(word not in text for word in (SECRET, "hush-hush", "0123456789abcdef", "abcdef0123456789"))
    assert "side=BUY&signature=***" in text
    assert records[0].url.endswith("/order?symbol=X&signature=***")


def test_silence_after_sending_is_given_up_before_the_deadline() -> None:
    async def run() -> Sent[Ack]:
        async with serving(silence) as server:
            http = transport(settings=HttpSettings(silence_timeout_s=0.2))
            sent = await http.send(request(server.origin, cost=0))
            await http.aclose()
        return sent

    sent = anyio.run(run)
    assert (sent.outcome, sent.reason) == (Outcome.UNKNOWN, "nothing was heard for 0.2 s")


def test_an_answer_that_nobody_asked_for_closes_an_idle_connection() -> None:
    answered: list[Ack | None] = []

    async def script(conversation: Conversation) -> None:
        before = len(answered)
        await conversation.request()
        await conversation.send(GOOD)
        while len(answered) == before:
            await anyio.sleep(0.01)
        await conversation.send(http_answer(200, b'{"id":"surplus"}'))
        await conversation.request()

    async def run() -> tuple[list[Ack | None], int]:
        async with serving(script) as server:
            http = transport(settings=FAST)
            for _ in range(2):
                answered.append((await http.send(request(server.origin, cost=0))).value)
                await until_idle_is_closed(http)
            await http.aclose()
            return answered, server.connections

    assert anyio.run(run) == ([Ack("td-1-1")] * 2, 2)


def test_a_caller_that_is_cancelled_leaves_a_record_and_a_free_slot() -> None:
    records: list[HttpRecord] = []

    async def run() -> Outcome:
        async with serving(silence) as server:
            http = transport(settings=FAST, record=records.append)
            async with anyio.create_task_group() as tasks:
                for _ in range(40):  # more than may be under way
                    tasks.start_soon(partial(http.send, request(server.origin, cost=0)))
                while not server.requests:
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
            assert {record.progress for record in records if record.kind == "failure"} >= {Progress.SENDING}
            sent = await http.send(request(f"http://127.0.0.1:{closed_port()}", cost=0))
            await http.aclose()
            return sent.outcome

    assert anyio.run(run) == Outcome.NOT_SENT_PROVEN
