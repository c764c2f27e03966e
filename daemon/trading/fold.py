"""Folds a journal's records into the state that they left: the facts only, no strategy is asked anything.

It is a Trader without strategies that takes the events as the run's own Trader did, and the recorded commands as made.
"""

from __future__ import annotations

from collections.abc import Callable

from core.commands import CancelAll, CancelOrder, CancelTimer, ReplaceOrder, SetTimer, SubmitOrder
from core.enums import OrderStatus, TradingState
from core.errors import StateError
from core.events import (
    ClientCancelRequested,
    ClientOrderRequested,
    ClientReplaceRequested,
    FlattenRequested,
    LimitTripped,
    OrderDenied,
    StrategySaved,
)
from core.restore import capture
from core.trader import Trader
from core.trader_state import TraderState
from daemon.journal.format import Record


class Fold:
    """`apply` every record in order, then ask for `state`. `problems` holds what the order state machine refused."""

    def __init__(self, make_trader: Callable[[], Trader]) -> None:
        self._trader = make_trader()
        self.records = 0
        self.ts = 0
        self.problems: list[str] = []
        self._requested: ClientOrderRequested | None = None  # what came of it stands behind it

    def apply(self, record: Record) -> None:
        self.records += 1
        trader = self._trader
        match record:
            case SubmitOrder():
                trader.orders.submitted(trader.orders.create(record))
                self._name_order(record, None)
            case OrderDenied():
                self._name_order(record, record)
            case ReplaceOrder():
                order = trader.orders.get(record.client_order_id)
                if order is not None:
                    trader.orders.replace_requested(order, record)
            case CancelOrder():
                order = trader.orders.get(record.client_order_id)
                # A CancelAll before it, or the halt itself, may have asked already.
                if order is not None and order.is_open and order.status is not OrderStatus.PENDING_CANCEL:
                    trader.orders.cancel_requested(order, record.ts)
            case StrategySaved(strategy_id=strategy_id, memory=memory):
                trader.memory.keep(strategy_id, memory)
            case LimitTripped(strategy_id=strategy_id, state=state):
                trader.risk.states.restrict(strategy_id, state)
            case CancelAll() | SetTimer() | CancelTimer():
                # A CancelAll comes from an event that has marked the orders by now; the others leave nothing.
                return
            case ClientOrderRequested():
                self.ts = record.ts_init
                is_new = trader.clients.find(record.client_id, record.client_ref) is None
                self._requested = record if is_new else None
            case FlattenRequested() | ClientCancelRequested() | ClientReplaceRequested():
                # What they led to stands behind them.
                self.ts = record.ts_init
                self._requested = None
            case _:
                self._step(record)

    def _name_order(self, made: SubmitOrder | OrderDenied, denied: OrderDenied | None) -> None:
        request, self._requested = self._requested, None
        if request is not None and made.strategy_id == request.client_id:
            self._trader.clients.remember(request, made.client_order_id, denied)

    def _step(self, event: Record) -> None:
        self._requested = None
        assert not isinstance(event, SubmitOrder | ReplaceOrder | CancelOrder | CancelAll | SetTimer | CancelTimer)
        self.ts = event.ts_init
        try:
            self._trader.step(event)
        except StateError as error:
            # The run refused it in the same way and halted; the event changed nothing, and stays in the journal.
            self.problems.append(str(error))
            self._trader.risk.states.restrict("", TradingState.HALTED)

    def state(self) -> TraderState:
        return capture(self._trader)
