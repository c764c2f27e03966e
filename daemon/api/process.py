"""The API's own process: builds it from its settings, serves until told to stop or until the daemon that started it has gone."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import BinaryIO

import msgspec
import structlog

from core.errors import StorageError, TradingdError
from daemon.api.app import make_app, make_parts
from daemon.api.gate import Gate
from daemon.api.metrics import ApiMetrics
from daemon.api.server import make_server
from daemon.api.settings import ApiSettings
from daemon.api.tokens import Tokens
from daemon.secrets import read_secret

SETTINGS_BYTES_MAX = 1 << 20


def serve(settings: ApiSettings) -> None:
    """Until SIGTERM or SIGINT. Raises ConfigError for a token that cannot be used, StorageError where the port is taken."""
    tokens = Tokens(settings.clients, read_secret)
    metrics = ApiMetrics()
    server = make_server(Gate(make_app(make_parts(settings, metrics)), settings, tokens, metrics), settings)
    listener = _listen(settings)
    structlog.get_logger("api").info("api ready", host=settings.host, port=settings.port, clients=len(settings.clients))
    with listener:
        server.run(sockets=[listener])


def _listen(settings: ApiSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named as TCP: asyncio sends small answers at once only where the socket says so itself, else each waits for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        where = f"{settings.host} port {settings.port}"
        raise StorageError(f"api: {where} cannot be listened on: {error.strerror or error}") from error
    return listener


def _watch_for_end(pipe: BinaryIO) -> None:
    """Nothing more comes: the end of it says that the daemon has gone, in whatever way."""
    while pipe.read(4_096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """The daemon's child: one line of settings on stdin, which stays open as long as the daemon lives."""
    # What clients show passes through here: no core of it is left on a disk. A sandbox that forbids this has said it already.
    with suppress(OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line = sys.stdin.buffer.readline(SETTINGS_BYTES_MAX)
    settings = msgspec.json.decode(line, type=ApiSettings)
    threading.Thread(target=_watch_for_end, args=(sys.stdin.buffer,), daemon=True).start()
    try:
        serve(settings)
    except TradingdError as error:
        print(f"tradingd api: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
