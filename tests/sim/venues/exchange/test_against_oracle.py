"""The exchange against the slow oracle: the same deeds, the same orders, fills, positions and balances after each of them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.enums import InstrumentClass, OrderType, Side, TimeInForce
from core.instruments import Instrument
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.model import Account, Fill, Listing, NewOrder, Order, Refused, State
from tests.sim.venues.exchange.oracle import Oracle

FEES_PPM = (200, 500)
START = {"us": {"USD": 100_000_000, "BTC": 1_500_000}, "them": {"USD": 200_000_000, "BTC": 3_000_000}}
NAMES = ("us", "them", "")
DEEDS = 60


def rules(is_spot: bool) -> Instrument:
    return Instrument(
        instrument_id="BTCUSD.SIM",
        instrument_class=InstrumentClass.SPOT if is_spot else InstrumentClass.PERPETUAL,
        base_currency="BTC",
        quote_currency="USD",
        settlement_currency="USD",
        price_scale=2,
        qty_scale=4,
        tick=10,
        lot=2,
        qty_min=2,
        qty_max=10_000,
        price_min=10,
        price_max=100_000,
        maker_fee_rate=FEES_PPM[0] * 1000,
        taker_fee_rate=FEES_PPM[1] * 1000,
    )


def fee(account: Account, listing: Listing, side: Side, price: int, qty: int, is_maker: bool) -> tuple[int, str]:
    return listing.rules.notional(price, qty) * FEES_PPM[0 if is_maker else 1] // 10**6, "USD"


class Pair:
    def __init__(self, is_spot: bool, seed: int) -> None:
        self.random = random.Random(seed)
        margin: Any = "cash" if is_spot else "margin"
        self.listing = Listing(name="BTCUSD", rules=rules(is_spot), margin=margin, leverage_max=10**9)
        self.exchange = Exchange([self.listing], fee=fee)
        for name, balances in START.items():
            self.exchange.add_account(name, balances)
        self.oracle = Oracle(START, is_spot, value=100, unit=10**4, fee_ppm=FEES_PPM)
        self.is_spot = is_spot
        self.ts = 10**18
        self.crowd: set[int] = set()
        self.log: list[str] = []
        self.told: list[Order | Fill] = []

    def deed(self) -> None:
        self.ts += 1
        kind = self.random.choices(("place", "cancel", "replace", "hit", "stop"), (10, 2, 3, 1, 2))[0]
        getattr(self, f"_{kind}")()
        self.told += self.exchange.take_changes()
        self.compare()

    def _new(self) -> dict[str, Any]:
        pick = self.random
        return {"is_buy": pick.random() < 0.5, "price": 5_000 + 10 * pick.randrange(-8, 9), "qty": 2 * pick.randrange(1, 40)}

    def _place(self) -> None:
        pick, new = self.random, self._new()
        name = pick.choice(NAMES)
        tif = pick.choice(("GTC", "GTC", "GTC", "IOC", "FOK")) if name else "GTC"
        is_post_only = bool(name) and tif == "GTC" and pick.random() < 0.2
        is_reducing = bool(name) and not self.is_spot and pick.random() < 0.25
        if name and pick.random() < 0.2 and not is_post_only:
            new["price"], tif = None, "GTC"
        self.submit(name, new, tif=tif, post_only=is_post_only, reduce_only=is_reducing)

    def _stop(self) -> None:
        new = self._new()
        new["trigger"] = new["price"]
        if self.random.random() < 0.5:
            new["price"] = None
        is_reducing = not self.is_spot and self.random.random() < 0.3
        self.submit(self.random.choice(NAMES[:2]), new, reduce_only=is_reducing)

    def submit(
        self, name: str, new: dict[str, Any], *, tif: str = "GTC", post_only: bool = False, reduce_only: bool = False
    ) -> None:
        self.log.append(f"place {name!r} {new} {tif} post_only={post_only} reduce_only={reduce_only}")
        expected = self.oracle.place(
            name,
            new["is_buy"],
            new["price"],
            new["qty"],
            tif=tif,
            post_only=post_only,
            reduce_only=reduce_only,
            trigger=new.get("trigger"),
        )
        side = Side.BUY if new["is_buy"] else Side.SELL
        try:
            if not name:
                number = self.exchange.crowd_limit(self.ts, self.listing, side, new["price"], new["qty"])
                self.crowd.add(number)
            else:
                is_market, is_stop = new["price"] is None, "trigger" in new
                order_type = (OrderType.LIMIT, OrderType.MARKET, OrderType.STOP_LIMIT, OrderType.STOP)[2 * is_stop + is_market]
                wanted = NewOrder(
                    side=side,
                    qty=new["qty"],
                    price=new["price"],
                    trigger_price=new.get("trigger"),
                    order_type=order_type,
                    time_in_force=TimeInForce[tif],
                    post_only=post_only,
                    reduce_only=reduce_only,
                    client_id=f"c{self.random.randrange(5)}",
                )
                number = self.exchange.place(self.ts, self.exchange.accounts[name], self.listing, wanted).number
        except Refused as refused:
            self.log.append(f"  refused {refused.reason.name}")
            number = 0
        assert number == expected, self.log

    def _some(self) -> int:
        return self.random.choice(list(self.oracle.every) or [0])

    def _cancel(self) -> None:
        if number := self._some():
            self.log.append(f"cancel {number}")
            is_open = self.oracle.every[number].state in ("NEW", "PARTIALLY_FILLED", "UNTRIGGERED")
            self.oracle.cancel(number)
            if number in self.crowd:
                self.exchange.crowd_cancel(self.ts, number)
            elif is_open:
                self.exchange.cancel(self.ts, self.exchange.orders[number])
            else:
                with pytest.raises(Refused):
                    self.exchange.cancel(self.ts, self.exchange.orders[number])

    def _replace(self) -> None:
        number = self._some()
        order = self.exchange.orders.get(number)
        if order is None or order.state is State.UNTRIGGERED or order.price is None:
            return
        new = self._new()
        self.log.append(f"replace {number} {new}")
        expected = self.oracle.replace(number, new["qty"], new["price"])
        try:
            self.exchange.replace(self.ts, order, qty=new["qty"], price=new["price"])
            assert expected, self.log
        except Refused:
            assert not expected, self.log

    def _hit(self) -> None:
        number = self._some()
        order = self.exchange.orders.get(number)
        if order is None or order.state is State.UNTRIGGERED:
            return
        qty = 2 * self.random.randrange(1, 20)
        if order.reduce_only:
            qty = min(qty, self.oracle._reducible(self.oracle.every[number]))
            if not qty:
                return
        self.log.append(f"hit {number} {qty}")
        expected = self.oracle.hit(number, qty)
        try:
            self.exchange.hit(self.ts, order, qty)
            assert expected, self.log
        except Refused:
            assert not expected, self.log

    def compare(self) -> None:
        exchange, oracle = self.exchange, self.oracle
        fills = [
            {
                "account": fill.order.account.name,
                "number": fill.order.number,
                "is_buy": fill.order.side is Side.BUY,
                "price": fill.price,
                "qty": fill.qty,
                "is_maker": fill.is_maker,
            }
            for fill in exchange.fills
        ]
        assert fills == oracle.fills, self.log
        states = {n: (o.state.name, o.qty, o.filled_qty) for n, o in exchange.orders.items()}
        expected = {n: (o.state, o.qty, o.qty - o.left) for n, o in oracle.every.items() if o.account}
        assert states == expected, self.log
        for name, account in exchange.accounts.items():
            held = account.holding(self.listing)
            assert held.qty == oracle.position(name), self.log
            money = account.balances["USD"] - (0 if self.is_spot else held.value_open)
            assert money == oracle.quote(name), self.log
            if self.is_spot:
                assert account.balances["BTC"] == oracle.base(name), self.log
                assert exchange.books.available(account, "USD") == oracle.free_quote(name), self.log
                assert exchange.books.available(account, "BTC") == oracle.free_base(name), self.log
                assert account.balances["BTC"] >= 0, self.log
            assert [o.number for o in exchange.open_orders(account)] == sorted(
                o.number for o in (*oracle.book, *oracle.stops) if o.account == name
            ), self.log
        for order in exchange.orders.values():
            assert order.filled_qty <= order.qty
        exchange.check()

    def replayed(self) -> None:
        """What was told, put together, is what is."""
        told: dict[int, tuple[State, int, int]] = {}
        for change in self.told:
            order = change.order_then if isinstance(change, Fill) else change
            told[order.number] = (order.state, order.qty, order.filled_qty)
        assert told == {n: (o.state, o.qty, o.filled_qty) for n, o in self.exchange.orders.items()}, self.log
        assert [change.number for change in self.told if isinstance(change, Fill)] == [f.number for f in self.exchange.fills]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), is_spot=st.booleans())
def test_the_exchange_agrees_with_the_oracle(seed: int, is_spot: bool) -> None:
    pair = Pair(is_spot, seed)
    for _ in range(DEEDS):
        pair.deed()
    pair.replayed()
    assert {kind: len(rows) for kind, rows in pair.exchange.ledger().items()}["fills"] == len(pair.oracle.fills)
