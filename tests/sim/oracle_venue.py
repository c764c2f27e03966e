"""OracleVenue: the level-2 simulated venue once more, slow and obvious: lists, dicts and loops, one global order of time.

Written from the rules stated at the top of native/venue.c and native/venue_l2.c; shares no code with them. The whole tape is
given at once. Events are tuples like NativeVenue's. Float arithmetic of the queue model is done in the order the formula is
written, so that results are equal to the last bit (power n in {1, 2, 3} and risk-averse; ln differs between libraries and is
not tried here).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LEVEL, TRADE, CLEAR, BBO, HIDDEN, STATUS, GAP = 0, 1, 2, 3, 13, 15, 16
QUOTE, EV_TRADE, TIMER, EV_STATUS, EV_GAP = 1, 2, 3, 4, 5
ACCEPTED, REJECTED, FILL, CANCELED, EXPIRED, REPLACED, TRIGGERED, CANCEL_REJECTED, REPLACE_REJECTED, RESTATED = range(10, 20)
LIMIT, MARKET, STOP, STOP_LIMIT = range(4)
GTC, IOC, FOK, DAY, GTD = range(5)
POST_ONLY, SLIDE, REDUCE_ONLY = 1, 2, 4
NEVER = (1 << 63) - 1

R_REQUESTED, R_IOC, R_FOK, R_POST_ONLY, R_SELF_TRADE, R_REDUCE_ONLY, R_UNKNOWN, R_DUPLICATE, R_BAD_PRICE, R_BAD_TICK = range(
    1, 11
)
R_BAD_QTY, R_BAD_FIELD, R_NO_LIQUIDITY, R_MASS_CANCEL, R_CLOSED, _R_FULL, R_NO_CHANGE, R_BAD_TRIGGER = range(11, 19)
CANCEL_NEWEST, CANCEL_OLDEST, CANCEL_BOTH, DECREMENT = 1, 2, 3, 4

Event = tuple[int, ...]


@dataclass
class Row:
    ts_event: int
    ts_init: int
    kind: int
    side: int
    price: int
    qty: int
    is_last: bool


@dataclass
class Order:
    id: int
    side: int
    order_type: int
    tif: int
    flags: int
    price: int
    trigger: int
    leaves: int
    display: int
    expire: int
    shown: int = 0
    ahead: float = 0.0
    traded: int = 0
    is_parked: bool = False
    entered: int = 0  # when it joined its queue


@dataclass
class Rules:
    tick: int = 1
    lot: int = 1
    qty_min: int = 1
    qty_max: int = 10**15
    price_min: int = 1
    price_max: int = 10**15
    power: float = 0.0  # 0: risk-averse
    wake: int = 0
    interval: int = 0
    day: int = 0  # length of a day; 0: days end only by end_of_day
    day_offset: int = 0  # a day ends at a multiple of `day` plus this


@dataclass
class View:
    """Levels as one clock knows them."""

    side: list[dict[int, int]] = field(default_factory=lambda: [{}, {}])
    has_levels: list[bool] = field(default_factory=lambda: [False, False])

    def best(self, side: int) -> int | None:
        prices = self.side[side]
        if not prices:
            return None
        return min(prices) if side else max(prices)


def better(side: int, a: int, b: int) -> bool:
    """Is a a better resting price than b on this side?"""
    return a < b if side else a > b


def down(value: int, lot: int) -> int:
    return value - value % lot


class OracleVenue:
    def __init__(self, rules: Rules, rows: list[Row], *, entry: int, response: int, stp: int) -> None:
        self.rules = rules
        self.rows = rows
        self.entry, self.response = entry, response
        self.stp = stp or CANCEL_NEWEST
        self.at_venue = self.at_local = 0
        self.commands: list[tuple[int, tuple[Any, ...]]] = []
        self.answers: list[Event] = []
        self.inbox: list[Event] = []
        self.timers: list[tuple[int, int, int]] = []
        self.sequence = 0
        self.now = self.venue_now = -(1 << 63)
        self.wakes = False
        self.is_done = False
        # Local view.
        self.local = View()
        self.quoted: tuple[tuple[int | None, int], tuple[int | None, int]] = ((None, 0), (None, 0))
        self.quoted_at = -(1 << 62)
        self.quote_due = NEVER
        self.packet_ts = 0
        self.local_gap = False
        # The venue.
        self.book = View()
        self.taken: list[dict[int, int]] = [{}, {}]
        self.orders: list[Order] = []
        self.position = 0
        self.last: int | None = None
        self.prints: list[int] = []
        self.status = 0
        self.gap = False
        self.executions = 0
        self.crossed = 0

    # Time.

    def run(self, until: int) -> list[Event]:
        while True:
            if self.wakes:
                return self._deliver()
            if self.at_local == len(self.rows) and not self.commands and not self.answers:
                if self.inbox:
                    return self._deliver()
                self.is_done = True
                return []
            local = self._next_local()
            venue = self._next_venue()
            if venue is not None and venue[0] <= min(local[0], until):
                self.venue_now = max(self.venue_now, venue[0])
                venue[1]()
            elif local[0] <= until:
                self.now = max(self.now, local[0])
                local[1]()
            else:
                self.now = until
                return []

    def _deliver(self) -> list[Event]:
        events, self.inbox, self.wakes = self.inbox, [], False
        return events

    def _next_venue(self) -> tuple[int, Any] | None:
        """The earliest thing at the venue; at one time expiries, rows, commands."""
        things: list[tuple[int, int, Any]] = []
        expiries = [order.expire for order in self.orders if order.expire != NEVER]
        if expiries:
            things.append((min(expiries), 0, self._expire))
        if self.at_venue < len(self.rows):
            things.append((self.rows[self.at_venue].ts_event, 1, self._venue_row))
        if self.commands:
            things.append((self.commands[0][0], 2, self._command))
        if not things:
            return None
        ts, _, action = min(things, key=lambda thing: thing[:2])
        return ts, action

    def _next_local(self) -> tuple[int, Any]:
        """The earliest local thing; at one time answers, rows, timers, quotes."""
        things: list[tuple[int, int, Any]] = []
        if self.answers:
            things.append((self.answers[0][0], 0, self._answers))
        if self.at_local < len(self.rows):
            things.append((self.rows[self.at_local].ts_init, 1, self._local_row))
        if self.timers:
            things.append((min(self.timers)[0], 2, self._timer))
        if self.quote_due != NEVER:
            things.append((self.quote_due, 3, self._quote_is_due))
        if not things:
            return NEVER, None
        ts, _, action = min(things, key=lambda thing: thing[:2])
        return ts, action

    # Local.

    def _answers(self) -> None:
        ts = self.answers[0][0]
        while self.answers and self.answers[0][0] <= ts:
            event = self.answers.pop(0)
            self.inbox.append(event)
            if event[2] == FILL or event[3] < 0 or self.rules.wake & 16:
                self.wakes = True

    def _timer(self) -> None:
        first = min(self.timers)
        self.timers.remove(first)
        self.inbox.append((self.now, first[0], TIMER, -1, 0, first[2], 0, 0, 0, 0))
        self.wakes = True

    def _local_row(self) -> None:
        row = self.rows[self.at_local]
        self.at_local += 1
        wake = self.rules.wake
        match row.kind:
            case 0:
                apply_level(self.local, row)
            case 3:
                apply_bbo(self.local, row)
            case 2:
                self.local = View()
                self.local_gap = False
            case 1 | 13:
                if wake & 8:
                    self.inbox.append((self.now, row.ts_event, EV_TRADE, 0, 0, row.price, row.qty, row.side, 0, 0))
                    self.wakes = True
            case 15:
                self.inbox.append((self.now, row.ts_event, EV_STATUS, 0, 0, row.price, 0, 0, 0, 0))
                self.wakes |= bool(wake & 32)
            case 16:
                self.local_gap = True
                self.inbox.append((self.now, row.ts_event, EV_GAP, 0, 0, 0, 0, 0, 0, 0))
                self.wakes |= bool(wake & 32)
        if row.is_last:
            self.packet_ts = row.ts_event
            if wake & 7 and self._quote_changed() and not self.local_gap:
                if self.now >= self.quoted_at + self.rules.interval:
                    self._quote()
                elif self.quote_due == NEVER:
                    self.quote_due = self.quoted_at + self.rules.interval

    def _top(self) -> tuple[tuple[int | None, int], tuple[int | None, int]]:
        bid, ask = self.local.best(0), self.local.best(1)
        return (
            (bid, self.local.side[0].get(bid, 0) if bid is not None else 0),
            (ask, self.local.side[1].get(ask, 0) if ask is not None else 0),
        )

    def _quote_changed(self) -> bool:
        top = self._top()
        prices_differ = (top[0][0], top[1][0]) != (self.quoted[0][0], self.quoted[1][0])
        return prices_differ or bool(self.rules.wake & 4) or (bool(self.rules.wake & 2) and top != self.quoted)

    def _quote(self) -> None:
        self.quoted = self._top()
        self.quoted_at = self.now
        self.quote_due = NEVER
        (bid, bid_qty), (ask, ask_qty) = self.quoted
        self.inbox.append((self.now, self.packet_ts, QUOTE, 0, 0, bid or 0, bid_qty, ask or 0, ask_qty, 0))
        self.wakes = True

    def _quote_is_due(self) -> None:
        self.quote_due = NEVER
        if not self.local_gap and self._quote_changed():
            self._quote()

    # Commands.

    def _send(self, *command: Any) -> None:
        self.commands.append((self.now + self.entry, command))

    def submit(self, order: Order) -> None:
        self._send("submit", order)

    def cancel(self, order_id: int) -> None:
        self._send("cancel", order_id)

    def replace(self, order_id: int, qty: int, price: int) -> None:
        self._send("replace", order_id, qty, price)

    def mass_cancel(self) -> None:
        self._send("mass")

    def timer(self, ts: int, timer_id: int) -> None:
        self.timers = [timer for timer in self.timers if timer[2] != timer_id]
        self.sequence += 1
        self.timers.append((ts, self.sequence, timer_id))

    def end_of_day(self) -> None:
        self.venue_now = max(self.venue_now, self.now)
        for order in self._all():
            if order.tif == DAY:
                self._leave(order, EXPIRED, 0)

    def _answer(self, kind: int, order_id: int, *values: int, instrument: int = 0) -> None:
        padded = (*values, 0, 0, 0, 0, 0)[:5]
        self.answers.append((self.venue_now + self.response, self.venue_now, kind, instrument, order_id, *padded))

    def _all(self) -> list[Order]:
        """Bids best first, asks best first, stops by arrival."""
        resting = [self._queue(side) for side in (0, 1)]
        return resting[0] + resting[1] + [order for order in self.orders if order.is_parked]

    def _queue(self, side: int) -> list[Order]:
        mine = [order for order in self.orders if order.side == side and not order.is_parked]
        return sorted(mine, key=lambda order: (order.price if side else -order.price, order.entered))

    def _find(self, order_id: int) -> Order | None:
        return next((order for order in self.orders if order.id == order_id), None)

    def _expire(self) -> None:
        first = min(order.expire for order in self.orders)
        for order in self._all():
            if order.expire <= first:
                self._leave(order, EXPIRED, 0)

    def _end(self, order: Order) -> int:
        if order.tif == DAY and self.rules.day:
            end = self.rules.day_offset
            while end <= self.venue_now:
                end += self.rules.day
            return end
        return order.expire if order.tif == GTD else NEVER

    def _leave(self, order: Order, kind: int, reason: int) -> None:
        self.orders.remove(order)
        self._answer(kind, order.id, order.leaves, reason)

    def _command(self) -> None:
        _, command = self.commands.pop(0)
        match command:
            case ("submit", order):
                reason = self._refusal(order)
                if reason:
                    self._answer(REJECTED, order.id, reason)
                else:
                    order.expire = self._end(order)
                    self._accept(order)
            case ("cancel", order_id):
                found = self._find(order_id)
                if found is None:
                    self._answer(CANCEL_REJECTED, order_id, R_UNKNOWN, instrument=-1)
                else:
                    self._leave(found, CANCELED, R_REQUESTED)
            case ("replace", order_id, qty, price):
                found = self._find(order_id)
                if found is None:
                    self._answer(REPLACE_REJECTED, order_id, R_UNKNOWN, instrument=-1)
                else:
                    self._replace(found, qty, price)
            case _:
                for order in self._all():
                    self._leave(order, CANCELED, R_MASS_CANCEL)

    def _price_refusal(self, price: int) -> int:
        if not self.rules.price_min <= price <= self.rules.price_max:
            return R_BAD_PRICE
        return R_BAD_TICK if price % self.rules.tick else 0

    def _qty_refusal(self, qty: int) -> int:
        fits = self.rules.qty_min <= qty <= self.rules.qty_max and qty % self.rules.lot == 0
        return 0 if fits else R_BAD_QTY

    def _refusal(self, order: Order) -> int:
        post = order.flags & (POST_ONLY | SLIDE)
        if post and (order.order_type in (MARKET, STOP) or order.tif in (IOC, FOK) or post == POST_ONLY | SLIDE):
            return R_BAD_FIELD
        if order.flags & REDUCE_ONLY and 0 < order.display < order.leaves:
            return R_BAD_FIELD
        if order.tif == GTD and (order.expire <= self.venue_now or order.order_type == MARKET):
            return R_BAD_FIELD
        if self._find(order.id):
            return R_DUPLICATE
        if self.status in (1, 3):
            return R_CLOSED
        is_immediate = order.order_type == MARKET or order.tif in (IOC, FOK)
        if self.status == 2 and is_immediate and order.order_type not in (STOP, STOP_LIMIT):
            return R_CLOSED
        reason = self._qty_refusal(order.leaves)
        if reason:
            return reason
        if order.display < 0 or (order.display < order.leaves and order.display % self.rules.lot):
            return R_BAD_QTY
        if order.order_type in (LIMIT, STOP_LIMIT):
            reason = self._price_refusal(order.price)
            if reason:
                return reason
        if order.order_type in (STOP, STOP_LIMIT) and self._price_refusal(order.trigger):
            return R_BAD_TRIGGER
        return 0

    # The exchange.

    @property
    def _continuous(self) -> bool:
        return self.status == 0 and not self.gap

    def _available(self, side: int) -> list[tuple[int, int]]:
        """Recorded levels with a whole lot left that we did not take, best first."""
        levels = [
            (price, down(qty - self.taken[side].get(price, 0), self.rules.lot)) for price, qty in self.book.side[side].items()
        ]
        return sorted([level for level in levels if level[1] > 0], reverse=side == 0)

    def depth(self, side: int) -> list[tuple[int, int]]:
        """The recorded book less what we took."""
        levels = [(price, qty - self.taken[side].get(price, 0)) for price, qty in self.book.side[side].items()]
        return sorted([level for level in levels if level[1] > 0], reverse=side == 0)

    def _reaches(self, order: Order, price: int) -> bool:
        if order.order_type in (MARKET, STOP):
            return True
        return price <= order.price if order.side == 0 else price >= order.price

    def _would_take(self, order: Order) -> bool:
        return any(self._reaches(order, price) for price in self._facing_prices(order))

    def _facing_prices(self, order: Order) -> list[int]:
        """The best recorded and the best own price on the other side."""
        other = 1 - order.side
        own = [each.price for each in self._queue(other)[:1] if each is not order]
        return [price for price, _ in self._available(other)[:1]] + own

    def _ahead(self, order: Order) -> int:
        whole = int(order.ahead)
        whole += whole < order.ahead
        return -(-whole // self.rules.lot) * self.rules.lot

    def _reducible(self, side: int) -> int:
        return down(max(-self.position if side == 0 else self.position, 0), self.rules.lot)

    def _entry_refusal(self, order: Order) -> int:
        if order.flags & REDUCE_ONLY and self._reducible(order.side) == 0:
            return R_REDUCE_ONLY
        if not self._continuous:
            return R_CLOSED if order.order_type in (MARKET, STOP) or order.tif in (IOC, FOK) else 0
        if order.order_type == MARKET:
            return 0 if self._would_take(order) else R_NO_LIQUIDITY
        if order.flags & (POST_ONLY | SLIDE) and self._would_take(order):
            return 0 if order.flags & SLIDE and self._slide(order) else R_POST_ONLY
        return 0

    def _slide(self, order: Order) -> bool:
        prices = self._facing_prices(order)
        best = min(prices) - self.rules.tick if order.side == 0 else max(prices) + self.rules.tick
        if not self.rules.price_min <= best <= self.rules.price_max:
            return False
        order.price = best
        return True

    def _accept(self, order: Order) -> None:
        if order.display >= order.leaves:
            order.display = 0  # all displayed, and no iceberg later either
        if order.order_type in (STOP, STOP_LIMIT):
            order.is_parked = True
            self.orders.append(order)
            self._answer(ACCEPTED, order.id, order.price, order.leaves)
            if self.last is not None and self._continuous and self._is_reached(order, self.last, self.last):
                self._trigger(order)
            return
        reason = self._entry_refusal(order)
        if reason:
            self._answer(REJECTED, order.id, reason)
            return
        self._answer(ACCEPTED, order.id, order.price, order.leaves)
        self._enter(order)

    @staticmethod
    def _is_reached(order: Order, low: int, high: int) -> bool:
        return high >= order.trigger if order.side == 0 else low <= order.trigger

    def _trigger(self, order: Order) -> None:
        self.orders.remove(order)
        order.is_parked = False
        self._answer(TRIGGERED, order.id)
        reason = self._entry_refusal(order)
        if reason:
            self._answer(CANCELED, order.id, order.leaves, reason)
        else:
            self._enter(order)

    def _hold_reduce_only(self, order: Order) -> bool:
        if not order.flags & REDUCE_ONLY:
            return True
        allowed = self._reducible(order.side)
        if allowed and allowed < order.leaves:
            order.leaves = allowed
            order.shown = min(order.shown, allowed)
            self._answer(RESTATED, order.id, allowed, R_REDUCE_ONLY)
        return allowed > 0

    def _enter(self, order: Order) -> None:
        is_market = order.order_type in (MARKET, STOP)
        if not self._hold_reduce_only(order):
            self._answer(CANCELED, order.id, order.leaves, R_REDUCE_ONLY)
            return
        if order.tif == FOK and self._takeable(order) < order.leaves:
            self._answer(CANCELED, order.id, order.leaves, R_FOK)
            return
        is_faced = self._would_take(order)
        if self._continuous:
            self._take(order)
        else:
            while order.leaves and (facing := self._queue(1 - order.side)) and self._reaches(order, facing[0].price):
                self._self_trade(order, facing[0])
        if order.leaves and not is_market and order.tif not in (IOC, FOK):
            self._join(order)
        elif order.leaves:
            self._answer(CANCELED, order.id, order.leaves, R_NO_LIQUIDITY if is_market and not is_faced else R_IOC)

    def _join(self, order: Order) -> None:
        self.sequence += 1
        order.entered = self.sequence
        order.shown = min(order.display, order.leaves) if order.display else order.leaves
        level = self.book.side[order.side].get(order.price, 0) - self.taken[order.side].get(order.price, 0)
        order.ahead, order.traded = float(level), 0
        self.orders.append(order)

    def _takeable(self, order: Order) -> int:
        other = 1 - order.side
        own = self._queue(other)
        total = 0
        for price, qty in self._available(other):
            if not self._reaches(order, price) or total >= order.leaves:
                break
            if own and self.stp != CANCEL_OLDEST and not better(other, price, own[0].price):
                if price == own[0].price:
                    total += min(qty, self._ahead(own[0]))
                break
            total += qty
        return total

    def _fill(self, order: Order, price: int, qty: int, taker: int) -> None:
        order.leaves -= qty
        order.shown -= min(qty, order.shown)
        self.position += qty if order.side == 0 else -qty
        self.executions += 1
        self._answer(FILL, order.id, price, qty, order.leaves, taker + 2 * order.side, self.executions)

    def _take(self, order: Order) -> None:
        other = 1 - order.side
        while order.leaves:
            levels, own = self._available(other), self._queue(other)
            prices = [price for price in self._facing_prices(order) if self._reaches(order, price)]
            if not prices:
                return
            best = min(prices) if other else max(prices)
            available = levels[0][1] if levels and levels[0][0] == best else 0
            maker = own[0] if own and own[0].price == best else None
            if maker is not None:
                available = min(available, self._ahead(maker))
            if available:
                qty = min(available, order.leaves)
                self.taken[other][best] = self.taken[other].get(best, 0) + qty
                for each in own:
                    if each.price == best:
                        each.ahead = max(each.ahead - qty, 0.0)
                self._fill(order, best, qty, 1)
            else:
                assert maker is not None
                self._self_trade(order, maker)

    def _self_trade(self, taker: Order, maker: Order) -> None:
        if self.stp == DECREMENT:
            qty = min(taker.leaves, maker.leaves)
            for order in (maker, taker):
                if order.leaves > qty:
                    order.leaves -= qty
                    order.shown = min(order.shown, order.leaves)
                    self._answer(RESTATED, order.id, order.leaves, R_SELF_TRADE)
                elif order is maker:
                    self._leave(order, CANCELED, R_SELF_TRADE)
                else:
                    self._answer(CANCELED, order.id, qty, R_SELF_TRADE)
                    order.leaves = 0
            return
        if self.stp in (CANCEL_OLDEST, CANCEL_BOTH):
            self._leave(maker, CANCELED, R_SELF_TRADE)
        if self.stp in (CANCEL_NEWEST, CANCEL_BOTH):
            self._answer(CANCELED, taker.id, taker.leaves, R_SELF_TRADE)
            taker.leaves = 0

    def _replace(self, order: Order, qty: int, price: int) -> None:
        is_priced = order.order_type in (LIMIT, STOP_LIMIT)
        reason = R_CLOSED if self.status in (1, 3) else self._qty_refusal(qty)
        if not reason and is_priced:
            reason = self._price_refusal(price)
        if not is_priced:
            price = order.price
        if not reason and (qty, price) == (order.leaves, order.price):
            reason = R_NO_CHANGE
        if reason:
            self._answer(REPLACE_REJECTED, order.id, reason)
            return
        if order.is_parked or (price == order.price and qty < order.leaves):
            order.leaves, order.price = qty, price
            if order.shown > qty or order.is_parked:
                order.shown = order.display if 0 < order.display < qty else qty
            self._answer(REPLACED, order.id, price, qty)
            return
        if order.flags & REDUCE_ONLY and self._reducible(order.side) == 0:
            self._answer(REPLACE_REJECTED, order.id, R_REDUCE_ONLY)
            return
        price_before = order.price
        order.price = price
        is_refused = self._continuous and order.flags & (POST_ONLY | SLIDE) and self._would_take(order)
        if is_refused and not (order.flags & SLIDE and self._slide(order)):
            order.price = price_before
            self._answer(REPLACE_REJECTED, order.id, R_POST_ONLY)
            return
        self.orders.remove(order)
        order.leaves = qty
        self._answer(REPLACED, order.id, order.price, qty)
        self._enter(order)

    # What rows do.

    def _venue_row(self) -> None:
        row = self.rows[self.at_venue]
        self.at_venue += 1
        match row.kind:
            case 0:
                self._level(row.side, row.price, row.qty)
                self.book.has_levels[row.side] = True
            case 1:
                self._trade(row)
            case 2:
                self.book = View()
                self.taken = [{}, {}]
                self.gap = False
                for order in self.orders:
                    order.traded = 0
            case 3:
                self._bbo(row)
            case 13:
                self.last = row.price
            case 15:
                self.status = row.price
            case 16:
                self.gap = True
        if row.is_last:
            self._packet_end()

    def _bbo(self, row: Row) -> None:
        for price in sorted(self.book.side[row.side], reverse=row.side == 0):
            is_replaced = not row.qty or not self.book.has_levels[row.side] or better(row.side, price, row.price)
            if is_replaced and (price != row.price or not row.qty):
                self._level(row.side, price, 0)
        if row.qty:
            self._level(row.side, row.price, row.qty)

    def _level(self, side: int, price: int, qty: int) -> None:
        levels = self.book.side[side]
        before = levels.get(price, 0)
        if qty:
            levels[price] = qty
        else:
            levels.pop(price, None)
        taken_before = taken = self.taken[side].get(price, 0)
        if qty < before:
            taken = max(taken - (before - qty), 0) if qty else 0
        self.taken[side][price] = taken
        for order in self._queue(side):
            if order.price == price:
                self._update_queue(order, before - taken_before, qty - taken)

    def _update_queue(self, order: Order, before: int, after: int) -> None:
        settled = max(before - order.traded, 0)
        order.traded = 0
        front = order.ahead
        decrease = float(settled - after)
        if decrease > 0 and front > 0 and self.rules.power:
            back = max(settled - front, 0.0)
            share = 0.0
            if back > 0:
                ratio = front / back
                power = {1.0: ratio, 2.0: ratio * ratio, 3.0: ratio * ratio * ratio}[self.rules.power]
                share = 1.0 / (1.0 + power)
            behind = share * decrease
            order.ahead = front - (decrease - behind)
            if behind > back:
                order.ahead -= behind - back
        order.ahead = max(min(order.ahead, float(after)), 0.0)

    def _trade(self, row: Row) -> None:
        self.last = row.price
        self.prints.append(row.price)
        if not self._continuous:
            return
        for side in (0, 1):
            if row.side in (1 - side, 2):
                self._trade_side(side, row)

    def _trade_side(self, side: int, row: Row) -> None:
        left = row.qty
        while (queue := self._queue(side)) and better(side, queue[0].price, row.price):
            qty = down(left, self.rules.lot)
            if not qty:
                return
            left -= self._fill_resting(queue[0], qty)
        eaten = 0
        for order in [order for order in self._queue(side) if order.price == row.price]:
            order.traded += row.qty
            uses = min(left, max(self._ahead(order) - eaten, 0))
            eaten += uses
            left -= uses
            order.ahead = max(order.ahead - eaten, 0.0)
            qty = min(down(left, self.rules.lot), order.shown)
            if qty > 0:
                left -= self._fill_resting(order, qty)

    def _fill_resting(self, order: Order, qty: int) -> int:
        if not self._hold_reduce_only(order):
            self._leave(order, CANCELED, R_REDUCE_ONLY)
            return 0
        qty = min(qty, order.leaves)
        self._fill(order, order.price, qty, 0)
        if not order.leaves:
            self.orders.remove(order)
        elif not order.shown:
            traded = order.traded
            self.orders.remove(order)
            self._join(order)
            order.traded = traded
        return qty

    def _packet_end(self) -> None:
        bid, ask = self.book.best(0), self.book.best(1)
        if bid is not None and ask is not None and bid >= ask and self.status != 2 and not self.gap:
            self.crossed += 1
        if not self._continuous:
            return
        for side in (0, 1):
            while (queue := self._queue(side)) and (levels := self._available(1 - side)):
                price, qty = levels[0]
                if better(1 - side, queue[0].price, price):
                    break
                filled = self._fill_resting(queue[0], qty)
                self.taken[1 - side][price] = self.taken[1 - side].get(price, 0) + filled
        prints, self.prints = self.prints, []
        if prints:
            parked = [order for order in self.orders if order.is_parked]
            for order in parked:
                if self._is_reached(order, min(prints), max(prints)):
                    self._trigger(order)


def apply_level(view: View, row: Row) -> None:
    view.has_levels[row.side] = True
    if row.qty:
        view.side[row.side][row.price] = row.qty
    else:
        view.side[row.side].pop(row.price, None)


def apply_bbo(view: View, row: Row) -> None:
    levels = view.side[row.side]
    keeps = row.qty and view.has_levels[row.side]
    view.side[row.side] = {price: qty for price, qty in levels.items() if keeps and not better(row.side, price, row.price)}
    if row.qty:
        view.side[row.side][row.price] = row.qty
