"""What happens at simulated venues that no client asked for, as `act` of their simulators takes it."""

from __future__ import annotations

from typing import Any

from sim.venues.faults import Random
from tests.sim.whole.venue_kit import Ledger

Wanted = tuple[str, dict[str, Any]] | None


def hit(random: Random, ledger: Ledger) -> Wanted:
    """Somebody trades against an order of ours."""
    resting = [order for order in ledger["orders"] if order["is_open"]]
    if not resting:
        return None
    order = resting[random.below(len(resting))]
    left = order["qty"] - order["filled_qty"]
    return "hit", {"venue_order_id": order["venue_order_id"], "qty": 1 + random.below(left)}
