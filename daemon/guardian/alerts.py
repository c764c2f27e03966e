"""Alerts on their way out: made harmless, said once, limited in number, and each place served by itself.

A place that is slow or gone delays no other. Each has a bounded queue; what does not fit is counted, and the next alert that goes
there says how many were left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
import msgspec

from daemon.timestamps import iso
from daemon.trading.listener import Alert, Severity

QUEUE_ALERTS_MAX = 256
REMEMBERED_MAX = 1_024  # different alerts of which the last time is known
TEXT_CHARACTERS_MAX = 1_000
KIND_CHARACTERS_MAX = 64
TRIES_MAX = 6
BACKOFF_S_MIN = 0.5
BACKOFF_S_MAX = 8.0
MINUTE_S = 60.0
CRITICAL_PER_MINUTE_MAX = 120  # critical ones are not counted against the others, but not without end either

# Each of these says that something changed: the same again within a short time is another time.
CHANGES = frozenset({"kill", "kill_verified", "kill_cleared", "trading_state", "guardian_lost", "guardian_back", "failed"})

# These say the same thing with other numbers each time.
NUMBERS_ASIDE = frozenset(
    {"kill_unverified", "order_after_kill", "venue_unreachable", "heads_not_kept", "malformed_datagram", "connection"}
)

RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
HIDDEN = "***"
SECRET_CHARACTERS_MIN = 4  # of what is hidden: a shorter one would take words apart

_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")


class SinkError(Exception):
    """A place did not take an alert; `str()` says why and holds no secret."""


class Sink(Protocol):
    name: str
    lowest: Severity

    async def send(self, content: dict[str, Any]) -> None:
        """Raises SinkError. Bounded in time."""


@dataclass(slots=True)
class Lane:
    """One place and what waits for it."""

    sink: Sink
    queue: deque[dict[str, Any]] = field(default_factory=deque)
    sent: int = 0
    failed: int = 0  # given up after the last try
    left_out: int = 0  # since the last one that went out
    last_failure: str = ""
    recent: deque[float] = field(default_factory=deque)  # when those of the last minute were taken
    recent_critical: deque[float] = field(default_factory=deque)
    arrived: anyio.Event = field(default_factory=anyio.Event)


class Alerter:
    """`tell` returns at once; `run` sends until cancelled. Only in the loop's own thread."""

    def __init__(
        self, name: str, sinks: Sequence[Sink], *, repeat_after_s: float, per_minute_max: int, secrets: Sequence[str] = ()
    ) -> None:
        self._name = name
        self._lanes = [Lane(sink) for sink in sinks]
        self._repeat_after_s = repeat_after_s
        self._per_minute_max = per_minute_max
        self._secrets = sorted((secret for secret in secrets if len(secret) >= SECRET_CHARACTERS_MIN), key=len, reverse=True)
        self._said: dict[tuple[str, str], float] = {}  # kind and text: when

    def tell(self, alert: Alert, source: str) -> bool:
        """False where the same was said a short while ago. `source`: daemon or guardian."""
        kind, text = plain(alert.kind)[:KIND_CHARACTERS_MAX], self._harmless(alert.text)
        now = anyio.current_time()
        if kind not in CHANGES and not self._is_new(kind, text, now):
            return False
        content = {
            "ts": alert.ts,
            "time": iso(alert.ts),
            "account": self._name,
            "source": source,
            "kind": kind,
            "severity": alert.severity.value,
            "text": text,
        }
        for lane in self._lanes:
            if RANK[alert.severity] >= RANK[lane.sink.lowest]:
                self._put(lane, content, alert.severity, now)
        return True

    def _harmless(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return plain(text)[:TEXT_CHARACTERS_MAX]

    def _is_new(self, kind: str, text: str, now: float) -> bool:
        key = (kind, re.sub(r"\d+(\.\d+)?", "#", text) if kind in NUMBERS_ASIDE else text)
        last = self._said.pop(key, None)
        is_new = last is None or now - last >= self._repeat_after_s
        # The newest at the end: what goes first is what was said longest ago.
        self._said[key] = now if is_new or last is None else last
        while len(self._said) > REMEMBERED_MAX:
            del self._said[next(iter(self._said))]
        return is_new

    def _put(self, lane: Lane, content: dict[str, Any], severity: Severity, now: float) -> None:
        is_critical = severity is Severity.CRITICAL
        recent = lane.recent_critical if is_critical else lane.recent
        while recent and now - recent[0] >= MINUTE_S:
            recent.popleft()
        if len(recent) >= (CRITICAL_PER_MINUTE_MAX if is_critical else self._per_minute_max):
            lane.left_out += 1
            return
        recent.append(now)
        if len(lane.queue) >= QUEUE_ALERTS_MAX:
            self._make_room(lane)
        lane.queue.append(content)
        lane.arrived.set()

    def _make_room(self, lane: Lane) -> None:
        """The oldest of those that matter least goes."""
        lane.left_out += 1
        lowest = min(RANK[Severity(content["severity"])] for content in lane.queue)
        oldest = next(content for content in lane.queue if RANK[Severity(content["severity"])] == lowest)
        lane.queue.remove(oldest)

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            for lane in self._lanes:
                tasks.start_soon(self._serve, lane)

    async def _serve(self, lane: Lane) -> None:
        while True:
            if not lane.queue:
                lane.arrived = anyio.Event()
                await lane.arrived.wait()
            content = lane.queue.popleft()
            left_out, lane.left_out = lane.left_out, 0
            if left_out:
                content = {**content, "left_out": left_out}
            await self._deliver(lane, content)

    async def _deliver(self, lane: Lane, content: dict[str, Any]) -> None:
        wait = BACKOFF_S_MIN
        for number in range(TRIES_MAX):
            if number:
                await anyio.sleep(wait)
                wait = min(2 * wait, BACKOFF_S_MAX)
            try:
                await lane.sink.send(content)
            except SinkError as error:
                lane.last_failure = self._harmless(str(error))
            else:
                lane.sent += 1
                lane.last_failure = ""
                return
        lane.failed += 1

    async def drain(self, seconds_max: float) -> None:
        """At the end: what still waits is tried once, together within so long."""
        with anyio.move_on_after(seconds_max):
            async with anyio.create_task_group() as tasks:
                for lane in self._lanes:
                    tasks.start_soon(self._empty_lane, lane)

    async def _empty_lane(self, lane: Lane) -> None:
        while lane.queue:
            try:
                await lane.sink.send(lane.queue.popleft())
            except SinkError as error:
                lane.last_failure = self._harmless(str(error))
                lane.failed += 1

    def status(self) -> list[dict[str, Any]]:
        return [
            {
                "to": lane.sink.name,
                "from": lane.sink.lowest.value,
                "sent": lane.sent,
                "waiting": len(lane.queue),
                "failed": lane.failed,
                "left_out": lane.left_out,
                "last_failure": lane.last_failure,
            }
            for lane in self._lanes
        ]


def plain(text: str) -> str:
    """In one line, without anything that a terminal would obey or that would turn the text round."""
    without_escapes = _ESCAPE.sub("", text)
    kept = (character for character in without_escapes if character.isspace() or unicodedata.category(character)[0] != "C")
    return " ".join("".join(kept).split())


def as_line(content: dict[str, Any]) -> bytes:
    return msgspec.json.encode(content) + b"\n"
