"""Money that moves without a fill: what each row of the transaction log means, when it is asked for, and that it counts once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from msgspec import Raw, json

from adapters.deribit.cash_log import CashLog
from adapters.deribit.instruments import VenueInstrument, read_instrument
from adapters.deribit.log_rows import Meaning, meaning_of
from adapters.deribit.session import Phase
from adapters.deribit.wire import Answer, InstrumentResult, LogRow, decode_result
from core.enums import CashKind, Side
from core.errors import VenueProtocolError
from core.events import CashMoved, OrderFilled
from core.units import NS_PER_MS
from sim.venues.deribit.markets import default_markets
from tests.adapters.deribit.auditor import differences
from tests.adapters.deribit.hand import BTC, HandWorld
from tests.adapters.deribit.world import PREFIX, T0, S, settings_of

PERPETUAL, LINEAR, OPTION, FUTURE = "BTC-PERPETUAL", "ETH_USDC-PERPETUAL", "BTC-25DEC26-100000-C", "BTC-25DEC26"
ASK = 5_000_050
# As the documentation shows one: of the change only the session's funding is money that no fill explains.
SETTLEMENT = {
    "username": "TestUser",
    "user_seq": 6_008,
    "user_id": 7,
    "type": "settlement",
    "trade_id": None,
    "total_interest_pl": 0.00001243,
    "timestamp": 1_613_659_544_153,
    "side": "long",
    "session_upl": 0.00220172,
    "session_rpl": -0.00004467,
    "price_currency": "USD",
    "price": 51_807.07,
    "position": 1_520,
    "order_id": None,
    "interest_pl": 0.00000993,
    "instrument_name": PERPETUAL,
    "info": {"settlement_price": 51_807, "floating_pl": 0.00220172},
    "id": 61_311,
    "equity": 3_003.42821428,
    "currency": "BTC",
    "commission": None,
    "change": 0.00215706,
    "cashflow": 0.00215706,
    "balance": 3_003.72270418,
    "amount": 1_520,
}


def known() -> dict[str, VenueInstrument]:
    found = {}
    for name, market in default_markets().items():
        venue = read_instrument(decode_result(InstrumentResult, Raw(json.encode(market.as_json()))))
        assert venue is not None
        found[name] = venue
    return found


KNOWN = known()


def meaning(**fields: Any) -> Meaning:
    row = json.decode(json.encode({**SETTLEMENT, **fields}), type=LogRow)
    return meaning_of(T0, row, KNOWN)


def money(found: Meaning) -> list[tuple[str, CashKind, str, int, str]]:
    return [(each.movement_id, each.kind, each.currency, each.amount, each.instrument_id) for each in found.moves]


def test_of_a_settlement_the_funding_of_the_session_is_booked() -> None:
    assert money(meaning()) == [("BTC-61311", CashKind.FUNDING, "BTC", 1_243, BTC)]
    assert money(meaning(total_interest_pl=None)) == [("BTC-61311", CashKind.FUNDING, "BTC", 993, BTC)]
    assert meaning(instrument_name=FUTURE, total_interest_pl=None, interest_pl=None) == Meaning()
    assert meaning().moves[0].ts_event == 1_613_659_544_153 * 10**6


@pytest.mark.parametrize("kind", ["trade", "liquidation"])
def test_what_a_fill_says_is_not_said_again(kind: str) -> None:
    assert meaning(type=kind, trade_id="BTC-77", interest_pl=0.00001) == Meaning()
    assert meaning(type=kind, trade_id=77) == Meaning()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("deposit", CashKind.TRANSFER),
        ("withdrawal", CashKind.TRANSFER),
        ("transfer", CashKind.TRANSFER),
        ("correction", CashKind.CORRECTION),
        ("swap", CashKind.OTHER),
    ],
)
def test_money_of_the_account(kind: str, expected: CashKind) -> None:
    found = meaning(type=kind, instrument_name=None, change=-2.5)
    assert (money(found), found.text) == ([("BTC-61311", expected, "BTC", -250_000_000, "")], "")


def test_types_that_nobody_knows() -> None:
    found = meaning(type="usdc_reward", instrument_name=None, change=0.5)
    assert money(found) == [("BTC-61311", CashKind.OTHER, "BTC", 50_000_000, "")]
    assert "usdc_reward" in found.text
    # Of an instrument it may say again what fills say: a person looks.
    found = meaning(type="options_settlement_summary", instrument_name=OPTION, change=0.5)
    assert (money(found), found.fills) == ([], ())
    assert "is not booked" in found.text
    assert meaning(type="options_settlement_summary", instrument_name=OPTION, change=0.0) == Meaning()


def test_an_instrument_whose_fills_nobody_books_moves_money_without_them() -> None:
    assert money(meaning(instrument_name="SOL-PERPETUAL")) == [("BTC-61311", CashKind.SETTLEMENT, "BTC", 215_706, "")]
    traded = meaning(type="trade", trade_id="5", instrument_name="SOL-PERPETUAL", change=-0.001)
    assert (money(traded), traded.text) == ([("BTC-61311", CashKind.OTHER, "BTC", -100_000, "")], "")


def test_a_future_is_delivered_as_a_fill_at_its_price() -> None:
    fields = {"type": "delivery", "instrument_name": FUTURE, "side": "close sell", "amount": 1_520, "price": 51_807.0749}
    found = meaning(**fields, commission=0.00000005)
    (fill,) = found.fills
    assert found.moves == ()
    assert (fill.client_order_id, fill.execution_id, fill.side, fill.qty, fill.price, fill.commission) == (
        0,
        "delivery-BTC-61311",
        Side.SELL,
        1_520,
        5_180_707,
        5,
    )


def test_an_option_is_delivered_at_what_it_brought_and_the_rest_is_money() -> None:
    fields = {"type": "delivery", "instrument_name": OPTION, "amount": 2.0, "price": 110_000.0, "index_price": 110_000.0}
    # Long two: 0.0909 BTC each to the tick, and 0.00001818 beside; short two, the same the other way.
    long = meaning(**fields, side="close sell", change=0.18181818, commission=0.0003)
    assert [(fill.side, fill.qty, fill.price, fill.commission) for fill in long.fills] == [(Side.SELL, 20, 911, 30_000)]
    instrument = KNOWN[OPTION].instrument
    assert long.moves[0].kind is CashKind.SETTLEMENT
    assert instrument.notional(911, 20) + long.moves[0].amount - 30_000 == 18_181_818
    short = meaning(**fields, side="close buy", change=-0.18181818, commission=0.0)
    assert instrument.notional(short.fills[0].price, 20) - short.moves[0].amount == 18_181_818
    worthless = meaning(**fields, side="close sell", change=0.0, commission=0.0)
    assert [(fill.price, fill.qty) for fill in worthless.fills] == [(0, 20)]
    assert worthless.moves == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"side": "long"},
        {"side": None},
        {"amount": None},
        {"amount": 0},
        {"price": None},
        {"price": -5.0},
        {"price": 0},
    ],
)
def test_deliveries_that_cannot_be(fields: dict[str, Any]) -> None:
    whole = {"type": "delivery", "instrument_name": FUTURE, "side": "close sell", "amount": 1_520, "price": 51_807.0}
    with pytest.raises(VenueProtocolError):
        meaning(**{**whole, **fields})


# Against the simulated venue.


def begun(**more: Any) -> HandWorld:
    world = HandWorld(session_settings=settings_of(cash_interval_ns=20 * S, **more))
    world.begin()
    return world


def moved(world: HandWorld) -> list[CashMoved]:
    return [event for event in world.events if isinstance(event, CashMoved)]


def asked(world: HandWorld) -> list[int]:
    """When the log was asked for, ns."""
    return [ts for way, ts, payload in world.frames if way == ">" and b"get_transaction_log" in payload]


def test_funding_comes_with_the_sessions_settlement_and_once() -> None:
    world = begun()
    world.submit(BTC, Side.BUY, 500, ASK)
    world.venue.fund(world.now, PERPETUAL, 100_000)
    world.rest(25 * S)
    assert moved(world) == []
    world.venue.settle_session(world.now)
    world.rest(70 * S)
    (move,) = moved(world)
    assert (move.kind, move.currency, move.amount, move.instrument_id) == (CashKind.FUNDING, "BTC", -100, BTC)
    # The question says the same under the same name, and what a new session says, too.
    asked_for = world.ask(T0).cash_moves
    assert [msgspec.structs.replace(each, ts_init=0) for each in asked_for] == [msgspec.structs.replace(move, ts_init=0)]
    assert world.trader.portfolio.cash["BTC"] == world.account.cash["BTC"]
    world.restart()
    assert world.trader.cash.booked == 1
    assert differences(world.venue.books, world.account, world.trader, PREFIX) == []


def test_what_moved_while_there_was_no_connection_is_asked_for_behind_it() -> None:
    world = begun()
    world.submit(BTC, Side.BUY, 500, ASK)
    world.cut()
    world.run_until(lambda: world.connection is None)
    world.venue.fund(world.now, PERPETUAL, -300_000)
    world.venue.settle_session(world.now)
    world.venue.act(world.now, "adjust", {"account": "us", "currency": "USDC", "amount": 5})
    world.run_until(lambda: world.session.phase is Phase.READY)
    world.rest(5 * S)
    assert [(each.kind, each.currency, each.amount) for each in moved(world)] == [
        (CashKind.FUNDING, "BTC", 300),
        (CashKind.TRANSFER, "USDC", 5),
    ]


def test_the_log_is_asked_for_no_faster_than_the_venue_takes_it() -> None:
    """Pages, several currencies and questions in between: a second apart at least, or the session would end."""
    world = begun()
    world.keeps_frames = True
    for _ in range(300):
        world.venue.act(world.now, "adjust", {"account": "us", "currency": "BTC", "amount": 1})
    for place in range(4):
        world.ask(T0 + place)
        world.rest(7 * S)
    world.cut()
    world.run_until(lambda: world.session.phase is Phase.READY)
    world.ask(T0 - 10**6 * S)
    world.rest(60 * S)
    times = asked(world)
    assert min(later - before for before, later in pairwise(times)) >= 1_500_000_000
    assert len(moved(world)) == 300
    assert world.reconnects == 1
    # In a minute there are three looks of the timer at two currencies, and no more.
    assert len([ts for ts in times if ts > world.now - 60 * S]) <= 8


def test_a_log_that_cannot_be_read_is_told_and_asked_for_again() -> None:
    world = begun()
    world.submit(BTC, Side.BUY, 500, ASK)
    answer = world.venue.methods.private.pop("private/get_transaction_log")
    world.venue.fund(world.now, PERPETUAL, 100_000)
    world.venue.settle_session(world.now)
    world.rest(25 * S)
    assert "cash" in world.fact_kinds()
    # Orders and positions are told all the same.
    state = world.ask(T0)
    assert (state.cash_moves, state.positions[BTC]) == ((), 500)
    world.venue.methods.private["private/get_transaction_log"] = answer
    world.rest(45 * S)
    assert [each.amount for each in moved(world)] == [-100]


def test_a_delivered_contract_is_closed_by_a_fill_that_is_not_ours() -> None:
    world = begun()
    world.submit(BTC, Side.BUY, 500, ASK)
    world.venue.act(world.now, "settle", {"instrument_id": BTC, "price": 5_100_000})
    world.rest(25 * S)
    (fill,) = world.foreign_fills
    assert (fill.side, fill.qty, fill.price, fill.instrument_id) == (Side.SELL, 500, 5_100_000, BTC)
    state = world.ask(T0)
    assert state.positions[BTC] == 0
    assert [each.execution_id for each in state.executions if isinstance(each, OrderFilled)][-1] == fill.execution_id
    assert "cash" in world.fact_kinds()


class LinkOfAWrongClock:
    """Answers at once with what was asked to be shown; its idea of the server's time is what a test says."""

    def __init__(self) -> None:
        self.ms = T0 // NS_PER_MS
        self.rows: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []

    def server_ms(self, ts: int) -> int:
        return self.ms

    def ask(self, ts: int, build: Any, on_answer: Any, *_others: Any) -> None:
        asked = json.decode(build(1))["params"]
        self.asked.append(asked)
        found = [row for row in self.rows if asked["start_timestamp"] <= row["timestamp"] <= asked["end_timestamp"]]
        on_answer(ts, Answer(1, Raw(json.encode({"logs": found, "continuation": None}))))


def test_a_look_under_a_clock_that_was_ahead_is_neither_fresh_nor_complete() -> None:
    link, learned = LinkOfAWrongClock(), list[Meaning]()
    one = {PERPETUAL: KNOWN[PERPETUAL]}
    log = CashLog(link, one, settings_of(), learned.append)
    ahead_ms, begun_ms = 3_600_000, link.ms

    def row(number: int, ms: int) -> dict[str, Any]:
        return {**SETTLEMENT, "id": number, "timestamp": ms}

    link.rows.append(row(1, begun_ms + 1))
    link.ms = begun_ms + ahead_ms
    log.want(T0, begun_ms, lambda _ts: None)
    assert len(learned) == 1
    # The clock is right again, and an hour of rows lies behind the look that thought itself later.
    link.ms = begun_ms + 1_900_000
    link.rows += [row(2, begun_ms + 10_000), row(3, link.ms)]
    told: list[int] = []
    log.want(T0 + 60 * S, begun_ms, told.append)
    assert (len(learned), told) == (3, [T0 + 60 * S])
    # And soon after that a look is as good as new.
    asked = len(link.asked)
    log.want(T0 + 61 * S, begun_ms, told.append)
    assert (len(link.asked), len(told)) == (asked, 2)
