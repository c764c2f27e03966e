"""Money that a venue moved and no fill explains: funding, interest, dividends, late fees, transfers. Booked once, by its name.

A part of Trader.step. What of it an instrument brought is shared out among the strategies that hold it (core/portfolio.py).
Limits judge the equity that it leaves; a transfer shifts what they compare with: it is neither profit nor loss.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.enums import CashKind
from core.errors import StateError
from core.events import CashMoved
from core.trader_state import CashRecord

if TYPE_CHECKING:
    from core.trader import Trader

# Names remembered of each kind at each venue: late fees come by the thousand, and must not crowd out what comes by the month.
MOVEMENTS_KEPT_MAX = 10_000


class CashDesk:
    """Owned by the Trader. `totals` is what was booked by kind and currency since the account began, in 10^-MONEY_SCALE."""

    def __init__(self, trader: Trader, movements_kept_max: int = MOVEMENTS_KEPT_MAX) -> None:
        self._trader = trader
        self._kept_max = movements_kept_max
        # By venue and kind: the venue's stamp of each movement by its name, the one booked first in front.
        self._seen: dict[tuple[str, CashKind], OrderedDict[str, int]] = {}
        # The latest stamp that was forgotten: what is not later cannot be told from one that was booked.
        self._forgotten_ts: dict[tuple[str, CashKind], int] = {}
        self.totals: dict[tuple[CashKind, str], int] = {}
        self.last_ts = 0  # the venue's stamp of the latest movement known, but never later than when we knew of it
        self.booked = 0
        self.duplicates = 0

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        return {CashMoved: self._on_moved}

    def is_known(self, moved: CashMoved) -> bool:
        """Whether it was booked, under whatever kind, or is so old that it may have been and is forgotten."""
        venue, name = moved.venue, moved.movement_id
        for kind in CashKind:
            seen = self._seen.get((venue, kind))
            if seen is not None and name in seen:
                return True
        forgotten_ts = self._forgotten_ts.get((venue, moved.kind))
        return forgotten_ts is not None and moved.ts_event <= forgotten_ts

    def _on_moved(self, moved: CashMoved) -> None:
        if not (moved.venue and moved.movement_id and moved.currency):
            raise StateError(f"a movement of money without a name cannot be booked: {moved!r}")
        if self.is_known(moved):
            self.duplicates += 1
            return
        self._remember(moved)
        trader = self._trader
        self.booked += 1
        key = (moved.kind, moved.currency)
        self.totals[key] = self.totals.get(key, 0) + moved.amount
        order = trader.orders.get(moved.client_order_id) if moved.client_order_id else None
        shares = trader.portfolio.move_cash(moved, order, trader.foreign.set_aside.get(moved.instrument_id, 0))
        trader.cash_booked(moved, shares)

    def _remember(self, moved: CashMoved) -> None:
        key = (moved.venue, moved.kind)
        seen = self._seen.setdefault(key, OrderedDict())
        seen[moved.movement_id] = moved.ts_event
        if len(seen) > self._kept_max:
            _, ts = seen.popitem(last=False)
            self._forgotten_ts[key] = max(self._forgotten_ts.get(key, ts), ts)
        # A venue may date a payment ahead, and executions are asked for from the last thing known on.
        self.last_ts = max(self.last_ts, min(moved.ts_event, moved.ts_init))

    def capture(self) -> CashRecord:
        return CashRecord(
            seen=tuple((*key, name, ts) for key, seen in self._seen.items() for name, ts in seen.items()),
            forgotten=tuple((*key, ts) for key, ts in self._forgotten_ts.items()),
            totals=tuple((*key, str(total)) for key, total in self.totals.items()),
            last_ts=self.last_ts,
            booked=self.booked,
        )

    def restore(self, record: CashRecord) -> None:
        for venue, kind, name, ts in record.seen:
            self._seen.setdefault((venue, kind), OrderedDict())[name] = ts
        self._forgotten_ts = {(venue, kind): ts for venue, kind, ts in record.forgotten}
        self.totals = {(kind, currency): int(total) for kind, currency, total in record.totals}
        self.last_ts = record.last_ts
        self.booked = record.booked

    def records(self) -> list[tuple[Any, ...]]:
        """For the state digest; nothing where no money was moved."""
        return [("moved", int(kind), currency, total) for (kind, currency), total in sorted(self.totals.items())]
