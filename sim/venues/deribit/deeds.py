"""What can happen at the simulated venue without a client: the names and arguments of `act`. Pure.

crowd_limit    instrument_id, side, price, qty      somebody else quotes
crowd_market   instrument_id, side, qty             somebody else takes
hit            venue_order_id or client_order_id, qty: somebody trades against this resting order
manual         account, instrument_id, side, qty[, price]: the account's owner trades by hand (58)
manual_cancel  venue_order_id or client_order_id: the account's owner cancels by hand (58)
force          account, instrument_id[, qty]        a liquidation (65)
fund           instrument_id, rate_ppb              funding on every position (64): the session's
session                                             the session is settled, as at 08:00 UTC
adjust         account, currency, amount[, type]    cash comes or goes: a deposit, transfer, withdrawal, correction, …
mark           instrument_id, price                 the mark price moves, stops with it
maintenance    is_on                                the venue takes no orders (62)
halt, open     instrument_id                        trading of one instrument stops, goes on
settle         instrument_id[, price]               its life is over (62): what is held is delivered
restart        orders_lost                          every connection ends, the newest open orders are forgotten (60)
crowd          is_on                                everybody else pauses, or trades on

Prices and quantities are integers of the instrument, money is in 10^-8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.enums import Side
from sim.venues.deribit.engine import NewOrder
from sim.venues.deribit.ledger import Account, VenueOrder
from sim.venues.deribit.wire import RpcError

if TYPE_CHECKING:
    from sim.venues.deribit.venue import DeribitVenue

SUFFIX = ".DERIBIT"
NEVER = (1 << 63) - 1
Deed = Callable[["DeribitVenue", int, "Arguments"], None]


class Arguments:
    """Raises ValueError for what is not there or is of another type; `end` for what nobody asked for."""

    def __init__(self, name: str, found: dict[str, Any]) -> None:
        self._name = name
        self._left = dict(found)

    def has(self, key: str) -> bool:
        return key in self._left

    def text(self, key: str) -> str:
        value = self._left.pop(key, None)
        if not isinstance(value, str):
            raise ValueError(f"{self._name}: {key} must be text, not {value!r}")
        return value

    def integer(self, key: str) -> int:
        value = self._left.pop(key, None)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{self._name}: {key} must be a whole number, not {value!r}")
        return value

    def flag(self, key: str) -> bool:
        value = self._left.pop(key, None)
        if not isinstance(value, bool):
            raise ValueError(f"{self._name}: {key} must be true or false, not {value!r}")
        return value

    def end(self) -> None:
        if self._left:
            raise ValueError(f"{self._name}: nobody knows {sorted(self._left)}")

    def market(self, venue: DeribitVenue) -> str:
        key = self.text("instrument_id")
        name = key.removesuffix(SUFFIX)
        if name not in venue.markets:
            raise ValueError(f"{self._name}: {key} is not listed here: {sorted(venue.markets)}")
        return name

    def side(self) -> Side:
        text = self.text("side")
        if text not in ("BUY", "SELL"):
            raise ValueError(f"{self._name}: side must be BUY or SELL, not {text!r}")
        return Side[text]

    def account(self, venue: DeribitVenue) -> Account:
        name = self.text("account")
        found = next((each for each in venue.accounts.values() if each.name == name), None)
        if found is None:
            raise ValueError(f"{self._name}: there is no account {name!r}")
        return found

    def order(self, venue: DeribitVenue) -> VenueOrder:
        """By either name; of several under one label the newest that is open."""
        by_label = self.has("client_order_id")
        name = self.text("client_order_id" if by_label else "venue_order_id")
        for order in reversed(venue.engine.ledger.orders):
            if order.is_open and (order.label if by_label else order.order_id) == name:
                return order
        raise ValueError(f"{self._name}: no open order is called {name!r}")


def act(venue: DeribitVenue, ts: int, name: str, found: dict[str, Any]) -> None:
    """Raises ValueError."""
    deed = DEEDS.get(name)
    if deed is None:
        raise ValueError(f"this venue cannot do {name!r}; it knows {sorted(DEEDS)}")
    arguments = Arguments(name, found)
    try:
        deed(venue, ts, arguments)
    except RpcError as error:
        raise ValueError(f"{name}: the venue refuses: {error}") from error
    arguments.end()


def _crowd_limit(venue: DeribitVenue, ts: int, arguments: Arguments) -> None:
    venue.crowd(ts, arguments.market(venue), arguments.side(), arguments.integer("price"), arguments.integer("qty"))


def _crowd_market(venue: DeribitVenue, ts: int, arguments: Arguments) -> None:
    venue.crowd(ts, arguments.market(venue), arguments.side(), None, arguments.integer("qty"))


def _hit(venue: DeribitVenue, ts: int, arguments: Arguments) -> None:
    order, qty = arguments.order(venue), arguments.integer("qty")
    if order.price is None or order.state != "open" or not 0 < qty <= order.amount - order.filled:
        raise ValueError(f"hit: {qty} of {order.order_id} cannot be traded against")
    venue.hit(ts, order, qty)


def _manual(venue: DeribitVenue, ts: int, arguments: Arguments) -> None:
    account, name = arguments.account(venue), arguments.market(venue)
    price = arguments.integer("price") if arguments.has("price") else None
    wanted = NewOrder(
        side=arguments.side(),
        amount=arguments.integer("qty"),
        price=price,
        order_type="market" if price is None else "limit",
        time_in_force="good_til_cancelled",
    )
    venue.manual_order(ts, account, name, wanted)


def _manual_cancel(venue: DeribitVenue, ts: int, arguments: Arguments) -> None:
    venue.manual_cancel(ts, arguments.order(venue))


def _force(venue: DeribitVenue, ts: int, arguments: Arguments) -> None:
    account, name = arguments.account(venue), arguments.market(venue)
    held = abs(account.holding(name).size)
    qty = arguments.integer("qty") if arguments.has("qty") else held
    if not 0 < qty <= held:
        raise ValueError(f"force: {account.name} holds {held} of {name}")
    venue.liquidate(ts, account, name, qty)


def _adjust(venue: DeribitVenue, ts: int, arguments: Arguments) -> None:
    account, currency, amount = arguments.account(venue), arguments.text("currency"), arguments.integer("amount")
    venue.engine.wallets.transfer(ts, account, currency, amount, arguments.text("type") if arguments.has("type") else "transfer")


def _settle(venue: DeribitVenue, ts: int, arguments: Arguments) -> None:
    name = arguments.market(venue)
    venue.settle(ts, name, arguments.integer("price") if arguments.has("price") else None)


def _crowd_on(venue: DeribitVenue, ts: int, arguments: Arguments) -> None:
    crowd = venue.market_crowd
    if crowd is None:
        raise ValueError("crowd: this venue has none")
    crowd.next_ts = ts if arguments.flag("is_on") else NEVER


DEEDS: dict[str, Deed] = {
    "crowd_limit": _crowd_limit,
    "crowd_market": _crowd_market,
    "hit": _hit,
    "manual": _manual,
    "manual_cancel": _manual_cancel,
    "force": _force,
    "fund": lambda venue, ts, found: venue.fund(ts, found.market(venue), found.integer("rate_ppb")),
    "adjust": _adjust,
    "mark": lambda venue, ts, found: venue.set_mark(ts, found.market(venue), found.integer("price")),
    "maintenance": lambda venue, ts, found: venue.maintain(ts, found.flag("is_on")),
    "halt": lambda venue, ts, found: venue.open_book(ts, found.market(venue), False),
    "open": lambda venue, ts, found: venue.open_book(ts, found.market(venue), True),
    "session": lambda venue, ts, _found: venue.settle_session(ts),
    "settle": _settle,
    "restart": lambda venue, ts, found: venue.restart(ts, found.integer("orders_lost")),
    "crowd": _crowd_on,
}
