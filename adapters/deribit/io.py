"""Deribit's sockets: connect, send at once, receive, connect again. The only file here that touches the network.

Everything is decided by the pure halves (session.py, switch.py); here it is carried. One task reads: whoever else wants something
of it changes when it looks at the clock next.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import anyio

from adapters.deribit.instrument_check import differences
from adapters.deribit.instruments import instrument_name_of
from adapters.deribit.options import Limits
from adapters.deribit.session import DeribitSession
from adapters.deribit.settings import DeribitSettings, Output
from adapters.deribit.switch import DeribitSwitch
from adapters.deribit.telling import Telling
from adapters.http.record import Redactor
from adapters.sim.market import MarketFilter
from adapters.websocket.link import WebSocketLink
from core.approved import Approved
from core.commands import CancelAll, CancelOrder
from core.errors import ConfigError, RefusedError, TransportError, VenueProtocolError
from core.events import AnyEvent, GapDetected, OrderEvent
from core.instruments import Instrument
from core.strategy import Subscription
from core.units import NS_PER_MS, NS_PER_SECOND
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from core.venue_opening import OnFrame, no_frame

EARLY_EVENTS_MAX = 100_000  # that may come in between open and run
BOOK_LEVELS_MAX = 1_000
HOLDS_S = 1.0  # a connection that has lived so long was a good one
CLOSE_S_MAX = 1.0
LOOK_AGAIN_NS = NS_PER_MS  # a deadline that is over is not looked at more often

Now = Callable[[], int]  # ns UTC, never less than before


class Wire:
    """One connection at a time: frames out at once, frames in or a deadline."""

    def __init__(self, url: str, limits: Limits, now: Now, on_frame: OnFrame, redactor: Redactor) -> None:
        self.url = url
        self._limits = limits
        self._now = now
        self._on_frame = on_frame
        self._redactor = redactor
        self._link: WebSocketLink | None = None
        self._waiting: anyio.CancelScope | None = None

    @property
    def is_open(self) -> bool:
        return self._link is not None and self._link.is_open

    async def connect(self) -> None:
        """Raises TransportError."""
        await self.close()
        self._link = await WebSocketLink.connect(
            self.url,
            connect_timeout_s=self._limits.connect_s,
            silence_timeout_s=self._limits.silence_s,
            on_frame=self._on_frame,
            now=self._now,
            redactor=self._redactor,
        )

    def send(self, frames: Iterable[bytes]) -> None:
        if self._link is not None:
            for frame in frames:
                self._link.send(frame.decode())

    async def receive(self, due_ts: int | None) -> bytes:
        """The next frame; empty where `due_ts` (ns UTC) has come first. Raises TransportError where the connection has ended."""
        link = self._link
        if link is None:
            raise TransportError(f"{self.url}: there is no connection")
        with anyio.CancelScope() as scope:
            if due_ts is not None:
                scope.deadline = self._at(due_ts)
            self._waiting = scope
            try:
                payload = await link.receive()
            finally:
                self._waiting = None
            return payload.encode() if isinstance(payload, str) else payload
        return b""

    def look_at(self, due_ts: int | None) -> None:
        """Whoever receives is to look at the clock no later than this."""
        if self._waiting is not None and due_ts is not None:
            self._waiting.deadline = min(self._waiting.deadline, self._at(due_ts))

    def _at(self, ts: int) -> float:
        return anyio.current_time() + max(ts - self._now(), LOOK_AGAIN_NS) / NS_PER_SECOND

    async def close(self) -> None:
        """Bounded, and raises nothing."""
        link, self._link = self._link, None
        if link is not None:
            with anyio.move_on_after(CLOSE_S_MAX, shield=True):
                await link.close()


class DeribitAdapter:
    """core.venue_adapter.Adapter for one sub-account. open() holds `instruments`, as configured, against the venue's rules."""

    def __init__(
        self,
        *,
        venue: str,
        url: str,
        settings: DeribitSettings,
        limits: Limits,
        instruments: Mapping[str, Instrument],
        subscriptions: Iterable[Subscription],
        now: Now,
        wall: Callable[[], int],
        on_trouble: Callable[[str], None],
        on_frame: OnFrame = no_frame,
    ) -> None:
        self._wall = wall
        self.venue = venue
        self._limits = limits
        self._instruments = dict(instruments)
        self._now = now
        self._on_trouble = on_trouble
        self._is_watch = settings.is_watch
        self._session = DeribitSession(settings, now())
        self._wire = Wire(url, limits, now, on_frame, Redactor((settings.client_secret,)))
        self._filter = None if settings.is_watch else MarketFilter(subscriptions, BOOK_LEVELS_MAX)
        self._telling = Telling(venue)
        self._sink: EventSink | None = None  # while `run` does
        self._waiting: deque[AnyEvent] = deque()  # came in before `run`, or the sink had no room
        self._states: dict[int, tuple[VenueState | None, str]] = {}  # answers to queries that nobody has taken yet
        self._asked: set[int] = set()
        self._is_ready = False
        self._close_reason = self._refusal = ""
        self._reconnected: VenueState | None = None
        self._is_sending = False  # whether commands leave: a connection is there, and its state is known here
        self._later: list[Approved] | None = None  # cancels asked for in on_reconnect: they leave right behind it
        self._woken = anyio.Event()
        self._backoff_s = limits.reconnect_s_first
        self._connected_ts = 0
        self._told = ""  # the trouble that was told last

    # The Adapter.

    async def open(self) -> None:
        """Raises ConfigError, too, where an instrument is not what the configuration says."""
        try:
            await self._connect()
            self._check_instruments()
        except BaseException:
            await self._drop()
            raise
        self._check_clock()
        self._is_sending = True

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        self._sink = sink
        try:
            await self._drain()
            while True:
                if not self._wire.is_open or not self._is_sending:
                    # It may have ended while nobody read, between `open` and here.
                    await self._drop()
                    await self._connect_again(on_reconnect)
                try:
                    while True:
                        await self._turn()
                except (TransportError, RefusedError, VenueProtocolError) as error:
                    await self._lose(str(error))
        finally:
            self._sink = None

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self._session.adopt(client_order_id, order)

    def send(self, approved: Approved) -> None:
        if self._later is not None and isinstance(approved.command, CancelOrder | CancelAll):
            self._later.append(approved)
        elif self._is_sending and self._wire.is_open:
            self._take(self._session.send(self._now(), approved))
        else:
            self._take(self._session.refuse(self._now(), approved.command))

    async def query(self, since_ts: int) -> VenueState:
        if not self._is_sending:
            raise TransportError(f"{self.venue}: there is no connection")
        number, output = self._session.query(self._now(), since_ts)
        self._asked.add(number)
        self._take(output)
        try:
            with anyio.move_on_after(self._limits.query_s):
                state, why = await self._answer(number)
                if state is None:
                    raise TransportError(f"{self.venue}: {why}")
                return state
            raise TransportError(f"{self.venue}: no answer within {self._limits.query_s:g} s")
        finally:
            self._asked.discard(number)
            self._states.pop(number, None)

    async def _answer(self, number: int) -> tuple[VenueState | None, str]:
        while number not in self._states:
            if self._sink is not None:
                await self._woken.wait()
                continue
            try:
                await self._turn()
            except (TransportError, RefusedError, VenueProtocolError):
                await self._drop()
                raise
        answer = self._states.pop(number)
        if self._sink is None and answer[0] is not None:
            # Nobody has heard of these yet, and the answer holds what they say of orders.
            self._waiting = deque(event for event in self._waiting if not isinstance(event, OrderEvent))
        return answer

    async def close(self) -> None:
        self._is_sending = False
        if self._wire.is_open:
            self._take(self._session.logout(self._now()))
        await self._drop()

    # One connection.

    async def _connect(self) -> None:
        """Ready to trade when it returns. Raises TransportError or RefusedError."""
        self._is_ready = False
        self._close_reason = self._refusal = ""
        await self._wire.connect()
        self._connected_ts = self._now()
        with anyio.move_on_after(self._limits.login_s):
            self._take(self._session.connected(self._now(), secrets.token_hex(8), self._wall()))
            while not self._is_ready:
                await self._turn()
            return
        raise TransportError(f"{self._wire.url}: not ready {self._limits.login_s:g} s after the connection")

    async def _turn(self) -> None:
        """One frame, or one look at the clock. Raises TransportError or RefusedError where the connection is over."""
        payload = await self._wire.receive(self._next_ts())
        now = self._now()
        if payload:
            self._take(self._session.receive(now, payload))
            # Where there is always more to read, the loop has its turn here.
            await anyio.sleep(0)
        due_ts = self._session.next_ts()
        if due_ts is not None and due_ts <= now:
            self._take(self._session.tick(now))
        if self._filter is not None and self._filter.next_deadline <= now:
            self._give(self._filter.due(now))
        if self._refusal:
            raise RefusedError(f"{self._wire.url}: {self._refusal}")
        if self._close_reason:
            raise TransportError(f"{self._wire.url}: {self._close_reason}")
        await self._drain()

    def _next_ts(self) -> int | None:
        if self._waiting and self._sink is not None:
            return 0
        due_ts = self._session.next_ts()
        if self._filter is None:
            return due_ts
        return self._filter.next_deadline if due_ts is None else min(due_ts, self._filter.next_deadline)

    def _take(self, output: Output) -> None:
        """What the session says, in its order: what is to leave has left when this returns."""
        self._wire.send(output.frames)
        self._give(output.events)
        now = self._now()
        for fact in output.facts:
            text = self._telling.tell(now, fact)
            if text:
                self._on_trouble(text)
        for number, state, why in output.states:
            if number in self._asked:
                self._states[number] = state, why
        self._is_ready |= output.is_ready
        self._reconnected = output.reconnected or self._reconnected
        self._refusal = self._refusal or output.refused
        self._close_reason = self._close_reason or output.close
        if output.states:
            self._wake()
        self._wire.look_at(0 if self._refusal or self._close_reason else self._next_ts())

    def _give(self, events: Iterable[AnyEvent]) -> None:
        sink, waiting, market = self._sink, self._waiting, self._filter
        now = self._now()
        for event in events:
            if isinstance(event, GapDetected) and market is not None:
                market.forget()
            for each in (event,) if market is None else market.receive(now, event):
                if waiting or sink is None or not sink.offer(each):
                    waiting.append(each)
                    self._wake()
        if sink is None and len(waiting) > EARLY_EVENTS_MAX:
            self._close_reason = self._close_reason or f"more than {EARLY_EVENTS_MAX} events before anybody listens"

    async def _drain(self) -> None:
        """Until the sink has taken everything. An event leaves the queue when it is in: whoever waits here may be called away."""
        sink, waiting = self._sink, self._waiting
        while waiting and sink is not None:
            await sink.put(waiting[0])
            waiting.popleft()

    async def _drop(self) -> None:
        """The connection is over: what was sent and not answered is unknown from here on."""
        self._is_sending = False
        await self._wire.close()
        self._take(self._session.disconnected(self._now()))
        self._wake()

    # A connection that is lost.

    async def _lose(self, reason: str) -> None:
        self._tell(reason)
        if self._now() - self._connected_ts >= HOLDS_S * NS_PER_SECOND:
            self._backoff_s = self._limits.reconnect_s_first
        await self._drop()
        await self._drain()

    def _tell(self, trouble: str) -> None:
        """Once for each kind: a venue that is away for an hour is no news every five seconds."""
        if trouble != self._told:
            self._told = trouble
            self._on_trouble(f"{self.venue}: {trouble}")

    async def _connect_again(self, on_reconnect: OnReconnect) -> None:
        """Until it has worked; commands are refused meanwhile."""
        self._reconnected = None
        pause_s = self._backoff_s
        while True:
            await self._refuse_for(pause_s)
            self._backoff_s = pause_s = min(2 * self._backoff_s, self._limits.reconnect_s_max)
            try:
                await self._connect()
            except (TransportError, VenueProtocolError) as error:
                self._tell(str(error))
                await self._drop()
                continue
            except RefusedError as error:
                # It may be a ban: to try often would make it longer.
                self._tell(str(error))
                await self._drop()
                pause_s = self._limits.refused_wait_s
                continue
            break
        self._told = ""
        await self._drain()
        self._reconcile(on_reconnect)

    def _reconcile(self, on_reconnect: OnReconnect) -> None:
        state, self._reconnected = self._reconnected, None
        self._later = []
        try:
            if state is not None:
                on_reconnect(state)
        finally:
            # Whatever becomes of the comparison: what it wants canceled is canceled.
            later, self._later = self._later, None
            self._is_sending = True
            for approved in later:
                self.send(approved)
        self._check_clock()

    async def _refuse_for(self, seconds: float) -> None:
        """Wait; refusals go to the sink meanwhile."""
        with anyio.move_on_after(seconds):
            while True:
                await self._drain()
                await self._woken.wait()

    def _wake(self) -> None:
        """Whoever waits looks again."""
        self._woken.set()
        self._woken = anyio.Event()

    # What the venue is held to.

    def _check_instruments(self) -> None:
        for key, configured in self._instruments.items():
            found = self._session.instruments.get(instrument_name_of(key))
            assert found is not None, "the login loads every one of them"
            wrong = differences(configured, found.instrument)
            if wrong:
                raise ConfigError(f"{key}: {'; '.join(wrong)}")
            if not found.is_active:
                self._on_trouble(f"{self.venue}: {key} is not active at the venue")

    def _check_clock(self) -> None:
        offset_ms = self._session.link.clock_offset_ms
        if offset_ms is None:
            return
        # That is of our stamps, which run ahead of a clock that was set back.
        off_ms = abs(offset_ms + (self._now() - self._wall()) // NS_PER_MS)
        if off_ms > self._limits.clock_error_ms_max:
            self._on_trouble(f"{self.venue}: this machine's clock and the venue's differ by {off_ms} ms")


class DeribitGuardianSwitch:
    """core.venue_switch.VenueSwitch on a connection of its own. It is read while somebody asks, and not in between."""

    def __init__(
        self,
        *,
        venue: str,
        url: str,
        settings: DeribitSettings,
        limits: Limits,
        now: Now,
        wall: Callable[[], int],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._wall = wall
        self._venue = venue
        self._on_trouble = on_trouble
        self._telling = Telling(venue)
        self._limits = limits
        self._now = now
        self._settings = settings
        self._switch = DeribitSwitch(settings, now())
        self._wire = Wire(url, limits, now, no_frame, Redactor((settings.client_secret,)))
        self._states: dict[int, tuple[VenueState | None, str]] = {}
        self._close_reason = self._refusal = ""

    @property
    def venue(self) -> str:
        return self._venue

    async def open(self) -> None:
        await self.close()
        self._switch = DeribitSwitch(self._settings, self._now())
        self._states.clear()
        self._close_reason = self._refusal = ""
        try:
            await self._wire.connect()
            with anyio.move_on_after(self._limits.login_s):
                self._take(self._switch.connected(self._now(), secrets.token_hex(8), self._wall()))
                while not self._switch.is_ready:
                    await self._turn()
                return
        except BaseException:
            await self._wire.close()
            raise
        await self._wire.close()
        raise TransportError(f"{self._wire.url}: no login within {self._limits.login_s:g} s")

    async def cancel_all(self) -> None:
        self._require_ready()
        self._take(self._switch.cancel_all(self._now()))

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        return (await self._state()).open_orders

    async def positions(self) -> dict[str, int]:
        return (await self._state()).positions

    async def flatten(self) -> None:
        positions = await self.positions()
        self._take(self._switch.flatten(self._now(), positions))

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        # Deribit has none: the daemon's own connection is armed with cancel-on-disconnect.
        return False

    async def close(self) -> None:
        await self._wire.close()
        self._take(self._switch.disconnected(self._now()))

    async def _state(self) -> VenueState:
        self._require_ready()
        number, output = self._switch.ask(self._now())
        self._take(output)
        with anyio.move_on_after(self._limits.query_s):
            while number not in self._states:
                await self._turn()
            state, why = self._states.pop(number)
            if state is None:
                raise TransportError(f"{self._wire.url}: {why}")
            return state
        raise TransportError(f"{self._wire.url}: no answer within {self._limits.query_s:g} s")

    def _require_ready(self) -> None:
        if not self._switch.is_ready or not self._wire.is_open:
            raise TransportError(f"{self._wire.url}: there is no connection")

    async def _turn(self) -> None:
        payload = await self._wire.receive(self._switch.next_ts())
        now = self._now()
        if payload:
            self._take(self._switch.receive(now, payload))
        due_ts = self._switch.next_ts()
        if due_ts is not None and due_ts <= now:
            self._take(self._switch.tick(now))
        if self._refusal:
            raise RefusedError(f"{self._wire.url}: {self._refusal}")
        if self._close_reason:
            raise TransportError(f"{self._wire.url}: {self._close_reason}")

    def _take(self, output: Output) -> None:
        self._wire.send(output.frames)
        for fact in output.facts:
            text = self._telling.tell(self._now(), fact)
            if text:
                self._on_trouble(text)
        for number, state, why in output.states:
            self._states[number] = state, why
        self._refusal = self._refusal or output.refused
        self._close_reason = self._close_reason or output.close
