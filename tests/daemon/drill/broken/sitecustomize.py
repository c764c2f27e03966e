"""Breaks an adapter on purpose in every process that is started with this folder on its path: the one that BREAK_VARIABLE names.

What the core itself refuses, such as a fill beyond its order, would be no proof that the drill looks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import msgspec

BREAK_VARIABLE = "TRADINGD_TEST_BREAK"


def instead(owner: Any, name: str, broken: Any) -> None:
    patch.object(owner, name, broken).start()


def rebates() -> None:
    """Deribit: fees count as rebates."""
    from adapters.deribit import tracker, truth

    read_fill = tracker.read_fill

    def rebated(*arguments: Any) -> Any:
        fill = read_fill(*arguments)
        return msgspec.structs.replace(fill, commission=-fill.commission)

    tracker.read_fill = truth.read_fill = rebated


def refusals() -> None:
    """Every venue of HTTP: a request without an answer counts as refused."""
    from adapters.http import io, outcome
    from adapters.http.request import Outcome

    failed = outcome.failed

    def refused(*arguments: Any, **more: Any) -> Any:
        sent = failed(*arguments, **more)
        return msgspec.structs.replace(sent, outcome=Outcome.NOT_SENT_PROVEN)

    outcome.failed = io.failed = refused


def misses() -> None:
    """OANDA: no fill is told, by the stream or where it is asked."""
    from adapters.oanda.desk import Desk

    instead(Desk, "fills_of", lambda _self, _ts, _transaction: [])


def kills() -> None:
    """Alpaca: the guardian's switch cancels nothing, and shows nothing that is open."""
    from adapters.alpaca.switch import AlpacaSwitch

    async def nothing(_self: Any) -> None:
        return None

    async def none(_self: Any) -> tuple[()]:
        return ()

    instead(AlpacaSwitch, "cancel_all", nothing)
    instead(AlpacaSwitch, "open_orders", none)


def secrets() -> None:
    """Every venue of HTTP: what is recorded is what was sent."""
    from adapters.http.record import Redactor

    instead(Redactor, "headers", lambda _self, headers: tuple(headers))


def prices() -> None:
    """Interactive Brokers and Binance: an execution is told at another price than it was made at."""
    from adapters.binance import order_events
    from adapters.ib import fills
    from core.events import OrderFilled

    def dearer(*arguments: Any, **more: Any) -> OrderFilled:
        fill = OrderFilled(*arguments, **more)
        return msgspec.structs.replace(fill, price=fill.price + 1)

    for module in (order_events, fills):
        instead(module, "OrderFilled", dearer)


BREAKS: dict[str, Callable[[], None]] = {each.__name__: each for each in (rebates, refusals, misses, kills, secrets, prices)}
if os.environ.get(BREAK_VARIABLE):
    BREAKS[os.environ[BREAK_VARIABLE]]()
