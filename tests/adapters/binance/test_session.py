"""Stream life, listen key and dead-man switch, driven by hand in virtual time."""

from __future__ import annotations

import pytest

from adapters.binance.dead_man import DeadMan
from adapters.binance.listen_key import KeyLimits, KeyStep, ListenKeyLife
from adapters.binance.session import Action, StreamLimits, StreamPhase, StreamSession
from adapters.binance.user_stream import ExecutionReport, StreamEnded
from core.units import NS_PER_MINUTE, NS_PER_MS, NS_PER_SECOND
from tests.adapters.binance.account_for_tests import encoded, execution_report

LIMITS = StreamLimits()
SECOND, MINUTE = NS_PER_SECOND, NS_PER_MINUTE
YES = encoded({"id": "u1", "status": 200, "result": {"subscriptionId": 0}})
NO = encoded({"id": "u1", "status": 401, "error": {"code": -2015, "msg": "Invalid API-key"}})
REPORT = encoded({"subscriptionId": 0, "event": execution_report()})


def live(now: int = 0, *, spot: bool = True) -> StreamSession:
    session = StreamSession(LIMITS, needs_subscription=spot)
    assert session.advance(now)[0] == [Action.OPEN]
    if spot:
        assert session.opened(now) == [Action.SUBSCRIBE]
        assert session.receive(now, YES)[1] == [Action.RECOVER]
    else:
        assert session.opened(now) == [Action.RECOVER]
    assert not session.may_place
    session.recovered(now)
    assert session.may_place
    return session


@pytest.mark.parametrize("spot", [True, False])
def test_a_connection_is_live_only_when_the_truth_was_asked_for(spot: bool) -> None:
    session = live(spot=spot)
    message, actions = session.receive(SECOND, REPORT)
    assert (type(message), actions, session.phase) == (ExecutionReport, [], StreamPhase.LIVE)


def test_facts_count_before_the_truth_is_known() -> None:
    session = StreamSession(LIMITS, needs_subscription=False)
    session.advance(0)
    session.opened(0)
    message, _ = session.receive(1, REPORT)
    assert (type(message), session.phase) == (ExecutionReport, StreamPhase.RECOVERING)


def test_silence_is_a_half_open_connection_and_pings_are_life() -> None:
    session = live()
    session.heard(30 * SECOND)
    actions, wake = session.advance(60 * SECOND)
    assert (actions, wake) == ([], 30 * SECOND + LIMITS.silence_ns)
    assert session.advance(wake) == ([Action.CLOSE], wake + LIMITS.backoff_first_ns)
    assert (session.phase, session.why) == (StreamPhase.OFF, "nothing was heard on it")


def test_a_connection_is_left_before_the_venue_cuts_it() -> None:
    session = live()
    session.heard(LIMITS.life_ns)
    assert session.advance(LIMITS.life_ns - 1) == ([], LIMITS.life_ns)
    assert session.advance(LIMITS.life_ns)[0] == [Action.CLOSE]
    assert session.why == "it is a day old"
    assert LIMITS.life_ns < 24 * 60 * MINUTE


@pytest.mark.parametrize("event", ["serverShutdown", "eventStreamTerminated", "listenKeyExpired"])
def test_the_venue_asks_for_a_new_connection(event: str) -> None:
    session = live()
    message, actions = session.receive(MINUTE, encoded({"event": {"e": event, "E": 5}}))
    assert (message, actions) == (StreamEnded(event), [Action.CLOSE])
    assert session.advance(MINUTE)[0] == [Action.OPEN]


def test_failures_back_off_and_a_settled_connection_forgives() -> None:
    session = StreamSession(LIMITS, needs_subscription=False)
    now, waits = 0, []
    for _ in range(12):
        assert session.advance(now)[0] == [Action.OPEN]
        session.closed(now, "refused")
        _, wake = session.advance(now)
        waits.append((wake - now) // NS_PER_MS)
        now = wake
    assert waits == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]
    session.advance(now)
    session.opened(now)
    session.recovered(now)
    session.closed(now + MINUTE, "reset")
    assert session.advance(now + MINUTE)[1] == now + MINUTE + LIMITS.backoff_first_ns


def test_a_reconnect_storm_stays_inside_the_venues_limit() -> None:
    """A venue that says "shutting down" to every connection at once."""
    session = StreamSession(LIMITS, needs_subscription=False)
    now, attempts = 0, []
    for _ in range(500):
        actions, wake = session.advance(now)
        if actions == [Action.OPEN]:
            attempts.append(now)
            session.opened(now)
            session.receive(now, encoded({"e": "serverShutdown", "E": 5}))
        now = max(now + NS_PER_MS, wake if not actions else now)
    assert max(sum(start <= at < start + 5 * MINUTE for at in attempts) for start in attempts) <= LIMITS.connects_max


@pytest.mark.parametrize(("frames", "why"), [([NO], "the subscription was refused: -2015 Invalid API-key")])
def test_a_refused_subscription_ends_it(frames: list[bytes], why: str) -> None:
    session = StreamSession(LIMITS, needs_subscription=True)
    session.advance(0)
    session.opened(0)
    assert [session.receive(1, frame)[1] for frame in frames] == [[Action.CLOSE]]
    assert session.why == why


def test_what_takes_too_long_is_given_up() -> None:
    session = StreamSession(LIMITS, needs_subscription=True)
    _, wake = session.advance(0)
    assert session.advance(wake)[0] == [Action.CLOSE]
    assert session.opened(wake) == []  # it opened after all: too late
    _, wake = session.advance(wake)
    _, opening = session.advance(wake)
    assert session.opened(wake) == [Action.SUBSCRIBE]
    assert session.advance(opening)[0] == [Action.CLOSE]
    assert session.why == "the subscription was not answered"


def test_a_frame_that_cannot_be_read_is_asked_about_and_many_end_it() -> None:
    session = live()
    for _ in range(LIMITS.unreadable_max):
        assert session.receive(SECOND, b'{"e":"newThing"}') == (None, [Action.RECOVER])
    assert session.receive(SECOND, b'{"e":"newThing"}') == (None, [Action.CLOSE])
    assert session.phase is StreamPhase.OFF
    assert session.why.startswith("too many frames that cannot be read")


# The listen key.

KEYS = KeyLimits()


def test_a_listen_key_is_kept_alive() -> None:
    life = ListenKeyLife(KEYS)
    assert (life.due(0), life.due(0), life.next_at()) == (KeyStep.CREATE, None, None)
    assert life.created("key1", asked=0)
    assert (life.due(KEYS.keep_ns - 1), life.due(KEYS.keep_ns)) == (None, KeyStep.KEEP)
    life.kept(asked=KEYS.keep_ns)
    assert life.next_at() == 2 * KEYS.keep_ns


def test_a_listen_key_that_cannot_be_kept_is_made_anew_before_its_end() -> None:
    life = ListenKeyLife(KEYS)
    life.due(0)
    life.created("key1", asked=0)
    now, steps = KEYS.keep_ns, []
    while not steps or steps[-1][1] is KeyStep.KEEP:
        step = life.due(now)
        assert step is not None
        steps.append((now, step))
        life.failed(now)
        now = life.next_at() or 0
    assert KEYS.life_ns - KEYS.margin_ns <= steps[-1][0] <= KEYS.life_ns
    assert life.key == ""
    life.due(now)
    assert not life.created("", asked=now)


def test_a_listen_key_that_the_venue_forgot() -> None:
    life = ListenKeyLife(KEYS)
    life.due(0)
    life.created("key1", asked=0)
    life.due(KEYS.keep_ns)
    life.failed(KEYS.keep_ns, is_gone=True)
    assert life.due(KEYS.keep_ns) is KeyStep.CREATE
    assert life.created("key2", asked=KEYS.keep_ns)
    life.lost(KEYS.keep_ns + 1)
    assert (life.key, life.due(KEYS.keep_ns + 1)) == ("", KeyStep.CREATE)
    # POST gives the same key back while it lives: then the stream needs no new connection.
    life.created("key3", asked=0)
    assert not life.created("key3", asked=0)


# The dead-man switch.

COUNTDOWN = 30 * SECOND


def test_the_countdown_is_set_anew_at_a_third_of_it() -> None:
    switch = DeadMan(("A", "B"), COUNTDOWN)
    assert (switch.due(0), switch.due(0)) == (["A", "B"], [])
    assert switch.armed("A", SECOND)
    assert switch.armed("B", SECOND)
    assert switch.next_at() == 10 * SECOND
    assert switch.due(10 * SECOND) == ["A", "B"]
    assert switch.run_out(29 * SECOND) == []
    assert switch.countdown_ms == 30_000


def test_a_refresh_that_fails_is_repeated_and_a_late_one_is_said() -> None:
    switch = DeadMan(("A",), COUNTDOWN)
    switch.due(0)
    switch.armed("A", SECOND)
    switch.due(10 * SECOND)
    switch.failed("A", 12 * SECOND, was_sent=True)
    assert switch.next_at() == 12 * SECOND + SECOND // 2
    # The countdown that is proven to run is the first one's still.
    assert switch.run_out(30 * SECOND) == ["A"]
    switch.due(29 * SECOND)
    assert not switch.armed("A", 31 * SECOND)  # the venue may have canceled in between: ask
    assert switch.run_out(31 * SECOND) == []


def test_an_arming_whose_outcome_is_unknown_counts_as_running() -> None:
    switch = DeadMan(("A", "B"), COUNTDOWN)
    switch.due(0)
    switch.failed("A", SECOND, was_sent=True)
    switch.failed("B", SECOND, was_sent=False)
    assert switch.run_out(COUNTDOWN) == ["A"]


def test_a_countdown_that_a_slow_answer_could_outlast_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        DeadMan(("A",), 2 * SECOND)
