"""Recorded bodies of the venue: each that the adapter uses decodes to what is written here, the others are refused by name."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.http.request import Answer, Outcome
from adapters.oanda import wire
from adapters.oanda.outcomes import judge_cancel, judge_place, judge_replace
from core.errors import VenueProtocolError
from tests.data_path import market_data

ARCHIVE = "wire/oanda_v20_responses.tar.gz"


def recorded() -> Iterator[tuple[str, Any]]:
    with tarfile.open(market_data(ARCHIVE)) as archive:
        for member in sorted(archive.getmembers(), key=lambda each: each.name):
            if member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                yield member.name.rpartition("/")[2].removesuffix(".json"), json.load(file)["response"]


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


KINDS: dict[str, type] = {
    "accounts.v3_account_by_accountID": wire.AccountAnswer,
    "accounts.v3_account_by_accountID_instruments": wire.InstrumentsAnswer,
    "accounts.v3_accounts": wire.AccountsAnswer,
    "orders.v3_accounts_accountID_order_cancel": wire.DealAnswer,
    "orders.v3_accounts_accountID_order_details": wire.OneOrderAnswer,
    "orders.v3_accounts_accountID_order_replace": wire.DealAnswer,
    "orders.v3_accounts_accountID_orders_create": wire.DealAnswer,
    "orders.v3_accounts_accountID_orders_list": wire.OrdersAnswer,
    "orders.v3_accounts_accountID_orders_pending": wire.OrdersAnswer,
}
# What nobody here asks for, and why each could not be taken for something else.
NOT_USED = {
    "accounts.v3_account_by_accountID_summary": "",  # reads as an account without orders; the adapter asks for details
    "accounts.v3_accounts_accountID_account_changes": "`account`",
    "accounts.v3_accounts_accountID_account_config": "`account`",
    "instruments.v3_instruments_instrument_candles": "`account`",
    "instruments.v3_instruments_instrument_orderbook": "`account`",
    "instruments.v3_instruments_instrument_positionbook": "`account`",
    "orders.v3_accounts_accountID_order_clientextensions": "`account`",
    "pricing.v3_accounts_accountID_pricing": "`account`",
    "pricing.v3_accounts_accountID_pricing_stream": "",
}


def test_every_body_is_decoded_or_refused_by_name() -> None:
    seen = set()
    for name, body in recorded():
        seen.add(name)
        if name in KINDS:
            assert isinstance(wire.body_of(KINDS[name], encoded(body)), KINDS[name]), name
        elif NOT_USED[name]:
            with pytest.raises(VenueProtocolError, match=NOT_USED[name]):
                wire.body_of(wire.AccountAnswer, encoded(body))
    assert seen == set(KINDS) | set(NOT_USED)


def test_what_the_bodies_say() -> None:
    found = dict(recorded())
    account = wire.body_of(wire.AccountAnswer, encoded(found["accounts.v3_account_by_accountID"]))
    assert (account.account.currency, account.account.hedging_enabled, account.last_transaction_id) == ("EUR", False, "833")
    assert [(order.id, order.units, order.price, order.state) for order in account.account.orders] == [
        ("204", "-50000", "0.87000", "PENDING")
    ]
    assert {position.instrument: position.short.units for position in account.account.positions}["DE30_EUR"] == "-20"
    listed = wire.body_of(wire.InstrumentsAnswer, encoded(found["accounts.v3_account_by_accountID_instruments"]))
    euro = next(each for each in listed.instruments if each.name == "EUR_USD")
    assert (euro.display_precision, euro.trade_units_precision, euro.minimum_trade_size, euro.type) == (5, 0, "1", "CURRENCY")
    (pending,) = wire.body_of(wire.OrdersAnswer, encoded(found["orders.v3_accounts_accountID_orders_pending"])).orders
    assert pending.client_extensions == wire.Extensions("myID")


def test_what_the_answers_prove() -> None:
    found = dict(recorded())
    placed = judge_place(Answer(201, {}, encoded(found["orders.v3_accounts_accountID_orders_create"])), "")
    assert placed.outcome is Outcome.ACCEPTED
    other = judge_place(Answer(201, {}, encoded(found["orders.v3_accounts_accountID_orders_create"])), "mine")
    assert other.outcome is Outcome.UNKNOWN
    replaced = judge_replace(Answer(201, {}, encoded(found["orders.v3_accounts_accountID_order_replace"])), "2304")
    assert replaced.outcome is Outcome.ACCEPTED
    assert replaced.value is not None
    # The replacement bears the client's id of the order that it replaces, though the request did not say it.
    assert [(each.id, each.client_text) for each in replaced.value.transactions] == [("2306", "myID"), ("2307", "myID")]
    canceled = judge_cancel(Answer(200, {}, encoded(found["orders.v3_accounts_accountID_order_cancel"])), "@myID")
    assert canceled.outcome is Outcome.ACCEPTED


def test_the_lines_of_the_stream_of_prices() -> None:
    lines = [wire.price_line(encoded(line)) for line in dict(recorded())["pricing.v3_accounts_accountID_pricing_stream"]]
    assert [type(line).__name__ for line in lines] == ["Price", "Heartbeat", "Price", "Price"]
    first = lines[0]
    assert isinstance(first, wire.Price)
    assert (first.instrument, first.is_tradeable, first.bids[0].price, first.bids[0].liquidity_text) == (
        "EUR_JPY",
        True,
        "114.295",
        "1000000",
    )
