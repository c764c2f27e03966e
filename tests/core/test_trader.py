"""The Trader: a scripted session compared whole with a file, the same digests everywhere, and what a failure leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, SubmitOrder
from core.enums import MarketStatus, OrderType, Reason, Side, TradingState
from core.errors import StateError, StrategyError, UnitError
from core.events import (
    AnyEvent,
    Bar,
    CancelRejected,
    GapDetected,
    OrderDenied,
    OrderOutcomeUnknown,
    OrderTriggered,
    Started,
    StatusChanged,
    Stopping,
    TimerFired,
    Trade,
    TradingResumed,
    TradingStateSet,
)
from core.risk import InstrumentLimits, RateLimit
from core.strategy import Subscription
from core.trader import DENIALS_PER_STEP_MAX, Trader
from tests.core.records import EQUITY, SPOT, accepted, canceled, filled, order_id, quote, replaced

KEY = EQUITY.instrument_id
GOLDEN = Path(__file__).parent / "golden" / "session.txt"
ROOT = Path(__file__).resolve().parents[2]
LIMITS = InstrumentLimits(order_qty_max=100, order_notional_max=10**18, position_qty_max=100, price_collar_ppm=50_000)


class Scripted:
    """Calls what the test gives it, and writes down every callback it gets."""

    def __init__(self, **actions: Callable[..., None]) -> None:
        self.seen: list[str] = []
        self.actions = actions

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=KEY, quotes="price", trades=True, bars_ns=60)]

    def hear(self, name: str, context: Any, *arguments: Any) -> None:
        self.seen.append(f"{name} {' '.join(str(argument) for argument in arguments)}".strip())
        action = self.actions.get(name)
        if action is not None:
            action(context, *arguments)

    def on_start(self, context: Any) -> None:
        self.hear("on_start", context)

    def on_quote(self, context: Any, event: Any) -> None:
        self.hear("on_quote", context, event)

    def on_trade(self, context: Any, event: Any) -> None:
        self.hear("on_trade", context, event)

    def on_bar(self, context: Any, event: Any) -> None:
        self.hear("on_bar", context, event)

    def on_order(self, context: Any, order: Any, event: Any) -> None:
        self.hear("on_order", context, order, event)

    def on_fill(self, context: Any, order: Any, event: Any) -> None:
        self.hear("on_fill", context, order, event)

    def on_position(self, context: Any, position: Any) -> None:
        self.hear("on_position", context, position)

    def on_timer(self, context: Any, name: str) -> None:
        self.hear("on_timer", context, name)

    def on_status(self, context: Any, event: Any) -> None:
        self.hear("on_status", context, event)

    def on_gap(self, context: Any, event: Any) -> None:
        self.hear("on_gap", context, event)

    def on_halt(self, context: Any, state: Any, reason: str) -> None:
        self.hear("on_halt", context, state.name, reason)

    def on_stop(self, context: Any, reason: str) -> None:
        self.hear("on_stop", context, reason)


def trader_of(*strategies: Any, limits: InstrumentLimits = LIMITS, orders_max: int = 10**6) -> Trader:
    trader = Trader(
        instruments=[EQUITY, SPOT],
        cash={"USD": 10**15},
        limits={KEY: limits},
        rate=RateLimit(orders_max=orders_max),
        run_number=1,
    )
    for number, strategy in enumerate(strategies):
        trader.add_strategy(f"s{number}", strategy)
    return trader


def buying(quantity: int = 10, price: int | None = 10_000, **more: Any) -> Callable[..., None]:
    return lambda context, *_: context.submit(KEY, Side.BUY, quantity, price, **more)


def shown(command: Any) -> str:
    return repr(command.command if isinstance(command, Approved) else command)


# The scripted session.


def session_strategy() -> Scripted:
    def on_start(context: Any) -> None:
        context.set_timer("requote", 100)
        context.submit(KEY, Side.BUY, 5, 9_990)  # denied: there is no market yet

    def on_quote(context: Any, event: Any) -> None:
        if not context.open_orders():
            context.submit(KEY, Side.BUY, 10, event.bid_price, post_only=True)
            context.submit(KEY, Side.SELL, 10, event.ask_price, post_only=True)
            context.submit(KEY, Side.BUY, 1_000, event.bid_price)  # denied: more than an order may hold

    def on_timer(context: Any, name: str) -> None:
        bid, *_ = context.open_orders()
        context.replace(bid, 4, 9_998)
        context.set_timer(name, context.now + 100)

    def on_fill(context: Any, order: Any, _fill: Any) -> None:
        if order.side is Side.BUY:
            context.cancel_all()

    return Scripted(on_start=on_start, on_quote=on_quote, on_timer=on_timer, on_fill=on_fill)


SESSION: list[AnyEvent] = [
    Started(0, 0, "golden"),
    quote(ts=10),
    accepted(2, ts=11, price=9_999),
    accepted(3, ts=12, price=10_001),
    filled(2, 3, 7, "e1", 20, 9_999, commission=500),
    filled(2, 3, 7, "e1", 20, 9_999, commission=500),
    CancelRejected(21, 21, order_id(2), Reason.SIMULATED_REJECT),
    TimerFired(100, 100, 1),
    replaced(2, 9_998, 4, 101),
    canceled(3, 9, 102),
    filled(3, 1, 9, "e2", 102, 10_001, Side.SELL),
    Trade(110, 110, KEY, 10_000, 5, 0),
    Bar(120, 120, KEY, 9_990, 10_010, 9_980, 10_000, 500, 60),
    OrderOutcomeUnknown(125, 125, order_id(2)),
    StatusChanged(130, 130, KEY, MarketStatus.HALTED),
    StatusChanged(131, 131, KEY, MarketStatus.TRADING),
    GapDetected(140, 140, KEY),
    TimerFired(200, 200, 99),
    TradingStateSet(210, 210, TradingState.HALTED, "operator"),
    quote(ts=215),
    canceled(2, 4, 220),
    Stopping(300, 300, "end of session"),
]


def session_text() -> str:
    """Each event, what the strategy heard, what was denied and what left, one line each; the digests last."""
    strategy = session_strategy()
    trader = trader_of(strategy)
    lines = []
    for event in SESSION:
        lines.append(f"event   {event!r}")
        strategy.seen.clear()
        out = trader.step(event)
        lines += [f"  heard   {heard}" for heard in strategy.seen]
        lines += [f"  denied  {denied!r}" for denied in trader.denied]
        lines += [f"  command {shown(command)}" for command in out]
    lines += [f"commands_digest {trader.commands_digest.hexdigest()}", f"state_digest {trader.state_digest()}"]
    return "\n".join(lines) + "\n"


def test_the_scripted_session_is_the_one_in_the_golden_file() -> None:
    assert session_text() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_the_session_is_the_same_in_another_process_with_other_hashes(hash_seed: str) -> None:
    code = "from tests.core.test_trader import session_text; import sys; sys.stdout.write(session_text())"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == GOLDEN.read_text(encoding="utf-8")


def test_a_different_command_gives_a_different_digest() -> None:
    digests = set()
    for quantity in (10, 11):
        trader = trader_of(Scripted(on_quote=buying(quantity)))
        trader.step(quote())
        digests.add((trader.commands_digest.hexdigest(), trader.state_digest()))
    assert len({commands for commands, _ in digests}) == len({state for _, state in digests}) == 2


def test_the_state_digest_tells_what_differs_and_nothing_else() -> None:
    def digest_after(strategy: int = 0, halted: bool = False, look: bool = False, cancel: bool = False) -> str:
        traded = [Scripted(), Scripted()]
        traded[strategy].actions = {"on_quote": buying()}
        trader = trader_of(*traded)
        trader.step(quote())
        trader.step(filled())
        if look:
            trader.contexts[1].position(KEY)
            trader.contexts[1].equity("USD")
        if cancel:
            trader.contexts[strategy].cancel_all()
        if halted:
            trader.step(TradingStateSet(9, 9, TradingState.REDUCING, "x"))
        return trader.state_digest()

    plain = digest_after()
    assert digest_after(look=True) == digest_after() == plain
    assert len({plain, digest_after(strategy=1), digest_after(halted=True), digest_after(cancel=True)}) == 4


# Failures.


def refuse(*_: Any) -> None:
    raise ValueError("no such luck")


@pytest.mark.parametrize(
    ("callback", "events"),
    [
        ("on_start", [Started(1, 1, "r")]),
        ("on_quote", [quote()]),
        ("on_trade", [Trade(1, 1, KEY, 1, 1, 0)]),
        ("on_bar", [Bar(1, 1, KEY, 1, 1, 1, 1, 1, 60)]),
        ("on_status", [StatusChanged(1, 1, KEY, MarketStatus.HALTED)]),
        ("on_gap", [GapDetected(1, 1, KEY)]),
        ("on_halt", [TradingStateSet(1, 1, TradingState.HALTED, "x")]),
        ("on_stop", [Stopping(1, 1, "x")]),
        ("on_order", [quote(), accepted()]),
        ("on_fill", [quote(), filled()]),
        ("on_position", [quote(), filled()]),
        ("on_timer", [Started(1, 1, "r"), TimerFired(5, 5, 1)]),
    ],
)
def test_a_failure_names_strategy_callback_event_and_cause(callback: str, events: list[AnyEvent]) -> None:
    actions: dict[str, Any] = {
        "on_quote": buying(),
        "on_start": lambda context, *_: context.set_timer("t", 5),
        callback: refuse,
    }
    trader = trader_of(Scripted(), Scripted(**actions))
    trader.contexts[0].strategy.actions = {}
    for event in events[:-1]:
        trader.step(event)
    with pytest.raises(StrategyError) as caught:
        trader.step(events[-1])
    text = str(caught.value)
    assert "'s1'" in text
    assert f"Scripted.{callback}" in text
    assert repr(events[-1]) in text
    assert "ValueError: no such luck" in text
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_failure_while_hearing_of_a_denial_is_named_too() -> None:
    trader = trader_of(Scripted(on_start=buying(), on_order=refuse))
    with pytest.raises(StrategyError, match=r"'s0'.*on_order.*ValueError"):
        trader.step(Started(1, 1, "r"))


def test_a_callback_with_the_wrong_signature_is_the_strategys_fault() -> None:
    class Careless:
        def subscriptions(self) -> list[Subscription]:
            return [Subscription(instrument_id=KEY, quotes="price")]

        def on_quote(self, context: Any) -> None: ...

    with pytest.raises(StrategyError, match=r"'s0' failed in Careless.*positional"):
        trader_of(Careless()).step(quote())


def test_a_strategys_own_assertion_is_its_fault_and_ours_stays_ours() -> None:
    def asserting(context: Any, *_: Any) -> None:
        raise AssertionError("mine")

    with pytest.raises(StrategyError, match=r"on_quote.*AssertionError: mine"):
        trader_of(Scripted(on_quote=asserting)).step(quote())

    def exhausting(context: Any, *_: Any) -> None:
        context._trader.order_counter = (1 << 32) - 1
        context.submit(KEY, Side.BUY, 1, 10_000)

    with pytest.raises(AssertionError):
        trader_of(Scripted(on_quote=exhausting)).step(quote())


def test_what_a_failed_step_wanted_to_send_is_withdrawn() -> None:
    def half_way(context: Any, *_: Any) -> None:
        first, *_rest = context.open_orders()
        context.replace(first, 20, 10_000)
        context.submit(KEY, Side.SELL, 3, 10_001)
        context.submit(KEY, Side.BUY, 5, 10_000)
        raise ValueError("then it failed")

    strategy = Scripted(on_quote=buying())
    trader = trader_of(strategy)
    trader.step(quote())
    trader.step(accepted())
    strategy.actions = {"on_quote": half_way}
    with pytest.raises(StrategyError):
        trader.step(quote(ts=2))
    state = trader.states[KEY]
    assert (state.open_buy_qty, state.open_sell_qty, state.open_orders) == (10, 0, 1)
    strategy.actions = {}
    assert [shown(c) for c in trader.step(TradingStateSet(3, 3, TradingState.HALTED, "failed"))] == [repr(CancelAll(3, None))]


def test_cancels_of_a_failed_step_still_leave() -> None:
    def cancel_and_fail(context: Any, *_: Any) -> None:
        context.cancel_all()
        raise ValueError

    strategy = Scripted(on_quote=buying())
    trader = trader_of(strategy)
    trader.step(quote())
    strategy.actions = {"on_quote": cancel_and_fail}
    with pytest.raises(StrategyError):
        trader.step(quote(ts=2))
    assert [shown(c) for c in trader.step(accepted(ts=3))] == [repr(CancelOrder(2, order_id(1)))]


def test_an_event_that_goes_back_in_time_changes_nothing() -> None:
    trader = trader_of(Scripted())
    trader.step(quote(ts=10))
    before = (trader.now, trader.state_digest(), trader.states[KEY].quote)
    with pytest.raises(StateError, match="back in time from 10 to 9"):
        trader.step(quote(ts=9))
    assert (trader.now, trader.state_digest(), trader.states[KEY].quote) == before
    trader.step(quote(ts=10))


@pytest.mark.parametrize("event", [OrderDenied(5, 5, 1, "s0", KEY, "x", 1, 1), None, "quote", object()])
def test_an_event_the_trader_has_no_use_for_is_named(event: Any) -> None:
    trader = trader_of(Scripted())
    with pytest.raises(StateError, match=type(event).__name__):
        trader.step(event)
    assert trader.now == 0


def test_an_event_of_an_unknown_instrument_is_no_strategys_fault() -> None:
    for event in (
        quote(instrument_id="MSFT.XNAS"),
        GapDetected(1, 1, "MSFT.XNAS"),
        StatusChanged(1, 1, "MSFT.XNAS", MarketStatus.CLOSED),
    ):
        with pytest.raises(StateError, match=r"MSFT\.XNAS.*not configured"):
            trader_of(Scripted()).step(event)


def test_an_illegal_order_event_keeps_the_event_in_the_text_or_names_the_order() -> None:
    with pytest.raises(StateError, match=str(order_id(7))):
        trader_of(Scripted()).step(filled(7))


def test_two_strategies_of_one_name_or_an_unknown_instrument_are_refused_whole() -> None:
    trader = trader_of(Scripted())
    with pytest.raises(StrategyError, match="two strategies"):
        trader.add_strategy("s0", Scripted())

    class Elsewhere(Scripted):
        def subscriptions(self) -> list[Subscription]:
            return [*super().subscriptions(), Subscription(instrument_id="MSFT.XNAS", quotes="price")]

    with pytest.raises(StrategyError, match=r"'e'.*MSFT\.XNAS"):
        trader.add_strategy("e", Elsewhere(on_quote=refuse))
    assert len(trader.contexts) == 1
    trader.step(quote())  # and hears nothing


@pytest.mark.parametrize("run_number", [0, -1, 1 << 30])
def test_a_run_number_that_order_ids_cannot_hold_is_refused(run_number: int) -> None:
    with pytest.raises(UnitError):
        Trader(instruments=[EQUITY], cash={}, limits={}, rate=RateLimit(orders_max=1), run_number=run_number)


@pytest.mark.parametrize(
    "changes",
    [
        {"quotes": "all"},
        {"interval_ns": -1},
        {"interval_ns": float("nan")},
        {"book_levels": True},
        {"bars_ns": 1.5},
        {"bars_ns": None},
    ],
)
def test_an_impossible_subscription_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(StrategyError, match=r"AAPL\.XNAS"):
        Subscription(instrument_id=KEY, **changes)


# Denials.


def test_a_strategy_that_answers_each_denial_with_another_order_is_stopped() -> None:
    stubborn = Scripted(on_quote=buying(10**6), on_order=buying(10**6))
    trader = trader_of(stubborn)
    with pytest.raises(StrategyError, match=rf"'s0'.*{DENIALS_PER_STEP_MAX} times.*order_qty_max"):
        trader.step(quote())
    assert len(stubborn.seen) == DENIALS_PER_STEP_MAX + 1


def test_a_denial_is_heard_after_the_callback_and_kept_for_the_journal() -> None:
    def submit_and_note(context: Any, *_: Any) -> None:
        order = context.submit(KEY, Side.BUY, 101, 10_000)
        strategy.seen.append(f"returned {order.status.name}")

    strategy = Scripted(on_quote=submit_and_note)
    trader = trader_of(strategy)
    assert list(trader.step(quote())) == []
    assert [line.split()[0] for line in strategy.seen] == ["on_quote", "returned", "on_order"]
    assert trader.denied == [OrderDenied(1, 1, order_id(1), "s0", KEY, "order_qty_max", 101, 100)]
    trader.step(GapDetected(2, 2, KEY))
    assert trader.denied == []


@pytest.mark.parametrize("bad", [float("nan"), None, True, -1, 10.0, "10", object()])
@pytest.mark.parametrize("field", ["quantity", "price"])
def test_a_strategy_that_asks_for_nonsense_is_denied_and_nothing_leaves(field: str, bad: Any) -> None:
    trader = trader_of(Scripted(on_quote=buying(**{field: bad})))
    assert list(trader.step(quote())) == []
    assert [denied.client_order_id for denied in trader.denied] == [order_id(1)]
    assert trader.orders.open_orders() == []
    trader.state_digest()


# Cancels, timers, halts.


def test_a_cancel_is_sent_once_while_it_can_matter() -> None:
    """By state: whether cancel() asked, and the state it led to."""
    lives: dict[str, list[AnyEvent]] = {
        "SUBMITTED": [],
        "ACCEPTED": [accepted(ts=2)],
        "TRIGGERED": [OrderTriggered(2, 2, order_id(1))],
        "PARTIALLY_FILLED": [filled(ts=2)],
        "UNKNOWN": [OrderOutcomeUnknown(2, 2, order_id(1))],
        "CANCELED": [canceled(ts=2)],
        "FILLED": [filled(qty=10, ts=2)],
    }
    got = {}
    for name, events in lives.items():
        trader = trader_of(Scripted(on_quote=buying()))
        trader.step(quote())
        for event in events:
            trader.step(event)
        order = trader.orders.orders[order_id(1)]
        assert order.status.name == name
        context = trader.contexts[0]
        got[name] = (context.cancel(order), order.status.name, context.cancel(order), len(trader.out))
    assert got == {
        "SUBMITTED": (True, "PENDING_CANCEL", False, 1),
        "ACCEPTED": (True, "PENDING_CANCEL", False, 1),
        "TRIGGERED": (True, "PENDING_CANCEL", False, 1),
        "PARTIALLY_FILLED": (True, "PENDING_CANCEL", False, 1),
        "UNKNOWN": (True, "UNKNOWN", True, 2),  # nothing is proven by asking: it may be asked again
        "CANCELED": (False, "CANCELED", False, 0),
        "FILLED": (False, "FILLED", False, 0),
    }


def test_timers_move_cancel_and_fire_once() -> None:
    fired: list[tuple[int, str]] = []

    def on_start(context: Any) -> None:
        context.set_timer("a", 50)
        context.set_timer("b", -5)  # in the past: at once
        context.set_timer("a", 70)  # moved
        assert context.cancel_timer("b")
        assert not context.cancel_timer("b")

    trader = trader_of(Scripted(on_start=on_start, on_timer=lambda context, name: fired.append((context.now, name))))
    out = [shown(command) for command in trader.step(Started(10, 10, "r"))]
    assert out == [
        "SetTimer(ts=10, timer_id=1, at=50)",
        "SetTimer(ts=10, timer_id=2, at=10)",
        "CancelTimer(ts=10, timer_id=1)",
        "SetTimer(ts=10, timer_id=3, at=70)",
        "CancelTimer(ts=10, timer_id=2)",
    ]
    for ts, timer_id in ((50, 1), (51, 2), (70, 3), (71, 3), (72, 1_000)):
        trader.step(TimerFired(ts, ts, timer_id))
    assert fired == [(70, "a")]
    assert trader.contexts[0].timers == {}


@pytest.mark.parametrize("at", [float("nan"), 1.5, None, True])
def test_a_timer_needs_a_time_in_ns(at: Any) -> None:
    with pytest.raises(StrategyError, match=r"on_start.*timer 'x'"):
        trader_of(Scripted(on_start=lambda context: context.set_timer("x", at))).step(Started(1, 1, "r"))


def test_halted_cancels_everything_and_lets_nothing_else_leave() -> None:
    def insist(context: Any, *_: Any) -> None:
        for order in context.open_orders():
            context.replace(order, 1, 10_000)
            context.cancel(order)
        context.submit(KEY, Side.SELL, 1, 10_001, reduce_only=True)
        context.submit(KEY, Side.SELL, 1, None, order_type=OrderType.MARKET)

    strategy = Scripted(on_quote=buying())
    trader = trader_of(strategy, Scripted(on_quote=buying()))
    trader.step(quote())
    trader.step(accepted(1))
    trader.step(OrderOutcomeUnknown(1, 1, order_id(2)))
    strategy.actions = dict.fromkeys(
        (f"on_{name}" for name in ("quote", "halt", "order", "fill", "trade", "gap", "stop")), insist
    )
    strategy.actions.pop("on_order")  # it would answer its own denials for ever
    events: list[AnyEvent] = [
        TradingStateSet(2, 2, TradingState.HALTED, "loss"),
        quote(ts=3),
        filled(1, 4, 6, ts=4),
        Trade(5, 5, KEY, 10_000, 1, 0),
        GapDetected(6, 6, KEY),
        quote(ts=7),
        Stopping(8, 8, "end"),
    ]
    left = [command for event in events for command in trader.step(event)]
    kinds = {type(command.command).__name__ for command in left if isinstance(command, Approved)}
    assert shown(left[0]) == repr(CancelAll(2, None))
    assert kinds <= {"CancelAll", "CancelOrder"}
    assert {order.status.name for order in trader.orders.open_orders()} <= {"PENDING_CANCEL", "UNKNOWN"}
    trader.step(canceled(1, 6, ts=9))
    strategy.actions = {"on_quote": buying()}
    trader.step(TradingResumed(10, 10, "looked into"))
    assert any(isinstance(c.command, SubmitOrder) for c in trader.step(quote(ts=11)) if isinstance(c, Approved))


def test_a_gap_closes_the_market_until_a_fresh_quote() -> None:
    strategy = Scripted(on_quote=buying(), on_trade=buying())
    trader = trader_of(strategy)
    assert len(trader.step(quote())) == 1
    trader.step(GapDetected(2, 2, KEY))
    assert list(trader.step(Trade(3, 3, KEY, 10_000, 1, 0))) == []
    assert trader.denied[0].limit == "market_gap"
    assert len(trader.step(quote(ts=4))) == 1


def test_after_a_gap_bars_alone_are_a_market_again() -> None:
    trader = trader_of(Scripted(on_bar=buying()))
    trader.step(GapDetected(1, 1, KEY))
    assert len(trader.step(Bar(60, 60, KEY, 9_990, 10_010, 9_980, 10_000, 500, 60))) == 1


def test_each_strategy_hears_of_its_own_orders_only() -> None:
    first, second = Scripted(on_quote=buying()), Scripted()
    trader = trader_of(first, second)
    trader.step(quote())
    for strategy in (first, second):
        strategy.seen.clear()
    trader.step(filled(1, 10))
    assert [line.split()[0] for line in first.seen] == ["on_fill", "on_order", "on_position"]
    assert second.seen == []


def test_a_duplicate_fill_is_counted_and_heard_of_once() -> None:
    strategy = Scripted(on_quote=buying())
    trader = trader_of(strategy)
    for event in (quote(), filled(), filled(ts=3)):
        trader.step(event)
    assert (trader.duplicate_fills, trader.portfolio.fills_booked) == (1, 1)
    assert sum(line.startswith("on_fill") for line in strategy.seen) == 1


def test_events_and_commands_survive_their_own_encoding() -> None:
    """The definition is the journal's codec: what is read back is equal, whatever its kind."""
    decoder = msgspec.msgpack.Decoder(AnyEvent)
    for event in SESSION:
        assert decoder.decode(msgspec.msgpack.encode(event)) == event


if __name__ == "__main__":  # python -m tests.core.test_trader: writes the golden file anew; read its diff first
    GOLDEN.write_text(session_text(), encoding="utf-8")
