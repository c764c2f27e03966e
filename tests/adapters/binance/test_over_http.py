"""Codec, transport and a venue on loopback together: what is signed is what arrives, and an answer too many fools nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

import anyio
import msgspec
import pytest

from adapters.binance.codec import BinanceCodec
from adapters.binance.endpoints import Product
from adapters.binance.instrument_rules import meters_of
from adapters.binance.outcomes import read_signals
from adapters.http.clock_offset import ClockOffset
from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.record import HttpRecord, Redactor
from adapters.http.request import Outcome, Progress
from core.units import NS_PER_MS
from tests.adapters.binance.account_for_tests import NOW, ORDER_ID, STAMP_MS, WIRE_ID, codec, encoded, order_body, submit
from tests.adapters.binance.plain_signer import KEY, SECRET, signature
from tests.adapters.http.loopback import Conversation, Loopback, always, http_answer, serving

SPOT, USDM = Product.SPOT, Product.USDM
PERP = "BTCUSDT-PERP.BINANCE"


def run_against(
    script: Callable[[Conversation], Awaitable[None]],
    work: Callable[[HttpTransport, BinanceCodec, Loopback], Awaitable[None]],
    records: list[HttpRecord] | None = None,
) -> None:
    async def run() -> None:
        async with serving(script) as server:
            http = HttpTransport(
                "BINANCE",
                HttpSettings(),
                read_signals=read_signals,
                meters=meters_of(USDM, [], share_percent=50, cancel_reserve_percent=10),
                record=(records if records is not None else []).append,
                redactor=Redactor([KEY, SECRET]),
            )
            await work(http, codec(USDM, server.origin), server)
            await http.aclose()

    anyio.run(run)


def test_an_order_arrives_as_it_was_signed_and_no_secret_is_recorded() -> None:
    records: list[HttpRecord] = []

    async def work(http: HttpTransport, under: BinanceCodec, server: Loopback) -> None:
        sent = await http.send(under.place(submit(USDM), NOW))
        assert (sent.outcome, sent.value and sent.value.order_id) == (Outcome.ACCEPTED, 77)
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        signed, _, given = body.decode().partition("&signature=")
        assert head.startswith(b"POST /fapi/v1/order HTTP/1.1\r\n")
        assert f"X-MBX-APIKEY: {KEY}".encode() in head
        assert signature(signed) == given
        assert dict(parse_qsl(signed))["newClientOrderId"] == WIRE_ID

    run_against(always(http_answer(200, encoded(order_body()))), work, records)
    text = msgspec.json.encode(records)
    assert KEY.encode() not in text
    assert b"signature=***" in records[0].body
    assert [record.kind for record in records] == ["request", "answer"]


def test_an_answer_about_another_order_is_not_ours() -> None:
    async def work(http: HttpTransport, under: BinanceCodec, server: Loopback) -> None:
        sent = await http.send(under.place(submit(USDM, client_order_id=ORDER_ID + 1), NOW))
        assert (sent.outcome, sent.progress) == (Outcome.UNKNOWN, Progress.WHOLE)
        assert "asked about td-7-4" in sent.reason

    run_against(always(http_answer(200, encoded(order_body()))), work)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"", Outcome.UNKNOWN),
        (403, b"<html>Forbidden</html>", Outcome.REJECTED_PROVEN),
        (408, b"<html>Request Time-out</html>", Outcome.UNKNOWN),
        (504, b"<html>Gateway Time-out</html>", Outcome.UNKNOWN),
        (503, b"Service Unavailable.", Outcome.REJECTED_PROVEN),
        (503, b'{"code":-1000,"msg":"Unknown error, please check your request or try again later."}', Outcome.UNKNOWN),
        (400, b'{"code":-2019,"msg":"Margin is insufficient."}', Outcome.REJECTED_PROVEN),
    ],
)
def test_outcomes_over_the_wire(status: int, body: bytes, outcome: Outcome) -> None:
    async def work(http: HttpTransport, under: BinanceCodec, server: Loopback) -> None:
        for request in (under.place(submit(USDM), NOW), under.cancel(ORDER_ID, PERP)):
            assert (await http.send(request)).outcome is outcome
        assert len(server.requests) == 2

    run_against(always(http_answer(status, body)), work)


def test_a_429_about_orders_lets_cancels_and_questions_pass() -> None:
    async def script(conversation: Conversation) -> None:
        while head := await conversation.request():
            if head.startswith(b"POST"):
                body = encoded({"code": -1015, "msg": "Too many new orders."})
                await conversation.send(http_answer(429, body, "Retry-After: 100"))
            else:
                await conversation.send(http_answer(200, encoded(order_body(status="CANCELED"))))

    async def work(http: HttpTransport, under: BinanceCodec, server: Loopback) -> None:
        first = await http.send(under.place(submit(USDM), NOW))
        cancel = await http.send(under.cancel(ORDER_ID, PERP))
        question = await http.send(under.query_order(ORDER_ID, PERP))
        held = await http.send(msgspec.structs.replace(under.place(submit(USDM), NOW), deadline_s=0.1))
        assert [each.outcome for each in (first, cancel, question, held)] == [
            Outcome.REJECTED_PROVEN,
            Outcome.ACCEPTED,
            Outcome.ACCEPTED,
            Outcome.NOT_SENT_PROVEN,
        ]
        assert held.reason.startswith("its deadline passed while it waited: the venue takes no new orders")

    run_against(script, work)


def test_the_venues_clock_from_its_time_endpoint() -> None:
    clock = ClockOffset()

    async def work(http: HttpTransport, under: BinanceCodec, server: Loopback) -> None:
        for _ in range(3):
            sent = await http.send(under.server_time())
            assert sent.value is not None
            clock.observe(sent.sent_ns, sent.value.server_time * NS_PER_MS, sent.answered_ns)

    run_against(always(http_answer(200, encoded({"serverTime": STAMP_MS}))), work)
    # The server's clock stands still: three answers within a millisecond or so agree, later ones would not.
    assert clock.samples == 3
