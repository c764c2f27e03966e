"""New connections no closer together than a venue allows: a request takes one that comes free, or waits for its turn."""

from __future__ import annotations

import anyio

from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.request import Answer, Outcome, Sent, Signals
from adapters.http.strict_http1 import StrictHttp1
from tests.adapters.http.loopback import WAIT_S, Conversation, Loopback, Script, http_answer, serving
from tests.adapters.http.requests_for_tests import Ack, request

FOREVER_S = 3_600.0
OK = http_answer(200, b'{"id":"1"}')


def no_signals(_answer: Answer) -> Signals:
    return Signals()


def ask(script: Script, count: int, interval_s: float) -> tuple[list[Sent[Ack]], Loopback]:
    async def run() -> tuple[list[Sent[Ack]], Loopback]:
        async with serving(script) as server:
            http = HttpTransport(
                "X", HttpSettings(), read_signals=no_signals, meters={}, wire=StrictHttp1(connect_interval_s=interval_s)
            )
            with anyio.fail_after(WAIT_S):
                sent = await http.send_all([request(server.origin, cost=0) for _ in range(count)])
            await http.aclose()
            return sent, server

    return anyio.run(run)


async def at_once(conversation: Conversation) -> None:
    while await conversation.request():
        await conversation.send(OK)


def test_requests_that_may_not_connect_take_what_comes_free() -> None:
    sent, server = ask(at_once, 5, FOREVER_S)
    assert [each.outcome for each in sent] == [Outcome.ACCEPTED] * 5
    assert (server.connections, len(server.requests)) == (1, 5)


def test_a_turn_comes_where_nothing_comes_free() -> None:
    async def slow_first(conversation: Conversation) -> None:
        while await conversation.request():
            is_first = conversation is first_of(conversation)
            while is_first and len(seen) < 2:
                await anyio.sleep(0.01)
            await conversation.send(OK)

    seen: list[Conversation] = []

    def first_of(conversation: Conversation) -> Conversation:
        if conversation not in seen:
            seen.append(conversation)
        return seen[0]

    sent, server = ask(slow_first, 2, 0.05)
    assert [each.outcome for each in sent] == [Outcome.ACCEPTED] * 2
    assert server.connections == 2


def test_without_a_pace_everybody_connects() -> None:
    sent, server = ask(at_once, 3, 0.0)
    assert [each.outcome for each in sent] == [Outcome.ACCEPTED] * 3
    assert 1 <= server.connections <= 3
