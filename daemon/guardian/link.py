"""The daemon's end of the guardian: tells it what happens by datagrams that never wait, and knows whether it answers.

A Listener of the daemon (daemon/trading/listener.py): nothing in here raises or blocks, whatever becomes of the guardian. Beats
may be lost, there is always a next one; what must not be lost waits in a bounded queue and is offered again with each beat.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import structlog

from core.enums import TradingState
from core.errors import StorageError
from daemon.control.socket_path import prepare_folder
from daemon.guardian.card import Card, write_card
from daemon.guardian.messages import (
    DATAGRAM_BYTES_MAX,
    Alerted,
    Beaten,
    Hello,
    Message,
    Phased,
    Sealed,
    decode_here,
    encode,
)
from daemon.guardian.places import CARD_FILE, beat_socket, card_in_control_folder, link_socket, links_left_over
from daemon.guardian.process import boot_id, start_ticks
from daemon.guardian.settings import GuardianSettings
from daemon.journal.anchor import Anchor
from daemon.kill_latch import LATCH_FILE
from daemon.trading.daemon import Daemon
from daemon.trading.listener import Alert, Beat, Severity
from daemon.trading.session import SIGNAL_UID

WAITING_MAX = 256  # messages that must not be lost and could not be sent yet; then the oldest goes
POLL_S = 0.02
LOOKS_PER_TIMEOUT = 5
LAST_WORDS_S = 0.5  # at the end, for what still waits
ANSWERS_MAX = 64  # read in one go


class GuardianLink:
    """Made before the daemon; `run_id_of` is asked once there is one."""

    def __init__(self, settings: GuardianSettings, config: Path, overrides: Sequence[str]) -> None:
        self._settings = settings
        self._config = config
        self._overrides = list(overrides)
        self.run_id_of: Callable[[], str] = str
        self._socket: socket.socket | None = None
        self._target = ""
        self._waiting: deque[bytes] = deque(maxlen=WAITING_MAX)
        self._heard_at: float | None = None  # of the last answer, monotonic
        self._is_lost = False
        self._latch: tuple[int, int] = (0, 0)
        self._phase = ""
        self._log: Any = structlog.get_logger("guardian_link")

    # What the daemon says.

    def phase(self, phase: str, text: str) -> None:
        """The first one comes when the account's lock is held, and the latch and the card are this daemon's."""
        self._phase = phase
        self._open()
        self._find_latch()
        self._leave_card()
        message = Phased(phase=phase, text=text, run_id=self._run_id(), latch=self._latch, stop_s_max=self._settings.stop_s_max)
        self._send(message, must_arrive=True)

    def beat(self, beat: Beat) -> None:
        self._send(Beaten(beat=beat, latch=self._latch))
        self._hear()

    def alert(self, alert: Alert) -> None:
        self._send(Alerted(alert=alert), must_arrive=True)

    def seal(self, anchor: Anchor) -> None:
        self._send(Sealed(anchor=anchor), must_arrive=True)

    # Whether the guardian is there.

    def refusal(self) -> str:
        """Why trading may not be ACTIVE; empty where it may."""
        self._hear()
        if not self._settings.is_required or self._is_near():
            return ""
        return f"guardian.required: no guardian has answered for {self._settings.lost_after_s:g} s"

    def _is_near(self) -> bool:
        return self._heard_at is not None and time.monotonic() - self._heard_at <= self._settings.lost_after_s

    async def wait_for_guardian(self) -> None:
        """Until it answers, at most `guardian.lost_after`; at once where it is not required. For the start of the daemon."""
        if not self._settings.is_required:
            return
        with anyio.move_on_after(self._settings.lost_after_s):
            while not self._is_near():
                self._open()
                self._send(Hello())
                await anyio.sleep(POLL_S)
                self._hear()

    async def watch(self, daemon: Daemon) -> None:
        """While the daemon runs: say so when the guardian is lost or back, and hold trading where it is required."""
        while True:
            await anyio.sleep(self._settings.lost_after_s / LOOKS_PER_TIMEOUT)
            self._hear()
            if daemon.phase != "running":
                continue
            if self._is_near():
                if self._is_lost:
                    self._is_lost = False
                    daemon.alert("guardian_back", Severity.INFO, "the guardian answers again")
                continue
            is_new = not self._is_lost and (self._heard_at is not None or self._settings.is_required)
            self._is_lost = self._is_lost or is_new
            if is_new:
                severity = Severity.CRITICAL if self._settings.is_required else Severity.WARNING
                daemon.alert("guardian_lost", severity, f"no answer for {self._settings.lost_after_s:g} s")
            if self._settings.is_required and daemon.session.trader.risk.trading_state is TradingState.ACTIVE:
                daemon.set_state("reduce", TradingState.REDUCING, "the guardian does not answer", SIGNAL_UID)

    # The socket.

    def _open(self) -> None:
        if self._socket is not None:
            return
        try:
            prepare_folder()
            self._target = str(beat_socket(self._settings.name))
            path = link_socket(self._settings.name, os.getpid())
            for left in [path, *links_left_over(self._settings.name)]:
                left.unlink(missing_ok=True)
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            mask = os.umask(0o177)
            try:
                made.bind(str(path))
            finally:
                os.umask(mask)
            self._socket = made
        except (OSError, StorageError) as error:
            # Without it the guardian hears nothing, and acts on that.
            self._log.warning("the guardian's socket cannot be opened", error=str(error))

    def _find_latch(self) -> None:
        try:
            found = os.stat(self._settings.account_folder / LATCH_FILE)
        except OSError:
            # The guardian is told of a latch that is none, and says so.
            return
        self._latch = (found.st_dev, found.st_ino)

    def _send(self, message: Message, *, must_arrive: bool = False) -> None:
        made = self._socket
        if made is None:
            return
        while self._waiting:
            if not self._offer(made, self._waiting[0]):
                break
            self._waiting.popleft()
        data = encode(message)
        if (self._waiting or not self._offer(made, data)) and must_arrive:
            # Behind what waits already: the order in which things were said is kept.
            self._waiting.append(data)

    def _offer(self, made: socket.socket, data: bytes) -> bool:
        try:
            made.sendto(data, self._target)
        except OSError:
            # No guardian, or one whose queue is full.
            return False
        return True

    def _hear(self) -> None:
        if self._socket is None:
            return
        for _ in range(ANSWERS_MAX):
            try:
                data = self._socket.recv(DATAGRAM_BYTES_MAX)
            except OSError:
                return
            here = decode_here(data)
            if here is not None and here.is_able:
                self._heard_at = time.monotonic()

    def _run_id(self) -> str:
        run_id = self.run_id_of()
        return "" if run_id.endswith("-0") else run_id

    def _leave_card(self) -> None:
        pid = os.getpid()
        card = Card(
            name=self._settings.name,
            pid=pid,
            started=start_ticks(pid) or 0,
            boot=boot_id(),
            state_folder=str(self._settings.account_folder),
            config=str(self._config.absolute()),
            overrides=self._overrides,
            phase=self._phase,
            run_id=self._run_id(),
        )
        for path in (self._settings.account_folder / CARD_FILE, card_in_control_folder(self._settings.name)):
            try:
                write_card(path, card)
            except OSError as error:
                self._log.warning("the daemon's card cannot be written", path=str(path), error=str(error))

    def close(self) -> None:
        """After the end: what still waits gets a moment, then the socket goes."""
        if self._socket is None:
            return
        self._socket.settimeout(LAST_WORDS_S)
        while self._waiting and self._offer(self._socket, self._waiting.popleft()):
            pass
        self._socket.close()
        self._socket = None
        link_socket(self._settings.name, os.getpid()).unlink(missing_ok=True)
