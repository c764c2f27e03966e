"""The connections of sources of recorded data: paced, asked again where that can help, and the key in no message."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import httpx

from core.errors import ConfigError, RefusedError, TransportError, VenueProtocolError

BODY_BYTES_MAX = 4 << 30
TRIES_MAX = 5
WAIT_S_FIRST, WAIT_S_MAX = 1.0, 60.0
RETRY_AFTER_S_MAX = 900.0
TIMEOUT = httpx.Timeout(connect=10.0, read=60.0, write=10.0, pool=10.0)


class NotThereError(RefusedError):
    """404: there is no such file."""


class HistoryClient:
    """`secrets` are added to the parameters of every request to `origin`, and to nothing else.

    `transport`: of httpx, for tests. `requests_per_minute` 0: as fast as answers come.
    """

    def __init__(
        self,
        *,
        secrets: Mapping[str, str],
        origin: str,
        requests_per_minute: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._secrets = dict(secrets)
        self._origin = origin
        self._gap_s = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._client = httpx.AsyncClient(transport=transport, timeout=TIMEOUT, follow_redirects=False, trust_env=False)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def get(self, url: str, parameters: Mapping[str, str]) -> bytes:
        """The body of a 200. Raises RefusedError for other words of the source, TransportError where it cannot be reached."""
        tries = 0
        while True:
            tries += 1
            try:
                return await self._once(url, parameters)
            except _AgainError as error:
                if tries == TRIES_MAX:
                    raise TransportError(f"{self._shown(url)}: {error}, {TRIES_MAX} times") from None
                await anyio.sleep(error.wait_s or min(WAIT_S_FIRST * 2**tries, WAIT_S_MAX))

    async def _once(self, url: str, parameters: Mapping[str, str]) -> bytes:
        pause_s = self._next - time.monotonic()
        if pause_s > 0:
            await anyio.sleep(pause_s)
        self._next = time.monotonic() + self._gap_s
        is_ours = url.startswith(f"{self._origin}/")
        query = {**parameters, **(self._secrets if is_ours else {})}
        body = bytearray()
        try:
            async with self._client.stream("GET", url, params=query or None) as response:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > BODY_BYTES_MAX:
                        raise VenueProtocolError(f"{self._shown(url)}: more than {BODY_BYTES_MAX} bytes")
        except httpx.TransportError as error:
            raise _AgainError(f"{type(error).__name__}: {self._shown(str(error))}") from None
        except httpx.InvalidURL as error:
            raise VenueProtocolError(f"{self._shown(url)}: {error}") from None
        self._judge(url, response, bytes(body))
        return bytes(body)

    def _judge(self, url: str, response: httpx.Response, body: bytes) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
            told = response.headers.get("retry-after", "")
            wait_s = min(float(told), RETRY_AFTER_S_MAX) if told.isdecimal() else 0.0
            raise _AgainError(f"status {status}", wait_s)
        said = self._shown(body[:300].decode("utf-8", "replace")).strip()
        kind = NotThereError if status == httpx.codes.NOT_FOUND else RefusedError
        raise kind(f"{self._shown(url)}: status {status}: {said}")

    def _shown(self, text: str) -> str:
        for secret in self._secrets.values():
            text = text.replace(secret, "***")
        return text


async def ask_yfinance(_url: str, parameters: Mapping[str, str]) -> bytes:
    """The table as CSV. yfinance has connections of its own, and no setting for where they go; it blocks, in a thread.

    Raises TransportError where nothing came, whatever the reason: the library does not say.
    """
    frame = await anyio.to_thread.run_sync(partial(_yfinance, parameters))
    if not len(frame):
        what = f"{parameters['symbol']} from {parameters['start']}"
        raise TransportError(f"yfinance: {what}: nothing came: no such symbol, no data, or no connection")
    return bytes(frame.to_csv(index_label="").encode())


def _yfinance(parameters: Mapping[str, str]) -> Any:
    try:
        import yfinance
    except ModuleNotFoundError as error:
        raise ConfigError(f"yfinance needs the package {error.name}: pip install 'tradingd[venues]'") from None
    asked = {name: parameters[name] for name in ("interval", "start", "end")}
    try:
        return yfinance.Ticker(parameters["symbol"]).history(**asked, auto_adjust=False, actions=False, prepost=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TransportError(f"yfinance: {parameters['symbol']}: {type(error).__name__}: {error}") from None


class _AgainError(Exception):
    """It may be otherwise a little later."""

    def __init__(self, text: str, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.wait_s = wait_s
