"""What the venue says of the whole account: open orders, executions and positions of one moment, asked for until they agree.

The lists are read one after the other, so a fill in between makes them speak of two moments. They count only where each order and
its executions say the same of how much of it is filled. Requests are few at this venue: three make a look, one more where this
process does not know yet what became of the orders before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from adapters.alpaca.codec import AlpacaCodec, parse_client_text
from adapters.alpaca.exact import is_null, number_of, stamp_of
from adapters.alpaca.orders import Orders, Ours, on_one_list
from adapters.alpaca.outcomes import NOT_FOUND
from adapters.alpaca.wire import ACTIVITIES_PAGE_MAX, ENDED, ORDERS_PAGE_MAX, ActivityBody, OrderBody, PositionBody, Status
from adapters.http.request import Outcome, Request, Sent, T
from core.errors import TransportError, VenueProtocolError
from core.events import OrderFilled
from core.units import NS_PER_SECOND
from core.venue_adapter import VenueOrder, VenueState

PAGES_MAX = 200
LOOKS_MAX = 4
LOOK_AGAIN_S = 0.5  # doubles
ORDERS_ASKED_MAX = 200  # one by one, in one look
IDS_KEPT_MAX = 100_000
MARGIN_NS = NS_PER_SECOND  # the venue's `after` is exclusive

Send = Callable[[Request[Any]], Awaitable[Sent[Any]]]
Sleep = Callable[[float], Awaitable[None]]


class _Unsettled(Exception):
    """The lists do not agree, in words."""


class AccountReader:
    """`send` is the transport's, `sleep` the event loop's, `now` ns UTC."""

    def __init__(
        self, codec: AlpacaCodec, orders: Orders, *, send: Send, sleep: Sleep, now: Callable[[], int], not_found_ns: int
    ) -> None:
        self._codec = codec
        self._orders = orders
        self._send = send
        self._sleep = sleep
        self._now = now
        self._not_found_ns = not_found_ns
        self._is_cold = True
        self._strangers: OrderedDict[str, None] = OrderedDict()  # ids of orders that are not ours
        self._ended: OrderedDict[str, None] = OrderedDict()  # of orders that have ended, and what became of them is known

    async def state(self, since_ts: int) -> VenueState:
        """Raises TransportError where the venue cannot be asked or does not come to agree with itself, VenueProtocolError."""
        wait, last = LOOK_AGAIN_S, ""
        for _ in range(LOOKS_MAX):
            try:
                return await self._look(since_ts)
            except _Unsettled as error:
                last = str(error)
            await self._sleep(wait)
            wait *= 2
        raise TransportError(f"the venue does not agree with itself: {last}")

    async def open_orders(self) -> list[OrderBody]:
        return await self._orders_listed("open", None)

    async def positions(self) -> dict[str, int]:
        """Units of every configured instrument. Raises VenueProtocolError for a fraction that the instrument cannot hold."""
        bodies = await self.ask(self._codec.positions())
        return positions_of(bodies, self._orders, self._codec)

    async def ask(self, request: Request[T]) -> T:
        """The answer of a query. Raises TransportError where there is none."""
        sent: Sent[T] = await self._send(request)
        if sent.value is None:
            raise TransportError(f"{request.name}: {sent.outcome.name} {sent.reason}")
        return sent.value

    # One look.

    async def _look(self, since_ts: int) -> VenueState:
        after, ends_before = max(since_ts - MARGIN_NS, 0), self._orders.ends
        listed = await self.open_orders()
        recent = await self._orders_listed("all", after) if self._is_cold else []
        positions = await self.positions()
        fills = await self._fills(after)  # last: what happens meanwhile shows here, and not in the orders
        bodies = {body.id: body for body in (*recent, *listed)}
        await self._missing(bodies, fills)
        self._require_same_moment(listed, fills)
        fills = await self._completed(fills, bodies, since_ts)
        self._end(bodies.values())
        self._is_cold = False
        ts = self._now()
        return VenueState(
            self._open(listed, ends_before),
            self._executions(fills, since_ts, ts),
            positions,
            frozenset(positions),
            self._not_found_ns,
        )

    def _end(self, bodies: Iterable[OrderBody]) -> None:
        """These have ended, with all their executions: they are not asked about again."""
        for body in bodies:
            if body.status not in ENDED or body.status is Status.REPLACED:
                continue
            self._remember(self._ended, body.id)
            ours = self._orders.by_venue_id(body.id)
            if self._is_cold and ours is not None and ours.is_earlier and ours.venue_id == body.id:
                # Of an earlier process, and over: this answer is what is told of it, and nothing is left to be canceled.
                ours.is_open = False

    def forget(self) -> None:
        """The stream was away: what became of orders meanwhile is not known here."""
        self._is_cold = True

    def _require_same_moment(self, listed: Iterable[OrderBody], fills: Sequence[ActivityBody]) -> None:
        for body in listed:
            instrument = self._orders.instrument_of(body.symbol)
            if instrument is None or is_null(body.qty):
                continue
            _, filled = self._orders.quantities(instrument, body)
            scale = instrument.qty_scale
            if any(each.order_id == body.id and number_of(each.cum_qty, scale, "cum_qty") > filled for each in fills):
                raise _Unsettled(f"order {body.id} was filled meanwhile")

    async def _fills(self, after_ts: int, token: str = "") -> list[ActivityBody]:
        found: list[ActivityBody] = []
        for _ in range(PAGES_MAX):
            page = await self.ask(self._codec.fills(after_ts, token))
            found += page
            if len(page) < ACTIVITIES_PAGE_MAX:
                return found
            token = page[-1].id
        raise TransportError(f"more than {PAGES_MAX * ACTIVITIES_PAGE_MAX} executions to read")

    async def _orders_listed(self, status: str, after_ts: int | None) -> list[OrderBody]:
        found: dict[str, OrderBody] = {}
        for _ in range(PAGES_MAX):
            page = await self.ask(self._codec.orders(status, after_ts))
            before = len(found)
            found.update((body.id, body) for body in page)
            if len(page) < ORDERS_PAGE_MAX:
                return list(found.values())
            submitted = page[-1].submitted_at
            if submitted is None or len(found) == before:
                break
            # Exclusive: so much earlier, that those of the same stamp come again and none is lost.
            after_ts = stamp_of(submitted, "submitted_at") - 1
        raise TransportError(f"the list of {status} orders does not come to an end")

    async def _missing(self, bodies: dict[str, OrderBody], fills: Sequence[ActivityBody]) -> None:
        """Orders that the lists do not have and that have to be known: ours that are open here, and those of executions."""
        for body in bodies.values():
            self._belongs(body)
        missing = [
            ours
            for ours in self._orders.open()
            if ours.venue_id and ours.venue_id not in bodies and ours.venue_id not in self._ended
        ]
        wanted = dict.fromkeys(ours.venue_id for ours in missing)
        for activity in fills:
            known = activity.order_id in bodies or activity.order_id in self._strangers
            if not known and self._orders.by_venue_id(activity.order_id) is None:
                wanted[activity.order_id] = None
        if len(wanted) > ORDERS_ASKED_MAX:
            raise TransportError(f"{len(wanted)} orders would have to be asked about one by one")
        listed: dict[str, OrderBody] = {}
        group = on_one_list(missing)
        if group:
            first = min(ours.submitted_ts for ours in group)
            listed = {body.id: body for body in await self.ask(self._codec.orders("all", first - MARGIN_NS))}
        for venue_id in wanted:
            found = listed.get(venue_id) or await self._order(venue_id)
            if found is not None:
                bodies[found.id] = found
                if found.replaces is not None and parse_client_text(found.client_order_id, self._codec.prefix) is None:
                    await self._ancestor(found)
                self._belongs(found)

    async def _ancestor(self, body: OrderBody) -> None:
        """One that was replaced by hand has a name of the venue's: whose it is says the order that it replaced."""
        if body.replaces is not None and self._orders.by_venue_id(body.replaces) is None:
            replaced = await self._order(body.replaces)
            if replaced is not None:
                self._belongs(replaced)

    async def _order(self, venue_id: str) -> OrderBody | None:
        sent: Sent[OrderBody] = await self._send(self._codec.order_by_id(venue_id))
        if sent.outcome is Outcome.REJECTED_PROVEN and sent.code == NOT_FOUND:
            return None
        if sent.value is None:
            raise TransportError(f"order {venue_id}: {sent.outcome.name} {sent.reason}")
        return sent.value

    def _belongs(self, body: OrderBody) -> Ours | None:
        ours = self._orders.of_body(body)
        if ours is None:
            self._remember(self._strangers, body.id)
        return ours

    @staticmethod
    def _remember(ids: OrderedDict[str, None], venue_id: str) -> None:
        ids[venue_id] = None
        if len(ids) > IDS_KEPT_MAX:
            ids.popitem(last=False)

    async def _completed(self, fills: list[ActivityBody], bodies: dict[str, OrderBody], since_ts: int) -> list[ActivityBody]:
        """`fills`, once each of our orders that says it was filled has its last execution among all executions."""
        behind = [body for body in bodies.values() if not self._has_last_fill(body, fills)]
        if not behind:
            return fills
        # It may have been filled before `since_ts`, and only been touched since.
        first = min(stamp_of(body.submitted_at, "submitted_at") if body.submitted_at else since_ts for body in behind)
        older = await self._fills(max(first - MARGIN_NS, 0))
        late = [body.id for body in behind if not self._has_last_fill(body, older)]
        if late:
            raise _Unsettled(f"the executions of order {late[0]} are not all there")
        known = {activity.id for activity in fills}
        return fills + [each for each in older if each.id not in known and _stamp(each) >= since_ts]

    def _has_last_fill(self, body: OrderBody, fills: Iterable[ActivityBody]) -> bool:
        ours = self._orders.by_venue_id(body.id)
        if ours is None or self._orders.instrument_of(body.symbol) is None:
            return True
        _, filled = self._orders.quantities(self._orders.instrument(ours), body)
        if not filled or filled in ours.told.get(body.id, {}):
            return True
        scale = self._orders.instrument(ours).qty_scale
        return any(each.order_id == body.id and number_of(each.cum_qty, scale, "cum_qty") >= filled for each in fills)

    def _open(self, listed: Iterable[OrderBody], ends_before: int) -> tuple[VenueOrder, ...]:
        """Of an order that is being replaced the venue may list both: the older counts until it is replaced.

        One that has ended since the look began was listed before: its end is the later word.
        """
        found: list[VenueOrder] = []
        of_ours: set[int] = set()
        for body in listed:
            if body.status in ENDED:
                continue
            order = self._orders.venue_order(body)
            if order is None or order.client_order_id in of_ours:
                continue
            ours = None if order.client_order_id is None else self._orders.get(order.client_order_id)
            if ours is not None and not ours.is_open and ours.end_number > ends_before:
                continue
            if order.client_order_id is not None:
                of_ours.add(order.client_order_id)
            found.append(order)
        return tuple(found)

    def _executions(self, fills: Iterable[ActivityBody], since_ts: int, ts: int) -> tuple[OrderFilled, ...]:
        found = []
        for activity in fills:
            fill = self._orders.fill_of_activity(self._orders.by_venue_id(activity.order_id), activity, ts)
            if fill is not None and fill.ts_event >= since_ts:
                found.append(fill)
        return tuple(sorted({fill.execution_id: fill for fill in found}.values(), key=lambda fill: fill.ts_event))


def positions_of(bodies: Iterable[PositionBody], orders: Orders, codec: AlpacaCodec) -> dict[str, int]:
    """Raises VenueProtocolError."""
    held = dict.fromkeys(codec.instruments, 0)
    for body in bodies:
        instrument = orders.instrument_of(body.symbol)
        if instrument is None:
            continue
        qty = number_of(body.qty, instrument.qty_scale, f"{body.symbol}: position")
        if body.side not in ("long", "short", "") or (body.side == "long" and qty < 0):
            raise VenueProtocolError(f"{body.symbol}: a {body.side} position of {qty}")
        held[instrument.instrument_id] = -abs(qty) if body.side == "short" else qty
    return held


def _stamp(activity: ActivityBody) -> int:
    return stamp_of(activity.transaction_time, "transaction_time")
