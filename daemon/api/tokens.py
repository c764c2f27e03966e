"""Who may do what: bearer tokens, kept as digests only, and the scopes that they give."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from hashlib import sha256

from core.errors import ConfigError
from daemon.api.settings import ApiClient

TOKEN_CHARACTERS_MIN = 32
TOKEN_CHARACTERS_MAX = 256
# What a header and a WebSocket's subprotocol may carry alike.
_TOKEN = re.compile(rf"[A-Za-z0-9._~-]{{{TOKEN_CHARACTERS_MIN},{TOKEN_CHARACTERS_MAX}}}", re.ASCII)

READ, TRADE, KILL, OPERATE = "read", "trade", "kill", "operate"
# Stopping takes less than starting again: `kill` may stop everything and can neither resume nor trade.
_GIVES: dict[str, frozenset[str]] = {
    READ: frozenset((READ,)),
    TRADE: frozenset((READ, TRADE)),
    KILL: frozenset((READ, KILL)),
    OPERATE: frozenset((READ, TRADE, KILL, OPERATE)),
}


class Caller:
    """A client that has shown its token."""

    __slots__ = ("client", "may")

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self.may = frozenset(each for scope in client.scopes for each in _GIVES[scope])

    @property
    def client_id(self) -> str:
        return self.client.client_id

    @property
    def is_operator(self) -> bool:
        return OPERATE in self.may


class Tokens:
    """Of all clients. Raises ConfigError where a token is missing, too short, or another client's too."""

    def __init__(self, clients: Sequence[ApiClient], read_secret: Callable[[str], str]) -> None:
        self._digests: list[tuple[bytes, Caller]] = []
        for client in clients:
            token = read_secret(client.token)
            if _TOKEN.fullmatch(token) is None:
                raise ConfigError(
                    f"secret {client.token!r} of client {client.client_id}: a token has {TOKEN_CHARACTERS_MIN} to "
                    f"{TOKEN_CHARACTERS_MAX} of A-Z, a-z, 0-9, '.', '_', '~' and '-'; for example: openssl rand -hex 32"
                )
            digest = _digest(token)
            for other, caller in self._digests:
                if other == digest:
                    raise ConfigError(f"clients {caller.client_id} and {client.client_id} have the same token")
            self._digests.append((digest, Caller(client)))

    def find(self, token: str) -> Caller | None:
        """Every digest is compared to its end: how long it takes says nothing."""
        digest = _digest(token)
        found = None
        for known, caller in self._digests:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
