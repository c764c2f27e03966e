"""What fills and payments do to accounts: balances, positions, margin. The only writer of either. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from core.enums import InstrumentClass, Side
from core.instruments import MONEY_SCALE
from core.units import POW10
from sim.venues.exchange.model import Account, CashMove, Fill, Holding, Listing, NoFunds, Order, Working

# Fee of one side of a trade: (account, listing, side, price, qty, is_maker) -> (amount, currency).
FeeRule = Callable[[Account, Listing, Side, int, int, bool], tuple[int, str]]
# Where an amount of a listing's settlement currency is booked: (listing, amount) -> (amount, currency).
Settlement = Callable[[Listing, int], tuple[int, str]]


def instrument_fee(account: Account, listing: Listing, side: Side, price: int, qty: int, is_maker: bool) -> tuple[int, str]:
    """The instrument's own rates, in its settlement currency."""
    rules = listing.rules
    rate = rules.maker_fee_rate if is_maker else rules.taker_fee_rate
    return rules.commission(price, qty, rate), rules.settlement_currency


def settled_as_traded(listing: Listing, amount: int) -> tuple[int, str]:
    return amount, listing.rules.settlement_currency


def is_spot(listing: Listing) -> bool:
    """Whether what is bought is money itself."""
    return listing.rules.instrument_class is InstrumentClass.SPOT


def base_amount(listing: Listing, qty: int) -> int:
    """Units of a spot listing as 10^-8 of its base currency."""
    return qty * POW10[MONEY_SCALE - listing.rules.qty_scale]


class Books:
    """The accounts of one exchange and what they may do."""

    def __init__(self, listings: Mapping[str, Listing], fee: FeeRule, settle: Settlement) -> None:
        self.accounts: dict[str, Account] = {}
        self.fee = fee
        self.moves: list[CashMove] = []
        self._listings = listings
        self._settle = settle
        self._reckoned: dict[int, tuple[int, int]] = {}  # order number: what it added to Working

    @staticmethod
    def check_listing(listing: Listing) -> None:
        if is_spot(listing) and (listing.rules.qty_scale > MONEY_SCALE or listing.margin != "cash"):
            raise ValueError(f"{listing.name}: spot is bought with cash, in units of 10^-{MONEY_SCALE} or coarser")

    # Fills.

    def book(self, account: Account, listing: Listing, signed: int, price: int, fee: int, fee_currency: str) -> int:
        """Move position and cash by `signed` units at `price`; the profit realized, in the settlement currency."""
        rules, held = listing.rules, account.holding(listing)
        account.pay(fee_currency, -fee)
        account.fees[fee_currency] = account.fees.get(fee_currency, 0) + fee
        profit = self._move(listing, held, signed, price)
        if rules.pays_notional:
            amount, currency = self._settle(listing, -rules.notional(price, signed))
            account.pay(currency, amount)
            if is_spot(listing):
                account.pay(rules.base_currency, base_amount(listing, signed))
        elif profit:
            amount, currency = self._settle(listing, profit)
            account.pay(currency, amount)
        return profit

    @staticmethod
    def _move(listing: Listing, held: Holding, signed: int, price: int) -> int:
        rules, closing, profit = listing.rules, 0, 0
        if held.qty and (held.qty > 0) != (signed > 0):
            closing = min(abs(signed), abs(held.qty)) * (1 if signed > 0 else -1)
            value_closed = held.value_open * -closing // held.qty
            profit = rules.profit(value_closed, rules.notional(price, -closing))
            held.value_open -= value_closed
            held.qty += closing
            held.realized += profit
        if opening := signed - closing:
            held.qty += opening
            held.value_open += rules.notional(price, opening)
        return profit

    def move_cash(self, ts: int, account: Account, listing: Listing | None, currency: str, amount: int, cause: str) -> CashMove:
        account.pay(currency, amount)
        move = CashMove(account, listing, currency, amount, ts, cause)
        self.moves.append(move)
        return move

    def settle(self, listing: Listing, amount: int) -> tuple[int, str]:
        return self._settle(listing, amount)

    def positions(self, account: Account) -> dict[str, int]:
        """Open positions by instrument_id."""
        held = sorted(account.positions.items())
        return {self._listings[name].rules.instrument_id: holding.qty for name, holding in held if holding.qty}

    # What open orders could do.

    def reckon(self, order: Order) -> None:
        """Bring an order's share of its account's Working to what the order is now."""
        leaves = self._leaves(order)
        cost = self._cost(order, leaves)
        before_qty, before_cost = self._reckoned.get(order.number, (0, 0))
        if (leaves, cost) == (before_qty, before_cost):
            return
        working = order.account.working.setdefault(order.listing.name, Working())
        if order.side is Side.BUY:
            working.buy_qty += leaves - before_qty
            working.buy_cost += cost - before_cost
        else:
            working.sell_qty += leaves - before_qty
        if leaves:
            self._reckoned[order.number] = (leaves, cost)
        else:
            self._reckoned.pop(order.number, None)

    @staticmethod
    def _leaves(order: Order) -> int:
        # A stop of a margin listing is free until it is triggered.
        is_free = order.trigger_price is not None and not order.triggered_ts and order.listing.margin == "margin"
        return 0 if is_free else order.leaves_qty

    def _cost(self, order: Order, leaves: int) -> int:
        price = order.price if order.price is not None else order.trigger_price
        if order.side is Side.SELL or not leaves or price is None or order.listing.margin == "margin":
            return 0
        return self.cost(order.account, order.listing, price, leaves)

    def cost(self, account: Account, listing: Listing, price: int, qty: int) -> int:
        """The most that buying for cash takes: with the fee, where that is paid in the same money."""
        fee, fee_currency = self.fee(account, listing, Side.BUY, price, qty, False)
        notional = listing.rules.notional(price, qty)
        return notional + (fee if fee > 0 and fee_currency == listing.rules.settlement_currency else 0)

    def check(self, orders: Iterable[Order]) -> None:
        """What open orders could do, summed up anew, is what is kept. Slow."""
        summed: dict[tuple[str, str], Working] = {}
        for order in orders:
            leaves = self._leaves(order)
            working = summed.setdefault((order.account.name, order.listing.name), Working())
            if order.side is Side.BUY:
                working.buy_qty += leaves
                # A cost is what it was when the order last changed: the fee rule may answer otherwise by now.
                working.buy_cost += self._reckoned.get(order.number, (0, 0))[1]
            else:
                working.sell_qty += leaves
        for account in self.accounts.values():
            for name, working in account.working.items():
                assert working == summed.get((account.name, name), Working()), (account.name, name, working)

    # What there is.

    def locked(self, account: Account, currency: str) -> int:
        """Of a balance: held by open orders of cash listings."""
        total = 0
        for name, working in account.working.items():
            listing = self._listings[name]
            if listing.margin != "cash":
                continue
            if listing.rules.settlement_currency == currency:
                total += working.buy_cost
            if is_spot(listing) and listing.rules.base_currency == currency:
                total += base_amount(listing, working.sell_qty)
        return total

    def unrealized(self, account: Account, listing: Listing) -> int:
        """Profit of a position at the listing's reference price, in the settlement currency."""
        held = account.positions.get(listing.name)
        if held is None or not held.qty or not listing.reference:
            return 0
        return listing.rules.profit(held.value_open, listing.rules.notional(listing.reference, held.qty))

    def equity(self, account: Account, currency: str) -> int:
        """The balance and what positions of margin listings that settle in it are worth."""
        total = account.balances.get(currency, 0)
        for name, held in account.positions.items():
            listing = self._listings[name]
            if not held.qty or listing.margin == "cash":
                continue
            pays = listing.rules.pays_notional
            worth = listing.rules.notional(listing.reference, held.qty) if pays else self.unrealized(account, listing)
            amount, settled_in = self._settle(listing, worth)
            if settled_in == currency:
                total += amount
        return total

    def leverage(self, account: Account, listing: Listing) -> int:
        return min(account.leverage.get(listing.name, listing.leverage_max), listing.leverage_max)

    def margin_of(
        self, account: Account, listing: Listing, buy_qty: int = 0, sell_qty: int = 0, price: int = 0
    ) -> tuple[int, str]:
        """What a margin listing ties up, with so much more on order: the worst position over the leverage, and its currency."""
        working = account.working.get(listing.name, Working())
        held = account.qty(listing)
        worst = max(abs(held + working.buy_qty + buy_qty), abs(held - working.sell_qty - sell_qty))
        price = listing.reference or price
        value = abs(listing.rules.notional(price, worst)) if worst and price else 0
        return self._settle(listing, value // self.leverage(account, listing))

    def margin_used(self, account: Account, currency: str) -> int:
        total = 0
        for name in sorted(account.positions.keys() | account.working.keys()):
            listing = self._listings[name]
            if listing.margin == "margin":
                amount, settled_in = self.margin_of(account, listing)
                total += amount if settled_in == currency else 0
        return total

    def available(self, account: Account, currency: str) -> int:
        """What is left for new orders."""
        return self.equity(account, currency) - self.locked(account, currency) - self.margin_used(account, currency)

    # What may be asked.

    def require(self, account: Account, listing: Listing, side: Side, qty: int, price: int, cost: int) -> None:
        """Raises NoFunds where the account could not pay for so much more on order; `cost` of a buy for cash."""
        rules = listing.rules
        if listing.margin == "margin":
            before, currency = self.margin_of(account, listing, price=price)
            bought, sold = (qty, 0) if side is Side.BUY else (0, qty)
            after, _ = self.margin_of(account, listing, bought, sold, price)
            free = self.available(account, currency)
            if after > before and after - before > free:
                raise NoFunds(after - before, free, currency)
        elif side is Side.BUY:
            currency = rules.settlement_currency
            free = self.available(account, currency)
            if cost > free:
                raise NoFunds(cost, free, currency)
        elif is_spot(listing):
            needed, free = base_amount(listing, qty), self.available(account, rules.base_currency)
            if needed > free:
                raise NoFunds(needed, free, rules.base_currency)
        else:
            working = account.working.get(listing.name, Working())
            free = account.qty(listing) - working.sell_qty
            if qty > free:
                raise NoFunds(qty, free, listing.name)


def ledger_of(
    books: Books,
    orders: Iterable[Order],
    fills: Iterable[Fill],
    order_id: Callable[[Order], str],
    trade_id: Callable[[Fill], str],
) -> dict[str, Any]:
    """The ledger as sim/venues/protocol.py has it; `cash` besides: what moved without a fill."""

    def common(order: Order) -> dict[str, Any]:
        return {
            "account": order.account.name,
            "instrument_id": order.listing.rules.instrument_id,
            "venue_order_id": order_id(order),
            "client_order_id": order.client_id,
            "side": order.side.name,
        }

    return {
        "orders": [
            {
                **common(order),
                "qty": order.qty,
                "filled_qty": order.filled_qty,
                "is_open": order.is_open,
                "ts": order.created_ts,
                "reduce_only": order.reduce_only,
                "origin": order.origin,
            }
            for order in orders
        ],
        "fills": [
            {
                **common(fill.order),
                "trade_id": trade_id(fill),
                "qty": fill.qty,
                "price": fill.price,
                "fee": fill.fee,
                "fee_currency": fill.fee_currency,
                "ts": fill.ts,
                "is_busted": fill.is_busted,
            }
            for fill in fills
        ],
        "positions": {account.name: books.positions(account) for account in books.accounts.values()},
        "balances": {account.name: dict(sorted(account.balances.items())) for account in books.accounts.values()},
        "cash": [
            {
                "account": move.account.name,
                "instrument_id": "" if move.listing is None else move.listing.rules.instrument_id,
                "currency": move.currency,
                "amount": move.amount,
                "ts": move.ts,
                "cause": move.cause,
            }
            for move in books.moves
        ],
    }
