"""Each fault that the simulated gateway shows, against the adapter: what it says of it, and that both sides agree in the end."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from adapters.ib.outcomes import Meaning
from core.commands import CancelAll, CancelOrder
from core.enums import CashKind, Reason
from core.events import (
    CashMoved,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    Quote,
)
from core.strategy import Subscription
from sim.venues.ib.faults import KNOWN
from tests.adapters.ib.bench import ES, Bench, buy, in_a_loop, order_id, sell

pytestmark = pytest.mark.timeout(60)
Test = Callable[[Bench], Awaitable[None]]
SHOWN: dict[int, Test] = {}
NUMBERS = itertools.count()


def shows(*numbers: int) -> Callable[[Test], Test]:
    def keep(test: Test) -> Test:
        SHOWN.update(dict.fromkeys(numbers, test))
        return test

    return keep


async def audit(bench: Bench) -> None:
    """What the adapter has said, its last look included, against the venue's ledger; each execution once."""
    state = await bench.adapter.query(0)
    ledger = bench.venue.ledger()
    said = {
        fill.execution_id: (fill.instrument_id, fill.side.name, fill.qty)
        for fill in (*bench.sink.of(OrderFilled), *state.executions)
    }
    for known in bench.states:
        said |= {fill.execution_id: (fill.instrument_id, fill.side.name, fill.qty) for fill in known.executions}
    known = {
        fill["trade_id"]: (fill["instrument_id"], fill["side"], fill["qty"]) for fill in ledger["fills"] if not fill["is_busted"]
    }
    assert said == known
    assert max(Counter(fill.execution_id for fill in bench.sink.of(OrderFilled)).values(), default=1) == 1
    account = bench.opening().account
    assert {key: qty for key, qty in state.positions.items() if qty} == {
        key: qty for key, qty in ledger["positions"].get(account, {}).items() if qty
    }
    leaves = {str(each.venue_order_id): each.leaves_qty for each in state.open_orders}
    assert leaves == {each["venue_order_id"]: each["qty"] - each["filled_qty"] for each in ledger["orders"] if each["is_open"]}
    assert max(Counter(each["client_order_id"] for each in ledger["orders"]).values(), default=1) == 1


@shows(1, 2, 3, 9, 55)
async def a_connection_that_ends_around_an_order(bench: Bench) -> None:
    bench.send(buy(1, 679_900, qty=2))
    await bench.sink.until(OrderOutcomeUnknown)
    await bench.until(lambda: len(bench.states) == 2)
    await audit(bench)


@shows(10, 41)
async def an_answer_that_does_not_come(bench: Bench) -> None:
    bench.send(buy(1, 679_900, qty=2))
    await bench.sink.until(OrderOutcomeUnknown)
    if bench.venue.faults.fired.get(41):
        await bench.until(lambda: len(bench.states) == 2)
    await audit(bench)


@shows(14)
async def an_unknown_code(bench: Bench) -> None:
    bench.send(buy(1, 679_900, qty=2))
    (unknown,) = await bench.sink.until(OrderOutcomeUnknown)
    assert unknown.text == "10999 Order message error: this code is in no table"
    assert bench.sink.of(OrderRejected) == []
    await audit(bench)


@shows(20)
async def an_order_that_is_not_listed(bench: Bench) -> None:
    bench.send(buy(1, 679_900, qty=2))
    await bench.sink.until(OrderAccepted)
    await anyio.sleep(1)
    assert (await bench.adapter.query(0)).open_orders == ()
    await audit(bench)  # asked again it is there, and still ours


@shows(22, 24, 35, 59)
async def executions_told_strangely(bench: Bench) -> None:
    bench.send(buy(1, 680_025, qty=4))
    (fill,) = await bench.sink.until(OrderFilled)
    assert (fill.qty, fill.commission) == (4, 900_000_000)
    await anyio.sleep(1)
    await bench.adapter.query(0)  # a wrong position is right when it is asked for again
    await audit(bench)


@shows(23)
async def one_execution_under_two_ids(bench: Bench) -> None:
    bench.send(buy(1, 680_025, qty=4))
    await bench.sink.until(OrderFilled)
    await bench.until(lambda: bench.trouble)
    assert bench.trouble == ["IB: execution 0000e1a7.77b00001.01.01 fills what another one has filled: it is not booked"]
    assert len(bench.sink.of(OrderFilled)) == 1
    await audit(bench)


@shows(25)
async def a_fill_behind_the_cancel(bench: Bench) -> None:
    bench.send(buy(1, 679_900, qty=2))
    await bench.sink.until(OrderAccepted)
    bench.send(CancelOrder(1, order_id(1)))
    await bench.sink.until(OrderCanceled)
    (fill,) = await bench.sink.until(OrderFilled)
    assert (fill.client_order_id, fill.qty) == (order_id(1), 1)
    await audit(bench)


@shows(29)
async def a_cancel_that_is_never_done(bench: Bench) -> None:
    bench.send(buy(1, 679_900, qty=2))
    await bench.sink.until(OrderAccepted)
    bench.send(CancelOrder(1, order_id(1)))
    (unknown,) = await bench.sink.until(OrderOutcomeUnknown)
    assert unknown.client_order_id == order_id(1)
    await audit(bench)


@shows(30)
async def a_correction(bench: Bench) -> None:
    bench.send(buy(1, 680_025, qty=4))
    (fill,) = await bench.sink.until(OrderFilled)
    await anyio.sleep(1)
    assert (fill.price, len(bench.sink.of(OrderFilled))) == (680_050, 1)
    (again,) = (await bench.adapter.query(0)).executions
    assert (again.execution_id, again.price, again.commission) == (fill.execution_id, 680_050, 900_000_000)


@shows(31)
async def an_overfill(bench: Bench) -> None:
    bench.send(buy(1, 680_025, qty=4))
    fills = await bench.sink.until(OrderFilled, 2)
    assert [(fill.qty, fill.leaves_qty) for fill in fills] == [(4, 0), (1, 0)]
    await audit(bench)


@shows(32)
async def a_late_commission(bench: Bench) -> None:
    bench.send(buy(1, 680_025, qty=4))
    (fill,) = await bench.sink.until(OrderFilled)
    assert (fill.commission, fill.commission_currency) == (0, "USD")
    (moved,) = await bench.sink.until(CashMoved)
    assert (moved.venue, moved.kind, moved.currency, moved.amount) == ("IB", CashKind.COMMISSION, "EUR", -900_000_000)
    assert (moved.instrument_id, moved.client_order_id) == (ES, order_id(1))
    assert moved.movement_id == f"{fill.execution_id}/commission/1/900000000EUR"
    # The venue says it all again: the fill is as it was said, and the movement is the same one.
    state = await bench.adapter.query(0)
    assert [(each.commission, each.commission_currency) for each in state.executions] == [(0, "USD")]
    assert state.cash_moves == (moved,)
    assert bench.sink.of(CashMoved) == [moved]
    assert bench.trouble == []


@shows(34)
async def an_order_that_is_alive_again(bench: Bench) -> None:
    bench.send(buy(1, 679_900, qty=2))
    await bench.sink.until(OrderAccepted)
    bench.send(CancelOrder(1, order_id(1)))
    await bench.sink.until(OrderCanceled)
    await bench.until(lambda: bench.trouble)
    assert "had ended and is Submitted again" in bench.trouble[0]
    await audit(bench)


@shows(37)
async def too_many_messages(bench: Bench) -> None:
    bench.send(buy(1, 679_900, qty=2))
    await bench.until(lambda: len(bench.states) == 2)
    await audit(bench)


@shows(43)
async def a_connection_that_ends_around_a_cancel(bench: Bench) -> None:
    bench.send(buy(1, 679_900, qty=2))
    await bench.sink.until(OrderAccepted)
    bench.send(CancelOrder(1, order_id(1)))
    await bench.until(lambda: len(bench.states) == 2)
    await audit(bench)
    bench.send(CancelAll(1, None))
    await bench.sink.until(OrderCanceled)


@shows(44, 45, 61)
async def logins_that_fail(bench: Bench) -> None:
    bench.served.cut_all()
    await bench.until(lambda: len(bench.states) == 2)
    bench.send(buy(1, 679_900))
    await bench.sink.until(OrderAccepted)
    await audit(bench)


@shows(69)
async def accounts_of_the_other_environment(bench: Bench) -> None:
    bench.served.cut_all()
    await bench.until(lambda: any("not logged in to account" in each for each in bench.trouble))
    bench.send(buy(1))
    assert (await bench.sink.until(OrderRejected))[0].reason is Reason.NOT_SENT
    await bench.until(lambda: len(bench.states) == 2)


@shows(57)
async def a_tick_that_has_changed(bench: Bench) -> None:
    bench.send(buy(1, 679_900))
    (rejected,) = await bench.sink.until(OrderRejected)
    assert rejected.reason is Reason.BAD_TICK
    await audit(bench)


@shows(56)
async def a_perm_id_beyond_every_double(bench: Bench) -> None:
    bench.send(buy(1, 679_900, qty=2))
    (accepted,) = await bench.sink.until(OrderAccepted)
    assert accepted.venue_order_id == str(2**60 + 1_000_000_001)
    await audit(bench)


@shows(42, 49, 50, 51, 54)
async def market_data_that_is_none(bench: Bench) -> None:
    bench.served.cut_all()
    await bench.until(lambda: len(bench.states) == 2)
    for count in range(1, 6):
        bench.quote("SELL", 680_050 + 25 * count, 3)
        bench.act("trade", listing=ES, side="BUY", qty=1)
        await anyio.sleep(0.2)
    for quote in bench.sink.of(Quote):
        assert all(680_000 - 100 <= price <= 680_500 for price in (quote.bid_price, quote.ask_price) if price), quote
    if bench.venue.faults.fired.get(51):
        assert len(bench.sink.of(GapDetected)) > 1
    if not bench.venue.faults.fired.get(42):
        assert bench.sink.of(Quote)[-1].ask_qty == 5
    await audit(bench)


@pytest.mark.parametrize("number", sorted(KNOWN))
def test_a_fault(number: int) -> None:
    async def test(bench: Bench) -> None:
        subscription = Subscription(instrument_id=ES, quotes="size", trades=True, book_levels=3 if number == 51 else 0)
        bench.adapter = bench.make_adapter(subscriptions=[subscription])
        async with bench.running():
            bench.venue.faults.arm(number)
            await SHOWN[number](bench)
        assert bench.venue.faults.fired.get(number), "the fault has not happened"

    in_a_loop(test)


def test_the_audit_finds_what_is_not_so() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, 680_025, qty=4), sell(2))
            await bench.sink.until(OrderFilled)
            await audit(bench)
            bench.sink.events.append(bench.sink.of(OrderFilled)[0])
            with pytest.raises(AssertionError):
                await audit(bench)

    in_a_loop(test)


@pytest.mark.parametrize(
    ("number", "target", "value"),
    [
        (22, "adapters.ib.fills.split_id", lambda text: (f"{text}{next(NUMBERS)}", 1)),
        (30, "adapters.ib.fills.split_id", lambda text: (text, 1)),
        (32, "adapters.ib.fills.Fills._settle", lambda _self, _ts, _done: None),
        (14, "adapters.ib.orders.meaning_of", lambda _code: Meaning.CANCELED),
        (2, "adapters.ib.orders.Desk.lost", lambda _self, _ts: None),
        (55, "adapters.ib.wire.FRAME_BYTES_MAX", 2**31),
        (51, "adapters.ib.market.Market._rebuild", lambda *_: []),
        (54, "adapters.ib.market.Market._side", staticmethod(lambda _view, _price, _size: (1, 1))),
    ],
)
def test_an_adapter_that_is_broken_on_purpose_is_noticed(
    monkeypatch: pytest.MonkeyPatch, number: int, target: str, value: Any
) -> None:
    monkeypatch.setattr(target, value)
    with pytest.raises((AssertionError, TimeoutError, BaseExceptionGroup)):
        test_a_fault(number)
