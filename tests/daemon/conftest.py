"""No test of the daemon touches the state folder of whoever runs it: the journal's key is made in a folder of the tests' own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    # One for all tests: a key is made once, as on a real machine.
    monkeypatch.setenv("TRADINGD_STATE_DIR", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.delenv("TRADINGD_JOURNAL_KEY", raising=False)
