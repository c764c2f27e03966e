"""What the API's process is told: where it listens, who its clients are, how it reaches the daemon. No secret is in it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec

from core.errors import ConfigError
from core.units import NS_PER_SECOND, parse_duration_ns
from daemon.config.loader import LoadedConfig
from daemon.control.socket_path import SUFFIX, socket_folder
from daemon.kill_latch import LATCH_FILE

PACKAGES = ("fastapi", "uvicorn", "websockets", "prometheus_client")


class ApiClient(msgspec.Struct, frozen=True, kw_only=True):
    """One program outside; `token` is the name of its secret."""

    client_id: str
    token: str
    scopes: frozenset[str]
    instruments: list[str]
    levels: int
    interval_s: float  # between two pieces of market data of one instrument


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`socket` empty: that of the newest run of `name` that answers."""

    name: str  # run.name
    socket: str
    guardian_socket: str
    kill_latch: str
    host: str
    port: int
    host_names: list[str]
    origins: list[str]
    connections_max: int
    websockets_max: int
    requests_max: int
    body_bytes_max: int
    clients: list[ApiClient]


def api_settings(loaded: LoadedConfig, socket: Path | None) -> ApiSettings:
    """Raises ConfigError where the API's packages are not installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{loaded.file}: api: needs {', '.join(missing)}: install tradingd[api]")
    config, api = loaded.config, loaded.config.api
    state = Path(config.daemon.state_folder).absolute() / config.run.name
    return ApiSettings(
        name=config.run.name,
        socket="" if socket is None else str(socket),
        guardian_socket=str(socket_folder() / f"guardian-{config.run.name}{SUFFIX}"),
        kill_latch=str(state / LATCH_FILE),
        host=api.host,
        port=api.port,
        host_names=list(api.host_names),
        origins=list(api.origins),
        connections_max=api.connections_max,
        websockets_max=api.websockets_max,
        requests_max=api.requests_max,
        body_bytes_max=api.body_bytes_max,
        clients=[
            ApiClient(
                client_id=client.id,
                token=client.token,
                scopes=frozenset(client.scopes),
                instruments=list(client.instruments),
                levels=client.levels,
                interval_s=parse_duration_ns(client.interval) / NS_PER_SECOND,
            )
            for client in config.clients
        ],
    )
