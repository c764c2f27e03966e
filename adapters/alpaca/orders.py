"""Our orders as Alpaca knows them: which of its ids are ours, what was told of each, and bodies as core events. Pure.

An execution is named by its order's id and the quantity that was filled right behind it: trade_updates and the activities both
say that, whatever ids they give the execution itself. So a fill that is told twice, by either, or again under another id, is one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from adapters.alpaca.codec import AlpacaCodec, parse_client_text
from adapters.alpaca.exact import is_null, number_of, optional_number, stamp_of
from adapters.alpaca.fees import Fees
from adapters.alpaca.wire import ActivityBody, OrderBody, Status, TradeUpdate
from core.commands import SubmitOrder
from core.enums import LiquiditySide, Reason, Side, TimeInForce
from core.errors import VenueProtocolError
from core.events import OrderAccepted, OrderCanceled, OrderExpired, OrderFilled, OrderRejected
from core.instruments import Instrument
from core.order_store import FOREIGN_ORDER_ID
from core.units import NS_PER_SECOND
from core.venue_adapter import VenueOrder

ORDERS_KEPT_MAX = 100_000
LIST_SPAN_NS = 300 * NS_PER_SECOND  # what the account's requests let be submitted in it, one page of a list holds
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_TIMES = {
    "day": TimeInForce.DAY,
    "gtc": TimeInForce.GTC,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
    "opg": TimeInForce.OPG,
    "cls": TimeInForce.DAY,
}


class Replacing(msgspec.Struct, frozen=True):
    """A replace that is not decided yet."""

    generation: int
    leaves_qty: int
    price: int


class Ours(msgspec.Struct):
    """One order of ours, or one that was adopted."""

    client_order_id: int
    instrument_id: str
    side: Side
    time_in_force: TimeInForce
    price: int
    quantity: int
    venue_id: str = ""  # of the newest of its generations
    generation: int = 0
    is_open: bool = True
    is_accepted: bool = False
    is_unknown: bool = False  # it was said that what became of a request is not known
    is_cancel_asked: bool = False  # and nothing said yet what became of that
    is_cancel_waiting: bool = False  # for the venue's id, without which nothing can be canceled
    is_adopted: bool = False
    is_replace_untold: bool = False  # the venue has replaced it, and how it stands now is being asked
    replacing: Replacing | None = None
    is_earlier: bool = False  # of a process before this one: the venue brought it up
    submitted_ts: int = 0
    end_number: int = 0  # which of all ends was its own
    cancel_sent_ts: int = 0  # of the last cancel that was not refused
    cancel_refused_ts: int = 0  # of the last that was
    cancel_refusals: int = 0  # so many in a row, since the venue said last how it stands
    fills_wanted_ts: int = 0  # since when an execution is missing
    # By the venue's id: what was filled right behind each execution that was told, and how much that one was.
    told: dict[str, dict[int, int]] = {}
    # By the venue's id: how much of it is filled, as the order itself says.
    claimed: dict[str, int] = {}

    def is_complete(self) -> bool:
        """Whether executions that were told explain all that is filled, without a gap."""
        return all(self._is_explained(venue_id, filled) for venue_id, filled in self.claimed.items())

    def filled_in_all(self, venue_id: str, filled: int) -> int:
        """Of every generation, where the newest, `venue_id`, counts `filled`; told or not."""
        told_before = sum(qty for other, told in self.told.items() if other != venue_id for qty in told.values())
        before = max(told_before, *(claim for other, claim in self.claimed.items() if other != venue_id), 0)
        told = self.told.get(venue_id, {})
        first = min(told, default=None)
        goes_on = filled == before if first is None else first - told[first] == before
        # Where nothing says which, it begins at nothing: too much may be left here for a while, but never too little.
        return filled if goes_on else before + filled

    def _is_explained(self, venue_id: str, filled: int) -> bool:
        before = sum(qty for other, told in self.told.items() if other != venue_id for qty in told.values())
        # A replaced order may begin at nothing, or go on counting from what was filled before: the venue does not say which.
        at: int | None = None
        for cumulative, qty in sorted(self.told.get(venue_id, {}).items()):
            if at is None and cumulative - qty not in (0, before):
                return False
            if at is not None and cumulative - qty != at:
                return False
            at = cumulative
        return filled in (0, before) if at is None else at >= filled


def on_one_list(group: Iterable[Ours]) -> list[Ours]:
    """Those of `group` that one page of all orders shows that begins with the oldest of them; none where that would be one."""
    known = [ours for ours in group if ours.venue_id and ours.submitted_ts]
    newest = max((ours.submitted_ts for ours in known), default=0)
    found = [ours for ours in known if newest - ours.submitted_ts <= LIST_SPAN_NS]
    return found if len(found) > 1 else []


class Orders:
    """Bounded: the oldest order that has ended is forgotten first."""

    def __init__(self, codec: AlpacaCodec, fees: Fees) -> None:
        self._codec = codec
        self._fees = fees
        self._by_id: OrderedDict[int, Ours] = OrderedDict()
        self._by_venue_id: dict[str, int] = {}
        self.ends = 0  # so many orders have ended here

    def get(self, client_order_id: int) -> Ours | None:
        return self._by_id.get(client_order_id)

    def open(self, instrument_id: str | None = None) -> list[Ours]:
        return [
            each
            for each in self._by_id.values()
            if each.is_open and (instrument_id is None or each.instrument_id == instrument_id)
        ]

    def submit(self, command: SubmitOrder) -> Ours:
        return self._keep(
            Ours(
                command.client_order_id,
                command.instrument_id,
                command.side,
                command.time_in_force,
                command.price or 0,
                command.quantity,
                told={},
                claimed={},
            )
        )

    def end(self, ours: Ours) -> None:
        self.ends += ours.is_open
        ours.is_open, ours.end_number = False, self.ends

    def forget(self, ours: Ours) -> None:
        """It did not leave."""
        self._by_id.pop(ours.client_order_id, None)

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        ours = self._keep(
            Ours(
                client_order_id,
                order.instrument_id,
                order.side,
                TimeInForce.GTC,
                order.price or 0,
                order.leaves_qty,
                is_accepted=True,
                is_adopted=True,
                told={},
                claimed={},
            )
        )
        self.name(ours, order.venue_order_id)

    def name(self, ours: Ours, venue_id: str) -> None:
        """The venue's id of its newest generation."""
        ours.venue_id = venue_id
        self._by_venue_id[venue_id] = ours.client_order_id

    def by_venue_id(self, venue_id: str) -> Ours | None:
        order_id = self._by_venue_id.get(venue_id)
        return None if order_id is None else self._by_id.get(order_id)

    def of_body(self, body: OrderBody) -> Ours | None:
        """Whose it is; None for a stranger's. One of ours from an earlier run is remembered from here on."""
        ours = self.by_venue_id(body.id)
        if ours is not None:
            return ours
        parsed = parse_client_text(body.client_order_id, self._codec.prefix)
        if parsed is None:
            # Replaced by hand or for a corporate action, under an id of the venue's own making.
            replaced = None if body.replaces is None else self.by_venue_id(body.replaces)
            if replaced is not None:
                self._by_venue_id[body.id] = replaced.client_order_id
            return replaced
        order_id, generation = parsed
        ours = self._by_id.get(order_id)
        if ours is None:
            ours = self._from_body(order_id, body)
            if ours is None:
                return None
        self._by_venue_id[body.id] = order_id
        if not ours.venue_id or (generation > ours.generation and ours.replacing is None):
            ours.venue_id, ours.generation = body.id, generation
        return ours

    def _from_body(self, order_id: int, body: OrderBody) -> Ours | None:
        instrument = self.instrument_of(body.symbol)
        if instrument is None or body.side not in _SIDES or is_null(body.qty):
            return None
        quantity = number_of(body.qty, instrument.qty_scale, "qty")
        price = optional_number(body.limit_price, instrument.price_scale, "limit_price") or 0
        time_in_force = _TIMES.get(body.time_in_force, TimeInForce.GTC)
        return self._keep(
            Ours(
                order_id,
                instrument.instrument_id,
                _SIDES[body.side],
                time_in_force,
                price,
                quantity,
                is_earlier=True,
                told={},
                claimed={},
            )
        )

    def _keep(self, ours: Ours) -> Ours:
        self._by_id[ours.client_order_id] = ours
        if len(self._by_id) > ORDERS_KEPT_MAX:
            oldest = next((key for key, each in self._by_id.items() if not each.is_open), None)
            if oldest is not None:
                forgotten = self._by_id.pop(oldest)
                for venue_id in {forgotten.venue_id, *forgotten.told}:
                    self._by_venue_id.pop(venue_id, None)
        return ours

    def instrument_of(self, symbol: str) -> Instrument | None:
        instrument_id = self._codec.by_symbol.get(symbol)
        return None if instrument_id is None else self._codec.instruments[instrument_id]

    # Bodies as numbers.

    def quantities(self, instrument: Instrument, body: OrderBody) -> tuple[int, int]:
        """How much it is, and how much of that is filled. Raises VenueProtocolError."""
        quantity = number_of(body.qty, instrument.qty_scale, "qty")
        filled = optional_number(body.filled_qty, instrument.qty_scale, "filled_qty") or 0
        if quantity < 0 or filled < 0:
            raise VenueProtocolError(f"order {body.id}: qty {quantity}, filled_qty {filled}")
        return quantity, filled

    def instrument(self, ours: Ours) -> Instrument:
        return self._codec.instruments[ours.instrument_id]

    def require_same(self, ours: Ours, body: OrderBody) -> None:
        """Raises VenueProtocolError where a body under our name is of another instrument or side."""
        if self._codec.by_symbol.get(body.symbol) != ours.instrument_id or _SIDES.get(body.side) is not ours.side:
            raise VenueProtocolError(
                f"order {ours.client_order_id} is {ours.side.name} {ours.instrument_id} here, {body.side} {body.symbol} there"
            )

    # Events.

    def accepted(self, ours: Ours, body: OrderBody, ts: int) -> OrderAccepted:
        quantity, filled = self.quantities(self.instrument(ours), body)
        ours.is_accepted, ours.is_unknown = True, False
        price = self.price_of(ours, body)
        return OrderAccepted(stamp(body.submitted_at, ts), ts, ours.client_order_id, price, max(quantity - filled, 0), body.id)

    def price_of(self, ours: Ours, body: OrderBody) -> int:
        found = optional_number(body.limit_price, self.instrument(ours).price_scale, "limit_price")
        return ours.price if found is None else found

    def fill_of_update(self, ours: Ours | None, update: TradeUpdate, ts: int) -> OrderFilled | None:
        """None for a fill of no instrument here. Raises VenueProtocolError."""
        body = update.order
        instrument = self.instrument_of(body.symbol)
        if instrument is None or body.side not in _SIDES:
            return None
        quantity = optional_number(body.qty, instrument.qty_scale, "qty")
        filled = number_of(body.filled_qty, instrument.qty_scale, "filled_qty")
        leaves = 0 if quantity is None else max(quantity - filled, 0)
        price = number_of(update.price, instrument.price_scale, "price")
        qty = number_of(update.qty, instrument.qty_scale, "qty")
        ts_event = stamp(update.timestamp or update.at, ts)
        return self._fill(ours, instrument, body.id, body.side, price, qty, filled, leaves, ts_event, ts)

    def fill_of_activity(self, ours: Ours | None, activity: ActivityBody, ts: int) -> OrderFilled | None:
        """None for a fill of no instrument here. Raises VenueProtocolError."""
        instrument = self.instrument_of(activity.symbol)
        side = "sell" if activity.side == "sell_short" else activity.side
        if instrument is None or side not in _SIDES:
            return None
        price = number_of(activity.price, instrument.price_scale, "price")
        qty = number_of(activity.qty, instrument.qty_scale, "qty")
        filled = number_of(activity.cum_qty, instrument.qty_scale, "cum_qty")
        leaves = number_of(activity.leaves_qty, instrument.qty_scale, "leaves_qty")
        ts_event = stamp_of(activity.transaction_time, "transaction_time")
        return self._fill(ours, instrument, activity.order_id, side, price, qty, filled, leaves, ts_event, ts)

    def _fill(
        self,
        ours: Ours | None,
        instrument: Instrument,
        venue_id: str,
        side_text: str,
        price: int,
        qty: int,
        filled: int,
        leaves: int,
        ts_event: int,
        ts: int,
    ) -> OrderFilled:
        side = _SIDES[side_text]
        if not (0 < qty <= filled and price > 0 and leaves >= 0):
            raise VenueProtocolError(f"an execution that cannot be: {qty} of {filled} at {price}, {leaves} left, of {venue_id}")
        if ours is not None and (instrument.instrument_id != ours.instrument_id or side is not ours.side):
            raise VenueProtocolError(f"an execution of {venue_id} is not in our order's instrument or on its side")
        return OrderFilled(
            ts_event,
            ts,
            FOREIGN_ORDER_ID if ours is None else ours.client_order_id,
            instrument.instrument_id,
            execution_name(venue_id, filled),
            side,
            price,
            qty,
            leaves,
            LiquiditySide.TAKER,  # the venue does not say
            self._fees.of(instrument, side, price, qty, ts_event),
            instrument.settlement_currency,
        )

    @staticmethod
    def tell(ours: Ours, fill: OrderFilled) -> bool:
        """Remember it as told; False where it was."""
        venue_id, _, filled = fill.execution_id.rpartition("/")
        told = ours.told.setdefault(venue_id, {})
        if int(filled) in told:
            return False
        told[int(filled)] = fill.qty
        return True

    def ended(self, ours: Ours, body: OrderBody, ts: int) -> OrderCanceled | OrderExpired | OrderRejected | None:
        """The event of a body that has ended but for fills; None for a filled one. What is left counts as canceled."""
        quantity, filled = self.quantities(self.instrument(ours), body)
        order_id, left = ours.client_order_id, max(quantity - filled, 0)
        match body.status:
            case Status.REJECTED if not filled and not ours.told:
                return OrderRejected(stamp(body.failed_at, ts), ts, order_id, Reason.NONE, "the venue rejected it")
            case Status.EXPIRED if ours.time_in_force not in (TimeInForce.IOC, TimeInForce.FOK):
                return OrderExpired(stamp(body.expired_at, ts), ts, order_id, left)
            case Status.CANCELED | Status.REJECTED | Status.EXPIRED:
                ended_at = body.canceled_at or body.expired_at or body.failed_at
                return OrderCanceled(stamp(ended_at, ts), ts, order_id, left, _why_ended(ours))
            case _:
                return None

    # What a query says.

    def venue_order(self, body: OrderBody) -> VenueOrder | None:
        """An open order; None where it is of no instrument here. Raises VenueProtocolError."""
        instrument = self.instrument_of(body.symbol)
        if instrument is None or body.side not in _SIDES or is_null(body.qty):
            return None
        quantity, filled = self.quantities(instrument, body)
        ours = self.of_body(body)
        price = optional_number(body.limit_price, instrument.price_scale, "limit_price")
        order_id = None if ours is None else ours.client_order_id
        return VenueOrder(order_id, instrument.instrument_id, _SIDES[body.side], price, max(quantity - filled, 0), body.id)


def execution_name(venue_id: str, filled: int) -> str:
    return f"{venue_id}/{filled}"


def stamp(text: str | None, ts: int) -> int:
    """The venue's stamp, or ours where it gave none."""
    return ts if text is None else stamp_of(text, "stamp")


def _why_ended(ours: Ours) -> Reason:
    if ours.is_cancel_asked:
        return Reason.REQUESTED
    return {TimeInForce.IOC: Reason.IOC, TimeInForce.FOK: Reason.FOK}.get(ours.time_in_force, Reason.NONE)
