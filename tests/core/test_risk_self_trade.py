"""Self-trade prevention: no order leaves that could meet a resting order of another strategy, or of any."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.enums import OrderType, Reason, Side
from core.events import OrderCanceled, OrderOutcomeUnknown, OrderReplaced, OrderTriggered
from core.risk_limits import SelfTrade
from tests.core.account import PERP, STOCK, Desk

BUY, SELL = Side.BUY, Side.SELL
OTHERS, ANY = SelfTrade.OTHER_STRATEGIES, SelfTrade.ANY


def desk_with(prevention: SelfTrade) -> Desk:
    desk = Desk(self_trade=prevention)
    desk.stock(9_990, 10_010)
    desk.perp()
    return desk


def test_an_order_that_reaches_another_strategys_is_denied_at_the_price_where_they_meet() -> None:
    for side, resting, meets, passes in ((BUY, 10_000, 10_000, 9_999), (SELL, 10_000, 10_000, 10_001)):
        desk = desk_with(OTHERS)
        desk.order(SELL if side is BUY else BUY, 5, resting, who="b")
        assert desk.verdict(side, 1, passes) == "sent"
        assert desk.verdict(side, 1, meets) == f"self_trade {meets} > {resting}"
        assert desk.verdict(side, 1, meets, who="b") == "sent"  # its own is the venue's to prevent
        assert desk.verdict(side, 1, 1_000, key=PERP) == "sent"


def test_which_orders_count_is_a_choice() -> None:
    got = {}
    for prevention in SelfTrade:
        desk = desk_with(prevention)
        desk.order(SELL, 5, 10_000, who="b")
        got[prevention.name] = [desk.verdict(BUY, 1, 10_000, who=who).split()[0] for who in "ab"]
    assert got == {"ALLOWED": ["sent", "sent"], "OTHER_STRATEGIES": ["self_trade", "sent"], "ANY": ["self_trade", "self_trade"]}


def test_the_nearest_of_several_is_named() -> None:
    desk = desk_with(OTHERS)
    for price in (10_006, 10_002, 10_004):
        desk.order(SELL, 1, price, who="b")
    assert desk.verdict(BUY, 1, 10_005) == "self_trade 10005 > 10002"


def test_an_order_rests_until_the_venue_says_it_is_gone() -> None:
    desk = desk_with(OTHERS)
    order = desk.order(SELL, 5, 10_000, who="b")
    desk.trader.contexts[1].cancel(order)
    assert desk.verdict(BUY, 1, 10_000).startswith("self_trade")
    desk.step(OrderOutcomeUnknown(desk.now, desk.now, order.client_order_id))
    assert desk.verdict(BUY, 1, 10_000).startswith("self_trade")
    desk.step(OrderCanceled(desk.now, desk.now, order.client_order_id, 5, Reason.REQUESTED))
    assert desk.verdict(BUY, 1, 10_000) == "sent"


def test_a_replace_in_flight_rests_at_both_prices() -> None:
    desk = desk_with(OTHERS)
    order = desk.order(SELL, 5, 10_005, who="b")
    desk.accept(order)
    assert desk.trader.contexts[1].replace(order, 5, 10_002)
    assert desk.verdict(BUY, 1, 10_002) == "self_trade 10002 > 10002"
    desk.step(OrderReplaced(desk.now, desk.now, order.client_order_id, 10_002, 5))
    assert desk.trader.contexts[1].replace(order, 5, 10_008)
    assert desk.verdict(BUY, 1, 10_005) == "self_trade 10005 > 10002"
    desk.step(OrderReplaced(desk.now, desk.now, order.client_order_id, 10_008, 5))
    assert desk.verdict(BUY, 1, 10_005) == "sent"


def test_a_replace_must_not_meet_another_and_cannot_meet_itself() -> None:
    desk = desk_with(ANY)
    mine = desk.order(BUY, 5, 9_995)
    desk.accept(mine)
    desk.order(SELL, 5, 10_000, who="b")
    context = desk.trader.contexts[0]
    assert not context.replace(mine, 5, 10_000)
    assert (desk.trader.denied[-1].limit, desk.trader.denied[-1].bound) == ("self_trade", 10_000)
    assert context.replace(mine, 5, 9_999)


def test_a_market_order_reaches_as_far_as_its_collar() -> None:
    desk = Desk(self_trade=OTHERS, limits={"price_collar_ppm": 1_000})
    desk.stock(9_990, 10_000)
    order = desk.order(SELL, 5, 10_010, who="b")
    market = {"order_type": OrderType.MARKET}
    context = desk.trader.contexts[0]
    assert context.submit(STOCK, BUY, 1, None, **market).status.name == "DENIED"
    desk.step(OrderCanceled(desk.now, desk.now, order.client_order_id, 5, Reason.REQUESTED))
    desk.order(SELL, 5, 10_011, who="b")
    assert context.submit(STOCK, BUY, 1, None, **market).status.name == "SUBMITTED"


def test_a_stop_limit_rests_once_it_has_woken() -> None:
    desk = desk_with(OTHERS)
    stop = desk.order(SELL, 5, 9_980, who="b", order_type=OrderType.STOP_LIMIT, trigger_price=9_985)
    desk.accept(stop)
    assert desk.verdict(BUY, 1, 10_000) == "sent"
    desk.step(OrderTriggered(desk.now, desk.now, stop.client_order_id))
    assert desk.verdict(BUY, 1, 9_990) == "self_trade 9990 > 9980"


@given(
    st.lists(
        st.tuples(st.sampled_from(["submit", "replace", "end"]), st.sampled_from("ab"), st.booleans(), st.integers(-4, 4)),
        max_size=50,
    ),
    st.sampled_from([OTHERS, ANY]),
)
def test_the_kept_bounds_judge_as_a_look_at_every_order_does(
    actions: list[tuple[str, str, bool, int]], prevention: SelfTrade
) -> None:
    desk = desk_with(prevention)
    for action, who, is_buy, offset in actions:
        side, price = BUY if is_buy else SELL, 10_000 + offset
        orders = desk.trader.orders.open_orders(STOCK)
        moved = next((order for order in orders if order.strategy_id == who and order.side is side), None)
        if action == "end":
            if moved is not None:
                desk.step(OrderCanceled(desk.now, desk.now, moved.client_order_id, moved.leaves_qty, Reason.REQUESTED))
            continue
        if action == "replace" and (moved is None or moved.is_pending):
            continue
        met = [
            order.price
            for order in orders
            if order.side is not side
            and order.price is not None
            and (order.strategy_id != who or prevention is ANY)
            and (price >= order.price if is_buy else price <= order.price)
        ]
        if action == "submit":
            order = desk.order(side, 1, price, who=who)
            assert (order.status.name == "DENIED") is bool(met)
            if not met:
                desk.accept(order)
        else:
            assert moved is not None
            context = next(context for context in desk.trader.contexts if context.strategy_id == who)
            assert context.replace(moved, 1, price) is not bool(met)
            if not met:
                desk.step(OrderReplaced(desk.now, desk.now, moved.client_order_id, price, 1))
