"""Our requests byte by byte, and the instruments that their numbers are counted in."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from msgspec import Raw

from adapters.deribit import requests, wire
from adapters.deribit.instruments import VenueInstrument, read_instrument
from core.commands import SubmitOrder
from core.enums import InstrumentClass, OrderType, Side, TimeInForce
from core.errors import VenueProtocolError
from core.instruments import Instrument
from tests.adapters.deribit.frames import INSTRUMENT, OPTION


def read(text: str) -> VenueInstrument:
    venue = read_instrument(wire.decode_result(wire.InstrumentResult, Raw(text.encode())))
    assert venue is not None
    return venue


PERPETUAL = read(INSTRUMENT)


def test_the_inverse_perpetual_is_counted_in_dollars() -> None:
    assert PERPETUAL.instrument == Instrument(
        instrument_id="BTC-PERPETUAL.DERIBIT",
        instrument_class=InstrumentClass.PERPETUAL,
        base_currency="BTC",
        quote_currency="USD",
        settlement_currency="BTC",
        price_scale=2,
        qty_scale=0,
        tick=50,
        lot=10,
        qty_min=10,
        is_inverse=True,
        maker_fee_rate=0,
        taker_fee_rate=500_000,
    )
    # 1,000 dollars at 50,000 are 0.02 BTC.
    assert PERPETUAL.instrument.notional(5_000_000, 1_000) == 2_000_000


def test_an_option_has_tick_steps_and_is_counted_in_coins() -> None:
    option = read(OPTION)
    assert (option.instrument.instrument_class, option.instrument.is_inverse) == (InstrumentClass.OPTION, False)
    assert (option.instrument.price_scale, option.instrument.qty_scale, option.instrument.lot) == (4, 1, 1)
    assert (option.tick_steps, [option.tick_at(price) for price in (1, 50, 51, 500)]) == (((50, 5),), [1, 1, 5, 5])
    assert (option.currency, option.expiry_ts, option.price_index) == ("BTC", 1_673_596_800_000 * 10**6, "btc_usd")
    # 0.1 of an option at 0.0345 costs 0.00345 BTC.
    assert option.instrument.notional(345, 1) == 345_000


def test_a_linear_perpetual_settles_in_its_quote() -> None:
    text = INSTRUMENT.replace('"reversed"', '"linear"').replace('"settlement_currency":"BTC"', '"settlement_currency":"USDC"')
    linear = read(text.replace('"quote_currency":"USD"', '"quote_currency":"USDC"').replace("10.0", "0.0001"))
    assert (linear.instrument.is_inverse, linear.instrument.settlement_currency) == (False, "USDC")
    assert (linear.instrument.qty_scale, linear.instrument.lot) == (4, 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"tick_size":0.5', '"tick_size":0'),
        ('"tick_size":0.5', '"tick_size":1e-30'),
        ('"min_trade_amount":10.0', '"min_trade_amount":-1'),
        ('"settlement_currency":"BTC"', '"settlement_currency":"EUR"'),
        ('"tick_size_steps":[]', '"tick_size_steps":[{"above_price":5,"tick_size":1},{"above_price":4,"tick_size":1}]'),
        ('"tick_size":0.5', '"tick_size":"0.5"'),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(old: str, new: str) -> None:
    assert old in INSTRUMENT
    with pytest.raises(VenueProtocolError):
        read(INSTRUMENT.replace(old, new))


def test_combos_are_not_supported() -> None:
    found = wire.decode_result(wire.InstrumentResult, Raw(INSTRUMENT.replace('"future"', '"future_combo"').encode()))
    assert read_instrument(found) is None


def order(**more: object) -> SubmitOrder:
    values: dict[str, Any] = {
        "ts": 1,
        "client_order_id": 1,
        "strategy_id": "s",
        "instrument_id": "BTC-PERPETUAL.DERIBIT",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": 30,
        "price": 5_000_050,
    }
    return SubmitOrder(**{**values, **more})


def submitted(command: SubmitOrder) -> str | None:
    sent = requests.submit(7, command, PERPETUAL, "t-1-1", 1_700_000_000_000, trigger="last_price", reprice=False)
    return None if sent is None else sent.decode()


def test_orders_on_the_wire() -> None:
    head = '{"jsonrpc":"2.0","id":7,"method":"private/%s","params":{"instrument_name":"BTC-PERPETUAL","amount":30,'
    tail = '"label":"t-1-1","valid_until":1700000000000'
    assert submitted(order(post_only=True)) == head % "buy" + '"type":"limit",' + tail + (
        ',"price":50000.5,"time_in_force":"good_til_cancelled","post_only":true,"reject_post_only":true}}'
    )
    assert submitted(order(side=Side.SELL, order_type=OrderType.MARKET, price=None, reduce_only=True)) == (
        head % "sell" + '"type":"market",' + tail + ',"reduce_only":true}}'
    )
    stop = order(order_type=OrderType.STOP_LIMIT, trigger_price=5_000_000, time_in_force=TimeInForce.DAY, display_qty=10)
    assert submitted(stop) == head % "buy" + '"type":"stop_limit",' + tail + (
        ',"price":50000.5,"time_in_force":"good_til_day","trigger_price":50000,"trigger":"last_price","display_amount":10}}'
    )


@pytest.mark.parametrize(
    "command",
    [
        order(time_in_force=TimeInForce.GTD, expire_ts=1),
        order(time_in_force=TimeInForce.OPG),
        order(order_type=OrderType.MARKET, price=None, post_only=True),
    ],
)
def test_what_the_venue_does_not_have_is_not_sent(command: SubmitOrder) -> None:
    assert submitted(command) is None


@pytest.mark.parametrize(
    ("value", "scale", "text"), [(5, 1, b"0.5"), (10, 1, b"1"), (-21, 8, b"-0.00000021"), (2**63 - 1, 0, b"9223372036854775807")]
)
def test_numbers_are_written_exactly(value: int, scale: int, text: bytes) -> None:
    assert bytes(requests.number(value, scale)) == text


def test_the_signature_covers_stamp_and_nonce() -> None:
    sent = json.loads(requests.auth_signature(1, "id", "secret", 1_700_000_000_000, "abcd"))
    expected = hmac.new(b"secret", b"1700000000000\nabcd\n", hashlib.sha256).hexdigest()
    assert sent["params"] == {
        "grant_type": "client_signature",
        "client_id": "id",
        "timestamp": 1_700_000_000_000,
        "nonce": "abcd",
        "data": "",
        "signature": expected,
        "scope": "connection",
    }
    assert b"secret" not in requests.auth_signature(1, "id", "secret", 1, "n")
