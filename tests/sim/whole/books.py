"""What our side says in the end, in plain types: every journal of the account read through, and the last Trader's own books."""

from __future__ import annotations

from pathlib import Path

from core.commands import SubmitOrder
from core.enums import OrderStatus
from core.events import OrderFilled
from core.identifiers import COUNTER_BITS, COUNTER_MAX
from core.trader import Trader
from daemon.audit.findings import Verdict
from daemon.audit.verify import verify
from daemon.journal.format import JOURNAL_FOLDER
from daemon.journal.reader import JournalDamage, segments_of
from daemon.journal.tail import TailReader
from daemon.replay import replay
from tests.sim.whole.auditor import Books


def short_id(client_order_id: int) -> str:
    return f"{client_order_id >> COUNTER_BITS}-{client_order_id & COUNTER_MAX}"


def read_books(runs: Path, trader: Trader, *, replays: bool) -> Books:
    """`replays`: each run is replayed too, and must come to the same."""
    books = Books(booked=trader.portfolio.fills_booked)
    told: dict[tuple[int, str], tuple[str, str, str, int, int]] = {}
    for run in sorted(runs.iterdir()):
        journal = run / JOURNAL_FOLDER
        if not journal.is_dir() or not segments_of(journal):
            continue
        is_begun = False
        try:
            for record in TailReader(journal):
                is_begun = True
                if type(record) is SubmitOrder:
                    key = short_id(record.client_order_id)
                    if key in books.sent:
                        books.sent_twice.append(key)
                    books.sent[key] = record.ts
                elif type(record) is OrderFilled:
                    # The same one may be heard of twice; that it is booked once, the count and the position show.
                    told[record.client_order_id, record.execution_id] = (
                        record.instrument_id,
                        record.execution_id,
                        record.side.name,
                        record.qty,
                        record.price,
                    )
        except JournalDamage as damage:
            books.damaged.append(f"{run.name}: {damage}")
            continue
        if not is_begun:
            continue
        report = verify(journal)
        if report.verdict is Verdict.DAMAGED:
            books.damaged.append(f"{run.name}: {report.findings[:1]}")
        if replays and not replay(run, None).is_identical:
            books.damaged.append(f"{run.name}: its replay comes to something else")
    for order in trader.orders.open_orders():
        key = short_id(order.client_order_id)
        books.open_orders[key] = (order.instrument_id, order.side.name, order.leaves_qty)
        if order.status in (OrderStatus.UNKNOWN, OrderStatus.SUBMITTED):
            books.unknown.append(repr(order))
    books.fills = list(told.values())
    books.positions = {key: position.qty for key, position in trader.portfolio.by_instrument.items()}
    return books
