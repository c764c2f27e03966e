"""Worst-case exposure of the account: gross, net, margin and leverage over all instruments, and each strategy's capital.

Worst case: everything open, UNKNOWN included, is counted as filled. Per instrument that is the larger of both directions; what
settles in one currency is summed there, and converted into the account's currency for the limits over everything. Quantities are
exact at every check; prices are the market's now for the instrument that is ordered, and those of the last valuation for others.
"""

from __future__ import annotations

from collections.abc import Callable

from core.enums import Side
from core.market_state import MarketState
from core.portfolio import Position
from core.risk_conversion import ONE, Conversion
from core.risk_limits import PPM, AccountLimits, Denied, ExposureLimit
from core.risk_watch import NO_LIMIT, Budget, CurrencyExposure, InstrumentWatch, Share

_BUY = Side.BUY

PositionOf = Callable[[str, str], Position]


class ExposureBook:
    """All sums, kept lazily: an order or a fill touches its own instrument, and only what was touched is valued again.

    `equity` of the account, in its currency, is written by core/account_risk.py; None while it is unknown.
    """

    __slots__ = (
        "_budgets",
        "_conversion",
        "_currencies",
        "_gross_max",
        "_has_account",
        "_has_net",
        "_is_one_currency",
        "_leverage_ppm_max",
        "_needs_equity",
        "_net_max",
        "_position_of",
        "_unpriced",
        "equity",
        "has_margin",
        "instruments",
        "is_needed",
        "stale",
    )

    def __init__(
        self,
        states: dict[str, MarketState],
        limits: AccountLimits,
        margins_ppm: dict[str, int],
        conversion: Conversion,
        position_of: PositionOf,
    ) -> None:
        self._conversion = conversion
        self._position_of = position_of
        self._currencies: dict[str, CurrencyExposure] = {}
        self.instruments: dict[str, InstrumentWatch] = {}
        self.has_margin = any(margins_ppm.values())
        for key, state in states.items():
            currency = state.instrument.settlement_currency
            of = self._currencies.get(currency)
            if of is None:
                limit = limits.exposure_by_currency.get(currency, ExposureLimit())
                of = self._currencies[currency] = CurrencyExposure(currency, limit)
            self.instruments[key] = InstrumentWatch(self, state, of, margins_ppm.get(key, 0) or PPM)
        self._budgets = {strategy_id: Budget(budget) for strategy_id, budget in limits.strategies.items()}
        self.stale: list[InstrumentWatch] = []
        self._unpriced = 0  # instruments with a worst case but no market
        self.equity: int | None = None
        self._leverage_ppm_max = limits.leverage_ppm_max
        self._gross_max = NO_LIMIT if limits.exposure.gross_max is None else limits.exposure.gross_max
        self._net_max = limits.exposure.net_max
        self._needs_equity = self._leverage_ppm_max is not None or self.has_margin
        self._has_account = self._gross_max != NO_LIMIT or self._needs_equity
        # Most accounts have one currency: sums need no conversion then.
        self._is_one_currency = list(self._currencies) == [conversion.currency]
        by_currency = limits.exposure_by_currency.values()
        self.is_needed = self._has_account or any(limit.is_set for limit in (limits.exposure, *by_currency))
        self._has_net = self._net_max is not None or any(limit.net_max is not None for limit in by_currency)

    def make_share(self, strategy_id: str, watch: InstrumentWatch) -> Share:
        budget = self._budgets.get(strategy_id)
        share = Share(watch, self._position_of(strategy_id, watch.state.instrument.instrument_id), budget)
        if budget is not None:
            budget.shares.append(share)
        return share

    def check(self, own: InstrumentWatch, side: Side, added: int, price: int, is_closing: bool) -> Denied | None:
        """Would `added` units more, bought or sold at the market's `price`, pass a limit?

        What cannot make the worst case larger is never held back by gross, leverage or margin: it may be the way out.
        """
        if own.price is None:
            own.price = price
        stale = self.stale
        if stale and (len(stale) > 1 or stale[0] is not own):
            self._settle(own)
        state = own.state
        held = state.position.qty
        long = held + state.open_buy_qty
        short = state.open_sell_qty - held
        worst = long if long > short else short
        after = (long if side is _BUY else short) + added
        grows = after > worst
        has_net = self._has_net and not is_closing
        if not (added and (grows or has_net)):
            return None
        if self._unpriced:
            return Denied("exposure_unpriced", self._unpriced, 0)
        of = own.of
        # value_at in place for the common case: a linear contract at a positive price.
        value = price * after * own.factor
        if value <= 0:
            value = own.value_at(price, after)
        if grows:
            gross = of.gross - own.gross + value
            if not gross <= of.gross_max:
                return Denied(f"gross_exposure_max.{of.currency}", gross, of.gross_max)
            if self._has_account:
                if self._is_one_currency:
                    margin = of.margin - own.margin + own.margin_of(value) if self.has_margin else 0
                    denied = self._judge(gross, margin)
                else:
                    denied = self._check_account(own, gross, value)
                if denied is not None:
                    return denied
        if has_net:
            net = of.long - own.long + value if side is _BUY else of.short - own.short + value
            if not net <= of.net_max:
                return Denied(f"net_exposure_max.{of.currency}", net, of.net_max)
            if self._net_max is not None:
                return self._check_net(of, side, net, self._net_max)
        return None

    def _check_account(self, own: InstrumentWatch, gross: int, value: int) -> Denied | None:
        """Gross, margin and leverage over all currencies; `gross` and `value` are those of `own` and its currency afterwards."""
        rates = self._conversion.rates
        gross_total = margin_total = 0
        for of in self._currencies.values():
            margin = of.margin
            if of is own.of:
                sum_of = gross
                margin += own.margin_of(value) - own.margin
            else:
                sum_of = of.gross
            rate = rates.get(of.currency)
            if rate is None:
                if sum_of:
                    return Denied(f"conversion_rate.{of.currency}", 0, 1)
            elif rate == ONE:
                gross_total += sum_of
                margin_total += margin
            else:
                gross_total -= -sum_of * rate // ONE
                margin_total -= -margin * rate // ONE
        return self._judge(gross_total, margin_total)

    def _judge(self, gross: int, margin: int) -> Denied | None:
        """The account's sums, in its currency."""
        if not gross <= self._gross_max:
            return Denied("gross_exposure_max", gross, self._gross_max)
        if self._needs_equity:
            equity = self.equity
            if equity is None:
                return Denied("equity_missing", 0, 1)
            if self.has_margin and not margin <= equity:
                return Denied("initial_margin_max", margin, equity)
            leverage_ppm_max = self._leverage_ppm_max
            if leverage_ppm_max is not None and not gross * PPM <= equity * leverage_ppm_max:
                return Denied("leverage_max", gross, equity * leverage_ppm_max // PPM)
        return None

    def _check_net(self, of: CurrencyExposure, side: Side, net: int, net_max: int) -> Denied | None:
        """Net exposure over all currencies; `net` is that of `of` afterwards, counted in the order's direction."""
        if not self._is_one_currency:
            total = 0
            for other in self._currencies.values():
                amount = net if other is of else (other.long if side is _BUY else other.short)
                converted = self._conversion.up(other.currency, amount)
                if converted is None:
                    if amount:
                        return Denied(f"conversion_rate.{other.currency}", 0, 1)
                else:
                    total += converted
            net = total
        return None if net <= net_max else Denied("net_exposure_max", net, net_max)

    def capital_of(self, budget: Budget, own: Share, grown: int, price: int) -> int | None:
        """The strategy's capital bound, in the account's currency, if `own` grew to `grown` units; None where it is unknown."""
        watch = own.watch
        total = price * grown * watch.factor
        if total <= 0:
            total = watch.value_at(price, grown)
        if self.has_margin:
            total = watch.margin_of(total)
        if not self._is_one_currency:
            converted = self._conversion.up(watch.of.currency, total)
            if converted is None:
                return None
            total = converted
        if len(budget.shares) == 1:
            return total
        for share in budget.shares:
            if share is own:
                continue
            bound = share.capital()
            converted = None if bound is None else self._conversion.up(share.watch.of.currency, bound)
            if converted is None:
                return None
            total += converted
        return total

    def _settle(self, own: InstrumentWatch) -> None:
        """Values what was touched anew; `own` stays for its check to judge, and what has no market yet for its first mark."""
        stale = self.stale
        unpriced = [watch for watch in stale if watch is not own and not self._revalue(watch)]
        self._unpriced = len(unpriced)
        stale[:] = [own, *unpriced] if not own.is_current else unpriced

    def _revalue(self, watch: InstrumentWatch) -> bool:
        state = watch.state
        held = state.position.qty
        long, short = watch.value(held + state.open_buy_qty), watch.value(state.open_sell_qty - held)
        if long is None or short is None:
            return False
        gross = max(long, short)
        margin = watch.margin_of(gross)
        of = watch.of
        of.long += long - watch.long
        of.short += short - watch.short
        of.gross += gross - watch.gross
        of.margin += margin - watch.margin
        watch.long, watch.short, watch.gross, watch.margin = long, short, gross, margin
        watch.is_current = True
        return True
