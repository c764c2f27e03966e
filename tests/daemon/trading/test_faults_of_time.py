"""The clock is set, the loop stands still, the market comes in a burst: nothing lost, nothing twice, time never goes back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from core.events import Quote
from core.trader import Trader
from core.venue_adapter import EventSink, OnReconnect
from daemon.config.loader import LoadedConfig
from daemon.control.server import Handler
from daemon.exit_codes import ExitCode
from daemon.journal.tail import TailReader
from daemon.trading.clock import Clock, SystemClock
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from tests.daemon.session import environment
from tests.daemon.trading.durable_venue import INSTRUMENT, DurableVenue
from tests.daemon.trading.kill_runner import audit, last_state
from tests.daemon.trading.power_cut import CLEAN, NotedLedger, configured
from tests.daemon.trading.virtual_time import NS_PER_S, World

HOUR_NS = 3_600 * NS_PER_S
STALL_NS = 30 * NS_PER_S
BURST_QUOTES = 3_000
INBOX_EVENTS = 64

MakeVenue = Callable[[NotedLedger, Clock], DurableVenue]


def steady(ledger: NotedLedger, clock: Clock) -> DurableVenue:
    return DurableVenue(ledger, clock, 1)


def live(
    loaded: LoadedConfig,
    ledger: NotedLedger,
    world: World,
    *,
    seconds: float,
    script: Callable[[Daemon], None],
    make_venue: MakeVenue = steady,
    make_clock: Callable[[int], Clock] | None = None,
) -> Daemon:
    """One life in virtual time, that ends in order."""

    def open_venue(_loaded: LoadedConfig, _trader: Trader, clock: Clock) -> DurableVenue:
        return make_venue(ledger, clock)

    def handler_of(made: Daemon) -> Handler:
        script(made)
        asyncio.get_running_loop().call_later(seconds, made.stop, "stop", 0, "the life is over")
        return Control(made).answer

    daemon = Daemon(loaded, quiet=True, open_adapter=open_venue, make_clock=make_clock or world.clock)
    code = anyio.run(partial(daemon.run, handler_of), backend_options={"loop_factory": world.new_loop})
    assert code == ExitCode.OK
    return daemon


def require_well(loaded: LoadedConfig, ledger: NotedLedger) -> None:
    found = audit(loaded, ledger.entries())
    assert {key: found[key] for key in CLEAN} == {key: [] for key in CLEAN}
    assert last_state(loaded) == (found["position"], found["cash"])
    assert found["orders"] > 5
    assert found["fills"] > 5


def stamps(loaded: LoadedConfig) -> list[int]:
    """When each event came in, over all runs."""
    runs = sorted((Path(loaded.config.daemon.state_folder) / "session" / "runs").iterdir())
    return [record.ts_init for run in runs for record in TailReader(run / "journal") if hasattr(record, "ts_init")]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedConfig:
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", environment(tmp_path)["TRADINGD_RUNTIME_DIR"])
    return configured(tmp_path, "before_send")


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], list[int]]:
    """Makes the daemon's own clock read a world's time; the list's one number is how far the wall clock is off, in ns."""

    def set_up(world: World) -> list[int]:
        off = [0]
        fake = SimpleNamespace(time_ns=lambda: world.ns + off[0], monotonic_ns=lambda: world.ns)
        monkeypatch.setattr("daemon.trading.clock.time", fake)
        return off

    return set_up


@pytest.mark.parametrize("steps", [(-HOUR_NS,), (HOUR_NS,), (HOUR_NS, -HOUR_NS), (-24 * HOUR_NS, 25 * HOUR_NS)])
def test_the_wall_clock_is_set_while_the_daemon_trades(
    loaded: LoadedConfig, wall: Callable[[World], list[int]], steps: tuple[int, ...]
) -> None:
    world = World()
    off, ledger = wall(world), NotedLedger([], lambda _what, _value: None)

    def set_clock(_made: Daemon) -> None:
        for number, step in enumerate(steps):
            asyncio.get_running_loop().call_later(0.03 * (number + 1), lambda step=step: off.__setitem__(0, off[0] + step))

    live(loaded, ledger, world, seconds=0.1, script=set_clock, make_clock=SystemClock)
    # While nothing ran, somebody set the clock back by a day.
    off[0] -= 24 * HOUR_NS
    live(loaded, ledger, world, seconds=0.05, script=lambda _made: None, make_clock=SystemClock)
    found = stamps(loaded)
    assert found == sorted(found), "time never goes back"
    require_well(loaded, ledger)


def test_a_loop_that_stood_still_for_thirty_seconds_goes_on(loaded: LoadedConfig) -> None:
    world, ledger = World(), NotedLedger([], lambda _what, _value: None)

    def stall_now_and_then(_made: Daemon) -> None:
        def stall() -> None:
            world.ns += STALL_NS  # it passes, and nothing runs

        for after_s in (0.03, 30.06, 60.09):
            asyncio.get_running_loop().call_later(after_s, stall)

    live(loaded, ledger, world, seconds=90.15, script=stall_now_and_then)
    require_well(loaded, ledger)


class Bursting(DurableVenue):
    """Its market comes by the thousand at once, with fills in between."""

    def __init__(self, ledger: NotedLedger, clock: Clock) -> None:
        super().__init__(ledger, clock, 1)
        self.offered = 0
        self._draw = random.Random(2)

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        while True:
            for number in range(BURST_QUOTES):
                now, step = self._clock.now(), self._draw.randint(-3, 3)
                assert sink.offer(Quote(now, now, INSTRUMENT, 9_999 + step, 50, 10_001 + step, 50)), "a quote never waits"
                self.offered += 1
                if number % 500 == 0:
                    for order_id in sorted(self.open_orders)[:2]:
                        self._fill(order_id)
                    answers, self._answers = self._answers, []
                    for event in answers:
                        await sink.put(event)
            await anyio.sleep(0.002)


def test_a_burst_of_the_market_is_conflated_and_no_order_event_is_lost(loaded: LoadedConfig) -> None:
    daemon_settings = loaded.config.daemon.model_copy(update={"inbox_events_max": INBOX_EVENTS})
    loaded = type(loaded)(loaded.config.model_copy(update={"daemon": daemon_settings}), loaded.file, loaded.instruments)
    ledger = NotedLedger([], lambda _what, _value: None)
    made: list[Bursting] = []

    def make(found: NotedLedger, clock: Clock) -> DurableVenue:
        made.append(Bursting(found, clock))
        return made[0]

    daemon = live(loaded, ledger, World(), seconds=0.1, script=lambda _made: None, make_venue=make)
    inbox = daemon.session.inbox
    run = Path(loaded.config.daemon.state_folder) / "session" / "runs" / "000001"
    quotes = sum(isinstance(record, Quote) for record in TailReader(run / "journal"))
    assert made[0].offered > 20 * BURST_QUOTES
    assert inbox.conflated > made[0].offered // 2
    # Each one was taken or counted; at the end, at most the inbox was still full of them.
    assert 0 <= made[0].offered - quotes - inbox.conflated <= INBOX_EVENTS + 2
    assert inbox.depth_max <= INBOX_EVENTS + 2
    require_well(loaded, ledger)


def test_memory_of_an_inbox_is_bounded_whatever_comes(loaded: LoadedConfig) -> None:
    sizes: list[int] = []

    def watch(made: Daemon) -> None:
        def look() -> None:
            sizes.append(len(made.session.inbox))
            asyncio.get_running_loop().call_later(0.001, look)

        look()

    daemon_settings: dict[str, Any] = {"inbox_events_max": INBOX_EVENTS}
    settings = loaded.config.daemon.model_copy(update=daemon_settings)
    loaded = type(loaded)(loaded.config.model_copy(update={"daemon": settings}), loaded.file, loaded.instruments)
    live(loaded, NotedLedger([], lambda _w, _v: None), World(), seconds=0.05, script=watch, make_venue=Bursting)
    assert len(sizes) > 10
    assert max(sizes) <= INBOX_EVENTS + 2
