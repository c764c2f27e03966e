"""What a run earned, as plain data for run.json and as text for a person."""

from __future__ import annotations

from typing import Any

from core.instruments import MONEY_SCALE, Instrument
from core.trader import Trader
from core.units import NS_PER_SECOND, format_fixed
from sim.metrics import (
    EXTRA_DIGITS,
    MARKOUT_HORIZONS_NS,
    REALIZED_HORIZON,
    annual_volatility,
    equity_returns,
    max_drawdown,
    max_drawdown_ratio,
    periods_per_year,
    sharpe_ratio,
    sortino_ratio,
)
from sim.recorder import EquitySample, Recorder, Tally

RATIO_DIGITS = 6
NO_MONEY = format_fixed(0, MONEY_SCALE)


def money(value: int) -> str:
    return format_fixed(value, MONEY_SCALE)


def statistics(trader: Trader, recorder: Recorder, *, trading_day_ns: int, trading_days_per_year: int) -> dict[str, Any]:
    """Everything the run's samples and sums say. Money, prices and quantities are decimal text; ratios are floats or None."""
    currency = recorder.currencies[0]
    by_currency = {
        name: _of_currency(recorder, name, trading_day_ns=trading_day_ns, trading_days_per_year=trading_days_per_year)
        for name in recorder.currencies
    }
    by_instrument = {
        key: _of_instrument(trader, instrument, recorder.tallies[key]) for key, instrument in trader.instruments.items()
    }
    tallies = recorder.tallies.values()
    orders = sum(tally.orders for tally in tallies)
    filled = sum(tally.orders_filled for tally in tallies)
    # A price or a quantity of several instruments has no sum: with more than one they are found by instrument.
    only = next(iter(by_instrument.values())) if len(by_instrument) == 1 else {}
    return {
        "currency": currency,
        **by_currency[currency],
        "orders": orders,
        "orders_filled": filled,
        "orders_denied": sum(tally.orders_denied for tally in tallies),
        "orders_rejected": sum(tally.orders_rejected for tally in tallies),
        "orders_canceled": sum(tally.orders_canceled for tally in tallies),
        "fills": recorder.fills,
        "fill_rate": _ratio(filled, orders),
        "maker_share": _ratio(sum(t.quality.maker_fills for t in tallies), recorder.fills),
        "inventory_time_weighted": only.get("inventory_time_weighted"),
        "realized_spread": only.get("realized_spread"),
        "effective_spread": only.get("effective_spread"),
        "equity_interval_s": recorder.interval_ns / NS_PER_SECOND,
        "by_currency": by_currency,
        "by_instrument": by_instrument,
    }


def _of_currency(recorder: Recorder, currency: str, *, trading_day_ns: int, trading_days_per_year: int) -> dict[str, Any]:
    samples: list[EquitySample] = [sample for samples in recorder.samples for sample in samples if sample.currency == currency]
    curve = [sample.equity for sample in samples]
    last = samples[-1]
    # The last sample closes the run and lies off the grid: returns are taken over whole intervals only.
    on_grid = [sample.equity for sample in samples if (sample.ts - samples[0].ts) % recorder.interval_ns == 0]
    returns = equity_returns(on_grid)
    per_year = periods_per_year(recorder.interval_ns, trading_day_ns, trading_days_per_year)
    return {
        "equity_start": money(curve[0]),
        "equity_end": money(curve[-1]),
        "realized_pnl": money(last.realized_pnl),
        "unrealized_pnl": money(last.unrealized_pnl),
        "fees": money(last.fees),
        "carry": money(last.carry),
        "net_pnl": money(last.net_pnl),
        "max_drawdown": money(max_drawdown(curve)),
        "max_drawdown_ratio": None if returns is None else round(max_drawdown_ratio(returns), RATIO_DIGITS),
        "sharpe": None if returns is None else _rounded(sharpe_ratio(returns, per_year)),
        "sortino": None if returns is None else _rounded(sortino_ratio(returns, per_year)),
        "volatility": None if returns is None else _rounded(annual_volatility(returns, per_year)),
    }


def _of_instrument(trader: Trader, instrument: Instrument, tally: Tally) -> dict[str, Any]:
    position = trader.portfolio.by_instrument[instrument.instrument_id]
    quality = tally.quality
    price_scale = instrument.price_scale + EXTRA_DIGITS
    qty_scale = instrument.qty_scale + EXTRA_DIGITS

    def price(value: int | None) -> str | None:
        return None if value is None else format_fixed(value, price_scale)

    average = position.average_price()
    return {
        "currency": instrument.settlement_currency,
        "position": instrument.format_qty(position.qty),
        "average_price": None if average is None else round(average, instrument.price_scale + 2),
        "realized_pnl": money(position.realized_pnl),
        "fees": money(position.fees),
        "carry": money(position.carry),
        "turnover": money(position.turnover),
        "bought": instrument.format_qty(position.buy_qty),
        "sold": instrument.format_qty(position.sell_qty),
        "orders": tally.orders,
        "orders_filled": tally.orders_filled,
        "orders_denied": tally.orders_denied,
        "orders_rejected": tally.orders_rejected,
        "orders_canceled": tally.orders_canceled,
        "fills": quality.fills,
        "maker_fills": quality.maker_fills,
        "fill_rate": _ratio(tally.orders_filled, tally.orders),
        "inventory_time_weighted": format_fixed(tally.inventory.mean_absolute(), qty_scale),
        "inventory_mean": format_fixed(tally.inventory.mean(), qty_scale),
        "inventory_max": instrument.format_qty(tally.inventory.largest),
        "effective_spread": price(quality.at_fill.full()),
        "realized_spread": price(quality.later[REALIZED_HORIZON].full()),
        "markouts": {
            f"{horizon // NS_PER_SECOND}s": price(mean.half())
            for horizon, mean in zip(MARKOUT_HORIZONS_NS, quality.later, strict=True)
        },
    }


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, RATIO_DIGITS) if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, RATIO_DIGITS)


# Text.


def text_report(run: dict[str, Any]) -> str:
    """The content of run.json for a person; every line names its unit."""
    lines = [f"{run['name']}  {run['run_id']}  {_status(run)}"]
    strategies = ", ".join(f"{item['id']} ({item['class']})" for item in run["strategies"])
    lines.append(f"  {strategies} on {', '.join(run['instruments'])}, {run['sim_start']} to {run['sim_end']}")
    lines.append("")
    currency = run["currency"]
    for label, key in (
        ("net profit", "net_pnl"),
        ("  realized, before fees", "realized_pnl"),
        ("  unrealized", "unrealized_pnl"),
        ("  fees paid", "fees"),
        ("equity at the end", "equity_end"),
        ("deepest drawdown", "max_drawdown"),
    ):
        lines.append(f"  {label:<26}{_trimmed(run[key]):>18} {currency}")
    if run.get("carry", NO_MONEY) != NO_MONEY:
        # A run from before there was such a thing has none.
        lines.insert(-2, f"  {'  funding and such':<26}{_trimmed(run['carry']):>18} {currency}")
    lines.append(f"  {'Sharpe ratio, annual':<26}{_number(run['sharpe']):>18}   samples every {run['equity_interval_s']:g} s")
    lines += _instrument_lines(run)
    lines.append("")
    sent = f"{run['orders']:,} sent, {run['orders_denied']:,} denied by risk, {run['orders_rejected']:,} rejected"
    lines.append(f"  orders    {sent}; {_percent(run['fill_rate'])} of those sent were filled at least in part")
    speed = f"{run['events'] / run['wall_s']:,.0f} events/s" if run["wall_s"] > 0 else ""
    lines.append(f"  events    {run['events']:,} in {run['wakeups']:,} wake-ups, {run['wall_s']:.2f} s {speed}")
    lines.append(f"  ledger    {run['ledger_check']}: positions and cash against the fills")
    lines.append(f"  digests   commands {run['commands_digest']}  state {run['state_digest']}")
    if run["status_reason"]:
        lines.append(f"  reason    {run['status_reason']}")
    if run.get("folder"):
        lines.append(f"  folder    {run['folder']}")
    return "\n".join(lines) + "\n"


def _status(run: dict[str, Any]) -> str:
    status = str(run["status"])
    return status if status == "complete" else status.upper()


def _instrument_lines(run: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for key, item in run["by_instrument"].items():
        quote = item["currency"]
        maker = f"{item['maker_fills']:,} maker"
        horizon_s = MARKOUT_HORIZONS_NS[REALIZED_HORIZON] // NS_PER_SECOND
        markouts = "  ".join(f"{horizon} {_trimmed(value) or '-'}" for horizon, value in item["markouts"].items())
        lines += [
            "",
            f"  {key}",
            f"    fills               {item['fills']:,} ({maker}), bought {item['bought']}, sold {item['sold']}",
            f"    position            {item['position']}, time-weighted size {_trimmed(item['inventory_time_weighted'])}, "
            f"largest {item['inventory_max']}",
            f"    realized profit     {_trimmed(item['realized_pnl'])} {quote}, fees {_trimmed(item['fees'])} {quote}, "
            f"turnover {_trimmed(item['turnover'])} {quote}",
            f"    spread per fill     effective {_trimmed(item['effective_spread']) or '-'}, "
            f"realized after {horizon_s} s {_trimmed(item['realized_spread']) or '-'}",
            f"    markout             {markouts}",
        ]
    return lines


def _trimmed(text: str | None) -> str:
    """Decimal text with thousands separated, without the zeros that carry nothing; cents stay."""
    if text is None:
        return ""
    whole, _, fraction = text.partition(".")
    sign = "-" if whole.startswith("-") else ""
    fraction = fraction.rstrip("0").ljust(2, "0") if fraction else ""
    return f"{sign}{int(whole.lstrip('-')):,}{'.' + fraction if fraction else ''}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def live_numbers(trader: Trader, recorder: Recorder) -> dict[str, Any]:
    """Where a run stands: what `status` answers and the live display shows."""
    instruments = {}
    for key, state in trader.states.items():
        instrument = state.instrument
        mark = recorder.mark(key)
        position = trader.portfolio.by_instrument[key]
        instruments[key] = {
            "bid": None if mark is None else instrument.format_price(mark[0]),
            "ask": None if mark is None else instrument.format_price(mark[1]),
            "mid": None if mark is None else format_fixed((mark[0] + mark[1]) * 5, instrument.price_scale + 1),
            "spread": None if mark is None else instrument.format_price(mark[1] - mark[0]),
            "position": instrument.format_qty(position.qty),
            "open_orders": state.open_orders,
        }
    currency = recorder.currencies[0]
    sample = recorder.measure(trader.now, currency)
    return {
        "currency": currency,
        "equity": money(sample.equity),
        "net_pnl": money(sample.net_pnl),
        "fills": recorder.fills,
        "orders": sum(tally.orders for tally in recorder.tallies.values()),
        "trading_state": trader.risk.trading_state.name,
        "instruments": instruments,
    }
