"""The stream of prices as quotes, books and status, as often as was asked for. Pure.

A price says all that can be dealt at, so each stands for itself: none builds on the one before, and what a connection lost is
the market of that time. OANDA prints no trades, and sends at most four prices a second for an instrument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapters.oanda.exact import cut_of, positive_of, time_of
from adapters.oanda.rules import Rules
from adapters.oanda.wire import Level, Price
from adapters.sim.market import NEVER, MarketFilter
from core.enums import MarketStatus
from core.errors import ConfigError, VenueProtocolError
from core.events import AnyEvent, Book, GapDetected, Quote, StatusChanged
from core.strategy import Subscription

BOOK_LEVELS_MAX = 64


def check_subscriptions(subscriptions: Iterable[Subscription]) -> None:
    """Raises ConfigError for what a dealer does not show."""
    found = list(subscriptions)
    for each in found:
        if each.trades or each.bars_ns:
            raise ConfigError(f"{each.instrument_id}: OANDA publishes no trades, so there are neither prints nor bars of them")
    MarketFilter(found, BOOK_LEVELS_MAX)


class Market:
    """`subscriptions` None: everything goes on."""

    def __init__(self, rules: Mapping[str, Rules], subscriptions: Iterable[Subscription] | None) -> None:
        self._by_name = {each.name: each for each in rules.values()}
        self._filter = None if subscriptions is None else MarketFilter(subscriptions, BOOK_LEVELS_MAX)
        self._last_ts: dict[str, int] = {}
        self._status: dict[str, MarketStatus] = {}

    @property
    def names(self) -> list[str]:
        return sorted(self._by_name)

    @property
    def next_deadline(self) -> int:
        """When `due` has something to give, ns UTC."""
        return NEVER if self._filter is None else self._filter.next_deadline

    def due(self, ts: int) -> list[AnyEvent]:
        return [] if self._filter is None else self._filter.due(ts)

    def receive(self, ts: int, price: Price) -> list[AnyEvent]:
        """Raises VenueProtocolError for a price that cannot be."""
        rules = self._by_name.get(price.instrument)
        if rules is None:
            raise VenueProtocolError(f"a price of {price.instrument[:40]}, which was not asked for")
        key, ts_event = rules.instrument.instrument_id, time_of(price.time)
        bids, asks = _levels(rules, price.bids, falling=True), _levels(rules, price.asks, falling=False)
        if ts_event <= self._last_ts.get(key, 0):
            return []  # known, or older than what is known
        self._last_ts[key] = ts_event
        events = self._said(ts_event, ts, key, MarketStatus.TRADING if price.is_tradeable else MarketStatus.HALTED)
        bid_price, bid_qty = bids[0] if bids else (0, 0)
        ask_price, ask_qty = asks[0] if asks else (0, 0)
        for event in (
            Quote(ts_event, ts, key, bid_price, bid_qty, ask_price, ask_qty),
            Book(ts_event, ts, key, bids, asks),
        ):
            events += [event] if self._filter is None else self._filter.receive(ts, event)
        return events

    def lost(self, ts: int) -> list[AnyEvent]:
        """The stream has ended: no price of before counts."""
        if self._filter is not None:
            self._filter.forget()
        self._last_ts.clear()
        return [GapDetected(ts, ts, rules.instrument.instrument_id) for _, rules in sorted(self._by_name.items())]

    def _said(self, ts_event: int, ts: int, key: str, status: MarketStatus) -> list[AnyEvent]:
        if self._status.get(key, MarketStatus.TRADING) is status:
            return []
        self._status[key] = status
        return [StatusChanged(ts_event, ts, key, status)]


def _levels(rules: Rules, levels: Iterable[Level], *, falling: bool) -> tuple[tuple[int, int], ...]:
    """(price, quantity), best first; levels without anything on offer left out."""
    found: list[tuple[int, int]] = []
    for level in levels:
        price = positive_of(level.price, rules.instrument.price_scale, "price")
        qty = cut_of(level.liquidity_text, rules.instrument.qty_scale, "liquidity")
        if found and (price >= found[-1][0] if falling else price <= found[-1][0]):
            raise VenueProtocolError(f"{rules.name}: {level.price[:40]} is out of order")
        if qty:
            found.append((price, qty))
    return tuple(found)
