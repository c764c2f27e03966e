"""What Binance says of money that moved without a fill, as core events: the futures' income history, spot's balanceUpdate. Pure.

The futures' stream says that a balance has changed, and why, but neither for which symbol nor under which name: it is the reason
to ask the history, and nothing is booked from it. Spot's stream is all that there is of spot, and gives no name: it is made of
what the event has.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.binance.numbers import money_of, stamp_of
from adapters.binance.rest_bodies import IncomeBody
from adapters.binance.user_stream import AccountUpdate, BalanceUpdate
from core.enums import CashKind
from core.events import CashMoved
from core.instruments import Instrument

# Each execution brings these two, and bears them itself; without a trade they are corrections.
OF_FILLS = frozenset({"COMMISSION", "REALIZED_PNL"})
OTHERS = CashKind.OTHER  # a kind that is new still moved money
KINDS = {
    "FUNDING_FEE": CashKind.FUNDING,
    "COMMISSION": CashKind.COMMISSION,
    "COMMISSION_REBATE": CashKind.COMMISSION,
    "API_REBATE": CashKind.COMMISSION,
    "REFERRAL_KICKBACK": CashKind.COMMISSION,
    "FEE_RETURN": CashKind.COMMISSION,
    "REALIZED_PNL": CashKind.CORRECTION,
    "DELIVERED_SETTELMENT": CashKind.SETTLEMENT,
    "OPTIONS_SETTLE_PROFIT": CashKind.SETTLEMENT,
    "BFUSD_REWARD": CashKind.INTEREST,
    "TRANSFER": CashKind.TRANSFER,
    "INTERNAL_TRANSFER": CashKind.TRANSFER,
    "CROSS_COLLATERAL_TRANSFER": CashKind.TRANSFER,
    "STRATEGY_UMFUTURES_TRANSFER": CashKind.TRANSFER,
    "COIN_SWAP_DEPOSIT": CashKind.TRANSFER,
    "COIN_SWAP_WITHDRAW": CashKind.TRANSFER,
    "AUTO_EXCHANGE": CashKind.TRANSFER,  # of one currency for another: two rows
}
# ACCOUNT_UPDATE after these moves no money, or only what executions bear.
QUIET_REASONS = frozenset({"ORDER", "MARGIN_TYPE_CHANGE"})


def is_of_a_fill(row: IncomeBody) -> bool:
    return row.income_type in OF_FILLS and row.trade_id not in ("", "0", 0)


def income_moved(venue: str, row: IncomeBody, instruments: Mapping[str, Instrument], ts: int) -> CashMoved:
    """`instruments` by symbol; `ts` is ts_init, ns UTC. Raises VenueProtocolError for numbers that are none."""
    instrument = instruments.get(row.symbol)
    return CashMoved(
        stamp_of(row.time),
        ts,
        venue,
        row.name,
        KINDS.get(row.income_type, OTHERS),
        row.asset,
        money_of(row.income, "income"),
        "" if instrument is None else instrument.instrument_id,
    )


def balance_moved(venue: str, update: BalanceUpdate, ts: int) -> CashMoved:
    """Spot: a deposit, a withdrawal, a transfer between accounts. Raises VenueProtocolError for numbers that are none."""
    name = f"balance-{update.T}-{update.a}-{update.d}"
    return CashMoved(stamp_of(update.T), ts, venue, name, CashKind.TRANSFER, update.a, money_of(update.d, "d"))


def calls_for_history(update: AccountUpdate) -> bool:
    """Futures: whether what the stream says is in the income history, or soon will be, and in no execution."""
    return update.a.m not in QUIET_REASONS
