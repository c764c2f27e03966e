"""Strict JSON: each trap of the decoders by name, and agreement with a plain decoder on everything that is clean."""

from __future__ import annotations

import json
import random
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.strict_json import DEPTH_MAX, decode, require_strict
from core.errors import VenueProtocolError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((depth_of(inner) for inner in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(inner) for inner in value), default=0)
    return 0


@given(JSON, st.integers(1, 6))
def test_clean_json_passes_and_depth_is_counted(value: object, depth_max: int) -> None:
    for payload in (json.dumps(value).encode(), json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")):
        try:
            payload.decode()
        except UnicodeDecodeError:
            continue
        # Few brackets are not looked at: they cannot nest deeper than there are of them.
        if depth_of(value) <= depth_max:
            require_strict(payload, bytes_max=1 << 20, depth_max=depth_max)
        else:
            with pytest.raises(VenueProtocolError, match="nested deeper"):
                require_strict(payload, bytes_max=1 << 20, depth_max=depth_max)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "Expecting value"),
        (b'{"a":1', "Expecting"),
        (b'{"a":1}x', "Extra data"),
        (b'{"a":1,"a":1}', "duplicate keys"),
        (b'{"a":1,"\\u0061":2}', "duplicate keys"),
        (b'[{"x":{"a":1,"a":2}}]', "duplicate keys"),
        (b"NaN", "NaN is not a number"),
        (b"[Infinity]", "Infinity is not a number"),
        (b"-Infinity", "-Infinity is not a number"),
        (b"1e999", "1e999 is out of range"),
        (b"[-1e999]", "-1e999 is out of range"),
        (b"1" * 5000, "digits"),
        (b'"\xff"', "utf-8"),
        (b'"\xed\xa0\x80"', "utf-8"),
        ('"x"'.encode("utf-16"), "utf-8"),
        (b"\xef\xbb\xbf{}", "Expecting value"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper"),
        (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "nested deeper"),
        (b'"' + b"x" * 200 + b'"', "above the limit of 150"),
    ],
)
def test_each_trap_is_refused_by_name(payload: bytes, why: str) -> None:
    limit = 150 if b"xxx" in payload else 1 << 20
    with pytest.raises(VenueProtocolError, match=why):
        require_strict(payload, bytes_max=limit)


def test_brackets_inside_texts_are_no_nesting() -> None:
    require_strict(json.dumps(["[" * 500, '\\"[{' * 50]).encode(), bytes_max=1 << 20)


class Small(msgspec.Struct):
    a: int


SMALL = msgspec.json.Decoder(Small)


def test_a_number_with_an_exponent_is_no_integer() -> None:
    assert decode(b'{"a":5,"b":{}}', SMALL, bytes_max=100) == Small(5)
    for payload in (b'{"a":"5"}', b"{}", b"[]", b'{"a":1e400}', b'{"a":1.5}'):
        with pytest.raises(VenueProtocolError):
            decode(payload, SMALL, bytes_max=100)


def test_damaged_bytes_raise_nothing_but_the_protocol_error() -> None:
    seed = random.randrange(2**32)
    print(f"repeat with seed {seed}")
    chance = random.Random(seed)
    clean = json.dumps({"a": 1, "b": [{"c": 'd\\"e', "f": 1.5e3}, None, True], "g": {"h": {"i": []}}}).encode()
    for _ in range(20_000):
        damaged = bytearray(clean)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(damaged))
            match chance.randrange(3):
                case 0:
                    damaged[at] = chance.randrange(256)
                case 1:
                    del damaged[at]
                case _:
                    damaged[at:at] = chance.choice([b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"NaN", b"1e999", b"\x00"])
        with suppress(VenueProtocolError):
            decode(bytes(damaged), SMALL, bytes_max=1 << 16)
