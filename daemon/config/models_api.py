"""The part of the configuration that lets programs outside in: the HTTP API, and the clients that trade through it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from daemon.config.section import InstrumentId, Name, Section
from daemon.config.text_types import PositiveDuration

LEVELS_MAX = 50
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]{1,255}", re.ASCII)


def _origin(text: str) -> str:
    if _ORIGIN.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no origin; write scheme, host and port as a browser sends it: https://desk.example:8443")
    return text


class Api(Section):
    """The HTTP API: a process of its own that the daemon starts and watches over (docs/API.md)."""

    enabled: bool = Field(default=False, description="start it beside the daemon")
    host: Literal["127.0.0.1", "::1"] = Field(default="127.0.0.1", description="where it listens: loopback only")
    port: int = Field(default=8720, ge=1, le=65_535, description="its port")
    host_names: list[Name] = Field(
        default_factory=list,
        max_length=16,
        description="further names that a Host header may have, as a reverse proxy passes it on",
    )
    origins: list[Annotated[str, AfterValidator(_origin)]] = Field(
        default_factory=list,
        max_length=16,
        description="web pages that may call it, as Origin headers name them; none: no browser",
    )
    connections_max: int = Field(
        default=128, ge=4, le=4_096, description="open connections, WebSockets included; more are closed"
    )
    websockets_max: int = Field(default=64, ge=0, le=1_024, description="open WebSockets")
    requests_max: int = Field(default=50, ge=1, le=10_000, description="requests of one token in any one second")
    body_bytes_max: int = Field(default=16_384, ge=512, le=65_536, description="longest body of a request")


class Client(Section):
    """A program outside that trades as a strategy of its own: `risk.strategies.ID` is its budget."""

    id: Name = Field(description="names it in orders, fills and reports; unique among clients and strategies")
    token: Name = Field(description="name of the secret that it shows; never the secret itself")
    scopes: list[Literal["read", "trade", "kill", "operate"]] = Field(
        min_length=1, description="what it may do (docs/API.md): trade and kill include read, operate includes all"
    )
    instruments: list[InstrumentId] = Field(default_factory=list, description="what it may see and trade")
    levels: int = Field(default=0, ge=0, le=LEVELS_MAX, description="levels of the book that it sees; 0: the best prices only")
    interval: PositiveDuration = Field(default="100ms", description="at most one market-data wake-up of the daemon in so long")
    requests_max: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="orders and replaces in any one second that the daemon looks at; cancels: as many again",
    )
