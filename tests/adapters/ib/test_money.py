"""What a fill comes to behind its booking: late and other commissions, corrected prices; each movement once, by its name."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from adapters.ib.contracts import Listed, wanted_contract
from adapters.ib.fills import Done, Fills
from adapters.ib.messages import Commission, Execution
from core.enums import CashKind
from core.events import CashMoved, OrderFilled
from sim.venues.ib.opening import INSTRUMENTS
from tests.adapters.ib.bench import ES, Bench, buy, in_a_loop, order_id
from tests.adapters.ib.test_opening import SETTINGS

pytestmark = pytest.mark.timeout(60)
WANTED = wanted_contract(INSTRUMENTS[ES], "", SETTINGS)
FUTURE = Listed(INSTRUMENTS[ES], WANTED, WANTED)


def cost(bench: Bench) -> Counter[str]:
    """What fills and movements have said that commissions come to, by currency; their opposites."""
    total: Counter[str] = Counter()
    for fill in bench.sink.of(OrderFilled):
        total[fill.commission_currency] -= fill.commission
    for move in bench.sink.of(CashMoved):
        total[move.currency] += move.amount if move.kind is CashKind.COMMISSION else 0
    return Counter({name: amount for name, amount in total.items() if amount})


def fees(bench: Bench) -> Counter[str]:
    total: Counter[str] = Counter()
    for fill in bench.venue.ledger()["fills"]:
        total[fill["fee_currency"]] -= 0 if fill["is_busted"] else fill["fee"]
    for moved in bench.venue.ledger()["cash"]:
        total[moved["currency"]] += moved["amount"]
    return Counter({name: amount for name, amount in total.items() if amount})


@pytest.mark.parametrize(("number", "currency"), [(0, "USD"), (32, "EUR")])
def test_what_commissions_come_to_is_the_venues_ledger(number: int, currency: str) -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            if number:
                bench.venue.faults.arm(number, 2)
            bench.send(buy(1, 680_025, qty=4), buy(2, 680_025, qty=2))
            await bench.sink.until(OrderFilled, 2)
            await bench.until(lambda: cost(bench) == fees(bench))
            assert cost(bench) == Counter({currency: -1_350_000_000})
            assert bench.trouble == []

    in_a_loop(test)


def test_a_price_that_is_corrected_behind_the_booking_is_booked_in_cash() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, 680_025, qty=4))
            (fill,) = await bench.sink.until(OrderFilled)
            bench.act("correct", number=1, price=680_050)
            (moved,) = await bench.sink.until(CashMoved)
            # A quarter of a point more for four contracts of 50 dollars a point.
            assert (moved.kind, moved.currency, moved.amount) == (CashKind.CORRECTION, "USD", -50 * 10**8)
            assert (moved.movement_id, moved.client_order_id) == (f"{fill.execution_id}/price/2", order_id(1))
            assert "the difference is booked in cash" in bench.trouble[0]
            await anyio.sleep(1)
            state = await bench.adapter.query(0)
            assert ([each.price for each in state.executions], state.cash_moves) == ([680_025], (moved,))
            assert bench.sink.of(CashMoved) == [moved]
            assert cost(bench) == fees(bench)

    in_a_loop(test)


def test_a_process_that_begins_again_says_nothing_of_what_another_may_have_booked() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.venue.faults.arm(32)
            bench.send(buy(1, 680_025, qty=4))
            await bench.sink.until(OrderFilled)
        bench.sink.events.clear()
        bench.adapter = bench.make_adapter()
        async with bench.running():
            (fill,) = bench.states[-1].executions
            assert (fill.commission, fill.commission_currency) == (900_000_000, "EUR")
            await anyio.sleep(4)
            assert (await bench.adapter.query(0)).cash_moves == ()
            assert bench.sink.of(CashMoved) == []

    in_a_loop(test)


# By hand, message by message.


def executed(fills: Fills, name: str = "e.01", price: str = "6800.25", qty: str = "4") -> Done | None:
    message = Execution(-1, name, 1_790_000_000, "DU1", "BOT", qty, price, 1, 11, 1, qty, "", 0, 1, "ES")
    return fills.take(1_000, message, FUTURE, order_id(1), 0, True)


def charged(fills: Fills, name: str, amount: str, currency: str = "USD") -> list[tuple[str, int, str]]:
    fills.charge(2_000, Commission(name, amount, currency))
    moves, fills.moves = fills.moves, []
    return [(move.movement_id, move.amount, move.currency) for move in moves]


def test_each_report_is_said_by_what_it_adds() -> None:
    fills = Fills("IB")
    done = executed(fills)
    assert done is not None
    assert fills.say(done, FUTURE, 0).commission == 0
    assert charged(fills, "e.01", "9") == [("e/commission/1/900000000USD", -900_000_000, "USD")]
    assert charged(fills, "e.01", "9") == []
    assert charged(fills, "e.01", "7.5") == [("e/commission/1/750000000USD", 150_000_000, "USD")]
    assert charged(fills, "e.01", "8", "EUR") == [
        ("e/commission/1/800000000EUR/back", 750_000_000, "USD"),
        ("e/commission/1/800000000EUR", -800_000_000, "EUR"),
    ]
    assert [move.amount for move in done.moves] == [-900_000_000, 150_000_000, 750_000_000, -800_000_000]
    assert (done.fill.commission, done.fill.commission_currency) == (0, "USD")
