"""The shipped backtests on recorded market data, with each market maker: never crossed, books equal to the fills, repeatable."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.session import ROOT as CHECKOUT
from tests.daemon.session import environment, run_of, tradingd
from tests.data_path import ROOT as DATA
from tests.data_path import market_data

NEEDED = {
    "lobster": "lobster/AAPL_2012-06-21_34200000_37800000_message_50.csv.gz",
    "binance-spot": "crypto_l2/hftbacktest/spot/btcusdt_20240808.gz",
    "binance-usdm": "crypto_l2/hftbacktest/usdm/btcusdt_20240808.gz",
    "binance-cm": "crypto_l2/hftbacktest/cm/btcusd_perp_20240808.gz",
}
# Quantity of an order, largest position, and the least half-spread, by session.
SIZES = {
    "lobster": ("100", "500", "0.02"),
    "binance-spot": ("0.01", "0.1", "1"),
    "binance-usdm": ("0.01", "0.1", "1"),
    "binance-cm": ("10", "100", "1"),
}
MAKERS: dict[str, dict[str, Any]] = {
    "symmetric_maker": {},
    "inventory_skew_maker": {"gamma_per_currency": 0.01, "fill_rate_per_s": 1.0, "fill_decay_per_price": 20.0, "samples_min": 5},
    "adaptive_spread_maker": {"samples_min": 5},
}


def arguments(session: str, maker: str, out: Path) -> list[str | Path]:
    config = CHECKOUT / "config" / f"backtest-{session}.toml"
    qty, position, half_spread = SIZES[session]
    params: dict[str, Any] = {"order_qty": qty, "position_qty_max": position, "requote_interval_ms": 100, **MAKERS[maker]}
    if maker == "adaptive_spread_maker":
        params["half_spread_min"] = half_spread
    settings = [f"strategies.0.class={maker}", *(f"strategies.0.params.{key}={value}" for key, value in params.items())]
    return ["backtest", config, "--json", "--out", out, *(part for setting in settings for part in ("--set", setting))]


DIGESTS = ("commands_digest", "state_digest", "config_digest", "input_digest", "events", "fills")


def digests(session: str, folder: Path) -> dict[str, list[Any]]:
    """Run the session with each maker; every run must be whole and agree with its own fills."""
    found = {}
    for maker in MAKERS:
        result = tradingd(*arguments(session, maker, folder / maker), cwd=folder)
        assert result.returncode == 0, result
        run = run_of(result)
        assert (run["status"], run["ledger_check"], run["venue"]["crossed"], run["duplicate_fills"]) == ("complete", "ok", 0, 0)
        assert (run["fills"] > 0, run["orders_denied"]) == (True, 0)
        found[maker] = [run[key] for key in DIGESTS]
    return found


@pytest.mark.parametrize("session", NEEDED)
def test_a_recorded_session_with_each_maker_here_and_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    market_data(NEEDED[session])
    monkeypatch.setenv("TRADINGD_DATA", str(DATA))
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    code = "import json, sys; from pathlib import Path; from tests.daemon.test_recorded_sessions import digests\n"
    code += "print(json.dumps(digests(sys.argv[1], Path(sys.argv[2]))))"
    done = subprocess.run(
        [sys.executable, "-c", code, session, str(there)],
        cwd=CHECKOUT,
        env={**environment(tmp_path), "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    assert json.loads(done.stdout) == digests(session, here)
