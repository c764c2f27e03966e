"""Account limits that trip: at the bound and one past it, what they cancel, what they say, and what it takes to come back."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.account_risk import LossWatch
from core.enums import Reason, Side, TradingState
from core.errors import ConfigError, StateError
from core.events import (
    AnyEvent,
    Bar,
    LimitTripped,
    OrderRejected,
    ReplaceRejected,
    Started,
    Trade,
    TradingResumed,
    TradingStateSet,
)
from core.risk_conversion import ONE
from core.risk_limits import LossLimits, StrategyBudget, WindowLimit
from core.risk_states import TradingStates
from core.units import INT64_MAX, NS_PER_DAY, NS_PER_MS, NS_PER_SECOND
from tests.core.account import MONEY, PERP, STOCK, Desk
from tests.core.records import quote
from tests.core.test_trader import Scripted, trader_of

BUY, SELL = Side.BUY, Side.SELL
HOUR = NS_PER_DAY // 24


def long_desk(**account: Any) -> Desk:
    """100 shares bought at 100.01, worth 99.99 each: a loss of 2.00."""
    desk = Desk(**account)
    desk.stock()
    desk.fill(desk.order(BUY, 100))
    return desk


# Losses.


def test_the_daily_loss_trips_one_past_its_bound() -> None:
    desk = long_desk(loss=LossLimits(daily_loss_max=10 * MONEY))
    resting = desk.order(SELL, 5, 10_500)
    foreign = desk.order(BUY, 5, 9_000, who="b")
    desk.stock(9_991, 9_993)  # ten cents below 100.01: 10.00
    assert (desk.state, desk.trader.tripped) == ("ACTIVE", [])
    desk.stock(9_990, 9_992)
    inputs = (("equity", 10_000 * MONEY - 11 * MONEY), *((f"{name}_equity", 10_000 * MONEY) for name in ("day", "week", "peak")))
    assert desk.trader.tripped == [
        LimitTripped(desk.now, desk.now, "", TradingState.HALTED, "daily_loss_max", 11 * MONEY, 10 * MONEY, inputs)
    ]
    assert desk.state == "HALTED"
    assert desk.sent[-1] == "CancelAll"
    assert (resting.status.name, foreign.status.name) == ("PENDING_CANCEL", "PENDING_CANCEL")
    assert desk.a.states == desk.b.states == [("HALTED", f"daily_loss_max: {11 * MONEY} is past {10 * MONEY}")]
    assert desk.verdict(SELL, 1) == "trading_state 2 > 0"
    desk.stock(9_980, 9_982)
    assert desk.trader.tripped == []  # it has tripped: it says so once


def test_fees_and_fills_count_at_once_whatever_the_schedule_says() -> None:
    desk = Desk(loss=LossLimits(daily_loss_max=10 * MONEY), mark_interval_ns=10**18)
    desk.stock()
    order = desk.order(BUY, 100)
    desk.fill(order, 50, commission=9 * MONEY)  # and a spread of 1.00
    assert desk.state == "ACTIVE"
    desk.fill(order, 50, commission=1)
    assert desk.state == "HALTED"


def test_a_strategy_is_halted_before_it_hears_of_the_fill_that_did_it() -> None:
    desk = Desk(loss=LossLimits(daily_loss_max=1))
    heard: list[str] = []
    context = desk.trader.contexts[0]
    context.on_fill = lambda context, _order, _fill: heard.append(context.submit(STOCK, SELL, 1, 9_999).status.name)
    desk.stock()
    desk.fill(desk.order(BUY, 10))
    assert heard == ["DENIED"]


def test_between_valuations_quotes_are_not_looked_at() -> None:
    desk = long_desk(loss=LossLimits(daily_loss_max=10 * MONEY), mark_interval_ns=100)
    desk.stock(9_000, 9_001, ts=100)
    assert desk.state == "ACTIVE"
    desk.stock(9_000, 9_001, ts=101)  # the first quote came at 1
    assert desk.state == "HALTED"


def test_weekly_loss_and_drawdown_at_their_bounds() -> None:
    for loss, name, past in (
        (LossLimits(weekly_loss_max=10 * MONEY), "weekly_loss_max", 11 * MONEY),
        (LossLimits(drawdown_ppm_max=1_000), "drawdown_ppm_max", 1_100),
    ):
        desk = long_desk(loss=loss)
        desk.stock(9_991, 9_993)
        assert desk.state == "ACTIVE"
        desk.stock(9_990, 9_992)
        (tripped,) = desk.trader.tripped
        assert (tripped.limit, tripped.value, tripped.bound) == (name, past, loss.drawdown_ppm_max or loss.weekly_loss_max)


def test_drawdown_is_from_the_peak() -> None:
    desk = long_desk(loss=LossLimits(drawdown_ppm_max=10_000))
    desk.stock(20_001, 20_003)  # worth 10,000 more: the peak is 20,000
    desk.stock(18_001, 18_003)
    assert desk.state == "HALTED"
    assert desk.trader.tripped[0].value == 100_000
    assert dict(desk.trader.tripped[0].inputs)["peak_equity"] == 20_000 * MONEY


def test_at_a_share_of_the_limit_trading_is_reducing() -> None:
    desk = long_desk(loss=LossLimits(daily_loss_max=10 * MONEY, reduce_at_ppm=500_000))
    resting = desk.order(BUY, 5, 9_000)
    desk.stock(9_996, 9_998)
    assert desk.state == "ACTIVE"
    desk.stock(9_995, 9_997)
    assert (desk.state, desk.trader.tripped[0].value, dict(desk.trader.tripped[0].inputs)["reduce_at_ppm"]) == (
        "REDUCING",
        6 * MONEY,
        500_000,
    )
    assert resting.status.name == "SUBMITTED"
    assert desk.verdict(BUY, 1).startswith("trading_state_reducing")
    assert desk.verdict(SELL, 100) == "sent"
    desk.stock(9_000, 9_002)
    assert desk.state == "HALTED"


def test_a_strategys_loss_halts_that_strategy_alone() -> None:
    budget = StrategyBudget(capital_max=100_000 * MONEY, loss=LossLimits(daily_loss_max=10 * MONEY))
    desk = Desk(strategies={"a": budget})
    desk.stock()
    desk.fill(desk.order(BUY, 100))
    desk.fill(desk.order(BUY, 500, who="b"))
    mine, theirs = desk.order(SELL, 5, 10_500), desk.order(SELL, 5, 10_500, who="b")
    desk.stock(9_990, 9_992)
    assert (desk.state, desk.trader.risk.states.strategies()) == ("ACTIVE", [("a", TradingState.HALTED)])
    assert (mine.status.name, theirs.status.name) == ("PENDING_CANCEL", "SUBMITTED")
    assert ([state for state, _ in desk.a.states], desk.b.states) == (["HALTED"], [])
    assert (desk.verdict(SELL, 1), desk.verdict(SELL, 1, who="b")) == ("trading_state 2 > 0", "sent")
    # The stricter of the two states counts.
    desk.step(TradingStateSet(desk.now, desk.now, TradingState.REDUCING, "operator"))
    assert [state for state, _ in desk.a.states] == ["HALTED", "HALTED"]
    assert [state for state, _ in desk.b.states] == ["REDUCING"]


def test_a_reducing_strategy_may_close_its_own_position_whatever_the_others_hold() -> None:
    desk = Desk()
    desk.stock()
    desk.fill(desk.order(BUY, 10))
    desk.fill(desk.order(SELL, 30, who="b"))
    desk.step(TradingStateSet(desk.now, desk.now, TradingState.REDUCING, "x", "a"))
    assert desk.verdict(SELL, 6) == "sent"
    assert desk.verdict(SELL, 5) == "trading_state_reducing 5 > 4"
    assert desk.verdict(BUY, 1) == "trading_state_reducing 1 > 0"
    assert desk.verdict(SELL, 5, who="b") == "sent"


# Days.


def test_a_new_day_begins_at_its_boundary_and_counts_from_the_last_equity_before() -> None:
    start = 20_000 * NS_PER_DAY
    limits = LossLimits(daily_loss_max=10 * MONEY, day_start_ns=22 * HOUR)
    watch = LossWatch("", limits)
    seen = []
    for hour, equity in ((0, 100), (21, 91), (22, 90), (23, 81), (24, 80), (46, 79)):
        verdict = watch.judge(start + hour * HOUR, equity * MONEY)
        seen.append((hour, watch.day_equity // MONEY, None if verdict is None else verdict[1].value // MONEY))
    assert seen == [(0, 100, None), (21, 100, None), (22, 91, None), (23, 91, None), (24, 91, 11), (46, 80, None)]


@pytest.mark.parametrize(("week_start_day", "first_day"), [(0, 7), (2, 2), (6, 6)])
def test_a_week_begins_on_its_day(week_start_day: int, first_day: int) -> None:
    monday = 4 * NS_PER_DAY  # 1970-01-05
    watch = LossWatch("", LossLimits(weekly_loss_max=MONEY, week_start_day=week_start_day))
    seen = []
    for day in range(8):
        watch.judge(monday + day * NS_PER_DAY, (100 - day) * MONEY)
        seen.append(watch.week_equity // MONEY)
    assert seen == [100] * first_day + [101 - first_day] * (8 - first_day)


def test_without_equity_there_is_no_drawdown_to_divide_by() -> None:
    watch = LossWatch("", LossLimits(drawdown_ppm_max=500_000))
    assert watch.judge(0, 0) is None
    verdict = watch.judge(1, -1)
    assert verdict is not None
    assert (verdict[0], verdict[1].value) == (TradingState.HALTED, 1_000_000)


AMOUNTS = st.one_of(st.none(), st.integers(0, 30))


@given(
    steps=st.lists(st.tuples(st.integers(0, 30), st.integers(-60, 140)), min_size=1, max_size=40),
    daily=AMOUNTS,
    weekly=AMOUNTS,
    drawdown=st.one_of(st.none(), st.integers(0, 1_000_000)),
    reduce_at=st.one_of(st.none(), st.integers(1, 1_000_000)),
    day_start=st.integers(0, 23),
    week_start_day=st.integers(0, 6),
)
def test_every_judgement_is_that_of_a_plain_computation(
    steps: list[tuple[int, int]],
    daily: int | None,
    weekly: int | None,
    drawdown: int | None,
    reduce_at: int | None,
    day_start: int,
    week_start_day: int,
) -> None:
    """Days and weeks are found here by walking hour by hour, losses as fractions."""
    limits = LossLimits(
        daily_loss_max=daily,
        weekly_loss_max=weekly,
        drawdown_ppm_max=drawdown,
        reduce_at_ppm=reduce_at,
        day_start_ns=day_start * HOUR,
        week_start_day=week_start_day,
    )
    watch = LossWatch("", limits)
    hour = 4 * 24  # 1970-01-05, a Monday
    last = day_equity = week_equity = peak = steps[0][1]
    for gap, equity in steps:
        for _ in range(gap):
            hour += 1
            if hour % 24 == day_start:
                day_equity = last
                if (hour // 24 - 4) % 7 == week_start_day:
                    week_equity = last
        last, peak = equity, max(peak, equity)
        values = [(daily, Fraction(day_equity - equity)), (weekly, Fraction(week_equity - equity))]
        fall = Fraction((peak - equity) * 1_000_000, peak) if peak > 0 else Fraction(1_000_000 if equity < peak else 0)
        values.append((drawdown, Fraction(ceil(fall))))
        given_values = [(bound, value) for bound, value in values if bound is not None]
        expected = TradingState.ACTIVE
        if any(value > bound for bound, value in given_values):
            expected = TradingState.HALTED
        elif reduce_at is not None and any(value > Fraction(bound * reduce_at, 1_000_000) for bound, value in given_values):
            expected = TradingState.REDUCING
        verdict = watch.judge(hour * HOUR, equity)
        assert (TradingState.ACTIVE if verdict is None else verdict[0]) is expected
        assert (watch.equity, watch.peak_equity) == (equity, peak)


@given(
    actions=st.lists(
        st.tuples(st.sampled_from(["buy", "sell", "stock", "perp"]), st.integers(1, 40), st.booleans(), st.integers(0, 3)),
        max_size=40,
    ),
    rate=st.sampled_from([ONE // 3, ONE, ONE * 2]),
)
def test_equity_is_that_of_a_plain_count(actions: list[tuple[str, int, bool, int]], rate: int) -> None:
    desk = Desk(loss=LossLimits(daily_loss_max=10**9 * MONEY), conversion={"USDT": rate})
    desk.stock()
    desk.perp()
    market = {STOCK: (9_999, 10_001), PERP: (999, 1_001)}
    cash = {STOCK: 10_000 * MONEY, PERP: 0}
    held = {STOCK: 0, PERP: 0}
    for action, number, is_perp, fee in actions:
        key = PERP if is_perp else STOCK
        if action in ("stock", "perp"):
            key = STOCK if action == "stock" else PERP
            base = 9_980 if key == STOCK else 980
            market[key] = (base + number, base + number + 2)
            (desk.stock if key == STOCK else desk.perp)(*market[key])
            continue
        side, qty = BUY if action == "buy" else SELL, number * (1_000 if is_perp else 1)
        price = market[key][1 if side is BUY else 0]
        desk.fill(desk.order(side, qty, price, key=key), commission=fee)
        signed = qty if side is BUY else -qty
        # As if the whole value changed hands: what is held is worth what closing brings.
        cash[key] -= desk.trader.instruments[key].notional(price, signed)
        cash[STOCK] -= fee
        held[key] += signed
        worth = {of: desk.trader.instruments[of].notional(market[of][0 if held[of] > 0 else 1], held[of]) for of in market}
        exposure = desk.trader.risk.account
        assert exposure is not None
        assert exposure.exposure.equity == cash[STOCK] + worth[STOCK] + (cash[PERP] + worth[PERP]) * rate // ONE


# Refusals.


def refuse(desk: Desk, count: int = 1, who: str = "a", kind: Any = OrderRejected) -> None:
    for _ in range(count):
        order = desk.order(BUY, 1, 9_990, who=who)
        desk.now += 1
        if kind is ReplaceRejected:
            desk.accept(order)
            desk.trader.contexts[0].replace(order, 2, 9_990)
        desk.step(kind(desk.now, desk.now, order.client_order_id, Reason.SIMULATED_REJECT))


@pytest.mark.parametrize("kind", [OrderRejected, ReplaceRejected])
def test_a_storm_of_refusals_halts_the_account(kind: Any) -> None:
    desk = Desk(rejects=WindowLimit(events_max=3, window_ns=100))
    desk.stock()
    refuse(desk, 3, kind=kind)
    assert desk.state == "ACTIVE"
    refuse(desk, kind=kind)
    (tripped,) = desk.trader.tripped
    assert (tripped.limit, tripped.value, tripped.bound, tripped.inputs) == ("rejects_max", 4, 3, (("window_ns", 100),))
    assert desk.state == "HALTED"


def test_refusals_far_enough_apart_are_no_storm() -> None:
    desk = Desk(rejects=WindowLimit(events_max=3, window_ns=100))
    desk.stock()
    for _ in range(10):
        refuse(desk)
        desk.now += 33
    assert desk.state == "ACTIVE"


def test_a_strategys_storm_halts_that_strategy_and_is_counted_from_none_after_a_resume() -> None:
    desk = Desk(strategies={"a": StrategyBudget(rejects=WindowLimit(events_max=2, window_ns=10**9))})
    desk.stock()
    refuse(desk, 5, who="b")
    refuse(desk, 3)
    assert desk.trader.risk.states.strategies() == [("a", TradingState.HALTED)]
    desk.step(TradingResumed(desk.now, desk.now, "venue fixed", strategy_id="a"))
    refuse(desk, 2)
    assert desk.trader.risk.states.strategies() == []


# Coming back.


def test_only_a_resume_with_a_reason_clears_a_halt() -> None:
    desk = Desk()
    desk.step(TradingStateSet(1, 1, TradingState.HALTED, "operator"))
    for state in (TradingState.ACTIVE, TradingState.REDUCING):
        desk.step(TradingStateSet(1, 1, state, "please"))
        assert desk.state == "HALTED"
    for reason in ("", "  "):
        with pytest.raises(StateError, match="reason"):
            desk.step(TradingResumed(1, 1, reason))
    assert desk.state == "HALTED"
    desk.step(TradingResumed(1, 1, "first", TradingState.REDUCING))
    assert desk.state == "REDUCING"
    desk.step(TradingResumed(1, 1, "not this way", TradingState.HALTED))
    assert desk.state == "REDUCING"
    desk.step(TradingResumed(1, 1, "all is well"))
    assert desk.state == "ACTIVE"
    assert [state for state, _ in desk.a.states] == ["HALTED", "REDUCING", "ACTIVE"]
    with pytest.raises(StateError, match="nobody"):
        desk.step(TradingStateSet(1, 1, TradingState.HALTED, "x", "nobody"))


def test_no_resume_lifts_a_limit_that_is_still_broken() -> None:
    desk = long_desk(loss=LossLimits(daily_loss_max=10 * MONEY))
    desk.stock(9_000, 9_002)
    assert desk.state == "HALTED"
    desk.a.states.clear()
    desk.step(TradingResumed(desk.now, desk.now, "I want to"))
    assert desk.state == "HALTED"
    assert [tripped.limit for tripped in desk.trader.tripped] == ["daily_loss_max"]
    assert [state for state, _ in desk.a.states] == ["HALTED"]
    # But what is left may be closed, and nothing else; the loss does not halt that again.
    desk.step(TradingResumed(desk.now, desk.now, "unwind", TradingState.REDUCING))
    desk.stock(8_900, 8_902)
    assert desk.state == "REDUCING"
    assert desk.verdict(BUY, 1, 8_902).startswith("trading_state_reducing")
    assert desk.verdict(SELL, 100, 8_900) == "sent"
    desk.step(TradingResumed(desk.now, desk.now, "I want to"))
    assert desk.state == "HALTED"
    # The next day begins with what is left.
    desk.stock(8_900, 8_902, ts=NS_PER_DAY)
    assert desk.state == "HALTED"
    desk.step(TradingResumed(desk.now, desk.now, "a new day"))
    assert desk.state == "ACTIVE"


def test_unwinding_ends_where_the_limit_holds_again() -> None:
    desk = long_desk(loss=LossLimits(daily_loss_max=10 * MONEY))
    desk.stock(9_000, 9_002)
    desk.step(TradingResumed(desk.now, desk.now, "unwind", TradingState.REDUCING))
    desk.stock(10_000, 10_002)
    assert desk.state == "REDUCING"
    desk.stock(9_000, 9_002)
    assert desk.state == "HALTED"


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(TradingState), st.booleans()), max_size=30))
def test_states_only_tighten_by_themselves(moves: list[tuple[str, TradingState, bool]]) -> None:
    states = TradingStates()
    plain = {"": TradingState.ACTIVE, "a": TradingState.ACTIVE, "b": TradingState.ACTIVE}
    for scope, state, is_resume in moves:
        before = plain[scope]
        plain[scope] = min(before, state) if is_resume else max(before, state)
        changed = states.resume(scope, state) if is_resume else states.restrict(scope, state)
        assert changed is (plain[scope] != before)
        assert {key: states.own(key) for key in plain} == plain
        assert {key: states.of(key) for key in "ab"} == {key: max(plain[""], plain[key]) for key in "ab"}
        assert states.is_restricted is any(plain.values())


# Records and repetition.


def test_what_trips_fits_a_record_of_the_journal() -> None:
    decoder = msgspec.msgpack.Decoder(AnyEvent)
    desk = Desk(cash=10**30, loss=LossLimits(daily_loss_max=1))
    desk.stock()
    order = desk.order(BUY, 10**9)
    desk.fill(order, 10**9, commission=10**25)
    (tripped,) = desk.trader.tripped
    assert (tripped.value, dict(tripped.inputs)["day_equity"]) == (INT64_MAX, INT64_MAX)
    assert decoder.decode(msgspec.msgpack.encode(tripped)) == tripped
    desk.stock()
    assert desk.verdict(BUY, 10**40).startswith("order_qty_max 9223372036854775807 ")
    assert decoder.decode(msgspec.msgpack.encode(desk.trader.denied[-1])) == desk.trader.denied[-1]


def test_the_same_events_trip_the_same_and_the_digest_tells_what_is_remembered() -> None:
    def session(bid: int) -> tuple[str, str, list[LimitTripped]]:
        desk = long_desk(
            loss=LossLimits(daily_loss_max=10 * MONEY), strategies={"a": StrategyBudget(loss=LossLimits(daily_loss_max=MONEY))}
        )
        desk.stock(bid, bid + 2)
        tripped = desk.trader.tripped
        desk.stock()
        return desk.trader.commands_digest.hexdigest(), desk.trader.state_digest(), tripped

    assert session(9_000) == session(9_000)
    assert [tripped.strategy_id for tripped in session(9_000)[2]] == [""]  # the strategy's spread had tripped it at its fill
    assert session(10_050)[1] != session(10_049)[1]  # another peak


def test_a_budget_of_a_strategy_that_does_not_exist_is_refused_before_anything_leaves() -> None:
    with pytest.raises(ConfigError, match="'makr'"):
        Desk(strategies={"makr": StrategyBudget(open_orders_max=1)})


def test_without_account_limits_nothing_is_watched() -> None:
    trader = trader_of(Scripted())
    assert (trader.account_risk, trader.risk.account, trader.states[STOCK].watch) == (None, None, None)
    trader.step(Started(0, 0, "r"))
    trader.step(quote())
    assert trader.tripped == []


def test_a_bar_or_a_print_is_a_market_to_value_at_where_there_are_no_quotes() -> None:
    for event in (
        lambda ts: Trade(ts, ts, STOCK, 9_000, 1, 2),
        lambda ts: Bar(ts, ts, STOCK, 9_000, 9_000, 9_000, 9_000, 1, NS_PER_SECOND),
    ):
        desk = Desk(loss=LossLimits(daily_loss_max=10 * MONEY), mark_interval_ns=NS_PER_MS)
        desk.step(Trade(1, 1, STOCK, 10_000, 1, 2))
        desk.now = 1
        desk.fill(desk.order(BUY, 100, 10_000))
        desk.step(event(NS_PER_MS))
        assert desk.state == "ACTIVE"
        desk.step(event(NS_PER_MS + 2))
        assert desk.state == "HALTED"


def test_an_account_of_two_currencies_is_one_equity() -> None:
    desk = Desk(cash=1_000 * MONEY, loss=LossLimits(daily_loss_max=5 * MONEY), conversion={"USDT": 2 * 10**12})
    desk.stock()
    desk.perp()
    desk.fill(desk.order(BUY, 10_000, key=PERP))  # ten at 100.1, worth 99.9 each: 2 USDT are 4 USD
    assert desk.state == "ACTIVE"
    desk.perp(998, 1_001)
    assert desk.state == "HALTED"
    assert desk.trader.tripped[0].value == 6 * MONEY


@pytest.mark.parametrize("value", [float("nan"), 1.0, True, "1", -1])
@pytest.mark.parametrize(
    "name", ["daily_loss_max", "weekly_loss_max", "drawdown_ppm_max", "reduce_at_ppm", "day_start_ns", "week_start_day"]
)
def test_losses_that_are_no_whole_numbers_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        LossLimits(**{name: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"drawdown_ppm_max": 1_000_001},
        {"reduce_at_ppm": 0},
        {"reduce_at_ppm": 1_000_001},
        {"day_start_ns": NS_PER_DAY},
        {"day_start_ns": None},
        {"week_start_day": 7},
        {"week_start_day": None},
    ],
)
def test_losses_out_of_their_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        LossLimits(**changes)


def test_a_strategys_drawdown_needs_its_capital() -> None:
    with pytest.raises(ConfigError, match="capital_max"):
        StrategyBudget(loss=LossLimits(drawdown_ppm_max=1))
