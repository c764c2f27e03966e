"""The portfolio against an average-cost book kept in Fractions, and the identities that hold to the last unit."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.enums import Side
from core.instruments import MONEY_SCALE, Instrument
from core.portfolio import Portfolio
from tests.core.records import CRUDE, EQUITY, INVERSE, PERPETUAL, SPOT, filled

ALL = (EQUITY, PERPETUAL, INVERSE, SPOT, CRUDE)
MONEY = 10**MONEY_SCALE
USD = 1_000_000 * MONEY

fills_of_one = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(1, 50), st.integers(900, 1_100), st.integers(-500, 500)), min_size=1, max_size=40
)


class AverageCost:
    """Position by average cost, exactly: entry price and profit in whole currency as Fractions."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.qty = Fraction(0)
        self.cost = Fraction(0)  # worth at entry, signed like qty
        self.realized = Fraction(0)

    def worth(self, price: int, qty: Fraction) -> Fraction:
        whole = Fraction(price, 10**self.instrument.price_scale)
        size = qty * self.instrument.multiplier
        return size / whole if self.instrument.is_inverse else size * whole

    def fill(self, side: Side, qty: int, price: int) -> None:
        signed = Fraction(qty, 10**self.instrument.qty_scale) * (1 if side is Side.BUY else -1)
        if self.qty * signed >= 0:
            self.cost += self.worth(price, signed)
            self.qty += signed
            return
        closing = min(abs(signed), abs(self.qty)) * (1 if self.qty > 0 else -1)
        share = self.cost * closing / self.qty
        gain = self.worth(price, closing) - share
        self.realized += -gain if self.instrument.is_inverse else gain
        self.cost -= share
        self.qty -= closing
        rest = signed + closing
        if rest:
            self.cost, self.qty = self.worth(price, rest), rest


def portfolio_of(*instruments: Instrument) -> Portfolio:
    return Portfolio({i.instrument_id: i for i in instruments}, {"USD": USD})


def book(portfolio: Portfolio, instrument: Instrument, side: Side, qty: int, price: int, fee: int = 0, **more: str) -> None:
    currency = more.get("currency", instrument.settlement_currency)
    fill = filled(
        qty=qty, price=price, side=side, instrument_id=instrument.instrument_id, commission=fee, commission_currency=currency
    )
    portfolio.book(more.get("strategy_id", "maker"), fill)


@pytest.mark.parametrize("instrument", ALL, ids=lambda i: i.instrument_id)
@given(fills=fills_of_one)
def test_realised_profit_and_cost_are_those_of_the_exact_book(
    instrument: Instrument, fills: list[tuple[Side, int, int, int]]
) -> None:
    portfolio, oracle = portfolio_of(instrument), AverageCost(instrument)
    for side, qty, price, fee in fills:
        book(portfolio, instrument, side, qty, price, fee)
        oracle.fill(side, qty, price)
    position = portfolio.by_instrument[instrument.instrument_id]
    assert position.qty == oracle.qty * 10**instrument.qty_scale
    assert position.fees == sum(fee for *_, fee in fills)
    assert position.buy_qty == sum(qty for side, qty, *_ in fills if side is Side.BUY)
    assert position.sell_qty == sum(qty for side, qty, *_ in fills if side is Side.SELL)
    # Each fill rounds at most its notional and the cost of what it closes, by half a unit each, and a cost that is off by some is
    # carried on: two units a fill bound it.
    slack = 2 * len(fills)
    assert abs(position.realized_pnl - oracle.realized * MONEY) <= slack
    assert abs(position.value_open - oracle.cost * MONEY) <= slack


@pytest.mark.parametrize("instrument", ALL, ids=lambda i: i.instrument_id)
@given(fills=fills_of_one)
def test_nothing_is_lost_to_rounding(instrument: Instrument, fills: list[tuple[Side, int, int, int]]) -> None:
    """Realised profit less open cost equals the cash that the fills moved: to the unit, flips through zero included."""
    portfolio = portfolio_of(instrument)
    flow = 0
    for side, qty, price, fee in fills:
        book(portfolio, instrument, side, qty, price, fee)
        flow -= instrument.notional(price, qty if side is Side.BUY else -qty)
    position = portfolio.by_instrument[instrument.instrument_id]
    sign = -1 if instrument.is_inverse else 1
    assert sign * position.realized_pnl - position.value_open == flow
    if position.qty == 0:
        assert position.value_open == 0
        assert position.realized_pnl == sign * flow
    fees = sum(fee for *_, fee in fills)
    currency = instrument.settlement_currency
    start = USD if currency == "USD" else 0
    moved = flow if instrument.pays_notional else position.realized_pnl
    assert portfolio.cash[currency] == start + moved - fees
    assert position.fees == fees


@given(
    fills=st.lists(
        st.tuples(
            st.sampled_from(ALL),
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(Side),
            st.integers(1, 50),
            st.integers(900, 1_100),
        ),
        max_size=60,
    )
)
def test_strategies_add_up_to_the_account(fills: list[tuple[Instrument, str, Side, int, int]]) -> None:
    portfolio = portfolio_of(*ALL)
    for instrument, strategy_id, side, qty, price in fills:
        book(portfolio, instrument, side, qty, price, 7, strategy_id=strategy_id)
    for key, account in portfolio.by_instrument.items():
        parts = [position for (_, instrument_id), position in portfolio.by_strategy.items() if instrument_id == key]
        for name in ("qty", "fees", "buy_qty", "sell_qty", "turnover"):
            assert sum(getattr(part, name) for part in parts) == getattr(account, name), name
        # One strategy's long may be another's short: what each realised differs from the account's, but not with the cost added.
        sign = -1 if account.instrument.is_inverse else 1
        assert sum(sign * p.realized_pnl - p.value_open for p in parts) == sign * account.realized_pnl - account.value_open
    assert portfolio.fills_booked == len(fills)


@given(fills=fills_of_one, bid=st.integers(900, 1_100), spread=st.integers(0, 10))
def test_equity_is_what_closing_at_the_middle_would_leave(fills: list[tuple[Side, int, int, int]], bid: int, spread: int) -> None:
    for instrument in ALL:
        portfolio = portfolio_of(instrument)
        for side, qty, price, fee in fills:
            book(portfolio, instrument, side, qty, price, fee)
        currency = instrument.settlement_currency
        held = portfolio.by_instrument[instrument.instrument_id]
        marks = {instrument.instrument_id: (bid, bid + spread)}
        equity = portfolio.equity(currency, marks)
        start = USD if currency == "USD" else 0
        total = start + held.realized_pnl - held.fees + held.unrealized_pnl(*marks[instrument.instrument_id])
        assert equity == total
        if spread == 0 and held.qty:
            side = Side.SELL if held.qty > 0 else Side.BUY
            book(portfolio, instrument, side, abs(held.qty), bid)
            assert portfolio.equity(currency, {}) == portfolio.cash[currency] == equity


def test_cash_by_kind_of_instrument() -> None:
    portfolio = portfolio_of(*ALL)
    book(portfolio, EQUITY, Side.BUY, 10, 10_000)
    after_equity = portfolio.cash["USD"]
    book(portfolio, CRUDE, Side.BUY, 1, 7_000)
    book(portfolio, CRUDE, Side.SELL, 1, -3_763)
    book(portfolio, PERPETUAL, Side.BUY, 1_000, 600_000)
    book(portfolio, INVERSE, Side.BUY, 10, 400_000)
    book(portfolio, INVERSE, Side.SELL, 10, 500_000)
    book(portfolio, SPOT, Side.BUY, 10**8, 60_000 * 10**8)
    assert (after_equity, portfolio.cash) == (
        USD - 1_000 * MONEY,
        {
            "USD": USD - 1_000 * MONEY - 107_630 * MONEY,  # ten shares at 100.00; 70.00 to -37.63 on 1000 barrels
            "USDT": -60_000 * MONEY,  # the perpetual costs nothing to enter; the spot coin costs its price
            "BTC": MONEY // 200,  # 1000 USD: 1/40 - 1/50 BTC a contract's hundred, ten times
        },
    )


def test_a_fee_in_a_third_currency_is_cash_and_never_profit() -> None:
    portfolio = portfolio_of(PERPETUAL)
    book(portfolio, PERPETUAL, Side.BUY, 1_000, 600_000, 5, currency="BNB")
    book(portfolio, PERPETUAL, Side.SELL, 1_000, 610_000, 3, currency="USDT")
    position = portfolio.by_instrument[PERPETUAL.instrument_id]
    assert (portfolio.cash["BNB"], position.fees, position.realized_pnl) == (-5, 3, 1_000 * MONEY)
    assert portfolio.cash["USDT"] == 1_000 * MONEY - 3


def test_a_flip_through_zero_opens_at_the_price_of_the_fill() -> None:
    portfolio = portfolio_of(EQUITY)
    book(portfolio, EQUITY, Side.BUY, 10, 10_000)
    book(portfolio, EQUITY, Side.SELL, 25, 11_000)
    position = portfolio.by_instrument[EQUITY.instrument_id]
    assert (position.qty, position.realized_pnl, position.value_open) == (-15, 100 * MONEY, -1_650 * MONEY)
    assert position.average_price() == 110.0
    assert position.unrealized_pnl(10_500, 10_500) == 75 * MONEY


def test_average_price_of_an_inverse_contract_is_harmonic() -> None:
    portfolio = portfolio_of(INVERSE)
    book(portfolio, INVERSE, Side.BUY, 10, 400_000)
    book(portfolio, INVERSE, Side.BUY, 10, 600_000)
    assert portfolio.by_instrument[INVERSE.instrument_id].average_price() == pytest.approx(48_000, rel=1e-6)


def test_a_position_without_a_mark_counts_at_its_cost() -> None:
    portfolio = portfolio_of(EQUITY, CRUDE)
    book(portfolio, EQUITY, Side.BUY, 10, 10_000)
    book(portfolio, CRUDE, Side.BUY, 1, 7_000)
    assert portfolio.equity("USD", {}) == USD


def test_rebates_are_negative_fees_and_add_cash() -> None:
    portfolio = portfolio_of(EQUITY)
    book(portfolio, EQUITY, Side.BUY, 1, 100, -50)
    assert (portfolio.cash["USD"], portfolio.by_instrument[EQUITY.instrument_id].fees) == (USD - MONEY + 50, -50)


held_by = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(Side), st.integers(1, 50), st.integers(900, 1_100)), max_size=20
)


@pytest.mark.parametrize("instrument", ALL, ids=lambda i: i.instrument_id)
@given(
    fills=held_by, signed=st.integers(-200, 200).filter(bool), price=st.integers(1, 2_000), name=st.sampled_from(["", "b", "z"])
)
def test_what_a_person_corrects_is_shared_out_to_the_last_unit(
    instrument: Instrument, fills: list[tuple[str, Side, int, int]], signed: int, price: int, name: str
) -> None:
    portfolio, key = portfolio_of(instrument), instrument.instrument_id
    for strategy_id, side, qty, at in fills:
        book(portfolio, instrument, side, qty, at, strategy_id=strategy_id)
    account, before = portfolio.by_instrument[key], portfolio.by_instrument[key].qty
    shares = {strategy_id: position.qty for (strategy_id, _), position in portfolio.by_strategy.items()}
    cash = dict(portfolio.cash)
    realized = account.realized_pnl
    if not name and not before:
        with pytest.raises(ValueError, match="nobody holds any"):
            portfolio.correct(name, key, signed, price)
        assert (account.qty, portfolio.cash) == (0, cash)
        return
    told = portfolio.correct(name, key, signed, price)
    after = {strategy_id: position.qty for (strategy_id, _), position in portfolio.by_strategy.items()}
    assert account.qty == before + signed == sum(after.values())
    moved = {strategy_id: qty - shares.get(strategy_id, 0) for strategy_id, qty in after.items()}
    assert sorted(told) == sorted(strategy_id for strategy_id, qty in moved.items() if qty)
    if name:
        assert told == [name]
    else:
        # By what each held: off by less than a unit.
        assert all(abs(Fraction(signed * shares[each], before) - qty) <= 1 for each, qty in moved.items() if each in shares)
    currency, worth = instrument.settlement_currency, instrument.notional(price, signed)
    paid = -worth if instrument.pays_notional else account.realized_pnl - realized
    assert portfolio.cash.get(currency, 0) - cash.get(currency, 0) == paid


def test_a_split_multiplies_and_an_expiry_empties_each() -> None:
    portfolio, key = portfolio_of(EQUITY), EQUITY.instrument_id
    book(portfolio, EQUITY, Side.BUY, 7, 1_000, strategy_id="a")
    book(portfolio, EQUITY, Side.SELL, 3, 1_100, strategy_id="b")
    costs = {name: portfolio.position_of(name, key).value_open for name in "ab"}
    assert portfolio.correct("", key, 4, 0) == ["a", "b"]
    assert {name: portfolio.position_of(name, key).qty for name in "ab"} == {"a": 14, "b": -6}
    assert {name: portfolio.position_of(name, key).value_open for name in "ab"} == costs
    assert portfolio.correct("", key, -8, 900) == ["a", "b"]
    assert {name: portfolio.position_of(name, key).qty for name in "ab"} == {"a": 0, "b": 0}
