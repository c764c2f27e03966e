"""The command line: `tradingd VERB …`. Parses, calls the verb's own file, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from daemon.guardian.precedence import take_precedence

EPILOG = "Exit codes and every verb in full: docs/CLI.md. Keys of a configuration: docs/CONFIG.md, or `tradingd config schema`."

USAGE = 2  # argparse's own code; daemon/exit_codes.py is not imported for a wrong command line

Verb = Callable[[argparse.Namespace], int]
DATA_SOURCES = ("binance", "polygon", "alphavantage", "theta", "yfinance")

# What each verb calls, in daemon/cli; a file is loaded when its verb is asked for.
FUNCTIONS = {
    "api": "api:api",
    "audit show": "audit:show",
    "audit verify": "audit:verify",
    "backtest": "backtest:backtest",
    "config check": "config:check",
    "config schema": "config:schema",
    "config show": "config:show",
    "data check": "data:check",
    "data fetch": "data_fetch:fetch",
    "data list": "data_fetch:list_data",
    "doctor": "doctor:doctor",
    "drill": "drill:drill",
    "fills": "control:fills",
    "flatten": "control:act",
    "guardian": "guardian:guardian",
    "halt": "control:halt",
    "kill": "kill:kill",
    "live": "trading:live",
    "logs": "logs:logs",
    "orders": "control:orders",
    "paper": "trading:paper",
    "positions": "control:positions",
    "reconcile": "control:reconcile",
    "correct": "control:correct",
    "promote": "promote:promote",
    "record": "record:record",
    "reduce": "control:act",
    "replay": "replay:replay",
    "report": "report:report",
    "resume": "control:act",
    "run": "trading:run",
    "status": "control:status",
    "stop": "control:act",
    "strategies": "control:strategies",
    "venue-sim": "venue_sim:venue_sim",
    "venues": "venues:venues",
    "version": "report:version",
}

# Venues whose doubles `venue-sim` runs; daemon/venue_sim/loopback_venues.py says what each is.
DOUBLES = ("binance-spot", "binance-usdm", "deribit", "alpaca", "oanda", "ib")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["kill"] and arguments is None:
        # Whoever keeps the machine busy may be what is to be killed.
        take_precedence()
    options = build_parser(_JsonParser if "--json" in given else argparse.ArgumentParser).parse_args(given)
    # Heavy imports begin here: --help and a wrong command line are answered at once.
    from daemon.cli.errors import guarded

    return guarded(options, _verb(options))


class _JsonParser(argparse.ArgumentParser):
    """Says what is wrong with a command line as JSON, as every other error under --json."""

    def error(self, message: str) -> NoReturn:
        print(json.dumps({"error": {"type": "UsageError", "message": message, "exit_code": USAGE}}))
        sys.exit(USAGE)


def build_parser(kind: type[argparse.ArgumentParser] = argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser = kind(
        prog="tradingd",
        description="A daemon for algorithmic trading: one strategy, from backtest to paper to live.",
        epilog=EPILOG,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_backtest(verbs)
    _add_paper(verbs)
    _add_venue_sim(verbs)
    _add_venues(verbs)
    _add_drill(verbs)
    _add_promote(verbs)
    _add_record(verbs)
    _add_data(verbs)
    _add_control(verbs)
    _add_kill(verbs)
    _add_config(verbs)
    _add_audit(verbs)
    _add_care(verbs)
    report = verbs.add_parser("report", help="print the report of a run folder")
    report.add_argument("folder", metavar="RUN_DIR")
    _add_json(report)
    version = verbs.add_parser("version", help="print the version")
    _add_json(version)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON on stdout, errors too; nothing else")


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override one key, for example risk.order_qty_max=10 or strategies.maker.params.order_qty=5; may be repeated",
    )


def _add_backtest(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("backtest", help="run a configuration against recorded or generated market data")
    parser.add_argument("config", metavar="CONFIG", help="a TOML file; config/ has some to begin with")
    _add_set(parser)
    parser.add_argument("--out", metavar="DIR", help="the run folder; absent: runs/<run_id>")
    parser.add_argument("--anchor", metavar="FILE", help="keep the journal's seals there too; overrides audit.anchor")
    parser.add_argument("--pace", metavar="PACE", help='"full", or simulated seconds in a real one: "10x"; overrides run.pace')
    _add_json(parser)


def _add_paper(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    paper = verbs.add_parser("paper", help="trade by the clock at the simulated venue, until it is stopped")
    run = verbs.add_parser("run", help="run a configuration in the mode that it names")
    for parser in (paper, run):
        parser.add_argument("config", metavar="CONFIG", help="a TOML file; config/paper.toml to begin with")
        _add_set(parser)
        _add_json(parser)
    run.set_defaults(out=None, anchor=None, pace=None)
    live = verbs.add_parser("live", help="trade by the clock at the venues of the configuration, with real orders")
    live.add_argument("config", metavar="CONFIG", help='a TOML file with run.mode = "live" and [[connections]]')
    live.add_argument("--account", metavar="NAME", required=True, help="run.name once more: nobody trades live by accident")
    _add_set(live)
    _add_json(live)
    api = verbs.add_parser("api", help="serve the HTTP API for a running daemon, in this process")
    api.add_argument("config", metavar="CONFIG", help="the daemon's own TOML file: [api] and [[clients]] count")
    _add_set(api)
    _add_json(api)


def _add_promote(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    promote = verbs.add_parser("promote", help="let what was traded on paper trade live, where its runs have shown enough")
    promote.add_argument("paper", metavar="PAPER_CONFIG", help="whose runs are the evidence")
    promote.add_argument("live", metavar="LIVE_CONFIG", help="what is to trade live; its [promotion] says what must be shown")
    promote.add_argument("--account", metavar="NAME", required=True, help="run.name of LIVE_CONFIG, said once more")
    _add_set(promote)
    _add_json(promote)


def _add_record(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    record = verbs.add_parser("record", help="connect to the configuration's venues without trading and keep every frame")
    record.add_argument("config", metavar="CONFIG", help="a TOML file with [[connections]]")
    record.add_argument("--duration", metavar="DURATION", help="for so long, for example 10m; absent: until it is stopped")
    record.add_argument("--out", metavar="DIR", help="a new folder; absent: recordings/NAME-TIME")
    _add_set(record)
    _add_json(record)


def _add_venue_sim(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    kinds = verbs.add_parser("venue-sim", help="run a simulated venue as a process of its own").add_subparsers(
        dest="kind", metavar="KIND", required=True
    )
    sim = kinds.add_parser("sim", help="the simulated venue behind a socket (docs/VENUE-SIM.md), until it is stopped")
    sim.add_argument("--config", metavar="CONFIG", required=True, help="whose instruments, data, venue and connections it takes")
    _add_set(sim)
    sim.add_argument("--venue", metavar="NAME", help="which venue of the configuration; needed where its data are of several")
    sim.add_argument("--listen", metavar="ADDRESS", help="unix:PATH or 127.0.0.1:PORT; absent: the address of its connection")
    sim.add_argument("--seed", metavar="N", type=int, help="overrides run.seed")
    sim.add_argument("--ledger", metavar="FILE", help="what happens there, a JSON object a line; it goes on from what is in it")
    sim.add_argument("--cancel-on-disconnect", action="store_true", help="cancel everything when the trading connection is gone")
    _add_json(sim)
    for name in DOUBLES:
        double = kinds.add_parser(name, help=f"a double of {name} that speaks its wire protocol on loopback, until it is stopped")
        double.add_argument(
            "--port", metavar="PORT", type=int, default=0, help="where it listens on 127.0.0.1; absent: any free one"
        )
        double.add_argument(
            "--control-port", metavar="PORT", type=int, default=0, help="of the control line; absent: any free one"
        )
        double.add_argument("--faults", metavar="FILE", help="what goes wrong there, TOML: [ppm] and [armed] by fault number")
        double.add_argument("--seed", metavar="N", type=int, default=1, help="of its market and its faults")
        double.add_argument("--ledger", metavar="FILE", help="what really happened there, JSON, replaced as it changes")
        _add_json(double)


def _add_drill(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    drill = verbs.add_parser("drill", help="run the fault catalogue against a configuration, at simulated venues")
    drill.add_argument("config", metavar="CONFIG", nargs="?", help="a TOML file with [[connections]]; absent: the live rehearsal")
    _add_set(drill)
    drill.add_argument("--venue", metavar="NAME", action="append", help="faults of this venue only; may be repeated")
    drill.add_argument(
        "--fault",
        metavar="N",
        action="append",
        default=[],
        help="this number of the catalogue, or a range: 22-29; may be repeated",
    )
    drill.add_argument(
        "--alone", action="store_true", help="with the venues of --venue only, and the strategies that trade there"
    )
    drill.add_argument("--seed", metavar="N", type=int, default=1, help="of the simulated venues' markets")
    drill.add_argument("--jobs", metavar="N", type=int, default=1, help="drills at the same time")
    drill.add_argument("--keep", metavar="DIR", help="keep there what the drills leave that did not hold")
    _add_json(drill)


def _add_data(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    data = verbs.add_parser("data", help="fetch market data, and look at files of it").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    check = data.add_parser("check", help="compare a file with the second record that it holds, and count gaps and crossed books")
    check.add_argument("format", metavar="FORMAT", help="lobster, binance, bars, trades or quotes")
    check.add_argument("files", metavar="FILE", nargs="+", help="lobster: MESSAGES BOOK [BEST]; binance: recordings in order")
    check.add_argument("--interval", metavar="DURATION", help="bars: the length of a bar, for example 1m")
    check.add_argument("--column", metavar="OURS=THEIRS", action="append", default=[], help="tables: a column's name in the file")
    check.add_argument("--zone", metavar="ZONE", help="tables: what stamps without an offset are meant in, for example UTC")
    _add_json(check)
    fetch = data.add_parser("fetch", help="get recorded data from a source and keep it as Parquet; goes on where it was stopped")
    fetch.add_argument("source", metavar="SOURCE", choices=DATA_SOURCES, help=", ".join(DATA_SOURCES))
    fetch.add_argument("symbol", metavar="SYMBOL", help="as the source writes it, for example BTCUSDT")
    fetch.add_argument(
        "--kind", metavar="KIND", default="bars", choices=("bars", "trades", "quotes"), help="bars (default), trades or quotes"
    )
    fetch.add_argument("--interval", metavar="DURATION", default="1m", help="of bars; default 1m")
    fetch.add_argument("--start", metavar="TIME", required=True, help="first day, or time; UTC where it says nothing else")
    fetch.add_argument("--end", metavar="TIME", help="first day or time that is not wanted any more; default now")
    fetch.add_argument("--market", metavar="MARKET", help="binance: spot (default), usdm or coinm")
    fetch.add_argument("--key", metavar="NAME", help="name of the secret that holds the source's key (docs/CONFIG.md, secrets)")
    fetch.add_argument("--rate", metavar="N", type=int, help="requests a minute; default what the source's free plan allows")
    fetch.add_argument("--price-scale", metavar="N", type=int, default=2, help="yfinance: decimals of its prices")
    fetch.add_argument("--out", metavar="FOLDER", default="data", help="where it is kept; default data")
    _add_json(fetch)
    shown = data.add_parser("list", help="what was fetched: rows, times, gaps")
    shown.add_argument("--out", metavar="FOLDER", default="data", help="where it is kept; default data")
    _add_json(shown)


def _add_venues(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    venues = verbs.add_parser("venues", help="what can be connected to, or what a configuration connects to")
    venues.add_argument("config", metavar="CONFIG", nargs="?", help="a TOML file; absent: every adapter there is")
    _add_set(venues)
    _add_json(venues)


def _add_control(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = verbs.add_parser("status", help="ask a running daemon where it stands")
    halt = verbs.add_parser("halt", help="cancel everything in a running daemon and stop new orders; a backtest ends")
    reduce = verbs.add_parser("reduce", help="let only orders leave that shrink a position")
    flatten = verbs.add_parser("flatten", help="cancel everything, close every position at the market, stay REDUCING")
    stop = verbs.add_parser("stop", help="end a running daemon in order")
    resume = verbs.add_parser("resume", help="trade again after a halt or a reduce")
    for parser in (halt, reduce, stop):
        parser.add_argument("--reason", default="operator", help="kept in the journal and the report")
    flatten.add_argument("--reason", help="kept in the journal; required where trading is HALTED")
    resume.add_argument("--reason", required=True, help="why it may trade again; kept in the journal")
    resume.add_argument(
        "--to", choices=("active", "reducing"), default="active", help="reducing: positions may be closed, nothing else leaves"
    )
    for parser in (halt, reduce, resume):
        parser.add_argument("--strategy", metavar="ID", help="only this strategy; absent: the account")
    reconcile = verbs.add_parser("reconcile", help="hold the books of a running daemon against the venue's now")
    correct = verbs.add_parser("correct", help="put right a position or an execution that no order explains, while HALTED")
    correct.add_argument("instrument", metavar="INSTRUMENT", help="its instrument_id")
    what = correct.add_mutually_exclusive_group(required=True)
    what.add_argument("--execution", metavar="ID", help="book this execution, which the venue shows, to (foreign)")
    what.add_argument("--price", metavar="PRICE", help="take the venue's position over; what is added counts at this price")
    correct.add_argument(
        "--qty", metavar="QTY", help="how much is added, or taken off (-QTY), where the venue states no position"
    )
    correct.add_argument("--strategy", metavar="ID", help="whose it is; absent: shared out by what each holds")
    correct.add_argument("--reason", required=True, help="why; kept in the journal")
    orders = verbs.add_parser("orders", help="print the open orders of a running daemon")
    positions = verbs.add_parser("positions", help="print its positions and cash")
    strategies = verbs.add_parser("strategies", help="print each strategy's state, position, open orders, profit and budget")
    fills = verbs.add_parser("fills", help="print its last fills, at most 1,000")
    for parser in (status, halt, reduce, resume, flatten, stop, orders, positions, strategies, fills, reconcile, correct):
        parser.add_argument("--run", metavar="RUN_ID", help="which one; needed only while several run")
        _add_json(parser)


def _add_kill(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    guardian = verbs.add_parser("guardian", help="watch a daemon from a process of its own, and kill where it must")
    guardian.add_argument("config", metavar="CONFIG", help="the same file that the daemon runs")
    _add_set(guardian)
    _add_json(guardian)
    kill = verbs.add_parser("kill", help="cancel everything on every venue, whatever state the daemon is in, and verify it")
    kill.add_argument("config", metavar="CONFIG", nargs="?", help="whose venues; needed only where no daemon has run")
    kill.add_argument("--run", metavar="RUN_ID", help="which account; needed only while several run")
    kill.add_argument("--flatten", action="store_true", help="close every position at the market too")
    kill.add_argument("--reason", default="operator", help="kept in the latch, the alerts and the report")
    kill.add_argument("--wait", metavar="DURATION", default="30s", help="longest time to wait until it is verified")
    _add_json(kill)


def _add_config(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = verbs.add_parser("config", help="check or show a configuration").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    check = actions.add_parser("check", help="say whether a configuration can run, without running it")
    show = actions.add_parser("show", help="print everything in effect, defaults included, as TOML")
    for parser in (check, show):
        parser.add_argument("config", metavar="CONFIG")
        _add_set(parser)
        _add_json(parser)
    schema = actions.add_parser("schema", help="print the JSON Schema of a configuration")
    schema.add_argument("config", metavar="CONFIG", nargs="?", help="also print the parameters of this file's strategies")
    _add_json(schema)


def _add_audit(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = verbs.add_parser("audit", help="check a run's journal for tampering, or read it").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    verify = actions.add_parser("verify", help="say whether a journal is what was written, and else what was touched and where")
    verify.add_argument("--anchor", metavar="FILE", help="seals that were kept elsewhere: shows a cut tail or a whole new chain")
    verify.add_argument("--key", metavar="FILE", help="the key that must have signed it, PEM; absent: that of the state folder")
    show = actions.add_parser("show", help="print a journal's records, or one order's whole life")
    show.add_argument("--order", metavar="ID", help="only what touched this order: 17, 1-17, or its client_order_id")
    show.add_argument("--from", dest="ts_from", metavar="TIME", help="from this moment, ISO 8601 with offset, or ns since 1970")
    show.add_argument("--to", dest="ts_to", metavar="TIME", help="until before this moment")
    show.add_argument("--kind", metavar="KIND,…", help="only these kinds, for example submit,filled,denied")
    replay = verbs.add_parser("replay", help="feed a run's journal through its strategies again and compare every command")
    for parser in (verify, show, replay):
        parser.add_argument("journal", metavar="RUN", help="a run folder, or a journal's own folder")
        _add_json(parser)


def _add_care(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    logs = verbs.add_parser("logs", help="print a run's log, and go on with it while it is written")
    logs.add_argument("source", metavar="CONFIG", nargs="?", help="whose newest run, or a run folder; absent: the running daemon")
    logs.add_argument("--run", metavar="RUN_ID", help="another run than the newest; which daemon, while several run")
    logs.add_argument("--follow", action="store_true", help="go on until Ctrl-C; over a restart of the daemon too")
    logs.add_argument("--since", metavar="TIME", help='from so long ago on ("10m"), or from a moment, ISO 8601 with offset')
    levels = ("debug", "info", "warning", "error", "critical")
    logs.add_argument("--level", metavar="LEVEL", choices=levels, default="debug", help=f"lowest to show: {', '.join(levels)}")
    doctor = verbs.add_parser("doctor", help="look at everything that trading by the clock needs, and say what to put right")
    doctor.add_argument("config", metavar="CONFIG", nargs="?", help="what it would run; absent: only the machine is looked at")
    _add_set(doctor)
    for parser in (logs, doctor):
        _add_json(parser)


def _verb(options: argparse.Namespace) -> Verb:
    name = f"{options.verb} {options.action}" if "action" in options else options.verb
    module, function = FUNCTIONS[name].split(":")
    found: Verb = getattr(importlib.import_module(f"daemon.cli.{module}"), function)
    return found


if __name__ == "__main__":
    sys.exit(main())
