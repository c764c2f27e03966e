"""Orders, positions and sessions of a simulated Alpaca on the common exchange: what is asked, what follows, and when. Pure.

What clients are to be told gathers in `news` and `market_news`, oldest first, until the streams take it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from core.enums import OrderType, Reason, Side
from native.book_types import SelfTrade
from sim.venues.alpaca import hours
from sim.venues.alpaca.history import History
from sim.venues.alpaca.hours import Phase
from sim.venues.alpaca.settings import USD, AccountSettings, AlpacaSimSettings
from sim.venues.alpaca.tickets import (
    FORBIDDEN,
    INVALID_MEMBER,
    NOT_FOUND,
    TIMES,
    TYPES,
    UNPROCESSABLE,
    ApiError,
    Ticket,
    body_of,
    plain,
    price_of,
    price_text,
    qty_of,
)
from sim.venues.exchange.crowd import Crowd, CrowdSettings
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.model import Fill, Happened, Listing, NewOrder, NoFunds, Order, Refused
from sim.venues.faults import Faults, Random

CLIENT_ID_MAX = 128
MONEY_SCALE = 8
# A market order is reckoned so many percent beyond the last price.
MARKET_MARGIN_PERCENT = 3


class News(msgspec.Struct, frozen=True):
    """One message of trade_updates: the order as it was then."""

    ts: int
    account: str
    event: str
    body: dict[str, Any]
    extra: dict[str, Any] = {}


class MarketNews(msgspec.Struct, frozen=True):
    """kind: quote, trade, status, bands."""

    ts: int
    kind: str
    symbol: str
    fields: dict[str, Any]


class Engine:
    def __init__(self, settings: AlpacaSimSettings, faults: Faults, seed: int, ts: int) -> None:
        self.settings = settings
        self.faults = faults
        self.now = ts
        self._random = Random(seed ^ 0xA1FACA)
        listings = [
            Listing(name=rules.instrument_id.rpartition(".")[0], rules=rules, margin="margin", leverage_max=4)
            for rules in settings.listings
        ]
        self.exchange = Exchange(listings, self_trade=SelfTrade.CANCEL_NEWEST, fee=lambda *_: (0, USD))
        self.accounts: dict[str, AccountSettings] = {}
        for account in settings.accounts:
            self.accounts[account.name] = account
            added = self.exchange.add_account(account.name, {USD: account.cash * 10**MONEY_SCALE})
            added.leverage = dict.fromkeys(self.exchange.listings, account.multiplier)
        crowds = {
            name: CrowdSettings(fair=fair, step_ns=settings.crowd_step_ns, lots_max=400, trade_lots_max=100)
            for name, fair in settings.fair.items()
        }
        self.crowd = Crowd(self.exchange, seed, crowds, ts)
        self.tickets: dict[str, Ticket] = {}
        self._live: dict[str, Ticket] = {}  # those that may be open
        self.fill_tickets: list[str] = []  # of exchange.fills, by index
        self.history = History(settings, self.exchange, self.uuid, self.later)
        self.news: list[News] = []
        self.market_news: list[MarketNews] = []
        self.halted: set[str] = set()
        self.phase = Phase.CLOSED
        self._client_ids: dict[tuple[str, str], str] = {}
        self._deeds: list[tuple[int, int, Callable[[int], None]]] = []
        self._deed_number = 0
        self._edge_ts = ts
        for listing in self.exchange.listings.values():
            listing.last = settings.fair.get(listing.name, 0)
            self.exchange.close(ts, listing)
        self._enter_phase(ts)

    # Time.

    def later(self, ts: int, deed: Callable[[int], None]) -> None:
        self._deed_number += 1
        heapq.heappush(self._deeds, (ts, self._deed_number, deed))

    def next_ts(self) -> int:
        found = [self._edge_ts]
        if self._deeds:
            found.append(self._deeds[0][0])
        crowd = self.crowd.next_ts()
        if crowd is not None:
            found.append(crowd)
        return min(found)

    def advance(self, ts: int) -> None:
        while (due := self.next_ts()) <= ts:
            self.now = max(self.now, due)
            if due == self._edge_ts:
                self._enter_phase(self.now)
            elif self._deeds and self._deeds[0][0] == due:
                heapq.heappop(self._deeds)[2](self.now)
            else:
                # A clock that leapt must not be walked through in steps of the crowd.
                self.crowd.advance(min(ts, max(due, min(self._edge_ts, self._deeds[0][0] if self._deeds else ts) - 1)))
            self.settle()
        self.now = max(self.now, ts)

    # Sessions.

    def _enter_phase(self, ts: int) -> None:
        before = self.phase
        self.phase, self._edge_ts = hours.phase_at(ts, is_always_open=self.settings.is_always_open)
        if before is self.phase:
            return
        if before is Phase.REGULAR:
            self._close_regular(ts)
        if self.phase is Phase.CLOSED:
            self._expire_day(ts, is_extended=True)
            for listing in self.exchange.listings.values():
                self.exchange.close(ts, listing)
        for listing in self.exchange.listings.values():
            if self.phase is Phase.REGULAR:
                self.exchange.auction(ts, listing)
                self._release(ts, listing, "opg")
            if self.phase is not Phase.CLOSED and listing.name not in self.halted:
                self.exchange.open(ts, listing)
                self._release(ts, listing)
        self.settle()

    def reopen(self, ts: int, listing: Listing) -> None:
        """Behind a halt: an auction, where the session has trading."""
        if self.phase is Phase.CLOSED:
            return
        self.exchange.auction(ts, listing)
        self._release(ts, listing)
        self.exchange.open(ts, listing)
        self._release(ts, listing)
        self.settle()

    def _close_regular(self, ts: int) -> None:
        """The closing auction, and what is for the regular session alone leaves the book."""
        for listing in self.exchange.listings.values():
            if listing.name not in self.halted:
                self.exchange.auction(ts, listing)
                self._release(ts, listing, "cls")
                self.exchange.open(ts, listing)
        self.settle()
        self._expire_day(ts, is_extended=False)
        for ticket in self._open_tickets():
            if ticket.order is not None and not ticket.is_extended:
                order, ticket.order = ticket.order, None
                if order.is_open:
                    self.exchange.cancel(ts, order, "parked")
        self.settle()

    def _expire_day(self, ts: int, *, is_extended: bool) -> None:
        for ticket in self._open_tickets():
            ends = ticket.time_in_force in ("day", "cls", "opg") and (is_extended or not ticket.is_extended)
            # One that was sent behind the close is for the next day.
            if ends and (ticket.order is not None or ticket.status != "accepted"):
                self._end(ts, ticket, "expired", "expired")

    def _release(self, ts: int, listing: Listing, auction: str = "") -> None:
        """Tickets that waited for this session go to the exchange."""
        for ticket in self._open_tickets():
            if ticket.listing is not listing or ticket.order is not None:
                continue
            is_wanted = ticket.time_in_force == auction if auction else ticket.time_in_force not in ("opg", "cls")
            if is_wanted and (auction or self._trades_now(ticket)):
                self._route(ts, ticket)

    def _trades_now(self, ticket: Ticket) -> bool:
        if ticket.listing.name in self.halted or self.phase is Phase.CLOSED:
            return False
        return self.phase is Phase.REGULAR or ticket.is_extended

    def _open_tickets(self, account: str | None = None) -> list[Ticket]:
        for ended in [key for key, ticket in self._live.items() if not ticket.is_open or ticket.is_lost]:
            del self._live[ended]
        return [ticket for ticket in self._live.values() if account is None or ticket.account.name == account]

    def open_tickets(self, account: str) -> list[Ticket]:
        return self._open_tickets(account)

    # What is asked. Each raises ApiError, and then nothing has happened.

    def place(self, ts: int, account: str, fields: Mapping[str, Any], origin: str = "client") -> tuple[Ticket, dict[str, Any]]:
        """The ticket, and the order's body as the answer shows it: before anything could happen to it."""
        ticket = self._ticket(ts, account, fields, origin)
        self._check_account(ticket, closes=str(fields.get("position_intent") or "").endswith("to_close"))
        self._keep(ticket)
        answer = body_of(ticket)
        if self._trades_now(ticket) and ticket.time_in_force not in ("opg", "cls"):
            self._route(ts, ticket)
        else:
            ticket.status = answer["status"] = "accepted"
            self._tell(ts, ticket, "accepted")
        self.settle()
        return ticket, answer

    def _ticket(self, ts: int, account: str, fields: Mapping[str, Any], origin: str) -> Ticket:
        listing = self.exchange.listings.get(str(fields.get("symbol", "")))
        if listing is None:
            raise ApiError(422, INVALID_MEMBER, f'asset "{fields.get("symbol")}" not found')
        kind, time_in_force = str(fields.get("type", "")), str(fields.get("time_in_force", ""))
        side = {"buy": Side.BUY, "sell": Side.SELL}.get(str(fields.get("side", "")))
        if kind not in TYPES or time_in_force not in TIMES or side is None:
            raise ApiError(422, INVALID_MEMBER, f"invalid order: side, type {kind!r} or time_in_force {time_in_force!r}")
        limit, stop = price_of(listing, fields, "limit_price"), price_of(listing, fields, "stop_price")
        if (limit is None) is (kind in ("limit", "stop_limit")) or (stop is None) is (kind in ("stop", "stop_limit")):
            raise ApiError(422, UNPROCESSABLE, f"{kind} orders require their limit price and stop price, and no other")
        is_extended = bool(fields.get("extended_hours"))
        if is_extended and (kind, time_in_force) != ("limit", "day"):
            raise ApiError(422, UNPROCESSABLE, "extended hours order must be DAY limit orders")
        if kind in ("stop", "stop_limit") and time_in_force not in ("day", "gtc"):
            raise ApiError(422, UNPROCESSABLE, f"invalid time_in_force {time_in_force} for {kind} orders")
        if time_in_force in ("ioc", "fok") and self.phase is not Phase.REGULAR:
            raise ApiError(422, UNPROCESSABLE, f"{time_in_force} orders are only accepted during market hours")
        client_id = str(fields.get("client_order_id") or self.uuid())
        if len(client_id) > CLIENT_ID_MAX:
            raise ApiError(422, INVALID_MEMBER, f"client_order_id must be no more than {CLIENT_ID_MAX} characters")
        if (account, client_id) in self._client_ids:
            raise ApiError(422, INVALID_MEMBER, "client_order_id must be unique")
        qty = qty_of(listing, fields)
        held = self.exchange.accounts[account].qty(listing)
        closes = held > 0 if side is Side.SELL else held < 0
        intent = str(fields.get("position_intent") or f"{side.name.lower()}_to_{'close' if closes else 'open'}")
        return Ticket(
            id=self.uuid(),
            client_id=client_id,
            account=self.exchange.accounts[account],
            listing=listing,
            side=side,
            kind=kind,
            time_in_force=time_in_force,
            qty=qty,
            limit=limit,
            stop=stop,
            is_extended=is_extended,
            intent=intent,
            origin="manual" if origin == "manual" else "forced" if origin == "forced" else "client",
            created_ts=ts,
            updated_ts=ts,
        )

    def _check_account(self, ticket: Ticket, *, closes: bool) -> None:
        settings = self.accounts[ticket.account.name]
        if settings.is_blocked:
            raise ApiError(403, FORBIDDEN, "new orders are rejected by user request or the account is restricted")
        self._check_opposite(ticket)
        held = ticket.account.qty(ticket.listing)
        if closes:
            is_less = held > 0 if ticket.side is Side.SELL else held < 0
            if not is_less or ticket.qty > abs(held):
                raise ApiError(403, FORBIDDEN, "position intent mismatch: the order would open a position")
        if ticket.side is Side.SELL:
            self._check_sell(ticket, held, may_short=settings.may_short)
        elif not held and self._has_open(ticket, Side.SELL):
            raise ApiError(403, FORBIDDEN, "cannot open a long buy while a short sell order is open")
        reference = ticket.listing.last or ticket.limit or ticket.stop or 0
        price = ticket.limit or ticket.stop or reference * (100 + MARKET_MARGIN_PERCENT) // 100
        self._require_power(ticket, ticket.qty, price)

    def _require_power(self, ticket: Ticket, qty: int, price: int) -> None:
        try:
            self.exchange.books.require(ticket.account, ticket.listing, ticket.side, qty, price, 0)
        except NoFunds as refused:
            basis = ticket.listing.rules.notional(price, qty)
            power = max(refused.available, 0) * self.accounts[ticket.account.name].multiplier
            money = (plain(power, MONEY_SCALE), plain(basis, MONEY_SCALE))
            text = "insufficient buying power"
            raise ApiError(403, FORBIDDEN, text, buying_power=money[0], cost_basis=money[1]) from None

    def _check_opposite(self, ticket: Ticket) -> None:
        """Orders of one account that could trade with each other are not taken."""
        for other in self._open_tickets(ticket.account.name):
            if other.listing is not ticket.listing or other.side is ticket.side:
                continue
            buy, sell = (ticket, other) if ticket.side is Side.BUY else (other, ticket)
            if buy.limit is None or sell.limit is None or buy.limit >= sell.limit:
                reason = (
                    "opposite side limit order exists" if other.limit is not None else "opposite side market/stop order exists"
                )
                text = "potential wash trade detected. use complex orders"
                raise ApiError(403, FORBIDDEN, text, existing_order_id=other.id, reject_reason=reason)

    def _check_sell(self, ticket: Ticket, held: int, *, may_short: bool) -> None:
        others = sum(
            other.leaves
            for other in self._open_tickets(ticket.account.name)
            if other.listing is ticket.listing and other.side is Side.SELL
        )
        if held > 0:
            available = max(held - others, 0)
            if ticket.qty > available:
                scale = ticket.listing.rules.qty_scale
                requested, left = plain(ticket.qty, scale), plain(available, scale)
                raise ApiError(
                    403,
                    FORBIDDEN,
                    f"insufficient qty available for order (requested: {requested}, available: {left})",
                    available=left,
                    existing_qty=plain(held, scale),
                    held_for_orders=plain(min(others, held), scale),
                    symbol=ticket.listing.name,
                )
        elif not may_short:
            raise ApiError(403, FORBIDDEN, "account is not allowed to short")
        elif not held and self._has_open(ticket, Side.BUY):
            raise ApiError(403, FORBIDDEN, "cannot open a short sell while a long buy order is open")

    def _has_open(self, ticket: Ticket, side: Side) -> bool:
        return any(other.side is side and other.listing is ticket.listing for other in self._open_tickets(ticket.account.name))

    def _keep(self, ticket: Ticket) -> None:
        self.tickets[ticket.id] = self._live[ticket.id] = ticket
        self._client_ids[ticket.account.name, ticket.client_id] = ticket.id

    def _route(self, ts: int, ticket: Ticket) -> None:
        """To the exchange. What it refuses is a rejected order: the venue has taken it already."""
        new = NewOrder(
            side=ticket.side,
            qty=ticket.leaves,
            price=ticket.limit,
            trigger_price=ticket.stop,
            order_type=TYPES[ticket.kind],
            time_in_force=TIMES[ticket.time_in_force],
            client_id=ticket.client_id,
            tag=ticket.id,
        )
        if TYPES[ticket.kind] is OrderType.MARKET and ticket.time_in_force in ("day", "gtc"):
            new = msgspec.structs.replace(new, time_in_force=TIMES["ioc"])
        try:
            ticket.order = self.exchange.place(ts, ticket.account, ticket.listing, new, ticket.origin)
        except Refused:
            ticket.failed_ts = ts
            self._end(ts, ticket, "rejected", "rejected")

    def find(self, account: str, ticket_id: str) -> Ticket:
        ticket = self.tickets.get(ticket_id)
        if ticket is None or ticket.account.name != account or ticket.is_lost:
            raise ApiError(404, NOT_FOUND, f"order not found for {ticket_id}")
        return ticket

    def find_by_client_id(self, account: str, client_id: str) -> Ticket:
        ticket_id = self._client_ids.get((account, client_id))
        if ticket_id is None:
            raise ApiError(404, NOT_FOUND, f"order not found for {client_id}")
        return self.find(account, ticket_id)

    def cancel(self, ts: int, ticket: Ticket) -> None:
        """Taken; done a moment later."""
        if not ticket.is_open or ticket.status in ("pending_cancel", "pending_replace"):
            raise ApiError(422, UNPROCESSABLE, f'order is already in "{ticket.status}" state')
        ticket.status_before, ticket.status = ticket.status, "pending_cancel"
        if self.faults.fires(29):
            self.later(ts + self.settings.cancel_lost_ns, lambda _: self._forget_cancel(ticket))
            return
        if self.faults.fires(25):
            self.later(ts, lambda at: self._hit_before_cancel(at, ticket))
        self.later(ts + self.settings.cancel_ns, lambda at: self.cancel_now(at, ticket))

    @staticmethod
    def _forget_cancel(ticket: Ticket) -> None:
        if ticket.status == "pending_cancel":
            ticket.status = ticket.status_before

    def _hit_before_cancel(self, ts: int, ticket: Ticket) -> None:
        order = ticket.order
        if order is not None and order.is_open and order.price is not None and ticket.leaves > 1:
            self.exchange.hit(ts, order, ticket.leaves // 2)

    def cancel_now(self, ts: int, ticket: Ticket) -> None:
        if not ticket.is_open:
            return
        order = ticket.order
        if order is not None and order.is_open:
            self.exchange.cancel(ts, order)
        else:
            self._end(ts, ticket, "canceled", "canceled")

    def replace(self, ts: int, ticket: Ticket, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Another ticket takes its place a moment later. Its quantity is its own: what the first one filled does not count."""
        if ticket.status not in ("new", "partially_filled"):
            raise ApiError(422, UNPROCESSABLE, f'unable to replace order in "{ticket.status}" state')
        asked = {
            "symbol": ticket.listing.name,
            "side": ticket.side.name.lower(),
            "type": ticket.kind,
            "time_in_force": fields.get("time_in_force") or ticket.time_in_force,
            "qty": fields.get("qty") or plain(ticket.qty, ticket.listing.rules.qty_scale),
            "limit_price": fields.get("limit_price") or price_text(ticket.listing.rules, ticket.limit),
            "stop_price": fields.get("stop_price") or price_text(ticket.listing.rules, ticket.stop),
            "client_order_id": fields.get("client_order_id"),
            "extended_hours": ticket.is_extended,
        }
        new = self._ticket(ts, ticket.account.name, asked, ticket.origin)
        more = new.qty - ticket.leaves
        if more > 0 or (new.limit or 0) > (ticket.limit or 0):
            self._require_power(new, max(more, 0), new.limit or new.stop or ticket.listing.last)
        new.replaces, new.status = ticket.id, "accepted"
        self._keep(new)
        ticket.status_before, ticket.status = ticket.status, "pending_replace"
        self._tell(ts, ticket, "pending_replace")
        self.later(ts + self.settings.cancel_ns, lambda at: self._replace_now(at, ticket, new))
        return body_of(new)

    def _replace_now(self, ts: int, old: Ticket, new: Ticket) -> None:
        order = old.order
        if not old.is_open or order is None or not order.is_open:
            self._reject_replace(ts, old, new)
            return
        # Before it: what it trades at once is the new ticket's.
        before = order.tag, order.client_id
        order.tag, order.client_id = new.id, new.client_id
        try:
            total = order.filled_qty + new.qty
            self.exchange.replace(ts, order, qty=total, price=new.limit, trigger_price=new.stop)
        except Refused as refused:
            if refused.reason is not Reason.NO_CHANGE:
                order.tag, order.client_id = before
                self._reject_replace(ts, old, new)
                return
        new.order, old.order = order, None
        old.status, old.replaced_by, old.replaced_ts, old.updated_ts = "replaced", new.id, ts, ts
        self._tell(ts, old, "replaced")
        new.status, new.updated_ts = "new", ts
        self._tell(ts, new, "new")

    def _reject_replace(self, ts: int, old: Ticket, new: Ticket) -> None:
        new.status, new.failed_ts, new.updated_ts = "rejected", ts, ts
        if old.is_open:
            old.status = old.status_before
        self._tell(ts, new, "rejected")
        self._tell(ts, old, "order_replace_rejected")

    def close_position(self, ts: int, account: str, listing: Listing) -> dict[str, Any]:
        held = self.exchange.accounts[account].qty(listing)
        if not held:
            raise ApiError(404, NOT_FOUND, f"position does not exist: {listing.name}")
        fields = {
            "symbol": listing.name,
            "side": "sell" if held > 0 else "buy",
            "type": "market",
            "time_in_force": "day",
            "qty": plain(abs(held), listing.rules.qty_scale),
        }
        return self.place(ts, account, fields)[1]

    # What follows.

    def settle(self) -> None:
        """Everything that the exchange has to tell becomes news."""
        for change in self.exchange.take_changes():
            order = change.order_then if isinstance(change, Fill) else change
            ticket = self.tickets.get(order.tag) if order.tag is not None else None
            if isinstance(change, Fill):
                if ticket is not None:
                    self._filled(change, ticket)
            elif ticket is not None:
                self._changed(change, ticket)
        for each in self.exchange.take_prints():
            fields = {"number": each.trade_number, "price": each.price, "qty": each.qty}
            self.market_news.append(MarketNews(each.ts, "trade", each.listing.name, fields))
        for listing in self.exchange.take_touched():
            self.market_news.append(MarketNews(self.now, "quote", listing.name, self.best(listing)))

    def best(self, listing: Listing) -> dict[str, int]:
        bid, ask = self.exchange.best(listing)
        return {
            "bid": 0 if bid is None else bid.price,
            "bid_qty": 0 if bid is None else bid.qty,
            "ask": 0 if ask is None else ask.price,
            "ask_qty": 0 if ask is None else ask.qty,
        }

    def _changed(self, order: Order, ticket: Ticket) -> None:
        ts = order.updated_ts
        if order.happened is Happened.PLACED:
            if ticket.status in ("pending_new", "accepted"):
                ticket.status = "new"
                self._tell(ts, ticket, "new")
        elif order.cause == "parked" or (ticket.order is not None and ticket.order.number != order.number):
            return
        elif order.happened is Happened.CANCELED:
            self._end(ts, ticket, "canceled", "canceled")
        elif order.happened is Happened.EXPIRED:
            self._end(ts, ticket, "expired", "expired")
        elif order.happened is Happened.REJECTED:
            ticket.failed_ts = ts
            self._end(ts, ticket, "rejected", "rejected")

    def _end(self, ts: int, ticket: Ticket, status: str, event: str) -> None:
        order, ticket.order = ticket.order, None
        if order is not None and order.is_open:
            self.exchange.cancel(ts, order, "parked")
        ticket.status, ticket.updated_ts = status, ts
        if status == "canceled":
            ticket.canceled_ts = ts
        elif status == "expired":
            ticket.expired_ts = ts
        self._tell(ts, ticket, event)
        if status == "canceled" and self.faults.fires(34):
            self._tell(ts, ticket, "new", status="new")

    def _filled(self, fill: Fill, ticket: Ticket) -> None:
        ts = fill.ts
        while len(self.fill_tickets) < fill.number:
            self.fill_tickets.append("")
        if fill.is_busted:
            ticket.filled -= fill.qty
            ticket.value -= fill.price * fill.qty
            self.history.sold(ts, fill, -1)
            self._tell(ts, ticket, "trade_bust", price=price_text(ticket.listing.rules, fill.price))
            return
        self.fill_tickets[fill.number - 1] = ticket.id
        if ticket.status in ("pending_new", "accepted"):
            ticket.status = "new"
            self._tell(ts, ticket, "new")
        ticket.filled += fill.qty
        ticket.value += fill.price * fill.qty
        ticket.filled_ts = ticket.updated_ts = ts
        is_whole = ticket.filled >= ticket.qty
        if is_whole:
            ticket.status, ticket.order = "filled", None
        elif ticket.is_open and ticket.status not in ("pending_cancel", "pending_replace"):
            ticket.status = "partially_filled"
        rules, execution = ticket.listing.rules, self.uuid()
        common = {"price": price_text(rules, fill.price), "qty": plain(fill.qty, rules.qty_scale)}
        self._tell(
            ts,
            ticket,
            "fill" if is_whole else "partial_fill",
            execution_id=execution,
            position_qty=plain(fill.position_after, rules.qty_scale),
            **common,
        )
        self.history.filled(ts, ticket, fill, execution)
        if is_whole and ticket.filled == ticket.qty and self.faults.fires(31):
            self.later(ts, lambda at: self._overfill(at, fill))

    def _overfill(self, ts: int, fill: Fill) -> None:
        self.exchange.overfill(ts, fill.order, fill.order.listing.rules.lot, fill.price)

    def _tell(self, ts: int, ticket: Ticket, event: str, status: str | None = None, **extra: Any) -> None:
        body = body_of(ticket)
        if status is not None:
            body["status"] = status
        self.news.append(News(ts, ticket.account.name, event, body, extra))

    def uuid(self) -> str:
        digits = f"{self._random.next():016x}{self._random.next():016x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
