"""The wire: every message there and back, in any pieces; and whatever else comes, nothing but VenueProtocolError."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sim import wire
from adapters.sim.wire import Frames, decode_answer, decode_request, encode
from core.commands import CancelOrder
from core.enums import CashKind, LiquiditySide, Side
from core.errors import VenueProtocolError
from core.events import Book, CashMoved, OrderFilled, Quote
from core.venue_adapter import VenueOrder, VenueState
from tests.adapters.sim.records import answers, requests


def payload(message: Any) -> bytes:
    return encode(message)[wire.LENGTH.size :]


@given(requests)
def test_a_request_comes_back_as_it_was(message: wire.Request) -> None:
    assert decode_request(payload(message)) == message


@given(answers)
def test_an_answer_comes_back_as_it_was(message: wire.Answer) -> None:
    assert decode_answer(payload(message)) == message


@given(st.lists(answers, min_size=1, max_size=5), st.data())
def test_a_stream_cut_anywhere_gives_the_same_messages(messages: list[wire.Answer], data: st.DataObject) -> None:
    stream = b"".join(encode(message) for message in messages)
    frames, found = Frames(wire.ANSWER_BYTES_MAX), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += frames.receive(stream[:cut])
        stream = stream[cut:]
    assert [decode_answer(each) for each in found] == messages


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_the_other_sides_fault(data: bytes) -> None:
    for decode in (decode_request, decode_answer):
        with contextlib.suppress(VenueProtocolError):
            decode(data)
    with contextlib.suppress(VenueProtocolError):
        Frames(1_000).receive(data)


@settings(max_examples=500)
@given(st.one_of(answers, requests), st.data())
def test_a_message_with_bytes_changed_is_a_message_or_the_other_sides_fault(message: Any, data: st.DataObject) -> None:
    changed = bytearray(payload(message))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        match data.draw(st.sampled_from(("change", "insert", "remove"))):
            case "change":
                changed[place] = data.draw(st.integers(0, 255))
            case "insert":
                changed.insert(place, data.draw(st.integers(0, 255)))
            case _:
                if len(changed) > 1:
                    del changed[place]
    for decode in (decode_request, decode_answer):
        with contextlib.suppress(VenueProtocolError):
            # What is taken all the same is a message: it can be said again, and means the same.
            found = decode(bytes(changed))
            assert decode(payload(found)) == found


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=300)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)
TAGS = ["login", "command", "query", "dead_man", "logged_in", "order_events", "market", "state", "done", "logout", "heartbeat"]


@settings(max_examples=500)
@given(st.sampled_from(TAGS), st.lists(anything, max_size=6))
def test_a_message_of_anything_at_all_is_a_message_or_the_other_sides_fault(tag: str, fields: list[Any]) -> None:
    data = msgspec.msgpack.encode([tag, *fields])
    for decode in (decode_request, decode_answer):
        with contextlib.suppress(VenueProtocolError):
            decode(data)


FILL = OrderFilled(1, 1, 5, "ACME.SIM", "1-1", Side.BUY, 100, 10, 0, LiquiditySide.MAKER, 0, "USD")
MOVED = CashMoved(1, 1, "SIM", "M1", CashKind.FUNDING, "USD", -5)


@pytest.mark.parametrize(
    "message",
    [
        wire.DeadMan(1, wire.DEAD_MAN_MS_MAX + 1),
        wire.DeadMan(1, -1),
        wire.Query(1, 1 << 63),
        wire.SendCommand(CancelOrder(1 << 63, 1)),
        wire.Login(1, "main\n", "", "trade"),
        wire.Login(1, "m" * (wire.TEXT_CHARACTERS_MAX + 1), "", "trade"),
    ],
)
def test_requests_that_cannot_be(message: wire.Request) -> None:
    with pytest.raises(VenueProtocolError):
        decode_request(payload(message))


@pytest.mark.parametrize(
    "message",
    [
        wire.OrderEvents(1, (msgspec.structs.replace(FILL, qty=0),)),
        wire.OrderEvents(1, (msgspec.structs.replace(FILL, leaves_qty=-1),)),
        wire.OrderEvents(1, (msgspec.structs.replace(FILL, client_order_id=0),)),
        wire.OrderEvents(1, (msgspec.structs.replace(FILL, ts_event=-1),)),
        wire.OrderEvents(1, (msgspec.structs.replace(FILL, price=1 << 63),)),
        wire.OrderEvents(1, (FILL,) * (wire.EVENTS_PER_MESSAGE_MAX + 1)),
        wire.CashEvents(1, (msgspec.structs.replace(MOVED, movement_id=""),)),
        wire.CashEvents(1, (msgspec.structs.replace(MOVED, amount=1 << 63),)),
        wire.LoggedIn(0, 0, VenueState((), (), {}, cash_moves=(msgspec.structs.replace(MOVED, venue=""),))),
        wire.MarketEvents(1, (Quote(1, 1, "ACME.SIM", 1, -1, 2, 1),)),
        wire.MarketEvents(1, (Book(1, 1, "ACME.SIM", ((5, 1), (6, 1)), ()),)),
        wire.MarketEvents(1, (Book(1, 1, "ACME.SIM", ((5, 1), (5, 1)), ()),)),
        wire.MarketEvents(1, (Book(1, 1, "ACME.SIM", (), ((5, 0),)),)),
        wire.MarketEvents(1, (Book(1, 1, "ACME.SIM", (), tuple((price, 1) for price in range(11))),)),
        wire.LoggedIn(0, 0, VenueState((VenueOrder(1, "ACME.SIM", Side.BUY, 5, 0),), (), {})),
        wire.LoggedIn(0, 0, VenueState((), (), {"ACME.SIM": 1 << 63})),
    ],
)
def test_answers_that_cannot_be(message: wire.Answer) -> None:
    with pytest.raises(VenueProtocolError):
        decode_answer(payload(message))


@pytest.mark.parametrize("length", [0, 101, (1 << 32) - 1])
def test_a_length_that_cannot_be_is_found_before_its_bytes_are_waited_for(length: int) -> None:
    with pytest.raises(VenueProtocolError):
        Frames(100).receive(wire.LENGTH.pack(length))
