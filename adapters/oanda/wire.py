"""OANDA's bodies and stream lines as types: bytes in, messages out. Pure; raises VenueProtocolError and nothing else.

Numbers stay text here (exact.py reads them, with an instrument's scales). One type stands for every kind of transaction: OANDA
adds kinds without notice, and one that we do not know must be counted, not refused.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from adapters.http.strict_json import decode, require_strict
from adapters.oanda.exact import number_of
from core.errors import VenueProtocolError

LINE_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 1 << 24
TRANSACTIONS_PER_ANSWER_MAX = 10_000
LEVELS_MAX = 64

M = TypeVar("M")


class Body(msgspec.Struct, frozen=True, rename="camel"):
    pass


class Extensions(Body, frozen=True, rename="camel"):
    id: str = ""


class TradePart(Body, frozen=True, rename="camel"):
    """What a fill did to one trade: opened, reduced or closed it."""

    units: str
    price: str | None = None


class PositionFinancing(Body, frozen=True, rename="camel"):
    """What the positions of one instrument paid or got."""

    instrument: str
    financing: str


class Transaction(
    Body,
    frozen=True,
    rename={
        "order_id": "orderID",
        "client_order_id": "clientOrderID",
        "batch_id": "batchID",
        "account_id": "accountID",
        "replaces_order_id": "replacesOrderID",
        "intended_replaces_order_id": "intendedReplacesOrderID",
        "replaced_by_order_id": "replacedByOrderID",
        "full_vwap": "fullVWAP",
        "client_extensions": "clientExtensions",
        "reject_reason": "rejectReason",
        "guaranteed_execution_fee": "guaranteedExecutionFee",
        "trade_opened": "tradeOpened",
        "trade_reduced": "tradeReduced",
        "trades_closed": "tradesClosed",
        "time_in_force": "timeInForce",
        "price_bound": "priceBound",
        "gtd_time": "gtdTime",
        "position_fill": "positionFill",
        "profit": "pl",
        "quote_profit": "quotePL",
        "position_financings": "positionFinancings",
        "dividend_adjustment": "dividendAdjustment",
        "funding_reason": "fundingReason",
    },
):
    """Of any kind; which fields there are depends on `type`."""

    id: str
    time: str
    type: str
    account_id: str = ""
    batch_id: str = ""
    instrument: str = ""
    units: str = ""
    price: str = ""
    reason: str = ""
    price_bound: str = ""
    time_in_force: str = ""
    gtd_time: str = ""
    position_fill: str = ""
    client_extensions: Extensions | None = None
    order_id: str = ""
    client_order_id: str = ""
    replaces_order_id: str = ""
    intended_replaces_order_id: str = ""
    replaced_by_order_id: str = ""
    reject_reason: str = ""
    full_vwap: str = ""
    commission: str = ""
    guaranteed_execution_fee: str = ""
    financing: str = ""
    amount: str = ""
    profit: str = ""  # in the account's currency; quote_profit in the instrument's
    quote_profit: str = ""
    position_financings: tuple[PositionFinancing, ...] = ()
    dividend_adjustment: str = ""
    funding_reason: str = ""
    trade_opened: TradePart | None = None
    trade_reduced: TradePart | None = None
    trades_closed: tuple[TradePart, ...] = ()

    @property
    def number(self) -> int:
        return number_of(self.id)

    @property
    def client_text(self) -> str:
        """The client's id of the order that it makes or is about; empty where it has none."""
        return self.client_order_id or (self.client_extensions.id if self.client_extensions is not None else "")


class Heartbeat(msgspec.Struct, frozen=True):
    """`last`: the account's latest transaction, 0 in the stream of prices. `time` as the venue wrote it."""

    time: str
    last: int = 0


class _HeartbeatLine(Body, frozen=True, rename={"last_transaction_id": "lastTransactionID"}):
    time: str
    last_transaction_id: str = ""


class Level(Body, frozen=True, rename="camel"):
    price: str
    liquidity: msgspec.Raw = msgspec.Raw(b"0")

    @property
    def liquidity_text(self) -> str:
        """A number, in quotes or without: either way its own digits."""
        return bytes(self.liquidity).decode("ascii", "replace").strip().strip('"')


class Price(Body, frozen=True, rename="camel"):
    """What an instrument can be dealt at now, best first."""

    instrument: str
    time: str
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    status: str = ""
    tradeable: bool | None = None

    @property
    def is_tradeable(self) -> bool:
        return self.tradeable if self.tradeable is not None else self.status in ("", "tradeable")


class OrderBody(
    Body,
    frozen=True,
    rename={
        "client_extensions": "clientExtensions",
        "position_fill": "positionFill",
        "trade_id": "tradeID",
        "price_bound": "priceBound",
        "time_in_force": "timeInForce",
        "gtd_time": "gtdTime",
    },
):
    """An order as it stands. `units` None: one that closes a trade (take profit, stop loss) has none of its own."""

    id: str
    type: str
    state: str
    instrument: str | None = None
    units: str | None = None
    price: str | None = None
    price_bound: str | None = None
    client_extensions: Extensions | None = None
    position_fill: str = ""
    trade_id: str = ""
    time_in_force: str = "GTC"
    gtd_time: str = ""


class TradeBody(Body, frozen=True, rename="camel"):
    """A part of a position, as far as an order can be tied to it."""

    id: str
    instrument: str
    current_units: str


class PositionSide(Body, frozen=True, rename="camel"):
    units: str


class PositionBody(Body, frozen=True, rename="camel"):
    instrument: str
    long: PositionSide
    short: PositionSide


class AccountBody(Body, frozen=True, rename={"hedging_enabled": "hedgingEnabled", "created_time": "createdTime"}):
    id: str
    currency: str
    hedging_enabled: bool
    created_time: str
    orders: tuple[OrderBody, ...] = ()
    positions: tuple[PositionBody, ...] = ()
    trades: tuple[TradeBody, ...] = ()


class AccountAnswer(Body, frozen=True, rename={"last_transaction_id": "lastTransactionID"}):
    account: AccountBody
    last_transaction_id: str


class AccountName(Body, frozen=True, rename="camel"):
    id: str


class AccountsAnswer(Body, frozen=True, rename="camel"):
    accounts: tuple[AccountName, ...]


class InstrumentBody(Body, frozen=True, rename="camel"):
    name: str
    type: str
    display_precision: int
    trade_units_precision: int
    minimum_trade_size: str
    maximum_order_units: str
    margin_rate: str = ""


class InstrumentsAnswer(Body, frozen=True, rename="camel"):
    instruments: tuple[InstrumentBody, ...]


class OrdersAnswer(Body, frozen=True, rename={"last_transaction_id": "lastTransactionID"}):
    orders: tuple[OrderBody, ...]
    last_transaction_id: str


class OneOrderAnswer(Body, frozen=True, rename={"last_transaction_id": "lastTransactionID"}):
    order: OrderBody
    last_transaction_id: str


class PositionsAnswer(Body, frozen=True, rename={"last_transaction_id": "lastTransactionID"}):
    positions: tuple[PositionBody, ...]
    last_transaction_id: str


class TransactionsAnswer(Body, frozen=True, rename={"last_transaction_id": "lastTransactionID"}):
    transactions: tuple[Transaction, ...]
    last_transaction_id: str


class PagesAnswer(Body, frozen=True, rename={"last_transaction_id": "lastTransactionID"}):
    """`pages` are addresses of idrange; only their numbers are used."""

    pages: tuple[str, ...]
    last_transaction_id: str
    count: int = 0


class DealAnswer(
    Body,
    frozen=True,
    rename={
        "create": "orderCreateTransaction",
        "fill": "orderFillTransaction",
        "cancel": "orderCancelTransaction",
        "reissue": "orderReissueTransaction",
        "reissue_reject": "orderReissueRejectTransaction",
        "replacing_cancel": "replacingOrderCancelTransaction",
        "reject": "orderRejectTransaction",
        "cancel_reject": "orderCancelRejectTransaction",
        "long_create": "longOrderCreateTransaction",
        "long_fill": "longOrderFillTransaction",
        "long_cancel": "longOrderCancelTransaction",
        "long_reject": "longOrderRejectTransaction",
        "short_create": "shortOrderCreateTransaction",
        "short_fill": "shortOrderFillTransaction",
        "short_cancel": "shortOrderCancelTransaction",
        "short_reject": "shortOrderRejectTransaction",
        "last_transaction_id": "lastTransactionID",
        "error_code": "errorCode",
        "error_message": "errorMessage",
    },
):
    """The answer to a request that would change something: the transactions that it made, or an error."""

    create: Transaction | None = None
    fill: Transaction | None = None
    cancel: Transaction | None = None
    reissue: Transaction | None = None
    reissue_reject: Transaction | None = None
    replacing_cancel: Transaction | None = None
    reject: Transaction | None = None
    cancel_reject: Transaction | None = None
    long_create: Transaction | None = None
    long_fill: Transaction | None = None
    long_cancel: Transaction | None = None
    long_reject: Transaction | None = None
    short_create: Transaction | None = None
    short_fill: Transaction | None = None
    short_cancel: Transaction | None = None
    short_reject: Transaction | None = None
    last_transaction_id: str = ""
    error_code: str = ""
    error_message: str = ""

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        """In the order in which they were made, each once."""
        found: dict[int, Transaction] = {}
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Transaction):
                found[value.number] = value
        return tuple(found[number] for number in sorted(found))


class _Kind(Body, frozen=True, rename="camel"):
    type: str = ""


_DECODERS: dict[type, msgspec.json.Decoder[object]] = {}


def body_of(kind: type[M], payload: bytes, *, bytes_max: int = BODY_BYTES_MAX) -> M:
    """`payload` as `kind`. Raises VenueProtocolError."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    found = decode(payload, decoder, bytes_max=bytes_max)
    assert isinstance(found, kind)
    _check(found)
    return found


def transaction_line(line: bytes) -> Transaction | Heartbeat:
    """One line of the stream of transactions."""
    if _kind_of(line) == "HEARTBEAT":
        return _heartbeat(line)
    return body_of(Transaction, line, bytes_max=LINE_BYTES_MAX)


def price_line(line: bytes) -> Price | Heartbeat:
    """One line of the stream of prices."""
    kind = _kind_of(line)
    if kind == "HEARTBEAT":
        return _heartbeat(line)
    if kind not in ("", "PRICE"):
        raise VenueProtocolError(f"{kind[:40]!r} is no line of the stream of prices")
    price = body_of(Price, line, bytes_max=LINE_BYTES_MAX)
    if len(price.bids) > LEVELS_MAX or len(price.asks) > LEVELS_MAX:
        raise VenueProtocolError(f"{price.instrument[:40]}: more than {LEVELS_MAX} prices of a side")
    return price


_KIND = msgspec.json.Decoder(_Kind)


def _kind_of(line: bytes) -> str:
    if len(line) > LINE_BYTES_MAX:
        raise VenueProtocolError(f"a line of {len(line)} bytes is above the limit of {LINE_BYTES_MAX}")
    try:
        return _KIND.decode(line).type
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # With the strict reader's words where it has any: they name the byte.
        require_strict(line, bytes_max=LINE_BYTES_MAX)
        raise VenueProtocolError(f"a line that is none: {error}") from error


def _heartbeat(line: bytes) -> Heartbeat:
    found = body_of(_HeartbeatLine, line, bytes_max=LINE_BYTES_MAX)
    return Heartbeat(found.time, number_of(found.last_transaction_id) if found.last_transaction_id else 0)


def _check(found: object) -> None:
    """What the types do not say: ids that are numbers, answers of a bounded length."""
    if isinstance(found, Transaction):
        number_of(found.id)
    elif isinstance(found, TransactionsAnswer):
        if len(found.transactions) > TRANSACTIONS_PER_ANSWER_MAX:
            raise VenueProtocolError(f"{len(found.transactions)} transactions in one answer")
        before = 0
        for transaction in found.transactions:
            if transaction.number <= before:
                raise VenueProtocolError(f"transaction {transaction.id} came behind {before}")
            before = transaction.number
        if before > number_of(found.last_transaction_id):
            raise VenueProtocolError(f"transaction {before} is said to be later than the last one")
    elif isinstance(found, DealAnswer):
        _ = found.transactions
    elif isinstance(found, AccountAnswer | OrdersAnswer | PositionsAnswer | OneOrderAnswer | PagesAnswer):
        # An account that was never used has none yet.
        _ = last_of(found.last_transaction_id)


def last_of(text: str) -> int:
    """lastTransactionID; 0 of an account without any."""
    return 0 if text == "0" else number_of(text)
