"""ccxt's dictionaries as reports: exact, or a VenueProtocolError."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ccxt_any.order_ids import OrderIds
from adapters.ccxt_any.reports import (
    Units,
    balance_qty,
    balance_total,
    book_sides,
    order_report,
    position_qty,
    public_print,
    trade_report,
)
from adapters.ccxt_any.rules import units_of
from core.enums import InstrumentClass, LiquiditySide, Side
from core.errors import ConfigError, UnitError, VenueProtocolError
from core.identifiers import make_order_id
from core.instruments import Instrument
from tests.adapters.binance.account_for_tests import SPOT

UNITS = Units(SPOT, "BTC/USDT", Fraction(1))
STAMP_MS = 1_700_000_000_000
ORDER = {
    "id": "77",
    "clientOrderId": "td-7-3",
    "symbol": "BTC/USDT",
    "side": "buy",
    "price": "61837.50000000",
    "amount": "0.250",
    "filled": "0.1",
    "status": "open",
    "timestamp": STAMP_MS,
}
TRADE = {
    "id": "901",
    "order": "77",
    "symbol": "BTC/USDT",
    "side": "sell",
    "price": "61837.5",
    "amount": "0.1",
    "takerOrMaker": "maker",
    "fee": {"cost": "0.012345678999", "currency": "BNB"},
    "timestamp": STAMP_MS,
}


def contract(**changes: Any) -> Instrument:
    fields: dict[str, Any] = {
        "instrument_id": "BTCUSDT-PERP.X",
        "instrument_class": InstrumentClass.PERPETUAL,
        "base_currency": "BTC",
        "quote_currency": "USDT",
        "settlement_currency": "USDT",
        "price_scale": 1,
        "qty_scale": 3,
        "lot": 1,
    }
    return Instrument(**{**fields, **changes})


def test_an_order() -> None:
    report = order_report(ORDER, UNITS)
    assert (report.price, report.qty, report.filled, report.leaves) == (6_183_750, 25_000, 10_000, 15_000)
    assert (report.side, report.ts, report.client_text) == (Side.BUY, STAMP_MS * 1_000_000, "td-7-3")
    assert order_report({**ORDER, "price": None}, UNITS).price is None
    assert order_report({**ORDER, "price": "0.0"}, UNITS).price is None
    assert order_report({**ORDER, "price": "49999.9455555", "type": "market"}, UNITS).price is None
    assert order_report({**ORDER, "price": "49999.9455555", "status": "closed"}, UNITS).price is None
    assert order_report({**ORDER, "clientOrderId": None, "timestamp": None}, UNITS).ts == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"status": None},
        {"status": "canceling"},
        {"side": "short"},
        {"amount": None},
        {"amount": "0.000001"},
        {"amount": "-1"},
        {"amount": 0.25},
        {"filled": None},
        {"filled": "0.3"},
        {"filled": "nan"},
        {"filled": "1e999"},
        {"price": "61837.555"},
        {"price": "1" * 500},
        {"id": None},
        {"id": 77},
        {"id": "x" * 200},
        {"clientOrderId": "\x1b[2J"},
        {"timestamp": "1700000000000"},
        {"timestamp": 1_700_000_000},
        {"timestamp": 1.7e12},
    ],
)
def test_an_order_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(VenueProtocolError):
        order_report({**ORDER, **changes}, UNITS)


def test_an_execution() -> None:
    report = trade_report(TRADE, UNITS)
    assert (report.price, report.qty, report.side, report.liquidity_side) == (6_183_750, 10_000, Side.SELL, LiquiditySide.MAKER)
    assert (report.commission, report.commission_currency) == (1_234_568, "BNB"), "rounded up"
    several = {
        **TRADE,
        "fee": None,
        "fees": [{"cost": "1", "currency": "USDT"}, {"cost": "-0.5"}, {"cost": "9", "currency": "X"}],
    }
    assert trade_report(several, UNITS).commission == 50_000_000
    assert trade_report({**TRADE, "fee": None}, UNITS).commission_currency == "USDT"


@pytest.mark.parametrize(
    "changes",
    [{"price": None}, {"amount": "0"}, {"timestamp": None}, {"side": None}, {"order": None}, {"id": ""}, {"fee": {"cost": "x"}}],
)
def test_an_execution_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(VenueProtocolError):
        trade_report({**TRADE, **changes}, UNITS)


def test_books_are_sorted_by_number_and_not_by_text() -> None:
    row = {"bids": [["9.5", "1"], ["100.0", "2"], ["99.99", "0"]], "asks": [["1000", "1"], ["101", "2"]], "timestamp": STAMP_MS}
    ts, bids, asks = book_sides(row, UNITS)
    assert (ts, bids) == (STAMP_MS * 1_000_000, [(10_000, 200_000), (950, 100_000)])
    assert asks == [(10_100, 200_000), (100_000, 100_000)]
    for wrong in ({"bids": [["1", "1"]] * 2, "asks": []}, {"bids": [["2", "1"]], "asks": [["2", "1"]]}, {"bids": [], "asks": []}):
        with pytest.raises(VenueProtocolError):
            book_sides(wrong, UNITS)


def test_prints_without_a_number_have_a_name() -> None:
    row = {"id": None, "price": "1", "amount": "2", "timestamp": STAMP_MS, "side": "buy"}
    assert public_print(row, UNITS).name == f"{STAMP_MS * 1_000_000}/100/200000/buy"
    assert public_print({**row, "id": "7"}, UNITS).name == "7"


def test_positions_and_balances() -> None:
    units = Units(contract(), "BTC/USDT:USDT", Fraction(1, 100))
    assert position_qty({"contracts": "150", "side": "short"}, units) == -1500
    assert position_qty({"contracts": "0", "side": None}, units) == 0
    with pytest.raises(VenueProtocolError):
        position_qty({"contracts": "1", "side": None}, units)
    assert balance_qty({"total": {"BTC": "1.234567891"}}, UNITS) == 123_456
    assert balance_qty({"total": {}}, UNITS) == 0
    for total, found in (("1.234567899", 123_456_789), ("5e-8", 5), (None, None), ("1" * 14, 10**8 * int("1" * 14))):
        assert balance_total({"total": {"BTC": total}}, "BTC") == found
    assert (balance_total({"total": {}}, "BTC"), balance_total({"free": {}}, "BTC")) == (0, None)
    with pytest.raises(VenueProtocolError):
        balance_total({"total": {"BTC": "much"}}, "BTC")


@given(st.integers(1, 10**9), st.sampled_from([(1, 1), (1, 100), (1, 1000), (10, 1), (100, 1)]), st.sampled_from([1, 5, 100]))
def test_contracts_there_and_back(qty: int, size: tuple[int, int], multiplier: int) -> None:
    units = Units(contract(multiplier=multiplier), "X", Fraction(*size))
    try:
        text = units.amount_text(qty)
    except UnitError:
        return
    assert Fraction(text) == Fraction(qty, 1000) * multiplier / Fraction(*size)
    assert units.qty_of(text, "amount") == qty


MARKET = {
    "symbol": "BTC/USDT:USDT",
    "type": "swap",
    "base": "BTC",
    "quote": "USDT",
    "settle": "USDT",
    "inverse": False,
    "contractSize": "0.01",
    "precision": {"price": "0.1", "amount": "1"},
    "limits": {"amount": {"min": "1"}},
}


def test_rules_that_agree() -> None:
    large = {**MARKET, "limits": {"amount": {"min": "100000"}}, "precision": {"price": "1000", "amount": "100000"}}
    whole = contract(lot=1_000_000, qty_min=1_000_000, tick=10_000)
    assert units_of(whole, large, 4).amount_text(2_000_000) == "200000"
    units = units_of(contract(lot=10, qty_min=10), MARKET, 4)
    assert (units.amount_text(10), units.amount_text(1230)) == ("1", "123")
    places = {**MARKET, "precision": {"price": 1, "amount": 0}}
    assert units_of(contract(lot=10, qty_min=10), places, 2).amount_text(20) == "2"


@pytest.mark.parametrize(
    ("instrument", "market", "text"),
    [
        ({"lot": 10, "qty_min": 10}, {"base": "ETH"}, "base_currency is BTC in the configuration and ETH at the exchange"),
        ({"lot": 10, "qty_min": 10}, {"settle": "USDC"}, "settlement_currency is USDT"),
        ({"lot": 10, "qty_min": 10}, {"inverse": True}, "is_inverse is False in the configuration and True"),
        ({"lot": 10, "qty_min": 10}, {"type": "spot"}, "instrument_class is perpetual in the configuration and spot"),
        ({"lot": 10, "qty_min": 10}, {"type": "option"}, "which is not supported"),
        ({"lot": 5, "qty_min": 10}, {}, "lot, in the exchange's units, is 0.5 in the configuration and 1 at the exchange"),
        (
            {"lot": 10, "qty_min": 10},
            {"precision": {"price": "0.25", "amount": "1"}},
            "tick is 0.1 in the configuration and 0.25",
        ),
        ({"lot": 10, "qty_min": 10}, {"limits": {"amount": {"min": "5"}}}, "qty_min, in the exchange's units, is 1"),
        ({"lot": 10, "qty_min": 10}, {"precision": {"price": "x", "amount": "1"}}, "cannot be read"),
    ],
)
def test_rules_that_differ_are_named_with_both_values(instrument: dict[str, Any], market: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        units_of(contract(**instrument), {**MARKET, **market}, 4)
    assert text in str(caught.value)


@pytest.mark.parametrize(("is_letters", "text"), [(False, "td-7-3"), (True, "tdx7x3")])
def test_order_ids_there_and_back(is_letters: bool, text: str) -> None:
    ids = OrderIds("td", is_letters=is_letters)
    assert ids.text(make_order_id(7, 3)) == text
    assert ids.parse(text) == make_order_id(7, 3)
    for other in ("", "td-7", "xx-7-3", "xxx7x3", "td-07-3", "tdx07x3", "by-hand", "td-7-3x"):
        assert ids.parse(other) is None


def test_a_prefix_with_the_separators_letter_is_read_back() -> None:
    ids = OrderIds("axbx", is_letters=True)
    assert ids.parse(ids.text(make_order_id(7, 3))) == make_order_id(7, 3)
