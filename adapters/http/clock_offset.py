"""The venue's clock as read from here: an interval that must hold it, narrowed by every exchange of times. Pure; ns.

It is kept against the monotonic clock, so that a step of the wall clock moves no signature. An exchange that left at t0 and was
back at t3 and said s proves s - t3 <= offset <= s + resolution - t0 + drift: the stamp was taken somewhere between. Intervals of
several exchanges are cut with each other; one that misses the others means a clock was stepped, and what came before is dropped.
"""

from __future__ import annotations

from core.units import NS_PER_MS

# The two clocks may run apart by so much: the interval grows by it while nothing is heard.
DRIFT_PPM = 200


class ClockOffset:
    """`resolution_ns` is the grain of the venue's stamps: one that says 5 ms may mean 5.999."""

    def __init__(self, resolution_ns: int = NS_PER_MS) -> None:
        self._resolution = resolution_ns
        self._low = 0
        self._high = 0
        self._at = 0
        self.samples = 0
        self.steps = 0

    @property
    def is_known(self) -> bool:
        return self.samples > 0

    def observe(self, sent_ns: int, venue_ns: int, received_ns: int) -> bool:
        """One exchange: monotonic ns when it left and was back, and the venue's stamp. False where it told of a step."""
        assert sent_ns <= received_ns
        # Stamped right after it left, the venue's clock may have run ahead on the whole way back.
        low, high = venue_ns - received_ns, venue_ns + self._resolution - sent_ns + _drift(received_ns - sent_ns)
        agrees = True
        if self.samples:
            drift = _drift(received_ns - self._at)
            known_low, known_high = self._low - drift, self._high + drift
            agrees = low <= known_high and known_low <= high
            if agrees:
                low, high = max(low, known_low), min(high, known_high)
            else:
                self.steps += 1
        self._low, self._high, self._at = low, high, received_ns
        self.samples += 1
        return agrees

    def venue_now(self, now_ns: int) -> int:
        """The venue's time (ns UTC) at the monotonic `now_ns`, at the middle of what is possible."""
        assert self.samples, "ask the venue for its time first"
        return now_ns + (self._low + self._high) // 2

    def error(self, now_ns: int) -> int:
        """How far `venue_now` may be off, either way."""
        assert self.samples
        return (self._high - self._low + 1) // 2 + _drift(now_ns - self._at)


def _drift(elapsed_ns: int) -> int:
    """How far two clocks may have run apart, in whole ns: one more than the whole part, for neither shows fractions."""
    return elapsed_ns * DRIFT_PPM // 1_000_000 + 1 if elapsed_ns > 0 else 0
