"""The loopback shell: real HTTP and WebSocket clients, cuts, delays, streams, half-open connections; and in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from core.errors import ConfigError
from daemon.cli.main import DOUBLES
from daemon.trading.clock import SystemClock
from daemon.venue_sim.loopback import Served, serve
from daemon.venue_sim.loopback_control import serve_control
from daemon.venue_sim.loopback_venues import VENUES, FaultPlan, open_simulator, read_faults
from sim.venues.protocol import SimVenue
from sim.virtual.agenda import NS_PER_S, Agenda
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import Network
from tests.daemon.venue_sim.scripted_double import MS, ScriptedDouble

WAIT_S = 30.0


def run(story: Callable[[Served, Any], Awaitable[None]], double: ScriptedDouble | None = None) -> ScriptedDouble:
    double = double or ScriptedDouble()
    venue: SimVenue = double

    async def main() -> None:
        async with serve(venue, SystemClock()) as served:
            await asyncio.wait_for(_as_coroutine(story(served, double)), WAIT_S)

    asyncio.run(main())
    return double


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def reply(**fields: Any) -> dict[str, str]:
    return {"x-reply": json.dumps(fields)}


def test_requests_one_behind_the_other_on_one_connection() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        async with httpx.AsyncClient(base_url=f"http://{served}") as client:
            first = await client.get("/a?x=1&y=%20")
            second = await client.post("/b", content=b"body", headers=reply(status=418))
            third = await client.request("DELETE", "/c", headers=reply(status=204, body=""))
            assert (first.text, second.status_code, second.text) == ("GET /a?x=1&y=%20 ", 418, "POST /b? body")
            assert (third.status_code, third.content, first.headers["content-type"]) == (204, b"", "text/plain")
            closing = await client.get("/d", headers=reply(closes=True))
            assert closing.status_code == 200
        await until(lambda: served.connections == 0)

    log = run(story).log
    assert log == [
        ("connected", 1),
        ("GET", "/a", b""),
        ("POST", "/b", b"body"),
        ("DELETE", "/c", b""),
        ("GET", "/d", b""),
        ("disconnected", 1),
    ]


def test_pipelined_requests_are_answered_in_turn_and_late_ones_wait() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        reader, writer = await asyncio.open_connection(served.host, served.port)
        slow = b'GET /1 HTTP/1.1\r\nhost: a\r\nx-reply: {"delay_ns": 20000000}\r\n\r\n'
        writer.write(slow + b"GET /2 HTTP/1.1\r\nhost: a\r\n\r\n" * 20)
        text = b""
        while text.count(b"HTTP/1.1 200") < 21 or not text.endswith(b"GET /2? "):
            text += await reader.read(65536)
        assert text.index(b"GET /1") < text.index(b"GET /2")
        writer.close()

    run(story)


def test_an_answer_is_cut_where_the_venue_says() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        async with httpx.AsyncClient(base_url=f"http://{served}") as client:
            for bytes_max in (0, 10, 60):
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get("/cut", headers=reply(bytes_max=bytes_max, body="x" * 100))
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/never", headers=reply(never=True), timeout=0.05)
            assert (await client.get("/fine")).status_code == 200

    run(story)


@pytest.mark.parametrize("code", [0, 1000])
def test_a_stream_of_chunks_ends_or_is_cut(code: int) -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        got = b""
        async with httpx.AsyncClient(base_url=f"http://{served}") as client, client.stream("GET", f"/stream?{code}") as answer:
            try:
                async for chunk in answer.aiter_raw():
                    got += chunk
                assert code
            except httpx.RemoteProtocolError:
                assert not code
        assert got == b"first\nline 0\nline 1\nline 2\n"

    run(story)


def test_a_websocket_on_the_same_port() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        async with connect(f"ws://{served}/ws?key=1") as socket:
            assert socket.response is not None
            assert socket.response.headers["x-venue"] == "double"
            await socket.send("echo hello")
            await socket.send(b"echo \x00\x01")
            assert await socket.recv() == "hello"
            assert await socket.recv() == b"\x00\x01"
            await socket.send("later 20 late")
            await socket.send("echo soon")
            assert [await socket.recv(), await socket.recv()] == ["soon", "late"]
            served.act("say", {"connection": 1, "text": "unasked"})
            assert await socket.recv() == "unasked"
            await socket.send(["echo ", "frag", "ments"])
            assert await socket.recv() == "fragments"
            await (await socket.ping())
        await until(lambda: ("disconnected", 1) in double.log)
        async with connect(f"ws://{served}/ws") as socket:
            await socket.send("close 4001")
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001
        async with connect(f"ws://{served}/ws") as socket:
            await socket.send("cut")
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is None
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{served}/no", additional_headers=reply(status=403))
        await until(lambda: served.connections == 0)

    log = run(story).log
    # What the venue ended itself it is not told of.
    assert [row for row in log if row[0] == "disconnected"] == [("disconnected", 1), ("disconnected", 4)]


def test_a_half_open_connection_says_nothing() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        socket = await connect(f"ws://{served}/ws", ping_interval=None, close_timeout=0.05)
        await socket.send("freeze")
        await until(lambda: (1, "freeze") in double.log)
        await socket.send("echo anybody")
        served.act("say", {"connection": 1, "text": "lost"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.05)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(await socket.ping(), 0.05)
        await socket.close()
        assert (1, "echo anybody") not in double.log
        assert ("disconnected", 1) not in double.log

    run(story)


def test_pings_are_sent_as_often_as_the_venue_says_to_whoever_answers_them() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        pings = 0
        reader, writer = await asyncio.open_connection(served.host, served.port)
        key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        writer.write(f"GET /ws HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        while pings < 3:
            assert await reader.readexactly(2) == b"\x89\x00"
            pings += 1
        # Nobody answers.
        assert await reader.read() == b""
        writer.close()

    run(story, ScriptedDouble(ping_ns=2 * MS))


def test_raw_tcp_for_venues_that_speak_it() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        reader, writer = await asyncio.open_connection(served.host, served.port)
        writer.write(b"echo API\0")
        assert await reader.readexactly(4) == b"API\0"
        writer.write(b"cut")
        assert await reader.read() == b""
        writer.close()

    assert run(story, ScriptedDouble("tcp")).log == [("connected", 1), (1, b"echo API\0"), (1, b"cut")]


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000])
def test_junk_is_refused(junk: bytes) -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        reader, writer = await asyncio.open_connection(served.host, served.port)
        writer.write(junk + b"\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 4")
        writer.close()

    run(story)


def test_a_large_body_is_refused() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        async with httpx.AsyncClient(base_url=f"http://{served}") as client:
            assert (await client.post("/a", content=b"x" * (1 << 22) + b"y")).status_code == 413

    run(story)


def test_a_bug_of_the_venue_ends_the_serving_and_is_raised() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        async with httpx.AsyncClient(base_url=f"http://{served}") as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/boom")

    with pytest.raises(AssertionError, match="a bug of the venue"):
        run(story)


def test_the_venues_time_passes_by_itself() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        double.due_ts = served.now() + 5 * MS
        served.pump()
        await until(lambda: "advance" in double.log)

    run(story)


def test_the_control_line() -> None:
    async def story(served: Served, double: ScriptedDouble) -> None:
        async with serve_control(served) as port, connect(f"ws://{served}/ws") as socket:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)

            async def say(**line: Any) -> Any:
                writer.write(json.dumps(line).encode() + b"\n")
                return json.loads(await reader.readline())

            assert await say(do="arm", number=1, times=2) == {"ok": True}
            assert (double.faults.fires(1), double.faults.fires(1), double.faults.fires(1)) == (True, True, False)
            assert await say(do="fired") == {"ok": True, "fired": {"1": 2}}
            assert await say(do="known") == {"ok": True, "known": {"1": "one", "2": "two"}}
            assert await say(do="rate", number=2, ppm=1_000_000) == {"ok": True}
            assert await say(do="quiet") == {"ok": True}
            assert not double.faults.fires(2)
            assert await say(do="act", name="say", arguments={"connection": 1, "text": "hi"}) == {"ok": True}
            assert await socket.recv() == "hi"
            assert (await say(do="ledger"))["ledger"]["positions"] == {}
            assert (await say(do="status"))["connections"] == 1
            for wrong in (
                {"do": "arm", "number": 99},
                {"do": "act", "name": "dance"},
                {"do": "nothing"},
                {"do": "arm"},
                {"x": 1},
            ):
                assert (await say(**wrong))["ok"] is False
            assert await say(do="cut") == {"ok": True}
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            writer.close()

    run(story)


def test_the_same_shell_in_virtual_time() -> None:
    agenda = Agenda()
    network = Network(agenda, 1)
    here, there = VirtualLoop(agenda, network, "here"), VirtualLoop(agenda, network, "there")
    double = ScriptedDouble()

    class Clock:
        def now(self) -> int:
            return agenda.ns

    got: list[bytes] = []

    async def venue(ready: asyncio.Future[int]) -> None:
        async with serve(double, Clock(), "127.0.0.1", 0) as served:
            ready.set_result(served.port)
            await asyncio.sleep(3600)

    async def client(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        slow = '{"delay_ns": 60000000000}'
        writer.write(f"GET /x HTTP/1.1\r\nhost: a\r\nx-reply: {slow}\r\nconnection: close\r\n\r\n".encode())
        got.append(await reader.read())
        writer.close()

    def on(loop: VirtualLoop, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return loop.create_task(main)

    ready: asyncio.Future[int] = there.create_future()
    serving = on(there, venue(ready))
    assert agenda.run_until(ready.done, agenda.ns + NS_PER_S)
    before = agenda.ns
    asking = on(here, client(ready.result()))
    assert agenda.run_until(asking.done, agenda.ns + 120 * NS_PER_S)
    asking.result()
    assert got[0].endswith(b"GET /x? ")
    assert agenda.ns - before > 60 * NS_PER_S
    serving.cancel()
    assert agenda.run_until(serving.done, agenda.ns + NS_PER_S)


def test_the_faults_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[ppm]\n22 = 1000\n[armed]\n4 = 2\n"7" = 1\n')
    plan = read_faults(path)
    assert (plan.ppm, plan.armed) == ({22: 1000}, {4: 2, 7: 1})
    for wrong in ("[ppm]\nx = 1\n", "[ppm]\n22 = 1000001\n", "[other]\n", "[ppm]\n22 = 'a'\n", "[ppm", "[armed]\n4 = -1\n"):
        path.write_text(wrong)
        with pytest.raises(ConfigError):
            read_faults(path)
    with pytest.raises(ConfigError):
        read_faults(tmp_path / "none")


def test_names_on_the_command_line_are_those_that_there_are(tmp_path: Path) -> None:
    assert tuple(VENUES) == DOUBLES
    path = tmp_path / "faults.toml"
    path.write_text("")
    with pytest.raises(ConfigError, match="nowhere"):
        open_simulator("nowhere", seed=1, plan=read_faults(path), ts=1)


@pytest.mark.parametrize("name", VENUES)
def test_every_double_opens_and_is_served(name: str) -> None:
    """It takes and loses a connection, lets time pass, and has a ledger."""
    clock = SystemClock()
    venue = open_simulator(name, seed=3, plan=FaultPlan(), ts=clock.now())

    async def main() -> None:
        async with serve(venue, clock) as served:
            reader, writer = await asyncio.open_connection(served.host, served.port)
            await until(lambda: served.connections == 1)
            if venue.wire == "http":
                writer.write(b"GET /no/such/path HTTP/1.1\r\nhost: a\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 4")
            writer.close()
            await until(lambda: served.connections == 0)
            due = venue.next_ts()
            if due is not None:
                await until(lambda: (venue.next_ts() or due + 1) > due or clock.now() < due)
            with pytest.raises(ValueError, match=r"."):
                served.act("no such deed")

    asyncio.run(main())
    ledger = venue.ledger()
    assert ledger.keys() >= {"orders", "fills", "positions", "balances"}
    assert ledger["balances"]
    with pytest.raises(ValueError, match="cannot show"):
        venue.faults.arm(10_000)
