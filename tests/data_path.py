"""Where tests find the recorded market data, and the reason they skip without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("TRADINGD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def market_data(path: str) -> Path:
    """The file at `path` below the data root; skips the calling test where it is absent."""
    found = ROOT / path
    if not found.exists():
        pytest.skip(f"recorded market data {path!r} is absent: set TRADINGD_DATA to the folder that holds it")
    return found
