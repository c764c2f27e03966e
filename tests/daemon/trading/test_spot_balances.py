"""What a spot account must hold at least, against accounts in fractions that see every deed; and what a look makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.enums import CashKind, InstrumentClass, LiquiditySide, Side
from core.events import AnyEvent, CashMoved, ForeignFilled, OrderFilled
from core.instruments import Instrument
from core.order_store import FOREIGN_ORDER_ID
from core.restore import capture, restore
from core.risk import InstrumentLimits, RateLimit
from core.trader import Trader
from core.venue_adapter import VenueBalance, VenueState
from daemon.trading.reconcile import ForeignPolicy, Kind, look, position_differences
from daemon.trading.spot_balances import needed_at_least, shortfalls

MONEY = 10**8
BTC, USDT = "BTC", "USDT"


def spot(key: str, base: str, quote: str, price_scale: int, qty_scale: int, **changes: Any) -> Instrument:
    fields: dict[str, Any] = {
        "instrument_id": key,
        "instrument_class": InstrumentClass.SPOT,
        "base_currency": base,
        "quote_currency": quote,
        "settlement_currency": quote,
        "price_scale": price_scale,
        "qty_scale": qty_scale,
    }
    return Instrument(**{**fields, **changes})


ONE = spot("BTCUSDT.A", BTC, USDT, 2, 5)
OTHER = spot("BTCUSDC.A", BTC, "USDC", 2, 6)
BOUGHT_WITH = spot("ETHBTC.A", "ETH", BTC, 6, 4)  # its notionals are rounded
FINE = spot("BTCEUR.A", BTC, "EUR", 2, 12)  # its units are finer than money
ELSEWHERE = spot("BTCUSDT.B", BTC, USDT, 2, 5)
CONTRACT = spot("BTCUSDT-PERP.A", BTC, USDT, 1, 3, instrument_class=InstrumentClass.PERPETUAL)
INSTRUMENTS = (ONE, OTHER, BOUGHT_WITH, FINE, ELSEWHERE, CONTRACT)
FILLED = {instrument.instrument_id: instrument for instrument in INSTRUMENTS}


def account() -> Trader:
    wide = InstrumentLimits(order_qty_max=10**12, order_notional_max=10**24, position_qty_max=10**12, price_collar_ppm=10**6)
    return Trader(
        instruments=INSTRUMENTS,
        cash={BTC: 3 * MONEY, USDT: 10**5 * MONEY},  # wherever that lies: nobody says
        limits=dict.fromkeys(FILLED, wide),
        rate=RateLimit(orders_max=10**6),
        run_number=1,
    )


def fill(number: int, key: str, side: Side, price: int, qty: int, fee: int = 0, fee_currency: str = BTC) -> OrderFilled:
    taker = LiquiditySide.TAKER
    return OrderFilled(number, number, FOREIGN_ORDER_ID, key, f"x{number}", side, price, qty, 0, taker, fee, fee_currency)


def moved(number: int, venue: str, currency: str, amount: int) -> CashMoved:
    return CashMoved(number, number, venue, f"m{number}", CashKind.TRANSFER, currency, amount)


def aside(filled: OrderFilled) -> ForeignFilled:
    fields = ("ts_event", "ts_init", "instrument_id", "execution_id", "side", "price", "qty", "liquidity_side", "commission")
    return ForeignFilled(*(getattr(filled, name) for name in fields), filled.commission_currency, False)


Deed = tuple[OrderFilled | CashMoved, bool]  # and whether it is ours


def book(trader: Trader, deeds: Sequence[Deed]) -> Trader:
    for event, is_ours in deeds:
        if isinstance(event, OrderFilled) and is_ours:
            trader.portfolio.book("s", event)
        else:
            trader.step(aside(event) if isinstance(event, OrderFilled) else event)
    return trader


class Accounts:
    """What really is in each venue's account of each currency, by every deed; it began with nothing."""

    def __init__(self, deeds: Sequence[Deed]) -> None:
        self.coins: Counter[tuple[str, str]] = Counter()  # what fills have brought of base currencies
        self.money: Counter[tuple[str, str]] = Counter()  # all else
        self.rounded = 0
        for event, _ in deeds:
            if isinstance(event, CashMoved):
                self.money[event.venue, event.currency] += Fraction(event.amount)
            else:
                self._fill(event)

    def _fill(self, event: OrderFilled) -> None:
        rules, sign = FILLED[event.instrument_id], 1 if event.side is Side.BUY else -1
        if rules is CONTRACT:
            return
        qty = Fraction(event.qty, 10**rules.qty_scale)
        exact = qty * Fraction(event.price, 10**rules.price_scale) * MONEY
        # This venue rounds for itself, whichever way a fill goes.
        paid = ceil(exact) if sign > 0 else floor(exact)
        self.rounded += rules.notional_factor == 0
        self.coins[rules.venue, rules.base_currency] += sign * qty * MONEY
        self.money[rules.venue, rules.quote_currency] -= sign * paid
        self.money[rules.venue, event.commission_currency] -= event.commission


FILLS = st.builds(
    fill,
    st.just(0),
    st.sampled_from(sorted(FILLED)),
    st.sampled_from(list(Side)),
    st.integers(1, 10**7),
    st.integers(1, 10**6),
    st.integers(-100, 10**6),
    st.sampled_from((BTC, USDT, "BNB")),
)
MOVES = st.builds(moved, st.just(0), st.sampled_from("AB"), st.sampled_from((BTC, "ETH")), st.integers(-(10**8), 10**8))
DEEDS = st.lists(st.tuples(FILLS | MOVES, st.booleans()), max_size=12)


def numbered(deeds: Sequence[Deed]) -> list[Deed]:
    """Each of a moment and a name of its own."""
    found: list[Deed] = []
    for number, (event, is_ours) in enumerate(deeds, 1):
        changes: dict[str, Any] = {"ts_event": number, "ts_init": number}
        changes |= {"execution_id": f"x{number}"} if isinstance(event, OrderFilled) else {"movement_id": f"m{number}"}
        found.append((msgspec.structs.replace(event, **changes), is_ours))
    return found


@settings(max_examples=300, deadline=None)
@given(drawn=DEEDS)
def test_never_more_is_needed_than_the_account_has_and_hardly_less_than_it_must(drawn: list[Deed]) -> None:
    deeds = numbered(drawn)
    trader, accounts = book(account(), deeds), Accounts(deeds)
    for venue in "AB":
        for currency in (BTC, "ETH"):
            needed = needed_at_least(trader, venue, currency, {})
            assert needed is not None
            coins, money = accounts.coins[venue, currency], accounts.money[venue, currency]
            assert needed <= max(floor(coins + money), 0)
            assert needed >= max(floor(coins) + min(money, 0) - 3 * accounts.rounded, 0)


@settings(max_examples=200, deadline=None)
@given(drawn=DEEDS, split=st.integers(0, 12))
def test_what_is_not_booked_yet_counts_as_if_it_was(drawn: list[Deed], split: int) -> None:
    deeds = numbered(drawn)
    booked, late = deeds[:split], deeds[split:]
    needed = needed_at_least(book(account(), deeds), "A", BTC, {})
    assert needed is not None
    for total, differs in ((needed, False), (needed - 1, needed > 0)):
        state = VenueState(
            (),
            tuple(event for event, _ in late if isinstance(event, OrderFilled)),
            {},
            cash_moves=tuple(event for event, _ in late if isinstance(event, CashMoved)),
            balances=(VenueBalance("A", BTC, max(total, 0)),),
        )
        found = look(book(account(), booked), state, 10**6, ForeignPolicy.IGNORE)
        assert found.has(Kind.POSITION) is differs
        # And when it is applied, it is the same still.
        trader = book(account(), booked)
        for event in found.events:
            trader.step(event)
        assert bool(position_differences(trader, state)) is differs


@settings(max_examples=100, deadline=None)
@given(drawn=DEEDS)
def test_a_restart_remembers(drawn: list[Deed]) -> None:
    trader = book(account(), numbered(drawn))
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(capture(trader)), type=type(capture(trader)))
    again = account()
    restore(again, state)
    again.foreign.restore(state.foreign, 1, 1)
    assert again.portfolio.venue_money == trader.portfolio.venue_money
    assert [needed_at_least(again, venue, BTC, {}) for venue in "AB"] == [
        needed_at_least(trader, venue, BTC, {}) for venue in "AB"
    ]


def test_an_account_of_before_venues_were_told_apart_is_believed_what_it_is_short_of() -> None:
    trader = account()
    trader.portfolio.cash[BTC] = 0
    book(trader, numbered([(fill(0, ONE.instrument_id, Side.BUY, 1, 10**5, fee=100), True)]))
    again = account()
    restore(again, msgspec.structs.replace(capture(trader), venue_money=None))
    assert needed_at_least(again, "A", BTC, {}) == MONEY - 100


BOUGHT = fill(1, ONE.instrument_id, Side.BUY, 1, 10**5)


def state(total: int, *executions: AnyEvent) -> Any:
    return VenueState((), executions, {}, balances=(VenueBalance("A", BTC, total),))


def test_only_too_little_is_a_difference_and_it_takes_two_looks() -> None:
    trader = book(account(), [(BOUGHT, True)])
    for total in (MONEY, MONEY + 1, 50 * MONEY):
        assert position_differences(trader, state(total)) == []
    first = look(trader, state(MONEY - 5), 1, ForeignPolicy.HALT)
    text = "BTC at A: at least 1.00000000 by what is held here, 0.99999995 in the account"
    assert first.problems == (text,)
    assert position_differences(trader, state(MONEY - 5)) == [text]
    assert look(trader, state(MONEY - 5), 2, ForeignPolicy.HALT).lasting(first).problems == (text,)
    assert look(trader, state(MONEY - 6), 2, ForeignPolicy.HALT).lasting(first).problems == ()
    # Of a currency or a venue that is not named nothing is known.
    for balance in (VenueBalance("A", "ETH", 0), VenueBalance("B", BTC, 0)):
        assert list(shortfalls(trader, (balance,), {})) == []


def test_what_a_person_takes_out_of_the_books_is_not_needed_any_more() -> None:
    trader = book(account(), [(BOUGHT, True)])
    trader.portfolio.correct("s", ONE.instrument_id, -40_000, 1)
    assert needed_at_least(trader, "A", BTC, {}) == 60_000_000
    assert position_differences(trader, state(60_000_000)) == []


def test_the_least_that_was_held_since_the_venue_was_asked_counts() -> None:
    trader = book(account(), [(BOUGHT, True)])
    for least, needed in ((0, 0), (30_000, 30_000_000), (2 * 10**5, MONEY)):
        assert needed_at_least(trader, "A", BTC, {ONE.instrument_id: {least}}) == needed
    # Paid with while it was asked: how much of it was there then nobody knows.
    assert needed_at_least(trader, "A", BTC, {BOUGHT_WITH.instrument_id: {0}}) is None
    assert needed_at_least(trader, "A", BTC, {CONTRACT.instrument_id: {0}, ELSEWHERE.instrument_id: {0}}) == MONEY


@pytest.mark.parametrize(
    ("deeds", "needed"),
    [
        ([(ONE, Side.BUY, 10**5), (OTHER, Side.SELL, 4 * 10**5)], 60_000_000),
        ([(ONE, Side.SELL, 10**5), (OTHER, Side.BUY, 4 * 10**5)], 0),
        ([(ONE, Side.BUY, 10**5), (CONTRACT, Side.BUY, 10**5), (ELSEWHERE, Side.BUY, 10**5)], MONEY),
        ([(FINE, Side.BUY, 19_999)], 1),
        ([(ONE, Side.BUY, 10**5), (BOUGHT_WITH, Side.BUY, 10**4)], MONEY - 3 * 10**6 - 1),
        ([(ONE, Side.BUY, 10**5), (BOUGHT_WITH, Side.SELL, 10**4)], MONEY),
    ],
    ids=["two markets", "sold in the other", "only spot of this venue", "cut", "paid with", "paid in"],
)
def test_what_counts(deeds: list[tuple[Instrument, Side, int]], needed: int) -> None:
    """ETH is at 0.03 BTC."""
    fills = [fill(n, rules.instrument_id, side, 30_000, qty) for n, (rules, side, qty) in enumerate(deeds, 1)]
    assert needed_at_least(book(account(), [(each, True) for each in fills]), "A", BTC, {}) == needed
    # Set aside it is the same: their coins are in the account too.
    assert needed_at_least(book(account(), [(each, False) for each in fills]), "A", BTC, {}) == needed
