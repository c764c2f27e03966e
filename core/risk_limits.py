"""The limits of the risk gate as frozen, checked structs, and Denied: what a refusal says. docs/RISK.md lists them all.

Units: quantities in units of the instrument, money in 10^-MONEY_SCALE of the currency named, shares in millionths (ppm), times in
ns. None switches an optional limit off; a limit that is there is always a whole number, so that no comparison can be with a NaN.
"""

from __future__ import annotations

from enum import IntEnum
from typing import final

import msgspec

from core.errors import ConfigError
from core.units import NS_PER_DAY, NS_PER_MS, NS_PER_SECOND

PPM = 1_000_000
RATE_SCALE = 12  # a conversion rate of 1 is 10^12
EVENTS_MAX = 1_000_000  # of one sliding window: its memory is taken at the start


@final
class Denied(msgspec.Struct, frozen=True, gc=False):
    """A refusal: which limit, the value that broke it, and the bound, in that limit's units."""

    limit: str
    value: int
    bound: int


def require_whole(holder: msgspec.Struct, *names: str, least: int = 0, most: int | None = None) -> None:
    """Raises ConfigError unless each named field is None or an int from `least` to `most`."""
    for name in names:
        value = getattr(holder, name)
        # bool is an int to Python, and a NaN that got this far would make every comparison False.
        if value is not None and (type(value) is not int or value < least or (most is not None and value > most)):
            span = f"of {least} or more" if most is None else f"from {least} to {most}"
            raise ConfigError(f"risk limit {name} must be a whole number {span}, not {value!r}")


class InstrumentLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits for one instrument; quantities in its units, money in 10^-MONEY_SCALE of the settlement currency."""

    order_qty_max: int
    order_notional_max: int
    position_qty_max: int
    price_collar_ppm: int  # how far past the opposite best a buy may bid (a sell may offer), millionths
    market_age_ns_max: int = 0  # 0: a quote of any age will do
    open_orders_max: int = 0  # 0: any number
    initial_margin_ppm: int = 0  # of the notional; 0: not given
    is_locked_denied: bool = False  # bid == ask: a market to trade on, or one to wait for

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if name == "is_locked_denied":
                if type(self.is_locked_denied) is not bool:
                    raise ConfigError(f"risk limit is_locked_denied must be true or false, not {self.is_locked_denied!r}")
            elif getattr(self, name) is None:
                raise ConfigError(f"risk limit {name} must be a whole number of 0 or more, not None")
            else:
                require_whole(self, name)


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `orders_max` new or replaced orders in any window of `window_ns`."""

    orders_max: int
    window_ns: int = NS_PER_SECOND

    def __post_init__(self) -> None:
        if type(self.orders_max) is not int or self.orders_max < 1 or type(self.window_ns) is not int or self.window_ns < 1:
            raise ConfigError(
                f"order rate needs a whole number of orders and of ns above 0, not {self.orders_max!r} per {self.window_ns!r}"
            )


class WindowLimit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `events_max` of something in any window of `window_ns`."""

    events_max: int
    window_ns: int

    def __post_init__(self) -> None:
        for name, most in (("events_max", EVENTS_MAX), ("window_ns", None)):
            if getattr(self, name) is None:
                raise ConfigError(f"risk limit {name} must be given")
            require_whole(self, name, least=1, most=most)


class MessageLimit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `messages_max` messages to the venues in any `window_ns`, the last `cancel_reserve` of them for cancels alone.

    Cancels are counted and never denied: they only reduce risk.
    """

    messages_max: int
    cancel_reserve: int
    window_ns: int = NS_PER_SECOND

    def __post_init__(self) -> None:
        WindowLimit(events_max=self.messages_max, window_ns=self.window_ns)
        if type(self.cancel_reserve) is not int or not 0 <= self.cancel_reserve < self.messages_max:
            raise ConfigError(
                f"risk limit cancel_reserve must be a whole number from 0 to below messages_max, not {self.cancel_reserve!r}"
            )


class SelfTrade(IntEnum):
    """Whose resting orders a new order must not be able to meet."""

    ALLOWED = 0  # the venue's own prevention is relied on
    OTHER_STRATEGIES = 1
    ANY = 2  # the strategy's own orders too


class ExecutionLimit(msgspec.Struct, frozen=True, kw_only=True):
    """Repeated-execution throttle: fills of one strategy in one instrument on one side.

    From `executions_max` fills within `window_ns` on, orders of that side are denied; where `is_halting`, one more fill halts
    the strategy until it is resumed (the re-authorisation that ESMA's RTS 6, article 15, asks for).
    """

    executions_max: int
    window_ns: int
    is_halting: bool = False

    def __post_init__(self) -> None:
        WindowLimit(events_max=self.executions_max, window_ns=self.window_ns)
        if type(self.is_halting) is not bool:
            raise ConfigError(f"risk limit is_halting must be true or false, not {self.is_halting!r}")


class ExposureLimit(msgspec.Struct, frozen=True, kw_only=True):
    """Worst-case exposure in one currency: everything open counted as filled, at the market.

    gross: the sum over instruments of the larger of both directions; net: all that is bought less all that is sold, either way.
    """

    gross_max: int | None = None
    net_max: int | None = None

    def __post_init__(self) -> None:
        require_whole(self, "gross_max", "net_max")

    @property
    def is_set(self) -> bool:
        return self.gross_max is not None or self.net_max is not None


class LossLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Losses that trip, of the account or of one strategy, in the account's currency.

    Beyond a limit everything is HALTED; beyond `reduce_at_ppm` of it only what shrinks a position may leave.
    """

    daily_loss_max: int | None = None  # equity at the day's start less equity now
    weekly_loss_max: int | None = None
    drawdown_ppm_max: int | None = None  # of the highest equity since the run began
    reduce_at_ppm: int | None = None
    day_start_ns: int = 0  # after midnight UTC
    week_start_day: int = 0  # 0: Monday

    def __post_init__(self) -> None:
        require_whole(self, "daily_loss_max", "weekly_loss_max")
        require_whole(self, "drawdown_ppm_max", most=PPM)
        require_whole(self, "reduce_at_ppm", least=1, most=PPM)
        for name, most in (("day_start_ns", NS_PER_DAY - 1), ("week_start_day", 6)):
            if getattr(self, name) is None:
                raise ConfigError(f"risk limit {name} must be a whole number from 0 to {most}, not None")
            require_whole(self, name, most=most)

    @property
    def is_set(self) -> bool:
        return self.daily_loss_max is not None or self.weekly_loss_max is not None or self.drawdown_ppm_max is not None


class StrategyBudget(msgspec.Struct, frozen=True, kw_only=True):
    """What one strategy may use of the account. Quantities by instrument, money in the account's currency."""

    capital_max: int | None = None  # worst-case notional times the initial margin rate, where there is one
    position_qty_max: dict[str, int] = {}
    open_orders_max: int | None = None
    orders: WindowLimit | None = None
    rejects: WindowLimit | None = None
    loss: LossLimits = LossLimits()

    def __post_init__(self) -> None:
        require_whole(self, "capital_max", "open_orders_max")
        for instrument_id, value in self.position_qty_max.items():
            if type(value) is not int or value < 0:
                raise ConfigError(f"risk limit position_qty_max of {instrument_id} must be a whole number, not {value!r}")
        if self.loss.drawdown_ppm_max is not None and not self.capital_max:
            raise ConfigError("risk limit drawdown_ppm_max of a strategy is a share of its capital: capital_max is missing")


class AccountLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is limited over all instruments of the account.

    `conversion` gives the worth of one unit of a currency in `currency`: a rate at RATE_SCALE, or the id of an instrument whose
    market is that rate. Whatever cannot be converted is unknown, and what is unknown is denied.
    """

    currency: str = ""
    conversion: dict[str, int | str] = {}
    exposure: ExposureLimit = ExposureLimit()  # in `currency`, over everything
    exposure_by_currency: dict[str, ExposureLimit] = {}  # of what settles in that currency
    leverage_ppm_max: int | None = None  # gross exposure over equity
    messages: MessageLimit | None = None
    self_trade: SelfTrade = SelfTrade.ALLOWED
    executions: ExecutionLimit | None = None
    rejects: WindowLimit | None = None  # a storm of refusals halts
    loss: LossLimits = LossLimits()
    strategies: dict[str, StrategyBudget] = {}
    mark_interval_ns: int = 100 * NS_PER_MS  # of event time, between two valuations at quotes of one instrument

    def __post_init__(self) -> None:
        require_whole(self, "leverage_ppm_max")
        if self.mark_interval_ns is None:
            raise ConfigError("risk limit mark_interval_ns must be given")
        require_whole(self, "mark_interval_ns")
        for currency, rate in self.conversion.items():
            if type(rate) is not str and (type(rate) is not int or rate < 1):
                raise ConfigError(
                    f"the conversion rate of {currency} must be a whole number above 0 at scale {RATE_SCALE}, not {rate!r}"
                )
        if self.needs_currency and not self.currency:
            raise ConfigError("risk limits over several currencies need the account's currency")

    @property
    def is_set(self) -> bool:
        """Whether there is anything to check at all."""
        given = (self.leverage_ppm_max, self.messages, self.executions, self.rejects)
        exposures = (self.exposure, *self.exposure_by_currency.values())
        return (
            any(limit is not None for limit in given)
            or any(limit.is_set for limit in exposures)
            or self.self_trade is not SelfTrade.ALLOWED
            or self.loss.is_set
            or bool(self.strategies)
        )

    @property
    def needs_currency(self) -> bool:
        return (
            self.exposure.is_set
            or self.needs_equity
            or any(budget.capital_max is not None for budget in self.strategies.values())
        )

    @property
    def needs_equity(self) -> bool:
        losses = (self.loss, *(budget.loss for budget in self.strategies.values()))
        return self.leverage_ppm_max is not None or any(loss.is_set for loss in losses)
