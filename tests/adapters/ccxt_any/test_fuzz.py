"""Damaged rows through every reader of the adapter of any exchange: a report, or VenueProtocolError, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from adapters.ccxt_any.reports import book_sides, order_report, position_qty, public_print, trade_report
from core.errors import VenueProtocolError
from tests.adapters.ccxt_any.test_reports import ORDER, STAMP_MS, TRADE, UNITS

ROWS_IN_SUITE, ROWS_SLOW = 20_000, 1_000_000  # for each of five readers
BOOK = {"bids": [["99.5", "1"], ["98", "2"]], "asks": [["101", "1"], ["102.5", "3"]], "timestamp": STAMP_MS}
PRINT = {"id": "7", "price": "100", "amount": "2", "timestamp": STAMP_MS, "side": "buy"}
POSITION = {"contracts": "3", "side": "long"}
READERS: list[tuple[Callable[[Any, Any], Any], dict[str, Any]]] = [
    (order_report, ORDER),
    (trade_report, TRADE),
    (book_sides, BOOK),
    (public_print, PRINT),
    (position_qty, POSITION),
]
ODD = [
    None,
    True,
    0,
    -1,
    1 << 70,
    1.5,
    float("nan"),
    "",
    "NaN",
    "Infinity",
    "1e999",
    "1e-999",
    "-0",
    "1_000",
    "١",
    "9" * 500,
    "0x10",
    "1/3",
    "\x1b[2J",
    "💥",
    [],
    {},
    [[]],
    {"cost": None},
    b"bytes",
]


def damaged(value: Any, dice: random.Random) -> Any:
    """`value` with something in it replaced, left out, doubled, cut or with a character changed."""
    if dice.random() < 0.25:
        return dice.choice(ODD)
    if isinstance(value, dict) and value:
        name = dice.choice(sorted(value))
        if dice.random() < 0.2:
            return {key: each for key, each in value.items() if key != name}
        return {**value, name: damaged(value[name], dice)}
    if isinstance(value, list) and value:
        at = dice.randrange(len(value))
        if dice.random() < 0.2:
            return [*value, value[at]]
        return [*value[:at], damaged(value[at], dice), *value[at + 1 :]]
    if isinstance(value, str) and value:
        at = dice.randrange(len(value))
        return value[:at] + dice.choice("0189.-+eE xN\x00") + value[at + dice.randrange(2) :]
    if isinstance(value, int):
        return value * dice.choice((-1, 0, 10, 1000))
    return dice.choice(ODD)


def attack(count: int, seed: int) -> None:
    for number, (read, row) in enumerate(READERS):
        dice = random.Random(seed * 10 + number)
        for turn in range(count):
            broken = row
            for _ in range(dice.randrange(1, 4)):
                found = damaged(broken, dice)
                broken = found if isinstance(found, dict) else broken
            try:
                read(broken, UNITS)
            except VenueProtocolError:
                continue
            except Exception as error:
                raise AssertionError(f"{read.__name__}, seed {seed}, turn {turn}: {broken!r}") from error


def test_damaged_rows() -> None:
    attack(ROWS_IN_SUITE, seed=1)


@pytest.mark.slow
def test_many_damaged_rows() -> None:
    attack(ROWS_SLOW, seed=2)
