"""OANDA's connections: two streams, requests beside them, and who waits for whom. The only file here that touches the network.

Orders go by requests of their own, so a stream that is lost stops no cancel: only new orders and changes wait until it is back,
and what happened meanwhile is asked for by its number.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime

import anyio
from anyio.abc import TaskGroup

from adapters.http.io import HttpTransport
from adapters.http.request import Answer, Outcome, Request, T
from adapters.oanda.codec import LimitTerms, OandaCodec
from adapters.oanda.desk import CANCEL_WAITS_NS
from adapters.oanda.exact import text_of_time, time_of
from adapters.oanda.our_order import Asked, OurOrder
from adapters.oanda.outcomes import reason_of
from adapters.oanda.rules import Rules, check_account, check_instruments, check_token, difference
from adapters.oanda.session import OandaSession
from adapters.oanda.settings import OandaSettings
from adapters.oanda.wire import DealAnswer, Transaction, last_of
from core.approved import Approved
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import OrderType, Reason, TimeInForce
from core.errors import ConfigError, RefusedError, TransportError, VenueProtocolError
from core.events import AnyEvent, CancelRejected, OrderEvent, OrderFilled, OrderRejected, ReplaceRejected
from core.units import NS_PER_SECOND
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from core.venue_opening import CLOSED, OPENED, RECEIVED, Environment, OnFrame

EARLY_EVENTS_MAX = 100_000
OVERLAP_NS = 60 * NS_PER_SECOND  # executions of so long before a loss are asked for again behind it
DOUBT_INTERVAL_S = 1.0  # between questions while the outcome of a request is unknown
REST_TRIES_MAX = 10
NOTES_KEPT_MAX = 1_000  # none of these is told twice
_PAGE = re.compile(r"[?&]from=(\d{1,18})&to=(\d{1,18})(?:&|$)")
_RULES_CHANGED = ("PRICE_PRECISION_EXCEEDED", "UNITS_PRECISION_EXCEEDED", "UNITS_MINIMUM_NOT_MET", "UNITS_LIMIT_EXCEEDED")
_LOST = (TransportError, RefusedError, VenueProtocolError)

Now = Callable[[], int]  # ns UTC, never less than before


class OandaAdapter:
    """core.venue_adapter.Adapter for one account. `is_watch`: prices only."""

    def __init__(
        self,
        *,
        venue: str,
        account: str,
        environment: Environment,
        account_prefix: str,
        codec: OandaCodec,
        http: HttpTransport,
        session: OandaSession,
        rules: Mapping[str, Rules],
        settings: OandaSettings,
        now: Now,
        wall: Callable[[], int],
        on_trouble: Callable[[str], None],
        on_frame: OnFrame,
        is_watch: bool = False,
    ) -> None:
        self.venue = venue
        self._account = account
        self._environment = environment
        self._account_prefix = account_prefix
        self._codec = codec
        self._http = http
        self._session = session
        self._desk = session.desk
        self._rules = dict(rules)
        self._settings = settings
        self._now = now
        self._wall = wall
        self._asked_since_ts = now()  # from where on the daemon wants executions, by the venue's stamps
        self._on_trouble = on_trouble
        self._on_frame = on_frame
        self._is_watch = is_watch
        self._is_open = False
        self._is_sending = False  # whether new orders leave: the stream is there, and the account is known
        self._sink: EventSink | None = None
        self._tasks: TaskGroup | None = None
        self._waiting: deque[AnyEvent] = deque()  # for the sink, in order
        self._early: deque[Approved] = deque()  # sent before `run`
        self._given = anyio.Event()
        self._giving = anyio.Event()
        self._wanted = anyio.Event()  # somebody wants to know what the log lacks
        self._timed = anyio.Event()  # something is due earlier than before
        self._catching = anyio.Lock()
        self._rest_tries: dict[str, int] = {}
        self._rules_due = self._has_run = False
        self._told: dict[str, str] = {}  # by what it is about: the trouble told last
        self._noted: dict[str, None] = {}  # notes that were told, the oldest first

    # The Adapter.

    async def open(self) -> None:
        """Raises ConfigError, too, where account or instruments are not what the configuration says."""
        accounts = await self._ask(self._codec.accounts())
        check_token(accounts, self._account, self._environment, self._account_prefix)
        answer = await self._ask(self._codec.account(), self._check_clock)
        check_account(answer.account, self._account)
        names = [rules.name for rules in self._rules.values()]
        check_instruments(self._rules.values(), (await self._ask(self._codec.instruments(names))).instruments)
        self._session.begin(answer, is_first=not self._has_run)
        self._is_open = True
        self._is_sending = not self._is_watch

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        self._sink, self._has_run = sink, True
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._give_on)
                tasks.start_soon(self._follow_prices)
                if not self._is_watch:
                    tasks.start_soon(self._follow_transactions, on_reconnect)
                    tasks.start_soon(self._keep_caught_up)
                tasks.start_soon(self._keep_time)
                while self._early:
                    self._send(self._early.popleft())
        finally:
            self._sink = self._tasks = None

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self._desk.adopt(client_order_id, order)

    def send(self, approved: Approved) -> None:
        if self._tasks is None and self._is_open:
            self._early.append(approved)
        else:
            self._send(approved)

    async def query(self, since_ts: int) -> VenueState:
        if not self._is_open:
            raise TransportError(f"{self.venue}: there is no connection")
        self._asked_since_ts = since_ts
        try:
            return await self._look(since_ts)
        except RefusedError as error:
            # A token that was taken at the beginning: for now the venue cannot be asked.
            raise TransportError(str(error)) from error

    async def close(self) -> None:
        self._is_open = self._is_sending = False
        await self._http.aclose()

    # Commands.

    def _send(self, approved: Approved) -> None:
        command = approved.command
        match command:
            case SubmitOrder():
                self._submit(command)
            case CancelOrder(client_order_id=order_id):
                self._cancel(order_id)
            case ReplaceOrder():
                self._replace(command)
            case CancelAll():
                for order in self._desk.open_orders(command):
                    self._cancel(order.id)

    def _submit(self, command: SubmitOrder) -> None:
        ts, order_id = self._now(), command.client_order_id
        if not self._is_sending or self._tasks is None:
            self._give([OrderRejected(ts, ts, order_id, Reason.NOT_SENT)])
            return
        request = self._codec.place(command, self._rules[command.instrument_id], self._desk.text_of(order_id))
        if isinstance(request, Reason):
            self._give([OrderRejected(ts, ts, order_id, request, "OANDA has no such order")])
            return
        self._desk.submitted(command, _terms_of(command))
        self._tasks.start_soon(self._deal, order_id, Asked.SUBMIT, request)

    def _cancel(self, order_id: int) -> None:
        ts, order = self._now(), self._desk.find(order_id)
        if not self._is_open or self._is_watch or self._tasks is None:
            self._give([CancelRejected(ts, ts, order_id, Reason.NOT_SENT)])
        elif order is None:
            # Not known here does not mean that it is not there: the venue says.
            specifier = f"@{self._desk.text_of(order_id)}"
            self._tasks.start_soon(self._deal, order_id, Asked.CANCEL, self._codec.cancel(specifier))
        elif order.asked & (Asked.SUBMIT | Asked.REPLACE):
            # Ahead of what makes the order it would find none, and the order would stay.
            order.asked |= Asked.CANCEL
            order.cancel_due = order.cancel_due or ts + CANCEL_WAITS_NS
            self._timed.set()
        else:
            self._cancel_now(order)

    def _cancel_now(self, order: OurOrder) -> None:
        assert self._tasks is not None
        order.asked |= Asked.CANCEL
        self._tasks.start_soon(self._deal, order.id, Asked.CANCEL, self._codec.cancel(self._desk.specifier(order)))

    def _replace(self, command: ReplaceOrder) -> None:
        ts, order_id = self._now(), command.client_order_id
        order = self._desk.find(order_id)
        reason = Reason.NONE
        if not self._is_sending or self._tasks is None:
            reason = Reason.NOT_SENT
        elif order is None:
            reason = Reason.UNKNOWN_ORDER
        elif not order.venue_id or order.asked:
            reason = Reason.NOT_SENT  # nobody knows yet which order it would be about
        elif order.order_type is not OrderType.LIMIT:
            reason = Reason.BAD_FIELD
        if reason is not Reason.NONE or order is None or self._tasks is None:
            self._give([ReplaceRejected(ts, ts, order_id, reason)])
            return
        left = self._desk.left_to_replace(order, command)
        rules = self._rules[order.instrument_id]
        request = self._codec.replace(order.venue_id, rules, order.terms, order.side, left, command.price) if left > 0 else None
        if request is None or isinstance(request, Reason):
            self._give([ReplaceRejected(ts, ts, order_id, request or Reason.UNKNOWN_ORDER)])
            return
        order.asked |= Asked.REPLACE
        self._tasks.start_soon(self._deal, order_id, Asked.REPLACE, request)

    async def _deal(self, order_id: int, asked: Asked, request: Request[DealAnswer]) -> None:
        """Send, once, and take what comes of it."""
        sent = await self._http.send(request)
        ts, desk = self._now(), self._desk
        match sent.outcome:
            case Outcome.ACCEPTED:
                assert sent.value is not None
                self._give(self._session.answered(ts, sent.value))
                if self._session.log.is_behind:
                    self._wanted.set()
            case Outcome.REJECTED_PROVEN | Outcome.NOT_SENT_PROVEN:
                is_sent = sent.outcome is Outcome.REJECTED_PROVEN
                reason = reason_of(sent.reason) if is_sent else Reason.NOT_SENT
                if desk.find(order_id) is None and asked is Asked.CANCEL:
                    self._give([CancelRejected(ts, ts, order_id, reason)])
                else:
                    self._give(desk.refused(ts, order_id, asked, reason, sent.reason))
                if sent.reason in _RULES_CHANGED:
                    self._rules_due = True
            case Outcome.UNKNOWN:
                self._give(desk.doubted(ts, order_id, asked, f"{request.name}: {sent.reason}"))
                self._wanted.set()
        self._timed.set()

    # The account's transactions.

    async def _follow_transactions(self, on_reconnect: OnReconnect) -> None:
        backoff = _Backoff(self._settings)
        while True:
            try:
                async with self._http.open_stream(
                    self._codec.transaction_stream(), silence_timeout_s=self._settings.stream_silence_s
                ) as lines:
                    self._on_frame(self._now(), OPENED, b"transactions")
                    if not self._is_sending:
                        await self._restored(on_reconnect)
                    backoff.began(self._now())
                    async for line in lines:
                        self._hear_transaction(line)
            except _LOST as error:
                self._is_sending = False
                self._on_frame(self._now(), CLOSED, b"transactions")
                self._tell("transactions", str(error))
            await anyio.sleep(backoff.wait_s(self._now()))

    def _hear_transaction(self, line: bytes) -> None:
        ts = self._now()
        self._on_frame(ts, RECEIVED, line)
        if not line.strip():
            return
        self._give(self._session.transaction_line(ts, line))
        if self._session.log.is_behind:
            self._wanted.set()
        self._timed.set()

    async def _restored(self, on_reconnect: OnReconnect) -> None:
        """The stream is back: what it did not tell is asked for, then compared, and only then orders leave."""
        await self._check_token()
        # Our stamps may be ahead of the venue's by as much as the machine's clock ever was.
        state = await self._look(max(min(self._now() - OVERLAP_NS, self._asked_since_ts), 0))
        try:
            on_reconnect(state)
        finally:
            self._is_sending = True
        self._told.pop("transactions", None)

    async def _check_token(self) -> None:
        """As at the start: behind a new connection there may be another venue. Raises RefusedError."""
        accounts = await self._ask(self._codec.accounts())
        try:
            check_token(accounts, self._account, self._environment, self._account_prefix)
        except ConfigError as error:
            raise RefusedError(f"{self.venue}: {error}") from error

    async def _keep_caught_up(self) -> None:
        """Whenever the log lacks something, on a slow timer, and often while an outcome is unknown."""
        while True:
            with anyio.move_on_after(DOUBT_INTERVAL_S if self._desk.doubts else self._settings.look_s):
                await self._wanted.wait()
            self._wanted = anyio.Event()
            begun_ts = self._now()
            try:
                await self._catch_up()
                bound_ns = int(self._settings.not_found_s * NS_PER_SECOND)
                self._give(self._desk.looked(begun_ts, bound_ns, self._now()))
                self._told.pop("question", None)
            except _LOST as error:
                self._tell("question", str(error))
                await anyio.sleep(DOUBT_INTERVAL_S)

    async def _catch_up(self) -> None:
        """Everything that has happened until now is known when this returns."""
        async with self._catching:
            while True:
                since = self._session.log.last
                answer = await self._ask(self._codec.transactions_since(since))
                self._give(self._session.caught_up(self._now(), since, answer))
                if not self._session.log.is_behind or self._session.log.last == since:
                    break
            self._timed.set()

    # Questions.

    async def _look(self, since_ts: int) -> VenueState:
        """Orders, positions and executions of one moment: what the log tells of before it is told first."""
        answer = await self._ask(self._codec.account())
        last, body = last_of(answer.last_transaction_id), answer.account
        if self._tasks is None:
            # Nobody has heard anything yet, and what was kept is in the answer.
            self._waiting = deque(event for event in self._waiting if not isinstance(event, OrderEvent))
            self._session.begin(answer, is_first=not self._has_run)
        elif self._session.log.last < last:
            await self._catch_up()
        self._desk.begin(body)
        since_ts = max(since_ts, time_of(body.created_time))
        booked = await self._booked(since_ts, last)
        await self._all_given()
        state = VenueState(
            open_orders=self._desk.venue_orders(body),
            executions=self._executions(booked),
            cash_moves=tuple(move for transaction in booked for move in self._desk.cash_of(self._now(), transaction)),
            positions=self._desk.positions(body),
            instrument_ids=frozenset(self._rules),
            not_found_ns=int(self._settings.not_found_s * NS_PER_SECOND),
        )
        self._tell_notes()
        return state

    async def _booked(self, since_ts: int, last: int) -> list[Transaction]:
        """What has moved positions or money since then, up to the transaction `last`, in order."""
        pages = (await self._ask(self._codec.booked_pages(since_ts, self._settings.page_size))).pages
        if len(pages) > self._settings.pages_max:
            raise TransportError(f"{self.venue}: {len(pages)} pages of transactions since {text_of_time(since_ts)}")
        found: list[Transaction] = []
        for page in pages:
            match = _PAGE.search(page)
            if match is None:
                raise VenueProtocolError(f"a page without its numbers: {page[:80]!r}")
            if int(match[1]) <= last:
                found += (await self._ask(self._codec.booked(int(match[1]), int(match[2])))).transactions
        return [each for each in found if each.number <= last and time_of(each.time) >= since_ts]

    def _executions(self, booked: Iterable[Transaction]) -> tuple[OrderFilled, ...]:
        ts = self._now()
        return tuple(
            fill
            for transaction in booked
            # Of what is not configured the stream has told, once.
            if transaction.type == "ORDER_FILL" and self._desk.trades(transaction.instrument)
            for fill in self._desk.fills_of(ts, transaction)
        )

    async def _ask(self, request: Request[T], check: Callable[[Answer], None] | None = None) -> T:
        """Raises TransportError, or RefusedError where the token is not taken."""
        sent = await self._http.send(request)
        if sent.value is None:
            text = f"{self.venue}: {request.name}: {sent.reason}"
            is_refused = sent.outcome is Outcome.REJECTED_PROVEN and sent.code in (401, 403)
            raise RefusedError(text) if is_refused else TransportError(text)
        if check is not None and sent.answer is not None:
            check(sent.answer)
        return sent.value

    def _check_clock(self, answer: Answer) -> None:
        """By the answer's Date, which says whole seconds. Raises ConfigError: good-till-date orders would end at another time."""
        try:
            there = int(parsedate_to_datetime(answer.headers.get("date", "")).timestamp()) * NS_PER_SECOND
        except (TypeError, ValueError):
            return  # nobody says
        apart_s = abs(self._wall() - there) // NS_PER_SECOND
        if apart_s > self._settings.clock_error_s_max + 1:
            raise ConfigError(f"this machine's clock and OANDA's are {apart_s} s apart: set the clock")

    # Prices.

    async def _follow_prices(self) -> None:
        backoff, market = _Backoff(self._settings), self._session.market
        while True:
            try:
                async with self._http.open_stream(
                    self._codec.price_stream(market.names), silence_timeout_s=self._settings.stream_silence_s
                ) as lines:
                    self._on_frame(self._now(), OPENED, b"prices")
                    backoff.began(self._now())
                    async for line in lines:
                        self._hear_price(line)
            except _LOST as error:
                self._on_frame(self._now(), CLOSED, b"prices")
                self._tell("prices", str(error))
            self._give(market.lost(self._now()))
            await anyio.sleep(backoff.wait_s(self._now()))

    def _hear_price(self, line: bytes) -> None:
        ts = self._now()
        self._on_frame(ts, RECEIVED, line)
        if line.strip():
            self._give(self._session.price_line(ts, line))
            self._told.pop("prices", None)
            self._timed.set()

    # Time.

    async def _keep_time(self) -> None:
        """What is due by the clock: quotes that had to wait, cancels that wait for an answer, rests, rules."""
        rules_ts = self._now() + int(self._settings.rules_s * NS_PER_SECOND)
        while True:
            now = self._now()
            with anyio.move_on_after(max(min(self._next_ts(), rules_ts) - now, 0) / NS_PER_SECOND):
                await self._timed.wait()
            self._timed = anyio.Event()
            now = self._now()
            self._give(self._session.market.due(now))
            for order in self._desk.cancels_due(now):
                self._cancel_now(order)
            for venue_id, since in list(self._desk.rests.items()):
                if now >= since + int(self._settings.rest_s * NS_PER_SECOND):
                    await self._ask_rest(venue_id)
            if self._rest_tries:
                self._rest_tries = {key: tries for key, tries in self._rest_tries.items() if key in self._desk.rests}
            if now >= rules_ts or self._rules_due:
                rules_ts, self._rules_due = now + int(self._settings.rules_s * NS_PER_SECOND), False
                await self._compare_rules()

    def _next_ts(self) -> int:
        desk, rest_ns = self._desk, int(self._settings.rest_s * NS_PER_SECOND)
        due = [self._session.market.next_deadline, *(since + rest_ns for since in desk.rests.values())]
        due += [order.cancel_due for order in desk.open_orders(CancelAll(0, None)) if order.cancel_due]
        return min(due)

    async def _ask_rest(self, venue_id: str) -> None:
        """Whether an order that was filled in part is still there."""
        tries = self._rest_tries[venue_id] = self._rest_tries.get(venue_id, 0) + 1
        try:
            answer = await self._ask(self._codec.order(venue_id))
        except _LOST as error:
            self._tell("rest", str(error))
            self._desk.rests[venue_id] = self._now()
            if tries >= REST_TRIES_MAX:
                # The comparison with the venue's open orders will end it.
                del self._desk.rests[venue_id]
            return
        if last_of(answer.last_transaction_id) > self._session.log.last:
            await self._catch_up_or_tell()
        if venue_id in self._desk.rests:
            self._give(self._desk.rest_ended(self._now(), venue_id, answer.order.state))

    async def _catch_up_or_tell(self) -> None:
        try:
            await self._catch_up()
        except _LOST as error:
            self._tell("question", str(error))

    async def _compare_rules(self) -> None:
        try:
            listed = (await self._ask(self._codec.instruments([rules.name for rules in self._rules.values()]))).instruments
            for rules in self._rules.values():
                body = next((each for each in listed if each.name == rules.name), None)
                text = "is not listed any more" if body is None else difference(rules, body)
                if text:
                    self._tell(rules.name, f"{rules.instrument.instrument_id}: {text}: its orders will be refused")
        except _LOST as error:
            self._tell("rules", str(error))

    # What is said.

    def _give(self, events: Iterable[AnyEvent]) -> None:
        sink, waiting = self._sink, self._waiting
        for event in events:
            if waiting or sink is None or not sink.offer(event):
                waiting.append(event)
        if waiting:
            self._giving.set()
            assert sink is not None or len(waiting) <= EARLY_EVENTS_MAX, "nobody listens"
        self._tell_notes()

    async def _give_on(self) -> None:
        """What had no room at once. An event leaves the queue when it is in: whoever waits here may be called away."""
        while True:
            while self._waiting and self._sink is not None:
                await self._sink.put(self._waiting[0])
                self._waiting.popleft()
            self._given.set()
            self._given = anyio.Event()
            await self._giving.wait()
            self._giving = anyio.Event()

    async def _all_given(self) -> None:
        while self._waiting and self._sink is not None:
            await self._given.wait()

    def _tell(self, about: str, trouble: str) -> None:
        """Once for each kind: a venue that is away for an hour is no news every five seconds."""
        if self._told.get(about) != trouble:
            self._told[about] = trouble
            self._on_trouble(f"{self.venue}: {trouble}")

    def _tell_notes(self) -> None:
        for note in self._session.take_notes():
            if note not in self._noted:
                self._noted[note] = None
                if len(self._noted) > NOTES_KEPT_MAX:
                    del self._noted[next(iter(self._noted))]
                self._on_trouble(f"{self.venue}: {note}")


class _Backoff:
    """Doubled with each try that fails and each stream that does not hold."""

    def __init__(self, settings: OandaSettings) -> None:
        self._settings = settings
        self._next_s = settings.backoff_first_s
        self._began_ts: int | None = None

    def began(self, ts: int) -> None:
        self._began_ts = ts

    def wait_s(self, ts: int) -> float:
        """How long to wait after the end at `ts`."""
        if self._began_ts is not None and ts - self._began_ts >= int(self._settings.holds_s * NS_PER_SECOND):
            self._next_s = self._settings.backoff_first_s
        self._began_ts = None
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, self._settings.backoff_max_s)
        return wait_s


def _terms_of(command: SubmitOrder) -> LimitTerms:
    word = {TimeInForce.DAY: "GFD", TimeInForce.GTD: "GTD"}.get(command.time_in_force, "GTC")
    gtd_time = text_of_time(command.expire_ts) if command.time_in_force is TimeInForce.GTD else ""
    return LimitTerms(word, gtd_time, "REDUCE_ONLY" if command.reduce_only else "DEFAULT")
