"""The closed sets of FIX terms used everywhere. The integers of the first groups equal those in native/book_api.h."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

AnyEnum = TypeVar("AnyEnum", bound=type[IntEnum])


def direct_members(enumeration: AnyEnum) -> AnyEnum:
    """Store the members as plain class attributes, as Python 3.12 does: on 3.11 `Side.BUY` is a descriptor's call of 75 ns."""
    for name, member in enumeration.__members__.items():
        type.__setattr__(enumeration, name, member)
    return enumeration


@direct_members
class Side(IntEnum):
    """FIX 54."""

    BUY = 0
    SELL = 1


SIDES = (Side.BUY, Side.SELL)


@direct_members
class OrderType(IntEnum):
    """FIX 40."""

    LIMIT = 0
    MARKET = 1
    STOP = 2
    STOP_LIMIT = 3


@direct_members
class TimeInForce(IntEnum):
    """FIX 59."""

    GTC = 0
    IOC = 1
    FOK = 2
    DAY = 3
    GTD = 4
    OPG = 5


@direct_members
class SelfTradePrevention(IntEnum):
    NONE = 0
    CANCEL_NEWEST = 1
    CANCEL_OLDEST = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


@direct_members
class LiquiditySide(IntEnum):
    """FIX 851."""

    MAKER = 0
    TAKER = 1


LIQUIDITY_SIDES = (LiquiditySide.MAKER, LiquiditySide.TAKER)


@direct_members
class AggressorSide(IntEnum):
    """FIX 2446."""

    BUY = 0
    SELL = 1
    NONE = 2


AGGRESSOR_SIDES = (AggressorSide.BUY, AggressorSide.SELL, AggressorSide.NONE)


@direct_members
class MarketStatus(IntEnum):
    TRADING = 0
    HALTED = 1
    AUCTION = 2
    CLOSED = 3


@direct_members
class Reason(IntEnum):
    """Why an order was refused or left. Up to SIMULATED_REJECT as the matching engine states it (BOOK_REASON_*), then our own."""

    NONE = 0
    REQUESTED = 1
    IOC = 2
    FOK = 3
    POST_ONLY = 4
    SELF_TRADE = 5
    REDUCE_ONLY = 6
    UNKNOWN_ORDER = 7
    DUPLICATE_ID = 8
    BAD_PRICE = 9
    BAD_TICK = 10
    BAD_QTY = 11
    BAD_FIELD = 12
    NO_LIQUIDITY = 13
    MASS_CANCEL = 14
    CLOSED = 15
    FULL = 16
    NO_CHANGE = 17
    BAD_TRIGGER = 18
    SIMULATED_REJECT = 19
    NOT_SENT = 20  # there was no connection: it has certainly not left
    KILLED = 21  # the kill latch is set: it has not left
    LATE = 22  # it was decided too long ago (daemon.order_age_max): it has not left


@direct_members
class OrderStatus(IntEnum):
    INITIALIZED = 0
    DENIED = 1
    SUBMITTED = 2
    ACCEPTED = 3
    REJECTED = 4
    PARTIALLY_FILLED = 5
    FILLED = 6
    TRIGGERED = 7
    PENDING_REPLACE = 8
    PENDING_CANCEL = 9
    CANCELED = 10
    EXPIRED = 11
    UNKNOWN = 12


@direct_members
class TradingState(IntEnum):
    """ACTIVE: all; REDUCING: only what shrinks a position; HALTED: cancels only."""

    ACTIVE = 0
    REDUCING = 1
    HALTED = 2


@direct_members
class CashKind(IntEnum):
    """Why a venue moved money that no fill explains."""

    FUNDING = 0  # of a perpetual
    INTEREST = 1  # financing, borrowed money or stock, rollover
    DIVIDEND = 2
    COMMISSION = 3  # found out or corrected after the fill; regulatory fees
    SETTLEMENT = 4  # an option or a future settled, or marked to the market in cash
    TRANSFER = 5  # deposit, withdrawal, between accounts of the same owner: neither profit nor loss
    CORRECTION = 6
    OTHER = 7


@direct_members
class InstrumentClass(IntEnum):
    """How a fill moves cash: SPOT and EQUITY pay the notional, the others settle profit and loss."""

    SPOT = 0
    EQUITY = 1
    PERPETUAL = 2
    FUTURE = 3
    OPTION = 4
    FX = 5
    CFD = 6
