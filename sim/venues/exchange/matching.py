"""Orders into the native book, its reports into orders, fills and prints. Pure.

Every call changes the accounts first; changes, prints and touched books gather until somebody takes them.
"""

from __future__ import annotations

import copy
import heapq
from collections.abc import Iterable

from core.enums import MarketStatus, OrderType, Reason, Side, TimeInForce
from core.instruments import Instrument
from native.book import NativeBook
from native.book_types import Flag, Kind, Level, Report, SelfTrade
from sim.venues.exchange.ledger import Books, FeeRule, Settlement, instrument_fee, is_spot, settled_as_traded
from sim.venues.exchange.model import (
    Account,
    Fill,
    Happened,
    Holding,
    Listing,
    NewOrder,
    NoFunds,
    Order,
    Origin,
    Print,
    Refused,
    State,
)

ORDERS_MAX = 100_000  # live in the book, the crowd's as well
LEVELS_MAX = 50_000
LISTINGS_MAX = 512
ACCOUNTS_MAX = 256

_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
_TAKES_ORDERS = (MarketStatus.TRADING, MarketStatus.AUCTION)


class Matching:
    """Listings, accounts and their orders. `orders` and `fills` hold everything since the beginning, oldest first."""

    def __init__(
        self,
        listings: Iterable[Listing],
        *,
        self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST,
        fee: FeeRule = instrument_fee,
        settle: Settlement = settled_as_traded,
    ) -> None:
        self.listings: dict[str, Listing] = {}
        self.orders: dict[int, Order] = {}
        self.fills: list[Fill] = []
        self._book = NativeBook(
            orders_max=ORDERS_MAX,
            levels_max=LEVELS_MAX,
            symbols_max=LISTINGS_MAX,
            owners_max=ACCOUNTS_MAX,
            stp_mode=self_trade,
        )
        self.books = Books(self.listings, fee, settle)
        self._by_symbol: list[Listing] = []
        self._rules_opened: dict[str, Instrument] = {}
        self._number = 0
        self._trade_number = 0
        self._open: dict[int, dict[int, Order]] = {}  # by account
        self._stops: dict[str, dict[int, Order]] = {}  # by listing
        self._waiting: dict[str, dict[int, Order]] = {}
        self._by_client_id: dict[tuple[int, str], list[Order]] = {}
        self._expiries: list[tuple[int, int]] = []
        self._changes: list[Order | Fill] = []
        self._prints: list[Print] = []
        self._touched: dict[str, Listing] = {}
        for listing in listings:
            self.add_listing(listing)

    def add_listing(self, listing: Listing) -> Listing:
        if listing.name in self.listings:
            raise ValueError(f"{listing.name} is listed twice")
        self.books.check_listing(listing)
        rules = listing.rules
        listing.symbol = self._book.symbol_add(
            tick=rules.tick,
            lot=rules.lot,
            qty_min=rules.qty_min,
            qty_max=rules.qty_max,
            price_min=rules.price_min,
            price_max=rules.price_max,
        )
        self._rules_opened[listing.name] = rules
        self._by_symbol.append(listing)
        self.listings[listing.name] = listing
        if listing.status is MarketStatus.AUCTION:
            self._book.auction_begin(listing.symbol)
        elif listing.status is not MarketStatus.TRADING:
            self._book.status_set(listing.symbol, listing.status)
        return listing

    def add_account(self, name: str, balances: dict[str, int], positions: dict[str, tuple[int, int]] | None = None) -> Account:
        """`positions` by listing: what it starts with, and at which price it was opened."""
        if name in self.books.accounts:
            raise ValueError(f"there is an account {name} already")
        account = Account(name=name, number=len(self.books.accounts) + 1, balances=dict(balances))
        assert account.number <= ACCOUNTS_MAX
        for listing_name, (qty, price) in (positions or {}).items():
            listing = self.listings[listing_name]
            account.positions[listing_name] = Holding(qty=qty, value_open=listing.rules.notional(price, qty))
            self._book.position_set(account.number, listing.symbol, qty)
        self.books.accounts[name] = account
        self._open[account.number] = {}
        return account

    @property
    def accounts(self) -> dict[str, Account]:
        return self.books.accounts

    # What is asked of it. Each raises Refused, and then nothing has happened.

    def place(self, ts: int, account: Account, listing: Listing, new: NewOrder, origin: Origin = "client") -> Order:
        """A new order; it may have traded, or ended, when this returns."""
        self._check(account, listing, new)
        order = self._make(ts, account, listing, new, origin)
        if new.order_type in _STOPS:
            order.state = State.UNTRIGGERED
            self._record(order)
            self._stops.setdefault(listing.name, {})[order.number] = order
            self._changed(ts, order, Happened.PLACED)
        elif listing.status not in _TAKES_ORDERS:
            order.is_waiting = True
            self._record(order)
            self._waiting.setdefault(listing.name, {})[order.number] = order
            self._changed(ts, order, Happened.PLACED)
        else:
            reports = self._submit(ts, order)
            self._record(order)
            self._changed(ts, order, Happened.PLACED)
            self._take(ts, reports[1:])
            self._touched[listing.name] = listing
        self._elect(ts, listing)
        return order

    def replace(
        self, ts: int, order: Order, *, qty: int | None = None, price: int | None = None, trigger_price: int | None = None
    ) -> None:
        """Change an open order; `qty` is its new total, fills included. NO_CHANGE is a refusal."""
        listing = order.listing
        total = order.qty if qty is None else qty
        if not order.is_open:
            raise Refused(Reason.UNKNOWN_ORDER, "the order has ended")
        if total <= order.filled_qty:
            raise Refused(Reason.BAD_QTY, "so much is filled already")
        if (price is not None and order.price is None) or (trigger_price is not None and order.state is not State.UNTRIGGERED):
            raise Refused(Reason.BAD_FIELD, "the order has no such price")
        self._check_qty(listing, total)
        for value in (price, trigger_price):
            if value is not None:
                self._check_price(listing, value)
        self._check_replaced_funds(order, total, price if price is not None else order.price)
        if order.state is State.UNTRIGGERED or order.is_waiting:
            self._replace_parked(ts, order, total, price, trigger_price)
        else:
            assert order.price is not None, "what rests in the book has a price"
            leaves = total - order.filled_qty
            reports = self._book.replace(ts, order.number, leaves, order.price if price is None else price)
            if reports[0].kind == Kind.REPLACE_REJECTED:
                raise Refused(Reason(reports[0].reason))
            self._take(ts, reports)
        self._elect(ts, listing)

    def _replace_parked(self, ts: int, order: Order, total: int, price: int | None, trigger_price: int | None) -> None:
        wanted = (total, order.price if price is None else price, trigger_price or order.trigger_price)
        if wanted == (order.qty, order.price, order.trigger_price):
            raise Refused(Reason.NO_CHANGE)
        order.qty, order.price, order.trigger_price = wanted
        self._changed(ts, order, Happened.REPLACED)

    def cancel(self, ts: int, order: Order, cause: str = "", reason: Reason = Reason.REQUESTED) -> None:
        """Take an open order out; `reason` where it is not its owner who asks."""
        if not order.is_open:
            raise Refused(Reason.UNKNOWN_ORDER, "the order has ended")
        if order.state is not State.UNTRIGGERED and not order.is_waiting:
            reports = self._book.cancel(ts, order.number)
            assert reports[0].kind == Kind.CANCELED, "an open order is in the book"
            self._touched[order.listing.name] = order.listing
        self._end(ts, order, State.CANCELED, reason, cause)

    def cancel_all(
        self,
        ts: int,
        account: Account,
        listing: Listing | None = None,
        side: Side | None = None,
        *,
        cause: str = "",
        reason: Reason = Reason.MASS_CANCEL,
    ) -> list[Order]:
        """Every open order of an account, of one listing or side where named; oldest first."""
        found = [order for order in self.open_orders(account, listing) if side is None or order.side is side]
        for order in found:
            self.cancel(ts, order, cause, reason)
        return found

    def expire(self, ts: int) -> None:
        """Good-till-date orders whose time has come leave."""
        self._take(ts, self._book.advance(ts))
        while self._expiries and self._expiries[0][0] <= ts:
            order = self.orders[heapq.heappop(self._expiries)[1]]
            if order.is_open and order.expire_ts <= ts:
                self._end(ts, order, State.EXPIRED, Reason.NONE, "")

    def next_expiry(self) -> int | None:
        """When `expire` has something to do."""
        while self._expiries and not self.orders[self._expiries[0][1]].is_open:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None

    def end_of_day(self, ts: int, listing: Listing | None = None) -> None:
        """Day orders leave, and opening orders that never met an opening."""
        self._take(ts, self._book.end_of_day(ts, -1 if listing is None else listing.symbol))
        for parked in (self._stops, self._waiting):
            for name, orders in parked.items():
                for order in list(orders.values()) if listing is None or listing.name == name else ():
                    if order.time_in_force in (TimeInForce.DAY, TimeInForce.OPG):
                        self._end(ts, order, State.EXPIRED, Reason.NONE, "")

    # Checks.

    def _check(self, account: Account, listing: Listing, new: NewOrder) -> None:
        if listing.status not in _TAKES_ORDERS and not listing.takes_when_closed:
            raise Refused(Reason.CLOSED)
        is_stop, is_market = new.order_type in _STOPS, new.order_type in (OrderType.MARKET, OrderType.STOP)
        if is_market is not (new.price is None) or is_stop is not (new.trigger_price is not None):
            raise Refused(Reason.BAD_FIELD, f"the prices are not those of {new.order_type.name}")
        if new.reduce_only and is_spot(listing):
            raise Refused(Reason.BAD_FIELD, "spot has no positions to reduce")
        self._check_qty(listing, new.qty)
        for price in (new.price, new.trigger_price):
            if price is not None:
                self._check_price(listing, price)
        if new.reduce_only:
            held = account.qty(listing)
            if not is_stop and (held == 0 or (held > 0) is (new.side is Side.BUY)):
                raise Refused(Reason.REDUCE_ONLY)
            return
        if is_stop and listing.margin == "margin":
            return
        price = new.price if new.price is not None else new.trigger_price
        if price is not None:
            cost = self.books.cost(account, listing, price, new.qty) if listing.margin == "cash" else 0
        else:
            price, cost = self._market_cost(account, listing, new)
        self.books.require(account, listing, new.side, new.qty, price, cost)

    def _market_cost(self, account: Account, listing: Listing, new: NewOrder) -> tuple[int, int]:
        """The best opposite price, and what walking the book would cost a buyer with cash."""
        best = self._book.best(listing.symbol, 1 - new.side)
        is_paid = listing.margin == "cash" and new.side is Side.BUY
        cost = self._walk_cost(account, listing, new.qty) if is_paid else 0
        return listing.reference if best is None else best.price, cost

    def _walk_cost(self, account: Account, listing: Listing, qty: int) -> int:
        """What buying `qty` at once costs with cash; what nobody sells costs nothing."""
        cost, left = 0, qty
        for level in self._book.levels(listing.symbol, Side.SELL):
            if left <= 0:
                break
            cost += self.books.cost(account, listing, level.price, min(level.qty, left))
            left -= level.qty
        return cost

    def _check_replaced_funds(self, order: Order, total: int, price: int | None) -> None:
        account, listing = order.account, order.listing
        price = price if price is not None else order.trigger_price
        if order.reduce_only or price is None or (listing.margin == "margin" and order.state is State.UNTRIGGERED):
            return
        more, cost = total - order.qty, 0
        if listing.margin == "cash" and order.side is Side.BUY:
            before = order.price if order.price is not None else order.trigger_price
            assert before is not None
            cost = self.books.cost(account, listing, price, total - order.filled_qty)
            cost -= self.books.cost(account, listing, before, order.leaves_qty)
        if more > 0 or cost > 0:
            self.books.require(account, listing, order.side, max(more, 0), price, cost)

    @staticmethod
    def _check_qty(listing: Listing, qty: int) -> None:
        rules = listing.rules
        if not rules.qty_min <= qty <= rules.qty_max or qty % rules.lot:
            raise Refused(Reason.BAD_QTY, f"{qty} is no multiple of {rules.lot} from {rules.qty_min} to {rules.qty_max}")

    @staticmethod
    def _check_price(listing: Listing, price: int) -> None:
        rules = listing.rules
        if not rules.price_min <= price <= rules.price_max:
            raise Refused(Reason.BAD_PRICE, f"{price} is not from {rules.price_min} to {rules.price_max}")
        if price % rules.tick:
            raise Refused(Reason.BAD_TICK, f"{price} is no multiple of {rules.tick}")

    def would_trigger(self, listing: Listing, new: NewOrder) -> bool:
        """Whether a stop's price is passed already: some venues refuse that one; here it is triggered at once."""
        assert new.trigger_price is not None
        return self._is_reached(listing, new.side, new.trigger_price, new.trigger_by or listing.trigger_by, new.is_if_touched)

    # Orders.

    def _make(self, ts: int, account: Account, listing: Listing, new: NewOrder, origin: Origin) -> Order:
        """An order with the next number, which is not taken until it is recorded."""
        return Order(
            number=self._number + 1,
            account=account,
            listing=listing,
            side=new.side,
            qty=new.qty,
            price=new.price,
            trigger_price=new.trigger_price,
            order_type=new.order_type,
            time_in_force=new.time_in_force,
            post_only=new.post_only,
            reprices=new.reprices,
            reduce_only=new.reduce_only,
            display_qty=new.display_qty,
            expire_ts=new.expire_ts,
            client_id=new.client_id,
            trigger_by=new.trigger_by or listing.trigger_by,
            is_if_touched=new.is_if_touched,
            created_ts=ts,
            updated_ts=ts,
            origin=origin,
            tag=new.tag,
        )

    def _submit(self, ts: int, order: Order) -> list[Report]:
        """Into the book; the first report is its acceptance."""
        is_market = order.price is None
        time_in_force = order.time_in_force
        if is_market and time_in_force not in (TimeInForce.FOK, TimeInForce.OPG):
            time_in_force = TimeInForce.IOC
        flags = Flag.REDUCE_ONLY if order.reduce_only else Flag.NONE
        if order.post_only:
            flags |= Flag.POST_ONLY_SLIDE if order.reprices else Flag.POST_ONLY
        reports = self._book.submit(
            ts,
            order_id=order.number,
            side=order.side,
            qty=order.qty,
            price=order.price or 0,
            symbol=order.listing.symbol,
            owner=order.account.number,
            order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
            time_in_force=time_in_force,
            flags=flags,
            display_qty=order.display_qty,
            expire_ts=order.expire_ts,
        )
        if reports[0].kind == Kind.REJECTED:
            raise Refused(Reason(reports[0].reason))
        if not is_market:
            order.price = reports[0].price
        return reports

    def _record(self, order: Order) -> None:
        self._number = order.number
        self.orders[order.number] = order
        self._open[order.account.number][order.number] = order
        if order.client_id:
            self._by_client_id.setdefault((order.account.number, order.client_id), []).append(order)
        if order.time_in_force is TimeInForce.GTD:
            heapq.heappush(self._expiries, (order.expire_ts, order.number))

    def _changed(self, ts: int, order: Order, happened: Happened) -> None:
        order.updated_ts, order.happened = ts, happened
        self.books.reckon(order)
        if not order.is_open:
            self._open[order.account.number].pop(order.number, None)
        if happened is not Happened.FILLED:
            self._changes.append(copy.copy(order))

    def _end(self, ts: int, order: Order, state: State, reason: Reason, cause: str) -> None:
        for parked in (self._stops, self._waiting):
            parked.get(order.listing.name, {}).pop(order.number, None)
        order.state, order.reason, order.cause, order.is_waiting = state, reason, cause, False
        happened = {State.EXPIRED: Happened.EXPIRED, State.REJECTED: Happened.REJECTED}.get(state, Happened.CANCELED)
        self._changed(ts, order, happened)

    # Reports.

    def _take(self, ts: int, reports: Iterable[Report]) -> None:
        for report in reports:
            listing = self._by_symbol[report.symbol]
            self._touched[listing.name] = listing
            if report.kind == Kind.TRADE:
                self._trade(ts, listing, report)
                continue
            order = self.orders.get(report.order_id)
            if order is None:
                continue  # the crowd's
            if report.kind == Kind.CANCELED:
                self._end(ts, order, State.CANCELED, Reason(report.reason), "")
            elif report.kind == Kind.EXPIRED:
                self._end(ts, order, State.EXPIRED, Reason.NONE, "")
            elif report.kind == Kind.RESTATED:
                order.qty = order.filled_qty + report.leaves_qty
                order.reason = Reason(report.reason)
                self._changed(ts, order, Happened.RESTATED)
            elif report.kind == Kind.REPLACED:
                order.qty, order.price = order.filled_qty + report.leaves_qty, report.price
                self._changed(ts, order, Happened.REPLACED)

    def _trade(self, ts: int, listing: Listing, report: Report) -> None:
        self._trade_number += 1
        listing.last = report.price
        taker, maker = self.orders.get(report.order_id), self.orders.get(report.contra_id)
        self._prints.append(
            Print(
                listing,
                report.price,
                report.qty,
                Side(report.side),
                ts,
                self._trade_number,
                report.contra_id if maker is not None else 0,
                report.order_id if taker is not None else 0,
            )
        )
        for order, is_maker in ((taker, False), (maker, True)):
            if order is not None:
                self._fill(ts, order, report.price, report.qty, self._trade_number, is_maker)

    def _fill(self, ts: int, order: Order, price: int, qty: int, trade_number: int, is_maker: bool, corrects: int = 0) -> Fill:
        """Book one side of a trade that the native book already knows of."""
        account, listing = order.account, order.listing
        fee, fee_currency = self.books.fee(account, listing, order.side, price, qty, is_maker)
        signed = qty if order.side is Side.BUY else -qty
        profit = self.books.book(account, listing, signed, price, fee, fee_currency)
        order.filled_qty += qty
        order.value += price * qty
        order.state = State.FILLED if order.filled_qty >= order.qty else State.PARTIALLY_FILLED
        self._changed(ts, order, Happened.FILLED)
        fill = Fill(
            number=len(self.fills) + 1,
            order=order,
            order_then=copy.copy(order),
            trade_number=trade_number,
            price=price,
            qty=qty,
            fee=fee,
            fee_currency=fee_currency,
            is_maker=is_maker,
            ts=ts,
            position_after=account.qty(listing),
            profit=profit,
            corrects=corrects,
        )
        self.fills.append(fill)
        self._changes.append(fill)
        return fill

    # Stops.

    def set_mark(self, ts: int, listing: Listing, mark: int) -> None:
        listing.mark = mark
        self._elect(ts, listing)

    def set_index(self, ts: int, listing: Listing, index: int) -> None:
        listing.index = index
        self._elect(ts, listing)

    def _elect(self, ts: int, listing: Listing) -> None:
        """Stops whose price was reached become orders, the oldest first; what they trade may reach more."""
        stops = self._stops.get(listing.name)
        while stops and listing.status is MarketStatus.TRADING:
            stop = next((order for order in stops.values() if self._is_due(order)), None)
            if stop is None:
                return
            del stops[stop.number]
            self._trigger(ts, stop)

    def _trigger(self, ts: int, stop: Order) -> None:
        stop.state, stop.triggered_ts = State.NEW, ts
        self._changed(ts, stop, Happened.TRIGGERED)
        account, listing = stop.account, stop.listing
        try:
            if not stop.reduce_only:
                self._require_covered(account, listing, stop)
            reports = self._submit(ts, stop)
        except Refused as refused:
            self._end(ts, stop, State.REJECTED, refused.reason, str(refused))
            return
        self._take(ts, reports[1:])
        self._touched[listing.name] = listing

    def _require_covered(self, account: Account, listing: Listing, stop: Order) -> None:
        """Of a stop that counts among the working orders by now: raises NoFunds where it asks for more than there is."""
        if listing.margin == "margin":
            buy_qty, sell_qty = (-stop.qty, 0) if stop.side is Side.BUY else (0, -stop.qty)
            before, currency = self.books.margin_of(account, listing, buy_qty, sell_qty, stop.price or 0)
            after, _ = self.books.margin_of(account, listing, price=stop.price or 0)
            free = self.books.available(account, currency) + after - before
        elif stop.side is Side.BUY and stop.price is None:
            assert stop.trigger_price is not None
            currency = listing.rules.settlement_currency
            before = self.books.cost(account, listing, stop.trigger_price, stop.qty)
            after = self._walk_cost(account, listing, stop.qty)
            free = self.books.available(account, currency)
        else:
            return
        if after > before and after - before > free:
            raise NoFunds(after - before, free, currency)

    def _is_due(self, order: Order) -> bool:
        assert order.trigger_price is not None
        return self._is_reached(order.listing, order.side, order.trigger_price, order.trigger_by, order.is_if_touched)

    @staticmethod
    def _is_reached(listing: Listing, side: Side, trigger_price: int, by: str, is_if_touched: bool) -> bool:
        price = {"last": listing.last, "mark": listing.mark, "index": listing.index}[by]
        if not price:
            return False
        rises = (side is Side.BUY) is not is_if_touched
        return price >= trigger_price if rises else price <= trigger_price

    # Views.

    def open_orders(self, account: Account, listing: Listing | None = None) -> list[Order]:
        """Oldest first."""
        found = self._open[account.number].values()
        return [order for order in found if listing is None or order.listing is listing]

    def order(self, number: int) -> Order | None:
        found = self.orders.get(number)
        return None if found is None or found.is_lost else found

    def by_client_id(self, account: Account, client_id: str) -> list[Order]:
        """Oldest first; a client may use an id again where its venue lets it."""
        return [order for order in self._by_client_id.get((account.number, client_id), ()) if not order.is_lost]

    def levels(self, listing: Listing, depth: int) -> tuple[list[Level], list[Level]]:
        """Bids and asks, best first, at most `depth` of each."""
        book, symbol = self._book, listing.symbol
        return book.levels(symbol, Side.BUY, depth), book.levels(symbol, Side.SELL, depth)

    def best(self, listing: Listing) -> tuple[Level | None, Level | None]:
        return self._book.best(listing.symbol, Side.BUY), self._book.best(listing.symbol, Side.SELL)

    def level_qty(self, listing: Listing, side: Side, price: int) -> int:
        """What shows at a price."""
        return self._book.level_qty(listing.symbol, side, price)

    # What has to be told, each thing once, in the order in which it happened.

    def take_changes(self) -> list[Order | Fill]:
        """An Order is a copy of what it was then (`happened` says what it tells); a Fill stands for its order's change too."""
        taken, self._changes = self._changes, []
        return taken

    def take_prints(self) -> list[Print]:
        taken, self._prints = self._prints, []
        return taken

    def take_touched(self) -> list[Listing]:
        """Listings whose books may have changed."""
        taken, self._touched = list(self._touched.values()), {}
        return taken
