"""Frames of the user-data streams as typed messages: spot through the WebSocket API, USDⓈ-M through a listen key. Pure, strict.

A frame is a message, a Skipped with its reason, or a VenueProtocolError: nothing is dropped silently. Fields of one letter keep
the wire's names. Numbers stay the venue's text; order_events.py converts them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from adapters.binance.numbers import Count, LongText, Number, Text
from adapters.binance.wire import Skipped
from adapters.http.strict_json import quoted, require_strict
from core.errors import VenueProtocolError

FRAME_BYTES_MAX = 1 << 20
ROWS_MAX = 10_000


class ExecutionReport(Struct, frozen=True, gc=False):
    """Spot: what happened to an order. `x` is what happened, `X` what it is now; `C` is its id where `c` is that of a cancel."""

    E: Count
    s: Text
    c: Text
    S: Text
    o: Text
    f: Text
    q: Text
    p: Text
    x: Text
    X: Text
    r: Text
    i: Count
    l: Text  # noqa: E741 - the wire's name
    z: Text
    L: Text
    n: Text
    N: Text | None
    T: Count
    t: Number
    w: bool
    m: bool
    C: Text = ""
    P: Text = "0"


class BalanceRow(Struct, frozen=True, gc=False):
    a: Text
    f: Text
    l: Text  # noqa: E741 - the wire's name


class AccountPosition(Struct, frozen=True, gc=False):
    """Spot: balances that may have changed."""

    E: Count
    u: Count
    B: Annotated[list[BalanceRow], Meta(max_length=ROWS_MAX)]


class BalanceUpdate(Struct, frozen=True, gc=False):
    """Spot: a deposit, withdrawal or transfer."""

    E: Count
    a: Text
    d: Text
    T: Count


class OrderUpdateFields(Struct, frozen=True, gc=False):
    s: Text
    c: Text
    S: Text
    o: Text
    f: Text
    q: Text
    p: Text
    x: Text
    X: Text
    i: Count
    l: Text  # noqa: E741 - the wire's name
    z: Text
    L: Text
    T: Count
    t: Number
    m: bool
    R: bool
    ps: Text
    ot: Text = ""
    N: Text | None = None
    n: Text = "0"


class OrderTradeUpdate(Struct, frozen=True, gc=False):
    """Futures: what happened to an order."""

    E: Count
    T: Count
    o: OrderUpdateFields


class FuturesBalanceRow(Struct, frozen=True, gc=False):
    a: Text
    wb: Text
    cw: Text
    bc: Text = "0"


class PositionRow(Struct, frozen=True, gc=False):
    s: Text
    pa: Text
    ep: Text
    ps: Text


class AccountUpdateFields(Struct, frozen=True, gc=False):
    m: Text
    B: Annotated[list[FuturesBalanceRow], Meta(max_length=ROWS_MAX)] = []
    P: Annotated[list[PositionRow], Meta(max_length=ROWS_MAX)] = []


class AccountUpdate(Struct, frozen=True, gc=False):
    """Futures: balances and positions after `a.m`: ORDER, FUNDING_FEE, DEPOSIT, ADL and others."""

    E: Count
    T: Count
    a: AccountUpdateFields


class AlgoUpdateFields(Struct, frozen=True, gc=False):
    caid: Text
    aid: Count
    s: Text
    S: Text
    o: Text
    q: Text
    X: Text
    tp: Text
    p: Text
    ai: Text = ""
    rm: LongText = ""


class AlgoUpdate(Struct, frozen=True, gc=False):
    """Futures: a conditional order. `o.ai` is the id of the order that it became."""

    E: Count
    T: Count
    o: AlgoUpdateFields


class TriggerRejectedFields(Struct, frozen=True, gc=False):
    s: Text
    i: Count
    r: LongText


class TriggerRejected(Struct, frozen=True, gc=False):
    """Futures: a conditional order was triggered, and what it became was refused."""

    E: Count
    T: Count
    o: TriggerRejectedFields = field(name="or")


class MarginCallRow(Struct, frozen=True, gc=False):
    s: Text
    ps: Text
    pa: Text
    mm: Text


class MarginCall(Struct, frozen=True, gc=False):
    """Futures: positions near liquidation."""

    E: Count
    p: Annotated[list[MarginCallRow], Meta(max_length=ROWS_MAX)]


class StreamEnded(Struct, frozen=True):
    """Nothing comes from this stream any more, or soon: connect anew. `reason` is the event's name."""

    reason: str


class Reply(Struct, frozen=True):
    """The answer to a WebSocket API request. `code` 0: it was done."""

    id: str
    status: int
    subscription_id: int | None = None
    code: int = 0
    text: str = ""


UserMessage = (
    ExecutionReport
    | OrderTradeUpdate
    | AlgoUpdate
    | AccountPosition
    | BalanceUpdate
    | AccountUpdate
    | TriggerRejected
    | MarginCall
    | StreamEnded
    | Reply
    | Skipped
)


class _Subscribed(Struct, frozen=True, rename="camel"):
    subscription_id: Count | UnsetType = UNSET


class _Error(Struct, frozen=True):
    code: int
    msg: LongText


class _Envelope(Struct, frozen=True):
    """What tells the kinds of frame apart. The event stands alone, or in `event` or `data`."""

    e: Text | UnsetType = UNSET
    event: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    stream: Annotated[str, Meta(max_length=512)] | UnsetType = UNSET
    id: str | int | UnsetType | None = UNSET
    status: Annotated[int, Meta(ge=0, le=999)] | UnsetType = UNSET
    result: _Subscribed | list[str] | UnsetType | None = UNSET
    error: _Error | UnsetType = UNSET


class _Kind(Struct, frozen=True):
    e: Text


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_KIND = msgspec.json.Decoder(_Kind)
_DECODERS: dict[str, msgspec.json.Decoder[UserMessage]] = {
    "executionReport": msgspec.json.Decoder(ExecutionReport),
    "outboundAccountPosition": msgspec.json.Decoder(AccountPosition),
    "balanceUpdate": msgspec.json.Decoder(BalanceUpdate),
    "ORDER_TRADE_UPDATE": msgspec.json.Decoder(OrderTradeUpdate),
    "ACCOUNT_UPDATE": msgspec.json.Decoder(AccountUpdate),
    "ALGO_UPDATE": msgspec.json.Decoder(AlgoUpdate),
    "CONDITIONAL_ORDER_TRIGGER_REJECT": msgspec.json.Decoder(TriggerRejected),
    "MARGIN_CALL": msgspec.json.Decoder(MarginCall),
}
_ENDS = frozenset({"listenKeyExpired", "eventStreamTerminated", "serverShutdown"})
# Said again by another event, or about what this adapter does not do.
_SKIPPED = frozenset(
    {
        "ACCOUNT_CONFIG_UPDATE",
        "GRID_UPDATE",
        "MARGIN_LEVEL_STATUS_CHANGE",
        "STRATEGY_UPDATE",
        "TRADE_LITE",
        "USER_LIABILITY_CHANGE",
        "externalLockUpdate",
        "listStatus",
    }
)


def decode_user(payload: bytes) -> UserMessage:
    """The message in one frame, bare or in the envelope of a combined stream or of the WebSocket API.

    Raises VenueProtocolError for what is not strict JSON, no known event, or an event without its fields.
    """
    require_strict(payload, bytes_max=FRAME_BYTES_MAX)
    try:
        envelope = _ENVELOPE.decode(payload)
        if envelope.e is not UNSET:
            return _decode_event(envelope.e, payload, payload)
        for inner in (envelope.event, envelope.data):
            if inner is not UNSET:
                return _decode_event(_KIND.decode(inner).e, inner, payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise VenueProtocolError(f"{error}: {quoted(payload)}") from error
    if envelope.id is not UNSET:
        return _reply(envelope, payload)
    raise VenueProtocolError(f"neither an event nor a reply: {quoted(payload)}")


def _decode_event(kind: str, event: Raw | bytes, payload: bytes) -> UserMessage:
    decoder = _DECODERS.get(kind)
    if decoder is not None:
        return decoder.decode(event)
    if kind in _ENDS:
        return StreamEnded(kind)
    if kind in _SKIPPED:
        return Skipped(f"event {kind}")
    raise VenueProtocolError(f"unknown event {kind!r}: {quoted(payload)}")


def _reply(envelope: _Envelope, payload: bytes) -> Reply:
    status = 200 if envelope.status is UNSET else envelope.status
    result, error = envelope.result, envelope.error
    if error is UNSET and (result is UNSET or status != 200):
        raise VenueProtocolError(f"a reply that says neither yes nor no: {quoted(payload)}")
    subscription = result.subscription_id if isinstance(result, _Subscribed) else UNSET
    return Reply(
        id=str(envelope.id),
        status=status,
        subscription_id=None if subscription is UNSET else subscription,
        code=0 if error is UNSET else error.code,
        text="" if error is UNSET else error.msg,
    )
