"""The link against a server that cuts, lies, stalls and refuses: whole messages or none, and always a word on how it ended."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import anyio
import pytest

from adapters.http.record import Redactor
from adapters.websocket.errors import LinkEnded, RefusedHandshake
from adapters.websocket.link import IN_MESSAGES_MAX, WebSocketLink
from core.errors import ConfigError, TransportError
from core.venue_opening import no_frame
from tests.adapters.http.loopback import WAIT_S, Conversation, Loopback, Script, http_answer, serving
from tests.adapters.websocket.server import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    closing,
    frame,
    handshake_answer,
    read_frame,
    websocket,
)

Client = Callable[[str], Awaitable[None]]


def talk(script: Script, client: Client, *, use_uvloop: bool = False) -> Loopback:
    """`client` is given the URL of a server that runs `script` for each connection."""

    async def run() -> Loopback:
        with anyio.fail_after(WAIT_S):
            async with serving(script) as server:
                await client(f"ws://127.0.0.1:{server.port}/ws")
        return server

    return anyio.run(run, backend_options={"use_uvloop": use_uvloop})


async def connect(url: str, **settings: object) -> WebSocketLink:
    given: dict[str, object] = {"on_frame": no_frame, "now": lambda: 0, "connect_timeout_s": 20.0, "silence_timeout_s": 20.0}
    return await WebSocketLink.connect(url, **{**given, **settings})  # type: ignore[arg-type]


async def all_of(link: WebSocketLink) -> tuple[list[str | bytes], LinkEnded]:
    messages: list[str | bytes] = []
    while True:
        try:
            messages.append(await link.receive())
        except LinkEnded as end:
            return messages, end


async def echo(conversation: Conversation) -> None:
    while True:
        opcode, payload = await read_frame(conversation)
        if opcode == CLOSE:
            await conversation.send(frame(CLOSE, payload))
            return
        await conversation.send(frame(opcode, payload))


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_messages_come_back_as_they_went(use_uvloop: bool) -> None:
    messages: list[str | bytes] = [
        "",
        "a",
        "grüße €",
        b"",
        b"\x00\xff",
        "x" * 125,
        "x" * 126,
        b"y" * 65_535,
        "z" * 65_536,
        "w" * 1_000_000,
    ]

    async def client(url: str) -> None:
        link = await connect(url)
        for message in messages:
            link.send(message)
        assert [await link.receive() for _ in messages] == messages
        assert link.is_open
        await link.close()
        assert not link.is_open
        with pytest.raises(LinkEnded, match="1000 closed here"):
            await link.receive()

    talk(websocket(echo), client, use_uvloop=use_uvloop)


def test_fragments_with_pings_between_are_one_message() -> None:
    pongs: list[tuple[int, bytes]] = []

    async def script(conversation: Conversation) -> None:
        euro = "€".encode()
        await conversation.send(
            frame(TEXT, b"price " + euro[:1], fin=False)
            + frame(PING, b"are you there")
            + frame(CONT, euro[1:2], fin=False)
            + frame(CONT, b"", fin=False)
            + frame(PONG, b"unasked")
            + frame(CONT, euro[2:], fin=True)
            + frame(BINARY, b"\x01", fin=False)
            + frame(CONT, b"\x02")
        )
        pongs.append(await read_frame(conversation))
        await conversation.send(closing(1001, "bye"))
        pongs.append(await read_frame(conversation))

    async def client(url: str) -> None:
        messages, end = await all_of(await connect(url))
        assert messages == ["price €", b"\x01\x02"]
        assert (end.code, end.reason) == (1001, "bye")
        while len(pongs) < 2:
            await anyio.sleep(0.01)

    talk(websocket(script), client)
    assert pongs == [(PONG, b"are you there"), (CLOSE, b"\x03\xe9bye")]


def test_a_server_that_cuts_at_every_byte() -> None:
    """By FIN and by RST, after each prefix of the handshake and of three frames: no part of a message is ever given out."""
    request = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    frames = [frame(TEXT, b'{"a":1}'), frame(PING, b"?"), frame(BINARY, b"x" * 130)]
    head_length = len(handshake_answer(request))
    cuts = [(length, is_reset) for length in range(head_length + sum(map(len, frames)) + 1) for is_reset in (False, True)]
    at = iter(cuts)

    async def script(conversation: Conversation) -> None:
        length, is_reset = next(at)
        answer = handshake_answer(await conversation.request()) + b"".join(frames)
        await conversation.send(answer[:length])
        if is_reset:
            conversation.reset()

    async def client(url: str) -> None:
        for length, is_reset in cuts:
            expected: list[str | bytes] = []
            if length >= head_length + len(frames[0]):
                expected.append('{"a":1}')
            if length == head_length + sum(map(len, frames)):
                expected.append(b"x" * 130)
            try:
                messages, end = await all_of(await connect(url))
            except TransportError:
                assert length < head_length or is_reset, length
                continue
            assert length >= head_length
            assert end.code == 1006
            # A reset may take with it what was on its way; what is left is still a beginning, in whole messages.
            assert messages == expected if not is_reset else messages == expected[: len(messages)], (length, is_reset)

    server = talk(script, client)
    assert server.connections == len(cuts)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_bytes_that_trickle_are_the_same_messages(size: int) -> None:
    async def script(conversation: Conversation) -> None:
        data = handshake_answer(await conversation.request()) + frame(TEXT, b"one") + frame(TEXT, b"x" * 300) + closing(1000)
        for start in range(0, len(data), size):
            conversation.writer.write(data[start : start + size])
            await asyncio.sleep(0)
        await conversation.writer.drain()

    async def client(url: str) -> None:
        messages, end = await all_of(await connect(url))
        assert (messages, end.code) == (["one", "x" * 300], 1000)

    talk(script, client)


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (frame(TEXT, b"masked", masked=True), 1002, "incorrect masking"),
        (frame(3, b""), 1002, "invalid opcode"),
        (frame(TEXT, b"x", reserved=4), 1002, "reserved bits"),
        (frame(CONT, b"x"), 1002, "unexpected continuation"),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002, "expected a continuation"),
        (frame(PING, b"x" * 126), 1002, "control frame too long"),
        (frame(PING, b"x", fin=False), 1002, "fragmented control frame"),
        (frame(TEXT, b"\xff\xfe"), 1007, "no UTF-8 at byte 0"),
        (frame(TEXT, b"ok \xe2", fin=False) + frame(CONT, b"\x82"), 1007, "no UTF-8 at byte 3"),
        (frame(TEXT, b"x" * 1001), 1009, ""),
        (b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 1009, ""),  # nine exabytes, it says
        (frame(TEXT, b"x" * 600, fin=False) + frame(CONT, b"x" * 600), 1009, ""),
        (frame(CLOSE, b"\x03"), 1002, ""),
        (frame(CLOSE, b"\x00\x01"), 1002, ""),
        (closing(4001, "bad key"), 4001, "bad key"),
        (closing(1008), 1008, ""),
        (frame(CLOSE), 1005, ""),
        (b"", 1006, "it was cut"),
    ],
)
def test_what_a_server_may_not_say_ends_it(data: bytes, code: int, reason: str) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.send(frame(TEXT, b"good") + data + frame(TEXT, b"late") * (data != b""))

    async def client(url: str) -> None:
        messages, end = await all_of(await connect(url, message_bytes_max=1000))
        assert messages == ["good"]
        assert end.code == code
        assert reason in end.reason
        with pytest.raises(LinkEnded):  # and again
            await all_messages_raise(url)

    async def all_messages_raise(url: str) -> None:
        link = await connect(url, message_bytes_max=1000)
        await all_of(link)
        link.send("into the void")
        await link.close()
        await link.close()
        await link.receive()

    talk(websocket(script), client)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 429, 503])
def test_a_refused_handshake_says_status_headers_and_body(status: int) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(http_answer(status, b'{"code":-1003,"msg":"way too many"}', "Retry-After: 17"))

    async def client(url: str) -> None:
        with pytest.raises(RefusedHandshake) as caught:
            await connect(url)
        assert (caught.value.status, caught.value.headers["retry-after"]) == (status, "17")
        assert caught.value.body == b'{"code":-1003,"msg":"way too many"}'
        assert f"refuses the connection with status {status}" in str(caught.value)

    talk(script, client)


@pytest.mark.parametrize(
    ("answer", "holds"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n<html>no</html>", False),  # it ends with its connection
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n<html>no</html>", False),  # cut
        (b"HTTP/1.1 403 Forbidden\r\n\r\n<html>no</html>", True),  # never ends
        (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\nzz<html>no</html>", False),
    ],
)
def test_a_refusal_that_is_not_whole_is_a_refusal(answer: bytes, holds: bool) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(answer)
        if holds:
            await anyio.sleep_forever()

    async def client(url: str) -> None:
        with pytest.raises(RefusedHandshake) as caught:
            await connect(url, connect_timeout_s=2.0 if holds else 20.0)
        assert caught.value.status == 403
        assert caught.value.body.endswith(b"<html>no</html>")

    talk(script, client)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 200" + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_handshake_is_no_connection(answer: bytes) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(answer)

    async def client(url: str) -> None:
        with pytest.raises(TransportError, match="no WebSocket handshake"):
            await connect(url)

    talk(script, client)


def test_an_extension_or_subprotocol_that_was_not_offered_is_no_connection() -> None:
    async def idle(conversation: Conversation) -> None:
        await conversation.reader.read(1)

    async def refused(url: str) -> None:
        with pytest.raises(TransportError, match="no WebSocket handshake"):
            await connect(url, subprotocol="a")

    async def taken(url: str) -> None:
        link = await connect(url, subprotocol="a")
        assert link.subprotocol == "a"
        await link.close()

    talk(websocket(idle, "Sec-WebSocket-Extensions: permessage-deflate"), refused)
    talk(websocket(idle, "Sec-WebSocket-Protocol: b"), refused)
    talk(websocket(idle, "Sec-WebSocket-Protocol: a"), taken)


def test_silence_ends_a_connection_and_pongs_are_no_silence() -> None:
    async def dead(conversation: Conversation) -> None:
        await anyio.sleep_forever()

    async def answers_pings(conversation: Conversation) -> None:
        for _ in range(5):
            opcode, payload = await read_frame(conversation)
            assert opcode == PING
            await conversation.send(frame(PONG, payload))
        await conversation.send(closing(1000, "five pings"))

    async def silent(url: str) -> None:
        messages, end = await all_of(await connect(url, silence_timeout_s=0.1))
        assert (messages, end.code, end.reason) == ([], 1006, "nothing was heard for 0.1 s")

    async def pinging(url: str) -> None:
        _, end = await all_of(await connect(url, ping_interval_s=0.02, silence_timeout_s=20.0))
        assert (end.code, end.reason) == (1000, "five pings")

    talk(websocket(dead), silent)
    talk(websocket(answers_pings), pinging)


def test_a_handshake_that_never_ends_is_given_up() -> None:
    async def script(conversation: Conversation) -> None:
        await anyio.sleep_forever()

    async def client(url: str) -> None:
        for address in (url, url.replace("ws:", "wss:")):
            with pytest.raises(TransportError, match=r"no connection within 0\.1 s"):
                await connect(address, connect_timeout_s=0.1)

    talk(script, client)


def test_nobody_listens_and_no_such_host() -> None:
    async def run() -> None:
        for url in ("ws://127.0.0.1:1/", "ws://no-such-host.invalid/", "wss://127.0.0.1:1/"):
            with pytest.raises(TransportError, match="no connection"):
                await connect(url)

    anyio.run(run)


@pytest.mark.parametrize("url", ["http://x/", "ws://", "ws://h:99999/", "ws://user:pw@h/", "ws://h/a b", "wss:///x", "ws://h/#a"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ConfigError, match="is no URL of a WebSocket"):
        anyio.run(connect, url)


def test_headers_are_sent_and_cannot_smuggle() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.send(closing(1000))

    async def client(url: str) -> None:
        await connect(url, headers=(("Authorization", "Bearer token-of-mine"),))
        with pytest.raises(TransportError, match="cannot be sent"):
            await connect(url, headers=(("X", "a\r\nHost: other"),))

    server = talk(websocket(script), client)
    assert b"Authorization: Bearer token-of-mine\r\n" in server.requests[0]
    assert len(server.requests) == 1


def test_a_server_that_takes_nothing_is_cut_and_what_waits_is_bounded() -> None:
    release = anyio.Event()

    async def script(conversation: Conversation) -> None:
        conversation.writer.transport.pause_reading()
        await release.wait()

    async def client(url: str) -> None:
        link = await connect(url, out_bytes_max=1 << 20)
        sent = 0
        while link.is_open:
            link.send(b"x" * 65_536)
            sent += 1
            assert link.bytes_waiting <= 1 << 20
            assert sent < 10_000
        assert not await link.flush(0.1)
        with pytest.raises(LinkEnded, match="the other side has not taken"):
            await link.receive()
        release.set()

    talk(websocket(script), client)


def test_flush_waits_for_the_other_side() -> None:
    go, received = anyio.Event(), []

    async def script(conversation: Conversation) -> None:
        conversation.writer.transport.pause_reading()
        await go.wait()
        conversation.writer.transport.resume_reading()
        received.append(len((await read_frame(conversation))[1]))
        await conversation.send(closing(1000))

    async def client(url: str) -> None:
        link = await connect(url, out_bytes_max=64 << 20)
        link.send(b"x" * (32 << 20))
        assert link.bytes_waiting > 0
        assert not await link.flush(0.05)
        go.set()
        assert await link.flush(WAIT_S) or not link.is_open
        await all_of(link)

    talk(websocket(script), client)
    assert received == [32 << 20]


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_a_reader_that_is_slow_stops_the_venue_and_loses_nothing(use_uvloop: bool) -> None:
    total = 3 * IN_MESSAGES_MAX

    async def script(conversation: Conversation) -> None:
        for number in range(total):
            conversation.writer.write(frame(TEXT, b"%d" % number + b"." * 200))
            if number % 500 == 0:
                await conversation.writer.drain()
        await conversation.send(closing(1000))

    async def client(url: str) -> None:
        link = await connect(url)
        while not link._is_paused:
            await anyio.sleep(0.01)
        assert len(link._messages) < 2 * IN_MESSAGES_MAX
        link._heard -= 3600.0  # longer than the silence that is allowed: it is this side that does not listen
        link._watch()
        assert link.is_open
        for number in range(total):
            message = link.take_ready() or await link.receive()
            assert isinstance(message, str)
            assert message.rstrip(".") == str(number)
        with pytest.raises(LinkEnded, match="1000"):
            await link.receive()

    talk(websocket(script), client, use_uvloop=use_uvloop)


def test_a_cancelled_receive_loses_nothing() -> None:
    async def script(conversation: Conversation) -> None:
        for number in range(50):
            await conversation.send(frame(TEXT, b"%d" % number))
            await anyio.sleep(0.002)
        await conversation.send(closing(1000))

    async def client(url: str) -> None:
        link = await connect(url)
        messages: list[str | bytes] = []
        while len(messages) < 50:
            with anyio.move_on_after(0.001):
                messages.append(await link.receive())
        assert messages == [str(number) for number in range(50)]

    talk(websocket(script), client)


def test_closing_is_bounded_where_nobody_answers_it() -> None:
    async def script(conversation: Conversation) -> None:
        await anyio.sleep_forever()

    async def client(url: str) -> None:
        link = await connect(url)
        await link.close()
        assert link._transport is not None
        assert link._transport.is_closing()

    talk(websocket(script), client)


def test_frames_are_told_whole_and_without_secrets() -> None:
    told: list[tuple[int, str, bytes]] = []
    clock = count(1)

    async def client(url: str) -> None:
        link = await connect(
            url + "/the-listen-key",
            on_frame=lambda ts, what, data: told.append((ts, what, data)),
            now=lambda: next(clock),
            redactor=Redactor(["the-listen-key", "hush-hush"]),
        )
        link.send('{"op":"login","key":"hush-hush"}')
        assert await link.receive() == '{"op":"login","key":"hush-hush"}'
        await link.close(1000)

    server = talk(websocket(echo), client)
    assert told == [
        (1, "opened", f"ws://127.0.0.1:{server.port}/ws/***".encode()),
        (2, "sent", b'{"op":"login","key":"***"}'),
        (3, "received", b'{"op":"login","key":"***"}'),
        (4, "closed", b"the connection has ended: 1000 closed here"),
    ]


def test_over_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    serving_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving_context.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await websocket(echo)(Conversation(Loopback(), reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=serving_context)
        url = f"wss://localhost:{server.sockets[0].getsockname()[1]}/"
        with anyio.fail_after(WAIT_S):
            link = await connect(url, ssl_context=trusting)
            for message in ("hello", "x" * 500_000):
                link.send(message)
                assert await link.receive() == message
            await link.close()
            with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
                await connect(url)
        server.close()

    for use_uvloop in (False, True):
        anyio.run(run, backend_options={"use_uvloop": use_uvloop})


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
