"""ReferenceBook: the matching engine in plain Python, slow and obvious: the oracle of the C book, and its stand-in.

The semantics are those of book_api.h, report for report. Nothing here is shared with the C sources.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from native.book_types import (
    BookArgumentError,
    Clearing,
    Flag,
    Kind,
    OrderType,
    Reason,
    Report,
    SelfTrade,
    Side,
    Status,
    TimeInForce,
    require_range,
)
from native.reference_store import QUEUES, STOPS, Order, ReferenceStore, Symbol

POST_FLAGS = Flag.POST_ONLY | Flag.POST_ONLY_SLIDE
AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)
MARKET_TYPES = (OrderType.MARKET, OrderType.STOP)
STOP_TYPES = (OrderType.STOP, OrderType.STOP_LIMIT)


class ReferenceBook(ReferenceStore):
    """A book with the interface of NativeBook; every method documents itself there."""

    # ---- Validation ----

    @staticmethod
    def _fields_ok(ts: int, o: Order) -> bool:
        if o.order_id <= 0 or o.side > 1 or o.order_type > OrderType.STOP_LIMIT or o.time_in_force > TimeInForce.OPG:
            return False
        if o.flags > 7 or o.flags & POST_FLAGS == POST_FLAGS:
            return False
        if o.flags & POST_FLAGS and (o.order_type in MARKET_TYPES or o.time_in_force in (*AT_ONCE, TimeInForce.OPG)):
            return False
        if o.flags & Flag.REDUCE_ONLY and (o.owner == 0 or 0 < o.display_qty < o.qty):
            return False
        if o.time_in_force == TimeInForce.GTD and (o.expire_ts <= ts or o.order_type == OrderType.MARKET):
            return False
        return not (o.time_in_force == TimeInForce.OPG and o.order_type in STOP_TYPES)

    @staticmethod
    def _status_ok(s: Symbol, o: Order) -> bool:
        if s.status == Status.TRADING:
            return o.time_in_force != TimeInForce.OPG
        if s.status != Status.AUCTION:
            return False
        if o.order_type in STOP_TYPES or o.time_in_force == TimeInForce.OPG:
            return True
        return o.order_type == OrderType.LIMIT and o.time_in_force not in AT_ONCE

    @staticmethod
    def _qty_ok(s: Symbol, qty: int, display_qty: int) -> bool:
        if not s.qty_min <= qty <= s.qty_max or qty % s.lot:
            return False
        return display_qty >= 0 and (display_qty >= qty or display_qty % s.lot == 0)

    @staticmethod
    def _price_reason(s: Symbol, price: int) -> Reason:
        if not s.price_min <= price <= s.price_max:
            return Reason.BAD_PRICE
        return Reason.BAD_TICK if price % s.tick else Reason.NONE

    @staticmethod
    def _crosses(side: int, price: int, opposite: int) -> bool:
        return price >= opposite if side == Side.BUY else price <= opposite

    def _post_only_price(self, s: Symbol, side: int, flags: int, price: int) -> int | None:
        """Where a post-only order may rest; None: it has to be refused."""
        opposite = self._best(s, 1 - side)
        if not flags & POST_FLAGS or s.status != Status.TRADING or opposite is None or not self._crosses(side, price, opposite):
            return price
        if flags & Flag.POST_ONLY:
            return None
        slid = opposite - s.tick if side == Side.BUY else opposite + s.tick
        return slid if self._price_reason(s, slid) == Reason.NONE else None

    def _full(self, o: Order) -> bool:
        if not self._owner_known_or_room(o.owner):
            return True
        stop = o.order_type in STOP_TYPES
        limit_rests = o.order_type == OrderType.LIMIT and o.time_in_force not in AT_ONCE
        if not (stop or limit_rests or o.time_in_force == TimeInForce.OPG):
            return False
        if len(self._orders) >= self.orders_max:
            return True
        return not self._level_room(o.symbol, o.side + STOPS if stop else o.side, o.trigger_price if stop else o.price)

    def _reason(self, s: Symbol, ts: int, o: Order) -> Reason:
        """Why a new order is refused, the first that applies; o.price becomes the price it will have."""
        stop, market = o.order_type in STOP_TYPES, o.order_type in MARKET_TYPES
        if not self._fields_ok(ts, o):
            return Reason.BAD_FIELD
        if o.order_id in self._orders:
            return Reason.DUPLICATE_ID
        if not self._status_ok(s, o):
            return Reason.CLOSED
        if not self._qty_ok(s, o.qty, o.display_qty):
            return Reason.BAD_QTY
        if not market and (bad := self._price_reason(s, o.price)) != Reason.NONE:
            return bad
        if stop and self._price_reason(s, o.trigger_price) != Reason.NONE:
            return Reason.BAD_TRIGGER
        if market:
            o.price = 0
        if o.order_type == OrderType.MARKET and o.time_in_force == TimeInForce.OPG:
            # At the open a market order is a limit at the band's far edge.
            o.price = s.price_max // s.tick * s.tick if o.side == Side.BUY else -(-s.price_min // s.tick) * s.tick
            if self._price_reason(s, o.price) != Reason.NONE:
                return Reason.BAD_PRICE
        if not stop:
            if o.flags & Flag.REDUCE_ONLY and self._reducible(o.owner, o.symbol, o.side) == 0:
                return Reason.REDUCE_ONLY
            price = self._post_only_price(s, o.side, o.flags, o.price)
            if price is None:
                return Reason.POST_ONLY
            o.price = price
            if o.order_type == OrderType.MARKET and o.time_in_force != TimeInForce.OPG and not s.queues[1 - o.side]:
                return Reason.NO_LIQUIDITY
        return Reason.FULL if self._full(o) else Reason.NONE

    # ---- Messages ----

    def submit(
        self,
        ts: int,
        *,
        order_id: int,
        side: int,
        qty: int,
        price: int = 0,
        symbol: int = 0,
        owner: int = 0,
        order_type: int = OrderType.LIMIT,
        time_in_force: int = TimeInForce.GTC,
        flags: int = 0,
        trigger_price: int = 0,
        display_qty: int = 0,
        expire_ts: int = 0,
    ) -> list[Report]:
        for name, value in (("order_id", order_id), ("owner", owner), ("price", price), ("trigger_price", trigger_price)):
            require_range(name, value)
        for name, value in (("qty", qty), ("display_qty", display_qty), ("expire_ts", expire_ts)):
            require_range(name, value)
        for name, value in (("side", side), ("order_type", order_type), ("time_in_force", time_in_force), ("flags", flags)):
            require_range(name, value, 0, 255)
        s = self._symbol(symbol)
        self._begin(ts)
        fields = (order_id, owner, price, trigger_price, qty, display_qty, expire_ts, symbol)
        o = Order(*fields, int(side), int(order_type), int(time_in_force), int(flags))
        reason = self._reason(s, ts, o)
        if reason != Reason.NONE:
            self._report(Kind.REJECTED, reason, o, price, qty, 0)
            self._totals[5] += 1
            return self._done()
        if o.display_qty >= o.qty:
            o.display_qty = 0
        self._arrivals += 1
        o.arrival = self._arrivals
        self._orders[order_id] = o
        if owner:
            self._positions.setdefault(owner, {})
        self._totals[3] += 1
        self._report(Kind.ACCEPTED, Reason.NONE, o, o.price, o.qty, o.qty)
        if o.order_type in STOP_TYPES:
            if s.status == Status.TRADING and self._passed(s, o):
                self._activate(s, o)
                self._run_stops(s)
            else:
                self._park(o)
        elif s.status == Status.AUCTION:
            self._rest(o, o.side)
        else:
            self._enter(s, o)
            self._run_stops(s)
        return self._done()

    def limit(self, order_id: int, side: int, price: int, qty: int) -> list[Report]:
        return self.submit(self._ts, order_id=order_id, side=side, price=price, qty=qty)

    def cancel_fast(self, order_id: int) -> list[Report]:
        return self.cancel(self._ts, order_id)

    def batch(
        self,
        symbol: int,
        *,
        ts: np.ndarray,
        op: np.ndarray,
        order_id: np.ndarray,
        side: np.ndarray,
        price: np.ndarray,
        qty: np.ndarray,
        reports: np.ndarray | None = None,
    ) -> tuple[int, int]:
        self._symbol(symbol)
        columns = [column.tolist() for column in (ts, op, order_id, side, price, qty)]
        done = written = 0
        for at, what, number, direction, limit_price, quantity in zip(*columns, strict=True):
            # A message cannot be undone: stop where its reports might not fit.
            if reports is not None and len(reports) - written < self._reports_worst(symbol, what, quantity):
                break
            if what == 1:
                answer = self.cancel(at, number)
            else:
                # What is no order has no side either, and is refused for it.
                known = direction if what == 0 and direction in (0, 1) else QUEUES
                answer = self.submit(at, order_id=number, side=known, price=limit_price, qty=quantity, symbol=symbol)
            done += 1
            if reports is not None:
                kept = [row for row in answer if not (self._quiet and row.kind in (Kind.ACCEPTED, Kind.CANCELED))]
                reports[written : written + len(kept)] = [(*row, 0) for row in kept]
                written += len(kept)
        return done, written

    def _reports_worst(self, symbol: int, op: int, qty: int) -> int:
        queues = self._symbols[symbol].queues
        if op == 1:
            return 1
        peaks = sum(-(-o.leaves // (o.display_qty or o.leaves)) for queue in queues for orders in queue.values() for o in orders)
        if queues[STOPS] or queues[STOPS + 1]:
            return 4 * (2 * peaks + 4)
        return min(2 * peaks, max(1, qty) if self.stp_mode == SelfTrade.NONE else 2 * peaks) + 2

    def batch_quiet(self, on: bool) -> None:
        self._quiet = bool(on)

    def cancel(self, ts: int, order_id: int) -> list[Report]:
        self._begin(ts)
        o = self._orders.get(require_range("order_id", order_id))
        if o is None:
            return self._refused(Kind.CANCEL_REJECTED, Reason.UNKNOWN_ORDER, order_id, 0, 0, None)
        self._leave(o, Kind.CANCELED, Reason.REQUESTED)
        return self._done()

    def _replace_reason(self, s: Symbol, o: Order, qty: int, price: int) -> tuple[Reason, int]:
        parked_market = o.parked and o.order_type == OrderType.STOP
        if parked_market:
            price = 0
        if s.status not in (Status.TRADING, Status.AUCTION):
            return Reason.CLOSED, price
        if not self._qty_ok(s, qty, 0):
            return Reason.BAD_QTY, price
        if not parked_market and (bad := self._price_reason(s, price)) != Reason.NONE:
            return bad, price
        if qty == o.leaves and price == o.price:
            return Reason.NO_CHANGE, price
        if o.parked or (price == o.price and qty < o.leaves):
            return Reason.NONE, price
        if o.flags & Flag.REDUCE_ONLY and self._reducible(o.owner, o.symbol, o.side) == 0:
            return Reason.REDUCE_ONLY, price
        slid = self._post_only_price(s, o.side, o.flags, price)
        if slid is None:
            return Reason.POST_ONLY, price
        # Its own level is free again if nobody else stands there.
        alone = len(s.queues[o.queue][self._key(o)]) == 1
        return (Reason.NONE if alone or self._level_room(o.symbol, o.side, slid) else Reason.FULL), slid

    def replace(self, ts: int, order_id: int, qty: int, price: int) -> list[Report]:
        self._begin(ts)
        require_range("qty", qty)
        require_range("price", price)
        o = self._orders.get(require_range("order_id", order_id))
        if o is None:
            return self._refused(Kind.REPLACE_REJECTED, Reason.UNKNOWN_ORDER, order_id, price, qty, None)
        s = self._symbols[o.symbol]
        reason, new_price = self._replace_reason(s, o, qty, price)
        if reason != Reason.NONE:
            return self._refused(Kind.REPLACE_REJECTED, reason, order_id, price, qty, o)
        self._report(Kind.REPLACED, Reason.NONE, o, new_price, qty, qty)
        if new_price == o.price and qty < o.leaves:
            self._shrink(o, o.leaves - qty)
            return self._done()
        parked = o.parked
        self._unlink(o)
        o.price, o.qty, o.hidden = new_price, qty, 0
        if parked:
            self._park(o)
        elif s.status == Status.AUCTION:
            self._rest(o, o.side)
        else:
            self._enter(s, o)
            self._run_stops(s)
        return self._done()

    def _sweep(self, symbol: int, side: int, rule: Callable[[Order], bool], kind: int, reason: int) -> list[Report]:
        chosen = self._symbols if symbol == -1 else [self._symbol(symbol)]
        for s in chosen:
            for queue in range(QUEUES):
                if side in (-1, queue % STOPS):
                    for o in self._in_priority(s, queue):
                        if rule(o):
                            self._leave(o, kind, reason)
        return self._done()

    def mass_cancel(self, ts: int, *, owner: int = 0, symbol: int = -1, side: int = -1) -> list[Report]:
        require_range("owner", owner)
        require_range("side", side, -1, 1)
        self._begin(ts)
        return self._sweep(symbol, side, lambda o: owner in (0, o.owner), Kind.CANCELED, Reason.MASS_CANCEL)

    def end_of_day(self, ts: int, symbol: int = -1) -> list[Report]:
        self._begin(ts)
        day = (TimeInForce.DAY, TimeInForce.OPG)
        return self._sweep(symbol, -1, lambda o: o.time_in_force in day, Kind.EXPIRED, Reason.NONE)

    def advance(self, ts: int) -> list[Report]:
        self._begin(ts)
        due = [o for o in self._orders.values() if o.time_in_force == TimeInForce.GTD and o.expire_ts <= ts]
        for o in sorted(due, key=lambda o: (o.expire_ts, o.arrival)):
            self._leave(o, Kind.EXPIRED, Reason.NONE)
        return self._done()

    def _resting(self, order_id: int, qty: int) -> tuple[Order | None, Reason]:
        require_range("qty", qty)
        o = self._orders.get(require_range("order_id", order_id))
        if o is None or o.parked:
            return o, Reason.UNKNOWN_ORDER
        return o, Reason.NONE if 0 < qty <= o.leaves else Reason.BAD_QTY

    def execute_resting(self, ts: int, order_id: int, qty: int) -> list[Report]:
        self._begin(ts)
        o, reason = self._resting(order_id, qty)
        if o is None or reason != Reason.NONE:
            return self._refused(Kind.CANCEL_REJECTED, reason, order_id, 0, qty, o)
        s = self._symbols[o.symbol]
        row = (0, order_id, o.price, qty, 0, o.leaves - qty, o.symbol, int(Kind.TRADE), int(Reason.NONE), 1 - o.side)
        self._reports.append(Report(ts, *row))
        self._count_trade(s, o.price, qty)
        self._position_add(o.owner, o.symbol, o.side, qty)
        while qty > 0:
            hit = min(qty, o.qty)
            qty -= hit
            self._take(o, hit)
        self._run_stops(s)
        return self._done()

    def reduce(self, ts: int, order_id: int, qty: int) -> list[Report]:
        self._begin(ts)
        o, reason = self._resting(order_id, qty)
        if o is None or reason != Reason.NONE:
            return self._refused(Kind.CANCEL_REJECTED, reason, order_id, 0, qty, o)
        if qty == o.leaves:
            self._leave(o, Kind.CANCELED, Reason.REQUESTED)
        else:
            self._shrink(o, qty)
            self._report(Kind.RESTATED, Reason.REQUESTED, o, o.price, qty, o.leaves)
        return self._done()

    # ---- Matching ----

    def _enter(self, s: Symbol, t: Order) -> None:
        """A live order: held to its reduce-only limit, matched, and what is left rests or leaves."""
        if t.flags & Flag.REDUCE_ONLY:
            allowed = self._reducible(t.owner, t.symbol, t.side)
            if allowed == 0:
                self._leave(t, Kind.CANCELED, Reason.REDUCE_ONLY)
                return
            self._hold_to(t, allowed)
        if t.time_in_force == TimeInForce.FOK and not self._fillable(s, t):
            self._leave(t, Kind.CANCELED, Reason.FOK)
            return
        faced = bool(s.queues[1 - t.side])
        while t.qty and t.order_id in self._orders and (maker := self._next_maker(s, t)) is not None:
            self._meet(s, t, maker)
        if t.order_id not in self._orders:
            return
        if t.qty == 0:
            self._remove(t)
        elif t.order_type in MARKET_TYPES:
            self._leave(t, Kind.CANCELED, Reason.IOC if faced else Reason.NO_LIQUIDITY)
        elif t.time_in_force in AT_ONCE:
            self._leave(t, Kind.CANCELED, Reason.IOC)
        elif not self._level_room(t.symbol, t.side, t.price):
            self._leave(t, Kind.CANCELED, Reason.FULL)
        else:
            self._rest(t, t.side)

    def _hold_to(self, o: Order, allowed: int) -> None:
        if allowed < o.leaves:
            removed = o.leaves - allowed
            self._shrink(o, removed)
            self._report(Kind.RESTATED, Reason.REDUCE_ONLY, o, o.price, removed, allowed)

    def _reach(self, t: Order, price: int) -> bool:
        return t.order_type in MARKET_TYPES or self._crosses(t.side, t.price, price)

    def _next_maker(self, s: Symbol, t: Order) -> Order | None:
        best = self._best(s, 1 - t.side)
        if best is None or not self._reach(t, best):
            return None
        return s.queues[1 - t.side][best][0]

    def _own(self, t: Order, maker: Order) -> bool:
        return self.stp_mode != SelfTrade.NONE and t.owner != 0 and t.owner == maker.owner

    def _fillable(self, s: Symbol, t: Order) -> bool:
        """Own orders (under self-trade prevention) and reduce-only makers do not count; own orders that do not step aside
        are a wall, in front of whatever is hidden at their price."""
        found = 0
        for price in self._prices(s, 1 - t.side):
            if not self._reach(t, price):
                break
            level = s.queues[1 - t.side][price]
            for maker in level:
                if self._own(t, maker):
                    if self.stp_mode != SelfTrade.CANCEL_OLDEST:
                        return found >= t.qty
                elif not maker.flags & Flag.REDUCE_ONLY:
                    found += maker.qty
            found += sum(maker.hidden for maker in level if not self._own(t, maker))
        return found >= t.qty

    def _meet(self, s: Symbol, t: Order, maker: Order) -> None:
        if self._own(t, maker):
            self._self_trade(t, maker)
            return
        if maker.flags & Flag.REDUCE_ONLY:
            allowed = self._reducible(maker.owner, maker.symbol, maker.side)
            if allowed == 0:
                self._leave(maker, Kind.CANCELED, Reason.REDUCE_ONLY)
                return
            self._hold_to(maker, allowed)
        qty, price = min(t.qty, maker.qty), maker.price
        t.qty -= qty
        self._report(Kind.TRADE, Reason.NONE, t, price, qty, t.qty, maker.order_id, maker.leaves - qty)
        self._count_trade(s, price, qty)
        self._position_add(t.owner, t.symbol, t.side, qty)
        self._position_add(maker.owner, maker.symbol, maker.side, qty)
        self._take(maker, qty)

    def _self_trade(self, t: Order, maker: Order) -> None:
        if self.stp_mode == SelfTrade.DECREMENT:
            qty = min(t.qty, maker.leaves)
            for o in (maker, t):
                if qty == o.leaves:
                    self._leave(o, Kind.CANCELED, Reason.SELF_TRADE)
                else:
                    self._shrink(o, qty)
                    self._report(Kind.RESTATED, Reason.SELF_TRADE, o, o.price, qty, o.leaves)
            return
        if self.stp_mode in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
            self._leave(maker, Kind.CANCELED, Reason.SELF_TRADE)
        if self.stp_mode in (SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH):
            self._leave(t, Kind.CANCELED, Reason.SELF_TRADE)

    # ---- Stops ----

    @staticmethod
    def _passed(s: Symbol, o: Order) -> bool:
        if s.last_price is None:
            return False
        return s.last_price >= o.trigger_price if o.side == Side.BUY else s.last_price <= o.trigger_price

    def _park(self, o: Order) -> None:
        o.queue = o.side + STOPS
        self._symbols[o.symbol].queues[o.queue].setdefault(o.trigger_price, []).append(o)

    def _activate(self, s: Symbol, o: Order) -> None:
        self._report(Kind.TRIGGERED, Reason.NONE, o, o.price, o.qty, o.qty)
        price = self._post_only_price(s, o.side, o.flags, o.price)
        if price is None:
            self._leave(o, Kind.CANCELED, Reason.POST_ONLY)
            return
        o.price = price
        self._enter(s, o)

    def _run_stops(self, s: Symbol) -> None:
        """Stops that a trade price since the last look has reached, one by one: buys first, then trigger price, then time."""
        while s.status == Status.TRADING and s.traded:
            buy, sell = self._best(s, STOPS), self._best(s, STOPS + 1)
            if buy is not None and buy <= max(s.traded):
                o = s.queues[STOPS][buy][0]
            elif sell is not None and sell >= min(s.traded):
                o = s.queues[STOPS + 1][sell][0]
            else:
                break
            self._unlink(o)
            self._activate(s, o)
        s.traded.clear()

    # ---- Auctions ----

    def auction_begin(self, symbol: int) -> None:
        self._symbol(symbol).status = Status.AUCTION

    def auction_price(self, symbol: int, reference_price: int) -> Clearing | None:
        """Tries every price where demand or supply changes, its neighbours, and the ticks around the reference."""
        s = self._symbol(symbol)
        require_range("reference_price", reference_price)
        best_bid, best_ask = self._best(s, Side.BUY), self._best(s, Side.SELL)
        if best_bid is None or best_ask is None or best_bid < best_ask:
            return None
        around = reference_price // s.tick * s.tick
        candidates = {around, around + s.tick}
        for price in (*s.queues[Side.BUY], *s.queues[Side.SELL]):
            candidates |= {price - s.tick, price, price + s.tick}
        found = []
        for price in candidates:
            if best_ask <= price <= best_bid:
                demand = sum(o.leaves for at, queue in s.queues[Side.BUY].items() if at >= price for o in queue)
                supply = sum(o.leaves for at, queue in s.queues[Side.SELL].items() if at <= price for o in queue)
                found.append(Clearing(price, min(demand, supply), demand - supply))
        return min(found, key=lambda c: (-c.volume, abs(c.imbalance), abs(c.price - reference_price), c.price))

    def uncross(self, ts: int, symbol: int, reference_price: int) -> list[Report]:
        s = self._symbol(symbol)
        if s.status != Status.AUCTION:
            raise BookArgumentError(f"uncross: symbol {symbol} has no auction open")
        self._begin(ts)
        for queue in (Side.BUY, Side.SELL):
            self._hold_reduce_only(s, queue)
        clearing = self.auction_price(symbol, reference_price)
        if clearing is not None:
            self._trade_at(s, clearing.price)
        for queue in (Side.BUY, Side.SELL):
            for o in self._in_priority(s, queue):
                if o.time_in_force == TimeInForce.OPG:
                    self._leave(o, Kind.EXPIRED, Reason.NONE)
        s.status = Status.TRADING
        s.traded = [] if s.last_price is None else [s.last_price]
        self._run_stops(s)
        return self._done()

    def _hold_reduce_only(self, s: Symbol, queue: int) -> None:
        """Each reduce-only order to what its owner's orders ahead of it leave over of the position."""
        ahead: dict[int, int] = {}
        for o in self._in_priority(s, queue):
            if o.flags & Flag.REDUCE_ONLY:
                allowed = self._reducible(o.owner, o.symbol, o.side) - ahead.get(o.owner, 0)
                if allowed <= 0:
                    self._leave(o, Kind.CANCELED, Reason.REDUCE_ONLY)
                    continue
                self._hold_to(o, allowed)
            ahead[o.owner] = ahead.get(o.owner, 0) + o.leaves

    def _trade_at(self, s: Symbol, price: int) -> None:
        while True:
            bid, ask = self._best(s, Side.BUY), self._best(s, Side.SELL)
            if bid is None or ask is None or bid < price or ask > price:
                return
            buy, sell = s.queues[Side.BUY][bid][0], s.queues[Side.SELL][ask][0]
            qty = min(buy.qty, sell.qty)
            self._report(Kind.TRADE, Reason.NONE, buy, price, qty, buy.leaves - qty, sell.order_id, sell.leaves - qty)
            self._count_trade(s, price, qty)
            for o in (buy, sell):
                self._position_add(o.owner, o.symbol, o.side, qty)
                self._take(o, qty)
