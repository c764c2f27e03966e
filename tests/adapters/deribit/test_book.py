"""A book joined by change ids: equal to a slow model of it, and gone at the first thing that does not fit."""

from __future__ import annotations

import random

import pytest
from msgspec import Raw

from adapters.deribit import wire
from adapters.deribit.book import DeribitBook
from adapters.deribit.instruments import read_instrument
from core.errors import VenueProtocolError
from core.events import Book, Quote
from tests.adapters.deribit.frames import BOOK_CHANGE, BOOK_SNAPSHOT, INSTRUMENT, notified

KEY = "BTC-PERPETUAL.DERIBIT"


def empty() -> DeribitBook:
    venue = read_instrument(wire.decode_result(wire.InstrumentResult, Raw(INSTRUMENT.encode())))
    assert venue is not None
    return DeribitBook(venue)


def book_of(payload: bytes) -> wire.Book:
    message = wire.decode(payload)
    assert isinstance(message, wire.Book)
    return message


def change(change_id: int, previous: int, bids: str = "", asks: str = "") -> wire.Book:
    return book_of(
        notified(
            "book.BTC-PERPETUAL.raw",
            f'{{"type":"change","timestamp":1700000000000,"prev_change_id":{previous},"instrument_name":"BTC-PERPETUAL",'
            f'"change_id":{change_id},"bids":[{bids}],"asks":[{asks}]}}',
        )
    )


def test_snapshot_and_change() -> None:
    book = empty()
    book.receive(book_of(BOOK_SNAPSHOT))
    assert book.quote(5) == Quote(1699999999000 * 10**6, 5, KEY, 4_250_000, 1_000, 4_250_100, 800)
    book.receive(book_of(BOOK_CHANGE))
    assert book.change_id == 123456790
    assert book.levels(6, 5) == Book(
        1699999999100 * 10**6, 6, KEY, ((4_250_000, 1_010),), ((4_250_100, 800), (4_250_150, 600), (4_250_200, 10))
    )


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (change(9, 8), "prev_change_id 8 after 123456789"),
        (change(2, 123456789, bids='["new",42501.0,5.0]'), "crossed"),
        (change(2, 123456789, bids='["new",42500.001,5.0]'), "decimals"),
        (change(2, 123456789, bids='["new",42400.0,0.0]'), "amount 0"),
        (change(2, 123456789, bids='["new",-1.0,5.0]'), "below"),
        (change(2, 123456789, bids='["new",42400.0,-5.0]'), "below"),
        (change(2, 123456789, bids='["new",42400.0,9007199254740993000000]'), "64 bits"),
    ],
)
def test_what_does_not_fit_ends_the_book(message: wire.Book, why: str) -> None:
    book = empty()
    book.receive(book_of(BOOK_SNAPSHOT))
    with pytest.raises(VenueProtocolError, match=why):
        book.receive(message)
    assert (book.change_id, book.best()) == (None, (0, 0, 0, 0))
    with pytest.raises(VenueProtocolError, match="after None"):
        book.receive(change(3, 2))
    book.receive(book_of(BOOK_SNAPSHOT))
    assert book.best() == (4_250_000, 1_000, 4_250_100, 800)


def test_a_repeated_change_is_none() -> None:
    book = empty()
    book.receive(book_of(BOOK_SNAPSHOT))
    book.receive(book_of(BOOK_CHANGE))
    with pytest.raises(VenueProtocolError):
        book.receive(book_of(BOOK_CHANGE))


@pytest.mark.parametrize("seed", range(5))
def test_a_long_walk_equals_a_dictionary(seed: int) -> None:
    draw = random.Random(seed)
    book, model = empty(), ({}, {})
    book.receive(book_of(BOOK_SNAPSHOT.replace(b'"bids":[["new",42500.0,1000.0],["new",42499.5,500.0]]', b'"bids":[]')))
    model[1].update({4_250_100: 800, 4_250_150: 600})
    last = 123456789
    for change_id in range(last + 1, last + 400):
        sides: list[list[str]] = [[], []]
        for side, low, high in ((0, 84_900, 85_001), (1, 85_003, 85_100)):
            for _ in range(draw.randrange(3)):
                half = draw.randrange(low, high)
                price, qty = half * 50, draw.randrange(0, 9) * 10
                text = f"{half / 2}"
                if qty:
                    model[side][price] = qty
                    sides[side].append(f'["new",{text},{qty}.0]')
                else:
                    model[side].pop(price, None)
                    sides[side].append(f'["delete",{text},0.0]')
        book.receive(change(change_id, last, ",".join(sides[0]), ",".join(sides[1])))
        last = change_id
        bids, asks = sorted(model[0], reverse=True), sorted(model[1])
        expected = (tuple((price, model[0][price]) for price in bids), tuple((price, model[1][price]) for price in asks))
        levels = book.levels(0, 10_000)
        assert (levels.bids, levels.asks) == expected
