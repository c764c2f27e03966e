"""Binance's signature written from its documentation, without ccxt: the oracle of ccxt's, and what tests sign with."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

from adapters.binance.endpoints import Endpoint, Security
from adapters.http.request import Wire

KEY = "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83"
SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
PATHS = {"public": "/api/v3/", "private": "/api/v3/", "sapi": "/sapi/v1/", "fapiPublic": "/fapi/v1/", "fapiPrivate": "/fapi/v1/"}


def signature(text: str) -> str:
    return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


class PlainSigner:
    def __init__(self, origin: str = "http://venue.test") -> None:
        self.origin = origin

    def sign(self, endpoint: Endpoint, params: Mapping[str, str], timestamp_ms: int, recv_window_ms: int) -> Wire:
        target = PATHS.get(endpoint.section, "/fapi/v3/") + endpoint.path
        headers = {} if endpoint.security is Security.NONE else {"X-MBX-APIKEY": KEY}
        query = urlencode(params)
        if endpoint.security is Security.SIGNED:
            query = urlencode({"timestamp": str(timestamp_ms), **params, "recvWindow": str(recv_window_ms)})
            query += "&signature=" + signature(query)
        is_form = endpoint.method in ("POST", "PUT") or (endpoint.security is Security.KEY and endpoint.method != "GET")
        if is_form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return Wire(endpoint.method, self.origin, target, tuple(headers.items()), query.encode())
        return Wire(endpoint.method, self.origin, f"{target}?{query}" if query else target, tuple(headers.items()), b"")

    def signed_params(self, params: Mapping[str, str]) -> dict[str, str]:
        asked = dict(sorted({**params, "apiKey": KEY}.items()))
        return {**asked, "signature": signature("&".join(f"{name}={value}" for name, value in asked.items()))}
