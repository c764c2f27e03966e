"""ccxt as the signer of Binance requests, and nothing more of it: no network, no markets, no clock. The one file that imports it.

ccxt's own request and response handling hides what the outcome rule needs (docs/VENUES.md); its `sign` is pure and knows every
section's URL and each kind of key (HMAC, RSA, Ed25519). The synchronous module is used: the asynchronous one patches aiohttp.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import ccxt

from adapters.binance.endpoints import Endpoint, Security
from adapters.binance.signing import SECTIONS
from adapters.http.request import Wire
from core.errors import ConfigError


class CcxtSigner:
    """`spot_origin` and `futures_origin` are "https://host", or "http://127.0.0.1:port" for a simulator."""

    def __init__(self, *, api_key: str, secret: str, spot_origin: str, futures_origin: str) -> None:
        for name, value in (("key", api_key), ("secret", secret)):
            # A newline at the end of a credentials file would go into a header.
            if not value or value != value.strip() or not value.isascii():
                raise ConfigError(f"the Binance API {name} is empty, or has blanks or other signs around it")
        self._exchange = ccxt.binance({"apiKey": api_key, "secret": secret, "enableRateLimit": False, "maxRetriesOnFailure": 0})
        self._api_key = api_key
        origins = {"public": spot_origin, "private": spot_origin, "sapi": spot_origin}
        self._origins = {section: origins.get(section, futures_origin) for section in SECTIONS}
        for section, path in SECTIONS.items():
            self._exchange.urls["api"][section] = self._origins[section] + path

    def sign(self, endpoint: Endpoint, params: Mapping[str, str], timestamp_ms: int, recv_window_ms: int) -> Wire:
        asked = dict(params)
        if endpoint.security is Security.SIGNED:
            asked["timestamp"] = str(timestamp_ms)
            asked["recvWindow"] = str(recv_window_ms)
        signed = self._exchange.sign(endpoint.path, [endpoint.section], endpoint.method, asked)
        origin = self._origins[endpoint.section]
        url: str = signed["url"]
        assert url.startswith(origin + "/")
        return Wire(
            method=endpoint.method,
            origin=origin,
            target=url[len(origin) :],
            headers=tuple((signed["headers"] or {}).items()),
            body=(signed["body"] or "").encode(),
        )

    def signed_params(self, params: Mapping[str, str]) -> dict[str, str]:
        # The WebSocket API signs its parameters in alphabetical order, the API key among them.
        asked = dict(sorted({**params, "apiKey": self._api_key}.items()))
        exchange = self._exchange
        query = exchange.rawencode(asked)
        secret = exchange.secret
        if "PRIVATE KEY" not in secret:
            signature = exchange.hmac(exchange.encode(query), exchange.encode(secret), hashlib.sha256)
        elif len(secret) > 120:
            signature = exchange.rsa(query, secret, "sha256")
        else:
            signature = exchange.eddsa(exchange.encode(query), secret, "ed25519")
        return {**asked, "signature": str(signature)}
