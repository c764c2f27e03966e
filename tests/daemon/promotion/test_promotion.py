"""A strategy trades live only after its paper runs have shown what the configuration asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import pytest

from core.enums import TradingState
from core.errors import ConfigError
from core.events import Heartbeat, LimitTripped, Started, TradingResumed, TradingStateSet
from core.units import NS_PER_DAY, NS_PER_SECOND
from daemon.cli.main import main
from daemon.config.loader import LoadedConfig, load_config
from daemon.config.places import account_folder
from daemon.doctor.account import look_at_promotion
from daemon.doctor.finding import Status
from daemon.exit_codes import ExitCode
from daemon.journal.keys import known_key
from daemon.promotion.evidence import PaperRun, Tally, read_paper_run
from daemon.promotion.gate import check_promotion
from daemon.promotion.identity import identity_of
from daemon.promotion.judgement import judge
from daemon.promotion.record import PROMOTION_FILE, read, refusal
from daemon.trading.clock import Clock, SystemClock
from tests.daemon.trading import daemon_harness as harness
from tests.daemon.trading.scripted_venue import BUY_ONE, NOTHING, ScriptedVenue

CONNECTION = """
[[connections]]
venue = "SIM"
adapter = "alpaca"
environment = "{environment}"
key = "k"
secret = "s"
"""
RULES = 'promotion.paper_time_min="0ns"', "promotion.orders_min=2", "promotion.fills_min=2"


def configured(folder: Path, mode: str, environment: str, *settings: str) -> LoadedConfig:
    """The harness's configuration with a venue of that environment; its account is called after its mode."""
    loaded = harness.load(folder)
    path = folder / f"{mode}-{environment}.toml"
    address = 'address = "127.0.0.1:9"\n' if environment == "simulator" else ""
    path.write_text(loaded.file.read_text() + CONNECTION.format(environment=environment) + address)
    return load_config(path, [f'run.mode="{mode}"', f'run.name="{mode}"', *settings])


def paper_run(loaded: LoadedConfig, orders: int = 2, *, held: int = 0) -> Path:
    """Trades so many orders on paper, each filled; returns the run's folder. `held`: what the runs before it have bought."""

    def make_venue(clock: Clock) -> ScriptedVenue:
        venue = ScriptedVenue(clock)
        venue.position = held
        return venue

    async def trade() -> None:
        async with harness.running(loaded, make_venue, make_clock=SystemClock) as run:
            for place in range(orders):
                run.venue.tell(BUY_ONE)
                await run.until(lambda place=place: len(run.venue.sent) > place)
                run.venue.tell(NOTHING)
                (name,) = run.venue.orders
                run.venue.fill(name, 1)
                await run.until(lambda place=place: run.daemon.session.fills_count > place)

    anyio.run(trade)
    return max((account_folder(loaded) / "runs").iterdir())


def evidence(folder: Path, live: LoadedConfig, since_ts: int = 0) -> PaperRun:
    return read_paper_run(folder, identity_of(live), key=known_key(), since_ts=since_ts)


def test_a_paper_run_is_read_from_its_journal(tmp_path: Path) -> None:
    paper, live = configured(tmp_path, "paper", "test"), configured(tmp_path, "live", "live")
    run = evidence(paper_run(paper), live)
    assert run.why_not == ""
    assert (run.orders, run.fills, run.trips, run.denials, run.failure) == (2, 2, 0, 0, "")
    assert 0 < run.traded_ns <= run.ts_last - run.ts_first


def test_time_in_which_nothing_happened_or_nothing_was_allowed_does_not_count() -> None:
    run = PaperRun(folder="a")
    tally = Tally(run)
    second = NS_PER_SECOND
    for record in (
        Heartbeat(0, 10 * second, 1),
        Started(0, 20 * second, "paper-1"),  # from here on
        Heartbeat(0, 70 * second, 2),  # 50 s
        Heartbeat(0, 200 * second, 3),  # silence
        TradingStateSet(0, 210 * second, TradingState.HALTED, "lunch"),  # 10 s
        Heartbeat(0, 220 * second, 4),
        TradingStateSet(0, 230 * second, TradingState.ACTIVE, "this resumes nothing"),
        Heartbeat(0, 240 * second, 5),
        TradingResumed(0, 250 * second, "back"),
        Heartbeat(0, 251 * second, 6),  # 1 s
        LimitTripped(0, 252 * second, "", TradingState.REDUCING, "drawdown", 2, 1, ()),  # 1 s
        Heartbeat(0, 260 * second, 7),
    ):
        tally.take(record)
    assert run.traded_ns == 62 * second
    assert (run.ts_first, run.ts_last, run.trips) == (10 * second, 260 * second, 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace("order_qty_max = 50", "order_qty_max = 40"), ""),  # limits are the operator's
        (lambda text: text.replace('tick = "0.01"', 'tick = "0.02"'), "instruments: ACME.SIM"),
        (lambda text: text.replace('id = "obedient"', 'id = "other"'), "strategies: obedient"),
        (lambda text: text.replace("scripted_venue:Obedient", "scripted_venue:Obedient "), "class"),
        (lambda text: text.replace('adapter = "alpaca"', 'adapter = "ccxt"'), "venues: SIM"),
    ],
)
def test_what_is_traded_must_be_what_was_traded(tmp_path: Path, change: Callable[[str], str], why: str) -> None:
    folder = paper_run(configured(tmp_path, "paper", "test"))
    live = configured(tmp_path, "live", "live")
    changed = tmp_path / "changed.toml"
    changed.write_text(change(live.file.read_text()))
    settings = ['run.mode="live"', 'run.name="live"']
    if why == "class":
        with pytest.raises(ConfigError):
            identity_of(load_config(changed, settings))
        return
    run = evidence(folder, load_config(changed, settings))
    assert why in run.why_not
    assert bool(run.why_not) is bool(why)


def test_other_code_is_another_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "from tests.daemon.trading.scripted_venue import Obedient\n\nclass Mine(Obedient):\n    pass\n"
    module = tmp_path / "promoted_strategy.py"
    module.write_text(source)
    table = harness.load(tmp_path, strategy="promoted_strategy:Mine")
    before = identity_of(table)
    assert identity_of(table) == before
    module.write_text(source + "# and more\n")
    assert "strategies: obedient" in identity_of(table).differences(before)[0]


def test_a_run_that_proves_nothing_says_why(tmp_path: Path) -> None:
    live = configured(tmp_path, "live", "live")
    simulated = paper_run(configured(tmp_path, "paper", "simulator"))
    assert "its market was simulated" in evidence(simulated, live).why_not
    paper = configured(tmp_path, "paper", "test")
    folder = paper_run(paper, held=2)
    assert evidence(folder, live).why_not == ""
    assert "too long ago" in evidence(folder, live, since_ts=2**62).why_not
    segment = next((folder / "journal").glob("*.tdj"), None) or sorted((folder / "journal").iterdir())[0]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    assert evidence(folder, live).why_not
    assert "no journal" in evidence(tmp_path, live).why_not


def test_all_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    rules = configured(tmp_path, "live", "live", 'promotion.paper_time_min="10s"', "promotion.trips_max=1").config.promotion
    good = PaperRun(folder="a", traded_ns=6 * NS_PER_SECOND, orders=10, fills=5, trips=1)

    def missing(*runs: PaperRun) -> list[str]:
        return [criterion.name for criterion in judge(rules, runs) if not criterion.is_met]

    assert missing() == ["runs", "time traded on paper", "orders", "fills"]
    assert missing(good) == ["time traded on paper", "orders", "fills"]
    assert missing(good, msgspec.structs.replace(good, trips=0)) == []
    assert missing(good, good) == ["limits tripped"]
    assert missing(good, msgspec.structs.replace(good, trips=0, failure="StrategyError: x")) == ["failures"]
    assert missing(good, msgspec.structs.replace(good, why_not="it is old")) == ["time traded on paper", "orders", "fills"]


def promote(tmp_path: Path, *settings: str) -> int:
    arguments = ["promote", str(tmp_path / "paper-test.toml"), str(tmp_path / "live-live.toml"), "--account", "live"]
    named = ('run.mode="live"', 'run.name="live"', *RULES, *settings)
    return main([*arguments, "--json", *(part for each in named for part in ("--set", each))])


def written(tmp_path: Path) -> tuple[LoadedConfig, LoadedConfig]:
    """Both configurations as files that say everything themselves."""
    for mode, environment in (("paper", "test"), ("live", "live")):
        loaded = configured(tmp_path, mode, environment)
        text = loaded.file.read_text().replace('name = "session"', f'name = "{mode}"\nmode = "{mode}"', 1)
        loaded.file.write_text(text)
    return load_config(tmp_path / "paper-test.toml", []), load_config(tmp_path / "live-live.toml", list(RULES))


def test_live_money_moves_only_after_a_promotion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paper, live = written(tmp_path)
    now = 1_800_000_000 * NS_PER_SECOND
    with pytest.raises(ConfigError, match=r"it was never promoted; earn it: tradingd promote PAPER_CONFIG"):
        check_promotion(live, now)
    assert main(["live", str(live.file), "--account", "live", "--json"]) == ExitCode.CONFIG
    assert "never promoted" in json.loads(capsys.readouterr().out)["error"]["message"]
    (found,) = look_at_promotion(live)
    assert (found.status, "never promoted" in found.found) == (Status.PROBLEM, True)
    assert promote(tmp_path) == ExitCode.CONFIG  # nothing was traded on paper yet
    capsys.readouterr()

    paper_run(paper, orders=1)
    assert promote(tmp_path) == ExitCode.MISMATCH
    told = json.loads(capsys.readouterr().out)
    assert not told["promoted"]
    assert [each["name"] for each in told["criteria"] if not each["is_met"]] == ["orders", "fills"]
    assert not (account_folder(live) / PROMOTION_FILE).exists()

    paper_run(paper, orders=1, held=1)
    assert promote(tmp_path) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert told["promoted"]
    kept = read(account_folder(live), known_key())
    assert kept is not None
    assert [run.orders for run in kept.runs] == [1, 1]
    check_promotion(live, kept.ts)
    assert [found.status for found in look_at_promotion(live)] == [Status.OK]
    with pytest.raises(ConfigError, match="its promotion ended at"):
        check_promotion(live, kept.ts + 90 * NS_PER_DAY)
    assert refusal(kept, "another", identity_of(live), kept.ts) == "its promotion is of the account 'live'"


def test_a_promotion_that_was_changed_by_hand_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paper, live = written(tmp_path)
    paper_run(paper)
    assert promote(tmp_path) == ExitCode.OK
    path = account_folder(live) / PROMOTION_FILE
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"orders":2', b'"orders":3'))
    with pytest.raises(ConfigError, match="was changed after it was signed"):
        read(account_folder(live), None)
    path.write_bytes(whole)
    with pytest.raises(ConfigError, match="signed by another key"):
        read(account_folder(live), "00" * 32)
    path.write_bytes(whole[:100])
    with pytest.raises(ConfigError, match="is damaged"):
        read(account_folder(live), None)


def test_test_networks_and_simulators_need_none(tmp_path: Path) -> None:
    for environment in ("test", "simulator"):
        check_promotion(configured(tmp_path, "live", environment), 0)
