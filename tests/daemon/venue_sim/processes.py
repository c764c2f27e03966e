"""Real processes for tests: a venue, a daemon that trades there, and a wire between them that can be cut and slowed down."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from core.commands import SubmitOrder
from core.events import OrderFilled
from daemon.config.loader import load_config
from daemon.journal.tail import TailReader
from daemon.replay import replay
from daemon.trading.recovery import recover
from daemon.trading.state_folder import StateFolder
from daemon.trading.wiring import build_bare_trader
from tests.daemon.session import COMMAND, CONFIG, environment, sockets_of, tradingd

SECONDS_MAX = 60
TRIES_MAX = 30_000  # of a question to the daemon: each one gives it time


def config_with_venue(folder: Path, *, through_proxy: bool = False, more: str = "") -> Path:
    """session.toml of an account whose venue is another process. `through_proxy`: there is a wire between them."""
    environment(folder)
    address = f"unix:{sockets_of(folder) / ('proxy' if through_proxy else 'venue')}"
    path = folder / "session.toml"
    text = CONFIG.replace("position_qty_max = 200", "position_qty_max = 200\nmarket_age_max = '1h'")
    path.write_text(
        f'{text}\n[daemon]\nrecord_frames = true\nreconcile_interval = "1s"\n\n'
        f'[[connections]]\nvenue = "SIM"\nadapter = "sim"\naddress = "{address}"\n{more}',
        encoding="utf-8",
    )
    return path


def venue_address(folder: Path) -> str:
    return f"unix:{sockets_of(folder) / 'venue'}"


@contextmanager
def process(folder: Path, *arguments: str, ready: str) -> Iterator[subprocess.Popen[str]]:
    """`tradingd ARGUMENTS`, once it has said `ready`; what is left of it at the end is killed."""
    child = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    lines: list[str] = []
    reader: threading.Thread | None = None
    try:
        for line in child.stdout:
            lines.append(line)
            if ready in line.split():
                break
        else:
            raise AssertionError("".join(lines))
        # Its output is read on: a full pipe would stop it.
        reader = threading.Thread(target=lines.extend, args=(child.stdout,), daemon=True)
        reader.start()
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait(SECONDS_MAX)
        if reader is not None:
            reader.join(SECONDS_MAX)
        (folder / f"{arguments[0]}.out").open("a").write("".join(lines))


@contextmanager
def venue(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    arguments = ("--config", "session.toml", "--listen", venue_address(folder), "--ledger", "ledger.jsonl", *options)
    with process(folder, "venue-sim", "sim", *arguments, ready="listening") as child:
        yield child


@contextmanager
def daemon(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    with process(folder, "paper", "session.toml", *options, ready="ready") as child:
        yield child


def end(child: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    child.send_signal(number)
    return child.wait(SECONDS_MAX)


def ask(folder: Path, *arguments: str) -> dict[str, Any]:
    result = tradingd(*arguments, "--json", cwd=folder)
    assert result.returncode == 0, result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def wait_until(folder: Path, is_reached: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """The daemon's status once it is so."""
    for _ in range(TRIES_MAX):
        status = ask(folder, "status")
        if is_reached(status):
            return status
    raise AssertionError(f"it never came to this: {what}: {json.dumps(status)}")


def wait_for_fills(folder: Path, count: int) -> dict[str, Any]:
    return wait_until(folder, lambda status: status["fills"] >= count, f"{count} fills")


def run_folder(folder: Path, run: int) -> Path:
    return folder / "state" / "session" / "runs" / f"{run:06d}"


def ledger_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


class Wire:
    """A proxy between the daemon and its venue, in a thread of its own: it can be cut, held up and refused."""

    def __init__(self, listen: Path, target: Path) -> None:
        self._listen, self._target = listen, target
        self._loop = asyncio.new_event_loop()
        self._pairs: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.connections = 0
        self.is_refusing = False
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Wire:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS_MAX)

    def _do(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(SECONDS_MAX)

    async def _start(self) -> None:
        self._flowing.set()
        self._server = await asyncio.start_unix_server(self._serve, self._listen)

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._pairs):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.is_refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        self._pairs |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        self._pairs.discard(writer)
        writer.transport.abort()

    def cut(self) -> None:
        """Every connection breaks, whatever is on its way."""

        async def abort() -> None:
            for writer in list(self._pairs):
                writer.transport.abort()

        self._do(abort())

    def hold(self, is_held: bool) -> None:
        """Nothing passes, and nobody is told."""

        async def switch() -> None:
            (self._flowing.clear if is_held else self._flowing.set)()

        self._do(switch())


@contextmanager
def wire(folder: Path) -> Iterator[Wire]:
    sockets = sockets_of(folder)
    with Wire(sockets / "proxy", sockets / "venue") as made:
        yield made


# An auditor: what the venue's ledger and our journals say, by nothing but the files.


def audit(folder: Path) -> dict[str, Any]:
    """Differences between what the venue took and did and what our journals hold; each list is empty where all is well."""
    lines = ledger_lines(folder)
    taken = Counter(line["client_order_id"] for line in lines if line["kind"] == "submit")
    filled = {(line["client_order_id"], line["execution_id"]): line for line in lines if line["kind"] == "filled"}
    sent: Counter[int] = Counter()
    booked: Counter[tuple[int, str]] = Counter()
    different = []
    for run in sorted((folder / "state" / "session" / "runs").iterdir()):
        journal = run / "journal"
        if not any(journal.glob("*.tdj")) or next(iter(TailReader(journal)), None) is None:
            continue  # killed before it began
        for record in TailReader(run / "journal"):
            if isinstance(record, SubmitOrder):
                sent[record.client_order_id] += 1
            elif isinstance(record, OrderFilled):
                booked[record.client_order_id, record.execution_id] += 1
        if not replay(run, None).is_identical:
            different.append(run.name)
    position = sum(line["qty"] if line["side"] == "BUY" else -line["qty"] for line in filled.values())
    return {
        "orders_twice": sorted(key for key, count in (taken + Counter()).items() if count > 1)
        + sorted(key for key, count in sent.items() if count > 1),
        "orders_not_journaled": sorted(set(taken) - set(sent)),
        "fills_lost": sorted(set(filled) - set(booked)),
        "fills_invented": sorted(set(booked) - set(filled)),
        "replays_different": different,
        "position": position,
    }


NOTHING: dict[str, list[Any]] = {
    "orders_twice": [],
    "orders_not_journaled": [],
    "fills_lost": [],
    "fills_invented": [],
    "replays_different": [],
}


def require_well(folder: Path) -> None:
    """The venue's ledger and ours are one, also in what the next start would begin with."""
    found = audit(folder)
    loaded = load_config(folder / "session.toml")
    state_folder = StateFolder(folder / "state" / "session")
    try:
        state = recover(state_folder, partial(build_bare_trader, loaded)).state
    finally:
        state_folder.release()
    here = sum(position.qty for position in state.positions if not position.strategy_id)
    assert found == {**NOTHING, "position": here}
