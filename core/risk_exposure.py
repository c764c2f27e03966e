"""Worst-case exposure of the account: gross, net, margin and leverage over all instruments, and each strategy's share of it.

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

_BUY = Side.BUY
# What no exposure reaches: an absent limit compares like any other.
_NO_LIMIT = 1 << 200


class Share:
    """One strategy's part of an instrument's position and open orders."""

    __slots__ = ("open_buy_qty", "open_orders", "open_sell_qty", "position", "watch")

    def __init__(self, watch: InstrumentExposure, position: Position) -> None:
        self.watch = watch
        self.position = position
        self.open_buy_qty = 0
        self.open_sell_qty = 0
        self.open_orders = 0

    def worst_qty(self) -> int:
        held = self.position.qty
        return max(held + self.open_buy_qty, self.open_sell_qty - held)

    def capital(self) -> int | None:
        """What the worst case binds, in settlement currency; None while the market is unknown."""
        watch = self.watch
        value = watch.value(self.worst_qty())
        return None if value is None else watch.margin_of(value)


class CurrencyExposure:
    """Sums over the instruments that settle in one currency, in 10^-MONEY_SCALE of it."""

    __slots__ = ("currency", "gross", "gross_max", "long", "margin", "net_max", "short")

    def __init__(self, currency: str, limit: ExposureLimit) -> None:
        self.currency = currency
        self.gross = 0
        self.long = 0  # net long if all that buys fills and nothing that sells does; below 0: net short
        self.short = 0  # net short if all that sells fills and nothing that buys does; below 0: net long
        self.margin = 0
        self.gross_max = _NO_LIMIT if limit.gross_max is None else limit.gross_max
        self.net_max = _NO_LIMIT if limit.net_max is None else limit.net_max


class InstrumentExposure:
    """One instrument's part of the sums. core/order_store.py reports reservations here, the Trader fills and marks."""

    __slots__ = ("_book", "gross", "is_current", "long", "margin", "margin_ppm", "of", "price", "shares", "short", "state")

    def __init__(self, book: ExposureBook, state: MarketState, of: CurrencyExposure, margin_ppm: int) -> None:
        self._book = book
        self.state = state
        self.of = of
        self.margin_ppm = margin_ppm  # PPM, all of it, where none is configured
        self.shares: dict[str, Share] = {}
        self.price: int | None = None  # valued at
        # As last added to the sums.
        self.gross = self.long = self.short = self.margin = 0
        self.is_current = True

    def share_of(self, strategy_id: str) -> Share:
        share = self.shares.get(strategy_id)
        if share is None:
            share = self._book.make_share(strategy_id, self)
            self.shares[strategy_id] = share
        return share

    def count(self, strategy_id: str, change: int) -> None:
        """An order of the strategy was opened (1) or has ended (-1)."""
        self.share_of(strategy_id).open_orders += change

    def reserve(self, strategy_id: str, is_buy: bool, change: int) -> None:
        """The open orders of the strategy may now fill `change` units more."""
        share = self.shares.get(strategy_id) or self.share_of(strategy_id)
        if is_buy:
            share.open_buy_qty += change
        else:
            share.open_sell_qty += change
        if self.is_current:
            self.touch()

    def touch(self) -> None:
        """The sums no longer say what is: position, reservations or price have changed."""
        if self.is_current:
            self.is_current = False
            self._book.stale.append(self)

    def value(self, qty: int) -> int | None:
        """Worth of `qty`, signed like it, at the last mark; None while there is no mark and the quantity is not 0."""
        price = self.price
        return (None if qty else 0) if price is None else self.value_at(price, qty)

    def value_at(self, price: int, qty: int) -> int:
        """As `value`. A negative price turns the sign of a notional; exposure counts its size, in the quantity's direction."""
        instrument = self.state.instrument
        notional = price * qty * instrument.notional_factor or instrument.notional(price, qty)
        return notional if (notional > 0) is (qty > 0) else -notional

    def margin_of(self, value: int) -> int:
        return -(-value * self.margin_ppm // PPM)


PositionOf = Callable[[str, str], Position]


class ExposureBook:
    """All sums, kept lazily: an order or a fill touches its own instrument, and only what was touched is valued again.

    `equity` of the account, in its currency, is written by core/account_risk.py; None while it is unknown.
    """

    __slots__ = (
        "_conversion",
        "_currencies",
        "_gross_max",
        "_has_account",
        "_has_net",
        "_leverage_ppm_max",
        "_net_max",
        "_position_of",
        "_unpriced",
        "equity",
        "has_margin",
        "instruments",
        "shares_of",
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
        self.instruments: dict[str, InstrumentExposure] = {}
        self.has_margin = any(margins_ppm.values())
        for key, state in states.items():
            currency = state.instrument.settlement_currency
            of = self._currencies.get(currency)
            if of is None:
                limit = limits.exposure_by_currency.get(currency, ExposureLimit())
                of = self._currencies[currency] = CurrencyExposure(currency, limit)
            self.instruments[key] = InstrumentExposure(self, state, of, margins_ppm.get(key, 0) or PPM)
        self.shares_of: dict[str, list[Share]] = {}
        self.stale: list[InstrumentExposure] = []
        self._unpriced = 0  # instruments with a worst case but no market
        self.equity: int | None = None
        self._leverage_ppm_max = limits.leverage_ppm_max
        self._gross_max = limits.exposure.gross_max
        self._net_max = limits.exposure.net_max
        self._has_account = self._gross_max is not None or self._leverage_ppm_max is not None or self.has_margin
        by_currency = limits.exposure_by_currency.values()
        self._has_net = self._net_max is not None or any(limit.net_max is not None for limit in by_currency)

    def make_share(self, strategy_id: str, watch: InstrumentExposure) -> Share:
        share = Share(watch, self._position_of(strategy_id, watch.state.instrument.instrument_id))
        self.shares_of.setdefault(strategy_id, []).append(share)
        return share

    def check(self, own: InstrumentExposure, side: Side, added: int, price: int, is_closing: bool) -> Denied | None:
        """Would `added` units more, bought or sold at the market's `price`, pass a limit?

        What cannot make the worst case larger is never held back by gross, leverage or margin: it may be the way out.
        """
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
        if after > worst:
            if self._unpriced:
                return Denied("exposure_unpriced", self._unpriced, 0)
            of = own.of
            value = own.value_at(price, after)
            gross = of.gross - own.gross + value
            if not gross <= of.gross_max:
                return Denied(f"gross_exposure_max.{of.currency}", gross, of.gross_max)
            if self._has_account:
                denied = self._check_account(own, gross, value)
                if denied is not None:
                    return denied
        if self._has_net and not is_closing:
            return self._check_net(own, side, after, price)
        return None

    def _check_account(self, own: InstrumentExposure, gross: int, value: int) -> Denied | None:
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
        gross_max = self._gross_max
        if gross_max is not None and not gross_total <= gross_max:
            return Denied("gross_exposure_max", gross_total, gross_max)
        if self.has_margin or self._leverage_ppm_max is not None:
            equity = self.equity
            if equity is None:
                return Denied("equity_missing", 0, 1)
            if self.has_margin and not margin_total <= equity:
                return Denied("initial_margin_max", margin_total, equity)
            if self._leverage_ppm_max is not None and not gross_total * PPM <= equity * self._leverage_ppm_max:
                return Denied("leverage_max", gross_total, equity * self._leverage_ppm_max // PPM)
        return None

    def _check_net(self, own: InstrumentExposure, side: Side, after: int, price: int) -> Denied | None:
        """`after`: the quantity long (short) if all that buys (sells) fills."""
        if self._unpriced:
            return Denied("exposure_unpriced", self._unpriced, 0)
        of = own.of
        is_buy = side is _BUY
        value = own.value_at(price, after)
        net = of.long - own.long + value if is_buy else of.short - own.short + value
        if not net <= of.net_max:
            return Denied(f"net_exposure_max.{of.currency}", net, of.net_max)
        if self._net_max is None:
            return None
        total = 0
        for other in self._currencies.values():
            amount = net if other is of else (other.long if is_buy else other.short)
            converted = self._conversion.up(other.currency, amount)
            if converted is None:
                if amount:
                    return Denied(f"conversion_rate.{other.currency}", 0, 1)
            else:
                total += converted
        return None if total <= self._net_max else Denied("net_exposure_max", total, self._net_max)

    def capital_of(self, strategy_id: str, own: Share, grown: int, price: int) -> int | None:
        """The strategy's capital bound, in the account's currency, if `own` grew to `grown` units; None where it is unknown."""
        up = self._conversion.up
        total = up(own.watch.of.currency, own.watch.margin_of(own.watch.value_at(price, grown)))
        if total is None:
            return None
        for share in self.shares_of[strategy_id]:
            if share is own:
                continue
            bound = share.capital()
            converted = None if bound is None else up(share.watch.of.currency, bound)
            if converted is None:
                return None
            total += converted
        return total

    def _settle(self, own: InstrumentExposure) -> None:
        """Values what was touched anew; `own` stays for its check to judge, and what has no market yet for its first mark."""
        stale = self.stale
        unpriced = [watch for watch in stale if watch is not own and not self._revalue(watch)]
        self._unpriced = len(unpriced)
        stale[:] = [own, *unpriced] if not own.is_current else unpriced

    def _revalue(self, watch: InstrumentExposure) -> bool:
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
