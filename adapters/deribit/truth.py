"""Where things stand at the venue: open orders, executions, positions, taken so that they belong together.

Positions are asked for first and last: where they differ, or the user stream spoke in between, the answers are of different
moments and the round is repeated. Executions come oldest first, page by page; of the last 24 hours at once, older ones from
the history (documented).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adapters.deribit import requests
from adapters.deribit.exact import exact
from adapters.deribit.instruments import VenueInstrument
from adapters.deribit.link import Link
from adapters.deribit.settings import FactKind
from adapters.deribit.tracker import Tracker, read_fill
from adapters.deribit.wire import Answer, Order, Position, Refusal, TradesResult, UserTrade, decode_result
from core.errors import VenueProtocolError
from core.events import OrderFilled
from core.units import NS_PER_MS
from core.venue_adapter import VenueOrder, VenueState

ROUNDS_MAX = 5
PAGES_MAX = 1_000
RECENT_MS = 23 * 3_600_000  # trades older than 24 h need `historical`; an hour less, as clocks differ

Apply = Callable[[int, list[Order], list[UserTrade]], None]
Done = Callable[[int, "Truth"], None]
Failed = Callable[[int, str], None]


class Truth:
    """One look. `changes` counts what the user stream said so far; `done` is called with this object when it is complete."""

    def __init__(
        self,
        link: Link,
        instruments: Mapping[str, VenueInstrument],
        since_ms: int,
        changes: Callable[[], int],
        done: Done,
        failed: Failed,
        rounds_max: int = ROUNDS_MAX,
    ) -> None:
        self._link = link
        self._instruments = instruments
        self.since_ms = max(since_ms, 0)
        self._changes = changes
        self._done = done
        self._failed = failed
        self._rounds = 0
        self._rounds_max = rounds_max
        self._changes_at = 0
        self._over = False
        self.is_one_moment = False  # nothing was told between its first answer and its last
        self.positions: dict[str, int] = {}
        self.orders: list[Order] = []
        self._trades: dict[tuple[str, str], UserTrade] = {}
        self._left: list[tuple[str, bool, int]] = []  # (currency, historical, from ms) still to be asked
        self._pages = 0

    @property
    def trades(self) -> list[UserTrade]:
        return sorted(self._trades.values(), key=lambda trade: (trade.timestamp, trade.trade_seq, trade.trade_id))

    def start(self, ts: int) -> None:
        self._rounds += 1
        self._changes_at = self._changes()
        self._ask(ts, requests.get_positions, self._first_positions)

    def _ask(self, ts: int, build: Callable[[int], bytes], answered: Callable[[int, Answer], None]) -> None:
        def on_answer(now: int, answer: Answer) -> None:
            if self._over:
                return
            try:
                answered(now, answer)
            except VenueProtocolError as error:
                self._link.fact(FactKind.PROTOCOL, str(error))
                self._fail(now, str(error))

        def on_refusal(now: int, refusal: Refusal) -> None:
            self._fail(now, f"the venue refused: {refusal.code} {refusal.text}")

        self._link.ask(ts, build, on_answer, on_refusal, self._fail)

    def _fail(self, ts: int, text: str) -> None:
        if not self._over:
            self._over = True
            self._failed(ts, text)

    def _read_positions(self, answer: Answer) -> dict[str, int]:
        positions = dict.fromkeys((venue.instrument.instrument_id for venue in self._instruments.values()), 0)
        for position in decode_result(list[Position], answer.result):
            venue = self._instruments.get(position.instrument_name)
            if venue is not None:
                positions[venue.instrument.instrument_id] = exact(position.size, venue.instrument.qty_scale)
        return positions

    def _first_positions(self, ts: int, answer: Answer) -> None:
        self.positions = self._read_positions(answer)
        self._trades.clear()
        self._pages = 0
        is_old = self.since_ms < self._link.server_ms(ts) - RECENT_MS
        currencies = dict.fromkeys(venue.currency for venue in self._instruments.values())
        self._left = [(currency, historical, self.since_ms) for historical in (False, is_old) for currency in currencies]
        self._left = list(dict.fromkeys(self._left))
        self._next_page(ts)

    def _next_page(self, ts: int) -> None:
        if not self._left:
            self._ask(ts, requests.get_open_orders, self._open_orders)
            return
        self._pages += 1
        if self._pages > PAGES_MAX:
            self._fail(ts, f"more than {PAGES_MAX} pages of trades")
            return
        currency, historical, from_ms = self._left[0]
        # Up to a minute ahead of the venue's clock: nothing that has happened is left out.
        to_ms = self._link.server_ms(ts) + 60_000
        self._ask(
            ts,
            lambda request_id: requests.get_user_trades_by_time(request_id, currency, from_ms, to_ms, historical=historical),
            self._page,
        )

    def _page(self, ts: int, answer: Answer) -> None:
        page = decode_result(TradesResult, answer.result)
        currency, historical, from_ms = self._left.pop(0)
        for trade in page.trades:
            if trade.timestamp >= self.since_ms:
                self._trades[(trade.order_id, trade.trade_id)] = trade
        if page.has_more and page.trades:
            last_ms = max(trade.timestamp for trade in page.trades)
            # The last millisecond again: there may be more of it. Where a whole page is one millisecond, on to the next.
            self._left.insert(0, (currency, historical, last_ms if last_ms > from_ms else last_ms + 1))
        self._next_page(ts)

    def _open_orders(self, ts: int, answer: Answer) -> None:
        self.orders = decode_result(list[Order], answer.result)
        self._ask(ts, requests.get_positions, self._last_positions)

    def _last_positions(self, ts: int, answer: Answer) -> None:
        positions = self._read_positions(answer)
        self.is_one_moment = positions == self.positions and self._changes() == self._changes_at
        self.positions = positions
        if not self.is_one_moment and self._rounds < self._rounds_max:
            self.start(ts)
            return
        self._over = True
        self._done(ts, self)

    # What it comes to.

    def state(self, ts: int, tracker: Tracker, not_found_ns: int) -> VenueState:
        """As the daemon reads it; `not_found_ns`: how long what was sent may still be on its way.

        Orders are as the tracker has them by now: it knows what came after the answer, too. Executions that are not ours bear
        FOREIGN_ORDER_ID.

        Raises VenueProtocolError for an execution whose numbers cannot be read.
        """
        open_orders = [
            VenueOrder(
                tracked.client_order_id,
                tracked.venue.instrument.instrument_id,
                tracked.side,
                tracked.price,
                tracked.leaves,
                tracked.order_id,
                tracked.reduce_only,
            )
            for tracked in tracker.open()
            if tracked.is_accepted
        ]
        left = {order.venue_order_id: order.leaves_qty for order in open_orders}
        executions: list[OrderFilled] = []
        for trade in reversed(self.trades):
            venue = self._instruments.get(trade.instrument_name)
            if venue is None:
                continue
            client_order_id = tracker.name_of(trade)
            leaves = left.get(trade.order_id, 0)
            fill = read_fill(ts, trade, venue, client_order_id, leaves)
            left[trade.order_id] = leaves + fill.qty
            executions.append(fill)
        return VenueState(
            open_orders=(*open_orders, *tracker.foreign.values()),
            executions=tuple(reversed(executions)),
            positions=dict(self.positions),
            instrument_ids=frozenset(venue.instrument.instrument_id for venue in self._instruments.values()),
            not_found_ns=not_found_ns,
        )


def since_ms_of(since_ts: int) -> int:
    """The venue's stamps are whole milliseconds: one that begins before `since_ts` (ns) may hold what is asked for."""
    return since_ts // NS_PER_MS
