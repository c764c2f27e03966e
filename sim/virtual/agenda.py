"""Virtual time: one list of what happens when, shared by every loop and every network in it. Nothing here waits."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Protocol

NS_PER_S = 1_000_000_000
TURN_NS = 1_000  # that a turn takes: code that spins until it is later comes to its end
SPIN_TURNS_MAX = 1_000  # one behind the other with nothing else in between; then what is next is due
START_NS = 1_790_000_000 * NS_PER_S


class Runner(Protocol):
    """What has turns of its own: an event loop."""

    def next_ns(self) -> int | None:
        """When it has something to do; not later than now where that is at once. None: only when somebody calls it."""

    def next_timer_ns(self) -> int | None:
        """As `next_ns`, but for what is to be done at once."""

    def turn(self) -> None:
        """Do what is due."""


class Entry:
    """Something that is to happen; `cancel` takes it off the list."""

    __slots__ = ("act", "arguments")

    def __init__(self, act: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.act: Callable[..., None] | None = act
        self.arguments = arguments

    def cancel(self) -> None:
        self.act = None
        self.arguments = ()


class Agenda:
    """`ns` is UTC and never goes back. What is due at the same moment happens in the order in which it was put on the list.

    `steps` counts what has happened: entries and turns.
    """

    def __init__(self, ns: int = START_NS) -> None:
        self.start_ns = ns
        self.ns = ns
        self.steps = 0
        self._entries: list[tuple[int, int, Entry]] = []
        self._number = 0
        self._spun = 0
        self._runners: list[Runner] = []

    def at(self, ns: int, act: Callable[..., None], *arguments: Any) -> Entry:
        """Call `act(*arguments)` then; now, where that is over."""
        self._number += 1
        entry = Entry(act, arguments)
        heapq.heappush(self._entries, (max(ns, self.ns), self._number, entry))
        return entry

    def after(self, delay_ns: int, act: Callable[..., None], *arguments: Any) -> Entry:
        return self.at(self.ns + delay_ns, act, *arguments)

    def attach(self, runner: Runner) -> None:
        self._runners.append(runner)

    def detach(self, runner: Runner) -> None:
        """It has no more turns; fine where it was not attached."""
        if runner in self._runners:
            self._runners.remove(runner)

    def step(self) -> bool:
        """The next thing happens, at its time. False: there is nothing that ever will."""
        entries = self._entries
        while entries and entries[0][2].act is None:
            heapq.heappop(entries)
        due = entries[0][0] if entries else None
        chosen: Runner | None = None
        # Runners before entries, in the order in which they were attached: what is ready is older than what arrives.
        for runner in self._runners:
            ns = runner.next_ns()
            if ns is not None and (due is None or ns < due or (ns <= due and chosen is None)):
                due, chosen = ns, runner
        if due is None:
            return False
        self.ns = max(self.ns, due)
        self.steps += 1
        if chosen is not None:
            chosen.turn()
            self.ns += TURN_NS
            self._spun += 1
            if self._spun > SPIN_TURNS_MAX:
                self._skip()
            return True
        self._spun = 0
        entry = heapq.heappop(entries)[2]
        act, arguments = entry.act, entry.arguments
        assert act is not None
        entry.cancel()
        act(*arguments)
        return True

    def _skip(self) -> None:
        """Somebody only waits for the time to pass, as a cancellation does that is not heeded: it passes."""
        self._spun = 0
        due = [entry[0] for entry in self._entries[:1]]
        due += [ns for ns in (runner.next_timer_ns() for runner in self._runners) if ns is not None]
        self.ns = max(self.ns, min(due, default=self.ns))

    def run_until(self, condition: Callable[[], Any], ns: int) -> bool:
        """Go on until the condition is true, at most until `ns`, or until nothing is left. Returns whether it is true."""
        while not condition():
            if self.ns >= ns or not self.step():
                return bool(condition())
        return True

    def run_to(self, ns: int) -> None:
        """Everything up to `ns` happens, and then it is `ns`."""
        self.at(ns, _nothing)
        while self.ns < ns:
            self.step()


def _nothing() -> None:
    return
