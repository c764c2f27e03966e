"""A fill that crosses a replace on its way comes off the new quantity, in both exchanges."""

from __future__ import annotations

import numpy as np
import pytest

from native import market_data as md
from native import venue as native

PRICE, OFFER = 100, 110


def tape(fidelity: int) -> np.ndarray:
    """Two-sided market at 0, at 2,000 ns a print of 2 at our price, at 9,000 ns nothing new."""
    if fidelity == native.L2:
        rows = [
            (0, 0, PRICE - 1, 5, 0, 0, md.LEVEL, md.BUY, 0),
            (0, 0, OFFER, 5, 0, 0, md.LEVEL, md.SELL, md.FLAG_LAST),
            (2_000, 2_000, PRICE, 2, 0, 0, md.TRADE, md.SELL, md.FLAG_LAST),
            (9_000, 9_000, OFFER, 5, 0, 0, md.LEVEL, md.SELL, md.FLAG_LAST),
        ]
    else:
        rows = [
            (0, 0, PRICE - 1, 5, 1, 0, md.ADD, md.BUY, 0),
            (0, 0, OFFER, 5, 2, 0, md.ADD, md.SELL, md.FLAG_LAST),
            (2_000, 2_000, PRICE, 2, 3, 0, md.ADD, md.SELL, md.FLAG_LAST | md.FLAG_AGGRESSIVE),
            (9_000, 9_000, OFFER, 1, 4, 0, md.ADD, md.SELL, md.FLAG_LAST),
        ]
    return np.array(rows, dtype=md.MD_ROW)


@pytest.mark.parametrize("fidelity", [native.L2, native.L3])
@pytest.mark.parametrize(
    ("qty", "filled_qty", "answer"),
    [
        (6, 0, (native.REPLACED, PRICE, 4)),  # 6 counted from no fills: the 2 that crossed it come off
        (6, -1, (native.REPLACED, PRICE, 6)),
        (2, 0, (native.REPLACE_REJECTED, 11, 0)),  # all of it was filled already: bad quantity
        (3, 5, (native.REPLACE_REJECTED, 11, 0)),  # fills that never happened
    ],
)
def test_a_fill_that_crosses_a_replace(fidelity: int, qty: int, filled_qty: int, answer: tuple[int, int, int]) -> None:
    venue = native.NativeVenue(entry_ns=1_000, response_ns=1_000, stp_mode=1)
    venue.add_instrument(fidelity=fidelity, wake=native.WAKE_ORDER)
    venue.feed(tape(fidelity))
    venue.finish()
    venue.run(0)
    venue.submit_limit(0, 7, 0, PRICE, 5)
    venue.timer(1_500, 1)  # the fill happens at 2,000 and is heard of at 3,000
    seen = []
    while not venue.is_done:
        for event in venue.run():
            kind, a, b, c = event[2], event[5], event[6], event[7]
            if kind == native.TIMER:
                venue.replace(7, qty, PRICE, filled_qty)
            elif kind in (native.FILL, native.REPLACED, native.REPLACE_REJECTED):
                seen.append((kind, a, b, c) if kind == native.FILL else (kind, a, b))
    assert seen == [(native.FILL, PRICE, 2, 3), answer]
    assert venue.check()
