"""A session with two client programs and an operator, asked as the control socket asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.enums import LiquiditySide
from core.events import OrderAccepted, OrderFilled
from core.orders import Order
from core.trader import Trader
from daemon.config.models_api import Client
from daemon.control.server import LineSource, Reply
from daemon.control.wire import Request
from daemon.trading.client_requests import ClientRequests
from tests.daemon.session import CONFIG
from tests.daemon.trading.harness import INSTRUMENT, HandClock, open_session, quote

CLIENTS = """
[[clients]]
id = "alice"
token = "alice-token"
scopes = ["trade"]
instruments = ["ACME.SIM"]
levels = 2

[[clients]]
id = "bob"
token = "bob-token"
scopes = ["trade"]
instruments = ["ACME.SIM"]
requests_max = 3

[[clients]]
id = "desk"
token = "desk-token"
scopes = ["operate"]

[risk.strategies.alice]
open_orders_max = 4
position_qty_max = {"ACME.SIM" = 20}
capital_max = "1500"
daily_loss_max = "100"
"""
TEXT = CONFIG.replace("price_collar", "self_trade = 'allow'\nprice_collar") + CLIENTS
ORDER = {"client_id": "alice", "client_ref": "a1", "instrument_id": INSTRUMENT, "side": "BUY", "quantity": "5", "price": "100.00"}


def nobody(_trader: Trader) -> None:
    return


class ClientSession:
    """`phase` may be set; times are set by hand."""

    def __init__(self, folder: Path) -> None:
        self.session = open_session(folder, wrap=nobody, text=TEXT)
        self.phase = "running"
        clients = [
            Client(id=name, token=name, scopes=["trade"], instruments=[INSTRUMENT], levels=2) for name in ("alice", "desk")
        ]
        clients.append(Client(id="bob", token="bob", scopes=["trade"], instruments=[INSTRUMENT], requests_max=3))
        self.requests = ClientRequests(self.session, clients, "session-1", lambda: self.phase)
        self.session.process([quote()])

    @property
    def trader(self) -> Trader:
        return self.session.trader

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, **query: str) -> Reply:
        answer = self.requests.answer(Request(method, path, body or {}, 0, query))
        assert isinstance(answer, tuple)
        return answer

    def stream(self, **query: str) -> LineSource:
        answer = self.requests.answer(Request("GET", "/stream", {}, 0, query))
        assert answer is not None
        assert not isinstance(answer, tuple)
        return answer

    def order(self, **changes: Any) -> Reply:
        return self.ask("POST", "/order", {key: value for key, value in {**ORDER, **changes}.items() if value is not None})

    def order_of(self, reply: Reply) -> Order:
        run, counter = reply[1]["order_id"].split("-")
        return self.trader.orders.orders[int(run) << 32 | int(counter)]

    def tick(self, ns: int = 1) -> int:
        clock = self.session.clock
        assert isinstance(clock, HandClock)
        clock.ts += ns
        return clock.ts

    def accept(self, order: Order) -> None:
        ts = self.tick()
        self.session.process([OrderAccepted(ts, ts, order.client_order_id, order.price or 0, order.quantity)])

    def fill(self, order: Order, qty: int, execution_id: str) -> None:
        ts, left = self.tick(), order.leaves_qty - qty
        maker = LiquiditySide.MAKER
        self.session.process(
            [OrderFilled(ts, ts, order.client_order_id, INSTRUMENT, execution_id, order.side, 10_000, qty, left, maker, 0, "USD")]
        )

    def close(self) -> None:
        self.session.journal.abandon()
        self.session._folder.release()
