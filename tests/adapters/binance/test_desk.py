"""Commands to facts: each outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from adapters.binance.desk import Ask, OrderDesk, Purpose, Reaction
from adapters.binance.endpoints import Product
from adapters.binance.order_events import OrderFact
from adapters.binance.stream_debts import LATE_NS
from adapters.binance.unknown_orders import UnknownLimits
from adapters.binance.user_stream import decode_user
from adapters.http.outcome import failed
from adapters.http.request import Intent, Progress, Sent
from core.commands import CancelAll, CancelOrder, ReplaceOrder
from core.enums import OrderType, Reason, Side, TimeInForce
from core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)
from core.identifiers import make_order_id
from core.units import NS_PER_MS, NS_PER_SECOND
from core.venue_adapter import VenueOrder
from tests.adapters.binance.account_for_tests import (
    FILL,
    NOW,
    ORDER_ID,
    STAMP,
    encoded,
    execution_report,
    order_body,
    order_update,
    submit,
)
from tests.adapters.binance.desk_for_tests import BOUND, COIN, ERROR_NS, PERP, SPOT, USDM, desk, sent


def placed(under: OrderDesk, product: Product = USDM, **changes: Any) -> Ask:
    (ask,) = under.send(submit(product, **changes), NOW).asks
    return ask


def react(under: OrderDesk, ask: Ask, outcome: Sent[Any], now: int = 0) -> Reaction:
    return under.answered(ask, outcome, now, NOW, ERROR_NS)


ACCEPTED = OrderAccepted(STAMP, NOW, ORDER_ID, 618375, 250, "77")


@pytest.mark.parametrize(
    ("status", "body", "fact"),
    [
        (200, order_body(), ACCEPTED),
        (400, {"code": -2019, "msg": "Margin."}, OrderRejected(NOW, NOW, ORDER_ID, Reason.NONE, "-2019 Margin.")),
        (503, b"Service Unavailable.", OrderRejected(NOW, NOW, ORDER_ID, Reason.NONE, "Service Unavailable.")),
        (403, b"<html>", OrderRejected(NOW, NOW, ORDER_ID, Reason.NONE, "stopped by the venue's firewall")),
    ],
)
def test_a_new_order_is_taken_or_refused(status: int, body: Any, fact: OrderFact) -> None:
    under = desk()
    ask = placed(under)
    assert react(under, ask, sent(ask, status, body)) == Reaction((fact,))
    assert len(under.unknown) == 0


def test_a_new_order_that_did_not_leave() -> None:
    under = desk()
    reaction = react(under, placed(under), failed(Progress.CONNECTING, "refused"))
    assert reaction == Reaction((OrderRejected(NOW, NOW, ORDER_ID, Reason.NOT_SENT, "refused"),))


@pytest.mark.parametrize(
    "outcome",
    [
        lambda ask: failed(Progress.SENDING, "reset"),
        lambda ask: sent(ask, 503, b"Unknown error"),
        lambda ask: sent(ask, 200, b""),
        lambda ask: sent(ask, 200, order_body(clientOrderId="td-7-4")),
        lambda ask: sent(ask, 400, {"code": -4116, "msg": "ClientOrderId is duplicated."}),
        lambda ask: sent(ask, 200, order_body(price="61837.55")),  # taken, at a price that cannot be
    ],
)
def test_a_new_order_whose_outcome_is_unknown_is_asked_about(outcome: Callable[[Ask], Sent[Any]]) -> None:
    under = desk()
    ask = placed(under)
    (fact,) = react(under, ask, outcome(ask)).facts
    assert (type(fact), ORDER_ID in under.unknown) == (OrderOutcomeUnknown, True)
    (question,) = under.due(NS_PER_SECOND).asks
    assert (question.purpose, question.request.intent) == (Purpose.QUERY, Intent.QUERY)
    assert react(under, question, sent(question, 200, order_body(), NS_PER_SECOND)).facts == (ACCEPTED,)
    assert len(under.unknown) == 0


def test_an_unknown_order_that_was_filled_is_found_with_its_fills() -> None:
    under = desk()
    react(under, placed(under), failed(Progress.ANSWERING, "the deadline passed"))
    (question,) = under.due(NS_PER_SECOND).asks
    body = order_body(status="FILLED", executedQty="0.250")
    (fills,) = react(under, question, sent(question, 200, body, NS_PER_SECOND)).asks
    row = {
        "symbol": "BTCUSDT",
        "id": 9,
        "orderId": 77,
        "price": "61837.5",
        "qty": "0.25",
        "commission": "1",
        "commissionAsset": "BNB",
    }
    rows = [{**row, "time": STAMP // NS_PER_MS, "side": "BUY", "maker": False}]
    # The first answer comes from a server that has not seen the trade yet.
    assert react(under, fills, sent(fills, 200, [])) == Reaction()
    assert ORDER_ID in under.unknown
    facts = react(under, fills, sent(fills, 200, rows)).facts
    assert [type(fact) for fact in facts] == [OrderAccepted, OrderFilled]
    assert len(under.unknown) == 0


def test_an_unknown_order_that_never_was_is_refused_after_two_reads() -> None:
    under = desk()
    react(under, placed(under), failed(Progress.ANSWERING, "reset", sent_ns=1))
    missing = {"code": -2013, "msg": "Order does not exist."}
    facts: list[OrderFact] = []
    now = 0
    while not facts:
        now = under.unknown.next_at() or 0
        (question,) = under.due(now).asks
        facts += react(under, question, sent(question, 400, missing, now), now).facts
    assert now >= 1 + BOUND
    (fact,) = facts
    assert isinstance(fact, OrderRejected)
    assert fact.reason is Reason.UNKNOWN_ORDER


def test_a_question_that_fails_answers_nothing() -> None:
    under = desk()
    react(under, placed(under), failed(Progress.ANSWERING, "reset"))
    for outcome in (failed(Progress.CONNECTING, "refused"), failed(Progress.ANSWERING, "reset")):
        (question,) = under.due(100 * NS_PER_SECOND + (under.unknown.next_at() or 0)).asks
        assert react(under, question, outcome) == Reaction()
    (question,) = under.due(1000 * NS_PER_SECOND).asks
    assert react(under, question, sent(question, 429, b"")) == Reaction()
    assert ORDER_ID in under.unknown


def test_the_stream_is_faster_than_the_answer() -> None:
    under = desk(SPOT)
    ask = placed(under, SPOT)
    message = decode_user(encoded(execution_report()))
    (fact,) = under.heard(message, NOW).facts
    assert isinstance(fact, OrderAccepted)
    # The answer that is lost now would have said nothing new.
    assert react(under, ask, failed(Progress.ANSWERING, "reset")) == Reaction()
    assert len(under.unknown) == 0


@pytest.mark.parametrize("is_told", ["before", "after", "never"])
def test_an_order_that_was_taken_must_be_told_by_the_stream(is_told: str) -> None:
    under = desk(SPOT)
    ask, message = placed(under, SPOT), decode_user(encoded(execution_report()))
    if is_told == "before":
        under.heard(message, NOW)
    react(under, ask, sent(ask, 200, order_body()))
    if is_told == "after":
        under.heard(message, NOW)
    assert under.debts.is_overdue(LATE_NS) is (is_told == "never")


CANCELED = OrderCanceled(STAMP, NOW, ORDER_ID, 250, Reason.REQUESTED)
DONE_SHOWS_NS = UnknownLimits().done_shows_ns


def test_an_order_that_was_canceled_and_ended_otherwise_ends_once() -> None:
    under = desk()
    placed(under)
    canceled = decode_user(encoded(order_update(x="CANCELED", X="CANCELED")))
    assert under.heard(canceled, NOW).facts == (CANCELED,)
    expired = decode_user(encoded(order_update(x="TRADE_PREVENTION", X="EXPIRED_IN_MATCH")))
    assert under.heard(expired, NOW) == Reaction()
    assert under.heard(canceled, NOW).facts == (CANCELED,)


def cancel_answered_as_done(under: OrderDesk) -> None:
    placed(under)
    (ask,) = under.send(CancelOrder(NOW, ORDER_ID), NOW).asks
    assert react(under, ask, sent(ask, 200, order_body(status="CANCELED"))) == Reaction()


def test_a_cancel_that_is_answered_as_done_is_done_when_the_stream_says_so() -> None:
    under = desk()
    cancel_answered_as_done(under)
    assert under.heard(decode_user(encoded(order_update(x="CANCELED", X="CANCELED"))), NOW).facts == (CANCELED,)
    assert len(under.unknown) == 0


def test_a_cancel_that_is_answered_as_done_and_that_no_stream_tells_of_is_asked_about() -> None:
    under = desk()
    cancel_answered_as_done(under)
    (question,) = under.due(NS_PER_SECOND).asks
    # A server that is behind shows it as open.
    assert react(under, question, sent(question, 200, order_body(), NS_PER_SECOND), NS_PER_SECOND) == Reaction()
    (question,) = under.due(DONE_SHOWS_NS).asks
    answer = sent(question, 200, order_body(status="CANCELED"), DONE_SHOWS_NS)
    assert react(under, question, answer, DONE_SHOWS_NS).facts == (ACCEPTED, CANCELED)


def test_a_cancel_that_is_answered_as_done_and_never_done_is_refused_in_the_end() -> None:
    under = desk()
    cancel_answered_as_done(under)
    (question,) = under.due(DONE_SHOWS_NS).asks
    undone = CancelRejected(NOW, NOW, ORDER_ID, Reason.NONE)
    answer = sent(question, 200, order_body(), DONE_SHOWS_NS)
    assert react(under, question, answer, DONE_SHOWS_NS).facts == (ACCEPTED, undone)
    assert len(under.unknown) == 0


def test_a_refused_cancel_of_an_order_that_is_not_open_is_a_question() -> None:
    under = desk()
    placed(under)
    (ask,) = under.send(CancelOrder(NOW, ORDER_ID), NOW).asks
    reaction = react(under, ask, sent(ask, 400, {"code": -2011, "msg": "Unknown order sent."}))
    assert reaction.facts == (CancelRejected(NOW, NOW, ORDER_ID, Reason.UNKNOWN_ORDER),)
    assert (unknown := under.unknown.get(ORDER_ID)) is not None
    assert (unknown.is_new, unknown.is_changing, unknown.is_canceling) == (False, False, True)


def test_a_cancel_whose_outcome_is_unknown_is_not_settled_by_an_open_order() -> None:
    under = desk()
    placed(under)
    (ask,) = under.send(CancelOrder(NOW, ORDER_ID), NOW).asks
    (fact,) = react(under, ask, failed(Progress.ANSWERING, "reset", sent_ns=1)).facts
    assert isinstance(fact, OrderOutcomeUnknown)
    (question,) = under.due(NS_PER_SECOND).asks
    assert react(under, question, sent(question, 200, order_body(), NS_PER_SECOND), NS_PER_SECOND) == Reaction()
    (question,) = under.due(2 * BOUND).asks
    assert react(under, question, sent(question, 200, order_body(), 2 * BOUND), 2 * BOUND).facts == (ACCEPTED,)


def test_a_change_whose_outcome_is_unknown_is_what_the_venue_has() -> None:
    under = desk()
    placed(under)
    (ask,) = under.send(ReplaceOrder(NOW, ORDER_ID, 300, 610000), NOW).asks
    react(under, ask, failed(Progress.ANSWERING, "reset", sent_ns=1))
    (question,) = under.due(2 * BOUND).asks
    body = order_body(price="61000.0", origQty="0.300")
    assert react(under, question, sent(question, 200, body, 2 * BOUND), 2 * BOUND).facts == (
        OrderAccepted(STAMP, NOW, ORDER_ID, 610000, 300, "77"),
        OrderReplaced(STAMP, NOW, ORDER_ID, 610000, 300, 0),
    )


def amendment(stamp_ms: int, price: str, quantity: str) -> Any:
    return decode_user(encoded(order_update(x="AMENDMENT", X="NEW", p=price, q=quantity, T=stamp_ms)))


def test_a_change_that_is_told_twice_does_not_answer_the_next_one() -> None:
    under = desk()
    placed(under)
    stamp_ms = STAMP // NS_PER_MS
    (ask,) = under.send(ReplaceOrder(NOW, ORDER_ID, 300, 610000), NOW).asks
    body = order_body(price="61000.0", origQty="0.300", updateTime=stamp_ms)
    assert react(under, ask, sent(ask, 200, body)).facts == (OrderReplaced(STAMP, NOW, ORDER_ID, 610000, 300, 0),)
    under.send(ReplaceOrder(NOW, ORDER_ID, 400, 620000), NOW)
    # The stream is late: this is the first change once more, and the second is not answered yet.
    assert under.heard(amendment(stamp_ms, "61000.0", "0.300"), NOW) == Reaction()
    newer = OrderReplaced(STAMP + 2 * NS_PER_MS, NOW, ORDER_ID, 620000, 400, 0)
    assert under.heard(amendment(stamp_ms + 2, "62000.0", "0.400"), NOW).facts == (newer,)
    assert under.heard(amendment(stamp_ms + 1, "61500.0", "0.350"), NOW) == Reaction()  # older than what is known


def test_a_fill_leaves_an_unknown_change_unknown() -> None:
    under = desk()
    placed(under)
    (ask,) = under.send(ReplaceOrder(NOW, ORDER_ID, 300, 610000), NOW).asks
    react(under, ask, failed(Progress.ANSWERING, "reset"))
    facts = under.heard(decode_user(encoded(order_update(**FILL))), NOW).facts
    assert [type(fact) for fact in facts] == [OrderFilled, OrderOutcomeUnknown]
    # The end of the order settles everything.
    facts = under.heard(decode_user(encoded(order_update(x="CANCELED", X="CANCELED", z="0.1"))), NOW).facts
    assert [type(fact) for fact in facts] == [OrderCanceled]
    assert len(under.unknown) == 0
    # What is answered now changed nothing, whatever became of it.
    assert react(under, ask, failed(Progress.ANSWERING, "reset")).facts == (
        ReplaceRejected(NOW, NOW, ORDER_ID, Reason.UNKNOWN_ORDER),
    )


def test_what_cannot_be_said_to_this_venue_is_refused_by_an_event() -> None:
    under = desk(SPOT)
    (fact,) = under.send(submit(SPOT, time_in_force=TimeInForce.DAY), NOW).facts
    assert isinstance(fact, OrderRejected)
    placed(under, SPOT)
    (fact,) = under.send(ReplaceOrder(NOW, ORDER_ID, 300, 610000), NOW).facts
    assert fact == ReplaceRejected(NOW, NOW, ORDER_ID, Reason.BAD_FIELD)
    (fact,) = under.send(CancelOrder(NOW, 5), NOW).facts
    assert fact == CancelRejected(NOW, NOW, 5, Reason.NOT_SENT)


def test_everything_is_canceled_at_both_services_of_the_futures() -> None:
    under = desk()
    placed(under)
    stop = make_order_id(7, 4)
    (ask,) = under.send(submit(USDM, client_order_id=stop, order_type=OrderType.STOP, price=None, trigger_price=1), NOW).asks
    assert ask.request.name == "binance.usdm.algo.place"
    asks = under.send(CancelAll(NOW, None), NOW).asks
    assert [ask.request.name for ask in asks] == ["binance.usdm.orders.cancel_all", "binance.usdm.algo.cancel_all"]
    done = {"code": 200, "msg": "done"}
    assert react(under, asks[0], sent(asks[0], 200, done)) == Reaction(must_recover=True)
    refused = react(under, asks[1], sent(asks[1], 418, b""))
    assert refused == Reaction((CancelRejected(NOW, NOW, stop, Reason.NONE),), must_recover=True)
    lost = react(under, asks[0], failed(Progress.ANSWERING, "reset"))
    assert lost == Reaction((OrderOutcomeUnknown(NOW, NOW, ORDER_ID, "reset"),), must_recover=True)
    (again, _) = under.send(CancelAll(NOW, None), NOW).asks
    for facts in ((CancelRejected(NOW, NOW, ORDER_ID, Reason.NOT_SENT),), ()):  # a second refusal is no news
        assert react(under, again, failed(Progress.QUEUED, "banned")) == Reaction(facts, must_recover=True)


def test_spot_lists_what_it_canceled() -> None:
    under = desk(SPOT)
    placed(under, SPOT)
    (ask,) = under.send(CancelAll(NOW, COIN), NOW).asks
    rows = [order_body(status="CANCELED", price="61837.50"), order_body(status="CANCELED", clientOrderId="web", orderId=5)]
    assert react(under, ask, sent(ask, 200, rows)) == Reaction(must_recover=True)
    (question,) = under.due(NS_PER_SECOND).asks
    facts = react(under, question, sent(question, 200, rows[0], NS_PER_SECOND), NS_PER_SECOND).facts
    assert facts[1:] == (OrderCanceled(STAMP, NOW, ORDER_ID, 25000, Reason.REQUESTED),)


def test_orders_of_a_run_before_can_be_canceled() -> None:
    under = desk()
    under.adopt(ORDER_ID, VenueOrder(ORDER_ID, PERP, Side.BUY, None, 250, "a9"))
    (ask,) = under.send(CancelOrder(NOW, ORDER_ID), NOW).asks
    assert ask.request.name == "binance.usdm.algo.cancel"


@pytest.mark.parametrize(
    ("name", "path"), [("77", "/fapi/v1/order?symbol=BTCUSDT&orderId=77"), ("a9", "/fapi/v1/algoOrder?algoId=9")]
)
def test_an_order_that_was_adopted_goes_by_our_id_here_and_by_its_own_there(name: str, path: str) -> None:
    under = desk()
    under.adopt(ORDER_ID, VenueOrder(None, PERP, Side.BUY, 618375, 250, name))
    (ask,) = under.send(CancelOrder(NOW, ORDER_ID), NOW).asks
    wire = ask.request.build(STAMP)
    assert wire.method == "DELETE"
    assert path.partition("?")[0] == wire.target.partition("?")[0]
    assert path.partition("?")[2] in wire.target
    react(under, ask, failed(Progress.ANSWERING, "reset", sent_ns=1))
    (question,) = under.due(NS_PER_SECOND).asks
    assert path.rpartition("&")[2].rpartition("?")[2] in question.request.build(STAMP).target
    (fact,) = under.send(ReplaceOrder(NOW, ORDER_ID, 1, 618375), NOW).facts
    assert fact == ReplaceRejected(NOW, NOW, ORDER_ID, Reason.BAD_FIELD)
    if name == "77":
        told = under.heard(decode_user(encoded(order_update(c="web", x="CANCELED", X="CANCELED"))), NOW)
        assert told.facts == (OrderCanceled(STAMP, NOW, ORDER_ID, 250, Reason.REQUESTED),)
        assert under.has_ended_since(ORDER_ID, NOW)
        assert not under.has_ended_since(ORDER_ID, NOW + 1)


def test_messages_that_are_not_about_orders_are_left_to_others() -> None:
    frame = {"e": "balanceUpdate", "E": 5, "a": "BTC", "d": "1", "T": 4}
    assert desk().heard(decode_user(encoded(frame)), NOW) == Reaction()
    assert desk().heard(decode_user(encoded(order_update(c="web"))), NOW).facts != ()
    assert msgspec.structs.fields(Reaction)[0].name == "facts"
