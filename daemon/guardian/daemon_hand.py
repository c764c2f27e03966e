"""The daemon in the guardian's hands: tell it to halt, know when it has, and end it where it does not answer.

What makes a daemon harmless is that its loop has looked at the latch: it says HALTED over its control socket or in a beat. One
that shows neither in time gets SIGKILL, because a process that was stopped between looking at the latch and sending would send
when it goes on.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import anyio

from core.errors import StorageError, TransportError
from daemon.control.socket_path import SUFFIX, socket_folder, socket_of
from daemon.guardian.asking import ask
from daemon.guardian.card import Card, read_card
from daemon.guardian.places import CARD_FILE, card_in_control_folder, name_of_run
from daemon.guardian.process import WatchedProcess
from daemon.guardian.report import KillRun
from daemon.journal.lock import LOCK_FILE

LOOK_S = 0.005
TELL_AGAIN_S = 0.1
KILL_AGAIN_S = 1.0
REASON_CHARACTERS_MAX = 180  # the daemon takes 200


class DaemonHand:
    """The daemon of one account. `has_shown_halt`: whether a beat later than the kill says HALTED."""

    def __init__(self, name: str, account_folder: Path, has_shown_halt: Callable[[KillRun], bool] = lambda _run: False) -> None:
        self._name = name
        self._account_folder = account_folder
        self._has_shown_halt = has_shown_halt
        self.run_id = ""  # where somebody has said it

    def card(self) -> Card | None:
        """Of the daemon that runs, or ran last."""
        found = read_card(self._account_folder / CARD_FILE) or read_card(card_in_control_folder(self._name))
        return found if found is not None and found.name == self._name else None

    def process(self) -> WatchedProcess | None:
        card = self.card()
        return card.process() if card is not None else None

    def holds_the_lock(self) -> bool:
        """Whether anybody trades this account: for where there is no card to say who."""
        try:
            descriptor = os.open(self._account_folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            # A file system without locks: nobody can hold one there.
            return False
        finally:
            os.close(descriptor)
        return False

    def sockets(self) -> list[Path]:
        """Control sockets that may be this daemon's, the likeliest first."""
        card = self.card()
        run_ids = [run_id for run_id in (self.run_id, card.run_id if card is not None else "") if run_id]
        found = []
        for run_id in run_ids:
            try:
                found.append(socket_of(run_id))
            except StorageError:
                continue
        if not found:
            folder = socket_folder()
            paths = folder.glob(f"*{SUFFIX}") if folder.is_dir() else ()
            found = [path for path in paths if name_of_run(path.name.removesuffix(SUFFIX)) == self._name]
        return [path for path in dict.fromkeys(found) if path.is_socket()]

    async def fence(self, run: KillRun, fence_after_s: float) -> None:
        """Returns when nothing of the daemon's can leave any more, however long that takes."""
        process = self.process()
        try:
            if process is None and not self.holds_the_lock():
                run.fence("gone")
                return
            with anyio.move_on_after(fence_after_s):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._tell, run, fence_after_s)
                    tasks.start_soon(self._look, run, process)
                    await run.fenced.wait()
                    tasks.cancel_scope.cancel()
            if not run.fenced.is_set():
                await self._end(run, process)
        finally:
            if process is not None:
                process.close()

    async def _tell(self, run: KillRun, timeout_s: float) -> None:
        """Ask every socket that may be its own to halt, until one says that it has."""
        while True:
            async with anyio.create_task_group() as tasks:
                for path in self.sockets():
                    tasks.start_soon(self._tell_one, run, path, timeout_s)
            await anyio.sleep(TELL_AGAIN_S)

    async def _tell_one(self, run: KillRun, path: Path, timeout_s: float) -> None:
        body = {"reason": f"killed: {run.reason}"[:REASON_CHARACTERS_MAX]}
        try:
            status, content = await ask(path, "POST", "/halt", body, timeout_s=timeout_s)
        except TransportError:
            # The fence is for those who do not answer.
            return
        if status == 200 and content.get("trading_state") == "HALTED":
            run.fence("halted")

    async def _look(self, run: KillRun, process: WatchedProcess | None) -> None:
        while True:
            if process is not None and process.has_ended:
                run.fence("gone")
            elif self._has_shown_halt(run):
                run.fence("halted")
            await anyio.sleep(LOOK_S)

    async def _end(self, run: KillRun, process: WatchedProcess | None) -> None:
        """SIGKILL, and wait for the end of it: one that waits for a disk ends only when the disk answers."""
        if process is None:
            run.problem("a daemon trades this account, does not answer, and its number is not known: end it by hand")
            await self._until_unlocked(run)
            return
        run.mark("kill_sent")
        while not process.has_ended:
            try:
                process.kill()
            except PermissionError:
                run.problem(f"process {process.pid} cannot be killed by this user: end it by hand")
            with anyio.move_on_after(KILL_AGAIN_S):
                await anyio.wait_readable(process.descriptor)
        run.fence("killed")

    async def _until_unlocked(self, run: KillRun) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell, run, KILL_AGAIN_S)
            while not run.fenced.is_set():
                process = self.process()
                if process is not None:
                    # One that had just begun, and has left its card meanwhile.
                    await self._end(run, process)
                    process.close()
                elif self._has_shown_halt(run):
                    run.fence("halted")
                elif not self.holds_the_lock():
                    run.fence("gone")
                else:
                    await anyio.sleep(TELL_AGAIN_S)
            tasks.cancel_scope.cancel()
