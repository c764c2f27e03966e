"""Makes the simulated venue of a configuration: which instruments are its own, its market, its ledger, and who may come in."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.sim.address import Address, parse_address
from adapters.sim.wire import BOOK_LEVELS_MAX, VENUE_ORDER_ID_MIN, Role
from core.enums import Reason
from core.errors import ConfigError
from core.strategy import Subscription
from daemon.config.build import build_instruments
from daemon.config.loader import LoadedConfig
from daemon.config.models_connections import Connection
from daemon.secrets import read_secret
from daemon.trading.clock import SystemClock
from daemon.trading.market import check_market, open_market
from daemon.trading.router import venue_of
from daemon.venue_sim.account import VenueAccount
from daemon.venue_sim.exchange import Exchange, Settings
from daemon.venue_sim.ledger import LedgerFile, Restored, restore

ACCOUNT_DEFAULT = "main"


@dataclass(frozen=True, slots=True)
class OpenedVenue:
    exchange: Exchange
    ledger: LedgerFile
    clock: SystemClock
    venue: str
    address: Address


def open_venue(
    loaded: LoadedConfig,
    *,
    venue: str | None,
    listen: str | None,
    ledger_path: Path | None,
    cancel_on_disconnect: bool,
) -> OpenedVenue:
    """The venue called `venue` (absent: the only one there is), at `listen` (absent: where its connection says it is).

    Raises ConfigError for what the configuration does not have, DataError for a ledger that is none.
    """
    name = _chosen(loaded, venue)
    loaded = of_one_venue(loaded, name)
    check_market(loaded)
    connection = next(iter(loaded.config.connections), None)
    if listen is None and connection is None:
        raise ConfigError(f"{loaded.file}: connections: none is for {name}: say where it listens: --listen unix:PATH")
    address = parse_address(listen if listen is not None else (connection.address or "") if connection else "")
    restored = restore(ledger_path)
    clock = SystemClock(restored.ts + 1)
    instruments = build_instruments(loaded)
    positions = {instrument.instrument_id: restored.positions.get(instrument.instrument_id, 0) for instrument in instruments}
    market = open_market(
        loaded,
        instruments,
        [
            Subscription(instrument_id=each.instrument_id, quotes="size", book_levels=BOOK_LEVELS_MAX, trades=True)
            for each in instruments
        ],
        now=clock.now(),
        life=restored.sessions + 1,
        marks=restored.prices,
        positions=positions,
    )
    ledger = LedgerFile(ledger_path)
    ledger.note({"kind": "opened", "ts": clock.now(), "venue": name, "life": restored.sessions + 1})
    settings = Settings(
        account=connection.account if connection else ACCOUNT_DEFAULT,
        tokens=_tokens(loaded, connection),
        instrument_ids=frozenset(positions),
        cancel_on_disconnect=cancel_on_disconnect,
    )
    exchange = Exchange(
        market,
        VenueAccount(positions, restored.executions, restored.cash_moves),
        settings,
        ledger.note,
        life=restored.sessions + 1,
        number=_end_what_rested(restored, ledger.note, clock.now()),
        venue_orders=max((each - VENUE_ORDER_ID_MIN for each in restored.used_ids if each >= VENUE_ORDER_ID_MIN), default=0),
        used_ids=list(restored.used_ids),
    )
    ledger.flush()
    return OpenedVenue(exchange, ledger, clock, name, address)


def of_one_venue(loaded: LoadedConfig, venue: str) -> LoadedConfig:
    """The configuration as far as it is about this venue: its instruments, their data, its connection."""
    config = loaded.config
    mine = tuple(table for table in loaded.instruments if venue_of(table.instrument_id) == venue)
    return replace(
        loaded,
        instruments=mine,
        config=config.model_copy(
            update={
                "data": [data for data in config.data if venue_of(data.instrument_id) == venue],
                "connections": [each for each in config.connections if each.venue == venue],
                "risk": config.risk.model_copy(
                    update={
                        "instruments": {key: limits for key, limits in config.risk.instruments.items() if venue_of(key) == venue}
                    }
                ),
            }
        ),
    )


def _chosen(loaded: LoadedConfig, venue: str | None) -> str:
    known = sorted({venue_of(data.instrument_id) for data in loaded.config.data})
    if venue is None:
        if len(known) != 1:
            raise ConfigError(f"{loaded.file}: data: of several venues: {', '.join(known)}: say which one: --venue NAME")
        return known[0]
    if venue not in known:
        close = difflib.get_close_matches(venue, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"{loaded.file}: data: none is of the venue {venue}{hint}")
    return venue


def _tokens(loaded: LoadedConfig, connection: Connection | None) -> dict[Role, tuple[str, ...]]:
    if connection is None:
        return {"trade": ("",), "switch": ("",), "watch": ("",)}
    try:
        trade = "" if connection.token is None else read_secret(connection.token)
        switch = trade if connection.guardian_token is None else read_secret(connection.guardian_token)
    except ConfigError as error:
        raise ConfigError(f"{loaded.file}: connections: {connection.venue}: {error}") from None
    return {"trade": (trade,), "switch": (switch,), "watch": (trade, switch)}


def _end_what_rested(restored: Restored, note: Callable[[dict[str, object]], None], ts: int) -> int:
    """Orders that rested when the process before this one ended have ended with it. Returns the number of the last event."""
    number = restored.number
    for order_id, left in restored.open_orders.items():
        number += 1
        ended = {"client_order_id": order_id, "qty": left, "reason": Reason.CLOSED.name}
        note({"number": number, "kind": "canceled", "ts": ts, **ended})
    return number
