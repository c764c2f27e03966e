"""One account's numbered transactions, and the trades that its positions are made of. Pure.

Everything that happens to an account is a transaction, from 1 without a gap; those of one deed share the first one's batchID.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from core.enums import Side
from sim.venues.exchange.model import Account, Fill, Listing, NewOrder, Order
from sim.venues.oanda import text
from sim.venues.oanda.pairs import HOME, Pair

USER_ID = 4_711

Transaction = dict[str, Any]


class Trade(msgspec.Struct):
    """A part of a position, opened by one fill; `units` signed, what is left of it."""

    id: str
    instrument: str
    initial: int
    units: int
    price: int
    opened_ts: int
    digits: int


# What so many units of a trade owe or are owed up to a moment, 10^-8 of the home currency.
Interest = Callable[[Listing, Trade, int, int], int]


class Ticket(msgspec.Struct):
    """What the exchange's order is called here: its present number first. `client_id` may be empty."""

    ids: list[str]
    kind: str  # MARKET, LIMIT, STOP, MARKET_IF_TOUCHED
    reason: str
    time_in_force: str
    position_fill: str
    gtd_time: str = ""
    closes: dict[str, Any] = {}  # what of a position a market order was made to close
    extensions: dict[str, str] = {}
    replaced: list[str] = []  # its numbers of before
    filled_as: list[str] = []  # numbers that a partial fill has ended
    ended_units: int = 0
    end_state: str = ""
    end_transaction: str = ""

    @property
    def id(self) -> str:
        return self.ids[0]


class AccountBook:
    def __init__(self, name: str, token: str, account: Account, *, alias: str = "", hedging: bool = False) -> None:
        self.name = name
        self.token = token
        self.account = account
        self.alias = alias
        self.hedging = hedging
        self.transactions: list[Transaction] = []
        self.times: list[int] = []  # of the transactions, ns UTC
        self.trades: list[Trade] = []  # open ones, oldest first
        self.orders: dict[str, Order] = {}  # by every number that they ever had
        self.realized = 0
        self.financing = 0
        self._financing_due = 0
        self._batch = ""

    @property
    def last_id(self) -> str:
        return str(len(self.transactions))

    def begin_batch(self) -> None:
        """What follows is one deed."""
        self._batch = ""

    def write(self, ts: int, kind: str, **fields: Any) -> Transaction:
        """The next transaction."""
        number = str(len(self.transactions) + 1)
        self._batch = self._batch or number
        made = {
            "id": number,
            "accountID": self.name,
            "userID": USER_ID,
            "batchID": self._batch,
            "requestID": f"24{int(self._batch):016d}",
            "time": text.time(ts),
            "type": kind,
            **fields,
        }
        self.transactions.append(made)
        self.times.append(ts)
        return made

    def balance(self) -> int:
        return self.account.balances.get(HOME, 0)

    # Orders.

    def created(self, ts: int, order: Order, ticket: Ticket, then: Order) -> Transaction:
        """An order is there, as `then` says: the transaction that made it gives it its number."""
        terms = terms_of(_pair(order.listing), then, ticket, then.qty)
        made = self.write(ts, f"{ticket.kind}_ORDER", **terms, reason=ticket.reason)
        ticket.ids.insert(0, made["id"])
        order.tag = ticket
        self.orders[made["id"]] = order
        return made

    def filled(self, ts: int, order: Order, fill: Fill, profit: int, interest: Interest) -> Transaction:
        """The exchange has booked it already. `profit` in the home currency; `interest` of what it closes is not booked yet."""
        ticket, pair = _ticket(order), _pair(order.listing)
        units = fill.qty if order.side is Side.BUY else -fill.qty
        number = str(len(self.transactions) + 1)
        parts = self._move(ts, order.listing, units, fill.price, number, interest)
        self.realized += profit
        made = self.write(
            ts,
            "ORDER_FILL",
            orderID=ticket.id,
            **({"clientOrderID": ticket.extensions["id"]} if ticket.extensions.get("id") else {}),
            instrument=pair.name,
            units=str(units),
            requestedUnits=str(order.qty if order.side is Side.BUY else -order.qty),
            price=text.number(fill.price, pair.digits),
            fullVWAP=text.number(fill.price, pair.digits),
            pl=text.money(profit),
            quotePL=text.money(fill.profit),
            financing=text.money(self._financing_due),
            commission=text.money(fill.fee),
            guaranteedExecutionFee="0.0000",
            accountBalance=text.money(self.balance()),
            reason=_fill_reason(ticket),
            **parts,
        )
        assert made["id"] == number
        return made

    def take_financing(self) -> int:
        """What the fill that was written last has to pay or to get beside its profit."""
        due, self._financing_due = self._financing_due, 0
        self.financing += due
        return due

    def _move(self, ts: int, listing: Listing, units: int, price: int, number: str, interest: Interest) -> dict[str, Any]:
        """The oldest trades of the other side are closed first; what is left opens one."""
        pair, left = _pair(listing), units
        closed: list[dict[str, str]] = []
        reduced: dict[str, str] | None = None
        for trade in [each for each in self.trades if each.instrument == pair.name and (each.units > 0) is not (units > 0)]:
            if not left:
                break
            size = min(abs(left), abs(trade.units)) * (1 if left > 0 else -1)
            profit = listing.rules.notional(price - trade.price, -size)
            financing = interest(listing, trade, size, ts)
            self._financing_due += financing
            part = {
                "tradeID": trade.id,
                "units": str(size),
                "price": text.number(price, pair.digits),
                "realizedPL": text.money(profit),
                "financing": text.money(financing),
            }
            trade.units += size
            left -= size
            if trade.units:
                reduced = part
            else:
                closed.append(part)
                self.trades.remove(trade)
        found: dict[str, Any] = {}
        if left:
            self.trades.append(Trade(number, pair.name, left, left, price, ts, pair.digits))
            found["tradeOpened"] = {"tradeID": number, "units": str(left), "price": text.number(price, pair.digits)}
        if reduced is not None:
            found["tradeReduced"] = reduced
        if closed:
            found["tradesClosed"] = closed
        return found

    def canceled(self, ts: int, order: Order, reason: str, **more: Any) -> Transaction:
        ticket = _ticket(order)
        client = {"clientOrderID": ticket.extensions["id"]} if ticket.extensions.get("id") else {}
        made = self.write(ts, "ORDER_CANCEL", orderID=ticket.id, **client, reason=reason, **more)
        ticket.end_state, ticket.end_transaction = "CANCELLED", made["id"]
        return made


def terms_of(pair: Pair, order: Order | NewOrder, ticket: Ticket, qty: int) -> dict[str, Any]:
    """An order's own words, in a transaction and where it is shown."""
    units = str(qty if order.side is Side.BUY else -qty)
    found: dict[str, Any] = {"instrument": pair.name, "units": units, "timeInForce": ticket.time_in_force}
    if ticket.kind == "LIMIT":
        assert order.price is not None
        found["price"] = text.number(order.price, pair.digits)
    elif order.trigger_price is not None:
        found["price"] = text.number(order.trigger_price, pair.digits)
        if order.price is not None:
            found["priceBound"] = text.number(order.price, pair.digits)
    if ticket.kind != "MARKET":
        found["triggerCondition"] = "DEFAULT"
        found["partialFill"] = "DEFAULT"
    found["positionFill"] = ticket.position_fill
    if ticket.gtd_time:
        found["gtdTime"] = ticket.gtd_time
    if ticket.extensions:
        found["clientExtensions"] = ticket.extensions
    return found | ticket.closes


def _fill_reason(ticket: Ticket) -> str:
    if ticket.kind != "MARKET":
        return f"{ticket.kind}_ORDER"
    return {"CLIENT_ORDER": "MARKET_ORDER"}.get(ticket.reason, f"MARKET_ORDER_{ticket.reason}")


def _ticket(order: Order) -> Ticket:
    assert isinstance(order.tag, Ticket)
    return order.tag


def _pair(listing: Listing) -> Pair:
    assert isinstance(listing.tag, Pair)
    return listing.tag
