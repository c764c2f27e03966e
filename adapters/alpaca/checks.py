"""What must hold before trading: the account's state, the assets' rules, the clock. Pure: sentences, empty where all is well."""

from __future__ import annotations

from adapters.alpaca.exact import is_null, number_of, stamp_of
from adapters.alpaca.settings import AlpacaSettings
from adapters.alpaca.wire import AccountBody, AssetBody, ClockBody
from core.enums import InstrumentClass
from core.instruments import MONEY_SCALE, Instrument
from core.units import NS_PER_MS, NS_PER_SECOND, POW10, format_fixed
from core.venue_opening import Environment

CURRENCY = "USD"
PENNY_SCALE = 2
KINDS = {Environment.LIVE: "no paper account", Environment.TEST: "a paper account"}
PAPER_ACCOUNT = "PA"  # a paper account's number begins with it [?]


def account_problems(account: AccountBody, settings: AlpacaSettings, environment: Environment, account_name: str) -> list[str]:
    """A configured account that looks like an account number must be this one."""
    problems = []
    if account.status != "ACTIVE":
        problems.append(f"the account is {account.status}, not ACTIVE")
    if account.account_blocked:
        problems.append("the account is blocked: ask the venue why")
    if account.trading_blocked:
        problems.append("the account may not trade: ask the venue why")
    if account.trade_suspended_by_user:
        problems.append("trading is suspended in the account's own settings")
    if account.currency != CURRENCY:
        problems.append(f"the account is in {account.currency}, and prices here are in {CURRENCY}")
    if settings.margin_rule == "legacy" and account.pattern_day_trader and _below_the_floor(account):
        problems.append("the account is flagged as a pattern day trader's and has less than 25,000 USD")
    kind = "a paper account" if account.account_number.startswith(PAPER_ACCOUNT) else "no paper account"
    if kind != KINDS.get(environment, kind):
        problems.append(f"the venue answers for {kind}, and environment is {environment.value!r}")
    if account_name.startswith(PAPER_ACCOUNT) and account_name != account.account_number:
        problems.append(f"account {account_name} is configured, and the key is of another one")
    return problems


def _below_the_floor(account: AccountBody) -> bool:
    return not is_null(account.equity) and number_of(account.equity, MONEY_SCALE, "equity") < 25_000 * POW10[MONEY_SCALE]


def account_warnings(account: AccountBody) -> list[str]:
    """What does not keep one from trading, and a person should know."""
    return [] if account.shorting_enabled else ["the account may not sell short: such orders are refused by the venue"]


def asset_problems(instrument: Instrument, asset: AssetBody) -> list[str]:
    """Raises VenueProtocolError for numbers that are none."""
    name = instrument.instrument_id
    problems = []
    if instrument.instrument_class is not InstrumentClass.EQUITY or asset.asset_class not in ("us_equity", ""):
        problems.append(f"{name}: class is {instrument.instrument_class.name} here, {asset.asset_class} at Alpaca: only equities")
    if not asset.tradable or asset.status != "active":
        problems.append(f"{name}: the venue says {asset.status}, tradable {str(asset.tradable).lower()}")
    if (instrument.quote_currency, instrument.settlement_currency) != (CURRENCY, CURRENCY):
        problems.append(
            f"{name}: currencies are {instrument.quote_currency} and {instrument.settlement_currency}, {CURRENCY} there"
        )
    if instrument.multiplier != 1 or instrument.is_inverse:
        problems.append(f"{name}: multiplier is {instrument.multiplier} here, 1 at Alpaca")
    penny = POW10[instrument.price_scale - PENNY_SCALE] if instrument.price_scale >= PENNY_SCALE else 0
    if not penny or instrument.tick % penny:
        tick = format_fixed(instrument.tick, instrument.price_scale)
        problems.append(f"{name}: tick is {tick} here, and 0.01 at Alpaca from 1 USD on")
    if not is_null(asset.price_increment):
        increment = number_of(asset.price_increment, instrument.price_scale, "price_increment")
        if increment <= 0 or instrument.tick % increment:
            there = bytes(asset.price_increment).decode()
            problems.append(f"{name}: tick is {format_fixed(instrument.tick, instrument.price_scale)} here, {there} at Alpaca")
    whole = POW10[instrument.qty_scale]
    if instrument.lot % whole and not asset.fractionable:
        lot = format_fixed(instrument.lot, instrument.qty_scale)
        problems.append(f"{name}: lot is {lot} here, and Alpaca trades it in whole shares only")
    return problems


def clock_problems(clock: ClockBody, settings: AlpacaSettings, sent_ts: int, received_ts: int) -> list[str]:
    """`sent_ts`, `received_ts`: this machine's, ns UTC, around the question. Raises VenueProtocolError."""
    venue_ts = stamp_of(clock.timestamp, "timestamp")
    bound = int(settings.clock_error_s * NS_PER_SECOND)
    off = max(sent_ts - venue_ts, venue_ts - received_ts, 0)
    if off <= bound:
        return []
    return [f"this machine's clock and the venue's differ by {off // NS_PER_MS} ms; at most {bound // NS_PER_MS}: set the clock"]
