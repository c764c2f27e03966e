"""The market data stream's life and what it tells, as events: login, subscriptions, quotes, prints, bars, halts. Pure.

The stream has no sequence numbers: what is lost with a connection is said as a gap, and what is lost inside one cannot be seen.
Prices come as doubles (exact.py says how they become exact).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adapters.alpaca import market_wire
from adapters.alpaca.exact import ScaledDoubles, number_of, number_of_double, stamp_of, stamp_of_ext
from adapters.alpaca.hours import Hours
from adapters.alpaca.market_wire import (
    BandsMessage,
    BarMessage,
    ErrorMessage,
    MarketMessage,
    QuoteMessage,
    StatusMessage,
    SubscriptionMessage,
    SuccessMessage,
    TradeMessage,
)
from adapters.alpaca.settings import AlpacaSettings
from adapters.alpaca.wire import LatestQuotes
from adapters.sim.market import MarketFilter
from core.enums import AggressorSide, MarketStatus
from core.errors import ConfigError, RefusedError, TransportError, VenueProtocolError
from core.events import AnyEvent, Bar, GapDetected, Quote, StatusChanged, Trade
from core.instruments import Instrument
from core.strategy import Subscription
from core.units import NS_PER_SECOND

BAR_NS = 60 * NS_PER_SECOND  # the one that the venue publishes
PRINT_SCALE = 4  # prints have so many decimals, whatever the tick
TROUBLES_MAX = 20  # sentences about data that cannot be used, of one connection

# Codes of a halt and of its end: CTA's digits (tapes A and B) and UTP's letters (tape C).
_HALTS = frozenset({"2", "4", "6", "D", "F", "H", "P"})  # halts, pauses of LULD and of the whole market
_AUCTIONS = frozenset({"5", "8", "Q"})  # quotation before trading resumes
_RESUMES = frozenset({"3", "7", "9", "A", "E", "T"})
# Codes of the error message.
AUTH_FAILED = frozenset({401, 402, 404, 409})
ALREADY_AUTHENTICATED = 403
CONNECTION_LIMIT = 406
SLOW_CLIENT = 407
SYMBOL_LIMIT = 405


@dataclass(slots=True)
class MarketOutput:
    """`is_ready`: everything is subscribed to."""

    events: list[AnyEvent] = field(default_factory=list)
    sends: list[bytes] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    is_ready: bool = False


class MarketSession:
    """Any number of connections, one after the other. Raises ConfigError for subscriptions that the venue cannot serve."""

    def __init__(
        self,
        settings: AlpacaSettings,
        *,
        key: str,
        secret: str,
        instruments: Mapping[str, Instrument],
        symbols: Mapping[str, str],
        subscriptions: Iterable[Subscription],
        hours: Hours,
    ) -> None:
        wanted = list(subscriptions)
        check_subscriptions(wanted, instruments)
        self._key, self._secret = key, secret
        self._lot = settings.quote_size_shares
        self._instruments = {symbols[instrument_id]: instrument for instrument_id, instrument in instruments.items()}
        # By scale, so that instruments share them.
        self._numbers = {scale: ScaledDoubles(scale) for scale in scales_of(instruments.values())}
        self._filter = MarketFilter(wanted)
        self._hours = hours
        self._bars = {each.instrument_id for each in wanted if each.bars_ns}
        self._channels: dict[str, list[str]] = {
            "quotes": sorted({symbols[e.instrument_id] for e in wanted if e.quotes != "off"}),
            "trades": sorted({symbols[e.instrument_id] for e in wanted if e.trades}),
            "bars": sorted({symbols[e.instrument_id] for e in wanted if e.bars_ns}),
            "statuses": sorted(self._instruments),
            "lulds": sorted(self._instruments),
        }
        self._halts: dict[str, MarketStatus] = {}
        self._told: dict[str, MarketStatus] = {}
        self._next_change = 0
        self._is_authorized = False
        self._troubles = 0

    # A connection's life.

    def connected(self) -> None:
        self._is_authorized = False
        self._troubles = 0

    def lost(self, ts: int) -> list[AnyEvent]:
        self._filter.forget()
        # A halt that ends meanwhile is told by nobody: the snapshot and the next status do.
        self._halts.clear()
        return [GapDetected(ts, ts, each.instrument_id) for each in self._instruments.values()]

    def receive(self, ts: int, frame: str | bytes) -> MarketOutput:
        """Raises VenueProtocolError for what is no market data, RefusedError where the key is not taken, and TransportError where
        the venue ends the connection in words."""
        messages, unknown = market_wire.read_frame(frame)
        out = MarketOutput()
        if unknown:
            self._trouble(out, f"{unknown} messages of market data of a kind that is not known here")
        for message in messages:
            self._take(ts, message, out)
        return out

    def due(self, ts: int) -> list[AnyEvent]:
        """What has waited for its time: quotes, and the sessions' beginnings and ends."""
        events = self._filter.due(ts)
        if ts >= self._next_change:
            self._next_change = self._hours.next_change(ts)
            for symbol in self._instruments:
                events += self._status(ts, ts, symbol)
        return events

    @property
    def next_deadline(self) -> int:
        return min(self._filter.next_deadline, self._next_change)

    def hours_changed(self) -> None:
        """Another calendar was loaded."""
        self._next_change = 0

    def snapshot(self, ts: int, quotes: LatestQuotes) -> list[AnyEvent]:
        """The last quotes as REST has them, at the beginning of a connection. Raises VenueProtocolError."""
        events: list[AnyEvent] = []
        for symbol, body in quotes.quotes.items():
            instrument = self._instruments.get(symbol)
            if instrument is None:
                continue
            sizes = [number_of(raw, instrument.qty_scale, "size") * self._lot for raw in (body.bs, body.asz)]
            prices = [number_of(raw, instrument.price_scale, "price") for raw in (body.bp, body.ap)]
            events += self._quote(ts, stamp_of(body.t, "t"), instrument, prices[0], sizes[0], prices[1], sizes[1])
        return events

    # Messages.

    def _take(self, ts: int, message: MarketMessage, out: MarketOutput) -> None:
        match message:
            case QuoteMessage():
                self._take_quote(ts, message, out)
            case TradeMessage():
                self._take_trade(ts, message, out)
            case BarMessage():
                self._take_bar(ts, message, out)
            case StatusMessage():
                self._take_status(ts, message, out)
            case BandsMessage():
                pass  # nothing here decides by the bands; the pause that follows is a status
            case SuccessMessage(msg="connected"):
                out.sends.append(market_wire.auth(self._key, self._secret))
            case SuccessMessage(msg="authenticated"):
                self._is_authorized = True
                out.sends.append(market_wire.subscribe(self._channels))
            case SuccessMessage():
                pass
            case SubscriptionMessage():
                out.is_ready = True
                self._require_subscribed(message, out)
            case ErrorMessage():
                self._take_error(message, out)

    def _take_error(self, message: ErrorMessage, out: MarketOutput) -> None:
        text = f"market data: {message.code} {message.msg}"
        if message.code in AUTH_FAILED and not self._is_authorized:
            raise RefusedError(text)
        if message.code in (CONNECTION_LIMIT, SLOW_CLIENT):
            raise TransportError(text)
        if message.code == SYMBOL_LIMIT:
            raise RefusedError(f"{text}: subscribe to less, or use another feed")
        if message.code != ALREADY_AUTHENTICATED:
            self._trouble(out, text)

    def _require_subscribed(self, message: SubscriptionMessage, out: MarketOutput) -> None:
        for channel in ("quotes", "trades", "bars"):
            missing = set(self._channels[channel]) - set(getattr(message, channel))
            if missing:
                raise RefusedError(f"market data: the venue does not serve {channel} of {', '.join(sorted(missing))}")
        if missing := set(self._channels["statuses"]) - set(message.statuses):
            self._trouble(out, f"this feed tells no halts of {', '.join(sorted(missing))}")

    def _take_quote(self, ts: int, message: QuoteMessage, out: MarketOutput) -> None:
        instrument = self._instruments.get(message.symbol)
        if instrument is None:
            return
        try:
            at = stamp_of_ext(message.at, "t")
            prices, sizes = self._numbers[instrument.price_scale], self._numbers[instrument.qty_scale]
            bid, ask = prices[message.bid_price], prices[message.ask_price]
            bid_qty, ask_qty = sizes[message.bid_size] * self._lot, sizes[message.ask_size] * self._lot
        except VenueProtocolError as error:
            self._unusable(ts, instrument, error, out)
            return
        out.events += self._quote(ts, at, instrument, bid, bid_qty, ask, ask_qty)

    def _quote(self, ts: int, at: int, instrument: Instrument, bid: int, bid_qty: int, ask: int, ask_qty: int) -> list[AnyEvent]:
        # A side without a price is an empty one: so the venue says it before the open.
        bid_qty = bid_qty if bid > 0 else 0
        ask_qty = ask_qty if ask > 0 else 0
        if min(bid_qty, ask_qty, bid, ask) < 0:
            return []
        return self._filter.receive(ts, Quote(at, ts, instrument.instrument_id, bid, bid_qty, ask, ask_qty))

    def _take_trade(self, ts: int, message: TradeMessage, out: MarketOutput) -> None:
        instrument = self._instruments.get(message.symbol)
        if instrument is None:
            return
        try:
            at = stamp_of_ext(message.at, "t")
            price = self._numbers[instrument.price_scale][message.price]
            qty = self._numbers[instrument.qty_scale][message.size]
            if price <= 0 or qty < 0:
                raise VenueProtocolError(f"a print of {message.size} at {message.price}")
        except VenueProtocolError as error:
            self._unusable(ts, instrument, error, out)
            return
        event = Trade(at, ts, instrument.instrument_id, price, qty, AggressorSide.NONE, message.number)
        out.events += self._filter.receive(ts, event)

    def _take_bar(self, ts: int, message: BarMessage, out: MarketOutput) -> None:
        instrument = self._instruments.get(message.symbol)
        if instrument is None or instrument.instrument_id not in self._bars:
            return
        try:
            begins = stamp_of_ext(message.at, "t")
            prices = [
                number_of_double(value, instrument.price_scale, name)
                for name, value in (("o", message.open), ("h", message.high), ("l", message.low), ("c", message.close))
            ]
            volume = number_of_double(message.volume, instrument.qty_scale, "v")
            opens, high, low, close = prices
            if not 0 < low <= min(opens, close) <= max(opens, close) <= high or volume < 0:
                raise VenueProtocolError(f"a bar of {prices}")
        except VenueProtocolError as error:
            self._unusable(ts, instrument, error, out)
            return
        out.events.append(Bar(begins + BAR_NS, ts, instrument.instrument_id, opens, high, low, close, volume, BAR_NS))

    def _take_status(self, ts: int, message: StatusMessage, out: MarketOutput) -> None:
        if message.symbol not in self._instruments:
            return
        if message.code in _HALTS:
            self._halts[message.symbol] = MarketStatus.HALTED
        elif message.code in _AUCTIONS:
            self._halts[message.symbol] = MarketStatus.AUCTION
        elif message.code in _RESUMES:
            self._halts.pop(message.symbol, None)
        else:
            self._trouble(out, f"{message.symbol}: the status {message.code!r} ({message.message}) is not known here")
            return
        out.events += self._status(ts, stamp_of_ext(message.at, "t"), message.symbol)

    def _status(self, ts: int, at: int, symbol: str) -> list[AnyEvent]:
        status = self._hours.status(ts)
        if status is MarketStatus.TRADING:
            status = self._halts.get(symbol, status)
        if self._told.get(symbol) is status:
            return []
        self._told[symbol] = status
        return [StatusChanged(at, ts, self._instruments[symbol].instrument_id, status)]

    def _unusable(self, ts: int, instrument: Instrument, error: VenueProtocolError, out: MarketOutput) -> None:
        """Data that cannot be: nothing of it counts, and the market is not known for sure until the next."""
        self._trouble(out, f"{instrument.instrument_id}: {error}")
        out.events.append(GapDetected(ts, ts, instrument.instrument_id))

    def _trouble(self, out: MarketOutput, text: str) -> None:
        self._troubles += 1
        if self._troubles <= TROUBLES_MAX:
            out.troubles.append(text)


def scales_of(instruments: Iterable[Instrument]) -> set[int]:
    return {scale for each in instruments for scale in (each.price_scale, each.qty_scale)}


def check_subscriptions(subscriptions: Iterable[Subscription], instruments: Mapping[str, Instrument]) -> None:
    """Raises ConfigError for what the venue does not publish."""
    for each in subscriptions:
        instrument = instruments.get(each.instrument_id)
        if instrument is None:
            raise ConfigError(f"{each.instrument_id}: a strategy wants market data of an instrument that is not configured here")
        if each.book_levels:
            raise ConfigError(
                f"{each.instrument_id}: a strategy wants {each.book_levels} levels; Alpaca publishes no book of stocks"
            )
        if each.bars_ns not in (0, BAR_NS):
            raise ConfigError(f"{each.instrument_id}: a strategy wants bars of {each.bars_ns} ns; Alpaca's are of one minute")
        if (each.trades or each.bars_ns) and instrument.price_scale < PRINT_SCALE:
            raise ConfigError(
                f"{each.instrument_id}: price_scale is {instrument.price_scale}; prints and bars of US equities have "
                f"{PRINT_SCALE} decimals: configure that, with the same tick"
            )
