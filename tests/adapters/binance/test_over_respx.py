"""The outcome rule through the whole stack, codec, gate, wire and judge, with respx for the venue: each row of the fact sheet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import parse_qsl

import anyio
import httpx
import msgspec
import pytest
import respx

from adapters.binance.codec import BinanceCodec
from adapters.binance.endpoints import Product
from adapters.binance.instrument_rules import meters_of
from adapters.binance.outcomes import read_signals
from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.record import HttpRecord, Redactor
from adapters.http.request import Outcome, Request, Sent
from core.commands import ReplaceOrder
from core.enums import Side
from tests.adapters.binance.account_for_tests import NOW, ORDER_ID, PERPETUAL, WIRE_ID, codec, order_body, submit
from tests.adapters.binance.plain_signer import KEY, SECRET, signature

SPOT, USDM = Product.SPOT, Product.USDM
YES, NO, NOT_SENT, UNKNOWN = Outcome.ACCEPTED, Outcome.REJECTED_PROVEN, Outcome.NOT_SENT_PROVEN, Outcome.UNKNOWN
ORIGIN = "http://venue.test"
IDS = {SPOT: "BTCUSDT.BINANCE", USDM: "BTCUSDT-PERP.BINANCE"}
PATHS = {SPOT: "/api/v3/order", USDM: "/fapi/v1/order"}
Effect = httpx.Response | type[Exception]
Work = Callable[[HttpTransport, BinanceCodec], Awaitable[None]]


def with_venue(product: Product, router: respx.Router, work: Work) -> list[HttpRecord]:
    records: list[HttpRecord] = []

    async def run() -> None:
        http = HttpTransport(
            "BINANCE",
            HttpSettings(),
            read_signals=read_signals,
            meters=meters_of(product, [], share_percent=50, cancel_reserve_percent=10),
            record=records.append,
            redactor=Redactor([KEY, SECRET]),
            wire=httpx.MockTransport(router.async_handler),
        )
        await work(http, codec(product, ORIGIN))
        await http.aclose()

    anyio.run(run)
    text = msgspec.json.encode(records)
    assert KEY.encode() not in text
    assert SECRET.encode() not in text
    return records


def changes_of(product: Product, under: BinanceCodec) -> Sequence[Request[object]]:
    """Every kind of request that could place, change or cancel an order."""
    requests: list[Request[object]] = [under.place(submit(product), NOW), under.cancel(ORDER_ID, IDS[product])]  # type: ignore[list-item]
    if product is USDM:
        replace = ReplaceOrder(
            ts=NOW,
            client_order_id=ORDER_ID,
            price=PERPETUAL.parse_price("61000"),
            quantity=PERPETUAL.parse_qty("0.2"),
            filled_qty=0,
        )
        requests.append(under.replace(replace, IDS[USDM], Side.BUY))  # type: ignore[arg-type]
    return requests


def error(status: int, code: int, text: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "msg": text})


HTML = "<html><head><title>Forbidden</title></head></html>"


@pytest.mark.parametrize("product", [SPOT, USDM])
@pytest.mark.parametrize(
    ("effect", "spot", "usdm"),
    [
        (httpx.Response(200, json=order_body()), YES, YES),
        (httpx.Response(200, json=order_body(clientOrderId="td-7-4")), UNKNOWN, UNKNOWN),  # another order's answer
        (httpx.Response(200, json=order_body(symbol="ETHUSDT")), UNKNOWN, UNKNOWN),
        (httpx.Response(200), UNKNOWN, UNKNOWN),
        (httpx.Response(200, html=HTML), UNKNOWN, UNKNOWN),
        (error(200, -2011, "Unknown order sent."), NO, NO),
        (error(503, -1000, "Unknown error, please check your request or try again later."), UNKNOWN, UNKNOWN),
        (httpx.Response(500), UNKNOWN, UNKNOWN),
        (httpx.Response(502, html=HTML), UNKNOWN, UNKNOWN),
        (httpx.Response(520, text="error code: 520"), UNKNOWN, UNKNOWN),
        (httpx.Response(503, text="Service Unavailable."), UNKNOWN, NO),
        (error(408, -1007, "Timeout waiting for response from backend server."), UNKNOWN, UNKNOWN),
        (httpx.Response(504, html=HTML), UNKNOWN, UNKNOWN),
        (httpx.Response(408, html=HTML), UNKNOWN, UNKNOWN),
        (error(400, -1006, "An unexpected response was received from the message bus."), UNKNOWN, UNKNOWN),
        (error(400, -1008, "Server is currently overloaded with other requests."), UNKNOWN, UNKNOWN),
        (error(400, -2010, "Duplicate order sent."), UNKNOWN, UNKNOWN),
        (error(400, -4116, "ClientOrderId is duplicated."), UNKNOWN, UNKNOWN),
        (error(400, -9999, "something that nobody has documented"), UNKNOWN, UNKNOWN),
        (httpx.Response(302, headers={"Location": f"{ORIGIN}/elsewhere"}), UNKNOWN, UNKNOWN),
        (error(400, -2010, "Account has insufficient balance for requested action."), NO, NO),
        (error(400, -1021, "Timestamp for this request is outside of the recvWindow."), NO, NO),
        (error(401, -2015, "Invalid API-key, IP, or permissions for action."), NO, NO),
        (httpx.Response(403, html=HTML), NO, NO),
        (error(409, -2021, "Order cancel-replace partially failed."), UNKNOWN, UNKNOWN),
        (httpx.ConnectError, NOT_SENT, NOT_SENT),
        (httpx.ConnectTimeout, NOT_SENT, NOT_SENT),
        (httpx.WriteError, UNKNOWN, UNKNOWN),
        (httpx.ReadError, UNKNOWN, UNKNOWN),
        (httpx.ReadTimeout, UNKNOWN, UNKNOWN),
        (httpx.RemoteProtocolError, UNKNOWN, UNKNOWN),
    ],
)
def test_the_table(product: Product, effect: Effect, spot: Outcome, usdm: Outcome) -> None:
    router = respx.Router()
    route = router.route(url__startswith=f"{ORIGIN}{PATHS[product]}")
    if isinstance(effect, httpx.Response):
        route.return_value = effect
    else:
        route.side_effect = effect
    sent: list[Sent[object]] = []

    async def work(http: HttpTransport, under: BinanceCodec) -> None:
        for request in changes_of(product, under):
            sent.append(await http.send(request))

    records = with_venue(product, router, work)
    expected = spot if product is SPOT else usdm
    assert [each.outcome for each in sent] == [expected] * len(sent)
    assert route.call_count == len(sent), "something was sent twice"
    assert [record.outcome for record in records if record.kind != "request"] == [expected] * len(sent)


@pytest.mark.parametrize("product", [SPOT, USDM])
def test_what_httpx_is_given_is_what_was_signed(product: Product) -> None:
    router = respx.Router()
    router.post(f"{ORIGIN}{PATHS[product]}").respond(json=order_body())
    router.delete(url__startswith=f"{ORIGIN}{PATHS[product]}").respond(json=order_body())

    async def work(http: HttpTransport, under: BinanceCodec) -> None:
        assert (await http.send(under.place(submit(product), NOW))).outcome is YES
        assert (await http.send(under.cancel(ORDER_ID, IDS[product]))).outcome is YES

    with_venue(product, router, work)
    placed, canceled = (call.request for call in router.calls)
    for request, text, name in (
        (placed, placed.content.decode(), "newClientOrderId"),
        (canceled, (canceled.url.query or canceled.content).decode(), "origClientOrderId"),
    ):
        signed, _, given = text.partition("&signature=")
        assert signature(signed) == given
        assert dict(parse_qsl(signed))[name] == WIRE_ID
        assert request.headers["x-mbx-apikey"] == KEY


def test_a_ban_lets_nothing_out_and_a_throttle_lets_cancels_out() -> None:
    ban, throttle = respx.Router(), respx.Router()
    ban.route().respond(418, json={"code": -1003, "msg": "banned"}, headers={"Retry-After": "120"})
    throttle.post().respond(429, json={"code": -1003, "msg": "slower"}, headers={"Retry-After": "100"})
    throttle.delete().respond(json=order_body())
    seen: list[list[Outcome]] = []

    async def work(http: HttpTransport, under: BinanceCodec) -> None:
        place, cancel = under.place(submit(USDM), NOW), under.cancel(ORDER_ID, IDS[USDM])
        seen.append([(await http.send(msgspec.structs.replace(each, deadline_s=0.2))).outcome for each in (place, place, cancel)])

    with_venue(USDM, ban, work)
    with_venue(USDM, throttle, work)
    assert seen == [[NO, NOT_SENT, NOT_SENT], [NO, NOT_SENT, YES]]
    assert (ban.calls.call_count, throttle.calls.call_count) == (1, 2)


def test_a_question_is_asked_again_and_an_unknown_order_is_one_fact() -> None:
    router = respx.Router()
    effects = [httpx.ReadTimeout("late"), httpx.Response(503), error(400, -2013, "Order does not exist.")]
    router.get(url__startswith=f"{ORIGIN}{PATHS[USDM]}").mock(side_effect=effects)

    async def work(http: HttpTransport, under: BinanceCodec) -> None:
        sent = await http.send(under.query_order(ORDER_ID, IDS[USDM]))
        assert (sent.outcome, sent.code, sent.attempts) == (NO, -2013, 3)

    with_venue(USDM, router, work)
