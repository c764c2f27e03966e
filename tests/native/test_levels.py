"""The C level book against the slow one: the same levels after the same texts, the same refusals, and nothing half done."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UnitError, VenueProtocolError
from native.levels import SIDE_MAX, NativeLevelBook, ReferenceLevelBook, make_level_book
from native.loader import extension

RULES = {"price_scale": 2, "qty_scale": 3, "tick": 10, "message_max": 50}


def pair() -> tuple[NativeLevelBook, ReferenceLevelBook]:
    module = extension()
    if module is None:
        pytest.skip("the C extension is not built")
    return NativeLevelBook(module, **RULES), ReferenceLevelBook(**RULES)


prices = st.integers(0, 40).map(lambda ticks: f"{ticks // 10}.{ticks % 10}0")
quantities = st.integers(0, 5000).map(lambda units: f"{units // 1000}.{units % 1000:03d}00")
mixed = st.lists(st.tuples(prices, quantities), max_size=30)
# As venues send them, either way round: such a side goes in at once, another level by level.
in_order = st.dictionaries(prices, quantities, max_size=30).map(lambda side: sorted(side.items()))
sides = st.one_of(mixed, in_order, in_order.map(lambda side: side[::-1]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(sides, sides), max_size=12))
def test_the_same_levels_after_the_same_updates(updates: list[tuple[list[tuple[str, str]], list[tuple[str, str]]]]) -> None:
    fast, slow = pair()
    for bids, asks in updates:
        texts = json.dumps(bids).encode(), json.dumps(asks, separators=(",", ":")).encode()
        outcomes = []
        for book in (fast, slow):
            try:
                outcomes.append(str(book.update(*texts)))
            except (UnitError, VenueProtocolError) as error:
                outcomes.append(type(error).__name__)
        assert outcomes[0] == outcomes[1]
        fast.check()
        assert (fast.best(), fast.levels(7), fast.levels(50), fast.sizes()) == (
            slow.best(),
            slow.levels(7),
            slow.levels(50),
            slow.sizes(),
        )
    fast.clear()
    assert (fast.best(), fast.sizes()) == ((0, 0, 0, 0), (0, 0))


@pytest.mark.parametrize("seed", range(6))
def test_wherever_in_a_deep_book_the_levels_of_a_message_lie(seed: int) -> None:
    """In order, against it, in runs, or anywhere: a place is searched for from the last one."""
    fast, slow = pair()
    chance = random.Random(seed)
    order: dict[int, Callable[[list[int]], object]] = {0: list.sort, 1: lambda ticks: ticks.sort(reverse=True), 2: chance.shuffle}
    for _ in range(120):
        texts = []
        for middle in (1_000, 2_000):
            ticks = [max(1, int(chance.gauss(middle, chance.choice((3, 60, 700))))) for _ in range(chance.randrange(25))]
            order[chance.randrange(3)](ticks)
            rows = [[f"{tick // 10}.{tick % 10}0", str(chance.choice((0, 1, 2, 3)))] for tick in ticks]
            texts.append(json.dumps(rows).encode())
        assert fast.update(*texts) == slow.update(*texts)
        fast.check()
        assert fast.levels(2_000) == slow.levels(2_000)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", VenueProtocolError),
        (b"[", VenueProtocolError),
        (b"[]]", VenueProtocolError),
        (b'[["1.0","1"],]', VenueProtocolError),
        (b'[["1.0","1","2"]]', VenueProtocolError),
        (b'[["1.0",1]]', VenueProtocolError),
        (b'[["1.0","-1"]]', VenueProtocolError),
        (b'[["1e3","1"]]', VenueProtocolError),
        (b'[["NaN","1"]]', VenueProtocolError),
        (b'[["1.","1"]]', VenueProtocolError),
        (b'[[".5","1"]]', VenueProtocolError),
        ('[["١","1"]]'.encode(), VenueProtocolError),
        (b'[["1.0","0.0001"]]', UnitError),
        (b'[["1.001","1"]]', UnitError),
        (b'[["1.05","1"]]', UnitError),
        (b'[["0.00","1"]]', UnitError),
        (b'[["99999999999999999999","1"]]', UnitError),
        (b'[["1.0","9223372036854775807"]]', UnitError),
        (json.dumps([["1.0", "1"]] * 51).encode(), VenueProtocolError),
    ],
)
def test_what_is_refused_changes_nothing(text: bytes, error: type[Exception]) -> None:
    for book in pair():
        book.update(b'[["0.9","2.000"]]', b'[["1.1","3"]]')
        for texts in ((b'[["0.8","1"]]', text), (text, b'[["1.2","1"]]')):
            with pytest.raises(error):
                book.update(*texts)
        assert book.levels(9) == (((90, 2000),), ((110, 3000),))


@pytest.mark.parametrize(
    "qty", ["9223372036854775.807", "9223372036854775.808", "9223372036854775", "9223372036854776", "0000000000000000000001.5"]
)
def test_numbers_at_the_end_of_what_fits(qty: str) -> None:
    outcomes = []
    for book in pair():
        try:
            book.update(json.dumps([["1.0", qty]]).encode(), b"[]")
            outcomes.append(book.best())
        except UnitError:
            outcomes.append((0, 0, 0, 0))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1] == (0 if qty.endswith(("8", "6")) else round(Decimal(qty) * 1000))


def test_damaged_texts_raise_nothing_else_and_both_books_agree() -> None:
    fast, slow = pair()
    chance = random.Random(5)
    whole = b'[["1.10","0.500"],["0.90","0.000"],["2.00","12.345"]]'
    for _ in range(20_000):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(damaged))
            damaged[place : place + chance.randrange(2)] = bytes([chance.randrange(256)])[: chance.randrange(2)]
        outcomes = []
        for book in (fast, slow):
            try:
                outcomes.append(book.update(bytes(damaged), b"[]"))
            except (UnitError, VenueProtocolError):
                outcomes.append(-1)
        assert outcomes[0] == outcomes[1], bytes(damaged)
        assert fast.levels(20) == slow.levels(20), bytes(damaged)
    fast.check()


def test_a_full_side_drops_its_worst_level() -> None:
    fast = make_level_book(price_scale=0, qty_scale=0, tick=1, message_max=2 * SIDE_MAX + 20)
    slow = ReferenceLevelBook(price_scale=0, qty_scale=0, tick=1, message_max=2 * SIDE_MAX + 20)
    rows = [[str(price), "1"] for price in range(1, SIDE_MAX + 6)]
    random.Random(1).shuffle(rows)
    text = json.dumps(rows).encode()
    for book in (fast, slow):
        book.update(text, text)
        book.check()
    assert fast.sizes() == slow.sizes() == (SIDE_MAX, SIDE_MAX)
    assert fast.levels(100) == slow.levels(100)
    # In order, either way round: ten bids better than all, ten asks between the others, and some of either taken away.
    for step in (1, -1):
        bids = [[str(SIDE_MAX + 50 + 20 * step + number), "2"] for number in range(10)][::step]
        asks = [[str(number), "0" if number % 7 == 0 else "2"] for number in range(1, 40)][::step]
        for book in (fast, slow):
            book.update(json.dumps(bids).encode(), json.dumps(asks).encode())
            book.check()
        assert fast.sizes() == slow.sizes()
        assert fast.levels(100) == slow.levels(100)
