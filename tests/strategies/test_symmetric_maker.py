"""The symmetric maker, command by command, against transcripts that one can read."""

from __future__ import annotations

from core.enums import MarketStatus, Reason, Side, TradingState
from strategies.symmetric_maker import SymmetricMaker
from tests.strategies.scripted import INSTRUMENT, INSTRUMENT_ID, Script


def maker(**changes: object) -> SymmetricMaker:
    values = {"instrument_id": INSTRUMENT_ID, "order_qty": "0.010", "position_qty_max": "0.025", **changes}
    return SymmetricMaker(SymmetricMaker.Params.model_validate(values), [INSTRUMENT])


def test_joins_the_best_prices_and_follows_them() -> None:
    script = Script(maker())
    script.at(1).quote(1000, 1001)
    script.at(2).accept(1)
    script.at(2).accept(2)
    script.at(3).quote(1000, 1001, 500, 700)  # same prices: nothing to do
    script.at(4).quote(999, 1001)
    script.at(5).replaced(1)
    script.at(6).quote(1002, 1003)  # the offer moves away first, the bid waits for it
    script.at(7).replaced(2)
    script.at(8).fill(2, 4)
    script.at(9).quote(1002, 1003)
    script.compare("symmetric_joins")


def test_where_a_venue_has_no_post_only_orders_it_quotes_without_and_never_across() -> None:
    script = Script(maker(post_only=False, levels=2))
    sent = [approved.command for approved in script.at(1).quote(1000, 1001)]
    assert [(one.side, one.price, one.post_only) for one in sent] == [
        (Side.BUY, 1000, False),
        (Side.BUY, 999, False),
        (Side.SELL, 1001, False),
        (Side.SELL, 1002, False),
    ]


def test_half_spread_levels_and_an_odd_middle() -> None:
    script = Script(maker(half_spread="1.0", levels=3, level_step_ticks=5))
    script.at(1).quote(1000, 1001)
    for number in range(1, 5):
        script.at(2).accept(number)
    script.at(3).quote(1003, 1004)
    script.at(4).quote(1010, 1040)
    script.compare("symmetric_levels")


def test_fills_stop_at_the_largest_position() -> None:
    script = Script(maker())
    script.at(1).quote(1000, 1001)
    script.at(2).accept(1)
    script.at(2).accept(2)
    script.at(3).fill(1)
    script.at(4).accept(3)
    script.at(5).fill(3)
    script.at(6).accept(4)
    script.at(7).fill(4)  # 25 of 25: no bid any more
    script.at(8).fill(2)
    script.compare("symmetric_position_limit")


def test_refusals_gaps_halts_and_the_end() -> None:
    script = Script(maker())
    script.at(1).quote(1000, 1001)
    script.at(2).rejected(1, Reason.BAD_FIELD)
    script.at(2).accept(2)
    script.at(3).quote(1001, 1002)  # the bid side rests after the refusal
    script.at(4).replaced(2)
    script.at(1200).quote(1002, 1003)
    script.at(1201).replaced(2)
    script.at(1202).rejected(3, Reason.POST_ONLY)
    script.at(1203).quote(1001, 1002)
    script.at(1204).gap()
    script.at(1205).accept(4)
    script.at(1206).canceled(4)
    script.at(1206).canceled(2)
    script.at(1207).quote(1001, 1002, 0, 100)  # no bid: no middle
    script.at(1208).quote(1001, 1002)
    script.at(1209).status(MarketStatus.AUCTION)
    script.at(1210).canceled(5)
    script.at(1210).canceled(6)
    script.at(1211).quote(1001, 1002)
    script.at(1212).status(MarketStatus.TRADING)
    script.at(1213).quote(1001, 1003)
    script.at(1214).state(TradingState.HALTED)
    script.at(1215).quote(1001, 1002)
    script.at(1216).canceled(7)
    script.at(1216).canceled(8)
    script.at(1217).state(TradingState.ACTIVE)
    script.at(1218).quote(1001, 1002)
    script.at(1219).stop()
    script.at(1220).quote(1005, 1006)
    script.compare("symmetric_refusals")


def test_unknown_outcomes_withdraw_everything_until_the_venue_has_spoken() -> None:
    script = Script(maker())
    script.at(1).quote(1000, 1001)
    script.at(2).accept(2)
    script.at(3).unknown(1)
    script.at(4).quote(1001, 1002)
    script.at(5).canceled(2)
    script.at(6).quote(1002, 1003)
    script.at(7).canceled(1)
    script.at(8).quote(1003, 1004)
    script.compare("symmetric_unknown")


def test_denials_rest_the_side_and_a_quote_that_cannot_move_is_taken_out() -> None:
    script = Script(maker(), orders_max=3)
    script.at(1).quote(1000, 1001)
    script.at(2).accept(1)
    script.at(2).accept(2)
    script.at(3).quote(1000, 1002)  # third order of this second
    script.at(4).replaced(2)
    script.at(5).quote(999, 1002)  # denied: the bid is cancelled instead
    script.at(6).canceled(1)
    script.at(7).quote(999, 1003)
    script.at(8).canceled(2)
    script.at(1500).quote(999, 1003)
    script.compare("symmetric_denied")


def test_reducing_quotes_only_the_side_that_shrinks_the_position() -> None:
    script = Script(maker())
    script.at(1).quote(1000, 1001)
    script.at(2).accept(1)
    script.at(2).accept(2)
    script.at(3).fill(1, 6)
    script.at(4).state(TradingState.REDUCING)
    script.at(5).canceled(1)
    script.at(5).canceled(2)
    script.at(6).quote(1000, 1002)
    script.at(7).fill(3)
    script.at(8).quote(1000, 1001)
    script.compare("symmetric_reducing")


def test_what_an_earlier_run_left_is_cancelled_before_anything_new_rests_beside_it() -> None:
    strategy = maker()
    script = Script(strategy)
    script.at(1).quote(1000, 1001, 0, 5)
    # Stands in for what the reconciliation adopts: a bid of the run before, which counts towards the position limit.
    script.context.submit(INSTRUMENT_ID, Side.BUY, 20, 900)
    script.at(2).quote(1000, 1001, 0, 5)
    script.at(3).accept(1)
    strategy.on_reconciled(script.context)
    script.at(4).quote(1000, 1001)  # 20 of 25 are still at stake: an offer only, until the cancel is confirmed
    script.at(5).canceled(1)
    script.compare("symmetric_reconciled")
