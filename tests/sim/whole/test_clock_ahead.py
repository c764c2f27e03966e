"""An account's first start with the machine's clock an hour ahead: it begins by the venue's, or executions are not asked for."""

from __future__ import annotations

import pytest

from core.units import NS_PER_SECOND
from tests.sim.whole.world import VENUES, open_world

AHEAD_NS = 3_600 * NS_PER_SECOND
# Alpaca, Deribit and OANDA do not open by a clock that is so wrong. Interactive Brokers: a look whose books are ahead asks for
# the whole day (adapters/ib/looks.py).
BY_ITS_CLOCK = sorted(VENUES.keys() - {"alpaca", "deribit", "oanda", "ib"})


@pytest.mark.parametrize("venue", BY_ITS_CLOCK)
def test_it_begins_no_later_than_the_venue_says(venue: str) -> None:
    with open_world(3, steps=0, venues=(venue,)) as world:
        world.machine.step_clock(AHEAD_NS)
        world.begin()
        world.let_trade()
        process = world.process
        assert process is not None
        assert process.is_trading, process.end
        begun_ts = process.daemon.session.trader.foreign.begun_ts
        assert world.agenda.start_ns - NS_PER_SECOND <= begun_ts <= world.agenda.ns + NS_PER_SECOND
        process.kill()
        world.end()
