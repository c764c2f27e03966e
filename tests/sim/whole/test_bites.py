"""Everything broken on purpose: the simulation must notice each break, or it proves nothing when it is green."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from adapters.sim.session import TradeSession
from core.enums import Reason
from core.events import AnyEvent, OrderFilled, OrderOutcomeUnknown, OrderRejected
from core.order_store import OrderStore
from core.risk import RiskGate
from daemon.guardian.venue_guard import VenueGuard
from daemon.journal.format import frame_hash
from daemon.kill_latch import KillLatch
from daemon.trading.heart import Heart
from daemon.trading.reconcile import _Looking
from daemon.trading.session import Session
from daemon.trading.state_folder import StateFolder
from tests.sim.whole import kit_sim
from tests.sim.whole.disk import Disk
from tests.sim.whole.gambler import TIMER, Gambler
from tests.sim.whole.world import run_world

SEEDS_MAX = 40  # within which a break must show
Break = Callable[[pytest.MonkeyPatch], None]


def first_violation(venue: str) -> str:
    for seed in range(SEEDS_MAX):
        verdict = run_world(seed, venues=(venue,))
        if verdict.violations:
            return verdict.violations[0]
    return ""


# Each is (what is broken, what the first violation must speak of).


def the_intent_is_not_on_the_disk(patch: pytest.MonkeyPatch) -> None:
    # The journal is told that it is; a power cut shows that it is not.
    patch.setattr(Disk, "sync", lambda _self, _descriptor: None)


def nothing_is_journaled_before_it_leaves(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Session, "_journal", lambda *_arguments: None)


def a_kill_is_not_heeded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KillLatch, "is_set", False)


def no_exposure_is_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RiskGate, "_check_exposure", lambda *_arguments: None)
    patch.setattr(kit_sim, "POSITION_MAX", 20)  # so that it comes to it soon


def fills_of_the_time_away_are_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Looking, "_executions", lambda _self: iter(()))


def what_is_gone_at_the_venue_stays_open_here(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Looking, "_order", lambda *_arguments: ())


def every_look_books_the_fills_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OrderStore, "is_known", lambda _self, _execution: False)
    filled = OrderStore.filled

    def again(self: OrderStore, event: OrderFilled) -> Any:
        self._seen_executions.clear()
        return filled(self, event)

    patch.setattr(OrderStore, "filled", again)


def what_is_lost_counts_as_refused(patch: pytest.MonkeyPatch) -> None:
    lost = TradeSession.lost

    def refused(self: TradeSession, ts: int) -> list[AnyEvent]:
        return [
            OrderRejected(ts, ts, event.client_order_id, Reason.NOT_SENT) if isinstance(event, OrderOutcomeUnknown) else event
            for event in lost(self, ts)
        ]

    patch.setattr(TradeSession, "lost", refused)


def some_links_of_the_chain_are_wrong(patch: pytest.MonkeyPatch) -> None:
    made = count()

    def wrong(*arguments: Any) -> bytes:
        return bytes(32) if next(made) % 97 == 96 else frame_hash(*arguments)

    patch.setattr("daemon.journal.writer.frame_hash", wrong)


def a_task_dies_unseen(patch: pytest.MonkeyPatch) -> None:
    beat = Heart._beat

    async def dies() -> None:
        raise ValueError("nobody waits for this task")

    def loses_a_task(self: Heart, event: Any) -> None:
        asyncio.get_running_loop().create_task(dies())
        beat(self, event)

    patch.setattr(Heart, "_beat", loses_a_task)


def the_strategy_is_not_the_same_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gambler, "on_start", lambda self, context: context.set_timer(TIMER, context.now + next(_different)))


_different = count(10**9, 10**6)


def the_guardian_cancels_nothing(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_arguments: Any) -> None:
        return

    patch.setattr(VenueGuard, "_cancel_all", nothing)


def what_a_killed_run_wrote_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StateFolder, "keep_run", lambda *_arguments: None)


BREAKS: list[tuple[Break, str]] = [
    (the_intent_is_not_on_the_disk, "is on no journal|not remembered|by itself|of calm|after a kill"),
    (nothing_is_journaled_before_it_leaves, "is on no journal|not remembered"),
    (a_kill_is_not_heeded, "taken after a kill"),
    (no_exposure_is_checked, "over a limit"),
    (fills_of_the_time_away_are_not_asked_for, "halted by itself|fills|here, .* at the venue"),
    (what_is_gone_at_the_venue_stays_open_here, "of calm: open"),
    (every_look_books_the_fills_again, "booked here|ended by itself|halted by itself|cannot be of order"),
    (what_is_lost_counts_as_refused, "halted by itself|ended by itself|fills"),
    (some_links_of_the_chain_are_wrong, "journal|JournalDamage"),
    (a_task_dies_unseen, "in the loop"),
    (the_strategy_is_not_the_same_again, "its replay comes to something else"),
    (the_guardian_cancels_nothing, "does not empty it"),
    (what_a_killed_run_wrote_is_not_kept, "fills|is on no journal"),
]
# tradingd's own venue cancels where a connection is lost, and needs no guardian for it.
VENUE_OF: dict[Break, str] = {the_guardian_cancels_nothing: "ib"}


@pytest.mark.parametrize(("broken", "words"), BREAKS, ids=lambda each: getattr(each, "__name__", "-"))
def test_a_break_is_noticed(broken: Break, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    found = first_violation(VENUE_OF.get(broken, "sim"))
    assert re.search(words, found), found or f"nothing was noticed in {SEEDS_MAX} worlds"
