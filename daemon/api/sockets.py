"""The WebSockets: market data and fills, one way. A client that does not read is cut off, one that sends is closed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect

from daemon.api.feed import Feed, FillSubscriber, Line
from daemon.api.gate import SUBPROTOCOL
from daemon.api.link import Link, Unanswered, Unreachable
from daemon.api.metrics import ApiMetrics
from daemon.api.tokens import READ, Caller

SEND_SECONDS_MAX = 5.0  # who does not read for so long is cut off
AFTER_MAX = 1 << 53

# RFC 6455: what a client is told at the end.
AGAIN_LATER, NOT_WANTED = 1013, 1003

Next = Callable[[], Awaitable[list[Line]]]


class Sockets:
    """All open WebSockets of one API."""

    def __init__(self, feed: Feed, link: Link, metrics: ApiMetrics, websockets_max: int) -> None:
        self._feed = feed
        self._link = link
        self._metrics = metrics
        self._slots = anyio.CapacityLimiter(websockets_max) if websockets_max else None

    async def market(self, websocket: WebSocket) -> None:
        """/ws/md?instrument_id=…: the latest market of the caller's instruments, or of those named."""
        caller: Caller = websocket.scope["state"]["caller"]
        named = websocket.query_params.getlist("instrument_id") or caller.client.instruments
        if not set(named) <= set(caller.client.instruments):
            await self._turn_away(websocket, 403, "that is not one of your instruments")
            return
        subscriber = self._feed.open_market(named, caller.client.interval_s)
        levels = caller.client.levels

        async def following() -> list[Line]:
            lines = await subscriber.next()
            return [{**line, "bids": line["bids"][:levels], "asks": line["asks"][:levels]} for line in lines]

        try:
            await self._serve(websocket, caller, "md", following)
        finally:
            self._feed.close_market(subscriber)

    async def fills(self, websocket: WebSocket, client_id: str) -> None:
        """/ws/fills/{client_id}?after=NUMBER: the fills known of that come behind NUMBER, then each as it happens."""
        caller: Caller = websocket.scope["state"]["caller"]
        if client_id != caller.client_id and not caller.is_operator:
            await self._turn_away(websocket, 403, "this is another client's: it takes the scope operate")
            return
        after = websocket.query_params.get("after", "")
        if after and not (after.isascii() and after.isdigit() and int(after[:20]) <= AFTER_MAX):
            await self._turn_away(websocket, 400, "after must be the number of a fill")
            return
        # First this, then those before it: none can fall between the two.
        subscriber = self._feed.open_fills(client_id)
        try:
            missed = await self._missed(client_id, int(after[:20])) if after else []
            if missed is None:
                await self._turn_away(websocket, 503, "the daemon does not answer")
                return
            await self._serve(websocket, caller, "fills", _joined(missed, subscriber))
        finally:
            self._feed.close_fills(subscriber)

    async def _missed(self, client_id: str, after: int) -> list[Line] | None:
        try:
            status, content = await self._link.ask("GET", f"/fills/{client_id}")
        except (Unreachable, Unanswered):
            return None
        if status != 200:
            return None
        return [{"type": "fill", **fill} for fill in content["fills"] if fill["number"] > after]

    async def _serve(self, websocket: WebSocket, caller: Caller, name: str, following: Next) -> None:
        if READ not in caller.may:
            await self._turn_away(websocket, 403, "this takes a token with the scope read")
            return
        try:
            if self._slots is None:
                raise anyio.WouldBlock
            self._slots.acquire_on_behalf_of_nowait(websocket)
        except anyio.WouldBlock:
            await self._turn_away(websocket, 429, "too many WebSockets are open")
            return
        gauge = self._metrics.websockets.labels(name)
        gauge.inc()
        try:
            offered = websocket.scope.get("subprotocols", ())
            await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
            await self._both_ways(websocket, following)
        except (WebSocketDisconnect, RuntimeError):
            # It has gone while something was being said to it.
            return
        finally:
            gauge.dec()
            self._slots.release_on_behalf_of(websocket)

    async def _both_ways(self, websocket: WebSocket, following: Next) -> None:
        """Until either side ends it; closes with the code that says why."""
        code, reason = AGAIN_LATER, "fills may be missing: connect again, with after="

        async def listen() -> None:
            nonlocal code, reason
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                code = 0
            else:
                code, reason = NOT_WANTED, "this WebSocket takes no messages"
            tasks.cancel_scope.cancel()

        async def send() -> None:
            nonlocal code
            while True:
                lines = await following()
                if not lines:
                    break
                with anyio.move_on_after(SEND_SECONDS_MAX) as bound:
                    for line in lines:
                        await websocket.send_text(json.dumps(line, separators=(",", ":")))
                if bound.cancelled_caught:
                    # What is in its buffer now will never be read: closing in order would wait for that.
                    self._metrics.cut_off()
                    code = 0
                    break
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            tasks.start_soon(send)
        if code:
            await websocket.close(code, reason)

    async def _turn_away(self, websocket: WebSocket, status: int, error: str) -> None:
        body = json.dumps({"error": error}).encode()
        headers = [(b"content-type", b"application/json")]
        await websocket.send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await websocket.send({"type": "websocket.http.response.body", "body": body})


def _joined(missed: list[Line], subscriber: FillSubscriber) -> Next:
    """Those before, then those that come, none twice."""
    last = missed[-1]["number"] if missed else 0
    waiting: list[Any] = [missed] if missed else []

    async def following() -> list[Line]:
        if waiting:
            return list(waiting.pop())
        while True:
            lines = await subscriber.next()
            fresh = [line for line in lines if line["number"] > last]
            if fresh or not lines:
                return fresh

    return following


def add_sockets(app: FastAPI, sockets: Sockets) -> None:
    app.add_api_websocket_route("/ws/md", sockets.market)
    app.add_api_websocket_route("/ws/fills/{client_id}", sockets.fills)
