"""Time never goes back, and timers come when they are due."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.commands import CancelTimer, SetTimer
from daemon.trading.clock import PAIRS_MAX, SystemClock, WallWatch
from daemon.trading.timers import Timers


def test_the_clock_runs_on_when_the_wall_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, monotonic = [1_000], [50]
    monkeypatch.setattr(time, "time_ns", lambda: wall[0])
    monkeypatch.setattr(time, "monotonic_ns", lambda: monotonic[0])
    clock = SystemClock()
    seen = [clock.now()]
    for wall_step, monotonic_step in ((10, 10), (-500, 10), (0, 10), (2_000, 10), (-5_000, 5), (0, 0)):
        wall[0] += wall_step
        monotonic[0] += monotonic_step
        seen.append(clock.now())
    assert seen == [1_000, 1_010, 1_020, 1_030, 2_510, 2_515, 2_515]


def test_the_clock_begins_behind_the_last_stamp_of_the_run_before() -> None:
    future = time.time_ns() + 10**15
    assert SystemClock(future).now() >= future


class Machine:
    """The two clocks of a machine, patched in while it is entered; the process is stopped before each reading for so long."""

    def __init__(self, pauses_ns: list[int]) -> None:
        self.ns = 0
        self.ahead_ns = 1_000_000
        self.pauses_ns = list(pauses_ns)

    def _read(self) -> int:
        self.ns += self.pauses_ns.pop(0) if self.pauses_ns else 1
        return self.ns

    def __enter__(self) -> Machine:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(time, "time_ns", lambda: self._read() + self.ahead_ns)
        self._patch.setattr(time, "monotonic_ns", self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


PAUSES = st.lists(st.sampled_from([1, 1, 1, 50, 300_000_000, 2_000_000_000]), max_size=40)


@given(PAUSES)
def test_wherever_the_process_is_stopped_the_clock_says_what_the_machine_says(pauses_ns: list[int]) -> None:
    with Machine(pauses_ns) as machine:
        clock = SystemClock()
        for _ in range(20):
            before_ns = machine.ns
            assert before_ns <= clock.now() - machine.ahead_ns <= machine.ns


@given(PAUSES, st.sampled_from([0, 5_000_000_000, -5_000_000_000]))
def test_a_pause_between_two_clocks_is_no_step_of_either(pauses_ns: list[int], step_ns: int) -> None:
    """A pause before each second reading; a step that somebody made is told to the ns."""
    with Machine([]) as machine:
        watch = WallWatch()
        machine.ahead_ns += step_ns
        machine.pauses_ns += [each for pause_ns in pauses_ns[: PAIRS_MAX - 1] for each in (1, pause_ns)]
        assert abs(watch.stepped_ns() - step_ns) <= 50
        assert abs(watch.stepped_ns()) <= 50


@given(st.lists(st.tuples(st.sampled_from(["set", "cancel", "pop"]), st.integers(1, 40), st.integers(0, 100)), max_size=80))
def test_timers_against_a_plain_dictionary(script: list[tuple[str, int, int]]) -> None:
    timers = Timers()
    plain: dict[int, int] = {}
    now = next_id = 0
    for what, pick, value in script:
        if what == "set":
            next_id += 1
            plain[next_id] = now + value
            timers.schedule(SetTimer(now, next_id, now + value))
        elif what == "cancel" and plain:
            timer_id = sorted(plain)[pick % len(plain)]
            del plain[timer_id]
            timers.schedule(CancelTimer(now, timer_id))
        elif what == "pop":
            now += value
            due = sorted((at, timer_id) for timer_id, at in plain.items() if at <= now)
            for _, timer_id in due:
                del plain[timer_id]
            assert [(event.ts_event, event.timer_id) for event in timers.pop_due(now)] == due
        assert timers.next_ts() == min(plain.values(), default=None)
        assert len(timers) == len(plain)
