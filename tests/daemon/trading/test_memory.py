"""What a strategy saves is there after a restart, as of the last save after a crash, and every run replays with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.enums import Side, TradingState
from core.errors import StrategyError
from core.events import MemoryRequested, Quote, StateRestored, StrategySaved
from core.memory import MEMORY_BYTES_MAX
from core.restore import capture
from daemon.exit_codes import ExitCode
from daemon.replay import replay
from daemon.trading.recovery import recover
from daemon.trading.state_folder import StateFolder
from daemon.trading.wiring import build_bare_trader
from tests.daemon.trading.daemon_harness import Running, load, play
from tests.daemon.trading.scripted_venue import BUY_ONE, INSTRUMENT, NOTHING, Obedient

Patch = pytest.MonkeyPatch


class Counting(Obedient):
    """Counts quotes over all its lives, and buys at every fifth."""

    seen = 0

    def on_quote(self, context: Any, quote: Quote) -> None:
        self.seen += 1
        if self.seen % 5 == 0:
            context.submit(INSTRUMENT, Side.BUY, 1, quote.bid_price)

    def save(self) -> dict[str, Any]:
        return {"seen": self.seen, "mean": self.seen / 7, "raw": b"\x00\xff"}

    def load(self, saved: dict[str, Any]) -> None:
        assert (saved["mean"], saved["raw"]) == (saved["seen"] / 7, b"\x00\xff")
        self.seen = saved["seen"]


class Boundless(Obedient):
    def save(self) -> bytes:
        return bytes(MEMORY_BYTES_MAX)


class Odd(Obedient):
    def save(self) -> object:
        return object()


COUNTING = "tests.daemon.trading.test_memory:Counting"


def check_replay(run: Running) -> None:
    found = replay(run.daemon.session.journal.path.parent, None)
    assert (found.is_identical, found.difference) == (True, None)


async def quotes(run: Running, count: int) -> int:
    strategy = run.trader.contexts[0].strategy
    wanted = strategy.seen + count
    for _ in range(count):
        run.venue.tell(NOTHING)
    await run.until(lambda: strategy.seen >= wanted)
    return int(strategy.seen)


def test_it_goes_on_where_it_was(tmp_path: Path, monkeypatch: Patch) -> None:
    seen: list[int] = []

    async def story(run: Running) -> None:
        assert run.trader.contexts[0].strategy.seen == (seen[-1] if seen else 0)
        seen.append(await quotes(run, 4))

    for life in range(1, 4):
        run = play(tmp_path, monkeypatch, story, strategy=COUNTING)
        assert run.end is ExitCode.OK, run.end
        assert seen[-1] == 4 * life
        check_replay(run)
        records = run.records()
        assert isinstance(records[0], StateRestored)
        assert len(records[0].state.memory) == (life > 1)
    # 12 quotes, and an order at the fifth and the tenth, each in a life that had not seen five by itself.
    assert sum(len(record.state.orders) for record in records[:1] if isinstance(record, StateRestored)) == 1


def test_after_a_crash_it_is_as_of_the_last_save(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        run.venue.tell(NOTHING)
        await run.until(lambda: any(isinstance(record, StrategySaved) for record in run.records()))
        remembered.append(capture(run.trader).memory)

    remembered: list[tuple[tuple[str, bytes], ...]] = []
    run = play(tmp_path, monkeypatch, story, 'daemon.memory_interval="20ms"', strategy=COUNTING)
    saved = [record for record in run.records() if isinstance(record, StrategySaved)]
    asked = [record for record in run.records() if isinstance(record, MemoryRequested)]
    assert len(saved) == len(asked) > 1
    assert remembered[0][0][0] == "obedient"
    # The fold finds the last one without asking any strategy.
    loaded = load(tmp_path)
    folder = StateFolder(tmp_path / "state" / "session")
    try:
        found = recover(folder, partial(build_bare_trader, loaded)).state
    finally:
        folder.release()
    assert found.memory == (("obedient", saved[-1].memory),)
    check_replay(run)


@pytest.mark.parametrize(("name", "text"), [("Boundless", "are kept"), ("Odd", "cannot be kept")])
def test_what_cannot_be_kept_is_the_strategys_failure(tmp_path: Path, monkeypatch: Patch, name: str, text: str) -> None:
    async def story(run: Running) -> None:
        run.venue.tell(BUY_ONE)
        await run.ended()

    run = play(tmp_path, monkeypatch, story, 'daemon.memory_interval="20ms"', strategy=f"tests.daemon.trading.test_memory:{name}")
    assert isinstance(run.end, StrategyError)
    assert text in str(run.end)
    assert run.venue.orders == {}
    check_replay(run)


def test_one_that_cannot_read_what_was_saved_fails_before_it_trades(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await quotes(run, 1)

    async def nothing(run: Running) -> None:
        await run.ended()

    play(tmp_path, monkeypatch, story, strategy=COUNTING)

    def refuse(_self: Counting, _saved: Any) -> None:
        raise ValueError("of another version")

    monkeypatch.setattr(Counting, "load", refuse)
    run = play(tmp_path, monkeypatch, nothing, strategy=COUNTING, must_trade=False)
    assert isinstance(run.end, StrategyError)
    assert "of another version" in str(run.end)
    assert run.trader.risk.trading_state is TradingState.HALTED
    assert run.trader.orders.orders == {}
    check_replay(run)
