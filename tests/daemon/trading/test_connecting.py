"""A start waits for a venue as long as it is told to, ever more slowly, and for nothing else. Time is the test's own."""

from __future__ import annotations

import anyio
import pytest

from core.errors import RefusedError, TransportError
from daemon.trading import connecting
from daemon.trading.connecting import open_patiently
from tests.daemon.trading.scripted_venue import ScriptedVenue


class Away(ScriptedVenue):
    """Cannot be reached until `opens_at`; `tries` is when it was tried, in seconds of the test's time."""

    def __init__(self, time: Time, opens_at: float, error: Exception) -> None:
        self.tries: list[float] = []
        self._time, self._opens_at, self._error = time, opens_at, error

    async def open(self) -> None:
        self.tries.append(self._time.now_s)
        if self._time.now_s < self._opens_at:
            raise self._error


class Time:
    now_s = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(connecting.anyio, "sleep", made.sleep)
    monkeypatch.setattr(connecting.anyio, "current_time", lambda: made.now_s)
    return made


def test_it_tries_ever_more_slowly_until_the_venue_is_there(time: Time) -> None:
    venue, heard = Away(time, 40.0, TransportError("nobody answers")), []
    anyio.run(open_patiently, venue, 60.0, heard.append)
    assert venue.tries == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 30.5, 45.5]
    assert heard == ["nobody answers"] * 7


def test_it_gives_up_within_its_time(time: Time) -> None:
    venue = Away(time, 1e9, TransportError("nobody answers"))
    with pytest.raises(TransportError, match="nobody answers"):
        anyio.run(open_patiently, venue, 5.0, str)
    assert venue.tries == [0.0, 0.5, 1.5, 3.5]


def test_without_a_wait_it_tries_once(time: Time) -> None:
    venue = Away(time, 1e9, TransportError("nobody answers"))
    with pytest.raises(TransportError):
        anyio.run(open_patiently, venue, 0.0, str)
    assert venue.tries == [0.0]


def test_a_refusal_is_not_waited_out(time: Time) -> None:
    venue = Away(time, 1e9, RefusedError("wrong token"))
    with pytest.raises(RefusedError):
        anyio.run(open_patiently, venue, 60.0, str)
    assert venue.tries == [0.0]
