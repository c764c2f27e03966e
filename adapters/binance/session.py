"""The life of a user-data connection: open, subscribe, ask for the truth, live, and over again before the venue cuts it. Pure.

io.py opens sockets and sends what the actions say; this file decides when. A stream alone is never the truth about orders: after
every connect open orders and executions are asked for before anything new is placed. Times are monotonic ns.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from adapters.binance.user_stream import Reply, StreamEnded, UserMessage, decode_user
from adapters.http.meters import Lane, SlidingWindow
from core.errors import VenueProtocolError
from core.units import NS_PER_MINUTE, NS_PER_MS, NS_PER_SECOND


class StreamPhase(IntEnum):
    OFF = 0
    OPENING = 1
    SUBSCRIBING = 2  # spot: the WebSocket API must say yes first
    RECOVERING = 3  # events come, and what happened meanwhile is asked for
    LIVE = 4


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    # The venue cuts a connection after 24 h: better at a moment of our own choosing.
    life_ns: int = 23 * 60 * NS_PER_MINUTE + 30 * NS_PER_MINUTE
    open_timeout_ns: int = 10 * NS_PER_SECOND
    subscribe_timeout_ns: int = 10 * NS_PER_SECOND
    # Without a frame or a ping for so long the connection is half open. Spot pings every 20 s, futures every 3 min.
    silence_ns: int = 75 * NS_PER_SECOND
    backoff_first_ns: int = 100 * NS_PER_MS
    backoff_max_ns: int = 30 * NS_PER_SECOND
    settled_ns: int = NS_PER_MINUTE  # alive for so long: the next failure is a new one
    # 300 in 5 min for the address; the market data and the guardian connect as well.
    connects_max: int = 60
    connects_interval_ns: int = 5 * NS_PER_MINUTE
    # Frames that cannot be read: one may be a new kind of event, many mean that this is not the stream it should be.
    unreadable_max: int = 20


class Action(IntEnum):
    OPEN = 0
    CLOSE = 1
    SUBSCRIBE = 2  # send the subscription frame
    RECOVER = 3  # ask for open orders, executions and positions, then call `recovered`


class StreamSession:
    """`needs_subscription` is True for spot. `opened_at` and the like come from the caller: there is no clock here."""

    def __init__(self, limits: StreamLimits, *, needs_subscription: bool) -> None:
        self.phase = StreamPhase.OFF
        self.why = ""  # the last connection ended
        self.reconnects = 0
        self.unreadable = 0
        self.refusal = 0  # the venue's code, where it did not take the subscription
        self._limits = limits
        self._needs_subscription = needs_subscription
        self._since = 0  # this phase
        self._opened = 0
        self._heard = 0
        self._retry_at = 0
        self._backoff = limits.backoff_first_ns
        self._attempts = SlidingWindow(limits.connects_max, limits.connects_interval_ns)

    @property
    def may_place(self) -> bool:
        """New orders only while their fate can be heard. Cancels need no stream."""
        return self.phase is StreamPhase.LIVE

    def advance(self, now: int) -> tuple[list[Action], int]:
        """What is due, and when to come again."""
        limits = self._limits
        match self.phase:
            case StreamPhase.OFF:
                wait = max(self._retry_at - now, self._attempts.wait(now, 1, Lane.CANCEL))
                if wait > 0:
                    return [], now + wait
                self._attempts.take(now, 1)
                self._enter(StreamPhase.OPENING, now)
                return [Action.OPEN], now + limits.open_timeout_ns
            case StreamPhase.OPENING:
                return self._unless_late(now, self._since + limits.open_timeout_ns, "it did not open in time")
            case StreamPhase.SUBSCRIBING:
                return self._unless_late(now, self._since + limits.subscribe_timeout_ns, "the subscription was not answered")
            case StreamPhase.RECOVERING | StreamPhase.LIVE:
                silent, old = self._heard + limits.silence_ns, self._opened + limits.life_ns
                reason = "nothing was heard on it" if silent <= old else "it is a day old"
                return self._unless_late(now, min(silent, old), reason)

    def _unless_late(self, now: int, deadline: int, reason: str) -> tuple[list[Action], int]:
        if now < deadline:
            return [], deadline
        self._end(now, reason)
        return [Action.CLOSE], self._retry_at

    def opened(self, now: int) -> list[Action]:
        if self.phase is not StreamPhase.OPENING:
            return []
        self.refusal = 0
        self._opened = self._heard = now
        if self._needs_subscription:
            self._enter(StreamPhase.SUBSCRIBING, now)
            return [Action.SUBSCRIBE]
        self._enter(StreamPhase.RECOVERING, now)
        return [Action.RECOVER]

    def heard(self, now: int) -> None:
        """A ping, or any sign of life below the frames."""
        self._heard = now

    def receive(self, now: int, payload: bytes) -> tuple[UserMessage | None, list[Action]]:
        """One frame: its message, None where it could not be read. What it says of orders is a fact in every phase."""
        self._heard = now
        try:
            message = decode_user(payload)
        except VenueProtocolError as error:
            self.unreadable += 1
            self.why = str(error)
            if self.unreadable > self._limits.unreadable_max:
                self._end(now, f"too many frames that cannot be read, the last: {error}")
                return None, [Action.CLOSE]
            # What it would have said must be asked for.
            return None, [Action.RECOVER] if self.phase >= StreamPhase.RECOVERING else []
        if isinstance(message, StreamEnded):
            self._end(now, message.reason, at_once=True)
            return message, [Action.CLOSE]
        if isinstance(message, Reply) and self.phase is StreamPhase.SUBSCRIBING:
            if message.code or message.subscription_id is None:
                self.refusal = message.code
                self._end(now, f"the subscription was refused: {message.code} {message.text}")
                return message, [Action.CLOSE]
            self._enter(StreamPhase.RECOVERING, now)
            return message, [Action.RECOVER]
        return message, []

    def recovered(self, now: int) -> None:
        """Orders and executions were asked for on this connection, and everything is known."""
        if self.phase is StreamPhase.RECOVERING:
            self._enter(StreamPhase.LIVE, now)

    def closed(self, now: int, reason: str) -> None:
        """The connection is gone, or could not be opened."""
        if self.phase is not StreamPhase.OFF:
            self._end(now, reason)

    def _enter(self, phase: StreamPhase, now: int) -> None:
        self.phase = phase
        self._since = now

    def _end(self, now: int, reason: str, *, at_once: bool = False) -> None:
        """`at_once`: the venue asked for a new connection, so there is nothing to be patient about."""
        if self.phase >= StreamPhase.RECOVERING and now - self._opened >= self._limits.settled_ns:
            self._backoff = self._limits.backoff_first_ns
        self.why = reason
        self.reconnects += 1
        self.unreadable = 0
        self._retry_at = now if at_once else now + self._backoff
        self._backoff = min(2 * self._backoff, self._limits.backoff_max_ns)
        self._enter(StreamPhase.OFF, now)
