"""What of the account is not ours: orders and fills that a person, another program or the venue itself has made.

A part of Trader.step. Adopted, an order is one of the strategy "(foreign)" and a fill is booked to it and to the account; a fill
that is set aside changes nothing here, and is kept as the quantity by which the venue's position differs from ours. What no
execution explains is put right by a person.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.context import StrategyContext
from core.enums import Side
from core.errors import StateError
from core.events import ForeignFilled, ForeignOrderFound, OrderFilled, PositionCorrected, VenueCompared
from core.order_store import FOREIGN, FOREIGN_ORDER_ID
from core.strategy import Subscription
from core.trader_state import ForeignRecord

if TYPE_CHECKING:
    from core.trader import Trader


class _Nobody:
    """The strategy that decides nothing."""

    def subscriptions(self) -> list[Subscription]:
        return []


class ForeignDesk:
    """Owned by the Trader."""

    def __init__(self, trader: Trader) -> None:
        self._trader = trader
        self._context: StrategyContext | None = None
        self.set_aside: dict[str, int] = {}
        self.begun_ts = 0
        self.agreed_fill_ts = 0

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            ForeignOrderFound: self._on_order,
            ForeignFilled: self._on_filled,
            PositionCorrected: self._on_corrected,
            VenueCompared: self._on_compared,
        }

    @property
    def context(self) -> StrategyContext:
        """To close what was adopted."""
        if self._context is None:
            self._context = StrategyContext(self._trader, FOREIGN, _Nobody())
        return self._context

    def _on_order(self, event: ForeignOrderFound) -> None:
        self._trader.orders.adopt(event)

    def _on_filled(self, event: ForeignFilled) -> None:
        trader, key = self._trader, event.instrument_id
        if key not in trader.instruments or not event.qty > 0:
            raise StateError(f"a foreign fill cannot be taken: {event!r}")
        if not trader.orders.take_foreign_execution(key, event.execution_id, event.side, event.ts_event):
            trader.duplicate_fills += 1
            return
        if not event.is_adopted:
            signed = event.qty if event.side is Side.BUY else -event.qty
            self.set_aside[key] = self.set_aside.get(key, 0) + signed
            trader.portfolio.set_aside(event)
            return
        trader.book_foreign(
            OrderFilled(
                event.ts_event,
                event.ts_init,
                FOREIGN_ORDER_ID,
                key,
                event.execution_id,
                event.side,
                event.price,
                event.qty,
                0,
                event.liquidity_side,
                event.commission,
                event.commission_currency,
            )
        )

    def _on_corrected(self, event: PositionCorrected) -> None:
        trader, key = self._trader, event.instrument_id
        instrument = trader.instruments.get(key)
        if instrument is None or not event.qty > 0 or event.price < min(instrument.price_min, 0):
            raise StateError(f"a correction cannot be taken: {event!r}")
        signed = event.qty if event.side is Side.BUY else -event.qty
        try:
            strategy_ids = trader.portfolio.correct(event.strategy_id, key, signed, event.price)
        except ValueError as error:
            raise StateError(f"a correction cannot be taken: {event!r}: {error}") from error
        for strategy_id in strategy_ids:
            trader.position_corrected(strategy_id, key)

    def _on_compared(self, event: VenueCompared) -> None:
        # An account that began under a clock that was ahead began no later than this.
        self.begun_ts = min(self.begun_ts, event.ts_event)
        # One venue's word says nothing of what another has done since.
        if event.is_whole and not event.differences:
            self.agreed_fill_ts = max(self._trader.orders.last_fill_ts, self._trader.cash.last_ts)

    def capture(self) -> ForeignRecord:
        store = self._trader.orders
        return ForeignRecord(
            orders=tuple(sorted(store.foreign.items())),
            set_aside={key: qty for key, qty in sorted(self.set_aside.items()) if qty},
            begun_ts=self.begun_ts,
            last_fill_ts=store.last_fill_ts,
            agreed_fill_ts=self.agreed_fill_ts,
        )

    def restore(self, record: ForeignRecord, previous_run: int, ts: int) -> None:
        """`previous_run` 0: the account begins now; what others did with it before is none of ours."""
        store = self._trader.orders
        store.foreign = {key: name for key, name in record.orders if key in store.orders}
        store.last_fill_ts = record.last_fill_ts
        self.set_aside = dict(record.set_aside)
        self.agreed_fill_ts = record.agreed_fill_ts
        self.begun_ts = record.begun_ts if previous_run else ts

    def records(self) -> list[tuple[Any, ...]]:
        """For the state digest; nothing where nothing is foreign."""
        store = self._trader.orders
        found: list[tuple[Any, ...]] = [("foreign_order", key, name) for key, name in sorted(store.foreign.items())]
        return found + [("set_aside", key, qty) for key, qty in sorted(self.set_aside.items()) if qty]
