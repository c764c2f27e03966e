"""Executions and their commissions, which come apart: each execution once, the latest version of it, and what it has cost. Pure.

An execution's id ends in a version, from 01: a correction is the same execution with the next one.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from adapters.ib.contracts import Listed
from adapters.ib.messages import Commission, Execution
from adapters.ib.numbers import money_of, price_of, qty_of
from adapters.ib.requests import side_of
from core.enums import LiquiditySide
from core.errors import UnitError, VenueProtocolError
from core.events import OrderFilled
from core.units import NS_PER_SECOND

EXECUTIONS_KEPT_MAX = 100_000
COMMISSIONS_EARLY_MAX = 10_000  # of executions that were not heard of yet
ADDED_LIQUIDITY = 1


class Done(msgspec.Struct):
    """One execution. `commission` is None until the venue has said it; then in 10^-MONEY_SCALE of `currency`."""

    base: str
    version: int
    fill: OrderFilled
    is_said: bool = False  # as an event: what changes now comes too late
    commission: int | None = None
    currency: str = ""


class Fills:
    def __init__(self) -> None:
        self._done: OrderedDict[str, Done] = OrderedDict()
        self._early: OrderedDict[str, Commission] = OrderedDict()
        self.troubles: list[str] = []

    def take(self, ts: int, message: Execution, listed: Listed, client_order_id: int, leaves: int, is_fresh: bool) -> Done | None:
        """The execution, where it is news; None where it is known. A correction of a known one is told, and counts from then on.

        Raises VenueProtocolError for an execution that cannot be represented.
        """
        base, version = split_id(message.execution_id)
        known = self._done.get(base)
        if known is not None and version <= known.version:
            return None
        instrument = listed.instrument
        try:
            price, qty = price_of(instrument, message.price), qty_of(instrument, message.qty)
        except UnitError as error:
            raise VenueProtocolError(f"execution {message.execution_id} of {instrument.instrument_id}: {error}") from None
        if qty <= 0 or (price <= 0 and instrument.price_min > 0):
            raise VenueProtocolError(f"execution {message.execution_id}: {message.qty} at {message.price}")
        # Its second ended at the latest when it was heard of; what is live is ordered by when it came.
        # Ours may be ahead of the venue's by as much as the machine's clock ever was, and executions are asked for by this stamp.
        second_ns = message.seconds * NS_PER_SECOND
        stamp = min(second_ns + NS_PER_SECOND - 1 if is_fresh else second_ns, ts)
        fill = OrderFilled(
            known.fill.ts_event if known is not None else stamp,
            ts,
            client_order_id,
            instrument.instrument_id,
            base,
            side_of(message.side),
            price,
            qty,
            leaves,
            LiquiditySide.MAKER if message.liquidity == ADDED_LIQUIDITY else LiquiditySide.TAKER,
            0,
            instrument.settlement_currency,
        )
        if known is not None:
            self._correct(known, version, fill)
            return None
        done = self._done[base] = Done(base, version, fill)
        if len(self._done) > EXECUTIONS_KEPT_MAX:
            self._done.popitem(last=False)
        early = self._early.pop(message.execution_id, None)
        if early is not None:
            self._price(done, early)
        return done

    def _correct(self, known: Done, version: int, fill: OrderFilled) -> None:
        before = known.fill
        known.version, known.fill = version, fill
        known.commission = None
        if known.is_said and (before.price, before.qty, before.side) != (fill.price, fill.qty, fill.side):
            self.troubles.append(
                f"execution {known.base} was corrected after it was booked: {before.side.name} {before.qty} at {before.price} "
                f"is now {fill.side.name} {fill.qty} at {fill.price} (units and points): the books need it by hand"
            )

    def charge(self, message: Commission) -> Done | None:
        """The execution whose commission is known now; None where it is not heard of yet. Raises VenueProtocolError."""
        base, version = split_id(message.execution_id)
        done = self._done.get(base)
        if done is None:
            self._early[message.execution_id] = message
            if len(self._early) > COMMISSIONS_EARLY_MAX:
                self._early.popitem(last=False)
            return None
        if version < done.version:
            return None
        was_known = done.commission is not None
        self._price(done, message)
        if (
            done.is_said
            and not was_known
            and (done.commission, done.currency) != (done.fill.commission, done.fill.commission_currency)
        ):
            self.troubles.append(
                f"execution {base}: its commission came too late: {message.amount} {message.currency}, and "
                f"{done.fill.commission} (10^-8 {done.fill.commission_currency}) was booked"
            )
        return done

    @staticmethod
    def _price(done: Done, message: Commission) -> None:
        try:
            done.commission = money_of(message.amount or "0")
        except UnitError as error:
            raise VenueProtocolError(f"execution {done.base}: commission: {error}") from None
        done.currency = message.currency or done.fill.commission_currency

    def say(self, done: Done, listed: Listed, leaves: int) -> OrderFilled:
        """The event, with the commission that is known, or else with what the configured fees make it."""
        done.fill = self.shown(done, listed, leaves)
        done.is_said = True
        return done.fill

    @staticmethod
    def shown(done: Done, listed: Listed, leaves: int) -> OrderFilled:
        fill, instrument = done.fill, listed.instrument
        if done.commission is not None:
            return msgspec.structs.replace(fill, commission=done.commission, commission_currency=done.currency, leaves_qty=leaves)
        if done.is_said:
            return fill
        is_maker = fill.liquidity_side is LiquiditySide.MAKER
        rate = instrument.maker_fee_rate if is_maker else instrument.taker_fee_rate
        return msgspec.structs.replace(fill, commission=instrument.commission(fill.price, fill.qty, rate), leaves_qty=leaves)

    def get(self, execution_id: str) -> Done | None:
        """By the id that the venue says, whatever its version."""
        return self._done.get(split_id(execution_id)[0])

    def by_base(self, base: str) -> Done | None:
        return self._done.get(base)


def split_id(execution_id: str) -> tuple[str, int]:
    """What names the execution, and its version. Raises VenueProtocolError for an id that is none."""
    if not 0 < len(execution_id) <= 100 or not execution_id.isprintable():
        raise VenueProtocolError(f"{execution_id[:40]!r} is no execution's id")
    base, dot, version = execution_id.rpartition(".")
    if not dot or not base or not version.isascii() or not version.isdigit() or len(version) > 4:
        return execution_id, 1
    return base, int(version)
