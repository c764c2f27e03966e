"""An answer's body out of its content coding, within a bound: a kilobyte of gzip can be a gigabyte of zeros. Pure."""

from __future__ import annotations

import zlib

from core.errors import VenueProtocolError

# zlib's window argument: 16 more reads the gzip wrapper.
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
ACCEPT_ENCODING = "gzip"


def decompress(body: bytes, content_encoding: str, *, bytes_max: int) -> bytes:
    """`body` as it was before its content coding. Raises VenueProtocolError beyond `bytes_max` or where it is damaged."""
    coding = content_encoding.strip().lower()
    if coding in ("", "identity") or not body:
        return body
    window_bits = _WINDOW_BITS.get(coding)
    if window_bits is None:
        raise VenueProtocolError(f"content coding {content_encoding[:40]!r} was not asked for")
    decoder = zlib.decompressobj(window_bits)
    try:
        plain = decoder.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise VenueProtocolError(f"damaged {coding} body: {error}") from error
    if len(plain) > bytes_max:
        raise VenueProtocolError(f"a {coding} body of {len(body)} bytes holds more than the limit of {bytes_max}")
    if not decoder.eof or decoder.unused_data:
        raise VenueProtocolError(f"a {coding} body that is cut short or has something behind it")
    return plain
