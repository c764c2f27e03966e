"""Money that moves without a fill: each movement once, by stream and by question; the venue's balance is what was told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adapters.oanda.cash import Cash
from adapters.oanda.rules import name_of, rules_of
from adapters.oanda.wire import Transaction, body_of
from core.enums import CashKind, OrderStatus, Side
from core.errors import VenueProtocolError
from core.events import CashMoved, OrderFilled
from core.units import divide_half_even
from tests.adapters.oanda.world import ACCOUNT, BALANCE, DAY_END_NS, EURO, MID, MS, POUND, YEN, S, World, instruments

NOW = 1_790_000_000 * S
TIME = "2026-09-21T14:13:20.000000001Z"
ROUNDING = 10**4 // 2  # of each fill's profit: OANDA books whole ten-thousandths


def transaction(**fields: object) -> Transaction:
    return body_of(Transaction, msgspec.json.encode({"id": "77", "time": TIME, **fields}))


def moves(found: Transaction, home: str = "USD") -> list[tuple[str, CashKind, str, int, str]]:
    by_name = {name_of(key, {}): rules_of(each, name_of(key, {})) for key, each in instruments(EURO, YEN).items()}
    made = Cash("OANDA", by_name).moves(NOW, found, home)
    assert all((each.ts_event, each.ts_init, each.venue) == (NOW + 1, NOW, "OANDA") for each in made)
    return [(each.movement_id, each.kind, each.currency, each.amount, each.instrument_id) for each in made]


def test_a_day_of_financing_is_booked_by_position_and_what_is_left_by_account() -> None:
    parts = [{"instrument": name, "financing": amount} for name, amount in (("EUR_USD", "-0.5"), ("XAU_USD", "0.0300"))]
    found = transaction(type="DAILY_FINANCING", financing="-0.4710", positionFinancings=parts)
    assert moves(found) == [
        ("77.EUR_USD", CashKind.INTEREST, "USD", -50_000_000, EURO),
        ("77.XAU_USD", CashKind.INTEREST, "USD", 3_000_000, ""),
        ("77", CashKind.INTEREST, "USD", -100_000, ""),
    ]
    # Bodies without positions are of earlier versions.
    assert moves(transaction(type="DAILY_FINANCING", financing="1.25")) == [("77", CashKind.INTEREST, "USD", 125_000_000, "")]


def test_transfers_corrections_dividends_and_what_moves_nothing() -> None:
    assert moves(transaction(type="TRANSFER_FUNDS", amount="-100.5", fundingReason="CLIENT_FUNDING")) == [
        ("77", CashKind.TRANSFER, "USD", -10_050_000_000, "")
    ]
    assert moves(transaction(type="TRANSFER_FUNDS", amount="3", fundingReason="ADJUSTMENT")) == [
        ("77", CashKind.CORRECTION, "USD", 300_000_000, "")
    ]
    assert moves(transaction(type="DIVIDEND_ADJUSTMENT", instrument="EUR_USD", dividendAdjustment="0.0001")) == [
        ("77", CashKind.DIVIDEND, "USD", 10_000, EURO)
    ]
    for kind in ("RESET_RESETTABLE_PL", "TRANSFER_FUNDS_REJECT", "CREATE", "MARGIN_CALL_ENTER", "LIMIT_ORDER"):
        assert moves(transaction(type=kind, amount="5", pl="1.0000")) == []


def test_of_a_fill_only_its_financing_is_money_of_its_own() -> None:
    fill = {"type": "ORDER_FILL", "instrument": "EUR_USD", "units": "-5", "price": "1.1", "pl": "-3.0000", "quotePL": "-3.0000"}
    costs = {"commission": "0.2", "guaranteedExecutionFee": "0.1", "halfSpreadCost": "0.05"}
    assert moves(transaction(**fill, **costs, financing="0.0000")) == []
    assert moves(transaction(**fill, **costs, financing="-0.0123")) == [("77", CashKind.INTEREST, "USD", -1_230_000, EURO)]


def test_a_profit_in_another_currency_is_converted_at_once() -> None:
    fill = {"type": "ORDER_FILL", "instrument": "USD_JPY", "units": "-5", "price": "150.1", "pl": "65.2318"}
    assert moves(transaction(**fill, quotePL="9850.0000")) == [
        ("77.JPY", CashKind.OTHER, "JPY", -985_000_000_000, YEN),
        ("77.USD", CashKind.OTHER, "USD", 6_523_180_000, YEN),
    ]
    # Nobody says how much of which: then it stays in yen here.
    assert moves(transaction(**fill)) == []


def test_a_fill_that_nobody_books_is_money_without_one() -> None:
    fill = {"type": "ORDER_FILL", "instrument": "XAU_USD", "units": "-5", "price": "1900", "pl": "10", "commission": "0.5"}
    assert moves(transaction(**fill, financing="-1")) == [
        ("77", CashKind.INTEREST, "USD", -100_000_000, ""),
        ("77.XAU_USD", CashKind.OTHER, "USD", 950_000_000, ""),
    ]


@pytest.mark.parametrize("amount", ["NaN", "1e5", "", "--1", "1,5"])
def test_an_amount_that_is_none_is_refused_or_nothing(amount: str) -> None:
    found = transaction(type="TRANSFER_FUNDS", amount=amount)
    if not amount:
        assert moves(found) == []
        return
    with pytest.raises(VenueProtocolError):
        moves(found)


def told(world: World) -> dict[str, CashMoved]:
    found = [event for event in world.events if isinstance(event, CashMoved)]
    assert len({each.movement_id for each in found}) == len(found), "one was told twice"
    return {each.movement_id: each for each in found}


def cash_here(world: World, currency: str, moved: list[CashMoved]) -> int:
    """What an account of ours would hold: of each fill what it cost, of each movement its amount."""
    fills = [event for event in world.events if isinstance(event, OrderFilled)]
    total = sum(move.amount for move in moved if move.currency == currency)
    for fill in fills:
        rules = world.instruments[fill.instrument_id]
        if rules.settlement_currency == currency:
            total -= rules.notional(fill.price, fill.qty if fill.side is Side.BUY else -fill.qty)
        if fill.commission_currency == currency:
            total -= fill.commission
    return total


def opened_at(world: World, instrument_id: str) -> int:
    name = instrument_id.removesuffix(".OANDA")
    return world.book.account.holding(world.venue.engine.exchange.listings[name]).value_open


@pytest.mark.parametrize("by_second", [False, True])
def test_the_venues_balance_is_what_was_told(by_second: bool) -> None:
    """Positions in three pairs over a day's end, transfers, a dividend, a cut and a stream that leaves lines out."""
    world = World(names=(EURO, POUND, YEN), start_ns=DAY_END_NS - 60 * S, by_second=by_second)
    world.begin()
    for place in range(24):
        key = (EURO, POUND, YEN)[place % 3]
        world.submit(20_000 + 10 * place, side=Side.BUY if place // 3 % 2 else Side.SELL, instrument_id=key)
        if place == 8:
            world.act("transfer", account=ACCOUNT, amount=-250 * 10**8)
            world.arm(42, 2)
        if place == 13:
            world.act("dividend", account=ACCOUNT, instrument="EUR_USD", amount=3 * 10**7)
            world.act("cut", account=ACCOUNT)
        if place == 16:
            world.act("adjustment", account=ACCOUNT, amount=10**6)
            world.act("reset", account=ACCOUNT)
        world.run_for(5 * S + 137 * MS)
    world.run_for(25 * S)
    moved = told(world)
    assert {each.kind for each in moved.values()} == {
        CashKind.INTEREST,
        CashKind.TRANSFER,
        CashKind.DIVIDEND,
        CashKind.CORRECTION,
        CashKind.OTHER,
    }
    asked = world.query().cash_moves
    # The question says the same, and the deposit of before the adapter was there.
    assert [each.amount for each in asked if each.movement_id not in moved] == [BALANCE]
    plain = {each.movement_id: msgspec.structs.replace(each, ts_init=0) for each in asked}
    assert {key: msgspec.structs.replace(each, ts_init=0) for key, each in moved.items()}.items() <= plain.items()
    fills = len([event for event in world.events if isinstance(event, OrderFilled)])
    difference = world.book.balance() - BALANCE - cash_here(world, "USD", list(moved.values()))
    difference -= opened_at(world, EURO) + opened_at(world, POUND)
    assert fills == 24
    assert abs(difference) <= fills * ROUNDING
    # What is left in yen is what the position was opened at: nothing of a profit.
    yen = cash_here(world, "JPY", list(moved.values())) + opened_at(world, YEN)
    assert abs(yen) <= fills * ROUNDING
    assert world.audit() == []
    world.end()


def test_money_that_cannot_be_read_is_told_and_takes_nothing_with_it() -> None:
    """The fill that it came with is booked, and questions are answered."""
    world = World()
    world.begin()
    write = world.book.write

    def spoiled(ts: int, kind: str, **fields: Any) -> dict[str, Any]:
        return write(ts, kind, **{**fields, "financing": "much"} if kind == "ORDER_FILL" else fields)

    world.book.write = spoiled  # type: ignore[method-assign]
    order = world.settle(world.submit(1_000))
    assert order.status is OrderStatus.FILLED
    assert world.query().positions[EURO] == 1_000
    assert told(world) == {}
    assert len([text for text in world.troubles if "the money of transaction 4 (ORDER_FILL) is not booked" in text]) == 1
    world.end()


def test_what_moved_while_nobody_was_there_is_in_the_answer() -> None:
    world = World()
    world.begin()
    world.settle(world.submit(1_000))
    world.stop()
    gone = world.now()
    world.act("financing")
    world.run_for(10 * S)
    world.begin()
    assert told(world) == {}
    (move,) = world.query(gone).cash_moves
    expected = -divide_half_even(MID * 1_000 * 1_000 * 3, 100 * 365)  # three percent a year of what is held, for a day
    assert (move.kind, move.instrument_id, move.movement_id) == (CashKind.INTEREST, EURO, "5.EUR_USD")
    assert abs(move.amount - expected) <= ROUNDING
    world.end()
