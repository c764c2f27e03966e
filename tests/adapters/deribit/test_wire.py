"""Deribit's decoders: documented frames whole, numbers to the last digit, everything malformed refused by name."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from adapters.deribit import wire
from adapters.deribit.book import DeribitBook
from adapters.deribit.exact import exact, rounded_money
from adapters.deribit.instruments import VenueInstrument, read_instrument
from adapters.deribit.log_rows import meaning_of
from adapters.deribit.outcomes import REJECTED, UNPROVEN, outcome_of_error, reason_of_error
from adapters.http.request import Outcome
from core.enums import Reason
from core.errors import VenueProtocolError
from tests.adapters.deribit.frames import (
    BOOK_CHANGE,
    BOOK_SNAPSHOT,
    CHANGES,
    FRAMES,
    INSTRUMENT,
    ORDER,
    TRADE,
    answered,
    notified,
)

RESULTS: tuple[Any, ...] = (
    wire.LogResult,
    wire.AuthResult,
    wire.OrderResult,
    wire.Order,
    list[wire.Order],
    list[wire.UserTrade],
    wire.TradesResult,
    list[wire.Position],
    wire.InstrumentResult,
    list[wire.InstrumentResult],
    wire.OrderBookResult,
    list[str],
    wire.Count,
)


def kind_of(name: str) -> str:
    return type(wire.decode(FRAMES[name])).__name__


def test_every_frame_is_what_it_is() -> None:
    assert {name: kind_of(name) for name in FRAMES} == {
        "book snapshot": "Book",
        "book change": "Book",
        "quote": "Quote",
        "trades": "PublicTrades",
        "user.changes": "UserChanges",
        "user.orders": "UserOrders",
        "user.orders aggregated": "UserOrders",
        "user.trades": "UserTrades",
        "user.portfolio": "Portfolio",
        "platform locked": "PlatformState",
        "platform maintenance": "PlatformState",
        "instrument.state": "InstrumentState",
        "heartbeat": "Heartbeat",
        "test_request": "Heartbeat",
        "refusal": "Refusal",
        **dict.fromkeys(
            [
                "order",
                "stop",
                "orders",
                "trades page",
                "transaction log",
                "positions",
                "instrument",
                "instruments",
                "auth",
                "count",
                "ok",
                "channels",
            ],
            "Answer",
        ),
    }


def test_an_order_is_read_whole() -> None:
    answer = wire.decode(FRAMES["order"])
    assert isinstance(answer, wire.Answer)
    assert (answer.id, answer.us_in, answer.us_out, answer.testnet) == (3, 1767978363485278, 1767978363495053, False)
    result = wire.decode_result(wire.OrderResult, answer.result)
    order = result.order
    assert isinstance(order.price, Raw)
    assert isinstance(order.amount, Raw)
    assert (order.order_id, order.label, order.order_state) == ("USDC-104819327443", "t-1-7", "open")
    assert (exact(order.price, 2), exact(order.amount, 3)) == (297355, 10)
    assert (order.post_only, order.reduce_only, order.time_in_force) == (True, False, "good_til_cancelled")
    assert result.trades == []


# Numbers.


@pytest.mark.parametrize(
    ("text", "scale", "value"),
    [
        ("9007199254740993", 0, 2**53 + 1),
        ("9007199254740993.5", 1, 90071992547409935),
        ("0.1", 1, 1),
        ("0.1", 18, 10**17),
        ("0.30000000000000004", 17, 30000000000000004),
        ("1.1403e-4", 8, 11403),
        ("-2.1e-7", 8, -21),
        ("100000000.123456789", 9, 100000000123456789),
        ("10.0", 0, 10),
        ("1E2", 0, 100),
    ],
)
def test_a_number_is_exactly_its_text(text: str, scale: int, value: int) -> None:
    assert exact(Raw(text.encode()), scale) == value


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "1e999", '"5"', "null", "0.12", "[1]", "9223372036854775808", "", "1_0", "٣"]
)
def test_what_is_no_number_of_this_scale_is_refused(text: str) -> None:
    with pytest.raises(VenueProtocolError):
        exact(Raw(text.encode()), 1)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(9 * 10**10), max_value=9 * 10**10, places=8))
def test_numbers_equal_the_decimal_they_are(value: Decimal) -> None:
    assert exact(Raw(str(value).encode()), 8) == int(value.scaleb(8))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**8), max_value=10**8, places=15))
def test_a_fee_finer_than_money_is_rounded_half_even(value: Decimal) -> None:
    with_context = value.scaleb(8).to_integral_value(rounding="ROUND_HALF_EVEN")
    assert rounded_money(Raw(str(value).encode()), 8) == int(with_context)


# Strictness.


def spoiled(payload: bytes) -> str:
    message = wire.decode(payload)
    assert isinstance(message, wire.Spoiled), message
    return message.channel or f"id {message.id}"


@pytest.mark.parametrize(
    ("payload", "whose"),
    [
        (answered('{"order":1,"order":2}'), "id 3"),
        (answered("1").replace(b'"usDiff"', b'"error":{"code":1,"message":"x"},"usDiff"'), "id 3"),
        (b'{"jsonrpc":"2.0","id":4}', "id 4"),
        (b'{"jsonrpc":"2.0","id":4,"error":{"code":"x","message":"y"}}', "id 4"),
        (b'{"jsonrpc":"2.0","id":4,"error":{"code":1.5,"message":"y"}}', "id 4"),
        (BOOK_CHANGE.replace(b'"change_id"', b'"change_id":1,"change_id"'), "book.BTC-PERPETUAL.raw"),
        (BOOK_CHANGE.replace(b"42502.0", b"NaN"), "book.BTC-PERPETUAL.raw"),
        (BOOK_CHANGE.replace(b"123456790", b"99999999999999999999"), "book.BTC-PERPETUAL.raw"),
        (BOOK_CHANGE.replace(b"123456790", b"-1"), "book.BTC-PERPETUAL.raw"),
        (BOOK_CHANGE.replace(b'"new"', b'"moved"'), "book.BTC-PERPETUAL.raw"),
        (BOOK_CHANGE.replace(b'"prev_change_id":123456789,', b""), "book.BTC-PERPETUAL.raw"),
        (BOOK_CHANGE.replace(b"book.BTC-PERPETUAL", b"book.ETH-PERPETUAL"), "book.ETH-PERPETUAL.raw"),
        (CHANGES.replace(b'"direction":"sell"', b'"direction":"up"'), "user.changes.any.any.raw"),
        (CHANGES.replace(b'"order_id":"SLTS-370"', b'"order_id":7'), "user.changes.any.any.raw"),
        (notified("user.trades.any.any.raw", f"[{TRADE[:-1]},{TRADE[1:]}]"), "user.trades.any.any.raw"),
    ],
)
def test_what_breaks_inside_says_whose_it_was(payload: bytes, whose: str) -> None:
    assert spoiled(payload) == whose


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"jsonrpc":"1.0","id":1,"result":1}',
        b'{"jsonrpc":"2.0","id":1,"result":NaN}',
        b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"jsonrpc":"2.0","method":"subscription"}',
        b'{"jsonrpc":"2.0","method":"subscription","id":1,"params":{"channel":"x","data":1}}',
        b'{"jsonrpc":"2.0","method":"goodbye","params":{}}',
        b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"murmur"}}',
        b'{"jsonrpc":"2.0","id":1.5,"result":1}',
        b'{"jsonrpc":"2.0","id":1,"result":1}{"jsonrpc":"2.0","id":1,"result":1}',
        BOOK_SNAPSHOT[:-1].replace(b"book.", b"user."),
        b"\xff\xfe",
    ],
)
def test_what_is_no_frame_is_refused(payload: bytes) -> None:
    with pytest.raises(VenueProtocolError):
        wire.decode(payload)


def test_a_giant_frame_is_refused_before_it_is_read() -> None:
    with pytest.raises(VenueProtocolError, match="above the limit"):
        wire.decode(b" " * (wire.PAYLOAD_BYTES_MAX + 1))


def test_a_market_frame_that_is_no_json_is_the_markets_alone() -> None:
    assert spoiled(BOOK_SNAPSHOT[:-1]) == "book.BTC-PERPETUAL.raw"


def test_deep_nesting_in_a_field_nobody_reads_is_refused() -> None:
    deep = "[" * 50_000 + "]" * 50_000
    with pytest.raises(VenueProtocolError):
        wire.decode(answered(f'{{"order":{ORDER},"trades":[],"more":{deep}}}'))


# Outcomes.


def test_the_two_tables_of_codes_do_not_overlap() -> None:
    assert set(REJECTED) & set(UNPROVEN) == set()


def test_an_unknown_code_proves_nothing() -> None:
    assert {outcome_of_error(code) for code in UNPROVEN} == {Outcome.UNKNOWN}
    assert {outcome_of_error(code) for code in REJECTED} == {Outcome.REJECTED_PROVEN}
    assert outcome_of_error(19_999) is Outcome.UNKNOWN
    assert (reason_of_error(11054), reason_of_error(10009), reason_of_error(19_999)) == (
        Reason.POST_ONLY,
        Reason.FULL,
        Reason.NONE,
    )


# Mutations.


def mutated(draw: random.Random, frame: bytes) -> bytes:
    """One to four small damages: a byte, a cut, a repeat, a swapped token."""
    data = bytearray(frame)
    for _ in range(draw.randrange(1, 5)):
        kind, at = draw.randrange(7), draw.randrange(len(data) + 1)
        if kind == 0 and at < len(data):
            data[at] = draw.randrange(256)
        elif kind == 1:
            del data[at : at + draw.randrange(1, 12)]
        elif kind == 2:
            data[at:at] = data[at : at + draw.randrange(1, 30)]
        elif kind == 3:
            tokens = (
                b"null",
                b"NaN",
                b"1e999",
                b"-1",
                b"9007199254740993",
                b'""',
                b"[]",
                b"{}",
                b"0.1e-30",
                b"true",
                b'"x"',
                b",",
            )
            data[at : at + draw.randrange(6)] = draw.choice(tokens)
        elif kind == 4:
            data[at:at] = bytes(draw.randrange(32, 127) for _ in range(draw.randrange(1, 4)))
        elif kind == 5:
            digits = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
            if digits:
                data[draw.choice(digits)] = draw.choice(b"0123456789.eE-")
        else:
            data[at:at] = bytes(data[: draw.randrange(1, 40)])
        if not data:
            data = bytearray(frame)
    return bytes(data)


def _known() -> dict[str, VenueInstrument]:
    venue = read_instrument(wire.decode_result(wire.InstrumentResult, Raw(INSTRUMENT.encode())))
    assert venue is not None
    return {venue.name: venue}


KNOWN = _known()


def read_everything(payload: bytes, book: DeribitBook) -> None:
    """Every decoder that this frame could reach."""
    message = wire.decode(payload)
    if isinstance(message, wire.Book):
        book.receive(message)
    elif isinstance(message, wire.Answer):
        for kind in RESULTS:
            try:
                found = wire.decode_result(kind, message.result)
            except VenueProtocolError:
                continue
            if isinstance(found, wire.InstrumentResult):
                read_instrument(found)
            elif isinstance(found, wire.LogResult):
                for row in found.logs:
                    meaning_of(0, row, KNOWN)


def fuzz(count: int, seed: int) -> int:
    draw = random.Random(seed)
    frames = list(FRAMES.values())
    venue = read_instrument(wire.decode_result(wire.InstrumentResult, Raw(INSTRUMENT.encode())))
    assert venue is not None
    book = DeribitBook(venue)
    refused = 0
    for number in range(count):
        payload = mutated(draw, frames[number % len(frames)])
        try:
            read_everything(payload, book)
        except VenueProtocolError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"frame {number} of seed {seed}: {payload!r}") from error
    return refused


def test_mutated_frames_raise_nothing_but_the_protocol_error() -> None:
    assert fuzz(100_000, seed=1) > 20_000


@pytest.mark.slow
def test_a_million_mutated_frames_raise_nothing_but_the_protocol_error() -> None:
    assert fuzz(1_000_000, seed=2) > 200_000


def test_the_documented_frames_are_strict_json() -> None:
    for frame in FRAMES.values():
        json.loads(frame)
