"""The guardian's view of a gateway: core.venue_switch.VenueSwitch on a connection and client id of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from adapters.ib.contracts import Listed, qualify, wanted_contract
from adapters.ib.io import Line, Now
from adapters.ib.library import Contract
from adapters.ib.market import REQUEST_FIRST
from adapters.ib.messages import (
    AnyMessage,
    Details,
    DetailsEnd,
    Error,
    ManagedAccounts,
    NextValidId,
    OpenOrder,
    OpenOrdersEnd,
    OrderStatus,
    Position,
    PositionsEnd,
    ServerVersion,
)
from adapters.ib.numbers import price_of, qty_of
from adapters.ib.orders import CANCELED
from adapters.ib.outcomes import Meaning, meaning_of
from adapters.ib.requests import market_order, side_of
from adapters.ib.settings import IbSettings
from adapters.ib.wire import Wire
from core.enums import InstrumentClass, Side
from core.errors import ConfigError, RefusedError, TransportError, UnitError, VenueProtocolError
from core.identifiers import format_order_id, parse_order_id
from core.instruments import Instrument
from core.venue_adapter import VenueOrder
from core.venue_opening import Environment, OnFrame

# An order that has ended and is shown all the same is not open.
ENDED = CANCELED | {"Filled"}


class IbSwitch:
    """Nothing on it can add risk but `flatten`, which is bounded by what the account holds.

    The venue has no order that only reduces. So: the position is asked for right before, what this client's own orders may still
    take off it comes off first, and what is sent is no more than the rest. Orders of others that fill at the same time can turn a
    position round: cancel everything first.
    """

    def __init__(
        self,
        *,
        venue: str,
        environment: Environment,
        account: str,
        settings: IbSettings,
        host: str,
        port: int,
        instruments: Mapping[str, Instrument],
        symbols: Mapping[str, str],
        prefix: str,
        first_order_id: int,
        now: Now,
        on_frame: OnFrame,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._venue = venue
        self._environment = environment
        self._account = account
        self._settings = settings
        self._line = Line(venue, host, port, settings.connect_timeout_s, now, on_frame)
        self._listed = {
            key: Listed(instrument, wanted, wanted)
            for key, instrument in instruments.items()
            for wanted in (wanted_contract(instrument, symbols.get(key, ""), settings),)
        }
        self._prefix = prefix
        self._client_order_id = first_order_id
        self._on_trouble = on_trouble
        self._wire = Wire(settings.guardian_client_id, settings.time_zone)
        self._order_id = 0
        self._request = REQUEST_FIRST
        self._by_con_id: dict[int, Listed] = {}

    @property
    def venue(self) -> str:
        return self._venue

    async def open(self) -> None:
        self._wire = Wire(self._settings.guardian_client_id, self._settings.time_zone)
        await self._line.open(self._wire.client.conn)
        try:
            await self._log_in()
            await self._qualify()
        except BaseException:
            self._line.close()
            raise

    async def _log_in(self) -> None:
        has_accounts, order_id = False, 0
        async for message in self._ask(self._wire.hello()):
            match message:
                case ServerVersion():
                    self._line.send(self._wire.start())
                case ManagedAccounts(accounts=accounts):
                    self._check(accounts)
                    has_accounts = True
                case NextValidId(order_id=order_id):
                    pass
                case _:
                    pass
            if has_accounts and order_id:
                # A gateway that counts from the beginning again must not make us change an order that we have sent.
                self._order_id = max(self._order_id, order_id)
                return

    def _check(self, accounts: tuple[str, ...]) -> None:
        if self._account not in accounts:
            raise RefusedError(f"the gateway is not logged in to account {self._account!r}")
        for account in accounts:
            trouble = self._settings.account_trouble(self._environment, account)
            if trouble:
                raise RefusedError(f"environment {self._environment.value!r}: {trouble}")

    async def _qualify(self) -> None:
        """What instruments are called here. One that the venue does not know, or knows otherwise, stops no kill."""
        self._by_con_id.clear()
        for listed in self._listed.values():
            found = await self._details(listed.wanted)
            try:
                qualify(listed, found)
            except ConfigError as error:
                self._on_trouble(f"{self._venue}: {error}")
                if len(found) != 1:
                    continue
            self._by_con_id[found[0].con_id] = listed
            listed.con_id = found[0].con_id

    async def _details(self, contract: object) -> list[Details]:
        self._request += 1
        request, found = self._request, []
        async for message in self._ask(self._wire.details(request, contract)):
            match message:
                case Details(request=number) if number == request:
                    found.append(message)
                case DetailsEnd(request=number) | Error(number=number) if number == request:
                    break
                case _:
                    pass
        return found

    async def cancel_all(self) -> None:
        self._line.send(self._wire.global_cancel())

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        return tuple(self._as_order(order, filled) for order, filled in (await self._orders()).values())

    async def _orders(self) -> dict[int, tuple[OpenOrder, str]]:
        """By permId, with how much of it is filled."""
        found: dict[int, tuple[OpenOrder, str]] = {}
        async for message in self._ask(self._wire.all_open_orders()):
            match message:
                case OpenOrder() if message.account == self._account:
                    if message.status not in ENDED:
                        found[message.perm_id] = (message, "0")
                case OrderStatus(perm_id=perm_id) if perm_id in found:
                    if message.status in ENDED:
                        del found[perm_id]
                    else:
                        found[perm_id] = (found[perm_id][0], message.filled)
                case OpenOrdersEnd():
                    break
                case _:
                    pass
        return found

    def _as_order(self, order: OpenOrder, filled: str) -> VenueOrder:
        listed = self._by_con_id.get(order.con_id)
        order_id = parse_order_id(order.order_ref, self._prefix)
        side, name = side_of(order.action), str(order.perm_id)
        if listed is None:
            return VenueOrder(order_id, f"{order.symbol}.{self._venue}", side, None, 1, name)
        instrument = listed.instrument
        try:
            leaves = max(qty_of(instrument, order.total) - qty_of(instrument, filled), 0)
            price = price_of(instrument, order.limit_price) if order.order_type == "LMT" and order.limit_price else None
        except UnitError as error:
            raise TransportError(f"{self._venue}: order {name}: {error}") from None
        return VenueOrder(order_id, instrument.instrument_id, side, price, leaves, name)

    async def positions(self) -> dict[str, int]:
        return {name: qty for name, qty, _ in await self._held()}

    async def _held(self) -> list[tuple[str, int, Position]]:
        """What is not zero; of an instrument that is not configured in whole units, away from zero."""
        held: list[tuple[str, int, Position]] = []
        async for message in self._ask(self._wire.positions()):
            match message:
                case Position() if message.account == self._account:
                    listed = self._by_con_id.get(message.con_id)
                    if listed is not None:
                        name, qty = listed.instrument.instrument_id, self._units(listed.instrument, message.qty)
                    else:
                        name, qty = f"{message.symbol}.{self._venue}", _whole(message.qty)
                    held = [each for each in held if each[2].con_id != message.con_id]
                    if qty:
                        held.append((name, qty, message))
                case PositionsEnd():
                    break
                case _:
                    pass
        return held

    def _units(self, instrument: Instrument, text: str) -> int:
        try:
            return qty_of(instrument, text)
        except UnitError as error:
            raise TransportError(f"{self._venue}: position: {error}") from None

    async def flatten(self) -> None:
        orders = (await self._orders()).values()
        for name, qty, position in await self._held():
            side = Side.SELL if qty > 0 else Side.BUY
            listed = self._by_con_id.get(position.con_id)
            instrument = listed.instrument if listed is not None else _unlisted(name)
            under_way = sum(
                qty_of(instrument, order.total) - qty_of(instrument, filled)
                for order, filled in orders
                if order.con_id == position.con_id
                and order.client_id == self._settings.guardian_client_id
                and side_of(order.action) is side
            )
            rest = abs(qty) - under_way
            if rest > 0:
                await self._close_position(instrument, position, side, rest)

    async def _close_position(self, instrument: Instrument, position: Position, side: Side, qty: int) -> None:
        # A position does not say where its contract trades.
        found = await self._details(Contract(conId=position.con_id))
        if not found:
            self._on_trouble(
                f"{self._venue}: {instrument.instrument_id}: the venue does not know the contract of its own position"
            )
            return
        exchange = "SMART" if position.security_type in ("STK", "OPT") else found[0].exchange
        contract = Contract(conId=position.con_id, secType=position.security_type, exchange=exchange, currency=found[0].currency)
        self._client_order_id += 1
        order = market_order(
            instrument,
            side,
            qty,
            account=self._account,
            reference=format_order_id(self._client_order_id, self._prefix),
            outside_hours=self._settings.outside_regular_hours,
        )
        self._line.send(self._wire.place(self._order_id, contract, order))
        self._order_id += 1

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        return False

    async def close(self) -> None:
        self._line.close()

    # One question at a time; what comes in between is looked at with the next one.

    async def _ask(self, frame: bytes) -> AsyncIterator[AnyMessage]:
        """What comes behind the request, until the caller has seen enough. Raises TransportError where that does not come."""
        async for data in self._line.ask(frame):
            for message in self._messages(data):
                yield message

    def _messages(self, data: bytes) -> list[AnyMessage]:
        try:
            messages = self._wire.receive(data)
        except VenueProtocolError as error:
            self._line.close()
            raise TransportError(f"{self._venue}: {error}") from None
        for message in messages:
            if not isinstance(message, Error):
                continue
            meaning = meaning_of(message.code)
            said = f"{message.code} {' '.join(message.text.split())[:200]}"
            if meaning is Meaning.TAKEN:
                # Not for ever, where it was ours: a guardian tries again.
                raise TransportError(f"client id {self._settings.guardian_client_id}: {said}")
            if meaning in (Meaning.FATAL, Meaning.LOST):
                raise TransportError(f"{self._venue}: {said}")
            if meaning in (Meaning.REFUSED, Meaning.UNKNOWN):
                self._on_trouble(f"{self._venue}: {said}")
        return messages


def _whole(text: str) -> int:
    """Of a position in an instrument that is not configured."""
    digits = text.lstrip("-").partition(".")[0]
    size = int(digits) if digits.isascii() and digits.isdigit() else 1
    return -size if text.startswith("-") else size


def _unlisted(instrument_id: str) -> Instrument:
    """A contract that is not configured, in whole units."""
    return Instrument(
        instrument_id=instrument_id,
        instrument_class=InstrumentClass.EQUITY,
        base_currency="",
        quote_currency="",
        settlement_currency="",
        price_scale=0,
        qty_scale=0,
    )
