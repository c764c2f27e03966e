"""Runs the adapter against the small exchange while a test tells its story."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from adapters.ccxt_any.io import CcxtAdapter
from core.commands import CancelAll, CancelOrder, OrderCommand, SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.identifiers import make_order_id
from core.venue_adapter import VenueState
from tests.adapters.binance.account_for_tests import SPOT
from tests.adapters.ccxt_any.venue import INSTRUMENT, Exchange, Sink, adapter_of
from tests.daemon.trading.test_router import approve

WAIT_S = 20.0  # for what must happen; the machine may be loaded


class Stage:
    def __init__(self, exchange: Exchange, adapter: CcxtAdapter, sink: Sink) -> None:
        self.exchange = exchange
        self.adapter = adapter
        self.sink = sink
        self.states: list[VenueState] = []
        self.on_reconnect: Callable[[VenueState], None] = lambda state: None

    def send(self, command: OrderCommand) -> None:
        self.adapter.send(approve(command))

    def reconnected(self, state: VenueState) -> None:
        self.states.append(state)
        self.on_reconnect(state)

    async def until(self, condition: Callable[[], object]) -> None:
        with anyio.fail_after(WAIT_S):
            while not condition():
                await anyio.sleep(0.005)

    async def looks(self, count: int = 3) -> None:
        """So many looks at the account begin and end from now on."""
        before = sum(name == "GET openOrders" for name, _ in self.exchange.seen)
        await self.until(lambda: sum(name == "GET openOrders" for name, _ in self.exchange.seen) > before + count)


def play(story: Callable[[Stage], Awaitable[None]], exchange: Exchange | None = None, **settings: Any) -> Stage:
    exchange = exchange or Exchange()
    adapter, sink = adapter_of(exchange, **settings), Sink()
    stage = Stage(exchange, adapter, sink)

    async def run() -> None:
        with anyio.fail_after(WAIT_S * 2):
            await adapter.open()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(adapter.run, sink, stage.reconnected)
                await anyio.sleep(0)
                await story(stage)
                tasks.cancel_scope.cancel()
            await adapter.close()

    anyio.run(run)
    return stage


def order_id(number: int = 1) -> int:
    return make_order_id(7, number)


def submit(number: int = 1, **changes: Any) -> SubmitOrder:
    fields: dict[str, Any] = {
        "ts": 0,
        "client_order_id": order_id(number),
        "strategy_id": "s",
        "instrument_id": INSTRUMENT,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": SPOT.parse_qty("0.25"),
        "price": SPOT.parse_price("100.00"),
        "time_in_force": TimeInForce.GTC,
    }
    return SubmitOrder(**{**fields, **changes})


def cancel(number: int = 1) -> CancelOrder:
    return CancelOrder(ts=0, client_order_id=order_id(number))


def cancel_all(instrument_id: str | None = None) -> CancelAll:
    return CancelAll(ts=0, instrument_id=instrument_id)
