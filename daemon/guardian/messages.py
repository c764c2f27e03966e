"""What goes between the daemon and its guardian: one datagram each, msgpack, tagged."""

from __future__ import annotations

import msgspec

from daemon.journal.anchor import Anchor
from daemon.trading.listener import Alert, Beat

DATAGRAM_BYTES_MAX = 1 << 15


class Phased(msgspec.Struct, frozen=True, kw_only=True, tag="phase"):
    """starting, running, stopping or ended. `latch` is device and number of the kill latch that this daemon looks at."""

    phase: str
    text: str
    run_id: str
    latch: tuple[int, int]
    stop_s_max: float  # longest time from stopping to ended


class Beaten(msgspec.Struct, frozen=True, kw_only=True, tag="beat"):
    beat: Beat
    latch: tuple[int, int]


class Alerted(msgspec.Struct, frozen=True, kw_only=True, tag="alert"):
    alert: Alert


class Sealed(msgspec.Struct, frozen=True, kw_only=True, tag="seal"):
    anchor: Anchor


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """Is anybody there?"""


Message = Phased | Beaten | Alerted | Sealed | Hello


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """The guardian's answer. `is_able`: it watches this daemon's own latch, and has not ended."""

    pid: int
    is_able: bool


_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_here_decoder = msgspec.msgpack.Decoder(Here)


def encode(message: Message | Here) -> bytes:
    return msgspec.msgpack.encode(message)


def decode(data: bytes) -> Message | None:
    """None for what is no message: whoever sent it, nothing follows from it."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def decode_here(data: bytes) -> Here | None:
    try:
        return _here_decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
