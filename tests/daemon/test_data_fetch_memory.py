"""However large the archive's files, `data fetch` needs no more memory than it says."""

from __future__ import annotations

import pytest

from tests.bench.data_fetch import fetch

# docs/DATA.md names it, for four threads. Each further core adds some 40 MiB: polars works on a piece in every thread it has.
RSS_MIB_MAX = 640


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("kind", "days"), [("trades", 4), ("quotes", 1)])
def test_twenty_million_rows_fit(kind: str, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_MAX_THREADS", "4")
    found = fetch(kind, 20_000_000, days)
    assert (found["rows"], found["parts"], found["fetched"]) == (20_000_000, days, days)
    assert found["rss_mib"] < RSS_MIB_MAX, found
