"""Account limits and money that no fill explains: funding is a loss like any other, a deposit or a withdrawal is none."""

from __future__ import annotations

from typing import Any

import msgspec

from core.enums import CashKind, Side
from core.events import CashMoved, StateRestored
from core.restore import capture
from core.risk_limits import LossLimits, StrategyBudget
from core.units import NS_PER_DAY
from tests.core.account import MONEY, STOCK, Desk

LOSS = LossLimits(daily_loss_max=10 * MONEY, weekly_loss_max=20 * MONEY, drawdown_ppm_max=5_000)


def long_desk(**account: Any) -> Desk:
    """100 shares bought at 100.01, worth 99.99 each: a loss of 2.00."""
    desk = Desk(**{"loss": LOSS, **account})
    desk.stock()
    desk.fill(desk.order(Side.BUY, 100))
    return desk


def move(desk: Desk, amount: int, kind: CashKind = CashKind.TRANSFER, currency: str = "USD", instrument_id: str = "") -> None:
    desk.now += 1
    name = f"m{desk.trader.cash.booked}"
    desk.step(CashMoved(desk.now, desk.now, "XNAS", name, kind, currency, amount, instrument_id))


def losses(desk: Desk) -> dict[str, int]:
    (watch,) = desk.trader.account_risk.watches
    return {
        "day": watch.day_equity - watch.equity,
        "week": watch.week_equity - watch.equity,
        "peak": watch.peak_equity - watch.equity,
    }


def test_a_withdrawal_is_no_loss_and_a_deposit_no_profit() -> None:
    for amount in (-5_000 * MONEY, 7 * MONEY, 10**6 * MONEY):
        desk = long_desk()
        before = losses(desk)
        move(desk, amount)
        assert (desk.state, desk.trader.tripped) == ("ACTIVE", [])
        assert losses(desk) == before == dict.fromkeys(("day", "week", "peak"), 2 * MONEY)
        # A loss after it is judged as it would have been: from 100.01 to 99.91 is 10.00.
        desk.stock(9_991, 9_993)
        assert desk.state == "ACTIVE"
        desk.stock(9_990, 9_992)
        assert (desk.state, desk.trader.tripped[0].limit, desk.trader.tripped[0].value) == (
            "HALTED",
            "daily_loss_max",
            11 * MONEY,
        )


def test_a_deposit_does_not_hide_a_loss_when_the_day_turns() -> None:
    desk = long_desk()
    move(desk, 1_000 * MONEY)
    desk.stock(9_995, 9_997, ts=NS_PER_DAY + 1)  # lost in the night: 4.00 of the new day
    assert losses(desk) == {"day": 4 * MONEY, "week": 6 * MONEY, "peak": 6 * MONEY}


def test_drawdown_is_measured_by_what_is_left_in_the_account() -> None:
    desk = long_desk(loss=LossLimits(drawdown_ppm_max=5_000))
    move(desk, -9_000 * MONEY)  # the peak is 1,000 now, and 2.00 below it are 2,000 ppm
    assert desk.state == "ACTIVE"
    desk.stock(9_995, 9_997)  # 6.00 below
    assert (desk.state, desk.trader.tripped[0].value) == ("HALTED", 6_000)


def test_funding_is_a_loss_that_trips_at_once() -> None:
    desk = long_desk()
    move(desk, -8 * MONEY, CashKind.FUNDING, instrument_id=STOCK)
    assert desk.state == "ACTIVE"
    move(desk, -1, CashKind.FUNDING, instrument_id=STOCK)
    assert (desk.state, desk.trader.tripped[0].limit) == ("HALTED", "daily_loss_max")
    assert desk.sent[-1] == "CancelAll"


def test_what_a_strategy_carries_counts_against_its_own_limit() -> None:
    budgets = {
        "a": StrategyBudget(capital_max=100_000 * MONEY, loss=LossLimits(daily_loss_max=10 * MONEY)),
        "b": StrategyBudget(),
    }
    desk = long_desk(loss=LossLimits(), strategies=budgets)
    move(desk, -9 * MONEY, CashKind.INTEREST)  # of the account: nobody's
    assert desk.trader.tripped == []
    move(desk, -9 * MONEY, CashKind.INTEREST, instrument_id=STOCK)
    (tripped,) = desk.trader.tripped
    assert (tripped.strategy_id, tripped.limit, tripped.value) == ("a", "daily_loss_max", 11 * MONEY)
    assert desk.state == "ACTIVE"


def test_a_transfer_in_a_currency_without_a_rate_leaves_equity_unknown_until_it_is_gone() -> None:
    desk = long_desk()
    move(desk, 5, currency="DOGE")
    assert desk.verdict(Side.SELL, 1).startswith("equity")
    state = capture(desk.trader)
    assert state.cash_moved.unshifted == {"DOGE": "5"}
    move(desk, -5, currency="DOGE")
    assert desk.trader.account_risk.unshifted == {}
    assert desk.verdict(Side.SELL, 1) == "sent"


def test_another_currency_is_shifted_at_its_rate() -> None:
    desk = long_desk()
    before = losses(desk)
    move(desk, 3 * MONEY, currency="USDT")
    assert (losses(desk), desk.trader.account_risk.watches[0].equity) == (before, (10_000 - 2 + 3) * MONEY)


def test_a_restart_goes_on_from_the_shifted_bases() -> None:
    desk = long_desk()
    move(desk, -500 * MONEY)
    move(desk, -3 * MONEY, CashKind.FUNDING, instrument_id=STOCK)
    again = Desk(loss=LOSS)
    data = msgspec.msgpack.encode(StateRestored(desk.now, desk.now, 1, capture(desk.trader)))
    again.trader.step(msgspec.msgpack.decode(data, type=StateRestored))
    again.now = desk.now
    again.stock()
    assert losses(again) == losses(desk) == dict.fromkeys(("day", "week", "peak"), 5 * MONEY)


def test_without_limits_nothing_is_judged() -> None:
    desk = Desk()
    move(desk, -(10**6) * MONEY, CashKind.FUNDING, instrument_id=STOCK)
    assert (desk.state, desk.trader.portfolio.cash["USD"]) == ("ACTIVE", 10_000 * MONEY - 10**6 * MONEY)
