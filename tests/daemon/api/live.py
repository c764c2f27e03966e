"""A daemon in a thread of the test with its API as a process of its own: asked over HTTP, and looked at from inside."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import pytest
from pydantic import BaseModel

from core.strategy import Subscription
from daemon.config.loader import load_config
from daemon.control.server import Handler
from daemon.exit_codes import ExitCode
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from daemon.trading.session import Session
from tests.daemon.session import CONFIG, ROOT, environment, write_config

SECONDS_MAX = 60.0
TOKENS = {name: f"{name}-token-0123456789abcdef0123456789abcdef" for name in ("alice", "bob", "watch", "guard", "desk")}
CLIENTS = """
[api]
enabled = true
port = {port}
origins = ["https://desk.example:8443"]
requests_max = 10000

[[clients]]
id = "alice"
token = "alice-token"
scopes = ["trade"]
instruments = ["ACME.SIM"]
levels = 3
interval = "20ms"
requests_max = 10000

[[clients]]
id = "bob"
token = "bob-token"
scopes = ["trade"]
instruments = ["ACME.SIM"]
requests_max = 10000

[[clients]]
id = "watch"
token = "watch-token"
scopes = ["read"]
instruments = ["ACME.SIM"]

[[clients]]
id = "guard"
token = "guard-token"
scopes = ["kill"]

[[clients]]
id = "desk"
token = "desk-token"
scopes = ["operate"]
instruments = ["ACME.SIM"]

[risk.strategies.alice]
position_qty_max = {{"ACME.SIM" = 20}}
open_orders_max = 50

[risk.strategies.bob]
position_qty_max = {{"ACME.SIM" = 30}}
"""
Value = TypeVar("Value")


class Idle:
    """Decides nothing: whatever happens is the clients' doing."""

    class Params(BaseModel):
        pass

    def __init__(self, params: Params, instruments: list[Any]) -> None:
        self.instruments = instruments

    def subscriptions(self) -> list[Subscription]:
        return []


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def config_text(port: int, *, idle: bool = True) -> str:
    text = CONFIG.replace("price_collar", "self_trade = 'allow'\norders_max = 100000\nprice_collar")
    if idle:
        text = text[: text.index("[[strategies]]")] + '[[strategies]]\nid = "idle"\nclass = "tests.daemon.api.live:Idle"\n'
    return text + CLIENTS.format(port=port)


class LiveApi:
    """`url` is where it listens; `inside` runs something in the daemon's own loop."""

    def __init__(self, daemon: Daemon, port: int, folder: Path) -> None:
        self.daemon = daemon
        self.port = port
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def session(self) -> Session:
        return self.daemon.session

    def inside(self, call: Callable[[], Value]) -> Value:
        async def run() -> Value:
            return call()

        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(SECONDS_MAX)

    def digest(self) -> str:
        return self.inside(self.session.trader.state_digest)

    def client(self, name: str | None, **options: Any) -> httpx.Client:
        headers = {} if name is None else {"Authorization": f"Bearer {TOKENS[name]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=SECONDS_MAX, **options)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Looks in the daemon's loop, once in each of its turns."""

        async def wait() -> None:
            while not is_so():
                await asyncio.sleep(0.005)

        assert self.loop is not None
        asyncio.run_coroutine_threadsafe(wait(), self.loop).result(SECONDS_MAX)


@contextmanager
def live_api(folder: Path, *, idle: bool = True) -> Iterator[LiveApi]:
    """Ready: the API answers."""
    port = free_port()
    variables = {**environment(folder), "PYTHONPATH": str(ROOT)}
    variables.update({f"TRADINGD_SECRET_{name.upper()}_TOKEN": token for name, token in TOKENS.items()})
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TRADINGD_RUNTIME_DIR", "PYTHONPATH", *(key for key in variables if key.startswith("TRADINGD_SECRET_"))):
            patch.setenv(name, variables[name])
        # Signals are the main thread's, which is the test's.
        patch.setattr(Daemon, "_watch_signals", _nothing)
        state = folder / "state"
        loaded = load_config(
            write_config(folder, config_text(port, idle=idle)), ['run.mode="paper"', f'daemon.state_folder="{state}"']
        )
        live = LiveApi(Daemon(loaded, quiet=True), port, folder)
        ended: list[ExitCode | BaseException] = []
        thread = threading.Thread(target=_run, args=(live, ended))
        thread.start()
        try:
            _await_answer(live, ended)
            yield live
        finally:
            if live.loop is not None and thread.is_alive():
                live.loop.call_soon_threadsafe(live.daemon.stop, "stop", os.getuid(), "the test has ended")
            thread.join(SECONDS_MAX)
    assert ended == [ExitCode.OK], ended


async def _nothing(_daemon: Daemon) -> None:
    await anyio.sleep_forever()


def _run(live: LiveApi, ended: list[ExitCode | BaseException]) -> None:
    def handler_of(daemon: Daemon) -> Handler:
        live.loop = asyncio.get_running_loop()
        return Control(daemon).answer

    async def run() -> ExitCode:
        return await live.daemon.run(handler_of)

    try:
        ended.append(anyio.run(run))
    except BaseException as error:
        ended.append(error)
        raise


def _await_answer(live: LiveApi, ended: list[Any]) -> None:
    async def wait() -> None:
        async with httpx.AsyncClient(base_url=live.url) as client:
            with anyio.fail_after(SECONDS_MAX):
                while True:
                    assert not ended, ended
                    try:
                        await client.get("/docs")
                    except httpx.TransportError:
                        await anyio.sleep(0.05)
                    else:
                        return

    anyio.run(wait)
