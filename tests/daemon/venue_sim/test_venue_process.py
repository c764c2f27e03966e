"""A daemon and its venue as two processes: trading, and every way in which one of them or the wire between them goes away."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from core.events import GapDetected, OrderCanceled, OrderOutcomeUnknown
from daemon.exit_codes import ExitCode
from daemon.journal.tail import TailReader
from tests.daemon.session import tradingd, tradingd_process
from tests.daemon.venue_sim.processes import (
    ask,
    config_with_venue,
    daemon,
    end,
    ledger_lines,
    process,
    require_well,
    run_folder,
    venue,
    wait_for_fills,
    wait_until,
    wire,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config_with_venue(tmp_path)
    return tmp_path


@pytest.fixture
def wired(tmp_path: Path) -> Path:
    config_with_venue(tmp_path, through_proxy=True)
    return tmp_path


def test_a_daemon_trades_at_a_venue_in_another_process_and_leaves_in_order(folder: Path) -> None:
    with venue(folder) as place:
        with daemon(folder) as trading:
            wait_for_fills(folder, 3)
            assert ask(folder, "status")["mode"] == "paper"
            assert end(trading) == ExitCode.OK
        require_well(folder)
        # The account goes on where it was; its venue has been there all the time.
        with daemon(folder) as trading:
            assert ask(folder, "flatten")["flat"]
            assert end(trading) == ExitCode.OK
        assert end(place) == ExitCode.OK
    require_well(folder)
    assert [line["kind"] for line in ledger_lines(folder) if line["kind"] in ("opened", "login")] == ["opened", "login", "login"]


def test_without_its_venue_the_daemon_does_not_start_and_says_where_it_looked(folder: Path) -> None:
    result = tradingd("paper", folder / "session.toml", "--json", cwd=folder)
    assert (result.returncode, "no venue answers" in result.stdout) == (ExitCode.NOT_RUNNING, True), result


def test_orders_outlive_a_daemon_that_is_killed_and_what_was_filled_meanwhile_is_booked(folder: Path) -> None:
    with venue(folder) as place:
        with daemon(folder) as trading:
            wait_until(folder, lambda status: status["fills"] >= 2 and status["open_orders"], "fills and open orders")
            end(trading, signal.SIGKILL)
        rested = {line["client_order_id"] for line in ledger_lines(folder) if line["kind"] == "submit"}
        rested -= {line["client_order_id"] for line in ledger_lines(folder) if line["kind"] in ("canceled", "rejected")}
        rested -= {line["client_order_id"] for line in ledger_lines(folder) if line.get("leaves_qty") == 0}
        for _ in range(100_000):
            # Nobody watches; the market comes to what rests there.
            if any(line["kind"] == "filled" and line["client_order_id"] in rested for line in ledger_lines(folder)):
                break
        with daemon(folder) as trading:
            wait_for_fills(folder, 1)
            assert ask(folder, "status")["trading_state"] == "ACTIVE"
            assert end(trading) == ExitCode.OK
        end(place)
    require_well(folder)


def test_a_venue_that_is_killed_comes_back_without_its_orders_and_the_daemon_goes_on(folder: Path) -> None:
    with venue(folder) as first, daemon(folder) as trading:
        fills = wait_until(folder, lambda status: status["fills"] >= 2 and status["open_orders"], "fills and open orders")[
            "fills"
        ]
        end(first, signal.SIGKILL)
        wait_until(folder, lambda status: not status["instruments"]["ACME.SIM"]["bid"], "the market is unknown")
        with venue(folder) as second:
            wait_for_fills(folder, fills + 3)
            assert ask(folder, "status")["trading_state"] == "ACTIVE"
            assert end(trading) == ExitCode.OK
            end(second)
    require_well(folder)
    assert [line["life"] for line in ledger_lines(folder) if line["kind"] == "opened"] == [1, 2]
    records = list(TailReader(run_folder(folder, 1) / "journal"))
    lost = {line["client_order_id"] for line in ledger_lines(folder) if line.get("reason") == "CLOSED"}
    ended = {record.client_order_id for record in records if isinstance(record, OrderCanceled)}
    assert any(isinstance(record, GapDetected) for record in records)
    assert lost <= ended


def test_a_connection_that_is_cut_again_and_again_loses_and_repeats_nothing(wired: Path) -> None:
    with venue(wired) as place, wire(wired) as between, daemon(wired) as trading:
        for cuts in range(1, 9):
            fills = ask(wired, "status")["fills"]
            wait_for_fills(wired, fills + 2)
            between.cut()
            wait_until(wired, lambda _status, cuts=cuts: between.connections > cuts, "it has connected again")
        wait_until(wired, lambda status: status["open_orders"] > 0, "it quotes")
        assert ask(wired, "status")["trading_state"] == "ACTIVE"
        assert end(trading) == ExitCode.OK
        end(place)
    require_well(wired)


def test_what_was_sent_and_not_answered_is_unknown_until_the_venue_says(wired: Path) -> None:
    with venue(wired) as place, wire(wired) as between, daemon(wired) as trading:
        wait_for_fills(wired, 1)
        between.hold(True)
        # Its market stands still, its orders do not: what it asks for now is on its way when the wire is cut.
        asked = tradingd("reduce", "--json", cwd=wired)
        assert asked.returncode == 0
        ask(wired, "halt", "--reason", "try")
        between.cut()
        between.hold(False)
        wait_until(wired, lambda status: status["open_orders"] == 0, "what rested is canceled after the reconnect")
        assert ask(wired, "status")["trading_state"] == "HALTED"
        assert end(trading) == ExitCode.OK
        end(place)
    require_well(wired)
    records = list(TailReader(run_folder(wired, 1) / "journal"))
    assert any(isinstance(record, OrderOutcomeUnknown) for record in records)


def test_what_rests_at_the_venue_does_not_rest_through_a_halt(folder: Path) -> None:
    with venue(folder) as place:
        with daemon(folder) as trading:
            wait_until(folder, lambda status: status["open_orders"] > 0, "it quotes")
            end(trading, signal.SIGKILL)
        latch = folder / "state" / "session" / "trading_state.json"
        latch.write_text(json.dumps({"state": "HALTED", "reason": "by hand", "ts": 0}))
        # Nobody asks the venue again for an hour: it has to be canceled at the start.
        with daemon(folder, "--set", 'daemon.reconcile_interval="1h"') as trading:
            wait_until(folder, lambda status: status["open_orders"] == 0, "nothing rests")
            assert ask(folder, "status")["trading_state"] == "HALTED"
            assert end(trading) == ExitCode.OK
        end(place)
    require_well(folder)


def test_a_venue_that_says_nothing_any_more_is_left_and_found_again(folder: Path) -> None:
    with venue(folder) as place, daemon(folder) as trading:
        fills = wait_for_fills(folder, 1)["fills"]
        place.send_signal(signal.SIGSTOP)
        wait_until(folder, lambda status: not status["instruments"]["ACME.SIM"]["bid"], "the market is unknown")
        place.send_signal(signal.SIGCONT)
        wait_for_fills(folder, fills + 1)
        assert end(trading) == ExitCode.OK
        end(place)
    require_well(folder)


QUOTES = """[[data]]
format = "quotes"
instrument_id = "ACME.SIM"
file = "quotes.csv"

[venue]
fidelity = "l2"
"""


def test_a_recording_that_ends_at_the_venue_ends_the_daemon_in_order(folder: Path) -> None:
    lines = ["ts_event,bid_price,bid_qty,ask_price,ask_qty"]
    for minute in range(6):
        lines += [
            f"2026-01-05T14:{30 + minute}:{second:02d}Z,100.{second % 5:02d},50,100.{second % 5 + 1:02d},50"
            for second in range(60)
        ]
    (folder / "quotes.csv").write_text("\n".join(lines) + "\n")
    text = (folder / "session.toml").read_text()
    start, rest = text[: text.index("[[data]]")], text[text.index("[venue.latency]") :]
    (folder / "session.toml").write_text(start + QUOTES + rest)
    # Six minutes in eighteen seconds: the daemon is there long before the end.
    with venue(folder, "--set", 'daemon.speed="20x"') as place:
        result = tradingd_process("paper", "session.toml", "--json", cwd=folder)
        assert result.returncode == ExitCode.OK, result
        status = json.loads(result.stdout)
        assert (status["open_orders"], status["orders_sent"] > 2) == (0, True)
        assert place.poll() is None
        end(place)
    require_well(folder)


def test_live_takes_a_configuration_that_says_so_and_the_accounts_name(folder: Path) -> None:
    config = folder / "session.toml"
    for verb, more, sentence in (
        ("run", (), "tradingd live CONFIG --account NAME trades live, and nothing else does"),
        ("paper", (), "tradingd live CONFIG --account NAME trades live, and nothing else does"),
        ("live", ("--account", "sesion"), "run.name: is 'session', and --account says 'sesion'"),
    ):
        refused = tradingd(verb, config, "--set", 'run.mode="live"', *more, cwd=folder)
        assert (refused.returncode, sentence in refused.stderr) == (ExitCode.CONFIG, True), refused
    refused = tradingd("live", config, "--account", "session", cwd=folder)
    assert (refused.returncode, "only a configuration that says 'live' itself" in refused.stderr) == (ExitCode.CONFIG, True)
    refused = tradingd("live", config, "--set", 'run.mode="live"', "--set", "connections=[]", "--account", "session", cwd=folder)
    assert (refused.returncode, "connections: there is none" in refused.stderr) == (ExitCode.CONFIG, True)
    assert not (folder / "state").exists()
    with venue(folder) as place:
        options = ("--account", "session", "--set", 'run.mode="live"')
        with process(folder, "live", "session.toml", *options, ready="ready") as trading:
            assert wait_for_fills(folder, 1)["mode"] == "live"
            assert end(trading) == ExitCode.OK
        end(place)
    require_well(folder)
