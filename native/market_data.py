"""The numpy layout of md_row (native/market_data_api.h): what readers produce and the simulated venue consumes."""

from __future__ import annotations

import numpy as np

LEVEL, TRADE, CLEAR, BBO = 0, 1, 2, 3
ADD, REDUCE, DELETE, EXECUTE, MODIFY, HIDDEN, CROSS = 8, 9, 10, 11, 12, 13, 14
STATUS, GAP = 15, 16

BUY, SELL, NO_SIDE = 0, 1, 2

FLAG_LAST, FLAG_SNAPSHOT, FLAG_AGGRESSIVE, FLAG_IOC = 1, 2, 4, 8

MD_ROW = np.dtype(
    [
        ("ts_event", "<i8"),
        ("ts_init", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("order_id", "<i8"),
        ("instrument", "<i4"),
        ("kind", "u1"),
        ("side", "u1"),
        ("flags", "<u2"),
    ]
)
assert MD_ROW.itemsize == 48
