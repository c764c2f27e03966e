"""The talk with a gateway, over connections that come and go: login, checks, orders, looks, market data. Pure.

Bytes and time in; events, bytes to send and the next deadline out. A connection that is lost leaves the account unknown: `lost`
says GapDetected and OrderOutcomeUnknown, and the look that the next login ends with decides. A gateway that loses its servers
(1100) is the same on a connection that stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from adapters.ib.contracts import Listed, by_con_id, check_ticks, qualify, wanted_contract
from adapters.ib.gate import Gate
from adapters.ib.holdings import Holdings
from adapters.ib.looks import Looks
from adapters.ib.market import REQUEST_FIRST, Market
from adapters.ib.messages import (
    AnyMessage,
    Commission,
    CurrentTime,
    Details,
    DetailsEnd,
    Error,
    Execution,
    ExecutionsEnd,
    ManagedAccounts,
    MarketMessage,
    MarketRule,
    NextValidId,
    OpenOrder,
    OpenOrdersEnd,
    OrderStatus,
    Position,
    PositionsEnd,
    ServerVersion,
    Unread,
)
from adapters.ib.orders import Desk
from adapters.ib.outcomes import Meaning, meaning_of
from adapters.ib.requests import changed, impossible, order_of
from adapters.ib.settings import IbSettings
from adapters.ib.tracked import Tracked
from adapters.ib.wire import Wire
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.errors import CapacityError, RefusedError, TransportError, UnitError, VenueProtocolError
from core.events import AnyEvent, CancelRejected, OrderRejected, ReplaceRejected
from core.identifiers import format_order_id
from core.instruments import Instrument
from core.strategy import Subscription
from core.units import NS_PER_SECOND
from core.venue_adapter import VenueOrder, VenueState
from core.venue_opening import Environment

LOOK_FIRST = REQUEST_FIRST + 10_000_000
TROUBLES_MAX = 100


class Stage(Enum):
    """How far a connection's login has got."""

    GREETING = "the gateway's version"
    NAMES = "accounts and the next order id"
    CONTRACTS = "contracts and market rules"
    LOOKING = "orders, executions and positions"
    READY = "ready"


class IbSession:
    """One account at one gateway. `client_id`: whose connection this is; `trades`: False where it only watches."""

    def __init__(
        self,
        *,
        settings: IbSettings,
        venue: str,
        environment: Environment,
        account: str,
        prefix: str,
        client_id: int,
        instruments: Mapping[str, Instrument],
        symbols: Mapping[str, str],
        subscriptions: Iterable[Subscription],
        trades: bool,
    ) -> None:
        self._settings = settings
        self._venue = venue
        self._environment = environment
        self._account = account
        self._prefix = prefix
        self._client_id = client_id
        self._trades = trades
        self._listed = {
            key: Listed(instrument, wanted, wanted)
            for key, instrument in instruments.items()
            for wanted in (wanted_contract(instrument, symbols.get(key, ""), settings),)
        }
        self._gate = Gate(settings.messages_per_second, settings.cancel_reserve)
        self.desk = Desk(settings, venue, account, prefix, client_id)
        self.holdings = Holdings(self._listed)
        self.looks = Looks(settings, account, self.desk, self.holdings, LOOK_FIRST)
        self.looks.listed = self._listed
        self.market = Market(settings, self._listed.values(), subscriptions)
        self.wire = Wire(client_id, settings.time_zone)
        self.stage = Stage.GREETING
        self.troubles: list[str] = []
        self._details: dict[int, list[Details]] = {}
        self._details_open: dict[int, str] = {}
        self._rules: dict[int, tuple[tuple[str, str], ...] | None] = {}
        self._heard_ts = self._said_ts = self._begun_ts = 0
        self._ahead_ns = 0
        self._next_order_id = 0
        self._has_accounts = False
        self._login_look = 0
        self._is_away = False  # the gateway has lost its servers
        self._is_data_lost = False
        self._is_clock_away = False
        self._restore_look = 0
        self._halted = ""  # why no new order leaves
        self._events: list[AnyEvent] = []

    # A connection's life.

    def connected(self, ts: int, *, ahead_ns: int = 0) -> bytes:
        """A connection is there: what to send on it. `ahead_ns`: how far our stamps are ahead of the machine's clock."""
        self._ahead_ns = ahead_ns
        self.wire = Wire(self._client_id, self._settings.time_zone)
        self._gate.clear()
        self.stage = Stage.GREETING
        self._heard_ts = self._said_ts = self._begun_ts = ts
        self._has_accounts = False
        self._login_look = self._restore_look = 0
        self._is_away = self._is_data_lost = False
        return self.wire.hello()

    def receive(self, ts: int, data: bytes) -> list[AnyEvent]:
        """What came in, as events.

        Raises VenueProtocolError, RefusedError where the gateway lets nobody in, TransportError where it ends the connection, and
        ConfigError where an instrument is not as configured.
        """
        self._heard_ts = ts
        try:
            for message in self.wire.receive(data):
                self._take(ts, message)
        except UnitError as error:
            raise VenueProtocolError(str(error)) from None
        return self._after(ts)

    def tick(self, ts: int) -> list[AnyEvent]:
        """What time brings. Raises TransportError where the gateway has fallen silent or the login takes too long."""
        settings = self._settings
        if ts - self._heard_ts >= int(settings.silence_s * NS_PER_SECOND):
            raise TransportError(f"the gateway has said nothing for {settings.silence_s:g} s")
        if self.stage is not Stage.READY and ts - self._begun_ts >= int(settings.request_timeout_s * NS_PER_SECOND):
            raise TransportError(f"no answer within {settings.request_timeout_s:g} s: waiting for {self.stage.value}")
        if self.stage is Stage.READY and ts - self._said_ts >= int(settings.heartbeat_s * NS_PER_SECOND):
            self._ask(ts, self.wire.current_time())
        self.desk.due(ts)
        return self._after(ts)

    def lost(self, ts: int) -> list[AnyEvent]:
        """The connection is gone. The events that say so, in the order to apply them."""
        self._gate.clear()
        self.stage = Stage.GREETING
        self.looks.forget()
        events = self.market.lost(ts)
        self.desk.lost(ts)
        return [*events, *self._collect()]

    @property
    def next_deadline(self) -> int:
        settings = self._settings
        silence = self._heard_ts + int(settings.silence_s * NS_PER_SECOND)
        if self.stage is Stage.READY:
            own = self._said_ts + int(settings.heartbeat_s * NS_PER_SECOND)
        else:
            own = self._begun_ts + int(settings.request_timeout_s * NS_PER_SECOND)
        others = (self._gate.next_deadline, self.desk.next_deadline, self.looks.next_deadline, self.market.filter.next_deadline)
        return min(silence, own, *others)

    def take_out(self) -> list[bytes]:
        return self._gate.take_out()

    def take_login_state(self) -> VenueState | None:
        """What the look at the end of the login has shown, once; None while it has not."""
        return None if not self._login_look else self._take_look("_login_look")

    def take_restored_state(self) -> VenueState | None:
        """As `take_login_state`, behind a loss of the servers. Commands are taken again from here on."""
        if not self._restore_look:
            return None
        state = self._take_look("_restore_look")
        if state is not None:
            self._is_away = False
        return state

    def _take_look(self, name: str) -> VenueState | None:
        number: int = getattr(self, name)
        if self.looks.failed(number):
            raise TransportError("the gateway does not answer what it was asked about the account")
        state = self.looks.take(number)
        if state is not None:
            setattr(self, name, 0)
        return state

    # The login.

    def _take(self, ts: int, message: AnyMessage) -> None:
        match message:
            case Error():
                self._error(ts, message)
            case ServerVersion():
                self.stage = Stage.NAMES
                self._ask(ts, self.wire.start())
            case ManagedAccounts(accounts=accounts):
                self._check_accounts(accounts)
                self._has_accounts = True
                self._named(ts)
            case NextValidId(order_id=order_id):
                self._number_from(order_id)
                self._named(ts)
            case CurrentTime(seconds=seconds):
                # The venue's second began when it says and is over a second later.
                self.looks.ahead_ns = max(ts - (seconds + 1) * NS_PER_SECOND, 0)
                self._check_clock(ts - self._ahead_ns, seconds)
            case Details():
                if message.request in self._details_open:
                    self._details.setdefault(message.request, []).append(message)
            case DetailsEnd(request=request):
                self._qualified(ts, request)
            case MarketRule(rule=rule, increments=increments):
                if rule in self._rules:
                    self._rules[rule] = increments
                    self._ruled(ts)
            case Unread():
                pass  # times of account values, parameters of ticks: nothing here rests on them
            case _ if self.stage in (Stage.GREETING, Stage.NAMES):
                raise VenueProtocolError(f"the gateway sends {type(message).__name__} before it has said who it is")
            case _:
                self._take_of_account(ts, message)

    def _check_accounts(self, accounts: tuple[str, ...]) -> None:
        if self._account not in accounts:
            raise RefusedError(f"the gateway is not logged in to account {self._account!r}")
        for account in accounts:
            trouble = self._settings.account_trouble(self._environment, account)
            if trouble:
                raise RefusedError(f"environment {self._environment.value!r}: {trouble}")

    def _number_from(self, order_id: int) -> None:
        if not 0 < order_id < REQUEST_FIRST:
            raise VenueProtocolError(f"the next order id cannot be {order_id}")
        if order_id <= self.desk.order_id_seen:
            self._halt(f"the gateway counts orders from {order_id} again, and {self.desk.order_id_seen} was used")
        # Ids that were sent and never arrived are above what the gateway says, and are not used again.
        self._next_order_id = max(self._next_order_id, order_id)

    def _halt(self, why: str) -> None:
        # What must only reduce may still leave, under a number that nobody has used.
        self._next_order_id = max(self._next_order_id, self.desk.order_id_seen + 1)
        if not self._halted:
            self._halted = why
            self.troubles.append(f"no new orders: {why}; set its order ids right and start again")

    def _named(self, ts: int) -> None:
        if self.stage is not Stage.NAMES or not self._has_accounts or not self._next_order_id:
            return
        self.stage = Stage.CONTRACTS
        self._details.clear()
        self._details_open.clear()
        self._rules.clear()
        self._ask(ts, self.wire.current_time())
        for number, (key, listed) in enumerate(self._listed.items(), REQUEST_FIRST + 1):
            self._details_open[number] = key
            self._ask(ts, self.wire.details(number, listed.wanted))
        if not self._listed:
            self._looking(ts)

    def _qualified(self, ts: int, request: int) -> None:
        key = self._details_open.pop(request, None)
        if key is None:
            return
        listed = self._listed[key]
        qualify(listed, self._details.pop(request, []))
        if listed.rule:
            if listed.rule not in self._rules:
                self._rules[listed.rule] = None
                self._ask(ts, self.wire.market_rule(listed.rule))
        else:
            check_ticks(listed, ())
        self._ruled(ts)

    def _ruled(self, ts: int) -> None:
        if self.stage is not Stage.CONTRACTS or self._details_open or any(rule is None for rule in self._rules.values()):
            return
        for listed in self._listed.values():
            if listed.rule:
                check_ticks(listed, self._rules[listed.rule] or ())
        self.desk.listed = by_con_id(self._listed.values())
        if len(self.desk.listed) != len(self._listed):
            raise RefusedError("two configured instruments are one contract at the venue")
        self._looking(ts)

    def _looking(self, ts: int) -> None:
        self.stage = Stage.LOOKING
        self._login_look = self.looks.ask(0)

    def _check_clock(self, ts: int, seconds: int) -> None:
        away_ns = max(seconds * NS_PER_SECOND - ts, ts - (seconds + 1) * NS_PER_SECOND)
        was_away = self._is_clock_away
        self._is_clock_away = away_ns > int(self._settings.clock_error_max_s * NS_PER_SECOND)
        if self._is_clock_away:
            text = f"the gateway's clock and ours are {away_ns / NS_PER_SECOND:.1f} s apart"
            if self.stage is not Stage.READY:
                raise RefusedError(text)
            if not was_away:
                self._trouble(text)

    # What a connection brings.

    def _take_of_account(self, ts: int, message: AnyMessage) -> None:
        match message:
            case OpenOrder():
                self.desk.on_open_order(ts, message)
            case OrderStatus():
                self.desk.on_status(ts, message)
            case Execution():
                self._execution(ts, message)
            case Commission():
                self.desk.on_commission(ts, message)
            case OpenOrdersEnd():
                self.looks.on_orders_end(message)
            case ExecutionsEnd():
                self.looks.on_executions_end(message)
            case Position():
                self._position(message)
            case PositionsEnd():
                self.looks.on_positions_end(message)
            case _:
                assert isinstance(message, MarketMessage)
                for frame in self.market.receive(ts, message, self.wire):
                    self._ask(ts, frame)

    def _execution(self, ts: int, message: Execution) -> None:
        is_fresh = message.request < REQUEST_FIRST
        done = self.desk.on_execution(ts, message, is_fresh)
        if message.account != self._account or message.con_id not in self.desk.listed:
            return
        if done is not None:
            self.holdings.executed(done.fill.instrument_id, done.fill.side, done.fill.qty)
        self.looks.on_execution(message, done)

    def _position(self, message: Position) -> None:
        listed = self.desk.listed.get(message.con_id)
        if message.account == self._account and listed is not None:
            self.looks.on_position(message, listed.instrument.instrument_id)

    def _error(self, ts: int, message: Error) -> None:
        meaning = meaning_of(message.code)
        said = f"{message.code} {' '.join(message.text.split())[:200]}"
        if meaning is Meaning.TAKEN:
            # Not for ever, where it was ours: the gateway may not have seen yet that the process before this one is gone.
            raise TransportError(f"client id {self._client_id}: {said}")
        if meaning is Meaning.FATAL:
            raise TransportError(said)
        if meaning is Meaning.LOST:
            self._away(ts, said)
        elif meaning in (Meaning.RESTORED, Meaning.RESTORED_EMPTY):
            self._restored(meaning is Meaning.RESTORED_EMPTY, said)
        elif meaning is Meaning.NO_FARM:
            self._trouble(said)
            self._events += self.market.lost(ts, is_kept=True)
        elif 0 < message.number < REQUEST_FIRST and self.desk.on_error(ts, message):
            return
        elif message.number in self._details_open:
            self._qualified(ts, message.number)  # by nothing: it says which one is not known
        elif self.looks.fail(message.number):
            self._trouble(said)
        elif message.number > REQUEST_FIRST:
            for frame in self.market.error(ts, message.number, message.code, message.text, self.wire):
                self._ask(ts, frame)
        elif meaning is not Meaning.NOTICE:
            self._trouble(said)

    def _away(self, ts: int, said: str) -> None:
        self._trouble(said)
        self._is_away = True
        if self.stage is not Stage.READY:
            return  # the login goes on; nothing is sent behind it until they are back
        self.looks.forget()
        self._events += self.market.lost(ts, is_kept=True)
        self.desk.lost(ts)

    def _restored(self, is_data_lost: bool, said: str) -> None:
        self._trouble(said)
        self._is_data_lost = self._is_data_lost or is_data_lost
        if self.stage is Stage.READY:
            # Whether or not 1100 was heard: what the servers know has to be asked for.
            self._is_away = True
            self._restore_look = self.looks.ask(0)

    def _after(self, ts: int) -> list[AnyEvent]:
        self.looks.due(ts)
        if self.stage is Stage.LOOKING and self.looks.failed(self._login_look):
            raise TransportError("the gateway does not answer what it was asked about the account")
        if self.stage is Stage.LOOKING and self.looks.has(self._login_look):
            self.stage = Stage.READY
            self._check_order_ids()
            self._subscribe(ts)
        if self._is_data_lost and self._restore_look and self.looks.has(self._restore_look):
            self._is_data_lost = False
            self._subscribe(ts)
        for frame in self.looks.begin(ts, self.wire) if self.stage in (Stage.LOOKING, Stage.READY) else []:
            self._ask(ts, frame)
        self._gate.release(ts)
        market = self.market.flush(ts)
        return self._collect() + market

    def _collect(self) -> list[AnyEvent]:
        events, self._events = self._events, []
        events += self.desk.take_events()
        for troubles in (self.desk.troubles, self.market.troubles):
            for trouble in troubles:
                self._trouble(trouble)
            troubles.clear()
        return events

    def _check_order_ids(self) -> None:
        if self._next_order_id <= self.desk.order_id_seen:
            self._halt(f"the gateway's next order id is {self._next_order_id}, and {self.desk.order_id_seen} was used")

    def _subscribe(self, ts: int) -> None:
        for frame in self.market.subscribe(self.wire):
            self._ask(ts, frame)

    def _ask(self, ts: int, frame: bytes) -> None:
        try:
            self._gate.ask(ts, frame)
        except CapacityError as error:
            raise TransportError(str(error)) from None
        self._said_ts = ts

    def _trouble(self, text: str) -> None:
        if len(self.troubles) < TROUBLES_MAX:
            self.troubles.append(text)

    # Commands.

    def send(self, ts: int, command: OrderCommand) -> list[AnyEvent]:
        """The refusals of what does not leave; what does is in `take_out`."""
        if self.stage is not Stage.READY or self._is_away or not self._trades:
            return self.refuse(ts, command)
        match command:
            case SubmitOrder():
                return self._submit(ts, command)
            case CancelOrder(client_order_id=order_id):
                return self._cancel(ts, order_id)
            case ReplaceOrder():
                return self._replace(ts, command)
            case CancelAll(instrument_id=instrument_id):
                orders = [each.client_order_id for each in self.desk.own_open(instrument_id)]
                return [event for order_id in orders if order_id is not None for event in self._cancel(ts, order_id)]

    def refuse(self, ts: int, command: OrderCommand) -> list[AnyEvent]:
        """What a command comes to while nothing leaves."""
        match command:
            case SubmitOrder(client_order_id=order_id):
                return [OrderRejected(ts, ts, order_id, Reason.NOT_SENT, "there is no connection to the venue")]
            case CancelOrder(client_order_id=order_id):
                return [CancelRejected(ts, ts, order_id, Reason.NOT_SENT)]
            case ReplaceOrder(client_order_id=order_id):
                return [ReplaceRejected(ts, ts, order_id, Reason.NOT_SENT)]
            case CancelAll(instrument_id=instrument_id):
                orders = [each.client_order_id for each in self.desk.own_open(instrument_id)]
                return [CancelRejected(ts, ts, order_id, Reason.NOT_SENT) for order_id in orders if order_id is not None]

    def _submit(self, ts: int, command: SubmitOrder) -> list[AnyEvent]:
        listed = self._listed.get(command.instrument_id)
        why = self._why_not(ts, command, listed)
        if why is None:
            assert listed is not None
            reference = format_order_id(command.client_order_id, self._prefix)
            order = order_of(
                command,
                listed.instrument,
                account=self._account,
                reference=reference,
                outside_hours=self._settings.outside_regular_hours,
            )
            order_id = self._next_order_id
            if self._gate.take(ts, self.wire.place(order_id, listed.contract, order)):
                self._next_order_id += 1
                self._said_ts = ts
                self.desk.submitted(ts, command, listed, order_id, order)
                return []
            why = Reason.FULL, "the message budget of this second is used up"
        return [OrderRejected(ts, ts, command.client_order_id, *why)]

    def _why_not(self, ts: int, command: SubmitOrder, listed: Listed | None) -> tuple[Reason, str] | None:
        if listed is None:
            return Reason.BAD_FIELD, "no such instrument"
        if self._halted and not command.reduce_only:
            return Reason.DUPLICATE_ID, self._halted
        if self._next_order_id >= REQUEST_FIRST:
            return Reason.DUPLICATE_ID, "the order ids are used up"
        if not command.reduce_only and self._settings.seconds_to_reset(ts) < self._settings.reset_quiet_s:
            return Reason.CLOSED, "the daily reset"
        if command.reduce_only:
            left = self.holdings.reducible(command.instrument_id, command.side) - self._closing(command)
            if command.quantity > left:
                return Reason.REDUCE_ONLY, f"{max(left, 0)} units are left to reduce"
        return impossible(command, listed, ts)

    def _closing(self, command: SubmitOrder) -> int:
        """What open orders on that side may still take off the position: without reduce-only they all may."""
        same = (each for each in self.desk.orders.open.values() if each.instrument_id == command.instrument_id)
        return sum(each.leaves for each in same if each.side is command.side)

    def _own(self, order_id: int) -> Tracked | None:
        """An order that this client may cancel and change: the number of another client's names another order here."""
        tracked = self.desk.orders.get(order_id)
        return tracked if tracked is not None and tracked.client_id == self._client_id and tracked.order_id > 0 else None

    def _cancel(self, ts: int, order_id: int) -> list[AnyEvent]:
        tracked = self._own(order_id)
        if tracked is None or tracked.is_ended:
            return [CancelRejected(ts, ts, order_id, Reason.UNKNOWN_ORDER)]
        try:
            self._gate.cancel(ts, self.wire.cancel(tracked.order_id))
        except CapacityError:
            return [CancelRejected(ts, ts, order_id, Reason.FULL)]
        self._said_ts = ts
        self.desk.cancel_sent(ts, tracked)
        return []

    def _replace(self, ts: int, command: ReplaceOrder) -> list[AnyEvent]:
        tracked = self._own(command.client_order_id)
        reason = Reason.NONE
        if tracked is None or tracked.is_ended or tracked.order is None or tracked.listed is None:
            reason = Reason.UNKNOWN_ORDER
        elif tracked.price is None:
            reason = Reason.BAD_FIELD  # it has no limit price to change
        elif command.filled_qty + command.quantity <= tracked.filled:
            reason = Reason.BAD_QTY  # fills that are on their way to the books leave nothing of it
        else:
            total = command.filled_qty + command.quantity
            order = changed(tracked.order, tracked.listed.instrument, total, command.price)
            if self._gate.take(ts, self.wire.place(tracked.order_id, tracked.listed.contract, order)):
                tracked.order = order
                self._said_ts = ts
                self.desk.replace_sent(ts, tracked, command)
                return []
            reason = Reason.FULL
        return [ReplaceRejected(ts, ts, command.client_order_id, reason)]

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self.desk.adopt(client_order_id, order)

    def query(self, ts: int, since_ts: int) -> int:
        """Ask where things stand; the number to take the answer by."""
        number = self.looks.ask(since_ts)
        for frame in self.looks.begin(ts, self.wire):
            self._ask(ts, frame)
        return number
