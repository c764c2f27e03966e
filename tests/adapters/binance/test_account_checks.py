"""What stops a run before its first order: each right too many, each endpoint that is another's."""

from __future__ import annotations

import msgspec
import pytest

from adapters.binance.account_checks import (
    environment_of,
    key_problems,
    position_mode_problems,
    spot_account_problems,
    url_problems,
)
from adapters.binance.endpoints import Product
from adapters.binance.rest_bodies import KeyPermissions, PositionMode, SpotAccount
from core.venue_opening import Environment

GOOD = KeyPermissions(
    ip_restrict=True,
    enable_reading=True,
    enable_withdrawals=False,
    enable_internal_transfer=False,
    permits_universal_transfer=False,
    enable_spot_and_margin_trading=True,
    enable_futures=True,
)


@pytest.mark.parametrize(
    ("origin", "environment"),
    [
        ("https://api.binance.com", Environment.LIVE),
        ("https://api4.binance.com", Environment.LIVE),
        ("https://fapi.binance.com:443", Environment.LIVE),
        ("https://testnet.binance.vision", Environment.TEST),
        ("https://demo-fapi.binance.com", Environment.TEST),
        ("http://127.0.0.1:8080", Environment.SIMULATOR),
        ("https://localhost", Environment.SIMULATOR),
        ("http://[::1]:9", Environment.SIMULATOR),
        ("http://api.binance.com", None),  # in clear text
        ("https://api.binance.com.evil.example", None),
        ("https://evil.example/api.binance.com", None),
        ("https://user@api.binance.com", None),
        ("", None),
    ],
)
def test_where_an_origin_leads(origin: str, environment: Environment | None) -> None:
    assert environment_of(origin) is environment


def test_a_live_key_stays_away_from_test_and_the_reverse() -> None:
    assert [
        url_problems(origin, Environment.LIVE) for origin in ("https://api.binance.com", "wss://fstream.binance.com/public")
    ] == [[], []]
    (crossed,) = url_problems("https://testnet.binance.vision", Environment.LIVE)
    assert crossed == "https://testnet.binance.vision is test, and this connection is live: give it the endpoint of its own"
    (reverse,) = url_problems("https://api.binance.com", Environment.TEST)
    assert "is live, and this connection is test" in reverse
    (unknown,) = url_problems("https://example.com", Environment.LIVE)
    assert "nothing is sent there" in unknown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"enable_withdrawals": True}, "may withdraw"),
        ({"enable_internal_transfer": True}, "may transfer"),
        ({"permits_universal_transfer": True}, "may transfer"),
        ({"ip_restrict": False}, "from any address"),
        ({"enable_reading": False}, "may not read"),
        ({"enable_futures": False}, "may not trade futures"),
    ],
)
def test_each_right_too_many_and_too_few_is_told(change: dict[str, bool], words: str) -> None:
    (problem,) = key_problems(Product.USDM, msgspec.structs.replace(GOOD, **change))
    assert words in problem


def test_a_good_key_and_account() -> None:
    assert [key_problems(product, GOOD) for product in Product] == [[], []]
    assert len(key_problems(Product.SPOT, msgspec.structs.replace(GOOD, enable_spot_and_margin_trading=False))) == 1
    account = SpotAccount(can_trade=True, can_withdraw=True, update_time=1, account_type="SPOT", balances=[])
    assert spot_account_problems(account) == []
    assert len(spot_account_problems(msgspec.structs.replace(account, can_trade=False))) == 1
    assert (position_mode_problems(PositionMode(False)), len(position_mode_problems(PositionMode(True)))) == ([], 1)
