"""Order-by-order exchange: recorded rows with orders of ours among them, as tapes that one can read; then random ones."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from core.errors import DataError
from native import venue as native
from native.market_data import (
    ADD,
    BUY,
    CLEAR,
    DELETE,
    EXECUTE,
    FLAG_AGGRESSIVE,
    FLAG_LAST,
    HIDDEN,
    MD_ROW,
    MODIFY,
    REDUCE,
    SELL,
    STATUS,
)
from native.venue import L3, NativeVenue

TapeRow = tuple[int, int, int, int, int, int]  # ts, kind, order id, side, price, qty
FIRST_SEED = int(os.environ.get("VENUE_FUZZ_SEED", "1"))


def tape(rows: list[TapeRow], flags: int = FLAG_LAST) -> npt.NDArray[Any]:
    array = np.zeros(len(rows), dtype=MD_ROW)
    for at, (ts, kind, order_id, side, price, qty) in enumerate(rows):
        array[at] = (ts, ts, price, qty, order_id, 0, kind, side, flags)
    return array


def venue_with(*rows: TapeRow, wake: int = native.WAKE_ORDER, flags: int = FLAG_LAST, **settings: Any) -> NativeVenue:
    venue = NativeVenue(orders_max=256, feed_latency_ns=settings.pop("feed_latency_ns", 0), stp_mode=settings.pop("stp_mode", 0))
    venue.add_instrument(fidelity=L3, wake=wake, orders_max=512, levels_max=256, **settings)
    venue.feed(tape(list(rows), flags))
    venue.finish()
    return venue


def events(venue: NativeVenue, until: int) -> list[tuple[int, ...]]:
    """All events up to `until`: (ts_init, kind, client_order_id, a, b, c, d)."""
    found: list[tuple[int, ...]] = []
    while not venue.is_done and (batch := venue.run(until)):
        found += [(ts, kind, order_id, a, b, c, d) for ts, _, kind, _, order_id, a, b, c, d, _ in batch]
        assert venue.check()
    return found


START = (
    (1, ADD, 1, BUY, 99, 10),
    (1, ADD, 2, BUY, 99, 5),
    (1, ADD, 3, BUY, 98, 7),
    (1, ADD, 4, SELL, 101, 10),
    (1, ADD, 5, SELL, 102, 5),
)


def test_recorded_execution_meets_our_better_order_first() -> None:
    """6 hit order 1 at 99: our 4 at 100 go first, so order 1 keeps 4 that the record has not; a later one takes them first."""
    venue = venue_with(
        *START, (10, EXECUTE, 1, BUY, 99, 6), (20, EXECUTE, 1, BUY, 99, 4), (30, EXECUTE, 2, BUY, 99, 5), (90, ADD, 9, BUY, 1, 1)
    )
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 100, 4)
    assert events(venue, 15) == [(5, native.ACCEPTED, 1, 100, 4, 0, 0), (10, native.FILL, 1, 100, 4, 0, 0)]
    assert venue.depth(0, BUY) == venue.depth_at_venue(0, BUY) == [(99, 13), (98, 7)]
    events(venue, 25)
    assert venue.depth(0, BUY) == [(99, 9), (98, 7)]  # 4 displaced of order 1, and order 2
    events(venue, 35)
    assert venue.depth(0, BUY) == [(99, 4), (98, 7)]  # the aggressor of order 2 met the displaced 4 first


def test_our_order_keeps_its_exact_place_in_the_queue() -> None:
    venue = venue_with(
        *START,
        (6, ADD, 6, BUY, 99, 9),
        (10, EXECUTE, 1, BUY, 99, 10),
        (20, EXECUTE, 2, BUY, 99, 5),
        (30, EXECUTE, 6, BUY, 99, 2),
        (90, ADD, 9, BUY, 1, 1),
    )
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 99, 3)
    events(venue, 5)
    seen = []
    for ts in (9, 15, 25):
        events(venue, ts)
        seen.append(venue.queue_ahead(1))
    assert seen == [15, 5, 0]
    assert events(venue, 40) == [(30, native.FILL, 1, 99, 2, 1, 0)]
    assert venue.depth(0, BUY, 1) == [(99, 10)]


def test_taking_moves_the_book_and_later_rows_about_what_we_took_are_tolerated() -> None:
    venue = venue_with(
        *START,
        (10, EXECUTE, 4, SELL, 101, 3),
        (20, REDUCE, 4, SELL, 101, 2),
        (30, DELETE, 4, SELL, 101, 5),
        (40, DELETE, 5, SELL, 102, 5),
        (50, DELETE, 77, SELL, 103, 1),
        (90, ADD, 9, BUY, 1, 1),
    )
    events(venue, 5)
    venue.submit(0, 1, BUY, 12, price=102, tif=1)
    assert events(venue, 8) == [
        (5, native.ACCEPTED, 1, 102, 12, 0, 0),
        (5, native.FILL, 1, 101, 10, 2, 1),
        (5, native.FILL, 1, 102, 2, 0, 1),
    ]
    assert venue.depth(0, SELL) == [(102, 3)]
    events(venue, 60)
    assert venue.depth(0, SELL) == []
    assert venue.totals()["unknown_ids"] == 1


def test_recorded_add_that_crosses_ours_matches_it_first() -> None:
    venue = venue_with(*START, (10, ADD, 6, SELL, 100, 9), (20, EXECUTE, 6, SELL, 100, 9), (90, ADD, 9, BUY, 1, 1))
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 100, 4)
    assert events(venue, 15)[1:] == [(10, native.FILL, 1, 100, 4, 0, 0)]
    assert venue.depth(0, SELL) == [(100, 5), (101, 10), (102, 5)]
    events(venue, 25)
    assert venue.depth(0, SELL) == [(101, 10), (102, 5)]


def test_what_rested_before_the_file_began_stands_for_ids_never_seen() -> None:
    rows = [
        (1, ADD, -1, BUY, 99, 30),
        (2, ADD, 1, BUY, 99, 5),
        (10, EXECUTE, 500, BUY, 99, 10),
        (20, DELETE, 501, BUY, 99, 5),
        (30, REDUCE, 502, BUY, 97, 5),
    ]
    venue = venue_with(*rows, (90, ADD, 9, SELL, 200, 1))
    seen = []
    for ts in (5, 15, 25, 35):
        events(venue, ts)
        seen.append(venue.depth(0, BUY))
    assert seen == [[(99, 35)], [(99, 25)], [(99, 20)], [(99, 20)]]
    assert venue.totals()["unknown_ids"] == 3


def test_modified_orders_lose_their_place_unless_they_only_shrink() -> None:
    venue = venue_with(
        *START, (10, MODIFY, 1, BUY, 99, 8), (20, MODIFY, 1, BUY, 99, 12), (30, MODIFY, 4, SELL, 100, 6), (90, ADD, 9, BUY, 1, 1)
    )
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 99, 1)
    venue.submit_limit(0, 2, BUY, 100, 2)
    events(venue, 15)
    assert venue.queue_ahead(1) == 13
    events(venue, 25)
    assert venue.queue_ahead(1) == 5
    assert events(venue, 35) == [(30, native.FILL, 2, 100, 2, 0, 0)]
    assert venue.depth(0, SELL, 1) == [(100, 4)]


def test_rows_meant_to_match_do_match() -> None:
    venue = venue_with(*START, (10, ADD, 6, SELL, 99, 12), (90, ADD, 9, BUY, 1, 1), flags=FLAG_LAST | FLAG_AGGRESSIVE)
    events(venue, 20)
    assert venue.depth(0, BUY) == [(99, 3), (98, 7)]
    assert venue.depth(0, SELL, 1) == [(101, 10)]


def test_own_trades_are_seen_after_the_feed_latency() -> None:
    venue = venue_with(*START, (200, HIDDEN, 0, BUY, 99, 1), wake=native.WAKE_BEST | native.WAKE_TRADE, feed_latency_ns=50)
    events(venue, 5)
    venue.submit(0, 1, BUY, 10, order_type=1)
    assert events(venue, 300) == [
        (5, native.ACCEPTED, 1, 0, 10, 0, 0),
        (5, native.FILL, 1, 101, 10, 0, 1),
        (55, native.TRADE, 0, 101, 10, 0, 0),
        (55, native.QUOTE, 0, 99, 15, 102, 5),
        (200, native.TRADE, 0, 99, 1, 0, 0),
    ]


def test_tape_starts_again_and_ours_stay() -> None:
    venue = venue_with(*START, (10, CLEAR, 0, 0, 0, 0), (11, ADD, 1, BUY, 97, 1), (90, ADD, 9, SELL, 200, 1))
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 99, 3)
    events(venue, 20)
    assert (venue.depth(0, BUY), venue.depth(0, SELL)) == ([(99, 3), (97, 1)], [])


def test_halt_refuses_orders_and_lets_cancels_pass() -> None:
    venue = venue_with(*START, (10, STATUS, 0, 0, 1, 0), (90, STATUS, 0, 0, 0, 0))
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 98, 3)
    events(venue, 15)
    venue.submit_limit(0, 2, BUY, 98, 3)
    venue.cancel(1)
    assert events(venue, 20)[1:] == [(15, native.REJECTED, 2, 15, 0, 0, 0), (15, native.CANCELED, 1, 3, 1, 0, 0)]


@pytest.mark.parametrize(
    "row",
    [(20, ADD, 1, BUY, 99, 1), (20, ADD, 0, BUY, 99, 1), (20, ADD, 9, BUY, 99, 0), (20, ADD, 9, 2, 99, 1), (20, 0, 9, 0, 99, 1)],
)
def test_bad_rows(row: TapeRow) -> None:
    venue = venue_with(*START, row)
    with pytest.raises(DataError, match="tape:5"):
        events(venue, 100)


def recorded(rng: random.Random, n: int) -> tuple[list[TapeRow], list[dict[int, list[list[int]]]]]:
    """A consistent recording: executions hit the head of the best level, adds never cross. Also the book it ends with."""
    book: list[dict[int, list[list[int]]]] = [{}, {}]
    rows: list[TapeRow] = []
    ts, next_id = 1, 1
    middle = 100
    for _ in range(n):
        ts += rng.choice([0, 0, 1, 3])
        middle += rng.choice([-1, 0, 0, 0, 1])
        side = rng.randrange(2)
        best = (min(book[1]) if side else max(book[0])) if book[side] else None
        action = rng.choice(["add", "add", "add", "delete", "reduce", "execute", "execute", "modify"])
        if best is None or action == "add":
            facing = book[1 - side]
            limit = (max(facing) if side else min(facing)) if facing else None
            price = middle + rng.randrange(1, 6) if side else middle - rng.randrange(1, 6)
            if limit is not None:
                price = max(price, limit + 1) if side else min(price, limit - 1)
            qty = rng.randrange(1, 20)
            book[side].setdefault(price, []).append([next_id, qty])
            rows.append((ts, ADD, next_id, side, price, qty))
            next_id += 1
            continue
        price = best if action == "execute" else rng.choice(sorted(book[side]))
        queue = book[side][price]
        order = queue[0] if action == "execute" else rng.choice(queue)
        qty = rng.randrange(1, order[1] + 1)
        if action == "delete":
            rows.append((ts, DELETE, order[0], side, price, order[1]))
            queue.remove(order)
        elif action == "modify":
            rows.append((ts, MODIFY, order[0], side, price, qty + 3))
            if qty + 3 > order[1]:
                queue.remove(order)
                queue.append([order[0], qty + 3])
            else:
                order[1] = qty + 3
        else:
            rows.append((ts, EXECUTE if action == "execute" else REDUCE, order[0], side, price, qty))
            order[1] -= qty
            if not order[1]:
                queue.remove(order)
        if not queue:
            del book[side][price]
    return rows, book


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 40))
def test_without_orders_of_ours_the_recorded_book_comes_out(seed: int) -> None:
    rows, book = recorded(random.Random(seed), 300)
    venue = venue_with(*rows)
    events(venue, 10**6)
    for side in (0, 1):
        levels = sorted(((price, sum(qty for _, qty in queue)) for price, queue in book[side].items()), reverse=side == 0)
        assert venue.depth(0, side, 1000) == venue.depth_at_venue(0, side, 1000) == levels
    assert venue.totals()["unknown_ids"] == venue.totals()["crossed"] == 0


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 120))
def test_random_trader_leaves_every_invariant_whole(seed: int) -> None:
    """Also: what we see ends as the venue's book, fills account for every order, the book never crosses, and no id is unknown."""
    rng = random.Random(seed)
    rows, _ = recorded(rng, 300)
    venue = NativeVenue(
        entry_ns=rng.choice([0, 3]), response_ns=rng.choice([0, 2]), feed_latency_ns=rng.choice([0, 4]), stp_mode=rng.randrange(5)
    )
    venue.add_instrument(fidelity=L3, wake=rng.choice([1, 16, 31]), orders_max=512, levels_max=256, check_crossed=True)
    venue.feed(tape(rows))
    venue.finish()
    sent: dict[int, int] = {}
    ended: dict[int, int] = {}
    until = 1
    while not venue.is_done:
        until = max(until + rng.randrange(6), venue.now)
        for _, _, kind, _, order_id, a, b, _c, _d, _e in venue.run(until):
            if kind == native.FILL:
                ended[order_id] = ended.get(order_id, 0) + b
            elif kind in (native.CANCELED, native.EXPIRED):
                ended[order_id] = ended.get(order_id, 0) + a
            elif kind == native.REJECTED:
                ended[order_id] = sent[order_id]
        assert venue.check(), f"VENUE_FUZZ_SEED={seed}"
        # Acting on every answer without any latency would never let time pass.
        if venue.now < 1 or rng.random() < 0.6:
            continue
        match rng.randrange(6):
            case 0 | 1 | 2:
                order_id, qty = len(sent) + 1, rng.randrange(1, 15)
                sent[order_id] = qty
                order_type = rng.choice([0, 0, 0, 0, 1, 2])
                price = 100 + rng.randrange(-6, 7)
                tif, flags = rng.choice([(0, 0), (0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (3, 0)]) if order_type == 0 else (0, 0)
                display = rng.choice([0, 0, 2]) if order_type == 0 else 0
                venue.submit(
                    0,
                    order_id,
                    rng.randrange(2),
                    qty,
                    price=price,
                    order_type=order_type,
                    tif=tif,
                    flags=flags,
                    trigger_price=price,
                    display_qty=display,
                )
            case 3 if sent:
                venue.cancel(rng.randrange(1, len(sent) + 1))
            case 4 if rng.random() < 0.1:
                venue.mass_cancel()
            case _:
                pass
    assert all(ended.get(order_id, 0) <= qty for order_id, qty in sent.items())
    assert venue.totals()["unknown_ids"] == 0
    for side in (0, 1):
        assert venue.depth(0, side, 1000) == venue.depth_at_venue(0, side, 1000)
