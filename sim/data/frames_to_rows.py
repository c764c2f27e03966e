"""Runs recorded frames through any feed's decoder and packs what it makes of them into MD_ROW chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from core.errors import DataError, RefusedError, UnitError, VenueProtocolError
from core.feed import FrameDecoder, Row
from native.market_data import MD_ROW
from sim.data.files import ROWS_PER_CHUNK, Progress
from sim.data.recording import read_all_frames


def frames_to_rows(
    paths: Sequence[Path], decoder: FrameDecoder, progress: Progress | None = None, rows_per_chunk: int = ROWS_PER_CHUNK
) -> Iterator[np.ndarray]:
    """Chunks of about `rows_per_chunk` rows; a packet is never cut. Rows may still be UNSTAMPED: run them through a clock.

    A frame that the decoder refuses becomes a DataError with its file and line.
    """
    waiting: list[Row] = []
    rows_done = bytes_read = 0
    for path, frame in read_all_frames(paths):
        try:
            rows = decoder.receive(frame.ts, frame.payload)
        except (VenueProtocolError, RefusedError, UnitError) as error:
            raise DataError(str(error), file=str(path), line=frame.line) from error
        waiting += rows
        bytes_read = frame.bytes_read
        if len(waiting) >= rows_per_chunk:
            rows_done += len(waiting)
            yield np.array(waiting, dtype=MD_ROW)
            waiting.clear()
            if progress is not None:
                progress(rows_done, bytes_read)
    if waiting:
        yield np.array(waiting, dtype=MD_ROW)
    if progress is not None:
        progress(rows_done + len(waiting), bytes_read)
