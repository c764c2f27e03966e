"""What the simulated Binance says is what our adapter's decoders read, and its requests are what the simulator takes.

The two are written apart from the same documentation: neither imports the other.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.binance import rest_bodies as bodies
from adapters.binance.user_stream import Reply, Skipped, decode_user
from adapters.binance.wire import decode
from sim.venues.binance.markets import Product
from tests.sim.venues.binance.signed import S, Spot, Usdm


def busy(product: Product) -> tuple[Any, int, int]:
    """A venue at which everything has happened that its user stream tells of; its user and market streams."""
    venue: Any = Spot(is_quiet=False) if product is Product.SPOT else Usdm(is_quiet=False)
    user = venue.subscribe() if product is Product.SPOT else venue.user_socket()
    market = venue.socket("/stream?streams=btcusdt@depth@100ms/btcusdt@trade/btcusdt@aggTrade/btcusdt@bookTicker")
    for index in range(6):
        venue.order("BUY", "0.010", "49500", newClientOrderId=f"a{index}")
    venue.act("hit", account="us", client_order_id="a1", qty=5)
    venue.order("BUY", "0.010", None)
    root = "/api/v3" if product is Product.SPOT else "/fapi/v1"
    venue.http("DELETE", f"{root}/order", symbol="BTCUSDT", origClientOrderId="a2")
    venue.act("deposit", account="us", currency="USDT", amount=5)
    if product is Product.USDM:
        venue.algo("BUY", "0.010", "50500", clientAlgoId="s")
        venue.algo("SELL", "0.010", "49400", clientAlgoId="t")
        venue.http("DELETE", "/fapi/v1/algoOrder", clientAlgoId="t")
        venue.act("print", symbol="BTCUSDT", side="BUY", price=505_000, qty=1)
        venue.act("fund", symbol="BTCUSDT", rate_ppb=100_000)
        venue.act("liquidate", account="us", symbol="BTCUSDT")
        venue.wait(S)
        venue.act("expire_keys")
    venue.wait(20 * S)
    return venue, user, market


@pytest.mark.parametrize("product", list(Product))
def test_every_frame_is_read(product: Product) -> None:
    venue, user, market = busy(product)
    kinds = set()
    for payload in venue.raw[user]:
        message = decode_user(payload.encode())
        kinds.add(type(message).__name__)
        assert not isinstance(message, Skipped) or "TRADE_LITE" in message.reason
    expected = {"ExecutionReport", "AccountPosition", "BalanceUpdate", "Reply"}
    if product is Product.USDM:
        expected = {"OrderTradeUpdate", "AccountUpdate", "AlgoUpdate", "StreamEnded", "Skipped"}
    assert kinds == expected
    found = {type(decode(payload.encode())).__name__ for payload in venue.raw[market]}
    assert found == {"DepthUpdate", "Trade", "AggregateTrade", "BookTicker"}


@pytest.mark.parametrize("product", list(Product))
def test_every_body_is_read(product: Product) -> None:
    venue, _, _ = busy(product)
    root = "/api/v3" if product is Product.SPOT else "/fapi/v1"

    def raw(method: str, path: str, **params: Any) -> bytes:
        status, _ = venue.http(method, path, params)
        assert status == 200, venue.reply.body
        body: bytes = venue.reply.body
        return body

    bodies.read_order(raw("GET", f"{root}/order", symbol="BTCUSDT", origClientOrderId="a1"))
    bodies.read_orders(raw("GET", f"{root}/openOrders", symbol="BTCUSDT"))
    trades = bodies.read_trades(raw("GET", f"{root}/{'myTrades' if product is Product.SPOT else 'userTrades'}", symbol="BTCUSDT"))
    assert trades
    info = bodies.read_exchange_info(raw("GET", f"{root}/exchangeInfo"))
    assert [row.symbol for row in info.symbols][:2] == ["BTCUSDT", "ETHUSDT"]
    permissions = bodies.read_key_permissions(raw("GET", "/sapi/v1/account/apiRestrictions"))
    assert (permissions.enable_reading, permissions.enable_withdrawals) == (True, False)
    assert bodies.read_server_time(raw("GET", f"{root}/time")).server_time == venue.ts // 10**6
    if product is Product.SPOT:
        assert bodies.read_spot_account(raw("GET", "/api/v3/account")).can_trade
        return
    assert bodies.read_futures_account(raw("GET", "/fapi/v3/account")).assets
    bodies.read_positions(raw("GET", "/fapi/v3/positionRisk"))
    assert not bodies.read_position_mode(raw("GET", "/fapi/v1/positionSide/dual")).dual_side_position
    bodies.read_listen_key(raw("POST", "/fapi/v1/listenKey"))
    bodies.read_countdown(raw("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=1000))
    venue.algo("BUY", "0.010", "51500", clientAlgoId="w")
    bodies.read_algo_order(raw("GET", "/fapi/v1/algoOrder", clientAlgoId="w"))
    assert len(bodies.read_algo_orders(raw("GET", "/fapi/v1/openAlgoOrders"))) == 1
    assert bodies.read_algo_canceled(raw("DELETE", "/fapi/v1/algoOrder", clientAlgoId="w")).is_done
    bodies.read_done(raw("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT"))
    bodies.read_done(raw("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT"))


def test_a_refused_subscription_is_a_reply() -> None:
    venue = Spot()
    line = venue.socket("/ws-api/v3")
    venue.say(line, {"id": 1, "method": "userDataStream.subscribe.signature", "params": {"apiKey": "us-key", "signature": "x"}})
    message = decode_user(json.dumps(venue.frames[line][0]).encode())
    assert isinstance(message, Reply)
    assert message.code == -1022
