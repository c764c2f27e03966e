"""The guardian's switch against the simulated OANDA: everything canceled, everything closed, whoever opened it."""

from __future__ import annotations

import pytest

from core.enums import Side
from core.errors import RefusedError, TransportError
from core.venue_switch import VenueSwitch
from tests.adapters.oanda.world import ACCOUNT, EURO, MID, POUND, TOKEN, S, World

BID = MID - 7


def opened() -> tuple[World, VenueSwitch]:
    world = World()
    world.begin()
    switch = world.switch()
    world.run(switch.open())
    return world, switch


def test_a_kill() -> None:
    world, switch = opened()
    for place in range(12):
        world.submit(1_000, BID - 100 - place)
    world.submit(5_000)
    world.act("manual_limit", account=ACCOUNT, instrument="EUR_GBP", units=500, price=80_000)
    world.act("manual_order", account=ACCOUNT, instrument="USD_JPY", units=-700)
    world.run_for(5 * S)
    before = world.run(switch.open_orders())
    assert len(before) == 13
    assert [(order.instrument_id, order.price, order.leaves_qty) for order in before if order.client_order_id is None] == [
        ("EUR_GBP.OANDA", None, 500)
    ]
    assert world.run(switch.positions()) == {EURO: 5_000, POUND: 0}
    world.run(switch.cancel_all())
    assert world.run(switch.open_orders()) == ()
    world.run(switch.flatten())
    assert world.run(switch.positions()) == {EURO: 0, POUND: 0}
    # What is not configured is closed as well.
    assert world.venue.ledger()["positions"][ACCOUNT] == {}
    # Again, where nothing is left.
    world.run(switch.cancel_all())
    world.run(switch.flatten())
    assert world.run(switch.refresh_dead_man(5.0)) is False
    world.run(switch.close())
    world.end()


def test_a_short_position_and_a_market_that_is_closed() -> None:
    world, switch = opened()
    world.submit(2_000, side=Side.SELL)
    world.run_for(2 * S)
    world.act("halt", instrument="EUR_USD")
    with pytest.raises(TransportError, match="EUR_USD: MARKET_HALTED"):
        world.run(switch.flatten())
    world.act("resume", instrument="EUR_USD")
    world.run(switch.flatten())
    assert world.run(switch.positions()) == {EURO: 0, POUND: 0}
    world.run(switch.close())
    world.end()


def test_requests_that_fail() -> None:
    world, switch = opened()
    world.submit(1_000, BID - 100)
    world.run_for(2 * S)
    # Lost: what became of it, asking says.
    world.arm(1)
    world.run(switch.cancel_all())
    assert len(world.run(switch.open_orders())) == 1
    # Refused for its speed: told, and the guardian asks again.
    world.arm(37)
    with pytest.raises(TransportError, match="throttled"):
        world.run(switch.cancel_all())
    world.run(switch.cancel_all())
    assert world.run(switch.open_orders()) == ()
    world.arm(62, times=9)
    with pytest.raises(TransportError, match="503"):
        world.run(switch.open_orders())
    world.venue.faults._armed.clear()
    world.arm(61)
    with pytest.raises(RefusedError):
        world.run(switch.open())
    world.run(switch.close())
    world.end()


def test_a_token_that_is_not_taken() -> None:
    world = World()
    switch = world.switch(secret=lambda _part: TOKEN + "x")
    with pytest.raises(RefusedError, match="Insufficient authorization"):
        world.run(switch.open())
    world.run(switch.close())
    world.end()
