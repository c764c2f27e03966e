"""What happens at the simulated Binance that no client asked for: `SimVenue.act`, by name.

hit {account, client_order_id, qty}          somebody trades against a resting order; qty in units
trade {symbol, side, qty}                    somebody trades at the market
print {symbol, side, price, qty}             a print elsewhere: it may trigger stops
manual_order {account, symbol, side, qty, price}   the owner trades in the browser; price absent: at the market
manual_cancel {account, client_order_id}     the owner cancels in the browser
fair {symbol, price} · mark {symbol, price} · quiet {is_quiet}   the crowd's fair price, the mark, whether the crowd stands still
fund {symbol, rate_ppb} · liquidate {account, symbol} · adl {account, symbol, qty}
deposit {account, currency, amount}          10^-8, negative: a withdrawal
halt {symbol} · open {symbol} · status {symbol, status}
overfill {account, client_order_id, qty}     a fill on top of what was asked for
restart {orders_lost}                        every connection ends and the newest open orders of each account are forgotten
shutdown {} · cut {}                         streams end with serverShutdown, or without a word
expire_keys {} · revoke {account} · restore {account} · ban {}
rules {symbol, tick, lot}                    coarser ones
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.enums import MarketStatus, OrderType, Side
from sim.venues.binance.desk import Desk
from sim.venues.binance.markets import Market, Product
from sim.venues.binance.orders import Tag, tag_of
from sim.venues.binance.streams import Streams
from sim.venues.exchange.exchange import replaced_rules
from sim.venues.exchange.model import Account, NewOrder, Order, Refused

LIQUIDATION_FEE_RATE = 12_500_000  # 1.25 %

Arguments = dict[str, Any]


class Acts:
    def __init__(self, desk: Desk, streams: Streams) -> None:
        self._desk = desk
        self._exchange = desk.exchange
        self._streams = streams
        self._known: dict[str, Callable[[int, Arguments], None]] = {
            "hit": self._hit,
            "trade": self._trade,
            "print": self._print,
            "manual_order": self._manual_order,
            "manual_cancel": self._manual_cancel,
            "fair": self._fair,
            "mark": self._mark,
            "quiet": self._quiet,
            "fund": lambda ts, arguments: self.fund(ts, self._market(arguments), self._integer(arguments, "rate_ppb")),
            "liquidate": lambda ts, arguments: self.liquidate(ts, self._account(arguments), self._market(arguments)),
            "adl": self._adl,
            "deposit": self._deposit,
            "halt": lambda ts, arguments: self._exchange.halt(ts, self._market(arguments).listing),
            "open": self._open,
            "status": self._status,
            "overfill": self._overfill,
            "restart": self._restart,
            "shutdown": lambda ts, arguments: self._streams.shut_down(ts),
            "cut": lambda ts, arguments: self._streams.cut_all(ts),
            "expire_keys": lambda ts, arguments: self._streams.expire_listen_keys(ts),
            "revoke": lambda ts, arguments: self._revoke(arguments, True),
            "restore": lambda ts, arguments: self._revoke(arguments, False),
            "ban": lambda ts, arguments: desk.meters.ban(ts),
            "rules": self._rules,
        }

    def act(self, ts: int, name: str, arguments: Arguments) -> None:
        """Raises ValueError for what is not known, or cannot be now."""
        deed = self._known.get(name)
        if deed is None:
            raise ValueError(f"nothing is called {name!r}; there are {', '.join(sorted(self._known))}")
        try:
            deed(ts, arguments)
        except Refused as refused:
            raise ValueError(f"{name}: {refused}") from None

    # What the arguments name.

    def _market(self, arguments: Arguments) -> Market:
        found = self._desk.markets.get(str(arguments.get("symbol", "")))
        if found is None:
            raise ValueError(f"symbol: there are {', '.join(self._desk.markets)}")
        return found

    def _account(self, arguments: Arguments) -> Account:
        found = self._exchange.accounts.get(str(arguments.get("account", "us")))
        if found is None:
            raise ValueError(f"account: there are {', '.join(self._exchange.accounts)}")
        return found

    def _order(self, arguments: Arguments) -> Order:
        account, client_id = self._account(arguments), str(arguments.get("client_order_id", ""))
        found = self._exchange.by_client_id(account, client_id)
        if not found:
            raise ValueError(f"client_order_id: {account.name} has no order {client_id!r}")
        return found[-1]

    @staticmethod
    def _integer(arguments: Arguments, name: str) -> int:
        found = arguments.get(name)
        if type(found) is not int:
            raise ValueError(f"{name} must be a whole number, not {found!r}")
        return found

    @staticmethod
    def _side(arguments: Arguments) -> Side:
        found = arguments.get("side")
        if found not in ("BUY", "SELL"):
            raise ValueError(f"side must be BUY or SELL, not {found!r}")
        return Side[found]

    # Deeds.

    def _hit(self, ts: int, arguments: Arguments) -> None:
        self._exchange.hit(ts, self._order(arguments), self._integer(arguments, "qty"))

    def _trade(self, ts: int, arguments: Arguments) -> None:
        listing = self._market(arguments).listing
        if not self._exchange.crowd_market(ts, listing, self._side(arguments), self._integer(arguments, "qty")):
            raise ValueError("trade: there is nobody to trade with")

    def _print(self, ts: int, arguments: Arguments) -> None:
        price, qty = self._integer(arguments, "price"), self._integer(arguments, "qty")
        self._exchange.print_elsewhere(ts, self._market(arguments).listing, self._side(arguments), price, qty)

    def _manual_order(self, ts: int, arguments: Arguments) -> None:
        price = None if arguments.get("price") is None else self._integer(arguments, "price")
        kind = "MARKET" if price is None else "LIMIT"
        new = NewOrder(
            side=self._side(arguments),
            qty=self._integer(arguments, "qty"),
            price=price,
            order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
            client_id=f"web_{self._desk.own_id()}",
            tag=Tag(kind=kind, time_in_force="GTC"),
        )
        self._exchange.manual(ts, self._account(arguments), self._market(arguments).listing, new)

    def _manual_cancel(self, ts: int, arguments: Arguments) -> None:
        order = self._order(arguments)
        tag_of(order).canceled_by = f"web_{self._desk.own_id()}"
        self._exchange.cancel(ts, order, "canceled in the browser")

    def _fair(self, ts: int, arguments: Arguments) -> None:
        self._desk.crowd.set_fair(self._market(arguments).listing, self._integer(arguments, "price"))

    def _mark(self, ts: int, arguments: Arguments) -> None:
        self._exchange.set_mark(ts, self._market(arguments).listing, self._integer(arguments, "price"))

    def _quiet(self, ts: int, arguments: Arguments) -> None:
        self._desk.crowd.is_quiet = bool(arguments.get("is_quiet", True))

    def fund(self, ts: int, market: Market, rate_ppb: int) -> None:
        for move in self._exchange.fund(ts, market.listing, rate_ppb):
            client = self._desk.by_account[move.account.name]
            self._desk.tell(ts, client, self._desk.writer.account_update(ts, move.account, "FUNDING_FEE", move))

    def liquidate(self, ts: int, account: Account, market: Market) -> None:
        """Its orders leave, its position goes to the market, and the liquidation fee is taken."""
        before = len(self._exchange.orders)
        tag = Tag(kind="LIMIT", time_in_force="IOC", child_id=f"autoclose-{ts // 1_000_000}{account.number}")
        self._exchange.force(ts, account, market.listing, "liquidation", tag)
        value = sum(order.value for order in list(self._exchange.orders.values())[before:] if order.origin == "forced")
        fee = market.rules.commission(1, value, LIQUIDATION_FEE_RATE)
        desk, currency = self._desk, market.rules.settlement_currency
        move = desk.books.move_cash(ts, account, market.listing, currency, -fee, "insurance clear")
        desk.collect(ts)  # the executions are told first
        desk.tell(ts, desk.by_account[account.name], desk.writer.account_update(ts, account, "INSURANCE_CLEAR", move))

    def _adl(self, ts: int, arguments: Arguments) -> None:
        account, market = self._account(arguments), self._market(arguments)
        held, qty = account.qty(market.listing), self._integer(arguments, "qty")
        if not 0 < qty <= abs(held):
            raise ValueError(f"qty: the position is {held}")
        side = Side.SELL if held > 0 else Side.BUY
        tag = Tag(kind="LIMIT", time_in_force="IOC", child_id="adl_autoclose")
        self._exchange.deliver(ts, account, market.listing, side, qty, market.listing.reference, "adl", tag=tag)

    def _deposit(self, ts: int, arguments: Arguments) -> None:
        desk, account = self._desk, self._account(arguments)
        currency = str(arguments.get("currency", "USDT"))
        move = self._exchange.adjust(ts, account, currency, self._integer(arguments, "amount"), "deposit")
        client = desk.by_account[account.name]
        if desk.product is Product.USDM:
            desk.tell(ts, client, desk.writer.account_update(ts, account, "DEPOSIT", move))
        else:
            desk.tell(ts, client, desk.writer.account_position(ts, account, (currency,)))
            desk.tell(ts, client, desk.writer.balance_update(ts, move))

    def _open(self, ts: int, arguments: Arguments) -> None:
        market = self._market(arguments)
        market.status = "TRADING"
        self._exchange.open(ts, market.listing)

    def _status(self, ts: int, arguments: Arguments) -> None:
        market, status = self._market(arguments), str(arguments.get("status", ""))
        market.status = status
        if status != "TRADING" and market.listing.status is MarketStatus.TRADING and status != "CANCEL_ONLY":
            self._exchange.halt(ts, market.listing)

    def _overfill(self, ts: int, arguments: Arguments) -> None:
        order = self._order(arguments)
        price = order.price if order.price is not None else order.listing.reference
        self._exchange.overfill(ts, order, self._integer(arguments, "qty"), price)

    def _restart(self, ts: int, arguments: Arguments) -> None:
        lost, void = (self._integer({"count": arguments.get(name, 0)}, "count") for name in ("orders_lost", "fills_lost"))
        self._streams.cut_all(ts)
        for account in self._exchange.accounts.values():
            orders = self._exchange.open_orders(account)
            self._exchange.lose(ts, orders[len(orders) - min(lost, len(orders)) :])
            fills = [fill for fill in self._exchange.fills if fill.order.account is account and not fill.is_busted]
            for fill in fills[len(fills) - min(void, len(fills)) :]:
                self._exchange.bust(ts, fill, is_told=False)

    def _revoke(self, arguments: Arguments, is_revoked: bool) -> None:
        self._desk.by_account[self._account(arguments).name].is_revoked = is_revoked

    def _rules(self, ts: int, arguments: Arguments) -> None:
        market = self._market(arguments)
        rules = replaced_rules(market.listing, tick=self._integer(arguments, "tick"), lot=self._integer(arguments, "lot"))
        self._exchange.set_rules(market.listing, rules)
