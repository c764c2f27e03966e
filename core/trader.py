"""Trader: the deterministic heart. step(event) -> commands; no clock, no I/O, no await.

The same object runs in backtest, paper and live: events come from the journal's order, commands leave through the risk gate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from core.account_risk import AccountRisk
from core.approved import Approved
from core.blame import blame
from core.cash import CashDesk
from core.clients import ClientDesk
from core.commands import CancelAll, CancelOrder, CancelTimer, ReplaceOrder, SetTimer, SubmitOrder
from core.context import OutCommand, StrategyContext
from core.digest import StreamDigest, digest_of
from core.enums import OrderStatus, OrderType, Reason, Side, TradingState
from core.errors import ConfigError, StateError, StrategyError
from core.events import (
    AnyEvent,
    Bar,
    Book,
    CancelAllRequested,
    CancelRejected,
    CashMoved,
    ControlRequested,
    FlattenRequested,
    GapDetected,
    Heartbeat,
    LimitTripped,
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderRestated,
    OrderTriggered,
    Quote,
    Reconciled,
    ReplaceRejected,
    Started,
    StateRestored,
    StatusChanged,
    Stopping,
    TimerFired,
    Trade,
    TradingResumed,
    TradingStateSet,
)
from core.foreign import ForeignDesk
from core.identifiers import make_order_id
from core.instruments import Instrument
from core.market_state import MarketState
from core.memory import MemoryDesk
from core.order_store import FOREIGN, OrderStore
from core.orders import Order
from core.portfolio import Portfolio
from core.restore import restore
from core.risk import InstrumentLimits, RateLimit, RiskGate
from core.risk_conversion import Conversion
from core.risk_limits import AccountLimits
from core.risk_pre_trade import PreTrade
from core.risk_states import TradingStates
from core.state_records import state_records
from core.units import clamp_int64

NOTHING: tuple[OutCommand, ...] = ()
DENIALS_PER_STEP_MAX = 1_000
DENIED_NAME_MAX = 64  # characters of an instrument_id that no instrument has, as a denial keeps it

Callback = Callable[..., None]


class Trader:
    """All strategies of one account over one set of instruments."""

    def __init__(
        self,
        *,
        instruments: Sequence[Instrument],
        cash: dict[str, int],
        limits: dict[str, InstrumentLimits],
        rate: RateLimit,
        run_number: int,
        account: AccountLimits | None = None,
    ) -> None:
        make_order_id(run_number, 1)  # refuses a run number that order ids cannot hold
        self.instruments = {instrument.instrument_id: instrument for instrument in instruments}
        self.portfolio = Portfolio(self.instruments, cash)
        self.states = {key: MarketState(value, self.portfolio.by_instrument[key]) for key, value in self.instruments.items()}
        self.orders = OrderStore(self.states)
        trading_states = TradingStates()
        pre_trade, self.account_risk = self._limit_account(account, limits, trading_states)
        self.risk = RiskGate(self.states, limits, rate, pre_trade, trading_states, self._held_by)
        self.run_number = run_number
        self.order_counter = 0
        self.now = 0
        self.commands_digest = StreamDigest()
        self.denied: list[OrderDenied] = []  # of the last step, for the journal
        self.tripped: list[LimitTripped] = []  # of the last step, for the journal
        self.duplicate_fills = 0
        self.contexts: list[StrategyContext] = []
        self._by_strategy: dict[str, StrategyContext] = {}
        # Who hears of orders: the same dictionary, but an empty one between StateRestored and Started.
        self._told = self._by_strategy
        self.marks_restored: dict[str, int] = {}  # last price of runs before this one, for who needs any price at all
        self._timers: dict[int, tuple[StrategyContext, str]] = {}
        self.timer_counter = 0
        self.foreign = ForeignDesk(self)
        self.cash = CashDesk(self)
        self.memory = MemoryDesk(self)
        self.clients = ClientDesk(self)
        self.out: list[OutCommand] = []
        # Callbacks by instrument, found once: a quote with nobody to hear it costs one dictionary look-up.
        self._quote_routes: dict[str, tuple[MarketState, list[tuple[StrategyContext, Callback]]]] = {
            key: (state, []) for key, state in self.states.items()
        }
        self._book_callbacks: dict[str, list[tuple[StrategyContext, Callback]]] = {key: [] for key in self.instruments}
        self._trade_callbacks: dict[str, list[tuple[StrategyContext, Callback]]] = {key: [] for key in self.instruments}
        # With the state beside them and by interval: a million bars a second leave no time for a second look-up.
        self._bar_callbacks: dict[str, tuple[MarketState, list[tuple[int, StrategyContext, Callback]]]] = {
            key: (state, []) for key, state in self.states.items()
        }
        self._handlers = self._find_handlers()

    def _find_handlers(self) -> dict[type, Callable[[Any], None]]:
        handlers: dict[type, Callable[[Any], None]] = {
            Quote: self._on_quote,
            OrderAccepted: self._on_accepted,
            OrderCanceled: self._on_canceled,
            OrderFilled: self._on_filled,
            OrderReplaced: self._on_replaced,
            TimerFired: self._on_timer,
            Bar: self._on_bar,
            Trade: self._on_trade,
            Book: self._on_book,
            OrderRejected: self._on_rejected,
            CancelRejected: self._on_cancel_rejected,
            ReplaceRejected: self._on_replace_rejected,
            OrderTriggered: self._on_triggered,
            OrderRestated: self._on_restated,
            OrderExpired: self._on_expired,
            OrderOutcomeUnknown: self._on_outcome_unknown,
            StatusChanged: self._on_status,
            GapDetected: self._on_gap,
            TradingStateSet: self._on_trading_state,
            TradingResumed: self._on_resumed,
            Started: self._on_started,
            Stopping: self._on_stopping,
            StateRestored: self._on_restored,
            Reconciled: self._on_reconciled,
            ControlRequested: self._on_control_requested,
            CancelAllRequested: self._on_cancel_all_requested,
            FlattenRequested: self._on_flatten_requested,
            Heartbeat: self._on_heartbeat,
            **self.foreign.handlers(),
            **self.cash.handlers(),
            **self.memory.handlers(),
            **self.clients.handlers(),
        }
        if self.account_risk is not None and self.account_risk.needs_marks:
            # Who configures no limit that needs the market's value pays nothing for it.
            handlers.update({Quote: self._on_quote_marked, Trade: self._on_trade_marked, Bar: self._on_bar_marked})
        return handlers

    def _limit_account(
        self, account: AccountLimits | None, limits: dict[str, InstrumentLimits], trading_states: TradingStates
    ) -> tuple[PreTrade | None, AccountRisk | None]:
        margins_ppm = {key: limit.initial_margin_ppm for key, limit in limits.items()}
        if account is None and not any(margins_ppm.values()):
            return None, None
        if account is None:
            raise ConfigError("risk: an initial margin is a limit of the account: the account's currency is missing")
        conversion = Conversion(account.currency, account.conversion, self.instruments)
        pre_trade = PreTrade(self.states, account, margins_ppm, conversion, self.orders, self.portfolio)
        return pre_trade, AccountRisk(account, self.portfolio, conversion, pre_trade.exposure, trading_states)

    def add_strategy(self, strategy_id: str, strategy: Any) -> StrategyContext:
        """Register before the first step; strategies are called in the order they were added."""
        if strategy_id in self._by_strategy:
            raise StrategyError(f"two strategies are called {strategy_id!r}")
        context = StrategyContext(self, strategy_id, strategy)
        for subscription in context.subscriptions:
            if subscription.instrument_id not in self.instruments:
                raise StrategyError(
                    f"strategy {strategy_id!r} subscribes to {subscription.instrument_id!r}, which is not configured"
                )
        self.contexts.append(context)
        self._by_strategy[strategy_id] = context
        for subscription in context.subscriptions:
            key = subscription.instrument_id
            if subscription.quotes != "off" and context.on_quote is not None:
                self._quote_routes[key][1].append((context, context.on_quote))
            if subscription.book_levels and context.on_book is not None:
                self._book_callbacks[key].append((context, context.on_book))
            if subscription.trades and context.on_trade is not None:
                self._trade_callbacks[key].append((context, context.on_trade))
            if subscription.bars_ns and context.on_bar is not None:
                self._bar_callbacks[key][1].append((subscription.bars_ns, context, context.on_bar))
        return context

    def step(self, event: AnyEvent) -> Sequence[OutCommand]:
        """Apply one event; returns the commands it led to, in order.

        Raises StrategyError that names the strategy and its callback, StateError for an event that is impossible, each with the
        event in the text. New orders of a failed step are withdrawn; its cancels leave with the next step.
        """
        try:
            handler = self._handlers[type(event)]
        except KeyError:
            raise StateError(f"the Trader has no use for a {type(event).__name__}: {event!r}") from None
        now = event.ts_init
        if now < self.now:
            raise StateError(f"an event goes back in time from {self.now} to {now}: {event!r}")
        self.now = now
        if self.denied:
            self.denied = []
        if self.tripped:
            self.tripped = []
        try:
            handler(event)
            if self.denied:
                self._deliver_denials()
        except (Exception, SystemExit) as error:
            # SystemExit: a strategy that calls sys.exit() has raised like any other.
            self._withdraw()
            blamed = blame(error, event)
            if blamed is error:
                raise
            raise blamed from error
        out = self.out
        if not out:
            return NOTHING
        self.out = []
        add = self.commands_digest.add
        for command in out:
            add(command.command if type(command) is Approved else command)
        return out

    def _withdraw(self) -> None:
        """Take back what a failed step wanted to send: the orders never left. Cancels and timers leave with the next step."""
        kept: list[OutCommand] = []
        for sent in self.out:
            command = sent.command if type(sent) is Approved else None
            if isinstance(command, SubmitOrder):
                self.orders.rejected(OrderRejected(self.now, self.now, command.client_order_id, Reason.REQUESTED))
            elif isinstance(command, ReplaceOrder):
                order = self.orders.get(command.client_order_id)
                if order is not None and order.is_open:
                    self.orders.replace_rejected(ReplaceRejected(self.now, self.now, command.client_order_id, Reason.REQUESTED))
            else:
                kept.append(sent)
        self.out = kept

    # Market.

    def _on_quote(self, quote: Quote) -> None:
        state, callbacks = self._quote_routes[quote.instrument_id]
        state.quote = quote
        for context, callback in callbacks:
            callback(context, quote)

    def _on_quote_marked(self, quote: Quote) -> None:
        """As `_on_quote`, after the account's limits have looked at it: halt first."""
        state, callbacks = self._quote_routes[quote.instrument_id]
        state.quote = quote
        if quote.ts_init >= state.mark_due_ns:
            self._judge_market(state)
        for context, callback in callbacks:
            callback(context, quote)

    def _on_trade_marked(self, trade: Trade) -> None:
        state = self.states[trade.instrument_id]
        # A quote says more than a print: only where there is none is the print the market.
        if state.quote is None and trade.ts_init >= state.mark_due_ns:
            state.trade = trade
            self._judge_market(state)
        self._on_trade(trade)

    def _on_bar_marked(self, bar: Bar) -> None:
        state = self.states[bar.instrument_id]
        if state.quote is None and bar.ts_init >= state.mark_due_ns:
            state.bar = bar
            self._judge_market(state)
        self._on_bar(bar)

    def _judge_market(self, state: MarketState) -> None:
        assert self.account_risk is not None
        for tripped in self.account_risk.market(state, self.now):
            self._trip(tripped)

    def _on_book(self, book: Book) -> None:
        key = book.instrument_id
        self.states[key].book = book
        for context, callback in self._book_callbacks[key]:
            callback(context, book)

    def _on_trade(self, trade: Trade) -> None:
        key = trade.instrument_id
        self.states[key].trade = trade
        for context, callback in self._trade_callbacks[key]:
            callback(context, trade)

    def _on_bar(self, bar: Bar) -> None:
        state, callbacks = self._bar_callbacks[bar.instrument_id]
        state.bar = bar
        state.is_gapped = False  # a bar is a whole interval's market: one is enough to trade on again
        for interval_ns, context, callback in callbacks:
            if interval_ns == bar.interval_ns:
                callback(context, bar)

    def _on_status(self, event: StatusChanged) -> None:
        self.states[event.instrument_id].status = event.status
        for context in self.contexts:
            if context.on_status is not None and context.is_subscribed(event.instrument_id):
                context.on_status(context, event)

    def _on_gap(self, event: GapDetected) -> None:
        state = self.states[event.instrument_id]
        # What was seen before the gap is no market any more: risk refuses new orders until a fresh quote.
        state.is_gapped = True
        state.quote = None
        state.book = None
        for context in self.contexts:
            if context.on_gap is not None and context.is_subscribed(event.instrument_id):
                context.on_gap(context, event)

    # Orders.

    def _on_accepted(self, event: OrderAccepted) -> None:
        self._tell(self.orders.accepted(event), event)

    def _on_rejected(self, event: OrderRejected) -> None:
        order = self.orders.rejected(event)
        self._count_refusal(order)
        self._tell(order, event)

    def _on_canceled(self, event: OrderCanceled) -> None:
        self._tell(self.orders.canceled(event), event)

    def _on_expired(self, event: OrderExpired) -> None:
        self._tell(self.orders.expired(event), event)

    def _on_triggered(self, event: OrderTriggered) -> None:
        self._tell(self.orders.triggered(event), event)

    def _on_replaced(self, event: OrderReplaced) -> None:
        self._tell(self.orders.replaced(event), event)

    def _on_restated(self, event: OrderRestated) -> None:
        self._tell(self.orders.restated(event), event)

    def _on_cancel_rejected(self, event: CancelRejected) -> None:
        self._tell(self.orders.cancel_rejected(event), event)

    def _on_replace_rejected(self, event: ReplaceRejected) -> None:
        order = self.orders.replace_rejected(event)
        self._count_refusal(order)
        self._tell(order, event)

    def _count_refusal(self, order: Order) -> None:
        if self.account_risk is not None:
            for tripped in self.account_risk.rejected(order.strategy_id, self.now):
                self._trip(tripped)

    def _on_outcome_unknown(self, event: OrderOutcomeUnknown) -> None:
        self._tell(self.orders.lost(event), event)

    def _on_filled(self, fill: OrderFilled) -> None:
        order = self.orders.filled(fill)
        if order is None:
            self.duplicate_fills += 1
            return
        position = self.portfolio.book(order.strategy_id, fill)
        if self.account_risk is not None:
            self._judge_fill(self.account_risk, order.strategy_id, fill)
        context = self._told.get(order.strategy_id)
        if context is None:
            return
        if context.on_fill is not None:
            context.on_fill(context, order, fill)
        if context.on_order is not None:
            context.on_order(context, order, fill)
        if context.on_position is not None:
            context.on_position(context, position)

    def book_foreign(self, fill: OrderFilled) -> None:
        """A fill that no order of ours explains: booked as one of the strategy "(foreign)", and judged like any other."""
        self.portfolio.book(FOREIGN, fill)
        if self.account_risk is not None:
            self._judge_fill(self.account_risk, FOREIGN, fill)

    def position_corrected(self, strategy_id: str, instrument_id: str) -> None:
        """By a person: judged like a fill, and told to the strategy."""
        if self.account_risk is not None:
            for tripped in self.account_risk.filled(strategy_id, self.states[instrument_id], self.now):
                self._trip(tripped)
        context = self._told.get(strategy_id)
        if context is not None and context.on_position is not None:
            context.on_position(context, self.portfolio.position_of(strategy_id, instrument_id))

    def cash_booked(self, moved: CashMoved, shares: Sequence[tuple[str, str]]) -> None:
        """Money was moved that no fill explains: judged, then told to who subscribes to its instrument, or to all."""
        if self.account_risk is not None:
            for tripped in self.account_risk.cash_moved(moved, shares, self.now):
                self._trip(tripped)
        for context in self._told.values():
            if context.on_cash is not None and (not moved.instrument_id or context.is_subscribed(moved.instrument_id)):
                context.on_cash(context, moved)

    def _judge_fill(self, account_risk: AccountRisk, strategy_id: str, fill: OrderFilled) -> None:
        state = self.states[fill.instrument_id]
        assert self.risk.account is not None
        assert state.watch is not None
        repeated = self.risk.account.filled(state.watch, strategy_id, fill.side, self.now)
        if repeated is not None and self.risk.states.own(strategy_id) is not TradingState.HALTED:
            self._trip(account_risk.trip(self.now, strategy_id, TradingState.HALTED, repeated, (("side", int(fill.side)),)))
        for tripped in account_risk.filled(strategy_id, state, self.now):
            self._trip(tripped)

    def _tell(self, order: Order, event: AnyEvent) -> None:
        context = self._told.get(order.strategy_id)
        if context is not None and context.on_order is not None:
            context.on_order(context, order, event)

    def deny(self, order: Order, limit: str, value: int, bound: int) -> None:
        """Called by the context: the strategy hears of it after the callback that caused it has returned."""
        # What was asked for may be anything a strategy came up with; the record of it must fit into the journal all the same.
        name: Any = order.instrument_id
        if not (type(name) is str and name.isascii() and len(name) <= DENIED_NAME_MAX) and not self._is_instrument(name):
            name = ascii(name)[:DENIED_NAME_MAX]
        value, bound = clamp_int64(value), clamp_int64(bound)
        self.denied.append(OrderDenied(self.now, self.now, order.client_order_id, order.strategy_id, name, limit, value, bound))

    def _is_instrument(self, name: Any) -> bool:
        return type(name) is str and name in self.instruments

    def _deliver_denials(self) -> None:
        # A strategy that answers every denial with another order would never end: what it sends now is heard of in turn, at most
        # denials_max times within one step.
        for handled, event in enumerate(self.denied):
            if handled >= DENIALS_PER_STEP_MAX:
                raise StrategyError(
                    f"strategy {event.strategy_id!r} was denied {DENIALS_PER_STEP_MAX} times in one step, last by {event.limit}"
                )
            context = self._by_strategy.get(event.strategy_id)
            order = self.orders.get(event.client_order_id)
            if context is not None and context.on_order is not None and order is not None:
                context.on_order(context, order, event)

    # Time and control.

    def set_timer(self, context: StrategyContext, name: str, at: int) -> None:
        self.timer_counter += 1
        self._timers[self.timer_counter] = (context, name)
        context.timers[name] = self.timer_counter
        self.out.append(SetTimer(self.now, self.timer_counter, max(at, self.now)))

    def cancel_timer(self, timer_id: int) -> None:
        del self._timers[timer_id]
        self.out.append(CancelTimer(self.now, timer_id))

    def _on_timer(self, event: TimerFired) -> None:
        found = self._timers.pop(event.timer_id, None)
        if found is None:
            return  # cancelled while it was already on its way
        context, name = found
        del context.timers[name]
        if context.on_timer is not None:
            context.on_timer(context, name)

    def _on_started(self, _event: Started) -> None:
        self._told = self._by_strategy
        self.memory.load()
        if self.account_risk is not None:
            for tripped in self.account_risk.started(self._by_strategy, self.now):
                self._trip(tripped)
        for context in self.contexts:
            if context.on_start is not None:
                context.on_start(context)

    def _on_stopping(self, event: Stopping) -> None:
        if event.is_final:
            # First, so that it holds even where a strategy raises at its last word.
            self._told = {}
        for context in self.contexts:
            if context.on_stop is not None:
                context.on_stop(context, event.reason)

    def _on_trading_state(self, event: TradingStateSet) -> None:
        self._require_scope(event.strategy_id)
        if self.risk.states.restrict(event.strategy_id, event.state):
            self._restricted(event.strategy_id, event.state, event.reason)
        elif event.state is TradingState.HALTED:
            # Halted already: whatever is open still, the venue is asked again.
            self._cancel_scope(event.strategy_id)

    def _on_resumed(self, event: TradingResumed) -> None:
        """Towards ACTIVE. Limits that are still broken trip again at once, before any strategy hears of it."""
        self._require_scope(event.strategy_id)
        if not event.reason.strip():
            raise StateError(f"trading is resumed only with a reason: {event!r}")
        if not self.risk.states.resume(event.strategy_id, event.state):
            return
        if self.risk.account is not None and self.account_risk is not None:
            self.risk.account.resumed(event.strategy_id)
            tripped = self.account_risk.resumed(event.strategy_id, event.state, self.now)
            for each in tripped:
                self._trip(each)
            if any(each.strategy_id == event.strategy_id for each in tripped):
                return
        self._tell_state(event.strategy_id, event.reason)

    def _trip(self, event: LimitTripped) -> None:
        """A limit of the account or of a strategy was passed: in effect before anything else of this step happens."""
        self.tripped.append(event)
        self.risk.states.restrict(event.strategy_id, event.state)
        self._restricted(event.strategy_id, event.state, f"{event.limit}: {event.value} is past {event.bound}")

    def _restricted(self, strategy_id: str, state: TradingState, reason: str) -> None:
        if state is TradingState.HALTED:
            # Halt first, account for it after: everything is cancelled whatever the strategies think.
            self._cancel_scope(strategy_id)
        self._tell_state(strategy_id, reason)

    def _cancel_scope(self, strategy_id: str) -> None:
        """Everything of the account ("") by one command, or each order of one strategy."""
        if not strategy_id:
            self.out.append(self.risk.cancel(CancelAll(self.now, None)))
        for order in self.orders.open_orders(None, strategy_id or None):
            if order.status is not OrderStatus.PENDING_CANCEL:
                self.orders.cancel_requested(order, self.now)
                if strategy_id:
                    self.out.append(self.risk.cancel(CancelOrder(self.now, order.client_order_id)))

    def _tell_state(self, strategy_id: str, reason: str) -> None:
        """Each strategy hears of the state that its own orders are judged by."""
        for context in self.contexts:
            if context.on_halt is not None and (not strategy_id or context.strategy_id == strategy_id):
                context.on_halt(context, self.risk.states.of(context.strategy_id), reason)

    def _require_scope(self, strategy_id: str) -> None:
        if strategy_id and strategy_id not in self._by_strategy:
            raise StateError(f"there is no strategy {strategy_id!r} whose trading state could be set")

    def _held_by(self, strategy_id: str, instrument_id: str) -> tuple[int, int, int]:
        """A strategy's own position, and what its open orders may still buy and sell."""
        reserved = [0, 0]
        for order in self.orders.open_orders(instrument_id, strategy_id):
            reserved[order.side] += order.reserved_qty
        return self.portfolio.position_of(strategy_id, instrument_id).qty, reserved[0], reserved[1]

    def _on_restored(self, event: StateRestored) -> None:
        restore(self, event.state)
        self.foreign.restore(event.state.foreign, event.previous_run, event.ts_init)
        self.memory.restore(event.state.memory)
        self._told = {}

    def _on_reconciled(self, _event: Reconciled) -> None:
        for context in self.contexts:
            if context.on_reconciled is not None:
                context.on_reconciled(context)

    def _on_control_requested(self, _event: ControlRequested) -> None:
        """Kept in the journal for who and why; what is to happen comes as an event of its own."""

    def _on_heartbeat(self, _event: Heartbeat) -> None:
        """It has come this far: that is all it is for."""

    def _on_cancel_all_requested(self, _event: CancelAllRequested) -> None:
        self._cancel_scope("")

    def _on_flatten_requested(self, _event: FlattenRequested) -> None:
        has_foreign = any(strategy_id == FOREIGN for strategy_id, _ in self.portfolio.by_strategy)
        for context in [*self.contexts, self.foreign.context] if has_foreign else self.contexts:
            for instrument_id in self.instruments:
                qty = self.portfolio.position_of(context.strategy_id, instrument_id).qty
                if qty:
                    side = Side.SELL if qty > 0 else Side.BUY
                    context.submit(instrument_id, side, abs(qty), order_type=OrderType.MARKET, reduce_only=True)

    # Views.

    def equity(self, currency: str) -> int:
        marks = {key: mark for key, state in self.states.items() if (mark := state.mark()) is not None}
        return self.portfolio.equity(currency, marks)

    def state_digest(self) -> str:
        """Digest of trading state, cash, positions of the account and of each strategy, and every order remembered."""
        return digest_of(state_records(self))
