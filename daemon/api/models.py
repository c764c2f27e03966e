"""What the API takes and gives, as its OpenAPI document shows it. Prices, quantities and money are decimal text both ways."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

REASON_CHARACTERS_MAX = 100
_NUMBER = r"^\d{1,19}(\.\d{1,18})?$"

Quantity = Annotated[str, StringConstraints(pattern=_NUMBER, max_length=38), Field(examples=["10"])]
Price = Annotated[str, StringConstraints(pattern=r"^-?\d{1,19}(\.\d{1,18})?$", max_length=39), Field(examples=["100.25"])]
ClientRef = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"), Field(examples=["entry-1"])]
Reason = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,100}$", max_length=REASON_CHARACTERS_MAX)]
StrategyId = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class OrderRequest(Body):
    """An order of the client whose token is shown. `client_ref` used again gives the order it made, and makes no second one."""

    client_ref: ClientRef = Field(description="your own name for the order; unique among yours")
    instrument_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")] = Field(examples=["ACME.SIM"])
    side: Literal["BUY", "SELL"]
    quantity: Quantity
    order_type: Literal["LIMIT", "MARKET", "STOP", "STOP_LIMIT"] = "LIMIT"
    price: Price | None = Field(default=None, description="of LIMIT and STOP_LIMIT")
    trigger_price: Price | None = Field(default=None, description="of STOP and STOP_LIMIT")
    time_in_force: Literal["GTC", "IOC", "FOK", "DAY", "GTD", "OPG"] = "GTC"
    post_only: bool = False
    reduce_only: bool = False
    display_qty: Quantity | None = Field(default=None, description="shown of it; absent: all")
    expire_time: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$")] | None = Field(
        default=None, description="of GTD"
    )


class ReplaceRequest(Body):
    quantity: Quantity = Field(description="what is to be left of it")
    price: Price


class ReasonRequest(Body):
    reason: Reason = Field(default="by the API", description="kept in the journal")
    strategy_id: StrategyId = Field(default="", description="only this strategy or client; absent: the account")


class ResumeRequest(Body):
    reason: Reason = Field(description="why it may trade again; kept in the journal")
    strategy_id: StrategyId = Field(default="", description="only this strategy or client; absent: the account")
    to: Literal["active", "reducing"] = "active"


class FlattenRequest(Body):
    reason: Reason = Field(description="why; kept in the journal")


class KillRequest(Body):
    reason: Reason = Field(default="by the API", description="kept in the latch and the journal")
    flatten: bool = Field(default=False, description="close every position too; takes the scope operate")


class Answer(BaseModel):
    """Fields may be added; none is taken away."""

    model_config = ConfigDict(extra="allow")


class Error(Answer):
    error: str


class Denial(Answer):
    """The limit of the risk gate that refused, with what broke it and its bound, in the limit's own units (docs/RISK.md)."""

    limit: str
    value: str
    bound: str


class Order(Answer):
    order_id: str
    client_order_id: int
    client_ref: str | None
    strategy_id: str
    instrument_id: str
    side: str
    order_type: str
    time_in_force: str
    post_only: bool
    reduce_only: bool
    quantity: str
    filled_qty: str
    leaves_qty: str
    price: str | None
    trigger_price: str | None
    status: str
    created: str
    updated: str


class OrderAnswer(Answer):
    """`order` null and `status` FORGOTTEN: it ended so long ago that only its name is still known."""

    order_id: str
    client_ref: str
    is_repeated: bool
    status: str
    order: Order | None


class Refused(Error):
    """`denial` where the risk gate refused; `order` where that order is the reason."""

    order_id: str | None = None
    denial: Denial | None = None
    order: Order | None = None


class ChangeAnswer(Answer):
    order: Order


class Orders(Answer):
    orders: list[Order]


class Market(Answer):
    """`mid` has one decimal more than prices. Levels are [price, quantity], best first."""

    instrument_id: str
    time: str | None
    venue_time: str | None
    bid: str | None
    bid_qty: str | None
    ask: str | None
    ask_qty: str | None
    mid: str | None
    spread: str | None
    levels_time: str | None
    bids: list[list[str]]
    asks: list[list[str]]
    status: str
    is_gapped: bool


class Fill(Answer):
    """`number` counts the fills of the daemon's run from 1, everybody's together."""

    number: int
    time: str
    order_id: str
    client_ref: str | None
    strategy_id: str | None
    instrument_id: str
    execution_id: str
    side: str
    quantity: str
    price: str
    liquidity_side: str
    commission: str
    commission_currency: str


class Fills(Answer):
    run_id: str
    fills: list[Fill]


class Position(Answer):
    strategy_id: str | None
    instrument_id: str
    quantity: str
    average_price: str | None
    realized_pnl: str
    unrealized_pnl: str | None
    fees: str
    currency: str
    carry: str = "0"


class CashTotal(Answer):
    kind: str
    currency: str
    amount: str


class Positions(Answer):
    """`carry` of a position: funding, interest, dividends; `cash_moved`: all that moved cash without a fill, by kind."""

    positions: list[Position]
    cash: dict[str, str] | None = None
    cash_moved: list[CashTotal] | None = None


class Risk(Answer):
    strategy_id: str
    trading_state: str
    trading_state_own: str
    trading_state_account: str
    instruments: list[dict[str, Any]]
    budget: dict[str, Any] | None
    losses: list[dict[str, Any]]


class Status(Answer):
    run_id: str
    name: str
    mode: str
    phase: str
    trading_state: str
    trading_state_reason: str
    time: str


class StateAnswer(Answer):
    run_id: str
    trading_state: str
    reason: str


class KillAnswer(Answer):
    """`latched`: from then on only what shrinks a position leaves. The others are what they said; null where nobody answered.

    `command`: where neither guardian nor daemon answered, `tradingd kill` was run.
    """

    latched: bool
    guardian: dict[str, Any] | None
    daemon: dict[str, Any] | None
    command: dict[str, Any] | None
