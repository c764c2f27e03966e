"""What the session is told, and what it says beside events: settings, facts for people, and the output of one call."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import msgspec

from adapters.deribit.credits import CreditSettings
from core.events import AnyEvent
from core.units import NS_PER_MS, NS_PER_SECOND
from core.venue_adapter import VenueState


class DeribitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`instrument_names` as the venue writes them. Times in ns unless their name says otherwise."""

    client_id: str
    client_secret: str
    instrument_names: tuple[str, ...]
    order_id_prefix: str
    is_testnet: bool
    is_watch: bool = False  # market data alone: no login, nothing set at the venue, no order
    sign: bool = True  # client_signature: the secret stays here; else client_credentials
    trigger: str = "last_price"  # what stops listen to: last_price, mark_price or index_price
    reprice_post_only: bool = False  # True: a post-only order that would take is moved by the venue, not refused
    book_levels: int = 0  # levels in Book events; 0: quotes only
    book_interval: str = "raw"
    heartbeat_s: int = 10
    silence_ns_max: int = 25 * NS_PER_SECOND  # without any frame the connection counts as dead
    answer_ns_max: int = 5 * NS_PER_SECOND  # then the outcome of a request is unknown, or the login has failed
    order_valid_ns: int = 4 * NS_PER_SECOND  # valid_until: later the engine does not begin with the request
    # Between the server that stamps an answer and the engine that looks at valid_until there may be so much.
    server_clock_error_ms: int = 2_000
    resolve_interval_ns: int = 500 * NS_PER_MS
    missing_fill_ns: int = 500 * NS_PER_MS  # a fill that an order speaks of and the stream has not brought is asked for then
    look_interval_ns: int = 30 * NS_PER_SECOND  # how often executions and open orders are compared with what the stream said
    stream_late_ms_max: int = 5_000  # a fill that old and not heard of: the stream is dead
    cash_interval_ns: int = 60 * NS_PER_SECOND  # how often the transaction log is asked for money that no fill explains
    cash_late_ms: int = 600_000  # a row may be shown so much later than its stamp
    log_pause_ns: int = 1_500 * NS_PER_MS  # between two requests for it: the venue takes one a second (documented)
    refresh_percent: int = 80  # of a token's life, then it is refreshed
    subscribe_batch: int = 100  # channels in one request
    credits: CreditSettings = CreditSettings()


class FactKind(Enum):
    """What a person should hear of; the value is its name in logs and alerts."""

    PROTOCOL = "protocol"  # the venue broke its protocol
    FOREIGN_ORDER = "foreign_order"
    FOREIGN_FILL = "foreign_fill"
    FORCED_FILL = "forced_fill"  # liquidation
    DUPLICATE_LABEL = "duplicate_label"  # two orders of ours under one label
    REOPENED = "reopened"  # an order that had ended is open
    SUSPECT_FILL = "suspect_fill"  # a fill that the order itself does not know of
    ODD_CURRENCY = "odd_currency"  # a fee in a currency that the instrument does not settle in
    LOST_ORDER = "lost_order"  # the venue does not know an order that it had accepted
    CONTRADICTION = "contradiction"
    STREAM = "stream"  # the user stream did not say what a query knows
    PLATFORM = "platform"
    CREDITS = "credits"
    CASH = "cash"  # money that moved, and nobody can say why or what
    RULES = "rules"  # an instrument's rules are not what is configured
    LATE = "late"
    UNKNOWN_REASON = "unknown_reason"


class Fact(msgspec.Struct, frozen=True):
    kind: FactKind
    text: str


@dataclass(slots=True)
class Output:
    """What one call made: events in order, frames to send in order, and the rest.

    `states`: answers to queries, by the number that `query` gave; `state` None: the venue could not be asked, `text` says why.
    `reconnected`: the venue's word after a lost connection: it follows `events`, and nothing was sent since.
    `close`: not empty: close the connection, for this reason. `refused`: the venue is not to be used like this: credentials,
    scope or mode are wrong. At the first login that is the end; after it, try again seldom: a venue that bans for a while
    says the same.
    """

    events: list[AnyEvent] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    states: list[tuple[int, VenueState | None, str]] = field(default_factory=list)
    reconnected: VenueState | None = None
    is_ready: bool = False
    close: str = ""
    refused: str = ""
