"""Adapters broken on purpose: the simulation must notice each, or it proves nothing when it is green."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from adapters.deribit import orders as orders_module
from adapters.deribit.book import DeribitBook
from adapters.deribit.market import Market
from adapters.deribit.orders import Orders
from adapters.deribit.resolving import Resolver
from adapters.deribit.session import DeribitSession
from adapters.deribit.tracker import Tracker
from adapters.deribit.wire import Book
from adapters.http.request import Outcome
from core.enums import Reason
from core.errors import StateError
from tests.adapters.deribit.test_simulation import run_restarts, run_seed

Break = Callable[[pytest.MonkeyPatch], None]


def lost_means_refused(patch: pytest.MonkeyPatch) -> None:
    def unknown(self: Orders, ts: int, tracked: Any, _bound_ms: int, text: str) -> None:
        if not tracked.is_ended:
            self.tracker.refused(ts, tracked, Reason.NONE, text)

    patch.setattr(Orders, "_unknown", unknown)


def every_code_is_proof(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(orders_module, "outcome_of_error", lambda _code: Outcome.REJECTED_PROVEN)


def one_early_look_is_proof(patch: pytest.MonkeyPatch) -> None:
    def not_found(self: Resolver, ts: int, case: Any, _us_in: int) -> None:
        self._close(case)
        if not case.tracked.is_ended:
            self._tracker.refused(ts, case.tracked, Reason.UNKNOWN_ORDER, "")

    patch.setattr(Resolver, "_not_found", not_found)


def a_fill_is_believed_whatever_the_order_says(patch: pytest.MonkeyPatch) -> None:
    book = Tracker.book

    def gullible(self: Tracker, ts: int, trade: Any, _filled_max: int | None) -> None:
        book(self, ts, trade, None)

    patch.setattr(Tracker, "book", gullible)


def the_stream_alone_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DeribitSession, "_take_look", lambda _self, _ts: None)


def gaps_do_not_matter(patch: pytest.MonkeyPatch) -> None:
    receive = DeribitBook.receive

    def careless(self: DeribitBook, message: Book) -> None:
        if message.type == "change" and self.change_id is not None:
            message = msgspec.structs.replace(message, prev_change_id=self.change_id)
        receive(self, message)

    patch.setattr(DeribitBook, "receive", careless)
    patch.setattr(Market, "compare", lambda _self, _ts: None)  # or a query would find it out


def stale_books_do_not_matter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Market, "compare", lambda _self, _ts: None)


BREAKS: list[tuple[Break, int, int]] = [
    (lost_means_refused, 9, 150_000),
    (lost_means_refused, 14, 150_000),
    (every_code_is_proof, 14, 150_000),
    (one_early_look_is_proof, 20, 150_000),
    (a_fill_is_believed_whatever_the_order_says, 23, 300_000),
    (the_stream_alone_is_believed, 42, 20_000),
    (gaps_do_not_matter, 51, 150_000),
    (stale_books_do_not_matter, 49, 150_000),
]


@pytest.mark.parametrize(("broken", "number", "ppm"), BREAKS, ids=lambda each: getattr(each, "__name__", str(each)))
def test_the_simulation_notices(broken: Break, number: int, ppm: int, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    # A query that finds nothing is wrong only where there was something to ask about.
    numbers = (number, 9) if number == 20 else (number,)

    def try_seeds() -> None:
        for seed in range(4_000, 4_012):
            run_seed(seed, numbers, ppm=ppm)

    with pytest.raises((AssertionError, StateError)):
        try_seeds()


def test_the_simulation_notices_a_new_process_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    advance = DeribitSession._advance

    def at_once(self: DeribitSession, ts: int) -> None:
        self._quiet_until_ms = 0
        advance(self, ts)

    def try_seeds() -> None:
        for seed in range(5_000, 5_012):
            run_restarts(seed)

    monkeypatch.setattr(DeribitSession, "_advance", at_once)
    with pytest.raises((AssertionError, StateError)):
        try_seeds()
