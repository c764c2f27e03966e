"""Breaks the Deribit adapter on purpose in every process that is started with this folder on its path: fees count as rebates.

What the core itself refuses, such as a fill beyond its order, would be no proof that the drill looks.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.deribit import tracker, truth
from core.events import OrderFilled

_read_fill = tracker.read_fill


def _rebated(*arguments: Any) -> OrderFilled:
    fill = _read_fill(*arguments)
    return msgspec.structs.replace(fill, commission=-fill.commission)


tracker.read_fill = truth.read_fill = _rebated
