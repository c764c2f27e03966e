"""The power is cut at each step of the daemon's life: nothing lost, nothing twice, halts kept, journals whole and replayable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.daemon.trading.power_cut import configured, first_life, problems_after_cut
from tests.daemon.trading.recording_disk import Note, Operation


def cut_everywhere(folder: Path, sync: str, seed: int, *, every: int, fates: int) -> dict[str, dict[str, Any]]:
    """What went wrong, by the command that shows it again."""
    loaded = configured(folder, sync)
    life = first_life(loaded, folder / "first", seed)
    found = {}
    for step in range(0, len(life.disk.steps) + 1, every):
        for fate in range(fates):
            problems = problems_after_cut(loaded, life, step, fate, folder / "cut")
            if problems:
                found[f"python -m tests.daemon.trading.power_cut /tmp/cut {sync} {seed} {step} {fate}"] = problems
    return found


@pytest.mark.parametrize("sync", ["before_send", "batch"])
def test_a_power_cut_loses_nothing_and_repeats_nothing(tmp_path: Path, sync: str) -> None:
    assert cut_everywhere(tmp_path, sync, 1, every=17 if sync == "before_send" else 43, fates=1) == {}


def test_without_waiting_for_the_disk_the_same_test_fails(tmp_path: Path) -> None:
    found = cut_everywhere(tmp_path, "none", 1, every=60, fates=2)
    lost = {key for problems in found.values() for key in problems}
    assert lost & {"orders_not_journaled", "the last life"}, "orders that had left were not on the disk"


def test_the_life_that_is_cut_walks_every_path(tmp_path: Path) -> None:
    life = first_life(configured(tmp_path, "before_send"), tmp_path / "first", 1)
    kinds = {step.kind for step in life.disk.steps if isinstance(step, Operation)}
    assert kinds == {"name", "write", "sync", "sync_folder"}
    notes = {step.value[0] if step.what == "venue" else step.what for step in life.disk.steps if isinstance(step, Note)}
    assert notes == {"order", "replace", "cancel", "fill", "asking", "told"}
    names = {step.name for step in life.disk.steps if isinstance(step, Operation) and step.kind == "name"}
    assert {"state", "lock", "kill_latch", ".run_number", "trading_state.json", "000001.tdj", "000002.tdj"} <= names
    assert any(name.startswith("snapshot-") for name in names)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("sync", ["before_send", "batch"])
@pytest.mark.parametrize("seed", range(1, 4))
def test_many_power_cuts_at_every_step(tmp_path: Path, sync: str, seed: int) -> None:
    assert cut_everywhere(tmp_path, sync, seed, every=1, fates=4) == {}
