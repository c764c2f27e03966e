"""The benchmarks' input files, made once in bench-data/ and reused: workload W1, the level-2 tape, its order feed, bars."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "bench-data"
