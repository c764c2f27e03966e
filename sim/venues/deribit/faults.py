"""What the simulated venue does wrong, by the numbers of the fault catalogue: at random from a seed, or armed for the next time.

Each number is asked for where it would happen; a fault that is neither armed nor has a rate never happens.
"""

from __future__ import annotations

from collections.abc import Mapping

PPM = 1_000_000
_MASK = (1 << 64) - 1

# What this venue can show; docs/VENUES-DERIBIT.md says how each looks on the wire.
KNOWN: dict[int, str] = {
    1: "disconnect before the request is read",
    2: "disconnect after accept, before the answer",
    3: "disconnect in the middle of the answer",
    9: "an answer with an empty or wrong body",
    10: "the answer comes 60 s late",
    13: "two orders, one label",
    14: "unknown error code; the order may be live",
    15: "a success envelope with an inner error",
    19: "post-only repriced although reject_post_only",
    20: "not found though live",
    21: "query retention over",
    22: "the same fill twice",
    23: "the same fill under a new id",
    24: "fill before the answer",
    25: "fill after the cancel was answered",
    29: "cancel accepted, never done",
    32: "commission in a third currency",
    34: "a terminal state reopened",
    35: "streams reordered",
    41: "half-open connection",
    42: "heartbeats without data",
    43: "connection cut",
    46: "credits out, session cut",
    50: "crossed book",
    51: "book gap, duplicate or reorder",
    54: "a number that is none",
    55: "giant, deep or duplicate-key JSON",
    56: "integers beyond 2^53",
    57: "tick changed between check and send",
    61: "token revoked",
    62: "maintenance",
    69: "the other environment answers",
}


class Random:
    """splitmix64: the same numbers from the same seed everywhere."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def next(self) -> int:
        """Uniform in 0 .. 2^64 - 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        value = self._state
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
        return value ^ (value >> 31)

    def below(self, bound: int) -> int:
        """Uniform in 0 .. bound - 1, as near as 64 bits allow."""
        return self.next() * bound >> 64


class Faults:
    """`ppm`: by number, how often in a million occasions. `fired` counts what happened."""

    def __init__(self, seed: int = 0, ppm: Mapping[int, int] | None = None) -> None:
        rates = dict(ppm or {})
        unknown = sorted(set(rates) - set(KNOWN))
        if unknown:
            raise ValueError(f"this venue cannot show faults {unknown}; it knows {sorted(KNOWN)}")
        self.random = Random(seed)
        self.fired: dict[int, int] = {}
        self._ppm = rates
        self._armed: dict[int, int] = {}
        self.is_quiet = False  # True: nothing goes wrong, whatever the rates say

    def arm(self, number: int, times: int = 1) -> None:
        """Let fault `number` happen at its next `times` occasions."""
        if number not in KNOWN:
            raise ValueError(f"this venue cannot show fault {number}; it knows {sorted(KNOWN)}")
        self._armed[number] = self._armed.get(number, 0) + times

    def fires(self, number: int) -> bool:
        assert number in KNOWN
        armed = self._armed.get(number, 0)
        if armed:
            self._armed[number] = armed - 1
        else:
            rate = 0 if self.is_quiet else self._ppm.get(number, 0)
            if not rate or self.random.below(PPM) >= rate:
                return False
        self.fired[number] = self.fired.get(number, 0) + 1
        return True
