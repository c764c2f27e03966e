"""A start waits for a venue as long as it is told to, ever more slowly, and for nothing else. Time is the test's own.

That is so until the venue has said how the account stands: a connection that is there and answers nothing, as where the budget
of requests is used up, is no other case.
"""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from core.errors import RefusedError, TransportError
from core.venue_adapter import VenueState
from daemon.trading import connecting
from daemon.trading import daemon as daemon_module
from daemon.trading.connecting import patiently
from tests.daemon.trading.daemon_harness import Running, play
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
    anyio.run(patiently, venue.open, 60.0, heard.append)
    assert venue.tries == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 30.5, 45.5]
    assert heard == ["nobody answers"] * 7


def test_it_gives_up_within_its_time(time: Time) -> None:
    venue = Away(time, 1e9, TransportError("nobody answers"))
    with pytest.raises(TransportError, match="nobody answers"):
        anyio.run(patiently, venue.open, 5.0, str)
    assert venue.tries == [0.0, 0.5, 1.5, 3.5]


def test_without_a_wait_it_tries_once(time: Time) -> None:
    venue = Away(time, 1e9, TransportError("nobody answers"))
    with pytest.raises(TransportError):
        anyio.run(patiently, venue.open, 0.0, str)
    assert venue.tries == [0.0]


def test_a_refusal_is_not_waited_out(time: Time) -> None:
    venue = Away(time, 1e9, RefusedError("wrong token"))
    with pytest.raises(RefusedError):
        anyio.run(patiently, venue.open, 60.0, str)
    assert venue.tries == [0.0]


class Silent(ScriptedVenue):
    """Does not say how the account stands until it was asked `refusals` times."""

    refusals = 3

    async def query(self, since_ts: int) -> VenueState:
        self.is_reachable = self.queries >= self.refusals
        return await super().query(since_ts)


class AlwaysSilent(Silent):
    refusals = 10**9


def test_a_start_asks_again_how_the_account_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(run: Running) -> None:
        assert run.venue.queries == 4

    run = play(tmp_path, monkeypatch, story, 'daemon.venue_wait="20s"', make_venue=Silent)
    assert run.watcher.kinds().count("bug") == 0


@pytest.mark.parametrize(("wait", "cap_s", "queries"), [("0ns", 90.0, 1), ("5s", 90.0, 4), ("1d", 2.0, 3)])
def test_a_start_that_hears_nothing_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: str, cap_s: float, queries: int
) -> None:
    monkeypatch.setattr(daemon_module, "FIRST_LOOK_S_MAX", cap_s)

    async def story(run: Running) -> None:
        assert isinstance(run.end, TransportError)

    run = play(tmp_path, monkeypatch, story, f'daemon.venue_wait="{wait}"', make_venue=AlwaysSilent, must_trade=False)
    assert run.venue.queries == queries
    assert "running" not in run.watcher.phases
