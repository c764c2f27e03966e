"""The clock is moved and the loop stands still while the daemon trades: timers, the market's age, day orders, what is told."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.enums import Side
from core.events import OrderDenied, Quote, TimerFired
from core.strategy import Subscription
from daemon.exit_codes import ExitCode
from daemon.replay import replay
from daemon.trading.clock import SystemClock, WallWatch
from tests.daemon.trading.daemon_harness import Running, play, world_of
from tests.daemon.trading.harness import START, HandClock, open_session, quote, remembered
from tests.daemon.trading.scripted_venue import BUY_ONE, INSTRUMENT, NOTHING, Obedient
from tests.daemon.trading.virtual_time import World

Patch = pytest.MonkeyPatch
HOUR_NS = 3_600 * 10**9
STALL, STALL_NS = 5, 300_000_000
AGE = "risk.market_age_max"


class Wall:
    """The machine's wall clock, which a test moves."""

    def __init__(self, monkeypatch: Patch) -> None:
        self.moved_ns = 0
        real = time.time_ns
        monkeypatch.setattr("daemon.trading.clock.time.time_ns", lambda: real() + self.moved_ns)


class Timed(Obedient):
    """Also: a timer in half an hour, set at the start; stands still in `world` at a quote that says so."""

    world: World

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="packet")]

    def on_start(self, context: Any) -> None:
        context.set_timer("half an hour", context.now + HOUR_NS // 2)

    def on_quote(self, context: Any, quote: Quote) -> None:
        if quote.bid_qty == STALL:
            self.world.ns += STALL_NS
        super().on_quote(context, quote)

    def on_timer(self, context: Any, name: str) -> None:
        context.submit(INSTRUMENT, Side.BUY, 1, 10_000)


STRATEGY = "tests.daemon.trading.test_time:Timed"


def check_replay(run: Running) -> None:
    assert run.end is ExitCode.OK, run.end
    assert replay(run.daemon.session.journal.path.parent, None).is_identical


@pytest.mark.parametrize(
    ("steps_s", "told"),
    [
        ((0.2, -0.2), []),
        ((1,), [("forward", 1)]),
        ((-1,), [("back", 1)]),
        ((3_600, -3_600), [("forward", 3_600), ("back", 3_600)]),
    ],
)
def test_a_step_of_the_clock_is_told_of_and_time_goes_on(
    tmp_path: Path, monkeypatch: Patch, steps_s: tuple[float, ...], told: list[tuple[str, int]]
) -> None:
    wall = Wall(monkeypatch)

    async def story(run: Running) -> None:
        clock = run.daemon.session.clock
        for step_s in steps_s:
            before, beats = clock.now(), len(run.watcher.beats)
            wall.moved_ns += int(step_s * 10**9)
            # Heartbeats go on, and no stamp goes back.
            await run.until(lambda beats=beats: len(run.watcher.beats) > beats + 5)
            assert clock.now() > before
        stamps = [beat.ts for beat in run.watcher.beats]
        assert stamps == sorted(stamps)

    run = play(tmp_path, monkeypatch, story, 'daemon.clock_step_max="300ms"', by_the_clock=True)
    found = [re.search(r"moved (\w+) by ([\d.]+) s", alert.text) for alert in run.watcher.alerts if alert.kind == "clock_step"]
    # To the second: the machine's own clock runs meanwhile.
    assert [(match[1], round(float(match[2]))) for match in found if match is not None] == told
    check_replay(run)


def test_after_a_step_forward_timers_are_due_and_the_market_is_old(tmp_path: Path, monkeypatch: Patch) -> None:
    wall = Wall(monkeypatch)

    async def story(run: Running) -> None:
        run.venue.tell(NOTHING)
        await run.until(lambda: run.trader.states[INSTRUMENT].quote is not None)
        wall.moved_ns += HOUR_NS
        await run.until(lambda: run.trader.orders.orders)
        # What the timer sent an hour later found a market of an hour ago.
        (order,) = run.trader.orders.orders.values()
        assert order.status.name == "DENIED"
        run.venue.tell(BUY_ONE)
        await run.until(run.trader.orders.open_orders)

    run = play(tmp_path, monkeypatch, story, f'{AGE}="1m"', strategy=STRATEGY, by_the_clock=True)
    (denied,) = [record for record in run.records() if isinstance(record, OrderDenied)]
    assert (denied.limit, denied.value >= HOUR_NS) == ("market_age_ns_max", True)
    assert len([record for record in run.records() if isinstance(record, TimerFired)]) == 1
    check_replay(run)


def test_a_restart_after_a_step_back_goes_on_behind_the_last_stamp(tmp_path: Path, monkeypatch: Patch) -> None:
    wall = Wall(monkeypatch)
    ends: list[int] = []

    async def story(run: Running) -> None:
        run.venue.tell(NOTHING)
        await run.until(lambda: run.trader.states[INSTRUMENT].quote is not None)
        ends.append(run.trader.now)

    wall.moved_ns = HOUR_NS
    check_replay(play(tmp_path, monkeypatch, story, by_the_clock=True))
    wall.moved_ns = 0
    check_replay(play(tmp_path, monkeypatch, story, by_the_clock=True))
    assert ends[1] > ends[0]
    assert WallWatch().ahead_ns(SystemClock(ends[1])) > HOUR_NS // 2


def test_a_loop_that_stood_still_does_not_trade_on_the_market_of_before(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        run.venue.tell(NOTHING)
        await run.until(lambda: run.trader.states[INSTRUMENT].quote is not None)
        beats = len(run.watcher.beats)
        # The second quote waits in the inbox while the first is being looked at.
        run.venue.tell(STALL)
        run.venue.tell(NOTHING)
        run.venue.tell(BUY_ONE)
        await run.until(lambda: run.trader.orders.orders)
        (order,) = run.trader.orders.orders.values()
        assert order.status.name == "DENIED"
        await run.until(lambda: len(run.watcher.beats) > beats + 3)
        # The next market is a market again.
        run.venue.tell(BUY_ONE)
        await run.until(run.trader.orders.open_orders)

    settings = (f'{AGE}="100ms"', 'daemon.lag_max="50ms"')
    # One event a batch: what stands behind the stall is drained after it.
    monkeypatch.setattr("daemon.trading.daemon.BATCH_EVENTS_MAX", 1)
    monkeypatch.setattr(Timed, "world", world_of(tmp_path), raising=False)
    run = play(tmp_path, monkeypatch, story, *settings, strategy=STRATEGY)
    denials = [record for record in run.records() if isinstance(record, OrderDenied)]
    assert [denied.limit for denied in denials] == ["market_age_ns_max"]
    assert denials[0].value >= STALL_NS
    assert "lag" in run.watcher.kinds()
    check_replay(run)


def test_what_has_waited_is_stamped_anew_and_time_does_not_go_back(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    clock = session.clock
    assert isinstance(clock, HandClock)
    for ts in (10, 20, 30):
        clock.ts = START + ts
        session.inbox.offer(quote(START + ts))
    clock.ts = START + 2 * 10**9
    session.inbox.offer(quote(START + 40))
    assert session.drain_inbox(2) == 2
    assert session.trader.now == START + 2 * 10**9
    clock.ts += 5
    session.inbox.offer(quote(START + 50))
    assert session.drain_inbox(10) == 3
    assert session.trader.now == START + 2 * 10**9 + 5
    stamps = [order.ts for order in remembered(session).orders]
    assert stamps == [START + 2 * 10**9] * 2 + [START + 2 * 10**9 + 5] * 3
    seen = session.trader.states[INSTRUMENT].quote
    assert seen is not None
    assert msgspec.structs.replace(seen, ts_init=0) == msgspec.structs.replace(quote(START + 50), ts_init=0)
    session.journal.abandon()
    session._folder.release()
