"""Positions by instrument and by strategy, realised and unrealised profit, fees, and cash in several currencies.

All money is in units of 10^-MONEY_SCALE of its currency. Everything is derived from fills and from movements of money that no
fill explains; `Portfolio.book`, `correct`, `move_cash` and `set_aside` are the only writers.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.enums import CashKind, InstrumentClass, Side
from core.events import CashMoved, ForeignFilled, OrderFilled
from core.instruments import Instrument
from core.orders import Order
from core.units import divide_half_even

# What these settle in cash while they are held is the profit of the position itself.
_MARKED_IN_CASH = (InstrumentClass.FUTURE, InstrumentClass.PERPETUAL)


class Position:
    """Average-cost position. value_open is what the open quantity was worth when it was opened (signed like qty).

    Its profit and loss is realized_pnl - fees + carry, and what is unrealised.
    """

    __slots__ = (
        "buy_qty",
        "carry",
        "fees",
        "instrument",
        "pays_notional",
        "qty",
        "realized_pnl",
        "sell_qty",
        "settled",
        "turnover",
        "value_open",
    )

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.pays_notional = instrument.pays_notional
        # Of spot where its money moves: venue and currency.
        is_spot = instrument.instrument_class is InstrumentClass.SPOT
        self.settled = (instrument.venue, instrument.settlement_currency) if is_spot else None
        self.qty = 0
        self.value_open = 0
        self.realized_pnl = 0  # before fees
        self.fees = 0
        self.carry = 0  # what holding it brought, > 0, or cost: funding, interest, dividends
        self.buy_qty = 0
        self.sell_qty = 0
        self.turnover = 0  # sum of absolute notionals

    def book(self, signed: int, price: int, value: int, commission: int) -> int:
        """Apply a fill of `signed` quantity, worth `value` (Instrument.notional, signed); returns the profit it realised."""
        held = self.qty
        self.fees += commission
        self.turnover += value if value > 0 else -value
        if signed > 0:
            self.buy_qty += signed
        else:
            self.sell_qty -= signed
        if held == 0 or (held > 0) is (signed > 0):
            self.value_open += value
            self.qty = held + signed
            return 0
        size, held_size = abs(signed), abs(held)
        profit = self.instrument.profit
        if size == held_size:
            realized = profit(self.value_open, -value)
            self.value_open = 0
        elif size < held_size:
            # A partial close takes its share of the cost; what rounding leaves stays with the open part: nothing is lost.
            cost = divide_half_even(self.value_open * size, held_size)
            realized = profit(cost, -value)
            self.value_open -= cost
        else:
            closed_value = self.instrument.notional(price, held)
            realized = profit(self.value_open, closed_value)
            self.value_open = value + closed_value
        self.qty = held + signed
        self.realized_pnl += realized
        return realized

    @property
    def is_used(self) -> bool:
        """Something was booked to it: one that was only looked at is no position."""
        return bool(self.buy_qty or self.sell_qty or self.carry or self.fees)

    def earn(self, kind: CashKind, amount: int) -> None:
        """Apply money that no fill explains."""
        if kind is CashKind.SETTLEMENT and self.qty and self.instrument.instrument_class in _MARKED_IN_CASH:
            # A daily mark pays out a part of the open profit, and from there on the rest is counted: it adds nothing.
            self.realized_pnl += amount
            self.value_open += -amount if self.instrument.is_inverse else amount
        else:
            self.carry += amount

    def unrealized_pnl(self, bid_price: int, ask_price: int) -> int:
        """Profit if the open quantity were worth the mean of its values at bid and at ask.

        For a linear instrument that is its value at the middle; for an inverse one the two differ in the second order.
        """
        if self.qty == 0:
            return 0
        instrument = self.instrument
        twice = instrument.notional(bid_price, self.qty) + instrument.notional(ask_price, self.qty)
        return divide_half_even(instrument.profit(2 * self.value_open, twice), 2)

    def __repr__(self) -> str:
        name = self.instrument.instrument_id
        return f"Position({name} {self.qty:+d} value_open={self.value_open} realized_pnl={self.realized_pnl} fees={self.fees})"

    def average_price(self) -> float | None:
        """Average entry price in whole currency units, for display; None when flat."""
        if self.qty == 0 or (self.instrument.is_inverse and self.value_open == 0):
            return None
        unit = self.instrument.notional(10**self.instrument.price_scale, self.qty)  # worth of the quantity at price 1
        return unit / self.value_open if self.instrument.is_inverse else self.value_open / unit


class Portfolio:
    """All positions and cash of one account."""

    __slots__ = ("_instruments", "by_instrument", "by_strategy", "cash", "fills_booked", "venue_money")

    def __init__(self, instruments: dict[str, Instrument], cash: dict[str, int]) -> None:
        self._instruments = instruments
        self.by_instrument: dict[str, Position] = {key: Position(value) for key, value in instruments.items()}
        self.by_strategy: dict[tuple[str, str], Position] = {}
        self.cash = dict(cash)
        self.fills_booked = 0
        # By venue and currency: what fills of spot, and movements, have brought and taken since the account began. `cash` is of
        # all venues, without what was set aside, and with what it began with, wherever that lies.
        self.venue_money: dict[tuple[str, str], int] = {}

    def position_of(self, strategy_id: str, instrument_id: str) -> Position:
        key = (strategy_id, instrument_id)
        position = self.by_strategy.get(key)
        if position is None:
            position = self.by_strategy[key] = Position(self._instruments[instrument_id])
        return position

    def book(self, strategy_id: str, fill: OrderFilled) -> Position:
        """Apply one fill to the account's position, the strategy's position and cash; returns the strategy's position."""
        instrument_id, price = fill.instrument_id, fill.price
        account_position = self.by_instrument[instrument_id]
        instrument = account_position.instrument
        settlement = instrument.settlement_currency
        # A fee in a third currency is cash only: it cannot be added to profit without an exchange rate.
        fee = fill.commission if fill.commission_currency == settlement else 0
        signed = fill.qty if fill.side is Side.BUY else -fill.qty
        value = instrument.notional(price, signed)
        realized = account_position.book(signed, price, value, fee)
        strategy_position = self.by_strategy.get((strategy_id, instrument_id)) or self.position_of(strategy_id, instrument_id)
        strategy_position.book(signed, price, value, fee)
        cash = self.cash
        cash[settlement] = cash.get(settlement, 0) - fee + (-value if account_position.pays_notional else realized)
        if fill.commission_currency != settlement:
            cash[fill.commission_currency] = cash.get(fill.commission_currency, 0) - fill.commission
        if account_position.settled is not None:
            pay(self.venue_money, account_position, value, fill.commission, fill.commission_currency)
        self.fills_booked += 1
        return strategy_position

    def correct(self, strategy_id: str, instrument_id: str, signed: int, price: int) -> list[str]:
        """Apply what a person says was added to the position; returns the strategies whose position has got a part of it.

        `strategy_id` "": shared out exactly, in the ratio of what they hold, so that a split multiplies each and an expiry
        empties each. Raises ValueError where nobody holds anything that it could be shared by, or the price has no value.
        """
        account_position = self.by_instrument[instrument_id]
        instrument, held = account_position.instrument, account_position.qty
        if strategy_id:
            parts = [(strategy_id, signed)]
        elif held:
            parts = list(self._shares(instrument_id, signed, held))
        else:
            raise ValueError(f"nobody holds any {instrument_id}")
        value = instrument.notional(price, signed)
        realized = account_position.book(signed, price, value, 0)
        so_far = given = 0
        for name, part in parts:
            # The worth of the parts is that of the whole, whatever its rounding is.
            so_far += part
            worth = instrument.notional(price, so_far) - given
            given += worth
            if part:
                self.position_of(name, instrument_id).book(part, price, worth, 0)
        settlement = instrument.settlement_currency
        paid = -value if account_position.pays_notional else realized
        self.cash[settlement] = self.cash.get(settlement, 0) + paid
        if account_position.settled is not None:
            pay(self.venue_money, account_position, value, 0, settlement)
        return [name for name, part in parts if part]

    def set_aside(self, fill: ForeignFilled) -> None:
        """A fill that is not ours: only what the venue has moved for it is kept."""
        position = self.by_instrument[fill.instrument_id]
        if position.settled is None:
            return
        value = position.instrument.notional(fill.price, fill.qty if fill.side is Side.BUY else -fill.qty)
        pay(self.venue_money, position, value, fill.commission, fill.commission_currency)

    def move_cash(self, moved: CashMoved, order: Order | None, set_aside: int) -> list[tuple[str, str]]:
        """Apply money that no fill explains; returns the (strategy_id, instrument_id) whose position has got a part of it.

        `order`: the one that a commission is of. `set_aside`: what the venue counts in the instrument and we do not.
        """
        currency, amount = moved.currency, moved.amount
        self.cash[currency] = self.cash.get(currency, 0) + amount
        at_venue = (moved.venue, currency)
        self.venue_money[at_venue] = self.venue_money.get(at_venue, 0) + amount
        instrument_id = moved.instrument_id if order is None else order.instrument_id
        position = self.by_instrument.get(instrument_id)
        # As with fees, a third currency is cash only; and what is brought in or taken out is nobody's profit.
        if position is None or currency != position.instrument.settlement_currency or moved.kind is CashKind.TRANSFER:
            return []
        if order is not None and moved.kind is CashKind.COMMISSION:
            position.fees -= amount
            self.position_of(order.strategy_id, instrument_id).fees -= amount
            return [(order.strategy_id, instrument_id)]
        held = position.qty + set_aside
        shares = list(self._shares(instrument_id, amount, held))
        # What units that were set aside have brought stays cash, as all of them does.
        position.earn(moved.kind, _part(amount, position.qty, held) if held else amount)
        for strategy_id, share in shares:
            self.by_strategy[strategy_id, instrument_id].earn(moved.kind, share)
        return [(strategy_id, instrument_id) for strategy_id, _ in shares]

    def _shares(self, instrument_id: str, amount: int, held: int) -> Iterator[tuple[str, int]]:
        """`amount` by what each strategy holds of the `held` units, exactly: what rounding leaves goes to the next one.

        Who holds the other way gets the other sign. Where nothing is held, or all of it evens out, nobody gets anything.
        """
        if not held:
            return
        so_far = given = 0
        for (strategy_id, key), position in sorted(self.by_strategy.items()):
            if key == instrument_id and position.qty:
                so_far += position.qty
                share = _part(amount, so_far, held) - given
                given += share
                yield strategy_id, share

    def equity(self, currency: str, marks: dict[str, tuple[int, int]]) -> int:
        """Cash plus the value of open positions that settle in `currency`, at the middle of `marks` (bid, ask).

        A position without a mark is counted at its cost: its profit is unknown, not zero-priced.
        """
        total = self.cash.get(currency, 0)
        for instrument_id, position in self.by_instrument.items():
            if position.qty == 0 or position.instrument.settlement_currency != currency:
                continue
            mark = marks.get(instrument_id)
            profit = position.unrealized_pnl(*mark) if mark is not None else 0
            total += profit + (position.value_open if position.instrument.pays_notional else 0)
        return total


def pay(money: dict[tuple[str, str], int], position: Position, value: int, commission: int, commission_currency: str) -> None:
    """Adds to `money` (`Portfolio.venue_money`) what a fill of spot worth `value` (Instrument.notional) has moved, or less.

    A venue has its own way to round what we have rounded: then 10^-8 less is counted, so that it never is too much.
    """
    settled = position.settled
    assert settled is not None
    if not position.instrument.notional_factor:
        value += 1
    if commission_currency == settled[1]:
        value += commission
    elif commission:
        charged = (settled[0], commission_currency)
        money[charged] = money.get(charged, 0) - commission
    money[settled] = money.get(settled, 0) - value


def _part(amount: int, qty: int, held: int) -> int:
    """What `qty` of the `held` units have of `amount`; a short position divides as a long one does."""
    return divide_half_even(amount * qty, held) if held > 0 else divide_half_even(-amount * qty, -held)
