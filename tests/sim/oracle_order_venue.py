"""OracleOrderVenue: the order-by-order venue, slow and obvious: ReferenceBook, a dict of ghosts, and the oracle's clocks.

Written from the rules stated at the top of native/venue_l3_rows.c; shares no code with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from native.book_types import Kind
from native.book_types import Report as BookReport
from native.reference_book import ReferenceBook
from native.reference_store import Order as BookOrder
from tests.sim import oracle_venue as oracle
from tests.sim.oracle_venue import OracleVenue, Order, Rules

ADD, REDUCE, DELETE, EXECUTE, MODIFY, HIDDEN = 8, 9, 10, 11, 12, 13
OWN, SEED = 1 << 62, 1 << 61
US = 1


@dataclass
class OrderRow(oracle.Row):
    order_id: int = 0
    is_aggressive: bool = False


@dataclass
class Message:
    visible: int
    ts_event: int
    kind: int
    side: int
    price: int
    qty: int
    is_last: bool = False


class OracleOrderVenue(OracleVenue):
    def __init__(self, rules: Rules, rows: list[OrderRow], *, entry: int, response: int, stp: int, feed_latency: int) -> None:
        super().__init__(rules, list(rows), entry=entry, response=response, stp=stp)
        self.core = ReferenceBook(orders_max=4096, levels_max=4096, owners_max=2, stp_mode=self.stp)
        limit = 1 << 61
        self.core.symbol_add(tick=rules.tick, lot=1, qty_min=1, qty_max=1 << 40, price_min=-limit, price_max=limit)
        self.symbol = self.core._symbols[0]
        self.feed_latency = feed_latency
        self.feed: list[Message] = []
        self.feed_last = -(1 << 63)
        self.is_open = False
        self.ghosts: dict[int, int] = {}
        self.own: dict[int, Order] = {}
        self.book_ids: dict[int, int] = {}
        self.unknown = 0

    # Time: what the venue tells comes after answers and rows of its time, before timers.

    def run(self, until: int) -> list[oracle.Event]:
        while True:
            if self.wakes:
                return self._deliver()
            if self.at_local == len(self.rows) and not self.commands and not self.answers and not self.feed:
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

    def _next_local(self) -> tuple[int, Any]:
        ts, action = super()._next_local()
        if self.feed and self.feed[0].visible < ts:
            return self.feed[0].visible, self._hear
        if self.feed and self.feed[0].visible == ts and action not in (self._answers, self._local_row):
            return ts, self._hear
        return ts, action

    def _hear(self) -> None:
        message = self.feed.pop(0)
        match message.kind:
            case 0:
                self.local.side[message.side].pop(message.price, None)
                if message.qty:
                    self.local.side[message.side][message.price] = message.qty
            case 1:
                event = (self.now, message.ts_event, oracle.EV_TRADE, 0, 0, message.price, message.qty, message.side, 0, 0)
                self.inbox.append(event)
                self.wakes = True
            case 2:
                self.local = oracle.View()
                self.local_gap = False
        if message.is_last:
            self._look(message.ts_event)

    def _local_row(self) -> None:
        row = self.rows[self.at_local]
        if row.kind in (oracle.STATUS, oracle.GAP):
            row.is_last, was_last = False, row.is_last
            super()._local_row()
            row.is_last = was_last
        else:
            self.at_local += 1

    def _look(self, ts_event: int) -> None:
        """A packet has ended: as in the level-2 venue."""
        self.packet_ts = ts_event
        if self.rules.wake & 7 and self._quote_changed() and not self.local_gap:
            if self.now >= self.quoted_at + self.rules.interval:
                self._quote()
            elif self.quote_due == oracle.NEVER:
                self.quote_due = self.quoted_at + self.rules.interval

    # Telling.

    def _tell(self, visible: int, kind: int, side: int, price: int, qty: int) -> None:
        self.feed_last = max(self.feed_last, visible)
        self.feed.append(Message(self.feed_last, self.venue_now, kind, side, price, qty))
        self.is_open = True

    def _tell_level(self, visible: int, side: int, price: int) -> None:
        queue = self.symbol.queues[side].get(price, [])
        self._tell(visible, 0, side, price, sum(order.qty for order in queue))

    def _end_packet(self, visible: int) -> None:
        if not self.is_open:
            return
        if not self.feed:
            self._tell(visible, 99, 0, 0, 0)
        self.feed[-1].is_last = True
        self.is_open = False

    def _gone(self, order: Order) -> None:
        self.orders.remove(order)
        del self.own[self.book_ids.pop(order.id)]

    def _own_fill(self, order: Order, report: BookReport, leaves: int, taker: int) -> None:
        order.leaves = leaves
        self.position += report.qty if order.side == 0 else -report.qty
        self.executions += 1
        flags = taker + 2 * order.side
        self._answer(oracle.FILL, order.id, report.price, report.qty, leaves, flags, self.executions)
        if not leaves:
            self._gone(order)

    def _own_report(self, order: Order, report: BookReport) -> None:
        match report.kind:
            case Kind.ACCEPTED:
                order.price = report.price
                self._answer(oracle.ACCEPTED, order.id, report.price, report.leaves_qty)
            case Kind.REJECTED:
                self._answer(oracle.REJECTED, order.id, report.reason)
                self._gone(order)
            case Kind.CANCELED:
                self._answer(oracle.CANCELED, order.id, report.qty, report.reason)
                self._gone(order)
            case Kind.EXPIRED:
                self._answer(oracle.EXPIRED, order.id, report.qty)
                self._gone(order)
            case Kind.REPLACED:
                order.price, order.leaves = report.price, report.leaves_qty
                self._answer(oracle.REPLACED, order.id, report.price, report.leaves_qty)
            case Kind.TRIGGERED:
                order.is_parked = False
                self._answer(oracle.TRIGGERED, order.id)
            case Kind.RESTATED:
                order.leaves = report.leaves_qty
                self._answer(oracle.RESTATED, order.id, report.leaves_qty, report.reason)
            case Kind.REPLACE_REJECTED:
                self._answer(oracle.REPLACE_REJECTED, order.id, report.reason)
            case _:
                raise AssertionError(report)

    def _reports(self, reports: list[BookReport], visible: int) -> None:
        for at, report in enumerate(reports):
            side = report.side
            following = reports[at + 1] if at + 1 < len(reports) else None
            if report.kind == Kind.TRADE:
                side = 1 - report.side
                taker, maker = self.own.get(report.order_id), self.own.get(report.contra_id)
                self.last = report.price
                if maker is None and (taker is not None or report.contra_id in self.ghosts):
                    left = self.ghosts.get(report.contra_id, report.contra_leaves_qty + report.qty)
                    self._set_ghost(report.contra_id, left)
                if taker is not None:
                    self._own_fill(taker, report, report.leaves_qty, 1)
                if maker is not None:
                    self._own_fill(maker, report, report.contra_leaves_qty, 0)
                if self.rules.wake & 8:
                    self._tell(visible, 1, report.side, report.price, report.qty)
            elif (order := self.own.get(report.order_id)) is not None:
                self._own_report(order, report)
            # One level change follows a run of prints at one price.
            is_run = (
                report.kind == Kind.TRADE
                and following is not None
                and (following.kind, following.price, following.side) == (report.kind, report.price, report.side)
            )
            is_silent = report.kind in (Kind.REJECTED, Kind.CANCEL_REJECTED, Kind.REPLACE_REJECTED, Kind.TRIGGERED)
            if not is_run and not is_silent:
                self._tell_level(visible, side, report.price)

    # Ours.

    @property
    def _visible(self) -> int:
        return self.venue_now + self.feed_latency

    def _accept(self, order: Order) -> None:
        if self.gap:
            self._answer(oracle.REJECTED, order.id, oracle.R_CLOSED)
            return
        book_id = OWN + self.sequence
        self.sequence += 1
        order.is_parked = order.order_type in (oracle.STOP, oracle.STOP_LIMIT)
        self.orders.append(order)
        self.own[book_id], self.book_ids[order.id] = order, book_id
        reports = self.core.submit(
            self.venue_now,
            order_id=book_id,
            side=order.side,
            qty=order.leaves,
            price=order.price,
            owner=US,
            order_type=order.order_type,
            time_in_force=order.tif,
            flags=order.flags,
            trigger_price=order.trigger,
            display_qty=order.display,
            expire_ts=order.expire,
        )
        self._reports(reports, self._visible)
        self._end_packet(self._visible)

    def _leave(self, order: Order, kind: int, reason: int) -> None:
        """Only by request: the others leave together."""
        assert (kind, reason) == (oracle.CANCELED, oracle.R_REQUESTED)
        self._reports(self.core.cancel(self.venue_now, self.book_ids[order.id]), self._visible)
        self._end_packet(self._visible)

    def _command(self) -> None:
        if self.commands[0][1][0] != "mass":
            super()._command()
            return
        self.commands.pop(0)
        self._reports(self.core.mass_cancel(self.venue_now, owner=US), self._visible)
        self._end_packet(self._visible)

    def end_of_day(self) -> None:
        self.venue_now = max(self.venue_now, self.now)
        self._reports(self.core.end_of_day(self.venue_now), self._visible)
        self._end_packet(self._visible)

    def _expire(self) -> None:
        first = min(order.expire for order in self.orders if order.tif == oracle.GTD)
        self._reports(self.core.advance(first), self._visible)
        self._end_packet(self._visible)

    def _replace(self, order: Order, qty: int, price: int) -> None:
        is_priced = order.order_type in (oracle.LIMIT, oracle.STOP_LIMIT)
        reason = oracle.R_CLOSED if self.status in (1, 3) else self._qty_refusal(qty)
        if not reason and is_priced:
            reason = self._price_refusal(price)
        price = price if is_priced else order.price
        if not reason and (qty, price) == (order.leaves, order.price):
            reason = oracle.R_NO_CHANGE
        if reason:
            self._answer(oracle.REPLACE_REJECTED, order.id, reason)
            return
        before = order.price
        reports = self.core.replace(self.venue_now, self.book_ids[order.id], qty, price)
        self._reports(reports, self._visible)
        if reports[0].kind == Kind.REPLACED and reports[0].price != before:
            self._tell_level(self._visible, order.side, before)
        self._end_packet(self._visible)

    # Ghosts and rows.

    def _set_ghost(self, order_id: int, left: int) -> None:
        order = self.core._orders.get(order_id)
        if (order.leaves if order else 0) == left:
            self.ghosts.pop(order_id, None)
        else:
            self.ghosts[order_id] = left

    def _displaced(self, order: BookOrder) -> int:
        if order.owner == US:
            return order.leaves
        return max(order.leaves - self.ghosts.get(order.order_id, order.leaves), 0)

    def _sweep(self, side: int, price: int, is_inclusive: bool, stop_id: int, left: int, visible: int) -> int:
        while left > 0:
            order = self._in_the_way(side, price, is_inclusive, stop_id)
            if order is None:
                break
            if order.owner == US and order.flags & oracle.REDUCE_ONLY and not self._holds(order, visible):
                continue
            qty = min(left, self._displaced(order))
            tape_left = self.ghosts.get(order.order_id, 0)
            self._reports(self.core.execute_resting(self.venue_now, order.order_id, qty), visible)
            if order.owner != US:
                self._set_ghost(order.order_id, tape_left)
            left -= qty
        return left

    def _holds(self, order: BookOrder, visible: int) -> bool:
        allowed = max(-self.position if order.side == 0 else self.position, 0)
        own = self.own[order.order_id]
        if allowed >= order.leaves:
            return True
        if allowed:
            self.core._shrink(order, order.leaves - allowed)
            own.leaves = allowed
            self._answer(oracle.RESTATED, own.id, allowed, oracle.R_REDUCE_ONLY)
        else:
            price, leaves = order.price, order.leaves
            self.core._remove(order)
            self._answer(oracle.CANCELED, own.id, leaves, oracle.R_REDUCE_ONLY)
            self._gone(own)
            self._tell_level(visible, order.side, price)
            return False
        self._tell_level(visible, order.side, order.price)
        return True

    def _in_the_way(self, side: int, price: int, is_inclusive: bool, stop_id: int) -> BookOrder | None:
        stop = self.core._orders.get(stop_id)
        for order in self.core._in_priority(self.symbol, side):
            if oracle.better(side, price, order.price):
                return None
            if order.price == price and ((not is_inclusive and stop is None) or order is stop):
                return None
            if self._displaced(order):
                return order
        return None

    def _rest_recorded(self, row: OrderRow, qty: int) -> None:
        order = BookOrder(book_id(row), 0, row.price, 0, qty, 0, 0, 0, row.side, 0, 0, 0)
        self.core._orders[order.order_id] = order
        self.core._rest(order, row.side)
        self._tell_level(row.ts_init, row.side, row.price)

    def _target(self, row: OrderRow) -> BookOrder | None:
        order = self.core._orders.get(book_id(row))
        if order is not None or book_id(row) in self.ghosts:
            return order
        self.unknown += 1
        queue = self.symbol.queues[row.side].get(row.price, [])
        return next((each for each in queue if SEED <= each.order_id < OWN), None)

    def _venue_row(self) -> None:
        row = self.rows[self.at_venue]
        assert isinstance(row, OrderRow)
        self.at_venue += 1
        match row.kind:
            case 8:
                self._add(row)
            case 9 | 10:
                self._reduce(row)
            case 11:
                self._execute(row)
            case 12:
                self._modify(row)
            case 13:
                self.last = row.price
                if self.rules.wake & 8:
                    self._tell(row.ts_init, 1, row.side, row.price, row.qty)
            case 2:
                self._clear(row)
            case 15:
                self._status(row)
            case 16:
                self.gap = True
        if row.is_last:
            self._end_packet(row.ts_init)
            bid, ask = self.core._best(self.symbol, 0), self.core._best(self.symbol, 1)
            if bid is not None and ask is not None and bid >= ask and self.status != 2 and not self.gap:
                self.crossed += 1

    def _add(self, row: OrderRow) -> None:
        if row.is_aggressive:
            reports = self.core.submit(self.venue_now, order_id=book_id(row), side=row.side, qty=row.qty, price=row.price)
            self._reports(reports, row.ts_init)
            return
        left = row.qty
        if self.status == 0 and not self.gap:
            left = self._sweep(1 - row.side, row.price, True, 0, row.qty, row.ts_init)
        if left:
            self._rest_recorded(row, left)
        if left < row.qty:
            self._set_ghost(book_id(row), row.qty)

    def _reduce(self, row: OrderRow) -> None:
        order = self._target(row)
        tape_left = self.ghosts.get(book_id(row))
        if order is not None:
            is_whole = row.kind == DELETE and order.order_id == book_id(row)
            qty = order.leaves if is_whole else min(row.qty, order.leaves)
            if qty:
                self.core.reduce(self.venue_now, order.order_id, qty)
                self._tell_level(row.ts_init, order.side, order.price)
        if tape_left is not None:
            self._set_ghost(book_id(row), 0 if row.kind == DELETE else max(tape_left - row.qty, 0))

    def _execute(self, row: OrderRow) -> None:
        order = self._target(row)
        ghost = self.ghosts.get(book_id(row))
        if order is None and not self.own and not self.ghosts:
            return
        side, price, order_id = (order.side, order.price, order.order_id) if order else (row.side, row.price, 0)
        before = ghost if ghost is not None else order.leaves if order else 0
        left = self._sweep(side, price, False, order_id, row.qty, row.ts_init)
        order = self.core._orders.get(order_id)
        if order is not None and min(left, order.leaves):
            self._reports(self.core.execute_resting(self.venue_now, order_id, min(left, order.leaves)), row.ts_init)
        if order_id or ghost is not None:
            self._set_ghost(order_id or book_id(row), max(before - row.qty, 0))

    def _modify(self, row: OrderRow) -> None:
        order = self.core._orders.get(book_id(row))
        ghost = self.ghosts.get(book_id(row))
        if order is not None:
            before = order.leaves if ghost is None else ghost
            if row.price == order.price and row.qty <= before:
                qty = min(before - row.qty, order.leaves)
                if qty:
                    self.core.reduce(self.venue_now, order.order_id, qty)
                self._tell_level(row.ts_init, order.side, order.price)
                if ghost is not None:
                    self._set_ghost(book_id(row), row.qty)
                return
            self.core.reduce(self.venue_now, order.order_id, order.leaves)
            self._tell_level(row.ts_init, order.side, order.price)
        elif ghost is None:
            self.unknown += 1
        self.ghosts.pop(book_id(row), None)
        self._add(row)

    def _clear(self, row: OrderRow) -> None:
        for order in list(self.core._orders.values()):
            if order.owner != US:
                self.core._remove(order)
        self.ghosts = {}
        self.gap = False
        self._tell(row.ts_init, 2, 0, 0, 0)
        for side in (0, 1):
            for price in self.core._prices(self.symbol, side):
                self._tell_level(row.ts_init, side, price)

    def _status(self, row: OrderRow) -> None:
        is_opening = self.status != 0 and row.price == 0
        self.status = row.price
        self.symbol.status = row.price
        for side in (0, 1):
            while is_opening and (order := self._crossed_own(side)) is not None:
                price = order.price
                self.core._begin(self.venue_now)
                self.core._unlink(order)
                order.qty, order.hidden = order.leaves, 0
                self.core._enter(self.symbol, order)
                self.core._run_stops(self.symbol)
                self._reports(self.core._done(), row.ts_init)
                self._tell_level(row.ts_init, side, price)

    def _crossed_own(self, side: int) -> BookOrder | None:
        facing = self.core._best(self.symbol, 1 - side)
        for order in self.core._in_priority(self.symbol, side):
            if facing is None or oracle.better(side, facing, order.price):
                return None
            if order.owner == US:
                return order
        return None


def book_id(row: OrderRow) -> int:
    return row.order_id if row.order_id >= 0 else SEED - row.order_id
