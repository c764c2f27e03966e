"""The bodies in alpaca-py's own test data: each is read, or refused for a reason that is named here."""

from __future__ import annotations

import json
import tarfile

import msgspec
import pytest

from adapters.alpaca import wire
from adapters.alpaca.wire import read
from core.errors import VenueProtocolError
from tests.data_path import market_data

# By the part of a file's name behind "trading_client_test_": what reads it.
DECODERS: dict[str, msgspec.json.Decoder[object]] = {
    "account_routes.test_get_account.": wire.ACCOUNT,
    "asset_routes.test_get_asset.": wire.ASSET,
    "order_routes.test_cancel_orders.": wire.CANCELED,
    "order_routes.test_get_order_by_client_id.": wire.ORDER,
    "order_routes.test_get_order_by_id.": wire.ORDER,
    "order_routes.test_get_orders.": wire.ORDERS,
    "order_routes.test_limit_order.": wire.ORDER,
    "order_routes.test_market_order.": wire.ORDER,
    "order_routes.test_order_position_intent.": wire.ORDER,
    "order_routes.test_replace_order.": wire.ORDER,
    "position_routes.test_close_all_positions.": wire.CLOSED,
    "position_routes.test_close_position_with_percentage.": wire.ORDER,
    "position_routes.test_close_position_with_qty.": wire.ORDER,
    "position_routes.test_get_all_positions.": wire.POSITIONS,
}
LATEST_QUOTES = "data_test_historical_stock_data.test_get_latest_quote."
# Not asked for by the adapter: nothing reads them.
UNUSED = ("account_configurations", "all_assets", "corporate", "option", "crypto", "news", "screener", "stock_data")


def recorded() -> dict[str, bytes]:
    with tarfile.open(market_data("wire/alpaca_responses.tar.gz")) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                found[member.name.rpartition("/")[2]] = file.read()
    return found


def decoder_of(name: str) -> msgspec.json.Decoder[object] | None:
    if name.startswith(LATEST_QUOTES):
        return wire.QUOTES
    return next((decoder for part, decoder in DECODERS.items() if part in name), None)


def test_every_body_is_read_or_known_to_be_unused() -> None:
    bodies = recorded()
    read_names = []
    for name, body in sorted(bodies.items()):
        decoder = decoder_of(name)
        if decoder is None:
            assert any(part in name for part in UNUSED), name
            continue
        read(body, decoder)
        read_names.append(name)
    assert len(read_names) == 16


def test_what_the_bodies_say_is_what_json_says() -> None:
    bodies = recorded()
    for name, body in sorted(bodies.items()):
        decoder = decoder_of(name)
        if decoder is not wire.ORDER:
            continue
        order, plain = read(body, wire.ORDER), json.loads(body)
        assert (order.id, order.client_order_id, order.status.value) == (plain["id"], plain["client_order_id"], plain["status"])
        for member in ("qty", "filled_qty", "limit_price"):
            assert json.loads(bytes(getattr(order, member))) == plain[member]


def test_a_body_of_another_kind_is_refused() -> None:
    bodies = recorded()
    account = next(body for name, body in bodies.items() if "test_get_account." in name)
    for decoder in (wire.ORDER, wire.ORDERS, wire.POSITIONS, wire.ACTIVITIES, wire.CLOCK, wire.CALENDAR, wire.QUOTES):
        with pytest.raises(VenueProtocolError):
            read(account, decoder)
