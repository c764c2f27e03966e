"""The guardian's ear: takes the daemon's datagrams, knows from the kernel which process sent each, and answers."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from core.errors import StorageError
from daemon.control.socket_path import prepare_folder
from daemon.guardian.messages import DATAGRAM_BYTES_MAX, Here, Message, decode, encode
from daemon.guardian.places import beat_socket

DATAGRAMS_PER_TURN_MAX = 256
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: filled in by the kernel, in this process's own numbering


@dataclass(frozen=True, slots=True)
class Received:
    message: Message | None  # None: not one that could be read
    pid: int
    address: str  # where an answer goes; empty: nowhere


class BeatInbox:
    """Open from the moment it is made. Raises StorageError where the socket cannot be had."""

    def __init__(self, name: str) -> None:
        self.path = beat_socket(name)
        prepare_folder()
        mask = os.umask(0o177)
        try:
            self.path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(str(self.path))
        except OSError as error:
            raise StorageError(f"{self.path}: the guardian's socket cannot be opened: {error.strerror or error}") from error
        finally:
            os.umask(mask)

    async def run(self, take: Callable[[Received], None]) -> None:
        while True:
            await anyio.wait_readable(self._socket)
            self.drain(take)
            # A sender who never pauses must not keep the other tasks waiting.
            await anyio.sleep(0)

    def drain(self, take: Callable[[Received], None]) -> None:
        """Everything that waits now, within a bound."""
        for _ in range(DATAGRAMS_PER_TURN_MAX):
            try:
                data, ancillary, flags, address = self._socket.recvmsg(DATAGRAM_BYTES_MAX, socket.CMSG_SPACE(_CREDENTIALS.size))
            except OSError:
                return
            pid, uid = _sender(ancillary)
            if uid not in (os.getuid(), 0):
                continue
            message = None if flags & socket.MSG_TRUNC else decode(data)
            take(Received(message, pid, address if isinstance(address, str) else ""))

    def answer(self, received: Received, is_able: bool) -> None:
        if not received.address:
            return
        try:
            self._socket.sendto(encode(Here(pid=os.getpid(), is_able=is_able)), received.address)
        except OSError:
            # A daemon that does not read hears us with a later one.
            return

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


def _sender(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """(pid, uid); -1 where the kernel does not say."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) == _CREDENTIALS.size:
            pid, uid, _gid = _CREDENTIALS.unpack(data)
            return int(pid), int(uid)
    return -1, -1
