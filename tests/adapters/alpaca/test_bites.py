"""The fault tests are worth something: with the adapter broken on purpose, each of them notices."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import pytest

from adapters.alpaca import orders, outcomes
from adapters.alpaca.desk import OrderDesk
from adapters.alpaca.money import Moves
from adapters.alpaca.orders import Orders
from adapters.http.request import Outcome, Verdict
from core.errors import StateError
from tests.adapters.alpaca.test_faults import busy
from tests.adapters.alpaca.world import SETTINGS, World, run

SOON_S = 3.0
# The stream would hide what a wrong reading of an answer does.
LATE_STREAM = msgspec.structs.replace(SETTINGS, stream_ns=40_000_000)


def every_fill_is_another(patch: pytest.MonkeyPatch) -> None:
    numbers = count()
    patch.setattr(orders, "execution_name", lambda venue_id, _filled: f"{venue_id}/{next(numbers)}")


def a_server_error_is_a_refusal(patch: pytest.MonkeyPatch) -> None:
    real = outcomes.judge

    def judge(read_value: Any, answer: Any, **more: Any) -> Any:
        found = real(read_value, answer, **more)
        return Verdict(Outcome.REJECTED_PROVEN, "500") if answer.status >= 500 else found

    patch.setattr(outcomes, "judge", judge)


def a_duplicate_is_a_refusal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outcomes, "is_duplicate", lambda _error: False)


def nothing_is_told_of_what_is_unknown(patch: pytest.MonkeyPatch) -> None:
    def lost(_self: OrderDesk, ours: Any, *_rest: Any) -> None:
        ours.is_open = False

    patch.setattr(OrderDesk, "_lost", lost)
    patch.setattr(Orders, "of_body", lambda *_: None)


def nobody_pays_the_regulators(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Moves, "hear", lambda *_: None)


def every_payment_is_another(patch: pytest.MonkeyPatch) -> None:
    numbers = count()
    real = Moves._keep
    patch.setattr(Moves, "_keep", lambda self, move: real(self, msgspec.structs.replace(move, movement_id=f"{next(numbers)}")))


@pytest.mark.parametrize(
    ("break_it", "number"),
    [
        (every_fill_is_another, 22),
        (every_fill_is_another, 23),
        (a_server_error_is_a_refusal, 4),
        (a_duplicate_is_a_refusal, 11),
        (nothing_is_told_of_what_is_unknown, 2),
        (nobody_pays_the_regulators, 36),
        (every_payment_is_another, 36),
    ],
)
def test_a_broken_adapter_is_noticed(
    monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None], number: int
) -> None:
    async def test(world: World) -> None:
        world.venue.faults.arm(number, 3)
        await busy(world)
        world.served.act("night", {})
        world.venue.faults._armed.clear()
        await world.settled(SOON_S)

    break_it(monkeypatch)
    with pytest.raises((AssertionError, StateError, ExceptionGroup)):
        run(test, LATE_STREAM)
