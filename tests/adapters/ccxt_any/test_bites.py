"""That the tests against the simulator would notice: with each of these mistakes made on purpose one of them fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from adapters.ccxt_any import calls
from adapters.ccxt_any.account import Account
from adapters.ccxt_any.reports import TradeReport
from adapters.ccxt_any.tracker import Tracker
from adapters.http.request import Outcome
from tests.adapters.ccxt_any import stage, test_against_simulator
from tests.adapters.ccxt_any.test_against_simulator import (
    test_a_fault_of_the_order_path_ends_in_what_the_ledger_says as one_fault,
)
from tests.adapters.ccxt_any.test_against_simulator import test_an_orders_life_and_the_market as life

Patch = pytest.MonkeyPatch


def believes_ccxt(patch: Patch) -> None:
    """Every error of ccxt is a refusal, as its class seems to say."""
    patch.setattr(calls, "outcome_of", lambda status, body, names: Outcome.REJECTED_PROVEN)


def gives_up_at_once(patch: Patch) -> None:
    """Not found once means not there, though the order may still be on its way or the list behind."""
    real = Tracker.not_found

    def hasty(self: Tracker, order_id: int, begun: int, ts: int) -> Any:
        known = self.get(order_id)
        if known is not None:
            known.bound, known.not_found = 1, 10
        return real(self, order_id, begun, ts)

    async def blind(self: Account, *arguments: Any) -> None:
        return None

    patch.setattr(Tracker, "not_found", hasty)
    patch.setattr(Account, "order", blind)
    patch.setattr(Account, "open_orders", nothing_listed)


async def nothing_listed(self: Account) -> list[Any]:
    return []


def forgets_executions(patch: Patch) -> None:
    """Each second execution is passed over."""
    real = Tracker.executions

    def every_other(self: Tracker, trades: Sequence[TradeReport], ts: int) -> Any:
        return real(self, [trade for trade in trades if int(trade.trade_id) % 2], ts)

    patch.setattr(Tracker, "executions", every_other)


def tells_twice(patch: Patch) -> None:
    """An execution that is listed again counts again."""
    real = Tracker.executions

    def again(self: Tracker, trades: Sequence[TradeReport], ts: int) -> Any:
        self._trades.clear()
        return real(self, trades, ts)

    patch.setattr(Tracker, "executions", again)


@pytest.mark.parametrize(
    ("mistake", "test"),
    [
        (believes_ccxt, lambda: one_fault(4)),
        (believes_ccxt, lambda: one_fault(11)),
        (gives_up_at_once, lambda: one_fault(2)),
        (forgets_executions, life),
        (tells_twice, life),
    ],
)
def test_a_mistake_is_noticed(
    mistake: Callable[[Patch], None], test: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "WAIT_S", 5.0)
    monkeypatch.setattr(test_against_simulator, "WAIT_S", 5.0)
    mistake(monkeypatch)
    with pytest.raises((AssertionError, TimeoutError, ExceptionGroup)):
        test()
