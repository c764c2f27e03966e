"""The guardian's switch at Alpaca: the venue's own bulk calls, and order by order where they fail. No dead-man there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from adapters.alpaca.checks import account_problems
from adapters.alpaca.codec import AlpacaCodec
from adapters.alpaca.exact import is_null, number_of, optional_number
from adapters.alpaca.orders import Orders
from adapters.alpaca.outcomes import NOT_FOUND
from adapters.alpaca.settings import AlpacaSettings
from adapters.alpaca.truth import AccountReader
from adapters.alpaca.wire import Canceling, Closing, OrderBody
from adapters.http.io import HttpTransport
from adapters.http.request import Outcome, Request, Sent
from core.enums import Side
from core.errors import RefusedError, TransportError, VenueProtocolError
from core.venue_adapter import VenueOrder
from core.venue_opening import VenueOpening

STRANGE_QTY_SCALE = 9  # of orders in what is not configured: the venue's finest

Call = Callable[[], Coroutine[Any, Any, None]]
AllDone = Callable[[Iterable[Call]], Awaitable[None]]


class AlpacaSwitch:
    """core.venue_switch.VenueSwitch. Over HTTP alone: there is nothing to keep warm but connections."""

    def __init__(
        self,
        opening: VenueOpening,
        settings: AlpacaSettings,
        codec: AlpacaCodec,
        orders: Orders,
        reader: AccountReader,
        http: HttpTransport,
        all_done: AllDone,
    ) -> None:
        self._opening = opening
        self._settings = settings
        self._codec = codec
        self._orders = orders
        self._reader = reader
        self._http = http
        self._all_done = all_done

    @property
    def venue(self) -> str:
        return self._opening.venue

    async def open(self) -> None:
        """An account that may not trade can still be emptied: only whose it is counts here."""
        sent = await self._http.send(self._codec.account())
        if sent.value is None and sent.answer is not None and sent.answer.status in (401, 403):
            raise RefusedError(f"{self.venue}: the key is not taken: {sent.reason}")
        if sent.value is None:
            raise TransportError(f"{self.venue}: account: {sent.outcome.name} {sent.reason}")
        problems = account_problems(sent.value, self._settings, self._opening.environment, self._opening.account)
        wrong = [problem for problem in problems if "environment" in problem or "configured" in problem]
        if wrong:
            raise RefusedError(f"{self.venue}: {'; '.join(wrong)}")

    async def close(self) -> None:
        await self._http.aclose()

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        del timeout_s
        return False

    # Orders.

    async def cancel_all(self) -> None:
        sent: Sent[list[Canceling]] = await self._http.send(self._codec.cancel_all())
        lines = sent.value or []
        if sent.outcome is Outcome.ACCEPTED and all(200 <= line.status < 300 for line in lines):
            return
        # The bulk call failed, or left some: each by itself. A cancel that is sent twice cancels once.
        left = await self._reader.open_orders()
        failures: list[str] = []
        await self._all_done([partial(self._cancel, body, failures) for body in left])
        if failures:
            raise TransportError(f"{self.venue}: {len(failures)} of {len(left)} cancels were not taken: {failures[0]}")

    async def _cancel(self, body: OrderBody, failures: list[str]) -> None:
        sent = await self._http.send(self._codec.cancel(body.id))
        is_over = sent.outcome is Outcome.REJECTED_PROVEN and sent.answer is not None and sent.answer.status in (404, 422)
        if sent.outcome is not Outcome.ACCEPTED and not is_over:
            failures.append(f"{body.id}: {sent.outcome.name} {sent.reason}")

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        """What does not fit a configured instrument is told all the same: without a price, its quantity at scale 9."""
        found = []
        for body in await self._reader.open_orders():
            try:
                order = self._orders.venue_order(body)
            except VenueProtocolError:
                order = None  # a tick that has become finer must not hide an order from a kill
            found.append(order if order is not None else self._stranger(body))
        return tuple(found)

    def _stranger(self, body: OrderBody) -> VenueOrder:
        side = Side.SELL if body.side == "sell" else Side.BUY
        leaves = 1  # of an order by value nobody knows how many shares it will be
        try:
            if not is_null(body.qty):
                filled = optional_number(body.filled_qty, STRANGE_QTY_SCALE, "filled_qty") or 0
                leaves = max(number_of(body.qty, STRANGE_QTY_SCALE, "qty") - filled, 1)
        except VenueProtocolError as error:
            raise TransportError(f"{self.venue}: an open order that cannot be read: {error}") from error
        return VenueOrder(None, f"{body.symbol or 'UNKNOWN'}.{self.venue}", side, None, leaves, body.id)

    # Positions.

    async def positions(self) -> dict[str, int]:
        try:
            return await self._reader.positions()
        except VenueProtocolError as error:
            raise TransportError(f"{self.venue}: positions that cannot be read: {error}") from error

    async def flatten(self) -> None:
        """The venue's own call, which cancels first and closes every position of the account by market orders of its own making:
        it can only reduce. What it left is closed position by position."""
        sent: Sent[list[Closing]] = await self._http.send(self._codec.close_all())
        lines = sent.value or []
        if sent.outcome is Outcome.ACCEPTED and all(200 <= line.status < 300 for line in lines):
            return
        if sent.outcome is Outcome.UNKNOWN:
            # Orders that close may be out already: a second set would turn the positions round. Who asks again sees what is left.
            raise TransportError(f"{self.venue}: whether the positions are being closed is not known: {sent.reason}")
        failures: list[str] = []
        symbols = [line.symbol for line in lines if not 200 <= line.status < 300]
        if sent.outcome is not Outcome.ACCEPTED:
            symbols = [body.symbol for body in await self._reader.ask(self._codec.positions())]
        await self._all_done([partial(self._close, symbol, failures) for symbol in symbols])
        if failures:
            raise TransportError(f"{self.venue}: not everything could be closed: {'; '.join(failures)}")

    async def _close(self, symbol: str, failures: list[str]) -> None:
        request: Request[Any] = self._codec.close_position(symbol)
        sent = await self._http.send(request)
        is_flat = sent.outcome is Outcome.REJECTED_PROVEN and sent.code == NOT_FOUND
        if sent.outcome is not Outcome.ACCEPTED and not is_flat:
            failures.append(f"{symbol}: {sent.outcome.name} {sent.reason}")
