"""Requests and their answers on one connection: ids, credits, overdue answers, what waits for credits. Pure.

Every request has three ends: an answer, a refusal, or lost (overdue, unreadable, or the connection is gone). A request that
is overdue may still be answered: `lost` comes once, and an answer or a refusal may follow it on the same connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from adapters.deribit.credits import Credits
from adapters.deribit.settings import DeribitSettings, Fact, FactKind, Output
from adapters.deribit.wire import Answer, Refusal, Spoiled
from core.units import NS_PER_MS

WAITING_MAX = 10_000
PENDING_MAX = 10_000

Build = Callable[[int], bytes]
OnAnswer = Callable[[int, Answer], None]
OnRefusal = Callable[[int, Refusal], None]
OnLost = Callable[[int, str], None]


@dataclass(slots=True)
class Pending:
    due_ts: int
    on_answer: OnAnswer
    on_refusal: OnRefusal
    on_lost: OnLost
    is_overdue: bool = False


@dataclass(slots=True)
class Waiting:
    """A request that waits for credits; the queue decides which kind."""

    build: Build
    on_answer: OnAnswer
    on_refusal: OnRefusal
    on_lost: OnLost
    cost: int | None = None


class Link:
    """`output` is what the current call made; the session replaces it."""

    def __init__(self, settings: DeribitSettings, ts: int) -> None:
        self.settings = settings
        self.credits = Credits(settings.credits, ts)
        self.output = Output()
        self.is_up = False
        # Server's clock minus ours, ms, and never more than it is: an answer's stamp is not later than its arrival.
        self.clock_offset_ms: int | None = None
        self.server_seen_ms = 0  # the latest stamp that the server gave
        self._next_id = 1
        self._pending: dict[int, Pending] = {}
        self._queries: deque[Waiting] = deque()
        self._cancels: deque[Waiting] = deque()

    def fact(self, kind: FactKind, text: str) -> None:
        self.output.facts.append(Fact(kind, text))

    def server_ms(self, ts: int) -> int:
        """The server's clock now, or a little earlier: what is counted from it ends no later than it says."""
        if self.clock_offset_ms is None:
            return ts // NS_PER_MS
        estimated_ms = ts // NS_PER_MS + self.clock_offset_ms
        # Heartbeats are answered more often than that: where it says more, our clock was stepped since the last answer.
        return min(estimated_ms, self.server_seen_ms + self.settings.silence_ns_max // NS_PER_MS)

    # Sending.

    def send(self, ts: int, build: Build, on_answer: OnAnswer, on_refusal: OnRefusal, on_lost: OnLost) -> None:
        """At once: whoever calls has taken the credits."""
        assert self.is_up
        assert len(self._pending) < PENDING_MAX, "answers are waited for within bounds"
        request_id = self._next_id
        self._next_id += 1
        self._pending[request_id] = Pending(ts + self.settings.answer_ns_max, on_answer, on_refusal, on_lost)
        self.output.frames.append(build(request_id))

    def keep_alive(self, ts: int, build: Build) -> None:
        """A heartbeat's answer: what the server says to it does not matter."""
        self.credits.take_session(ts)
        self.send(ts, build, _ignore_answer, _ignore_refusal, _ignore_lost)

    def ask(
        self,
        ts: int,
        build: Build,
        on_answer: OnAnswer,
        on_refusal: OnRefusal,
        on_lost: OnLost,
        *,
        cost: int | None = None,
    ) -> None:
        """A question: as soon as there are credits."""
        self._queue(ts, self._queries, Waiting(build, on_answer, on_refusal, on_lost, cost))

    def cancel(self, ts: int, build: Build, on_answer: OnAnswer, on_refusal: OnRefusal, on_lost: OnLost) -> None:
        """A cancel: before any question, and from the reserve."""
        self._queue(ts, self._cancels, Waiting(build, on_answer, on_refusal, on_lost))

    def _queue(self, ts: int, queue: deque[Waiting], waiting: Waiting) -> None:
        if not self.is_up or len(queue) >= WAITING_MAX:
            waiting.on_lost(ts, "there is no connection" if not self.is_up else "too many requests wait")
            return
        queue.append(waiting)
        self.flush(ts)

    def flush(self, ts: int) -> None:
        """Send what waits, as far as the credits go."""
        for queue, take in ((self._cancels, self._take_cancel), (self._queries, self._take_query)):
            while self.is_up and queue and take(ts, queue[0]):
                waiting = queue.popleft()
                self.send(ts, waiting.build, waiting.on_answer, waiting.on_refusal, waiting.on_lost)

    def _take_cancel(self, ts: int, _waiting: Waiting) -> bool:
        return self.credits.take_cancel(ts)

    def _take_query(self, ts: int, waiting: Waiting) -> bool:
        return self.credits.take_query(ts, waiting.cost)

    # Receiving.

    def receive(self, ts: int, message: Answer | Refusal | Spoiled) -> None:
        pending = None if message.id is None else self._pending.pop(message.id, None)
        if pending is None:
            self.fact(FactKind.PROTOCOL, f"an answer to nothing that was asked: {message}"[:400])
            return
        assert message.id is not None
        if pending.is_overdue:
            self.fact(FactKind.LATE, f"request {message.id} was answered late: {message}"[:400])
        match message:
            case Answer():
                self._learn_clock(ts, pending, message.us_in)
                pending.on_answer(ts, message)
            case Refusal():
                self._learn_clock(ts, pending, message.us_in)
                pending.on_refusal(ts, message)
            case Spoiled():
                self.fact(FactKind.PROTOCOL, message.text)
                if not pending.is_overdue:
                    pending.on_lost(ts, message.text)

    def _learn_clock(self, ts: int, pending: Pending, us_in: int) -> None:
        """The server had the request at us_in, and now is later: the largest difference is the nearest to the truth.

        Clocks drift, so the best is forgotten with the connection; and one that says more than the request's own leaving allows
        is from before our clock was stepped.
        """
        if us_in <= 0:
            return
        self.server_seen_ms = max(self.server_seen_ms, us_in // 1_000)
        offset_ms = us_in // 1_000 - -(-ts // NS_PER_MS)
        sent_ts = pending.due_ts - self.settings.answer_ns_max
        most_ms = us_in // 1_000 + 1 - sent_ts // NS_PER_MS
        if self.clock_offset_ms is None or not offset_ms <= self.clock_offset_ms <= most_ms:
            self.clock_offset_ms = offset_ms

    # Time and the end.

    def next_ts(self) -> int | None:
        """When `tick` has something to do."""
        due = [pending.due_ts for pending in self._pending.values() if not pending.is_overdue]
        if self._cancels:
            due.append(self.credits.cancel_ready_at(0))
        if self._queries:
            due.append(self.credits.query_ready_at(0, self._queries[0].cost))
        return min(due, default=None)

    def tick(self, ts: int) -> None:
        for request_id, pending in list(self._pending.items()):
            if not pending.is_overdue and pending.due_ts <= ts:
                pending.is_overdue = True
                pending.on_lost(ts, f"no answer to request {request_id} in time")
        self.flush(ts)

    def up(self) -> None:
        self.is_up = True
        self.clock_offset_ms = None

    def down(self, ts: int) -> None:
        """The connection is gone: nothing is answered any more, and what waited has not left."""
        self.is_up = False
        pending, self._pending = self._pending, {}
        waiting = [*self._cancels, *self._queries]
        self._cancels.clear()
        self._queries.clear()
        for each in pending.values():
            if not each.is_overdue:
                each.on_lost(ts, "the connection was lost")
        for every in waiting:
            every.on_lost(ts, "the connection was lost")


def _ignore_answer(_ts: int, _answer: Answer) -> None:
    return


def _ignore_refusal(_ts: int, _refusal: Refusal) -> None:
    return


def _ignore_lost(_ts: int, _text: str) -> None:
    return
