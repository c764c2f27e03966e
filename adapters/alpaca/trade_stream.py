"""The life of one trade_updates connection: authenticate, listen, then updates. Pure.

connected -> authenticate -> authorization -> listen -> listening -> trade_updates …
"""

from __future__ import annotations

from enum import Enum

from adapters.alpaca import wire
from adapters.alpaca.wire import Authorized, Listening, TradeUpdate, Unheard
from core.errors import RefusedError, TransportError, VenueProtocolError


class State(Enum):
    CLOSED = "closed"
    AUTHENTICATING = "authenticating"
    ASKING = "asking to listen"
    LISTENING = "listening"


class TradeStream:
    """One connection after the other; `connected` begins a new one."""

    def __init__(self, key: str, secret: str) -> None:
        self._key, self._secret = key, secret
        self.state = State.CLOSED

    def connected(self) -> str:
        """What to send first."""
        self.state = State.AUTHENTICATING
        return wire.authenticate(self._key, self._secret)

    def closed(self) -> None:
        self.state = State.CLOSED

    def receive(self, frame: str | bytes) -> tuple[TradeUpdate | None, str | None]:
        """An update, or something to send. Raises RefusedError where the key is not taken, TransportError where the venue stops
        authorizing or listening, VenueProtocolError."""
        message = wire.read_frame(frame)
        match message:
            case TradeUpdate():
                if self.state is not State.LISTENING:
                    raise VenueProtocolError(f"an update came while {self.state.value}")
                return message, None
            case Authorized():
                return None, self._authorized(message)
            case Listening():
                self._listening(message)
                return None, None
            case Unheard():
                return None, None

    def _authorized(self, message: Authorized) -> str:
        if message.status != "authorized":
            if self.state is State.LISTENING:
                raise TransportError("trade_updates: the authorization was taken back")
            raise RefusedError(f"trade_updates: the key is not taken: {message.status} {message.message}".strip())
        if self.state is not State.AUTHENTICATING:
            raise VenueProtocolError(f"an authorization came while {self.state.value}")
        self.state = State.ASKING
        return wire.listen()

    def _listening(self, message: Listening) -> None:
        if "trade_updates" not in message.streams:
            raise TransportError(f"trade_updates: the venue does not let us listen: {message.error or message.streams}")
        if self.state not in (State.ASKING, State.LISTENING):
            raise VenueProtocolError(f"listening came while {self.state.value}")
        self.state = State.LISTENING
