"""The adapter broken on purpose, one thing at a time: each break is noticed by what the tests look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from adapters.http.request import Answer, Outcome, Verdict
from adapters.oanda import codec, desk
from adapters.oanda.io import OandaAdapter
from adapters.oanda.log import TransactionLog
from adapters.oanda.wire import DealAnswer, Transaction
from core.enums import OrderStatus, Side
from core.errors import TradingdError
from core.events import OrderFilled
from tests.adapters.oanda.world import ACCOUNT, MID, S, World

BID = MID - 7

Break = Callable[[pytest.MonkeyPatch], None]


def story() -> list[str]:
    """Faults, partial fills, a cut: what is wrong at the end, in words; nothing with the adapter as it is."""
    world = World()
    try:
        return told(world)
    finally:
        world.end()


def told(world: World) -> list[str]:
    world.begin()
    resting = world.settle(world.submit(2_000, BID - 100))
    for fault in (2, 4, 42, 22, 35, 9):
        world.venue.faults.arm(fault)
        if fault == 4:
            world.venue.faults.arm(42, times=3)  # and the stream does not tell it either
        world.submit(1_000, side=Side.BUY if fault % 4 else Side.SELL)
        world.run_for(20 * S)
    world.act("hit", account=ACCOUNT, client_id=world.text_of(resting), units=700)
    world.run_for(2 * S)
    world.replace(resting, 1_000, BID - 90)
    world.act("cut", account=ACCOUNT)
    world.act("manual_order", account=ACCOUNT, instrument="EUR_USD", units=300)
    world.run_for(20 * S)
    canceled = world.submit(500, BID - 200)
    world.cancel(canceled)
    world.run_for(5 * S)
    problems = world.audit()
    problems += [f"{order!r} is in doubt" for order in world.store.orders.values() if order.status is OrderStatus.UNKNOWN]
    problems += [] if canceled.status is OrderStatus.CANCELED else [f"{canceled!r} was not canceled"]
    fills = [event for event in world.events if isinstance(event, OrderFilled)]
    names = [(fill.client_order_id, fill.execution_id) for fill in fills]
    problems += [f"fill {name} was told twice" for name in set(names) if names.count(name) > 1]
    return problems


def a_lost_answer_is_a_refusal(patch: pytest.MonkeyPatch) -> None:
    judge = codec.judge_place

    def judged(answer: Answer, client_text: str) -> Verdict[DealAnswer]:
        found = judge(answer, client_text)
        return Verdict(Outcome.REJECTED_PROVEN, found.reason) if found.outcome is Outcome.UNKNOWN else found

    patch.setattr(codec, "judge_place", judged)


def nobody_asks_for_what_is_missing(patch: pytest.MonkeyPatch) -> None:
    async def never(_self: OandaAdapter) -> None:
        return

    patch.setattr(OandaAdapter, "_catch_up", never)


def the_log_takes_everything_as_it_comes(patch: pytest.MonkeyPatch) -> None:
    def offer(self: TransactionLog, transactions: Any) -> list[Transaction]:
        due = list(transactions)
        self.last = max([self.last, *(each.number for each in due)])
        return due

    patch.setattr(TransactionLog, "offer", offer)


def replacements_are_orders_of_their_own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(desk.Desk, "_replaced", lambda _self, _ts, _order, _transaction: [])


def a_cancel_does_not_wait_for_its_order(patch: pytest.MonkeyPatch) -> None:
    def cancel(self: OandaAdapter, order_id: int) -> None:
        order = self._desk.find(order_id)
        if order is not None:
            self._cancel_now(order)

    patch.setattr(OandaAdapter, "_cancel", cancel)
    # The cancel is on a connection of its own and overtakes the order.
    patch.setattr(OandaAdapter, "_submit", _late(OandaAdapter._submit))


def _late(submit: Callable[[OandaAdapter, Any], None]) -> Callable[[OandaAdapter, Any], None]:
    """Orders take a while to leave."""

    def later(self: OandaAdapter, command: Any) -> None:
        deal = self._deal

        async def slow(*arguments: Any) -> None:
            await asyncio.sleep(0.2)
            await deal(*arguments)

        self._deal = slow  # type: ignore[method-assign]
        submit(self, command)
        self._deal = deal  # type: ignore[method-assign]

    return later


def foreign_fills_are_kept_back(patch: pytest.MonkeyPatch) -> None:
    fills_of = desk.Desk.fills_of
    patch.setattr(
        desk.Desk, "fills_of", lambda self, ts, transaction: [f for f in fills_of(self, ts, transaction) if f.client_order_id]
    )


BREAKS: tuple[Break, ...] = (
    a_lost_answer_is_a_refusal,
    nobody_asks_for_what_is_missing,
    the_log_takes_everything_as_it_comes,
    replacements_are_orders_of_their_own,
    a_cancel_does_not_wait_for_its_order,
    foreign_fills_are_kept_back,
)


def test_the_story_holds_as_it_is() -> None:
    assert story() == []


@pytest.mark.parametrize("break_", BREAKS, ids=lambda each: each.__name__)
def test_a_break_is_noticed(break_: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    break_(monkeypatch)
    try:
        problems = story()
    except (AssertionError, BaseExceptionGroup, TradingdError) as error:
        # An order store that refuses an impossible event notices it, too.
        problems = [repr(error)]
    assert problems
