"""A slow and obvious exchange of one listing: lists, loops, every sum made anew each time. The real one must agree with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Resting:
    number: int
    account: str  # "": the crowd's
    is_buy: bool
    price: int | None
    qty: int
    left: int
    reduce_only: bool = False
    trigger: int | None = None
    state: str = "NEW"
    is_post_only: bool = False

    @property
    def rests_at(self) -> int:
        assert self.price is not None
        return self.price


@dataclass
class Oracle:
    """`start`: balances by account and currency. Spot where `is_spot`, else profit and loss in USD, without a limit of margin."""

    start: dict[str, dict[str, int]]
    is_spot: bool
    value: int  # money of one point times one unit
    unit: int  # base money of one unit
    fee_ppm: tuple[int, int]  # maker, taker
    book: list[Resting] = field(default_factory=list)
    stops: list[Resting] = field(default_factory=list)
    every: dict[int, Resting] = field(default_factory=dict)
    fills: list[dict[str, Any]] = field(default_factory=list)
    last: int = 0
    number: int = 0

    # Sums.

    def position(self, account: str) -> int:
        return sum(f["qty"] if f["is_buy"] else -f["qty"] for f in self.fills if f["account"] == account)

    def quote(self, account: str) -> int:
        """Spot: the balance. Else: the balance less what the open position was opened for."""
        total = self.start[account].get("USD", 0)
        for f in self.fills:
            if f["account"] == account:
                worth = f["price"] * f["qty"] * self.value
                total -= (worth if f["is_buy"] else -worth) + worth * self.fee_ppm[0 if f["is_maker"] else 1] // 10**6
        return total

    def base(self, account: str) -> int:
        return self.start[account].get("BTC", 0) + self.position(account) * self.unit

    def _cost(self, price: int, qty: int) -> int:
        worth = price * qty * self.value
        return worth + worth * self.fee_ppm[1] // 10**6

    def free_quote(self, account: str) -> int:
        held = 0
        for order in [*self.book, *self.stops]:
            price = order.price if order.price is not None else order.trigger
            if order.account == account and order.is_buy and price is not None:
                held += self._cost(price, order.left)
        return self.quote(account) - held

    def free_base(self, account: str) -> int:
        held = sum(o.left for o in [*self.book, *self.stops] if o.account == account and not o.is_buy)
        return self.base(account) - held * self.unit

    # Orders.

    def facing(self, is_buy: bool, price: int | None) -> list[Resting]:
        """Who an order would meet, in turn."""
        found = [o for o in self.book if o.is_buy is not is_buy]
        if price is not None:
            found = [o for o in found if (o.rests_at <= price if is_buy else o.rests_at >= price)]
        return sorted(found, key=lambda o: (o.rests_at if is_buy else -o.rests_at, self.book.index(o)))

    def can_pay(self, account: str, is_buy: bool, price: int | None, qty: int) -> bool:
        if not self.is_spot:
            return True
        if not is_buy:
            return qty * self.unit <= self.free_base(account)
        if price is not None:
            return self._cost(price, qty) <= self.free_quote(account)
        cost, left = 0, qty
        by_price: dict[int, int] = {}
        for order in self.facing(True, None):
            assert order.price is not None
            by_price[order.price] = by_price.get(order.price, 0) + order.left
        for level, there in by_price.items():
            cost += self._cost(level, min(there, left)) if left > 0 else 0
            left -= there
        return cost <= self.free_quote(account)

    def place(
        self,
        account: str,
        is_buy: bool,
        price: int | None,
        qty: int,
        *,
        tif: str = "GTC",
        post_only: bool = False,
        reduce_only: bool = False,
        trigger: int | None = None,
    ) -> int:
        """The order's number, 0 where it is refused."""
        held = self.position(account) if account else 0
        if reduce_only:
            if trigger is None and (held == 0 or (held > 0) is is_buy):
                return 0
        elif account and not self.can_pay(account, is_buy, price if price is not None else trigger, qty):
            return 0
        order = Resting(self.number + 1, account, is_buy, price, qty, qty, reduce_only, trigger, is_post_only=post_only)
        if trigger is None and not self._may_enter(order):
            return 0
        self.number += 1
        self.every[order.number] = order
        if trigger is not None:
            order.state = "UNTRIGGERED"
            self.stops.append(order)
        else:
            self._enter(order, tif)
        self.elect()
        return order.number

    def _may_enter(self, order: Resting) -> bool:
        if order.is_post_only and self.facing(order.is_buy, order.price):
            return False
        return order.price is not None or bool(self.facing(order.is_buy, None))

    def _enter(self, order: Resting, tif: str) -> None:
        if order.reduce_only:
            allowed = self._reducible(order)
            if allowed == 0:
                order.state = "CANCELED"
                return
            if allowed < order.left:
                order.qty -= order.left - allowed
                order.left = allowed
        if tif == "FOK":
            found = 0
            for other in self.facing(order.is_buy, order.price):
                if order.account and other.account == order.account:
                    break
                found += 0 if other.reduce_only else other.left
            if found < order.left:
                order.state = "CANCELED"
                return
        self._match(order)
        if order.left and order.state in ("NEW", "PARTIALLY_FILLED"):
            if order.price is None or tif in ("IOC", "FOK"):
                order.state = "CANCELED"
            else:
                self.book.append(order)

    def _reducible(self, order: Resting) -> int:
        held = self.position(order.account)
        return max(0, -held if order.is_buy else held)

    def _match(self, taker: Resting) -> None:
        while taker.left:
            facing = self.facing(taker.is_buy, taker.price)
            if not facing:
                return
            maker = facing[0]
            if taker.account and maker.account == taker.account:
                taker.state = "CANCELED"
                return
            if maker.reduce_only:
                allowed = self._reducible(maker)
                if allowed == 0:
                    maker.state = "CANCELED"
                    self.book.remove(maker)
                    continue
                if allowed < maker.left:
                    maker.qty -= maker.left - allowed
                    maker.left = allowed
            assert maker.price is not None
            self._trade(taker, maker, maker.price, min(taker.left, maker.left))

    def _trade(self, taker: Resting | None, maker: Resting, price: int, qty: int) -> None:
        self.last = price
        for order, is_maker in ((taker, False), (maker, True)):
            if order is None:
                continue
            order.left -= qty
            order.state = "PARTIALLY_FILLED" if order.left else "FILLED"
            if order.account:
                self.fills.append(
                    {
                        "account": order.account,
                        "number": order.number,
                        "is_buy": order.is_buy,
                        "price": price,
                        "qty": qty,
                        "is_maker": is_maker,
                    }
                )
        if not maker.left:
            self.book.remove(maker)

    def cancel(self, number: int) -> None:
        order = self.every[number]
        if order in self.book:
            self.book.remove(order)
        elif order in self.stops:
            self.stops.remove(order)
        else:
            return
        order.state = "CANCELED"

    def replace(self, number: int, qty: int, price: int) -> bool:
        """`qty` is the new total."""
        order = self.every[number]
        filled = order.qty - order.left
        if order not in self.book or qty <= filled or (qty == order.qty and price == order.price):
            return False
        if self.is_spot and not order.reduce_only:
            assert order.price is not None
            if order.is_buy:
                more = self._cost(price, qty - filled) - self._cost(order.price, order.left)
                if (more > 0 or qty > order.qty) and more > self.free_quote(order.account):
                    return False
            elif qty > order.qty and (qty - order.qty) * self.unit > self.free_base(order.account):
                return False
        if price == order.price and qty < order.qty:
            order.left -= order.qty - qty
            order.qty = qty
            return True
        if order.reduce_only and self._reducible(order) == 0:
            return False
        if order.is_post_only and self.facing(order.is_buy, price):
            return False
        self.book.remove(order)
        order.qty, order.left, order.price = qty, qty - filled, price
        self._enter(order, "GTC")
        self.elect()
        return True

    def hit(self, number: int, qty: int) -> bool:
        order = self.every[number]
        if order not in self.book or qty > order.left:
            return False
        assert order.price is not None
        self._trade(None, order, order.price, qty)
        self.elect()
        return True

    def elect(self) -> None:
        while True:
            due = [s for s in self.stops if self.last and s.trigger is not None and self._passed(s.is_buy, s.trigger)]
            if not due:
                return
            stop = due[0]
            self.stops.remove(stop)
            stop.state = "NEW"
            if self._may_trigger(stop):
                self._enter(stop, "GTC")
            else:
                stop.state = "REJECTED"

    def _passed(self, is_buy: bool, trigger: int) -> bool:
        return self.last >= trigger if is_buy else self.last <= trigger

    def _may_trigger(self, stop: Resting) -> bool:
        if stop.reduce_only:
            return self._reducible(stop) > 0 and self._may_enter(stop)
        if self.is_spot and stop.is_buy and stop.price is None:
            # Its own reservation is out of `free_quote` by now, so the whole cost counts.
            return self.can_pay(stop.account, True, None, stop.left) and self._may_enter(stop)
        return self._may_enter(stop)
