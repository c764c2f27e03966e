"""What the Trader knows of one instrument right now: its market, and what our open orders could still do to our position.

One object per instrument, read by the risk gate and the strategies, written by core/trader.py and core/order_store.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.enums import AggressorSide, MarketStatus
from core.events import Bar, Book, Quote, Trade
from core.instruments import Instrument
from core.portfolio import Position

if TYPE_CHECKING:
    from core.orders import Order
    from core.risk_watch import InstrumentWatch


class MarketState:
    __slots__ = (
        "_trade",
        "bar",
        "book",
        "instrument",
        "is_gapped",
        "mark_due_ns",
        "open_buy_qty",
        "open_orders",
        "open_sell_qty",
        "position",
        "quote",
        "status",
        "unknown",
        "watch",
    )

    def __init__(self, instrument: Instrument, position: Position) -> None:
        self.instrument = instrument
        self.position = position
        self.quote: Quote | None = None
        self._trade: Trade | None = None
        self.bar: Bar | None = None  # the last one, while no trade has come after it
        self.book: Book | None = None
        self.status = MarketStatus.TRADING
        self.is_gapped = False  # data was lost since the last quote
        self.open_buy_qty = 0  # worst case: everything still open, pending or unknown fills
        self.open_sell_qty = 0
        self.open_orders = 0
        # Orders whose outcome was unknown; some may have left that state since (core/risk.py looks).
        self.unknown: dict[int, Order] = {}
        self.mark_due_ns = 0  # account limits value the instrument at the first market event from then on
        self.watch: InstrumentWatch | None = None  # where account limits are configured: hears of every reservation

    @property
    def trade(self) -> Trade | None:
        """The last public print. A bar is a price too: without quotes the risk gate measures its collar from the close."""
        bar = self.bar
        if bar is not None:
            # Made when somebody asks: most bars pass without.
            self._trade = Trade(bar.ts_event, bar.ts_init, bar.instrument_id, bar.close, bar.volume, AggressorSide.NONE)
            self.bar = None
        return self._trade

    @trade.setter
    def trade(self, trade: Trade | None) -> None:
        self._trade = trade
        self.bar = None

    def mark(self) -> tuple[int, int] | None:
        """(bid, ask) to value a position at, or None while there is no two-sided market and no trade."""
        quote = self.quote
        if quote is not None and quote.bid_qty > 0 and quote.ask_qty > 0:
            return quote.bid_price, quote.ask_price
        trade = self.trade
        return (trade.price, trade.price) if trade is not None else None
