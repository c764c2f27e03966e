"""Our order ids as an exchange takes them: with dashes, or of letters and digits alone. Pure."""

from __future__ import annotations

import re

from core.identifiers import format_order_id, parse_order_id

_LETTERS = re.compile(r"([A-Za-z0-9]{1,14})x(\d{1,10})x(\d{1,10})\Z", re.ASCII)


class OrderIds:
    """`is_letters`: "tdx7x3" instead of "td-7-3"; a prefix's underscores have no place there."""

    def __init__(self, prefix: str, *, is_letters: bool) -> None:
        assert not is_letters or "_" not in prefix
        self._prefix = prefix
        self._is_letters = is_letters

    def text(self, client_order_id: int) -> str:
        text = format_order_id(client_order_id, self._prefix)
        return text.replace("-", "x") if self._is_letters else text

    def parse(self, text: str) -> int | None:
        """None for an id that is not ours."""
        if not self._is_letters:
            return parse_order_id(text, self._prefix)
        match = _LETTERS.match(text)
        return None if match is None else parse_order_id(f"{match[1]}-{match[2]}-{match[3]}", self._prefix)
