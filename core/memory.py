"""What strategies want to remember over a restart: asked for by an event, kept as a record, given back with the restored state.

A part of Trader.step. What a strategy saves is an answer of the Trader like a command: it stands in the journal behind the event
that asked, a replay compares it byte for byte, a fold keeps it, and the next run begins with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from core.errors import StrategyError
from core.events import MemoryRequested, StrategySaved

if TYPE_CHECKING:
    from core.trader import Trader

MEMORY_BYTES_MAX = 65_536  # of one strategy


class MemoryDesk:
    """Owned by the Trader. `saved` is what the last MemoryRequested led to."""

    def __init__(self, trader: Trader) -> None:
        self._trader = trader
        self._memory: dict[str, bytes] = {}
        self.saved: list[StrategySaved] = []

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        return {MemoryRequested: self._on_requested}

    @property
    def is_wanted(self) -> bool:
        """Whether any strategy remembers anything."""
        return any(hasattr(context.strategy, "save") for context in self._trader.contexts)

    def _on_requested(self, event: MemoryRequested) -> None:
        self.saved = []
        for context in self._trader.contexts:
            save = getattr(context.strategy, "save", None)
            if save is not None:
                self._keep_encoded(context.strategy_id, save(), event)

    def _keep_encoded(self, strategy_id: str, content: Any, event: MemoryRequested) -> None:
        try:
            data = msgspec.msgpack.encode(content)
        except (TypeError, ValueError, OverflowError) as error:
            raise StrategyError(f"strategy {strategy_id!r}: what save() returned cannot be kept: {error}") from error
        if len(data) > MEMORY_BYTES_MAX:
            raise StrategyError(f"strategy {strategy_id!r}: save() returned {len(data)} bytes; {MEMORY_BYTES_MAX} are kept")
        self.saved.append(StrategySaved(event.ts_event, event.ts_init, strategy_id, data))
        self.keep(strategy_id, data)

    def keep(self, strategy_id: str, data: bytes) -> None:
        """Called by a fold too, which finds in the journal what was saved."""
        self._memory[strategy_id] = data

    def capture(self) -> tuple[tuple[str, bytes], ...]:
        """Of the strategies there are; what one that is configured no longer had saved is dropped."""
        names = {context.strategy_id for context in self._trader.contexts}
        return tuple((name, data) for name, data in sorted(self._memory.items()) if name in names)

    def restore(self, memory: Sequence[tuple[str, bytes]]) -> None:
        self._memory = dict(memory)

    def load(self) -> None:
        """When a run starts, before its strategies hear of anything: each gets back what it saved last."""
        for context in self._trader.contexts:
            load = getattr(context.strategy, "load", None)
            if load is not None and context.strategy_id in self._memory:
                load(msgspec.msgpack.decode(self._memory[context.strategy_id]))

    def records(self) -> list[tuple[Any, ...]]:
        """For the state digest; nothing where nothing is remembered."""
        return [("memory", name, data.hex()) for name, data in self.capture()]
