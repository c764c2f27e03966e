"""What the API hands on: the latest market no faster than asked for, every fill or an end, and new connections to the daemon."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from daemon.api import feed as feed_module
from daemon.api.feed import Feed, FillSubscriber, MarketSubscriber
from daemon.api.link import Link, Unanswered, Unreachable

SECONDS_MAX = 30.0


def market(price: str, instrument_id: str = "A.X") -> dict[str, Any]:
    return {"type": "md", "instrument_id": instrument_id, "bid": price}


def fill(number: int, strategy_id: str = "alice") -> dict[str, Any]:
    return {"type": "fill", "strategy_id": strategy_id, "number": number}


def run(call: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        with anyio.fail_after(SECONDS_MAX):
            return await call()

    return anyio.run(bounded)


def test_the_market_is_the_latest_and_no_faster_than_its_interval() -> None:
    async def check() -> None:
        subscriber = MarketSubscriber(["A.X"], interval_s=0.05)
        for price in ("1", "2", "3"):
            subscriber.take_in(market(price))
        subscriber.take_in(market("9", "B.X"))
        assert await subscriber.next() == [market("3")]
        began_s = anyio.current_time()
        subscriber.take_in(market("4"))
        assert await subscriber.next() == [market("4")]
        assert anyio.current_time() - began_s >= 0.04

    run(check)


def test_fills_come_in_order_to_their_own_client_or_it_is_told_that_they_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "FILLS_WAITING_MAX", 3)

    async def check() -> None:
        subscriber = FillSubscriber("alice")
        for number in (1, 2):
            subscriber.take_in(fill(number))
        subscriber.take_in(fill(3, "bob"))
        assert await subscriber.next() == [fill(1), fill(2)]
        for number in range(4, 8):
            subscriber.take_in(fill(number))
        assert await subscriber.next() == []

    run(check)


class Scripted(Link):
    """A link whose streams are given."""

    def __init__(self, *streams: list[dict[str, Any]]) -> None:
        super().__init__("x", "/nowhere")
        self._streams = list(streams)
        self.opened = 0

    async def lines(self, target: str) -> AsyncIterator[dict[str, Any]]:
        assert target == "/stream?topics=md,fills&interval_ms=20"
        self.opened += 1
        if not self._streams:
            await anyio.sleep_forever()
        for line in self._streams.pop(0):
            yield line
            await anyio.lowlevel.checkpoint()
        raise Unanswered("the stream has ended")


def test_a_stream_that_breaks_ends_the_fills_and_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "BACKOFF_S_MIN", 0.001)

    async def check() -> None:
        link = Scripted([market("1"), fill(1)], [market("2")])
        feed = Feed(link, 0.02)
        assert feed.open_fills("alice").is_over, "nothing is known yet"
        watcher = feed.open_market(["A.X"], 0.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.run)
            assert await watcher.next() == [market("1")]
            fills = feed.open_fills("alice")
            assert await fills.next() in ([fill(1)], [])
            while not fills.is_over:
                await anyio.lowlevel.checkpoint()
            assert await fills.next() == []
            assert await watcher.next() == [market("2")]
            while link.opened < 3:
                await anyio.sleep(0.001)
            assert not feed.is_connected
            tasks.cancel_scope.cancel()
        feed.close_market(watcher)
        feed.close_fills(fills)

    run(check)


# The link to a daemon that is not there, slow, or says nonsense.


def with_socket(path: Path, answer: Callable[[Any], Awaitable[None]], ask: Callable[[Link], Awaitable[Any]]) -> Any:
    async def check() -> Any:
        listener = await anyio.create_unix_listener(path)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, answer)
            found = await ask(Link("x", str(path)))
            tasks.cancel_scope.cancel()
        return found

    return run(check)


async def outcome(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except (Unreachable, Unanswered) as error:
        return type(error)


def test_what_was_not_sent_and_what_was_not_answered_are_told_apart(tmp_path: Path) -> None:
    async def silent(stream: Any) -> None:
        async with stream:
            await anyio.sleep_forever()

    def saying(data: bytes) -> Callable[[Any], Awaitable[None]]:
        async def answer(stream: Any) -> None:
            async with stream:
                await stream.receive()
                await stream.send(data)

        return answer

    async def ask(link: Link) -> Any:
        return await outcome(link.ask("GET", "/x", seconds_max=0.3))

    good = json.dumps({"a": 1}).encode()
    assert run(lambda: ask(Link("x", str(tmp_path / "none.sock")))) is Unreachable
    assert run(lambda: ask(Link("no-such-run", ""))) is Unreachable
    assert with_socket(tmp_path / "1.sock", silent, ask) is Unanswered
    assert with_socket(tmp_path / "2.sock", saying(b"HTTP/1.1 200 OK\r\n\r\n" + good), ask) == (200, {"a": 1})
    for number, data in enumerate((b"", b"nonsense", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n[]", b"HTTP/1.1 2")):
        assert with_socket(tmp_path / f"3{number}.sock", saying(data), ask) is Unanswered, data
