"""What a simulated Alpaca is like: its accounts, listings, fees, limits and delays."""

from __future__ import annotations

import msgspec

from core.enums import InstrumentClass
from core.instruments import MONEY_SCALE, Instrument
from core.units import NS_PER_MS, POW10

USD = "USD"


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`cash` in whole dollars; `multiplier` of its buying power. `is_flagged`: a pattern day trader's, before the rule ended.

    `second_key`, `second_secret`: another pair with the same rights, and limits of its own; "": there is none.
    """

    name: str
    key: str
    secret: str
    second_key: str = ""
    second_secret: str = ""
    cash: int = 1_000_000
    multiplier: int = 4
    number: str = "PA3SIMULATED"
    may_short: bool = True
    is_blocked: bool = False
    is_flagged: bool | None = None


class Fee(msgspec.Struct, frozen=True):
    """From a New York date on, YYYY-MM-DD. SEC: 10^-8 of the value. TAF: 10^-9 USD a share, at most `most` (10^-8 USD)."""

    since: str
    rate: int
    most: int = 0


# Section 31: 27.80 USD a million, then nothing, then 20.60.
SEC_FEES = (Fee("2024-05-22", 2_780), Fee("2025-05-14", 0), Fee("2026-04-04", 2_060))
TAF_FEES = (Fee("2024-01-01", 166_000, 830_000_000), Fee("2026-01-01", 195_000, 979_000_000))


class AlpacaSimSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ns. `is_always_open`: every day has one session of 24 hours but for its last minute, so that a rehearsal need not
    wait for New York. `sends_binary`: trade_updates come in binary frames, as at the paper endpoint."""

    accounts: tuple[AccountSettings, ...] = ()
    listings: tuple[Instrument, ...] = ()
    fair: dict[str, int] = {}  # symbol: where the crowd begins, points
    is_always_open: bool = True
    sends_binary: bool = True
    requests_per_min: int = 200
    data_connections_max: int = 1
    answer_ns: int = 2 * NS_PER_MS
    stream_ns: int = 1 * NS_PER_MS  # behind what it tells of
    cancel_ns: int = 1 * NS_PER_MS  # between a cancel's 204 and the cancel
    late_answer_ns: int = 60_000 * NS_PER_MS
    activities_ns: int = 0  # so long after it an execution is among the activities
    money_late_ns: int = 0  # so long after it money that moved is among them
    cancel_lost_ns: int = 2_000 * NS_PER_MS  # so long a cancel that is never done is pending
    luld_percent: int = 5
    luld_limit_state_ns: int = 15_000 * NS_PER_MS
    luld_pause_ns: int = 300_000 * NS_PER_MS
    sec_fees: tuple[Fee, ...] = SEC_FEES
    taf_fees: tuple[Fee, ...] = TAF_FEES
    fee_grain: int = POW10[MONEY_SCALE - 2]
    crowd_step_ns: int = 250 * NS_PER_MS


def listing_rules(symbol: str, venue: str = "ALPACA") -> Instrument:
    """A US stock as Alpaca lists it: whole cents, whole shares."""
    return Instrument(
        instrument_id=f"{symbol}.{venue}",
        instrument_class=InstrumentClass.EQUITY,
        base_currency=symbol,
        quote_currency=USD,
        settlement_currency=USD,
        price_scale=4,
        qty_scale=0,
        tick=100,
        lot=1,
        qty_max=1_000_000,
        price_max=1_000_000_000,
    )


DEFAULT = AlpacaSimSettings(
    accounts=(
        AccountSettings(
            name="main",
            key="PKSIMULATED00000MAIN",
            secret="simulated-secret-of-main",
            second_key="PKSIMULATED0GUARDIAN",
            second_secret="simulated-secret-of-guardian",
        ),
        AccountSettings(name="second", key="PKSIMULATED00SECOND", secret="simulated-secret-of-second"),
    ),
    listings=(listing_rules("AAPL"), listing_rules("MSFT"), listing_rules("SPY")),
    fair={"AAPL": 2_300_000, "MSFT": 4_100_000, "SPY": 5_900_000},
)
