"""Asks a running daemon over its control socket; what the command line's `status` and `halt` use."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from core.errors import TransportError
from daemon.control.socket_path import SUFFIX, socket_folder, sockets_present

SECONDS_MAX = 5.0
REPLY_BYTES_MAX = 1 << 22


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS_MAX)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str, target: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """(status, content) of the reply. Raises TransportError where nobody answers."""
    connection = _UnixConnection(path)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, target, payload, {"Content-Type": "application/json"} if payload else {})
        response = connection.getresponse()
        content = json.loads(response.read(REPLY_BYTES_MAX))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransportError(f"{path}: nobody answers: {error}") from error
    finally:
        connection.close()
    return response.status, content


def find_daemon(run_id: str | None) -> Path:
    """The socket of the daemon to ask: of `run_id`, or of the only one that answers. Raises TransportError with what there is."""
    folder = socket_folder()
    candidates = [path for path in sockets_present() if run_id is None or path.name == f"{run_id}{SUFFIX}"]
    alive = [path for path in candidates if _answers(path)]
    if len(alive) == 1:
        return alive[0]
    if not alive:
        what = f"no daemon with the run_id {run_id!r}" if run_id else "no daemon"
        raise TransportError(f"{what} is running; looked in {folder}")
    names = ", ".join(path.name.removesuffix(SUFFIX) for path in alive)
    raise TransportError(f"{len(alive)} daemons are running; say which with --run: {names}")


def _answers(path: Path) -> bool:
    """False for the socket of a daemon that was killed; that one is removed."""
    try:
        ask(path, "GET", "/status")
    except TransportError as error:
        if isinstance(error.__cause__, ConnectionRefusedError):
            path.unlink(missing_ok=True)
        return False
    return True
