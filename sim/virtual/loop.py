"""An asyncio event loop in virtual time: where nothing is ready, the next timer is due at once. No thread, file or clock.

    agenda = Agenda()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(agenda, Network(agenda, seed=7))) as runner:
        runner.run(main())

Several loops may share one agenda: then each is a process of its own, and `Agenda.run_until` runs them all. Callbacks run in the
order in which they were asked for, timers by their time and then by that order. Connections are those of the network given.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import signal
import socket
import sys
import threading
from asyncio import events
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from sim.virtual.agenda import NS_PER_S, Agenda

if TYPE_CHECKING:
    from sim.virtual.network import Network

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LIMBO_TURNS_MAX = 10_000  # in which an abandoned loop's tasks come to their end
LIMBO_AGAIN_NS = 60 * NS_PER_S  # after which a task that did not end is canceled again
PRUNE_TIMERS_MIN = 64  # canceled timers that may lie about


class VirtualLoop(asyncio.BaseEventLoop):
    """`network` None: a loop without connections. `name` is the host that connections come from.

    `failures` has what the loop's exception handler was told: a task that died unseen, a callback that raised.
    """

    # What asyncio's own loops share with this base, though its type does not say so.
    _ready: deque[asyncio.Handle]
    _stopping: bool
    _thread_id: int | None
    _asyncgen_firstiter_hook: Any
    _asyncgen_finalizer_hook: Any

    def __init__(self, agenda: Agenda, network: Network | None = None, name: str = "here") -> None:
        super().__init__()
        self.agenda = agenda
        self.network = network
        self.name = name
        self.failures: list[str] = []
        self.stalled_until_ns = 0
        self._queue: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._number = 0
        self._canceled = 0
        self._signals: dict[int, asyncio.Handle] = {}
        self.set_exception_handler(_keep_failure)
        agenda.attach(self)

    # Time.

    def time(self) -> float:
        return (self.agenda.ns - self.agenda.start_ns) / NS_PER_S

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        ns = self._ns_of(when)
        self._number += 1
        heapq.heappush(self._queue, (ns, self._number, handle))
        return handle

    def _ns_of(self, when: float) -> int:
        """The first ns at which `time()` is not before it: a timer that looks at the clock must find itself due."""
        if when >= _FOREVER_S:
            return _FOREVER_NS
        since = -int(-when * NS_PER_S // 1)
        while since / NS_PER_S < when:
            since += 1
        return self.agenda.start_ns + since

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """There is one thread; another one is refused, because nobody could say when it was heard."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a thread has called a loop in virtual time")
        return self.call_soon(callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Told of each one that is canceled, be it due or not: a bound on what lies about, no count of it."""
        self._canceled += 1
        if self._canceled > PRUNE_TIMERS_MIN and self._canceled * 2 > len(self._queue):
            self._queue = [entry for entry in self._queue if not entry[2].cancelled()]
            heapq.heapify(self._queue)
            self._canceled = 0

    # Turns.

    def next_ns(self) -> int | None:
        if not self._ready:
            return self.next_timer_ns()
        now, stalled_until = self.agenda.ns, self.stalled_until_ns
        return now if now >= stalled_until else stalled_until

    def next_timer_ns(self) -> int | None:
        queue = self._queue
        while queue and queue[0][2]._cancelled:
            heapq.heappop(queue)
        if not queue or queue[0][0] >= _FOREVER_NS:
            return None
        due, stalled_until = queue[0][0], self.stalled_until_ns
        return due if due >= stalled_until else stalled_until

    def turn(self) -> None:
        """As one iteration of any asyncio loop: what is due by now, then everything that was ready when it began."""
        queue, ready, ns = self._queue, self._ready, self.agenda.ns
        while queue and queue[0][0] <= ns:
            handle = heapq.heappop(queue)[2]
            if not handle._cancelled:
                ready.append(handle)
        before, thread = events._get_running_loop(), self._thread_id
        hooks = sys.get_asyncgen_hooks()
        events._set_running_loop(self)
        self._thread_id = threading.get_ident()
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
        try:
            for _ in range(len(ready)):
                one = ready.popleft()
                if not one._cancelled:
                    one._run()
        finally:
            events._set_running_loop(before)
            self._thread_id = thread
            sys.set_asyncgen_hooks(*hooks)

    def _run_once(self) -> None:
        """Of run_forever: everything on the agenda goes on until this loop has had a turn."""
        if self._stopping and not self._ready:
            return
        if not self.agenda.step():
            raise RuntimeError("a loop in virtual time waits for what will never come")

    def stall(self, ns: int) -> None:
        """It stands still for so long: nothing runs, and what comes in waits (SIGSTOP, a machine that swaps)."""
        self.stalled_until_ns = max(self.stalled_until_ns, self.agenda.ns + ns)

    def abandon(self) -> None:
        """As if its process had been killed: from here on nothing that its tasks do has an effect on the world.

        They are canceled, in a time of their own, so that no coroutine is left half way; what they raise is nobody's concern.
        Whoever kills has cut their network and their files off before.
        """
        self.agenda.detach(self)
        self.agenda = Agenda(self.agenda.ns)
        self.network = None
        self._queue.clear()
        self._canceled = 0
        again_ns = self.agenda.ns
        for _ in range(LIMBO_TURNS_MAX):
            left = asyncio.all_tasks(self)
            if not left:
                break
            if self.agenda.ns >= again_ns or self.next_ns() is None:
                again_ns = self.agenda.ns + LIMBO_AGAIN_NS
                for task in left:
                    task.cancel()
            self.agenda.ns = max(self.agenda.ns, self.next_ns() or 0)
            self.turn()
        self._ready.clear()
        self.failures.clear()
        self.close()

    def close(self) -> None:
        self.agenda.detach(self)
        self._queue.clear()
        super().close()

    # Connections.

    async def getaddrinfo(self, host: Any, port: Any, **_options: Any) -> list[Any]:
        name = host.decode("ascii") if isinstance(host, bytes) else str(host or "")
        return await self._net().resolve(self, name, int(port or 0))

    async def create_connection(  # type: ignore[override]  # of the many ways to call it, those by name and port
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        server_hostname: str | None = None,
        **_options: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """`ssl`: nothing is encrypted; the connection takes another round trip."""
        assert host is not None
        assert port is not None
        return await self._net().connect(self, protocol_factory, host, port, is_tls=bool(ssl))

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        **_options: Any,
    ) -> Any:
        name = host if isinstance(host, str) else "127.0.0.1"
        return self._net().listen(self, protocol_factory, name, port or 0)

    def _net(self) -> Network:
        if self.network is None:
            raise OSError("this loop in virtual time has no network")
        return self.network

    # What there is only in part.

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """There are no threads: `func` runs here and now."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:
            if not isinstance(error, Exception):
                raise
            # It is the caller's, as from any executor.
            future.set_exception(error)
        return future

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        self._signals[sig] = asyncio.Handle(callback, args, self)

    def remove_signal_handler(self, sig: int) -> bool:
        return self._signals.pop(sig, None) is not None

    def signal(self, number: signal.Signals) -> bool:
        """As `kill -NUMBER` to this process; False where nobody handles it."""
        handle = self._signals.get(number)
        if handle is not None:
            self._ready.append(handle)
        return handle is not None

    def _process_events(self, event_list: Any) -> None:
        """There are no files to look at."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def add_reader(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        """A loop in virtual time watches no file: connect by loop.create_connection."""
        raise NotImplementedError("watches no file: connect by loop.create_connection")

    def add_writer(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        """A loop in virtual time watches no file: connect by loop.create_connection."""
        raise NotImplementedError("watches no file: connect by loop.create_connection")


_FOREVER_S = 1e9
_FOREVER_NS = 1 << 62

# The families that a name resolves to here.
ADDRESS_FAMILY, ADDRESS_KIND, ADDRESS_PROTOCOL = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP


def _keep_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, VirtualLoop)
    loop.failures.append(f"{context.get('message')}: {context.get('exception')!r}")
