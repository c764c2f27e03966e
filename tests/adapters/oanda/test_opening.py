"""What a configuration may say of OANDA, and what is refused with both values before anything is sent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adapters.oanda.opening import check, open_adapter, open_switch
from adapters.oanda.rules import check_instruments, check_token, rules_of
from adapters.oanda.wire import AccountName, AccountsAnswer, InstrumentBody
from core.enums import InstrumentClass
from core.errors import ConfigError, RefusedError
from core.strategy import Subscription
from core.venue_opening import Environment, VenueOpening
from daemon.trading.venue_opening import venue_defaults
from tests.adapters.oanda.world import ACCOUNT, EURO, TOKEN, instruments


def opening(**more: Any) -> VenueOpening:
    values: dict[str, Any] = {
        "venue": "OANDA",
        "environment": Environment.SIMULATOR,
        "account": ACCOUNT,
        "address": "127.0.0.1:7000",
        "settings": venue_defaults("oanda"),
        "secret": lambda part: TOKEN if part == "token" else "",
        "instruments": instruments(EURO),
        "subscriptions": [],
        "order_id_prefix": "t",
        "now": lambda: 0,
        "on_trouble": print,
    }
    return VenueOpening(**{**values, **more})


def settings(**more: Any) -> dict[str, Any]:
    return venue_defaults("oanda") | more


def changed(**more: Any) -> dict[str, Any]:
    return {EURO: msgspec.structs.replace(instruments(EURO)[EURO], **more)}


def test_each_environment_opens_its_own_accounts() -> None:
    check(opening())
    check(opening(environment=Environment.TEST, address=""))
    check(opening(environment=Environment.LIVE, address="", account="001-001-1000001-001"))
    open_adapter(opening())
    open_switch(opening())


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"environment": Environment.LIVE, "address": ""}, "account: .*begin with 001-"),
        ({"environment": Environment.TEST, "address": "", "account": "001-001-1-001"}, "account: .*begin with 101-"),
        ({"environment": Environment.TEST}, "address: the venue's own endpoints"),
        ({"address": ""}, "address: this key is missing"),
        ({"address": "10.0.0.1:80"}, "is not this machine"),
        ({"account": "101-001/../x"}, "account: .*reads unlike"),
        ({"settings": settings(surprise=1)}, "settings: .*surprise"),
        ({"settings": settings(requests_per_s=30)}, "must leave something of requests_per_s"),
        ({"settings": settings(look_s=0.0)}, "look_s must be more than 0"),
        ({"settings": settings(connections_max=2)}, "connections_max must be 3 to 64"),
        (
            {
                "environment": Environment.TEST,
                "address": "",
                "settings": settings(test=venue_defaults("oanda")["live"] | {"account_prefix": "101-"}),
            },
            "is no endpoint of environment 'test'",
        ),
        ({"instruments": {"EURUSD.OANDA": changed(instrument_id="EURUSD.OANDA")[EURO]}}, "symbols"),
        ({"instruments": changed(tick=5)}, "ticks are powers of ten, not 0.00005"),
        ({"instruments": changed(lot=3)}, "lots are powers of ten"),
        ({"instruments": changed(multiplier=10)}, "multiplier 1"),
        ({"instruments": changed(instrument_class=InstrumentClass.FUTURE)}, "class must be fx or cfd"),
        ({"subscriptions": [Subscription(instrument_id=EURO, trades=True)]}, "publishes no trades"),
        ({"subscriptions": [Subscription(instrument_id=EURO, book_levels=99)]}, "levels"),
    ],
)  # fmt: skip
def test_what_is_refused(more: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        check(opening(**more))


@pytest.mark.parametrize("token", ["", "a token", "token\n"])
def test_a_token_that_cannot_be_one(token: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        open_adapter(opening(secret=lambda _part: token))


BODY = InstrumentBody(
    name="EUR_USD",
    type="CURRENCY",
    display_precision=5,
    trade_units_precision=0,
    minimum_trade_size="1",
    maximum_order_units="100000000",
)


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        ({"display_precision": 4}, "tick has 5 decimals here, displayPrecision is 4 at OANDA"),
        ({"trade_units_precision": 1}, "lot has 0 decimals here, tradeUnitsPrecision is 1 at OANDA"),
        ({"minimum_trade_size": "10"}, "qty_min is 1 here, minimumTradeSize 10 at OANDA"),
        ({"maximum_order_units": "5"}, "qty_max is 100000000 here, maximumOrderUnits 5 at OANDA"),
        ({"type": "METAL"}, "class is fx here, type is METAL at OANDA"),
        ({"name": "EUR_GBP"}, "cannot trade EUR_USD"),
    ],
)
def test_rules_that_differ(listed: dict[str, Any], text: str) -> None:
    rules = rules_of(instruments(EURO)[EURO], "EUR_USD")
    check_instruments([rules], [BODY])
    with pytest.raises(ConfigError, match=text):
        check_instruments([rules], [msgspec.structs.replace(BODY, **listed)])


def test_finer_scales_than_the_venues_digits() -> None:
    euro = msgspec.structs.replace(instruments(EURO)[EURO], price_scale=6, tick=10)
    rules = rules_of(euro, "EUR_USD")
    assert (rules.price_text(1_100_010), rules.price_text(1_100_011)) == ("1.10001", None)
    check_instruments([rules], [BODY])


def test_tokens() -> None:
    accounts = AccountsAnswer((AccountName("101-001-1-001"), AccountName("001-001-1-001")))
    check_token(accounts, "101-001-1-001", Environment.SIMULATOR, "")
    with pytest.raises(RefusedError, match="does not open 101-001-2-001"):
        check_token(accounts, "101-001-2-001", Environment.TEST, "101-")
    with pytest.raises(ConfigError, match="its accounts begin with 101-, and the token opens 001-001-1-001"):
        check_token(accounts, "101-001-1-001", Environment.TEST, "101-")
