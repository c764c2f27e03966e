"""The HTTP transport with Binance's budgets and clock, and requests sent side by side. Touches the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import msgspec

from adapters.binance.account import Account
from adapters.binance.codec import BinanceCodec
from adapters.binance.instrument_rules import meters_of
from adapters.binance.outcomes import BAD_KEY_CODES, read_signals
from adapters.binance.rest_bodies import ExchangeInfo
from adapters.http.clock_offset import ClockOffset
from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.meters import Meter, SlidingWindow
from adapters.http.record import HttpRecord, unrecorded
from adapters.http.request import Outcome, Request, Sent, T
from core.errors import RefusedError, TransportError
from core.units import NS_PER_MS, NS_PER_SECOND
from core.venue_opening import RECEIVED, SENT, no_frame

CLOCK_READS = 3


def now_ns() -> int:
    """Monotonic, of the event loop."""
    return int(anyio.current_time() * NS_PER_SECOND)


def budgets_of(account: Account, share_percent: int, info: ExchangeInfo | None = None) -> Mapping[str, SlidingWindow]:
    """`info`: the venue's own word on its budgets, where it was asked already."""
    limits = [] if info is None else info.rate_limits
    reserve_percent = account.settings.cancel_reserve_percent
    return meters_of(account.product, limits, share_percent=share_percent, cancel_reserve_percent=reserve_percent)


def transport_of(account: Account, clock: ClockOffset, meters: Mapping[str, Meter]) -> HttpTransport:

    def keep(record: HttpRecord) -> None:
        account.on_frame(record.ts, SENT if record.kind == "request" else RECEIVED, msgspec.json.encode(record))

    return HttpTransport(
        account.venue,
        HttpSettings(connect_timeout_s=account.settings.connect_timeout_s),
        read_signals=read_signals,
        meters=meters,
        venue_clock=clock,
        redactor=account.redactor,
        monotonic_ns=now_ns,
        wall_ns=account.now,
        record=unrecorded if account.on_frame is no_frame else keep,
        on_ban=account.on_trouble,
    )


async def send_all(http: HttpTransport, requests: Sequence[Request[Any]]) -> list[Sent[Any]]:
    """All at once; what became of each, in their order."""
    answers: dict[int, Sent[Any]] = {}

    async def send(place: int, request: Request[Any]) -> None:
        answers[place] = await http.send(request)

    async with anyio.create_task_group() as tasks:
        for place, request in enumerate(requests):
            tasks.start_soon(send, place, request)
    return [answers[place] for place in range(len(requests))]


async def read_clock(http: HttpTransport, codec: BinanceCodec, clock: ClockOffset, reads: int = CLOCK_READS) -> None:
    """Ask the venue for its time, a few times: the quickest answer counts. Raises TransportError where none came."""
    answers = 0
    for _ in range(reads):
        sent = await http.send(codec.server_time())
        if sent.value is not None:
            clock.observe(sent.sent_ns, sent.value.server_time * NS_PER_MS, sent.answered_ns)
            answers += 1
    if not answers:
        raise TransportError(f"the venue's clock cannot be read: {sent.reason}")


async def value_of(http: HttpTransport, request: Request[T], what: str) -> T:
    """Raises RefusedError where the key is not taken, TransportError where there is no answer to use."""
    sent = await http.send(request)
    if sent.value is not None:
        return sent.value
    kind = RefusedError if sent.outcome is Outcome.REJECTED_PROVEN and sent.code in BAD_KEY_CODES else TransportError
    raise kind(f"{what}: {sent.reason}")
