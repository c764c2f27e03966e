"""The sockets around a simulated venue's protocol: accept, feed, send, close, by one clock. Nothing is decided in here."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from adapters.sim.address import Address
from adapters.sim.io import Stream
from adapters.sim.wire import ANSWER_BYTES_MAX
from core.errors import StorageError, TradingdError, TransportError
from daemon.trading.clock import Clock
from daemon.venue_sim.exchange import Exchange, Peer
from daemon.venue_sim.ledger import LedgerFile

POLL_S = 0.002  # how finely the simulated market follows the clock
POLL_WAITING_S = 0.0002  # the same while an answer is on its way
PEERS_MAX = 64
BACKLOG = 64
GOODBYE_S_MAX = 0.5
OUT_BYTES_MAX = 2 * ANSWER_BYTES_MAX


def open_listener(address: Address) -> tuple[socket.socket, Address]:
    """A listening socket, and where it listens: port 0 becomes the one that was free.

    Raises StorageError where that cannot be. The file of a unix socket on which nobody listens any more is replaced.
    """
    family = socket.AF_UNIX if address.path else socket.AF_INET6 if ":" in address.host else socket.AF_INET
    raw = socket.socket(family, socket.SOCK_STREAM)
    # The mode is set before anybody can connect: umask, not a chmod afterwards.
    mask = os.umask(0o177)
    try:
        if address.path:
            _remove_stale(Path(address.path))
            raw.bind(address.path)
        else:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            raw.bind(("127.0.0.1" if address.host == "localhost" else address.host, address.port))
        raw.listen(BACKLOG)
    except OSError as error:
        raw.close()
        raise StorageError(f"{address}: cannot listen there: {error.strerror or error}") from None
    finally:
        os.umask(mask)
    raw.setblocking(False)
    return raw, address if address.path else Address(host=address.host, port=raw.getsockname()[1])


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "somebody listens there already")


class Shell:
    """Make it, then `await run()` once; it ends with SIGTERM or SIGINT."""

    def __init__(self, exchange: Exchange, ledger: LedgerFile, clock: Clock) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._streams: dict[int, tuple[Peer, Stream]] = {}
        self._woken = anyio.Event()
        self._ended = anyio.Event()
        self._failure: TradingdError | None = None

    async def run(self, listener: socket.socket, on_ready: Callable[[], None]) -> None:
        """Raises StorageError where the ledger cannot be written, DataError where the market's data is damaged."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._accept, tasks, listener)
                tasks.start_soon(self._follow_clock)
                tasks.start_soon(self._watch_signals)
                on_ready()
                await self._ended.wait()
                await self._say_goodbye()
                tasks.cancel_scope.cancel()
        finally:
            anyio.notify_closing(listener)
            listener.close()
        if self._failure is not None:
            raise self._failure

    async def _watch_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _number in signals:
                self._ended.set()

    async def _say_goodbye(self) -> None:
        if self._failure is not None:
            return
        self._exchange.goodbye(self._clock.now())
        self._ledger.flush()
        with anyio.move_on_after(GOODBYE_S_MAX):
            for peer, stream in list(self._streams.values()):
                stream.send(peer.out)
                await stream.flush()

    async def _accept(self, tasks: TaskGroup, listener: socket.socket) -> None:
        while True:
            await anyio.wait_readable(listener)
            try:
                raw, _address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                # Whoever wants to come in waits until somebody has left.
                await anyio.sleep(POLL_S)
                continue
            if len(self._streams) >= PEERS_MAX:
                raw.close()
                continue
            tasks.start_soon(self._serve, Stream(raw, OUT_BYTES_MAX))

    async def _serve(self, stream: Stream) -> None:
        peer = self._exchange.connect(self._clock.now())
        self._streams[id(peer)] = (peer, stream)
        try:
            while not peer.is_closing:
                data = await stream.receive()
                self._turn(peer, data)
                await anyio.sleep(0)
        except TransportError:
            return  # whoever was there has gone
        finally:
            del self._streams[id(peer)]
            stream.close()
            self._exchange.disconnect(self._clock.now(), peer)
            self._turn()

    async def _follow_clock(self) -> None:
        while True:
            is_behind = self._turn()
            if is_behind:
                await anyio.sleep(0)
                continue
            self._woken = anyio.Event()
            with anyio.move_on_after(POLL_WAITING_S if self._exchange.is_waiting else POLL_S):
                # A command has come in: its answer may be due long before the market is looked at again.
                await self._woken.wait()

    def _turn(self, peer: Peer | None = None, data: bytes = b"") -> bool:
        """One look at the clock, and what came in by then; True: there is more to do at once."""
        exchange = self._exchange
        for each, stream in self._streams.values():
            each.bytes_waiting = stream.bytes_waiting
        try:
            if peer is not None:
                exchange.receive(self._clock.now(), peer, data)
                self._woken.set()
            is_behind = exchange.advance(self._clock.now())
            self._flush()
        except TradingdError as error:
            self._fail(error)
            return False
        return is_behind

    def _flush(self) -> None:
        """The ledger has it first."""
        self._ledger.flush()
        for peer, stream in list(self._streams.values()):
            if peer.out:
                stream.send(peer.out)
                peer.out.clear()
            if peer.is_closing:
                stream.close()

    def _fail(self, error: TradingdError) -> None:
        """Nothing more leaves: what follows from what the ledger does not have must not be heard of."""
        self._failure = self._failure or error
        for peer, stream in list(self._streams.values()):
            peer.out.clear()
            stream.close()
        self._ended.set()
