"""Drills of what happens to the process and its files: killed, stopped, started twice, misconfigured, its audit edited."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from daemon.config.loader import LoadedConfig
from daemon.drill.auditor import Oracle
from daemon.drill.place import Place
from daemon.drill.scene import Scene, scene
from daemon.drill.verdict import Result, Verdict
from daemon.exit_codes import ExitCode
from daemon.journal.format import JOURNAL_FOLDER

KILLS = 3
BETWEEN_KILLS_S = (0.4, 1.1, 0.7)  # after the daemon was ready: other moments each time
REFUSED_S_MAX = 60.0
STOPPED_S_MAX = 40.0
FLIPPED = 0x40  # of a byte in the journal


async def drill_at_host(loaded: LoadedConfig, number: int, place: Place, seed: int) -> Verdict:
    """`number` must be one of HOST_DRILLS."""
    began = time.monotonic()
    async with scene(loaded, place.folder, place.runtime, seed) as played:
        done = await HOST_DRILLS[number](played)
        orders, fills = played.counts()
        breaches = tuple(played.notes.breaches)
    result = Result.BROKEN if breaches else Result.HELD if done else Result.NOT_SHOWN
    return Verdict(
        number=number,
        venue="",
        result=result,
        breaches=breaches,
        note="; ".join(played.notes.said),
        fired=done,
        orders=orders,
        fills=fills,
        seconds=time.monotonic() - began,
    )


async def _killed(played: Scene) -> int:
    """SIGKILL again and again, nobody guards; what the disk has must be enough to go on from, and no order unknown to it."""
    venues = list(played.served)
    for pause_s in BETWEEN_KILLS_S[:KILLS]:
        if not (await played.start_daemon() if played.guardian is None else True):
            return 0
        if not await played.trade(venues[0], fills_min=0):
            played.notes.said.append(f"the strategies have not traded at {venues[0]}")
            return 0
        await anyio.sleep(pause_s)
        assert played.daemon is not None
        await played.stage.end(played.daemon, signal.SIGKILL)
    if not await played.start_daemon():
        return KILLS
    await played.become_well()
    await played.kill()
    await played.end()
    await played.judge(ended_runs=1)
    return KILLS


async def _stopped(played: Scene) -> int:
    """SIGSTOP: the guardian kills a daemon that proves no work; when that one wakes, it must not trade."""
    if not await played.start() or not await played.trade(next(iter(played.served))):
        return 0
    assert played.daemon is not None
    begin_ts = played.clock.now()
    played.daemon.send_signal(signal.SIGSTOP)

    async def is_killed() -> bool:
        return any(each["kind"] == "kill_verified" and each["time"] for each in played.alerts())

    if not await played.until(is_killed, STOPPED_S_MAX):
        played.broken(Oracle.KILL, f"the guardian has not killed a stopped daemon within {STOPPED_S_MAX:g} s")
    elif not played.told_between(begin_ts, played.clock.now()):
        played.broken(Oracle.ALERT, "nobody was told")
    await played.was_killed()
    if played.daemon.poll() is None:
        played.daemon.send_signal(signal.SIGCONT)
        await anyio.sleep(3.0)
    elif await played.start_daemon():
        # The guardian had to end it: what became of its orders the next start finds, halted as it is.
        await played.become_well(may_halt=True)
    await played.end()
    await played.judge(ended_runs=0)
    return 1


async def _twice(played: Scene) -> int:
    """A second daemon of the same account is refused, and the first one goes on."""
    if not await played.start() or not await played.trade(next(iter(played.served))):
        return 0
    orders, _ = played.counts()
    second = played.stage.start_daemon()
    code = await played.stage.wait(second, REFUSED_S_MAX)
    if code != ExitCode.STORAGE:
        text = played.stage.output_of(second)[-300:]
        played.broken(Oracle.ONE_ORDER, f"a second daemon ended with {code}, not with {int(ExitCode.STORAGE)}: {text}")

    async def goes_on() -> bool:
        return played.counts()[0] > orders

    if not await played.until(goes_on, 20.0):
        played.broken(Oracle.ALIVE, "the first daemon does not trade on")
    await played.become_well()
    await played.kill()
    await played.end()
    await played.judge()
    return 1


POISON: dict[str, Callable[[str], str]] = {
    "cut in the middle": lambda text: text[: len(text) // 2] + "\n[risk",
    "a wrong key": lambda text: text.replace("order_qty_max", "order_qty_maxx", 1),
    "a limit that is no number": lambda text: text.replace("[risk]", '[risk]\nprice_collar = "nan"', 1).replace(
        'price_collar = "nan"\n', 'position_qty_max = "nan"\n', 1
    ),
    "without limits": lambda text: text.replace("[risk]", "[risk_of_old]", 1),
    "empty": lambda _text: "",
}


async def _poisoned(played: Scene) -> int:
    """No configuration that cannot be read whole starts anything, and no state that was damaged is traded on."""
    stage = played.stage
    good = stage.config.read_text(encoding="utf-8")
    tried = 0
    for name, spoil in POISON.items():
        stage.config.write_text(spoil(good), encoding="utf-8")
        code, text = await stage.run("live", str(stage.config), "--account", stage.name, wait_s=REFUSED_S_MAX)
        tried += 1
        if code != ExitCode.CONFIG:
            played.broken(Oracle.ALIVE, f"a configuration that is {name} ended with {code}: {text[-200:]}")
    stage.config.write_text(good, encoding="utf-8")
    orders, _ = played.counts()
    if orders:
        played.broken(Oracle.INTENT, f"{orders} orders left under a configuration that cannot be read")
    if not await played.start(with_guardian=False) or not await played.trade(next(iter(played.served)), fills_min=0):
        return tried
    await played.kill()
    await played.end()
    await played.judge()
    before, _ = played.counts()
    _flip(_journal_file(stage.runs()[-1]))
    child = stage.start_daemon()
    ended = await stage.wait(child, REFUSED_S_MAX)
    if ended in (None, ExitCode.OK) and played.counts()[0] > before:
        played.broken(Oracle.CHAIN, f"a daemon whose journal was damaged has traded on (it ended with {ended})")
    await stage.end(child)
    return tried + 1


async def _edited(played: Scene) -> int:
    """A journal with one byte changed, its end cut off, or its parts exchanged must not verify."""
    stage = played.stage
    if not await played.start() or not await played.trade(next(iter(played.served))):
        return 0
    await played.kill()
    await played.end()
    await played.judge()
    run = stage.runs()[-1]
    tried = 0
    for name, spoil in EDITS.items():
        copy = stage.folder / f"edited-{tried}" / run.name
        shutil.copytree(run, copy)
        spoil(_journal_file(copy))
        code, text = await stage.run("audit", "verify", str(copy))
        tried += 1
        if code == ExitCode.OK:
            played.broken(Oracle.CHAIN, f"a journal {name} verifies: {text[-200:]}")
    return tried


def _journal_file(run: Path) -> Path:
    return max((run / JOURNAL_FOLDER).glob("*.tdj"))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= FLIPPED
    path.write_bytes(data)


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])


def _exchange(path: Path) -> None:
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[:third] + data[2 * third :] + data[third : 2 * third])


EDITS: dict[str, Callable[[Path], None]] = {
    "with a changed byte": _flip,
    "without its end": _cut,
    "with parts exchanged": _exchange,
}
HOST_DRILLS: dict[int, Callable[[Scene], Awaitable[int]]] = {
    70: _killed,
    76: _stopped,
    77: _twice,
    78: _poisoned,
    80: _edited,
}
