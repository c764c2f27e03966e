"""HttpTransport over other httpx transports: a mock of respx has the outcome rule, the gate and the records of the real one."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx
import pytest
import respx

from adapters.http.record import HttpRecord
from adapters.http.request import Intent, Outcome, Progress, Sent
from tests.adapters.http.requests_for_tests import SECRET, Ack, request, transport

ORIGIN = "http://venue.test"


def sent_by(router: respx.Router, *, intent: Intent = Intent.PLACE, records: list[HttpRecord] | None = None) -> Sent[Ack]:
    async def run() -> Sent[Ack]:
        keep: Callable[[HttpRecord], None] = (records if records is not None else []).append
        http = transport(wire=httpx.MockTransport(router.async_handler), record=keep)
        try:
            return await http.send(request(ORIGIN, intent=intent, cost=0))
        finally:
            await http.aclose()

    return anyio.run(run)


@pytest.mark.parametrize(
    ("effect", "outcome", "progress"),
    [
        (httpx.Response(200, json={"id": "td-1-1"}), Outcome.ACCEPTED, Progress.WHOLE),
        (httpx.Response(200, json={"id": 1}), Outcome.UNKNOWN, Progress.WHOLE),
        (httpx.Response(400, json={}), Outcome.REJECTED_PROVEN, Progress.WHOLE),
        (httpx.Response(503), Outcome.UNKNOWN, Progress.WHOLE),
        (httpx.Response(200, content=b"x" * (1 << 17)), Outcome.UNKNOWN, Progress.HEAD),
        (httpx.ConnectError, Outcome.NOT_SENT_PROVEN, Progress.CONNECTING),
        (httpx.ConnectTimeout, Outcome.NOT_SENT_PROVEN, Progress.CONNECTING),
        (httpx.PoolTimeout, Outcome.NOT_SENT_PROVEN, Progress.CONNECTING),
        (httpx.WriteError, Outcome.UNKNOWN, Progress.SENDING),
        (httpx.WriteTimeout, Outcome.UNKNOWN, Progress.SENDING),
        (httpx.ReadError, Outcome.UNKNOWN, Progress.SENDING),
        (httpx.ReadTimeout, Outcome.UNKNOWN, Progress.SENDING),
        (httpx.RemoteProtocolError, Outcome.UNKNOWN, Progress.SENDING),
    ],
)
def test_outcomes_by_respx(effect: httpx.Response | type[Exception], outcome: Outcome, progress: Progress) -> None:
    router = respx.Router()
    route = router.post(f"{ORIGIN}/order")
    if isinstance(effect, httpx.Response):
        route.return_value = effect
    else:
        route.side_effect = effect
    records: list[HttpRecord] = []
    sent = sent_by(router, records=records)
    assert (sent.outcome, sent.progress, sent.sent_ns > 0) == (outcome, progress, progress >= Progress.SENDING)
    assert route.call_count == 1
    assert [record.outcome for record in records] == [None, outcome]
    assert SECRET not in repr(records)


def test_a_query_goes_again_and_its_request_is_what_was_built() -> None:
    router = respx.Router()
    effects = [httpx.ReadError("gone"), httpx.Response(502), httpx.Response(200, json={"id": "a"})]
    route = router.get(f"{ORIGIN}/order", headers={"X-MBX-APIKEY": SECRET}).mock(side_effect=effects)
    sent = sent_by(router, intent=Intent.QUERY)
    assert (sent.outcome, sent.value, sent.attempts, route.call_count) == (Outcome.ACCEPTED, Ack("a"), 3, 3)


def test_a_caller_that_is_cancelled_in_a_mock_may_have_sent() -> None:
    records: list[HttpRecord] = []

    asking = anyio.Event()

    async def never(asked: httpx.Request) -> httpx.Response:
        asking.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def run() -> None:
        http = transport(wire=httpx.MockTransport(never), record=records.append)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(http.send, request(ORIGIN, cost=0))
            await asking.wait()
            tasks.cancel_scope.cancel()

    anyio.run(run)
    assert [(record.kind, record.progress, record.outcome) for record in records[1:]] == [
        ("failure", Progress.SENDING, Outcome.UNKNOWN)
    ]
