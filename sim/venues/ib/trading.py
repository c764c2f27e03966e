"""Orders at the simulated gateway: what clients send into the exchange, and what the exchange's changes are told as. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from core.enums import OrderType, Reason, Side
from core.errors import UnitError
from core.units import NS_PER_MS, NS_PER_SECOND
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.model import Account, Fill, Happened, Listing, NewOrder, NoFunds, Order, Refused
from sim.venues.faults import Faults
from sim.venues.ib import answers
from sim.venues.ib.answers import Ticket, ticket_of
from sim.venues.ib.client import Client
from sim.venues.ib.listed import contract_of, matching
from sim.venues.ib.requests import Placed

TYPES = {text: kind for kind, text in answers.TYPES.items()}
TIMES = {text: kind for kind, text in answers.TIMES.items()}
PERM_FIRST = 1_000_000_000
COMMISSION_DELAY_NS = 2 * NS_PER_MS
LATE_NS = 60 * NS_PER_SECOND
LATE_COMMISSION_NS = 3 * NS_PER_SECOND
LOST_CANCEL_NS = 3 * NS_PER_SECOND  # a cancel that is never done is pending so long
# What a refusal of the exchange is called here.
CODES = {
    Reason.BAD_TICK: (110, "The price does not conform to the minimum price variation for this contract."),
    Reason.BAD_QTY: (355, "Order size does not conform to market rule."),
    Reason.BAD_FIELD: (321, "Error validating request:-'bW' : cause - Invalid order"),
    Reason.CLOSED: (201, "Order rejected - reason:The exchange is closed."),
}

# (client, payload, at the earliest, in ns)
Say = Callable[[Client, bytes, int], None]


class Refusal(Exception):
    """The gateway's own no: a code and its text."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class OrderDesk:
    """`clients`: those that are connected; `master`: the client id that hears of every order."""

    def __init__(self, exchange: Exchange, faults: Faults, say: Say, clients: Callable[[], list[Client]], master: int) -> None:
        self._exchange = exchange
        self._faults = faults
        self._say = say
        self._clients = clients
        self._master = master
        self.by_number: dict[tuple[int, int], Order] = {}
        self.next_order_id = 1
        self._perms = PERM_FIRST
        self.is_told = True  # False: the gateway has lost its servers and hears nothing
        self._late: dict[int, bytes] = {}  # commissions that came late, by their fills
        self._lost_cancels: deque[tuple[int, Ticket]] = deque()

    # What clients ask.

    def place(self, ts: int, client: Client, placed: Placed) -> Order | None:
        """A new order, or the change of one with the same id; None where it was refused, and the client told so."""
        try:
            account, listing, new = self._read(ts, client, placed)
            known = self.by_number.get((client.client_id, placed.order_id))
            if known is None:
                if placed.order_id < self.next_order_id and placed.order_id < self._least(client):
                    raise Refusal(103, "Duplicate order id")
                return self._new(ts, client, placed, account, listing, new)
            return self._change(ts, known, listing, new)
        except Refusal as refusal:
            self._refuse(ts, client, placed.order_id, refusal.code, str(refusal))
        except NoFunds as refusal:
            text = f"Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. MINIMUM OF {refusal.needed} REQUIRED"
            self._refuse(ts, client, placed.order_id, 201, text)
        except Refused as refusal:
            code, text = CODES.get(refusal.reason, (201, f"Order rejected - reason:{refusal}"))
            self._refuse(ts, client, placed.order_id, code, text)
        return None

    def _perm_id(self) -> int:
        self._perms += 1
        return self._perms

    def _least(self, client: Client) -> int:
        """Ids below this were used by this client: those of others do not matter to it."""
        return max((number for owner, number in self.by_number if owner == client.client_id), default=0) + 1

    def _read(self, ts: int, client: Client, placed: Placed) -> tuple[Account, Listing, NewOrder]:
        if placed.is_e_trade_only:
            raise Refusal(10268, "The 'EtradeOnly' order attribute is not supported.")
        if placed.order_type not in TYPES:
            raise Refusal(387, "Unsupported order type for this exchange and security type.")
        if placed.time_in_force not in TIMES:
            raise Refusal(321, "Error validating request:-'bW' : cause - Invalid time in force")
        account = self._exchange.accounts.get(placed.account or next(iter(self._exchange.accounts)))
        if account is None:
            raise Refusal(321, "Error validating request:-'bW' : cause - The account code is required for this operation.")
        found = matching(self._exchange.listings.values(), placed.contract)
        if len(found) != 1:
            raise Refusal(200, "No security definition has been found for the request")
        listing, rules = found[0], found[0].rules
        order_type = TYPES[placed.order_type]
        if placed.action not in ("BUY", "SELL"):
            raise Refusal(321, "Error validating request:-'bW' : cause - Invalid side")
        has_price, has_trigger = (
            order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT),
            order_type in (OrderType.STOP, OrderType.STOP_LIMIT),
        )
        try:
            qty = rules.parse_qty(placed.total)
            price = rules.parse_price(placed.limit_price) if has_price else None
            trigger = rules.parse_price(placed.aux_price) if has_trigger else None
        except UnitError:
            raise Refusal(110, CODES[Reason.BAD_TICK][1]) from None
        if self._faults.fires(57):
            raise Refusal(110, CODES[Reason.BAD_TICK][1])
        return (
            account,
            listing,
            NewOrder(
                side=Side.BUY if placed.action == "BUY" else Side.SELL,
                qty=qty,
                price=price,
                trigger_price=trigger,
                order_type=order_type,
                time_in_force=TIMES[placed.time_in_force],
                display_qty=placed.display * 10**rules.qty_scale,
                expire_ts=self._expiry(ts, placed) if placed.time_in_force == "GTD" else 0,
                client_id=placed.reference,
            ),
        )

    @staticmethod
    def _expiry(ts: int, placed: Placed) -> int:
        """UTC where it is written with a dash, else the gateway's own zone."""
        if re.fullmatch(r"\d{8}[- ]\d\d:\d\d:\d\d( [A-Za-z/_]+)?", placed.good_till, re.ASCII) is None:
            raise Refusal(391, "The time entered is not valid.")
        zone = UTC if placed.good_till[8] == "-" else answers.ZONE
        try:
            until = datetime.strptime(placed.good_till[:17].replace("-", " "), "%Y%m%d %H:%M:%S").replace(tzinfo=zone)
        except ValueError:
            raise Refusal(391, "The time entered is not valid.") from None
        expire_ts = int(until.timestamp()) * NS_PER_SECOND
        if expire_ts <= ts:
            raise Refusal(391, "The time entered is not valid.")
        return expire_ts

    def _new(self, ts: int, client: Client, placed: Placed, account: Account, listing: Listing, new: NewOrder) -> Order:
        perm_id = self._perm_id() + (2**60 if self._faults.fires(56) else 0)
        tag = Ticket(
            order_id=placed.order_id,
            client_id=client.client_id,
            perm_id=perm_id,
            account=account.name,
            reference=placed.reference,
            exchange=placed.contract.exchange or contract_of(listing).exchanges[0],
            good_till=placed.good_till,
            is_outside_hours=placed.is_outside_hours,
            only_reduces=self._only_reduces(account, listing, new),
        )
        order = self._exchange.place(ts, account, listing, msgspec.structs.replace(new, tag=tag))
        self.by_number[client.client_id, placed.order_id] = order
        self.next_order_id = max(self.next_order_id, placed.order_id + 1)
        return order

    def _only_reduces(self, account: Account, listing: Listing, new: NewOrder) -> bool:
        held = account.qty(listing) * (1 if new.side is Side.SELL else -1)
        working = (order for order in self._exchange.open_orders(account, listing) if order.side is new.side)
        return new.qty <= held - sum(order.leaves_qty for order in working)

    def _change(self, ts: int, known: Order, listing: Listing, new: NewOrder) -> Order:
        if known.filled_qty >= known.qty:
            raise Refusal(104, "Cannot modify a filled order.")
        if not known.is_open:
            raise Refusal(103, "Duplicate order id")
        if (known.listing, known.side, known.order_type) != (listing, new.side, new.order_type):
            raise Refusal(105, "Order being modified does not match original order")
        try:
            price = new.price if new.price != known.price else None
            trigger = new.trigger_price if new.trigger_price != known.trigger_price else None
            self._exchange.replace(ts, known, qty=new.qty, price=price, trigger_price=trigger)
        except Refused as refusal:
            if refusal.reason is not Reason.NO_CHANGE:
                raise
            self.echo(ts, known)
        return known

    def echo(self, ts: int, order: Order) -> None:
        for client in self._hearers(order):
            self._say(client, answers.open_order(order, client.version), ts)
            self._say(client, answers.order_status(order), ts)

    def _refuse(self, ts: int, client: Client, order_id: int, code: int, text: str) -> None:
        self._say(client, answers.error(client.version, order_id, code, text), ts)

    def cancel(self, ts: int, client: Client, order_id: int) -> Order | None:
        order = self.by_number.get((client.client_id, order_id))
        if order is None:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            self._refuse(ts, client, order_id, 10147, text)
            return None
        if not order.is_open or ticket_of(order).is_ending:
            text = f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {answers.status_of(order)}."
            self._refuse(ts, client, order_id, 10148, text)
            return None
        ticket_of(order).is_ending = True
        for hearer in self._hearers(order):
            self._say(hearer, answers.order_status(order, "PendingCancel"), ts)
        if self._faults.fires(29):
            self._lost_cancels.append((ts + LOST_CANCEL_NS, ticket_of(order)))
            return order
        leaves = order.leaves_qty
        self._exchange.cancel(ts, order, "client")
        ticket_of(order).is_ending = False
        self.tell(ts)
        if self._faults.fires(25) and leaves and order.price is not None:
            self._exchange.overfill(ts, order, min(leaves, order.listing.rules.lot), order.price)
        if self._faults.fires(34):
            for hearer in self._hearers(order):
                self._say(hearer, answers.order_status(order, "Submitted"), ts)
        return order

    def cancel_everything(self, ts: int, cause: str) -> None:
        for account in self._exchange.accounts.values():
            self._exchange.cancel_all(ts, account, cause=cause)

    # What is told.

    def _hearers(self, order: Order) -> Iterator[Client]:
        if not self.is_told:
            return
        ticket = ticket_of(order)
        for client in self._clients():
            if client.is_started and client.client_id in (ticket.client_id, self._master):
                yield client

    def tell(self, ts: int) -> None:
        """What has changed since the last time, to those who hear of it."""
        while self._lost_cancels and self._lost_cancels[0][0] <= ts:
            self._lost_cancels.popleft()[1].is_ending = False
        for change in self._exchange.take_changes():
            order = change.order if isinstance(change, Fill) else change
            if order.tag is None:
                # By hand or by force: it has no number of a client.
                order.tag = Ticket(
                    order_id=0, client_id=0, perm_id=self._perm_id(), account=order.account.name, reference="", exchange=""
                )
                if isinstance(change, Order):
                    original = self._exchange.orders.get(order.number)
                    if original is not None:
                        original.tag = order.tag
            if isinstance(change, Fill):
                change.order_then.tag = order.tag
                self._filled(ts, change)
            else:
                self._changed(ts, change)

    def _changed(self, ts: int, order: Order) -> None:
        ticket = ticket_of(order)
        for client in self._hearers(order):
            status = answers.status_of(order)
            if order.happened in (Happened.PLACED, Happened.REPLACED, Happened.TRIGGERED, Happened.RESTATED):
                if order.happened is Happened.PLACED and status == "Submitted":
                    self._say(client, answers.open_order(order, client.version, "PreSubmitted"), ts)
                    self._say(client, answers.order_status(order, "PreSubmitted"), ts)
                self._say(client, answers.open_order(order, client.version), ts)
                self._say(client, answers.order_status(order), ts)
                continue
            self._say(client, answers.order_status(order), ts)
            if client.client_id != ticket.client_id:
                continue
            if order.happened is Happened.REJECTED:
                self._refuse(ts, client, ticket.order_id, 201, f"Order rejected - reason:{order.cause or order.reason.name}")
            else:
                self._refuse(ts, client, ticket.order_id, 202, f"Order Canceled - reason:{order.cause}")

    def _filled(self, ts: int, fill: Fill) -> None:
        order = fill.order
        if fill.is_busted:
            return
        faults, new_id = self._faults, ""
        is_twice, is_renamed, is_early = faults.fires(22), faults.fires(23), faults.fires(35)
        is_corrected = not fill.corrects and faults.fires(30)
        charged_ts = ts + COMMISSION_DELAY_NS
        if faults.fires(32) and fill.fee_currency == "USD":
            self._charge_late(ts, fill)
            charged_ts = ts + LATE_COMMISSION_NS
        if is_renamed:
            new_id = f"0000e1a7.77b{fill.number:05x}.01.01"
        for client in self._hearers(order):
            status = answers.order_status(fill.order_then, last_price=fill.price)
            if is_early:
                self._say(client, status, ts)
            self._say(client, answers.execution(fill, client.version), ts)
            if is_twice:
                self._say(client, answers.execution(fill, client.version), ts)
            if new_id:
                self._say(client, answers.execution(fill, client.version, execution=new_id), ts)
            if not is_early:
                self._say(client, answers.open_order(fill.order_then, client.version), ts)
                self._say(client, status, ts)
            if not is_corrected:
                self._say(client, self.commission(fill), charged_ts)
        if is_corrected:
            self._exchange.correct(ts, fill, fill.price + order.listing.rules.tick)
        if not fill.corrects and faults.fires(31):
            self._exchange.overfill(ts, order, order.listing.rules.lot, fill.price)
        self.tell(ts)  # what these two have changed, behind it

    def _charge_late(self, ts: int, fill: Fill) -> None:
        """It costs nothing yet: what it does, and in a third currency, is money that moves behind it."""
        account, fee = fill.order.account, fill.fee
        account.pay("USD", fee)
        fill.fee_currency = "EUR"
        self._late[fill.number] = answers.commission(fill)
        fill.fee, fill.fee_currency = 0, "USD"
        self._exchange.books.move_cash(ts, account, fill.order.listing, "EUR", -fee, "commission")

    def commission(self, fill: Fill) -> bytes:
        """The report of what it costs."""
        return self._late.get(fill.number) or answers.commission(fill)
