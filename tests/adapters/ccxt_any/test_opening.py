"""How any exchange of ccxt is opened: which endpoints, whose key, and what of a configuration is refused in words."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from adapters.ccxt_any import opening as under_test
from adapters.ccxt_any.exchange import make_exchange, origins_of
from adapters.ccxt_any.opening import check, open_adapter, open_switch
from adapters.ccxt_any.settings import CcxtSettings
from adapters.http.request import Intent, Outcome
from core.errors import ConfigError, RefusedError, TransportError
from core.venue_opening import Environment, Role
from tests.adapters.binance.account_for_tests import PERPETUAL, SPOT
from tests.adapters.ccxt_any.venue import INSTRUMENT, Exchange, adapter_of, error, opening

ROOT = Path(under_test.__file__).parents[2]


def test_the_defaults_name_every_setting() -> None:
    defaults = tomllib.loads((ROOT / "config/venues/ccxt.toml").read_text(encoding="utf-8"))
    assert sorted(defaults) == sorted(CcxtSettings.__struct_fields__)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"exchange": ""}, "settings: exchange: this key is missing"),
        ({"exchange": "krakn"}, "did you mean kraken"),
        ({"poll_orders_s": 0}, "settings: poll_orders_s: 0"),
        ({"rate_percent": 101}, "rate_percent: at most 100"),
        ({"cancel_reserve_percent": 60}, "cancel_reserve_percent"),
        ({"no_such": 1}, "no_such"),
        ({"order_ids": "numbers"}, "order_ids"),
        ({"login": {"secret": "x"}}, "login: secret is none of"),
        ({"options": {"createMarketBuyOrderRequiresPrice": False}}, "is not to be changed here"),
        ({"address": ""}, "address: this key is missing"),
        ({"address": "10.1.2.3:80"}, "is not this machine"),
        ({"environment": Environment.LIVE}, "address: the exchange's own endpoints are known"),
    ],
)
def test_what_is_refused_without_a_secret(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(opening(**changes))
    assert text in str(caught.value)


def test_a_key_is_needed_to_trade_and_not_to_watch() -> None:
    nameless = replace(opening(), secret=lambda part: "")
    for open_it in (open_adapter, open_switch):
        with pytest.raises(ConfigError, match="key: this key and secret are missing"):
            open_it(nameless)
    open_adapter(replace(nameless, role=Role.WATCH))


def test_where_each_environment_sends() -> None:
    async def no_door(*arguments: Any) -> Any:
        raise AssertionError

    def origins(name: str, environment: Environment) -> frozenset[str]:
        address = "127.0.0.1:5000" if environment is Environment.SIMULATOR else ""
        exchange = make_exchange(
            name, no_door, environment=environment, address=address, credentials={}, options={}, wall_ms=lambda: 0
        )
        return origins_of(exchange)

    live, test = origins("binance", Environment.LIVE), origins("binance", Environment.TEST)
    assert "https://api.binance.com" in live
    assert not any("testnet" in origin or not origin.startswith("https://") for origin in live)
    assert "https://testnet.binance.vision" in test
    assert "https://api.binance.com" not in test
    assert origins("kraken", Environment.SIMULATOR) == {"http://127.0.0.1:5000"}
    assert origins("bybit", Environment.LIVE) == {"https://api.bybit.com"}
    with pytest.raises(ConfigError, match="has no test network"):
        origins("kraken", Environment.TEST)


def test_nothing_goes_anywhere_else() -> None:
    exchange = Exchange()
    adapter = adapter_of(exchange)

    async def run() -> None:
        await adapter.open()
        account = adapter._account
        account.exchange.urls["api"]["private"] = "https://somewhere.else/api/v3"
        before = len(exchange.seen)
        result = await account.calls.run(Intent.PLACE, "place", lambda: account.exchange.private_post_order({"a": 1}))
        assert result.outcome is Outcome.NOT_SENT_PROVEN
        assert "is no endpoint of this environment" in result.reason
        assert len(exchange.seen) == before

    anyio.run(run)


def test_an_order_that_would_leave_without_our_id_does_not() -> None:
    """At Coinbase ccxt makes an id of its own: what is sent and not answered could not be found again."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(503)

    async def run() -> None:
        adapter = open_adapter(opening(exchange="coinbase", options={}), wire=httpx.MockTransport(handler))
        exchange, calls = adapter._account.exchange, adapter._account.calls
        market = {"id": "BTC-USDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "type": "spot", "spot": True}
        exchange.set_markets([{**market, "precision": {"price": "0.01", "amount": "0.00001"}, "limits": {}, "info": {}}])
        for name in ("clientOrderId", "client_order_id"):
            result = await calls.run(
                Intent.PLACE,
                "place",
                lambda name=name: exchange.create_order("BTC/USDT", "limit", "buy", "0.25", "100", {name: "td-1-1"}),
                must_name="td-1-1",
            )
            expected = Outcome.NOT_SENT_PROVEN if name == "clientOrderId" else Outcome.UNKNOWN
            assert result.outcome is expected, result

    anyio.run(run)
    assert [b"td-1-1" in request.content for request in seen] == [True]


@pytest.mark.parametrize(
    ("instruments", "symbols", "text"),
    [
        ({INSTRUMENT: SPOT}, {INSTRUMENT: "BTC/EUR"}, "binance has no BTC/EUR"),
        ({PERPETUAL.instrument_id: PERPETUAL}, {}, "binance has no BTC/USDT:USDT"),
        ({PERPETUAL.instrument_id: PERPETUAL}, {PERPETUAL.instrument_id: "BTC/USDT"}, "instrument_class is perpetual"),
    ],
)
def test_an_instrument_that_is_not_what_is_configured(instruments: Any, symbols: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        anyio.run(adapter_of(Exchange(), instruments=instruments, symbols=symbols).open)
    assert text in str(caught.value)


def test_a_tick_that_the_exchange_does_not_have() -> None:
    exchange = Exchange()
    prices = {"filterType": "PRICE_FILTER", "minPrice": "0.05", "maxPrice": "1000000", "tickSize": "0.05"}
    exchange.market = {**exchange.market, "filters": [prices, exchange.market["filters"][1]]}
    with pytest.raises(ConfigError, match=r"tick is 0\.01 in the configuration and 0\.05 at the exchange"):
        anyio.run(adapter_of(exchange).open)


def test_where_executions_cannot_be_seen_nothing_is_traded() -> None:
    for name, text in (
        ("zaif", "ccxt has no fetchMyTrades for zaif"),
        ("paymium", "fetchOpenOrders, fetchMyTrades, fetchOrder or"),
    ):
        adapter = open_adapter(opening(exchange=name, options={}), wire=httpx.MockTransport(Exchange().handle))
        with pytest.raises(ConfigError, match=text):
            anyio.run(adapter.open)


def test_an_exchange_that_refuses_or_does_not_answer() -> None:
    bad_key, down = Exchange(), Exchange()
    bad_key.always["GET openOrders"] = lambda exchange, params: error(401, -2014, "API-key format invalid.")
    down.always["GET exchangeInfo"] = lambda exchange, params: httpx.Response(502)
    with pytest.raises(RefusedError, match="does not take the key"):
        anyio.run(adapter_of(bad_key).open)
    with pytest.raises(TransportError, match="502"):
        anyio.run(adapter_of(down).open)


def test_what_ccxt_cannot_show_is_said() -> None:
    troubles: list[str] = []
    anyio.run(adapter_of(Exchange(), troubles=troubles).open)
    assert troubles == ["BINANCE: ccxt cannot show what the key may do: see that it can neither withdraw nor transfer"]
