"""Where a simulated venue listens, as the configuration writes it: "unix:PATH", or "HOST:PORT" on loopback."""

from __future__ import annotations

import msgspec

from core.errors import ConfigError

UNIX = "unix:"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PORT_MAX = 65_535
UNIX_PATH_BYTES_MAX = 107  # of sockaddr_un, the closing zero aside


class Address(msgspec.Struct, frozen=True):
    """`path` of a unix socket, or else `host` and `port`."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"{UNIX}{self.path}" if self.path else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Raises ConfigError for what is none. Nothing is encrypted, so a host beyond this machine is refused."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path or len(path.encode()) > UNIX_PATH_BYTES_MAX:
            raise ConfigError(f"{text!r}: a unix socket's path has 1 to {UNIX_PATH_BYTES_MAX} bytes")
        return Address(path=path)
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > PORT_MAX:
        raise ConfigError(f'{text!r} is no address: "unix:PATH" or "HOST:PORT"')
    if host not in LOOPBACK:
        raise ConfigError(f"{text!r}: only this machine can be reached: {', '.join(LOOPBACK)}")
    return Address(host=host, port=int(port))
