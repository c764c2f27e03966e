"""How each fault is made to happen at a simulated venue: armed, with a new connection where it needs one, or done by `act`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.instruments import Instrument

# (name, arguments) of SimVenue.act, for the instrument that is drilled and the account.
Deed = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a deed may need to know. `position` in units."""

    instrument: Instrument
    account: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`times`: armed for so many occasions. `together`: faults armed with it, without which it has no occasion.

    `cuts`: every connection is cut, so that there is a login. `deeds` happen at once, `after` when the fault has had its time.
    `alert_s`: within so long somebody must be told; 0: nobody need be. `dwell_s`: how long it is left to itself.
    """

    times: int = 2
    together: tuple[int, ...] = ()
    cuts: bool = False
    deeds: Callable[[Scene], list[Deed]] | None = None
    after: Callable[[Scene], list[Deed]] | None = None
    alert_s: float = 0.0
    dwell_s: float = 3.0
    at_kill: bool = False  # armed for the kill that ends every drill
    is_foreign: bool = False  # fills that are not ours: a person has to look, and the daemon halts or does as it was told
    needs: frozenset[str] = field(default_factory=frozenset)  # deeds that the venue must know


def _manual(scene: Scene) -> list[Deed]:
    at = {"account": scene.account, "instrument_id": scene.instrument.instrument_id}
    return [("manual", {**at, "side": "BUY", "qty": scene.instrument.qty_min})]


def _force(scene: Scene) -> list[Deed]:
    return [("force", {"account": scene.account, "instrument_id": scene.instrument.instrument_id})]


def _fund(scene: Scene) -> list[Deed]:
    key = scene.instrument.instrument_id
    return [("fund", {"instrument_id": key, "rate_ppb": 100_000}), ("fund", {"instrument_id": key, "rate_ppb": -200_000})]


def _halt(scene: Scene) -> list[Deed]:
    return [("halt", {"instrument_id": scene.instrument.instrument_id})]


def _open(scene: Scene) -> list[Deed]:
    return [("open", {"instrument_id": scene.instrument.instrument_id})]


def _restart(_scene: Scene) -> list[Deed]:
    return [("restart", {"orders_lost": 1})]


def _maintain(_scene: Scene) -> list[Deed]:
    return [("maintenance", {"is_on": True})]


def _maintained(_scene: Scene) -> list[Deed]:
    return [("maintenance", {"is_on": False})]


ALERT_S = 5.0
DEFAULT = Plan()
PLANS: dict[int, Plan] = {
    1: Plan(alert_s=ALERT_S),
    2: Plan(alert_s=ALERT_S),
    3: Plan(alert_s=ALERT_S),
    6: Plan(cuts=True, alert_s=ALERT_S),
    10: Plan(dwell_s=6.0),
    20: Plan(together=(14,)),
    21: Plan(together=(14,)),
    8: Plan(cuts=True, alert_s=ALERT_S),
    13: Plan(is_foreign=True),
    18: Plan(cuts=True, alert_s=ALERT_S),
    36: Plan(times=1, cuts=True, alert_s=ALERT_S),
    37: Plan(cuts=True, alert_s=ALERT_S),
    38: Plan(times=2, at_kill=True),
    39: Plan(cuts=True, alert_s=ALERT_S),
    # The silence has to be noticed first.
    41: Plan(times=1, dwell_s=20.0, alert_s=20.0),
    42: Plan(times=1, dwell_s=12.0),
    43: Plan(alert_s=ALERT_S),
    44: Plan(times=4, cuts=True, alert_s=ALERT_S, dwell_s=6.0),
    45: Plan(cuts=True, alert_s=ALERT_S),
    46: Plan(times=1, alert_s=ALERT_S),
    47: Plan(times=1, alert_s=ALERT_S),
    49: Plan(times=1, dwell_s=8.0),
    53: Plan(cuts=True, alert_s=ALERT_S),
    58: Plan(times=0, is_foreign=True, deeds=_manual, alert_s=ALERT_S, needs=frozenset({"manual"})),
    60: Plan(times=0, deeds=_restart, alert_s=ALERT_S, needs=frozenset({"restart"})),
    61: Plan(times=1, alert_s=ALERT_S),
    62: Plan(times=0, deeds=_maintain, after=_maintained, needs=frozenset({"maintenance"})),
    63: Plan(times=0, deeds=_halt, after=_open, needs=frozenset({"halt", "open"})),
    64: Plan(times=0, deeds=_fund, needs=frozenset({"fund"})),
    65: Plan(times=0, is_foreign=True, deeds=_force, alert_s=ALERT_S, needs=frozenset({"force"})),
    69: Plan(times=1, alert_s=ALERT_S),
}


def plan_of(number: int) -> Plan:
    return PLANS.get(number, DEFAULT)
