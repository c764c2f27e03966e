"""A bug of tradingd itself is shown with its traceback and keeps what led to it, under a name that is no run folder's."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.journal.reader import JournalReader
from sim.flow_venue import FlowVenue
from tests.daemon.session import tradingd, write_config


def test_a_bug_keeps_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    working = FlowVenue.advance

    def breaks(self: FlowVenue, until_ts: int) -> object:
        nonlocal calls
        calls += 1
        assert calls < 200, "a bug by design"
        return working(self, until_ts)

    monkeypatch.setattr(FlowVenue, "advance", breaks)
    with pytest.raises(ExceptionGroup) as caught:
        tradingd("backtest", write_config(tmp_path), "--out", tmp_path / "out", "--json", cwd=tmp_path)
    assert caught.group_contains(AssertionError, match="a bug by design")
    kept = tmp_path / ".out.incomplete"
    assert caught.value.__notes__ == [f"the run up to here is in {kept}"]
    assert not (tmp_path / "out").exists()
    with JournalReader(kept, must_end=False) as reader:
        assert len(list(reader)) > 100
