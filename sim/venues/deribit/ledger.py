"""The venue's own books: accounts, orders, trades. What happened, whatever anybody was told about it; auditors read this and
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from core.enums import Side
from sim.venues.deribit.markets import Market, number

OPEN_STATES = ("open", "untriggered")
TRADING_SCOPE = "account:read_write trade:read_write wallet:read"


@dataclass(slots=True)
class Holding:
    """A position: `size` in units, signed; money in 10^-8 of the settlement currency.

    `settled`: what of the open position's gain is in the balance already. `session_gain`: what was gained since the session was
    settled, funding included, `interest`: the funding alone, `interest_new`: of it what came since the last row of the log.
    """

    size: int = 0
    value_open: int = 0
    realized: int = 0
    settled: int = 0
    session_gain: int = 0
    interest: int = 0
    interest_new: int = 0


@dataclass(slots=True)
class Account:
    number: int
    name: str
    cash: dict[str, int] = field(default_factory=dict)  # 10^-8
    holdings: dict[str, Holding] = field(default_factory=dict)
    fees: dict[str, int] = field(default_factory=dict)
    pool: int = 0  # credits * 10^9
    engine: int = 0
    log_credits: int = 0  # of the transaction log, which has its own: requests * 10^9
    credits_ts: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)  # the transaction log, the oldest first
    wallet: dict[str, int] | None = None  # its running balance, 10^-8; None: nobody keeps a log (the crowd)

    def holding(self, name: str) -> Holding:
        return self.holdings.setdefault(name, Holding())


@dataclass(slots=True)
class Key:
    """An API key of an account. `refresh_token`: the last one given out with it."""

    account: Account
    secret: str
    scope: str = TRADING_SCOPE
    refresh_token: str = ""


@dataclass(slots=True)
class VenueOrder:
    """`number` is the native book's id; `amount` is the total, fills included."""

    number: int
    order_id: str
    account: Account
    market: Market
    side: Side
    amount: int
    price: int | None
    order_type: str
    time_in_force: str
    label: str
    created_ms: int
    updated_ms: int
    connection: int
    post_only: bool = False
    reject_post_only: bool = False
    reduce_only: bool = False
    state: str = "open"
    filled: int = 0
    value: int = 0  # sum of price * amount
    trigger: str = ""
    trigger_price: int = 0
    trigger_order_id: str = ""
    cancel_reason: str = ""
    is_replaced: bool = False
    is_liquidation: bool = False
    created_ts: int = 0  # ns UTC
    is_twin: bool = False  # the venue made it of a request that had made another

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    def as_json(self) -> dict[str, Any]:
        market = self.market
        found: dict[str, Any] = {
            "label": self.label,
            "price": "market_price" if self.price is None else market.price(self.price),
            "user_id": self.account.number,
            "amount": market.amount(self.amount),
            "direction": "buy" if self.side is Side.BUY else "sell",
            "time_in_force": self.time_in_force,
            "instrument_name": market.name,
            "web": False,
            "api": True,
            "order_id": self.order_id,
            "creation_timestamp": self.created_ms,
            "replaced": self.is_replaced,
            "filled_amount": market.amount(self.filled),
            "last_update_timestamp": self.updated_ms,
            "post_only": self.post_only,
            "reduce_only": self.reduce_only,
            "average_price": market.price(self.value // self.filled) if self.filled else 0.0,
            "mmp": False,
            "contracts": number(self.amount // market.contract_size, 0),
            "reject_post_only": self.reject_post_only,
            "order_state": self.state,
            "order_type": self.order_type,
            "is_liquidation": self.is_liquidation,
            "risk_reducing": False,
        }
        if self.trigger:
            found["trigger"], found["trigger_price"] = self.trigger, market.price(self.trigger_price)
            found["triggered"] = self.state == "triggered"
        if self.trigger_order_id:
            found["trigger_order_id"] = self.trigger_order_id
        if self.cancel_reason:
            found["cancel_reason"] = self.cancel_reason
        return found


@dataclass(frozen=True, slots=True)
class Fill:
    """One side of a trade. `fee` in 10^-8 of `fee_currency`."""

    trade_id: str
    trade_seq: int
    ts_ms: int
    order: VenueOrder
    price: int
    amount: int
    is_maker: bool
    fee: int
    fee_currency: str
    order_state: str
    ts: int = 0  # ns UTC

    def as_json(self) -> dict[str, Any]:
        order, market = self.order, self.order.market
        found: dict[str, Any] = {
            "trade_id": self.trade_id,
            "trade_seq": self.trade_seq,
            "order_id": order.order_id,
            "instrument_name": market.name,
            "timestamp": self.ts_ms,
            "direction": "buy" if order.side is Side.BUY else "sell",
            "price": market.price(self.price),
            "amount": market.amount(self.amount),
            "contracts": number(self.amount // market.contract_size, 0),
            "fee": number(self.fee, 8),
            "fee_currency": self.fee_currency,
            "liquidity": "M" if self.is_maker else "T",
            "order_type": "liquidation" if order.is_liquidation else order.order_type,
            "index_price": market.price(market.index),
            "mark_price": market.price(market.mark),
            "tick_direction": 0,
            "state": self.order_state,
            "matching_id": None,
            "reduce_only": order.reduce_only,
            "post_only": order.post_only,
            "mmp": False,
            "api": True,
            "profit_loss": 0.0,
        }
        if order.label:
            found["label"] = order.label
        if order.is_liquidation:
            found["liquidation"] = "T"
        return found


@dataclass(slots=True)
class Ledger:
    """Everything since the venue began; nothing is ever taken out."""

    orders: list[VenueOrder] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    cash: list[dict[str, Any]] = field(default_factory=list)  # money that moved without a fill

    def orders_labelled(self, account: Account, label: str) -> list[VenueOrder]:
        return [order for order in self.orders if order.account is account and order.label == label]

    def fills_of(self, account: Account) -> list[Fill]:
        return [fill for fill in self.fills if fill.order.account is account]


def ledger_as_plain(ledger: Ledger, accounts: Iterable[Account]) -> dict[str, Any]:
    """As sim/venues/protocol.py says; the crowd's orders are nobody's account."""
    named = {account.number: account for account in accounts}
    return {
        "orders": [_order_as_plain(order) for order in ledger.orders if order.account.number in named],
        "fills": [_fill_as_plain(fill) for fill in ledger.fills if fill.order.account.number in named],
        "positions": {
            account.name: {f"{name}.DERIBIT": held.size for name, held in account.holdings.items()} for account in named.values()
        },
        "balances": {account.name: dict(account.cash) for account in named.values()},
        "cash": list(ledger.cash),
    }


def _order_as_plain(order: VenueOrder) -> dict[str, Any]:
    return {
        "account": order.account.name,
        "instrument_id": f"{order.market.name}.DERIBIT",
        "venue_order_id": order.order_id,
        "client_order_id": order.label,
        "side": order.side.name,
        "qty": order.amount,
        "filled_qty": order.filled,
        "is_open": order.is_open,
        "ts": order.created_ts,
        "reduce_only": order.reduce_only,
        "origin": "forced" if order.is_liquidation or order.is_twin else "client" if order.connection else "manual",
        "triggered_by": order.trigger_order_id,  # a stop goes on as a second order under its label
    }


def _fill_as_plain(fill: Fill) -> dict[str, Any]:
    return {
        "account": fill.order.account.name,
        "instrument_id": f"{fill.order.market.name}.DERIBIT",
        "venue_order_id": fill.order.order_id,
        "client_order_id": fill.order.label,
        "trade_id": fill.trade_id,
        "side": fill.order.side.name,
        "qty": fill.amount,
        "price": fill.price,
        "fee": fill.fee,
        "fee_currency": fill.fee_currency,
        "ts": fill.ts,
        "is_busted": False,  # trades are not busted on the wire here
    }


def book_fill(fill: Fill) -> bool:
    """Move the account's position and cash by one fill; whether it has closed something."""
    order = fill.order
    account, rules = order.account, order.market.rules
    currency = rules.settlement_currency
    holding = account.holding(order.market.name)
    signed = fill.amount if order.side is Side.BUY else -fill.amount
    account.cash[fill.fee_currency] = account.cash.get(fill.fee_currency, 0) - fill.fee
    account.fees[fill.fee_currency] = account.fees.get(fill.fee_currency, 0) + fill.fee
    closing = 0
    if holding.size and (holding.size > 0) != (signed > 0):
        closing = min(abs(signed), abs(holding.size)) * (1 if signed > 0 else -1)
        value_closed = holding.value_open * -closing // holding.size
        settled = holding.settled * -closing // holding.size
        gain = rules.profit(value_closed, rules.notional(fill.price, -closing))
        holding.value_open -= value_closed
        holding.size += closing
        holding.realized += gain
        holding.settled -= settled
        holding.session_gain += gain - settled
        account.cash[currency] = account.cash.get(currency, 0) + gain
    opening = signed - closing
    if opening:
        holding.size += opening
        holding.value_open += rules.notional(fill.price, opening)
    return closing != 0


def average_price(market: Market, holding: Holding) -> msgspec.Raw:
    """What the position was opened at, points, rounded down."""
    if not holding.size:
        return number(0, 0)
    rules = market.rules
    if rules.is_inverse:
        points = abs(holding.size) * 10 ** (8 + rules.price_scale) // max(abs(holding.value_open) * 10**rules.qty_scale, 1)
    else:
        points = abs(holding.value_open) * 10 ** (rules.price_scale + rules.qty_scale) // (abs(holding.size) * 10**8)
    return market.price(points)
