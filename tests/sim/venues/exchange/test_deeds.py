"""What happens at the exchange that no client asked for: funding, liquidation, busts, splits, sessions, losses, the crowd."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.enums import InstrumentClass, MarketStatus, OrderType, Reason, Side, TimeInForce
from core.instruments import Instrument
from sim.venues.exchange.crowd import Crowd, CrowdSettings
from sim.venues.exchange.exchange import Exchange, replaced_rules
from sim.venues.exchange.model import Account, Fill, Happened, Listing, NewOrder, NoFunds, Order, Refused, State

S = 10**9
T0 = 1_790_000_000 * S
USD = 10**8


def listing(name: str = "BTC", kind: InstrumentClass = InstrumentClass.PERPETUAL, **more: Any) -> Listing:
    fields: dict[str, Any] = {"tick": 10, "lot": 1, "qty_max": 10**9, "maker_fee_rate": 200_000, "taker_fee_rate": 500_000}
    rules = Instrument(
        instrument_id=f"{name}USD.SIM",
        instrument_class=kind,
        base_currency=name,
        quote_currency="USD",
        settlement_currency="USD",
        price_scale=2,
        qty_scale=3,
        **{**fields, **more.pop("rules", {})},
    )
    margin: Any = "margin" if kind in (InstrumentClass.PERPETUAL, InstrumentClass.FX) else "cash"
    return Listing(name=name, rules=rules, **{"margin": margin, "leverage_max": 10, **more})


def opened(*listings: Listing, cash: int = 10_000 * USD, **more: Any) -> tuple[Exchange, Account, Account]:
    exchange = Exchange(listings, **more)
    return exchange, exchange.add_account("us", {"USD": cash}), exchange.add_account("them", {"USD": cash, "ETH": 10**8})


def limit(side: Side, qty: int, price: int, **more: Any) -> NewOrder:
    return NewOrder(side=side, qty=qty, price=price, **more)


def market(side: Side, qty: int, **more: Any) -> NewOrder:
    return NewOrder(side=side, qty=qty, order_type=OrderType.MARKET, **more)


def told(exchange: Exchange) -> list[str]:
    """What happened, a word and a number each."""
    return [
        f"{'FILL' if isinstance(change, Fill) else change.happened.name} "
        f"{change.order.number if isinstance(change, Fill) else change.number}"
        for change in exchange.take_changes()
    ]


def trade(exchange: Exchange, buyer: Account, seller: Account, on: Listing, qty: int, price: int) -> list[Fill]:
    before = len(exchange.fills)
    exchange.place(T0, seller, on, limit(Side.SELL, qty, price))
    exchange.place(T0, buyer, on, limit(Side.BUY, qty, price))
    return exchange.fills[before:]


def test_a_life_is_told_in_order_and_once() -> None:
    btc = listing()
    exchange, us, them = opened(btc)
    resting = exchange.place(T0, us, btc, limit(Side.BUY, 1000, 50_000, client_id="a"))
    exchange.replace(T0 + 1, resting, qty=600, price=50_010)
    exchange.place(T0 + 2, them, btc, market(Side.SELL, 200))
    exchange.cancel(T0 + 3, resting, "changed my mind")
    assert told(exchange) == ["PLACED 1", "REPLACED 1", "PLACED 2", "FILL 2", "FILL 1", "CANCELED 1"]
    assert told(exchange) == []
    assert (resting.state, resting.filled_qty, resting.cause) == (State.CANCELED, 200, "changed my mind")
    prints = exchange.take_prints()
    assert [(p.price, p.qty, p.taker_side, p.maker, p.taker) for p in prints] == [(50_010, 200, Side.SELL, 1, 2)]
    assert exchange.take_touched() == [btc]
    assert exchange.take_touched() == []
    assert exchange.by_client_id(us, "a") == [resting]
    # 0.2 at 500.10: 100.02 USD; maker 0.02 %, taker 0.05 %.
    assert (us.balances["USD"], them.balances["USD"]) == (10_000 * USD - 2_000_400, 10_000 * USD - 5_001_000)
    for order in (resting, exchange.orders[2]):
        with pytest.raises(Refused):
            exchange.cancel(T0 + 4, order)


def test_margin_stops_at_the_leverage_and_reducing_is_free() -> None:
    btc = listing(leverage_max=10)
    exchange, us, them = opened(btc, cash=1000 * USD)
    them.balances["USD"] = 10**6 * USD
    exchange.set_mark(T0, btc, 50_000)
    # 500 USD a coin, tenfold: 20 coins.
    with pytest.raises(NoFunds):
        exchange.place(T0, us, btc, limit(Side.BUY, 20_001, 50_000))
    exchange.place(T0, us, btc, limit(Side.BUY, 20_000, 50_000))
    with pytest.raises(NoFunds):
        exchange.place(T0, us, btc, limit(Side.BUY, 1, 40_000))
    # The other side is worth no more than what is there already.
    other = exchange.place(T0, us, btc, limit(Side.SELL, 20_000, 60_000))
    with pytest.raises(NoFunds):
        exchange.replace(T0, other, qty=20_001)
    exchange.place(T0, them, btc, market(Side.SELL, 20_000))
    exchange.set_mark(T0, btc, 40_000)
    assert exchange.books.available(us, "USD") < 0
    exchange.place(T0, us, btc, limit(Side.SELL, 100, 70_000, reduce_only=True))
    us.leverage["BTC"] = 5
    assert exchange.books.margin_used(us, "USD") == 20 * 400 * USD // 5
    exchange.check()


def test_forty_stops_go_off_in_one_fall() -> None:
    btc = listing()
    exchange, us, _ = opened(btc, cash=10**6 * USD)
    for level in range(40):
        price = 50_000 - 10 * level
        exchange.crowd_limit(T0, btc, Side.BUY, price - 10, 1)
        exchange.place(
            T0, us, btc, NewOrder(side=Side.SELL, qty=1, order_type=OrderType.STOP, trigger_price=price, client_id=str(level))
        )
    exchange.print_elsewhere(T0, btc, Side.SELL, 50_000, 1)
    assert all(order.state is State.FILLED for order in exchange.orders.values())
    assert us.qty(btc) == -40
    touched = NewOrder(side=Side.BUY, qty=1, order_type=OrderType.STOP, trigger_price=40_000, is_if_touched=True)
    waiting = exchange.place(T0, us, btc, touched)
    assert waiting.state is State.UNTRIGGERED
    assert not exchange.would_trigger(btc, touched)
    exchange.crowd_limit(T0, btc, Side.SELL, 60_000, 1)
    exchange.print_elsewhere(T0, btc, Side.SELL, 40_000, 1)
    assert (waiting.state, waiting.order_type) == (State.FILLED, OrderType.STOP)
    by_mark = exchange.place(
        T0, us, btc, NewOrder(side=Side.BUY, qty=1, order_type=OrderType.STOP, trigger_price=70_000, trigger_by="mark")
    )
    exchange.print_elsewhere(T0, btc, Side.BUY, 80_000, 1)
    assert by_mark.state is State.UNTRIGGERED
    exchange.set_mark(T0, btc, 70_000)
    assert (by_mark.state, by_mark.reason) == (State.REJECTED, Reason.NO_LIQUIDITY)


def test_spot_cash_is_held_and_comes_back() -> None:
    eth = listing("ETH", InstrumentClass.SPOT)
    exchange, us, them = opened(eth, cash=100 * USD)
    order = exchange.place(T0, us, eth, limit(Side.BUY, 100, 50_000))
    held = exchange.books.locked(us, "USD")
    assert held == 50 * USD + 50 * USD * 5 // 10_000
    with pytest.raises(NoFunds) as refused:
        exchange.place(T0, us, eth, limit(Side.BUY, 100, 50_000))
    assert (refused.value.needed, refused.value.available, refused.value.currency) == (held, 100 * USD - held, "USD")
    with pytest.raises(NoFunds):
        exchange.place(T0, us, eth, limit(Side.SELL, 1, 60_000))
    exchange.place(T0, them, eth, limit(Side.SELL, 60, 50_000))
    assert us.balances == {"USD": 100 * USD - 30 * USD - 600_000, "ETH": 6 * 10**6}
    assert exchange.books.locked(us, "USD") == held * 4 // 10
    exchange.cancel(T0, order)
    assert (exchange.books.locked(us, "USD"), exchange.books.available(us, "ETH")) == (0, 6 * 10**6)
    with pytest.raises(Refused) as no_positions:
        exchange.place(T0, us, eth, market(Side.SELL, 10, reduce_only=True))
    assert no_positions.value.reason is Reason.BAD_FIELD


def test_shares_for_cash_are_not_sold_short() -> None:
    stock = listing("ACME", InstrumentClass.EQUITY)
    exchange, _, _ = opened(stock)
    owner = exchange.add_account("owner", {}, {"ACME": (1_000, 5_000)})
    exchange.place(T0, owner, stock, limit(Side.SELL, 600, 5_000))
    with pytest.raises(NoFunds):
        exchange.place(T0, owner, stock, limit(Side.SELL, 500, 5_000))


def test_funding_moves_money_from_longs_to_shorts() -> None:
    btc = listing(rules={"maker_fee_rate": 0, "taker_fee_rate": 0})
    exchange, us, them = opened(btc)
    trade(exchange, us, them, btc, 1000, 50_000)
    exchange.set_mark(T0, btc, 60_000)
    moves = exchange.fund(T0 + 1, btc, 100_000)  # 0.01 % of 600 USD
    assert [(m.account.name, m.amount, m.cause) for m in moves] == [("us", -6_000_000, "funding"), ("them", 6_000_000, "funding")]
    assert us.balances["USD"] + them.balances["USD"] == 20_000 * USD
    assert len(exchange.ledger()["cash"]) == 2


def test_a_bust_undoes_a_trade_and_a_correction_replaces_it() -> None:
    btc = listing()
    exchange, us, them = opened(btc)
    ours, theirs = sorted(trade(exchange, us, them, btc, 1000, 50_000), key=lambda fill: fill.order.account is not us)
    resting = exchange.place(T0, us, btc, limit(Side.BUY, 300, 49_000))
    exchange.hit(T0, resting, 100)
    exchange.take_changes()
    exchange.bust(T0 + 1, exchange.fills[-1])
    assert (resting.qty, resting.filled_qty, resting.state) == (200, 0, State.PARTIALLY_FILLED)
    exchange.bust(T0 + 1, ours)
    assert (us.qty(btc), us.balances["USD"], us.positions["BTC"].value_open) == (0, 10_000 * USD, 0)
    assert them.qty(btc) == -1000
    corrected = exchange.correct(T0 + 2, theirs, 50_100)
    assert (them.qty(btc), corrected.price, corrected.corrects, theirs.is_busted) == (-1000, 50_100, theirs.number, True)
    assert (theirs.order.state, theirs.order.value) == (State.FILLED, 1000 * 50_100)
    fills = [(change.number, change.is_busted) for change in exchange.take_changes() if isinstance(change, Fill)]
    assert fills == [(3, True), (1, True), (2, True), (4, False)]
    exchange.check()


def test_a_correction_reopens_nothing() -> None:
    btc = listing()
    exchange, us, _ = opened(btc)
    order = exchange.place(T0, us, btc, limit(Side.BUY, 300, 50_000))
    exchange.hit(T0, order, 100)
    exchange.cancel(T0, order)
    corrected = exchange.correct(T0, exchange.fills[0], 49_990)
    assert (order.state, order.filled_qty, corrected.order_then.state) == (State.CANCELED, 100, State.CANCELED)
    assert exchange.open_orders(us) == []
    exchange.check()


@pytest.mark.parametrize("filled", [0, 300])
def test_an_overfill_is_in_the_ledger(filled: int) -> None:
    btc = listing()
    exchange, us, _ = opened(btc)
    order = exchange.place(T0, us, btc, limit(Side.BUY, 300, 50_000))
    if filled:
        exchange.hit(T0, order, filled)
    exchange.overfill(T0, order, 400, 50_000)
    assert (order.state, order.filled_qty, us.qty(btc)) == (State.FILLED, filled + 400, filled + 400)
    assert exchange.best(btc) == (None, None)
    exchange.check()


def test_liquidation_takes_what_is_there_and_the_venue_the_rest() -> None:
    btc = listing()
    exchange, us, them = opened(btc)
    trade(exchange, us, them, btc, 1000, 50_000)
    exchange.place(T0, us, btc, limit(Side.BUY, 10, 40_000))
    exchange.crowd_limit(T0, btc, Side.BUY, 45_000, 400)
    exchange.set_mark(T0, btc, 44_000)
    exchange.take_changes()
    exchange.force(T0 + 1, us, btc, "autoliquidation")
    assert us.qty(btc) == 0
    forced = [(o.origin, o.cause, o.qty, o.filled_qty, o.state.name) for o in exchange.orders.values() if o.origin == "forced"]
    assert forced == [
        ("forced", "autoliquidation", 1000, 400, "CANCELED"),
        ("forced", "autoliquidation", 600, 600, "FILLED"),
    ]
    assert told(exchange) == ["CANCELED 3", "PLACED 5", "FILL 5", "CANCELED 5", "PLACED 6", "FILL 6"]
    assert exchange.force(T0, us, btc, "again") is None
    exchange.check()


def test_a_split_keeps_what_the_position_is_worth() -> None:
    stock = listing("ACME", InstrumentClass.EQUITY)
    exchange, us, _ = opened(stock)
    seller = exchange.add_account("third", {}, {"ACME": (1_001, 50_000)})
    resting = exchange.place(T0, us, stock, limit(Side.BUY, 1001, 50_000))
    exchange.place(T0, seller, stock, market(Side.SELL, 1001))
    exchange.place(T0, us, stock, limit(Side.BUY, 10, 40_000))
    cash = us.balances["USD"]
    moves = exchange.split(T0 + 1, stock, 3, 2)
    assert (us.qty(stock), stock.last, exchange.open_orders(us)) == (1501, 33_330, [])
    # Half a unit at 333.30 for 0.001 shares each.
    assert [(m.amount, m.cause) for m in moves] == [(33_330 * 1000 // 2, "split")]
    assert us.balances["USD"] == cash + moves[0].amount
    assert resting.state is State.FILLED
    exchange.check()


def test_sessions_halt_auction_and_orders_that_wait() -> None:
    stock = listing("ACME", InstrumentClass.FX, takes_when_closed=True)
    exchange, us, them = opened(stock)
    exchange.close(T0, stock)
    waiting = [
        exchange.place(T0, us, stock, limit(Side.BUY, 10, 50_000, time_in_force=TimeInForce.DAY)),
        exchange.place(T0, them, stock, limit(Side.SELL, 10, 49_000)),
        exchange.place(T0, them, stock, market(Side.SELL, 5)),
        exchange.place(T0, us, stock, limit(Side.BUY, 30, 48_000, time_in_force=TimeInForce.OPG)),
        exchange.place(T0, us, stock, limit(Side.BUY, 7, 47_000)),
    ]
    assert {order.state for order in waiting} == {State.NEW}
    assert exchange.best(stock) == (None, None)
    exchange.replace(T0, waiting[4], price=47_010)
    stock.last = 49_500
    exchange.open(T0 + S, stock)
    assert [order.state.name for order in waiting] == ["FILLED", "FILLED", "FILLED", "EXPIRED", "PARTIALLY_FILLED"]
    assert exchange.fills[0].price == 49_500
    exchange.halt(T0, stock)
    exchange.crowd_market(T0, stock, Side.SELL, 10)
    assert waiting[4].leaves_qty == 2
    exchange.cancel(T0, waiting[4])
    exchange.auction(T0, stock)
    exchange.close(T0, stock)
    strict = listing("STRICT")
    exchange.add_listing(strict)
    exchange.halt(T0, strict)
    with pytest.raises(Refused) as refused:
        exchange.place(T0, us, strict, limit(Side.BUY, 1, 50_000))
    assert refused.value.reason is Reason.CLOSED
    exchange.check()


def test_time_runs_out_for_days_and_dates() -> None:
    btc = listing()
    exchange, us, _ = opened(btc)
    dated = limit(Side.BUY, 1, 50_000, time_in_force=TimeInForce.GTD, expire_ts=T0 + 5 * S)
    rests = exchange.place(T0, us, btc, dated)
    stop = exchange.place(
        T0,
        us,
        btc,
        NewOrder(
            side=Side.BUY,
            qty=1,
            order_type=OrderType.STOP,
            trigger_price=60_000,
            time_in_force=TimeInForce.GTD,
            expire_ts=T0 + 7 * S,
        ),
    )
    day = exchange.place(T0, us, btc, limit(Side.BUY, 1, 49_000, time_in_force=TimeInForce.DAY))
    assert exchange.next_expiry() == T0 + 5 * S
    exchange.expire(T0 + 6 * S)
    assert [order.state for order in (rests, stop, day)] == [State.EXPIRED, State.UNTRIGGERED, State.NEW]
    assert exchange.next_expiry() == T0 + 7 * S
    exchange.expire(T0 + 7 * S)
    exchange.end_of_day(T0 + 8 * S)
    assert [order.state for order in (stop, day)] == [State.EXPIRED, State.EXPIRED]
    assert exchange.next_expiry() is None
    assert exchange.open_orders(us) == []


def test_a_restart_forgets_and_tells_nobody() -> None:
    btc = listing()
    exchange, us, _ = opened(btc)
    order = exchange.place(T0, us, btc, limit(Side.BUY, 1, 50_000, client_id="x"))
    exchange.take_changes()
    exchange.lose(T0, [order])
    assert exchange.take_changes() == []
    assert (exchange.order(order.number), exchange.by_client_id(us, "x"), exchange.open_orders(us)) == (None, [], [])
    assert exchange.ledger()["orders"][0]["is_open"] is False


def test_rules_become_coarser_and_come_back() -> None:
    btc = listing()
    exchange, us, _ = opened(btc)
    exchange.set_rules(btc, replaced_rules(btc, tick=50))
    with pytest.raises(Refused) as refused:
        exchange.place(T0, us, btc, limit(Side.BUY, 1, 50_010))
    assert refused.value.reason is Reason.BAD_TICK
    with pytest.raises(ValueError, match="coarser"):
        exchange.set_rules(btc, replaced_rules(btc, tick=5))
    exchange.set_rules(btc, replaced_rules(btc, tick=10))
    exchange.place(T0, us, btc, limit(Side.BUY, 1, 50_010))


def test_post_only_is_refused_or_moved() -> None:
    btc = listing()
    exchange, us, _ = opened(btc)
    exchange.crowd_limit(T0, btc, Side.SELL, 50_000, 10)
    with pytest.raises(Refused) as refused:
        exchange.place(T0, us, btc, limit(Side.BUY, 1, 50_000, post_only=True))
    assert refused.value.reason is Reason.POST_ONLY
    moved = exchange.place(T0, us, btc, limit(Side.BUY, 1, 50_000, post_only=True, reprices=True))
    assert (moved.number, moved.price) == (2, 49_990)
    [change] = exchange.take_changes()
    assert isinstance(change, Order)
    assert (change.price, change.happened) == (49_990, Happened.PLACED)


def test_settlement_in_another_currency() -> None:
    """A currency pair whose profit is in yen, in an account of dollars at 150 to one."""
    yen = listing(rules={"maker_fee_rate": 0, "taker_fee_rate": 0})

    def settle(on: Listing, amount: int) -> tuple[int, str]:
        return amount // 150, "HOME"

    exchange, us, them = opened(yen, settle=settle)
    for account in (us, them):
        account.balances["HOME"] = 1000 * USD
    trade(exchange, us, them, yen, 1000, 50_000)
    trade(exchange, them, us, yen, 1000, 65_000)
    assert us.balances == {"USD": 10_000 * USD, "HOME": 1001 * USD}


def crowd_story(seed: int) -> list[tuple[int, int]]:
    btc = listing()
    exchange, us, _ = opened(btc)
    crowd = Crowd(exchange, seed, {"BTC": CrowdSettings(fair=50_005)}, T0)
    resting = exchange.place(T0, us, btc, limit(Side.BUY, 5, 49_800))
    for step in range(400):
        crowd.advance(T0 + step * S // 4)
        exchange.check()
        bids, asks = exchange.levels(btc, 5)
        assert bids
        assert asks
    assert resting.filled_qty >= 0
    before = exchange.levels(btc, 10)
    exchange.halt(T0 + 100 * S, btc)
    crowd.advance(T0 + 101 * S)
    assert exchange.levels(btc, 10) == before
    exchange.open(T0 + 102 * S, btc)
    crowd.set_fair(btc, 80_005)
    crowd.advance(T0 + 103 * S)
    assert exchange.levels(btc, 1)[0][0].price > 79_000
    crowd.withdraw_all(T0 + 104 * S, [btc])
    assert all(not side or all(level.price == 49_800 for level in side) for side in exchange.levels(btc, 10))
    return [(p.price, p.qty) for p in exchange.take_prints()]


def test_the_crowd_makes_a_market_from_a_seed() -> None:
    first = crowd_story(7)
    assert len(first) > 50
    assert first == crowd_story(7)
    assert first != crowd_story(8)


def test_a_halted_status_at_the_start_holds() -> None:
    exchange, us, _ = opened(listing(status=MarketStatus.HALTED), listing("ETH", status=MarketStatus.AUCTION))
    with pytest.raises(Refused):
        exchange.place(T0, us, exchange.listings["BTC"], limit(Side.BUY, 1, 50_000))
    exchange.place(T0, us, exchange.listings["ETH"], limit(Side.BUY, 1, 50_000))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_order_is_taken_that_the_account_cannot_cover(data: st.DataObject) -> None:
    """Margin: the worst position over the leverage, of both listings together, is never above what the account is worth."""
    listings = (listing("BTC", leverage_max=5), listing("ETH", leverage_max=20))
    exchange, us, _ = opened(*listings, cash=1_000 * USD)
    for each in listings:
        exchange.set_mark(T0, each, 50_000)

    def worst(on: Listing) -> int:
        held = sum(fill.qty if fill.order.side is Side.BUY else -fill.qty for fill in exchange.fills if fill.order.listing is on)
        working = exchange.open_orders(us, on)
        bought = sum(order.qty - order.filled_qty for order in working if order.side is Side.BUY)
        sold = sum(order.qty - order.filled_qty for order in working if order.side is Side.SELL)
        return max(abs(held + bought), abs(held - sold)) * 50_000 * 1_000 // on.leverage_max

    for step in range(data.draw(st.integers(5, 25))):
        on = data.draw(st.sampled_from(listings))
        side = data.draw(st.sampled_from((Side.BUY, Side.SELL)))
        before = worst(on)
        try:
            # One price for all, so that what is worth does not change with a trade.
            order = exchange.place(
                T0 + step, us, on, limit(side, data.draw(st.integers(1, 9_000)), 50_000 + (10 if side else -10))
            )
        except NoFunds:
            assert before <= worst(on)
        else:
            equity = us.balances["USD"] + sum(exchange.books.unrealized(us, each) for each in listings)
            assert sum(worst(each) for each in listings) <= equity or worst(on) <= before
            if data.draw(st.booleans()):
                exchange.hit(T0 + step, order, data.draw(st.integers(1, order.qty)))
        exchange.check()
