"""nautilus_trader's side of the replay and bars benchmarks. Prints JSON.

Run by tests/bench/peers/compare.py with the peers' own interpreter: peer_nautilus.py TAPE.npy BARS.npy
The tape's level updates become OrderBookDelta, its prints TradeTick; compiled engine, strategy in Python, like ours. Only the
first ROWS rows are run: it needs microseconds a row, and its figure does not change with the length.
"""

import json
import sys
import time
from decimal import Decimal

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType, BookOrder, OrderBookDelta, TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, BookAction, BookType, OmsType, OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

ROWS = 300_000
START_NS = 1_000_000_000  # a stamp of 0 and a delta without F_LAST (128) crash its engine
BARS = 200_000
VENUE = Venue("SIM")
ID = InstrumentId(Symbol("X"), VENUE)
BAR_TYPE = BarType.from_str("X.SIM-1-MINUTE-LAST-EXTERNAL")


def instrument(precision):
    return Equity(
        instrument_id=ID,
        raw_symbol=Symbol("X"),
        currency=USD,
        price_precision=precision,
        price_increment=Price(10**-precision, precision),
        lot_size=Quantity.from_int(1),
        ts_event=0,
        ts_init=0,
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
    )


class Maker(Strategy):
    def __init__(self, interval_ns):
        super().__init__(StrategyConfig(strategy_id="M-1"))
        self.interval_ns = interval_ns
        self.orders = {}

    def on_start(self):
        self.made = self.cache.instrument(ID)
        self.subscribe_order_book_deltas(ID, BookType.L2_MBP)
        if self.interval_ns:
            self.clock.set_timer_ns("requote", self.interval_ns, 0, 0, self.requote)

    def on_order_book_deltas(self, deltas):
        pass

    def requote(self, event):
        book = self.cache.order_book(ID)
        bid, ask = book.best_bid_price(), book.best_ask_price()
        if bid is None or ask is None:
            return
        position = self.portfolio.net_position(ID)
        for side, price, room in ((OrderSide.BUY, bid, position < 10), (OrderSide.SELL, ask, position > -10)):
            order = self.orders.get(side)
            if order is not None and order.is_open and order.price != price:
                self.cancel_order(order)
                order = None
            if (order is None or order.is_closed) and room:
                order = self.order_factory.limit(
                    ID, side, Quantity.from_int(1), price, time_in_force=TimeInForce.GTC, post_only=True
                )
                self.orders[side] = order
                self.submit_order(order)


class SmaCross(Strategy):
    def __init__(self):
        super().__init__(StrategyConfig(strategy_id="S-1"))
        self.closes = [0.0] * 50
        self.count = 0
        self.fast = self.slow = 0.0
        self.above = None

    def on_start(self):
        self.subscribe_bars(BAR_TYPE)

    def on_bar(self, bar):
        close = bar.close.as_double()
        at = self.count % 50
        self.slow += close - self.closes[at]
        self.fast += close - self.closes[(self.count - 20) % 50]
        self.closes[at] = close
        self.count += 1
        if self.count < 50:
            return
        above = self.fast / 20 > self.slow / 50
        if self.above is not None and above != self.above:
            side = OrderSide.BUY if above else OrderSide.SELL
            size = 1 if self.portfolio.is_flat(ID) else 2
            self.submit_order(self.order_factory.market(ID, side, Quantity.from_int(size)))
        self.above = above


def run(strategy, data, precision, book_type):
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False))
    engine.add_venue(
        VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000_000, USD)], base_currency=USD, book_type=book_type
    )
    engine.add_instrument(instrument(precision))
    engine.add_data(data)
    engine.add_strategy(strategy)
    started = time.perf_counter()
    engine.run()
    seconds = time.perf_counter() - started
    orders = engine.cache.orders_total_count()
    engine.dispose()
    return seconds, orders


def tape_data(rows):
    data = []
    for number, (ts_tape, kind, side, price, qty) in enumerate(rows.tolist()):
        ts = ts_tape + START_NS
        if kind == 1:
            aggressor = AggressorSide.BUYER if side == 0 else AggressorSide.SELLER
            data.append(TradeTick(ID, Price(price, 0), Quantity.from_int(qty), aggressor, TradeId(str(number)), ts, ts))
        else:
            order = BookOrder(OrderSide.BUY if side == 0 else OrderSide.SELL, Price(price, 0), Quantity.from_int(qty), 0)
            data.append(OrderBookDelta(ID, BookAction.UPDATE if qty else BookAction.DELETE, order, 128, number, ts, ts))
    return data


def bar_data(rows):
    return [
        Bar(BAR_TYPE, *(Price(value / 100, 2) for value in (o, h, low, c)), Quantity.from_int(volume), ts, ts)
        for ts, o, h, low, c, volume, _ in rows.tolist()
    ]


def main():
    rows = np.load(sys.argv[1])[:ROWS]
    report = []
    data = tape_data(rows)
    for name, interval in (("do nothing", 0), ("maker 100 ms", 100_000_000), ("maker 10 ms", 10_000_000)):
        seconds, orders = run(Maker(interval), data, 0, BookType.L2_MBP)
        report.append({"case": name, "rows": len(rows), "ns_per_row": seconds / len(rows) * 1e9, "orders": orders})
    bars = bar_data(np.load(sys.argv[2])[:BARS])
    seconds, orders = run(SmaCross(), bars, 2, BookType.L1_MBP)
    report.append({"case": "bars", "bars": len(bars), "bars_per_s": len(bars) / seconds, "orders": orders})
    json.dump(report, sys.stdout)


main()
