"""The same strategy gets the same bars in a backtest and by the clock: those that an archive of the same prints has."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

import anyio
import pytest

from core.bars import BAR_GRACE_NS, Bars, BarSource
from core.enums import AggressorSide, Reason
from core.events import AnyEvent, Bar, GapDetected, OrderCanceled, Quote, Trade
from core.strategy import Subscription
from core.units import NS_PER_SECOND, divide_half_even
from daemon.bars import heard_at_venue, wanted_bars
from daemon.config.loader import LoadedConfig, load_config
from daemon.exit_codes import ExitCode
from daemon.journal.tail import TailReader
from daemon.replay import replay
from daemon.trading.bar_sink import BarSink
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from daemon.trading.inbox import Inbox
from tests.core.test_bars import grouped, without_stamps
from tests.daemon.session import CONFIG, environment, run_of, tradingd
from tests.daemon.trading.bar_follower import LENGTHS_NS
from tests.daemon.trading.harness import HandClock
from tests.daemon.trading.test_recorded_feeds import STRATEGY, table_config
from tests.daemon.trading.virtual_time import World

SECOND = NS_PER_SECOND
MINUTES = 6
KEY = "X.VENUE"
FOLLOWER = STRATEGY.replace("follower:Follower", "bar_follower:BarFollower")


def table(folder: Path, kind: str) -> Path:
    """Some minutes of prints or quotes, silent now and then for up to twenty seconds, and their session."""
    random = Random(5)
    ts, price = 1_767_623_400 * SECOND + 123, 10_000
    header = {"trades": "ts_event,price,qty,side", "quotes": "ts_event,bid_price,bid_qty,ask_price,ask_qty"}[kind]
    rows = [header]
    while ts < (1_767_623_400 + 60 * MINUTES) * SECOND:
        ts += random.choice((1, 40, 300, 2_000, 20_000)) * 10**6
        price += random.randint(-5, 5)
        text, above = f"{price // 100}.{price % 100:02}", f"{(price + 1) // 100}.{(price + 1) % 100:02}"
        rows.append(f"{ts},{text},{random.randint(1, 9)},{'buy'}" if kind == "trades" else f"{ts},{text},5,{above},5")
    file = folder / f"{kind}.csv"
    file.write_text("\n".join(rows) + "\n")
    path = table_config(folder, kind, file, 2, "")
    path.write_text(path.read_text().replace(STRATEGY, FOLLOWER))
    return path


def told(run: Path) -> tuple[list[Bar], list[Bar]]:
    """The bars in a run's journal, and those of an archive of the market in the same journal."""
    events = [record for record in TailReader(run / "journal") if isinstance(record, Bar | Trade | Quote)]
    prints: list[Trade] = []
    for event in events:
        if isinstance(event, Trade):
            prints.append(event)
        elif isinstance(event, Quote) and event.bid_qty and event.ask_qty:
            middle = divide_half_even(event.bid_price + event.ask_price, 2)
            prints.append(Trade(event.ts_event, event.ts_init, event.instrument_id, middle, 0, AggressorSide.NONE))
    since = max(prints[0].ts_event, prints[0].ts_init)
    ends = max(prints[-1].ts_event, *(event.ts_event for event in events if isinstance(event, Bar)))
    expected = [
        bar
        for length in LENGTHS_NS
        for bar in grouped(prints, length)
        # Not the interval in which it began to watch, nor the one in which the market ended.
        if bar.ts_event - length > since and bar.ts_event <= ends
    ]
    bars = without_stamps(event for event in events if isinstance(event, Bar))
    key = prints[0].instrument_id
    named = [Bar(b.ts_event, 0, key, b.open, b.high, b.low, b.close, b.volume, b.interval_ns) for b in expected]
    return bars, sorted(named, key=lambda bar: (bar.ts_event, bar.interval_ns))


@pytest.mark.parametrize("kind", ["trades", "quotes"])
def test_in_a_backtest(tmp_path: Path, kind: str) -> None:
    path = table(tmp_path, kind)
    result = tradingd("backtest", path, "--json", "--set", "run.journal=true", cwd=tmp_path)
    assert result.returncode == 0, result
    bars, expected = told(Path(run_of(result)["folder"]))
    assert len(bars) > 20
    assert sorted(bars, key=lambda bar: (bar.ts_event, bar.interval_ns)) == expected


@pytest.mark.parametrize("kind", ["trades", "quotes"])
def test_by_the_clock(tmp_path: Path, kind: str) -> None:
    state = f'daemon.state_folder="{tmp_path}/state"'
    loaded = load_config(table(tmp_path, kind), ['run.mode="paper"', state, 'risk.market_age_max="1h"'])
    world = World()
    daemon = Daemon(loaded, quiet=True, make_clock=world.clock)
    with patch.dict(os.environ, environment(tmp_path)):
        code = anyio.run(partial(daemon.run, lambda made: Control(made).answer), backend_options={"loop_factory": world.new_loop})
    assert code == ExitCode.OK
    (run,) = (tmp_path / "state" / loaded.config.run.name / "runs").iterdir()
    bars, expected = told(run)
    assert len(bars) > 20
    assert sorted(bars, key=lambda bar: (bar.ts_event, bar.interval_ns)) == expected
    again = replay(run, None)
    assert (again.is_identical, again.ending) == (True, "")
    assert again.commands + again.denials > 20


def connected(folder: Path, adapter: str, more: str = "") -> LoadedConfig:
    text = CONFIG.replace("ACME.SIM", "EUR_USD.FX").replace('class = "equity"', 'class = "spot"')
    start, end = text.index("[[data]]"), text.index("[venue.latency]")
    text = f'{text[:start]}[venue]\nfidelity = "l2"\n\n{text[end:]}'
    account = "101-001-1234567-001"
    file = folder / "connected.toml"
    file.write_text(
        f'{text}\n[[connections]]\nvenue = "FX"\nadapter = "{adapter}"\nenvironment = "test"\naccount = "{account}"\n{more}\n'
    )
    return load_config(file, ['run.mode="paper"'])


def test_what_each_venue_is_asked_for_and_what_is_made_of_it(tmp_path: Path) -> None:
    """A dealer has no prints; one venue sends bars of a minute itself; one is asked now and then, so that prints come late."""
    minute, second = 60 * SECOND, SECOND
    wanted = [Subscription(instrument_id="EUR_USD.FX", bars_ns=length) for length in (minute, second)]
    prints, quotes = (
        Subscription(instrument_id="EUR_USD.FX", **{name: value}) for name, value in (("trades", True), ("quotes", "price"))
    )
    silent = Subscription(instrument_id="EUR_USD.FX")
    expected = {
        "oanda": (
            [silent, quotes, silent, quotes],
            [(minute, BarSource.QUOTES, BAR_GRACE_NS), (second, BarSource.QUOTES, BAR_GRACE_NS)],
        ),
        "alpaca": ([wanted[0], prints], [(second, BarSource.TRADES, BAR_GRACE_NS)]),
        "binance-spot": ([prints, prints], [(minute, BarSource.TRADES, BAR_GRACE_NS), (second, BarSource.TRADES, BAR_GRACE_NS)]),
        "ccxt": ([prints, prints], [(minute, BarSource.TRADES, 6 * SECOND), (second, BarSource.TRADES, 6 * SECOND)]),
    }
    for adapter, (asked, made) in expected.items():
        more = "settings = { poll_trades_s = 3.0 }" if adapter == "ccxt" else ""
        loaded = connected(tmp_path, adapter, more)
        assert heard_at_venue(loaded.config.connections[0], wanted) == asked
        assert wanted_bars(loaded, wanted, is_simulated=False) == [("EUR_USD.FX", *each) for each in made]
        # The simulated venue sends no bars, whatever the venue of the feed does.
        assert len(wanted_bars(loaded, wanted, is_simulated=True)) == 2


# The sink by itself.


def trade(ts: int, price: int = 100) -> Trade:
    return Trade(ts, ts, KEY, price, 1, AggressorSide.BUY)


def sink_of(events_max: int) -> tuple[BarSink, Inbox, HandClock]:
    clock = HandClock(1)
    inbox = Inbox(clock, events_max)
    return BarSink(inbox, clock, Bars([(KEY, 10 * SECOND, BarSource.TRADES, BAR_GRACE_NS)])), inbox, clock


def offer(sink: BarSink, clock: HandClock, event: AnyEvent) -> bool:
    clock.ts = event.ts_init
    return sink.offer(event)


def test_a_bar_goes_in_before_what_has_ended_it() -> None:
    sink, inbox, clock = sink_of(100)
    for second, price in ((1, 1), (10, 5), (11, 7), (20, 9)):
        assert offer(sink, clock, trade(second * SECOND, price))
    bar = Bar(20 * SECOND, 20 * SECOND, KEY, 5, 7, 5, 7, 2, 10 * SECOND)
    assert inbox.take(10)[-2:] == [bar, trade(20 * SECOND, 9)]
    assert sink.next_due == 30 * SECOND + BAR_GRACE_NS
    clock.ts = sink.next_due
    sink.tell_due()
    assert inbox.take(10) == [Bar(30 * SECOND, clock.ts, KEY, 9, 9, 9, 9, 1, 10 * SECOND)]


def test_a_full_inbox_takes_nothing_from_a_bar_and_loses_none() -> None:
    sink, inbox, clock = sink_of(2)
    for second in range(1, 32):
        assert offer(sink, clock, trade(second * SECOND, second))
    assert inbox.conflated == 29
    canceled = OrderCanceled(1, 31 * SECOND, 1, 5, Reason.REQUESTED)
    assert not offer(sink, clock, canceled)
    taken = inbox.take(10)
    sink.tell_due()
    assert len(taken) == 2
    bars = [Bar(ends * SECOND, 31 * SECOND, KEY, ends - 10, ends - 1, ends - 10, ends - 1, 10, 10 * SECOND) for ends in (20, 30)]
    assert inbox.take(10) == bars


def test_a_gap_that_waits_for_room_has_ended_its_bar() -> None:
    sink, inbox, clock = sink_of(1)
    for second in (1, 10, 11):
        offer(sink, clock, trade(second * SECOND))
    gap = GapDetected(12 * SECOND, 12 * SECOND, KEY)
    assert not offer(sink, clock, gap)
    inbox.take(10)
    assert offer(sink, clock, gap)
    assert inbox.take(10) == [gap]
    assert sink.next_due > 40 * SECOND
