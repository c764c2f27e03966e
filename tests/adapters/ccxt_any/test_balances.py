"""What the account holds, as a query says it: where the exchange does, where it does not, and not too early."""

from __future__ import annotations

import httpx
import pytest

from core.errors import TransportError
from core.events import OrderAccepted
from core.venue_adapter import VenueBalance
from tests.adapters.ccxt_any.stage import Stage, play, submit
from tests.adapters.ccxt_any.venue import INSTRUMENT, error


def test_a_query_says_what_the_account_holds_where_the_exchange_does() -> None:
    async def story(stage: Stage) -> None:
        stage.exchange.balance = "1.500000019"
        venue = INSTRUMENT.rpartition(".")[2]
        assert (await stage.adapter.query(0)).balances == (VenueBalance(venue, "BTC", 150_000_001),)
        # An exchange that does not say, and one that ccxt cannot ask: not known, and no reason to know nothing else.
        for status, code in ((400, -1102), (401, -1022), (400, -9999)):
            stage.exchange.always["GET account"] = lambda exchange, params, as_=(status, code): error(*as_, "not for you")
            assert (await stage.adapter.query(0)).balances == ()
        del stage.exchange.always["GET account"]
        stage.adapter._account.exchange.has["fetchBalance"] = False
        assert (await stage.adapter.query(0)).balances == ()
        stage.adapter._account.exchange.has["fetchBalance"] = True
        assert len((await stage.adapter.query(0)).balances) == 1
        # No answer is none.
        stage.exchange.always["GET account"] = lambda exchange, params: httpx.Response(502, text="bad gateway")
        with pytest.raises(TransportError):
            await stage.adapter.query(0)

    play(story)


def test_a_balance_of_just_after_an_execution_is_not_said() -> None:
    async def story(stage: Stage) -> None:
        stage.send(submit(1))
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        assert len((await stage.adapter.query(0)).balances) == 1
        stage.exchange.fill(1, 5_000)
        assert (await stage.adapter.query(0)).balances == ()
        stage.exchange.trades[-1]["time"] -= 61_000
        assert len((await stage.adapter.query(0)).balances) == 1

    play(story, balances_settle_s=60.0)


def test_just_after_is_by_the_exchanges_clock() -> None:
    async def story(stage: Stage) -> None:
        stage.send(submit(1))
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        stage.exchange.fill(1, 5_000)
        right = stage.adapter._now
        stage.adapter._now = lambda: right() + 3_600 * 10**9
        assert (await stage.adapter.query(0)).balances == ()

    play(story, balances_settle_s=60.0)


@pytest.mark.parametrize("name", ["check_balances", "balances_are_positions"])
def test_balances_are_not_compared_twice_and_not_where_nobody_wants_it(name: str) -> None:
    async def story(stage: Stage) -> None:
        state = await stage.adapter.query(0)
        assert (state.balances, state.positions) == ((), {INSTRUMENT: 0} if name == "balances_are_positions" else {})

    play(story, **{name: name == "balances_are_positions"})
