"""Money that no fill explains: booked once, shared out exactly, judged by limits; a transfer is no profit and no loss."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.cash import CashDesk
from core.enums import CashKind, LiquiditySide, Side
from core.errors import StateError
from core.events import CashMoved, ForeignFilled, OrderFilled, Quote, StateRestored, VenueCompared
from core.restore import capture
from core.risk import InstrumentLimits, RateLimit
from core.strategy import Subscription
from core.trader import Trader
from tests.core.records import PERPETUAL

KEY = PERPETUAL.instrument_id
MONEY = 10**8
LIMITS = InstrumentLimits(order_qty_max=10**6, order_notional_max=10**18, position_qty_max=10**6, price_collar_ppm=500_000)


class Holder:
    """Does nothing but hear of money."""

    def __init__(self) -> None:
        self.heard: list[CashMoved] = []

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=KEY)]

    def on_cash(self, _context: Any, moved: CashMoved) -> None:
        self.heard.append(moved)


def make_trader(run_number: int = 1, **options: Any) -> Trader:
    trader = Trader(
        instruments=[PERPETUAL],
        cash={"USDT": 1_000 * MONEY},
        limits={KEY: LIMITS},
        rate=RateLimit(orders_max=10_000),
        run_number=run_number,
        **options,
    )
    for name in ("a", "b", "c"):
        trader.add_strategy(name, Holder())
    trader.step(Quote(1, 1, KEY, 1_000_000, 10, 1_000_001, 10))
    return trader


def hold(trader: Trader, strategy_id: str, qty: int) -> int:
    """Buys (or sells) so much for a strategy; returns the order's id."""
    context = next(each for each in trader.contexts if each.strategy_id == strategy_id)
    side = Side.BUY if qty > 0 else Side.SELL
    order = context.submit(KEY, side, abs(qty), 1_000_000)
    now, name = trader.now, f"x{order.client_order_id}"
    fee = (LiquiditySide.MAKER, 0, "USDT")
    trader.step(OrderFilled(now, now, order.client_order_id, KEY, name, side, 1_000_000, abs(qty), 0, *fee))
    return order.client_order_id


def moved(name: str, amount: int, kind: CashKind = CashKind.FUNDING, **fields: Any) -> CashMoved:
    values = {"instrument_id": KEY, "currency": "USDT", **fields}
    ts = values.pop("ts", 2)
    return CashMoved(ts, max(ts, 2), "BINANCE", name, kind, amount=amount, **values)


def carried(trader: Trader) -> dict[str, int]:
    positions = {"": trader.portfolio.by_instrument[KEY]}
    positions |= {strategy_id: position for (strategy_id, _), position in trader.portfolio.by_strategy.items()}
    return {strategy_id: position.carry for strategy_id, position in positions.items() if position.carry}


def test_cash_grows_by_it_once_however_often_it_is_said() -> None:
    trader = make_trader()
    for kind in (CashKind.FUNDING, CashKind.FUNDING, CashKind.OTHER):
        trader.step(moved("m1", -5 * MONEY, kind))
    trader.step(moved("m2", 2 * MONEY, CashKind.INTEREST, instrument_id=""))
    assert trader.portfolio.cash == {"USDT": 997 * MONEY}
    assert trader.cash.duplicates == 2
    assert trader.cash.totals == {(CashKind.FUNDING, "USDT"): -5 * MONEY, (CashKind.INTEREST, "USDT"): 2 * MONEY}


def test_it_is_shared_out_by_what_each_strategy_holds_and_nothing_is_lost() -> None:
    trader = make_trader()
    hold(trader, "c", 1)
    hold(trader, "b", 1)
    hold(trader, "a", 1)
    trader.step(moved("m1", -100))
    assert carried(trader) == {"": -100, "a": -33, "b": -34, "c": -33}


def test_who_holds_the_other_way_gets_the_other_sign() -> None:
    trader = make_trader()
    hold(trader, "a", 10)
    hold(trader, "b", -5)
    trader.step(moved("m1", -500))
    assert carried(trader) == {"": -500, "a": -1_000, "b": 500}


def test_a_short_position_is_shared_out_as_a_long_one() -> None:
    trader = make_trader()
    hold(trader, "a", -1)
    hold(trader, "b", -2)
    trader.step(moved("m1", 100))
    assert carried(trader) == {"": 100, "a": 33, "b": 67}


def test_what_units_that_were_set_aside_have_brought_stays_cash() -> None:
    trader = make_trader()
    hold(trader, "a", 3)
    side, maker = Side.BUY, LiquiditySide.MAKER
    trader.step(ForeignFilled(2, 2, KEY, "f1", side, 1_000_000, 7, maker, 0, "USDT", False))
    trader.step(moved("m1", -1_000))
    assert carried(trader) == {"": -300, "a": -300}
    assert trader.portfolio.cash == {"USDT": 1_000 * MONEY - 1_000}


def test_what_was_agreed_on_moves_with_money_but_not_by_one_venues_word_or_ahead_of_time() -> None:
    trader = make_trader()
    trader.step(moved("m1", -1, ts=50))
    for is_whole, differences, expected in ((False, 0, 0), (True, 1, 0), (True, 0, 50)):
        trader.step(VenueCompared(60, 60, 0, differences, is_whole))
        assert trader.foreign.agreed_fill_ts == expected
    # Dated ahead, as a payment on its value date is: executions are not asked for from there on.
    trader.step(msgspec.structs.replace(moved("m2", -1), ts_event=10**9, ts_init=70))
    trader.step(VenueCompared(80, 80, 0, 0))
    assert trader.foreign.agreed_fill_ts == 70


def test_where_nothing_is_held_only_the_account_has_it() -> None:
    trader = make_trader()
    hold(trader, "a", 10)
    hold(trader, "a", -10)
    trader.step(moved("m1", -500))
    assert carried(trader) == {"": -500}


def test_another_currency_is_cash_only() -> None:
    trader = make_trader()
    hold(trader, "a", 10)
    trader.step(moved("m1", -500, currency="BNB"))
    assert carried(trader) == {}
    assert trader.portfolio.cash == {"USDT": 1_000 * MONEY, "BNB": -500}


def test_a_late_commission_is_a_fee_of_the_strategy_whose_order_it_was() -> None:
    trader = make_trader()
    order_id = hold(trader, "a", 10)
    hold(trader, "b", 10)
    trader.step(moved("m1", -70, CashKind.COMMISSION, instrument_id="", client_order_id=order_id))
    assert carried(trader) == {}
    fees = {name: position.fees for (name, _), position in trader.portfolio.by_strategy.items()}
    assert fees == {"a": 70, "b": 0}
    assert trader.portfolio.by_instrument[KEY].fees == 70


def test_a_daily_mark_pays_out_profit_and_adds_none() -> None:
    trader = make_trader()
    hold(trader, "a", 10)
    position = trader.portfolio.by_instrument[KEY]
    before = trader.equity("USDT"), position.unrealized_pnl(1_100_000, 1_100_000)
    trader.step(moved("m1", 3 * MONEY, CashKind.SETTLEMENT))
    assert trader.portfolio.cash == {"USDT": 1_003 * MONEY}
    assert (position.realized_pnl, position.carry) == (3 * MONEY, 0)
    after = trader.equity("USDT"), position.unrealized_pnl(1_100_000, 1_100_000)
    assert after == (before[0], before[1] - 3 * MONEY)


def test_strategies_hear_of_it_by_what_they_subscribe_to() -> None:
    trader = make_trader()
    trader.step(moved("m1", -1))
    trader.step(moved("m2", -1, instrument_id="ELSEWHERE.BINANCE"))
    trader.step(moved("m3", -1, instrument_id=""))
    assert [[each.movement_id for each in context.strategy.heard] for context in trader.contexts] == [["m1", "m3"]] * 3


@pytest.mark.parametrize("missing", [{"venue": ""}, {"movement_id": ""}, {"currency": ""}])
def test_one_without_a_name_is_refused(missing: dict[str, str]) -> None:
    trader = make_trader()
    with pytest.raises(StateError, match="without a name"):
        trader.step(msgspec.structs.replace(moved("m1", -1), **missing))
    assert trader.portfolio.cash == {"USDT": 1_000 * MONEY}


def test_after_a_restart_it_is_known_still() -> None:
    trader = make_trader()
    hold(trader, "a", 3)
    trader.step(moved("m1", -100))
    state = capture(trader)
    event = msgspec.msgpack.decode(msgspec.msgpack.encode(StateRestored(3, 3, 1, state)), type=StateRestored)
    again = Trader(instruments=[PERPETUAL], cash={}, limits={KEY: LIMITS}, rate=RateLimit(orders_max=1), run_number=2)
    again.step(event)
    again.step(moved("m1", -100, ts=4))
    assert capture(again).cash_moved == state.cash_moved
    assert (again.portfolio.cash, carried(again)) == (trader.portfolio.cash, carried(trader))
    assert again.cash.duplicates == 1


def test_what_is_so_old_that_it_may_be_forgotten_is_not_booked() -> None:
    trader = make_trader()
    desk = CashDesk(trader, movements_kept_max=2)
    for number in (1, 2, 3):
        desk.handlers()[CashMoved](moved(f"m{number}", -1, ts=number * 10))
    assert [desk.is_known(moved(f"m{number}", -1, ts=number * 10)) for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert desk.is_known(moved("m0", -1, ts=9))
    # Of another kind nothing was forgotten.
    assert not desk.is_known(moved("m0", -1, CashKind.DIVIDEND, ts=9))
