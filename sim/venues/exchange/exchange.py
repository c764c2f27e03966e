"""The exchange of a simulated venue: matching, and what happens there that no client asked for. Pure.

The deeds of the world are here: other people's orders, halts, funding, liquidations, splits, and what a venue does wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from core.enums import MarketStatus, OrderType, Reason, Side, TimeInForce
from core.instruments import Instrument
from native.book_types import Kind
from sim.venues.exchange.ledger import ledger_of
from sim.venues.exchange.matching import Matching
from sim.venues.exchange.model import (
    Account,
    CashMove,
    Fill,
    Happened,
    Listing,
    NewOrder,
    Order,
    Origin,
    Print,
    Refused,
    State,
)

PPB = 1_000_000_000


def _order_number(order: Order) -> str:
    return str(order.number)


def _fill_number(fill: Fill) -> str:
    return str(fill.number)


class Exchange(Matching):
    # Other people. They have no account; their orders are known by a number.

    def crowd_limit(self, ts: int, listing: Listing, side: Side, price: int, qty: int) -> int:
        """The number of somebody's limit order. Raises Refused."""
        self._number += 1
        number = self._number
        reports = self._book.submit(ts, order_id=number, side=side, qty=qty, price=price, symbol=listing.symbol)
        if reports[0].kind == Kind.REJECTED:
            self._number -= 1
            raise Refused(Reason(reports[0].reason))
        self._take(ts, reports)
        self._elect(ts, listing)
        return number

    def crowd_cancel(self, ts: int, number: int) -> bool:
        """Whether it was still there."""
        assert number not in self.orders, "an account's order is not the crowd's to cancel"
        reports = self._book.cancel(ts, number)
        if reports[0].kind != Kind.CANCELED:
            return False
        self._take(ts, reports)
        return True

    def crowd_leaves(self, number: int) -> int:
        """What is left of a crowd's order; 0: it has gone."""
        view = self._book.order(number)
        return 0 if view is None else view.leaves_qty

    def resting_numbers(self, listing: Listing, side: Side) -> set[int]:
        """Of every order that rests on a side, the crowd's and the accounts'."""
        return set(self._book.orders_array(listing.symbol, side)["order_id"].tolist())

    def crowd_market(self, ts: int, listing: Listing, side: Side, qty: int) -> int:
        """Somebody trades at the market; how much it was, 0 where there was nobody to trade with or no trading."""
        self._number += 1
        reports = self._book.submit(
            ts,
            order_id=self._number,
            side=side,
            qty=qty,
            symbol=listing.symbol,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.IOC,
        )
        if reports[0].kind == Kind.REJECTED:
            return 0
        self._take(ts, reports)
        self._elect(ts, listing)
        return sum(report.qty for report in reports if report.kind == Kind.TRADE)

    def hit(self, ts: int, order: Order, qty: int) -> None:
        """Somebody trades against this resting order, past whoever is ahead of it. Raises Refused where so much does not rest."""
        reports = self._book.execute_resting(ts, order.number, qty)
        if reports[0].kind == Kind.CANCEL_REJECTED:
            raise Refused(Reason(reports[0].reason))
        self._take(ts, reports)
        self._elect(ts, order.listing)

    def print_elsewhere(self, ts: int, listing: Listing, side: Side, price: int, qty: int) -> None:
        """A public trade that touches no order here; it moves the last price and may trigger stops."""
        self._trade_number += 1
        listing.last = price
        self._prints.append(Print(listing, price, qty, side, ts, self._trade_number))
        self._elect(ts, listing)

    # The owner, by other means than the client's connection.

    def manual(self, ts: int, account: Account, listing: Listing, new: NewOrder) -> Order:
        """The owner trades by hand. Raises Refused."""
        return self.place(ts, account, listing, new, "manual")

    def adjust(self, ts: int, account: Account, currency: str, amount: int, cause: str = "adjustment") -> CashMove:
        """A deposit, a withdrawal, a dividend: `amount` is added to the balance."""
        return self.books.move_cash(ts, account, None, currency, amount, cause)

    # What the venue does by force.

    def force(self, ts: int, account: Account, listing: Listing, cause: str, tag: Any = None) -> Order | None:
        """Liquidate: the account's orders of the listing leave and its position goes to the market; None: it had none.

        What nobody in the book takes, the venue takes over at the reference price. `tag` is that of the orders it makes.
        """
        self.cancel_all(ts, account, listing, cause=cause)
        held = account.qty(listing)
        if not held:
            return None
        side = Side.SELL if held > 0 else Side.BUY
        new = NewOrder(side=side, qty=abs(held), order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC, tag=tag)
        order = self._make(ts, account, listing, new, "forced")
        order.cause = cause
        try:
            reports = self._submit(ts, order)
        except Refused:
            reports = []
        if not reports:
            return self.deliver(ts, account, listing, side, abs(held), listing.reference, cause, tag=tag)
        self._record(order)
        self._changed(ts, order, Happened.PLACED)
        self._take(ts, reports[1:])
        self._elect(ts, listing)
        order.cause = cause
        if left := account.qty(listing):
            self.deliver(ts, account, listing, side, abs(left), listing.reference, cause, tag=tag)
        return order

    def deliver(
        self,
        ts: int,
        account: Account,
        listing: Listing,
        side: Side,
        qty: int,
        price: int,
        cause: str,
        origin: Origin = "forced",
        tag: Any = None,
    ) -> Order:
        """A trade outside the book, filled whole: auto-deleveraging, settlement, exercise, assignment."""
        new = NewOrder(side=side, qty=qty, order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC, tag=tag)
        order = self._make(ts, account, listing, new, origin)
        order.cause = cause
        self._record(order)
        self._changed(ts, order, Happened.PLACED)
        self._trade_number += 1
        self._fill(ts, order, price, qty, self._trade_number, False)
        self._align(account, listing)
        return order

    def settle(self, ts: int, listing: Listing, price: int) -> None:
        """The listing's life ends: orders leave, positions are delivered at `price`, nothing trades any more."""
        listing.mark = price
        for account in self.accounts.values():
            self.cancel_all(ts, account, listing, cause="settlement")
            if held := account.qty(listing):
                self.deliver(ts, account, listing, Side.SELL if held > 0 else Side.BUY, abs(held), price, "settlement")
        self._take(ts, self._book.mass_cancel(ts, symbol=listing.symbol))
        self.close(ts, listing)

    def fund(self, ts: int, listing: Listing, rate_ppb: int) -> list[CashMove]:
        """Funding on every open position: longs pay `rate_ppb` (10^-9 of the value at the mark) to shorts, or get it."""
        moves = []
        for account in self.accounts.values():
            held = account.qty(listing)
            if held and listing.reference:
                payment = listing.rules.notional(listing.reference, held) * rate_ppb // PPB
                amount, currency = self.books.settle(listing, -payment)
                moves.append(self.books.move_cash(ts, account, listing, currency, amount, "funding"))
        return moves

    def split(self, ts: int, listing: Listing, numerator: int, denominator: int) -> list[CashMove]:
        """`numerator` for every `denominator`: orders leave, positions and prices change, fractions are paid out in cash."""
        assert numerator > 0
        assert denominator > 0
        for account in self.accounts.values():
            self.cancel_all(ts, account, listing, cause="split")
        self._take(ts, self._book.mass_cancel(ts, symbol=listing.symbol))
        tick = listing.rules.tick
        listing.last, listing.mark, listing.index = (
            price * denominator // numerator // tick * tick for price in (listing.last, listing.mark, listing.index)
        )
        moves = []
        for account in self.accounts.values():
            held = account.positions.get(listing.name)
            if held is None:
                continue
            sign = 1 if held.qty > 0 else -1
            whole, rest = divmod(abs(held.qty) * numerator, denominator)
            # Whole units stay; the cash for a fraction takes its share of what was paid for the position.
            held.qty = sign * whole
            if rest and listing.reference:
                worth = sign * listing.rules.notional(listing.reference, rest) // denominator
                held.value_open -= worth
                amount, currency = self.books.settle(listing, worth)
                moves.append(self.books.move_cash(ts, account, listing, currency, amount, "split"))
            self._align(account, listing)
        return moves

    def set_rules(self, listing: Listing, rules: Instrument) -> None:
        """Other rules from now on: tick and lot at most coarser than those that the listing was opened with."""
        before = self._rules_opened[listing.name]
        if rules.tick % before.tick or rules.lot % before.lot or rules.price_scale != before.price_scale:
            raise ValueError(f"{listing.name}: tick and lot can only become coarser")
        listing.rules = rules

    # Sessions.

    def halt(self, ts: int, listing: Listing) -> None:
        """Orders rest, none is taken, none trades."""
        self._leave_auction(ts, listing)
        self._book.status_set(listing.symbol, MarketStatus.HALTED)
        listing.status = MarketStatus.HALTED

    def close(self, ts: int, listing: Listing) -> None:
        self._leave_auction(ts, listing)
        self._book.status_set(listing.symbol, MarketStatus.CLOSED)
        listing.status = MarketStatus.CLOSED

    def auction(self, ts: int, listing: Listing) -> None:
        """Orders are taken and rest until `open`; those that waited come in."""
        self._book.auction_begin(listing.symbol)
        listing.status = MarketStatus.AUCTION
        self._let_in(ts, listing)

    def open(self, ts: int, listing: Listing) -> None:
        """Continuous trading; where orders waited, behind an auction among them."""
        if listing.status is not MarketStatus.AUCTION and self._waiting.get(listing.name):
            self.auction(ts, listing)
        if listing.status is MarketStatus.AUCTION:
            self._take(ts, self._book.uncross(ts, listing.symbol, listing.reference))
        else:
            self._book.status_set(listing.symbol, MarketStatus.TRADING)
        listing.status = MarketStatus.TRADING
        self._let_in(ts, listing)
        self._elect(ts, listing)

    def _leave_auction(self, ts: int, listing: Listing) -> None:
        if listing.status is MarketStatus.AUCTION:
            self._take(ts, self._book.uncross(ts, listing.symbol, listing.reference))

    def _let_in(self, ts: int, listing: Listing) -> None:
        """Orders that waited for the listing to open. One that cannot rest in an auction goes on waiting; others may end."""
        waiting = self._waiting.get(listing.name, {})
        for order in list(waiting.values()):
            try:
                reports = self._submit(ts, order)
            except Refused as refused:
                if refused.reason is not Reason.CLOSED or listing.status is MarketStatus.TRADING:
                    self._end(ts, order, State.REJECTED, refused.reason, str(refused))
                continue
            del waiting[order.number]
            order.is_waiting = False
            self._take(ts, reports[1:])
            self._touched[listing.name] = listing

    # What a venue does wrong, or takes back.

    def bust(self, ts: int, fill: Fill, *, is_told: bool = True) -> None:
        """A trade is void: the opposite at the same price, and the fee comes back. `is_told` False: nobody hears of it."""
        assert not fill.is_busted
        order, account, listing = fill.order, fill.order.account, fill.order.listing
        signed = -fill.qty if order.side is Side.BUY else fill.qty
        self.books.book(account, listing, signed, fill.price, -fill.fee, fill.fee_currency)
        fill.is_busted = True
        order.filled_qty -= fill.qty
        order.value -= fill.price * fill.qty
        order.updated_ts = ts
        if order.is_open:
            # What a void trade took does not come back to the order.
            order.qty -= fill.qty
        self._align(account, listing)
        self.books.reckon(order)
        if is_told:
            told = copy.copy(fill)
            told.order_then, told.position_after, told.ts = copy.copy(order), account.qty(listing), ts
            self._changes.append(told)

    def correct(self, ts: int, fill: Fill, price: int) -> Fill:
        """The trade was at another price: the fill is void and another one stands in its place."""
        self.bust(ts, fill)
        order, state = fill.order, fill.order.state
        if order.is_open:
            order.qty += fill.qty
        corrected = self._fill(ts, order, price, fill.qty, fill.trade_number, fill.is_maker, fill.number)
        if state is not order.state:
            # A correction changes no order's life: one that was canceled stays so.
            order.state = corrected.order_then.state = state
            self._end_quietly(order)
        self._align(order.account, order.listing)
        return corrected

    def overfill(self, ts: int, order: Order, qty: int, price: int) -> Fill:
        """The venue fills more than was asked for: a fill on top, after the order's end or beside it."""
        state = order.state
        self._trade_number += 1
        fill = self._fill(ts, order, price, qty, self._trade_number, False)
        if state not in (State.NEW, State.PARTIALLY_FILLED):
            order.state = state
        elif order.filled_qty >= order.qty:
            self._book.cancel(ts, order.number)
        else:
            self._book.reduce(ts, order.number, qty)
        self._end_quietly(order)
        self._align(order.account, order.listing)
        return fill

    def lose(self, ts: int, orders: Iterable[Order]) -> None:
        """A restart that forgot them: they are gone, nobody is told, and nobody finds them."""
        for order in orders:
            if order.is_open:
                self.cancel(ts, order, "lost")
                self._changes.pop()
            order.is_lost = True

    def _end_quietly(self, order: Order) -> None:
        self.books.reckon(order)
        if not order.is_open:
            self._open[order.account.number].pop(order.number, None)

    def _align(self, account: Account, listing: Listing) -> None:
        """Reduce-only goes by the position that the native book knows of."""
        self._book.position_set(account.number, listing.symbol, account.qty(listing))

    # For auditors.

    def ledger(
        self,
        order_id: Callable[[Order], str] = _order_number,
        trade_id: Callable[[Fill], str] = _fill_number,
    ) -> dict[str, Any]:
        """What really happened, as sim/venues/protocol.py says; the texts of ids are the simulator's."""
        return ledger_of(self.books, self.orders.values(), self.fills, order_id, trade_id)

    def check(self) -> None:
        """Every invariant, slowly; an AssertionError says which one is broken."""
        self._book.check()
        for order in self.orders.values():
            held_open = order.number in self._open[order.account.number]
            assert held_open is order.is_open, order
        for account in self.accounts.values():
            for name, held in account.positions.items():
                position = self._book.position(account.number, self.listings[name].symbol)
                assert position == held.qty, (account.name, name, position, held.qty)
        self.books.check(self.orders.values())
        for listing in self.listings.values():
            bid, ask = self.best(listing)
            crossed = bid is not None and ask is not None and bid.price >= ask.price
            assert not crossed or listing.status is MarketStatus.AUCTION, (listing.name, bid, ask)


def replaced_rules(listing: Listing, **changes: Any) -> Instrument:
    """The listing's rules with some of them changed, for `set_rules`."""
    return msgspec.structs.replace(listing.rules, **changes)
