"""What both products share: the exchange, its crowd and clients, finding and refusing orders, what user streams have to tell."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from core.enums import MarketStatus, Reason, Side
from core.instruments import MONEY_SCALE
from core.units import NS_PER_DAY, POW10
from native.book_types import SelfTrade
from sim.venues.binance.limits import Limits, Meters
from sim.venues.binance.markets import Client, ClientSetup, Market, Product, default_clients, default_markets, rights
from sim.venues.binance.orders import ORDER_ID_FIRST, Tag, Texts, is_conditional, tag_of, wire_id
from sim.venues.binance.user_events import Event, EventWriter
from sim.venues.binance.wire import ApiError, Params, missing
from sim.venues.exchange.crowd import Crowd, CrowdSettings
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.ledger import instrument_fee, is_spot
from sim.venues.exchange.model import Account, Fill, Listing, NoFunds, Order, Refused
from sim.venues.faults import Faults

RETENTION_NS = 3 * NS_PER_DAY  # of orders that ended without a fill
ORDERS_OPEN_MAX = 200
BNB_PRICE_USDT = 600


class Call(msgspec.Struct, frozen=True):
    """One request, its signature checked."""

    ts: int
    client: Client
    params: Params

    @property
    def account(self) -> Account:
        return self.client.account


class Told(msgspec.Struct):
    """An event for one client's user streams, at the earliest at `ts`."""

    ts: int
    client: Client
    event: Event


class Desk:
    def __init__(
        self,
        product: Product,
        ts: int,
        seed: int,
        faults: Faults,
        *,
        markets: list[Market] | None = None,
        setups: list[ClientSetup] | None = None,
        limits: Limits | None = None,
        child_keeps_id: bool = False,
    ) -> None:
        self.product = product
        self.faults = faults
        self.markets = {market.symbol: market for market in (markets or default_markets(product))}
        self.exchange = Exchange(
            [market.listing for market in self.markets.values()], self_trade=SelfTrade.CANCEL_OLDEST, fee=self._fee
        )
        self.books = self.exchange.books
        self.clients: dict[str, Client] = {}
        self.by_account: dict[str, Client] = {}
        for setup in setups or default_clients(product):
            self.add_client(setup)
        self.texts = {symbol: Texts(product, market) for symbol, market in self.markets.items()}
        self.writer = EventWriter(product, self.books, self.texts)
        self.meters = Meters(product, limits)
        self.crowd = Crowd(self.exchange, seed, {symbol: _crowd_of(market) for symbol, market in self.markets.items()}, ts)
        # Whether what a conditional order became bears its client id or one of the venue's own; not documented.
        self.child_keeps_id = child_keeps_id
        self.told: list[Told] = []
        self._pays_bnb = False
        self._auto = 0
        self._children: dict[tuple[int, str], Order] = {}

    def add_client(self, setup: ClientSetup) -> Client:
        account = self.exchange.add_account(setup.name, setup.balances)
        client = Client(account=account, key=setup.key, secret=setup.secret, may=rights(setup))
        self.clients[setup.key] = self.by_account[setup.name] = client
        return client

    # Fees.

    def _fee(self, account: Account, listing: Listing, side: Side, price: int, qty: int, is_maker: bool) -> tuple[int, str]:
        """Spot pays in what is received; futures in USDT; fault 32 in BNB."""
        amount, currency = instrument_fee(account, listing, side, price, qty, is_maker)
        if self._pays_bnb:
            return amount // BNB_PRICE_USDT, "BNB"
        if is_spot(listing) and side is Side.BUY:
            rules = listing.rules
            rate = rules.maker_fee_rate if is_maker else rules.taker_fee_rate
            return qty * POW10[MONEY_SCALE - rules.qty_scale] * rate // 10**9, rules.base_currency
        return amount, currency

    def set_paying_bnb(self, is_on: bool) -> None:
        self._pays_bnb = is_on

    # What a request names.

    def market(self, params: Params, name: str = "symbol") -> Market:
        market = self.markets.get(params.text(name))
        if market is None:
            raise ApiError(-1121, "Invalid symbol.")
        return market

    def market_of(self, order: Order) -> Market:
        return self.markets[order.listing.name]

    def side(self, params: Params) -> Side:
        text = params.text("side")
        if text not in ("BUY", "SELL"):
            raise ApiError(-1117, "Invalid side.")
        return Side[text]

    def new_client_id(self, params: Params, name: str = "newClientOrderId") -> str:
        found = params.client_id(name)
        if found:
            return found
        self._auto += 1
        return f"auto{self._auto}"

    def own_id(self) -> str:
        """An id of the venue's making."""
        self._auto += 1
        return f"venue{self._auto}"

    # Finding.

    def find(self, call: Call, id_name: str, client_id_name: str) -> Order | None:
        """An order on the book by the venue's id or the client's; of several with one id the open one, or else the latest."""
        params, account = call.params, call.account
        if params.get(id_name):
            order = self.exchange.order(params.integer(id_name) - ORDER_ID_FIRST)
            found = [order] if order is not None and order.account is account else []
        elif params.get(client_id_name):
            found = self.named(account, params.get(client_id_name))
        else:
            raise ApiError(-1102, f"Param '{client_id_name}' or '{id_name}' must be sent, but both were empty/null!")
        symbol = params.get("symbol")
        found = [order for order in found if order.listing.name == symbol and not self._is_elsewhere(order)]
        found = [order for order in found if order.is_open or order.filled_qty or call.ts - order.updated_ts < RETENTION_NS]
        return max(found, key=lambda order: (order.is_open, order.number), default=None)

    def named(self, account: Account, client_id: str) -> list[Order]:
        child = self._children.get((account.number, client_id))
        own = [order for order in self.exchange.by_client_id(account, client_id) if wire_id(order) == client_id]
        return own if child is None or child.is_lost else [*own, child]

    def _is_elsewhere(self, order: Order) -> bool:
        """At the algo service, not on the book."""
        return self.product is Product.USDM and is_conditional(order)

    def algo_named(self, account: Account, client_id: str) -> list[Order]:
        return [order for order in self.exchange.by_client_id(account, client_id) if order.is_stop]

    def name_child(self, account: Account, order: Order) -> None:
        """A conditional order was taken: what it becomes will have this name."""
        if not self.child_keeps_id:
            tag_of(order).child_id = self.own_id()
            self._children[account.number, tag_of(order).child_id] = order

    def is_in_use(self, account: Account, client_id: str) -> bool:
        """By an order that is open; an id may be used again after that."""
        orders = self.exchange.by_client_id(account, client_id)
        return any(order.is_open for order in orders)

    def book_orders(self, account: Account, listing: Listing | None = None) -> list[Order]:
        """Open orders on the book."""
        return [order for order in self.exchange.open_orders(account, listing) if not self._is_elsewhere(order)]

    def algo_orders(self, account: Account, listing: Listing | None = None) -> list[Order]:
        """Open orders of the algo service."""
        return [order for order in self.exchange.open_orders(account, listing) if self._is_elsewhere(order)]

    def fills_of(self, account: Account, symbol: str) -> list[Fill]:
        """In order of time, busted ones left out."""
        return [
            fill
            for fill in self.exchange.fills
            if fill.order.account is account and fill.order.listing.name == symbol and not fill.is_busted
        ]

    def fills_of_order(self, order: Order) -> list[Fill]:
        return [fill for fill in self.exchange.fills if fill.order is order]

    # Doing.

    def require_room(self, account: Account, listing: Listing) -> None:
        if len(self.book_orders(account, listing)) >= ORDERS_OPEN_MAX:
            if self.product is Product.SPOT:
                raise ApiError(-1013, "Filter failure: MAX_NUM_ORDERS")
            raise ApiError(-2025, "Reach max open order limit.")

    def cancel(self, ts: int, order: Order, request_id: str) -> None:
        """`request_id`: the id of the request that cancels, which spot tells."""
        tag_of(order).canceled_by = request_id
        self.exchange.cancel(ts, order, "canceled by the client")

    def collect(self, ts: int) -> None:
        """What has happened since, as events for the clients."""
        for change in self.exchange.take_changes():
            account = change.order.account if isinstance(change, Fill) else change.account
            client = self.by_account[account.name]
            self.told.extend(Told(ts, client, event) for event in self.writer.events(ts, change))

    def tell(self, ts: int, client: Client, event: Event) -> None:
        self.told.append(Told(ts, client, event))

    # Amounts.

    def price(self, market: Market, params: Params, name: str) -> int:
        """A price in points, on the tick and inside the filter."""
        rules = market.rules
        if self.product is Product.SPOT:
            value, rest = divmod(params.decimal(name, 8), POW10[8 - rules.price_scale])
            if rest or value % rules.tick or not rules.price_min <= value <= rules.price_max:
                raise ApiError(-1013, "Filter failure: PRICE_FILTER")
            return value
        value = params.decimal(name, rules.price_scale)
        if value <= 0:
            raise ApiError(-4001, "Price less than 0.")
        if not rules.price_min <= value <= rules.price_max:
            raise ApiError(-4002, "Price greater than max price.")
        if value % rules.tick:
            raise ApiError(-4014, "Price not increased by tick size.")
        return value

    def qty(self, market: Market, params: Params, name: str, *, is_market: bool) -> int:
        """A quantity in units, on the lot and inside the filter."""
        rules = market.rules
        most = market.market_qty_max if is_market else rules.qty_max
        if self.product is Product.SPOT:
            value, rest = divmod(params.decimal(name, 8), POW10[8 - rules.qty_scale])
            if rest or value % rules.lot or not rules.qty_min <= value <= rules.qty_max:
                raise ApiError(-1013, "Filter failure: LOT_SIZE")
            if value > most:
                raise ApiError(-1013, "Filter failure: MARKET_LOT_SIZE")
            return value
        value = params.decimal(name, rules.qty_scale)
        if value < rules.qty_min:
            raise ApiError(-4003, "Quantity less than or equal to zero.")
        if value > most:
            raise ApiError(-4005, "Quantity greater than max quantity.")
        if value % rules.lot:
            raise ApiError(-4023, "Qty not increased by step size.")
        return value

    def require_open(self, market: Market) -> None:
        if market.listing.status is MarketStatus.TRADING and market.status == "TRADING":
            return
        if self.product is Product.SPOT:
            raise ApiError(-1013, "Market is closed.")
        raise ApiError(-4140, "Invalid symbol status for opening position.")


def _crowd_of(market: Market) -> CrowdSettings:
    """Up to half a coin at a price, trades of a twentieth of that."""
    lots_max = max(20, POW10[market.rules.qty_scale] // 2 // market.rules.lot)
    return CrowdSettings(fair=market.fair, lots_max=lots_max, trade_lots_max=max(lots_max // 20, 1))


_SPOT_REFUSALS: Mapping[Reason, tuple[int, str]] = {
    Reason.POST_ONLY: (-2010, "Order would immediately match and take."),
    Reason.BAD_PRICE: (-1013, "Filter failure: PRICE_FILTER"),
    Reason.BAD_TICK: (-1013, "Filter failure: PRICE_FILTER"),
    Reason.BAD_QTY: (-1013, "Filter failure: LOT_SIZE"),
    Reason.NO_LIQUIDITY: (-2010, "Order book liquidity is less than LOT_SIZE filter minimum quantity."),
    Reason.CLOSED: (-1013, "Market is closed."),
    Reason.BAD_FIELD: (-1128, "Combination of optional parameters invalid."),
}
_USDM_REFUSALS: Mapping[Reason, tuple[int, str]] = {
    Reason.POST_ONLY: (
        -5022,
        "Due to the order could not be executed as maker, the Post Only order will be rejected. "
        "The order will not be recorded in the order history",
    ),
    Reason.REDUCE_ONLY: (-2022, "ReduceOnly Order is rejected."),
    Reason.BAD_PRICE: (-4002, "Price greater than max price."),
    Reason.BAD_TICK: (-4014, "Price not increased by tick size."),
    Reason.BAD_QTY: (-4023, "Qty not increased by step size."),
    Reason.NO_LIQUIDITY: (-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
    Reason.CLOSED: (-4140, "Invalid symbol status for opening position."),
    Reason.BAD_FIELD: (-1128, "Combination of optional parameters invalid."),
    Reason.NO_CHANGE: (-5027, "No need to modify the order."),
}


def refusal(product: Product, refused: Refused) -> ApiError:
    """The venue's error for what the exchange refused."""
    is_spot_product = product is Product.SPOT
    if isinstance(refused, NoFunds):
        text = "Account has insufficient balance for requested action."
        return ApiError(-2010, text) if is_spot_product else ApiError(-2019, "Margin is insufficient.")
    known = _SPOT_REFUSALS if is_spot_product else _USDM_REFUSALS
    code, text = known.get(refused.reason, (-2010, "NEW_ORDER_REJECTED"))
    return ApiError(code, text)


def require(params: Params, *names: str) -> None:
    for name in names:
        if not params.get(name):
            raise missing(name)


def new_tag(kind: str, time_in_force: str, params: Params) -> Tag:
    return Tag(
        kind=kind,
        time_in_force=time_in_force,
        working_type=params.get("workingType", "CONTRACT_PRICE"),
        good_till_ms=params.integer("goodTillDate", 0),
    )
