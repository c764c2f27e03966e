"""Several venues behind one Adapter: a command goes to the venue whose name its instrument has behind the last dot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import anyio
import msgspec

from core.approved import Approved
from core.commands import CancelAll, SubmitOrder
from core.errors import RefusedError, TransportError, VenueProtocolError
from core.events import CashMoved, OrderFilled
from core.venue_adapter import Adapter, EventSink, OnReconnect, VenueBalance, VenueOrder, VenueState
from daemon.trading.together import together

UNREAD_S_MAX = 2.0  # for which an open connection may wait for the others: venues close one that is silent for longer


def venue_of(instrument_id: str) -> str:
    """The part behind the last dot."""
    return instrument_id.rpartition(".")[2]


class Router:
    """`instrument_of` gives the instrument of an order id that was sent in a run before this one; None where nobody knows.

    `instrument_ids`: of all venues.

    What one venue says right after a reconnect is handed on as it is: it names the instruments that it is about.
    """

    def __init__(
        self, venues: Mapping[str, Adapter], instrument_of: Callable[[int], str | None], instrument_ids: Iterable[str]
    ) -> None:
        assert venues
        self._venues = dict(venues)
        self._instrument_ids = frozenset(instrument_ids)
        self._instrument_of = instrument_of

    async def open(self) -> None:
        """All at once. Raises what the first one that fails raises, with the venue's name; the others are closed again."""
        opened: dict[str, float] = {}
        try:
            await self._open(opened, self._venues)
            # Nobody reads a connection before all are there: one that has waited for a slow venue may have been given up.
            stale = {name: self._venues[name] for name, at in opened.items() if anyio.current_time() - at > UNREAD_S_MAX}
            for name in stale:
                await self._venues[name].close()
                del opened[name]
            await self._open(opened, stale)
        except BaseException:
            with anyio.CancelScope(shield=True):
                for name in opened:
                    await self._venues[name].close()
            raise

    async def _open(self, opened: dict[str, float], venues: Mapping[str, Adapter]) -> None:
        """`opened` gets each one's name and when it was there."""

        async def open_one(name: str, adapter: Adapter) -> None:
            try:
                await adapter.open()
            except TransportError as error:
                raise TransportError(_named(name, error)) from error
            except RefusedError as error:
                raise RefusedError(_named(name, error)) from error
            opened[name] = anyio.current_time()

        await together(*(partial(open_one, name, adapter) for name, adapter in venues.items()))

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        """Until every venue's feed has ended. Raises what the first one raises that fails; the others end with it."""
        await together(*(partial(adapter.run, sink, on_reconnect) for adapter in self._venues.values()))

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self._venues[venue_of(order.instrument_id)].adopt(client_order_id, order)

    def send(self, approved: Approved) -> None:
        command = approved.command
        match command:
            case CancelAll(instrument_id=None):
                for adapter in self._venues.values():
                    adapter.send(approved)
                return
            case CancelAll(instrument_id=instrument_id) | SubmitOrder(instrument_id=instrument_id):
                assert instrument_id is not None
            case _:
                found = self._instrument_of(command.client_order_id)
                assert found is not None, f"order {command.client_order_id} is canceled or replaced, and was never sent"
                instrument_id = found
        self._venues[venue_of(instrument_id)].send(approved)

    async def query(self, since_ts: int) -> VenueState:
        """Every venue's answer in one; `silent` names those that did not give one. Raises TransportError where none did."""
        answers: dict[str, VenueState] = {}
        silent: dict[str, str] = {}

        async def ask(name: str, adapter: Adapter) -> None:
            try:
                answers[name] = await adapter.query(since_ts)
            except (TransportError, RefusedError, VenueProtocolError) as error:
                silent[name] = str(error)

        async with anyio.create_task_group() as tasks:
            for name, adapter in self._venues.items():
                tasks.start_soon(ask, name, adapter)
        reasons = tuple(f"{name}: {reason}" for name, reason in sorted(silent.items()))
        if not answers:
            raise TransportError("; ".join(reasons))
        found = merged([answers[name] for name in self._venues if name in answers])
        if not silent:
            return found
        about = self._instrument_ids if found.instrument_ids is None else found.instrument_ids
        heard = frozenset(each for each in about if venue_of(each) not in silent)
        return msgspec.structs.replace(found, instrument_ids=heard, silent=reasons)

    async def close(self) -> None:
        for adapter in self._venues.values():
            await adapter.close()


def _named(name: str, error: Exception) -> str:
    text = str(error)
    return text if text.startswith(name) else f"{name}: {text}"


def merged(states: Sequence[VenueState]) -> VenueState:
    """One state of several venues: executions in the order of their stamps, each venue's own order kept."""
    orders: list[VenueOrder] = []
    executions: list[OrderFilled] = []
    cash_moves: list[CashMoved] = []
    positions: dict[str, int] = {}
    balances: list[VenueBalance] = []
    about: set[str] | None = set()
    for state in states:
        orders += state.open_orders
        executions += state.executions
        cash_moves += state.cash_moves
        positions |= state.positions
        balances += state.balances
        about = None if about is None or state.instrument_ids is None else about | state.instrument_ids
    executions.sort(key=lambda fill: fill.ts_event)
    cash_moves.sort(key=lambda moved: moved.ts_event)
    slowest_ns = max(state.not_found_ns for state in states)
    return VenueState(
        tuple(orders),
        tuple(executions),
        positions,
        None if about is None else frozenset(about),
        slowest_ns,
        cash_moves=tuple(cash_moves),
        balances=tuple(balances),
        ts=min((state.ts for state in states if state.ts), default=0),
    )
