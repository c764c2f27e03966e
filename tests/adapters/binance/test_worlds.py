"""Worlds of the adapter at the simulated venue: in the end both sides' books are equal, and adapters broken on purpose show."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from adapters.binance import income_log, outcomes
from adapters.binance.desk import OrderDesk, Reaction
from adapters.binance.endpoints import Product
from adapters.binance.income_log import IncomeLog
from adapters.binance.trade_log import TradeLog
from adapters.binance.unknown_orders import UnknownOrders
from core.enums import Reason
from tests.adapters.binance.world import FAULTS, audited, faults_of

SPOT, USDM = Product.SPOT, Product.USDM
BOTH = pytest.mark.parametrize("product", [SPOT, USDM])
Break = Callable[[pytest.MonkeyPatch], None]


@BOTH
@pytest.mark.timeout(120)
def test_both_sides_books_are_equal_in_the_end(product: Product) -> None:
    asked = os.environ.get("TRADINGD_BINANCE_SEED")
    for seed in (int(asked),) if asked else range(1, 6):
        assert audited(product, seed) == [], f"TRADINGD_BINANCE_SEED={seed} repeats it: {faults_of(seed)}"


@pytest.mark.slow
@pytest.mark.timeout(7200)
@BOTH
def test_both_sides_books_are_equal_in_many_worlds(product: Product) -> None:
    for seed in range(300):
        assert audited(product, seed) == [], f"TRADINGD_BINANCE_SEED={seed} repeats it: {faults_of(seed)}"


@pytest.mark.slow
@pytest.mark.timeout(7200)
@BOTH
@pytest.mark.parametrize("number", FAULTS)
def test_each_fault_alone_and_often(product: Product, number: int) -> None:
    for seed in range(3):
        assert audited(product, seed, {number: 200_000}) == []


def lost_means_refused(patch: pytest.MonkeyPatch) -> None:
    def lost(self: OrderDesk, purpose: Any, order_id: int, text: str, now: int, ts: int, *_more: int) -> Reaction:
        return Reaction((self._refused(purpose, order_id, Reason.NONE, text, ts),))

    patch.setattr(OrderDesk, "_lost", lost)


def every_error_is_proof(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outcomes, "REFUSED_CODES", frozenset(range(-10_000, 0)))
    patch.setattr(outcomes, "UNKNOWN_CODES", frozenset())


def one_early_look_is_proof(patch: pytest.MonkeyPatch) -> None:
    def not_found(self: UnknownOrders, client_order_id: int, asked: int, now: int) -> bool:
        return self._orders.pop(client_order_id, None) is not None

    patch.setattr(UnknownOrders, "not_found", not_found)


def executions_are_asked_for_from_now_on(patch: pytest.MonkeyPatch) -> None:
    begin = TradeLog.begin
    patch.setattr(TradeLog, "begin", lambda self, _since_ms, now_ms: begin(self, now_ms - 5_000, now_ms))


def a_fill_is_told_as_often_as_it_is_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OrderDesk, "_is_told", lambda _self, _fill: False)


def what_fills_bear_is_booked_once_more(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(income_log, "is_of_a_fill", lambda _row: False)


def payments_are_asked_for_from_now_on(patch: pytest.MonkeyPatch) -> None:
    begin = IncomeLog.begin
    patch.setattr(income_log, "READ_AGAIN_MS", 0)
    patch.setattr(IncomeLog, "begin", lambda self, _since_ms, now_ms: begin(self, now_ms - 1_500, now_ms))


BREAKS: list[tuple[Break, Product, dict[int, int]]] = [
    (lost_means_refused, USDM, {2: 300_000}),
    (lost_means_refused, SPOT, {4: 300_000}),
    (every_error_is_proof, USDM, {11: 300_000, 14: 300_000}),
    (one_early_look_is_proof, SPOT, {20: 700_000, 2: 300_000, 42: 700_000}),
    (executions_are_asked_for_from_now_on, USDM, {}),
    (a_fill_is_told_as_often_as_it_is_heard, USDM, {22: 500_000}),
    (what_fills_bear_is_booked_once_more, USDM, {}),
    (payments_are_asked_for_from_now_on, USDM, {59: 700_000}),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("broken", "product", "faults"), BREAKS, ids=[f"{each[0].__name__}-{each[1].name}" for each in BREAKS])
def test_a_broken_adapter_shows(monkeypatch: pytest.MonkeyPatch, broken: Break, product: Product, faults: dict[int, int]) -> None:
    broken(monkeypatch)
    assert any(audited(product, seed, faults) for seed in range(1, 4))
