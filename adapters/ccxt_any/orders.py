"""Our orders as ccxt's unified call takes them; what there is no sure word for is refused before it is sent. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from adapters.ccxt_any.reports import Units
from core.commands import SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.errors import RefusedError, UnitError

_SIDES = {Side.BUY: "buy", Side.SELL: "sell"}


class OrderCall(msgspec.Struct, frozen=True):
    """The arguments of ccxt's create_order; numbers are texts."""

    symbol: str
    kind: str
    side: str
    amount: str
    price: str | None
    params: dict[str, Any]
    client_text: str


def order_call(command: SubmitOrder, units: Units, client_text: str, feature: Callable[[str], Any], *, id_name: str) -> OrderCall:
    """`feature` says what ccxt knows of the exchange's createOrder; `id_name` is the parameter for our id. Raises RefusedError.

    A word that an exchange does not know it may pass over: then a good-for-nothing-else order would rest. So what ccxt does not
    expressly say that the exchange has is refused.
    """
    instrument = units.instrument
    if command.order_type not in (OrderType.LIMIT, OrderType.MARKET):
        raise RefusedError("stops are not supported by this adapter")
    if command.display_qty:
        raise RefusedError("iceberg orders are not supported by this adapter")
    params: dict[str, Any] = {id_name: client_text}
    is_limit = command.order_type is OrderType.LIMIT
    times = feature("timeInForce") or {}
    if command.post_only:
        if not is_limit or command.time_in_force is not TimeInForce.GTC or times.get("PO") is not True:
            raise RefusedError("the exchange has no such post-only order that ccxt knows of")
        params["postOnly"] = True
    elif is_limit and command.time_in_force is not TimeInForce.GTC:
        name = command.time_in_force.name
        if name not in ("IOC", "FOK") or times.get(name) is not True:
            raise RefusedError(f"the exchange has no {name} that ccxt knows of")
        params["timeInForce"] = name
    elif not is_limit and command.time_in_force not in (TimeInForce.GTC, TimeInForce.IOC):
        raise RefusedError(f"a market order has no {command.time_in_force.name}")
    if command.reduce_only:
        if instrument.pays_notional:
            if command.side is Side.BUY:
                raise RefusedError("spot has no short position for a reduce-only buy to reduce")
        else:
            params["reduceOnly"] = True
    if is_limit and command.price is None:
        raise RefusedError("a limit order has a price")
    try:
        amount = units.amount_text(command.quantity)
    except UnitError as error:
        raise RefusedError(str(error)) from error
    return OrderCall(
        units.symbol,
        "limit" if is_limit else "market",
        _SIDES[command.side],
        amount,
        units.price_text(command.price) if is_limit and command.price is not None else None,
        params,
        client_text,
    )
