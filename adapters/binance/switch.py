"""Binance as the guardian reaches it: cancel everything, flatten, the dead-man switch, over REST and nothing else.

It needs no stream, no daemon and no memory: what it says is what the venue answered just now.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from adapters.binance.account_checks import key_problems
from adapters.binance.codec import BinanceCodec
from adapters.binance.endpoints import Product
from adapters.binance.instrument_rules import SymbolRules, symbol_rules
from adapters.binance.numbers import money_of, total_of
from adapters.binance.order_events import OrderEvents, side_of
from adapters.binance.outcomes import UNKNOWN_CANCEL
from adapters.binance.rest.io import now_ns, read_clock, send_all, value_of
from adapters.binance.rest_bodies import AlgoOrderBody, OrderBody
from adapters.http.clock_offset import ClockOffset
from adapters.http.io import HttpTransport
from adapters.http.request import Outcome, Request, Sent, T
from core.commands import SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.errors import ConfigError, RefusedError, TransportError, VenueProtocolError
from core.instruments import MONEY_SCALE, Instrument
from core.units import NS_PER_SECOND, POW10
from core.venue_adapter import VenueOrder

REDUCE_ONLY_CODE = -2022
# A look at a few symbols weighs 2, one at the whole account 80: every few seconds that would be half of what there is.
WHOLE_APART_NS = 30 * NS_PER_SECOND


class BinanceSwitch:
    """core.venue_switch.VenueSwitch for one product. `order_ids` are for `flatten`: never used before, by anyone."""

    def __init__(
        self,
        venue: str,
        codec: BinanceCodec,
        http: HttpTransport,
        clock: ClockOffset,
        rules: Mapping[str, SymbolRules],
        prefix: str,
        order_ids: Iterator[int],
        *,
        checks_rights: bool = False,
    ) -> None:
        bases = [rule.instrument.base_currency for rule in rules.values()]
        if codec.product is Product.SPOT and len(set(bases)) != len(bases):
            raise ConfigError("two spot instruments of one base currency: which of them holds the balance cannot be told")
        self._venue = venue
        self._codec = codec
        self._http = http
        self._clock = clock
        self._rules = dict(rules)
        self._events = OrderEvents({symbol: rule.instrument for symbol, rule in rules.items()}, prefix)
        self._order_ids = order_ids
        self._is_futures = codec.product is Product.USDM
        self._checks_rights = checks_rights
        self._whole_at = 0  # when the whole account is to be asked about again

    @property
    def venue(self) -> str:
        return self._venue

    async def open(self) -> None:
        await read_clock(self._http, self._codec, self._clock)
        # A signed question that costs little: whether the key is taken shows now and not in a kill.
        symbol = next(iter(self._rules))
        await value_of(self._http, self._codec.open_orders(symbol), f"{self._venue}: open orders")
        if self._checks_rights:
            rights = await value_of(self._http, self._codec.key_permissions(), f"{self._venue}: the key's rights")
            problems = key_problems(self._codec.product, rights)
            if problems:
                raise RefusedError(f"{self._venue}: {'; '.join(problems)}")
            # A kill later on is not to fail for a right that somebody has added meanwhile.
            self._checks_rights = False
        await self._read_market_bounds()

    async def _read_market_bounds(self) -> None:
        """How large a market order may be. Where the venue does not say, what is configured must do."""
        info = (await self._http.send(self._codec.exchange_info(self._rules))).value
        for body in info.symbols if info is not None else []:
            known = self._rules.get(body.symbol)
            if known is None:
                continue
            try:
                found = symbol_rules(self._codec.product, body, self._venue)
            except VenueProtocolError:
                continue
            here, there = known.instrument.qty_scale, found.instrument.qty_scale
            most = found.market_qty_max * POW10[max(here - there, 0)] // POW10[max(there - here, 0)]
            self._rules[body.symbol] = msgspec.structs.replace(known, market_qty_max=max(most, known.instrument.qty_min))

    async def close(self) -> None:
        await self._http.aclose()

    # Cancels.

    async def cancel_all(self) -> None:
        """By symbol, all at once, at both services of the futures; then whatever else the account has open.

        A bulk call that is not proven to have worked is followed by a cancel of each order that is still listed.
        """
        failures: list[str] = []
        await self._cancel_symbols(sorted(self._rules), failures)
        try:
            left = await self._listed()
        except TransportError as error:
            raise TransportError("; ".join([*failures, str(error)])) from error
        others = sorted({order.symbol for order in left} - self._rules.keys())
        await self._cancel_symbols(others, failures)
        if failures:
            await self._cancel_each(left)

    async def _cancel_symbols(self, symbols: list[str], failures: list[str]) -> None:
        requests: list[Request[Any]] = [self._codec.cancel_all(symbol) for symbol in symbols]
        if self._is_futures:
            requests += [self._codec.cancel_all_conditional(symbol) for symbol in symbols]
        for request, sent in zip(requests, await send_all(self._http, requests), strict=True):
            # Spot says "unknown order" where there was nothing to cancel.
            if sent.outcome is not Outcome.ACCEPTED and sent.code != UNKNOWN_CANCEL:
                failures.append(f"{request.name}: {sent.outcome.name} {sent.reason}")

    async def _cancel_each(self, left: list[OrderBody | AlgoOrderBody]) -> None:
        requests: list[Request[Any]] = [
            self._codec.cancel_venue_order(order.order_id, order.symbol)
            if isinstance(order, OrderBody)
            else self._codec.cancel_venue_conditional(order.algo_id)
            for order in left
        ]
        failures = [
            f"{request.name}: {sent.outcome.name} {sent.reason}"
            for request, sent in zip(requests, await send_all(self._http, requests), strict=True)
            if sent.outcome is Outcome.NOT_SENT_PROVEN
            or (sent.outcome is Outcome.REJECTED_PROVEN and sent.code != UNKNOWN_CANCEL)
        ]
        if failures:
            raise TransportError(f"{len(failures)} of {len(left)} cancels were not taken, the first: {failures[0]}")

    # What the venue has.

    async def _listed(self) -> list[OrderBody | AlgoOrderBody]:
        """Every open order of the account, of instruments that are not configured as well: it costs forty times as much."""
        orders = self._value(await self._http.send(self._codec.open_orders()), "open orders")
        listed: list[OrderBody | AlgoOrderBody] = list(orders)
        if self._is_futures:
            conditional = self._value(await self._http.send(self._codec.open_conditional()), "open conditional orders")
            listed.extend(conditional)
        has_others = any(body.symbol not in self._rules for body in listed)
        self._whole_at = now_ns() + (0 if has_others else WHOLE_APART_NS)
        return listed

    async def _listed_here(self) -> list[OrderBody | AlgoOrderBody]:
        """Of the configured instruments, and of the others every now and then, and as long as they have some."""
        if now_ns() >= self._whole_at:
            return await self._listed()
        requests: list[Request[Any]] = [*self._codec.all_open(self._rules)]
        answers = await send_all(self._http, requests)
        return [row for sent in answers for row in self._value(sent, "open orders")]

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        """What does not fit a configured instrument is told all the same: without a price, its quantity at scale 8."""
        orders = []
        for body in await self._listed_here():
            try:
                order = self._events.open_order(body) if isinstance(body, OrderBody) else self._events.open_algo_order(body)
            except VenueProtocolError:
                order = None  # a tick that has become finer must not hide an order from a kill
            orders.append(order if order is not None else self._other(body))
        return tuple(orders)

    def _other(self, body: OrderBody | AlgoOrderBody) -> VenueOrder:
        text = body.orig_qty if isinstance(body, OrderBody) else body.quantity
        number = str(body.order_id) if isinstance(body, OrderBody) else f"a{body.algo_id}"
        try:
            leaves, side = money_of(text, "quantity"), side_of(body.symbol, body.side)
        except VenueProtocolError as error:
            raise TransportError(f"{self._venue}: an open order that cannot be read: {error}") from error
        return VenueOrder(None, f"{body.symbol}.{self._venue}", side, None, leaves, number)

    async def positions(self) -> dict[str, int]:
        """Futures: positions. Spot: all that the account holds of each instrument's base currency, in whole lots."""
        try:
            if self._is_futures:
                held = self._events.positions(self._value(await self._http.send(self._codec.positions()), "positions"))
                return {
                    rule.instrument.instrument_id: held.get(rule.instrument.instrument_id, 0) for rule in self._rules.values()
                }
            account = self._value(await self._http.send(self._codec.spot_account()), "account")
            totals = {row.asset: total_of(row.free, row.locked) for row in account.balances}
        except VenueProtocolError as error:
            raise TransportError(f"{self._venue}: positions that cannot be read: {error}") from error
        instruments = [rule.instrument for rule in self._rules.values()]
        return {each.instrument_id: whole_lots(each, totals.get(each.base_currency, 0)) for each in instruments}

    # Flat.

    async def flatten(self) -> None:
        """Market orders that can only reduce, each at most as large as the venue takes. None is sent twice.

        On spot that sells everything the account holds of a configured base currency: give the daemon an account of its own.
        """
        held = await self.positions()
        commands = [
            command
            for _, rule in sorted(self._rules.items())
            for command in self._closing(rule, held[rule.instrument.instrument_id])
        ]
        answers = await send_all(self._http, [self._codec.place(command, 0) for command in commands])
        failures = [
            f"{command.instrument_id}: {sent.outcome.name} {sent.reason}"
            for command, sent in zip(commands, answers, strict=True)
            # Refused because there is nothing left to reduce is what was wanted.
            if sent.outcome in (Outcome.NOT_SENT_PROVEN, Outcome.REJECTED_PROVEN) and sent.code != REDUCE_ONLY_CODE
        ]
        if failures:
            raise TransportError(f"{self._venue}: not everything could be closed: {'; '.join(failures)}")

    def _closing(self, rule: SymbolRules, qty: int) -> Iterator[SubmitOrder]:
        instrument, left = rule.instrument, abs(qty)
        while left >= instrument.qty_min:
            part = min(left, rule.market_qty_max)
            if 0 < left - part < instrument.qty_min <= part - instrument.qty_min:
                part -= instrument.qty_min  # or the rest would be too small to be sent
            left -= part
            yield SubmitOrder(
                ts=0,
                client_order_id=next(self._order_ids),
                strategy_id="",
                instrument_id=instrument.instrument_id,
                side=Side.SELL if qty > 0 else Side.BUY,
                order_type=OrderType.MARKET,
                quantity=part,
                price=None,
                time_in_force=TimeInForce.GTC,
                reduce_only=True,
            )

    # The dead-man switch.

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        """Spot has none. Futures: every symbol's countdown, all at once."""
        if not self._is_futures:
            return False
        # Up: a switch that goes off a moment too late is better than one that 0.5 ms would disarm.
        countdown_ms = math.ceil(timeout_s * 1000)
        symbols = list(self._rules)
        answers = await send_all(self._http, [self._codec.dead_man(symbol, countdown_ms) for symbol in symbols])
        failures = [
            f"{symbol}: {sent.outcome.name} {sent.reason}"
            for symbol, sent in zip(symbols, answers, strict=True)
            if sent.outcome is not Outcome.ACCEPTED
        ]
        if failures:
            raise TransportError(f"{self._venue}: the dead-man switch was not taken: {'; '.join(failures)}")
        return True

    def _value(self, sent: Sent[T], what: str) -> T:
        if sent.value is None:
            raise TransportError(f"{self._venue}: {what}: {sent.outcome.name} {sent.reason}")
        return sent.value


def whole_lots(instrument: Instrument, amount: int) -> int:
    """`amount` of a currency (10^-MONEY_SCALE) in units of the instrument, cut to its lot: what could be sold of it."""
    shift = instrument.qty_scale - MONEY_SCALE
    units = amount * POW10[shift] if shift >= 0 else amount // POW10[-shift]
    return units // instrument.lot * instrument.lot
