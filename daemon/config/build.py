"""Turns a checked configuration into the core structs, exactly; what does not fit an instrument's units is named by its path."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from core.enums import InstrumentClass
from core.errors import ConfigError, UnitError
from core.instruments import MONEY_SCALE, Instrument, parse_fee_rate
from core.risk import InstrumentLimits, RateLimit
from core.units import parse_duration_ns, parse_fixed
from daemon.config.loader import LoadedConfig
from daemon.config.models import InstrumentTable, Limits, Risk
from daemon.config.paths import expand
from daemon.config.text_types import parse_percentage_ppm

Value = TypeVar("Value")


def build_instruments(loaded: LoadedConfig) -> list[Instrument]:
    return [build_instrument(table, str(loaded.file)) for table in loaded.instruments]


def build_instrument(table: InstrumentTable, file: str) -> Instrument:
    def price(name: str, text: str) -> int:
        return exact(lambda: parse_fixed(text, table.price_scale), f"{file}: {table.instrument_id}.{name}")

    def qty(name: str, text: str) -> int:
        return exact(lambda: parse_fixed(text, table.qty_scale), f"{file}: {table.instrument_id}.{name}")

    tick = price("tick", table.tick)
    lot = qty("lot", table.lot)
    settlement = table.settlement_currency or (table.base_currency if table.inverse else table.quote_currency)
    optional = {}
    for name, text, parse in (
        ("qty_max", table.qty_max, qty),
        ("price_max", table.price_max, price),
    ):
        if text is not None:
            optional[name] = parse(name, text)
    return exact(
        lambda: Instrument(
            instrument_id=table.instrument_id,
            instrument_class=InstrumentClass[table.class_.upper()],
            base_currency=table.base_currency,
            quote_currency=table.quote_currency,
            settlement_currency=settlement,
            price_scale=table.price_scale,
            qty_scale=table.qty_scale,
            tick=tick,
            lot=lot,
            qty_min=lot if table.qty_min is None else qty("qty_min", table.qty_min),
            price_min=tick if table.price_min is None else price("price_min", table.price_min),
            multiplier=table.multiplier,
            is_inverse=table.inverse,
            maker_fee_rate=parse_fee_rate(table.maker_fee),
            taker_fee_rate=parse_fee_rate(table.taker_fee),
            **optional,
        ),
        file,
    )


def build_cash(loaded: LoadedConfig) -> dict[str, int]:
    return {
        currency: exact(partial(parse_fixed, text, MONEY_SCALE), f"{loaded.file}: account.cash.{currency}")
        for currency, text in loaded.config.account.cash.items()
    }


def build_rate(risk: Risk) -> RateLimit:
    return RateLimit(orders_max=risk.orders_max, window_ns=parse_duration_ns(risk.orders_window))


def build_limits(loaded: LoadedConfig, instruments: list[Instrument]) -> dict[str, InstrumentLimits]:
    """Limits of every instrument: its own where given, the general ones elsewhere. What is missing in both is refused."""
    risk = loaded.config.risk
    known = {instrument.instrument_id for instrument in instruments}
    for instrument_id in risk.instruments:
        if instrument_id not in known:
            names = ", ".join(sorted(known))
            raise ConfigError(f'{loaded.file}: risk.instruments."{instrument_id}": no such instrument; configured: {names}')
    return {instrument.instrument_id: _limits_of(loaded, risk, instrument) for instrument in instruments}


def _limits_of(loaded: LoadedConfig, risk: Risk, instrument: Instrument) -> InstrumentLimits:
    own = risk.instruments.get(instrument.instrument_id, Limits())

    def text(name: str) -> tuple[str, str]:
        value = getattr(own, name)
        path = f'{loaded.file}: risk.instruments."{instrument.instrument_id}".{name}'
        if value is None:
            value = getattr(risk, name)
            path = f"{loaded.file}: risk.{name}"
        if value is None:
            raise ConfigError(f"{path}: this limit is missing; without it no order of {instrument.instrument_id} may be sent")
        return value, path

    def scaled(name: str, scale: int) -> int:
        value, path = text(name)
        return exact(lambda: parse_fixed(value, scale), path)

    collar, collar_path = text("price_collar")
    age = own.market_age_max or risk.market_age_max or "0ns"
    margin = own.initial_margin or risk.initial_margin or "0%"
    return InstrumentLimits(
        order_qty_max=scaled("order_qty_max", instrument.qty_scale),
        order_notional_max=scaled("order_notional_max", MONEY_SCALE),
        position_qty_max=scaled("position_qty_max", instrument.qty_scale),
        price_collar_ppm=exact(lambda: parse_percentage_ppm(collar), collar_path),
        market_age_ns_max=parse_duration_ns(age),
        open_orders_max=own.open_orders_max or risk.open_orders_max or 0,
        initial_margin_ppm=parse_percentage_ppm(margin),
        is_locked_denied=(own.locked_market or risk.locked_market) == "deny",
    )


def resolve_path(loaded: LoadedConfig, text: str, where: str) -> Path:
    """A path of the configuration that must exist: ${NAME} from the environment, relative ones from the file's folder."""
    path = expand_path(loaded, text, where)
    if not os.path.isfile(path):  # unlike Path.is_file, False for a name that is too long
        raise ConfigError(f"{loaded.file}: {where}: there is no file {path}")
    return path


def expand_path(loaded: LoadedConfig, text: str, where: str) -> Path:
    """The same for a path that may be new."""
    return expand(text, loaded.folder, f"{loaded.file}: {where}")


def exact(parse: Callable[[], Value], path: str) -> Value:
    """What `parse` returns; its UnitError becomes a ConfigError that names `path`."""
    try:
        return parse()
    except UnitError as error:
        raise ConfigError(f"{path}: {error}") from None
