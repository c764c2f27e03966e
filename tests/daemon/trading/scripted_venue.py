"""A venue that does what a test tells it: it takes orders or loses them, answers or does not, trades by hand, is not reached.

Its ledger is its own. A quote's bid quantity tells the strategy of these tests what to do (`Obedient`).
"""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
from pydantic import BaseModel, ConfigDict

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, SubmitOrder
from core.enums import CashKind, LiquiditySide, Reason, Side
from core.errors import TransportError
from core.events import AnyEvent, CashMoved, OrderAccepted, OrderCanceled, OrderFilled, Quote
from core.instruments import Instrument
from core.order_store import FOREIGN_ORDER_ID
from core.strategy import Subscription
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from daemon.trading.clock import Clock

INSTRUMENT = "ACME.SIM"
PRICE = 10_000
BUY_ONE, SELL_ONE, CANCEL, NOTHING = 1, 2, 3, 9


class Obedient:
    """Does what the bid's quantity says; remembers what it was told in a way that a replay repeats."""

    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self.heard: list[str] = []

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="packet")]

    def on_quote(self, context: Any, quote: Quote) -> None:
        if quote.bid_qty == BUY_ONE:
            context.submit(INSTRUMENT, Side.BUY, 1, quote.bid_price)
        elif quote.bid_qty == SELL_ONE:
            context.submit(INSTRUMENT, Side.SELL, 1, quote.ask_price)
        elif quote.bid_qty == CANCEL:
            context.cancel_all()


class ScriptedVenue:
    def __init__(self, clock: Clock, *, not_found_ns: int = 0) -> None:
        self.clock = clock
        self.not_found_ns = not_found_ns
        self.orders: dict[str, VenueOrder] = {}  # by the venue's name
        self.executions: list[OrderFilled] = []
        self.cash_moves: list[CashMoved] = []
        self.position = 0
        self.sent: list[Any] = []
        self.adopted: dict[str, int] = {}
        self.loses_orders = False  # what is sent never arrives
        self.loses_answers = False  # it arrives, and nothing comes back
        self.loses_fills = False  # fills are booked there, and the stream does not say
        self.is_reachable = True
        self.behind_ns = 0  # its clock behind ours, which is wrong
        self.queries = 0
        self.has_begun = False
        self._events: list[AnyEvent] = []
        self._count = 0

    # What a test does there.

    def tell(self, what: int, price: int = PRICE) -> None:
        now = self.clock.now()
        self._events.append(Quote(now, now, INSTRUMENT, price, what, price + 1, 50))

    def say(self, event: AnyEvent) -> None:
        self._events.append(event)

    def rest_by_hand(self, side: Side, qty: int, price: int | None = PRICE, client_order_id: int | None = None) -> str:
        """Somebody else's order."""
        self._count += 1
        name = f"hand{self._count}"
        self.orders[name] = VenueOrder(client_order_id, INSTRUMENT, side, price, qty, name)
        return name

    def trade_by_hand(self, side: Side, qty: int, *, is_streamed: bool = True) -> OrderFilled:
        return self._book(FOREIGN_ORDER_ID, side, PRICE, qty, 0, is_streamed=is_streamed)

    def fill(self, name: str, qty: int) -> OrderFilled:
        order = self.orders[name]
        left = order.leaves_qty - qty
        if left:
            self.orders[name] = msgspec.structs.replace(order, leaves_qty=left)
        else:
            del self.orders[name]
        order_id = self.adopted.get(name) or order.client_order_id or FOREIGN_ORDER_ID
        return self._book(order_id, order.side, order.price or PRICE, qty, left, is_streamed=not self.loses_fills)

    def move_cash(self, amount: int, *, is_streamed: bool = True, ts: int | None = None) -> CashMoved:
        """Funding of the instrument."""
        now = self.clock.now() if ts is None else ts
        name = f"m{len(self.cash_moves) + 1}"
        moved = CashMoved(now, now, "SIM", name, CashKind.FUNDING, "USD", amount, INSTRUMENT)
        self.cash_moves.append(moved)
        if is_streamed:
            self._events.append(moved)
        return moved

    def fill_again(self, fill: OrderFilled, qty: int) -> OrderFilled:
        """More of an order that is done."""
        return self._book(fill.client_order_id, fill.side, fill.price, qty, 0, is_streamed=True)

    def drop(self, name: str) -> None:
        """The order is gone, and the stream does not say."""
        del self.orders[name]

    def _book(self, order_id: int, side: Side, price: int, qty: int, left: int, *, is_streamed: bool) -> OrderFilled:
        now = self.clock.now() - self.behind_ns
        name, maker = f"x{len(self.executions) + 1}", LiquiditySide.MAKER
        fill = OrderFilled(now, now, order_id, INSTRUMENT, name, side, price, qty, left, maker, 100, "USD")
        self.executions.append(fill)
        self.position += qty if side is Side.BUY else -qty
        if is_streamed:
            self._events.append(fill)
        return fill

    # The adapter.

    async def open(self) -> None:
        """It is there."""

    async def close(self) -> None:
        """It stays."""

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        self.has_begun = True
        while True:
            events, self._events = self._events, []
            for event in events:
                await sink.put(event)
            await anyio.sleep(0.001)

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self.adopted[order.venue_order_id] = client_order_id

    def send(self, approved: Approved) -> None:
        command, now = approved.command, self.clock.now()
        self.sent.append(command)
        if self.loses_orders:
            return
        match command:
            case SubmitOrder(client_order_id=order_id):
                name = f"v{order_id}"
                self.orders[name] = VenueOrder(order_id, INSTRUMENT, command.side, command.price, command.quantity, name)
                self._answer(OrderAccepted(now, now, order_id, command.price or 0, command.quantity, name))
                if command.price is None:
                    self.fill(name, command.quantity)
            case CancelOrder(client_order_id=order_id):
                self._cancel(order_id)
            case CancelAll():
                for name in list(self.orders):
                    self._cancel(self.adopted.get(name) or self.orders[name].client_order_id or FOREIGN_ORDER_ID, name)

    def _cancel(self, order_id: int, name: str | None = None) -> None:
        names = {order.client_order_id: key for key, order in self.orders.items()} | {v: k for k, v in self.adopted.items()}
        found = self.orders.pop(name or names.get(order_id, ""), None)
        if found is not None and order_id != FOREIGN_ORDER_ID:
            now = self.clock.now()
            self._answer(OrderCanceled(now, now, order_id, found.leaves_qty, Reason.REQUESTED))

    def _answer(self, event: AnyEvent) -> None:
        if not self.loses_answers:
            self._events.append(event)

    async def query(self, since_ts: int) -> VenueState:
        self.queries += 1
        await anyio.sleep(0)
        if not self.is_reachable:
            raise TransportError("the venue cannot be reached")
        executions = [fill for fill in self.executions if fill.ts_event >= since_ts]
        return VenueState(
            tuple(self.orders.values()),
            tuple(executions),
            {INSTRUMENT: self.position},
            None,
            self.not_found_ns,
            cash_moves=tuple(moved for moved in self.cash_moves if moved.ts_event >= since_ts),
            ts=self.clock.now() - self.behind_ns if self.behind_ns else 0,
        )
