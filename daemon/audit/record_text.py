"""A record of the journal as a trader reads it: one line, prices and quantities in the instrument's own units."""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from core.commands import CancelAll, CancelOrder, CancelTimer, ReplaceOrder, SetTimer, SubmitOrder
from core.enums import AggressorSide, MarketStatus, OrderType, Reason, Side, TimeInForce, TradingState
from core.events import (
    Bar,
    Book,
    CancelAllRequested,
    CancelRejected,
    CashMoved,
    ClientCancelRequested,
    ClientOrderRequested,
    ClientReplaceRequested,
    ControlRequested,
    FlattenRequested,
    ForeignFilled,
    ForeignOrderFound,
    GapDetected,
    Heartbeat,
    LimitTripped,
    MemoryRequested,
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
    PositionCorrected,
    Quote,
    Reconciled,
    ReplaceRejected,
    Started,
    StateRestored,
    StatusChanged,
    Stopping,
    StrategySaved,
    TimerFired,
    Trade,
    TradingResumed,
    TradingStateSet,
    VenueCompared,
    VenueFinding,
)
from core.identifiers import COUNTER_BITS, COUNTER_MAX
from core.instruments import MONEY_SCALE, Instrument
from core.units import format_fixed
from daemon.journal.format import Record
from daemon.timestamps import iso

# In which units a limit states its value and its bound (core/risk.py).
QTY_LIMITS = {
    "order_qty_max",
    "instrument_lot",
    "position_qty_max",
    "strategy_position_qty_max",
    "trading_state_reducing",
    "order_display_qty",
}
PRICE_LIMITS = {"instrument_tick", "price_collar_ppm", "market_crossed", "market_locked", "market_price", "self_trade"}
# Money of one instrument's settlement currency, and of the account's.
NOTIONAL_LIMITS = {"order_notional_max"}
ACCOUNT_MONEY_LIMITS = {
    "strategy_capital_max",
    "gross_exposure_max",
    "net_exposure_max",
    "initial_margin_max",
    "leverage_max",
    "daily_loss_max",
    "weekly_loss_max",
}

MarketOrControl = (
    Quote
    | Trade
    | Bar
    | Book
    | StatusChanged
    | GapDetected
    | TimerFired
    | Started
    | Stopping
    | TradingStateSet
    | TradingResumed
    | LimitTripped
)


SessionEvent = StateRestored | Reconciled | ControlRequested | CancelAllRequested | FlattenRequested | Heartbeat
ClientRequest = ClientOrderRequested | ClientCancelRequested | ClientReplaceRequested


def order_name(client_order_id: int) -> str:
    """Run number and counter, as venues see them behind the prefix."""
    return f"{client_order_id >> COUNTER_BITS}-{client_order_id & COUNTER_MAX}"


def kind_of(record: Record) -> str:
    """The tag that stands in the journal."""
    return str(record.__struct_config__.tag)


def time_of(record: Record) -> int:
    """When we knew it, ns UTC."""
    return record.ts_init if hasattr(record, "ts_init") else record.ts


def fields_of(record: Record) -> dict[str, Any]:
    """The record's fields by name; enumerations by name too."""
    plain = msgspec.structs.asdict(record)
    return {key: _plain(value) for key, value in plain.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {key: msgspec.to_builtins(part) for key, part in msgspec.structs.asdict(value).items()}
    if isinstance(value, bytes):
        return value.hex()
    return value.name if hasattr(value, "name") else value


def describe(record: Record, instrument: Instrument | None) -> str:
    """What happened. Without the instrument, prices and quantities stay in points and units."""
    if isinstance(record, SubmitOrder | CancelOrder | ReplaceOrder | CancelAll | SetTimer | CancelTimer):
        return _command(record, instrument)
    if isinstance(
        record,
        MarketOrControl,
    ):
        return _market_or_control(record, instrument)
    if isinstance(record, SessionEvent):
        return _session_event(record)
    if isinstance(record, MemoryRequested):
        return "strategies are asked what they want to remember"
    if isinstance(record, StrategySaved):
        return f"strategy {record.strategy_id} wants to remember {len(record.memory)} bytes"
    if isinstance(record, VenueFinding):
        return _venue_finding(record, instrument)
    if isinstance(record, ClientRequest):
        return _client_request(record, instrument)
    return _order_event(record, instrument)


def market_text(quote: Quote | None, instrument: Instrument) -> str:
    """The best prices, or an empty text where none are known."""
    if quote is None:
        return ""
    bid = f"{instrument.format_qty(quote.bid_qty)} at {instrument.format_price(quote.bid_price)}" if quote.bid_qty else "nothing"
    ask = f"{instrument.format_qty(quote.ask_qty)} at {instrument.format_price(quote.ask_price)}" if quote.ask_qty else "nothing"
    return f"bid {bid}, ask {ask}"


def _price(price: int | None, instrument: Instrument | None) -> str:
    if price is None:
        return "market"
    return instrument.format_price(price) if instrument is not None else f"{price} points"


def _qty(qty: int, instrument: Instrument | None) -> str:
    return instrument.format_qty(qty) if instrument is not None else f"{qty} units"


def _command(
    record: SubmitOrder | CancelOrder | ReplaceOrder | CancelAll | SetTimer | CancelTimer, instrument: Instrument | None
) -> str:
    match record:
        case SubmitOrder():
            return f"submit {order_text(record, instrument)}"
        case CancelOrder():
            return "ask to cancel"
        case ReplaceOrder(quantity=quantity, price=price):
            return f"ask to replace: {_qty(quantity, instrument)} left at {_price(price, instrument)}"
        case CancelAll(instrument_id=instrument_id):
            return f"ask to cancel everything{f' of {instrument_id}' if instrument_id is not None else ''}"
        case SetTimer(timer_id=timer_id, at=at):
            return f"set timer {timer_id} to {iso(at)}"
        case CancelTimer(timer_id=timer_id):
            return f"drop timer {timer_id}"
        case _:
            assert_never(record)


def order_text(order: SubmitOrder | ClientOrderRequested, instrument: Instrument | None) -> str:
    """`BUY 10 LIMIT at 99.98 GTC post-only`."""
    parts = [Side(order.side).name, _qty(order.quantity, instrument), OrderType(order.order_type).name]
    if order.price is not None:
        parts.append(f"at {_price(order.price, instrument)}")
    if order.trigger_price is not None:
        parts.append(f"once {_price(order.trigger_price, instrument)} trades")
    parts.append(TimeInForce(order.time_in_force).name)
    if order.expire_ts:
        parts.append(f"until {iso(order.expire_ts)}")
    parts += ["post-only"] if order.post_only else []
    parts += ["reduce-only"] if order.reduce_only else []
    parts += [f"showing {_qty(order.display_qty, instrument)}"] if order.display_qty else []
    return " ".join(parts)


def _order_event(
    record: OrderAccepted
    | OrderRejected
    | OrderFilled
    | OrderCanceled
    | OrderExpired
    | OrderReplaced
    | OrderTriggered
    | OrderRestated
    | CancelRejected
    | ReplaceRejected
    | OrderOutcomeUnknown
    | OrderDenied,
    instrument: Instrument | None,
) -> str:
    match record:
        case OrderAccepted(price=price, leaves_qty=leaves, venue_order_id=venue_id):
            known_as = f", known to the venue as {venue_id}" if venue_id else ""
            return f"accepted: {_qty(leaves, instrument)} at {_price(price, instrument)}{known_as}"
        case OrderFilled():
            return _fill(record, instrument)
        case OrderCanceled(qty=qty, reason=reason):
            return f"canceled: {_qty(qty, instrument)} taken back ({_reason(reason)})"
        case OrderReplaced(price=price, leaves_qty=leaves):
            return f"replaced: {_qty(leaves, instrument)} at {_price(price, instrument)}"
        case OrderDenied():
            return _denial(record, instrument)
        case OrderRejected(reason=reason, text=text):
            return f"rejected by the venue ({_reason(reason)}){f': {text}' if text else ''}"
        case OrderExpired(qty=qty):
            return f"expired: {_qty(qty, instrument)} unfilled"
        case OrderTriggered():
            return "triggered"
        case OrderRestated(leaves_qty=leaves, reason=reason):
            return f"made smaller by the venue: {_qty(leaves, instrument)} left ({_reason(reason)})"
        case CancelRejected(reason=reason):
            return f"the venue did not cancel ({_reason(reason)})"
        case ReplaceRejected(reason=reason):
            return f"the venue did not replace ({_reason(reason)})"
        case OrderOutcomeUnknown(text=text):
            return f"outcome unknown{f': {text}' if text else ''}; it counts as open until the venue says otherwise"
        case _:
            assert_never(record)


def _fill(fill: OrderFilled, instrument: Instrument | None) -> str:
    fee = format_fixed(abs(fill.commission), MONEY_SCALE).rstrip("0").rstrip(".")
    paid = "fee" if fill.commission >= 0 else "rebate"
    return (
        f"filled: {fill.side.name} {_qty(fill.qty, instrument)} at {_price(fill.price, instrument)}, "
        f"{_qty(fill.leaves_qty, instrument)} left; {fill.liquidity_side.name.lower()}, {paid} {fee} "
        f"{fill.commission_currency}, execution {fill.execution_id}"
    )


def _denial(denied: OrderDenied, instrument: Instrument | None) -> str:
    value, bound = (limit_text(denied.limit, number, instrument) for number in (denied.value, denied.bound))
    return f"denied by our risk gate: {denied.limit}, value {value}, bound {bound}; nothing was sent"


def limit_text(limit: str, value: int, instrument: Instrument | None) -> str:
    """A denial's value or bound in the units of its limit."""
    if limit in QTY_LIMITS:
        return _qty(value, instrument)
    if limit in PRICE_LIMITS:
        return _price(value, instrument)
    if limit in NOTIONAL_LIMITS:
        currency = f" {instrument.settlement_currency}" if instrument is not None else ""
        return f"{format_fixed(value, MONEY_SCALE)}{currency}"
    if limit.partition(".")[0] in ACCOUNT_MONEY_LIMITS:
        return _account_money(limit, value)
    if limit == "market_status":
        return MarketStatus(value).name
    if limit == "trading_state":
        return TradingState(value).name
    return iso(value) if limit == "order_expire_ts" else str(value)


def _account_money(limit: str, value: int) -> str:
    """In the account's currency, or in the one that stands behind the limit's name."""
    currency = limit.partition(".")[2]
    return f"{format_fixed(value, MONEY_SCALE)}{f' {currency}' if currency else ''}"


def _trip(tripped: LimitTripped) -> str:
    def shown(value: int) -> str:
        return _account_money(tripped.limit, value) if tripped.limit.partition(".")[0] in ACCOUNT_MONEY_LIMITS else str(value)

    who = f"strategy {tripped.strategy_id}" if tripped.strategy_id else "the account"
    inputs = ", ".join(f"{name} {value}" for name, value in tripped.inputs)
    made_of = f" (made of {inputs})" if inputs else ""
    numbers = f"value {shown(tripped.value)}, bound {shown(tripped.bound)}{made_of}"
    return f"{tripped.limit} tripped, {numbers}: {who} is {tripped.state.name}"


def _reason(reason: Reason) -> str:
    return reason.name.lower().replace("_", " ")


def _session_event(record: SessionEvent) -> str:
    match record:
        case StateRestored(previous_run=previous_run, state=state):
            is_open = sum(order.leaves_qty > 0 for order in state.orders)
            left = f"{state.fills_booked} fills booked, {is_open} orders open, {state.trading_state.name}"
            return f"begins with what run {previous_run} left: {left}" if previous_run else "the account begins"
        case Reconciled(facts=facts):
            return f"agrees with the venue, after {facts} facts from it"
        case ControlRequested(action=action, uid=uid, reason=reason):
            return f"{action} asked for by {f'user {uid}' if uid >= 0 else 'the daemon or a signal'}: {reason}"
        case CancelAllRequested(reason=reason):
            return f"everything is to be canceled: {reason}"
        case FlattenRequested(reason=reason):
            return f"every position is to be closed: {reason}"
        case Heartbeat(number=number):
            return f"heartbeat {number}"
        case _:
            assert_never(record)


def _client_request(record: ClientRequest, instrument: Instrument | None) -> str:
    match record:
        case ClientOrderRequested(client_id=client_id, client_ref=client_ref):
            return f"client {client_id} asks for its order {client_ref}: {order_text(record, instrument)}"
        case ClientCancelRequested(client_id=client_id):
            return f"{f'client {client_id}' if client_id else 'an operator'} asks to cancel"
        case ClientReplaceRequested(client_id=client_id, quantity=quantity, price=price):
            return f"client {client_id} asks to replace: {_qty(quantity, instrument)} left at {_price(price, instrument)}"
        case _:
            assert_never(record)


def _venue_finding(record: VenueFinding, instrument: Instrument | None) -> str:
    match record:
        case ForeignOrderFound(venue_order_id=name, side=side, price=price):
            at = "as a stop" if price is None else f"at {_price(price, instrument)}"
            return f"adopted from the venue, where it is {name}: {side.name} {_qty(record.quantity, instrument)} {at}"
        case ForeignFilled(side=side, execution_id=execution_id, is_adopted=is_adopted):
            what = f"{side.name} {_qty(record.qty, instrument)} at {_price(record.price, instrument)}, execution {execution_id}"
            return f"a fill that is not ours, {'booked' if is_adopted else 'set aside'}: {what}"
        case CashMoved():
            return _cash_moved(record)
        case PositionCorrected(side=side, strategy_id=strategy_id):
            of = f", of {strategy_id}" if strategy_id else ""
            at = _price(record.price, instrument)
            return f"the position was put right by a person: {side.name} {_qty(record.qty, instrument)} at {at}{of}"
        case VenueCompared(facts=facts, differences=differences):
            return f"held against the venue: {facts} facts from it, {differences} differences left"
        case _:
            assert_never(record)


def _cash_moved(moved: CashMoved) -> str:
    """`funding of BTCUSDT-PERP.BINANCE: paid 1.25 USDT, movement 8131 at BINANCE`."""
    of = f" of {moved.instrument_id}" if moved.instrument_id else ""
    of += f" for order {order_name(moved.client_order_id)}" if moved.client_order_id else ""
    amount = format_fixed(abs(moved.amount), MONEY_SCALE).rstrip("0").rstrip(".")
    done = "paid" if moved.amount < 0 else "received"
    what = moved.kind.name.lower()
    return f"{what}{of}: {done} {amount} {moved.currency}, movement {moved.movement_id} at {moved.venue}"


def _market_or_control(
    record: MarketOrControl,
    instrument: Instrument | None,
) -> str:
    match record:
        case Quote(bid_qty=bid, ask_qty=ask):
            if instrument is not None:
                return market_text(record, instrument)
            return f"bid {bid} units at {record.bid_price} points, ask {ask} units at {record.ask_price} points"
        case Trade(price=price, qty=qty, aggressor_side=side):
            by = "" if side is AggressorSide.NONE else f", by a {'buyer' if side is AggressorSide.BUY else 'seller'}"
            return f"trade of {_qty(qty, instrument)} at {_price(price, instrument)}{by}"
        case Bar():
            prices = [_price(price, instrument) for price in (record.open, record.high, record.low, record.close)]
            return f"bar {' '.join(prices)}, volume {_qty(record.volume, instrument)}"
        case Book(bids=bids, asks=asks):
            return f"book of {len(bids)} bids and {len(asks)} asks"
        case StatusChanged(status=status):
            return f"the market is {status.name}"
        case GapDetected():
            return "the feed lost data"
        case TimerFired(timer_id=timer_id):
            return f"timer {timer_id}"
        case Started(run_id=run_id):
            return f"run {run_id} started"
        case Stopping(reason=reason):
            return f"stopping: {reason}"
        case TradingStateSet(state=state, reason=reason, strategy_id=strategy_id):
            return f"trading state {state.name}{f' of {strategy_id}' if strategy_id else ''}: {reason}"
        case TradingResumed(state=state, reason=reason, strategy_id=strategy_id):
            return f"resumed to {state.name}{f' of {strategy_id}' if strategy_id else ''}: {reason}"
        case LimitTripped():
            return _trip(record)
        case _:
            assert_never(record)
