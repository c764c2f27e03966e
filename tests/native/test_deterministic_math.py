"""deterministic_math.h and random.h: accuracy against Python's math, published vectors, and the same bits at every -O level."""

from __future__ import annotations

import ctypes
import hashlib
import math
import random
import statistics
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.native.compile_probe import compile_probe

PROBE = ["tests/native/deterministic_math_probe.c"]
MASK = (1 << 64) - 1


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = compile_probe(PROBE, tmp_path_factory.mktemp("probe") / "probe.so", "-O3", "-shared", "-fPIC")
    return ctypes.CDLL(str(path))


def call(probe: ctypes.CDLL, name: str, values: list[float]) -> list[float]:
    source = np.array(values, dtype=np.float64)
    result = np.empty_like(source)
    function = getattr(probe, name)
    function(ctypes.c_int64(len(source)), ctypes.c_void_p(source.ctypes.data), ctypes.c_void_p(result.ctypes.data))
    return [float(value) for value in result]


def words(probe: ctypes.CDLL, seed: int, stream: int, count: int, jumps: int = 0) -> list[int]:
    out = np.empty(count, dtype=np.uint64)
    probe.probe_words(
        ctypes.c_uint64(seed), ctypes.c_uint64(stream), jumps, ctypes.c_int64(count), ctypes.c_void_p(out.ctypes.data)
    )
    return [int(word) for word in out]


def law(probe: ctypes.CDLL, number: int, count: int, seed: int = 1) -> np.ndarray:
    out = np.empty(count)
    probe.probe_law(ctypes.c_uint64(seed), number, ctypes.c_int64(count), ctypes.c_void_p(out.ctypes.data))
    return out


def arguments(count: int, draw: Callable[[random.Random], float], seed: int = 20261120) -> list[float]:
    source = random.Random(seed)
    return [draw(source) for _ in range(count)]


def worst_ulp(pairs: Iterator[tuple[float, float]]) -> float:
    return max(abs(found - wanted) / math.ulp(wanted) for found, wanted in pairs)


def any_positive(source: random.Random) -> float:
    return math.ldexp(1 + source.random(), source.randint(-1073, 1022))


# Python's math.log, exp and sqrt are within 1 ulp of the truth, so 2 ulp of the truth shows as at most 3 of Python's.
@pytest.mark.parametrize(
    ("name", "reference", "values"),
    [
        ("probe_ln", math.log, arguments(100_000, any_positive)),
        ("probe_ln", math.log, arguments(100_000, lambda source: 0.5 + source.random() * 1.5)),
        ("probe_ln", math.log, arguments(50_000, lambda source: 1 + (source.random() - 0.5) * 1e-6)),
        ("probe_exp", math.exp, arguments(100_000, lambda source: (source.random() - 0.5) * 1400)),
        ("probe_exp", math.exp, arguments(100_000, lambda source: (source.random() - 0.5) * 8)),
        ("probe_sqrt", math.sqrt, arguments(100_000, any_positive)),
    ],
)
def test_within_two_ulp(probe: ctypes.CDLL, name: str, reference: Callable[[float], float], values: list[float]) -> None:
    found = call(probe, name, values)
    assert worst_ulp((f, reference(x)) for f, x in zip(found, values, strict=True)) <= 2.0


def test_exp_just_above_underflow(probe: ctypes.CDLL) -> None:
    values = [-745.13, -744.44007, -740.0, -709.0, -708.4, -708.39]
    assert worst_ulp((f, math.exp(x)) for f, x in zip(call(probe, "probe_exp", values), values, strict=True)) <= 1.0


def test_special_values(probe: ctypes.CDLL) -> None:
    inf, nan = math.inf, math.nan
    assert call(probe, "probe_ln", [1.0, 0.0, -0.0, inf]) == [0.0, -inf, -inf, inf]
    assert call(probe, "probe_exp", [0.0, -0.0, inf, -inf, 709.79, -746.0]) == [1.0, 1.0, inf, 0.0, inf, 0.0]
    assert call(probe, "probe_sqrt", [0.0, 1.0, 4.0, inf, 5e-324]) == [0.0, 1.0, 2.0, inf, math.sqrt(5e-324)]
    assert call(probe, "probe_normal_quantile", [0.0, 0.5, 1.0]) == [-inf, 0.0, inf]
    for name, bad in (
        ("probe_ln", [-1.0, -5e-324, nan]),
        ("probe_exp", [nan]),
        ("probe_sqrt", [-1.0, nan]),
        ("probe_normal_quantile", [-0.1, 1.1, nan]),
    ):
        assert all(math.isnan(value) for value in call(probe, name, bad)), name


def test_normal_quantile_against_the_standard_library_and_its_own_inverse(probe: ctypes.CDLL) -> None:
    values = arguments(50_000, lambda source: source.random()) + arguments(50_000, lambda source: 10 ** -(source.random() * 300))
    found = call(probe, "probe_normal_quantile", values)
    reference = statistics.NormalDist().inv_cdf
    for p, z in zip(values, found, strict=True):
        assert math.isclose(z, reference(p), rel_tol=4e-15, abs_tol=1e-16), p
    # Independent of AS 241: the distribution function at the quantile gives p back. d ln p = z dz in the tail.
    for p, z in zip(values, found, strict=True):
        back = 0.5 * math.erfc(-z / math.sqrt(2))
        assert math.isclose(back, p, rel_tol=1e-14 * (1 + z * z)), p


def test_published_quantiles(probe: ctypes.CDLL) -> None:
    # Wichura 1988, the algorithm's own check values.
    found = call(probe, "probe_normal_quantile", [0.25, 0.001, 1e-20])
    wanted = [-0.6744897501960817, -3.090232306167814, -9.262340089798408]
    assert all(math.isclose(f, w, rel_tol=1e-15) for f, w in zip(found, wanted, strict=True))


def test_xoshiro_published_vector(probe: ctypes.CDLL) -> None:
    # The reference implementation's first outputs from the state 1, 2, 3, 4.
    state = np.array([1, 2, 3, 4], dtype=np.uint64)
    out = np.empty(4, dtype=np.uint64)
    probe.probe_words_from_state(ctypes.c_void_p(state.ctypes.data), ctypes.c_int64(4), ctypes.c_void_p(out.ctypes.data))
    assert [int(word) for word in out] == [11520, 0, 1509978240, 1215971899390074240]


class Xoshiro:
    """xoshiro256** in plain Python, written from the paper: the oracle of random.h."""

    def __init__(self, state: list[int]) -> None:
        self.s = list(state)

    @classmethod
    def seeded(cls, seed: int, stream: int) -> Xoshiro:
        mixed = splitmix(seed, 1)[0] ^ splitmix(stream, 1)[0] if stream else None
        # Stream 0 fills from the seed; any other from the mixed word.
        return cls(splitmix(seed if mixed is None else mixed, 4))

    def next(self) -> int:
        s = self.s
        product = s[1] * 5 & MASK
        result = ((product << 7 | product >> 57) & MASK) * 9 & MASK
        t = s[1] << 17 & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = (s[3] << 45 | s[3] >> 19) & MASK
        return result


def splitmix(state: int, count: int) -> list[int]:
    out = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        out.append(z ^ z >> 31)
    return out


def test_splitmix_published_vector() -> None:
    # Seed 1234567, the vector every port of splitmix64 quotes.
    assert splitmix(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", [0, 1, 7, MASK])
@pytest.mark.parametrize("stream", [0, 1, 2, 1 << 63])
def test_streams_against_the_plain_python_generator(probe: ctypes.CDLL, seed: int, stream: int) -> None:
    oracle = Xoshiro.seeded(seed, stream)
    assert words(probe, seed, stream, 200) == [oracle.next() for _ in range(200)]


def test_jump_is_the_linear_map_of_2_to_the_128_steps(probe: ctypes.CDLL) -> None:
    # One step is linear over GF(2): squaring its 256 by 256 matrix 128 times is 2^128 steps.
    def step(state: int) -> int:
        engine = Xoshiro([state >> 64 * index & MASK for index in range(4)])
        engine.next()
        return sum(word << 64 * index for index, word in enumerate(engine.s))

    def times(columns: list[int], vector: int) -> int:
        out = 0
        while vector:
            low = vector & -vector
            out ^= columns[low.bit_length() - 1]
            vector ^= low
        return out

    columns = [step(1 << bit) for bit in range(256)]
    for _ in range(128):
        columns = [times(columns, column) for column in columns]
    start = sum(word << 64 * index for index, word in enumerate(Xoshiro.seeded(42, 3).s))
    jumped = times(columns, start)
    oracle = Xoshiro([jumped >> 64 * index & MASK for index in range(4)])
    assert words(probe, 42, 3, 50, jumps=1) == [oracle.next() for _ in range(50)]


def test_uniform_and_exponential_and_normal_against_their_laws(probe: ctypes.CDLL) -> None:
    count = 1_000_000
    uniform, open_uniform, exponential, normal = (law(probe, number, count) for number in range(4))
    assert uniform.min() >= 0.0
    assert uniform.max() < 1.0
    assert open_uniform.min() > 0.0
    assert open_uniform.max() < 1.0
    # Kolmogorov–Smirnov, 1.95 / sqrt(n): one in a thousand for a fresh seed, fixed for this one.
    bound = 1.95 / math.sqrt(count)
    grid = (np.arange(count) + 0.5) / count
    assert np.abs(np.sort(uniform) - grid).max() < bound
    assert np.abs(1 - np.exp(-np.sort(exponential)) - grid).max() < bound
    sample = np.sort(normal)[::10]
    cdf = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in sample])
    assert np.abs(cdf - grid[::10]).max() < bound
    # Moments within four standard errors: variances 1 and 1 of the mean, 8 and 2 of the variance, 96 of the kurtosis.
    assert abs(exponential.mean() - 1) < 4 / 1000
    assert abs(exponential.var() - 1) < 4 * math.sqrt(8) / 1000
    assert abs(normal.mean()) < 4 / 1000
    assert abs(normal.var() - 1) < 4 * math.sqrt(2) / 1000
    assert abs((normal**4).mean() - 3) < 4 * math.sqrt(96) / 1000


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 1000, (1 << 32) - 1])
def test_below_is_in_range_and_even(probe: ctypes.CDLL, limit: int) -> None:
    count = 200_000
    out = np.empty(count, dtype=np.uint64)
    probe.probe_below(ctypes.c_uint64(5), ctypes.c_uint32(limit), ctypes.c_int64(count), ctypes.c_void_p(out.ctypes.data))
    assert out.max() < limit
    cells = min(limit, 10)
    counts = np.bincount((out * cells // limit).astype(np.int64), minlength=cells)
    # A cell of a coarser grid holds its share of values, exactly countable when limit is small.
    shares = np.array([len(range(-(-cell * limit // cells), -(-(cell + 1) * limit // cells))) for cell in range(cells)]) / limit
    expected = shares * count
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 30  # 9 degrees of freedom: one in two thousand


def test_uniform_is_a_multiple_of_two_to_minus_53(probe: ctypes.CDLL) -> None:
    for value in law(probe, 0, 100):
        assert (Fraction(float(value)) * 2**53).denominator == 1
    for value in law(probe, 1, 100):
        assert (Fraction(float(value)) * 2**53).numerator % 2 == 1


def test_same_bits_whatever_the_optimiser_does(tmp_path: Path) -> None:
    values = arguments(20_000, any_positive)
    exponents = arguments(20_000, lambda source: (source.random() - 0.5) * 1400)
    probabilities = arguments(20_000, lambda source: source.random())
    digests = set()
    for index, options in enumerate((["-O0"], ["-O2"], ["-O3", "-march=native"])):
        library = ctypes.CDLL(str(compile_probe(PROBE, tmp_path / f"probe{index}.so", *options, "-shared", "-fPIC")))
        parts = [call(library, "probe_ln", values), call(library, "probe_exp", exponents)]
        parts += [call(library, "probe_sqrt", values), call(library, "probe_normal_quantile", probabilities)]
        digests.add(hashlib.sha256(np.array(parts).tobytes()).hexdigest())
    # The digest of one machine is the digest of all of them.
    assert digests == {GOLDEN_DIGEST}


GOLDEN_DIGEST = "0e1bc26154ba1408dcd9f089fa4237973b0434f4338d1f3db5256e2e9dbae96b"
