"""What the account holds, known in two ways: as the venue says it, and by the executions since it last did. Pure.

The venue has no reduce-only order. An order that must only reduce is bounded here by the smaller of the two, less what open
orders on that side may still take away; it is refused beyond that.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.enums import Side


class Holdings:
    """By instrument_id, in units; nothing is known before the first look."""

    def __init__(self, instrument_ids: Iterable[str]) -> None:
        self._said = dict.fromkeys(instrument_ids, 0)
        self._counted: dict[str, int] = {}

    def said(self, instrument_id: str, qty: int) -> None:
        self._said[instrument_id] = qty

    def executed(self, instrument_id: str, side: Side, qty: int) -> None:
        if instrument_id in self._counted:
            self._counted[instrument_id] += qty if side is Side.BUY else -qty

    def looked(self, positions: dict[str, int]) -> None:
        """All of them at once: an instrument that is not among them is not held."""
        self._said = {key: positions.get(key, 0) for key in self._said}
        self._counted = dict(self._said)

    def reducible(self, instrument_id: str, side: Side) -> int:
        """How much an order on this side can take off the position, in units; 0 where there is none to reduce."""
        sign = -1 if side is Side.BUY else 1
        said = sign * self._said.get(instrument_id, 0)
        counted = sign * self._counted.get(instrument_id, 0)
        return max(min(said, counted), 0)

    def shown(self) -> dict[str, int]:
        return dict(self._said)
