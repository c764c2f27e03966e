"""The benchmark's input files, generated once into bench-data/ and reused: workload W1, the level-2 tape and its order feed, bars."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "bench-data"
