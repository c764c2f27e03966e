"""Money that no fill explains: what each activity becomes, once, and how the venue is asked for it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from adapters.alpaca.money import ACTIONS, KINDS, Moves
from adapters.alpaca.movements import MovementReader
from adapters.alpaca.settings import AlpacaSettings
from adapters.alpaca.wire import ACTIVITIES_PAGE_MAX, Movements, read_movements
from core.enums import CashKind
from core.errors import TransportError
from core.events import CashMoved
from core.units import NS_PER_SECOND
from tests.adapters.alpaca.plain_codec import codec_of
from tests.adapters.alpaca.world import DEFAULTS

MADE, NOW = 1_788_000_000 * NS_PER_SECOND, 1_789_000_000 * NS_PER_SECOND
DAY_NS = 86_400 * NS_PER_SECOND
CODEC = codec_of(msgspec.convert(DEFAULTS, AlpacaSettings))
SYMBOLS = {"AAPL": "AAPL.ALPACA"}


def activity(kind: str, amount: str | None, name: str = "20260829000000000::a", **more: Any) -> dict[str, Any]:
    body = {"id": name, "activity_type": kind, "date": "2026-08-29", "created_at": "2026-08-29T10:40:00Z", "status": "executed"}
    return body | ({} if amount is None else {"net_amount": amount}) | more


def heard(*bodies: dict[str, Any], are_estimated: bool = False) -> Moves:
    moves = Moves("ALPACA", SYMBOLS, begun_ts=0, are_estimated=are_estimated)
    page = read_movements(json.dumps(bodies).encode())
    moves.hear(NOW, page.found)
    for text in page.unread:
        moves.unread(text)
    return moves


def move(
    kind: CashKind, amount: int, name: str = "20260829000000000::a", instrument_id: str = "", currency: str = "USD"
) -> CashMoved:
    return CashMoved(MADE, NOW, "ALPACA", name, kind, currency, amount, instrument_id)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            activity("DIV", "1.02", activity_sub_type="CDIV", symbol="AAPL"),
            move(CashKind.DIVIDEND, 102_000_000, instrument_id="AAPL.ALPACA"),
        ),
        (activity("DIVNRA", "-0.31", symbol="T"), move(CashKind.DIVIDEND, -31_000_000)),
        (activity("FEE", "-3.82", activity_sub_type="REG"), move(CashKind.COMMISSION, -382_000_000)),
        (activity("PTC", -0.02), move(CashKind.COMMISSION, -2_000_000)),
        (activity("INT", "-12.3456", activity_sub_type="MGN"), move(CashKind.INTEREST, -1_234_560_000)),
        (activity("CSD", "5000"), move(CashKind.TRANSFER, 500_000_000_000)),
        (activity("JNLC", "-5", currency="EUR"), move(CashKind.TRANSFER, -500_000_000, currency="EUR")),
        (activity("OPEXP", "1"), move(CashKind.SETTLEMENT, 100_000_000)),
        (activity("CORR", "1"), move(CashKind.CORRECTION, 100_000_000)),
        (activity("WH", "-1"), move(CashKind.OTHER, -100_000_000)),
        (activity("SOMETHING_NEW", "-1", status="correct"), move(CashKind.OTHER, -100_000_000)),
    ],
)
def test_what_an_activity_becomes(body: dict[str, Any], expected: CashMoved) -> None:
    moves = heard(body)
    assert moves.take_new() == [expected]
    assert moves.take_new() == []
    assert moves.kept() == (expected,)
    assert moves.troubles == []


def test_it_is_dated_when_it_was_made_and_by_its_day_where_that_is_not_said() -> None:
    (found,) = heard(activity("DIV", "1", created_at=None, date="2026-08-29T00:00:00Z")).kept()
    assert found.ts_event == 1_787_961_600 * NS_PER_SECOND
    (found,) = heard(activity("DIV", "1", created_at="2026-08-30T00:17:05.448916Z")).kept()
    assert found.ts_event == 1_788_049_025 * NS_PER_SECOND + 448_916_000


def test_what_was_made_before_this_process_is_left_to_the_comparison() -> None:
    moves = Moves("ALPACA", SYMBOLS, begun_ts=MADE + 1, are_estimated=False)
    bodies = [activity("CSD", "5", "1"), activity("CSD", "6", "2", created_at="2026-08-29T10:40:01Z")]
    moves.hear(NOW, read_movements(json.dumps(bodies).encode()).found)
    assert [each.movement_id for each in moves.take_new()] == ["2"]
    assert [each.movement_id for each in moves.kept()] == ["1", "2"]


def test_what_is_canceled_is_said_with_what_takes_it_back() -> None:
    """Whoever has booked the first books the second; whoever has booked neither books both: it comes to the same."""
    moves = heard(activity("DIV", "1", symbol="AAPL"))
    first = moves.take_new()
    page = read_movements(json.dumps([activity("DIV", "1", symbol="AAPL", status="canceled")]).encode())
    moves.hear(NOW, page.found)
    back = move(CashKind.CORRECTION, -100_000_000, "20260829000000000::a/canceled", "AAPL.ALPACA")
    assert moves.take_new() == [back]
    fresh = heard(activity("DIV", "1", symbol="AAPL", status="canceled"))
    assert fresh.take_new() == [*first, back]


def test_fees_that_fills_carry_are_not_said_again() -> None:
    bodies = [
        activity("FEE", "-0.01", "1", activity_sub_type="REG"),
        activity("FEE", "-0.02", "2", description="TAF fee for proceed of 5 shares (3 trades) on 2024-08-29"),
        activity("FEE", "-0.03", "3", activity_sub_type="CAT"),
    ]
    assert [each.movement_id for each in heard(*bodies, are_estimated=True).take_new()] == ["3"]
    assert [each.movement_id for each in heard(*bodies).take_new()] == ["1", "2", "3"]


def test_what_moves_shares_is_told_once() -> None:
    body = activity("SPLIT", "0", activity_sub_type="FSPLIT", symbol="AAPL", qty="10")
    moves = heard(body, body)
    assert (moves.kept(), moves.troubles) == (
        (),
        ["corporate action or transfer SPLIT FSPLIT of AAPL, 10 shares: positions and orders change without a fill"],
    )
    (cash,) = heard(activity("MA", "12.5", symbol="AAPL")).kept()
    assert (cash.kind, cash.amount) == (CashKind.OTHER, 1_250_000_000)
    assert not ACTIONS & {"DIV", "FEE", "INT", "CSD", "CSW"}
    assert set(KINDS) & ACTIONS == {"OPASN", "OPEXC"}


def test_what_cannot_be_read_is_told_and_hides_nothing() -> None:
    moves = heard(activity("DIV", "NaN", "1"), {"id": 7}, activity("DIV", "1", "2"), activity("DIV", "1", "3", created_at="soon"))
    assert [each.movement_id for each in moves.take_new()] == ["2"]
    assert [text.partition(":")[0] for text in moves.troubles] == [
        "activity 1 cannot be read, and is not booked",
        "activity 3 cannot be read, and is not booked",
        "an activity cannot be read, and is not booked",
    ]


def test_an_amount_that_changes_is_told() -> None:
    moves = heard(activity("DIV", "1"), activity("DIV", "2"))
    assert [each.amount for each in moves.take_new()] == [100_000_000]
    assert moves.troubles == [
        "activity 20260829000000000::a was 100000000 USD and is 200000000 USD (10^-8): the books need the difference by hand"
    ]


class Asked:
    """Answers pages and remembers what was asked: after when, behind which id."""

    def __init__(self, *pages: list[dict[str, Any]]) -> None:
        self.pages = list(pages)
        self.paths: list[str] = []
        self.now = NOW
        moves = Moves("ALPACA", SYMBOLS, begun_ts=MADE, are_estimated=False)
        self.reader = MovementReader(
            CODEC, moves, ask=self.ask, now=lambda: self.now, begun_ts=NOW, interval_ns=60 * NS_PER_SECOND, late_ns=DAY_NS
        )

    async def ask(self, request: Any) -> Movements:
        self.paths.append(request.build(0).target.partition("page_size=100")[2])
        if not self.pages:
            raise TransportError("away")
        return read_movements(json.dumps(self.pages.pop(0)).encode())


def test_pages_are_read_to_the_end_and_not_asked_for_again_within_the_interval() -> None:
    async def test() -> None:
        full = [activity("DIV", "1", f"20260829000000000::{number}") for number in range(ACTIVITIES_PAGE_MAX)]
        asked = Asked(full, [activity("DIV", "1", "20260829000000000::last")], [])
        found = await asked.reader.since(MADE)
        assert len(found) == ACTIVITIES_PAGE_MAX + 1
        assert await asked.reader.since(MADE + 1) == found
        assert asked.paths == [
            "&after=2026-08-28T10%3A40%3A00.000000000Z",
            "&after=2026-08-28T10%3A40%3A00.000000000Z&page_token=20260829000000000%3A%3A99",
        ]
        asked.now += 60 * NS_PER_SECOND
        await asked.reader.again()
        # Only so far back as one may still show that was not there.
        assert asked.paths[2:] == ["&after=2026-09-09T00%3A26%3A40.000000000Z"]

    asyncio.run(test())


def test_by_itself_it_asks_from_its_beginning_and_a_failure_is_asked_again() -> None:
    async def test() -> None:
        asked = Asked([])
        await asked.reader.again()
        assert asked.paths.pop() == "&after=2026-09-10T00%3A26%3A40.000000000Z"
        assert await asked.reader.since(MADE) == ()
        assert await asked.reader.since(MADE) == ()
        assert asked.reader.moves.troubles == ["money that moved without a fill cannot be asked for: away"]
        asked.pages.append([])
        assert await asked.reader.since(MADE) == ()
        assert asked.paths[0] == asked.paths[1] == asked.paths[2]
        # Further back than ever: the whole of it.
        asked.pages.append([])
        await asked.reader.since(MADE - DAY_NS)
        assert asked.paths[3] == "&after=2026-08-27T10%3A40%3A00.000000000Z"

    asyncio.run(test())


def test_a_list_without_an_end_is_an_error() -> None:
    async def test() -> None:
        full = [activity("DIV", "1", "1") for _ in range(ACTIVITIES_PAGE_MAX)]
        asked = Asked(full, full)
        await asked.reader.since(MADE)
        assert asked.reader.moves.troubles == [
            "money that moved without a fill cannot be asked for: the list of activities does not come to an end"
        ]

    asyncio.run(test())
