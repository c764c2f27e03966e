"""Rows as text that one can read, for comparing whole tapes with a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from native.market_data import MD_ROW

FILES = Path(__file__).parent / "files"
HEADER = ",".join(MD_ROW.names or ())


def as_text(chunks: Iterable[np.ndarray]) -> str:
    """A header line and one line for each row, fields in MD_ROW's order."""
    lines = [",".join(map(str, row)) for chunk in chunks for row in chunk.tolist()]
    return "\n".join([HEADER, *lines]) + "\n"
