"""The control line of a simulated venue that is served: a JSON object a line each way, for drills and for whoever rehearses.

    {"do": "arm", "number": 4, "times": 1}      let a fault happen at its next occasions
    {"do": "rate", "number": 4, "ppm": 1000}    or at random
    {"do": "quiet", "is_quiet": true}           nothing at random any more
    {"do": "act", "name": "halt", "arguments": {…}}
    {"do": "fired"} {"do": "known"} {"do": "ledger"} {"do": "cut"} {"do": "status"}

Each is answered with {"ok": true, …} or {"ok": false, "error": "…"}.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec

from daemon.venue_sim.loopback import Served

LINE_BYTES_MAX = 1 << 20


class _Arm(msgspec.Struct, tag_field="do", tag="arm", forbid_unknown_fields=True):
    number: int
    times: int = 1


class _Rate(msgspec.Struct, tag_field="do", tag="rate", forbid_unknown_fields=True):
    number: int
    ppm: int


class _Quiet(msgspec.Struct, tag_field="do", tag="quiet", forbid_unknown_fields=True):
    is_quiet: bool = True


class _Act(msgspec.Struct, tag_field="do", tag="act", forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] = {}


class _Fired(msgspec.Struct, tag_field="do", tag="fired", forbid_unknown_fields=True):
    pass


class _Known(msgspec.Struct, tag_field="do", tag="known", forbid_unknown_fields=True):
    pass


class _Ledger(msgspec.Struct, tag_field="do", tag="ledger", forbid_unknown_fields=True):
    pass


class _Cut(msgspec.Struct, tag_field="do", tag="cut", forbid_unknown_fields=True):
    pass


class _Status(msgspec.Struct, tag_field="do", tag="status", forbid_unknown_fields=True):
    pass


_Line = _Arm | _Rate | _Quiet | _Act | _Fired | _Known | _Ledger | _Cut | _Status
_decode = msgspec.json.Decoder(_Line).decode


def answer(served: Served, line: bytes) -> bytes:
    """The answer to one line, with its newline."""
    try:
        found = _do(served, _decode(line))
    except (ValueError, msgspec.MsgspecError) as error:
        return msgspec.json.encode({"ok": False, "error": str(error)}) + b"\n"
    return msgspec.json.encode({"ok": True, **found}) + b"\n"


def _do(served: Served, line: _Line) -> dict[str, Any]:
    faults = served.venue.faults
    match line:
        case _Arm():
            faults.arm(line.number, line.times)
        case _Rate():
            faults.set_rate(line.number, line.ppm)
        case _Quiet():
            faults.is_quiet = line.is_quiet
        case _Act():
            served.act(line.name, line.arguments)
        case _Cut():
            served.cut_all()
        case _Fired():
            return {"fired": faults.fired}
        case _Known():
            return {"known": faults.known}
        case _Ledger():
            return {"ledger": served.venue.ledger()}
        case _Status():
            return {"address": str(served), "ts": served.now(), "connections": served.connections}
    return {}


class ControlLine(asyncio.Protocol):
    def __init__(self, served: Served) -> None:
        self._served = served
        self._transport: asyncio.Transport
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        if len(rest) > LINE_BYTES_MAX:
            self._transport.abort()
            return
        for line in lines:
            if line.strip():
                self._transport.write(answer(self._served, line))


@asynccontextmanager
async def serve_control(served: Served, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """The control line behind a port of its own while the block runs; gives the port."""
    server = await asyncio.get_running_loop().create_server(lambda: ControlLine(served), host, port)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
