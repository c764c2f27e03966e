"""`tradingd backtest` as a user meets it: results that repeat, answers while it runs, and every way it can end."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.approved import Approved
from core.events import Event, OrderDenied, Started, Stopping, TradingStateSet
from daemon.config.loader import load_config
from daemon.control.client import ask, find_daemon
from daemon.journal.reader import JournalReader
from daemon.wiring import wire_backtest
from tests.daemon.session import COMMAND, CONFIG, environment, run_of, sockets_of, tradingd, tradingd_process, write_config

STRATEGY = '''
from pydantic import BaseModel

from core.enums import Side
from core.strategy import Subscription


class Params(BaseModel):
    raise_in: str = ""


class Scripted:
    """Buys ten at the first ask, and raises where its parameter says."""

    Params = Params

    def __init__(self, params, instruments):
        self.raise_in = params.raise_in
        self.bought = False
        self._fail("__init__")

    def _fail(self, place):
        if self.raise_in == place:
            raise LookupError("by design")

    def subscriptions(self):
        return [Subscription(instrument_id="ACME.SIM", quotes="price")]

    def on_quote(self, context, quote):
        if not self.bought and quote.ask_qty:
            self.bought = True
            context.log("buying", price=quote.ask_price)
            context.submit("ACME.SIM", Side.BUY, 10, quote.ask_price)

    def on_fill(self, context, order, fill):
        self._fail("on_fill")

    def on_stop(self, context, reason):
        self._fail("on_stop")
'''


def scripted(folder: Path, raise_in: str = "") -> Path:
    (folder / "mine.py").write_text(STRATEGY, encoding="utf-8")
    table = f'class = "mine:Scripted"\n\n[strategies.params]\nraise_in = "{raise_in}"\n'
    return write_config(folder, CONFIG.partition('class = "symmetric_maker"')[0] + table)


def test_a_session_leaves_a_whole_run_folder(tmp_path: Path) -> None:
    result = tradingd("backtest", write_config(tmp_path), "--json", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    run = run_of(result)
    folder = Path(run["folder"])
    assert folder.parent == tmp_path / "runs"
    assert folder.name == run["run_id"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "cash.parquet",
        "equity.parquet",
        "fills.parquet",
        "journal",
        "log.jsonl",
        "orders.parquet",
        "run.json",
    ]
    assert json.loads((folder / "run.json").read_text(encoding="utf-8")) == run
    assert (run["status"], run["ledger_check"], run["error"], run["instruments"]) == ("complete", "ok", None, ["ACME.SIM"])
    assert run["fills"] == pl.read_parquet(folder / "fills.parquet").height > 0
    orders = pl.read_parquet(folder / "orders.parquet")
    assert orders.height == run["orders"] + run["orders_denied"] > 0
    assert orders["client_order_id"].is_unique().all()
    equity = pl.read_parquet(folder / "equity.parquet")
    assert equity.height == 61
    assert equity["ts"].diff().to_list()[1:-1] == [10**9] * 59  # the last sample closes the run
    with JournalReader(folder / "journal") as reader:
        records = list(reader)
        assert (reader.header.run_id, reader.header.config["run"]["seed"]) == (run["run_id"], 3)
    assert (type(records[0]), len(records)) == (Started, run["journal_records"])
    assert any(isinstance(record, Stopping) for record in records)


def test_run_json_has_these_keys(tmp_path: Path) -> None:
    run = run_of(tradingd("backtest", write_config(tmp_path), "--json", cwd=tmp_path))
    shape = {key: type(value).__name__ for key, value in run.items()}
    assert shape == json.loads((Path(__file__).parent / "run_shape.json").read_text(encoding="utf-8"))


DIGESTS = ("commands_digest", "state_digest", "config_digest", "input_digest")


def test_two_processes_give_the_same_digests(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    runs = []
    for hash_seed in ("1", "2"):
        env = environment(tmp_path, PYTHONHASHSEED=hash_seed)
        runs.append(run_of(tradingd_process("backtest", config, "--json", "--pace", "full", cwd=tmp_path, env=env)))
    first, second = runs
    assert [first["run_number"], second["run_number"]] == [1, 2]
    assert first["run_id"] != second["run_id"]
    ours = {"run_id", "run_number", "wall_s", "folder"}
    assert {key: value for key, value in first.items() if key not in ours} == {
        key: value for key, value in second.items() if key not in ours
    }
    for name in ("fills", "orders", "equity"):
        frames = [pl.read_parquet(Path(run["folder"]) / f"{name}.parquet") for run in runs]
        assert frames[0].equals(frames[1])
    other = run_of(tradingd("backtest", config, "--json", "--set", "run.seed=4", cwd=tmp_path))
    assert all(other[key] != first[key] for key in DIGESTS if key != "input_digest")


def test_the_pace_does_not_change_the_result(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    runs = [run_of(tradingd("backtest", config, "--json", "--pace", pace, cwd=tmp_path)) for pace in ("full", "40x")]
    assert runs[0]["commands_digest"] == runs[1]["commands_digest"]
    assert runs[0]["state_digest"] == runs[1]["state_digest"]


def test_text_report_and_progress_lines(tmp_path: Path) -> None:
    result = tradingd("backtest", write_config(tmp_path), "--out", tmp_path / "out", cwd=tmp_path)
    assert result.returncode == 0
    assert "net profit" in result.stdout
    assert "ledger    ok: positions and cash against the fills" in result.stdout
    assert "run started" in result.stderr
    again = tradingd("report", tmp_path / "out", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, result.stdout)


def test_a_run_folder_is_never_written_over(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    (tmp_path / "out").mkdir()
    assert tradingd("backtest", config, "--out", "out", "--json", cwd=tmp_path).returncode == 0
    result = tradingd("backtest", config, "--out", "out", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == (
        f"tradingd: {tmp_path / 'out'}: is there already; a run folder is never written over: choose another with --out\n"
    )


def test_the_journal_replays_to_the_same_commands(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    run = run_of(tradingd("backtest", config, "--json", cwd=tmp_path))
    trader = wire_backtest(load_config(config)).trader
    with JournalReader(Path(run["folder"]) / "journal") as reader:
        outputs: list[Any] = []
        for record in reader:
            if isinstance(record, Event) and not isinstance(record, OrderDenied):
                assert outputs == [], "a command in the journal that the Trader did not make"
                made = trader.step(record)
                outputs = [*trader.denied, *(each.command if isinstance(each, Approved) else each for each in made)]
            else:
                assert record == outputs.pop(0)
    assert trader.commands_digest.hexdigest() == run["commands_digest"]
    assert trader.state_digest() == run["state_digest"]


QUOTES = """
[[data]]
format = "quotes"
instrument_id = "{name}.SIM"
file = "{name}.csv"
"""


def test_two_instruments_from_two_files(tmp_path: Path) -> None:
    head, _, rest = CONFIG.partition("[[data]]")
    instrument = head[head.index("[[instruments.inline]]") :]
    text = head + instrument.replace("ACME", "BETA") + QUOTES.format(name="ACME") + QUOTES.format(name="BETA")
    text += rest[rest.index("[venue]") :].replace('"flow"', '"l2"')
    text += '\n[[strategies]]\nid = "other"\nclass = "symmetric_maker"\n[strategies.params]\ninstrument_id = "BETA.SIM"\n'
    text += "order_qty = 5\nposition_qty_max = 50\n"
    for name, price in (("ACME", 100), ("BETA", 50)):
        lines = ["ts_event,bid_price,ask_price,bid_qty,ask_qty"]
        for second in range(60):
            bid = price + 0.01 * (second * (7 if name == "ACME" else 11) % 13)
            lines.append(f"2026-01-05T14:30:{second:02d}Z,{bid:.2f},{bid + 0.02:.2f},100,100")
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="ascii")
    result = tradingd("backtest", write_config(tmp_path, text), "--json", cwd=tmp_path)
    assert result.returncode == 0, result
    run = run_of(result)
    assert (run["instruments"], run["ledger_check"]) == (["ACME.SIM", "BETA.SIM"], "ok")
    assert all(item["orders"] > 0 and item["fills"] > 0 for item in run["by_instrument"].values())
    # Quantities and prices of two instruments have no sum.
    assert (run["inventory_time_weighted"], run["realized_spread"], run["rows"]) == (None, None, 240)


# Strategies that fail.


def test_the_users_own_strategy_runs_and_logs(tmp_path: Path) -> None:
    result = tradingd_process("backtest", scripted(tmp_path), "--json", cwd=tmp_path)
    run = run_of(result)
    assert (result.returncode, run["strategy"], run["fills"] > 0) == (0, "mine:Scripted", True)
    lines = [json.loads(line) for line in (Path(run["folder"]) / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line.get("strategy")) for line in lines] == [
        ("run started", None),
        ("buying", "maker"),
        ("run ended", None),
    ]


@pytest.mark.parametrize(("callback", "line"), [("on_fill", 38), ("on_stop", 41)])
def test_a_strategy_that_raises_is_named_with_its_line(tmp_path: Path, callback: str, line: int) -> None:
    result = tradingd_process("backtest", scripted(tmp_path, callback), "--json", cwd=tmp_path)
    run = run_of(result)
    assert (result.returncode, run["status"], run["error"]["type"]) == (5, "failed", "StrategyError")
    message = run["error"]["message"]
    assert message.startswith(f"strategy 'maker' failed in Scripted.{callback} on ")
    assert message.endswith(f': LookupError: by design (at {tmp_path / "mine.py"}:24 in _fail: raise LookupError("by design"))')
    assert result.stderr == f"tradingd: {message}\n"
    # What was done until then is kept, and its books agree.
    assert (run["fills"] > 0, run["ledger_check"]) == (True, "ok")
    assert (Path(run["folder"]) / "fills.parquet").exists()


def test_a_strategy_that_never_returns_is_broken_off_by_a_second_signal(tmp_path: Path) -> None:
    config = scripted(tmp_path)
    (tmp_path / "mine.py").write_text(
        STRATEGY.replace(
            "            self.bought = True\n", "            print('stuck', flush=True)\n            while True: pass\n"
        ),
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [*COMMAND, "backtest", str(config)],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while process.stderr.readline() != "tradingd: stopping in order; a second signal breaks off\n":
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1]) == (130, "tradingd: interrupted")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".run_number"]


def test_a_strategy_that_cannot_be_made(tmp_path: Path) -> None:
    result = tradingd_process("backtest", scripted(tmp_path, "__init__"), cwd=tmp_path)
    assert (result.returncode, result.stdout) == (5, "")
    assert result.stderr == (
        "tradingd: strategy 'maker' (mine:Scripted) failed while it was made: LookupError: by design "
        f"({tmp_path / 'mine.py'}:24)\n"
    )
    assert not list(tmp_path.glob("runs/*"))


# Status, halt, signals.


class Running:
    """A backtest in another process, at a pace that leaves time to talk to it; its progress lines say how far it is."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._out = folder / "out"
        env = environment(folder)
        monkeypatch.setenv("TRADINGD_RUNTIME_DIR", env["TRADINGD_RUNTIME_DIR"])
        options = [
            "--pace",
            "2x",
            "--set",
            "data.0.duration=1h",
            "--set",
            "report.progress_interval=50ms",
            "--out",
            str(self._out),
        ]
        self.process = subprocess.Popen(
            [*COMMAND, "backtest", str(write_config(folder)), *options],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "run started" in self._line()
        (self.socket,) = sockets_of(folder).glob("*.sock")

    def _line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def status_after_a_fill(self) -> dict[str, Any]:
        while (line := self._line()) and "  0 fills" in line:
            continue
        _, status = ask(self.socket, "GET", "/status")
        return status

    def end(self) -> tuple[int, dict[str, Any]]:
        self.process.communicate(timeout=60)
        return self.process.returncode, json.loads((self._out / "run.json").read_text(encoding="utf-8"))


def test_status_and_halt_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path, monkeypatch)
    status = running.status_after_a_fill()
    assert (status["mode"], status["phase"], status["trading_state"], status["halting"]) == (
        "backtest",
        "running",
        "ACTIVE",
        False,
    )
    assert running.socket.stat().st_mode & 0o777 == 0o600
    assert find_daemon(None) == running.socket
    shown = tradingd("status", "--json", cwd=tmp_path)
    assert (shown.returncode, run_of(shown)["run_id"]) == (0, status["run_id"])
    assert ask(running.socket, "GET", "/halt")[0] == 405
    assert ask(running.socket, "GET", "/nowhere")[0] == 404
    halted = tradingd("halt", "--reason", "lunch", cwd=tmp_path)
    assert (halted.returncode, halted.stdout) == (0, f"{status['run_id']}  halting: lunch\n")
    code, run = running.end()
    assert (code, run["status"], run["status_reason"], run["ledger_check"]) == (7, "halted", "lunch", "ok")
    # Everything was cancelled, and nothing was sent after the halt.
    orders = pl.read_parquet(Path(run["folder"]) / "orders.parquet")
    assert set(orders["status"]) <= {"FILLED", "CANCELED", "REJECTED"}
    with JournalReader(Path(run["folder"]) / "journal") as reader:
        records = list(reader)
    halt = next(index for index, record in enumerate(records) if isinstance(record, TradingStateSet))
    assert {type(record).__name__ for record in records[halt:]}.isdisjoint({"SubmitOrder", "ReplaceOrder"})
    assert not running.socket.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    running = Running(tmp_path, monkeypatch)
    running.status_after_a_fill()
    running.process.send_signal(number)
    code, run = running.end()
    assert (code, run["status"], run["status_reason"], run["ledger_check"]) == (130, "interrupted", number.name, "ok")


def test_nobody_to_ask(tmp_path: Path) -> None:
    result = tradingd("status", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (9, f"tradingd: no daemon is running; looked in {sockets_of(tmp_path)}\n")
    result = tradingd("halt", "--run", "x", "--json", cwd=tmp_path)
    assert (result.returncode, run_of(result)["error"]["exit_code"]) == (9, 9)


def test_without_the_c_extension_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys, runpy; sys.modules['native._native'] = None; sys.argv = ['tradingd', *sys.argv[1:]]; "
    code += "runpy.run_module('daemon.cli.main', run_name='__main__')"
    config = write_config(tmp_path)
    command = [COMMAND[0], "-c", code, "backtest", str(config)]
    result = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (3, "")
    warning, error = result.stderr.splitlines()
    assert warning.startswith("native extension unavailable")
    assert error == (
        f"tradingd: {config}: venue.fidelity: 'flow' needs the C extension, which is not built here: install a C compiler and "
        "Python's headers, and install tradingd again; only 'bars' runs without"
    )


# Storage.


@pytest.mark.parametrize("journal", ["true", "false"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, journal: str) -> None:
    # A file-size limit refuses the journal's bytes as a full disk does; 16 KiB let a run begin.
    code = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384)); "
    code += "sys.argv = ['tradingd', *sys.argv[1:]]; runpy.run_module('daemon.cli.main', run_name='__main__')"
    config = write_config(tmp_path)
    command = [COMMAND[0], "-c", code, "backtest", str(config), "--set", "data.0.duration=20m", "--set", f"run.journal={journal}"]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 6, result.stderr
    assert result.stderr.splitlines()[-1].startswith("tradingd: ")
    assert result.stderr.splitlines()[-1].endswith("cannot be written: File too large")
    assert "Traceback" not in result.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".run_number"]


def test_a_runs_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file, not a folder", encoding="utf-8")
    result = tradingd("backtest", write_config(tmp_path), cwd=tmp_path)
    assert (result.returncode, result.stdout) == (6, "")
    assert result.stderr == f"tradingd: {tmp_path / 'runs' / '.run_number'}: the run number cannot be kept: Not a directory\n"


def test_errors_as_json(tmp_path: Path) -> None:
    result = tradingd("backtest", write_config(tmp_path), "--json", "--set", "risk.order_qty_max=nan", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (3, "")
    assert run_of(result) == {
        "error": {
            "type": "ConfigError",
            "message": f"{tmp_path / 'session.toml'}: risk.order_qty_max: nan is not a finite number",
            "exit_code": 3,
        }
    }


def test_output_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    script = f"{' '.join(COMMAND)} config schema | head -c 11"
    result = subprocess.run(
        script, shell=True, cwd=tmp_path, env={**environment(tmp_path), "PYTHONUNBUFFERED": "1"}, capture_output=True, check=False
    )
    assert (result.stdout, result.stderr) == (b'{\n  "$defs"', b"")


def test_a_run_in_a_folder_named_like_a_pattern_agrees_with_its_ledger(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    done = tradingd("backtest", path, "--json", "--out", tmp_path / "run[1]", cwd=tmp_path)
    run = json.loads(done.stdout)
    assert (done.returncode, run["ledger_check"], run["fills"] > 0) == (0, "ok", True)


def test_an_interval_or_a_zone_that_is_none_is_a_named_mistake(tmp_path: Path) -> None:
    file = tmp_path / "bars.csv"
    file.write_text("ts_event,open,high,low,close\n2026-01-05T14:30:00,1,1,1,1\n")
    none = tradingd("data", "check", "bars", file, "--interval", "0s", cwd=tmp_path)
    assert (none.returncode, none.stderr) == (3, "tradingd: --interval: '0s' must be above 0\n")
    zone = tradingd("data", "check", "bars", file, "--interval", "1m", "--zone", "UTX", cwd=tmp_path)
    assert (zone.returncode, zone.stderr) == (3, "tradingd: --zone: 'UTX' is no zone of the tz database; did you mean 'UTC'?\n")


def test_a_wrong_command_line_is_json_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "backtest", "--json", "--nope"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)["error"]["exit_code"], done.stderr) == (2, 2, "")


def test_output_onto_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "config", "schema"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (6, "tradingd: the output cannot be written: No space left on device\n")
