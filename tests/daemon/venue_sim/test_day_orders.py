"""DAY orders at a venue that outlives the daemon: they rest over a restart, are taken over, and end with the venue's day."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

from adapters.sim.session import TradeSession
from core.commands import SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.events import AnyEvent, OrderAccepted, OrderExpired
from daemon.config.loader import load_config
from daemon.exit_codes import ExitCode
from daemon.journal.tail import TailReader
from daemon.venue_sim.opening import open_venue
from tests.daemon.session import CONFIG, write_config
from tests.daemon.venue_sim.processes import ask, config_with_venue, daemon, end, ledger_lines, run_folder, venue, wait_until

RESTING = """
from core.enums import Side, TimeInForce
from core.strategy import Subscription
from pydantic import BaseModel

class Resting:
    class Params(BaseModel):
        pass

    def __init__(self, params, instruments):
        pass

    def subscriptions(self):
        return [Subscription(instrument_id="ACME.SIM", quotes="price")]

    def on_quote(self, context, quote):
        if not context.open_orders("ACME.SIM"):
            context.submit("ACME.SIM", Side.BUY, 1, quote.bid_price - 500, time_in_force=TimeInForce.DAY)
"""


def test_a_day_order_rests_over_a_restart_and_is_taken_over(tmp_path: Path) -> None:
    path = config_with_venue(tmp_path)
    (tmp_path / "resting_strategy.py").write_text(RESTING)
    # The venue's day ends in twelve hours.
    day_end = f'day_end = "{(datetime.now(UTC).hour + 12) % 24}h"'
    text = path.read_text().replace('fidelity = "flow"', f'fidelity = "flow"\n{day_end}').replace('"2%"', '"20%"')
    start, rest = text.split("[[strategies]]")
    path.write_text(
        start + '[[strategies]]\nid = "maker"\nclass = "resting_strategy:Resting"\n' + rest[rest.index("\n[daemon]") :]
    )
    with venue(tmp_path) as place:
        with daemon(tmp_path) as trading:
            wait_until(tmp_path, lambda status: status["open_orders"] == 1, "it rests")
            (resting,) = ask(tmp_path, "orders")["orders"]
            end(trading, signal.SIGKILL)
        with daemon(tmp_path) as trading:
            wait_until(tmp_path, lambda status: status["instruments"]["ACME.SIM"]["bid"], "it sees the market")
            (found,) = ask(tmp_path, "orders")["orders"]
            assert (found["client_order_id"], found["status"]) == (resting["client_order_id"], "ACCEPTED")
            assert ask(tmp_path, "status")["trading_state"] == "ACTIVE"
            assert end(trading) == ExitCode.OK
        end(place)
    submits = [line for line in ledger_lines(tmp_path) if line["kind"] == "submit"]
    assert [(line["time_in_force"], line["client_order_id"]) for line in submits] == [("DAY", resting["client_order_id"])]
    assert not any(isinstance(record, SubmitOrder) for record in TailReader(run_folder(tmp_path, 2) / "journal"))


def test_the_venues_day_ends_its_day_orders_and_no_others(tmp_path: Path) -> None:
    loaded = load_config(write_config(tmp_path, CONFIG))
    opened = open_venue(loaded, venue=None, listen="unix:/tmp/nowhere", ledger_path=None, cancel_on_disconnect=False)
    exchange, clock = opened.exchange, opened.clock
    session = TradeSession(account="main", token="", instrument_ids=["ACME.SIM"], subscriptions=())
    peer = exchange.connect(clock.now())
    events: list[AnyEvent] = []

    def talk(data: bytes) -> None:
        exchange.receive(clock.now(), peer, data)
        exchange.advance(clock.now())
        events.extend(session.receive(clock.now(), bytes(peer.out)))
        peer.out.clear()

    talk(session.connected(clock.now()))
    for order_id, time_in_force in ((1, TimeInForce.DAY), (2, TimeInForce.GTC)):
        order = SubmitOrder(1, order_id, "s", "ACME.SIM", Side.BUY, OrderType.LIMIT, 1, 9_500, time_in_force=time_in_force)
        talk(session.send(clock.now(), order))
    while sum(isinstance(event, OrderAccepted) for event in events) < 2:
        talk(b"")
    exchange._market.inner.end_of_day()
    while not any(isinstance(event, OrderExpired) for event in events):
        talk(b"")
    assert [event.client_order_id for event in events if isinstance(event, OrderExpired)] == [1]
    assert list(exchange.account.open) == [2]
