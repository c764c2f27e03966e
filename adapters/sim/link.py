"""One connection's talk with the venue: login first, heartbeats, silence, a goodbye. Pure: bytes and time in, messages out."""

from __future__ import annotations

from adapters.sim.wire import (
    ANSWER_BYTES_MAX,
    FIRST_LOGIN,
    HEARTBEAT_NS,
    SILENCE_NS_MAX,
    VERSION,
    Answer,
    Frames,
    Heartbeat,
    LoggedIn,
    Login,
    LoginRefused,
    Logout,
    Request,
    Role,
    decode_answer,
    encode,
)
from core.errors import RefusedError, TransportError, VenueProtocolError


class Link:
    """From connect to the end of one connection. `ts` in ns UTC, never less than before."""

    def __init__(self, ts: int) -> None:
        self._frames = Frames(ANSWER_BYTES_MAX)
        self._heard_ts = ts
        self._said_ts = ts
        self._requests = 0
        self.is_logged_in = False

    def login(self, ts: int, *, account: str, token: str, role: Role, last_event: int = FIRST_LOGIN) -> bytes:
        return self.say(ts, Login(VERSION, account, token, role, last_event))

    def say(self, ts: int, message: Request) -> bytes:
        """The bytes to send."""
        self._said_ts = ts
        return encode(message)

    def next_request(self) -> int:
        """The number of a request: its answer bears the same."""
        self._requests += 1
        return self._requests

    def receive(self, ts: int, data: bytes) -> list[Answer]:
        """What the venue said, heartbeats aside.

        Raises VenueProtocolError where it breaks the protocol, RefusedError where it takes no login, TransportError where
        it says goodbye.
        """
        self._heard_ts = ts
        answers: list[Answer] = []
        for payload in self._frames.receive(data):
            answer = decode_answer(payload)
            match answer:
                case Heartbeat():
                    continue
                case Logout(reason=reason):
                    raise TransportError(f"the venue has closed the connection: {reason}")
                case LoginRefused(reason=reason) if not self.is_logged_in:
                    raise RefusedError(f"the venue refuses the login: {reason}")
                case LoggedIn() if not self.is_logged_in:
                    self.is_logged_in = True
                case LoggedIn() | LoginRefused():
                    raise VenueProtocolError("the venue answers a login that it has answered")
                case _ if not self.is_logged_in:
                    raise VenueProtocolError(f"the venue sends {type(answer).__name__} before it has answered the login")
                case _:
                    pass
            answers.append(answer)
        return answers

    def tick(self, ts: int) -> bytes:
        """What to send at `ts` where nothing else was sent lately. Raises TransportError where the venue has fallen silent."""
        if ts - self._heard_ts >= SILENCE_NS_MAX:
            raise TransportError(f"the venue has said nothing for {SILENCE_NS_MAX // 10**9} s")
        if ts - self._said_ts >= HEARTBEAT_NS:
            return self.say(ts, Heartbeat(ts))
        return b""

    @property
    def next_deadline(self) -> int:
        """When `tick` has something to do, ns UTC."""
        return min(self._heard_ts + SILENCE_NS_MAX, self._said_ts + HEARTBEAT_NS)
