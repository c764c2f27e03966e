"""A seeded background market: levels around a moving fair price, and people who trade with them. Pure.

It has no opinion: the fair price walks by ticks, levels follow it, and whoever rests in its way is traded with. The same seed
gives the same market, whatever the clients do, but for the quantities that they take.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core.enums import MarketStatus, Side
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.model import Listing, Refused
from sim.venues.faults import PPM, Random

STEPS_MAX = 100_000  # in one advance: a clock that leaps further finds the market where it stood


class CrowdSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One listing's crowd. Prices in ticks, quantities in lots; chances in a million per step."""

    fair: int  # points, where it begins
    step_ns: int = 250_000_000
    depth: int = 10  # levels on each side
    half_spread_ticks: int = 1
    gap_ticks: int = 1  # between levels
    lots_max: int = 20  # of a level
    move_ppm: int = 300_000
    move_ticks_max: int = 2
    trade_ppm: int = 300_000
    trade_lots_max: int = 10


class _Market:
    def __init__(self, listing: Listing, settings: CrowdSettings, ts: int) -> None:
        self.listing = listing
        self.settings = settings
        self.fair = settings.fair
        self.next_ts = ts
        self.resting: tuple[dict[int, int], dict[int, int]] = ({}, {})  # by side: price, number


class Crowd:
    """`settings` by the listing's name; a listing without them has no crowd. Prices start with the first `advance`."""

    def __init__(self, exchange: Exchange, seed: int, settings: dict[str, CrowdSettings], ts: int) -> None:
        self._exchange = exchange
        self._random = Random(seed)
        self._markets = [_Market(exchange.listings[name], each, ts) for name, each in sorted(settings.items())]
        self.is_quiet = False  # True: nobody moves; what rests goes on resting

    def next_ts(self) -> int | None:
        if self.is_quiet or not self._markets:
            return None
        return min(market.next_ts for market in self._markets)

    def advance(self, ts: int) -> None:
        """Everybody's steps up to `ts`, in order of time."""
        if self.is_quiet:
            return
        for market in self._markets:
            behind = (ts - market.next_ts) // market.settings.step_ns - STEPS_MAX
            if behind > 0:
                market.next_ts += behind * market.settings.step_ns
        while self._markets:
            market = min(self._markets, key=lambda each: each.next_ts)
            if market.next_ts > ts:
                return
            self.step(market.next_ts, market.listing)

    def step(self, ts: int, listing: Listing) -> None:
        """One listing's crowd moves once."""
        market = next(each for each in self._markets if each.listing is listing)
        market.next_ts = max(market.next_ts, ts) + market.settings.step_ns
        if listing.status is not MarketStatus.TRADING:
            return
        self._walk(market)
        self._withdraw(ts, market)
        self._quote(ts, market)
        settings, chance = market.settings, self._random
        if chance.below(PPM) < settings.trade_ppm:
            lots = 1 + chance.below(settings.trade_lots_max)
            qty = max(lots * listing.rules.lot, self._least(listing))
            self._exchange.crowd_market(ts, listing, Side(chance.below(2)), qty)

    def withdraw_all(self, ts: int, listings: Iterable[Listing]) -> None:
        """Nobody is there any more, until the next step."""
        for market in self._markets:
            if market.listing in list(listings):
                for side in (Side.BUY, Side.SELL):
                    self._cancel(ts, market, side, list(market.resting[side]))

    def set_fair(self, listing: Listing, fair: int) -> None:
        """The fair price jumps; the book follows with the next step."""
        next(market for market in self._markets if market.listing is listing).fair = fair

    def fair(self, listing: Listing) -> int:
        return next(market for market in self._markets if market.listing is listing).fair

    def _walk(self, market: _Market) -> None:
        settings, rules, chance = market.settings, market.listing.rules, self._random
        if chance.below(PPM) >= settings.move_ppm:
            return
        ticks = 1 + chance.below(settings.move_ticks_max)
        moved = market.fair + (ticks if chance.below(2) else -ticks) * rules.tick
        room = (settings.half_spread_ticks + settings.depth * settings.gap_ticks) * rules.tick
        market.fair = min(max(moved, rules.price_min + room), rules.price_max - room)

    def _edge(self, market: _Market, side: Side) -> int:
        """The best price that this side may quote."""
        rules, away = market.listing.rules, market.settings.half_spread_ticks * market.listing.rules.tick
        if side is Side.BUY:
            return rules.round_price(market.fair - away, "down")
        return rules.round_price(market.fair + away, "up")

    def _prices(self, market: _Market, side: Side) -> list[int]:
        edge, step = self._edge(market, side), market.settings.gap_ticks * market.listing.rules.tick
        # Levels stand on a grid of their own, so that a move of the fair price leaves most of them where they are.
        first = edge // step * step if side is Side.BUY else -(-edge // step) * step
        sign = -1 if side is Side.BUY else 1
        return [first + sign * step * level for level in range(market.settings.depth)]

    def _withdraw(self, ts: int, market: _Market) -> None:
        for side in (Side.BUY, Side.SELL):
            resting, wanted = market.resting[side], set(self._prices(market, side))
            there = self._exchange.resting_numbers(market.listing, side) if resting else ()
            gone = [price for price, number in resting.items() if number not in there]
            for price in gone:
                del resting[price]
            self._cancel(ts, market, side, [price for price in resting if price not in wanted])

    def _cancel(self, ts: int, market: _Market, side: Side, prices: list[int]) -> None:
        for price in prices:
            self._exchange.crowd_cancel(ts, market.resting[side].pop(price))

    def _quote(self, ts: int, market: _Market) -> None:
        listing, settings = market.listing, market.settings
        for side in (Side.BUY, Side.SELL):
            for price in self._prices(market, side):
                lots = 1 + self._random.below(settings.lots_max)
                if price in market.resting[side]:
                    continue
                qty = max(lots * listing.rules.lot, self._least(listing))
                try:
                    number = self._exchange.crowd_limit(ts, listing, side, price, qty)
                except Refused:
                    continue  # outside the listing's prices
                if self._exchange.crowd_leaves(number):
                    market.resting[side][price] = number

    @staticmethod
    def _least(listing: Listing) -> int:
        rules = listing.rules
        return -(-rules.qty_min // rules.lot) * rules.lot
