"""Limits of the account from the configuration: exact, with every mistake named; and a backtest that trips one ends HALTED."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.commands import CancelAll, SubmitOrder
from core.enums import TradingState
from core.errors import ConfigError
from core.events import LimitTripped
from core.instruments import MONEY_SCALE
from core.risk_limits import (
    AccountLimits,
    ExecutionLimit,
    ExposureLimit,
    LossLimits,
    MessageLimit,
    SelfTrade,
    StrategyBudget,
    WindowLimit,
)
from core.units import NS_PER_MS, NS_PER_SECOND
from daemon.config.build import build_instruments, build_limits
from daemon.config.build_account import build_account_limits
from daemon.config.loader import load_config
from daemon.exit_codes import ExitCode
from daemon.journal.reader import JournalReader
from tests.daemon.session import CONFIG, ROOT, tradingd, write_config

MONEY = 10**MONEY_SCALE

FULL = """
self_trade = "deny_any"
locked_market = "deny"
open_orders_max = 7
initial_margin = "12.5%"

[risk.account]
currency = "EUR"
conversion = { USD = "0.85" }
gross_exposure_max = "100000"
net_exposure_max = 50000.5
leverage_max = "2.5"
daily_loss_max = "1000"
weekly_loss_max = "2500.01"
drawdown_max = "7.5%"
reduce_at = "80%"
day_start = "22h"
week_start = "sunday"
mark_interval = "50ms"

[risk.account.currencies.USD]
gross_exposure_max = "1"
net_exposure_max = "2"

[risk.messages]
messages_max = 50
cancel_reserve = 10

[risk.executions]
executions_max = 5
window = "100ms"
then = "halt"

[risk.rejects]
rejects_max = 3
window = "10s"

[risk.strategies.maker]
capital_max = "20000"
position_qty_max = { "ACME.SIM" = 100 }
open_orders_max = 4
orders_max = 20
orders_window = "2s"
daily_loss_max = "10"
drawdown_max = "1%"
rejects = { rejects_max = 2, window = "1m" }
"""


def built(tmp_path: Path, text: str) -> AccountLimits | None:
    loaded = load_config(write_config(tmp_path, with_risk(text)))
    return build_account_limits(loaded, build_instruments(loaded))


def with_risk(text: str) -> str:
    """The session's configuration with more keys and tables in [risk]."""
    head, strategies, tail = CONFIG.partition("[[strategies]]")
    return f"{head}{text}\n{strategies}{tail}"


def test_every_limit_arrives_exactly(tmp_path: Path) -> None:
    day = {"day_start_ns": 22 * 3_600 * NS_PER_SECOND, "week_start_day": 6}
    assert built(tmp_path, FULL) == AccountLimits(
        currency="EUR",
        conversion={"USD": 85 * 10**10},
        exposure=ExposureLimit(gross_max=100_000 * MONEY, net_max=50_000 * MONEY + MONEY // 2),
        exposure_by_currency={"USD": ExposureLimit(gross_max=MONEY, net_max=2 * MONEY)},
        leverage_ppm_max=2_500_000,
        messages=MessageLimit(messages_max=50, cancel_reserve=10, window_ns=NS_PER_SECOND),
        self_trade=SelfTrade.ANY,
        executions=ExecutionLimit(executions_max=5, window_ns=100 * NS_PER_MS, is_halting=True),
        rejects=WindowLimit(events_max=3, window_ns=10 * NS_PER_SECOND),
        loss=LossLimits(
            daily_loss_max=1_000 * MONEY,
            weekly_loss_max=2_500 * MONEY + MONEY // 100,
            drawdown_ppm_max=75_000,
            reduce_at_ppm=800_000,
            **day,
        ),
        strategies={
            "maker": StrategyBudget(
                capital_max=20_000 * MONEY,
                position_qty_max={"ACME.SIM": 100},
                open_orders_max=4,
                orders=WindowLimit(events_max=20, window_ns=2 * NS_PER_SECOND),
                rejects=WindowLimit(events_max=2, window_ns=60 * NS_PER_SECOND),
                loss=LossLimits(daily_loss_max=10 * MONEY, drawdown_ppm_max=10_000, **day),
            )
        },
        mark_interval_ns=50 * NS_PER_MS,
    )
    loaded = load_config(write_config(tmp_path, with_risk(FULL)))
    limits = build_limits(loaded, build_instruments(loaded))["ACME.SIM"]
    assert (limits.open_orders_max, limits.initial_margin_ppm, limits.is_locked_denied) == (7, 125_000, True)


def test_without_a_limit_of_the_account_there_is_nothing_to_check(tmp_path: Path) -> None:
    assert built(tmp_path, "") is None
    assert built(tmp_path, '[risk.account]\nday_start = "1h"\nmark_interval = "1s"') is None


def test_the_currency_is_the_one_that_everything_settles_in(tmp_path: Path) -> None:
    limits = built(tmp_path, '[risk.account]\ndaily_loss_max = "5"')
    assert limits is not None
    assert limits.currency == "USD"


MISTAKES = [
    (
        '[risk.account]\ndaily_los_max = "5"',
        r"unknown key risk\.account\.daily_los_max; did you mean risk\.account\.daily_loss_max\?",
    ),
    ('[risk.acount]\ndaily_loss_max = "5"', r"unknown key risk\.acount; did you mean risk\.account\?"),
    ("[risk.account]\ndaily_loss_max = nan", r"risk\.account\.daily_loss_max: nan is not a finite number"),
    ('[risk.account]\ndaily_loss_max = "-5"', r"risk\.account\.daily_loss_max: -5 must not be negative"),
    ("[risk.account]\ndaily_loss_max = true", r"risk\.account\.daily_loss_max: True is not a decimal number"),
    ('[risk.account]\ndaily_loss_max = "0.000000001"', r"risk\.account\.daily_loss_max: .*more than 8 decimals"),
    ('[risk.account]\ndrawdown_max = "120%"', r"risk\.account\.drawdown_max: must be above 0% and at most 100%"),
    ('[risk.account]\ndrawdown_max = "0.1"', r"risk\.account\.drawdown_max: '0\.1' is not a percentage"),
    ('[risk.account]\nreduce_at = "80%"', r"risk\.account\.reduce_at: is a share of a loss limit, and there is none"),
    ('[risk.account]\ndaily_loss_max = "1"\nday_start = "24h"', r"risk\.account\.day_start: '24h' must be below 24h"),
    ('[risk.account]\ncurrency = "EUR"\ndaily_loss_max = "1"', r"risk\.account\.conversion\.USD: this rate is missing"),
    (
        '[risk.account]\nconversion = { EUR = "ACME.SMI" }',
        r"conversion\.EUR: there is no instrument 'ACME\.SMI'; did you mean 'ACME\.SIM'\?",
    ),
    ("[risk.account]\nconversion = { EUR = 0 }", r"risk\.account\.conversion\.EUR: 0 must be above 0"),
    ("[risk.messages]\nmessages_max = 5\ncancel_reserve = 5", r"risk\.messages\.cancel_reserve: must be below messages_max"),
    ("[risk.messages]\nmessages_max = 2.5", r"risk\.messages\.messages_max: "),
    ("[risk.executions]\nexecutions_max = 5", r"risk\.executions\.window: this key is missing"),
    ('[risk.rejects]\nrejects_max = 0\nwindow = "1s"', r"risk\.rejects\.rejects_max: "),
    ("[risk.strategies.makr]\norders_max = 5", r"risk\.strategies\.makr: there is no such strategy; did you mean 'maker'\?"),
    ('[risk.strategies.maker]\ndrawdown_max = "5%"', r"risk\.strategies\.maker\.drawdown_max: .*capital_max is missing"),
    (
        '[risk.strategies.maker]\nposition_qty_max = { "ACME.SMI" = 5 }',
        r'position_qty_max\."ACME\.SMI": there is no such instrument',
    ),
    (
        '[risk.strategies.maker]\nposition_qty_max = { "ACME.SIM" = 0.5 }',
        r'position_qty_max\."ACME\.SIM": .*more than 0 decimals',
    ),
    ('self_trade = "none"', r"risk\.self_trade: "),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_each_mistake_names_its_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(tmp_path, text)


def test_the_example_of_the_document_is_a_configuration(tmp_path: Path) -> None:
    found = re.search(r"^```toml\n(.*?)^```$", (ROOT / "docs" / "RISK.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    head, _, rest = CONFIG.partition("[risk]")
    text = f"{head}{found[1]}\n[[strategies]]{rest.partition('[[strategies]]')[2]}"
    loaded = load_config(write_config(tmp_path, text))
    limits = build_account_limits(loaded, build_instruments(loaded))
    assert limits is not None
    assert (limits.currency, limits.needs_equity, list(limits.strategies)) == ("USD", True, ["maker"])
    run = json.loads(tradingd("backtest", write_config(tmp_path, text), "--json", cwd=tmp_path).stdout)
    assert (run["status"], run["trips"], run["ledger_check"]) == ("complete", [], "ok")
    assert run["fills"] > 0


# A run.


def tripping_run(tmp_path: Path, *more: str) -> tuple[int, dict[str, Any]]:
    text = with_risk('[risk.account]\ndaily_loss_max = "0.5"\nmark_interval = "10ms"')
    result = tradingd("backtest", write_config(tmp_path, text), "--json", *more, cwd=tmp_path)
    return result.returncode, json.loads(result.stdout)


def test_a_backtest_that_trips_the_daily_loss_ends_halted_with_everything_cancelled(tmp_path: Path) -> None:
    code, run = tripping_run(tmp_path)
    assert (code, run["status"], run["trading_state"], run["ledger_check"]) == (ExitCode.HALTED, "halted", "HALTED", "ok")
    (trip,) = run["trips"]
    assert (trip["strategy_id"], trip["state"], trip["limit"], trip["bound"]) == ("", "HALTED", "daily_loss_max", MONEY // 2)
    assert trip["value"] == trip["inputs"]["day_equity"] - trip["inputs"]["equity"] > MONEY // 2
    assert run["status_reason"] == f"daily_loss_max: {trip['value']} is past {trip['bound']}"
    folder = Path(run["folder"])
    orders = pl.read_parquet(folder / "orders.parquet")
    assert set(orders["status"].unique()) <= {"CANCELED", "FILLED", "REJECTED", "DENIED", "EXPIRED"}
    with JournalReader(folder / "journal") as reader:
        records = list(reader)
    (place,) = [index for index, record in enumerate(records) if isinstance(record, LimitTripped)]
    tripped = records[place]
    assert isinstance(tripped, LimitTripped)
    assert (tripped.state, tripped.limit, dict(tripped.inputs)) == (TradingState.HALTED, "daily_loss_max", trip["inputs"])
    after = records[place:]
    assert any(isinstance(record, CancelAll) for record in after)
    assert not any(isinstance(record, SubmitOrder) for record in after)


def test_where_the_run_is_cut_changes_nothing_of_it(tmp_path: Path) -> None:
    runs = [tripping_run(tmp_path)[1], tripping_run(tmp_path, "--pace", "200x")[1]]
    same = ("commands_digest", "state_digest", "trips", "events", "wakeups", "sim_end", "status_reason")
    assert [runs[0][key] for key in same] == [runs[1][key] for key in same]
