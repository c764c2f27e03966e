"""Whether the account and its instruments are what the configuration says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from adapters.oanda.exact import decimal_of
from adapters.oanda.wire import AccountBody, AccountsAnswer, InstrumentBody
from core.enums import InstrumentClass
from core.errors import ConfigError, RefusedError, VenueProtocolError
from core.instruments import Instrument
from core.units import POW10, format_fixed
from core.venue_opening import Environment

DIGITS_MAX = 12
CLASSES = {"CURRENCY": InstrumentClass.FX, "CFD": InstrumentClass.CFD, "METAL": InstrumentClass.CFD}


class Rules(msgspec.Struct, frozen=True):
    """One configured instrument: its name there, and the digits that its prices and units may have on the wire."""

    instrument: Instrument
    name: str
    price_digits: int
    qty_digits: int

    def price_text(self, price: int) -> str | None:
        """None for a price that is finer than the venue takes."""
        whole, rest = divmod(price, POW10[self.instrument.price_scale - self.price_digits])
        return None if rest else format_fixed(whole, self.price_digits)

    def units_text(self, qty: int) -> str | None:
        """Signed; None for a quantity that is finer than the venue takes."""
        whole, rest = divmod(qty, POW10[self.instrument.qty_scale - self.qty_digits])
        return None if rest else format_fixed(whole, self.qty_digits)


def name_of(instrument_id: str, symbols: Mapping[str, str]) -> str:
    """EUR_USD of EUR_USD.OANDA, unless `symbols` says otherwise. Raises ConfigError for what OANDA could not call so."""
    name = symbols.get(instrument_id) or instrument_id.rpartition(".")[0]
    base, line, quote = name.partition("_")
    if not (line and base and quote and name.isascii() and name.replace("_", "").isalnum()):
        raise ConfigError(f'symbols: OANDA writes names like EUR_USD: say "{instrument_id}" = "EUR_USD", not {name!r}')
    return name


def digits_of(step: int, scale: int) -> int | None:
    """How many decimals a multiple of `step` points of 10^-scale has, where `step` is a power of ten; else None."""
    for digits in range(scale + 1):
        if step == POW10[scale - digits]:
            return digits
    return None


def rules_of(instrument: Instrument, name: str) -> Rules:
    """As configured. Raises ConfigError for what OANDA's rules could not be."""
    key = instrument.instrument_id
    price_digits = digits_of(instrument.tick, instrument.price_scale)
    if price_digits is None:
        raise ConfigError(f"instruments: {key}: OANDA's ticks are powers of ten, not {instrument.format_price(instrument.tick)}")
    qty_digits = digits_of(instrument.lot, instrument.qty_scale)
    if qty_digits is None:
        raise ConfigError(f"instruments: {key}: OANDA's lots are powers of ten, not {instrument.format_qty(instrument.lot)}")
    if instrument.is_inverse or instrument.multiplier != 1:
        raise ConfigError(f"instruments: {key}: OANDA's instruments are linear, with multiplier 1")
    if instrument.instrument_class not in (InstrumentClass.FX, InstrumentClass.CFD):
        raise ConfigError(f"instruments: {key}: class must be fx or cfd at OANDA, not {instrument.instrument_class.name.lower()}")
    quote = name.rpartition("_")[2]
    if instrument.quote_currency != quote:
        raise ConfigError(f"instruments: {key}: quote_currency is {instrument.quote_currency} here and {quote} at OANDA")
    return Rules(instrument, name, price_digits, qty_digits)


def check_instruments(rules: Iterable[Rules], listed: Iterable[InstrumentBody]) -> None:
    """Raises ConfigError that says both values, VenueProtocolError for a listing that cannot be."""
    found = {body.name: body for body in listed}
    for each in rules:
        body = found.get(each.name)
        if body is None:
            raise ConfigError(f"instruments: {each.instrument.instrument_id}: this account cannot trade {each.name} at OANDA")
        problem = difference(each, body)
        if problem:
            raise ConfigError(f"instruments: {each.instrument.instrument_id}: {problem}")


def difference(rules: Rules, body: InstrumentBody) -> str:
    """Where the venue's rules are not the configured ones, in words with both values; empty: nowhere."""
    instrument = rules.instrument
    for digits in (body.display_precision, body.trade_units_precision):
        if not 0 <= digits <= DIGITS_MAX:
            raise VenueProtocolError(f"{body.name[:40]}: a precision of {digits}")
    if rules.price_digits != body.display_precision:
        return f"tick has {rules.price_digits} decimals here, displayPrecision is {body.display_precision} at OANDA"
    if rules.qty_digits != body.trade_units_precision:
        return f"lot has {rules.qty_digits} decimals here, tradeUnitsPrecision is {body.trade_units_precision} at OANDA"
    scale = max(instrument.qty_scale, DIGITS_MAX)
    shift = POW10[scale - instrument.qty_scale]
    least = decimal_of(body.minimum_trade_size, scale, "minimumTradeSize")
    if instrument.qty_min * shift < least:
        return f"qty_min is {instrument.format_qty(instrument.qty_min)} here, minimumTradeSize {body.minimum_trade_size} at OANDA"
    most = decimal_of(body.maximum_order_units, 0, "maximumOrderUnits") * POW10[instrument.qty_scale]
    if instrument.qty_max > most:
        return (
            f"qty_max is {instrument.format_qty(instrument.qty_max)} here, maximumOrderUnits {body.maximum_order_units} at OANDA"
        )
    kind = CLASSES.get(body.type)
    if kind is not None and kind is not instrument.instrument_class:
        return f"class is {instrument.instrument_class.name.lower()} here, type is {body.type} at OANDA"
    return ""


def check_token(accounts: AccountsAnswer, account: str, environment: Environment, prefix: str) -> None:
    """Raises RefusedError where the token does not open `account`, ConfigError where it opens accounts of another environment.

    v20 tokens can neither withdraw nor transfer: there are no rights of theirs to refuse.
    """
    known = [each.id for each in accounts.accounts]
    if account not in known:
        raise RefusedError(f"account: the token does not open {account}; it opens {', '.join(known[:10]) or 'none'}")
    for each in known:
        if not each.startswith(prefix):
            raise ConfigError(f"environment: {environment.value}: its accounts begin with {prefix}, and the token opens {each}")


def check_account(body: AccountBody, account: str) -> None:
    """Raises ConfigError, VenueProtocolError where the answer is about another account."""
    if body.id != account:
        raise VenueProtocolError(f"asked about account {account}, the venue answers about {body.id[:40]}")
    if body.hedging_enabled:
        raise ConfigError(
            f"account: {account} has hedgingEnabled: long and short positions side by side cannot be netted here; "
            "use an account without hedging"
        )
