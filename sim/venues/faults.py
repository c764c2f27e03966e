"""What a simulated venue does wrong, by the numbers of the fault catalogue: at random from a seed, or armed for the next time.

Each number is asked for where it would happen; a fault that is neither armed nor has a rate never happens.
"""

from __future__ import annotations

from collections.abc import Mapping

PPM = 1_000_000
_MASK = (1 << 64) - 1


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
    """`known`: what this venue can show, by number. `ppm`: how often in a million occasions. `fired` counts what happened."""

    def __init__(self, known: Mapping[int, str], seed: int = 0, ppm: Mapping[int, int] | None = None) -> None:
        self.known = dict(known)
        self.random = Random(seed)
        self.fired: dict[int, int] = {}
        self._ppm: dict[int, int] = {}
        self._armed: dict[int, int] = {}
        self.is_quiet = False  # True: nothing goes wrong at random, whatever the rates say
        for number, rate in (ppm or {}).items():
            self.set_rate(number, rate)

    def set_rate(self, number: int, ppm: int) -> None:
        self._require_known(number)
        if not 0 <= ppm <= PPM:
            raise ValueError(f"fault {number}: {ppm} in a million is no rate")
        self._ppm[number] = ppm

    def arm(self, number: int, times: int = 1) -> None:
        """Let fault `number` happen at its next `times` occasions."""
        self._require_known(number)
        self._armed[number] = self._armed.get(number, 0) + times

    def disarm(self, number: int) -> None:
        """What it was armed for and has not happened does not happen; its rate stays."""
        self._armed.pop(number, None)

    def fires(self, number: int) -> bool:
        assert number in self.known
        armed = self._armed.get(number, 0)
        if armed:
            self._armed[number] = armed - 1
        else:
            rate = 0 if self.is_quiet else self._ppm.get(number, 0)
            if not rate or self.random.below(PPM) >= rate:
                return False
        self.fired[number] = self.fired.get(number, 0) + 1
        return True

    def _require_known(self, number: int) -> None:
        if number not in self.known:
            raise ValueError(f"this venue cannot show fault {number}; it knows {sorted(self.known)}")
