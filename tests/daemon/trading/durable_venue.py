"""A venue that outlives the daemon: its ledger, which it alone writes, has an entry for each order it took and each execution.

It shares no code with ours and keeps no promise to our process: what is in there has happened, whether we heard of it or not.
Orders stay open there when the daemon dies, and are filled meanwhile.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any, Protocol

import anyio

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import LiquiditySide, Reason, Side
from core.events import AnyEvent, OrderAccepted, OrderCanceled, OrderFilled, OrderReplaced, Quote, ReplaceRejected
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from daemon.trading.clock import Clock

INSTRUMENT = "ACME.SIM"
PRICE = 10_000
COMMISSION = 1_000  # of every fill, in 10^-8


Entry = list[Any]


class Ledger(Protocol):
    def entries(self) -> list[Entry]: ...

    def append(self, entry: Entry) -> None: ...


class FileLedger:
    """A line for each entry: there as soon as `append` returns, whatever becomes of this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def entries(self) -> list[Entry]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def append(self, entry: Entry) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")


class DurableVenue:
    def __init__(self, ledger: Ledger, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._ledger = ledger
        self._answers: list[AnyEvent] = []
        self.open_orders: dict[int, list[Any]] = {}  # side, leaves, price
        self.taken: set[int] = set()
        self.executions: list[OrderFilled] = []
        self.position = 0
        for entry in ledger.entries():
            self._apply(entry)
        if len(self.open_orders) and self._random.random() < 0.5:
            # While the daemon was away.
            self._fill(self._random.choice(sorted(self.open_orders)))
            self._answers.clear()

    def _write(self, entry: Entry) -> None:
        self._ledger.append(entry)
        self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        match entry:
            case ["order", order_id, side, quantity, price]:
                assert order_id not in self.taken, f"the order {order_id} came twice"
                self.taken.add(order_id)
                self.open_orders[order_id] = [Side(side), quantity, price]
            case ["replace", order_id, quantity, price]:
                self.open_orders[order_id][1:] = [quantity, price]
            case ["cancel", order_id]:
                del self.open_orders[order_id]
            case ["fill", execution_id, order_id, qty, ts]:
                order = self.open_orders[order_id]
                order[1] -= qty
                self.position += qty if order[0] is Side.BUY else -qty
                self.executions.append(self._execution(execution_id, order_id, order, qty, ts))
                if not order[1]:
                    del self.open_orders[order_id]

    def _execution(self, execution_id: str, order_id: int, order: list[Any], qty: int, ts: int) -> OrderFilled:
        side, leaves, price = order
        maker = LiquiditySide.MAKER
        return OrderFilled(ts, ts, order_id, INSTRUMENT, execution_id, side, price, qty, leaves, maker, COMMISSION, "USD")

    def _fill(self, order_id: int) -> None:
        qty = self._random.randint(1, self.open_orders[order_id][1])
        self._write(["fill", f"x{len(self.executions) + 1}", order_id, qty, self._clock.now()])
        self._answers.append(self.executions[-1])

    async def open(self) -> None:
        """A file is always there."""

    async def close(self) -> None:
        """What is written is written."""

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        while True:
            for order_id in sorted(self.open_orders):
                if order_id in self.open_orders and self._random.random() < 0.2:
                    self._fill(order_id)
            answers, self._answers = self._answers, []
            for event in answers:
                await sink.put(event)
            now, step = self._clock.now(), self._random.randint(-3, 3)
            sink.offer(Quote(now, now, INSTRUMENT, PRICE + step - 1, 50, PRICE + step + 1, 50))
            await anyio.sleep(0.0005)

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        raise AssertionError("every order here is ours")

    def send(self, approved: Approved) -> None:
        command, now = approved.command, self._clock.now()
        match command:
            case SubmitOrder(client_order_id=order_id, side=side, quantity=quantity, price=price):
                self._write(["order", order_id, int(side), quantity, price])
                self._answers.append(OrderAccepted(now, now, order_id, price or 0, quantity))
            case CancelOrder(client_order_id=order_id):
                self._cancel(order_id)
            case CancelAll():
                for order_id in sorted(self.open_orders):
                    self._cancel(order_id)
            case ReplaceOrder(client_order_id=order_id):
                self._replace(command)

    def _replace(self, command: ReplaceOrder) -> None:
        now, order_id = self._clock.now(), command.client_order_id
        filled = sum(fill.qty for fill in self.executions if fill.client_order_id == order_id)
        left = command.quantity - (filled - command.filled_qty)
        if order_id not in self.open_orders or left <= 0:
            self._answers.append(ReplaceRejected(now, now, order_id, Reason.UNKNOWN_ORDER))
            return
        self._write(["replace", order_id, left, command.price])
        self._answers.append(OrderReplaced(now, now, order_id, command.price, left))

    def _cancel(self, order_id: int) -> None:
        if order_id in self.open_orders:
            now, left = self._clock.now(), self.open_orders[order_id][1]
            self._write(["cancel", order_id])
            self._answers.append(OrderCanceled(now, now, order_id, left, Reason.REQUESTED))

    async def query(self, since_ts: int) -> VenueState:
        await anyio.sleep(0)
        return VenueState(
            open_orders=tuple(
                VenueOrder(order_id, INSTRUMENT, side, price, leaves)
                for order_id, (side, leaves, price) in self.open_orders.items()
            ),
            executions=tuple(fill for fill in self.executions if fill.ts_event >= since_ts),
            positions={INSTRUMENT: self.position},
            not_found_ns=0,
        )
