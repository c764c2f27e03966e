"""Looks at the venues while a drill runs: the worst that could become of each position, and what is open after a kill."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from core.risk import InstrumentLimits
from daemon.drill.auditor import Breach, Oracle, is_ours
from daemon.drill.simulated import Simulated

LOOK_S = 0.05


class Watcher:
    """`limits` by instrument; `prefixes` by venue."""

    def __init__(
        self, simulated: Sequence[Simulated], limits: Mapping[str, InstrumentLimits], prefixes: Mapping[str, str]
    ) -> None:
        self._simulated = simulated
        self._limits = limits
        self._prefixes = prefixes
        self.worst: dict[str, int] = {}
        self._too_large: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await anyio.sleep(LOOK_S)

    def look(self) -> None:
        for each in self._simulated:
            self._look_at(each, each.ledger())

    def _look_at(self, simulated: Simulated, ledger: dict[str, Any]) -> None:
        working: dict[str, dict[str, int]] = defaultdict(lambda: {"BUY": 0, "SELL": 0})
        for order in ledger["orders"]:
            if order["account"] != simulated.account or not is_ours(order, self._prefixes[simulated.connection.venue]):
                continue
            key = order["instrument_id"]
            limits = self._limits.get(key)
            if limits is not None and order["qty"] - order["filled_qty"] > limits.order_qty_max and order["is_open"]:
                self._too_large[key] = max(self._too_large.get(key, 0), order["qty"])
            if order["is_open"] and not order["reduce_only"]:
                working[key][order["side"]] += order["qty"] - order["filled_qty"]
        positions = ledger["positions"].get(simulated.account, {})
        for key in {*positions, *working}:
            held = positions.get(key, 0)
            worst = max(abs(held), abs(held + working[key]["BUY"]), abs(held - working[key]["SELL"]))
            self.worst[key] = max(self.worst.get(key, 0), worst)

    def breaches(self, foreign: Mapping[str, int]) -> list[Breach]:
        """`foreign`: what others brought into a position of ours, by instrument: no limit could have kept it out."""
        found = [
            Breach(Oracle.LIMITS, f"{key}: an order of {qty} was at the venue, {self._limits[key].order_qty_max} is the limit")
            for key, qty in self._too_large.items()
        ]
        for key, worst in self.worst.items():
            limits = self._limits.get(key)
            if limits is not None and worst - abs(foreign.get(key, 0)) > limits.position_qty_max:
                found.append(
                    Breach(Oracle.LIMITS, f"{key}: {worst} could have been held, {limits.position_qty_max} is the limit")
                )
        return found
