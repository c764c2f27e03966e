"""Any exchange of ccxt as a venue, by polling: commands out at once, orders, executions and markets asked for again and again.

There is no stream, so nothing is lost but time: what happens is told when the next look shows it. An exchange that does not
answer counts as away, as a lost connection would: commands are refused then, and the account is compared before any leaves again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, assert_never

import anyio
from anyio.abc import TaskGroup

from adapters.ccxt_any.account import Account
from adapters.ccxt_any.calls import Result
from adapters.ccxt_any.exchange_clock import read_clock
from adapters.ccxt_any.market_data import PrintTape, book_events
from adapters.ccxt_any.order_ids import OrderIds
from adapters.ccxt_any.orders import OrderCall, order_call
from adapters.ccxt_any.outcomes import reason_of
from adapters.ccxt_any.reports import OrderReport, TradeReport, book_sides, public_print
from adapters.ccxt_any.settings import CcxtSettings
from adapters.ccxt_any.tracker import Known, Tracker, TrackerLimits
from adapters.http.clock_offset import ClockOffset
from adapters.http.io import HttpTransport, monotonic_now_ns
from adapters.http.request import Intent, Outcome
from adapters.sim.market import MarketFilter
from core.approved import Approved
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.errors import RefusedError, TransportError, VenueProtocolError
from core.events import AnyEvent, CancelRejected, GapDetected, OrderCanceled, OrderRejected, ReplaceRejected
from core.strategy import Subscription
from core.units import NS_PER_MS, NS_PER_SECOND
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from core.venue_opening import Role

ASKED_MAX = 50  # orders asked about one by one in one look
NAMED_MAX = 500  # and of executions, in one comparison
STEADY_READS = 5  # looks at the open orders until two are alike around the executions
OVERLAP_NS = 60 * NS_PER_SECOND  # executions are listed late: so far back each look asks again
COMMANDS_WAITING_MAX = 10_000
BOOK_LEVELS_MAX = 1_000
TELL_AGAIN_S = 300.0
Work = Callable[[], Coroutine[Any, Any, None]]
_FAILURES = (TransportError, RefusedError, VenueProtocolError)


class CcxtAdapter:
    """core.venue_adapter.Adapter for one account. `account` and `http` are of one exchange; see opening.py."""

    def __init__(
        self,
        account: Account,
        http: HttpTransport,
        settings: CcxtSettings,
        ids: OrderIds,
        clock: ClockOffset,
        *,
        subscriptions: Iterable[Subscription],
        now: Callable[[], int],
        wall: Callable[[], int],
        on_trouble: Callable[[str], None],
        role: Role = Role.TRADE,
        monotonic_ns: Callable[[], int] = monotonic_now_ns,
    ) -> None:
        self.venue = account.venue
        self._account = account
        self._http = http
        self._settings = settings
        self._ids = ids
        self._clock = clock
        self._now = now
        self._wall = wall
        self._asked_since_ts = now()  # from where on the daemon wants executions, by the exchange's stamps
        self._on_trouble = on_trouble
        self._monotonic = monotonic_ns
        self._is_watch = role is Role.WATCH
        limits = TrackerLimits(not_found_ns=int(settings.not_found_s * NS_PER_SECOND), not_found_reads=settings.not_found_reads)
        self.tracker = Tracker(limits, ids)
        wanted = list(subscriptions)
        self._filter = None if self._is_watch else MarketFilter(wanted, BOOK_LEVELS_MAX)
        self._books = {each.instrument_id for each in wanted if each.quotes != "off" or each.book_levels}
        self._prints = {each.instrument_id for each in wanted if each.trades or each.bars_ns}
        self._sink: EventSink | None = None  # while `run` does
        self._tasks: TaskGroup | None = None
        self._waiting: deque[AnyEvent] = deque()  # came in before `run`, or the sink had no room
        self._woken = anyio.Event()
        self._nudged = anyio.Event()
        self._is_sending = False
        self._commands: deque[Work] = deque()  # before `run`
        self._later: list[Approved] | None = None  # cancels asked for in on_reconnect: they leave right behind it
        self._looking = anyio.Lock()
        self._cursor: dict[str, int] = {}  # per instrument: executions are asked for from here on, ns UTC
        self._told: dict[str, float] = {}

    # The Adapter.

    async def open(self) -> None:
        """Raises ConfigError, too, where an instrument is not what the configuration says."""
        if not self._is_watch:
            self._account.require_calls()
        await self._read_clock()
        for trouble in await self._account.load():
            self._tell(trouble)
        self._cursor = dict.fromkeys(self._account.units, self._account.venue_now() - OVERLAP_NS)
        if not self._is_watch:
            await self._recall()
            self._tell("ccxt cannot show what the key may do: see that it can neither withdraw nor transfer")
        self._is_sending = not self._is_watch

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        self._sink = sink
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for key in sorted(self._account.units):
                    if self._is_watch or key in self._books:
                        tasks.start_soon(self._follow_book, key)
                    if self._is_watch or key in self._prints:
                        tasks.start_soon(self._follow_prints, key)
                if not self._is_watch:
                    tasks.start_soon(self._follow_orders, on_reconnect)
                tasks.start_soon(self._follow_clock)
                while self._commands:
                    tasks.start_soon(self._commands.popleft())
                await self._hand_out()
        finally:
            self._sink = self._tasks = None

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self.tracker.adopt(client_order_id, order)

    def send(self, approved: Approved) -> None:
        command = approved.command
        if self._later is not None and isinstance(command, CancelOrder | CancelAll):
            self._later.append(approved)
        elif not self._is_sending:
            self._refuse(command)
        else:
            match command:
                case SubmitOrder():
                    self._submit(command)
                case CancelOrder():
                    self._cancel(command.client_order_id)
                case CancelAll():
                    self._cancel_all(command)
                case ReplaceOrder():
                    # ccxt's editOrder is a cancel and a new order at some exchanges, and it does not say at which.
                    ts = self._now()
                    self._give([ReplaceRejected(ts, ts, command.client_order_id, Reason.BAD_FIELD)])
                case _:
                    assert_never(command)

    async def query(self, since_ts: int) -> VenueState:
        self._asked_since_ts = since_ts
        asked_ts = self._account.venue_now()
        orders, trades = await self._steady_look(since_ts)
        positions = await self._account.positions()
        if self._settings.balances_are_positions:
            positions |= await self._account.balances()
        settled_ts = asked_ts - int(self._settings.balances_settle_s * NS_PER_SECOND)
        unsettled = {trade.instrument_id for trade in trades if trade.ts > settled_ts}
        balances = () if self._settings.balances_are_positions else await self._account.totals(unsettled)
        if self._account.balances_refused:
            self._tell(f"balances are not compared, the exchange does not say them: {self._account.balances_refused}")
        ts = self._now()
        return VenueState(
            tuple(self.tracker.venue_order(report) for report in orders),
            tuple(self.tracker.executions_of_look(trades, orders, ts)),
            positions,
            frozenset(self._account.units),
            int(self._settings.not_found_s * NS_PER_SECOND),
            balances=balances,
            ts=asked_ts if self._clock.is_known else 0,
        )

    async def close(self) -> None:
        self._is_sending = False
        await self._http.aclose()

    # Commands.

    def _submit(self, command: SubmitOrder) -> None:
        ts = self._now()
        units = self._account.units[command.instrument_id]
        feature = partial(self._account.feature, units.symbol, "createOrder")
        try:
            text = self._ids.text(command.client_order_id)
            call = order_call(command, units, text, feature, id_name=self._settings.order_id_name)
        except RefusedError as error:
            self._give([OrderRejected(ts, ts, command.client_order_id, Reason.BAD_FIELD, str(error))])
            return
        self.tracker.placing(command, self._monotonic())
        self._start(partial(self._place, command.client_order_id, call))

    async def _place(self, order_id: int, call: OrderCall) -> None:
        exchange = self._account.exchange
        result: Result[Any] = await self._account.calls.run(
            Intent.PLACE,
            "order.place",
            lambda: exchange.create_order(call.symbol, call.kind, call.side, call.amount, call.price, call.params),
            must_name=call.client_text,
        )
        now, ts, tracker = self._monotonic(), self._now(), self.tracker
        match result.outcome:
            case Outcome.ACCEPTED:
                venue_id = self._id_in(result.value, call.client_text)
                if venue_id:
                    self._give(tracker.placed(order_id, venue_id, now, ts))
                else:
                    text = f"an answer without this order's ids: {str(result.value)[:200]}"
                    self._give(tracker.place_unknown(order_id, text, now, ts))
            case Outcome.UNKNOWN:
                self._give(tracker.place_unknown(order_id, result.reason, now, ts))
            case Outcome.NOT_SENT_PROVEN:
                self._give(tracker.refused(order_id, Reason.NOT_SENT, result.reason, ts))
            case Outcome.REJECTED_PROVEN:
                self._give(tracker.refused(order_id, reason_of(result.names), result.reason, ts))
            case _:
                assert_never(result.outcome)
        self._cancel_wanted()
        self._nudge()

    @staticmethod
    def _id_in(value: Any, client_text: str) -> str:
        """The exchange's id of our order; "" where the answer is not surely about it."""
        if not isinstance(value, Mapping):
            return ""
        named = value.get("clientOrderId")
        venue_id = value.get("id")
        # ccxt puts an exchange's own prefix in front of the id of some.
        is_ours = named is None or named == client_text or str(named).endswith(client_text)
        return venue_id if is_ours and isinstance(venue_id, str) and venue_id else ""

    def _cancel(self, order_id: int) -> None:
        known, ts = self.tracker.get(order_id), self._now()
        if known is None or known.is_ended:
            self._give([CancelRejected(ts, ts, order_id, Reason.UNKNOWN_ORDER)])
            self._nudge()
        elif not known.venue_id:
            known.is_cancel_asked = known.is_cancel_wanted = True
        else:
            self.tracker.canceling([known])
            self._start(partial(self._cancel_one, known))

    def _cancel_wanted(self) -> None:
        for known in self.tracker.take_wanted():
            self._start(partial(self._cancel_one, known))

    async def _cancel_one(self, known: Known) -> None:
        exchange, symbol = self._account.exchange, self._account.units[known.instrument_id].symbol
        result: Result[Any] = await self._account.calls.run(
            Intent.CANCEL, "order.cancel", lambda: exchange.cancel_order(known.venue_id, symbol)
        )
        self._canceled(result, [known])

    def _cancel_all(self, command: CancelAll) -> None:
        keys = sorted(self._account.units) if command.instrument_id is None else [command.instrument_id]
        for key in keys:
            known = self.tracker.open_in(key)
            self.tracker.canceling(known)
            for each in known:
                each.is_cancel_wanted = not each.venue_id
            if self._account.has("cancelAllOrders"):
                self._start(partial(self._cancel_symbol, key, known))
            else:
                for each in known:
                    if each.venue_id:
                        self._start(partial(self._cancel_one, each))

    async def _cancel_symbol(self, key: str, known: list[Known]) -> None:
        exchange, symbol = self._account.exchange, self._account.units[key].symbol
        result: Result[Any] = await self._account.calls.run(
            Intent.CANCEL, "orders.cancel_all", lambda: exchange.cancel_all_orders(symbol)
        )
        is_refused = result.outcome in (Outcome.REJECTED_PROVEN, Outcome.NOT_SENT_PROVEN)
        if is_refused and "OrderNotFound" not in result.names:
            # Some exchanges want more than a symbol for it, which ccxt says before it sends anything.
            for each in known:
                if each.venue_id and not each.is_ended:
                    self._start(partial(self._cancel_one, each))
            return
        self._canceled(result, known)

    def _canceled(self, result: Result[Any], known: Iterable[Known]) -> None:
        """That the cancel was taken is no end: the next look shows it."""
        now, ts = self._monotonic(), self._now()
        for each in known:
            match result.outcome:
                case Outcome.ACCEPTED:
                    pass
                case Outcome.UNKNOWN:
                    self._give(self.tracker.cancel_unknown(each.order_id, result.reason, now, ts))
                case Outcome.NOT_SENT_PROVEN:
                    self._give(self.tracker.cancel_refused(each.order_id, Reason.NOT_SENT, ts))
                case Outcome.REJECTED_PROVEN:
                    self._give(self.tracker.cancel_refused(each.order_id, reason_of(result.names), ts))
                case _:
                    assert_never(result.outcome)
        self._nudge()

    def _refuse(self, command: OrderCommand) -> None:
        ts = self._now()
        match command:
            case SubmitOrder(client_order_id=order_id):
                self._give([OrderRejected(ts, ts, order_id, Reason.NOT_SENT)])
            case CancelOrder(client_order_id=order_id):
                self._give([CancelRejected(ts, ts, order_id, Reason.NOT_SENT)])
            case ReplaceOrder(client_order_id=order_id):
                self._give([ReplaceRejected(ts, ts, order_id, Reason.NOT_SENT)])
            case CancelAll(instrument_id=key):
                self._give([CancelRejected(ts, ts, known.order_id, Reason.NOT_SENT) for known in self.tracker.open_in(key)])

    def _start(self, work: Work) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(work)
            return
        assert len(self._commands) < COMMANDS_WAITING_MAX
        self._commands.append(work)

    # Orders, by looking.

    async def _follow_orders(self, on_reconnect: OnReconnect) -> None:
        settings = self._settings
        answered, pause_s, since_ts = anyio.current_time(), settings.reconnect_first_s, self._account.venue_now()
        while True:
            await self._until_next_look()
            asked_ts = self._account.venue_now()
            try:
                if self._is_sending:
                    await self._look()
                else:
                    # Our stamps may be ahead of the venue's by as much as the machine's clock ever was.
                    state = await self.query(min(since_ts - OVERLAP_NS, self._asked_since_ts))
                    self._reconcile(state, on_reconnect)
                answered, since_ts, pause_s = anyio.current_time(), asked_ts, settings.reconnect_first_s
            except _FAILURES as error:
                self._tell(str(error))
                if self._is_sending and anyio.current_time() - answered > settings.lost_after_s:
                    self._lose()
                if not self._is_sending:
                    await anyio.sleep(pause_s)
                    pause_s = min(2 * pause_s, settings.reconnect_max_s)

    async def _until_next_look(self) -> None:
        """Soon where something was sent, and seldom where nothing is open."""
        settings = self._settings
        wait_s = settings.poll_orders_s if self.tracker.is_working else settings.poll_idle_s
        with anyio.move_on_after(wait_s if self._is_sending else 0):
            await self._nudged.wait()
            await anyio.sleep(settings.poll_soon_s)
        self._nudged = anyio.Event()

    def _nudge(self) -> None:
        self._nudged.set()

    async def _look(self) -> None:
        """One look at everything of the account. Raises TransportError, RefusedError or VenueProtocolError."""
        async with self._looking:
            tracker, begun = self.tracker, self._monotonic()
            reports = await self._account.open_orders()
            await self._book_executions(tracker.open_in(None))
            events, missing = tracker.looked(reports, begun, self._now())
            self._give(events)
            for known in missing[:ASKED_MAX]:
                await self._ask_about(known)
            for key, venue_id in tracker.unassigned()[:ASKED_MAX]:
                await self._ask_whose(key, venue_id)
            self._cancel_wanted()

    async def _book_executions(self, orders: Iterable[Known]) -> None:
        """Of the instruments of `orders`; without any, of all: somebody else may have traded."""
        keys = {known.instrument_id for known in orders} or set(self._account.units)
        for key in sorted(keys):
            trades = await self._account.executions(key, self._cursor[key])
            self._give(self.tracker.executions(trades, self._now()))
            if trades:
                self._cursor[key] = max(self._cursor[key], trades[-1].ts - OVERLAP_NS)

    async def _ask_about(self, known: Known) -> None:
        """An order that is not among the open ones: what became of it, and its executions before its end is told."""
        begun = self._monotonic()
        sent_ns = self._account.venue_now() - (max(begun - known.sent, 0) if known.sent else 0)
        report = await self._account.order(known.instrument_id, known.venue_id, self._ids.text(known.order_id), sent_ns)
        if report is None:
            events = self.tracker.not_found(known.order_id, begun, self._now())
            if any(isinstance(event, OrderCanceled) for event in events):
                self._tell(f"an order that the exchange had is in none of its lists now: {known.order_id} counts as canceled")
            self._give(events)
            return
        self._give(self.tracker.told(report, begun, self._now()))
        if known.end is not None:
            await self._book_executions([known])
            self._give(self.tracker.settle(known, self._now()))

    async def _ask_whose(self, key: str, venue_id: str) -> None:
        begun = self._monotonic()
        try:
            report = await self._account.order(key, venue_id, "", self._account.venue_now())
        except (TransportError, VenueProtocolError) as error:
            # What it executed waits; an exchange that never shows this one order is not away because of it.
            self._tell(f"whose order {venue_id} is: {error}")
            return
        if report is None:
            self._give(self.tracker.not_named((key, venue_id), self._now()))
        else:
            self._give(self.tracker.told(report, begun, self._now()))

    async def _name(self, trades: Sequence[TradeReport], orders: Sequence[OrderReport]) -> None:
        """Whose orders brought `trades` about: one of an earlier run that has ended is in no list; the exchange knows it."""
        listed = {(report.instrument_id, report.venue_id) for report in orders}
        unnamed = [key for key in self.tracker.unnamed(trades) if key not in listed]
        for key, venue_id in unnamed[:NAMED_MAX]:
            since_ts = min(trade.ts for trade in trades if (trade.instrument_id, trade.venue_order_id) == (key, venue_id))
            report = await self._account.order(key, venue_id, "", since_ts)
            if report is not None:
                self.tracker.recall(report, trades)
            else:
                self._give(self.tracker.not_named((key, venue_id), self._now()))
        left = [key for key in self.tracker.unnamed(trades) if key not in listed]
        if left:
            raise TransportError(f"{self.venue}: whose {len(left)} orders are that were executed is not known yet: {left[0][1]}")

    async def _steady_look(self, since_ts: int) -> tuple[list[OrderReport], list[TradeReport]]:
        """Open orders and executions that belong together: no order was filled between the two lists."""
        async with self._looking:
            before = await self._account.open_orders()
            for _ in range(STEADY_READS):
                trades: list[TradeReport] = []
                for key in sorted(self._account.units):
                    trades += await self._account.executions(key, max(since_ts, 0))
                after = await self._account.open_orders()
                if _fills(before) == _fills(after):
                    await self._name(trades, after)
                    return after, sorted(trades, key=lambda trade: trade.ts)
                before = after
            raise TransportError(f"{self.venue}: its orders do not stand still: {STEADY_READS} looks were all different")

    async def _recall(self) -> None:
        """Orders of ours that are open from before."""
        for report in await self._account.open_orders():
            if self.tracker.id_of(report) is not None:
                since = report.ts - OVERLAP_NS if report.ts else self._cursor[report.instrument_id]
                trades = await self._account.executions(report.instrument_id, since) if report.filled else []
                self.tracker.recall(report, trades)

    # An exchange that is away.

    def _lose(self) -> None:
        self._is_sending = False
        ts = self._now()
        self._give([GapDetected(ts, ts, key) for key in sorted(self._account.units)])

    def _reconcile(self, state: VenueState, on_reconnect: OnReconnect) -> None:
        self._later = []
        try:
            on_reconnect(state)
        finally:
            # Whatever becomes of the comparison: what it wants canceled is canceled.
            later, self._later = self._later, None
            self._is_sending = True
            for approved in later:
                self.send(approved)
        self._told.clear()

    # The market.

    async def _follow_book(self, key: str) -> None:
        units, settings = self._account.units[key], self._settings
        answered, is_known = anyio.current_time(), True
        while True:
            begun = anyio.current_time()
            try:
                row = await self._account.ask(
                    "book", lambda: self._account.exchange.fetch_order_book(units.symbol, settings.book_levels)
                )
                ts = self._now()
                ts_event, bids, asks = book_sides(row, units)
                # A stamp of the future is none: it would make an old market young.
                stamp = ts_event if 0 < ts_event <= ts else ts
                self._give(book_events(key, stamp, ts, bids, asks))
                answered, is_known = anyio.current_time(), True
            except _FAILURES as error:
                self._tell(f"book of {units.symbol}: {error}")
                if is_known and anyio.current_time() - answered > settings.lost_after_s:
                    is_known = False
                    ts = self._now()
                    self._give([GapDetected(ts, ts, key)])
            await anyio.sleep(max(begun + settings.poll_book_s - anyio.current_time(), 0))
            if self._filter is not None:
                self._give_as_they_are(self._filter.due(self._now()))

    async def _follow_prints(self, key: str) -> None:
        units, settings, tape = self._account.units[key], self._settings, PrintTape(key)
        while True:
            begun = anyio.current_time()
            try:
                rows = await self._account.ask_rows(
                    "prints",
                    lambda: self._account.exchange.fetch_trades(units.symbol, None, settings.history_limit),
                )
                prints = [public_print(row, units) for row in rows]
                self._give(tape.page(prints, is_full=len(rows) >= settings.history_limit, ts=self._now()))
            except _FAILURES as error:
                self._tell(f"prints of {units.symbol}: {error}")
            await anyio.sleep(max(begun + settings.poll_trades_s - anyio.current_time(), 0))

    # The clock.

    async def _read_clock(self) -> None:
        await read_clock(self._account, self._clock, self._monotonic)
        if not self._clock.is_known:
            return
        off_ms = abs(self._clock.venue_now(self._monotonic()) - self._wall()) // NS_PER_MS
        if off_ms > self._settings.clock_error_ms_max:
            self._tell(f"this machine's clock and the exchange's differ by {off_ms} ms")

    async def _follow_clock(self) -> None:
        while True:
            await anyio.sleep(self._settings.clock_s)
            try:
                await self._read_clock()
            except _FAILURES as error:
                self._tell(f"the exchange's clock: {error}")

    # What goes to the daemon.

    def _give(self, events: Iterable[AnyEvent]) -> None:
        market, ts = self._filter, self._now()
        for event in events:
            if isinstance(event, GapDetected) and market is not None:
                market.forget()
            self._give_as_they_are((event,) if market is None else market.receive(ts, event))

    def _give_as_they_are(self, events: Iterable[AnyEvent]) -> None:
        sink, waiting = self._sink, self._waiting
        for event in events:
            if waiting or sink is None or not sink.offer(event):
                waiting.append(event)
                self._woken.set()

    async def _hand_out(self) -> None:
        """What the sink had no room for. An event leaves the queue when it is in: whoever waits here may be called away."""
        sink, waiting = self._sink, self._waiting
        assert sink is not None
        while True:
            while waiting:
                await sink.put(waiting[0])
                waiting.popleft()
            self._woken = anyio.Event()
            await self._woken.wait()

    def _tell(self, trouble: str) -> None:
        """Once in a while for each kind: an exchange that is away for an hour is no news every second."""
        line = " ".join(trouble.split())[:500]
        kind, now = line[:40], anyio.current_time()
        if now - self._told.get(kind, -TELL_AGAIN_S) >= TELL_AGAIN_S:
            self._told[kind] = now
            self._on_trouble(line if line.startswith(self.venue) else f"{self.venue}: {line}")


async def all_at_once(works: Iterable[Work]) -> None:
    async with anyio.create_task_group() as tasks:
        for work in works:
            tasks.start_soon(work)


def _fills(orders: Iterable[OrderReport]) -> dict[tuple[str, str], int]:
    return {(report.instrument_id, report.venue_id): report.filled for report in orders}
