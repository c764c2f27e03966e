"""What every feed turns its bytes into: rows in the field order of MD_ROW, and the protocol of the decoder that does it."""

from __future__ import annotations

from typing import Protocol

# ts_event, ts_init, price, qty, order_id, instrument, kind, side, flags: the fields of md_row (native/market_data_api.h)
# in their order. ts_event is UNSTAMPED where the venue gave no time; whoever feeds the rows on fills it in.
Row = tuple[int, int, int, int, int, int, int, int, int]

UNSTAMPED = 0

# Kinds, sides and flags of a row; a test holds them equal to native/market_data.py, which adapters may not import.
ROW_LEVEL, ROW_TRADE, ROW_CLEAR, ROW_BBO = 0, 1, 2, 3
ROW_STATUS, ROW_GAP = 15, 16
ROW_BUY, ROW_SELL, ROW_NO_SIDE = 0, 1, 2
ROW_FLAG_LAST, ROW_FLAG_SNAPSHOT = 1, 2


class FrameDecoder(Protocol):
    """One feed's decoder: frames in arrival order in, rows out; pure, so that a recording and a live feed are one code path."""

    def receive(self, ts: int, payload: bytes) -> list[Row]:
        """Rows that became known with this frame, which arrived at `ts` (ns UTC); often none.

        Raises VenueProtocolError where the frame breaks the venue's protocol, UnitError where a number does not fit the
        instrument's units, RefusedError where the venue says no; then nothing of the frame was applied.
        """
        ...
