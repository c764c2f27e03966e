"""One client's connection as the venue holds it: who it is, what it subscribed to, its heartbeat, what is on its way to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.units import NS_PER_SECOND
from sim.venues.deribit.ledger import Account

SILENCE_NS_MAX = 600 * NS_PER_SECOND  # documented: 10 minutes of inactivity end a connection


@dataclass(slots=True)
class Connection:
    number: int
    opened_ts: int
    heard_ts: int
    account: Account | None = None
    gateway_ts: int = 0  # when the last request that the gateway holds goes on
    token: str = ""
    token_until_ts: int = 0
    heartbeat_ns: int = 0
    beat_ts: int = 0  # next heartbeat
    test_asked_ts: int = 0  # 0: no test_request is unanswered
    is_armed: bool = False  # cancel on disconnect
    is_half_open: bool = False  # nothing passes any more, and neither side is told
    is_mute: bool = False  # heartbeats, but no data
    is_open: bool = True
    stale_books: int = 0  # so many book notifications more say nothing of what has changed
    channels: dict[str, None] = field(default_factory=dict)
    held: list[bytes] = field(default_factory=list)  # notifications that a later one overtakes
