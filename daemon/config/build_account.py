"""Turns the tables of [risk] that speak of the whole account and of strategies into the limits that the Trader keeps to."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial

from core.errors import ConfigError
from core.instruments import MONEY_SCALE, Instrument
from core.risk_limits import (
    PPM,
    RATE_SCALE,
    AccountLimits,
    ExecutionLimit,
    ExposureLimit,
    LossLimits,
    MessageLimit,
    SelfTrade,
    StrategyBudget,
    WindowLimit,
)
from core.units import NS_PER_DAY, parse_duration_ns, parse_fixed
from daemon.config.build import exact
from daemon.config.loader import LoadedConfig
from daemon.config.models import Exposure, Losses, RejectRate, Risk, StrategyRisk
from daemon.config.text_types import parse_percentage_ppm

_LEVERAGE_SCALE = 6
_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_AMOUNTS = (
    "daily_loss_max",
    "weekly_loss_max",
    "drawdown_max",
    "gross_exposure_max",
    "net_exposure_max",
    "leverage_max",
    "capital_max",
)
_SELF_TRADE = {"allow": SelfTrade.ALLOWED, "deny_other_strategies": SelfTrade.OTHER_STRATEGIES, "deny_any": SelfTrade.ANY}


def build_account_limits(loaded: LoadedConfig, instruments: Sequence[Instrument]) -> AccountLimits | None:
    """None where nothing is limited beyond single instruments. Raises ConfigError that names the key."""
    risk = loaded.config.risk
    file = str(loaded.file)
    limits = _limits(loaded, instruments)
    has_margin = any(limit.initial_margin is not None for limit in (risk, *risk.instruments.values()))
    if not (limits.is_set or has_margin):
        return None
    if not (limits.needs_currency or has_margin):
        return limits
    for currency in sorted({instrument.settlement_currency for instrument in instruments} | set(loaded.config.account.cash)):
        if currency != limits.currency and currency not in limits.conversion:
            path = f"{file}: risk.account.conversion.{currency}"
            raise ConfigError(f"{path}: this rate is missing; the limits of the account are in {limits.currency}")
    return limits


def _limits(loaded: LoadedConfig, instruments: Sequence[Instrument]) -> AccountLimits:
    risk = loaded.config.risk
    account = risk.account
    file = str(loaded.file)
    day_start_ns = parse_duration_ns(account.day_start)
    if day_start_ns >= NS_PER_DAY:
        raise ConfigError(f"{file}: risk.account.day_start: {account.day_start!r} must be below 24h")
    losses = _losses(account, f"{file}: risk.account", day_start_ns, _WEEK.index(account.week_start))
    strategies = {name: _budget(loaded, name, table, losses, instruments) for name, table in risk.strategies.items()}
    messages = risk.messages
    if messages is not None and messages.cancel_reserve >= messages.messages_max:
        raise ConfigError(f"{file}: risk.messages.cancel_reserve: must be below messages_max: no order could ever leave")
    executions = risk.executions
    # With one strategy there is no other to meet: nothing has to be looked at.
    self_trade = _SELF_TRADE[risk.self_trade]
    if self_trade is SelfTrade.OTHER_STRATEGIES and len(loaded.config.strategies) + len(loaded.config.clients) < 2:
        self_trade = SelfTrade.ALLOWED
    return AccountLimits(
        currency=_currency(loaded, instruments),
        conversion={
            currency: _rate(f"{file}: risk.account.conversion.{currency}", text, instruments)
            for currency, text in account.conversion.items()
        },
        exposure=_exposure(account, f"{file}: risk.account"),
        exposure_by_currency={
            currency: _exposure(table, f"{file}: risk.account.currencies.{currency}")
            for currency, table in account.currencies.items()
        },
        leverage_ppm_max=_fixed(account.leverage_max, _LEVERAGE_SCALE, f"{file}: risk.account.leverage_max"),
        messages=None
        if messages is None
        else MessageLimit(
            messages_max=messages.messages_max,
            cancel_reserve=messages.cancel_reserve,
            window_ns=parse_duration_ns(messages.window),
        ),
        self_trade=self_trade,
        executions=None
        if executions is None
        else ExecutionLimit(
            executions_max=executions.executions_max,
            window_ns=parse_duration_ns(executions.window),
            is_halting=executions.then == "halt",
        ),
        rejects=_window(risk.rejects),
        loss=losses,
        strategies=strategies,
        mark_interval_ns=parse_duration_ns(account.mark_interval),
    )


def _needs_currency(risk: Risk) -> bool:
    """Whether any limit is an amount of the account's currency."""
    scopes: list[Losses | Exposure] = [risk.account, *risk.strategies.values()]
    margins = (risk.initial_margin, *(limits.initial_margin for limits in risk.instruments.values()))
    has_margin = any(margin is not None for margin in margins)
    return has_margin or any(getattr(scope, name, None) is not None for scope in scopes for name in _AMOUNTS)


def _currency(loaded: LoadedConfig, instruments: Sequence[Instrument]) -> str:
    """The account's currency: as given, or the one that everything settles in; "" where no limit needs one."""
    account = loaded.config.risk.account
    if account.currency is not None:
        return account.currency
    if not _needs_currency(loaded.config.risk):
        return ""
    found = sorted({instrument.settlement_currency for instrument in instruments} | set(loaded.config.account.cash))
    if len(found) == 1:
        return found[0]
    raise ConfigError(
        f"{loaded.file}: risk.account.currency: this key is missing; which of {', '.join(found)} are the limits in?"
    )


def _rate(path: str, text: str, instruments: Sequence[Instrument]) -> int | str:
    ids = [instrument.instrument_id for instrument in instruments]
    if text in ids:
        return text
    if not text.replace(".", "", 1).lstrip("+").isdecimal():
        raise ConfigError(f"{path}: there is no instrument {text!r}{_closest(text, ids)}")
    rate = exact(lambda: parse_fixed(text, RATE_SCALE), path)
    if rate < 1:
        raise ConfigError(f"{path}: {text!r} must be above 0")
    return rate


def _closest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; configured: {', '.join(known)}"


def _exposure(table: Exposure, path: str) -> ExposureLimit:
    return ExposureLimit(
        gross_max=_money(table.gross_exposure_max, f"{path}.gross_exposure_max"),
        net_max=_money(table.net_exposure_max, f"{path}.net_exposure_max"),
    )


def _losses(table: Losses, path: str, day_start_ns: int, week_start_day: int) -> LossLimits:
    reduce_at_ppm = _share(table.reduce_at, f"{path}.reduce_at")
    drawdown_ppm_max = _share(table.drawdown_max, f"{path}.drawdown_max")
    if reduce_at_ppm is not None and table.daily_loss_max is table.weekly_loss_max is table.drawdown_max is None:
        raise ConfigError(f"{path}.reduce_at: is a share of a loss limit, and there is none")
    for name, share in (("reduce_at", reduce_at_ppm), ("drawdown_max", drawdown_ppm_max)):
        if share is not None and not 0 < share <= PPM:
            raise ConfigError(f"{path}.{name}: must be above 0% and at most 100%")
    return LossLimits(
        daily_loss_max=_money(table.daily_loss_max, f"{path}.daily_loss_max"),
        weekly_loss_max=_money(table.weekly_loss_max, f"{path}.weekly_loss_max"),
        drawdown_ppm_max=drawdown_ppm_max,
        reduce_at_ppm=reduce_at_ppm,
        day_start_ns=day_start_ns,
        week_start_day=week_start_day,
    )


def _budget(
    loaded: LoadedConfig, name: str, table: StrategyRisk, account: LossLimits, instruments: Sequence[Instrument]
) -> StrategyBudget:
    path = f"{loaded.file}: risk.strategies.{name}"
    known = [table.id for table in loaded.config.strategies] + [client.id for client in loaded.config.clients]
    if name not in known:
        raise ConfigError(f"{path}: there is no such strategy{_closest(name, known)}")
    if table.drawdown_max is not None and table.capital_max is None:
        raise ConfigError(f"{path}.drawdown_max: a strategy's drawdown is a share of its capital; capital_max is missing")
    scales = {instrument.instrument_id: instrument.qty_scale for instrument in instruments}
    for instrument_id in table.position_qty_max:
        if instrument_id not in scales:
            where = f'{path}.position_qty_max."{instrument_id}"'
            raise ConfigError(f"{where}: there is no such instrument{_closest(instrument_id, list(scales))}")
    return StrategyBudget(
        capital_max=_money(table.capital_max, f"{path}.capital_max"),
        position_qty_max={
            key: exact(partial(parse_fixed, text, scales[key]), f'{path}.position_qty_max."{key}"')
            for key, text in table.position_qty_max.items()
        },
        open_orders_max=table.open_orders_max,
        orders=None
        if table.orders_max is None
        else WindowLimit(events_max=table.orders_max, window_ns=parse_duration_ns(table.orders_window)),
        rejects=_window(table.rejects),
        loss=_losses(table, path, account.day_start_ns, account.week_start_day),
    )


def _window(table: RejectRate | None) -> WindowLimit | None:
    return None if table is None else WindowLimit(events_max=table.rejects_max, window_ns=parse_duration_ns(table.window))


def _money(text: str | None, path: str) -> int | None:
    return _fixed(text, MONEY_SCALE, path)


def _share(text: str | None, path: str) -> int | None:
    return None if text is None else exact(lambda: parse_percentage_ppm(text), path)


def _fixed(text: str | None, scale: int, path: str) -> int | None:
    return None if text is None else exact(lambda: parse_fixed(text, scale), path)
