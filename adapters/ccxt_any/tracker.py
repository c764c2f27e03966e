"""The truth about our orders from what polling shows: open orders, executions, single orders; facts as events. Pure.

Nothing is concluded from one list. An order that is not among the open ones is asked about by itself, and its end is told when
its executions add up to what it says was filled. What was sent and not answered is UNKNOWN until it is found, or not found by
reads begun after nothing of it can be under way any more. `now` is monotonic ns, `ts` ns UTC.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from adapters.ccxt_any.order_ids import OrderIds
from adapters.ccxt_any.reports import OPEN, OrderReport, TradeReport
from core.commands import SubmitOrder
from core.enums import Reason, Side
from core.errors import CapacityError, VenueProtocolError
from core.events import (
    AnyOrderEvent,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderRestated,
)
from core.order_store import FOREIGN_ORDER_ID
from core.venue_adapter import VenueOrder

ORDERS_KEPT_MAX = 50_000
TRADES_KEPT_MAX = 200_000


class TrackerLimits(msgspec.Struct, frozen=True, kw_only=True):
    not_found_ns: int
    not_found_reads: int


class Known(msgspec.Struct):
    """One order of ours. `bound`: when nothing of any request about it can be under way any more; 0: nothing is unknown."""

    order_id: int
    instrument_id: str
    side: Side
    qty: int
    price: int | None
    sent: int
    venue_id: str = ""
    filled: int = 0
    is_acked: bool = False
    is_new_unknown: bool = False
    is_cancel_asked: bool = False
    is_cancel_unknown: bool = False
    is_cancel_wanted: bool = False  # as soon as the exchange's id is known
    bound: int = 0
    not_found: int = 0
    last_seen: int = 0  # when the read was begun that showed it last, or when it was acknowledged
    is_ended: bool = False
    end: OrderReport | None = None  # it has ended, and its executions are not all here yet

    @property
    def leaves(self) -> int:
        return max(self.qty - self.filled, 0)


class Tracker:
    """Orders of one account at one exchange."""

    def __init__(self, limits: TrackerLimits, ids: OrderIds) -> None:
        self._limits = limits
        self._ids = ids
        self._orders: OrderedDict[int, Known] = OrderedDict()
        self._by_venue_id: dict[tuple[str, str], int] = {}
        self._trades: OrderedDict[tuple[str, str, Side], None] = OrderedDict()
        self._unassigned: dict[tuple[str, str, Side], TradeReport] = {}  # executions whose order nobody knows yet
        self._asked_whose: Counter[tuple[str, str]] = Counter()  # of such an order: reads that did not find it
        # Orders that are certainly not ours; None: the exchange shows their executions and not them.
        self._foreign: OrderedDict[tuple[str, str], OrderReport | None] = OrderedDict()

    # What is known.

    def get(self, order_id: int) -> Known | None:
        return self._orders.get(order_id)

    def open_in(self, instrument_id: str | None) -> list[Known]:
        """Orders of ours that have not ended, oldest first."""
        return [each for each in self._orders.values() if not each.is_ended and instrument_id in (None, each.instrument_id)]

    @property
    def is_working(self) -> bool:
        return any(not each.is_ended for each in self._orders.values())

    def _remember(self, known: Known) -> Known:
        self._orders[known.order_id] = known
        while len(self._orders) > ORDERS_KEPT_MAX:
            oldest = next((each for each in self._orders.values() if each.is_ended), None)
            if oldest is None:
                raise CapacityError(f"{len(self._orders)} orders are open at once")
            self._forget(oldest)
        return known

    def _forget(self, known: Known) -> None:
        del self._orders[known.order_id]
        self._by_venue_id.pop((known.instrument_id, known.venue_id), None)

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        """From here on it goes by this id."""
        key = (order.instrument_id, order.venue_order_id)
        report = self._foreign.pop(key, None)
        qty = order.leaves_qty if report is None else report.qty
        known = Known(client_order_id, order.instrument_id, order.side, qty, order.price, 0, order.venue_order_id)
        known.filled = qty - order.leaves_qty
        known.is_acked = True
        self._by_venue_id[key] = client_order_id
        self._remember(known)

    def recall(self, report: OrderReport, trades: Sequence[TradeReport]) -> None:
        """An order of before this connection: ours, and then its executions until now are told by `query`, or not."""
        order_id = self.id_of(report)
        key = (report.instrument_id, report.venue_id)
        if order_id is None:
            self._set_foreign(key, report)
            return
        self._by_venue_id[key] = order_id
        known = self._orders.get(order_id)
        if known is not None:
            # Sent and not answered yet, or the answer was lost: what it has executed shows whose it is.
            known.venue_id = known.venue_id or report.venue_id
            return
        known = self._remember(
            Known(order_id, report.instrument_id, report.side, report.qty, report.price, 0, report.venue_id, is_acked=True)
        )
        known.is_ended = report.status != OPEN
        for trade in trades:
            if (trade.instrument_id, trade.venue_order_id) == key:
                self._trades[trade.instrument_id, trade.trade_id, trade.side] = None
                known.filled += trade.qty
        # What the exchange does not remember any more counts too.
        known.filled = max(known.filled, report.filled)

    def id_of(self, report: OrderReport) -> int | None:
        """By the exchange's id where that was learned, else by the id that we gave it. None: it is not ours."""
        found = self._by_venue_id.get((report.instrument_id, report.venue_id))
        return found if found is not None else self._ids.parse(report.client_text)

    # What is sent and answered.

    def placing(self, command: SubmitOrder, now: int) -> None:
        self._remember(Known(command.client_order_id, command.instrument_id, command.side, command.quantity, command.price, now))

    def placed(self, order_id: int, venue_id: str, now: int, ts: int) -> list[AnyOrderEvent]:
        known = self._orders[order_id]
        return self._acknowledge(known, venue_id, known.price, now, ts) + self._settle_unassigned(ts)

    def refused(self, order_id: int, reason: Reason, text: str, ts: int) -> list[AnyOrderEvent]:
        known = self._orders[order_id]
        if known.is_ended:
            return []
        known.is_ended = True
        return [OrderRejected(ts, ts, order_id, reason, text)]

    def place_unknown(self, order_id: int, text: str, now: int, ts: int) -> list[AnyOrderEvent]:
        known = self._orders[order_id]
        if known.is_ended or known.is_acked:
            return []
        known.is_new_unknown = True
        self._doubt(known, now)
        return [OrderOutcomeUnknown(ts, ts, order_id, text)]

    def take_wanted(self) -> list[Known]:
        """Orders that were to be canceled before the exchange's id was known, and can be now."""
        found = [each for each in self._orders.values() if each.is_cancel_wanted and each.venue_id and not each.is_ended]
        for known in found:
            known.is_cancel_wanted = False
        return found

    def canceling(self, orders: Iterable[Known]) -> None:
        for known in orders:
            known.is_cancel_asked = True

    def cancel_refused(self, order_id: int, reason: Reason, ts: int) -> list[AnyOrderEvent]:
        """Why, polling says: filled, canceled, or never there."""
        known = self._orders.get(order_id)
        if known is None or (not known.is_cancel_asked and not known.is_ended):
            return []
        known.is_cancel_asked = False
        return [CancelRejected(ts, ts, order_id, reason)]

    def cancel_unknown(self, order_id: int, text: str, now: int, ts: int) -> list[AnyOrderEvent]:
        known = self._orders.get(order_id)
        if known is None or known.is_ended:
            return []
        known.is_cancel_asked = False
        known.is_cancel_unknown = True
        self._doubt(known, now)
        return [OrderOutcomeUnknown(ts, ts, order_id, text)]

    def _doubt(self, known: Known, now: int) -> None:
        known.bound = now + self._limits.not_found_ns
        known.not_found = 0

    # What polling shows.

    def executions(self, trades: Sequence[TradeReport], ts: int) -> list[AnyOrderEvent]:
        """Executions of the account, in any order, told before or not. Those of an order that may be ours wait for its name."""
        events: list[AnyOrderEvent] = []
        for trade in sorted(trades, key=lambda each: each.ts):
            key = (trade.instrument_id, trade.trade_id, trade.side)
            if key in self._trades or key in self._unassigned:
                continue
            order_id = self._by_venue_id.get((trade.instrument_id, trade.venue_order_id))
            if order_id is None and (trade.instrument_id, trade.venue_order_id) not in self._foreign:
                self._unassigned[key] = trade
                continue
            events += self._book(key, trade, order_id, ts)
        return events

    def _book(self, key: tuple[str, str, Side], trade: TradeReport, order_id: int | None, ts: int) -> list[AnyOrderEvent]:
        self._trades[key] = None
        while len(self._trades) > TRADES_KEPT_MAX:
            self._trades.popitem(last=False)
        known = None if order_id is None else self._orders.get(order_id)
        if known is None:
            return [_filled(trade, FOREIGN_ORDER_ID, 0, ts)]
        events = self._acknowledge(known, trade.venue_order_id, known.price, 0, ts)
        known.filled += trade.qty
        events.append(_filled(trade, known.order_id, known.leaves, ts))
        if known.filled >= known.qty:
            self._ended(known)
        elif known.is_cancel_unknown:
            events.append(OrderOutcomeUnknown(ts, ts, known.order_id, "what became of its cancel is not known yet"))
        return events

    def looked(self, orders: Sequence[OrderReport], begun: int, ts: int) -> tuple[list[AnyOrderEvent], list[Known]]:
        """All open orders of the account, by reads begun at `begun`: what they say, and the orders to ask about one by one."""
        events: list[AnyOrderEvent] = []
        for report in orders:
            known = self._meet(report)
            if known is not None:
                events += self._is_open(known, report, begun, ts)
        events += self._settle_unassigned(ts)
        missing = [
            each
            for each in self._orders.values()
            if not each.is_ended and each.last_seen < begun and (each.is_acked or each.is_new_unknown)
        ]
        return events, missing

    def _meet(self, report: OrderReport) -> Known | None:
        """Whose order it is; None: not ours.

        One of an earlier run may show for the first time now: it was on its way, or is asked about because of its executions.
        Those that wait here for its name are not among what was told of it.
        """
        key, order_id = (report.instrument_id, report.venue_id), self.id_of(report)
        if order_id is None:
            self._set_foreign(key, report)
            return None
        known = self._orders.get(order_id)
        if known is None:
            known = Known(
                order_id, report.instrument_id, report.side, report.qty, report.price, 0, is_acked=report.status != OPEN
            )
            waiting = (each.qty for each in self._unassigned.values() if (each.instrument_id, each.venue_order_id) == key)
            known.filled = max(report.filled - sum(waiting), 0)
            self._remember(known)
        return known

    def _is_open(self, known: Known, report: OrderReport, begun: int, ts: int) -> list[AnyOrderEvent]:
        known.last_seen = begun
        known.not_found = 0
        if known.is_ended:
            return []
        events = self._size(known, report, ts)
        events += self._acknowledge(known, report.venue_id, report.price if report.price is not None else known.price, begun, ts)
        if known.is_cancel_unknown and begun >= known.bound:
            # Nothing of the cancel can be on its way any more, and the order is open.
            known.is_cancel_unknown = False
            known.bound = 0
            events.append(OrderAccepted(ts, ts, known.order_id, known.price or 0, known.leaves, known.venue_id))
        return events

    def _size(self, known: Known, report: OrderReport, ts: int) -> list[AnyOrderEvent]:
        """The exchange may have made it smaller by itself; larger than what was sent it can not be."""
        if report.qty == known.qty:
            return []
        if report.qty > known.qty or report.qty < known.filled:
            text = f"order {known.order_id} of {known.qty} units has {report.qty} at the exchange, {known.filled} are filled"
            raise VenueProtocolError(text)
        known.qty = report.qty
        return [OrderRestated(ts, ts, known.order_id, known.leaves, Reason.NONE)]

    def _acknowledge(self, known: Known, venue_id: str, price: int | None, now: int, ts: int) -> list[AnyOrderEvent]:
        known.last_seen = max(known.last_seen, now)
        if not known.venue_id:
            known.venue_id = venue_id
            self._by_venue_id[known.instrument_id, venue_id] = known.order_id
        if known.is_acked or known.is_ended:
            return []
        known.is_acked = True
        known.is_new_unknown = False
        if not known.is_cancel_unknown:
            known.bound = 0
        return [OrderAccepted(ts, ts, known.order_id, price or 0, known.leaves, known.venue_id)]

    def _settle_unassigned(self, ts: int) -> list[AnyOrderEvent]:
        events: list[AnyOrderEvent] = []
        for key, trade in list(self._unassigned.items()):
            order_id = self._by_venue_id.get((trade.instrument_id, trade.venue_order_id))
            if order_id is not None or (trade.instrument_id, trade.venue_order_id) in self._foreign:
                del self._unassigned[key]
                events += self._book(key, trade, order_id, ts)
        return events

    def unassigned(self) -> list[tuple[str, str]]:
        """(instrument_id, the exchange's order id) of executions that wait: whose they are, the order says."""
        return list(dict.fromkeys((trade.instrument_id, trade.venue_order_id) for trade in self._unassigned.values()))

    def unnamed(self, trades: Sequence[TradeReport]) -> list[tuple[str, str]]:
        """As `unassigned`, of `trades`."""
        keys = dict.fromkeys((trade.instrument_id, trade.venue_order_id) for trade in trades)
        return [key for key in keys if key not in self._by_venue_id and key not in self._foreign]

    def not_named(self, key: tuple[str, str], ts: int) -> list[AnyOrderEvent]:
        """A read of the order that brought executions about did not find it; after so many of them it is nobody's we know."""
        self._asked_whose[key] += 1
        if self._asked_whose[key] < self._limits.not_found_reads:
            return []
        self._set_foreign(key, None)
        return self._settle_unassigned(ts)

    def told(self, report: OrderReport, begun: int, ts: int) -> list[AnyOrderEvent]:
        """One order, asked for by itself or found among those that have ended."""
        known = self._meet(report)
        if known is None or known.is_ended:
            return self._settle_unassigned(ts)
        known.not_found = 0
        if report.status == OPEN:
            return self._is_open(known, report, begun, ts) + self._settle_unassigned(ts)
        if report.status == "rejected" and not report.filled and not known.is_acked:
            self._ended(known)
            return [OrderRejected(ts, ts, known.order_id, Reason.NONE, "rejected by the exchange")]
        known.last_seen = max(known.last_seen, begun)
        known.end = report
        events = self._acknowledge(known, report.venue_id, known.price, begun, ts)
        events += self._size(known, report, ts)
        return events + self._settle_unassigned(ts) + self.settle(known, ts)

    def settle(self, known: Known, ts: int) -> list[AnyOrderEvent]:
        """Its end, where its executions are all here; what it is called comes from the exchange."""
        end = known.end
        if end is None or known.is_ended or known.filled < end.filled:
            return []
        reason = Reason.REQUESTED if known.is_cancel_asked or known.is_cancel_unknown else Reason.NONE
        self._ended(known)
        if known.filled >= known.qty:
            return []
        if end.status == "expired":
            return [OrderExpired(ts, ts, known.order_id, known.leaves)]
        return [OrderCanceled(ts, ts, known.order_id, known.leaves, reason)]

    def not_found(self, order_id: int, begun: int, ts: int) -> list[AnyOrderEvent]:
        """A read begun at `begun` found it neither open nor ended."""
        known = self._orders.get(order_id)
        if known is None or known.is_ended:
            return []
        if not known.bound:
            self._doubt(known, begun)
            return []
        if begun < known.bound:
            return []
        known.not_found += 1
        if known.not_found < self._limits.not_found_reads:
            return []
        was_new = not known.is_acked
        self._ended(known)
        if was_new:
            return [
                OrderRejected(ts, ts, order_id, Reason.UNKNOWN_ORDER, "not found after nothing of it can be under way any more")
            ]
        return [OrderCanceled(ts, ts, order_id, known.leaves, Reason.UNKNOWN_ORDER)]

    def _ended(self, known: Known) -> None:
        known.is_ended = True
        known.end = None
        known.bound = 0
        known.is_new_unknown = known.is_cancel_unknown = False

    def _set_foreign(self, key: tuple[str, str], report: OrderReport | None) -> None:
        self._foreign[key] = report
        self._asked_whose.pop(key, None)
        while len(self._foreign) > ORDERS_KEPT_MAX:
            self._foreign.popitem(last=False)

    # For a look of the daemon's.

    def venue_order(self, report: OrderReport) -> VenueOrder:
        return VenueOrder(
            client_order_id=self.id_of(report),
            instrument_id=report.instrument_id,
            side=report.side,
            price=report.price,
            leaves_qty=report.leaves,
            venue_order_id=report.venue_id,
            reduce_only=report.reduce_only,
        )

    def executions_of_look(self, trades: Sequence[TradeReport], orders: Sequence[OrderReport], ts: int) -> list[OrderFilled]:
        """`trades` oldest first, with what was left behind each, counted back from what is left now."""
        names = {(report.instrument_id, report.venue_id): self.id_of(report) for report in orders}
        left = {(report.instrument_id, report.venue_id): report.leaves for report in orders}
        found = []
        for trade in reversed(trades):
            key = (trade.instrument_id, trade.venue_order_id)
            order_id = self._by_venue_id.get(key, names.get(key))
            known = None if order_id is None else self._orders.get(order_id)
            leaves = left.setdefault(key, known.leaves if known is not None and known.is_ended else 0)
            left[key] += trade.qty
            found.append(_filled(trade, FOREIGN_ORDER_ID if order_id is None else order_id, leaves, ts))
        return found[::-1]


def _filled(trade: TradeReport, order_id: int, leaves: int, ts: int) -> OrderFilled:
    return OrderFilled(
        trade.ts,
        ts,
        order_id,
        trade.instrument_id,
        trade.trade_id,
        trade.side,
        trade.price,
        trade.qty,
        leaves,
        trade.liquidity_side,
        trade.commission,
        trade.commission_currency,
    )
