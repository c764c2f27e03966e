"""What follows from what the guardian hears: triggers, once each, and alerts where two things contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.guardian.messages import Phased
from daemon.guardian.watch import Phase, Trigger, Watch
from daemon.trading.listener import Beat, Severity

TIMEOUT_S = 5.0
STOP_S_MAX = 2.0


class Told:
    def __init__(self) -> None:
        self.alerts: list[tuple[str, Severity]] = []
        self.watch = Watch(TIMEOUT_S, STOP_S_MAX, lambda kind, severity, _text: self.alerts.append((kind, severity)))


def beat(number: int, **changed: Any) -> Beat:
    fields: dict[str, Any] = {
        "run_id": "paper-1",
        "pid": 7,
        "number": number,
        "ts": number,
        "lag_ns": 0,
        "events": number,
        "orders_sent": 0,
        "open_orders": 0,
        "queue_depth": 0,
        "conflated": 0,
        "trading_state": "ACTIVE",
        "trading_state_reason": "",
        "journal_id": "a",
        "records": 10 * number,
        "head": "00",
    }
    return Beat(**{**fields, **changed})


def phased(phase: str, run_id: str = "paper-1") -> Phased:
    return Phased(phase=phase, text="", run_id=run_id, latch=(1, 2), stop_s_max=STOP_S_MAX)


def test_a_daemon_that_stops_beating_is_a_trigger_once() -> None:
    told = Told()
    told.watch.hear_phase(phased("running"), 100.0)
    told.watch.hear_beat(beat(1), 101.0)
    assert told.watch.tick(106.0) is None
    assert told.watch.is_well
    assert told.watch.tick(106.1) == Trigger("heartbeat_lost", "no proof of work from paper-1 for 5.1 s")
    assert told.watch.tick(120.0) is None
    assert not told.watch.is_well
    # It is back, and lost again: that is another time.
    told.watch.hear_beat(beat(2), 121.0)
    assert told.watch.is_well
    assert told.watch.tick(127.0) is not None


def test_a_daemon_that_never_beats_after_it_runs_is_a_trigger() -> None:
    told = Told()
    told.watch.hear_phase(phased("running"), 100.0)
    assert told.watch.tick(105.1) == Trigger("heartbeat_lost", "no proof of work from paper-1 for 5.1 s")


def test_a_start_may_take_its_time() -> None:
    told = Told()
    told.watch.hear_phase(phased("starting", ""), 100.0)
    assert told.watch.tick(10_000.0) is None


def test_a_stop_may_take_what_it_said_and_a_timeout_more() -> None:
    told = Told()
    told.watch.hear_beat(beat(1), 100.0)
    told.watch.hear_phase(phased("stopping"), 101.0)
    assert told.watch.tick(108.0) is None
    assert told.watch.tick(108.1) == Trigger("stop_overdue", "paper-1 has been stopping for 7.1 s")


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        ("starting", "the process of paper-1 ended while it was starting"),
        ("running", "the process of paper-1 ended while it was running"),
        ("stopping", "the process of paper-1 ended while it was stopping"),
        ("ended", None),
    ],
)
def test_a_process_that_is_gone_is_a_trigger_unless_it_had_said_so(phase: str, reason: str | None) -> None:
    told = Told()
    told.watch.hear_phase(phased(phase), 100.0)
    assert told.watch.hear_end() == (None if reason is None else Trigger("daemon_gone", reason))
    assert told.watch.hear_end() is None
    assert told.watch.tick(1_000.0) is None


def test_a_guardian_that_knows_nothing_yet_does_nothing() -> None:
    told = Told()
    assert (told.watch.tick(1_000.0), told.watch.hear_end()) == (None, None)


def test_a_daemon_found_running_has_to_show_that_it_works() -> None:
    told = Told()
    told.watch.found("running", "paper-3", 100.0)
    assert told.watch.tick(105.1) == Trigger("heartbeat_lost", "no proof of work from paper-3 for 5.1 s")


@pytest.mark.parametrize(
    "second",
    [
        {"records": 9},
        {"records": 10},
        {"journal_id": "b"},
        {"run_id": "paper-2"},
        {"run_id": "paper-0", "journal_id": "b"},
    ],
)
def test_a_journal_that_goes_back_or_changes_is_an_alert(second: dict[str, Any]) -> None:
    told = Told()
    told.watch.hear_beat(beat(1), 100.0)
    told.watch.hear_beat(beat(2, **second), 100.5)
    assert told.alerts == [("head_contradiction", Severity.CRITICAL)]


def test_a_new_run_with_a_journal_of_its_own_is_none() -> None:
    told = Told()
    for number in (1, 2, 3):
        told.watch.hear_beat(beat(number), 100.0 + number)
    told.watch.hear_phase(phased("ended"), 104.0)
    told.watch.hear_phase(phased("starting", ""), 105.0)
    told.watch.hear_phase(phased("running", "paper-2"), 106.0)
    told.watch.hear_beat(beat(1, run_id="paper-2", journal_id="b", records=3), 106.5)
    assert (told.alerts, told.watch.phase, told.watch.run_id) == ([], Phase.RUNNING, "paper-2")


def test_a_phase_of_a_later_version_changes_nothing() -> None:
    told = Told()
    told.watch.hear_beat(beat(1), 100.0)
    told.watch.hear_phase(phased("dancing"), 101.0)
    assert told.watch.phase is Phase.RUNNING
