"""Requests to OANDA out of oandapyV20's endpoint classes, with the judge of each answer. The one file that imports the library.

Of the library only the descriptions are used: method, path, parameters, expected status. Its API class blocks, retries nothing,
and never says whether a request has left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from oandapyV20.endpoints import accounts, orders, positions, pricing, transactions

from adapters.http.record import percent_encoded
from adapters.http.request import Answer, Intent, Request, Verdict, Wire
from adapters.oanda.exact import text_of_time
from adapters.oanda.outcomes import judge_cancel, judge_close, judge_place, judge_query, judge_replace
from adapters.oanda.rules import Rules
from adapters.oanda.wire import (
    BODY_BYTES_MAX,
    AccountAnswer,
    AccountsAnswer,
    DealAnswer,
    InstrumentsAnswer,
    OneOrderAnswer,
    OrdersAnswer,
    PagesAnswer,
    PositionsAnswer,
    TransactionsAnswer,
)
from core.commands import SubmitOrder
from core.enums import OrderType, Reason, Side, TimeInForce

M = TypeVar("M")

REQUESTS = "requests"  # the meter
POSITION_PART_ALL = "ALL"
# Words of the documented filter for what moves positions or money. It has none for dividends by themselves: [?] in which group
# they are.
BOOKED = "ORDER_FILL,DAILY_FINANCING,TRANSFER_FUNDS,FUNDING,ADMIN"
_LIMIT_TIMES = {
    TimeInForce.GTC: "GTC",
    TimeInForce.GTD: "GTD",
    TimeInForce.DAY: "GFD",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
}
_STOP_TIMES = {TimeInForce.GTC: "GTC", TimeInForce.GTD: "GTD", TimeInForce.DAY: "GFD"}
# A market order takes what is there and rests never: that is IOC, whatever a strategy calls it.
_MARKET_TIMES = {TimeInForce.GTC: "IOC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}


class LimitTerms(msgspec.Struct, frozen=True):
    """What of a limit order a replacement keeps, in OANDA's words."""

    time_in_force: str = "GTC"
    gtd_time: str = ""
    position_fill: str = "DEFAULT"


class OandaCodec:
    """One account's requests. `api` and `stream` are origins; the token goes into the headers and nowhere else."""

    def __init__(self, *, account: str, token: str, api: str, stream: str, deadline_s: float) -> None:
        self._account = account
        self._api, self._stream = api, stream
        self._headers = (
            ("Authorization", f"Bearer {token}"),
            ("Accept-Datetime-Format", "RFC3339"),
        )
        self._deadline_s = deadline_s

    # What changes orders.

    def place(self, command: SubmitOrder, rules: Rules, client_text: str) -> Request[DealAnswer] | Reason:
        """A Reason: OANDA has no word for such an order, and nothing is sent."""
        body = order_body(command, rules, client_text)
        if isinstance(body, Reason):
            return body
        endpoint = orders.OrderCreate(self._account, data={"order": body})
        return self._request("order.place", Intent.PLACE, endpoint, lambda answer: judge_place(answer, client_text))

    def replace(
        self, venue_order_id: str, rules: Rules, terms: LimitTerms, side: Side, qty: int, price: int
    ) -> Request[DealAnswer] | Reason:
        """By the venue's own number: one that was filled or replaced meanwhile has another, and nothing happens.

        The replacement takes the client's id over from the order that it replaces; asked for again it would be in use.
        """
        units, price_text = rules.units_text(qty if side is Side.BUY else -qty), rules.price_text(price)
        if units is None or price_text is None:
            return Reason.BAD_QTY if units is None else Reason.BAD_TICK
        body = {
            "type": "LIMIT",
            "instrument": rules.name,
            "units": units,
            "price": price_text,
            "timeInForce": terms.time_in_force,
            "positionFill": terms.position_fill,
            "triggerCondition": "DEFAULT",
        }
        if terms.gtd_time:
            body["gtdTime"] = terms.gtd_time
        endpoint = orders.OrderReplace(self._account, venue_order_id, data={"order": body})
        return self._request("order.replace", Intent.CHANGE, endpoint, lambda answer: judge_replace(answer, venue_order_id))

    def cancel(self, specifier: str) -> Request[DealAnswer]:
        """`specifier`: an order's number, or "@" and the client's id."""
        endpoint = orders.OrderCancel(self._account, specifier)
        return self._request("order.cancel", Intent.CANCEL, endpoint, lambda answer: judge_cancel(answer, specifier))

    def close_position(self, name: str, *, is_long: bool) -> Request[DealAnswer]:
        data = {"longUnits" if is_long else "shortUnits": POSITION_PART_ALL}
        endpoint = positions.PositionClose(self._account, name, data=data)
        return self._request("position.close", Intent.CANCEL, endpoint, judge_close)

    # What asks.

    def accounts(self) -> Request[AccountsAnswer]:
        return self._query("accounts", accounts.AccountList(), AccountsAnswer)

    def account(self, intent: Intent = Intent.QUERY) -> Request[AccountAnswer]:
        """Orders, positions and the last transaction that they know of, all of one moment."""
        return self._query("account", accounts.AccountDetails(self._account), AccountAnswer, intent)

    def instruments(self, names: Sequence[str]) -> Request[InstrumentsAnswer]:
        params = {"instruments": ",".join(names)}
        return self._query("instruments", accounts.AccountInstruments(self._account, params=params), InstrumentsAnswer)

    def pending_orders(self, intent: Intent = Intent.QUERY) -> Request[OrdersAnswer]:
        return self._query("orders.pending", orders.OrdersPending(self._account), OrdersAnswer, intent)

    def order(self, specifier: str) -> Request[OneOrderAnswer]:
        return self._query("order", orders.OrderDetails(self._account, specifier), OneOrderAnswer)

    def open_positions(self) -> Request[PositionsAnswer]:
        return self._query("positions.open", positions.OpenPositions(self._account), PositionsAnswer)

    def transactions_since(self, number: int) -> Request[TransactionsAnswer]:
        endpoint = transactions.TransactionsSinceID(self._account, params={"id": str(number)})
        return self._query("transactions.since", endpoint, TransactionsAnswer)

    def booked_pages(self, since_ts: int, page_size: int) -> Request[PagesAnswer]:
        params = {"from": text_of_time(since_ts), "type": BOOKED, "pageSize": str(page_size)}
        return self._query("transactions.pages", transactions.TransactionList(self._account, params=params), PagesAnswer)

    def booked(self, first: int, last: int) -> Request[TransactionsAnswer]:
        """What positions and money have become."""
        params = {"from": str(first), "to": str(last), "type": BOOKED}
        endpoint = transactions.TransactionIDRange(self._account, params=params)
        return self._query("transactions.booked", endpoint, TransactionsAnswer)

    # Streams: their answers have no end, so nobody judges them whole.

    def transaction_stream(self) -> Request[bytes]:
        return self._open("stream.transactions", transactions.TransactionsStream(self._account))

    def price_stream(self, names: Sequence[str]) -> Request[bytes]:
        params = {"instruments": ",".join(names), "snapshot": "true"}
        return self._open("stream.prices", pricing.PricingStream(self._account, params=params))

    # How.

    def _query(self, name: str, endpoint: Any, kind: type[M], intent: Intent = Intent.QUERY) -> Request[M]:
        return self._request(name, intent, endpoint, lambda answer: judge_query(kind, answer))

    def _request(self, name: str, intent: Intent, endpoint: Any, judge: Callable[[Answer], Verdict[M]]) -> Request[M]:
        wire = self._wire(self._api, endpoint)
        return Request(
            name=name,
            intent=intent,
            build=lambda _ts: wire,
            judge=judge,
            costs=((REQUESTS, 1),),
            deadline_s=self._deadline_s,
            answer_bytes_max=BODY_BYTES_MAX,
        )

    def _open(self, name: str, endpoint: Any) -> Request[bytes]:
        wire = self._wire(self._stream, endpoint)
        return Request(
            name=name,
            intent=Intent.QUERY,
            build=lambda _ts: wire,
            judge=lambda answer: judge_query(bytes, answer),
            costs=((REQUESTS, 1),),
            deadline_s=self._deadline_s,
        )

    def _wire(self, origin: str, endpoint: Any) -> Wire:
        params: Mapping[str, str] | None = getattr(endpoint, "params", None)
        data: Mapping[str, Any] | None = getattr(endpoint, "data", None)
        headers = self._headers + tuple(getattr(endpoint, "HEADERS", {}).items())
        return Wire(
            method=str(endpoint.method),
            origin=origin,
            # AccountList has its path with a slash in front, all the others without.
            target="/" + str(endpoint).removeprefix("/") + (f"?{_encoded(params)}" if params else ""),
            headers=headers,
            body=b"" if data is None else msgspec.json.encode(data),
        )


def _encoded(params: Mapping[str, str]) -> str:
    return "&".join(f"{name}={percent_encoded(value.encode()).decode()}" for name, value in params.items())


def order_body(command: SubmitOrder, rules: Rules, client_text: str) -> dict[str, Any] | Reason:
    """The order as OANDA takes it, or why it does not."""
    units = rules.units_text(command.quantity if command.side is Side.BUY else -command.quantity)
    if units is None:
        return Reason.BAD_QTY
    body: dict[str, Any] = {
        "instrument": rules.name,
        "units": units,
        "positionFill": "REDUCE_ONLY" if command.reduce_only else "DEFAULT",
        "clientExtensions": {"id": client_text},
    }
    if command.post_only or command.display_qty:
        return Reason.BAD_FIELD  # a dealer has no queue to be in
    match command.order_type:
        case OrderType.MARKET:
            body["type"] = "MARKET"
            times = _MARKET_TIMES
        case OrderType.LIMIT:
            body |= {"type": "LIMIT", "price": _price(rules, command.price), "triggerCondition": "DEFAULT"}
            times = _LIMIT_TIMES
        case OrderType.STOP:
            body |= {"type": "STOP", "price": _price(rules, command.trigger_price), "triggerCondition": "DEFAULT"}
            times = _STOP_TIMES
        case OrderType.STOP_LIMIT:
            # Behind its trigger it is filled within the bound at once, or canceled: only those two mean what was asked for.
            if command.time_in_force not in (TimeInForce.IOC, TimeInForce.FOK):
                return Reason.BAD_FIELD
            body |= {"type": "STOP", "price": _price(rules, command.trigger_price), "triggerCondition": "DEFAULT"}
            body["priceBound"] = _price(rules, command.price)
            times = {TimeInForce.IOC: "GTC", TimeInForce.FOK: "GTC"}
    if None in body.values():
        return Reason.BAD_TICK
    if command.time_in_force not in times:
        return Reason.BAD_FIELD
    body["timeInForce"] = times[command.time_in_force]
    if command.time_in_force is TimeInForce.GTD:
        body["gtdTime"] = text_of_time(command.expire_ts)
    return body


def _price(rules: Rules, price: int | None) -> str | None:
    return None if price is None else rules.price_text(price)
