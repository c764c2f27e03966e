"""Requests to Alpaca's REST interfaces, each with the judge of its answer. Pure; models.py brings alpaca-py in.

Our order ids are on the wire as core/identifiers.py writes them. A replaced order is a new one there, under an id of its own:
ours with "-r1", "-r2", … behind it, so that whoever reads it knows whose it is, and no replace can be done twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from adapters.alpaca import models, outcomes, wire
from adapters.alpaca.exact import stamp_text
from adapters.alpaca.outcomes import ORDERS, REQUESTS
from adapters.alpaca.settings import AlpacaSettings, Endpoints
from adapters.alpaca.wire import (
    AccountBody,
    ActivityBody,
    AssetBody,
    Canceling,
    ClockBody,
    Closing,
    DayBody,
    LatestQuotes,
    Movements,
    OrderBody,
    PositionBody,
    read,
)
from adapters.http.record import percent_encoded
from adapters.http.request import Answer, Intent, Request, T, Verdict, Wire
from core.commands import SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.errors import RefusedError, VenueProtocolError
from core.identifiers import format_order_id, parse_order_id
from core.instruments import Instrument

GENERATION_MAX = 9_999  # replaces of one order
_GENERATION = re.compile(r"(.+)-r([1-9]\d{0,3})\Z", re.ASCII | re.DOTALL)
_TIMES = {
    TimeInForce.GTC: "gtc",
    TimeInForce.IOC: "ioc",
    TimeInForce.FOK: "fok",
    TimeInForce.DAY: "day",
    TimeInForce.OPG: "opg",
}
_SIDES = {Side.BUY: "buy", Side.SELL: "sell"}


def client_text(client_order_id: int, prefix: str, generation: int = 0) -> str:
    text = format_order_id(client_order_id, prefix)
    return f"{text}-r{generation}" if generation else text


def parse_client_text(text: str, prefix: str) -> tuple[int, int] | None:
    """Our order id and its generation; None for an id that is not ours."""
    match = _GENERATION.match(text)
    order_id = parse_order_id(text if match is None else match[1], prefix)
    return None if order_id is None else (order_id, 0 if match is None else int(match[2]))


class AlpacaCodec:
    """`symbols`: instrument_id -> the venue's symbol."""

    def __init__(
        self,
        settings: AlpacaSettings,
        endpoints: Endpoints,
        *,
        key: str,
        secret: str,
        prefix: str,
        instruments: Mapping[str, Instrument],
        symbols: Mapping[str, str],
    ) -> None:
        self.prefix = prefix
        self.instruments = dict(instruments)
        self.symbols = dict(symbols)
        self.by_symbol = {symbol: instrument_id for instrument_id, symbol in symbols.items()}
        self._settings = settings
        self._endpoints = endpoints
        self._headers = (("APCA-API-KEY-ID", key), ("APCA-API-SECRET-KEY", secret))
        self._json_headers = (*self._headers, ("Content-Type", "application/json"))

    # Orders.

    def place(self, command: SubmitOrder) -> Request[OrderBody]:
        """Raises RefusedError for what cannot be said to this venue."""
        instrument = self.instruments.get(command.instrument_id)
        if instrument is None:
            raise RefusedError(f"{command.instrument_id} is no instrument of this connection")
        self._require_sayable(command, instrument)
        numbers = {"qty": instrument.format_qty(command.quantity)}
        if command.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT):
            assert command.price is not None
            numbers["limit_price"] = instrument.format_price(command.price)
        if command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT):
            assert command.trigger_price is not None
            numbers["stop_price"] = instrument.format_price(command.trigger_price)
        text = client_text(command.client_order_id, self.prefix)
        body = models.order_body(
            command.order_type,
            symbol=self.symbols[command.instrument_id],
            side=_SIDES[command.side],
            time_in_force=_TIMES[command.time_in_force],
            client_order_id=text,
            numbers=numbers,
            # The venue has no reduce-only flag; this says what it is for, and the venue refuses what would open [?].
            intent=f"{_SIDES[command.side]}_to_close" if command.reduce_only else None,
        )
        if self._settings.extended_hours and is_extended(command):
            body["extended_hours"] = True

        def named(answer: bytes) -> OrderBody:
            order = read(answer, wire.ORDER)
            if order.client_order_id != text:
                raise VenueProtocolError(f"the answer is about order {order.client_order_id[:60]!r}, and {text} was sent")
            return order

        return self._request("order.place", Intent.PLACE, "POST", "/v2/orders", named, body=models.encode(body))

    def _require_sayable(self, command: SubmitOrder, instrument: Instrument) -> None:
        if command.post_only and self._settings.post_only == "refuse":
            raise RefusedError("Alpaca has no post-only orders")
        if command.display_qty:
            raise RefusedError("Alpaca shows the whole of an order")
        if command.time_in_force not in _TIMES:
            raise RefusedError("Alpaca takes no orders good till a date")
        is_stop = command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        if is_stop and command.time_in_force not in (TimeInForce.DAY, TimeInForce.GTC):
            raise RefusedError("a stop is for the day or good till canceled")
        if command.quantity % 10**instrument.qty_scale and not (
            command.time_in_force is TimeInForce.DAY and command.order_type in (OrderType.MARKET, OrderType.LIMIT)
        ):
            raise RefusedError("a fraction of a share takes a market or limit order for the day")

    def replace(
        self, venue_order_id: str, client_order_id: int, generation: int, instrument: Instrument, qty: int, price: int
    ) -> Request[OrderBody]:
        """PATCH: `qty` is the new order's whole quantity. Raises RefusedError."""
        if generation > GENERATION_MAX:
            raise RefusedError(f"an order was replaced {GENERATION_MAX} times")
        if qty % 10**instrument.qty_scale:
            raise RefusedError("the quantity of an order with a fraction of a share cannot be changed")
        text = client_text(client_order_id, self.prefix, generation)
        numbers = {"qty": str(qty // 10**instrument.qty_scale), "limit_price": instrument.format_price(price)}
        body = models.replace_body(text, numbers)

        def named(answer: bytes) -> OrderBody:
            order = read(answer, wire.ORDER)
            if order.replaces != venue_order_id:
                raise VenueProtocolError(f"the answer replaces {order.replaces}, and {venue_order_id} was to be replaced")
            return order

        path = f"/v2/orders/{_safe(venue_order_id)}"
        return self._request("order.replace", Intent.CHANGE, "PATCH", path, named, body=models.encode(body))

    def cancel(self, venue_order_id: str) -> Request[bool]:
        """The answer says that the cancel was taken, not that the order is canceled."""
        path = f"/v2/orders/{_safe(venue_order_id)}"
        return self._request("order.cancel", Intent.CANCEL, "DELETE", path, _nothing, success=(200, 204))

    def cancel_all(self) -> Request[list[Canceling]]:
        return self._request("orders.cancel_all", Intent.CANCEL, "DELETE", "/v2/orders", _canceled, success=(200, 207))

    def close_all(self) -> Request[list[Closing]]:
        """Cancel everything and close every position at the market. The venue's own orders, no quantity of ours in them."""
        path = "/v2/positions?cancel_orders=true"
        return self._request("positions.close_all", Intent.CANCEL, "DELETE", path, _closed, success=(200, 207))

    def close_position(self, symbol: str) -> Request[OrderBody]:
        path = f"/v2/positions/{_safe(symbol)}"
        return self._request("position.close", Intent.CANCEL, "DELETE", path, _order, success=(200, 207))

    # Questions.

    def order_by_id(self, venue_order_id: str) -> Request[OrderBody]:
        return self._query("order.by_id", f"/v2/orders/{_safe(venue_order_id)}", _order)

    def order_by_client_id(self, client_order_id: int, generation: int = 0) -> Request[OrderBody]:
        text = client_text(client_order_id, self.prefix, generation)
        return self._query("order.by_client_id", f"/v2/orders:by_client_order_id?client_order_id={_safe(text)}", _order)

    def orders(self, status: str, after_ts: int | None = None) -> Request[list[OrderBody]]:
        """One page of at most ORDERS_PAGE_MAX, oldest first; submitted after `after_ts` (ns UTC), exclusive."""
        path = f"/v2/orders?status={status}&limit={wire.ORDERS_PAGE_MAX}&direction=asc&nested=false"
        if after_ts is not None:
            path += f"&after={_safe(stamp_text(after_ts))}"
        return self._query("orders", path, lambda body: read(body, wire.ORDERS))

    def fills(self, after_ts: int, page_token: str = "") -> Request[list[ActivityBody]]:
        """One page of at most ACTIVITIES_PAGE_MAX, oldest first; `page_token` is the id of the last one seen."""
        path = (
            f"/v2/account/activities/FILL?direction=asc&page_size={wire.ACTIVITIES_PAGE_MAX}&after={_safe(stamp_text(after_ts))}"
        )
        if page_token:
            path += f"&page_token={_safe(page_token)}"
        return self._query("activities.fills", path, lambda body: read(body, wire.ACTIVITIES))

    def movements(self, after_ts: int, page_token: str = "") -> Request[Movements]:
        """One page of at most ACTIVITIES_PAGE_MAX of what is no trade and was made after `after_ts` (ns UTC), exclusive."""
        path = (
            "/v2/account/activities?category=non_trade_activity&direction=asc"
            f"&page_size={wire.ACTIVITIES_PAGE_MAX}&after={_safe(stamp_text(after_ts))}"
        )
        if page_token:
            path += f"&page_token={_safe(page_token)}"
        return self._query("activities.others", path, wire.read_movements)

    def positions(self) -> Request[list[PositionBody]]:
        return self._query("positions", "/v2/positions", lambda body: read(body, wire.POSITIONS))

    def account(self) -> Request[AccountBody]:
        return self._query("account", "/v2/account", lambda body: read(body, wire.ACCOUNT))

    def asset(self, symbol: str) -> Request[AssetBody]:
        return self._query("asset", f"/v2/assets/{_safe(symbol)}", lambda body: read(body, wire.ASSET))

    def clock(self) -> Request[ClockBody]:
        return self._query("clock", "/v2/clock", lambda body: read(body, wire.CLOCK))

    def calendar(self, first: str, last: str) -> Request[list[DayBody]]:
        return self._query("calendar", f"/v2/calendar?start={first}&end={last}", lambda body: read(body, wire.CALENDAR))

    def latest_quotes(self) -> Request[LatestQuotes]:
        symbols = ",".join(_safe(symbol) for symbol in sorted(self.by_symbol))
        path = f"/v2/stocks/quotes/latest?symbols={symbols}&feed={self._settings.feed}"
        return self._query("data.latest_quotes", path, lambda body: read(body, wire.QUOTES), origin=self._endpoints.data, cost=0)

    # The parts.

    def _query(
        self, name: str, path: str, read_value: Callable[[bytes], T], *, origin: str | None = None, cost: int = 1
    ) -> Request[T]:
        return self._request(name, Intent.QUERY, "GET", path, read_value, origin=origin, cost=cost)

    def _request(
        self,
        name: str,
        intent: Intent,
        method: str,
        path: str,
        read_value: Callable[[bytes], T],
        *,
        body: bytes = b"",
        success: tuple[int, ...] = (200,),
        origin: str | None = None,
        cost: int = 1,
    ) -> Request[T]:
        headers = self._json_headers if body else self._headers
        wire_request = Wire(method, origin or self._endpoints.trading, path, headers, body)

        def verdict(answer: Answer) -> Verdict[T]:
            return outcomes.judge(read_value, answer, success=success)

        return Request(
            name=name,
            intent=intent,
            build=lambda _now: wire_request,
            judge=verdict,
            costs=(*(((REQUESTS, cost),) if cost else ()), *(((ORDERS, 1),) if intent in (Intent.PLACE, Intent.CHANGE) else ())),
            deadline_s=self._settings.request_deadline_s,
            answer_bytes_max=wire.BODY_BYTES_MAX,
        )


def is_extended(command: SubmitOrder) -> bool:
    """Which orders the early and the late session take."""
    return command.order_type is OrderType.LIMIT and command.time_in_force is TimeInForce.DAY


def _order(body: bytes) -> OrderBody:
    return read(body, wire.ORDER)


def _canceled(body: bytes) -> list[Canceling]:
    return read(body, wire.CANCELED) if body else []


def _closed(body: bytes) -> list[Closing]:
    return read(body, wire.CLOSED) if body else []


def _nothing(body: bytes) -> bool:
    """204 has no body; some of the venue's gateways send an empty object."""
    if body.strip() not in (b"", b"{}", b"null"):
        raise VenueProtocolError(f"a cancel was answered with {body[:100]!r}")
    return True


def _safe(part: str) -> str:
    return percent_encoded(part.encode()).decode()
