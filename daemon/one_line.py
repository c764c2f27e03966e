"""Text from outside made fit to be shown: one line, nothing in it that a terminal or a log would take for a command."""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1), line and paragraph separators, marks that turn the direction of text, and lone surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
CUT = "…"


def one_line(text: str, characters_max: int | None = None) -> str:
    """`text` with each unsafe character written as an escape, cut where it is longer than `characters_max`."""
    if characters_max is not None and len(text) > characters_max:
        text = text[: characters_max - len(CUT)] + CUT
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
