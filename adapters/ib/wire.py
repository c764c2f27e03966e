"""The socket protocol: bytes in, messages out; requests in, bytes out. Pure: the library is its codec, not its socket.

    frame = length of the payload u32, big-endian; payload
    payload = fields of text, each with a zero behind it; the first one is the number of the message

A frame that is too long, a message that is damaged, or a number that is none raises VenueProtocolError, and nothing of it counts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

from adapters.ib.library import Client, Decoder, ExecutionFilter
from adapters.ib.messages import (
    AnyMessage,
    BidAsk,
    Commission,
    CurrentTime,
    DataType,
    Depth,
    Details,
    DetailsEnd,
    Error,
    Execution,
    ExecutionsEnd,
    GenericTick,
    Last,
    ManagedAccounts,
    MarketRule,
    NextValidId,
    OpenOrder,
    OpenOrdersEnd,
    OrderStatus,
    Position,
    PositionsEnd,
    PriceTick,
    ServerVersion,
    SizeTick,
    TextTick,
    Unread,
)
from adapters.ib.numbers import UNSET_INTEGER, text_of, text_or_zero
from core.errors import TransportError, VenueProtocolError

LENGTH: Final = struct.Struct(">I")
FRAME_BYTES_MAX = 1 << 20  # contract details, the longest there is, have some 20,000
FIELDS_MAX = 20_000
FIELD_DIGITS_MAX = 400
INT_MAX = 2**63
SERVER_VERSION_MIN = 157

# Messages of which something is made here. All others are told by their number; one that the protocol does not have is an error.
READ: Final = frozenset((1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 15, 45, 46, 49, 52, 53, 55, 58, 59, 61, 62, 93, 99))
# What the library's decoder raises on what is no message: fields missing or too many, no numbers, no dates, no time zone.
DECODE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, NameError, OverflowError, OSError, StopIteration)


class Frames:
    """Cuts a stream into payloads."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[bytes]:
        """The payloads that are whole by now. Raises VenueProtocolError for a length that cannot be."""
        buffer = self._buffer
        buffer += data
        payloads = []
        start = 0
        while len(buffer) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, start)
            if not 0 < length <= FRAME_BYTES_MAX:
                raise VenueProtocolError(
                    f"a message of {length} bytes; there are none of more than {FRAME_BYTES_MAX}, and none empty"
                )
            end = start + LENGTH.size + length
            if len(buffer) < end:
                break
            payloads.append(bytes(buffer[start + LENGTH.size : end]))
            start = end
        del buffer[:start]
        return payloads


class Wire:
    """One connection. `time_zone`: of the gateway, for stamps that come without one (older gateways write them so)."""

    def __init__(self, client_id: int, time_zone: str) -> None:
        self._frames = Frames()
        self._collector = _Collector(time_zone)
        self.client: Any = Client(self._collector)
        self.client.clientId = client_id
        self._out: list[str] = []
        self.client.sendMsg = self._out.append  # not its own: that one has a queue, a clock and a socket
        self._decoder: Any = None
        self.server_version = 0

    def receive(self, data: bytes) -> list[AnyMessage]:
        messages: list[AnyMessage] = []
        for payload in self._frames.receive(data):
            fields = _fields(payload)
            if not self.server_version:
                messages.append(self._greet(fields))
                continue
            messages += self._decode(fields)
        return messages

    def _greet(self, fields: list[str]) -> ServerVersion:
        if len(fields) != 2 or not _is_number(fields[0]):
            raise VenueProtocolError(f"the gateway greets with {len(fields)} fields, not with its version and time")
        version = int(fields[0])
        if not SERVER_VERSION_MIN <= version <= self.client.MaxClientVersion:
            raise VenueProtocolError(
                f"the gateway speaks version {version}, not {SERVER_VERSION_MIN} to {self.client.MaxClientVersion} as asked for"
            )
        self.server_version = version
        self.client._serverVersion = version
        self.client.connState = self.client.CONNECTED
        self._decoder = Decoder(self._collector, version)
        self._decoder.logger = _Strict()
        return ServerVersion(version, fields[1])

    def _decode(self, fields: list[str]) -> list[AnyMessage]:
        if not fields or not _is_number(fields[0]):
            raise VenueProtocolError("a message without a number")
        number = int(fields[0])
        handler: Callable[[list[str]], None] | None = self._decoder.handlers.get(number)
        if handler is None:
            raise VenueProtocolError(f"there is no message {number}")
        if number not in READ:
            return [Unread(number)]
        collector = self._collector
        collector.messages = []
        try:
            handler(fields)
        except DECODE_ERRORS as error:
            raise VenueProtocolError(f"message {number} cannot be read: {str(error)[:200]}") from None
        return collector.messages

    # Requests. Each gives the frame to send.

    def hello(self) -> bytes:
        """The first bytes of a connection: which versions are spoken here."""
        payload = b"v%d..%d" % (SERVER_VERSION_MIN, self.client.MaxClientVersion)
        return b"API\0" + LENGTH.pack(len(payload)) + payload

    def start(self) -> bytes:
        return self._frame(self.client.startApi)

    def place(self, order_id: int, contract: Any, order: Any) -> bytes:
        return self._frame(self.client.placeOrder, order_id, contract, order)

    def cancel(self, order_id: int) -> bytes:
        return self._frame(self.client.cancelOrder, order_id)

    def global_cancel(self) -> bytes:
        return self._frame(self.client.reqGlobalCancel)

    def all_open_orders(self) -> bytes:
        return self._frame(self.client.reqAllOpenOrders)

    def executions(self, request: int, account: str) -> bytes:
        return self._frame(self.client.reqExecutions, request, ExecutionFilter(acctCode=account))

    def positions(self) -> bytes:
        return self._frame(self.client.reqPositions)

    def current_time(self) -> bytes:
        return self._frame(self.client.reqCurrentTime)

    def details(self, request: int, contract: Any) -> bytes:
        return self._frame(self.client.reqContractDetails, request, contract)

    def market_rule(self, rule: int) -> bytes:
        return self._frame(self.client.reqMarketRule, rule)

    def market_data_type(self, kind: int) -> bytes:
        return self._frame(self.client.reqMarketDataType, kind)

    def market_data(self, request: int, contract: Any, ticks: str) -> bytes:
        return self._frame(self.client.reqMktData, request, contract, ticks, False, False, [])

    def tick_by_tick(self, request: int, contract: Any, kind: str) -> bytes:
        return self._frame(self.client.reqTickByTickData, request, contract, kind, 0, False)

    def depth(self, request: int, contract: Any, rows: int, is_smart: bool) -> bytes:
        return self._frame(self.client.reqMktDepth, request, contract, rows, is_smart, [])

    def cancel_depth(self, request: int, is_smart: bool) -> bytes:
        return self._frame(self.client.cancelMktDepth, request, is_smart)

    def _frame(self, build: Callable[..., None], *arguments: Any) -> bytes:
        assert not self._out
        if not self.server_version:
            raise TransportError("the gateway has not said yet which version it speaks")
        build(*arguments)
        (message,) = self._out
        self._out.clear()
        payload = message.encode()
        return LENGTH.pack(len(payload)) + payload


def _fields(payload: bytes) -> list[str]:
    if payload[-1] != 0:
        raise VenueProtocolError("a message that does not end with its last field")
    if payload.count(0) > FIELDS_MAX:
        raise VenueProtocolError(f"a message of more than {FIELDS_MAX} fields")
    return payload[:-1].decode(errors="backslashreplace").split("\0")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _int(value: object) -> int:
    """As the library reads it: unset ones are the largest, 0 or empty."""
    if type(value) is not int or not -INT_MAX < value < INT_MAX:
        raise VenueProtocolError(f"{str(value)[:40]!r} is no whole number")
    return 0 if value == UNSET_INTEGER else value


def _text(value: object) -> str:
    if type(value) is not str:
        raise VenueProtocolError("a text is missing")
    return value


class _Strict:
    """Where the library's decoder logs what it could not read and goes on, it ends here."""

    @staticmethod
    def exception(text: str) -> None:
        raise VenueProtocolError(text[:200])


class _Collector:
    """What the library's decoder calls, one method for each message that is read; names and arguments are its own."""

    def __init__(self, time_zone: str) -> None:
        self.messages: list[AnyMessage] = []
        self.ib = SimpleNamespace(TimezoneTWS=time_zone)
        self.defaultTimezone = UTC

    def nextValidId(self, order_id: int) -> None:  # noqa: N802 - the library's name
        self.messages.append(NextValidId(_int(order_id)))

    def managedAccounts(self, accounts: str) -> None:  # noqa: N802 - the library's name
        self.messages.append(ManagedAccounts(tuple(name for name in accounts.split(",") if name)))

    def currentTime(self, seconds: int) -> None:  # noqa: N802 - the library's name
        self.messages.append(CurrentTime(_int(seconds)))

    def error(self, number: int, code: int, text: str, _json: str = "") -> None:
        self.messages.append(Error(_int(number), _int(code), text))

    def openOrder(self, order_id: int, contract: Any, order: Any, state: Any) -> None:  # noqa: N802 - the library's name
        self.messages.append(
            OpenOrder(
                _int(order_id),
                _int(order.clientId),
                _int(order.permId),
                _int(contract.conId),
                _text(contract.localSymbol or contract.symbol),
                _text(order.account),
                _text(order.action),
                _text(order.orderType),
                text_or_zero(order.totalQuantity),
                text_of(order.lmtPrice),
                text_of(order.auxPrice),
                _text(order.orderRef),
                _text(state.status),
                _text(order.tif),
                _text(order.goodTillDate),
                bool(order.outsideRth),
                _int(order.displaySize),
            )
        )

    def openOrderEnd(self) -> None:  # noqa: N802 - the library's name
        self.messages.append(OpenOrdersEnd())

    def orderStatus(  # noqa: N802 - the library's name
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        _average: float,
        perm_id: int,
        _parent: int,
        _last: float,
        client_id: int,
        why_held: str,
        _cap: float = 0.0,
    ) -> None:
        self.messages.append(
            OrderStatus(
                _int(order_id), _int(client_id), _int(perm_id), status, text_or_zero(filled), text_or_zero(remaining), why_held
            )
        )

    def execDetails(self, request: int, contract: Any, execution: Any) -> None:  # noqa: N802 - the library's name
        time: datetime = execution.time
        qty, price = text_of(execution.shares), text_of(execution.price)
        if qty is None or price is None:
            raise VenueProtocolError(f"execution {execution.execId[:40]!r} without a price or quantity")
        self.messages.append(
            Execution(
                _int(request),
                _text(execution.execId),
                int(time.timestamp()),
                _text(execution.acctNumber),
                _text(execution.side),
                qty,
                price,
                _int(execution.permId),
                _int(execution.clientId),
                _int(execution.orderId),
                text_or_zero(execution.cumQty),
                _text(execution.orderRef),
                _int(execution.lastLiquidity),
                _int(contract.conId),
                _text(contract.localSymbol or contract.symbol),
            )
        )

    def execDetailsEnd(self, request: int) -> None:  # noqa: N802 - the library's name
        self.messages.append(ExecutionsEnd(_int(request)))

    def commissionReport(self, report: Any) -> None:  # noqa: N802 - the library's name
        self.messages.append(Commission(_text(report.execId), text_of(report.commission), _text(report.currency)))

    def position(self, account: str, contract: Any, qty: float, _cost: float) -> None:
        symbol = _text(contract.localSymbol or contract.symbol)
        self.messages.append(Position(account, _int(contract.conId), symbol, _text(contract.secType), text_or_zero(qty)))

    def positionEnd(self) -> None:  # noqa: N802 - the library's name
        self.messages.append(PositionsEnd())

    def contractDetails(self, request: int, details: Any) -> None:  # noqa: N802 - the library's name
        contract = details.contract
        exchanges, rules = details.validExchanges.split(","), details.marketRuleIds.split(",")
        self.messages.append(
            Details(
                _int(request),
                _int(contract.conId),
                _text(contract.symbol),
                _text(contract.secType),
                _text(contract.localSymbol),
                _text(contract.exchange),
                _text(contract.currency),
                _text(contract.multiplier),
                text_or_zero(details.minTick),
                _int(details.priceMagnifier) or 1,
                text_of(details.sizeIncrement),
                tuple(details.orderTypes.split(",")),
                tuple((name, int(rule)) for name, rule in zip(exchanges, rules, strict=False) if _is_number(rule)),
            )
        )

    def contractDetailsEnd(self, request: int) -> None:  # noqa: N802 - the library's name
        self.messages.append(DetailsEnd(_int(request)))

    def marketRule(self, rule: int, increments: Sequence[Any]) -> None:  # noqa: N802 - the library's name
        steps = tuple((text_or_zero(step.lowEdge), text_or_zero(step.increment)) for step in increments)
        self.messages.append(MarketRule(_int(rule), steps))

    def priceSizeTick(self, request: int, kind: int, price: float, size: float) -> None:  # noqa: N802 - the library's name
        self.messages.append(PriceTick(_int(request), _int(kind), text_of(price), text_of(size)))

    def tickSize(self, request: int, kind: int, size: float) -> None:  # noqa: N802 - the library's name
        self.messages.append(SizeTick(_int(request), _int(kind), text_of(size)))

    def tickGeneric(self, request: int, kind: int, value: float) -> None:  # noqa: N802 - the library's name
        self.messages.append(GenericTick(_int(request), _int(kind), text_of(value)))

    def tickString(self, request: int, kind: int, text: str) -> None:  # noqa: N802 - the library's name
        self.messages.append(TextTick(_int(request), _int(kind), text))

    def tickByTickBidAsk(  # noqa: N802 - the library's name
        self, request: int, seconds: int, bid: float, ask: float, bid_size: float, ask_size: float, _attributes: Any
    ) -> None:
        self.messages.append(
            BidAsk(_int(request), _int(seconds), text_of(bid), text_of(ask), text_of(bid_size), text_of(ask_size))
        )

    def tickByTickAllLast(  # noqa: N802 - the library's name
        self, request: int, _kind: int, seconds: int, price: float, size: float, attributes: Any, _exchange: str, _conditions: str
    ) -> None:
        self.messages.append(Last(_int(request), _int(seconds), text_of(price), text_of(size), bool(attributes.unreported)))

    def tickByTickMidPoint(self, _request: int, _seconds: int, _price: float) -> None:  # noqa: N802 - the library's name
        self.messages.append(Unread(99))

    def updateMktDepth(self, request: int, position: int, operation: int, side: int, price: float, size: float) -> None:  # noqa: N802 - the library's name
        depth = Depth(_int(request), _int(position), _int(operation), _int(side), text_of(price), text_of(size))
        self.messages.append(depth)

    def updateMktDepthL2(  # noqa: N802 - the library's name
        self,
        request: int,
        position: int,
        _maker: str,
        operation: int,
        side: int,
        price: float,
        size: float,
        _is_smart: bool = False,
    ) -> None:
        self.updateMktDepth(request, position, operation, side, price, size)

    def marketDataType(self, request: int, kind: int) -> None:  # noqa: N802 - the library's name
        self.messages.append(DataType(_int(request), _int(kind)))
