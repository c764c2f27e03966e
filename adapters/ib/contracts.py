"""Which contract an instrument is, and whether the venue's rules for it are the configured ones. Pure.

An instrument's name at the venue (`symbols`) is one of

    STK AAPL SMART USD [NASDAQ]       a share: symbol, exchange, currency, primary exchange where the symbol alone is not enough
    FUT ESZ6 CME USD                  a future by its local symbol
    OPT AAPL 20261218 C 250 SMART USD an option: underlying, expiry, C or P, strike (FOP: of a future)
    ID 265598 SMART                   any contract by its conId

Where none is given, an equity SYMBOL.VENUE is STK SYMBOL and a future is FUT SYMBOL, on the exchanges of the settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from adapters.ib.library import Contract
from adapters.ib.messages import Details
from adapters.ib.numbers import decimal_of
from adapters.ib.settings import IbSettings
from core.enums import InstrumentClass
from core.errors import ConfigError
from core.instruments import Instrument
from core.units import format_fixed

_WORD = re.compile(r"[A-Za-z0-9 ._/-]{1,40}\Z", re.ASCII)
_DATE = re.compile(r"\d{8}\Z", re.ASCII)
SECURITY_TYPES = {
    InstrumentClass.EQUITY: ("STK",),
    InstrumentClass.FUTURE: ("FUT",),
    InstrumentClass.OPTION: ("OPT", "FOP"),
}


class Listed(msgspec.Struct):
    """An instrument and its contract; `con_id` is 0, and the contract what was configured, until the venue has said more."""

    instrument: Instrument
    wanted: Any
    contract: Any
    con_id: int = 0
    security_type: str = ""
    rule: int = 0  # the market rule that holds on its exchange; 0: there is none
    min_tick: str = "0"
    has_market_orders: bool = True


def wanted_contract(instrument: Instrument, name: str, settings: IbSettings) -> Any:
    """The library's Contract to ask for. Raises ConfigError."""
    key = instrument.instrument_id
    if instrument.instrument_class not in SECURITY_TYPES or instrument.is_inverse:
        raise ConfigError(f"instruments: {key}: only equities, futures and options are traded here")
    symbol, currency = key.rpartition(".")[0], instrument.quote_currency
    words = name.split()
    if not words:
        if instrument.instrument_class is InstrumentClass.EQUITY:
            words = ["STK", symbol, settings.stock_exchange, currency]
        elif instrument.instrument_class is InstrumentClass.FUTURE:
            words = ["FUT", symbol, settings.future_exchange, currency]
        else:
            raise ConfigError(f'symbols: {key}: an option needs a name such as "OPT AAPL 20261218 C 250 SMART USD"')
    if not all(_WORD.match(word) for word in words):
        raise ConfigError(f"symbols: {key}: {name!r} has signs in it that no symbol has")
    match words:
        case ["ID", con_id, exchange] if con_id.isdecimal() and len(con_id) < 10:
            return Contract(conId=int(con_id), exchange=exchange)
        case ["STK", ticker, exchange, money]:
            return Contract(secType="STK", symbol=ticker, exchange=exchange, currency=money)
        case ["STK", ticker, exchange, money, primary]:
            return Contract(secType="STK", symbol=ticker, exchange=exchange, currency=money, primaryExchange=primary)
        case ["FUT", local, exchange, money]:
            return Contract(secType="FUT", localSymbol=local, exchange=exchange, currency=money)
        case ["OPT" | "FOP" as kind, ticker, expiry, ("C" | "P") as right, strike, exchange, money] if _DATE.match(expiry):
            return Contract(
                secType=kind,
                symbol=ticker,
                lastTradeDateOrContractMonth=expiry,
                right=right,
                strike=_strike(key, strike),
                exchange=exchange,
                currency=money,
            )
    raise ConfigError(f"symbols: {key}: {name!r} is none of the forms of docs/VENUES-IB.md")


def _strike(key: str, text: str) -> Decimal:
    if re.match(r"\d{1,9}(\.\d{1,6})?\Z", text, re.ASCII) is None:
        raise ConfigError(f"symbols: {key}: strike {text!r} is no number")
    return Decimal(text)


def qualify(listed: Listed, found: Sequence[Details]) -> None:
    """Take what the venue says about a contract. Raises ConfigError that says both values where it is not what is configured."""
    instrument = listed.instrument
    key = instrument.instrument_id
    if len(found) != 1:
        what = "no contract" if not found else f"{len(found)} contracts"
        raise ConfigError(f"symbols: {key}: the venue knows {what} by this name: {_said(listed.wanted)}")
    details = found[0]
    _require(key, "instrument_class", " or ".join(SECURITY_TYPES[instrument.instrument_class]), details.security_type)
    _require(key, "quote_currency", instrument.quote_currency, details.currency)
    multiplier = details.multiplier or "1"
    if not _equal(multiplier, str(instrument.multiplier)):
        raise ConfigError(f"instruments: {key}: multiplier is {instrument.multiplier} here and {multiplier} at the venue")
    if details.price_magnifier != 1:
        raise ConfigError(
            f"instruments: {key}: the venue quotes it in 1/{details.price_magnifier} of its currency; priceMagnifier must be 1"
        )
    _check_lot(instrument, details.size_increment)
    listed.con_id = details.con_id
    listed.security_type = details.security_type
    listed.min_tick = details.min_tick
    listed.rule = dict(details.rules).get(details.exchange, 0)
    listed.has_market_orders = "MKT" in details.order_types
    # By its number and exchange a contract is one and no other.
    listed.contract = Contract(
        conId=details.con_id,
        symbol=details.symbol,
        secType=details.security_type,
        localSymbol=details.local_symbol,
        exchange=details.exchange,
        currency=details.currency,
        multiplier=details.multiplier,
    )


def check_ticks(listed: Listed, increments: Sequence[tuple[str, str]]) -> None:
    """Whether every price that the configuration allows is one that the venue takes. Raises ConfigError.

    `increments`: of the market rule, or empty where there is none; then the contract's smallest tick holds everywhere.
    """
    instrument = listed.instrument
    key, scale = instrument.instrument_id, instrument.price_scale
    bands = sorted((Decimal(low), Decimal(step)) for low, step in increments) or [(Decimal(0), decimal_of(listed.min_tick))]
    lows = [low for low, _ in bands]
    lowest, highest = _decimal(instrument.price_min, scale), _decimal(instrument.price_max, scale)
    tick = _decimal(instrument.tick, scale)
    for (low, step), following in zip(bands, [*lows[1:], None], strict=True):
        if step <= 0:
            raise ConfigError(f"instruments: {key}: the venue says that its tick is {step}")
        if low > highest or (following is not None and following <= lowest):
            continue
        if tick % step:
            raise ConfigError(f"instruments: {key}: tick is {tick} here and {step} at the venue (prices from {low})")
    finest = min(step for _, step in bands)
    # A book of finer prices than ours has no place here: each of its quotes would be refused.
    if _decimal(1, scale) > finest:
        raise ConfigError(f"instruments: {key}: prices of the venue go by {finest}: price_scale {scale} cannot say them")


def _check_lot(instrument: Instrument, increment: str | None) -> None:
    if increment is None or Decimal(increment) <= 0:
        return
    lot = _decimal(instrument.lot, instrument.qty_scale)
    if lot % Decimal(increment):
        raise ConfigError(f"instruments: {instrument.instrument_id}: lot is {lot} here and {increment} at the venue")


def _decimal(value: int, scale: int) -> Decimal:
    return Decimal(format_fixed(value, scale))


def _equal(left: str, right: str) -> bool:
    return re.match(r"\d+(\.\d+)?\Z", left, re.ASCII) is not None and Decimal(left) == Decimal(right)


def _require(key: str, name: str, here: str, there: str) -> None:
    if there not in here.split(" or "):
        raise ConfigError(f"instruments: {key}: {name} is {here} here and {there} at the venue")


def _said(contract: Any) -> str:
    parts = (contract.conId or "", contract.secType, contract.symbol, contract.localSymbol, contract.exchange, contract.currency)
    return " ".join(str(part) for part in parts if part)


def by_con_id(listed: Iterable[Listed]) -> dict[int, Listed]:
    return {each.con_id: each for each in listed if each.con_id}
