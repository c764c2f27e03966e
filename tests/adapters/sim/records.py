"""Messages of the simulated venue's wire, drawn at random: every kind, every field, within what can be."""

from __future__ import annotations

from hypothesis import strategies as st

from adapters.sim import wire
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import AggressorSide, CashKind, LiquiditySide, MarketStatus, OrderType, Reason, Side, TimeInForce
from core.events import (
    AnyOrderEvent,
    Book,
    CancelRejected,
    CashMoved,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderRestated,
    OrderTriggered,
    Quote,
    ReplaceRejected,
    StatusChanged,
    Trade,
)
from core.units import INT64_MAX, INT64_MIN
from core.venue_adapter import VenueOrder, VenueState

numbers = st.integers(INT64_MIN, INT64_MAX)
quantities = st.integers(0, INT64_MAX)
positive = st.integers(1, INT64_MAX)
stamps = st.integers(0, INT64_MAX)
texts = st.text(max_size=20)
names = st.sampled_from(("ACME.SIM", "BTCUSDT.SIM"))
sides = st.sampled_from(Side)

commands: st.SearchStrategy[OrderCommand] = st.one_of(
    st.builds(
        SubmitOrder,
        stamps,
        positive,
        texts,
        names,
        sides,
        st.sampled_from(OrderType),
        positive,
        st.none() | numbers,
        st.none() | numbers,
        st.sampled_from(TimeInForce),
        st.booleans(),
        st.booleans(),
        quantities,
        stamps,
    ),
    st.builds(CancelOrder, stamps, positive),
    st.builds(ReplaceOrder, stamps, positive, positive, numbers, quantities),
    st.builds(CancelAll, stamps, st.none() | names),
)
fills = st.builds(
    OrderFilled,
    stamps,
    stamps,
    positive,
    names,
    texts,
    sides,
    numbers,
    positive,
    quantities,
    st.sampled_from(LiquiditySide),
    numbers,
    st.sampled_from(("USD", "BTC")),
)
movements = st.builds(
    CashMoved,
    stamps,
    stamps,
    st.just("SIM"),
    st.text(min_size=1, max_size=20),
    st.sampled_from(CashKind),
    st.sampled_from(("USD", "BTC")),
    numbers,
    st.just("") | names,
    quantities,
)
reasons = st.sampled_from(Reason)
order_events: st.SearchStrategy[AnyOrderEvent] = st.one_of(
    fills,
    st.builds(OrderAccepted, stamps, stamps, positive, numbers, quantities, texts),
    st.builds(OrderRejected, stamps, stamps, positive, reasons, texts),
    st.builds(OrderCanceled, stamps, stamps, positive, quantities, reasons),
    st.builds(OrderExpired, stamps, stamps, positive, quantities),
    st.builds(OrderReplaced, stamps, stamps, positive, numbers, quantities),
    st.builds(OrderTriggered, stamps, stamps, positive),
    st.builds(OrderRestated, stamps, stamps, positive, quantities, reasons),
    st.builds(CancelRejected, stamps, stamps, positive, reasons),
    st.builds(ReplaceRejected, stamps, stamps, positive, reasons),
    st.builds(OrderOutcomeUnknown, stamps, stamps, positive, texts),
)


def _levels(falling: bool) -> st.SearchStrategy[tuple[tuple[int, int], ...]]:
    prices = st.lists(numbers, unique=True, max_size=wire.BOOK_LEVELS_MAX).map(lambda found: sorted(found, reverse=falling))
    return prices.flatmap(lambda found: st.tuples(*(st.tuples(st.just(price), positive) for price in found)))


market_events = st.one_of(
    st.builds(Quote, stamps, stamps, names, numbers, quantities, numbers, quantities),
    st.builds(Book, stamps, stamps, names, _levels(True), _levels(False)),
    st.builds(Trade, stamps, stamps, names, numbers, quantities, st.sampled_from(AggressorSide), numbers),
    st.builds(StatusChanged, stamps, stamps, names, st.sampled_from(MarketStatus)),
    st.builds(GapDetected, stamps, stamps, names),
)
states = st.builds(
    VenueState,
    st.lists(st.builds(VenueOrder, st.none() | positive, names, sides, st.none() | numbers, positive, texts), max_size=3).map(
        tuple
    ),
    st.lists(fills, max_size=3).map(tuple),
    st.dictionaries(names, numbers),
    st.none() | st.frozensets(names),
    quantities,
    cash_moves=st.lists(movements, max_size=3).map(tuple),
)

requests: st.SearchStrategy[wire.Request] = st.one_of(
    st.builds(
        wire.Login,
        st.just(wire.VERSION),
        st.sampled_from(("main", "other")),
        st.sampled_from(("", "secret")),
        st.sampled_from(("trade", "switch", "watch")),
        numbers,
    ),
    st.builds(wire.SendCommand, commands),
    st.builds(wire.Query, numbers, numbers),
    st.builds(wire.CancelEverything, numbers),
    st.builds(wire.Flatten, numbers),
    st.builds(wire.DeadMan, numbers, st.integers(0, wire.DEAD_MAN_MS_MAX)),
    st.builds(wire.Heartbeat, stamps),
    st.builds(wire.Logout, texts),
)
answers: st.SearchStrategy[wire.Answer] = st.one_of(
    st.builds(wire.LoggedIn, quantities, stamps, states),
    st.builds(wire.LoginRefused, texts),
    st.builds(wire.OrderEvents, quantities, st.lists(order_events, max_size=4).map(tuple)),
    st.builds(wire.CashEvents, quantities, st.lists(movements, max_size=4).map(tuple)),
    st.builds(wire.MarketEvents, quantities, st.lists(market_events, max_size=4).map(tuple)),
    st.builds(wire.StateReply, numbers, quantities, states),
    st.builds(wire.Done, numbers),
    st.builds(wire.FeedEnded, texts),
    st.builds(wire.Heartbeat, stamps),
    st.builds(wire.Logout, texts),
)
