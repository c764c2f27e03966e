"""The disk refuses, at each call in turn: no new order leaves, all is canceled, exit code 6, and the next start goes on."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.errors import TradingdError
from daemon.exit_codes import ExitCode, exit_code_of
from tests.daemon.trading.durable_venue import Entry
from tests.daemon.trading.kill_runner import audit
from tests.daemon.trading.power_cut import CLEAN, Life, at, configured, halting_operator, live, nobody
from tests.daemon.trading.recording_disk import Note
from tests.daemon.trading.virtual_time import World

OPENING = ("create", "open_in_place", "open_empty", "open_to_append")
GROWING = ("make_folder", "create", "open_empty", "write", "write_at", "rename")


@dataclass(frozen=True)
class Fault:
    """Refuses one of the calls that `kinds` names (none: all); with `lasts`, every one of them from there on."""

    number: int
    kinds: tuple[str, ...] = ()
    lasts: bool = False


FAULTS = {
    "full": Fault(errno.ENOSPC, GROWING, lasts=True),
    "full for a moment": Fault(errno.ENOSPC, GROWING),
    "no descriptors": Fault(errno.EMFILE, OPENING, lasts=True),
    "broken": Fault(errno.EIO, lasts=True),
    "a sync that fails once": Fault(errno.EIO, ("sync", "sync_folder")),
    "read-only": Fault(errno.EROFS, (*GROWING, "open_in_place", "open_to_append", "truncate", "remove"), lasts=True),
}


class Failing:
    """Told of each call of the disk before it is made; refuses from call `at_call` on, or that one."""

    def __init__(self, fault: Fault, at_call: int | None = None) -> None:
        self._fault = fault
        self._at_call = at_call
        self.calls = 0

    def __call__(self, kind: str) -> None:
        if self._fault.kinds and kind not in self._fault.kinds:
            return
        self.calls += 1
        if self._at_call is not None and (self.calls == self._at_call or (self._fault.lasts and self.calls > self._at_call)):
            raise OSError(self._fault.number, "refused by the test")


def open_at_venue(entries: list[Entry]) -> dict[int, int]:
    """What is left of each order, by the venue's own entries."""
    left: dict[int, int] = {}
    for entry in entries:
        match entry:
            case ["order", order_id, _, quantity, _] | ["replace", order_id, quantity, _]:
                left[order_id] = quantity
            case ["cancel", order_id]:
                del left[order_id]
            case ["fill", _, order_id, qty, _]:
                left[order_id] -= qty
    return {order_id: qty for order_id, qty in left.items() if qty}


def live_with(folder: Path, failing: Failing) -> Life:
    loaded = configured(folder, "before_send")
    root = folder / "disk"
    root.mkdir()
    return live(loaded, root, World(), [], seed=1, seconds=0.1, operator=halting_operator, before_call=failing)


def problems_with(folder: Path, fault: Fault, at_call: int) -> Iterator[tuple[str, Any]]:
    """What is not as it must be where the disk refuses that call."""
    life = live_with(folder, Failing(fault, at_call))
    steps = life.disk.steps
    first = next(place for place, step in enumerate(steps) if isinstance(step, Note) and step.what == "refused")
    later = [step.value for step in steps[first:] if isinstance(step, Note) and step.what == "venue"]
    if left := [entry for entry in later if entry[0] in ("order", "replace")]:
        yield "left after the refusal", left
    entries = life.venue.entries()
    if still_open := open_at_venue(entries):
        yield "not canceled", still_open
    code = exit_code_of(life.error) if isinstance(life.error, TradingdError) else (life.code, life.error)
    if code != ExitCode.STORAGE:
        yield "exit code", code
    loaded, root = configured(folder, "before_send"), folder / "disk"
    after = live(loaded, root, World(), entries, seed=2, seconds=0.02, operator=nobody)
    if after.code != ExitCode.OK:
        yield "the next start", (after.code, after.error)
        return
    found = audit(at(loaded, root), after.venue.entries())
    yield from ((key, found[key]) for key in CLEAN if found[key])


def refuse_everywhere(folder: Path, name: str, every: int) -> dict[int, list[tuple[str, Any]]]:
    fault, counting = FAULTS[name], Failing(FAULTS[name])
    place = folder / "none"
    place.mkdir()
    assert live_with(place, counting).code == ExitCode.OK
    assert counting.calls > 5
    found = {}
    for at_call in range(1, counting.calls + 1, every):
        place = folder / "life"
        place.mkdir()
        if problems := list(problems_with(place, fault, at_call)):
            found[at_call] = problems
        shutil.rmtree(place)
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_a_disk_that_refuses_ends_the_daemon_without_a_new_order(tmp_path: Path, name: str) -> None:
    assert refuse_everywhere(tmp_path, name, every=47) == {}


@pytest.mark.parametrize("log", ["/dev/full", "log.jsonl"])
def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: str) -> None:
    monkeypatch.setattr("daemon.trading.daemon.LOG_FILE", log)
    life = live_with(tmp_path, Failing(FAULTS["full"]))
    assert (life.code, life.error, open_at_venue(life.venue.entries())) == (ExitCode.OK, None, {})
    kinds = {entry[0] for entry in life.venue.entries()}
    assert kinds == {"order", "replace", "cancel", "fill"}


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", FAULTS)
def test_a_disk_that_refuses_at_every_call(tmp_path: Path, name: str) -> None:
    assert refuse_everywhere(tmp_path, name, every=1) == {}
