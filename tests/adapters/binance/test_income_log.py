"""What of the income history is asked for, page by page, and what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.binance.income_log import KEPT_BY_VENUE_MS, PAGE_ROWS, READ_AGAIN_MS, ROWS_KEPT_MAX, IncomeLog, IncomePage
from adapters.binance.rest_bodies import IncomeBody
from core.errors import CapacityError

NOW = 1_700_000_000_000


def row(tran_id: int, time: int, kind: str = "FUNDING_FEE", **more: Any) -> IncomeBody:
    return IncomeBody(symbol="BTCUSDT", income_type=kind, income="-0.5", asset="USDT", time=time, tran_id=tran_id, **more)


def test_pages_until_one_is_not_full() -> None:
    log = IncomeLog()
    log.begin(NOW - 5_000, NOW)
    since = NOW - 5_000 - READ_AGAIN_MS
    assert log.next == IncomePage(since, NOW, 1)
    first = [row(number, NOW - 4_000) for number in range(PAGE_ROWS)]
    log.answered(first)
    assert log.next == IncomePage(since, NOW, 2)
    log.answered([row(PAGE_ROWS, NOW - 3_000)])
    assert log.next is None
    assert log.known() == [*sorted(first, key=lambda each: each.name), row(PAGE_ROWS, NOW - 3_000)]


def test_the_end_is_read_again_for_what_becomes_visible_late() -> None:
    log = IncomeLog()
    log.begin(0, NOW)
    log.answered([row(1, NOW - 1_000)])
    log.begin(0, NOW + 60_000)
    assert log.next == IncomePage(NOW - READ_AGAIN_MS, NOW + 60_000, 1)
    log.answered([row(1, NOW - 1_000), row(0, NOW - 2_000)])
    assert [each.tran_id for each in log.known()] == [0, 1]


def test_what_nobody_wants_any_more_is_forgotten_and_read_again_where_it_is_wanted_after_all() -> None:
    log = IncomeLog()
    log.begin(NOW - 10 * READ_AGAIN_MS, NOW)
    log.answered([row(1, NOW - 9 * READ_AGAIN_MS), row(2, NOW)])
    log.begin(NOW, NOW + 1)
    assert [each.tran_id for each in log.known()] == [2]
    log.begin(NOW - 10 * READ_AGAIN_MS, NOW + 2)
    assert log.next == IncomePage(NOW - 11 * READ_AGAIN_MS, NOW + 2, 1)


def test_what_a_trade_has_brought_is_left_to_its_fill() -> None:
    log = IncomeLog()
    log.begin(NOW, NOW)
    of_trades = [row(1, NOW, "COMMISSION", trade_id="5"), row(1, NOW, "REALIZED_PNL", trade_id="5")]
    log.answered([*of_trades, row(1, NOW, "COMMISSION"), row(1, NOW, "INSURANCE_CLEAR", trade_id="5")])
    assert [each.income_type for each in log.known()] == ["COMMISSION", "INSURANCE_CLEAR"]


def test_no_further_back_than_the_venue_keeps_it() -> None:
    log = IncomeLog()
    log.begin(0, NOW)
    assert log.next == IncomePage(NOW - KEPT_BY_VENUE_MS, NOW, 1)


def test_more_than_can_be_kept_is_said() -> None:
    log = IncomeLog()
    log.begin(NOW, NOW)
    with pytest.raises(CapacityError):
        log.answered([row(number, NOW) for number in range(ROWS_KEPT_MAX + 1)])
