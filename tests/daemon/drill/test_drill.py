"""Drills as the user runs them: what is drilled where, what is refused, one fault that holds, and an adapter that does not."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.errors import ConfigError
from core.instruments import Instrument
from daemon.config.build import build_instruments
from daemon.config.loader import LoadedConfig, load_config
from daemon.drill.catalogue import FAULTS, SHOWN_BY_TESTS
from daemon.drill.course import alone, exercises, numbers_of
from daemon.drill.names import names_of
from daemon.drill.plans import BY_KIND, EVERYWHERE, Scene, plan_of
from daemon.drill.profiles import PROFILES, kind_of
from daemon.drill.stage import Stage
from daemon.drill.venues import open_simulated
from daemon.exit_codes import ExitCode
from tests.daemon.session import COMMAND, ROOT, tradingd

REHEARSAL = ROOT / "config" / "live-rehearsal.toml"
BINANCE = ROOT / "config" / "rehearsal-binance.toml"
SECONDS_MAX = 400


def rehearsal(path: Path = REHEARSAL) -> LoadedConfig:
    return load_config(path)


def drill(*arguments: str, cwd: Path, python_path: str = "", config: Path = REHEARSAL) -> tuple[int, dict[str, Any]]:
    path = os.pathsep.join(part for part in (str(ROOT), python_path) if part)
    done = subprocess.run(
        [*COMMAND, "drill", str(config), *arguments, "--json"],
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


@pytest.mark.parametrize("path", [REHEARSAL, BINANCE], ids=lambda path: path.stem)
def test_every_number_of_the_catalogue_is_drilled_or_said_why_not(path: Path) -> None:
    loaded = rehearsal(path)
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


@pytest.mark.parametrize(
    ("path", "venue"),
    [
        *((REHEARSAL, venue) for venue in ("DERIBIT", "BINANCE", "ALPACA", "OANDA", "IB")),
        *((BINANCE, venue) for venue in ("BINANCE", "CCXT", "CCXTPERP")),
    ],
)
def test_each_deed_is_known_where_it_is_done(path: Path, venue: str) -> None:
    """What is planned happens at the simulator once something is held there."""
    loaded = rehearsal(path)
    connection = next(each for each in loaded.config.connections if each.venue == venue)
    instruments = build_instruments(loaded)
    (instrument,) = (each for each in instruments if each.venue == venue)
    start = 1_790_000_000 * 10**9
    for number in FAULTS:
        plan = plan_of(number, kind_of(connection))
        simulated = open_simulated(connection, instruments, seed=1, ts=start)
        assert plan.deeds is not None or set(plan.together) <= set(simulated.venue.faults.known) or not plan.together
        if plan.deeds is None:
            continue
        ts = start + 5 * 10**9
        simulated.venue.advance(ts)
        by_hand = plan_of(58, kind_of(connection)).deeds
        assert by_hand is not None
        least = simulated.qty_there(instrument, instrument.qty_min)
        names = simulated.id_there(instrument), simulated.symbol_there(instrument)
        scene = Scene(instrument, *names, simulated.account, least, least)
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


def test_the_users_own_keys_of_a_table_stay(tmp_path: Path) -> None:
    loaded = alone(rehearsal(BINANCE), ["CCXT"])
    (connection,) = loaded.config.connections
    given = connection.model_copy(update={"settings": {"exchange": "binance", "options": {"a": 1}, "deadline_s": 60.0}})
    simulated = open_simulated(given, build_instruments(loaded), seed=1, ts=1)
    stage = Stage(tmp_path, tmp_path / "r", loaded, [simulated], {"CCXT": 1_000})
    settings = stage.loaded.config.connections[0].settings
    assert settings["options"] == {"a": 1, "fetchMarkets": {"types": ["spot"]}}
    assert (settings["exchange"], settings["deadline_s"]) == ("binance", 2.0)


# Whose name is whose.


def test_an_instrument_is_found_whatever_its_venue_is_called() -> None:
    def named(*names: str, **changes: Any) -> list[Instrument]:
        (pattern,) = (each for each in build_instruments(rehearsal(BINANCE)) if each.instrument_id == "BTCUSDT.CCXT")
        return [msgspec.structs.replace(pattern, instrument_id=name, **changes) for name in names]

    theirs = {each.instrument_id: each for each in [*named("BTCUSDT.B"), *named("ETHUSDT.B", "ETHUSDT2.B", base_currency="ETH")]}
    assert names_of(theirs, named("BTCUSDT.B")) == {"BTCUSDT.B": "BTCUSDT.B"}
    assert names_of(theirs, named("BTCUSDT.MINE")) == {"BTCUSDT.B": "BTCUSDT.MINE"}
    assert names_of(theirs, named("BITCOIN.MINE")) == {"BTCUSDT.B": "BITCOIN.MINE"}
    assert names_of(theirs, named("ETHUSDT.MINE", base_currency="ETH")) == {"ETHUSDT.B": "ETHUSDT.MINE"}
    # Two would fit, or none does.
    assert names_of(theirs, named("ETHER.MINE", base_currency="ETH") + named("SOL.MINE", base_currency="SOL")) == {}


def test_the_ledger_is_read_by_the_configured_names_and_scales() -> None:
    loaded = alone(rehearsal(BINANCE), ["CCXTPERP"])
    (connection,) = loaded.config.connections
    simulated = open_simulated(connection, build_instruments(loaded), seed=1, ts=10**9)
    (instrument,) = build_instruments(loaded)
    simulated.venue.advance(6 * 10**9)
    order = {"account": "us", "symbol": "BTCUSDT", "side": "BUY", "qty": simulated.qty_there(instrument, instrument.qty_min)}
    simulated.venue.act(6 * 10**9, "manual_order", order)
    ledger = simulated.ledger()
    (fill,) = (each for each in ledger["fills"] if each["account"] == "us")
    (there,) = (each for each in simulated.venue.ledger()["fills"] if each["account"] == "us")
    assert ledger["positions"]["us"] == {"BTCUSDT-PERP.CCXTPERP": instrument.qty_min}
    assert (fill["instrument_id"], there["instrument_id"]) == ("BTCUSDT-PERP.CCXTPERP", "BTCUSDT-PERP.BINANCE")
    assert fill["price"] == 10 * there["price"], "the venue counts tenths, the configuration hundredths"


# What is refused.


def test_an_exchange_without_a_simulator_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kraken.toml"
    path.write_text(BINANCE.read_text(encoding="utf-8").replace('"binanceusdm"', '"kraken"'), encoding="utf-8")
    result = tradingd("drill", path, cwd=tmp_path)
    assert (result.returncode, "but for exchange = 'binance' and 'binanceusdm'" in result.stderr) == (ExitCode.CONFIG, True)


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
def test_an_order_whose_answer_is_lost_is_found_out_by_polling(tmp_path: Path) -> None:
    code, found = drill("--venue", "CCXT", "--alone", "--fault", "2", cwd=tmp_path, config=BINANCE)
    assert [row["result"] for row in found["drills"]] == ["HELD"], found
    assert (code, found["held"]) == (ExitCode.OK, True)


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
@pytest.mark.parametrize(
    ("name", "config", "venue", "fault", "oracle"),
    [
        ("rebates", REHEARSAL, "DERIBIT", 22, "the venue's ledger equals ours"),
        ("refusals", BINANCE, "CCXT", 2, "the venue's ledger equals ours"),
        ("misses", REHEARSAL, "OANDA", 1, "the venue's ledger equals ours"),
        ("kills", REHEARSAL, "ALPACA", 76, "nothing after a kill"),
        ("secrets", REHEARSAL, "ALPACA", 2, "no secret in any output"),
        ("prices", REHEARSAL, "IB", 22, "the venue's ledger equals ours"),
        ("prices", REHEARSAL, "BINANCE", 4, "the venue's ledger equals ours"),
    ],
)
def test_a_broken_adapter_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, config: Path, venue: str, fault: int, oracle: str
) -> None:
    """The same drills hold with the adapter as it is: the tables of docs/DRILLS.md."""
    monkeypatch.setenv("TRADINGD_TEST_BREAK", name)
    broken = str(Path(__file__).parent / "broken")
    arguments = ("--venue", venue, "--alone", "--fault", str(fault), "--keep", "kept")
    code, found = drill(*arguments, cwd=tmp_path, python_path=broken, config=config)
    (verdict,) = found["drills"]
    assert (code, verdict["result"]) == (ExitCode.MISMATCH, "BROKEN"), verdict
    assert oracle in {each["oracle"] for each in verdict["broken"]}, verdict
    assert (tmp_path / verdict["kept"] / "drill.toml").is_file()
