"""Everybody else at the simulated venue, from a seed: levels around a price that wanders, and somebody who takes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.enums import Side
from core.units import NS_PER_MS
from sim.venues.deribit.markets import Market
from sim.venues.faults import Random

if TYPE_CHECKING:
    from sim.venues.deribit.venue import DeribitVenue

LEVELS = 5
LEVEL_LOTS = 40  # of min_trade_amount at each level, at most
TAKE_LOTS = 30
PAUSE_NS_MIN = 20 * NS_PER_MS
PAUSE_NS_MAX = 200 * NS_PER_MS
DRIFT_TICKS_MAX = 400  # so far from where it began a price is drawn back


class Crowd:
    """`step` does what is due and says when to come again (`next_ts`)."""

    def __init__(self, seed: int, ts: int) -> None:
        self._random = Random(seed)
        self._fair: dict[str, int] = {}
        self._start: dict[str, int] = {}
        self.next_ts = ts

    def step(self, venue: DeribitVenue, ts: int) -> None:
        pause_ns = PAUSE_NS_MIN + self._random.below(PAUSE_NS_MAX - PAUSE_NS_MIN)
        # After a long sleep of the shell what was missed is not made up for: the market is where it is now.
        self.next_ts = max(self.next_ts + pause_ns, ts)
        for name, market in venue.markets.items():
            if market.is_open and market.mark:
                self._trade(venue, ts, name, market)

    def _trade(self, venue: DeribitVenue, ts: int, name: str, market: Market) -> None:
        tick = market.tick_at(market.mark)
        start = self._start.setdefault(name, market.mark // tick * tick)
        fair = self._fair.get(name, start)
        choice = self._random.below(10)
        if choice < 3:
            # Away from where it began it is more often drawn back.
            is_up = self._random.below(2 * DRIFT_TICKS_MAX) >= DRIFT_TICKS_MAX + (fair - start) // tick
            fair += tick if is_up else -tick
        self._fair[name] = fair = max(fair, (LEVELS + 1) * tick)
        self._quote(venue, ts, name, market, fair, tick)
        if choice >= 6:
            side = (Side.BUY, Side.SELL)[self._random.below(2)]
            venue.crowd(ts, name, side, None, market.rules.lot * (1 + self._random.below(TAKE_LOTS)))

    def _quote(self, venue: DeribitVenue, ts: int, name: str, market: Market, fair: int, tick: int) -> None:
        wrong, have = [], set()
        for order in venue.crowd_orders():
            if order.market is not market or order.price is None:
                continue
            away = fair - order.price if order.side is Side.BUY else order.price - fair
            if 0 < away <= LEVELS * tick:
                have.add((order.side, order.price))
            else:
                wrong.append(order)
        if wrong:
            venue.crowd_cancel(ts, wrong)
        for level in range(1, LEVELS + 1):
            for side, price in ((Side.BUY, fair - level * tick), (Side.SELL, fair + level * tick)):
                if (side, price) not in have:
                    venue.crowd(ts, name, side, price, market.rules.lot * (1 + self._random.below(LEVEL_LOTS)))
