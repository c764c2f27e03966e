"""What the Trader knows of one instrument right now: its market, and what our open orders could still do to our position.

One object per instrument, read by the risk gate and the strategies, written by core/trader.py and core/order_store.py.
"""

from __future__ import annotations

from core.enums import MarketStatus
from core.events import Book, Quote, Trade
from core.instruments import Instrument
from core.portfolio import Position


class MarketState:
    __slots__ = (
        "book",
        "instrument",
        "is_gapped",
        "open_buy_qty",
        "open_orders",
        "open_sell_qty",
        "position",
        "quote",
        "status",
        "trade",
    )

    def __init__(self, instrument: Instrument, position: Position) -> None:
        self.instrument = instrument
        self.position = position
        self.quote: Quote | None = None
        self.trade: Trade | None = None
        self.book: Book | None = None
        self.status = MarketStatus.TRADING
        self.is_gapped = False  # data was lost since the last quote
        self.open_buy_qty = 0  # worst case: everything still open, pending or unknown fills
        self.open_sell_qty = 0
        self.open_orders = 0

    def mark(self) -> tuple[int, int] | None:
        """(bid, ask) to value a position at, or None while there is no two-sided market and no trade."""
        quote = self.quote
        if quote is not None and quote.bid_qty > 0 and quote.ask_qty > 0:
            return quote.bid_price, quote.ask_price
        if self.trade is not None:
            return self.trade.price, self.trade.price
        return None
