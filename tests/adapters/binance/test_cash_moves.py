"""Money that moves without a fill: rows and events as they come, and the one movement that each is."""

from __future__ import annotations

import msgspec
import pytest

from adapters.binance.cash_moves import KINDS, balance_moved, calls_for_history, income_moved
from adapters.binance.endpoints import Product
from adapters.binance.rest_bodies import read_income
from adapters.binance.user_stream import AccountUpdate, BalanceUpdate, decode_user
from core.enums import CashKind
from core.errors import VenueProtocolError
from core.events import CashMoved
from tests.adapters.binance.account_for_tests import INSTRUMENTS, NOW, STAMP, STAMP_MS, encoded

ROW = {
    "symbol": "BTCUSDT",
    "incomeType": "FUNDING_FEE",
    "income": "-0.37500000",
    "asset": "USDT",
    "info": "FUNDING_FEE",
    "time": STAMP_MS,
    "tranId": 427980082597228605,
    "tradeId": "",
}
INSTRUMENTS_OF_FUTURES = INSTRUMENTS[Product.USDM]
FUNDED = CashMoved(
    STAMP,
    NOW,
    "BINANCE",
    "FUNDING_FEE-427980082597228605-BTCUSDT-USDT",
    CashKind.FUNDING,
    "USDT",
    -37_500_000,
    "BTCUSDT-PERP.BINANCE",
)


def moved(**changes: object) -> CashMoved:
    (row,) = read_income(encoded([ROW | changes]))
    return income_moved("BINANCE", row, INSTRUMENTS_OF_FUTURES, NOW)


def test_a_funding_payment() -> None:
    assert moved() == FUNDED
    # Some answers have the id as a text: it is the same movement.
    assert moved(tranId="427980082597228605") == FUNDED


@pytest.mark.parametrize(("kind", "expected"), [*KINDS.items(), ("WELCOME_BONUS", CashKind.OTHER), ("A_NEW_ONE", CashKind.OTHER)])
def test_every_kind_of_row_is_money(kind: str, expected: CashKind) -> None:
    name = f"{kind}-427980082597228605-BTCUSDT-USDT"
    assert moved(incomeType=kind) == msgspec.structs.replace(FUNDED, movement_id=name, kind=expected)


def test_of_the_account_and_of_symbols_that_are_not_configured() -> None:
    assert moved(symbol="").instrument_id == ""
    assert moved(symbol="DOGEUSDT").instrument_id == ""


@pytest.mark.parametrize("changes", [{"income": "NaN"}, {"income": "5 USDT"}, {"time": 5}])
def test_numbers_that_are_none(changes: dict[str, object]) -> None:
    with pytest.raises(VenueProtocolError):
        moved(**changes)


def test_spot_tells_of_it_on_its_stream() -> None:
    update = decode_user(encoded({"e": "balanceUpdate", "E": STAMP_MS + 9, "a": "BTC", "d": "-100.00000000", "T": STAMP_MS}))
    assert isinstance(update, BalanceUpdate)
    name = f"balance-{STAMP_MS}-BTC--100.00000000"
    assert balance_moved("BINANCE", update, NOW) == CashMoved(STAMP, NOW, "BINANCE", name, CashKind.TRANSFER, "BTC", -100 * 10**8)


@pytest.mark.parametrize(
    ("reason", "is_asked"),
    [("ORDER", False), ("MARGIN_TYPE_CHANGE", False), ("FUNDING_FEE", True), ("DEPOSIT", True), ("SOMETHING_NEW", True)],
)
def test_the_futures_stream_is_the_reason_to_ask(reason: str, is_asked: bool) -> None:
    balance = {"a": "USDT", "wb": "122.5", "cw": "100.1", "bc": "50.1"}
    update = decode_user(encoded({"e": "ACCOUNT_UPDATE", "E": 5, "T": 4, "a": {"m": reason, "B": [balance], "P": []}}))
    assert isinstance(update, AccountUpdate)
    assert calls_for_history(update) is is_asked
