"""TargetPosition: market orders that bring a strategy's position to where it wants it, one order at a time.

While an order is open, its answer pending or its outcome unknown, nothing is sent: the next call, a bar later, looks again.
"""

from __future__ import annotations

from core.enums import MarketStatus, OrderType, Side, TradingState
from core.events import StatusChanged
from core.instruments import Instrument
from core.orders import TERMINAL, Order
from core.strategy import Context


class TargetPosition:
    """The working order of one strategy on one instrument."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._instrument_id = instrument.instrument_id
        self._order: Order | None = None
        self._is_halted = False
        self._is_trading = True

    def seek(self, context: Context, target_qty: int) -> None:
        """Send what is missing to `target_qty` (signed, units of 10^-qty_scale), rounded toward zero to whole lots."""
        if self._order is not None and self._order.status not in TERMINAL:
            return
        if self._is_halted or not self._is_trading:
            return
        missing = target_qty - context.position(self._instrument_id).qty
        if missing == 0:
            return
        instrument = self._instrument
        qty = min(abs(missing) // instrument.lot * instrument.lot, instrument.qty_max)
        if qty < instrument.qty_min:
            return
        side = Side.BUY if missing > 0 else Side.SELL
        self._order = context.submit(self._instrument_id, side, qty, order_type=OrderType.MARKET)

    def cancel(self, context: Context) -> None:
        if self._order is not None:
            context.cancel(self._order)

    def on_halt(self, context: Context, state: TradingState) -> None:
        """REDUCING counts as a halt here: to follow a signal only where it happens to reduce is another strategy."""
        self._is_halted = state is not TradingState.ACTIVE
        if self._is_halted:
            self.cancel(context)

    def on_status(self, event: StatusChanged) -> None:
        if event.instrument_id == self._instrument_id:
            self._is_trading = event.status is MarketStatus.TRADING
