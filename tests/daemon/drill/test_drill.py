"""Drills as the user runs them: what is drilled where, what is refused, one fault that holds, and an adapter that does not."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from daemon.config.build import build_instruments
from daemon.config.loader import LoadedConfig, load_config
from daemon.drill.catalogue import FAULTS, SHOWN_BY_TESTS
from daemon.drill.course import alone, exercises, numbers_of
from daemon.drill.plans import BY_KIND, EVERYWHERE, Scene, plan_of
from daemon.drill.stage import Stage
from daemon.drill.venues import PROFILES, open_simulated
from daemon.exit_codes import ExitCode
from tests.daemon.session import COMMAND, ROOT, tradingd

REHEARSAL = ROOT / "config" / "live-rehearsal.toml"
SECONDS_MAX = 400


def rehearsal() -> LoadedConfig:
    return load_config(REHEARSAL)


def drill(*arguments: str, cwd: Path, python_path: str = "") -> tuple[int, dict[str, Any]]:
    path = os.pathsep.join(part for part in (str(ROOT), python_path) if part)
    done = subprocess.run(
        [*COMMAND, "drill", str(REHEARSAL), *arguments, "--json"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


# What is drilled.


def test_every_number_of_the_catalogue_is_drilled_or_said_why_not() -> None:
    loaded = rehearsal()
    venues = [each.venue for each in loaded.config.connections]
    found = exercises(loaded, numbers_of(()), venues)
    assert {each.number for each in found} == set(FAULTS) == set(range(1, 81))
    drilled = {venue: [each.number for each in found if each.venue == venue and not each.why_not] for venue in ["", *venues]}
    assert drilled[""] == [70, 76, 77, 78, 80]
    assert all(len(numbers) >= 25 for venue, numbers in drilled.items() if venue), drilled
    for each in found:
        assert each.why_not or each.number in drilled[each.venue]


def test_tests_that_are_named_in_place_of_a_drill_exist() -> None:
    for places in SHOWN_BY_TESTS.values():
        for place in places.split(", "):
            assert (ROOT / place).is_file(), place


@pytest.mark.parametrize(("text", "numbers"), [(["7"], [7]), (["22-24", "3"], [3, 22, 23, 24]), ([], list(range(1, 81)))])
def test_numbers_are_given_one_by_one_and_as_ranges(text: list[str], numbers: list[int]) -> None:
    assert numbers_of(text) == numbers


@pytest.mark.parametrize("text", ["0", "81", "x", "3-", "9-7", "70-90"])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--fault"):
        numbers_of([text])


def test_plans_are_of_kinds_and_numbers_that_there_are() -> None:
    assert set(BY_KIND) <= set(PROFILES)
    for plans in (EVERYWHERE, *BY_KIND.values()):
        assert set(plans) <= set(FAULTS)


@pytest.mark.parametrize("venue", ["DERIBIT", "BINANCE", "ALPACA", "OANDA", "IB"])
def test_each_deed_is_known_where_it_is_done(venue: str) -> None:
    """What is planned happens at the simulator once something is held there."""
    loaded = rehearsal()
    connection = next(each for each in loaded.config.connections if each.venue == venue)
    instruments = build_instruments(loaded)
    (instrument,) = (each for each in instruments if each.venue == venue)
    symbol = instrument.instrument_id.rpartition(".")[0].removesuffix("-PERP")
    start = 1_790_000_000 * 10**9
    for number in FAULTS:
        plan = plan_of(number, connection.adapter)
        simulated = open_simulated(connection, instruments, seed=1, ts=start)
        assert plan.deeds is not None or set(plan.together) <= set(simulated.venue.faults.known) or not plan.together
        if plan.deeds is None:
            continue
        ts = start + 5 * 10**9
        simulated.venue.advance(ts)
        by_hand = plan_of(58, connection.adapter).deeds
        assert by_hand is not None
        scene = Scene(instrument, symbol, simulated.account, instrument.qty_min, instrument.qty_min)
        for make in (by_hand, plan.deeds, plan.after):
            for name, arguments in make(scene) if make is not None else ():
                simulated.venue.act(ts, name, arguments)


def test_alone_keeps_what_is_about_the_venue() -> None:
    loaded = alone(rehearsal(), ["ALPACA"])
    assert [each.venue for each in loaded.config.connections] == ["ALPACA"]
    assert [each.instrument_id for each in loaded.instruments] == ["AAPL.ALPACA"]
    assert [each.id for each in loaded.config.strategies] == ["alpaca_maker"]
    assert loaded.config.risk.instruments == {}


def test_the_stage_keeps_strategies_and_limits_and_nothing_that_reaches_outside(tmp_path: Path) -> None:
    loaded = rehearsal()
    instruments = build_instruments(loaded)
    simulated = [open_simulated(each, instruments, seed=1, ts=1) for each in loaded.config.connections]
    runtime = tmp_path / "r"
    stage = Stage(tmp_path, runtime, loaded, simulated, {each.connection.venue: 1_000 + n for n, each in enumerate(simulated)})
    config = stage.loaded.config
    assert config.risk == loaded.config.risk
    assert [each.id for each in config.strategies] == ["deribit_maker", "alpaca_maker", "drill_prober"]
    assert {each.environment for each in config.connections} == {"simulator"}
    assert all((each.address or "").startswith("127.0.0.1:") for each in config.connections)
    assert (config.alerts.webhook, config.alerts.command, config.api.enabled) == (None, [], False)
    assert config.strategies[-1].params["pause_ms"] == 250
    text = stage.config.read_text(encoding="utf-8")
    assert not any(secret in text for secret in stage.secrets.values())


def test_what_the_venue_grants_in_a_minute_is_not_used_up_by_the_drill(tmp_path: Path) -> None:
    loaded = alone(rehearsal(), ["ALPACA"])
    (connection,) = loaded.config.connections
    simulated = open_simulated(connection, build_instruments(loaded), seed=1, ts=1)
    stage = Stage(tmp_path, tmp_path / "r", loaded, [simulated], {"ALPACA": 1_000})
    assert stage.loaded.config.strategies[-1].params["pause_ms"] == 600


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--venue", "DERIBITT"], "--venue DERIBITT"),
        (["--fault", "99"], "1 to 80"),
        (["--jobs", "0"], "--jobs 0"),
    ],
)
def test_command_lines_that_cannot_be_are_refused(tmp_path: Path, arguments: list[str], words: str) -> None:
    result = tradingd("drill", REHEARSAL, *arguments, cwd=tmp_path)
    assert result.returncode == ExitCode.CONFIG
    assert words in result.stderr


def test_a_configuration_without_a_venue_that_can_be_drilled_is_refused(tmp_path: Path) -> None:
    result = tradingd("drill", ROOT / "config" / "paper.toml", cwd=tmp_path)
    assert (result.returncode, "there is none" in result.stderr) == (ExitCode.CONFIG, True)
    result = tradingd("drill", ROOT / "config" / "paper-venue.toml", cwd=tmp_path)
    assert (result.returncode, "has no simulator that speaks its protocol" in result.stderr) == (ExitCode.CONFIG, True)


# Real drills.


@pytest.mark.timeout(SECONDS_MAX)
def test_an_order_whose_answer_is_lost_is_found_out(tmp_path: Path) -> None:
    code, found = drill("--venue", "DERIBIT", "--alone", "--fault", "2", "--fault", "4", cwd=tmp_path)
    held, skipped = found["drills"]
    assert (held["fault"], held["result"], held["broken"]) == (2, "HELD", []), held
    assert held["fired"] >= 1
    assert (skipped["result"], skipped["note"]) == (
        "NOT_APPLICABLE",
        "orders go by the WebSocket: an answer has no status",
    )
    assert (code, found["held"]) == (ExitCode.OK, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(SECONDS_MAX)
def test_an_adapter_that_books_fees_as_rebates_is_found_out(tmp_path: Path) -> None:
    broken = str(Path(__file__).parent / "broken")
    arguments = ("--venue", "DERIBIT", "--alone", "--fault", "22", "--keep", "kept")
    code, found = drill(*arguments, cwd=tmp_path, python_path=broken)
    (verdict,) = found["drills"]
    assert (code, verdict["result"]) == (ExitCode.MISMATCH, "BROKEN"), verdict
    assert "the venue's ledger equals ours" in {each["oracle"] for each in verdict["broken"]}
    assert (tmp_path / verdict["kept"] / "drill.toml").is_file()
