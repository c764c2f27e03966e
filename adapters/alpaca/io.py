"""Alpaca's sockets: REST for orders and questions, two streams, each connected again when it is lost. The only file with network.

Orders go by HTTP and come back by trade_updates. While that stream is away nothing that could add risk is sent, because what it
would do could not be seen; cancels go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup

from adapters.alpaca.checks import account_problems, account_warnings, asset_problems, clock_problems
from adapters.alpaca.codec import AlpacaCodec
from adapters.alpaca.desk import Ask, Purpose, Reaction
from adapters.alpaca.exact import date_of_days
from adapters.alpaca.fees import Fees
from adapters.alpaca.hours import Hours, trade_date, trading_days
from adapters.alpaca.market import MarketSession
from adapters.alpaca.orders import Orders
from adapters.alpaca.outcomes import REQUESTS, read_signals
from adapters.alpaca.parts import open_desk, open_meters, open_movements
from adapters.alpaca.question_pace import QuestionPace
from adapters.alpaca.settings import AlpacaSettings, Endpoints
from adapters.alpaca.switch import AlpacaSwitch, Call
from adapters.alpaca.trade_stream import State, TradeStream
from adapters.alpaca.truth import AccountReader
from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.meters import Lane, SlidingWindow
from adapters.http.record import HttpRecord, Redactor, unrecorded
from adapters.http.request import Outcome, Progress, Request, Sent, Wire
from adapters.websocket.link import WebSocketLink
from core.approved import Approved
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.errors import ConfigError, RefusedError, TransportError, VenueProtocolError
from core.events import AnyEvent, GapDetected, Quote, Trade
from core.instruments import Instrument
from core.units import NS_PER_MS, NS_PER_SECOND
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from core.venue_opening import RECEIVED, SENT, Role, VenueOpening, no_frame

CONNECT_S_MAX = 10.0  # from connect to the last answer of a login
BACKOFF_S_FIRST = 0.2  # doubled with every try that fails, and with every connection that does not hold
BACKOFF_S_MAX = 30.0
HOLDS_S = 5.0  # a connection that has lived so long was a good one
QUIET_S_MAX = 60.0  # how long a timer sleeps where nothing is due
EVENTS_WAITING_MAX = 200_000
OVERLAP_NS = 60 * NS_PER_SECOND  # after a reconnect: executions from so long before the last word of the stream
CALENDAR_DAYS = 14
CALENDAR_REFRESH_NS = 6 * 3_600 * NS_PER_SECOND
CONNECTIONS_MAX = 24
ORDER_WAIT_NS_MAX = NS_PER_SECOND
_LOST = (TransportError, RefusedError, VenueProtocolError)


def monotonic_ns() -> int:
    """The event loop's own clock, so that virtual time counts too."""
    return int(anyio.current_time() * NS_PER_SECOND)


def open_transport(
    opening: VenueOpening, settings: AlpacaSettings, redactor: Redactor, meters: dict[str, SlidingWindow]
) -> HttpTransport:
    def record(each: HttpRecord) -> None:
        opening.on_frame(each.ts, SENT if each.kind == "request" else RECEIVED, msgspec.json.encode(each))

    return HttpTransport(
        opening.venue,
        HttpSettings(connections_max=CONNECTIONS_MAX),
        read_signals=read_signals,
        meters=meters,
        record=unrecorded if opening.on_frame is no_frame else record,
        redactor=redactor,
        monotonic_ns=monotonic_ns,
        wall_ns=opening.wall,
    )


class AlpacaAdapter:
    """core.venue_adapter.Adapter for one account."""

    def __init__(
        self,
        opening: VenueOpening,
        settings: AlpacaSettings,
        endpoints: Endpoints,
        *,
        key: str,
        secret: str,
        symbols: dict[str, str],
    ) -> None:
        self._opening = opening
        self._settings = settings
        self._endpoints = endpoints
        self._now = opening.now
        self._asked_since_ts = opening.now()  # from where on the daemon wants executions, by the venue's stamps
        self._redactor = Redactor((key, secret))
        self._meters = open_meters(settings)
        self._pace = QuestionPace(self._meters[REQUESTS], settings.comparison_reserve)
        self._http = open_transport(opening, settings, self._redactor, self._meters)
        self._codec = AlpacaCodec(
            settings,
            endpoints,
            key=key,
            secret=secret,
            prefix=opening.order_id_prefix,
            instruments=opening.instruments,
            symbols=symbols,
        )
        self._orders = Orders(self._codec, Fees(settings))
        self._desk = open_desk(settings, self._codec, self._orders)
        self._reader = AccountReader(
            self._codec,
            self._orders,
            send=self._http.send,
            sleep=anyio.sleep,
            now=self._now,
            not_found_ns=settings.not_found_ns,
        )
        self._money = open_movements(opening, settings, self._codec, self._reader)
        self._hours = Hours(is_extended=settings.extended_hours)
        self._market = MarketSession(
            settings,
            key=key,
            secret=secret,
            instruments=opening.instruments,
            symbols=symbols,
            subscriptions=opening.subscriptions,
            hours=self._hours,
        )
        self._stream = TradeStream(key, secret)
        self._trades = opening.role is Role.TRADE
        self._trade_link: WebSocketLink | None = None
        self._market_link: WebSocketLink | None = None
        self._heard_ts = 0
        self._is_sending = False
        self._sink: EventSink | None = None
        self._tasks: TaskGroup | None = None
        self._waiting: deque[AnyEvent] = deque()  # for room in the sink, or for somebody who listens
        self._gaps: set[str] = set()  # of instruments: market data that nobody took was left out
        self._asks: list[Ask] = []  # before anybody runs
        self._given = anyio.Event()
        self._asked = anyio.Event()
        self._timed = anyio.Event()
        self._sleeps_until = 0
        self._told: dict[str, str] = {}
        self._at_gate: dict[int, anyio.CancelScope] = {}  # new orders that wait for their budget: not a byte has left

    # The Adapter.

    async def open(self) -> None:
        try:
            await self._check()
            await self._load_calendar()
            if self._trades:
                await self._connect_trades()
                self._is_sending = True
                try:
                    await self._connect_market()
                except TransportError as error:
                    # Orders can be looked after without a market, and the venue may hold a dead connection of ours for a while.
                    self._tell("market", f"{error}; it is tried again")
            else:
                await self._connect_market()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._is_sending = False
        for link in (self._trade_link, self._market_link):
            if link is not None:
                await link.close()
        self._trade_link = self._market_link = None
        await self._http.aclose()

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        self._sink = sink
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                asks, self._asks = self._asks, []
                self._start(asks)
                tasks.start_soon(self._give)
                tasks.start_soon(self._ask_questions)
                tasks.start_soon(self._run_market)
                tasks.start_soon(self._keep_time)
                if self._trades:
                    tasks.start_soon(self._run_trades, on_reconnect)
                    tasks.start_soon(self._keep_money)
        finally:
            self._sink = self._tasks = None

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self._orders.adopt(client_order_id, order)

    def send(self, approved: Approved) -> None:
        command, ts = approved.command, self._now()
        if isinstance(command, SubmitOrder | ReplaceOrder) and not (self._is_sending and self._trades):
            self._emit(self._desk.refusal(command, Reason.NOT_SENT, "there is no stream that would tell of it", ts))
            return
        if isinstance(command, CancelOrder | CancelAll):
            self._withdraw(command)
        self._react(self._desk.send(command, ts))

    def _withdraw(self, command: CancelOrder | CancelAll) -> None:
        """What is to be canceled and waits for its budget does not leave any more."""
        for order_id, scope in self._at_gate.items():
            ours = self._orders.get(order_id)
            if isinstance(command, CancelOrder):
                is_meant = order_id == command.client_order_id
            else:
                is_meant = ours is not None and command.instrument_id in (None, ours.instrument_id)
            if is_meant:
                scope.cancel()

    async def query(self, since_ts: int) -> VenueState:
        if not self._trades:
            raise TransportError(f"{self._opening.venue}: this connection only watches")
        self._asked_since_ts = since_ts
        return await self._state(since_ts)

    async def _state(self, since_ts: int) -> VenueState:
        state = await self._reader.state(since_ts)
        moves = await self._money.since(since_ts)
        self._say_money()
        return msgspec.structs.replace(state, cash_moves=moves)

    # Opening.

    async def _check(self) -> None:
        """Raises ConfigError for everything that must not be, at once; RefusedError where the key is not taken."""
        wall = self._opening.wall
        sent_ts = wall()
        clock = await self._first_answer(self._codec.clock())
        # Whoever set the clock back in between has a clock that is off, and no time that runs backwards.
        problems = clock_problems(clock, self._settings, sent_ts, max(wall(), sent_ts))
        if self._trades:
            account = await self._first_answer(self._codec.account())
            problems += account_problems(account, self._settings, self._opening.environment, self._opening.account)
            for warning in account_warnings(account):
                self._opening.on_trouble(f"{self._opening.venue}: {warning}")
        for instrument_id, instrument in self._opening.instruments.items():
            problems += await self._asset_problems(instrument_id, instrument)
        if problems:
            raise ConfigError("; ".join(problems))

    async def _asset_problems(self, instrument_id: str, instrument: Instrument) -> list[str]:
        symbol = self._codec.symbols[instrument_id]
        sent = await self._http.send(self._codec.asset(symbol))
        if sent.value is None and sent.answer is not None and sent.answer.status == 404:
            return [f"{instrument_id}: Alpaca has no {symbol}"]
        if sent.value is None:
            raise TransportError(f"asset {symbol}: {sent.outcome.name} {sent.reason}")
        return asset_problems(instrument, sent.value)

    async def _first_answer(self, request: Request[Any]) -> Any:
        sent: Sent[Any] = await self._http.send(request)
        if sent.value is None and sent.answer is not None and sent.answer.status in (401, 403):
            raise RefusedError(f"{self._opening.venue}: {request.name}: {sent.reason}")
        if sent.value is None:
            raise TransportError(f"{self._opening.venue}: {request.name}: {sent.outcome.name} {sent.reason}")
        return sent.value

    async def _load_calendar(self) -> None:
        today = trade_date(self._now())
        first, last = (f"{y:04d}-{m:02d}-{d:02d}" for y, m, d in map(date_of_days, (today - 1, today + CALENDAR_DAYS)))
        days = await self._reader.ask(self._codec.calendar(first, last))
        self._hours.load(trading_days(days))
        self._market.hours_changed()

    async def _link(self, url: str, headers: tuple[tuple[str, str], ...] = ()) -> WebSocketLink:
        return await WebSocketLink.connect(
            url,
            headers=headers,
            connect_timeout_s=CONNECT_S_MAX,
            silence_timeout_s=self._settings.silence_s,
            ping_interval_s=self._settings.ping_s,
            on_frame=self._opening.on_frame,
            now=self._now,
            redactor=self._redactor,
        )

    async def _connect_trades(self) -> None:
        """Connected and listening. Raises TransportError, RefusedError or VenueProtocolError."""
        link = await self._link(self._endpoints.trading_stream)
        try:
            with anyio.fail_after(CONNECT_S_MAX):
                link.send(self._stream.connected())
                while self._stream.state is not State.LISTENING:
                    _, reply = self._stream.receive(await link.receive())
                    if reply is not None:
                        link.send(reply)
        except TimeoutError:
            await link.close()
            raise TransportError(f"trade_updates: no answer to the login within {CONNECT_S_MAX:g} s") from None
        except BaseException:
            await link.close()
            raise
        self._trade_link, self._heard_ts = link, self._now()

    async def _connect_market(self) -> None:
        """Connected and subscribed, with the last quotes. Raises as _connect_trades."""
        self._market.connected()
        link = await self._link(self._endpoints.data_stream, (("Content-Type", "application/msgpack"),))
        try:
            with anyio.fail_after(CONNECT_S_MAX):
                while not self._hear_market(link, await link.receive()):
                    pass
            await self._snapshot()
        except TimeoutError:
            await link.close()
            raise TransportError(f"market data: no answer to the login within {CONNECT_S_MAX:g} s") from None
        except BaseException:
            await link.close()
            raise
        self._market_link = link

    async def _snapshot(self) -> None:
        """The last quotes, so that there is a market before the next one. Without them it begins with that."""
        if not self._opening.instruments:
            return
        try:
            quotes = await self._reader.ask(self._codec.latest_quotes())
            self._emit(self._market.snapshot(self._now(), quotes))
        except (TransportError, VenueProtocolError) as error:
            self._tell("snapshot", f"no last quotes: {error}")

    # The streams.

    async def _run_trades(self, on_reconnect: OnReconnect) -> None:
        backoff_s = BACKOFF_S_FIRST
        while True:
            begun = anyio.current_time()
            try:
                if self._trade_link is None:
                    await self._connect_trades_again(on_reconnect)
                    self._told.pop("trades", None)
                await self._pump_trades()
            except _LOST as error:
                self._is_sending = False
                self._tell("trades", str(error))
                await self._drop_trades()
            if anyio.current_time() - begun >= HOLDS_S:
                backoff_s = BACKOFF_S_FIRST
            await anyio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)

    async def _connect_trades_again(self, on_reconnect: OnReconnect) -> None:
        """Connected, and the account as it is now; what the stream said meanwhile comes behind that."""
        since = self._heard_ts - OVERLAP_NS
        await self._connect_trades()
        self._heard_ts = since + OVERLAP_NS  # until the account was asked nothing newer is certain
        # Our stamps may be ahead of the venue's by as much as the machine's clock ever was.
        state = await self._state(max(min(since, self._asked_since_ts), 0))
        await self._drain()
        on_reconnect(state)
        self._heard_ts = self._now()
        self._is_sending = True

    async def _drop_trades(self) -> None:
        link, self._trade_link = self._trade_link, None
        self._stream.closed()
        self._reader.forget()
        if link is not None:
            await link.close()

    async def _pump_trades(self) -> None:
        """Until the connection is lost, which raises."""
        link = self._trade_link
        assert link is not None
        while True:
            frame = await link.receive()
            ts = self._now()
            update, reply = self._stream.receive(frame)
            if reply is not None:
                link.send(reply)
            if update is not None:
                self._react(self._desk.heard(update, monotonic_ns(), ts))
            self._heard_ts = ts

    async def _run_market(self) -> None:
        backoff_s = BACKOFF_S_FIRST
        while True:
            begun = anyio.current_time()
            try:
                if self._market_link is None:
                    await self._connect_market()
                    self._told.pop("market", None)
                link = self._market_link
                assert link is not None
                while True:
                    self._hear_market(link, await link.receive())
            except _LOST as error:
                self._tell("market", str(error))
                dropped, self._market_link = self._market_link, None
                self._emit(self._market.lost(self._now()))
                if dropped is not None:
                    await dropped.close()
            if anyio.current_time() - begun >= HOLDS_S:
                backoff_s = BACKOFF_S_FIRST
            await anyio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)

    def _hear_market(self, link: WebSocketLink, frame: str | bytes) -> bool:
        """True where everything is subscribed to by this frame."""
        out = self._market.receive(self._now(), frame)
        for payload in out.sends:
            link.send(payload)
        for text in out.troubles:
            self._opening.on_trouble(f"{self._opening.venue}: {text}")
        self._emit(out.events)
        if self._market.next_deadline < self._sleeps_until:
            self._timed.set()  # a quote has begun to wait for its time
        return out.is_ready

    async def _keep_time(self) -> None:
        """Sessions begin and end, quotes that had to wait come, and the calendar is read again."""
        refreshed = self._now()
        while True:
            ts = self._now()
            self._emit(self._market.due(ts))
            if ts - refreshed >= CALENDAR_REFRESH_NS:
                refreshed = ts
                try:
                    await self._load_calendar()
                except _LOST as error:
                    self._tell("calendar", str(error))
            self._timed = anyio.Event()
            self._sleeps_until = self._market.next_deadline
            with anyio.move_on_after(min(max(self._sleeps_until - self._now(), 0) / NS_PER_SECOND, QUIET_S_MAX)):
                await self._timed.wait()

    async def _keep_money(self) -> None:
        """What moved is asked for by itself: a comparison of the account may be long in coming."""
        while True:
            await anyio.sleep(self._settings.money_interval_s)
            if self._pace.room(monotonic_ns()) == 0:
                continue
            await self._money.again()
            self._say_money()

    def _say_money(self) -> None:
        moves = self._money.moves
        self._emit(moves.take_new())
        for text in moves.troubles:
            self._opening.on_trouble(f"{self._opening.venue}: {text}")
        moves.troubles.clear()

    # Requests.

    def _react(self, reaction: Reaction) -> None:
        self._emit(reaction.events)
        for text in reaction.troubles:
            self._opening.on_trouble(f"{self._opening.venue}: {text}")
        self._start(reaction.asks)
        self._asked.set()

    def _start(self, asks: Iterable[Ask]) -> None:
        if self._tasks is None:
            self._asks += asks
            return
        for ask in asks:
            self._tasks.start_soon(self._perform, ask)

    async def _perform(self, ask: Ask) -> None:
        is_new_risk = ask.purpose in (Purpose.PLACE, Purpose.REPLACE)
        sent = await (self._send_if_soon(ask) if is_new_risk else self._http.send(ask.request))
        self._react(self._desk.answered(ask, sent, monotonic_ns(), self._now()))

    async def _send_if_soon(self, ask: Ask) -> Sent[Any]:
        """An order that would wait for long is not sent: what it was meant for has passed by then."""
        now = monotonic_ns()
        wait_ns = max(meter.wait(now, 1, Lane.ORDER) for meter in self._meters.values())
        if wait_ns > ORDER_WAIT_NS_MAX:
            return unsent(f"the requests of this minute are used up for another {wait_ns // NS_PER_MS} ms")
        if ask.purpose is Purpose.REPLACE:
            return await self._http.send(ask.request)
        with anyio.CancelScope() as scope:
            self._at_gate[ask.client_order_id] = scope

            def build(venue_now: int) -> Wire:
                # From here on bytes of it may leave.
                self._at_gate.pop(ask.client_order_id, None)
                return ask.request.build(venue_now)

            try:
                return await self._http.send(msgspec.structs.replace(ask.request, build=build))
            finally:
                self._at_gate.pop(ask.client_order_id, None)
        return unsent("it was canceled before it left")

    async def _ask_questions(self) -> None:
        while True:
            self._asked = anyio.Event()
            now = monotonic_ns()
            asks = self._desk.due(now, self._pace.turn(now))
            if asks:
                self._pace.asked(now)
            self._start(asks)
            due = self._desk.questions.next_at()
            wait_ns = int(QUIET_S_MAX * NS_PER_SECOND) if due is None else max(due - now, self._pace.wait(now))
            with anyio.move_on_after(wait_ns / NS_PER_SECOND):
                await self._asked.wait()

    # Events.

    def _emit(self, events: Iterable[AnyEvent]) -> None:
        for event in events:
            if not self._waiting and self._sink is not None and self._sink.offer(event):
                continue
            if len(self._waiting) >= EVENTS_WAITING_MAX and isinstance(event, Quote | Trade):
                # Nobody takes them. Orders are never left out; of the market it is said that there is a gap.
                self._gaps.add(event.instrument_id)
                continue
            self._waiting.append(event)
        if self._waiting:
            self._given.set()

    async def _give(self) -> None:
        while True:
            await self._drain()
            self._given = anyio.Event()
            if not self._waiting:
                await self._given.wait()

    async def _drain(self) -> None:
        """Everything that waits is in. Two tasks may do it: an event leaves the queue before it is put, so each puts it once."""
        assert self._sink is not None
        while self._waiting:
            event = self._waiting.popleft()
            if not self._sink.offer(event):
                await self._sink.put(event)
        gaps, self._gaps = self._gaps, set()
        ts = self._now()
        self._emit(GapDetected(ts, ts, instrument_id) for instrument_id in sorted(gaps))

    def _tell(self, what: str, trouble: str) -> None:
        """Once for each kind: a venue that is away for an hour is no news every thirty seconds."""
        if self._told.get(what) != trouble:
            self._told[what] = trouble
            self._opening.on_trouble(f"{self._opening.venue}: {trouble}")


def open_switch(
    opening: VenueOpening, settings: AlpacaSettings, endpoints: Endpoints, *, key: str, secret: str, symbols: dict[str, str]
) -> AlpacaSwitch:
    """The guardian's, over a transport of its own."""
    http = open_transport(opening, settings, Redactor((key, secret)), open_meters(settings))
    codec = AlpacaCodec(
        settings,
        endpoints,
        key=key,
        secret=secret,
        prefix=opening.order_id_prefix,
        instruments=opening.instruments,
        symbols=symbols,
    )
    orders = Orders(codec, Fees(settings))
    reader = AccountReader(codec, orders, send=http.send, sleep=anyio.sleep, now=opening.now, not_found_ns=settings.not_found_ns)
    return AlpacaSwitch(opening, settings, codec, orders, reader, http, all_done)


def unsent(reason: str) -> Sent[Any]:
    return Sent(outcome=Outcome.NOT_SENT_PROVEN, reason=reason, progress=Progress.QUEUED)


async def all_done(calls: Iterable[Call]) -> None:
    """Each awaited, all at once."""
    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(call)
