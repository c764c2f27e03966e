"""Funding of simulated positions: at its moments each open position pays, or gets, a rate of what it is worth.

A payment is a CashMoved, as live. It counts by the position that our side knows of at that moment: a fill that is still on its
way to us then is not in it. Worth is the mean of bid and ask; where one is missing, the last fill or close. Rate above 0: who is
long pays.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from core.approved import Approved
from core.commands import CancelTimer, OrderCommand, SetTimer
from core.enums import CashKind, Side
from core.events import AnyEvent, Bar, CashMoved, OrderFilled
from core.instruments import FEE_RATE_SCALE, Instrument
from core.units import POW10, divide_half_even
from sim.driver import Venue
from sim.outer_venue import OuterVenue

NEVER = (1 << 63) - 1


class Schedule(Protocol):
    """When an instrument pays, and how much. Rates at 10^-FEE_RATE_SCALE, stamps ns UTC."""

    @property
    def instrument(self) -> Instrument: ...

    def next_ts(self, ts: int) -> int:
        """The first moment behind `ts`; NEVER where there is none."""

    def rate(self, ts: int) -> int:
        """Of a moment that `next_ts` has named."""


class ConstantFunding(msgspec.Struct, frozen=True, kw_only=True):
    """The same rate at each multiple of `interval_ns` since 1970: every 8 h is at 0, 8 and 16 h UTC."""

    instrument: Instrument
    interval_ns: int
    rate_each: int

    def next_ts(self, ts: int) -> int:
        return (ts // self.interval_ns + 1) * self.interval_ns

    def rate(self, _ts: int) -> int:
        return self.rate_each


class RecordedFunding(msgspec.Struct, frozen=True, kw_only=True):
    """What was paid: `stamps` increase, `rates` go with them."""

    instrument: Instrument
    stamps: tuple[int, ...]
    rates: tuple[int, ...]

    def next_ts(self, ts: int) -> int:
        place = bisect_right(self.stamps, ts)
        return self.stamps[place] if place < len(self.stamps) else NEVER

    def rate(self, ts: int) -> int:
        return self.rates[bisect_right(self.stamps, ts) - 1]


class FundedVenue:
    """A venue whose positions pay by `schedules`, from behind `ts_start`. `positions`: what the account brings along."""

    def __init__(self, inner: Venue, schedules: Sequence[Schedule], positions: Mapping[str, int], ts_start: int) -> None:
        self.inner = inner
        self.has_quiet_market = inner.has_quiet_market
        self._schedules = tuple(schedules)
        self._positions = {each.instrument.instrument_id: positions.get(each.instrument.instrument_id, 0) for each in schedules}
        self._prices: dict[str, int] = {}  # of the last fill or bar
        self._paid_ts = ts_start
        self._due_ts = self._next_ts()
        self._advance: Callable[[int], Sequence[AnyEvent]] = inner.advance
        self.best = inner.best

    @property
    def now(self) -> int:
        return self.inner.now

    @property
    def done(self) -> bool:
        return self.inner.done

    def send(self, approved: Approved) -> None:
        self.inner.send(approved)

    def take(self, command: OrderCommand) -> None:
        """As `send`, for the far side of a wire."""
        assert isinstance(self.inner, OuterVenue)
        self.inner.take(command)

    def schedule(self, command: SetTimer | CancelTimer) -> None:
        self.inner.schedule(command)

    def advance(self, until_ts: int) -> Sequence[AnyEvent]:
        """As the venue's own, with payments as wake-ups of their own, behind everything else of their moment."""
        while True:
            due_ts = self._due_ts
            events = self._advance(min(until_ts, due_ts))
            if events:
                self._note(events)
                return events
            if due_ts > until_ts or self.inner.now < due_ts or self.inner.done:
                # Behind the data's end only answers run out: there is no market to pay by.
                return events
            paid = self._pay(due_ts)
            self._paid_ts = due_ts
            self._due_ts = self._next_ts()
            if paid:
                return paid

    def _next_ts(self) -> int:
        return min((each.next_ts(self._paid_ts) for each in self._schedules), default=NEVER)

    def _note(self, events: Sequence[AnyEvent]) -> None:
        for event in events:
            if type(event) is OrderFilled and event.instrument_id in self._positions:
                self._positions[event.instrument_id] += event.qty if event.side is Side.BUY else -event.qty
                self._prices[event.instrument_id] = event.price
            elif type(event) is Bar:
                self._prices[event.instrument_id] = event.close

    def _pay(self, ts: int) -> list[AnyEvent]:
        paid: list[AnyEvent] = []
        for each in self._schedules:
            instrument = each.instrument
            key = instrument.instrument_id
            qty = self._positions[key]
            if not qty or each.next_ts(self._paid_ts) != ts:
                continue
            amount = -divide_half_even(self._value(instrument, qty) * each.rate(ts), POW10[FEE_RATE_SCALE])
            if amount:
                currency, name = instrument.settlement_currency, f"funding-{key}-{ts}"
                paid.append(CashMoved(ts, ts, instrument.venue, name, CashKind.FUNDING, currency, amount, key))
        return paid

    def _value(self, instrument: Instrument, qty: int) -> int:
        """Signed like the quantity."""
        best = self.best(instrument.instrument_id)
        if best is None:
            return instrument.notional(self._prices[instrument.instrument_id], qty) if self._has_price(instrument) else 0
        return divide_half_even(instrument.notional(best[0], qty) + instrument.notional(best[1], qty), 2)

    def _has_price(self, instrument: Instrument) -> bool:
        """A position that was brought along may be older than every price of this market."""
        return instrument.instrument_id in self._prices
