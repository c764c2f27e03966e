"""Executions and their commissions, which come apart: each execution once, the latest version of it, and what it has cost. Pure.

An execution's id ends in a version, from 01: a correction is the same execution with the next one. What changes once an execution
was said as a fill is money that moved: a commission that was late or is another one, and what a corrected price makes of the
value. A movement is named by the execution and by what it comes to, so that the same report, heard again, is the same one.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from adapters.ib.contracts import Listed
from adapters.ib.messages import Commission, Execution
from adapters.ib.numbers import money_of, price_of, qty_of
from adapters.ib.requests import side_of
from core.enums import CashKind, LiquiditySide, Side
from core.errors import UnitError, VenueProtocolError
from core.events import CashMoved, OrderFilled
from core.instruments import Instrument
from core.order_store import FOREIGN_ORDER_ID
from core.units import NS_PER_SECOND

EXECUTIONS_KEPT_MAX = 100_000
COMMISSIONS_EARLY_MAX = 10_000  # of executions that were not heard of yet
ADDED_LIQUIDITY = 1


class Done(msgspec.Struct):
    """One execution. `commission` is None until the venue has said it; then in 10^-MONEY_SCALE of `currency`.

    `fill` is as it was said, once it was: what changes then is in `moves`, and `price` and `charged` are what both come to.
    """

    base: str
    version: int
    fill: OrderFilled
    is_said: bool = False
    is_of_before: bool = False  # an earlier process may have said it, nobody knows how
    commission: int | None = None
    currency: str = ""
    price: int = 0
    charged: tuple[int, str] = (0, "")
    moves: tuple[CashMoved, ...] = ()


class Fills:
    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._done: OrderedDict[str, Done] = OrderedDict()
        self._early: OrderedDict[str, Commission] = OrderedDict()
        self.troubles: list[str] = []
        self.moves: list[CashMoved] = []  # to be said

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
            self._correct(ts, known, version, fill, instrument)
            return None
        done = self._done[base] = Done(base, version, fill)
        if len(self._done) > EXECUTIONS_KEPT_MAX:
            self._done.popitem(last=False)
        early = self._early.pop(message.execution_id, None)
        if early is not None:
            self._price(done, early)
        return done

    def _correct(self, ts: int, known: Done, version: int, fill: OrderFilled, instrument: Instrument) -> None:
        before, price = known.fill, known.price
        known.version = version
        if not known.is_said:
            known.fill, known.commission = fill, None
            return
        known.price = fill.price
        if (price, before.qty, before.side) == (fill.price, fill.qty, fill.side):
            return
        text = (
            f"execution {known.base} was corrected after it was booked: {before.side.name} {before.qty} at {price} "
            f"is now {fill.side.name} {fill.qty} at {fill.price} (units and points)"
        )
        if (before.qty, before.side) == (fill.qty, fill.side):
            less = instrument.notional(price, fill.qty) - instrument.notional(fill.price, fill.qty)
            amount = less if fill.side is Side.BUY else -less
            name = f"{known.base}/price/{version}"
            self._move(ts, known, name, CashKind.CORRECTION, instrument.settlement_currency, amount)
            self.troubles.append(f"{text}: the difference is booked in cash")
        else:
            self.troubles.append(f"{text}: the books need it by hand")

    def _move(self, ts: int, done: Done, name: str, kind: CashKind, currency: str, amount: int) -> None:
        if not amount:
            return
        order_id = done.fill.client_order_id
        moved = CashMoved(
            ts,
            ts,
            self._venue,
            name,
            kind,
            currency,
            amount,
            done.fill.instrument_id,
            0 if order_id == FOREIGN_ORDER_ID else order_id,
        )
        done.moves = (*done.moves, moved)
        self.moves.append(moved)

    def charge(self, ts: int, message: Commission) -> Done | None:
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
        self._price(done, message)
        if done.is_said:
            self._settle(ts, done)
        return done

    def _settle(self, ts: int, done: Done) -> None:
        """The fill was said with another commission, or with none: what it costs more or less is money that moves."""
        (charged, currency), commission = done.charged, done.commission
        if commission is None or (commission, done.currency) == (charged, currency):
            return
        name, kind = f"{done.base}/commission/{done.version}/{commission}{done.currency}", CashKind.COMMISSION
        if done.currency == currency:
            self._move(ts, done, name, kind, currency, charged - commission)
        else:
            self._move(ts, done, f"{name}/back", kind, currency, charged)
            self._move(ts, done, name, kind, done.currency, -commission)
        done.charged = commission, done.currency

    @staticmethod
    def _price(done: Done, message: Commission) -> None:
        try:
            done.commission = money_of(message.amount or "0")
        except UnitError as error:
            raise VenueProtocolError(f"execution {done.base}: commission: {error}") from None
        done.currency = message.currency or done.fill.commission_currency

    def say(self, done: Done, listed: Listed, leaves: int) -> OrderFilled:
        """The event, with the commission that is known, or else with what the configured fees make it."""
        done.fill = fill = self.shown(done, listed, leaves)
        if not done.is_said:
            done.is_said, done.price = True, fill.price
            done.charged = fill.commission, fill.commission_currency
        return fill

    @staticmethod
    def shown(done: Done, listed: Listed, leaves: int) -> OrderFilled:
        fill, instrument = done.fill, listed.instrument
        if done.is_said:
            return msgspec.structs.replace(fill, leaves_qty=leaves)
        if done.commission is not None:
            return msgspec.structs.replace(fill, commission=done.commission, commission_currency=done.currency, leaves_qty=leaves)
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
