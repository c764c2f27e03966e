"""The exchange as the guardian reaches it: cancel everything, flatten, over REST and nothing else.

It needs no stream, no daemon and no memory: what it says is what the exchange answered just now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from adapters.ccxt_any.account import Account
from adapters.ccxt_any.exchange_clock import read_clock
from adapters.ccxt_any.io import all_at_once
from adapters.ccxt_any.order_ids import OrderIds
from adapters.http.clock_offset import ClockOffset
from adapters.http.io import HttpTransport, monotonic_now_ns
from adapters.http.request import Intent, Outcome
from core.errors import TransportError, VenueProtocolError
from core.venue_adapter import VenueOrder

DEAD_MAN = "cancelAllOrdersAfter"
WANTS_MORE = frozenset({"ArgumentsRequired", "NotSupported"})  # than a time: a symbol, a mode


class CcxtSwitch:
    """core.venue_switch.VenueSwitch. `order_ids` are for `flatten`: never used before, by anyone."""

    def __init__(
        self,
        account: Account,
        http: HttpTransport,
        clock: ClockOffset,
        ids: OrderIds,
        order_ids: Iterator[int],
        id_name: str,
    ) -> None:
        self._account = account
        self._http = http
        self._clock = clock
        self._ids = ids
        self._order_ids = order_ids
        self._id_name = id_name
        self._is_loaded = False

    @property
    def venue(self) -> str:
        return self._account.venue

    async def open(self) -> None:
        # A kill is worth most where something is wrong already, and that may be this machine's clock.
        with suppress(TransportError, VenueProtocolError):
            await read_clock(self._account, self._clock, monotonic_now_ns)
        # The markets are many megabytes at some exchanges, and do not change: once is enough.
        if not self._is_loaded:
            await self._account.load()
            self._is_loaded = True
        # Whether the key is taken shows now and not in a kill.
        await self._account.open_orders()

    async def close(self) -> None:
        await self._http.aclose()

    async def cancel_all(self) -> None:
        """By the exchange's own call for each symbol, all at once; then, one by one, whatever it still lists."""
        self._require_loaded()
        exchange = self._account.exchange
        if self._account.has("cancelAllOrders"):
            works = [partial(exchange.cancel_all_orders, units.symbol) for units in self._account.units.values()]
            failures = await self._all(Intent.CANCEL, "orders.cancel_all", works)
            if not failures:
                return
        left = await self._account.open_orders()
        works = [partial(exchange.cancel_order, each.venue_id, self._account.units[each.instrument_id].symbol) for each in left]
        failures = await self._all(Intent.CANCEL, "order.cancel", works)
        if failures:
            raise TransportError(f"{len(failures)} of {len(left)} cancels were not taken, the first: {failures[0]}")

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        self._require_loaded()
        return tuple(
            VenueOrder(
                client_order_id=self._ids.parse(report.client_text),
                instrument_id=report.instrument_id,
                side=report.side,
                price=report.price,
                leaves_qty=report.leaves,
                venue_order_id=report.venue_id,
                reduce_only=report.reduce_only,
            )
            for report in await self._account.open_orders()
        )

    async def positions(self) -> dict[str, int]:
        """Contracts held; of spot all that the account has of each base currency."""
        self._require_loaded()
        return await self._account.positions() | await self._account.balances()

    async def flatten(self) -> None:
        """At the market: contracts by reduce-only orders; of spot everything is sold that the least quantity allows."""
        works = []
        for key, qty in (await self.positions()).items():
            units = self._account.units[key]
            instrument = units.instrument
            size = abs(qty) // instrument.lot * instrument.lot
            if size < max(instrument.qty_min, 1) or (instrument.pays_notional and qty < 0):
                continue
            params: dict[str, Any] = {self._id_name: self._ids.text(next(self._order_ids))}
            if not instrument.pays_notional:
                params["reduceOnly"] = True
            side = "sell" if qty > 0 else "buy"
            works.append(
                partial(
                    self._account.exchange.create_order,
                    units.symbol,
                    "market",
                    side,
                    units.amount_text(min(size, instrument.qty_max)),
                    None,
                    params,
                )
            )
        failures = await self._all(Intent.PLACE, "order.flatten", works)
        if failures:
            raise TransportError(f"{len(failures)} of {len(works)} orders were not taken, the first: {failures[0]}")

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        """Where ccxt has the exchange's own timer for it; 0 disarms."""
        if not self._account.has(DEAD_MAN):
            return False
        arm = partial(self._account.exchange.cancel_all_orders_after, int(timeout_s * 1000))
        result = await self._account.calls.run(Intent.CANCEL, "dead_man", arm)
        if result.outcome is Outcome.NOT_SENT_PROVEN and WANTS_MORE.intersection(result.names):
            return False  # ccxt itself refuses it
        if result.outcome is not Outcome.ACCEPTED:
            raise TransportError(f"{self.venue}: {result.reason}")
        return True

    async def _all(self, intent: Intent, name: str, works: Sequence[Callable[[], Awaitable[Any]]]) -> list[str]:
        """Every one at once; why those failed that did. An order that is gone already needs no cancel."""
        failures: list[str] = []

        async def one(make: Callable[[], Awaitable[Any]]) -> None:
            result = await self._account.calls.run(intent, name, make)
            if result.outcome is not Outcome.ACCEPTED and "OrderNotFound" not in result.names:
                failures.append(result.reason)

        await all_at_once([partial(one, make) for make in works])
        return failures

    def _require_loaded(self) -> None:
        if not self._is_loaded:
            raise TransportError(f"{self.venue}: it was not opened")
