"""The watcher: the worst that could become of a position, with everything filled that is open on one side."""

from __future__ import annotations

from typing import Any

from core.risk import InstrumentLimits
from daemon.config.models_connections import Connection
from daemon.drill.auditor import Oracle
from daemon.drill.profiles import Profile
from daemon.drill.simulated import Simulated
from daemon.drill.watcher import Watcher
from tests.daemon.drill.test_auditor import KEY, PREFIXES, ledger, order

LIMITS = InstrumentLimits(order_qty_max=50, order_notional_max=10**18, position_qty_max=60, price_collar_ppm=1)


class OneLedger:
    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def ledger(self) -> dict[str, Any]:
        return self.found


def watch(*ledgers: dict[str, Any], foreign: int = 0) -> tuple[dict[str, int], list[Oracle]]:
    venue = OneLedger(ledgers[0])
    connection = Connection(venue="VENUE", adapter="deribit")
    watcher = Watcher([Simulated(connection, venue, Profile("main"))], {KEY: LIMITS}, PREFIXES)  # type: ignore[arg-type]
    for each in ledgers:
        venue.found = each
        watcher.look()
    return watcher.worst, [breach.oracle for breach in watcher.breaches({KEY: foreign})]


def with_open(*orders: dict[str, Any]) -> dict[str, Any]:
    found = ledger()
    found["orders"] += orders
    return found


def test_the_worst_of_all_looks_counts_and_sides_do_not_cancel_out() -> None:
    many = with_open(
        order(3, is_open=True, qty=30, filled_qty=10),
        order(4, is_open=True, qty=20, filled_qty=0),
        order(5, is_open=True, qty=25, filled_qty=0, side="SELL"),
    )
    assert watch(many, ledger()) == ({KEY: 60}, [])


def test_one_unit_too_many_is_noticed() -> None:
    many = with_open(order(3, is_open=True, qty=41, filled_qty=0))
    assert watch(many) == ({KEY: 61}, [Oracle.LIMITS])
    assert watch(many, foreign=1) == ({KEY: 61}, [])


def test_a_short_position_counts_as_well() -> None:
    found = ledger()
    found["positions"]["main"][KEY] = -50
    found["orders"].append(order(3, is_open=True, qty=20, filled_qty=0, side="SELL"))
    assert watch(found) == ({KEY: 70}, [Oracle.LIMITS])


def test_an_order_that_is_too_large_is_noticed() -> None:
    found = with_open(order(3, is_open=True, qty=51, filled_qty=0, side="SELL"))
    assert watch(found)[1] == [Oracle.LIMITS]


def test_reduce_only_and_foreign_orders_are_no_exposure_of_ours() -> None:
    found = with_open(
        order(3, is_open=True, qty=500, filled_qty=0, reduce_only=True, side="SELL"),
        order(4, is_open=True, qty=40, filled_qty=0, origin="manual"),
    )
    found["orders"][2]["qty"] = 50
    assert watch(found) == ({KEY: 20}, [])
