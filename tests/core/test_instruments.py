"""Value of a quantity at a price against Fraction, and the rules an instrument must keep."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UnitError
from core.instruments import FEE_RATE_SCALE, MONEY_SCALE, Instrument
from tests.core.records import CRUDE, EQUITY, INVERSE, PERPETUAL, SPOT

prices = st.integers(1, 10**12)
quantities = st.integers(-(10**12), 10**12)


def changed(instrument: Instrument, **changes: Any) -> Instrument:
    return msgspec.structs.replace(instrument, **changes)


def exact_notional(instrument: Instrument, price: int, qty: int) -> Fraction:
    """The formula as a text book writes it, in units of 10^-MONEY_SCALE."""
    whole_price = Fraction(price, 10**instrument.price_scale)
    whole_qty = Fraction(qty, 10**instrument.qty_scale)
    worth = (
        whole_qty * instrument.multiplier / whole_price
        if instrument.is_inverse
        else whole_price * whole_qty * instrument.multiplier
    )
    return worth * 10**MONEY_SCALE


@given(
    price=prices,
    qty=quantities,
    price_scale=st.integers(0, 18),
    qty_scale=st.integers(0, 18),
    multiplier=st.sampled_from([1, 20, 50, 100, 1000]),
    base=st.sampled_from([PERPETUAL, INVERSE]),
)
def test_notional_is_the_exact_value_rounded_once(
    price: int, qty: int, price_scale: int, qty_scale: int, multiplier: int, base: Instrument
) -> None:
    instrument = changed(base, price_scale=price_scale, qty_scale=qty_scale, multiplier=multiplier)
    exact = exact_notional(instrument, price, qty)
    assert instrument.notional(price, qty) == round(exact)
    if not instrument.is_inverse and price_scale + qty_scale <= MONEY_SCALE:
        assert instrument.notional(price, qty) == exact


@given(price=prices, qty=quantities, rate=st.integers(-(10**7), 10**8), base=st.sampled_from([EQUITY, PERPETUAL, INVERSE, SPOT]))
def test_commission_is_the_rate_of_the_notional(price: int, qty: int, rate: int, base: Instrument) -> None:
    fee = base.commission(price, qty, rate)
    assert fee == round(Fraction(abs(base.notional(price, qty)) * rate, 10**FEE_RATE_SCALE))
    assert base.commission(price, -qty, rate) == fee
    exact = abs(exact_notional(base, price, qty)) * Fraction(rate, 10**FEE_RATE_SCALE)
    assert abs(fee - exact) <= 1


@given(price=st.integers(-(10**6), 10**6), qty=quantities)
def test_negative_prices_are_valued_where_allowed(price: int, qty: int) -> None:
    assert CRUDE.notional(price, qty) == exact_notional(CRUDE, price, qty)


def test_crude_on_the_day_it_went_negative() -> None:
    assert CRUDE.notional(CRUDE.parse_price("-37.63"), 1) == -37_630 * 10**MONEY_SCALE


@pytest.mark.parametrize("price", [0, -1])
def test_an_inverse_contract_has_no_value_at_or_below_zero(price: int) -> None:
    with pytest.raises(UnitError):
        INVERSE.notional(price, 1)


def test_binance_like_vectors() -> None:
    # 0.015 BTC at 61837.6 USDT, entry tier of USD-M futures: 0.02 % maker, 0.05 % taker.
    price, qty = PERPETUAL.parse_price("61837.60"), PERPETUAL.parse_qty("0.015")
    money = 10**MONEY_SCALE
    got = {
        "notional": PERPETUAL.notional(price, qty),
        "maker": PERPETUAL.commission(price, qty, PERPETUAL.maker_fee_rate),
        "taker": PERPETUAL.commission(price, qty, PERPETUAL.taker_fee_rate),
        "coin-m: 10 contracts of 100 USD at 50000.0": INVERSE.notional(500_000, 10),
        "spot: 1 satoshi at 61837.63": SPOT.notional(SPOT.parse_price("61837.63"), 1),
    }
    assert got == {
        "notional": 927_564 * money // 1000,
        "maker": 18_551_280,  # 927.564 * 0.0002 = 0.1855128
        "taker": 46_378_200,  # 927.564 * 0.0005 = 0.463782
        "coin-m: 10 contracts of 100 USD at 50000.0": 2_000_000,  # 1000 / 50000 = 0.02 BTC
        "spot: 1 satoshi at 61837.63": 61_838,  # 0.0006183763, half-even to 8 places
    }


def test_es_future() -> None:
    es = changed(CRUDE, instrument_id="ES.CME", multiplier=50, tick=25)
    one_tick = es.notional(es.parse_price("5000.25"), 1) - es.notional(es.parse_price("5000.00"), 1)
    assert one_tick == 12_50 * 10 ** (MONEY_SCALE - 2)


@given(price=st.integers(-(10**9), 10**9), tick=st.integers(1, 1000))
def test_round_price_brackets_the_price(price: int, tick: int) -> None:
    instrument = changed(CRUDE, tick=tick)
    down, up = instrument.round_price(price, "down"), instrument.round_price(price, "up")
    assert (down % tick, up % tick) == (0, 0)
    assert down <= price <= up
    assert up - down == (0 if price % tick == 0 else tick)


@given(price=st.integers(-(10**12), 10**12), qty=quantities)
def test_text_forms_read_back(price: int, qty: int) -> None:
    assert PERPETUAL.parse_price(PERPETUAL.format_price(price)) == price
    assert PERPETUAL.parse_qty(PERPETUAL.format_qty(qty)) == qty


@pytest.mark.parametrize(
    "changes",
    [
        {"instrument_id": "AAPL"},
        {"instrument_id": ".XNAS"},
        {"instrument_id": "AAPL."},
        {"price_scale": -1},
        {"price_scale": 19},
        {"qty_scale": 2.0},
        {"tick": 0},
        {"tick": float("nan")},
        {"tick": True},
        {"lot": -1},
        {"lot": None},
        {"qty_min": 0},
        {"qty_min": 10, "qty_max": 9},
        {"price_min": 10, "price_max": 9},
        {"price_min": float("-inf")},
        {"price_max": float("nan")},
        {"multiplier": 0},
        {"multiplier": 0.5},
        {"maker_fee_rate": 0.0002},
        {"settlement_currency": "EUR"},
        {"is_inverse": True},  # would settle in AAPL, not USD
        {"is_inverse": True, "settlement_currency": "AAPL", "price_min": 0},
    ],
)
def test_impossible_rules_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnitError):
        changed(EQUITY, **changes)
