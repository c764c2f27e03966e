"""One account at one exchange, as ccxt's unified calls show it: rules, orders, executions, positions; typed, whole or not at all.

Used by the adapter and by the guardian's switch, each with an exchange, a transport and a budget of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from adapters.ccxt_any.calls import ANSWER_BYTES_MAX, MARKETS_BYTES_MAX, Calls, Result
from adapters.ccxt_any.reports import (
    OPEN,
    OrderReport,
    TradeReport,
    Units,
    balance_qty,
    balance_total,
    order_report,
    position_qty,
    trade_report,
)
from adapters.ccxt_any.rules import units_of
from adapters.ccxt_any.settings import CcxtSettings
from adapters.http.request import Intent, Outcome
from core.enums import InstrumentClass
from core.errors import ConfigError, RefusedError, TransportError, VenueProtocolError
from core.instruments import Instrument
from core.units import NS_PER_DAY, NS_PER_MS
from core.venue_adapter import VenueBalance

PAGES_MAX = 100
# Each of them tells of an order that has ended.
ENDED_BY = ("fetchOrder", "fetchOrders", "fetchClosedOrders", "fetchCanceledAndClosedOrders")
BAD_LOGIN = frozenset({"AuthenticationError"})  # and its subclasses: no such right, suspended
Rows = Sequence[Mapping[str, Any]]


class Account:
    """`symbols`: ccxt's symbol of each instrument_id. `venue_now`: the exchange's clock, as far as it is known, ns UTC: what it
    lists bears its own stamps. `load` comes first."""

    def __init__(
        self,
        venue: str,
        exchange: Any,
        calls: Calls,
        settings: CcxtSettings,
        instruments: Mapping[str, Instrument],
        symbols: Mapping[str, str],
        venue_now: Callable[[], int],
    ) -> None:
        self.venue = venue
        self.exchange = exchange
        self.calls = calls
        self.units: dict[str, Units] = {}
        self.venue_now = venue_now
        self.balances_refused = ""  # why the exchange does not say what the account has
        self._settings = settings
        self._instruments = dict(instruments)
        self._symbols = dict(symbols)

    # The market.

    async def load(self) -> list[str]:
        """The exchange's markets, and our instruments held against them. Returns what a person should hear of.

        Raises ConfigError where they differ, TransportError where they cannot be had.
        """
        exchange = self.exchange
        # Without the key: with one, ccxt also asks for what concerns this account alone, and nothing of it is used.
        key, exchange.apiKey = exchange.apiKey, ""
        try:
            markets = await self.ask("markets", exchange.fetch_markets, bytes_max=MARKETS_BYTES_MAX, deadline_s=60.0)
        finally:
            exchange.apiKey = key
        try:
            exchange.set_markets(markets)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise VenueProtocolError(f"{self.venue}: markets that ccxt cannot read: {type(error).__name__}: {error}") from error
        troubles = []
        for key, instrument in self._instruments.items():
            market = exchange.markets.get(self._symbols[key])
            if market is None:
                raise ConfigError(f"{key}: {exchange.id} has no {self._symbols[key]}: give its name as ccxt writes it in symbols")
            self.units[key] = units_of(instrument, market, exchange.precisionMode)
            if market.get("active") is False:
                troubles.append(f"{key} is not active at the exchange")
        return troubles

    def has(self, method: str) -> bool:
        """Whether the exchange itself has it: what ccxt puts together from other calls does not count."""
        return self.exchange.has.get(method) is True

    def require_calls(self) -> None:
        """Raises ConfigError where ccxt has no way to see what became of an order at this exchange: no order is sent there."""
        missing = [name for name in ("createOrder", "cancelOrder", "fetchOpenOrders", "fetchMyTrades") if not self.has(name)]
        if not any(self.has(name) for name in ENDED_BY):
            missing.append(" or ".join(ENDED_BY))
        if missing:
            raise ConfigError(
                f"settings: exchange: ccxt has no {', '.join(missing)} for {self.exchange.id}: only watching is possible"
            )

    def feature(self, symbol: str, method: str, name: str) -> Any:
        """What ccxt says that a call can do; None where it does not say."""
        try:
            return self.exchange.feature_value(symbol, method, name)
        except (AttributeError, LookupError, TypeError):
            return None

    async def ask(
        self, name: str, make: Callable[[], Awaitable[Any]], *, bytes_max: int = ANSWER_BYTES_MAX, deadline_s: float = 0.0
    ) -> Any:
        """A question's answer. Raises RefusedError where the login is not taken, else TransportError."""
        result: Result[Any] = await self.calls.run(Intent.QUERY, name, make, deadline_s=deadline_s, bytes_max=bytes_max)
        if result.outcome is Outcome.ACCEPTED:
            return result.value
        if BAD_LOGIN.intersection(result.names):
            raise RefusedError(f"{self.venue} does not take the key: {result.reason}")
        raise TransportError(f"{self.venue}: {result.reason}")

    async def ask_rows(self, name: str, make: Callable[[], Awaitable[Any]]) -> Rows:
        """As `ask`, for a list of ccxt's dictionaries."""
        rows = await self.ask(name, make)
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise VenueProtocolError(f"{self.venue}: {name}: no list of them: {str(rows)[:200]}")
        return rows

    # The account.

    async def open_orders(self) -> list[OrderReport]:
        """Of the instruments, all of them: a list that may be cut is refused. Raises TransportError or VenueProtocolError.

        Symbol by symbol: asked for all at once, ccxt lists another market's at some exchanges (of Binance always spot's).
        """
        found: list[OrderReport] = []
        for units in self.units.values():
            rows = await self.ask_rows("orders.open", _bound(self.exchange.fetch_open_orders, units.symbol))
            found += self._listed(rows, units.symbol)
        return found

    def _listed(self, rows: Rows, symbol: str) -> list[OrderReport]:
        limit = self.feature(symbol, "fetchOpenOrders", "limit")
        if isinstance(limit, int) and len(rows) >= limit:
            raise TransportError(f"{self.venue}: {len(rows)} open orders are as many as it lists: there may be more")
        return [report for report in self._orders(rows) if report.status == OPEN]

    def _orders(self, rows: Rows) -> list[OrderReport]:
        """Those of our instruments."""
        by_symbol = {units.symbol: units for units in self.units.values()}
        return [order_report(row, by_symbol[row["symbol"]]) for row in rows if row.get("symbol") in by_symbol]

    async def order(self, instrument_id: str, venue_id: str, client_text: str, sent_ns: int) -> OrderReport | None:
        """One order, ended or not; None where the exchange does not have it. `venue_id` "": by our id. `sent_ns` UTC."""
        units = self.units[instrument_id]
        if venue_id and self.has("fetchOrder"):
            result: Result[Any] = await self.calls.run(
                Intent.QUERY, "order", _bound(self.exchange.fetch_order, venue_id, units.symbol)
            )
            if result.outcome is Outcome.ACCEPTED:
                report = order_report(_with_symbol(result.value, units), units)
                if report.venue_id != venue_id:
                    raise VenueProtocolError(f"asked about order {venue_id}, answered with {report.venue_id}")
                return report
            if result.outcome is not Outcome.REJECTED_PROVEN or "OrderNotFound" not in result.names:
                raise TransportError(f"{self.venue}: {result.reason}")
            return None
        for report in await self._ended(units, sent_ns):
            if venue_id == report.venue_id if venue_id else client_text == report.client_text:
                return report
        return None

    async def _ended(self, units: Units, since_ns: int) -> list[OrderReport]:
        """Orders that have ended since, by whatever list the exchange has of them."""
        exchange, since_ms = self.exchange, max(since_ns // NS_PER_MS - 60_000, 0)
        if self.has("fetchOrders"):
            names = ["fetch_orders"]
        else:
            pairs = (("fetchClosedOrders", "fetch_closed_orders"), ("fetchCanceledOrders", "fetch_canceled_orders"))
            names = [name for method, name in pairs if self.has(method)]
            if not names and self.has("fetchCanceledAndClosedOrders"):
                names = ["fetch_canceled_and_closed_orders"]
        if not names:
            raise TransportError(f"{self.venue}: it shows no orders that have ended: what became of one cannot be told")
        found = []
        for name in names:
            rows = await self.ask_rows(
                "orders.ended", _bound(getattr(exchange, name), units.symbol, since_ms, self._settings.history_limit)
            )
            if len(rows) >= self._settings.history_limit:
                raise TransportError(
                    f"{self.venue}: {len(rows)} ended orders of {units.symbol} are a full page: there may be more"
                )
            found += self._orders(rows)
        return found

    async def executions(self, instrument_id: str, since_ns: int) -> list[TradeReport]:
        """Of ours, at or after `since_ns` (UTC), oldest first, all pages. Raises TransportError or VenueProtocolError."""
        units = self.units[instrument_id]
        most = self.feature(units.symbol, "fetchMyTrades", "limit")
        limit = min(self._settings.history_limit, most) if isinstance(most, int) and most > 0 else self._settings.history_limit
        days = self.feature(units.symbol, "fetchMyTrades", "untilDays")
        window_ns = days * NS_PER_DAY if isinstance(days, int) and days > 0 else 0
        found: dict[tuple[str, str], TradeReport] = {}
        end = self.venue_now()
        at = since_ns = max(since_ns, end - int(self._settings.history_days * NS_PER_DAY))
        for _ in range(PAGES_MAX):
            # Where the exchange answers only so many days at once, each of them is asked for.
            until = {"until": (at + window_ns) // NS_PER_MS} if window_ns and at + window_ns < end else {}
            rows = await self.ask_rows(
                "executions", _bound(self.exchange.fetch_my_trades, units.symbol, at // NS_PER_MS, limit, until)
            )
            page = [trade_report(row, units) for row in rows]
            new = [trade for trade in page if (trade.trade_id, trade.side.name) not in found]
            found.update({(trade.trade_id, trade.side.name): trade for trade in new})
            if len(rows) < limit:
                if not until:
                    return sorted((trade for trade in found.values() if trade.ts >= since_ns), key=lambda trade: trade.ts)
                at += window_ns
                continue
            latest = max(trade.ts for trade in page)
            if latest <= at and not new:
                raise TransportError(f"{self.venue}: more than {limit} executions of {units.symbol} at one moment")
            at = max(latest, at)
        raise TransportError(f"{self.venue}: more than {PAGES_MAX} pages of executions of {units.symbol}")

    async def positions(self) -> dict[str, int]:
        """Units by instrument_id; those that the exchange says nothing about are left out."""
        found: dict[str, int] = {}
        contracts = {key: units for key, units in self.units.items() if not units.instrument.pays_notional}
        if contracts:
            symbols = [units.symbol for units in contracts.values()]
            rows = await self.ask_rows("positions", _bound(self.exchange.fetch_positions, symbols))
            found = dict.fromkeys(contracts, 0)
            by_symbol = {units.symbol: (key, units) for key, units in contracts.items()}
            for row in rows:
                if row.get("symbol") in by_symbol and row.get("contracts") is not None:
                    key, units = by_symbol[row["symbol"]]
                    found[key] += position_qty(row, units)
        return found

    async def balances(self) -> dict[str, int]:
        """Of spot instruments: what is held of the base currency, in units."""
        spot = {key: units for key, units in self.units.items() if units.instrument.pays_notional}
        if not spot:
            return {}
        row = self._balance(await self.ask("balance", self.exchange.fetch_balance))
        return {key: balance_qty(row, units) for key, units in spot.items()}

    async def totals(self, unsettled: Collection[str]) -> tuple[VenueBalance, ...]:
        """Of the base currencies of spot instruments, as far as the exchange says what the account has of them.

        Left out is what executions in instruments `unsettled` have moved: its balances may be of before them.
        Raises TransportError where there is no answer. An error of the exchange or of ccxt leaves all unknown.
        """
        spot = [units.instrument for units in self.units.values() if units.instrument.instrument_class is InstrumentClass.SPOT]
        if not (spot and self._settings.check_balances and self.has("fetchBalance")):
            return ()
        # ccxt asks for what the connection trades by default, which may not be spot.
        params = {} if self._settings.options.get("defaultType", "spot") == "spot" else {"type": "spot"}
        result: Result[Any] = await self.calls.run(Intent.QUERY, "balance", _bound(self.exchange.fetch_balance, params))
        # Whatever kind of error it is to ccxt: a question changes nothing.
        self.balances_refused = result.reason if "ExchangeError" in result.names else ""
        if self.balances_refused:
            return ()
        if result.outcome is not Outcome.ACCEPTED:
            raise TransportError(f"{self.venue}: {result.reason}")
        row = self._balance(result.value)
        moving = [units.instrument for key, units in self.units.items() if key in unsettled]
        late = {name for each in moving for name in (each.base_currency, each.settlement_currency)}
        found = {each.base_currency: balance_total(row, each.base_currency) for each in spot if each.base_currency not in late}
        return tuple(VenueBalance(self.venue, currency, total) for currency, total in found.items() if total is not None)

    def _balance(self, row: Any) -> Mapping[str, Any]:
        if not isinstance(row, Mapping):
            raise VenueProtocolError(f"{self.venue}: no balances: {str(row)[:200]}")
        return row


def _bound(method: Callable[..., Awaitable[Any]], *arguments: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: method(*arguments)


def _with_symbol(row: Any, units: Units) -> Mapping[str, Any]:
    if not isinstance(row, Mapping) or row.get("symbol") not in (None, units.symbol):
        raise VenueProtocolError(f"asked about an order of {units.symbol}, answered with {str(row)[:200]}")
    return row
