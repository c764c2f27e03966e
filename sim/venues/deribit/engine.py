"""The venue's matching: orders into the native book, its reports into orders, fills, positions and cash. Pure.

Every call changes the ledger first; `changed`, `fills` and `touched` collect what has to be told until somebody drains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.enums import Reason, Side
from native.book import NativeBook
from native.book_types import Flag, Kind, OrderType, Report, SelfTrade, TimeInForce
from sim.venues.deribit.ledger import Account, Fill, Ledger, VenueOrder, book_fill
from sim.venues.deribit.markets import Market
from sim.venues.deribit.wallet import Wallets
from sim.venues.deribit.wire import RpcError, invalid
from sim.venues.faults import Faults

ORDERS_MAX = 100_000
LEVELS_MAX = 20_000
OWNERS_MAX = 256

TIME_IN_FORCE = {
    "good_til_cancelled": TimeInForce.GTC,
    "good_til_day": TimeInForce.DAY,
    "fill_or_kill": TimeInForce.FOK,
    "immediate_or_cancel": TimeInForce.IOC,
}
STOPS = ("stop_market", "stop_limit")
REFUSALS: dict[int, tuple[int, str]] = {
    Reason.POST_ONLY: (11054, "post_only_reject"),
    Reason.BAD_PRICE: (10007, "price_too_high"),
    Reason.BAD_TICK: (10043, "price_wrong_tick"),
    Reason.BAD_QTY: (10021, "invalid_amount"),
    Reason.REDUCE_ONLY: (11030, "other_reject"),
    Reason.NO_LIQUIDITY: (11030, "other_reject"),
    Reason.CLOSED: (13019, "orderbook_closed"),
    Reason.FULL: (10047, "matching_engine_queue_full"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """What a buy or a sell asks for; price None: at the market."""

    side: Side
    amount: int
    price: int | None
    order_type: str
    time_in_force: str
    label: str = ""
    post_only: bool = False
    reject_post_only: bool = False
    reduce_only: bool = False
    display: int = 0
    trigger: str = ""
    trigger_price: int = 0
    is_liquidation: bool = False


class Engine:
    def __init__(self, markets: Mapping[str, Market], faults: Faults) -> None:
        self.markets = markets
        self.faults = faults
        self.ledger = Ledger()
        self.wallets = Wallets(self.ledger)
        self.changed: dict[int, VenueOrder] = {}
        self.fills: list[Fill] = []
        self.touched: dict[str, Market] = {}
        self._book = NativeBook(
            orders_max=ORDERS_MAX,
            levels_max=LEVELS_MAX,
            symbols_max=len(markets),
            owners_max=OWNERS_MAX,
            stp_mode=SelfTrade.CANCEL_NEWEST,
        )
        self._live: dict[int, VenueOrder] = {}
        self._stops: dict[int, VenueOrder] = {}
        self._by_id: dict[str, VenueOrder] = {}
        self._number = 0
        self._trade_number = 0
        self._by_symbol: dict[int, Market] = {}
        for market in markets.values():
            rules = market.rules
            market.symbol = self._book.symbol_add(
                tick=rules.tick,
                lot=rules.lot,
                qty_min=rules.qty_min,
                qty_max=rules.qty_max,
                price_min=rules.price_min,
                price_max=rules.price_max,
            )
            self._by_symbol[market.symbol] = market

    # What is asked of it. Each raises RpcError, and then nothing has happened.

    def place(self, ts: int, account: Account, connection: int, market: Market, wanted: NewOrder) -> VenueOrder:
        self._check(account, market, wanted)
        if wanted.order_type in STOPS:
            return self._park(ts, account, connection, market, wanted)
        return self._enter(ts, account, connection, market, wanted, "")

    def _check(self, account: Account, market: Market, wanted: NewOrder) -> None:
        rules = market.rules
        if not market.is_open:
            raise RpcError(13019, "orderbook_closed")
        if wanted.amount < rules.qty_min or wanted.amount % rules.lot:
            raise invalid("amount", "must be a multiple of the minimum order size")
        for price in (wanted.price, wanted.trigger_price if wanted.order_type in STOPS else None):
            if price is not None and (price <= 0 or price % market.tick_at(price)):
                raise RpcError(10043, "price_wrong_tick")
        if self._would_self_trade(account, market, wanted):
            raise RpcError(10003, "order_overlap")
        if not wanted.reduce_only and not self._can_pay(account, market, wanted):
            raise RpcError(10009, "not_enough_funds")

    def _would_self_trade(self, account: Account, market: Market, wanted: NewOrder) -> bool:
        for order in self._live.values():
            if order.account is not account or order.market is not market or order.side is wanted.side or order.price is None:
                continue
            if wanted.order_type in STOPS:
                continue
            if wanted.price is None or (order.price <= wanted.price if wanted.side is Side.BUY else order.price >= wanted.price):
                return True
        return False

    def _can_pay(self, account: Account, market: Market, wanted: NewOrder) -> bool:
        """The whole worst-case position at the mark over the highest leverage, against the cash of its currency."""
        rules, held = market.rules, account.holding(market.name).size
        working = sum(
            order.amount - order.filled
            for order in self._live.values()
            if order.account is account and order.market is market and order.side is wanted.side
        )
        signed = working + wanted.amount
        worst = abs(held + signed if wanted.side is Side.BUY else held - signed)
        price = wanted.price or market.mark or market.last
        if not price:
            return True
        return abs(rules.notional(price, worst)) // market.leverage_max <= account.cash.get(rules.settlement_currency, 0)

    def _new(self, ts: int, account: Account, connection: int, market: Market, wanted: NewOrder, trigger_id: str) -> VenueOrder:
        self._number += 1
        is_stop = wanted.order_type in STOPS
        prefix = f"SLT{'B' if wanted.side is Side.BUY else 'S'}" if is_stop else market.rules.settlement_currency
        order_type = wanted.order_type
        if trigger_id:
            order_type = "market" if wanted.order_type == "stop_market" else "limit"
            prefix = market.rules.settlement_currency
        return VenueOrder(
            number=self._number,
            order_id=f"{prefix}-{self._number}",
            account=account,
            market=market,
            side=wanted.side,
            amount=wanted.amount,
            price=wanted.price,
            order_type=order_type,
            time_in_force=wanted.time_in_force,
            label=wanted.label,
            created_ms=ts // 1_000_000,
            updated_ms=ts // 1_000_000,
            connection=connection,
            post_only=wanted.post_only,
            reject_post_only=wanted.reject_post_only,
            reduce_only=wanted.reduce_only,
            trigger="" if trigger_id else wanted.trigger,
            trigger_price=0 if trigger_id else wanted.trigger_price,
            trigger_order_id=trigger_id,
            is_liquidation=wanted.is_liquidation,
            created_ts=ts,
        )

    def _record(self, order: VenueOrder) -> None:
        self.ledger.orders.append(order)
        self._by_id[order.order_id] = order
        self.changed[order.number] = order

    def _park(self, ts: int, account: Account, connection: int, market: Market, wanted: NewOrder) -> VenueOrder:
        order = self._new(ts, account, connection, market, wanted, "")
        order.state = "untriggered"
        self._record(order)
        self._stops[order.number] = order
        self._elect(ts, market)
        return order

    def _enter(self, ts: int, account: Account, connection: int, market: Market, wanted: NewOrder, trigger_id: str) -> VenueOrder:
        order = self._new(ts, account, connection, market, wanted, trigger_id)
        is_market = order.order_type == "market"
        flags = Flag.REDUCE_ONLY if wanted.reduce_only else Flag.NONE
        if wanted.post_only:
            is_refused = wanted.reject_post_only and not self.faults.fires(19)
            flags |= Flag.POST_ONLY if is_refused else Flag.POST_ONLY_SLIDE
        reports = self._book.submit(
            ts,
            order_id=order.number,
            side=wanted.side,
            qty=wanted.amount,
            price=wanted.price or 0,
            symbol=market.symbol,
            owner=account.number,
            order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
            time_in_force=TimeInForce.IOC if is_market else TIME_IN_FORCE[wanted.time_in_force],
            flags=flags,
            display_qty=wanted.display,
        )
        if reports and reports[0].kind == Kind.REJECTED:
            code, message = REFUSALS.get(reports[0].reason, (11030, "other_reject"))
            raise RpcError(code, message, {"reason": Reason(reports[0].reason).name.lower()})
        self._record(order)
        self._live[order.number] = order
        self._take(ts, reports)
        self._elect(ts, market)
        return order

    def edit(self, ts: int, order: VenueOrder, amount: int, price: int | None, *, post_only: bool, reject: bool) -> None:
        market = order.market
        if not order.is_open:
            raise RpcError(11044, "not_open_order")
        if amount % market.rules.lot or amount < market.rules.qty_min:
            raise invalid("amount", "must be a multiple of the minimum order size")
        if amount <= order.filled:
            raise RpcError(11008, "already_filled")
        if price is not None and (price <= 0 or price % market.tick_at(price)):
            raise RpcError(10043, "price_wrong_tick")
        if order.state == "untriggered":
            order.amount, order.price = amount, price if order.price is not None else None
            self._touch(ts, order)
            order.is_replaced = True
            return
        new_price = price if price is not None else order.price or 0
        opposite = self._book.best(market.symbol, 1 - order.side)
        if post_only and opposite is not None:
            crosses = new_price >= opposite.price if order.side is Side.BUY else new_price <= opposite.price
            if crosses and reject:
                self.cancel(ts, order, "edit_post_only_reject")
                return
            if crosses:
                tick = market.rules.tick
                new_price = opposite.price - tick if order.side is Side.BUY else opposite.price + tick
        order.post_only, order.is_replaced = post_only, True
        reports = self._book.replace(ts, order.number, amount - order.filled, new_price)
        if reports and reports[0].kind == Kind.REPLACE_REJECTED and reports[0].reason != Reason.NO_CHANGE:
            code, message = REFUSALS.get(reports[0].reason, (11030, "other_reject"))
            raise RpcError(code, message)
        order.amount, order.price = amount, new_price
        self._touch(ts, order)
        self._take(ts, reports)
        self._elect(ts, market)

    def cancel(self, ts: int, order: VenueOrder, reason: str) -> None:
        """Take an open order out; a closed one stays as it is."""
        if order.state == "untriggered":
            del self._stops[order.number]
            self._close(ts, order, "cancelled", reason)
        elif order.state == "open":
            for report in self._book.cancel(ts, order.number):
                if report.kind == Kind.CANCELED:
                    self._close(ts, order, "cancelled", reason)

    def end_of_day(self, ts: int) -> None:
        """Day orders leave: 08:00 UTC."""
        self._take(ts, self._book.end_of_day(ts))
        for order in list(self._stops.values()):
            if order.time_in_force == "good_til_day":
                self.cancel(ts, order, "")

    def open_orders(self, account: Account) -> list[VenueOrder]:
        """Oldest first."""
        found = [*self._live.values(), *self._stops.values()]
        return sorted((order for order in found if order.account is account), key=lambda order: order.number)

    def order(self, order_id: str) -> VenueOrder | None:
        return self._by_id.get(order_id)

    def levels(self, market: Market) -> tuple[dict[int, int], dict[int, int]]:
        """Displayed amount by price, best first: bids, asks."""
        return (
            {level.price: level.qty for level in self._book.levels(market.symbol, 0)},
            {level.price: level.qty for level in self._book.levels(market.symbol, 1)},
        )

    def hit(self, ts: int, order: VenueOrder, amount: int) -> None:
        """A trade with somebody who is nobody's account: the resting order is filled for `amount`."""
        reports = self._book.execute_resting(ts, order.number, amount)
        self._take(ts, reports)

    # Reports.

    def _take(self, ts: int, reports: list[Report]) -> None:
        for report in reports:
            order = self._live.get(report.order_id)
            self.touched[self._by_symbol[report.symbol].name] = self._by_symbol[report.symbol]
            if report.kind == Kind.TRADE:
                self._trade(ts, report)
                continue
            if order is None:
                continue
            if report.kind in (Kind.ACCEPTED, Kind.REPLACED):
                if order.price is not None:
                    order.price = report.price
                self._touch(ts, order)
            elif report.kind in (Kind.CANCELED, Kind.EXPIRED):
                self._close(ts, order, "cancelled", "")
            elif report.kind == Kind.RESTATED:
                order.amount = order.filled + report.leaves_qty
                self._touch(ts, order)

    def _trade(self, ts: int, report: Report) -> None:
        market = self._by_symbol[report.symbol]
        self._trade_number += 1
        market.trade_seq += 1
        market.last = report.price
        trade_id = f"{market.rules.settlement_currency}-{self._trade_number}"
        for number, is_maker in ((report.order_id, False), (report.contra_id, True)):
            order = self._live.get(number)
            if order is None:
                continue
            order.filled += report.qty
            order.value += report.price * report.qty
            order.state = "filled" if order.filled >= order.amount else order.state
            self._touch(ts, order)
            currency = market.rules.settlement_currency
            if self.faults.fires(32):
                currency = "USDT"
            fill = Fill(
                trade_id,
                market.trade_seq,
                ts // 1_000_000,
                order,
                report.price,
                report.qty,
                is_maker,
                market.fee(report.price, report.qty, is_maker),
                currency,
                order.state,
                ts,
            )
            self.ledger.fills.append(fill)
            self.fills.append(fill)
            self.wallets.traded(ts, fill, book_fill(fill))
            if order.state == "filled":
                del self._live[order.number]

    def _touch(self, ts: int, order: VenueOrder) -> None:
        order.updated_ms = max(order.updated_ms, ts // 1_000_000)
        self.changed[order.number] = order
        self.touched[order.market.name] = order.market

    def _close(self, ts: int, order: VenueOrder, state: str, reason: str) -> None:
        order.state, order.cancel_reason = state, reason
        self._live.pop(order.number, None)
        self._touch(ts, order)

    # Stops.

    def set_mark(self, ts: int, market: Market, mark: int) -> None:
        market.mark = mark
        self._elect(ts, market)

    def _elect(self, ts: int, market: Market) -> None:
        """Stops whose price was reached become orders, the oldest first; what they trade may reach more."""
        while True:
            due = [order for order in self._stops.values() if order.market is market and self._is_reached(order)]
            if not due:
                return
            stop = due[0]
            del self._stops[stop.number]
            stop.state = "triggered"
            self._touch(ts, stop)
            wanted = NewOrder(
                side=stop.side,
                amount=stop.amount,
                price=stop.price,
                order_type=stop.order_type,
                time_in_force=stop.time_in_force,
                label=stop.label,
                post_only=stop.post_only,
                reject_post_only=stop.reject_post_only,
                reduce_only=stop.reduce_only,
            )
            try:
                self._enter(ts, stop.account, stop.connection, market, wanted, stop.order_id)
            except RpcError:
                stop.state = "rejected"
                self._touch(ts, stop)

    def _is_reached(self, order: VenueOrder) -> bool:
        market = order.market
        price = {"last_price": market.last, "mark_price": market.mark, "index_price": market.index}[order.trigger]
        if not price:
            return False
        return price >= order.trigger_price if order.side is Side.BUY else price <= order.trigger_price
