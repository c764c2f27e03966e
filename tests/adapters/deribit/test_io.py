"""The adapter and the guardian's switch over the venue's own protocol: life, reconnect, faults, kill."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from adapters.deribit.opening import check
from core.enums import LiquiditySide, Reason
from core.errors import ConfigError, RefusedError, TransportError
from core.events import (
    Book,
    CancelRejected,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    Quote,
    Trade,
)
from core.order_store import FOREIGN_ORDER_ID
from core.venue_opening import CLOSED, OPENED, RECEIVED, SENT, Environment
from sim.venues.deribit.opening import KEYS, WITHDRAWING_KEY
from tests.adapters.deribit.bench import BTC, INSTRUMENT, Bench, in_a_loop, until

pytestmark = pytest.mark.timeout(60)


# Before anything is sent.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"venue": "DERIBITX"}, 'instruments of Deribit end in ".DERIBIT"'),
        ({"address": ""}, "address: this key is missing"),
        ({"address": "www.deribit.com:443"}, "address: www.deribit.com is not this machine"),
        ({"address": "10.0.0.1:80"}, "is not this machine"),
        ({"address": "127.0.0.1"}, 'must read "HOST:PORT"'),
        ({"environment": Environment.LIVE}, "address: the venue's own endpoints are in its settings"),
        ({"environment": Environment.TEST}, "address: the venue's own endpoints are in its settings"),
        ({"settings": {"heartbeat_s": 5}}, "settings: Expected `int` >= 10"),
        ({"settings": {"hart_beat": 5}}, "settings: Object contains unknown field `hart_beat`"),
        ({"symbols": {BTC: "X"}}, "symbols: an instrument_id of Deribit begins with the venue's own name"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_connects(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        check(Bench().opening(**{"address": "127.0.0.1:1", **change}))


def test_a_key_that_is_not_named_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="key: this key is missing"):
        Bench().adapter(secret=lambda _part: "")


def test_the_secret_is_in_no_frame_and_the_key_is_none_either() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running(bench.adapter()):
            await bench.sink.until(Quote)
        async with bench.running(bench.adapter(settings={"sign": False})):
            await bench.sink.until(Quote, 5)
        kept = b"".join(data for _, _, data in bench.frames)
        assert b"public/auth" in kept
        assert b"client_credentials" in kept
        for secret in (KEYS["main"]["secret"], *(key.refresh_token for key in bench.venue.keys.values() if key.refresh_token)):
            assert secret.encode() not in kept
        kinds = [what for _, what, _ in bench.frames]
        assert (kinds[0], kinds[1], kinds[-1]) == (OPENED, SENT, CLOSED)
        assert RECEIVED in kinds

    in_a_loop(test)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("tick", 25, "tick is 0.25 in the configuration and 0.50 at the venue"),
        ("lot", 5, "lot is 5 in the configuration and 10 at the venue"),
        ("qty_min", 1, "qty_min is 1 in the configuration and 10 at the venue"),
        ("price_scale", 3, "price_scale is 3 in the configuration and 2 at the venue"),
        ("multiplier", 10, "multiplier is 10 in the configuration and 1 at the venue"),
        ("base_currency", "ETH", "base_currency is ETH in the configuration and BTC at the venue"),
    ],
)
def test_an_instrument_that_the_venue_has_otherwise_is_refused_with_both_values(field: str, value: object, words: str) -> None:
    more = {"settlement_currency": value} if field == "base_currency" else {}
    configured = msgspec.structs.replace(INSTRUMENT, **{field: value, **more})

    async def test(bench: Bench) -> None:
        with pytest.raises(ConfigError, match=words):
            await bench.adapter(instruments={BTC: configured}).open()
        await until(lambda: not bench.served.connections)

    in_a_loop(test)


def test_a_coarser_tick_of_our_own_is_kept() -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter(instruments={BTC: msgspec.structs.replace(INSTRUMENT, tick=100)})
        await adapter.open()
        await adapter.close()

    in_a_loop(test)


def test_keys_that_may_withdraw_wrong_keys_and_the_other_environment_are_refused() -> None:
    async def test(bench: Bench) -> None:
        withdrawing = dict(zip(("key", "secret"), WITHDRAWING_KEY, strict=True))
        with pytest.raises(RefusedError, match="may withdraw"):
            await bench.adapter(secret=lambda part: withdrawing[part]).open()
        with pytest.raises(RefusedError, match="invalid_credentials"):
            await bench.adapter(secret=lambda _part: "wrong").open()
        with pytest.raises(RefusedError, match="invalid_credentials"):
            await bench.adapter(secret=lambda part: {"key": "sim-main", "secret": "another-secret"}[part]).open()
        bench.venue.is_testnet = False
        with pytest.raises(RefusedError, match="this is the live venue"):
            await bench.adapter().open()
        assert bench.orders_there(is_open=False) == []
        await until(lambda: not bench.served.connections)

    in_a_loop(test)


def test_nobody_there_is_a_transport_error_and_a_refused_handshake_too() -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(TransportError, match="no connection"):
            await bench.adapter(address="127.0.0.1:9").open()
        for number in (6, 8, 18, 37, 39, 45):
            bench.venue.faults.arm(number)
            with pytest.raises(TransportError):
                await bench.adapter().open()
            assert bench.venue.faults.fired[number] == 1
        async with bench.running(bench.adapter()):
            await bench.sink.until(Quote)

    in_a_loop(test)


# Trading.


@pytest.mark.parametrize("is_real", [False, True], ids=["virtual", "sockets"])
def test_an_orders_whole_life(is_real: bool) -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter()
        async with bench.running(adapter):
            await bench.sink.until(Quote)
            order_id = bench.rest(adapter)
            (accepted,) = await bench.sink.until(OrderAccepted)
            (there,) = bench.orders_there()
            assert (there["client_order_id"], there["venue_order_id"]) == ("bench-1-1", accepted.venue_order_id)
            bench.send(adapter, bench.replace(order_id, 30, accepted.price - 50))
            (replaced,) = await bench.sink.until(OrderReplaced)
            assert (replaced.price, replaced.leaves_qty) == (accepted.price - 50, 30)
            bench.served.act("hit", {"client_order_id": "bench-1-1", "qty": 10})
            (fill,) = await bench.sink.until(OrderFilled)
            assert (fill.qty, fill.leaves_qty, fill.liquidity_side) == (10, 20, LiquiditySide.MAKER)
            bench.send(adapter, bench.cancel(order_id))
            (canceled,) = await bench.sink.until(OrderCanceled)
            assert (canceled.qty, canceled.reason) == (20, Reason.REQUESTED)
            taken = bench.take(adapter)
            (took,) = await bench.sink.until(OrderFilled, 1, taken)
            state = await adapter.query(0)
            assert state.positions == {BTC: 20}
            assert [(each.client_order_id, each.execution_id) for each in state.executions] == [
                (order_id, fill.execution_id),
                (taken, took.execution_id),
            ]
            assert state.open_orders == ()
            assert bench.position_there() == 20
        assert bench.trouble == []

    in_a_loop(test, is_real=is_real)


def test_the_market_comes_as_it_was_subscribed_to() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running(bench.adapter()):
            books = await bench.sink.until(Book, 20)
            await bench.sink.until(Trade, 3)
        assert all(len(book.bids) <= 5 and len(book.asks) <= 5 for book in books)
        for quote in bench.sink.of(Quote):
            assert 0 < quote.bid_price < quote.ask_price

    in_a_loop(test)


def test_whoever_only_watches_logs_in_nowhere_and_sends_no_order() -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.watcher()
        async with bench.running(adapter):
            await bench.sink.until(Book, 5)
            await bench.sink.until(Trade)
            order_id = bench.rest(adapter)
            (rejected,) = await bench.sink.until(OrderRejected, 1, order_id)
            assert rejected.reason is Reason.NOT_SENT
            with pytest.raises(TransportError, match="only watches"):
                await adapter.query(0)
        sent = b"".join(data for _, what, data in bench.frames if what == SENT)
        assert b"private/" not in sent
        assert b"auth" not in sent
        assert bench.orders_there(is_open=False) == []

    in_a_loop(test)


def test_events_that_find_no_room_wait_and_keep_their_order() -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter()
        async with bench.running(adapter):
            await bench.sink.until(Quote)
            bench.sink.is_full = True
            order_id = bench.rest(adapter)
            await until(bench.orders_there)
            bench.send(adapter, bench.cancel(order_id))
            await anyio.sleep(0.05)
            bench.sink.is_full = False
            await bench.sink.until(OrderCanceled)
        kinds = [type(event) for event in bench.sink.events if isinstance(event, OrderAccepted | OrderCanceled)]
        assert kinds == [OrderAccepted, OrderCanceled]

    in_a_loop(test)


# A connection that is lost.


@pytest.mark.parametrize("is_real", [False, True], ids=["virtual", "sockets"])
def test_a_lost_connection_is_told_compared_and_traded_on(is_real: bool) -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter()
        async with bench.running(adapter):
            await bench.sink.until(Quote)
            order_id = bench.rest(adapter)
            await bench.sink.until(OrderAccepted)
            bench.served.cut_all()
            await bench.sink.until(GapDetected)
            late = bench.rest(adapter)
            (rejected,) = await bench.sink.until(OrderRejected, 1, late)
            assert rejected.reason is Reason.NOT_SENT
            bench.send(adapter, bench.cancel(order_id))
            (refused,) = await bench.sink.until(CancelRejected, 1, order_id)
            assert refused.reason is Reason.NOT_SENT
            await until(lambda: bench.states)
            # Cancel-on-disconnect has taken it: the venue names it no more.
            assert bench.states[0].open_orders == ()
            assert [each["is_open"] for each in bench.orders_there(is_open=False)] == [False]
            again = bench.rest(adapter)
            await bench.sink.until(OrderAccepted, 1, again)
        assert any("the connection" in text for text in bench.trouble)

    in_a_loop(test, is_real=is_real)


def test_a_connection_that_ends_before_anybody_reads_is_made_again() -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter()
        await adapter.open()
        bench.served.cut_all()
        await until(lambda: not adapter._wire.is_open)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(adapter.run, bench.sink, bench.states.append)
            await until(lambda: bench.states)
            await bench.sink.until(Quote)
            order_id = bench.rest(adapter)
            await bench.sink.until(OrderAccepted, 1, order_id)
            tasks.cancel_scope.cancel()
        assert len(bench.states) == 1
        await adapter.close()

    in_a_loop(test)


@pytest.mark.parametrize("is_real", [False, True], ids=["virtual", "sockets"])
def test_what_was_sent_and_not_answered_is_unknown_and_found_out(is_real: bool) -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter()
        async with bench.running(adapter):
            await bench.sink.until(Quote)
            for number in (1, 2, 3):
                bench.venue.faults.arm(number)
                order_id = bench.rest(adapter)
                await bench.sink.until(OrderOutcomeUnknown, 1, order_id)
                count = len(bench.states)
                await until(lambda count=count: len(bench.states) > count)
                there = [each for each in bench.orders_there(is_open=False) if each["client_order_id"].endswith(f"-{number}")]
                assert len(there) == (number != 1)
                ends = [*bench.sink.of(OrderRejected, order_id), *bench.sink.of(OrderCanceled, order_id)]
                if number == 1:
                    assert len(ends) == 1
                else:
                    assert bench.states[-1].open_orders == ()

    in_a_loop(test, is_real=is_real)


def test_cancels_asked_for_in_the_comparison_leave_right_behind_it() -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter()
        seen = []

        def reconnected(state: object) -> None:
            seen.append(state)
            bench.send(adapter, bench.cancel_all())
            bench.rest(adapter)  # an order is refused: nothing but cancels leaves now

        await adapter.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(adapter.run, bench.sink, reconnected)
            await bench.sink.until(Quote)
            bench.frames.clear()
            bench.served.cut_all()
            await until(lambda: seen)
            await bench.sink.until(OrderRejected)
            await until(lambda: any(b"private/cancel_all" in data for _, what, data in bench.frames if what == SENT))
            tasks.cancel_scope.cancel()
        await adapter.close()
        assert bench.orders_there(is_open=False) == []

    in_a_loop(test)


def test_a_venue_that_refuses_the_login_later_is_tried_again_seldom() -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter()
        async with bench.running(adapter):
            await bench.sink.until(Quote)
            key = bench.venue.keys.pop(KEYS["main"]["key"])
            bench.served.cut_all()
            await until(lambda: any("invalid_credentials" in text for text in bench.trouble))
            bench.venue.keys[KEYS["main"]["key"]] = key
            await until(lambda: bench.states)

    in_a_loop(test)


@pytest.mark.parametrize("number", [44, 45, 37, 39])
def test_storms_of_failed_logins_end_when_the_venue_is_well(number: int) -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter()
        async with bench.running(adapter):
            await bench.sink.until(Quote)
            bench.venue.faults.arm(number, 3)
            bench.served.cut_all()
            await until(lambda: bench.states)
            assert bench.venue.faults.fired[number] == 3
            order_id = bench.rest(adapter)
            await bench.sink.until(OrderAccepted, 1, order_id)

    in_a_loop(test)


def test_a_stale_book_is_found_out_and_begun_again() -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter()
        async with bench.running(adapter):
            await bench.sink.until(Quote, 5)
            bench.venue.faults.arm(49)
            await bench.sink.until(GapDetected)
            quotes = len(bench.sink.of(Quote))
            await bench.sink.until(Quote, quotes + 1)
        # By a query's levels, or because what is left of the old ones is crossed by new ones.
        assert any("was not what a query shows" in text or "crossed" in text for text in bench.trouble), bench.trouble

    in_a_loop(test)


def test_what_others_do_is_said_as_foreign() -> None:
    async def test(bench: Bench) -> None:
        adapter = bench.adapter()
        async with bench.running(adapter):
            await bench.sink.until(Quote)
            price = bench.quote().bid_price - 10_000
            bench.served.act("manual", {"account": "main", "instrument_id": BTC, "side": "BUY", "qty": 30, "price": price})
            bench.served.act("manual", {"account": "main", "instrument_id": BTC, "side": "BUY", "qty": 10})
            (fill,) = await bench.sink.until(OrderFilled)
            assert fill.client_order_id == FOREIGN_ORDER_ID
            state = await adapter.query(0)
            (order,) = state.open_orders
            assert (order.client_order_id, order.leaves_qty, state.positions) == (None, 30, {BTC: 10})
            adapter.adopt(order_id := bench.new_id(), order)
            bench.send(adapter, bench.cancel(order_id))
            await bench.sink.until(OrderCanceled, 1, order_id)
            assert bench.orders_there() == []

    in_a_loop(test)


# The switch.


@pytest.mark.parametrize("is_real", [False, True], ids=["virtual", "sockets"])
def test_the_switch_empties_and_flattens_beside_the_daemon(is_real: bool) -> None:
    async def test(bench: Bench) -> None:
        adapter, switch = bench.adapter(), bench.switch()
        async with bench.running(adapter):
            await bench.sink.until(Quote)
            for _ in range(3):
                bench.rest(adapter)
            taken = bench.take(adapter, qty=50)
            await bench.sink.until(OrderAccepted, 3)
            await bench.sink.until(OrderFilled, 1, taken)
            await until(bench.position_there)
            await switch.open()
            assert len(await switch.open_orders()) == 3
            assert await switch.positions() == {BTC: bench.position_there()}
            await switch.cancel_all()
            await until(lambda: not bench.orders_there())
            assert await switch.open_orders() == ()
            await switch.flatten()
            await until(lambda: not bench.position_there())
            assert await switch.positions() in ({}, {BTC: 0})
            assert await switch.refresh_dead_man(5.0) is False
            await switch.close()
            canceled = await bench.sink.until(OrderCanceled, 3)
            assert {each.reason for each in canceled} == {Reason.REQUESTED}
            closing = [each for each in bench.orders_there(is_open=False) if not each["client_order_id"]]
            assert [each["reduce_only"] for each in closing] == [True] * len(closing)

    in_a_loop(test, is_real=is_real)


def test_a_switch_whose_connection_is_lost_says_so_and_opens_again() -> None:
    async def test(bench: Bench) -> None:
        switch = bench.switch()
        with pytest.raises(TransportError, match="there is no connection"):
            await switch.cancel_all()
        await switch.open()
        bench.served.cut_all()
        with pytest.raises(TransportError):
            await switch.open_orders()
        await switch.open()
        assert await switch.open_orders() == ()
        # The venue cuts it where a cancel of everything finds no credits: known at the next question.
        bench.venue.faults.arm(38)
        await switch.cancel_all()
        with pytest.raises(TransportError):
            await switch.open_orders()
        await switch.open()
        await switch.cancel_all()
        assert await switch.open_orders() == ()
        await switch.close()

    in_a_loop(test)


def test_many_cancels_of_everything_leave_credits_for_the_closing() -> None:
    """Told again and again, as a guardian does: what waits already is not said twice."""

    async def test(bench: Bench) -> None:
        adapter, switch = bench.adapter(), bench.switch()
        async with bench.running(adapter):
            await bench.sink.until(Quote)
            bench.take(adapter, qty=20)
            await until(bench.position_there)
            await switch.open()
            for _ in range(40):
                await switch.cancel_all()
            await switch.flatten()
            for _ in range(60):
                if not (await switch.positions()).get(BTC):
                    break
            assert not bench.position_there()
            await switch.close()
        assert not any("10028" in text for text in bench.trouble)

    in_a_loop(test)


def test_a_switch_refuses_the_other_environment() -> None:
    async def test(bench: Bench) -> None:
        bench.venue.is_testnet = False
        with pytest.raises(RefusedError, match="the other environment"):
            await bench.switch().open()

    in_a_loop(test)
