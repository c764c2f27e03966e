"""The transport under a budget: what waits, what a throttle does on the wire, and what is signed after waiting."""

from __future__ import annotations

import re
import time

import anyio
import pytest

from adapters.http.clock_offset import ClockOffset
from adapters.http.gate import GateLimits
from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.meters import SlidingWindow
from adapters.http.request import Answer, Intent, Outcome, Progress, Request, Sent, Verdict, Wire
from core.errors import ConfigError
from core.units import NS_PER_MS, NS_PER_SECOND
from tests.adapters.http.loopback import Conversation, always, http_answer, serving
from tests.adapters.http.requests_for_tests import Ack, judge, read_signals, request, transport

GOOD = http_answer(200, b'{"id":"td-1-1"}')


def test_a_request_waits_for_the_budget_and_then_goes() -> None:
    async def run() -> tuple[list[Outcome], int]:
        meter = SlidingWindow(2, 300 * NS_PER_MS)
        async with serving(always(GOOD)) as server:
            http = transport(meters={"weight": meter})
            outcomes = [(await http.send(request(server.origin))).outcome for _ in range(5)]
            await http.aclose()
        return outcomes, len(server.requests)

    began = time.monotonic_ns()
    assert anyio.run(run) == ([Outcome.ACCEPTED] * 5, 5)
    # Five requests at two in 300 ms cannot be done sooner, however fast the machine.
    assert time.monotonic_ns() - began >= 600 * NS_PER_MS


def test_what_waits_too_long_was_not_sent() -> None:
    async def run() -> tuple[Sent[Ack], Sent[Ack], int]:
        meter = SlidingWindow(2, 3600 * NS_PER_SECOND, cancel_reserve=1)
        async with serving(always(GOOD)) as server:
            http = transport(meters={"weight": meter})
            await http.send(request(server.origin))
            late = await http.send(request(server.origin, deadline_s=0.1))
            cancel = await http.send(request(server.origin, intent=Intent.CANCEL))
            await http.aclose()
        return late, cancel, len(server.requests)

    late, cancel, requests = anyio.run(run)
    assert (late.outcome, late.progress) == (Outcome.NOT_SENT_PROVEN, Progress.QUEUED)
    assert late.reason == "its deadline passed while it waited: its request budget is used up"
    assert (cancel.outcome, requests) == (Outcome.ACCEPTED, 2)


def test_waiting_requests_start_in_the_order_of_their_lanes() -> None:
    """One slot; while it is taken a query, an order and a cancel come in, and leave the other way round."""
    limits = GateLimits(in_flight_max=3, cancel_slots=1, order_slots=1)

    async def run() -> list[str]:
        release = anyio.Event()

        async def script(conversation: Conversation) -> None:
            while await conversation.request():
                await release.wait()
                await conversation.send(GOOD)

        async with serving(script) as server:
            http = transport(settings=HttpSettings(gate=limits))

            async def send(intent: Intent, target: str) -> None:
                await http.send(request(server.origin, intent=intent, target=target, cost=0))

            async with anyio.create_task_group() as tasks:
                for index, intent in enumerate((Intent.CANCEL, Intent.CANCEL, Intent.CANCEL)):
                    tasks.start_soon(send, intent, f"/first{index}")
                while len(server.requests) < 3:
                    await anyio.sleep(0.01)
                for intent, target in ((Intent.QUERY, "/query"), (Intent.PLACE, "/place"), (Intent.CANCEL, "/cancel")):
                    tasks.start_soon(send, intent, target)
                    await anyio.sleep(0.02)
                release.set()
            await http.aclose()
            return [data.split()[1].decode() for data in server.requests[3:]]

    assert anyio.run(run) == ["/cancel", "/place", "/query"]


def test_whoever_waited_for_a_place_waits_for_the_budget_no_longer_than_it_takes() -> None:
    """While the cancels are under way the query has no place; then the budget that they used has to come back."""
    limits = GateLimits(in_flight_max=3, cancel_slots=1, order_slots=1)

    async def run() -> Sent[Ack]:
        release, found = anyio.Event(), []

        async def script(conversation: Conversation) -> None:
            while await conversation.request():
                await release.wait()
                await conversation.send(GOOD)

        async with serving(script) as server:
            http = transport(settings=HttpSettings(gate=limits), meters={"weight": SlidingWindow(3, NS_PER_SECOND)})

            async def ask() -> None:
                found.append(await http.send(request(server.origin, deadline_s=3_600.0)))

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(http.send, request(server.origin, intent=Intent.CANCEL))
                while len(server.requests) < 3:
                    await anyio.sleep(0.01)
                tasks.start_soon(ask)
                await anyio.sleep(0.05)
                release.set()
                with anyio.fail_after(60):
                    while not found:
                        await anyio.sleep(0.01)
            await http.aclose()
        return found[0]

    assert anyio.run(run).outcome is Outcome.ACCEPTED


def test_a_throttle_is_kept_by_orders_and_passed_by_cancels() -> None:
    async def script(conversation: Conversation) -> None:
        while head := await conversation.request():
            is_first = len(conversation.server.requests) == 1
            throttle = http_answer(429, b"{}", "Retry-After: 600")
            await conversation.send(throttle if is_first and head.startswith(b"POST") else GOOD)

    async def run() -> list[Outcome]:
        async with serving(script) as server:
            http = transport()
            sent = [
                await http.send(request(server.origin, cost=0)),
                await http.send(request(server.origin, cost=0, deadline_s=0.2)),
                await http.send(request(server.origin, intent=Intent.CANCEL, cost=0)),
                await http.send(request(server.origin, intent=Intent.CANCEL, cost=0)),
            ]
            await http.aclose()
            assert "the venue wants no requests" in sent[1].reason
            return [each.outcome for each in sent]

    accepted, refused, kept = Outcome.ACCEPTED, Outcome.REJECTED_PROVEN, Outcome.NOT_SENT_PROVEN
    assert anyio.run(run) == [refused, kept, accepted, accepted]


def test_a_ban_says_for_how_long() -> None:
    told: list[str] = []

    async def run() -> tuple[Sent[Ack], Sent[Ack], int]:
        async with serving(always(http_answer(418, b"{}", "Retry-After: 120"))) as server:
            http = transport(on_ban=told.append)
            first = await http.send(request(server.origin, intent=Intent.CANCEL, cost=0))
            second = await http.send(request(server.origin, intent=Intent.CANCEL, cost=0, deadline_s=0.1))
            await http.aclose()
        return first, second, len(server.requests)

    first, second, requests = anyio.run(run)
    assert (first.outcome, second.outcome, requests) == (Outcome.REJECTED_PROVEN, Outcome.NOT_SENT_PROVEN, 1)
    assert re.search(r"the venue has banned this address for another 1[01]\d s", second.reason)
    (text,) = told
    assert re.search(r"the venue has banned this address for 1[12]\d s: nothing is asked or canceled", text)


def test_the_budget_that_the_venue_reports_counts() -> None:
    async def run() -> Sent[Ack]:
        async with serving(always(http_answer(200, b'{"id":"x"}', "X-Used: 99"))) as server:
            http = transport(meters={"weight": SlidingWindow(100, 3600 * NS_PER_SECOND)})
            await http.send(request(server.origin))
            await http.send(request(server.origin))
            last = await http.send(request(server.origin, deadline_s=0.1))
            await http.aclose()
        return last

    assert anyio.run(run).outcome is Outcome.NOT_SENT_PROVEN


def test_what_waited_is_signed_as_it_leaves_with_the_venues_time() -> None:
    stamps: list[int] = []
    clock = ClockOffset()
    venue_start = 1_700_000_000 * NS_PER_SECOND
    started = time.monotonic_ns()
    clock.observe(started, venue_start, started)

    async def run() -> None:
        async with serving(always(GOOD)) as server:

            def build(venue_ns: int) -> Wire:
                stamps.append(venue_ns)
                return Wire("POST", server.origin, "/order")

            http = HttpTransport(
                "TEST",
                HttpSettings(),
                read_signals=read_signals,
                meters={"weight": SlidingWindow(1, 300 * NS_PER_MS)},
                venue_clock=clock,
            )
            place = Request(name="place", intent=Intent.PLACE, build=build, judge=judge, costs=(("weight", 1),))
            await http.send(place)
            await http.send(place)
            await http.aclose()

    anyio.run(run)
    assert venue_start <= stamps[0]
    assert stamps[1] - stamps[0] >= 299 * NS_PER_MS


def test_a_target_that_http_does_not_allow_is_not_sent() -> None:
    """On a fresh connection and on one that is open already: the library refuses before it writes."""

    async def run() -> tuple[list[Outcome], int]:
        async with serving(always(GOOD)) as server:
            http = transport()
            targets = ("/order?note=a b", "/order", "/order?note=a\nb", "/order")
            outcomes = [(await http.send(request(server.origin, target=target, cost=0))).outcome for target in targets]
            await http.aclose()
            return outcomes, len(server.requests)

    refused, taken = Outcome.NOT_SENT_PROVEN, Outcome.ACCEPTED
    assert anyio.run(run) == ([refused, taken, refused, taken], 2)


def test_the_target_leaves_byte_for_byte() -> None:
    """What is signed must be what leaves: nothing is quoted again, sorted or made prettier."""
    target = "/order/../x//y?a=%7e&b=~&c=[1]&d=%5B1%5d&e=|^&empty=&f={}"

    async def run() -> bytes:
        async with serving(always(GOOD)) as server:
            http = transport()
            await http.send(request(server.origin, target=target, cost=0))
            await http.aclose()
            return server.requests[0].split(b" ")[1]

    assert anyio.run(run) == target.encode()


def test_the_codec_sees_status_headers_and_body_as_they_came() -> None:
    seen: list[Answer] = []

    def keep(answer: Answer) -> Verdict[Ack]:
        seen.append(answer)
        return Verdict(Outcome.UNKNOWN, "kept")

    async def run() -> None:
        async with serving(always(http_answer(503, b"Unknown error", "X-Mbx-Used-Weight-1m:7", "A: b", "a:  c "))) as server:
            http = transport()
            place = request(server.origin, cost=0)
            await http.send(Request(name=place.name, intent=place.intent, build=place.build, judge=keep))
            await http.aclose()

    anyio.run(run)
    (answer,) = seen
    headers = {"content-length": "13", "x-mbx-used-weight-1m": "7", "a": "b, c"}
    assert (answer.status, answer.body, answer.headers) == (503, b"Unknown error", headers)


@pytest.mark.parametrize("origin", ["ftp://x", "https://", "https://user@x", "https://x/path", "x"])
def test_an_origin_that_is_none_is_a_mistake_of_the_configuration(origin: str) -> None:
    async def run() -> None:
        await transport().send(request(origin, cost=0))

    with pytest.raises(ConfigError):
        anyio.run(run)
