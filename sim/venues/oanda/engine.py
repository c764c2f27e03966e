"""The dealing itself: requests into the exchange, and everything that happens there into the accounts' transactions. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.enums import MarketStatus, OrderType, Reason, Side, TimeInForce
from core.units import NS_PER_SECOND, POW10, divide_half_even
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.model import Account, Fill, Happened, Listing, NewOrder, NoFunds, Order, Refused, State
from sim.venues.oanda import text
from sim.venues.oanda.account import AccountBook, Ticket, Trade, Transaction, terms_of
from sim.venues.oanda.dealer import Dealer
from sim.venues.oanda.pairs import HOME, RATE_SCALE, Pair
from sim.venues.oanda.requests import REJECTS, Asked, BadRequest, read_order

DAYS_OF_YEAR = 365
_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)
_AT_TRIGGER = {Reason.REDUCE_ONLY: "POSITION_CLOSEOUT_FAILED", Reason.NO_LIQUIDITY: "INSUFFICIENT_LIQUIDITY"}


class Engine:
    """`tells_rest`: what is left of an order that may not rest gets a cancel behind the fill; else nobody speaks of it.

    `by_second`: trades pay for each second, when they are closed; else positions pay at the end of the day.
    """

    def __init__(self, pairs: Iterable[Pair], seed: int, *, tells_rest: bool = False, by_second: bool = False) -> None:
        self.exchange = Exchange([pair.listing() for pair in pairs], settle=self._settle)
        self.dealer = Dealer(self.exchange, seed)
        self.by_second = by_second
        # What the home currency is worth in each pair, as of the last `flush`: a profit is booked at the rate that is written.
        self._rates = {name: quoted.mid for name, quoted in self.dealer.quotes.items()}
        self.books: dict[str, AccountBook] = {}
        self.told: list[tuple[AccountBook, Transaction]] = []  # what the streams have not been given yet
        self.tells_rest = tells_rest
        self._by_number: dict[int, AccountBook] = {}
        self._fill_ids: dict[int, str] = {}

    def add_account(self, ts: int, name: str, token: str, balance: int, *, alias: str = "", hedging: bool = False) -> AccountBook:
        """`balance` in 10^-8 of the home currency."""
        account = self.exchange.add_account(name, {HOME: balance})
        book = AccountBook(name, token, account, alias=alias, hedging=hedging)
        self.books[name] = self._by_number[account.number] = book
        book.write(ts, "CREATE", homeCurrency=HOME, alias=alias, divisionID=1, siteID=1, accountUserID=1, accountNumber=1)
        book.begin_batch()
        book.write(
            ts, "TRANSFER_FUNDS", amount=text.money(balance), fundingReason="CLIENT_FUNDING", accountBalance=text.money(balance)
        )
        return book

    def _settle(self, listing: Listing, amount: int) -> tuple[int, str]:
        """Everything is booked in the home currency, in whole steps of the money that is written."""
        return text.rounded(self._at_home(listing, amount)), HOME

    def _at_home(self, listing: Listing, amount: int) -> int:
        quote = _pair(listing).quote
        if quote == HOME:
            return amount
        for name, mid in self._rates.items():
            scale = POW10[_pair(self.exchange.listings[name]).digits]
            if name == f"{quote}_{HOME}":
                return divide_half_even(amount * mid, scale)
            if name == f"{HOME}_{quote}":
                return divide_half_even(amount * scale, mid)
        raise AssertionError(f"nobody says what {quote} is worth")

    # What clients ask for. Each returns (status, body).

    def place(self, ts: int, book: AccountBook, body: Any) -> tuple[int, dict[str, Any]]:
        before = len(book.transactions)
        book.begin_batch()
        try:
            asked = read_order(ts, body, self.exchange.listings)
            self._require_unused(book, asked.new.client_id)
            if self._is_dead(asked):
                self._dead_on_arrival(ts, book, asked, "MARKET_HALTED")
            else:
                self._place(ts, book, asked)
        except BadRequest as bad:
            return self._rejected(ts, book, body, bad)
        return 201, self.reply(book, before)

    def _place(self, ts: int, book: AccountBook, asked: Asked) -> None:
        try:
            self.exchange.place(ts, book.account, asked.listing, _with_tag(asked))
        except NoFunds:
            self._dead_on_arrival(ts, book, asked, "INSUFFICIENT_MARGIN")
            return
        except Refused as refused:
            if refused.reason in (Reason.REDUCE_ONLY, Reason.FOK, Reason.NO_LIQUIDITY, Reason.IOC):
                reason = "POSITION_CLOSEOUT_FAILED" if refused.reason is Reason.REDUCE_ONLY else "INSUFFICIENT_LIQUIDITY"
                self._dead_on_arrival(ts, book, asked, reason)
                return
            raise BadRequest(REJECTS.get(refused.reason, "INTERNAL_SERVER_ERROR")) from None
        self.flush(ts, book)
        self.dealer.refill(ts, asked.listing)
        self.flush(ts, book)

    @staticmethod
    def _is_dead(asked: Asked) -> bool:
        """Made while the market is closed, and not to wait for it."""
        if asked.listing.status is MarketStatus.TRADING:
            return False
        return asked.new.order_type is OrderType.MARKET or (
            asked.new.trigger_price is None and asked.new.time_in_force in _AT_ONCE
        )

    def _require_unused(self, book: AccountBook, client_id: str) -> None:
        """Among orders that wait: an id of one that is over may be used again."""
        if client_id and any(order.is_open for order in self.exchange.by_client_id(book.account, client_id)):
            raise BadRequest("CLIENT_ORDER_ID_ALREADY_EXISTS")

    def _dead_on_arrival(self, ts: int, book: AccountBook, asked: Asked, reason: str) -> None:
        """Made and canceled in one deed; the exchange never sees it."""
        pair, ticket, new = _pair(asked.listing), asked.ticket, asked.new
        terms = terms_of(pair, new, ticket, new.qty)
        made = self._write(ts, book, f"{ticket.kind}_ORDER", **terms, reason=ticket.reason)
        client = {"clientOrderID": new.client_id} if new.client_id else {}
        self._write(ts, book, "ORDER_CANCEL", orderID=made["id"], **client, reason=reason)

    def _rejected(self, ts: int, book: AccountBook, body: Any, bad: BadRequest, replaces: str = "") -> tuple[int, dict[str, Any]]:
        if not bad.is_order:
            return 400, {"errorMessage": bad.reason}
        kind = body.get("type", "MARKET")
        known = ("instrument", "units", "price", "priceBound", "timeInForce", "gtdTime", "positionFill", "clientExtensions")
        terms = {key: body[key] for key in known if key in body}
        if replaces:
            terms["intendedReplacesOrderID"] = replaces
        made = self._write(ts, book, f"{kind}_ORDER_REJECT", **terms, reason="CLIENT_ORDER", rejectReason=bad.reason)
        return 400, {
            "orderRejectTransaction": made,
            "relatedTransactionIDs": [made["id"]],
            "lastTransactionID": book.last_id,
            "errorMessage": f"The order was rejected: {bad.reason}",
            "errorCode": bad.reason,
        }

    def find(self, book: AccountBook, specifier: str) -> Order | None:
        """By number, the present one or one of before; by "@" and the client's id only while it waits."""
        if specifier.startswith("@"):
            found = self.exchange.by_client_id(book.account, specifier[1:])
            return next((order for order in reversed(found) if order.is_open), None)
        order = book.orders.get(specifier)
        return None if order is None or order.is_lost else order

    def pending(self, book: AccountBook, specifier: str) -> Order | None:
        """As `find`, of orders that wait, and by no number of before."""
        order = self.find(book, specifier)
        if order is None or not order.is_open:
            return None
        return order if specifier.startswith("@") or _ticket(order).id == specifier else None

    def cancel(self, ts: int, book: AccountBook, specifier: str) -> tuple[int, dict[str, Any]]:
        before = len(book.transactions)
        book.begin_batch()
        order = self.pending(book, specifier)
        if order is None:
            return self._no_such_order(ts, book, specifier)
        self.exchange.cancel(ts, order)
        self.flush(ts, book)
        return 200, self.reply(book, before)

    def _no_such_order(self, ts: int, book: AccountBook, specifier: str) -> tuple[int, dict[str, Any]]:
        name = {"clientOrderID": specifier[1:]} if specifier.startswith("@") else {"orderID": specifier}
        made = self._write(ts, book, "ORDER_CANCEL_REJECT", **name, rejectReason="ORDER_DOESNT_EXIST")
        return 404, {
            "orderCancelRejectTransaction": made,
            "relatedTransactionIDs": [made["id"]],
            "lastTransactionID": book.last_id,
            "errorMessage": "The order specified does not exist",
            "errorCode": "ORDER_DOESNT_EXIST",
        }

    def replace(self, ts: int, book: AccountBook, specifier: str, body: Any) -> tuple[int, dict[str, Any]]:
        before = len(book.transactions)
        book.begin_batch()
        order = self.pending(book, specifier)
        if order is None:
            return self._no_such_order(ts, book, specifier)
        ticket = _ticket(order)
        try:
            asked = read_order(ts, body, self.exchange.listings)
            same = (asked.ticket.kind, asked.ticket.time_in_force, asked.ticket.position_fill, asked.ticket.gtd_time)
            if same != (ticket.kind, ticket.time_in_force, ticket.position_fill, ticket.gtd_time) or (
                asked.listing is not order.listing or asked.new.side is not order.side
            ):
                # The simulator changes units and prices; OANDA would take any other order in its place, too.
                raise BadRequest("TIME_IN_FORCE_INVALID")
            self._replace(ts, order, asked.new)
        except BadRequest as bad:
            return self._rejected(ts, book, body, bad, ticket.id)
        except Refused as refused:
            word = "INSUFFICIENT_MARGIN" if isinstance(refused, NoFunds) else REJECTS.get(refused.reason, "PRICE_INVALID")
            return self._rejected(ts, book, body, BadRequest(word), ticket.id)
        self.flush(ts, book)
        self.dealer.refill(ts, order.listing)
        self.flush(ts, book)
        return 201, self.reply(book, before, replaced=True)

    def _replace(self, ts: int, order: Order, new: NewOrder) -> None:
        total = order.filled_qty + new.qty
        if (total, new.price, new.trigger_price) == (order.qty, order.price, order.trigger_price):
            self._renumber(ts, order)  # the same again is a replacement all the same
        else:
            trigger = new.trigger_price if order.state is State.UNTRIGGERED else None
            self.exchange.replace(ts, order, qty=total, price=new.price, trigger_price=trigger)

    def close_position(self, ts: int, book: AccountBook, name: str, body: Any) -> tuple[int, dict[str, Any]]:
        listing = self.exchange.listings.get(name)
        if listing is None or not isinstance(body, dict):
            return 400, {"errorMessage": "Invalid value specified for 'instrument'"}
        before = len(book.transactions)
        book.begin_batch()
        held = book.account.qty(listing)
        asked = [(key, body[f"{key}Units"]) for key in ("long", "short") if body.get(f"{key}Units") not in (None, "NONE")]
        for key, units in asked:
            found = text.read_decimal(units) if units != "ALL" else (abs(held), 0)
            if (held > 0) is not (key == "long") or not held or found is None or not 0 < found[0] <= abs(held):
                made = self._write(
                    ts,
                    book,
                    "MARKET_ORDER_REJECT",
                    instrument=name,
                    units="0",
                    timeInForce="FOK",
                    positionFill="REDUCE_ONLY",
                    reason="POSITION_CLOSEOUT",
                    rejectReason="CLOSEOUT_POSITION_DOESNT_EXIST",
                )
                return 404, {
                    f"{key}OrderRejectTransaction": made,
                    "relatedTransactionIDs": [made["id"]],
                    "lastTransactionID": book.last_id,
                    "errorMessage": "The Position requested to be closed out does not exist",
                    "errorCode": "CLOSEOUT_POSITION_DOESNT_EXIST",
                }
            self._close(ts, book, listing, found[0], key, units)
        reply = self.reply(book, before)
        side = asked[0][0] if asked else "long"
        return 200, {(f"{side}O{key[1:]}" if key.startswith("order") else key): value for key, value in reply.items()}

    def _close(self, ts: int, book: AccountBook, listing: Listing, qty: int, key: str, units: str) -> None:
        ticket = Ticket(
            ids=[],
            kind="MARKET",
            reason="POSITION_CLOSEOUT",
            time_in_force="FOK",
            position_fill="REDUCE_ONLY",
            closes={f"{key}PositionCloseout": {"instrument": listing.name, "units": units}},
        )
        new = NewOrder(
            side=Side.SELL if key == "long" else Side.BUY,
            qty=qty,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.FOK,
            reduce_only=True,
        )
        asked = Asked(listing=listing, new=new, ticket=ticket)
        if self._is_dead(asked):
            self._dead_on_arrival(ts, book, asked, "MARKET_HALTED")
        else:
            self._place(ts, book, asked)

    def reply(self, book: AccountBook, before: int, *, replaced: bool = False) -> dict[str, Any]:
        """What one deed has written, by the names of an answer's fields."""
        made = book.transactions[before:]
        made = [each for each in made if each["batchID"] == made[0]["batchID"]] if made else []
        found: dict[str, Any] = {}
        for each in made:
            kind = each["type"]
            if kind == "ORDER_FILL":
                name = "orderFillTransaction"
            elif kind == "ORDER_CANCEL":
                is_second = replaced and "orderCancelTransaction" in found
                name = "replacingOrderCancelTransaction" if is_second else "orderCancelTransaction"
            else:
                name = "orderReissueTransaction" if "orderCreateTransaction" in found else "orderCreateTransaction"
            found.setdefault(name, each)
        return found | {"relatedTransactionIDs": [each["id"] for each in made], "lastTransactionID": book.last_id}

    # From the exchange to the accounts.

    def _write(self, ts: int, book: AccountBook, kind: str, **fields: Any) -> Transaction:
        made = book.write(ts, kind, **fields)
        self.told.append((book, made))
        return made

    def flush(self, ts: int, deed_of: AccountBook | None = None) -> None:
        """Write what has happened; transactions of `deed_of` belong to the deed that it has begun."""
        for change in self.exchange.take_changes():
            order = change.order if isinstance(change, Fill) else self.exchange.orders[change.number]
            book = self._by_number[order.account.number]
            if book is not deed_of:
                book.begin_batch()
            before = len(book.transactions)
            if isinstance(change, Fill):
                self._filled(ts, book, order, change)
            else:
                self._changed(ts, book, order, change)
            self.told += [(book, made) for made in book.transactions[before:]]
        self._rates = {name: quoted.mid for name, quoted in self.dealer.quotes.items()}

    def _filled(self, ts: int, book: AccountBook, order: Order, fill: Fill) -> None:
        made = book.filled(ts, order, fill, self._settle(order.listing, fill.profit)[0], self._interest)
        financing = book.take_financing()
        if financing:
            self.exchange.books.move_cash(ts, book.account, order.listing, HOME, financing, "financing")
            made["accountBalance"] = text.money(book.balance())
        self._fill_ids[fill.number] = made["id"]
        ticket = _ticket(order)
        ticket.end_state, ticket.end_transaction = "FILLED", made["id"]
        if order.is_open and fill.order_then.leaves_qty and order.time_in_force not in _AT_ONCE:
            # The rest goes on as an order of its own, under the next number and the same client's id.
            ticket.filled_as.append(ticket.id)
            ticket.end_state = ""
            self._made_again(ts, book, order, fill.order_then)

    def _made_again(self, ts: int, book: AccountBook, order: Order, then: Order) -> None:
        ticket = _ticket(order)
        terms = terms_of(_pair(order.listing), then, ticket, then.qty - then.filled_qty)
        made = book.write(ts, f"{ticket.kind}_ORDER", **terms, reason="REPLACEMENT", replacesOrderID=ticket.id)
        ticket.ids.insert(0, made["id"])
        book.orders[made["id"]] = order

    def _changed(self, ts: int, book: AccountBook, order: Order, then: Order) -> None:
        match then.happened:
            case Happened.PLACED:
                if not isinstance(order.tag, Ticket):
                    order.tag = _ticket_of(order)
                book.created(ts, order, order.tag, then)
            case Happened.REPLACED:
                self._renumber(ts, order, then, is_told=False)
            case Happened.CANCELED:
                self._canceled(ts, book, order)
            case Happened.EXPIRED:
                book.canceled(ts, order, "TIME_IN_FORCE_EXPIRED")
            case Happened.REJECTED:
                book.canceled(
                    ts, order, "INSUFFICIENT_LIQUIDITY" if order.reason is Reason.NO_LIQUIDITY else "INSUFFICIENT_MARGIN"
                )
            case _:
                pass  # a trigger is told by what it fills, and less of a reduce-only order by nobody

    def _renumber(self, ts: int, order: Order, then: Order | None = None, *, is_told: bool = True) -> None:
        """The order ends under its number and goes on under the next but one."""
        book, ticket, old = self._by_number[order.account.number], _ticket(order), _ticket(order).id
        before = len(book.transactions)
        book.canceled(ts, order, "CLIENT_REQUEST_REPLACED", replacedByOrderID=str(before + 2))
        ticket.replaced.append(old)
        ticket.end_state = ""
        self._made_again(ts, book, order, then or order)
        if is_told:
            self.told += [(book, made) for made in book.transactions[before:]]

    def _canceled(self, ts: int, book: AccountBook, order: Order) -> None:
        ticket = _ticket(order)
        if order.filled_qty and order.time_in_force in _AT_ONCE and not self.tells_rest:
            return  # the fill was the order's end
        if order.reason in (Reason.IOC, Reason.FOK, Reason.NO_LIQUIDITY):
            if ticket.kind == "LIMIT":
                reason = "TIME_IN_FORCE_EXPIRED"
            else:
                reason = "INSUFFICIENT_LIQUIDITY" if order.price is None else "BOUNDS_VIOLATION"
        elif order.reason in (Reason.REDUCE_ONLY, Reason.SELF_TRADE):
            reason = "POSITION_CLOSEOUT_FAILED" if order.reason is Reason.REDUCE_ONLY else "INTERNAL_SERVER_ERROR"
        else:
            reason = order.cause or "CLIENT_REQUEST"
        book.canceled(ts, order, reason)

    # What the venue does by itself.

    def _interest(self, listing: Listing, trade: Trade, units: int, ts: int) -> int:
        """What so much of a trade owes or is owed for the seconds since it was opened; 0 where a day is paid at once."""
        if not self.by_second:
            return 0
        pair = _pair(listing)
        value = abs(listing.rules.notional(trade.price, units))
        rate = pair.long_rate if trade.units > 0 else pair.short_rate
        seconds = (ts - trade.opened_ts) // NS_PER_SECOND
        return self._settle(listing, divide_half_even(value * rate * seconds, RATE_SCALE * DAYS_OF_YEAR * 86_400))[0]

    def finance(self, ts: int) -> None:
        """17:00 in New York: each position pays or earns a day of its value's interest."""
        if self.by_second:
            return
        for book in self.books.values():
            parts, total = [], 0
            for name, listing in self.exchange.listings.items():
                held = book.account.qty(listing)
                if held:
                    amount = self.financing_of(listing, held)
                    parts.append({"instrument": name, "financing": text.money(amount), "openTradeFinancings": []})
                    total += amount
                    self.exchange.books.move_cash(ts, book.account, listing, HOME, amount, "financing")
            if not parts:
                continue
            book.financing += total
            book.begin_batch()
            self._write(
                ts,
                book,
                "DAILY_FINANCING",
                financing=text.money(total),
                accountBalance=text.money(book.balance()),
                accountFinancingMode="DAILY",
                positionFinancings=parts,
            )

    def financing_of(self, listing: Listing, held: int) -> int:
        """10^-8 of the home currency; negative is paid."""
        pair = _pair(listing)
        value = abs(listing.rules.notional(self.dealer.quotes[listing.name].mid, held))
        rate = pair.long_rate if held > 0 else pair.short_rate
        return self._settle(listing, divide_half_even(value * rate, RATE_SCALE * DAYS_OF_YEAR))[0]

    def unrealized(self, book: AccountBook) -> int:
        """At the prices that it could be closed at, home currency."""
        total = 0
        for trade in book.trades:
            listing, quoted = self.exchange.listings[trade.instrument], self.dealer.quotes[trade.instrument]
            price = (quoted.bid if trade.units > 0 else quoted.ask) or quoted.mid
            total += self._settle(listing, listing.rules.notional(price - trade.price, trade.units))[0]
        return total

    def margin_used(self, book: AccountBook) -> int:
        """Of positions, at the middle of the market, home currency. Orders that wait use none."""
        total = 0
        for name, listing in self.exchange.listings.items():
            held = abs(book.account.qty(listing))
            if held:
                value = listing.rules.notional(self.dealer.quotes[name].mid, held)
                total += self._settle(listing, value // listing.leverage_max)[0]
        return total

    def close_out(self, ts: int) -> None:
        """Where what is left is worth half of the margin or less, everything is closed."""
        for book in self.books.values():
            used = self.margin_used(book)
            if used and 2 * (book.balance() + self.unrealized(book)) <= used:
                self.force(ts, book)

    def force(self, ts: int, book: AccountBook) -> None:
        for listing in self.exchange.listings.values():
            if book.account.qty(listing):
                self.exchange.force(ts, book.account, listing, "MARGIN_CLOSEOUT")
                self.flush(ts)
                self.dealer.refill(ts, listing)
                self.flush(ts)

    def book_of(self, account: Account) -> AccountBook:
        return self._by_number[account.number]

    def ledger(self) -> dict[str, Any]:
        return self.exchange.ledger(
            lambda order: order.tag.id if isinstance(order.tag, Ticket) and order.tag.ids else "",
            lambda fill: self._fill_ids.get(fill.number, ""),
        )


def _with_tag(asked: Asked) -> NewOrder:
    new = asked.new
    return NewOrder(**{name: getattr(new, name) for name in new.__struct_fields__ if name != "tag"}, tag=asked.ticket)


def _ticket_of(order: Order) -> Ticket:
    """Of an order that nobody asked for over the API."""
    kind = "LIMIT" if order.price is not None else "STOP" if order.trigger_price is not None else "MARKET"
    is_forced = order.origin == "forced"
    return Ticket(
        ids=[],
        kind=kind,
        reason=(order.cause or "MARGIN_CLOSEOUT") if is_forced else "CLIENT_ORDER",
        time_in_force="FOK" if kind == "MARKET" else "GTC",
        position_fill="REDUCE_ONLY" if is_forced or order.reduce_only else "DEFAULT",
    )


def _ticket(order: Order) -> Ticket:
    assert isinstance(order.tag, Ticket)
    return order.tag


def _pair(listing: Listing) -> Pair:
    assert isinstance(listing.tag, Pair)
    return listing.tag
