"""Bodies of Binance REST answers as typed structs, spot and USDⓈ-M; strict, every refusal a VenueProtocolError.

Numbers stay the venue's text here; numbers.py converts them. Fields that only one product sends are UNSET for the other.
"""

from __future__ import annotations

from typing import Annotated, Generic

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from adapters.binance.numbers import Count, LongText, Text
from adapters.http.request import T
from adapters.http.strict_json import decode

BODY_BYTES_MAX = 1 << 22
# The rules of every symbol are some megabytes.
EXCHANGE_INFO_BYTES_MAX = 1 << 26
ROWS_MAX = 10_000


class ErrorBody(Struct, frozen=True, rename="camel"):
    code: Annotated[int, Meta(ge=-(10**6), le=10**6)]
    msg: LongText


class OrderBody(Struct, frozen=True, rename="camel"):
    """An order as answered to placing, changing, cancelling and asking. `time` is when it was made, where it is told."""

    symbol: Text
    order_id: Count
    client_order_id: Text
    price: Text
    orig_qty: Text
    executed_qty: Text
    status: Text
    type: Text
    side: Text
    orig_client_order_id: Text | UnsetType = UNSET  # spot, of a cancel: the order's id; client_order_id is then the cancel's own
    time_in_force: Text | UnsetType = UNSET
    stop_price: Text | UnsetType = UNSET
    position_side: Text | UnsetType = UNSET
    reduce_only: bool | UnsetType = UNSET
    transact_time: Count | UnsetType = UNSET
    update_time: Count | UnsetType = UNSET
    time: Count | UnsetType = UNSET

    @property
    def own_id(self) -> str:
        return self.client_order_id if self.orig_client_order_id is UNSET else self.orig_client_order_id

    @property
    def stamp(self) -> int:
        """ms of the latest change that the body tells of; 0: of none."""
        for stamp in (self.update_time, self.transact_time, self.time):
            if stamp is not UNSET and stamp:
                return stamp
        return 0


class AlgoOrderBody(Struct, frozen=True, rename="camel"):
    """A conditional order of the futures' algo service."""

    algo_id: Count
    client_algo_id: Text
    symbol: Text
    side: Text
    order_type: Text
    quantity: Text
    algo_status: Text
    trigger_price: Text
    price: Text
    update_time: Count
    actual_order_id: Text | UnsetType = UNSET


class TradeBody(Struct, frozen=True, rename="camel"):
    """One of our executions. Spot tells the side in is_buyer, futures in side."""

    symbol: Text
    id: Count
    order_id: Count
    price: Text
    qty: Text
    commission: Text
    commission_asset: Text
    time: Count
    is_buyer: bool | UnsetType = UNSET
    is_maker: bool | UnsetType = UNSET
    side: Text | UnsetType = UNSET
    maker: bool | UnsetType = UNSET
    position_side: Text | UnsetType = UNSET


class Balance(Struct, frozen=True, rename="camel"):
    asset: Text
    free: Text
    locked: Text


class SpotAccount(Struct, frozen=True, rename="camel"):
    can_trade: bool
    can_withdraw: bool
    update_time: Count
    account_type: Text
    balances: Annotated[list[Balance], Meta(max_length=ROWS_MAX)]


class FuturesAsset(Struct, frozen=True, rename="camel"):
    asset: Text
    wallet_balance: Text
    available_balance: Text


class FuturesAccount(Struct, frozen=True, rename="camel"):
    total_wallet_balance: Text
    available_balance: Text
    assets: Annotated[list[FuturesAsset], Meta(max_length=ROWS_MAX)]


class PositionBody(Struct, frozen=True, rename="camel"):
    symbol: Text
    position_side: Text
    position_amt: Text
    update_time: Count


class IncomeBody(Struct, frozen=True, rename="camel"):
    """What moved the futures account's money. `tran_id` is unique for the kind. Ids come as numbers or as texts."""

    symbol: Text
    income_type: Text
    income: Text
    asset: Text
    time: Count
    tran_id: Count | Text
    trade_id: Count | Text = ""

    @property
    def name(self) -> str:
        """The one that no other row has. One conversion of currencies is two rows."""
        return f"{self.income_type}-{self.tran_id}-{self.symbol}-{self.asset}"


class PositionMode(Struct, frozen=True, rename="camel"):
    dual_side_position: bool


class KeyPermissions(Struct, frozen=True, rename="camel"):
    """What an API key may do. Withdrawals and transfers are not for a daemon."""

    ip_restrict: bool
    enable_reading: bool
    enable_withdrawals: bool
    enable_internal_transfer: bool
    permits_universal_transfer: bool
    enable_spot_and_margin_trading: bool
    enable_futures: bool


class ListenKey(Struct, frozen=True, rename="camel"):
    listen_key: Annotated[str, Meta(min_length=16, max_length=256, pattern=r"^[A-Za-z0-9_-]+$")]


class ServerTime(Struct, frozen=True, rename="camel"):
    server_time: Count


class Countdown(Struct, frozen=True, rename="camel"):
    symbol: Text
    countdown_time: Text


class Done(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """`{}` or `{"code":200,"msg":"…"}`: it was done, and there is nothing to tell."""

    code: Annotated[int, Meta(ge=200, le=200)] | UnsetType = UNSET
    msg: LongText | UnsetType = UNSET


class AlgoCanceled(Struct, frozen=True, rename="camel"):
    """A conditional order was canceled: told by its status, or by a code that is a text where every other code is a number."""

    algo_id: Count
    client_algo_id: Text
    algo_status: Text | UnsetType = UNSET
    code: Text | UnsetType = UNSET

    @property
    def is_done(self) -> bool:
        return self.code == "200" or self.algo_status == "CANCELED"


class RateLimit(Struct, frozen=True, rename="camel"):
    rate_limit_type: Text
    interval: Text
    interval_num: Count
    limit: Count


class SymbolFilter(Struct, frozen=True, rename="camel"):
    """Every kind of filter in one: which fields are there says filter_type."""

    filter_type: Text
    min_price: Text | UnsetType = UNSET
    max_price: Text | UnsetType = UNSET
    tick_size: Text | UnsetType = UNSET
    min_qty: Text | UnsetType = UNSET
    max_qty: Text | UnsetType = UNSET
    step_size: Text | UnsetType = UNSET
    min_notional: Text | UnsetType = UNSET
    notional: Text | UnsetType = UNSET


class SymbolBody(Struct, frozen=True, rename="camel"):
    symbol: Text
    status: Text
    base_asset: Text
    quote_asset: Text
    filters: Annotated[list[SymbolFilter], Meta(max_length=64)]
    order_types: Annotated[list[Text], Meta(max_length=64)] = []
    margin_asset: Text | UnsetType = UNSET
    contract_type: Text | UnsetType = UNSET
    delivery_date: Count | UnsetType = UNSET


class ExchangeInfo(Struct, frozen=True, rename="camel"):
    server_time: Count
    rate_limits: Annotated[list[RateLimit], Meta(max_length=64)]
    symbols: Annotated[list[SymbolBody], Meta(max_length=100_000)]


class Reader(Generic[T]):
    """A strict decoder of one kind of body."""

    def __init__(self, decoder: msgspec.json.Decoder[T], bytes_max: int = BODY_BYTES_MAX) -> None:
        self._decoder = decoder
        self._bytes_max = bytes_max

    def __call__(self, body: bytes) -> T:
        """Raises VenueProtocolError for anything but this kind of body."""
        return decode(body, self._decoder, bytes_max=self._bytes_max)


Rows = Annotated[list[T], Meta(max_length=ROWS_MAX)]

read_error = Reader(msgspec.json.Decoder(ErrorBody), 1 << 16)
read_order = Reader(msgspec.json.Decoder(OrderBody))
read_orders = Reader(msgspec.json.Decoder(Rows[OrderBody]))
read_algo_order = Reader(msgspec.json.Decoder(AlgoOrderBody))
read_algo_orders = Reader(msgspec.json.Decoder(Rows[AlgoOrderBody]))
read_trades = Reader(msgspec.json.Decoder(Rows[TradeBody]))
read_spot_account = Reader(msgspec.json.Decoder(SpotAccount))
read_futures_account = Reader(msgspec.json.Decoder(FuturesAccount))
read_positions = Reader(msgspec.json.Decoder(Rows[PositionBody]))
read_income = Reader(msgspec.json.Decoder(Rows[IncomeBody]))
read_position_mode = Reader(msgspec.json.Decoder(PositionMode))
read_key_permissions = Reader(msgspec.json.Decoder(KeyPermissions))
read_listen_key = Reader(msgspec.json.Decoder(ListenKey))
read_server_time = Reader(msgspec.json.Decoder(ServerTime))
read_countdown = Reader(msgspec.json.Decoder(Countdown))
read_done = Reader(msgspec.json.Decoder(Done))
read_algo_canceled = Reader(msgspec.json.Decoder(AlgoCanceled))
read_exchange_info = Reader(msgspec.json.Decoder(ExchangeInfo), EXCHANGE_INFO_BYTES_MAX)
