"""A small venue of our own for transport tests: one order request, one query, and a classifier that reads JSON strictly."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import msgspec

from adapters.http.io import HttpSettings, HttpTransport, untold
from adapters.http.meters import Meter
from adapters.http.record import HttpRecord, Redactor
from adapters.http.request import Answer, Intent, Outcome, Request, Signals, Throttle, Verdict, Wire
from adapters.http.strict_http1 import StrictHttp1
from adapters.http.strict_json import decode
from core.units import NS_PER_SECOND

SECRET = "a-very-secret-key"


class Ack(msgspec.Struct, frozen=True):
    id: str


_DECODER = msgspec.json.Decoder(Ack)


def judge(answer: Answer) -> Verdict[Ack]:
    if answer.status == 200:
        return Verdict(Outcome.ACCEPTED, value=decode(answer.body, _DECODER, bytes_max=1 << 16))
    if 400 <= answer.status < 500 and answer.status != 408:
        return Verdict(Outcome.REJECTED_PROVEN, f"status {answer.status}")
    return Verdict(Outcome.UNKNOWN, f"status {answer.status}")


def read_signals(answer: Answer) -> Signals:
    used = answer.headers.get("x-used")
    after = answer.headers.get("retry-after")
    throttle = None
    if answer.status in (418, 429):
        throttle = Throttle(
            is_ban=answer.status == 418, retry_after_ns=int(float(after) * NS_PER_SECOND) if after is not None else None
        )
    return Signals((("weight", int(used)),) if used else (), throttle)


def request(
    origin: str,
    *,
    intent: Intent = Intent.PLACE,
    deadline_s: float = 20.0,
    cost: int = 1,
    body: bytes = b"side=BUY&signature=abcdef0123456789",
    answer_bytes_max: int = 1 << 16,
    target: str = "/order",
) -> Request[Ack]:
    method = {Intent.QUERY: "GET", Intent.CANCEL: "DELETE"}.get(intent, "POST")
    content = b"" if method == "GET" else body

    def build(_venue_ns: int) -> Wire:
        return Wire(method, origin, target, (("X-MBX-APIKEY", SECRET),), content)

    return Request(
        name=f"test.{intent.name.lower()}",
        intent=intent,
        build=build,
        judge=judge,
        costs=(("weight", cost),) if cost else (),
        deadline_s=deadline_s,
        answer_bytes_max=answer_bytes_max,
    )


class Veiled(httpx.AsyncBaseTransport):
    """Our wire as HttpTransport would see any other: by httpx's requests and responses."""

    def __init__(self) -> None:
        self._wire = StrictHttp1()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._wire.handle_async_request(request)

    async def aclose(self) -> None:
        await self._wire.aclose()


def transport(
    *,
    settings: HttpSettings | None = None,
    meters: dict[str, Meter] | None = None,
    record: Callable[[HttpRecord], None] = lambda record: None,
    wire: httpx.AsyncBaseTransport | None = None,
    on_ban: Callable[[str], None] = untold,
) -> HttpTransport:
    return HttpTransport(
        "TEST",
        settings or HttpSettings(),
        read_signals=read_signals,
        meters=meters or {},
        record=record,
        redactor=Redactor([SECRET]),
        wire=wire,
        on_ban=on_ban,
    )
