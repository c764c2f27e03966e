"""The auditor by itself: ledgers and journals' words that agree, and one lie at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.enums import InstrumentClass, TradingState
from core.instruments import Instrument
from core.trader_state import ForeignRecord, PositionRecord, TraderState
from daemon.drill.auditor import Books, Oracle, fills_of, judge_books, judge_secrets, judge_state

KEY = "ACME.VENUE"
INSTRUMENT = Instrument(
    instrument_id=KEY,
    instrument_class=InstrumentClass.PERPETUAL,
    base_currency="ACME",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=2,
    qty_scale=0,
)
PREFIXES = {"VENUE": "us"}
ACCOUNTS = {"VENUE": "main"}
MONEY = 10**8


def order(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "account": "main",
        "instrument_id": KEY,
        "venue_order_id": f"V{number}",
        "client_order_id": f"us-1-{number}",
        "side": "BUY",
        "qty": 10,
        "filled_qty": 10,
        "is_open": False,
        "ts": 1,
        "reduce_only": False,
        "origin": "client",
        **changed,
    }


def fill(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "account": "main",
        "instrument_id": KEY,
        "venue_order_id": f"V{number}",
        "client_order_id": f"us-1-{number}",
        "trade_id": f"T{number}",
        "side": "BUY",
        "qty": 10,
        "price": 10_000,
        "fee": 5,
        "fee_currency": "USD",
        "ts": 1,
        "is_busted": False,
        **changed,
    }


def ledger() -> dict[str, Any]:
    """Two orders of ours, each filled: 20 at 100.00."""
    return {
        "orders": [order(1), order(2)],
        "fills": [fill(1), fill(2)],
        "positions": {"main": {KEY: 20}},
        "balances": {"main": {"USD": 0}},
    }


def books() -> Books:
    position = PositionRecord("", KEY, 20, str(2_000 * MONEY), "0", "10", 20, 0, "0")
    state = TraderState(
        cash={"USD": str(1_000 * MONEY - 10)},
        positions=(position,),
        fills_booked=2,
        trading_state=TradingState.ACTIVE,
        orders=(),
        executions=(),
        marks={},
    )
    filled = {(name, f"T{name}"): (name, "BUY", 10, 10_000) for name in ("us-1-1", "us-1-2")}
    return Books(Counter({"us-1-1": 1, "us-1-2": 1}), filled, state)


def judged(
    there: dict[str, Any],
    here: Books,
    foreign: dict[str, int] | None = None,
    reporting: tuple[str, ...] = (),
    *,
    is_theirs: bool = False,
) -> list[Oracle]:
    ledgers = {"VENUE": there}
    found = judge_books(here, ledgers, ACCOUNTS, PREFIXES)
    cash = {"USD": 1_000 * MONEY}
    found += judge_state(here, ledgers, ACCOUNTS, [INSTRUMENT], cash, foreign or {}, reporting, is_cash_theirs=is_theirs)
    return [breach.oracle for breach in found]


def test_what_agrees_is_not_complained_of() -> None:
    assert judged(ledger(), books()) == []


def test_other_accounts_and_the_guardians_closing_are_not_ours() -> None:
    there = ledger()
    there["orders"] += [order(7, account="other"), order(8, client_order_id="", reduce_only=True, filled_qty=0)]
    there["fills"].append(fill(7, account="other"))
    assert judged(there, books()) == []


def lie(change: Callable[[dict[str, Any], Books], None]) -> list[Oracle]:
    there, here = ledger(), books()
    change(there, here)
    return judged(there, here)


def second_order(there: dict[str, Any], _here: Books) -> None:
    there["orders"].append(order(3, client_order_id="us-1-1"))


def sent_twice(_there: dict[str, Any], here: Books) -> None:
    here.sent["us-1-1"] = 2


def not_journaled(_there: dict[str, Any], here: Books) -> None:
    del here.sent["us-1-2"]


def nameless(there: dict[str, Any], _here: Books) -> None:
    there["orders"].append(order(3, client_order_id="", filled_qty=0))


def fill_lost(there: dict[str, Any], _here: Books) -> None:
    there["fills"].append(fill(2, trade_id="T3", qty=0, fee=0))


def fill_invented(_there: dict[str, Any], here: Books) -> None:
    here.filled["us-1-2", "T9"] = ("us-1-2", "BUY", 10, 10_000)


def position_off(there: dict[str, Any], _here: Books) -> None:
    there["positions"]["main"][KEY] = 30


def cash_off(_there: dict[str, Any], here: Books) -> None:
    assert here.state is not None
    here.state = msgspec.structs.replace(here.state, cash={"USD": str(1_000 * MONEY - 20)})


def unreadable(_there: dict[str, Any], here: Books) -> None:
    here.problems.append("a record was refused")


@pytest.mark.parametrize(
    ("change", "oracles"),
    [
        (second_order, [Oracle.ONE_ORDER]),
        (sent_twice, [Oracle.ONE_ORDER]),
        (not_journaled, [Oracle.INTENT]),
        (nameless, [Oracle.INTENT]),
        (fill_lost, [Oracle.LEDGER]),
        (fill_invented, [Oracle.LEDGER]),
        (position_off, [Oracle.LEDGER]),
        (cash_off, [Oracle.LEDGER]),
        (unreadable, [Oracle.LEDGER]),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_each_lie_is_noticed(change: Callable[[dict[str, Any], Books], None], oracles: list[Oracle]) -> None:
    assert lie(change) == oracles


def test_a_stop_that_became_an_order_is_one_intent() -> None:
    there = ledger()
    there["orders"].append(order(3, client_order_id="us-1-1", triggered_by="V1", filled_qty=0))
    assert judged(there, books()) == []


def test_foreign_fills_are_counted_or_are_exactly_what_is_missing() -> None:
    there = ledger()
    there["orders"].append(order(3, client_order_id="", origin="manual"))
    there["fills"].append(fill(3, client_order_id=""))
    there["positions"]["main"][KEY] = 30
    assert judged(there, books(), {KEY: 10}, is_theirs=True) == []
    assert judged(there, books(), {KEY: 10}) == [Oracle.LEDGER], "their cash counts where nobody says that it is theirs"
    there["positions"]["main"][KEY] = 35
    assert judged(there, books(), {KEY: 10}, is_theirs=True) == [Oracle.LEDGER]


def test_what_exceeds_an_order_is_no_fill_of_ours() -> None:
    there = ledger()
    there["fills"].append(fill(1, qty=2))
    mine, others = fills_of(there, "main", "us")
    assert (len(mine), others) == (2, [there["fills"][-1]])
    assert judged(there, books(), is_theirs=True) == []


def test_what_was_taken_back_may_be_booked_or_not() -> None:
    there = ledger()
    there["fills"][0]["is_busted"] = True
    there["positions"]["main"][KEY] = 10
    assert judged(there, books(), {KEY: -10}, is_theirs=True) == []
    assert judged(there, books(), {KEY: -9}, is_theirs=True) == [Oracle.LEDGER]
    here = books()
    del here.filled["us-1-1", "Tus-1-1"]
    assert judged(there, here, {KEY: -10}, is_theirs=True) == []


def with_funding(*, booked: int) -> tuple[dict[str, Any], Books]:
    """The venue has moved 3 of ours twice, and 4 before the account began; `booked` of the three are in our books."""
    there, here = ledger(), books()
    move = {"account": "main", "instrument_id": KEY, "currency": "USD", "amount": -3, "ts": 9, "cause": "funding"}
    there["cash"] = [{**move, "amount": -4, "ts": 0}, move, move, {**move, "account": "other"}]
    assert here.state is not None
    here.moves = {("VENUE", f"M{number}"): (KEY, "USD", -3) for number in range(booked)}
    cash = {"USD": str(1_000 * MONEY - 10 - 3 * booked)}
    here.state = msgspec.structs.replace(here.state, cash=cash, foreign=ForeignRecord(begun_ts=5))
    return there, here


@pytest.mark.parametrize(
    ("booked", "oracles"),
    [(2, []), (1, [Oracle.LEDGER]), (0, [Oracle.LEDGER, Oracle.LEDGER]), (3, [Oracle.ONCE]), (9, [Oracle.ONCE, Oracle.LEDGER])],
)
def test_money_that_moves_without_a_fill_is_held_against_the_venues(booked: int, oracles: list[Oracle]) -> None:
    """Of the sum two fills leave a tolerance of 4: less than that, only the movements themselves show."""
    there, here = with_funding(booked=booked)
    assert judged(there, here, reporting=("VENUE",)) == oracles
    assert judged(there, here) == [], "a venue that does not report it is not held to it"


def test_a_secret_is_found_wherever_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.log").write_text("nothing here")
    assert judge_secrets(tmp_path, ["hush-hush"]) == []
    (tmp_path / "deep" / "frames.bin").write_bytes(b"\0\1hush-hush\2")
    (breach,) = judge_secrets(tmp_path, ["hush-hush"])
    assert (breach.oracle, breach.text) == (Oracle.SECRETS, "a secret is in deep/frames.bin")
