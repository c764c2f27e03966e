"""The guardian's connection: cancels everything, says what is open and held, closes positions; no order that adds. Pure.

For core/venue_switch.VenueSwitch. Deribit has no dead-man timer: cancel-on-disconnect of the daemon's own connection is what
it has, so there is nothing to refresh here. This connection arms nothing: its end must not take the daemon's orders.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

from adapters.deribit import requests
from adapters.deribit.exact import exact
from adapters.deribit.instruments import VENUE, VenueInstrument, read_instrument
from adapters.deribit.link import Link
from adapters.deribit.login import Login
from adapters.deribit.settings import DeribitSettings, FactKind, Output
from adapters.deribit.tracker import MARKET_PRICE
from adapters.deribit.wire import Answer, Heartbeat, InstrumentResult, Order, Position, Refusal, Spoiled, decode, decode_result
from core.enums import Side
from core.errors import VenueProtocolError
from core.identifiers import parse_order_id
from core.venue_adapter import VenueOrder, VenueState


class DeribitSwitch:
    """`is_ready` from the login on. Answers to `ask` come in Output.states; executions are not asked for."""

    def __init__(self, settings: DeribitSettings, ts: int) -> None:
        self.settings = settings
        self.is_ready = False
        self.link = Link(settings, ts)
        self._instruments: dict[str, VenueInstrument | None] = {}  # None: of a kind that is not traded here
        self._login = Login(self.link, {}, settings, self._logged_in, self._refuse)
        self._heard_ts = ts
        self._number = 0
        self._cancel_waits = False  # a cancel of everything has not left yet: a second one would say the same

    # The connection.

    def connected(self, ts: int, nonce: str, wall_ns: int | None = None) -> Output:
        self._heard_ts = ts
        self.link.up()
        self._login.start(ts, nonce, ts if wall_ns is None else wall_ns, is_switch=True)
        return self._output()

    def disconnected(self, ts: int) -> Output:
        self.is_ready = False
        self.link.down(ts)
        self._login.stop()
        return self._output()

    def receive(self, ts: int, payload: bytes) -> Output:
        """A whole frame; one that cannot be read ends the connection."""
        self._heard_ts = ts
        try:
            message = decode(payload)
            if isinstance(message, Answer | Refusal):
                if message.testnet is not None and message.testnet is not self.settings.is_testnet:
                    self._refuse("the other environment answers")
                self.link.receive(ts, message)
            elif isinstance(message, Heartbeat):
                if message.is_test_request:
                    self.link.keep_alive(ts, requests.test)
            elif isinstance(message, Spoiled) and message.id is not None:
                self.link.receive(ts, message)
        except VenueProtocolError as error:
            self.link.fact(FactKind.PROTOCOL, str(error))
            self._close(str(error))
        return self._output()

    def tick(self, ts: int) -> Output:
        if self.link.is_up:
            if ts - self._heard_ts >= self.settings.silence_ns_max:
                self._close("the venue is silent")
            self.link.tick(ts)
            self._login.tick(ts)
        return self._output()

    def next_ts(self) -> int | None:
        if not self.link.is_up:
            return None
        due = [self._heard_ts + self.settings.silence_ns_max, self.link.next_ts(), self._login.next_ts()]
        return min(each for each in due if each is not None)

    # What it can do.

    def cancel_all(self, ts: int) -> Output:
        """Every order of the account, trigger orders too. `ask` says what became of it; a refusal is a Fact: call again."""
        assert self.is_ready

        def failed(_now: int, why: Refusal | str) -> None:
            self._cancel_waits = False
            self.link.fact(FactKind.CONTRADICTION, f"cancel_all was not done: {why}")

        def build(request_id: int) -> bytes:
            self._cancel_waits = False
            return requests.cancel_all(request_id)

        if not self._cancel_waits:
            self._cancel_waits = True
            self.link.cancel(ts, build, _done, failed, failed)
        return self._output()

    def ask(self, ts: int) -> tuple[int, Output]:
        """Open orders and positions; the answer comes in Output.states under the number returned."""
        assert self.is_ready
        self._number += 1
        look = _Look(self, self._number)
        look.start(ts)
        return self._number, self._output()

    def flatten(self, ts: int, positions: dict[str, int]) -> Output:
        """Close each of `positions` (as `ask` gave them) by the venue's own reduce-only market order."""
        assert self.is_ready

        def failed(_now: int, why: Refusal | str) -> None:
            self.link.fact(FactKind.CONTRADICTION, f"a position was not closed: {why}")

        for instrument_id, qty in positions.items():
            if qty:
                self.link.cancel(ts, _closing(instrument_id.rpartition(".")[0]), _done, failed, failed)
        return self._output()

    # Inside.

    def _logged_in(self, _ts: int) -> None:
        self.is_ready = True
        self.link.output.is_ready = True

    def _close(self, why: str) -> None:
        self.link.output.close = self.link.output.close or why

    def _refuse(self, why: str) -> None:
        self.link.output.refused = self.link.output.refused or why
        self._close(why)

    def _output(self) -> Output:
        output, self.link.output = self.link.output, Output()
        return output

    def instrument(self, name: str) -> VenueInstrument | None:
        return self._instruments.get(name)

    def knows(self, name: str) -> bool:
        return name in self._instruments

    def learn(self, name: str, found: InstrumentResult) -> None:
        self._instruments[name] = read_instrument(found)


class _Look:
    """Positions, then open orders, then the instruments that are in them and not known yet."""

    def __init__(self, switch: DeribitSwitch, number: int) -> None:
        self._switch = switch
        self._number = number
        self._positions: list[Position] = []
        self._orders: list[Order] = []

    def start(self, ts: int) -> None:
        self._ask(ts, requests.get_positions, self._take_positions)

    def _ask(self, ts: int, build: Callable[[int], bytes], take: Callable[[int, Answer], None]) -> None:
        def answered(now: int, answer: Answer) -> None:
            try:
                take(now, answer)
            except VenueProtocolError as error:
                self._fail(now, str(error))

        self._switch.link.ask(ts, build, answered, self._fail, self._fail)

    def _fail(self, _ts: int, why: Refusal | str) -> None:
        self._switch.link.output.states.append((self._number, None, f"{why}"))

    def _take_positions(self, ts: int, answer: Answer) -> None:
        self._positions = decode_result(list[Position], answer.result)
        self._ask(ts, requests.get_open_orders, self._take_orders)

    def _take_orders(self, ts: int, answer: Answer) -> None:
        self._orders = decode_result(list[Order], answer.result)
        self._next(ts)

    def _next(self, ts: int) -> None:
        names = [position.instrument_name for position in self._positions] + [order.instrument_name for order in self._orders]
        unknown = next((name for name in names if not self._switch.knows(name)), None)
        if unknown is None:
            self._switch.link.output.states.append((self._number, self._state(), ""))
            return

        def take(now: int, answer: Answer) -> None:
            self._switch.learn(unknown, decode_result(InstrumentResult, answer.result))
            self._next(now)

        self._ask(ts, lambda request_id: requests.get_instrument(request_id, unknown), take)

    def _state(self) -> VenueState:
        positions = {}
        for position in self._positions:
            venue = self._switch.instrument(position.instrument_name)
            held = bytes(position.size).strip(b"-0.") != b""
            # Of what is not traded here only that it is there can be said: one unit.
            positions[f"{position.instrument_name}.{VENUE}"] = (
                int(held) if venue is None else exact(position.size, venue.instrument.qty_scale)
            )
        return VenueState(open_orders=tuple(self._order(order) for order in self._orders), executions=(), positions=positions)

    def _order(self, order: Order) -> VenueOrder:
        venue = self._switch.instrument(order.instrument_name)
        price, leaves = None, 1
        if venue is not None:
            if isinstance(order.price, Raw) and bytes(order.price) != MARKET_PRICE:
                price = exact(order.price, venue.instrument.price_scale)
            amount = exact(order.amount, venue.instrument.qty_scale) if isinstance(order.amount, Raw) else 1
            filled = exact(order.filled_amount, venue.instrument.qty_scale) if isinstance(order.filled_amount, Raw) else 0
            leaves = amount - filled
        return VenueOrder(
            parse_order_id(order.label, self._switch.settings.order_id_prefix),
            f"{order.instrument_name}.{VENUE}",
            Side.BUY if order.direction == "buy" else Side.SELL,
            price,
            leaves,
            order.order_id,
            order.reduce_only,
        )


def _closing(name: str) -> Callable[[int], bytes]:
    return lambda request_id: requests.close_position(request_id, name)


def _done(_ts: int, _answer: Answer) -> None:
    return
