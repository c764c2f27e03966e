"""`audit show` tells an order's whole life in a trader's words, and any other part of a journal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import CashKind, LiquiditySide, MarketStatus, OrderType, Reason, Side, TimeInForce, TradingState
from core.errors import ConfigError
from core.events import (
    CancelRejected,
    CashMoved,
    GapDetected,
    LimitTripped,
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderRestated,
    OrderTriggered,
    Quote,
    ReplaceRejected,
    Started,
    StatusChanged,
    TradingResumed,
    TradingStateSet,
)
from daemon.audit.record_text import describe
from daemon.audit.show import KINDS, parse_order
from daemon.journal.format import Record
from daemon.timestamps import iso, parse_moment
from tests.daemon.journal_records import INSTRUMENT, RECORDS, put_segments, segments_in, write
from tests.daemon.session import tradingd

START = 1_767_623_400_000_000_000  # 2026-01-05T14:30:00Z
ACME = "ACME.SIM"
ORDER, OTHER, REFUSED = 1 << 32 | 7, 1 << 32 | 8, 1 << 32 | 9


def at(us: int) -> int:
    return START + us * 1_000


LIFE: list[Record] = [
    Started(at(0), at(0), "demo-1"),
    Quote(at(1), at(2), ACME, 9_998, 35, 10_001, 20),
    SubmitOrder(at(2), ORDER, "maker", ACME, Side.BUY, OrderType.LIMIT, 10, 9_998, post_only=True),
    SubmitOrder(at(2), OTHER, "maker", ACME, Side.SELL, OrderType.LIMIT, 10, 10_001),
    OrderDenied(at(2), at(2), REFUSED, "maker", ACME, "order_notional_max", 150_000_000_000, 100_000_000_000),
    OrderAccepted(at(250), at(500), ORDER, 9_998, 10, "V-1"),
    OrderFilled(at(700), at(900), ORDER, ACME, "12", Side.BUY, 9_998, 4, 6, LiquiditySide.MAKER, -200_000, "USD"),
    Quote(at(1_000), at(1_100), ACME, 9_999, 5, 10_001, 20),
    ReplaceOrder(at(1_100), ORDER, 6, 9_999, 4),
    OrderDenied(at(1_100), at(1_100), ORDER, "maker", ACME, "position_qty_max", 120, 100),
    OrderReplaced(at(1_300), at(1_500), ORDER, 9_999, 6),
    GapDetected(at(1_600), at(1_600), ACME),
    TradingStateSet(at(2_000), at(2_000), TradingState.HALTED, "lunch"),
    CancelAll(at(2_000), None),
    CancelOrder(at(2_000), OTHER),
    OrderCanceled(at(2_200), at(2_400), ORDER, 6, Reason.MASS_CANCEL),
    OrderAccepted(at(250), at(500_000_000), OTHER, 10_001, 10),
    StatusChanged(at(500_000_000), at(500_000_000), ACME, MarketStatus.CLOSED),
]
SHOWN = (Path(__file__).parent / "golden" / "order_life.txt").read_text(encoding="utf-8")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    write(tmp_path / "journal", LIFE)
    return tmp_path / "journal"


def test_an_orders_whole_life(tmp_path: Path, journal: Path) -> None:
    for name in ("7", "1-7", "tradingd-1-7", str(ORDER)):
        result = tradingd("audit", "show", journal, "--order", name, cwd=tmp_path)
        assert (result.returncode, result.stdout, result.stderr) == (0, SHOWN, "")


def test_a_denial_names_limit_value_and_bound(tmp_path: Path, journal: Path) -> None:
    result = tradingd("audit", "show", journal, "--order", "9", cwd=tmp_path)
    assert result.stdout.splitlines()[1].endswith(
        "DENIED            denied by our risk gate: order_notional_max, value 1500.00000000 USD, bound 1000.00000000 USD; "
        "nothing was sent  [maker on ACME.SIM]  (bid 35 at 99.98, ask 20 at 100.01)"
    )


def test_json_is_one_object_a_line(tmp_path: Path, journal: Path) -> None:
    result = tradingd("audit", "show", journal, "--order", "7", "--json", cwd=tmp_path)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["record"], line["kind"], line["status"]) for line in lines][:3] == [
        (3, "submit", "SUBMITTED"),
        (6, "accepted", "ACCEPTED"),
        (7, "filled", "PARTIALLY_FILLED"),
    ]
    assert lines[2]["fields"]["side"] == "BUY"
    assert lines[2]["fields"]["price"] == 9_998
    assert lines[0]["market"]["ask_price"] == 10_001
    assert {line["problem"] for line in lines} == {""}


def test_selections(tmp_path: Path, journal: Path) -> None:
    def records(*options: str) -> list[int]:
        result = tradingd("audit", "show", journal, "--json", *options, cwd=tmp_path)
        assert result.returncode == 0, result
        return [json.loads(line)["record"] for line in result.stdout.splitlines()]

    assert records() == list(range(1, len(LIFE) + 1))
    assert records("--kind", "filled,denied") == [5, 7, 10]
    assert records("--from", "2026-01-05T14:30:00.0015Z", "--to", "2026-01-05T15:30:00.002+01:00") == [11, 12]
    assert records("--from", str(at(2_400)), "--kind", "accepted") == [17]
    assert records("--order", "8", "--kind", "cancel") == [15]
    result = tradingd("audit", "show", journal, "--kind", "filled", cwd=tmp_path)
    assert result.stdout == (
        "        7  2026-01-05T14:30:00.000900000Z  filled          1-7            "
        "filled: BUY 4 at 99.98, 6 left; maker, rebate 0.002 USD, execution 12\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--order", "99"), "tradingd: --order 99: the journal does not speak of order 1-99\n"),
        (("--order", "x"), "is no order; write its number"),
        (("--kind", "fill"), "there are no records of kind 'fill'; did you mean filled?"),
        (("--from", "yesterday"), "'yesterday' is no moment"),
        (("--from", "2026-02-30T00:00:00Z"), "'2026-02-30T00:00:00Z' is no moment"),
    ],
)
def test_what_cannot_be_shown_is_said(tmp_path: Path, journal: Path, options: tuple[str, ...], message: str) -> None:
    result = tradingd("audit", "show", journal, *options, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (3, "")
    assert message in result.stderr


def test_a_damaged_journal_shows_what_comes_before_the_damage(tmp_path: Path, journal: Path) -> None:
    data = segments_in(journal)[1]
    place = data.index(b"V-1")
    put_segments(journal, {1: data[:place] + b"W" + data[place + 1 :]})
    result = tradingd("audit", "show", journal, cwd=tmp_path)
    assert result.returncode == 4
    assert len(result.stdout.splitlines()) == 3
    assert "after 3 good records" in result.stderr


def test_an_event_that_the_order_could_not_take_is_marked(tmp_path: Path) -> None:
    again = [*LIFE[:3], OrderExpired(at(3), at(4), ORDER, 10), OrderRejected(at(5), at(6), ORDER, Reason.NONE)]
    write(tmp_path / "journal", again)
    lines = tradingd("audit", "show", tmp_path / "journal", "--order", "7", cwd=tmp_path).stdout.splitlines()
    assert lines[-1].endswith("  !! order 4294967303: REJECT is not possible in state EXPIRED")


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (OrderRejected(1, 2, ORDER, Reason.POST_ONLY, "would cross"), "rejected by the venue (post only): would cross"),
        (OrderExpired(1, 2, ORDER, 3), "expired: 3 unfilled"),
        (OrderTriggered(1, 2, ORDER), "triggered"),
        (OrderRestated(1, 2, ORDER, 4, Reason.SELF_TRADE), "made smaller by the venue: 4 left (self trade)"),
        (CancelRejected(1, 2, ORDER, Reason.UNKNOWN_ORDER), "the venue did not cancel (unknown order)"),
        (ReplaceRejected(1, 2, ORDER, Reason.NO_CHANGE), "the venue did not replace (no change)"),
        (
            OrderOutcomeUnknown(1, 2, ORDER, "timeout"),
            "outcome unknown: timeout; it counts as open until the venue says otherwise",
        ),
        (
            SubmitOrder(
                1, ORDER, "m", ACME, Side.SELL, OrderType.STOP_LIMIT, 5, 100, 101, TimeInForce.GTD, False, True, 2, START
            ),
            "submit SELL 5 STOP_LIMIT at 1.00 once 1.01 trades GTD until 2026-01-05T14:30:00.000000000Z reduce-only showing 2",
        ),
        (
            OrderDenied(1, 2, ORDER, "m", ACME, "price_collar_ppm", 10_500, 10_200),
            "denied by our risk gate: price_collar_ppm, value 105.00, bound 102.00; nothing was sent",
        ),
        (
            OrderDenied(1, 2, ORDER, "m", ACME, "gross_exposure_max.EUR", 150_000_000_000, 100_000_000_000),
            "denied by our risk gate: gross_exposure_max.EUR, value 1500.00000000 EUR, bound 1000.00000000 EUR; nothing was sent",
        ),
        (
            LimitTripped(1, 2, "m", TradingState.REDUCING, "rejects_max", 21, 20, (("window_ns", 5),)),
            "rejects_max tripped, value 21, bound 20 (made of window_ns 5): strategy m is REDUCING",
        ),
        (
            CashMoved(1, 2, "SIM", "M7", CashKind.FUNDING, "USD", -125_000_000, ACME),
            "funding of ACME.SIM: paid 1.25 USD, movement M7 at SIM",
        ),
        (
            CashMoved(1, 2, "SIM", "M8", CashKind.COMMISSION, "USD", 1, "", ORDER),
            "commission for order 1-7: received 0.00000001 USD, movement M8 at SIM",
        ),
        (CashMoved(1, 2, "SIM", "M9", CashKind.TRANSFER, "USD", 10**11), "transfer: received 1000 USD, movement M9 at SIM"),
        (TradingResumed(1, 2, "looked at it"), "resumed to ACTIVE: looked at it"),
        (
            OrderDenied(1, 2, ORDER, "m", ACME, "trading_state", 2, 0),
            "denied by our risk gate: trading_state, value HALTED, bound ACTIVE; nothing was sent",
        ),
    ],
)
def test_each_record_in_words(record: Record, text: str) -> None:
    assert describe(record, INSTRUMENT) == text


def test_every_kind_of_record_has_words() -> None:
    kinds = {str(record.__struct_config__.tag) for record in [*RECORDS, *LIFE]}
    assert kinds <= set(KINDS)
    for record in [*RECORDS, *LIFE]:
        assert describe(record, INSTRUMENT)
        assert describe(record, None)


def test_orders_as_people_name_them() -> None:
    assert parse_order("7", 3) == 3 << 32 | 7
    assert parse_order("2-7", 3) == parse_order("my_bot-2-7", 3) == 2 << 32 | 7
    for text in ("", "-", "1-", "seven", "1-2-x", "٣"):
        with pytest.raises(ConfigError):
            parse_order(text, 1)


def test_moments() -> None:
    for ts in (0, START, START + 1, START + 999_999_999):
        assert parse_moment(iso(ts)) == ts
    assert parse_moment("2026-01-05T15:30+01:00") == START
