"""What subscribers of a running session are sent as it happens: market data, fills, orders; as lines of JSON.

The loop only notes what has changed; lines are made in the subscriber's own turn, from what is known then. Market data and orders
are conflated: of each instrument and each order the latest counts. Fills are never left out: a subscriber that lets too many of
them wait is cut off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice

import anyio
import msgspec

from core.events import AnyEvent, Book, GapDetected, OrderEvent, OrderFilled, Quote, StatusChanged, Trade
from daemon.timestamps import iso
from daemon.trading.session import Session
from daemon.trading.views import fill_view, market_view, order_view

TOPICS = ("md", "fills", "orders")
FILLS_WAITING_MAX = 10_000  # of one subscriber
LINES_AT_ONCE_MAX = 256  # then the loop has its turn
MARKET_INTERVAL_S_MIN = 0.005  # between two pieces of market data for one subscriber
HEARTBEAT_S = 1.0
FILLS_KEPT_MAX = 1_000  # of each client, for who asks later

_MARKET = (Quote, Book, Trade, StatusChanged, GapDetected)


class Subscriber:
    """One stream. `strategy_id` "": everybody's fills and orders; `levels_of`: whose market data, and how many levels."""

    def __init__(
        self, streams: Streams, topics: Collection[str], strategy_id: str, levels_of: dict[str, int], interval_s: float
    ) -> None:
        self._streams = streams
        self._strategy_id = strategy_id
        self.levels_of = levels_of if "md" in topics else {}
        self.wants_fills = "fills" in topics
        self.wants_orders = "orders" in topics
        self._markets: dict[str, None] = dict.fromkeys(self.levels_of)
        self._orders: dict[int, None] = {}
        self._fills: deque[bytes] = deque()
        self._interval_s = max(interval_s, MARKET_INTERVAL_S_MIN)
        self._market_due_s = 0.0
        self._heartbeat_due_s = 0.0
        self._changed = anyio.Event()
        self._is_cut = False

    # Called in the loop.

    def mark(self, markets: Collection[str], orders: Collection[tuple[int, str]], fills: Sequence[tuple[str, bytes]]) -> None:
        own = self._strategy_id
        if self.levels_of:
            for instrument_id in markets:
                if instrument_id in self.levels_of:
                    self._markets[instrument_id] = None
        if self.wants_orders:
            for client_order_id, strategy_id in orders:
                if not own or strategy_id == own:
                    self._orders[client_order_id] = None
        if self.wants_fills:
            self._fills.extend(line for strategy_id, line in fills if not own or strategy_id == own)
            self._is_cut = self._is_cut or len(self._fills) > FILLS_WAITING_MAX
        self._changed.set()

    # The subscriber's own turn.

    async def next_lines(self) -> bytes | None:
        """Waits until there is something, at most HEARTBEAT_S."""
        while not self._is_cut:
            lines = self._take(anyio.current_time())
            if lines:
                return b"".join(lines)
            self._changed = anyio.Event()
            due_s = self._heartbeat_due_s
            if self._markets:
                due_s = min(due_s, self._market_due_s)
            with anyio.move_on_after(max(due_s - anyio.current_time(), 0)):
                await self._changed.wait()
        return None

    def _take(self, now_s: float) -> list[bytes]:
        streams = self._streams
        lines = [self._fills.popleft() for _ in range(min(len(self._fills), LINES_AT_ONCE_MAX))]
        for client_order_id in list(islice(self._orders, LINES_AT_ONCE_MAX)):
            del self._orders[client_order_id]
            lines += streams.order_line(client_order_id)
        if self._markets and now_s >= self._market_due_s:
            self._market_due_s = now_s + self._interval_s
            for instrument_id in list(islice(self._markets, LINES_AT_ONCE_MAX)):
                del self._markets[instrument_id]
                lines.append(streams.market_line(instrument_id, self.levels_of[instrument_id]))
        if now_s >= self._heartbeat_due_s:
            self._heartbeat_due_s = now_s + HEARTBEAT_S
            lines.append(streams.heartbeat_line())
        return lines

    def close(self) -> None:
        self._streams.forget(self)


class Streams:
    """All subscribers of one session, and each client's last fills."""

    def __init__(self, session: Session, phase: Callable[[], str], client_ids: Collection[str]) -> None:
        self._session = session
        self._phase = phase
        self._subscribers: list[Subscriber] = []
        self._fills_seen = 0
        self.fills_of: dict[str, deque[tuple[int, OrderFilled]]] = {key: deque(maxlen=FILLS_KEPT_MAX) for key in client_ids}
        self._take_fills()  # those that the venue told of at the start

    def __len__(self) -> int:
        return len(self._subscribers)

    def open(self, topics: Collection[str], strategy_id: str, levels_of: dict[str, int], interval_s: float = 0.0) -> Subscriber:
        subscriber = Subscriber(self, topics, strategy_id, levels_of, interval_s)
        self._subscribers.append(subscriber)
        return subscriber

    def forget(self, subscriber: Subscriber) -> None:
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)

    def publish(self, events: Sequence[AnyEvent]) -> None:
        """Called with each batch, after its orders have left."""
        fills = self._take_fills()
        if not self._subscribers:
            return
        markets: dict[str, None] = {}
        orders: dict[tuple[int, str], None] = {}
        known = self._session.trader.orders
        for event in events:
            if isinstance(event, _MARKET):
                markets[event.instrument_id] = None
            elif isinstance(event, OrderEvent):
                order = known.get(event.client_order_id)
                if order is not None:
                    orders[order.client_order_id, order.strategy_id] = None
        lines = [(strategy_id, _line("fill", view)) for strategy_id, view in self._shown(fills)]
        if markets or orders or lines:
            for subscriber in self._subscribers:
                subscriber.mark(markets, orders, lines)

    def _take_fills(self) -> list[tuple[int, OrderFilled]]:
        """Those booked since the last look, numbered from 1 in this run."""
        session = self._session
        count = min(session.fills_count - self._fills_seen, len(session.fills))
        if not count:
            return []
        first = session.fills_count - count + 1
        new = list(enumerate(islice(session.fills, len(session.fills) - count, None), first))
        self._fills_seen = session.fills_count
        for number, fill in new:
            order = session.trader.orders.get(fill.client_order_id)
            if order is not None and order.strategy_id in self.fills_of:
                self.fills_of[order.strategy_id].append((number, fill))
        return new

    def _shown(self, fills: Sequence[tuple[int, OrderFilled]]) -> list[tuple[str, dict[str, object]]]:
        trader = self._session.trader
        views = [fill_view(trader, fill, number) for number, fill in fills]
        return [(str(view["strategy_id"] or ""), view) for view in views]

    def market_line(self, instrument_id: str, levels: int) -> bytes:
        return _line("md", market_view(self._session.trader, instrument_id, levels))

    def order_line(self, client_order_id: int) -> list[bytes]:
        trader = self._session.trader
        order = trader.orders.get(client_order_id)
        return [] if order is None else [_line("order", order_view(trader, order))]

    def heartbeat_line(self) -> bytes:
        session = self._session
        return _line(
            "heartbeat",
            {
                "time": iso(session.clock.now()),
                "phase": self._phase(),
                "trading_state": session.trader.risk.trading_state.name,
                "fills": session.fills_count,
            },
        )


def _line(kind: str, content: dict[str, object]) -> bytes:
    return msgspec.json.encode({"type": kind, **content}) + b"\n"
