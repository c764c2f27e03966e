"""hftbacktest's side of the replay benchmark: the same tape, the same market maker, compiled by numba. Prints JSON.

Run by tests/bench/peers/compare.py with the peers' own interpreter: peer_hftbacktest.py TAPE.npy [MBO.bin]
"""

import json
import statistics
import sys
import time

import numpy as np
from hftbacktest import (
    BUY,
    GTX,
    LIMIT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.types import (
    ADD_ORDER_EVENT,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    FILL_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from numba import njit

REPEATS = 5
START_NS = 1_000_000_000  # hftbacktest treats a stamp of 0 as unset


def level2_events(rows):
    """int64 rows (ts, kind, side, price, quantity) as hftbacktest events."""
    events = np.zeros(len(rows), dtype=event_dtype)
    kind = np.where(rows[:, 1] == 1, TRADE_EVENT, DEPTH_EVENT).astype(np.uint64)
    side = np.where(rows[:, 2] == 0, BUY_EVENT, SELL_EVENT).astype(np.uint64)
    events["ev"] = kind | side | np.uint64(EXCH_EVENT) | np.uint64(LOCAL_EVENT)
    events["exch_ts"] = events["local_ts"] = rows[:, 0] + START_NS
    events["px"] = rows[:, 3]
    events["qty"] = rows[:, 4]
    return events


def level3_events(path):
    """The order-by-order feed (ts us, op, id, side, price, quantity) as hftbacktest events."""
    raw = np.fromfile(path, dtype="<i8")
    ts, op, order_id, side, price, qty = raw[3:].reshape(6, int(raw[1]))
    events = np.zeros(len(ts), dtype=event_dtype)
    kinds = np.array([ADD_ORDER_EVENT, CANCEL_ORDER_EVENT, FILL_EVENT], dtype=np.uint64)[op]
    sides = np.where(side == 0, BUY_EVENT, SELL_EVENT).astype(np.uint64)
    events["ev"] = kinds | sides | np.uint64(EXCH_EVENT) | np.uint64(LOCAL_EVENT)
    events["exch_ts"] = events["local_ts"] = ts * 1000 + START_NS
    events["px"] = price
    events["qty"] = qty
    events["order_id"] = order_id
    return events


def asset(events, low, high, *, level3=False):
    made = (
        BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(1.0)
        .lot_size(1.0)
        .last_trades_capacity(0)
        .roi_lb(float(low))
        .roi_ub(float(high))
    )
    return made.l3_fifo_queue_model() if level3 else made.risk_adverse_queue_model()


@njit
def do_nothing(hbt):
    while hbt.elapse(3_600_000_000_000) == 0:
        pass
    return 0


@njit
def market_maker(hbt, interval):
    orders_sent = 0
    order_id = 0
    while hbt.elapse(interval) == 0:
        hbt.clear_inactive_orders(0)
        depth = hbt.depth(0)
        bid, ask = depth.best_bid, depth.best_ask
        position = hbt.position(0)
        have_bid = have_ask = False
        stale_bid = stale_ask = 0
        values = hbt.orders(0).values()
        while values.has_next():
            order = values.get()
            if order.side == BUY:
                have_bid = True
                if order.price != bid and order.cancellable:
                    stale_bid = order.order_id
            else:
                have_ask = True
                if order.price != ask and order.cancellable:
                    stale_ask = order.order_id
        if stale_bid:
            hbt.cancel(0, stale_bid, False)
            have_bid = False
        if stale_ask:
            hbt.cancel(0, stale_ask, False)
            have_ask = False
        if not have_bid and position < 10 and bid > 0:
            order_id += 1
            orders_sent += 1
            hbt.submit_buy_order(0, order_id, bid, 1.0, GTX, LIMIT, False)
        if not have_ask and position > -10 and ask > 0:
            order_id += 1
            orders_sent += 1
            hbt.submit_sell_order(0, order_id, ask, 1.0, GTX, LIMIT, False)
    return orders_sent


def timed(events, run, low, high, *, level3=False):
    """Median seconds over REPEATS, after one warm-up that compiles; and what the last run returned."""
    seconds = []
    for attempt in range(REPEATS + 1):
        hbt = ROIVectorMarketDepthBacktest([asset(events, low, high, level3=level3)])
        started = time.perf_counter()
        result = run(hbt)
        elapsed = time.perf_counter() - started
        state = hbt.state_values(0)
        fills = int(state.num_trades)
        hbt.close()
        if attempt:
            seconds.append(elapsed)
    return statistics.median(seconds), int(result), fills


def main():
    rows = np.load(sys.argv[1])
    low, high = rows[:, 3].min() - 100, rows[:, 3].max() + 100
    events = level2_events(rows)
    cases = {
        "do nothing": do_nothing,
        "maker 100 ms": lambda hbt: market_maker(hbt, 100_000_000),
        "maker 10 ms": lambda hbt: market_maker(hbt, 10_000_000),
    }
    report = []
    for name, run in cases.items():
        seconds, orders, fills = timed(events, run, low, high)
        report.append(
            {"case": name, "rows": len(rows), "ns_per_row": seconds / len(rows) * 1e9, "orders": orders, "fills": fills}
        )
    if len(sys.argv) > 2:
        events = level3_events(sys.argv[2])
        seconds, _, _ = timed(events, do_nothing, low, high, level3=True)
        report.append(
            {
                "case": "level 3 do nothing",
                "rows": len(events),
                "ns_per_row": seconds / len(events) * 1e9,
                "orders": 0,
                "fills": 0,
            }
        )
    json.dump(report, sys.stdout)


main()
