"""Binance's streams on WebSocket links: market data with their snapshots, and the account's own events. Touches the network.

What a frame means is decided elsewhere (market_feed.py, session.py); here connections are opened, kept, renewed and given up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.abc import TaskGroup

from adapters.binance.market_feed import MarketFeed
from adapters.binance.outcomes import BAD_KEY_CODES
from adapters.binance.rest.io import now_ns
from adapters.binance.session import Action, StreamPhase, StreamSession
from adapters.binance.user_stream import UserMessage
from adapters.websocket.link import WebSocketLink
from core.errors import RefusedError, TransportError
from core.events import AnyEvent
from core.units import NS_PER_SECOND

BACKOFF_S_FIRST, BACKOFF_S_MAX = 0.1, 30.0  # doubled with every try that fails
HOLDS_S = 60.0  # a connection that has lived so long was a good one
CLOSE_S_MAX = 1.0
FRAMES_PER_TURN_MAX = 64  # between two turns of the event loop
SNAPSHOT_AGAIN_S_FIRST, SNAPSHOT_AGAIN_S_MAX = 0.5, 30.0
FIRST_DIFF_S = 2.0  # a market so quiet is asked for as it is
RENEWAL_S_MAX = 30.0  # for the first frame of the connection that takes over

Connect = Callable[[], Awaitable[WebSocketLink]]
Emit = Callable[[Sequence[AnyEvent]], None]


async def let_go(link: WebSocketLink) -> None:
    """Bounded, and raises nothing."""
    with anyio.move_on_after(CLOSE_S_MAX, shield=True):
        await link.close()


class MarketConnection:
    """One connection for streams of `symbols`. `has_books`: of depth and best prices, else of prints.

    `snapshot` asks for a symbol's whole book; None: there was no answer. `room` waits until events find room. `trouble` hears why
    a connection was lost. `now` is ns UTC.
    """

    def __init__(
        self,
        feed: MarketFeed,
        symbols: Sequence[str],
        *,
        connect: Connect,
        life_s: float,
        snapshot: Callable[[str], Awaitable[bytes | None]],
        emit: Emit,
        room: Callable[[], Awaitable[None]],
        trouble: Callable[[str], None],
        now: Callable[[], int],
    ) -> None:
        self._feed = feed
        self._symbols = tuple(symbols)
        self._connect = connect
        self._life_s = life_s
        self._snapshot = snapshot
        self._emit = emit
        self._room = room
        self._trouble = trouble
        self._now = now
        self._link: WebSocketLink | None = None
        self._opened_s = 0.0
        self._backoff_s = BACKOFF_S_FIRST
        self._asking: set[str] = set()
        self._snapshot_wait_s: dict[str, float] = {}

    async def open(self) -> None:
        """Raises TransportError."""
        if self._link is None:
            self._link, self._opened_s = await self._connect(), anyio.current_time()

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await let_go(link)

    async def run(self) -> None:
        """Until cancelled."""
        self._asking.clear()
        async with anyio.create_task_group() as tasks:
            while True:
                try:
                    await self.open()
                    await self._pump(tasks)
                except TransportError as error:
                    await self._lose(str(error))

    async def _lose(self, reason: str) -> None:
        if self._link is not None:
            self._trouble(f"a market stream was lost: {reason}")
            await self.close()
            if anyio.current_time() - self._opened_s >= HOLDS_S:
                self._backoff_s = BACKOFF_S_FIRST
            self._emit(self._feed.lost(self._now(), self._symbols))
        else:
            self._trouble(f"a market stream cannot be opened: {reason}")
        await anyio.sleep(self._backoff_s)
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_S_MAX)

    async def _pump(self, tasks: TaskGroup) -> None:
        """Bring events until the connection is lost, which raises TransportError."""
        while True:
            link = self._link
            assert link is not None
            self._ask_for_snapshots(tasks)
            payload = None
            with anyio.move_on_after(self._wait_s()):
                payload = await link.receive()
            for _ in range(FRAMES_PER_TURN_MAX):
                if payload is None:
                    break
                self._take(payload)
                payload = link.take_ready()
            if payload is not None:
                self._take(payload)
            self._emit(self._feed.due(self._now()))
            await self._room()
            # Where there is always more to read, the loop has its turn here.
            await anyio.sleep(0)
            if self._feed.is_ending or anyio.current_time() - self._opened_s >= self._life_s:
                await self._renew(link)

    def _take(self, payload: str | bytes) -> None:
        events = self._feed.receive(self._now(), payload.encode() if isinstance(payload, str) else payload)
        if events:
            self._emit(events)

    def _wait_s(self) -> float:
        now_s = anyio.current_time()
        left_s = self._opened_s + self._life_s - now_s
        if now_s < self._opened_s + FIRST_DIFF_S:
            left_s = self._opened_s + FIRST_DIFF_S - now_s
        return max(min(left_s, (self._feed.next_deadline - self._now()) / NS_PER_SECOND), 0)

    async def _renew(self, old: WebSocketLink) -> None:
        """The new one takes over when it has brought something, so that nothing is missed; what comes twice is left out."""
        self._feed.is_ending = False
        fresh = await self._connect()
        try:
            with anyio.move_on_after(RENEWAL_S_MAX):
                first = await fresh.receive()
                while (payload := old.take_ready()) is not None:
                    self._take(payload)
                self._take(first)
        except BaseException:
            await let_go(fresh)
            raise
        self._link, self._opened_s = fresh, anyio.current_time()
        await let_go(old)

    # Snapshots.

    def _ask_for_snapshots(self, tasks: TaskGroup) -> None:
        is_quiet = anyio.current_time() - self._opened_s >= FIRST_DIFF_S
        for symbol in self._symbols:
            # The stream first: a snapshot from before its first update might join nothing.
            if not (is_quiet or self._feed.has_waiting_diffs(symbol)):
                continue
            if symbol not in self._asking and self._feed.needs_snapshot(symbol):
                self._asking.add(symbol)
                tasks.start_soon(self._fetch, symbol)

    async def _fetch(self, symbol: str) -> None:
        """One snapshot; where it does not join the stream the next one is asked for later, and later each time."""
        wait_s = self._snapshot_wait_s.get(symbol, SNAPSHOT_AGAIN_S_FIRST)
        try:
            body = await self._snapshot(symbol)
            if body is not None and self._link is not None:
                self._emit(self._feed.snapshot(self._now(), symbol, body))
            if self._feed.needs_snapshot(symbol):
                self._snapshot_wait_s[symbol] = min(2 * wait_s, SNAPSHOT_AGAIN_S_MAX)
                await anyio.sleep(wait_s)
            else:
                self._snapshot_wait_s.pop(symbol, None)
        finally:
            self._asking.discard(symbol)


class UserStream:
    """`subscribe` gives the frame that asks for the account's events, where one must be sent. `on_recover`: what happened
    meanwhile must be asked for. Messages come to `on_message`, which raises nothing."""

    def __init__(
        self,
        session: StreamSession,
        *,
        connect: Connect,
        subscribe: Callable[[], bytes],
        on_message: Callable[[UserMessage], None],
        on_recover: Callable[[], None],
        trouble: Callable[[str], None],
    ) -> None:
        self.session = session
        self.connection = 0  # counts them
        self._connect = connect
        self._subscribe = subscribe
        self._on_message = on_message
        self._on_recover = on_recover
        self._trouble = trouble
        self._link: WebSocketLink | None = None
        self._is_opening = False  # whoever opens it asks for the truth himself

    async def open(self) -> None:
        """Events come when it returns, and whoever asks now misses nothing. Raises TransportError, RefusedError where the venue
        does not take the subscription."""
        session = self.session
        self._is_opening = True
        # Whoever has closed it before, because another venue took its time, begins anew.
        session.reconnects = 0
        try:
            while session.phase not in (StreamPhase.RECOVERING, StreamPhase.LIVE):
                actions, wake = session.advance(now_ns())
                await self._act(actions)
                if self._link is None and session.reconnects:
                    kind = RefusedError if session.refusal in BAD_KEY_CODES else TransportError
                    raise kind(f"the user stream: {session.why}")
                if self._link is None:
                    await anyio.sleep(max(wake - now_ns(), 0) / NS_PER_SECOND)
                elif session.phase is StreamPhase.SUBSCRIBING:
                    await self._receive(wake)
        finally:
            self._is_opening = False
            session.reconnects = 0
        session.recovered(now_ns())

    async def run(self, room: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled."""
        session = self.session
        while True:
            actions, wake = session.advance(now_ns())
            await self._act(actions)
            if self._link is None:
                await anyio.sleep(max(wake - now_ns(), 0) / NS_PER_SECOND)
                continue
            await self._receive(wake)
            await room()
            await anyio.sleep(0)

    async def close(self) -> None:
        self.session.closed(now_ns(), "closed here")
        await self._drop()

    async def renew(self, reason: str) -> None:
        """Whoever runs it opens another connection soon."""
        self.session.closed(now_ns(), reason)
        await self._drop()

    async def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Action.OPEN:
                    await self._open_once()
                case Action.CLOSE:
                    if not self._is_opening:
                        self._trouble(f"the user stream was lost: {self.session.why}")
                    await self._drop()
                case Action.SUBSCRIBE:
                    assert self._link is not None
                    self._link.send(self._subscribe().decode())
                case Action.RECOVER:
                    if not self._is_opening:
                        self._on_recover()

    async def _open_once(self) -> None:
        try:
            self._link = await self._connect()
        except TransportError as error:
            self._trouble(f"the user stream cannot be opened: {error}")
            self.session.closed(now_ns(), str(error))
            return
        self.connection += 1
        await self._act(self.session.opened(now_ns()))

    async def _receive(self, wake: int) -> None:
        link, session = self._link, self.session
        assert link is not None
        payload = None
        try:
            with anyio.move_on_after(max(wake - now_ns(), 0) / NS_PER_SECOND):
                payload = await link.receive()
        except TransportError as error:
            self._trouble(f"the user stream was lost: {error}")
            session.closed(now_ns(), str(error))
            await self._drop()
            return
        while payload is not None and self._link is link:
            message, actions = session.receive(now_ns(), payload.encode() if isinstance(payload, str) else payload)
            if message is not None:
                self._on_message(message)
            await self._act(actions)
            payload = link.take_ready()

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await let_go(link)
