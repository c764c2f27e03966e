"""Drills of what happens at a venue or on the way to it: one fault, one venue."""

from __future__ import annotations

import time
from collections.abc import Mapping

import anyio

from core.units import NS_PER_SECOND
from daemon.config.loader import LoadedConfig
from daemon.drill.auditor import Oracle
from daemon.drill.place import Place
from daemon.drill.plans import Plan, plan_of
from daemon.drill.plans import Scene as PlanScene
from daemon.drill.profiles import kind_of
from daemon.drill.scene import Scene, scene
from daemon.drill.verdict import Result, Verdict

FIRED_S_MAX = 30.0
CUT_AGAIN_S = 2.0
TOGETHER_AGAIN_S = 3.0
AGAIN_S = 0.2


async def drill_at_venue(loaded: LoadedConfig, number: int, venue: str, place: Place, seed: int) -> Verdict:
    """`number` must be one that the venue's simulator knows, or that a plan does by deeds."""
    began = time.monotonic()
    plan = plan_of(number, kind_of(next(each for each in loaded.config.connections if each.venue == venue)))
    async with scene(loaded, place.folder, place.runtime, seed) as played:
        fired, note = await _play(played, number, venue, plan)
        if fired or played.notes.breaches:
            await played.judge()
        orders, fills = played.counts()
        breaches = tuple(played.notes.breaches)
    result = Result.BROKEN if breaches else Result.HELD if fired else Result.NOT_SHOWN
    return Verdict(
        number=number,
        venue=venue,
        result=result,
        breaches=breaches,
        note="; ".join([*([note] if note else []), *played.notes.said]),
        fired=fired,
        orders=orders,
        fills=fills,
        seconds=time.monotonic() - began,
    )


async def _play(played: Scene, number: int, venue: str, plan: Plan) -> tuple[int, str]:
    """How often the fault happened, and what there is to say."""
    if not await played.start():
        return 0, ""
    if not await played.trade(venue):
        await played.end()
        return 0, f"the strategies have not traded at {venue}"
    if plan.at_kill:
        return await _play_at_kill(played, number, venue, plan)
    begin_ts = played.clock.now()
    fired = await _let_happen(played, number, venue, plan)
    if not fired:
        await played.kill()
        await played.end()
        return 0, "it found no occasion"
    fired_ts = played.clock.now()
    await anyio.sleep(plan.dwell_s)
    if plan.alert_s and not played.told_between(begin_ts, fired_ts + int(plan.alert_s * NS_PER_SECOND)):
        played.broken(Oracle.ALERT, f"nobody was told within {plan.alert_s:g} s")
    if plan.after is not None:
        _do(played, venue, plan, is_after=True)
    await played.become_well(is_foreign=plan.is_foreign, may_halt=plan.may_halt)
    await played.kill()
    await played.end()
    return fired, ""


async def _play_at_kill(played: Scene, number: int, venue: str, plan: Plan) -> tuple[int, str]:
    faults = played.served[venue].venue.faults
    faults.arm(number, plan.times)
    await played.kill()
    await played.become_well(may_halt=True)
    await played.end()
    return faults.fired.get(number, 0), ""


async def _let_happen(played: Scene, number: int, venue: str, plan: Plan) -> int:
    served = played.served[venue]
    faults = served.venue.faults
    if plan.deeds is not None:
        return await _do_patiently(played, venue, plan)
    for each in (number, *plan.together):
        faults.arm(each, plan.times)
    cut_at, again_at = 0.0, time.monotonic() + TOGETHER_AGAIN_S
    with anyio.move_on_after(FIRED_S_MAX):
        while not faults.fired.get(number):
            if plan.cuts and time.monotonic() >= cut_at:
                served.cut_all()
                cut_at = time.monotonic() + CUT_AGAIN_S
            if time.monotonic() >= again_at:
                # They were used up where they made no occasion for it.
                for each in plan.together:
                    faults.arm(each)
                again_at = time.monotonic() + TOGETHER_AGAIN_S
            await anyio.sleep(0.02)
    for each in plan.together:
        faults.disarm(each)
    return faults.fired.get(number, 0)


async def _do_patiently(played: Scene, venue: str, plan: Plan) -> int:
    """The venue may refuse for a moment: an order of ours stands in the way, or nothing is held yet."""
    with anyio.move_on_after(FIRED_S_MAX):
        while True:
            try:
                return _do(played, venue, plan, is_after=False)
            except ValueError:
                await anyio.sleep(AGAIN_S)
    return 0


def _do(played: Scene, venue: str, plan: Plan, *, is_after: bool) -> int:
    """How many deeds were done. Raises ValueError where the venue refuses."""
    make = plan.after if is_after else plan.deeds
    assert make is not None
    served = played.served[venue]
    done = 0
    for name, arguments in make(_plan_scene(played, venue)):
        served.act(name, arguments)
        done += 1
    return done


def _plan_scene(played: Scene, venue: str) -> PlanScene:
    """The instrument of this venue that is held most."""
    simulated = next(each for each in played.stage.simulated if each.connection.venue == venue)
    positions: Mapping[str, int] = simulated.ledger()["positions"].get(simulated.account, {})
    mine = [each for each in played.instruments if each.venue == venue]
    instrument = max(mine, key=lambda each: abs(positions.get(each.instrument_id, 0)))
    return PlanScene(
        instrument,
        simulated.id_there(instrument),
        simulated.symbol_there(instrument),
        simulated.account,
        positions.get(instrument.instrument_id, 0),
        simulated.qty_there(instrument, instrument.qty_min),
    )
