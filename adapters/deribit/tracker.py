"""Our orders as the venue shows them: order objects and trades in, core events out, each fact once.

The same order comes by three ways (the answer to a request, the user stream, a query) in any order, so what is applied is
decided by the venue's own stamps: an older picture of an order changes nothing, a trade counts once by its id, an end is
final. What the venue shows under our label and we cannot explain (a second order, an order that reopened, a fill the order
does not know of) becomes a Fact, never an event: the daemon sees it as foreign when it asks where things stand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET, Raw

from adapters.deribit.exact import exact, rounded_money
from adapters.deribit.instruments import VenueInstrument
from adapters.deribit.settings import Fact, FactKind
from adapters.deribit.wire import Order, UserTrade
from core.commands import SubmitOrder
from core.enums import LiquiditySide, OrderType, Reason, Side, TimeInForce
from core.errors import VenueProtocolError
from core.events import (
    AnyEvent,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderTriggered,
)
from core.identifiers import format_order_id, parse_order_id
from core.instruments import MONEY_SCALE
from core.order_store import FOREIGN_ORDER_ID
from core.units import NS_PER_DAY, NS_PER_MS, NS_PER_SECOND
from core.venue_adapter import VenueOrder

TRADES_KEPT_MAX = 100_000
ENDED_KEPT_MAX = 10_000
DAY_END_NS = 8 * 3_600 * NS_PER_SECOND  # after midnight UTC: day orders end (documented)
MARKET_PRICE = b'"market_price"'  # the price of a stop that becomes a market order

OPEN_STATES = ("open", "untriggered")
STATES = frozenset((*OPEN_STATES, "filled", "rejected", "cancelled", "triggered"))

# Documented cancel reasons; "" is none at all.
CANCEL_REASONS: dict[str, Reason] = {
    "": Reason.REQUESTED,
    "user_request": Reason.REQUESTED,
    "autoliquidation": Reason.MASS_CANCEL,
    "cancel_on_disconnect": Reason.MASS_CANCEL,
    "risk_mitigation": Reason.MASS_CANCEL,
    "pme_risk_reduction": Reason.MASS_CANCEL,
    "pme_account_locked": Reason.MASS_CANCEL,
    "position_locked": Reason.MASS_CANCEL,
    "mmp_trigger": Reason.MASS_CANCEL,
    "mmp_config_curtailment": Reason.MASS_CANCEL,
    "edit_post_only_reject": Reason.POST_ONLY,
    "oco_other_closed": Reason.REQUESTED,
    "oto_primary_closed": Reason.REQUESTED,
    "settlement": Reason.CLOSED,
}
_TIME_IN_FORCE = {
    "good_til_day": TimeInForce.DAY,
    "fill_or_kill": TimeInForce.FOK,
    "immediate_or_cancel": TimeInForce.IOC,
}


class Tracked:
    """One order of ours. amount: total; filled: what its trades add up to; venue_filled: what the order itself says."""

    __slots__ = (
        "amount",
        "cancel_wanted",
        "client_order_id",
        "created_ms",
        "edit_wanted",
        "filled",
        "has_twin",
        "is_accepted",
        "is_ended",
        "is_market",
        "is_stop",
        "is_triggered",
        "is_unknown",
        "label",
        "order_id",
        "past_ids",
        "post_only",
        "price",
        "reduce_only",
        "side",
        "time_in_force",
        "updated_ms",
        "valid_until_ms",
        "venue",
        "venue_filled",
    )

    def __init__(self, client_order_id: int, venue: VenueInstrument, label: str, side: Side, amount: int) -> None:
        self.client_order_id = client_order_id
        self.venue = venue
        self.label = label
        self.side = side
        self.amount = amount
        self.price: int | None = None
        self.time_in_force = TimeInForce.GTC
        self.post_only = False
        self.reduce_only = False
        self.is_market = False
        self.is_stop = False  # it goes on under another order id once it is triggered
        self.order_id = ""
        self.past_ids: tuple[str, ...] = ()  # a stop's own id, once what it triggered has another
        self.created_ms = 0
        self.updated_ms = 0
        self.filled = 0
        self.venue_filled = 0
        self.is_accepted = False
        self.is_triggered = False
        self.is_ended = False
        self.is_unknown = False  # the outcome of a request is unknown: the core holds it as UNKNOWN
        self.edit_wanted: tuple[int, int] | None = None  # (amount, price) of an edit that is not answered
        self.cancel_wanted = False
        self.valid_until_ms = 0  # of what was sent last: later the engine begins with none of it
        self.has_twin = False  # another order bears its label

    @property
    def leaves(self) -> int:
        return max(self.amount - max(self.filled, self.venue_filled), 0)


class Picture(NamedTuple):
    """An order object's numbers, read."""

    price: int | None
    amount: int
    filled: int


class Tracker:
    """`events` and `facts` take what becomes known; `on_missing` is called with an order whose fills have not all come."""

    def __init__(
        self,
        instruments: Mapping[str, VenueInstrument],
        prefix: str,
        emit: Callable[[AnyEvent], None],
        fact: Callable[[Fact], None],
    ) -> None:
        self.instruments = instruments
        self._prefix = prefix
        self._emit = emit
        self._fact = fact
        self.on_missing: Callable[[int, Tracked], None] = _nobody_asks
        self.orders: dict[int, Tracked] = {}
        self.foreign: dict[str, VenueOrder] = {}
        self.pictures: dict[str, tuple[Order, Picture]] = {}  # of those in `foreign`
        self._by_order_id: dict[str, Tracked] = {}
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    # What we do.

    def label_of(self, client_order_id: int) -> str:
        return format_order_id(client_order_id, self._prefix)

    def expect(self, command: SubmitOrder, venue: VenueInstrument) -> Tracked:
        """An order is about to leave."""
        order_id = command.client_order_id
        tracked = Tracked(order_id, venue, self.label_of(order_id), command.side, command.quantity)
        tracked.price = command.price
        tracked.time_in_force = command.time_in_force
        tracked.post_only, tracked.reduce_only = command.post_only, command.reduce_only
        tracked.is_market = command.order_type in (OrderType.MARKET, OrderType.STOP)
        tracked.is_stop = command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        tracked.created_ms = command.ts // NS_PER_MS
        self.orders[order_id] = tracked
        return tracked

    def owns(self, label: str, order_id: str) -> bool:
        """Whether this session knows an order under `label`, or has adopted `order_id`."""
        client_order_id = parse_order_id(label, self._prefix)
        return order_id in self._by_order_id or (client_order_id is not None and client_order_id in self.orders)

    def name_of(self, trade: UserTrade) -> int:
        """The id here of the order that a trade filled; FOREIGN_ORDER_ID where it is none of ours."""
        tracked = self._by_order_id.get(trade.order_id)
        if tracked is not None:
            return tracked.client_order_id
        client_order_id = parse_order_id(trade.label or "", self._prefix)
        if client_order_id is None:
            return FOREIGN_ORDER_ID
        known = self.orders.get(client_order_id)
        # Under our label, and of an order that we know to be another one.
        is_twin = known is not None and known.order_id not in ("", trade.order_id) and not self._is_next_life(known)
        return FOREIGN_ORDER_ID if is_twin else client_order_id

    def adopt_foreign(self, client_order_id: int, order: VenueOrder) -> None:
        """From here on the foreign order goes by this id. One that has ended meanwhile is not adopted any more."""
        found = self.pictures.get(order.venue_order_id)
        if found is None or client_order_id in self.orders:
            return
        picture_of, picture = found
        venue = self.instruments[picture_of.instrument_name]
        self._know(client_order_id, venue, picture_of, picture)

    def open(self) -> list[Tracked]:
        return [tracked for tracked in self.orders.values() if not tracked.is_ended]

    # What the venue says.

    def apply(self, ts: int, orders: Sequence[Order], trades: Sequence[UserTrade]) -> None:
        """One step of the venue's: accepted and replaced first, then the trades, then the ends.

        Raises VenueProtocolError where a number cannot be read; events of what came before it have been made.
        """
        fresh: list[tuple[Tracked, Order, Picture]] = []
        for order in orders:
            tracked = self._find(order)
            if tracked is None:
                continue
            picture = self._read(order, tracked.venue)
            if self._begin(ts, tracked, order, picture):
                fresh.append((tracked, order, picture))
        limits = {tracked.order_id: picture.filled for tracked, _, picture in fresh}
        for trade in sorted(trades, key=_trade_order):
            self.book(ts, trade, limits.get(trade.order_id))
        for tracked, order, picture in fresh:
            self._finish(ts, tracked, order, picture)

    def adopt(self, order: Order, trades: Sequence[UserTrade]) -> None:
        """An order of ours from before this session, as a query shows it: known from here on, and no event.

        `trades`: what the same query has of its fills: the daemon gets them with the query.
        """
        client_order_id = parse_order_id(order.label, self._prefix)
        venue = self.instruments.get(order.instrument_name)
        if client_order_id is None or client_order_id in self.orders or venue is None or order.order_state not in OPEN_STATES:
            return
        picture = self._read(order, venue)
        self._know(client_order_id, venue, order, picture)
        for trade in trades:
            if trade.order_id == order.order_id:
                self._remember((trade.order_id, trade.trade_id))

    def _know(self, client_order_id: int, venue: VenueInstrument, order: Order, picture: Picture) -> None:
        tracked = Tracked(client_order_id, venue, order.label, _side(order.direction), picture.amount)
        tracked.price = picture.price
        tracked.time_in_force = _TIME_IN_FORCE.get(order.time_in_force, TimeInForce.GTC)
        tracked.post_only, tracked.reduce_only = order.post_only, order.reduce_only
        tracked.is_market = picture.price is None
        tracked.is_stop = order.order_state == "untriggered"
        tracked.order_id = order.order_id
        tracked.created_ms, tracked.updated_ms = order.creation_timestamp, order.last_update_timestamp
        tracked.filled = tracked.venue_filled = picture.filled
        tracked.is_accepted = True
        self.orders[client_order_id] = tracked
        self._by_order_id[order.order_id] = tracked
        # A stream may have told of it before anybody knew that it is ours.
        self.pictures.pop(order.order_id, None)
        self.foreign.pop(order.order_id, None)

    def _find(self, order: Order) -> Tracked | None:
        """The order of ours that this is; None, and a fact, where it is none or cannot be."""
        if order.order_state not in STATES:
            raise VenueProtocolError(f"order {order.order_id} is {order.order_state!r}")
        client_order_id = parse_order_id(order.label, self._prefix)
        tracked = self._by_order_id.get(order.order_id) if client_order_id is None else self.orders.get(client_order_id)
        if tracked is None:
            self._foreign_order(order, FactKind.FOREIGN_ORDER, "is not one of this session's")
            return None
        if order.instrument_name != tracked.venue.name or _side(order.direction) is not tracked.side:
            self._foreign_order(order, FactKind.CONTRADICTION, f"is not what {order.label} was")
            return None
        if order.order_id in tracked.past_ids:
            return None
        if not tracked.order_id:
            tracked.order_id = order.order_id
            self._by_order_id[order.order_id] = tracked
        elif order.order_id != tracked.order_id:
            if order.trigger_order_id != tracked.order_id:
                tracked.has_twin = True
                self._foreign_order(order, FactKind.DUPLICATE_LABEL, f"bears the label of {tracked.order_id}")
                return None
            # A stop that was triggered goes on as a new order.
            tracked.past_ids = (*tracked.past_ids, tracked.order_id)
            tracked.order_id, tracked.updated_ms = order.order_id, 0
            self._by_order_id[order.order_id] = tracked
        return tracked

    def _foreign_order(self, order: Order, kind: FactKind, text: str) -> None:
        is_new = order.order_id not in self.foreign
        venue = self.instruments.get(order.instrument_name)
        if venue is None or order.order_state not in OPEN_STATES:
            self.foreign.pop(order.order_id, None)
            self.pictures.pop(order.order_id, None)
        else:
            picture = self._read(order, venue)
            self.pictures[order.order_id] = order, picture
            self.foreign[order.order_id] = VenueOrder(
                None,
                venue.instrument.instrument_id,
                _side(order.direction),
                picture.price,
                picture.amount - picture.filled,
                order.order_id,
                order.reduce_only,
            )
        if is_new:
            self._fact(Fact(kind, f"order {order.order_id} ({order.instrument_name}, {order.order_state}) {text}"))

    def _read(self, order: Order, venue: VenueInstrument) -> Picture:
        instrument = venue.instrument
        is_market = order.price is UNSET or bytes(order.price) == MARKET_PRICE
        price = None if is_market or not isinstance(order.price, Raw) else exact(order.price, instrument.price_scale)
        if not isinstance(order.amount, Raw):
            raise VenueProtocolError(f"order {order.order_id} has no amount")
        amount = exact(order.amount, instrument.qty_scale)
        filled = exact(order.filled_amount, instrument.qty_scale) if isinstance(order.filled_amount, Raw) else 0
        if amount <= 0 or filled < 0:
            raise VenueProtocolError(f"order {order.order_id}: amount {amount}, filled {filled}")
        return Picture(price, amount, filled)

    def _begin(self, ts: int, tracked: Tracked, order: Order, picture: Picture) -> bool:
        """Accepted, triggered, replaced. False: an older picture, or one that cannot be."""
        is_open = order.order_state in OPEN_STATES
        if tracked.is_ended and is_open and picture.filled < picture.amount:
            if order.last_update_timestamp > tracked.updated_ms:
                self._foreign_order(order, FactKind.REOPENED, "had ended, and is open")
            return False
        if order.last_update_timestamp < tracked.updated_ms or picture.filled < tracked.venue_filled:
            return False
        if order.order_state == "rejected":
            return True
        ts_event = order.last_update_timestamp * NS_PER_MS
        is_news = not tracked.is_accepted
        if is_news or (tracked.is_unknown and tracked.edit_wanted is None and not tracked.cancel_wanted):
            self._accept(ts, ts_event, tracked, picture)
        if (order.order_state == "triggered" or order.trigger_order_id is not UNSET) and not tracked.is_triggered:
            tracked.is_triggered = True
            self._emit(OrderTriggered(ts_event, ts, tracked.client_order_id))
        price_now = tracked.price if picture.price is None else picture.price
        is_changed = (picture.amount, price_now) != (tracked.amount, tracked.price)
        is_answer = tracked.edit_wanted == (picture.amount, price_now)
        if not is_news and (is_changed or is_answer):
            tracked.amount, tracked.price = picture.amount, price_now
            self.replaced(ts, ts_event, tracked)
        return True

    def _accept(self, ts: int, ts_event: int, tracked: Tracked, picture: Picture) -> None:
        tracked.is_accepted = True
        tracked.is_unknown = False
        tracked.amount = picture.amount
        if picture.price is not None:
            tracked.price = picture.price
        leaves = max(tracked.amount - tracked.filled, 0)
        self._emit(OrderAccepted(ts_event, ts, tracked.client_order_id, tracked.price or 0, leaves, tracked.order_id))

    def replaced(self, ts: int, ts_event: int, tracked: Tracked) -> None:
        """What is open is the answer to an edit, whatever was asked for."""
        tracked.edit_wanted = None
        tracked.is_unknown = False
        leaves = max(tracked.amount - tracked.filled, 0)
        # What is left is counted from the fills that were told, and so it is said.
        self._emit(OrderReplaced(ts_event, ts, tracked.client_order_id, tracked.price or 0, leaves, tracked.filled))

    def book(self, ts: int, trade: UserTrade, filled_max: int | None) -> None:
        """One trade, once. Raises VenueProtocolError where a number cannot be read.

        `filled_max`: what the order itself says is filled; a trade beyond it is not booked, and its order's trades are asked for.
        """
        key = (trade.order_id, trade.trade_id)
        if key in self._seen:
            return
        tracked = self._by_order_id.get(trade.order_id)
        if tracked is None and trade.label:
            client_order_id = parse_order_id(trade.label, self._prefix)
            found = None if client_order_id is None else self.orders.get(client_order_id)
            if found is not None and (not found.order_id or self._is_next_life(found)):
                # The fill came before any word of the order, or of what the stop became.
                self._go_on(ts, found, trade)
                tracked = found
        if tracked is None or tracked.venue.name != trade.instrument_name:
            self._remember(key)
            kind = FactKind.FORCED_FILL if isinstance(trade.liquidation, str) else FactKind.FOREIGN_FILL
            self._fact(Fact(kind, f"trade {trade.trade_id} of order {trade.order_id} in {trade.instrument_name}"))
            venue = self.instruments.get(trade.instrument_name)
            if venue is not None:
                self._emit(read_fill(ts, trade, venue, FOREIGN_ORDER_ID, 0))
            return
        fill = read_fill(ts, trade, tracked.venue, tracked.client_order_id, 0)
        if fill.side is not tracked.side:
            raise VenueProtocolError(f"trade {trade.trade_id} is a {trade.direction} of an order that was not")
        if filled_max is not None and tracked.filled + fill.qty > filled_max:
            self._fact(Fact(FactKind.SUSPECT_FILL, f"trade {trade.trade_id}: order {trade.order_id} does not know of it"))
            self.on_missing(ts, tracked)
            return
        if fill.commission_currency != tracked.venue.instrument.settlement_currency:
            self._fact(Fact(FactKind.ODD_CURRENCY, f"trade {trade.trade_id} has its fee in {fill.commission_currency}"))
        self._remember(key)
        tracked.filled += fill.qty
        leaves = max(tracked.amount - tracked.filled, 0)
        if not leaves:
            self._end(tracked)
        self._emit(msgspec.structs.replace(fill, leaves_qty=leaves))

    @staticmethod
    def _is_next_life(tracked: Tracked) -> bool:
        """Whether a trade under its label and another order id is of the order that the stop has become."""
        return tracked.is_stop and not tracked.past_ids

    def _go_on(self, ts: int, tracked: Tracked, trade: UserTrade) -> None:
        if tracked.order_id:
            tracked.past_ids = (tracked.order_id,)
            tracked.updated_ms = 0
            if not tracked.is_triggered:
                tracked.is_triggered = True
                self._emit(OrderTriggered(trade.timestamp * NS_PER_MS, ts, tracked.client_order_id))
        tracked.order_id = trade.order_id
        self._by_order_id[trade.order_id] = tracked

    def _finish(self, ts: int, tracked: Tracked, order: Order, picture: Picture) -> None:
        ts_event = order.last_update_timestamp * NS_PER_MS
        tracked.updated_ms = order.last_update_timestamp
        tracked.venue_filled = picture.filled
        if picture.filled > tracked.filled:
            self.on_missing(ts, tracked)
        state, was_ended = order.order_state, tracked.is_ended
        if state in ("open", "untriggered", "triggered"):
            return
        self._end(tracked)
        if state == "filled" or was_ended:
            return
        client_order_id = tracked.client_order_id
        if state == "rejected":
            self._emit(OrderRejected(ts_event, ts, client_order_id, Reason.NONE, "rejected by the venue"))
            return
        left = max(picture.amount - picture.filled, 0)
        if self._is_day_end(tracked, order):
            self._emit(OrderExpired(ts_event, ts, client_order_id, left))
        else:
            self._emit(OrderCanceled(ts_event, ts, client_order_id, left, self._cancel_reason(tracked, order)))

    def _is_day_end(self, tracked: Tracked, order: Order) -> bool:
        """A day order that nobody canceled, at or after the 08:00 UTC that follows its creation. What reason it bears: [?]."""
        if tracked.time_in_force is not TimeInForce.DAY or tracked.cancel_wanted:
            return False
        created_ns = order.creation_timestamp * NS_PER_MS
        day_end_ns = (created_ns - DAY_END_NS) // NS_PER_DAY * NS_PER_DAY + NS_PER_DAY + DAY_END_NS
        return order.last_update_timestamp * NS_PER_MS >= day_end_ns and order.cancel_reason in (UNSET, "", "settlement")

    def _cancel_reason(self, tracked: Tracked, order: Order) -> Reason:
        text = order.cancel_reason if isinstance(order.cancel_reason, str) else ""
        reason = CANCEL_REASONS.get(text)
        if reason is None:
            self._fact(Fact(FactKind.UNKNOWN_REASON, f"order {order.order_id} was cancelled for {text!r}"))
            return Reason.NONE
        if not text and not tracked.cancel_wanted:
            if tracked.time_in_force is TimeInForce.FOK:
                return Reason.FOK
            if tracked.time_in_force is TimeInForce.IOC or tracked.is_market:
                return Reason.IOC
        return reason

    # Ends that the session finds.

    def refused(self, ts: int, tracked: Tracked, reason: Reason, text: str) -> None:
        """It never lived."""
        self._end(tracked)
        self._emit(OrderRejected(ts, ts, tracked.client_order_id, reason, text))

    def vanished(self, ts: int, tracked: Tracked, text: str) -> None:
        """The venue does not know it any more."""
        left = tracked.leaves
        self._end(tracked)
        self._fact(Fact(FactKind.LOST_ORDER, f"order {tracked.order_id}: {text}"))
        self._emit(OrderCanceled(ts, ts, tracked.client_order_id, left, Reason.UNKNOWN_ORDER))

    def gone(self, tracked: Tracked) -> None:
        """Not among the open ones that the venue names: the daemon concludes the rest."""
        self._end(tracked)

    def still_open(self, ts: int, tracked: Tracked) -> None:
        """The end of UNKNOWN for an order that the venue shows as open and unchanged."""
        tracked.is_unknown = False
        tracked.cancel_wanted = False
        if tracked.edit_wanted is not None:
            self.replaced(ts, ts, tracked)
            return
        self._emit(
            OrderAccepted(
                ts, ts, tracked.client_order_id, tracked.price or 0, max(tracked.amount - tracked.filled, 0), tracked.order_id
            )
        )

    def not_canceled(self, ts: int, tracked: Tracked) -> None:
        """A cancel was answered, and the order is open all the same."""
        tracked.cancel_wanted = False
        self._emit(CancelRejected(ts, ts, tracked.client_order_id, Reason.NONE))

    def _end(self, tracked: Tracked) -> None:
        if tracked.is_ended:
            return
        tracked.is_ended = True
        tracked.is_unknown = tracked.cancel_wanted = False
        tracked.edit_wanted = None
        self._ended[tracked.client_order_id] = None
        if len(self._ended) > ENDED_KEPT_MAX:
            oldest, _ = self._ended.popitem(last=False)
            old = self.orders.pop(oldest)
            for order_id in (*old.past_ids, old.order_id):
                self._by_order_id.pop(order_id, None)

    def _remember(self, key: tuple[str, str]) -> None:
        self._seen[key] = None
        if len(self._seen) > TRADES_KEPT_MAX:
            self._seen.popitem(last=False)


def read_fill(ts: int, trade: UserTrade, venue: VenueInstrument, client_order_id: int, leaves: int) -> OrderFilled:
    """A trade of ours as an event. `direction` is taken as our own side, as every known client does [?]."""
    instrument = venue.instrument
    qty = exact(trade.amount, instrument.qty_scale)
    if qty <= 0:
        raise VenueProtocolError(f"trade {trade.trade_id} has amount {qty}")
    return OrderFilled(
        trade.timestamp * NS_PER_MS,
        ts,
        client_order_id,
        instrument.instrument_id,
        trade.trade_id,
        _side(trade.direction),
        exact(trade.price, instrument.price_scale),
        qty,
        leaves,
        LiquiditySide.MAKER if trade.liquidity == "M" else LiquiditySide.TAKER,
        rounded_money(trade.fee, MONEY_SCALE),
        trade.fee_currency,
    )


def _side(direction: str) -> Side:
    return Side.BUY if direction == "buy" else Side.SELL


def _nobody_asks(_ts: int, _tracked: Tracked) -> None:
    return


def _trade_order(trade: UserTrade) -> tuple[int, int, str]:
    return trade.timestamp, trade.trade_seq, trade.trade_id
