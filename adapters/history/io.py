"""The connections of sources of recorded data: paced, asked again where that can help, and the key in no message."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx

from adapters.history.tables import StatusError
from core.errors import ConfigError, TransportError, VenueProtocolError

BODY_BYTES_MAX = 128 << 20  # of one page, which is in memory
FILE_BYTES_MAX = 32 << 30  # of one download, which is not
ADVANCE_BYTES_MIN = 1 << 20
SAID_BYTES_MAX, SAID_SIGNS_MAX = 1 << 16, 300
TRIES_MAX = 5
WAIT_S_FIRST, WAIT_S_MAX = 1.0, 60.0
RETRY_AFTER_S_MAX = 900.0
TIMEOUT = httpx.Timeout(connect=10.0, read=60.0, write=10.0, pool=10.0)


class HistoryClient:
    """`secrets` are added to the parameters of every request to `origin`, and to nothing else.

    `transport`: of httpx, for tests. `requests_per_minute` 0: as fast as answers come. `folder` is where downloads lie while they
    are used, and where one that was cut off is continued from. `arrived` is told of the bytes of a download so far.
    """

    def __init__(
        self,
        *,
        secrets: Mapping[str, str],
        origin: str,
        requests_per_minute: int,
        folder: Path,
        arrived: Callable[[int], None] = lambda _bytes: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._folder = folder
        self._arrived = arrived
        self._secrets = dict(secrets)
        self._origin = origin
        self._gap_s = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._client = httpx.AsyncClient(transport=transport, timeout=TIMEOUT, follow_redirects=False, trust_env=False)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def get(self, url: str, parameters: Mapping[str, str]) -> bytes:
        """The body of a 200. Raises StatusError for other words of the source, TransportError where it cannot be reached."""
        body = bytearray()

        async def once() -> None:
            body.clear()
            is_ours = url.startswith(f"{self._origin}/")
            query = {**parameters, **(self._secrets if is_ours else {})}
            async with self._client.stream("GET", url, params=query or None) as response:
                await self._judge(url, response)
                async for chunk in response.aiter_bytes():
                    body.extend(chunk)
                    if len(body) > BODY_BYTES_MAX:
                        raise VenueProtocolError(f"{self._shown(url)}: more than {BODY_BYTES_MAX} bytes")

        await self._patiently(url, once, lambda: 0)
        return bytes(body)

    @asynccontextmanager
    async def download(self, url: str) -> AsyncIterator[Path]:
        """The body of a 200 as a file. Raises as `get` does; what had come by then is there for the next time."""
        path = self._folder / f"{url.rpartition('/')[2]}.download"
        await self._patiently(url, partial(self._continue, url, path), lambda: _size(path))
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def _continue(self, url: str, path: Path) -> None:
        """Asks for what is missing of the file. Whether the parts belong together its hash says."""
        have = _size(path)
        # Compressed on the way, a body's length and its parts would be those of other bytes.
        headers = {"accept-encoding": "identity"} | ({"range": f"bytes={have}-"} if have else {})
        async with self._client.stream("GET", url, headers=headers) as response:
            if have and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                path.unlink()
                raise _AgainError("what is here is not the beginning of it")
            is_rest = have > 0 and response.status_code == httpx.codes.PARTIAL_CONTENT
            if not is_rest:
                await self._judge(url, response)
            elif not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
                path.unlink()
                raise _AgainError(f"another part came than bytes {have} to the end")
            size = have if is_rest else 0
            with path.open("ab" if is_rest else "wb") as file:
                async for chunk in response.aiter_raw():
                    size += len(chunk)
                    if size > FILE_BYTES_MAX:
                        raise VenueProtocolError(f"{self._shown(url)}: more than {FILE_BYTES_MAX} bytes")
                    file.write(chunk)
                    self._arrived(size)

    async def _patiently(self, url: str, once: Callable[[], Awaitable[None]], size: Callable[[], int]) -> None:
        """`once`, again and again while that can help. A try that has brought a good part of a file is none of the TRIES_MAX."""
        tries = 0
        while True:
            await anyio.sleep(max(self._next - time.monotonic(), 0.0))
            self._next = time.monotonic() + self._gap_s
            before = size()
            try:
                return await once()
            except _AgainError as error:
                again = error
            except httpx.TransportError as error:
                again = _AgainError(f"{type(error).__name__}: {self._shown(str(error))}")
            except httpx.InvalidURL as error:
                raise VenueProtocolError(f"{self._shown(url)}: {error}") from None
            tries = 1 if size() - before >= ADVANCE_BYTES_MIN else tries + 1
            if tries == TRIES_MAX:
                raise TransportError(f"{self._shown(url)}: {again}, {TRIES_MAX} times") from None
            await anyio.sleep(again.wait_s or min(WAIT_S_FIRST * 2**tries, WAIT_S_MAX))

    async def _judge(self, url: str, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
            told = response.headers.get("retry-after", "")
            wait_s = min(float(told), RETRY_AFTER_S_MAX) if told.isdecimal() else 0.0
            raise _AgainError(f"status {status}", wait_s)
        said = bytearray()
        async for chunk in response.aiter_bytes():
            said += chunk
            if len(said) >= SAID_BYTES_MAX:
                break
        # The secret first, then the cut: half of one is no secret's text any more.
        text = self._shown(said.decode("utf-8", "replace"))[:SAID_SIGNS_MAX].strip()
        raise StatusError(f"{self._shown(url)}: status {status}: {text}", status)

    def _shown(self, text: str) -> str:
        for secret in self._secrets.values():
            text = text.replace(secret, "***")
        return text


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


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
