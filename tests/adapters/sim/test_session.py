"""The trading session by itself: what a lost connection makes of what was sent, and what the venue may not say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sim import wire
from adapters.sim.session import TradeSession
from adapters.sim.wire import Frames, decode_request, encode
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import CashKind, LiquiditySide, OrderType, Reason, Side
from core.errors import RefusedError, TransportError, VenueProtocolError
from core.events import (
    AnyEvent,
    AnyOrderEvent,
    CancelRejected,
    CashMoved,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    Quote,
    ReplaceRejected,
)
from core.order_store import FOREIGN_ORDER_ID
from core.strategy import Subscription
from core.venue_adapter import VenueOrder, VenueState
from tests.adapters.sim.records import answers, commands

KEY = "ACME.SIM"
OWN = wire.VENUE_ORDER_ID_MIN + 1


def order(order_id: int) -> SubmitOrder:
    return SubmitOrder(1, order_id, "s", KEY, Side.BUY, OrderType.LIMIT, 5, 100)


def fill(order_id: int, leaves_qty: int) -> OrderFilled:
    return OrderFilled(1, 1, order_id, KEY, "1-1", Side.BUY, 100, 1, leaves_qty, LiquiditySide.MAKER, 0, "USD")


class Talk:
    def __init__(self) -> None:
        self.session = TradeSession(
            account="main",
            token="secret",
            instrument_ids=[KEY, "B.SIM"],
            subscriptions=[Subscription(instrument_id=KEY, quotes="size")],
        )
        self.number = self.sequence = 0

    def connect(self, state: VenueState | None = None) -> wire.Login:
        (payload,) = Frames(wire.REQUEST_BYTES_MAX).receive(self.session.connected(1))
        login = decode_request(payload)
        assert isinstance(login, wire.Login)
        self.sequence = 0
        assert self.hear(wire.LoggedIn(self.number, 1, state or VenueState((), (), {KEY: 0, "FAR.AWAY": 3}))) == []
        return login

    def hear(self, *answers: wire.Answer) -> list[AnyEvent]:
        return self.session.receive(1, b"".join(encode(answer) for answer in answers))

    def happens(self, *events: AnyOrderEvent) -> list[AnyEvent]:
        answer = wire.OrderEvents(self.number + 1, events)
        self.number += len(events)
        return self.hear(answer)

    def send(self, *commands: OrderCommand) -> None:
        for command in commands:
            self.session.send(1, command)

    def unknown(self) -> list[int]:
        lost = self.session.lost(9)
        assert lost[:2] == [GapDetected(9, 9, KEY), GapDetected(9, 9, "B.SIM")]
        assert all(isinstance(event, OrderOutcomeUnknown) for event in lost[2:])
        return [event.client_order_id for event in lost[2:] if isinstance(event, OrderOutcomeUnknown)]


@pytest.fixture
def talk() -> Talk:
    talk = Talk()
    talk.connect()
    return talk


@pytest.mark.parametrize(
    ("sent", "answered", "unknown"),
    [
        ([order(1)], [], [1]),
        ([order(1)], [OrderAccepted(1, 1, 1, 100, 5)], []),
        ([order(1)], [fill(1, 4)], []),
        ([order(1)], [OrderRejected(1, 1, 1, Reason.POST_ONLY)], []),
        ([order(1), order(2)], [OrderAccepted(1, 1, 2, 100, 5)], [1]),
        ([order(1), CancelOrder(1, 1)], [OrderAccepted(1, 1, 1, 100, 5)], [1]),
        ([order(1), CancelOrder(1, 1)], [OrderCanceled(1, 1, 1, 5, Reason.REQUESTED)], []),
        ([order(1), CancelOrder(1, 1)], [CancelRejected(1, 1, 1, Reason.UNKNOWN_ORDER)], []),
        ([order(1), CancelOrder(1, 1)], [fill(1, 0)], []),
        ([order(1), ReplaceOrder(1, 1, 3, 99)], [OrderAccepted(1, 1, 1, 100, 5)], [1]),
        ([order(1), ReplaceOrder(1, 1, 3, 99)], [OrderReplaced(1, 1, 1, 99, 3)], []),
        ([order(1), ReplaceOrder(1, 1, 3, 99)], [ReplaceRejected(1, 1, 1, Reason.UNKNOWN_ORDER)], []),
        ([order(1), order(2), CancelAll(1, None)], [OrderCanceled(1, 1, 2, 5, Reason.MASS_CANCEL)], [1]),
        ([order(1), CancelAll(1, "B.SIM")], [OrderAccepted(1, 1, 1, 100, 5)], []),
    ],
)
def test_only_what_nobody_has_answered_is_unknown(
    talk: Talk, sent: Sequence[OrderCommand], answered: Sequence[AnyOrderEvent], unknown: list[int]
) -> None:
    talk.send(*sent)
    assert talk.happens(*answered) == list(answered)
    assert talk.unknown() == unknown


def test_what_does_not_leave_is_answered_here_and_a_cancel_of_all_by_each_order(talk: Talk) -> None:
    talk.send(order(1), order(2))
    session = talk.session
    assert session.refuse(2, order(3)) == [OrderRejected(2, 2, 3, Reason.NOT_SENT)]
    assert session.refuse(2, CancelOrder(2, 1)) == [CancelRejected(2, 2, 1, Reason.NOT_SENT)]
    assert session.refuse(2, ReplaceOrder(2, 1, 1, 1)) == [ReplaceRejected(2, 2, 1, Reason.NOT_SENT)]
    assert session.refuse(2, CancelAll(2, None)) == [
        CancelRejected(2, 2, 1, Reason.NOT_SENT),
        CancelRejected(2, 2, 2, Reason.NOT_SENT),
    ]


def test_a_state_is_about_our_instruments_and_a_login_goes_on_from_the_last_event_seen(talk: Talk) -> None:
    state = talk.session.take_login_state()
    assert state == VenueState((), (), {KEY: 0}, frozenset((KEY, "B.SIM")))
    assert talk.session.take_login_state() is None
    talk.happens(OrderAccepted(1, 1, 1, 100, 5))
    talk.session.lost(2)
    login = talk.connect()
    assert (login.last_event, login.token, login.role) == (1, "secret", "trade")
    assert b"secret" not in talk.session.login_without_token(3)
    assert Talk().connect().last_event == wire.FIRST_LOGIN


def test_money_counts_in_one_series_with_orders_and_comes_again_with_a_state(talk: Talk) -> None:
    moved = CashMoved(1, 1, "SIM", "M2", CashKind.FUNDING, "USD", -5, KEY)
    talk.session.take_login_state()
    talk.happens(OrderAccepted(1, 1, 1, 100, 5))
    assert talk.hear(wire.CashEvents(2, (moved,))) == [moved]
    talk.number = 2
    talk.session.lost(2)
    assert talk.connect(VenueState((), (), {}, cash_moves=(moved,))).last_event == 2
    state = talk.session.take_login_state()
    assert state is not None
    assert state.cash_moves == (moved,)
    with pytest.raises(VenueProtocolError, match="event 3 of the account is missing: 4 came"):
        talk.hear(wire.CashEvents(4, (moved,)))


@pytest.mark.parametrize(
    "answer",
    [
        wire.CashEvents(2, (CashMoved(1, 1, "SIM", "M1", CashKind.FUNDING, "USD", -5),)),
        wire.OrderEvents(2, (OrderAccepted(1, 1, 1, 100, 5),)),
        wire.OrderEvents(0, (OrderAccepted(1, 1, 1, 100, 5),)),
        wire.OrderEvents(1, (OrderRejected(1, 1, 1, Reason.DUPLICATE_ID),)),
        wire.Done(5),
        wire.LoginRefused("late"),
        wire.LoggedIn(0, 1, VenueState((), (), {})),
    ],
)
def test_a_venue_that_contradicts_itself_is_left(talk: Talk, answer: wire.Answer) -> None:
    talk.send(order(1))
    with pytest.raises(VenueProtocolError):
        talk.hear(answer)


def test_what_came_before_a_contradiction_counts(talk: Talk) -> None:
    """Its number is counted: the next login asks for what is behind it."""
    talk.session.take_login_state()
    first = wire.OrderEvents(1, (fill(1, 4),))
    assert talk.hear(first, wire.OrderEvents(7, (fill(1, 3),))) == [fill(1, 4)]
    with pytest.raises(VenueProtocolError, match="event 2 of the account is missing"):
        talk.session.tick(2)
    talk.number = 1
    talk.session.lost(3)
    assert talk.connect().last_event == 1


def test_a_login_that_nobody_has_taken_is_asked_for_again(talk: Talk) -> None:
    """Its executions are handed out with the state, and not before."""
    talk.happens(OrderAccepted(1, 1, 1, 100, 5))
    talk.session.take_login_state()
    talk.session.lost(2)
    talk.number = 9
    assert talk.connect().last_event == 1
    talk.session.lost(3)
    assert talk.connect().last_event == 1
    assert talk.session.take_login_state() is not None
    talk.session.lost(4)
    assert talk.connect().last_event == 9


def test_what_happened_before_an_answer_that_settles_is_not_told_and_what_happened_behind_it_is(talk: Talk) -> None:
    quote = Quote(1, 1, KEY, 99, 5, 100, 5)
    before, behind = fill(1, 4), fill(1, 3)
    state = VenueState((), (before,), {KEY: 1})
    for settles, expected in ((True, [quote, behind]), (False, [before, quote, behind])):
        request, _ = talk.session.query(1, 0, settles=settles)
        number = talk.number
        talk.number += 2
        talk.sequence += 1
        heard = talk.hear(
            wire.OrderEvents(number + 1, (before,)),
            wire.MarketEvents(talk.sequence, (quote,)),
            wire.StateReply(request, number + 1, state),
            wire.OrderEvents(number + 2, (behind,)),
        )
        assert heard == expected
        assert talk.session.has_reply(request)
        reply = talk.session.take_reply(request)
        assert reply is not None
        assert (reply[0], reply[1].executions) == (number + 1, (before,))


def test_market_data_that_was_left_out_is_a_gap_and_what_comes_twice_is_a_contradiction(talk: Talk) -> None:
    quote = Quote(1, 1, KEY, 99, 5, 100, 5)
    far = Quote(1, 1, "FAR.AWAY", 99, 5, 100, 5)
    assert talk.hear(wire.MarketEvents(1, (quote, far))) == [quote]
    gaps = [GapDetected(1, 1, KEY), GapDetected(1, 1, "B.SIM")]
    assert talk.hear(wire.MarketEvents(3, (quote,))) == [*gaps, quote]
    with pytest.raises(VenueProtocolError):
        talk.hear(wire.MarketEvents(3, (quote,)))


def test_a_login_that_is_refused_and_a_goodbye_have_their_own_names() -> None:
    talk = Talk()
    talk.session.connected(1)
    with pytest.raises(RefusedError, match="who is that"):
        talk.hear(wire.LoginRefused("who is that"))
    talk.session.connected(1)
    with pytest.raises(VenueProtocolError, match="before it has answered the login"):
        talk.hear(wire.MarketEvents(1, ()))
    talk.session.connected(1)
    with pytest.raises(TransportError, match="evening"):
        talk.hear(wire.Logout("evening"))


def test_heartbeats_go_out_when_nothing_else_does_and_silence_ends_it(talk: Talk) -> None:
    session = talk.session
    assert session.next_deadline() == 1 + wire.HEARTBEAT_NS
    assert session.tick(wire.HEARTBEAT_NS) == b""
    assert session.tick(1 + wire.HEARTBEAT_NS) == encode(wire.Heartbeat(1 + wire.HEARTBEAT_NS))
    assert session.tick(2 + wire.HEARTBEAT_NS) == b""
    with pytest.raises(TransportError, match="said nothing for 5 s"):
        session.tick(1 + wire.SILENCE_NS_MAX)


def test_of_an_order_that_is_not_ours_only_fills_are_heard_until_it_is_adopted(talk: Talk) -> None:
    accepted = OrderAccepted(1, 1, OWN, 100, 5)
    assert talk.happens(accepted, fill(OWN, 4)) == [fill(FOREIGN_ORDER_ID, 4)]
    theirs = VenueOrder(None, KEY, Side.BUY, 100, 4, "V1")
    talk.session.adopt(77, theirs)
    assert talk.happens(fill(OWN, 3)) == [fill(77, 3)]
    data = talk.session.send(1, CancelOrder(1, 77))
    (payload,) = Frames(wire.REQUEST_BYTES_MAX).receive(data)
    assert decode_request(payload) == wire.SendCommand(CancelOrder(1, OWN))
    assert talk.unknown() == [77]
    talk.connect(VenueState((theirs,), (fill(OWN, 3),), {KEY: 1}))
    state = talk.session.take_login_state()
    assert state is not None
    assert (state.open_orders[0].client_order_id, state.executions[0].client_order_id) == (77, 77)


steps = st.one_of(answers.map(encode), st.binary(max_size=40), commands, st.sampled_from(("lose", "tick")))


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=20), st.booleans())
def test_whatever_a_venue_says_only_the_venue_is_to_blame(what: list[bytes | str | OrderCommand], is_logged_in: bool) -> None:
    """Messages in any order and bytes that are none, while orders go out and connections come and go."""
    talk = Talk()
    if is_logged_in:
        talk.connect()
    else:
        talk.session.connected(1)
    for step in what:
        try:
            if isinstance(step, bytes):
                talk.session.receive(1, step)
                talk.session.take_login_state()
            elif step == "tick":
                talk.session.tick(1)
            elif step == "lose":
                raise TransportError("the wire is cut")
            elif not isinstance(step, str):
                talk.session.send(1, step)
        except (VenueProtocolError, RefusedError, TransportError):
            lost = talk.session.lost(1)
            assert {type(event) for event in lost} <= {GapDetected, OrderOutcomeUnknown}
            talk.session.connected(1)
