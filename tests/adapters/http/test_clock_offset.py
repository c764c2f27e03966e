"""The venue's clock: the interval always holds the truth, narrows with every exchange, and notices a step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.http.clock_offset import DRIFT_PPM, ClockOffset
from core.units import NS_PER_MS, NS_PER_SECOND

OFFSET = 1_700_000_000 * NS_PER_SECOND

EXCHANGES = st.lists(
    st.tuples(
        st.integers(0, 10 * NS_PER_SECOND),  # pause before it
        st.integers(0, 500 * NS_PER_MS),  # to the venue
        st.integers(0, 500 * NS_PER_MS),  # and back
    ),
    min_size=1,
    max_size=30,
)


@given(EXCHANGES, st.integers(-150, 150))
def test_the_truth_lies_inside_the_error(exchanges: list[tuple[int, int, int]], drift_ppm: int) -> None:
    """The venue's clock runs `drift_ppm` fast; its stamps are whole milliseconds, cut off."""

    def truth(at: int) -> int:
        return OFFSET + at + at * drift_ppm // 1_000_000

    clock = ClockOffset()
    now = 0
    for pause, there, back in exchanges:
        sent = now + pause
        stamp = truth(sent + there) // NS_PER_MS * NS_PER_MS
        now = sent + there + back
        assert clock.observe(sent, stamp, now)
        assert abs(clock.venue_now(now) - truth(now)) <= clock.error(now) + 1
        # One exchange alone is known to half of its way there and back, and what the clocks ran apart on it.
        assert clock.error(now) <= (there + back + NS_PER_MS + (there + back) * DRIFT_PPM // 1_000_000 + 1) // 2 + 1
    assert (clock.samples, clock.steps) == (len(exchanges), 0)


def test_a_quick_exchange_is_remembered_through_slow_ones() -> None:
    clock = ClockOffset()
    clock.observe(0, OFFSET + NS_PER_MS, 2 * NS_PER_MS)
    assert clock.error(2 * NS_PER_MS) == 3 * NS_PER_MS // 2 + 201  # 200 ppm of 2 ms apart, on one side
    clock.observe(NS_PER_SECOND, OFFSET + NS_PER_SECOND + 300 * NS_PER_MS, 2 * NS_PER_SECOND)
    assert clock.error(2 * NS_PER_SECOND) <= 2 * NS_PER_MS


def test_a_step_of_the_venues_clock_is_noticed_and_followed() -> None:
    clock = ClockOffset()
    clock.observe(0, OFFSET, 2 * NS_PER_MS)
    assert not clock.observe(NS_PER_SECOND, OFFSET + 2 * NS_PER_SECOND, NS_PER_SECOND + 2 * NS_PER_MS)
    assert (clock.steps, abs(clock.venue_now(NS_PER_SECOND) - OFFSET - 2 * NS_PER_SECOND) < 2 * NS_PER_MS) == (1, True)
