"""JSON as a venue may send it, and nothing else: bounded, no duplicate keys, no NaN, no 1e999, no nesting to crash on."""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

import msgspec

from core.errors import VenueProtocolError

T = TypeVar("T")

DEPTH_MAX = 32
QUOTED_BYTES_MAX = 200

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


def quoted(payload: bytes) -> str:
    """The beginning of `payload` for a message."""
    return repr(payload[:QUOTED_BYTES_MAX])


def require_strict(payload: bytes, *, bytes_max: int, depth_max: int = DEPTH_MAX) -> None:
    """Raise VenueProtocolError unless `payload` is UTF-8 JSON within its limits whose every object has distinct keys.

    A decoder keeps the last of two equal keys and says nothing, so a body could say one thing to us and another to a reader
    that keeps the first.
    """
    if len(payload) > bytes_max:
        raise VenueProtocolError(f"a body of {len(payload)} bytes is above the limit of {bytes_max}")
    _require_shallow(payload, depth_max)
    try:
        _DECODE(payload.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise VenueProtocolError(f"{error}: {quoted(payload)}") from error


def decode(payload: bytes, decoder: msgspec.json.Decoder[T], *, bytes_max: int) -> T:
    """`payload` as the decoder's type, strictly. Raises VenueProtocolError for everything else."""
    require_strict(payload, bytes_max=bytes_max)
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise VenueProtocolError(f"{error}: {quoted(payload)}") from error


def _require_shallow(payload: bytes, depth_max: int) -> None:
    if payload.count(b"[") + payload.count(b"{") <= depth_max:
        return
    brackets = _STRINGS.sub(b"", payload).translate(_ONE_KIND, _NOT_BRACKETS)
    # Each pass takes the innermost pairs away, so that depth d needs d passes, all of them in C.
    for _ in range(depth_max):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise VenueProtocolError(f"nested deeper than {depth_max} or unbalanced: {quoted(payload)}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate keys")
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


# Made once: json.loads with these hooks would make one for each payload, which costs five times the decoding.
_DECODE = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_refuse_constant, parse_float=_finite).decode
