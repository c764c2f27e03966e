"""What a venue's codec asks of the transport and what comes back: requests, answers, how far one got, what became of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

ANSWER_BYTES_MAX = 1 << 20
DEADLINE_S = 10.0


class Intent(IntEnum):
    """What a request is for. It decides who goes first, what may be sent again, and what an answer must prove."""

    CANCEL = 0
    CHANGE = 1  # of a resting order: price or quantity
    PLACE = 2
    QUERY = 3  # changes nothing at the venue: the only kind that is ever sent twice
    OTHER = 4  # changes something, but no order: a listen key, a leverage


class Outcome(IntEnum):
    """What became of a request (docs/VENUES.md). For a query ACCEPTED means answered whole and understood."""

    ACCEPTED = 0
    REJECTED_PROVEN = 1  # the venue said that it did not do it
    NOT_SENT_PROVEN = 2  # no byte of it was handed to the network
    UNKNOWN = 3  # it may have been done: only a fact from the venue ends this


class Progress(IntEnum):
    """How far a request got. From SENDING on, bytes of it may be at the venue."""

    QUEUED = 0
    CONNECTING = 1
    SENDING = 2  # it was handed to the network
    ANSWERING = 3  # the first byte of an answer is here
    HEAD = 4  # status and headers are here
    WHOLE = 5


class Wire(msgspec.Struct, frozen=True):
    """A signed request as it leaves. `target` is path and query, byte for byte what was signed."""

    method: str
    origin: str  # "https://host" or "http://host:port", without a slash at the end
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True):
    """A whole HTTP answer. Header names in lower case; `body` is decompressed."""

    status: int
    headers: dict[str, str]
    body: bytes


class Verdict(msgspec.Struct, Generic[T], frozen=True):
    """What an answer proves. `value` is there where the outcome is ACCEPTED; `code` is the venue's own, 0 for none."""

    outcome: Outcome
    reason: str = ""
    value: T | None = None
    code: int = 0


class Throttle(msgspec.Struct, frozen=True):
    """The venue says slower. It has not executed the request that it says this to."""

    is_ban: bool = False  # nothing at all is served until it ends
    orders_only: bool = False  # the count of new orders, not of requests
    retry_after_ns: int | None = None


class Signals(msgspec.Struct, frozen=True):
    """What any answer says beside its own matter: budgets used, as (meter, amount), and whether to slow down."""

    used: tuple[tuple[str, int], ...] = ()
    throttle: Throttle | None = None


class Request(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One call. `build` is given the venue's time (ns UTC) as the request leaves, so that what waited is not signed too early.

    `judge` says what a whole answer proves; it raises VenueProtocolError for one that it cannot read, which proves nothing.
    """

    name: str  # for records and messages, for example "order.place"
    intent: Intent
    build: Callable[[int], Wire]
    judge: Callable[[Answer], Verdict[T]]
    costs: tuple[tuple[str, int], ...] = ()  # (meter, amount)
    deadline_s: float = DEADLINE_S  # from the call of send to the whole answer, waiting included
    answer_bytes_max: int = ANSWER_BYTES_MAX


class Sent(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What became of a request. `answer` is None where no whole answer came; times are monotonic ns, 0 where not reached."""

    outcome: Outcome
    reason: str
    progress: Progress
    value: T | None = None
    code: int = 0
    answer: Answer | None = None
    sent_ns: int = 0
    answered_ns: int = 0
    attempts: int = 1
