"""What the oracle of money must see, in plain ledgers; and whole worlds in which our side of it is broken on purpose."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from itertools import count
from typing import Any

import msgspec
import pytest

from adapters.sim.session import TradeSession
from core.cash import CashDesk
from daemon.trading.reconcile import _Looking
from tests.sim.whole.cash_auditor import CashBooks, audit_cash
from tests.sim.whole.world import run_world

SEEDS_MAX = 40  # within which a break must show
KEY = "ACME.SIM"
ACCOUNTS = {"SIM": "main"}


def line(amount: int, ts: int, instrument_id: str = KEY) -> dict[str, Any]:
    return {"account": "main", "instrument_id": instrument_id, "currency": "USD", "amount": amount, "ts": ts, "cause": "FUNDING"}


LEDGERS: dict[str, dict[str, Any]] = {
    "SIM": {
        "fills": [
            {"instrument_id": KEY, "side": "BUY", "price": 100, "qty": 2, "fee": 7, "fee_currency": "USD"},
            {"instrument_id": KEY, "side": "SELL", "price": 90, "qty": 1, "fee": -1, "fee_currency": "USD"},
        ],
        "cash": [line(-3, 5), line(-3, 50), line(-3, 51), line(20, 60, ""), {**line(999, 60), "account": "others"}],
    }
}


def books() -> CashBooks:
    moves = {("SIM", "M2"): (KEY, "USD", -3), ("SIM", "M3"): (KEY, "USD", -3), ("SIM", "M4"): ("", "USD", 20)}
    return CashBooks(begun_ts=50, moves=moves, booked={"USD": 14}, cash={"USD": -110 * 10**6 - 6 + 14})


def test_what_is_equal_is_equal_and_what_is_older_than_the_account_may_be_missing() -> None:
    assert audit_cash(LEDGERS, ACCOUNTS, books()) == []


def lost(ours: CashBooks) -> None:
    del ours.moves["SIM", "M3"]
    ours.booked["USD"] += 3
    ours.cash["USD"] += 3


def invented(ours: CashBooks) -> None:
    ours.moves["SIM", "M9"] = (KEY, "USD", -4)
    ours.booked["USD"] -= 4
    ours.cash["USD"] -= 4


def twice_under_two_names(ours: CashBooks) -> None:
    ours.moves["SIM", "M9"] = ("", "USD", 20)
    ours.booked["USD"] += 20
    ours.cash["USD"] += 20


def booked_twice(ours: CashBooks) -> None:
    ours.booked["USD"] += 20
    ours.cash["USD"] += 20


def of_another_size(ours: CashBooks) -> None:
    ours.moves["SIM", "M4"] = ("", "USD", 21)


def a_fee_is_missing(ours: CashBooks) -> None:
    ours.cash["USD"] += 7


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lost, "money: SIM moved ('ACME.SIM', 'USD', -3), and it is not in our journal"),
        (invented, "money: ('ACME.SIM', 'USD', -4) is in our journal, and SIM has not moved it"),
        (twice_under_two_names, "money: ('', 'USD', 20) is in our journal, and SIM has not moved it"),
        (booked_twice, "money: 14 USD was moved by the journal, 34 is booked"),
        (of_another_size, "money: SIM moved ('', 'USD', 20), and it is not in our journal"),
        (a_fee_is_missing, "cash in USD has become -109999985 here, and -109999992 by the venue (10^-8)"),
    ],
)
def test_what_differs_is_told(change: Callable[[CashBooks], None], sentence: str) -> None:
    ours = deepcopy(books())
    change(ours)
    assert audit_cash(LEDGERS, ACCOUNTS, ours)[0] == sentence


def test_a_venue_that_does_not_report_everything_is_not_held_to_it() -> None:
    ours = deepcopy(books())
    lost(ours)
    assert audit_cash(LEDGERS, ACCOUNTS, ours, reporting=()) == []


# Worlds.


def first_violation() -> str:
    for seed in range(SEEDS_MAX):
        verdict = run_world(seed, venues=("sim",))
        if verdict.violations:
            return verdict.violations[0]
    return ""


def money_of_the_time_away_is_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Looking, "_cash_moves", lambda _self: iter(()))


def it_goes_by_other_names_when_it_is_asked_for(patch: pytest.MonkeyPatch) -> None:
    known, names = TradeSession._of_ours, count()

    def renamed(self: TradeSession, state: Any) -> Any:
        moves = tuple(msgspec.structs.replace(each, movement_id=f"q{next(names)}") for each in state.cash_moves)
        return known(self, msgspec.structs.replace(state, cash_moves=moves))

    patch.setattr(TradeSession, "_of_ours", renamed)


def its_names_are_forgotten_with_the_process(patch: pytest.MonkeyPatch) -> None:
    restore = CashDesk.restore

    def forgetful(self: CashDesk, record: Any) -> None:
        restore(self, record)
        self._seen = {key: OrderedDict() for key in self._seen}

    patch.setattr(CashDesk, "restore", forgetful)


@pytest.mark.parametrize(
    "break_it",
    [
        money_of_the_time_away_is_not_asked_for,
        it_goes_by_other_names_when_it_is_asked_for,
        its_names_are_forgotten_with_the_process,
    ],
)
def test_a_break_is_noticed(monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None]) -> None:
    break_it(monkeypatch)
    assert first_violation().startswith(("money:", "cash in"))
