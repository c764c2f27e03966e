"""Our requests as bytes: one function each, numbers written as exact decimal text. Pure.

Methods and parameter names as documented for API v2. valid_until (documented for buy, sell and edit) is a stamp of the
server's clock in ms: the engine does not begin with a request after it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.deribit.instruments import VenueInstrument
from core.commands import SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.units import format_fixed

TRADES_PAGE = 1_000  # `count`, its documented maximum
LOG_PAGE = 250  # rows of the transaction log, the documented maximum
COD_SCOPE = "connection"
BOOK_DEPTH = 100  # one of those that the venue takes (documented)

_ORDER_TYPES = {
    OrderType.LIMIT: "limit",
    OrderType.MARKET: "market",
    OrderType.STOP: "stop_market",
    OrderType.STOP_LIMIT: "stop_limit",
}
_TIME_IN_FORCE = {
    TimeInForce.GTC: "good_til_cancelled",
    TimeInForce.DAY: "good_til_day",
    TimeInForce.FOK: "fill_or_kill",
    TimeInForce.IOC: "immediate_or_cancel",
}

_encode = msgspec.json.Encoder().encode


def request(request_id: int, method: str, params: dict[str, Any]) -> bytes:
    return _encode({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


def number(value: int, scale: int) -> msgspec.Raw:
    """`value` at `scale` as a JSON number with no digit lost."""
    text = format_fixed(value, scale)
    return msgspec.Raw((text.rstrip("0").rstrip(".") if "." in text else text).encode())


# The session.


def auth_credentials(request_id: int, client_id: str, client_secret: str) -> bytes:
    return request(
        request_id,
        "public/auth",
        {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret, "scope": "connection"},
    )


def auth_signature(request_id: int, client_id: str, client_secret: str, timestamp_ms: int, nonce: str) -> bytes:
    """As auth_credentials, but the secret itself stays here: HMAC-SHA256 over timestamp, nonce and (empty) data, one per line."""
    message = f"{timestamp_ms}\n{nonce}\n".encode()
    return request(
        request_id,
        "public/auth",
        {
            "grant_type": "client_signature",
            "client_id": client_id,
            "timestamp": timestamp_ms,
            "nonce": nonce,
            "data": "",
            "signature": hmac.new(client_secret.encode(), message, hashlib.sha256).hexdigest(),
            "scope": "connection",
        },
    )


def auth_refresh(request_id: int, refresh_token: str) -> bytes:
    return request(request_id, "public/auth", {"grant_type": "refresh_token", "refresh_token": refresh_token})


def set_heartbeat(request_id: int, interval_s: int) -> bytes:
    assert interval_s >= 10, "the venue refuses less"
    return request(request_id, "public/set_heartbeat", {"interval": interval_s})


def test(request_id: int) -> bytes:
    return request(request_id, "public/test", {})


def enable_cancel_on_disconnect(request_id: int) -> bytes:
    return request(request_id, "private/enable_cancel_on_disconnect", {"scope": COD_SCOPE})


def logout(request_id: int) -> bytes:
    """Ends the connection, and leaves orders open even with cancel-on-disconnect; it has no answer."""
    return request(request_id, "private/logout", {"invalidate_token": True})


def subscribe(request_id: int, channels: Sequence[str], *, is_public: bool = False) -> bytes:
    """private/subscribe serves public channels too, and raw ones only to whoever is logged in."""
    return request(request_id, f"{'public' if is_public else 'private'}/subscribe", {"channels": list(channels)})


def unsubscribe(request_id: int, channels: Sequence[str], *, is_public: bool = False) -> bytes:
    return request(request_id, f"{'public' if is_public else 'private'}/unsubscribe", {"channels": list(channels)})


# Orders.


def submit(
    request_id: int, command: SubmitOrder, venue: VenueInstrument, label: str, valid_until_ms: int, *, trigger: str, reprice: bool
) -> bytes | None:
    """private/buy or private/sell; None: the venue has no such order. `reprice`: a post-only that would take moves instead."""
    instrument = venue.instrument
    is_market = command.order_type in (OrderType.MARKET, OrderType.STOP)
    if command.time_in_force not in _TIME_IN_FORCE or (is_market and command.post_only):
        return None
    params: dict[str, Any] = {
        "instrument_name": venue.name,
        "amount": number(command.quantity, instrument.qty_scale),
        "type": _ORDER_TYPES[command.order_type],
        "label": label,
        "valid_until": valid_until_ms,
    }
    if command.price is not None:
        params["price"] = number(command.price, instrument.price_scale)
    if not is_market:
        # A market order takes no time in force but the default.
        params["time_in_force"] = _TIME_IN_FORCE[command.time_in_force]
    if command.trigger_price is not None:
        params["trigger_price"] = number(command.trigger_price, instrument.price_scale)
        params["trigger"] = trigger
    if command.post_only:
        params["post_only"] = True
        params["reject_post_only"] = not reprice
    if command.reduce_only:
        params["reduce_only"] = True
    if command.display_qty:
        params["display_amount"] = number(command.display_qty, instrument.qty_scale)
    return request(request_id, "private/buy" if command.side is Side.BUY else "private/sell", params)


def edit(
    request_id: int,
    venue: VenueInstrument,
    *,
    order_id: str,
    label: str,
    amount: int,
    price: int,
    post_only: bool,
    reduce_only: bool,
    reprice: bool,
    valid_until_ms: int,
) -> bytes:
    """private/edit, or edit_by_label where the order's id is not known yet. `amount` is the order's total, fills included [?].

    The flags are said again: what an edit leaves out may fall back to its default.
    """
    params: dict[str, Any] = {
        "amount": number(amount, venue.instrument.qty_scale),
        "price": number(price, venue.instrument.price_scale),
        "valid_until": valid_until_ms,
    }
    if post_only:
        params["post_only"] = True
        params["reject_post_only"] = not reprice
    if reduce_only:
        params["reduce_only"] = True
    if order_id:
        return request(request_id, "private/edit", {"order_id": order_id, **params})
    return request(request_id, "private/edit_by_label", {"label": label, "instrument_name": venue.name, **params})


def cancel(request_id: int, order_id: str) -> bytes:
    return request(request_id, "private/cancel", {"order_id": order_id})


def cancel_by_label(request_id: int, label: str, currency: str) -> bytes:
    """Every order of that label; answers with how many there were."""
    return request(request_id, "private/cancel_by_label", {"label": label, "currency": currency})


def cancel_all(request_id: int) -> bytes:
    """Orders and trigger orders, all currencies and kinds; answers with how many there were."""
    return request(request_id, "private/cancel_all", {})


def cancel_all_by_instrument(request_id: int, name: str) -> bytes:
    return request(request_id, "private/cancel_all_by_instrument", {"instrument_name": name, "type": "all"})


def cancel_all_by_currency(request_id: int, currency: str) -> bytes:
    return request(request_id, "private/cancel_all_by_currency", {"currency": currency, "type": "all"})


def close_position(request_id: int, name: str) -> bytes:
    """A reduce-only market order over the whole position."""
    return request(request_id, "private/close_position", {"instrument_name": name, "type": "market"})


# Questions.


def get_instrument(request_id: int, name: str) -> bytes:
    return request(request_id, "public/get_instrument", {"instrument_name": name})


def get_instruments(request_id: int, currency: str, kind: str) -> bytes:
    return request(request_id, "public/get_instruments", {"currency": currency, "kind": kind, "expired": False})


def get_order_book(request_id: int, name: str) -> bytes:
    """The best levels and the change_id they are of."""
    return request(request_id, "public/get_order_book", {"instrument_name": name, "depth": BOOK_DEPTH})


def get_open_orders(request_id: int) -> bytes:
    """All currencies, kinds and types: trigger orders too."""
    return request(request_id, "private/get_open_orders", {"type": "all"})


def get_order_state(request_id: int, order_id: str) -> bytes:
    return request(request_id, "private/get_order_state", {"order_id": order_id})


def get_order_state_by_label(request_id: int, currency: str, label: str) -> bytes:
    """Every recent order of that label, open or not; an empty list where there is none."""
    return request(request_id, "private/get_order_state_by_label", {"currency": currency, "label": label})


def get_user_trades_by_order(request_id: int, order_id: str) -> bytes:
    return request(request_id, "private/get_user_trades_by_order", {"order_id": order_id, "sorting": "asc"})


def get_user_trades_by_time(request_id: int, currency: str, start_ms: int, end_ms: int, *, historical: bool) -> bytes:
    """Oldest first. Without `historical` only those of the last 24 hours; with it all, some time after they happened."""
    params = {
        "currency": currency,
        "start_timestamp": start_ms,
        "end_timestamp": end_ms,
        "count": TRADES_PAGE,
        "sorting": "asc",
        "historical": historical,
    }
    return request(request_id, "private/get_user_trades_by_currency_and_time", params)


def get_positions(request_id: int) -> bytes:
    return request(request_id, "private/get_positions", {"currency": "any"})


def get_transaction_log(request_id: int, currency: str, start_ms: int, end_ms: int, continuation: int | None) -> bytes:
    """What has changed the balance, the newest first."""
    params = {"currency": currency, "start_timestamp": start_ms, "end_timestamp": end_ms, "count": LOG_PAGE}
    if continuation is not None:
        params["continuation"] = continuation
    return request(request_id, "private/get_transaction_log", params)
