"""Frames and bodies that somebody has damaged: nothing but the venue-protocol error, a million of each in the slow suite."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import pytest

from adapters.alpaca import market_wire, wire
from adapters.alpaca.desk import OrderDesk
from adapters.alpaca.fees import Fees
from adapters.alpaca.hours import Hours
from adapters.alpaca.market import MarketSession
from adapters.alpaca.money import Moves
from adapters.alpaca.orders import Orders
from adapters.alpaca.questions import Questions
from adapters.alpaca.settings import AlpacaSettings
from adapters.alpaca.wire import read, read_frame
from core.commands import SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.errors import RefusedError, TransportError, VenueProtocolError
from core.strategy import Subscription
from sim.venues.alpaca.settings import listing_rules
from sim.venues.alpaca.streams import stamp_ext
from tests.adapters.alpaca.plain_codec import codec_of
from tests.adapters.alpaca.world import DEFAULTS

COUNTS = pytest.mark.parametrize("frames_count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
SETTINGS = msgspec.convert(DEFAULTS, AlpacaSettings)
ORDER = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "client_order_id": "t-1-1",
    "status": "partially_filled",
    "symbol": "AAPL",
    "side": "buy",
    "type": "limit",
    "time_in_force": "day",
    "qty": "10",
    "filled_qty": "4",
    "limit_price": "161.29",
    "stop_price": None,
    "submitted_at": "2026-11-20T15:00:00.123456789Z",
    "replaced_by": None,
    "replaces": None,
    "extended_hours": False,
}
UPDATE = {
    "stream": "trade_updates",
    "data": {
        "event": "partial_fill",
        "timestamp": "2026-11-20T15:00:01.5Z",
        "price": "161.29",
        "qty": "4",
        "position_qty": "4",
        "execution_id": "2f63ea93-423d-4169-b3f6-3fdafc10c418",
        "order": ORDER,
    },
}
ACTIVITY = {
    "id": "20261120100001500::2f63ea93-423d-4169-b3f6-3fdafc10c418",
    "activity_type": "FILL",
    "order_id": ORDER["id"],
    "symbol": "AAPL",
    "side": "buy",
    "price": "161.29",
    "qty": "4",
    "cum_qty": "4",
    "leaves_qty": "6",
    "transaction_time": "2026-11-20T15:00:01.5Z",
    "type": "partial_fill",
}
MOVEMENT = {
    "id": "20261120000000000::5f596936-6f23-4cef-bdf1-3806aae57dbf",
    "activity_type": "DIV",
    "activity_sub_type": "CDIV",
    "date": "2026-11-20",
    "created_at": "2026-11-21T00:17:05.448916Z",
    "net_amount": "-1.02",
    "currency": "USD",
    "symbol": "AAPL",
    "qty": "2",
    "per_share_amount": "0.51",
    "status": "canceled",
}
DAY = {"date": "2026-11-20", "open": "09:30", "close": "16:00", "session_open": "0400", "session_close": "2000"}
AT = stamp_ext(1_795_192_168_486_099_638)
MARKET = [
    {"T": "q", "S": "AAPL", "bx": "V", "bp": 161.28, "bs": 3, "ax": "V", "ap": 161.29, "as": 2, "c": ["R"], "z": "C", "t": AT},
    {"T": "t", "S": "AAPL", "i": 52983525029461, "x": "D", "p": 161.2958, "s": 100, "c": ["@"], "z": "C", "t": AT},
    {"T": "b", "S": "AAPL", "o": 161.1, "h": 161.9, "l": 161.0, "c": 161.5, "v": 1000, "n": 10, "vw": 161.4, "t": AT},
    {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rc": "T1", "rm": "News", "t": AT, "z": "C"},
    {"T": "l", "S": "AAPL", "u": 170.1, "d": 150.2, "i": "B", "t": AT, "z": "C"},
]
TOKENS = [
    *(b"null", b"NaN", b"Infinity", b"1e999", b"-1", b"0", b"9007199254740993", b"18446744073709551616"),
    *(b'"', b"{", b"}", b"[", b"]", b'"qty":"1",', b"[" * 64, b'"2026-13-01T00:00:00Z"', b"\\ud800"),
    *(b"\xff", b"\xc1", b"\xd7\xff", b"\xc7\x0c\xff", b"\x00"),
]


def damaged(source: random.Random, whole: bytes) -> bytes:
    made = bytearray(whole)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(made) + 1)
        match source.randrange(6):
            case 0 if made:
                made[at % len(made)] = source.randrange(256)
            case 1:
                made[at:at] = source.choice(TOKENS)
            case 2:
                del made[at : at + source.randint(1, 12)]
            case 3:
                made[at : at + source.randint(1, 8)] = source.choice(TOKENS)
            case 4:
                made = made[:at]
            case _:
                begin = source.randrange(len(made) + 1)
                made[at:at] = made[begin : begin + source.randint(1, 40)]
    return bytes(made)


def check(seed: int, frames_count: int, frames: list[bytes], use: Callable[[bytes], Any]) -> None:
    source = random.Random(seed)
    for number in range(frames_count):
        frame = damaged(source, source.choice(frames))
        try:
            use(frame)
        except (VenueProtocolError, TransportError, RefusedError):
            continue
        except BaseException as error:
            raise AssertionError(f"frame {number} of seed {seed}: {frame!r}") from error


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


BODIES: list[tuple[Any, Any]] = [
    (ORDER, wire.ORDER),
    ([ORDER, ORDER], wire.ORDERS),
    ([ACTIVITY], wire.ACTIVITIES),
    ([DAY], wire.CALENDAR),
    ([{"symbol": "AAPL", "qty": "-5", "side": "short"}], wire.POSITIONS),
    ({"code": 40310000, "message": "insufficient buying power"}, wire.ERROR),
    ([{"id": ORDER["id"], "status": 200}], wire.CANCELED),
]


@COUNTS
@pytest.mark.parametrize("number", range(len(BODIES)))
def test_bodies(number: int, frames_count: int) -> None:
    body, decoder = BODIES[number]
    check(number, frames_count, [encoded(body)], lambda frame: read(frame, decoder))


@COUNTS
def test_trade_updates_down_to_events(frames_count: int) -> None:
    codec = codec_of(SETTINGS)
    orders = Orders(codec, Fees(SETTINGS))
    desk = OrderDesk(codec, orders, Questions(1, 2), replaces=True, fills_late_ns=1)
    numbers = count(2)

    def use(frame: bytes) -> None:
        message = read_frame(frame)
        if isinstance(message, wire.TradeUpdate):
            if orders.get((1 << 32) + 1) is None or not orders.open():
                number = next(numbers)
                desk.send(
                    SubmitOrder(1, number, "s", "AAPL.ALPACA", Side.BUY, OrderType.LIMIT, 10, 1_612_900, None, TimeInForce.DAY), 1
                )
            desk.heard(message, 1, 1)
            desk.due(10**15, 10)

    others = [{"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}]
    others.append({"stream": "listening", "data": {"streams": ["trade_updates"]}})
    check(100, frames_count, [encoded(UPDATE), encoded(UPDATE), *map(encoded, others)], use)


@COUNTS
def test_market_data_down_to_events(frames_count: int) -> None:
    session = MarketSession(
        SETTINGS,
        key="PKABCDEF",
        secret="secret",
        instruments={"AAPL.ALPACA": listing_rules("AAPL")},
        symbols={"AAPL.ALPACA": "AAPL"},
        subscriptions=[Subscription(instrument_id="AAPL.ALPACA", quotes="packet", trades=True, bars_ns=60 * 10**9)],
        hours=Hours(is_extended=False),
    )
    encoder = msgspec.msgpack.Encoder()
    frames = [encoder.encode(MARKET), *(encoder.encode([message]) for message in MARKET)]
    frames.append(encoder.encode([{"T": "success", "msg": "connected"}]))
    frames.append(encoder.encode([{"T": "error", "code": 406, "msg": "connection limit exceeded"}]))

    def use(frame: bytes) -> None:
        session.connected()
        session.receive(1, frame)

    check(200, frames_count, frames, use)


@COUNTS
def test_movements_down_to_events(frames_count: int) -> None:
    moves = Moves("ALPACA", {"AAPL": "AAPL.ALPACA"}, begun_ts=0, are_estimated=True)

    def use(frame: bytes) -> None:
        page = wire.read_movements(frame)
        moves.hear(1, page.found)
        for text in page.unread:
            moves.unread(text)
        moves.take_new()
        moves.troubles.clear()

    check(9, frames_count, [encoded([MOVEMENT, MOVEMENT | {"activity_type": "SPLIT", "net_amount": "0"}])], use)


def test_market_frames_with_kinds_that_nobody_knows() -> None:
    frame = msgspec.msgpack.encode([*MARKET, {"T": "zz", "S": 5}])
    messages, unknown = market_wire.read_frame(frame)
    assert (len(messages), unknown) == (5, 1)
    with pytest.raises(VenueProtocolError):
        market_wire.read_frame("text")
