"""Binance as an Adapter: orders and questions over REST, events over two kinds of streams. Touches the network through
adapters/http and adapters/websocket; what anything means is decided in the pure files beside it.

New orders leave only while the account's own stream is live, for their fate must be heard; cancels leave always. Order truth
never rests on the stream: after every reconnect the venue is asked (inquiry.py), and the daemon asks on a timer of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup

from adapters.binance.account import Account
from adapters.binance.account_checks import key_problems, position_mode_problems, spot_account_problems
from adapters.binance.cash.io import CashWatch
from adapters.binance.dead_man import DeadMan
from adapters.binance.desk import Ask, OrderDesk, Purpose, Reaction
from adapters.binance.endpoints import WEIGHT, Product
from adapters.binance.inquiry import Inquiry, Memory, without
from adapters.binance.inquiry_pace import InquiryPace
from adapters.binance.listen_key import KeyLimits, KeyStep, ListenKeyLife
from adapters.binance.market_feed import MarketFeed, plan_streams
from adapters.binance.order_events import ForeignFill, ForeignOrder, OrderEvents, OrderFact
from adapters.binance.outcomes import BAD_LISTEN_KEY, BAD_TIMESTAMP, UNKNOWN_CANCEL
from adapters.binance.rest.io import budgets_of, now_ns, read_clock, send_all, transport_of, value_of
from adapters.binance.rest_bodies import ExchangeInfo, ListenKey
from adapters.binance.rules_watch import RulesWatch
from adapters.binance.session import StreamLimits, StreamSession
from adapters.binance.streams.io import MarketConnection, UserStream
from adapters.binance.unknown_orders import UnknownLimits, UnknownOrders
from adapters.binance.user_stream import MarginCall, StreamEnded, TriggerRejected, UserMessage
from adapters.http.clock_offset import ClockOffset
from adapters.http.io import HttpTransport
from adapters.http.outcome import failed
from adapters.http.request import Outcome, Progress, Sent
from adapters.websocket.link import WebSocketLink
from core.approved import Approved
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.errors import CapacityError, ConfigError, RefusedError, TransportError, VenueProtocolError
from core.events import AnyEvent, OrderRejected, ReplaceRejected
from core.units import NS_PER_MS, NS_PER_SECOND
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from core.venue_opening import Role

QUERY_S_MAX = 60.0
RECOVER_AGAIN_S = 1.0
RECOVERIES_APART_S = 30.0  # beyond, one has nothing to do with the one before
SWEEP_GRACE_S = 0.5  # for the stream to tell what a cancel of everything has done
MUTE_LOOK_S = 1.0
QUIET_TRIES_MAX = 3  # to ask while nothing happens to the orders asked about
EARLY_EVENTS_MAX = 100_000
# Refusals that say that the venue's rules are not the ones that were loaded.
RULE_REASONS = frozenset({Reason.BAD_TICK, Reason.BAD_QTY, Reason.BAD_PRICE, Reason.BAD_FIELD})


class BinanceAdapter:
    """core.venue_adapter.Adapter for one product of one account."""

    def __init__(self, account: Account) -> None:
        self.venue = account.venue
        self._account = account
        self._codec, self._now = account.codec, account.now
        self._clock = ClockOffset()
        self._http, self._pace = self._transport()
        self._levels = max((each.book_levels for each in account.subscriptions), default=0)
        events = OrderEvents(account.instruments, account.prefix)
        self._events = events
        self._desk = OrderDesk(account.codec, events, UnknownOrders(UnknownLimits()), dict(account.symbols))
        self._memory = Memory(account.product, list(account.instruments))
        self._rules = RulesWatch(account.product, account.venue, account.instruments)
        self._feed = MarketFeed(
            account.instruments,
            account.subscriptions,
            levels_max=account.settings.book_levels_max,
            hears_all=account.role is Role.WATCH,
        )
        self._markets = self._market_connections()
        self._key = ListenKeyLife(KeyLimits())
        self._user = self._user_stream()
        self._cash = CashWatch(
            account,
            http=lambda: self._http,
            venue_now=lambda: self._clock.venue_now(now_ns()),
            emit=self._emit,
            tell=self._tell,
        )
        self._is_open = False
        self._sink: EventSink | None = None  # while `run` does
        self._waiting: deque[AnyEvent] = deque()  # came in before `run`, or the sink had no room
        self._tasks: TaskGroup | None = None
        self._asks: list[Ask] = []  # before `run`
        self._woken = anyio.Event()
        self._recover_wanted = anyio.Event()
        self._rules_wanted = anyio.Event()
        self._inquiring = anyio.Lock()
        self._since_ts: int | None = None  # from where on the daemon has asked for executions
        self._shown: set[tuple[int, str]] = set()  # executions in the last answer to a query
        self._told = ""
        self._unreadable = 0

    # The Adapter.

    async def open(self) -> None:
        """Raises ConfigError where key, account or instruments are not what the configuration needs."""
        try:
            await read_clock(self._http, self._codec, self._clock)
            self._check_clock()
            info = await value_of(self._http, self._codec.exchange_info(self._account.instruments), "exchangeInfo")
            problems = self._rules.load(info)
            if self._account.role is Role.TRADE:
                problems += await self._account_problems()
            if problems:
                raise ConfigError(f"{self.venue}: {'; '.join(problems)}")
            await self._http.aclose()
            self._http, self._pace = self._transport(info)
            if self._account.role is Role.TRADE:
                await self._user.open()
                self._cash.opened()
                if self._since_ts is None:
                    self._since_ts = self._clock.venue_now(now_ns())
            for market in self._markets:
                await market.open()
        except BaseException:
            await self._shut()
            raise
        self._emit(self._rules.status_events(self._now()))
        for warning in self._rules.take_warnings():
            self._tell(warning)
        self._is_open = True

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        self._sink = sink
        try:
            await self._room()
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for market in self._markets:
                    tasks.start_soon(market.run)
                tasks.start_soon(self._every, self._account.settings.clock_refresh_s, self._read_clock)
                tasks.start_soon(self._watch_rules)
                if self._account.role is Role.TRADE:
                    tasks.start_soon(self._user.run, self._room)
                    tasks.start_soon(self._recover, on_reconnect)
                    tasks.start_soon(self._ask_about_unknown)
                    tasks.start_soon(self._leave_mute_stream)
                    tasks.start_soon(self._cash.run)
                    if self._account.product is Product.USDM:
                        tasks.start_soon(self._keep_listen_key)
                        if self._account.settings.dead_man_s:
                            tasks.start_soon(self._keep_dead_man)
                asks, self._asks = self._asks, []
                for ask in asks:
                    tasks.start_soon(self._exchange, ask)
                await self._give()
        except BaseExceptionGroup as failures:
            first = failures
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            # By its own name: a group of one is nobody's expected failure.
            raise first from None
        finally:
            self._sink = self._tasks = None

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self._desk.adopt(client_order_id, order)

    def send(self, approved: Approved) -> None:
        command, ts = approved.command, self._now()
        refusal = self._why_not(command)
        self._take(self._desk.send(command, ts) if refusal is None else self._desk.refuse(command, *refusal, ts))

    async def query(self, since_ts: int) -> VenueState:
        if not self._is_open or self._account.role is Role.WATCH:
            raise TransportError(f"{self.venue}: there is no connection")
        self._since_ts = since_ts
        with anyio.move_on_after(QUERY_S_MAX):
            state = (await self._ask_where_things_stand())[0]
            shown = {(fill.client_order_id, fill.execution_id) for fill in state.executions}
            # Before `run` one look is enough for the daemon, later it takes two.
            certain = shown if self._sink is None else shown & self._shown
            self._desk.tell_no_more(fill for fill in state.executions if (fill.client_order_id, fill.execution_id) in certain)
            self._shown = shown
            return state
        raise TransportError(f"{self.venue}: no answer within {QUERY_S_MAX:g} s")

    async def close(self) -> None:
        await self._shut()

    def _transport(self, info: ExchangeInfo | None = None) -> tuple[HttpTransport, InquiryPace]:
        budgets = budgets_of(self._account, self._account.settings.budget_share_percent, info)
        return transport_of(self._account, self._clock, budgets), InquiryPace(budgets[WEIGHT])

    async def _shut(self) -> None:
        self._is_open = False
        await self._user.close()
        for market in self._markets:
            await market.close()
        await self._http.aclose()

    # What must hold before anything leaves.

    async def _account_problems(self) -> list[str]:
        codec, account = self._codec, self._account
        problems: list[str] = []
        if account.endpoints.rights:
            problems += key_problems(account.product, await value_of(self._http, codec.key_permissions(), "the key's rights"))
        if account.product is Product.SPOT:
            problems += spot_account_problems(await value_of(self._http, codec.spot_account(), "the account"))
        else:
            problems += position_mode_problems(await value_of(self._http, codec.position_mode(), "the position mode"))
        return problems

    def _clock_error_ms(self) -> int:
        return self._clock.error(now_ns()) // NS_PER_MS

    def _check_clock(self) -> None:
        if self._clock_error_ms() > self._account.settings.clock_error_ms_max:
            raise TransportError(f"{self.venue}: the venue's clock is known to {self._clock_error_ms()} ms only")

    def _why_not(self, command: OrderCommand) -> tuple[Reason, str] | None:
        """Why `command` must not leave now. Cancels always may."""
        if not self._is_open or self._account.role is Role.WATCH:
            return Reason.NOT_SENT, "there is no connection"
        if isinstance(command, CancelOrder | CancelAll):
            return None
        if not self._user.session.may_place:
            return Reason.NOT_SENT, "the account's stream is down: what would become of the order could not be heard"
        if self._clock_error_ms() > self._account.settings.clock_error_ms_max:
            return Reason.NOT_SENT, f"the venue's clock is known to {self._clock_error_ms()} ms only"
        assert isinstance(command, SubmitOrder | ReplaceOrder)
        key = command.instrument_id if isinstance(command, SubmitOrder) else self._desk.instrument_of(command.client_order_id)
        changed = self._rules.changed.get(key)
        return None if changed is None else (Reason.BAD_TICK, f"the venue's rules have changed: {changed}")

    # Requests.

    def _take(self, reaction: Reaction, *, is_swept: bool = False) -> None:
        """`is_swept`: a cancel of everything was taken; the stream tells of each order soon."""
        for fact in reaction.facts:
            event = self._event_of(fact)
            if event is not None:
                self._emit((event,))
            if isinstance(fact, OrderRejected | ReplaceRejected) and fact.reason in RULE_REASONS:
                self._rules_wanted.set()
        for ask in reaction.asks:
            if self._tasks is None:
                self._asks.append(ask)
            else:
                self._tasks.start_soon(self._exchange, ask)
        if reaction.must_recover:
            if is_swept and self._tasks is not None:
                self._tasks.start_soon(self._look_behind_sweep)
            else:
                self._recover_wanted.set()

    async def _exchange(self, ask: Ask) -> None:
        sent: Sent[Any] = failed(Progress.SENDING, "this side stopped before the answer came")
        try:
            sent = await self._http.send(ask.request)
        finally:
            now = now_ns()
            reaction = self._desk.answered(ask, sent, now, self._now(), self._clock.error(now))
            # Spot says "unknown order" where there is nothing to cancel.
            is_swept = ask.purpose is Purpose.CANCEL_ALL and (sent.outcome is Outcome.ACCEPTED or sent.code == UNKNOWN_CANCEL)
            self._take(reaction, is_swept=is_swept)
            if sent.code == BAD_TIMESTAMP:
                self._tell(f"the venue refuses our timestamps: {sent.reason}")
            if len(self._desk.unknown):
                self._wake()

    async def _look_behind_sweep(self) -> None:
        await anyio.sleep(SWEEP_GRACE_S)
        if self._desk.has_open_cancels():
            self._recover_wanted.set()

    async def _ask_about_unknown(self) -> None:
        while True:
            self._take(self._desk.due(now_ns()))
            at = self._desk.unknown.next_at()
            with anyio.move_on_after(None if at is None else max(at - now_ns(), 0) / NS_PER_SECOND):
                await self._woken.wait()

    # Events.

    def _event_of(self, fact: OrderFact) -> AnyEvent | None:
        match fact:
            case ForeignFill(order=order, fill=fill):
                if order.is_forced:
                    self._tell(f"the venue itself has closed a position: {order.wire_id} of {order.symbol}")
                return fill
            case ForeignOrder():
                if fact.is_forced or fact.symbol not in self._account.instruments:
                    self._tell(f"an order that is not ours: {fact.what} of {fact.symbol}")
                return None
            case _:
                return fact

    def _emit(self, events: Sequence[AnyEvent]) -> None:
        sink, waiting = self._sink, self._waiting
        for event in events:
            if waiting or sink is None or not sink.offer(event):
                if len(waiting) >= EARLY_EVENTS_MAX:
                    raise CapacityError(f"{self.venue}: {EARLY_EVENTS_MAX} events wait, and nobody takes them")
                waiting.append(event)
                self._wake()

    async def _room(self) -> None:
        """Until the sink has taken everything; whoever reads a stream waits here, and so holds the venue back."""
        while self._waiting and self._sink is not None:
            # It leaves the queue when it is in: whoever waits here may be called away.
            event = self._waiting[0]
            await self._sink.put(event)
            if self._waiting and self._waiting[0] is event:
                self._waiting.popleft()

    async def _give(self) -> None:
        """What found no room when it came, as soon as there is some."""
        while True:
            await self._room()
            await self._woken.wait()

    def _wake(self) -> None:
        self._woken.set()
        self._woken = anyio.Event()

    def _tell(self, trouble: str) -> None:
        """Once for each kind: a venue that is away for an hour is no news every five seconds."""
        if trouble != self._told:
            self._told = trouble
            self._account.on_trouble(f"{self.venue}: {self._account.redactor.text(' '.join(trouble.split()))}")

    # Where things stand.

    async def _ask_where_things_stand(self) -> tuple[VenueState, int]:
        """The state, and when (ns UTC) the asking began. Raises TransportError."""
        async with self._inquiring:
            since_ts = self._since_ts
            assert since_ts is not None
            await anyio.sleep(self._pace.wait(now_ns()) / NS_PER_SECOND)
            began, now = self._now(), now_ns()
            venue_now = self._clock.venue_now(now)
            inquiry = Inquiry(
                self._codec, self._events, self._memory, self._account.symbols, since_ts=since_ts, venue_now=venue_now, ts=began
            )
            self._pace.begin(now)
            try:
                while batch := inquiry.batch():
                    self._pace.ask(batch)
                    inquiry.take(await send_all(self._http, batch))
                bound = self._desk.unknown.bound_after(self._codec.recv_window_ms * NS_PER_MS, self._clock.error(now))
                state = inquiry.state(bound + self._now() - began)
            except (VenueProtocolError, CapacityError) as error:
                raise TransportError(f"{self.venue}: where things stand cannot be read: {error}") from error
        for order in state.open_orders:
            if order.client_order_id is not None:
                self._desk.adopt(order.client_order_id, order)
        is_news = [
            order
            for order in state.open_orders
            # Its end was learned while the venue was being asked: the answer is of before.
            if order.client_order_id is None or not self._desk.has_ended_since(order.client_order_id, began)
        ]
        moves = await self._cash.moves(since_ts)
        return msgspec.structs.replace(state, open_orders=tuple(is_news), cash_moves=moves), began

    def _want_recovery(self) -> None:
        self._cash.reconnected()
        self._recover_wanted.set()

    async def _recover(self, on_reconnect: OnReconnect) -> None:
        """After every reconnect of the account's stream, and wherever something was said that cannot be told order by order."""
        pause_s, last_s = 0.0, -RECOVERIES_APART_S
        while True:
            await self._recover_wanted.wait()
            if self._user.session.may_place:
                # What follows from one recovery may ask for the next: they must not eat the venue's budget.
                is_again = anyio.current_time() - last_s < RECOVERIES_APART_S
                pause_s = min(max(2 * pause_s, RECOVER_AGAIN_S), RECOVERIES_APART_S) if is_again else 0.0
                await anyio.sleep(pause_s)
            last_s = anyio.current_time()
            self._recover_wanted = anyio.Event()
            connection = self._user.connection
            try:
                state = await self._quiet_state()
            except TransportError as error:
                self._tell(str(error))
                await anyio.sleep(RECOVER_AGAIN_S)
                self._recover_wanted.set()
                continue
            on_reconnect(state)
            self._desk.tell_no_more(state.executions)
            self._emit(self._desk.still_unknown(self._now()))
            # What the last connection owed is known by now.
            self._desk.debts.clear()
            if connection == self._user.connection:
                self._user.session.recovered(now_ns())
                self._told = ""

    async def _quiet_state(self) -> VenueState:
        """Of instruments that nothing has happened to while they were asked about: one look is all that it gets."""
        for _ in range(QUIET_TRIES_MAX):
            state, began = await self._ask_where_things_stand()
            # What had come in before counts first.
            await self._room()
            touched = self._desk.touched_since(began)
            if not touched:
                break
        return without(state, touched, self._account.instruments.values())

    # The account's stream.

    def _user_stream(self) -> UserStream:
        is_spot = self._account.product is Product.SPOT
        # Silence is watched by the link, which hears pings too.
        life_ns = int(self._account.settings.stream_life_s * NS_PER_SECOND)
        limits = StreamLimits(life_ns=life_ns, silence_ns=2 * life_ns)
        return UserStream(
            StreamSession(limits, needs_subscription=is_spot),
            connect=self._connect_user,
            subscribe=lambda: self._codec.subscribe_user_stream("user", self._clock.venue_now(now_ns())),
            on_message=self._heard,
            on_recover=self._want_recovery,
            trouble=self._tell,
        )

    async def _leave_mute_stream(self) -> None:
        """A connection that answers pings may be dead for all else: what was taken and is not told there gives it away."""
        while True:
            await anyio.sleep(MUTE_LOOK_S)
            if self._user.session.may_place and self._desk.debts.is_overdue(now_ns()):
                self._desk.debts.clear()
                self._tell("the user stream is opened again: it does not tell of an order that was taken")
                await self._user.renew("it does not tell of an order that was taken")

    async def _connect_user(self) -> WebSocketLink:
        url = self._account.endpoints.user_stream
        if self._account.product is Product.USDM:
            if not self._key.key:
                await self._make_listen_key()
            url = f"{url}/ws?listenKey={self._key.key}"
        return await self._connect(url)

    async def _connect(self, url: str) -> WebSocketLink:
        settings = self._account.settings
        return await WebSocketLink.connect(
            url,
            connect_timeout_s=settings.connect_timeout_s,
            silence_timeout_s=settings.stream_silence_s,
            ping_interval_s=settings.stream_ping_s,
            on_frame=self._account.on_frame,
            now=self._now,
            redactor=self._account.redactor,
        )

    def _heard(self, message: UserMessage) -> None:
        match message:
            case StreamEnded(reason="listenKeyExpired"):
                self._key.lost(now_ns())
            case MarginCall():
                self._tell(f"margin call: {', '.join(row.s for row in message.p)}")
            case TriggerRejected():
                self._tell(f"{message.o.s}: a conditional order was triggered and refused: {message.o.r}")
                self._recover_wanted.set()
        try:
            self._cash.heard(message)
            reaction = self._desk.heard(message, self._now())
        except VenueProtocolError as error:
            self._tell(f"what the account's stream says cannot be: {error}")
            reaction = Reaction(must_recover=True)
        self._take(reaction)

    async def _make_listen_key(self) -> None:
        asked = now_ns()
        sent = await self._http.send(self._codec.create_listen_key())
        if sent.value is None:
            self._key.failed(now_ns())
            raise TransportError(f"no listen key: {sent.reason}")
        self._key.created(sent.value.listen_key, asked)

    async def _keep_listen_key(self) -> None:
        """One that cannot be kept is made anew, and the stream is opened again with it."""
        while True:
            at = self._key.next_at()
            await anyio.sleep(1.0 if at is None else max(at - now_ns(), 0) / NS_PER_SECOND)
            asked, step = now_ns(), self._key.due(now_ns())
            if step is KeyStep.KEEP:
                sent = await self._http.send(self._codec.keep_listen_key())
                if sent.value is None:
                    self._key.failed(now_ns(), is_gone=sent.code == BAD_LISTEN_KEY)
                elif isinstance(sent.value, ListenKey) and sent.value.listen_key != self._key.key:
                    self._key.created(sent.value.listen_key, asked)
                    await self._user.renew("its listen key is another one now")
                else:
                    self._key.kept(asked)
            elif step is KeyStep.CREATE:
                try:
                    await self._make_listen_key()
                except TransportError as error:
                    self._tell(str(error))
                    continue
                await self._user.renew("its listen key has expired")

    # The market.

    def _market_connections(self) -> list[MarketConnection]:
        account, settings = self._account, self._account.settings
        bases = account.endpoints.book_stream, account.endpoints.trade_stream
        plan = plan_streams(self._feed, bases, settings.book_speed, settings.trade_events, settings.streams_per_connection)
        return [self._market_connection(f"{base}/stream?streams={'/'.join(names)}", symbols) for base, symbols, names in plan]

    def _market_connection(self, url: str, symbols: Sequence[str]) -> MarketConnection:
        return MarketConnection(
            self._feed,
            symbols,
            connect=partial(self._connect, url),
            life_s=self._account.settings.stream_life_s,
            snapshot=self._snapshot,
            emit=self._emit,
            room=self._room,
            trouble=self._tell,
            now=self._now,
        )

    async def _snapshot(self, symbol: str) -> bytes | None:
        return (await self._http.send(self._codec.depth(symbol, self._levels))).value

    # On a timer.

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await anyio.sleep(seconds)
            try:
                await work()
            except (TransportError, RefusedError, VenueProtocolError) as error:
                self._tell(str(error))
            if self._feed.unreadable != self._unreadable:
                self._unreadable = self._feed.unreadable
                self._tell(f"{self._unreadable} market frames could not be read, the last: {self._feed.why_unreadable}")

    async def _read_clock(self) -> None:
        steps = self._clock.steps
        await read_clock(self._http, self._codec, self._clock, 1)
        if self._clock.steps != steps:
            self._tell("a clock was stepped, here or at the venue")

    async def _watch_rules(self) -> None:
        """The venue's rules again, on a timer and where a refusal says that they are others."""
        while True:
            with anyio.move_on_after(self._account.settings.rules_refresh_s):
                await self._rules_wanted.wait()
            try:
                info = await value_of(self._http, self._codec.exchange_info(self._account.instruments), "exchangeInfo")
                problems = self._rules.load(info)
            except (TransportError, RefusedError, VenueProtocolError) as error:
                self._tell(str(error))
            else:
                for text in (*problems, *self._rules.take_warnings()):
                    self._tell(text)
                self._emit(self._rules.status_events(self._now()))
            # One refusal after the other is no reason to ask more often.
            await anyio.sleep(RECOVER_AGAIN_S)
            self._rules_wanted = anyio.Event()

    async def _keep_dead_man(self) -> None:
        account = self._account
        dead_man = DeadMan(tuple(account.instruments), int(account.settings.dead_man_s * NS_PER_SECOND))

        async def refresh(symbol: str) -> None:
            sent = await self._http.send(self._codec.dead_man(symbol, dead_man.countdown_ms))
            if sent.outcome is not Outcome.ACCEPTED:
                dead_man.failed(symbol, now_ns(), was_sent=sent.progress >= Progress.SENDING)
                self._tell(f"{symbol}: the dead-man switch was not taken: {sent.reason}")
            elif not dead_man.armed(symbol, now_ns()):
                self._tell(f"{symbol}: the dead-man switch was refreshed late: its orders may be gone")
                self._recover_wanted.set()

        async with anyio.create_task_group() as tasks:
            while True:
                for symbol in dead_man.due(now_ns()):
                    tasks.start_soon(refresh, symbol)
                at = dead_man.next_at()
                await anyio.sleep(0.1 if at is None else max(at - now_ns(), 0) / NS_PER_SECOND)
