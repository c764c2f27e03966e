"""The wire: what is no message is VenueProtocolError and nothing else; what goes out is exact."""

from __future__ import annotations

import random
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ib.contracts import Listed, wanted_contract
from adapters.ib.messages import Error, ServerVersion
from adapters.ib.numbers import money_of, price_of, price_on_tick, qty_of, text_of
from adapters.ib.requests import order_of
from adapters.ib.settings import IbSettings
from adapters.ib.wire import FRAME_BYTES_MAX, LENGTH, Wire
from core.errors import ConfigError, RefusedError, TransportError, UnitError, VenueProtocolError
from core.units import format_fixed
from daemon.trading.venue_opening import venue_defaults
from sim.venues.ib.opening import INSTRUMENTS, open_venue
from tests.adapters.ib.bench import ES, Bench, buy, in_a_loop, sell
from tests.daemon.trading.test_router import approve

SEED = 7


def frame(payload: bytes) -> bytes:
    return LENGTH.pack(len(payload)) + payload


def greeted(version: int = 176) -> Wire:
    wire = Wire(11, "America/New_York")
    assert wire.receive(frame(b"%d\x0020261120 10:00:00 EST\0" % version)) == [ServerVersion(version, "20261120 10:00:00 EST")]
    return wire


@pytest.fixture(scope="module")
def payloads() -> list[bytes]:
    """Every kind of message that the simulated gateway says to this adapter, without its length."""
    kept: list[bytes] = []

    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.adapter.send(approve(buy(1, 680_025, qty=4)))
            bench.adapter.send(approve(sell(2)))
            bench.adapter.send(approve(buy(3, 680_010)))
            await bench.until(lambda: len(bench.sink.events) > 6)
            bench.act("halt", listing=ES)
            await bench.adapter.query(0)
        data = b"".join(data for what, data in bench.frames if what == "received")
        while data:
            (length,) = LENGTH.unpack_from(data)
            kept.append(data[4 : 4 + length])
            data = data[4 + length :]

    in_a_loop(test, version_max=176)
    return kept[1:]  # the first one is the greeting


def mutate(chance: random.Random, payload: bytes) -> bytes:
    fields = payload.split(b"\0")
    for _ in range(1 + chance.randrange(3)):
        at = chance.randrange(len(fields))
        match chance.randrange(7):
            case 0:
                fields[at] = chance.choice((b"", b"nan", b"inf", b"-1", b"1e999", b"9" * 30, b"x", b"\xff\xfe", b"1_0", b"0x1"))
            case 1 if len(fields) > 1:
                del fields[at]
            case 2:
                fields.insert(at, fields[chance.randrange(len(fields))])
            case 3:
                fields[at] = bytes(chance.randrange(256) for _ in range(chance.randrange(6)))
            case 4:
                fields[at] = chance.choice(fields)
            case 5:
                fields = fields[:at] or [b""]
            case _:
                text = bytearray(fields[at] or b"0")
                text[chance.randrange(len(text))] = chance.randrange(256)
                fields[at] = bytes(text)
    return b"\0".join(fields)


def throw(payloads: list[bytes], count: int) -> int:
    """How many of the mutated messages were refused; any other error is the test's end."""
    chance, wire, refused = random.Random(SEED), greeted(), 0
    for number in range(count):
        payload = mutate(chance, payloads[number % len(payloads)])
        if not 0 < len(payload) <= FRAME_BYTES_MAX:
            continue
        try:
            wire.receive(frame(payload))
        except VenueProtocolError:
            refused += 1
    return refused


@pytest.mark.timeout(300)
def test_a_hundred_thousand_mutated_messages_raise_nothing_but_the_protocol_error(payloads: list[bytes]) -> None:
    kinds = {payload.split(b"\0")[0] for payload in payloads}
    assert {
        b"1",
        b"3",
        b"4",
        b"5",
        b"9",
        b"10",
        b"11",
        b"15",
        b"49",
        b"52",
        b"53",
        b"55",
        b"59",
        b"61",
        b"62",
        b"93",
        b"99",
    } <= kinds
    refused = throw(payloads, 100_000)
    assert 20_000 < refused < 100_000


@pytest.mark.slow
@pytest.mark.timeout(3_000)
def test_a_million_mutated_messages_raise_nothing_but_the_protocol_error(payloads: list[bytes]) -> None:
    throw(payloads, 1_000_000)


@pytest.mark.timeout(300)
def test_a_session_takes_mutated_messages_or_ends_by_a_named_error(payloads: list[bytes]) -> None:
    """What the wire lets through may still be impossible: the session says so by its own error."""
    chance, taken = random.Random(SEED), 0

    async def test(bench: Bench) -> None:
        nonlocal taken
        await bench.adapter.open()
        session = bench.adapter._session
        for number in range(20_000):
            payload = mutate(chance, payloads[number % len(payloads)])
            if not 0 < len(payload) <= FRAME_BYTES_MAX:
                continue
            try:
                session.receive(bench.clock.now(), frame(payload))
                taken += 1
            except (VenueProtocolError, TransportError, RefusedError, ConfigError):
                continue
        await bench.adapter.close()

    in_a_loop(test, version_max=176)
    assert taken > 1_000


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"\x7f\xff\xff\xff", frame(b"abc"), frame(b"99999\0x\0"), frame(b"1\x002\x003\0")])
def test_a_greeting_that_is_none(data: bytes) -> None:
    with pytest.raises(VenueProtocolError):
        Wire(11, "UTC").receive(data)


def test_frames_come_in_any_pieces() -> None:
    data = frame(b"4\x002\x00-1\x002104\x00fine\x00\x00") * 3
    for size in range(1, len(data)):
        wire = greeted()
        got = [message for start in range(0, len(data), size) for message in wire.receive(data[start : start + size])]
        assert got == [Error(-1, 2104, "fine")] * 3


def test_nothing_can_be_asked_before_the_greeting() -> None:
    with pytest.raises(TransportError):
        Wire(11, "UTC").positions()


# Numbers.


@given(st.integers(-(10**14), 10**14), st.integers(0, 8))
def test_a_number_of_fifteen_digits_comes_back_exactly(value: int, scale: int) -> None:
    text = format_fixed(value, scale)
    back = text_of(float(text))
    assert back is not None
    assert Decimal(back) == Decimal(text)


def test_numbers_that_are_none_and_numbers_that_are_too_fine() -> None:
    es = INSTRUMENTS[ES]
    assert [text_of(value) for value in (float("nan"), 1.7976931348623157e308, 2**31 - 1, 2**63 - 1, None, "")] == [None] * 6
    assert (price_of(es, "6800.25"), price_of(es, "1e3"), qty_of(es, "-3")) == (680_025, 100_000, -3)
    for text in ("inf", "6800.251", "68002500000000.25", "1e999", "nan", "0x1", "-", ""):
        with pytest.raises(UnitError):
            price_of(es, text)
    with pytest.raises(UnitError, match=r"not on the tick 0\.25"):
        price_on_tick(es, "6800.30")


def test_commissions_are_rounded_to_money_and_to_nothing_else() -> None:
    assert [money_of(text) for text in ("2.05", "0.34852499999999997", "-0.000000005", "1e-07", "0")] == [
        205_000_000,
        34_852_500,
        0,
        10,
        0,
    ]
    for text in ("inf", "nan", "x", "1e40"):
        with pytest.raises(UnitError):
            money_of(text)


@given(st.integers(1, 4_000_000), st.integers(1, 10**6))
def test_an_order_goes_out_with_the_digits_of_its_integers(ticks: int, qty: int) -> None:
    instrument = INSTRUMENTS[ES]
    command = buy(1, ticks * instrument.tick, qty=qty)
    order = order_of(command, instrument, account="DU1", reference="bench-1-1", outside_hours=True)
    wire = greeted()
    fields = wire.place(5, wanted_contract(instrument, "", settings()), order)[4:].split(b"\0")
    assert (fields[16], fields[17], fields[18], fields[19]) == (
        b"BUY",
        str(qty).encode(),
        b"LMT",
        instrument.format_price(command.price).encode(),
    )


def settings() -> IbSettings:
    return msgspec.convert(venue_defaults("ib"), IbSettings)


def test_the_simulator_is_made_of_the_same_instruments() -> None:
    venue = open_venue(seed=1, faults={}, ts=1, is_alone=True)
    assert {listing.rules.instrument_id for listing in venue.exchange.listings.values()} == set(INSTRUMENTS)
    assert all(Listed(listing.rules, None, None).con_id == 0 for listing in venue.exchange.listings.values())
