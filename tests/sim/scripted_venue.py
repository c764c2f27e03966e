"""A venue of a few lines for the driver's tests: quotes from a list, orders filled when a quote crosses them."""

from __future__ import annotations

from collections.abc import Sequence

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, CancelTimer, ReplaceOrder, SetTimer, SubmitOrder
from core.enums import LiquiditySide, Reason, Side
from core.events import AnyEvent, OrderAccepted, OrderCanceled, OrderFilled, Quote, TimerFired
from core.instruments import Instrument


class ScriptedVenue:
    has_quiet_market: bool = True

    def __init__(self, instrument: Instrument, quotes: Sequence[Quote]) -> None:
        self._instrument = instrument
        self._quotes = list(quotes)
        self._resting: dict[int, SubmitOrder] = {}
        self._timers: dict[int, int] = {}
        self._answers: list[AnyEvent] = []
        self._executions = 0
        self._best: tuple[int, int] | None = None
        self._now = quotes[0].ts_init if quotes else 0

    @property
    def now(self) -> int:
        return self._now

    @property
    def done(self) -> bool:
        return not self._quotes and not self._answers

    def advance(self, until_ts: int) -> list[AnyEvent]:
        if self._answers:
            answers, self._answers = self._answers, []
            return answers
        quote_ts = self._quotes[0].ts_init if self._quotes else 1 << 62
        due = [(at, timer_id) for timer_id, at in self._timers.items() if at <= min(quote_ts, until_ts) and self._quotes]
        if due:
            at, timer_id = min(due)
            del self._timers[timer_id]
            self._now = max(self._now, at)
            return [TimerFired(self._now, self._now, timer_id)]
        if not self._quotes or quote_ts > until_ts:
            self._now = max(self._now, until_ts) if self._quotes else self._now
            return []
        quote = self._quotes.pop(0)
        self._now = quote.ts_init
        self._best = (quote.bid_price, quote.ask_price)
        return [quote, *self._matches(quote)]

    def _matches(self, quote: Quote) -> list[AnyEvent]:
        fills: list[AnyEvent] = []
        for order in list(self._resting.values()):
            assert order.price is not None
            buys = order.side is Side.BUY
            if (buys and quote.ask_price <= order.price) or (not buys and quote.bid_price >= order.price):
                del self._resting[order.client_order_id]
                fills.append(self._fill(order, order.price, LiquiditySide.MAKER))
        return fills

    def _fill(self, order: SubmitOrder, price: int, liquidity_side: LiquiditySide) -> OrderFilled:
        self._executions += 1
        rate = self._instrument.maker_fee_rate
        fee = self._instrument.commission(price, order.quantity, rate)
        return OrderFilled(
            self._now,
            self._now,
            order.client_order_id,
            order.instrument_id,
            str(self._executions),
            order.side,
            price,
            order.quantity,
            0,
            liquidity_side,
            fee,
            self._instrument.settlement_currency,
        )

    def best(self, _instrument_id: str) -> tuple[int, int] | None:
        return self._best

    def send(self, approved: Approved) -> None:
        command = approved.command
        now = self._now
        match command:
            case SubmitOrder():
                assert command.price is not None
                self._answers.append(OrderAccepted(now, now, command.client_order_id, command.price, command.quantity))
                self._resting[command.client_order_id] = command
            case CancelOrder():
                self._cancel(command.client_order_id)
            case CancelAll():
                for client_order_id in list(self._resting):
                    self._cancel(client_order_id)
            case ReplaceOrder():
                raise AssertionError("the scripted venue replaces nothing")

    def _cancel(self, client_order_id: int) -> None:
        order = self._resting.pop(client_order_id, None)
        if order is not None:
            self._answers.append(OrderCanceled(self._now, self._now, client_order_id, order.quantity, Reason.REQUESTED))

    def schedule(self, command: SetTimer | CancelTimer) -> None:
        if isinstance(command, SetTimer):
            self._timers[command.timer_id] = command.at
        else:
            self._timers.pop(command.timer_id, None)
