"""Every recorded session played as a live feed replays to identical commands, one that was killed in the middle too.

The whole daemon in virtual time, so that minutes of market pass as fast as the machine can; the kill is a copy of what was on the
disk at that moment, which is what a process that dies there leaves.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
from functools import partial
from pathlib import Path
from unittest.mock import patch

import anyio
import pytest

from core.events import OrderFilled
from daemon.audit.findings import Verdict
from daemon.audit.verify import verify
from daemon.config.loader import LoadedConfig, load_config
from daemon.control.server import Handler
from daemon.exit_codes import ExitCode
from daemon.journal.tail import TailReader
from daemon.replay import Replayed, replay
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from tests.daemon.session import CONFIG, ROOT, environment
from tests.daemon.test_recorded_sessions import NEEDED
from tests.daemon.trading.virtual_time import World
from tests.data_path import ROOT as DATA
from tests.data_path import market_data

SPEED = {
    "lobster": "2000x",
    "binance-spot": "40x",
    "binance-usdm": "40x",
    "binance-cm": "40x",
    "quotes": "3600x",
    "trades": "20x",
}
KILL_AT_SHARE = 0.4
PRINTS_MAX = 5_000
TABLE = """[[data]]
format = "{name}"
instrument_id = "ACME.SIM"
file = "{file}"
{more}

[venue]
fidelity = "l2"
crossed = "count"
"""
STRATEGY = """
[[strategies]]
id = "follower"
class = "tests.daemon.trading.follower:Follower"
"""


def table_config(folder: Path, name: str, file: Path, price_scale: int, more: str) -> Path:
    """Tests' own session over a table of quotes or prints, with a strategy that acts on either."""
    start, end, strategies = CONFIG.index("[[data]]"), CONFIG.index("[venue.latency]"), CONFIG.index("[[strategies]]")
    text = CONFIG[:start] + TABLE.format(name=name, file=file, more=more) + CONFIG[end:strategies] + STRATEGY
    for old, new in {
        "price_scale = 2": f"price_scale = {price_scale}",
        'tick = "0.01"': f'tick = "{10**-price_scale:.{price_scale}f}"',
        'price_max = "10000"': 'price_max = "1000000"',
        "order_notional_max = 10000": "order_notional_max = 9999999",
    }.items():
        text = text.replace(old, new)
    path = folder / "table.toml"
    path.write_text(text)
    return path


def prints(folder: Path) -> Path:
    """The prints of a recorded Binance session as a table."""
    rows = ["ts_event,price,qty,side"]
    with gzip.open(market_data(NEEDED["binance-usdm"]), "rt") as lines:
        for line in lines:
            _, _, frame = line.partition(" ")
            data = json.loads(frame).get("data", {})
            if data.get("e") == "trade" and len(rows) <= PRINTS_MAX:
                rows.append(f"{data['T'] * 1_000_000},{data['p']},1,{'SELL' if data['m'] else 'BUY'}")
    path = folder / "prints.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def configured(folder: Path, session: str) -> LoadedConfig:
    if session == "quotes":
        columns = 'columns = { ts_event = "timestamp", bid_price = "bid", ask_price = "ask" }\nqty_default = "100"'
        path = table_config(folder, "quotes", market_data("fx/truefx_usdjpy-ticks.csv"), 3, columns)
    elif session == "trades":
        path = table_config(folder, "trades", prints(folder), 2, "")
    else:
        market_data(NEEDED[session])
        path = ROOT / "config" / f"backtest-{session}.toml"
    overrides = [f'daemon.speed="{SPEED[session]}"', 'run.mode="paper"', f'daemon.state_folder="{folder}/state"']
    return load_config(path, [*overrides, "daemon.snapshot_records=2000", 'risk.market_age_max="1h"'])


def live(loaded: LoadedConfig, folder: Path) -> tuple[int, Path]:
    """One life, until the recording ends; and the run as it was while it traded."""
    world, killed = World(), folder / "killed"

    def copy_when_it_has_traded(made: Daemon) -> None:
        if made.session.commands < 10 and made.session.events < 2_000:
            asyncio.get_running_loop().call_later(0.01, copy_when_it_has_traded, made)
            return
        shutil.copytree(made.session.journal.path.parent, killed)

    def handler_of(made: Daemon) -> Handler:
        asyncio.get_running_loop().call_later(0.01, copy_when_it_has_traded, made)
        return Control(made).answer

    daemon = Daemon(loaded, quiet=True, make_clock=world.clock)
    with patch.dict(os.environ, environment(folder)):
        code = anyio.run(partial(daemon.run, handler_of), backend_options={"loop_factory": world.new_loop})
    return code, killed


def decided(found: Replayed) -> int:
    return found.commands + found.denials


@pytest.mark.parametrize("session", SPEED)
def test_a_recorded_session_as_a_live_feed_replays_killed_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    monkeypatch.setenv("TRADINGD_DATA", str(DATA))
    loaded = configured(tmp_path, session)
    code, killed = live(loaded, tmp_path)
    assert code == ExitCode.OK
    (run,) = (Path(loaded.config.daemon.state_folder) / loaded.config.run.name / "runs").iterdir()
    whole, cut = replay(run, None), replay(killed, None)
    assert (whole.is_identical, whole.ending, cut.is_identical) == (True, "", True), (whole, cut)
    assert (verify(run).verdict, verify(killed).verdict) == (Verdict.WHOLE, Verdict.UNFINISHED)
    assert decided(whole) >= decided(cut) > 3
    if session != "trades":
        assert any(isinstance(record, OrderFilled) for record in TailReader(run / "journal")), "it traded"
