"""ccxt's class of an exchange with its way to the network taken out: it signs and parses, and all requests go through our door.

The only file here that imports ccxt. That takes seconds, and patches aiohttp for the whole process (nothing here uses aiohttp).
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from core.errors import ConfigError, VenueProtocolError
from core.venue_opening import Environment

# (exchange, path, api, method, params, cost): the decoded answer. Raises what ccxt raises.
Door = Callable[[Any, str, Any, str, Any, float], Awaitable[Any]]
_ORIGIN = re.compile(r"[a-z]+://[^/]+")
LOOPBACK = "http"
USER_AGENT = "tradingd"


def error_types() -> tuple[type[Exception], type[Exception]]:
    """ccxt's root of all errors, and the one that says "no answer"."""
    from ccxt.base.errors import BaseError, NetworkError

    return BaseError, NetworkError


def require_exchange(name: str) -> None:
    """Raises ConfigError with the nearest names where ccxt knows none of that name."""
    import difflib

    import ccxt.async_support as ccxt

    if name in ccxt.exchanges:
        return
    near = difflib.get_close_matches(name, ccxt.exchanges, n=3)
    hint = f": did you mean {' or '.join(near)}?" if near else ""
    raise ConfigError(f"exchange: ccxt knows no {name!r}{hint}")


def make_exchange(
    name: str,
    door: Door,
    *,
    environment: Environment,
    address: str,
    credentials: Mapping[str, str],
    options: Mapping[str, Any],
    wall_ms: Callable[[], int],
) -> Any:
    """An exchange object of ccxt. `credentials` by ccxt's names; ConfigError where it has no endpoint of `environment`."""
    require_exchange(name)
    exchange = _class_of(name)(door, wall_ms, _config(credentials, options))
    exchange.has["fetchCurrencies"] = False  # nothing of it is used, and of some exchanges it wants a login
    if str(exchange.userAgent).startswith("python-requests"):
        exchange.userAgent = USER_AGENT  # ccxt's own default names a client that is not here
    urls = exchange.urls
    if environment is Environment.TEST:
        if not urls.get("test"):
            raise ConfigError(f"environment: {name} has no test network that ccxt knows")
        exchange.set_sandbox_mode(True)
    elif environment is Environment.SIMULATOR:
        urls["api"] = _moved(urls["api"], f"{LOOPBACK}://{address}")
    return exchange


def origins_of(exchange: Any) -> frozenset[str]:
    """Where it may send: every other origin is a mistake."""
    return frozenset(
        match[0] for url in _leaves(exchange.urls["api"]) if (match := _ORIGIN.match(exchange.implode_hostname(url)))
    )


def _config(credentials: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    ours = {"maxRetriesOnFailure": 0, "warnOnFetchOpenOrdersWithoutSymbol": False}
    return {"enableRateLimit": False, "options": {**options, **ours}, **credentials}


def _moved(urls: Any, origin: str) -> Any:
    if isinstance(urls, str):
        return _ORIGIN.sub(origin, urls, count=1)
    return {name: _moved(each, origin) for name, each in urls.items()} if isinstance(urls, Mapping) else urls


def _leaves(urls: Any) -> list[str]:
    if isinstance(urls, str):
        return [urls]
    return [leaf for each in urls.values() for leaf in _leaves(each)] if isinstance(urls, Mapping) else []


def _no_constant(text: str) -> None:
    raise VenueProtocolError(f"{text} is not a number")


# Made once: numbers with a fraction stay the texts that the exchange sent.
_DECODE = json.JSONDecoder(parse_float=str, parse_constant=_no_constant).decode


def _class_of(name: str) -> Any:
    import ccxt.async_support as ccxt

    class Exchange(getattr(ccxt, name)):  # type: ignore[misc]  # its base is found by name
        number = str
        on_json_response = staticmethod(_DECODE)

        def __init__(self, door: Door, wall_ms: Callable[[], int], config: dict[str, Any]) -> None:
            self._door = door
            self._wall_ms = wall_ms
            self._signing_ms: int | None = None
            self._last_ms = 0
            super().__init__(config)

        async def fetch2(
            self, path: str, api: Any = "public", method: str = "GET", params: Any = None, config: Any = None
        ) -> Any:
            """Instead of ccxt's limiter, loop of retries and client. Requests are signed behind the door, as they leave."""
            cost = self.calculate_rate_limiter_cost(api, method, path, params or {}, config or {})
            return await self._door(self, path, api, method, {} if params is None else params, cost)

        async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
            raise VenueProtocolError(f"{self.id} goes to {url.partition('?')[0]} without being signed: that is not supported")

        def sign_at(self, ms: int, path: str, api: Any, method: str, params: Any) -> dict[str, Any]:
            """What leaves: url, method, headers and body; `ms` is the exchange's time, and never the same twice: nonces."""
            self._signing_ms = self._last_ms = max(ms, self._last_ms + 1)
            try:
                signed = self.sign(path, api, method, dict(params) if isinstance(params, Mapping) else params)
            finally:
                self._signing_ms = None
            found: dict[str, Any] = {**signed, "headers": self.prepare_request_headers(dict(signed.get("headers") or {}))}
            return found

        def begin_nonces(self) -> None:
            """What was signed so far bound nobody: the next one may be below it."""
            self._last_ms = 0

        # ccxt's clocks: what is signed bears the exchange's time.

        def milliseconds(self) -> int:
            return self._wall_ms() if self._signing_ms is None else self._signing_ms

        def seconds(self) -> int:
            return self.milliseconds() // 1000

        def microseconds(self) -> int:
            return self.milliseconds() * 1000

    return Exchange
