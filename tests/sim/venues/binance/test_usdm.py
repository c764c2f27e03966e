"""The simulated Binance USDⓈ-M futures: orders, changes, conditional orders, margin, funding, liquidation, listen keys."""

from __future__ import annotations

from typing import Any

import pytest

from core.units import POW10, parse_fixed
from sim.venues.binance.markets import USD, Bracket, default_markets
from sim.venues.binance.markets import Product as ProductOf
from tests.sim.venues.binance.signed import MS, S, Usdm


def rest(venue: Usdm, side: str = "BUY", qty: str = "0.010", price: str = "49000.0", **more: Any) -> Any:
    status, body = venue.order(side, qty, price, newClientOrderId=more.pop("name", "a"), **more)
    assert status == 200, body
    return body


def updates(venue: Usdm, stream: int) -> list[tuple[str, ...]]:
    """What the stream told, a line each."""
    told = []
    for event in venue.heard(stream):
        fields = event.get("o", event.get("a", {}))
        match event["e"]:
            case "ORDER_TRADE_UPDATE":
                told.append(("order", fields["c"], fields["x"], fields["X"], fields["z"]))
            case "ALGO_UPDATE":
                told.append(("algo", fields["caid"], fields["X"]))
            case "ACCOUNT_UPDATE":
                told.append(("account", fields["m"], *(row["pa"] for row in fields["P"])))
            case kind:
                told.append((kind,))
    return told


def test_an_order_is_placed_changed_and_canceled() -> None:
    venue = Usdm()
    stream = venue.user_socket()
    body = rest(venue)
    assert (body["status"], body["origQty"], body["timeInForce"]) == ("NEW", "0.010", "GTC")
    assert venue.order("BUY", "0.01", "49000", newClientOrderId="a")[1]["code"] == -4116
    change = {"symbol": "BTCUSDT", "side": "BUY", "origClientOrderId": "a", "quantity": "0.020", "price": "49500"}
    assert venue.http("PUT", "/fapi/v1/order", change)[1]["origQty"] == "0.020"
    assert venue.http("PUT", "/fapi/v1/order", change)[1]["code"] == -5027
    venue.act("hit", account="us", client_order_id="a", qty=5)
    assert venue.http("PUT", "/fapi/v1/order", change | {"quantity": "0.005"})[1]["status"] == "CANCELED"
    assert venue.http("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="a")[1]["code"] == -2011
    venue.wait(S)
    assert updates(venue, stream) == [
        ("order", "a", "NEW", "NEW", "0.000"),
        ("order", "a", "AMENDMENT", "NEW", "0.000"),
        ("account", "ORDER", "0.005"),
        ("TRADE_LITE",),
        ("order", "a", "TRADE", "PARTIALLY_FILLED", "0.005"),
        ("order", "a", "CANCELED", "CANCELED", "0.005"),
    ]
    [trade] = venue.http("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", orderId=body["orderId"])[1]
    assert (trade["price"], trade["qty"], trade["commission"], trade["maker"]) == ("49500.0", "0.005", "0.04950000", True)
    [position] = venue.http("GET", "/fapi/v3/positionRisk")[1]
    assert (position["positionAmt"], position["entryPrice"]) == ("0.005", "49500.00000000")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": "STOP_MARKET"}, -4120),
        ({"positionSide": "LONG"}, -4061),
        ({"timeInForce": "GTX", "price": "51000"}, -5022),
        ({"timeInForce": "FOK", "price": "48000"}, -5021),
        ({"timeInForce": "GTD", "goodTillDate": 1_790_000_600_000}, -4208),
        ({"reduceOnly": "true"}, -2022),
        ({"price": "49000.05"}, -1111),
        ({"price": "0"}, -4001),
        ({"price": "60000"}, -4016),
        ({"quantity": "0.0001"}, -1111),
        ({"quantity": "0"}, -4003),
        ({"quantity": "99999"}, -4005),
        ({"quantity": "50"}, -2019),
        ({"symbol": "NO"}, -1121),
    ],
)
def test_orders_are_refused_in_the_venues_words(changes: dict[str, Any], code: int) -> None:
    venue = Usdm()
    assert venue.order("BUY", "0.010", "49000", **changes)[1]["code"] == code
    assert venue.venue.ledger()["orders"] == []


def test_small_notionals_are_for_reducing_only() -> None:
    venue = Usdm()
    venue.act("mark", symbol="BTCUSDT", price=10_000)
    assert venue.order("BUY", "0.001", "1000")[1]["code"] == -4164


def test_a_batch_is_as_many_orders() -> None:
    venue = Usdm()
    row = '{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","timeInForce":"GTC","quantity":"0.01","price":"49000",'
    row += '"newClientOrderId":"%s"}'
    rows = f"[{row % 'a'},{row % 'b'},{row % 'a'}]"
    answers = venue.http("POST", "/fapi/v1/batchOrders", batchOrders=rows)[1]
    assert [answer.get("code", answer.get("clientOrderId")) for answer in answers] == ["a", "b", -4116]
    gone = venue.http("DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT", origClientOrderIdList='["a","x"]')[1]
    assert [answer.get("code", answer.get("status")) for answer in gone] == ["CANCELED", -2011]
    assert venue.http("POST", "/fapi/v1/batchOrders", batchOrders="[1]")[1]["code"] == -1130
    assert venue.http("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")[1]["code"] == 200
    assert venue.http("GET", "/fapi/v1/openOrders")[1] == []


def test_a_conditional_order_is_another_services_until_it_triggers() -> None:
    venue = Usdm()
    stream = venue.user_socket()
    status, body = venue.algo("BUY", "0.010", "50500", clientAlgoId="s")
    assert (status, body["algoStatus"], body["actualOrderId"]) == (200, "NEW", "")
    assert venue.http("GET", "/fapi/v1/openOrders")[1] == []
    assert [row["clientAlgoId"] for row in venue.http("GET", "/fapi/v1/openAlgoOrders")[1]] == ["s"]
    assert venue.http("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="s")[1]["code"] == -2013
    assert venue.http("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")[0] == 200
    assert venue.algo("BUY", "0.010", "50500", clientAlgoId="s")[1]["code"] == -4116
    assert venue.algo("BUY", "0.010", "49000", clientAlgoId="t")[1]["code"] == -2021
    assert venue.algo("SELL", "0.010", "49000", clientAlgoId="u")[0] == 200
    assert venue.http("DELETE", "/fapi/v1/algoOrder", clientAlgoId="u")[1]["code"] == "200"
    venue.act("print", symbol="BTCUSDT", side="BUY", price=505_000, qty=1)
    asked = venue.http("GET", "/fapi/v1/algoOrder", clientAlgoId="s")[1]
    assert asked["algoStatus"] == "FINISHED"
    order = venue.http("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=asked["actualOrderId"])[1]
    assert (order["status"], order["type"], order["origType"]) == ("FILLED", "MARKET", "STOP_MARKET")
    venue.wait(S)
    told = updates(venue, stream)
    child = order["clientOrderId"]
    assert child != "s"
    assert told == [
        ("algo", "s", "NEW"),
        ("algo", "u", "NEW"),
        ("algo", "u", "CANCELED"),
        ("algo", "s", "TRIGGERING"),
        ("algo", "s", "TRIGGERED"),
        ("order", child, "NEW", "NEW", "0.000"),
        ("account", "ORDER", "0.010"),
        ("TRADE_LITE",),
        ("order", child, "TRADE", "FILLED", "0.010"),
        ("algo", "s", "FINISHED"),
    ]
    names = [row["venue_order_id"] for row in venue.venue.ledger()["orders"]]
    assert names[0] == asked["actualOrderId"]
    assert names[1].startswith("a2")


def test_a_stop_that_cannot_be_filled_is_told_as_rejected() -> None:
    venue = Usdm()
    stream = venue.user_socket()
    venue.venue.desk.crowd.withdraw_all(venue.ts, [venue.venue.desk.markets["BTCUSDT"].listing])
    venue.algo("BUY", "0.010", "50500", clientAlgoId="s", workingType="MARK_PRICE")
    venue.act("mark", symbol="BTCUSDT", price=505_000)
    venue.wait(S)
    assert updates(venue, stream) == [
        ("algo", "s", "NEW"),
        ("algo", "s", "TRIGGERING"),
        ("algo", "s", "TRIGGERED"),
        ("order", "venue1", "NEW", "NEW", "0.000"),
        ("algo", "s", "REJECTED"),
        ("CONDITIONAL_ORDER_TRIGGER_REJECT",),
    ]


def test_closing_a_position_by_a_conditional_order() -> None:
    venue = Usdm()
    assert venue.algo("SELL", "", "49000", closePosition="true", clientAlgoId="s")[1]["code"] == -4509
    assert venue.order("BUY", "0.010", None)[1]["status"] == "FILLED"
    assert venue.algo("SELL", "", "49900", closePosition="true", clientAlgoId="s")[0] == 200
    venue.act("print", symbol="BTCUSDT", side="SELL", price=499_000, qty=1)
    assert venue.http("GET", "/fapi/v3/positionRisk")[1] == []


def test_the_countdown_cancels_and_is_refreshed() -> None:
    venue = Usdm()
    rest(venue)
    countdown = {"symbol": "BTCUSDT", "countdownTime": 5000}
    assert venue.http("POST", "/fapi/v1/countdownCancelAll", countdown)[1] == {"symbol": "BTCUSDT", "countdownTime": "5000"}
    venue.wait(4 * S)
    venue.http("POST", "/fapi/v1/countdownCancelAll", countdown)
    venue.wait(4 * S)
    assert len(venue.http("GET", "/fapi/v1/openOrders")[1]) == 1
    venue.wait(S + 1)
    assert venue.http("GET", "/fapi/v1/openOrders")[1] == []
    rest(venue)
    venue.http("POST", "/fapi/v1/countdownCancelAll", countdown)
    venue.http("POST", "/fapi/v1/countdownCancelAll", countdown | {"countdownTime": 0})
    venue.wait(10 * S)
    assert len(venue.http("GET", "/fapi/v1/openOrders")[1]) == 1


def test_funding_is_paid_every_eight_hours_and_by_the_rate() -> None:
    venue = Usdm()
    stream = venue.user_socket()
    venue.order("BUY", "1.000", None)
    venue.act("fund", symbol="BTCUSDT", rate_ppb=-200_000)
    venue.wait(S)
    [event] = [event for event in venue.heard(stream) if event["e"] == "ACCOUNT_UPDATE" and event["a"]["m"] == "FUNDING_FEE"]
    mark = venue.venue.desk.markets["BTCUSDT"].listing.mark
    assert event["a"]["B"][0]["bc"] == f"{mark * 10**7 // 5000 / 10**8:.8f}"
    before = venue.venue.desk.exchange.accounts["us"].balances["USDT"]
    venue.wait(8 * 3600 * S)
    assert venue.venue.desk.exchange.accounts["us"].balances["USDT"] == before - mark * 10**7 // 10_000
    rows = venue.http("GET", "/fapi/v1/income")[1]
    kinds = [(row["incomeType"], row["symbol"]) for row in rows if row["incomeType"] != "COMMISSION"]
    assert kinds == [("FUNDING_FEE", "BTCUSDT"), ("FUNDING_FEE", "BTCUSDT")]


def test_the_income_history_has_every_movement_once_page_by_page() -> None:
    venue = Usdm()
    stream = venue.user_socket()
    venue.order("BUY", "1.000", None)
    venue.act("trade", symbol="BTCUSDT", side="BUY", qty=1)
    venue.order("SELL", "0.500", None)
    venue.act("deposit", currency="USDT", amount=5 * USD)
    venue.act("liquidate", symbol="BTCUSDT")
    venue.wait(10 * S)
    reasons = [event["a"]["m"] for event in venue.heard(stream) if event["e"] == "ACCOUNT_UPDATE"]
    assert reasons[-2:] == ["ORDER", "INSURANCE_CLEAR"]
    rows = venue.http("GET", "/fapi/v1/income", limit=1000)[1]
    assert len({(row["incomeType"], row["tranId"]) for row in rows}) == len(rows)
    paged = [row for page in (1, 2, 3) for row in venue.http("GET", "/fapi/v1/income", limit=len(rows) // 2, page=page)[1]]
    assert paged == rows
    moved = sum(parse_fixed(row["income"], 8) for row in rows)
    assert moved == venue.venue.desk.exchange.accounts["us"].balances["USDT"] - 100_000 * USD
    [insured] = venue.http("GET", "/fapi/v1/income", incomeType="INSURANCE_CLEAR")[1]
    assert (insured["symbol"], insured in rows) == ("BTCUSDT", True)


def test_the_liquidation_price_is_the_published_one() -> None:
    """Binance's own example of cross margin (its support page on liquidation prices): BTC 26316.89, ETH 1153.26."""
    markets = default_markets(ProductOf.USDM)
    ratios = {"BTCUSDT": (250, 16_300), "ETHUSDT": (1_000, 135_365)}
    for market in markets:
        ratio, cum = ratios[market.symbol]
        market.brackets = (Bracket(125, 10**9, 0, ratio, cum),)
    venue = Usdm(markets=markets)
    account = venue.venue.desk.exchange.accounts["us"]
    account.balances["USDT"] = 1_535_443 * USD + USD // 100
    exchange = venue.venue.desk.exchange
    positions = {"BTCUSDT": ("109.488", "32481.98", "31967.27"), "ETHUSDT": ("3683.979", "1456.84", "1335.18")}
    for market in markets:
        qty, entry, mark = (float(text) for text in positions[market.symbol])
        rules = market.rules
        held = account.holding(market.listing)
        held.qty = round(qty * POW10[rules.qty_scale])
        held.value_open = round(qty * entry * 10**8)
        exchange.set_mark(venue.ts, market.listing, round(mark * POW10[rules.price_scale]))
    found = {row["symbol"]: row["liquidationPrice"] for row in venue.http("GET", "/fapi/v3/positionRisk")[1]}
    # BTC's price has one decimal here, and so has its mark: 31967.3.
    assert found["BTCUSDT"] == "26316.9"
    assert abs(float(found["ETHUSDT"]) - 1153.26) < 0.01


def test_who_cannot_cover_his_position_is_liquidated() -> None:
    venue = Usdm()
    stream = venue.user_socket()
    venue.http("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=125)
    for index in range(4):
        venue.act("trade", symbol="BTCUSDT", side="SELL", qty=1)
        assert venue.order("BUY", "0.100", None, newClientOrderId=f"b{index}")[1]["status"] == "FILLED"
    rest(venue, qty="0.001", price="47000", name="resting")
    venue.venue.desk.exchange.accounts["us"].balances["USDT"] = 100 * USD
    venue.wait(S)
    venue.heard(stream)
    venue.act("mark", symbol="BTCUSDT", price=490_000)
    venue.wait(2 * S)
    told = updates(venue, stream)
    assert told[0] == ("order", "resting", "CANCELED", "CANCELED", "0.000")
    forced = [row for row in told if row[0] == "order" and row[1].startswith("autoclose-")]
    assert forced[0][2:4] == ("NEW", "NEW")
    assert {row[2] for row in forced[1:]} <= {"CALCULATED", "EXPIRED"}
    assert venue.http("GET", "/fapi/v3/positionRisk")[1] == []
    assert {row["origin"] for row in venue.venue.ledger()["orders"]} == {"client", "forced"}


def test_auto_deleveraging_takes_a_part_over() -> None:
    venue = Usdm()
    stream = venue.user_socket()
    venue.order("BUY", "0.100", None)
    venue.wait(S)
    venue.heard(stream)
    venue.act("adl", account="us", symbol="BTCUSDT", qty=40)
    venue.wait(S)
    assert [row[1:4] for row in updates(venue, stream) if row[0] == "order"] == [
        ("adl_autoclose", "NEW", "NEW"),
        ("adl_autoclose", "CALCULATED", "FILLED"),
    ]
    assert venue.http("GET", "/fapi/v3/positionRisk")[1][0]["positionAmt"] == "0.060"


def test_a_listen_key_lives_an_hour_and_is_kept_alive() -> None:
    venue = Usdm()
    stream = venue.user_socket()
    _, first = venue.http("POST", "/fapi/v1/listenKey", signed=False)
    venue.wait(59 * 60 * S)
    assert venue.http("PUT", "/fapi/v1/listenKey", signed=False)[1] == first
    venue.wait(59 * 60 * S)
    assert venue.heard(stream) == []
    venue.wait(2 * 60 * S)
    assert [frame["e"] for frame in venue.heard(stream)] == ["listenKeyExpired"]
    assert venue.http("PUT", "/fapi/v1/listenKey", signed=False)[1]["code"] == -1125
    rest(venue)
    venue.wait(S)
    assert venue.heard(stream) == []


def test_account_answers_add_up() -> None:
    venue = Usdm()
    venue.order("BUY", "0.100", None)
    _, account = venue.http("GET", "/fapi/v3/account")
    [usdt] = [row for row in account["assets"] if row["asset"] == "USDT"]
    assert account["totalWalletBalance"] == usdt["walletBalance"]
    assert [row["positionAmt"] for row in account["positions"]] == ["0.100"]
    assert venue.http("GET", "/fapi/v1/positionSide/dual")[1] == {"dualSidePosition": False}
    assert venue.http("GET", "/fapi/v1/leverageBracket", symbol="BTCUSDT")[1][0]["brackets"][0]["initialLeverage"] == 125
    assert venue.http("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=126)[1]["code"] == -4028
    assert venue.http("GET", "/fapi/v2/positionRisk", symbol="ETHUSDT")[1][0]["positionAmt"] == "0.000"
    assert (
        venue.http("GET", "/fapi/v1/premiumIndex", symbol="BTCUSDT", signed=False)[1]["nextFundingTime"] % (8 * 3600 * 1000) == 0
    )
    assert venue.ts // MS == venue.http("GET", "/fapi/v1/time", signed=False)[1]["serverTime"]
