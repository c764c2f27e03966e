"""A session with a clock that is set by hand and a venue that only remembers what it was sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.approved import Approved
from core.commands import SubmitOrder
from core.enums import Side
from core.events import AnyEvent, Quote, Started, StateRestored
from core.restore import capture
from core.strategy import Subscription
from core.trader import Trader
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from daemon.config.effective import effective
from daemon.config.loader import LoadedConfig, load_config
from daemon.journal.format import JournalHeader
from daemon.journal.writer import JournalSettings, JournalWriter, Sync
from daemon.trading.inbox import Inbox
from daemon.trading.out_gate import OutGate
from daemon.trading.session import Session
from daemon.trading.state_folder import StateFolder
from daemon.trading.wiring import build_bare_trader
from tests.daemon.session import CONFIG, write_config

INSTRUMENT = "ACME.SIM"
START = 1_000_000_000


class HandClock:
    def __init__(self, ts: int = START) -> None:
        self.ts = ts

    def now(self) -> int:
        return self.ts


class Remembering:
    """An adapter that answers nothing."""

    def __init__(self, journal: JournalWriter) -> None:
        self.sent: list[Any] = []
        self.durable_at_send: list[bool] = []
        self._journal = journal

    async def open(self) -> None:
        raise AssertionError("nobody opens this venue")

    async def close(self) -> None:
        raise AssertionError("nobody closes this venue")

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        raise AssertionError("nobody runs this venue")

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        raise AssertionError("every order here is ours")

    def send(self, approved: Approved) -> None:
        self.sent.append(approved.command)
        self.durable_at_send.append(self._journal.records_durable == self._journal.records_written)

    async def query(self, since_ts: int) -> VenueState:
        return VenueState((), (), {}, not_found_ns=0)

    @property
    def orders(self) -> list[SubmitOrder]:
        return [command for command in self.sent if isinstance(command, SubmitOrder)]


class Buyer:
    """Buys one at every quote; raises at the quote whose bid is `fails_at`."""

    fails_at: int | None = None

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="size")]

    def on_quote(self, context: Any, quote: Quote) -> None:
        context.submit(INSTRUMENT, Side.BUY, 1, quote.bid_price)
        if quote.bid_price == self.fails_at:
            raise ValueError("a strategy's own mistake")


def load(folder: Path, text: str = CONFIG) -> LoadedConfig:
    return load_config(write_config(folder, text), ['run.mode="paper"'])


def add_buyer(trader: Trader) -> None:
    trader.add_strategy("buyer", Buyer())


def open_session(
    folder: Path,
    *,
    run_number: int = 1,
    wrap: Callable[[Trader], None] = add_buyer,
    text: str = CONFIG,
    gate: OutGate | None = None,
) -> Session:
    loaded = load(folder, text)
    state = StateFolder(folder / "state" / "session")
    trader = build_bare_trader(loaded)
    wrap(trader)
    header = JournalHeader(
        run_id=f"session-{run_number}",
        run_number=run_number,
        mode="paper",
        config=effective(loaded),
        instruments=list(trader.instruments.values()),
    )
    journal = JournalWriter(
        state.make_run_folder(run_number) / "journal", header, settings=JournalSettings(sync=Sync.BEFORE_SEND)
    )
    clock = HandClock()
    session = Session(trader, journal, state, Inbox(clock, 100), clock, snapshot_records=1_000_000, gate=gate)
    session.adapter = Remembering(journal)
    session.process([StateRestored(START, START, 0, capture(build_bare_trader(loaded))), Started(START, START, "session-1")])
    return session


def quote(ts: int = START, price: int = 10_000) -> Quote:
    return Quote(ts, ts, INSTRUMENT, price, 50, price + 1, 50)


def remembered(session: Session) -> Remembering:
    assert isinstance(session.adapter, Remembering)
    return session.adapter


def kinds(events: list[AnyEvent]) -> list[str]:
    return [type(event).__name__ for event in events]
