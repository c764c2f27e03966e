"""Who signs: what the codec needs of a signer, so that ccxt stays in one file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from adapters.binance.endpoints import Endpoint, Security
from adapters.http.record import percent_encoded
from adapters.http.request import Wire

SECTIONS = {
    "public": "/api/v3",
    "private": "/api/v3",
    "sapi": "/sapi/v1",
    "fapiPublic": "/fapi/v1",
    "fapiPrivate": "/fapi/v1",
    "fapiPrivateV3": "/fapi/v3",
}


class Signer(Protocol):
    def sign(self, endpoint: Endpoint, params: Mapping[str, str], timestamp_ms: int, recv_window_ms: int) -> Wire:
        """The request as it leaves. The timestamp and the window count where the endpoint is signed."""

    def signed_params(self, params: Mapping[str, str]) -> dict[str, str]:
        """Parameters of a WebSocket API request with apiKey and signature added; `timestamp` must be among them."""


class Keyless:
    """For whoever only watches: public requests, and nothing that needs a key."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def sign(self, endpoint: Endpoint, params: Mapping[str, str], timestamp_ms: int, recv_window_ms: int) -> Wire:
        if endpoint.security is not Security.NONE:
            raise AssertionError(f"{endpoint.name} needs a key, and there is none")
        query = "&".join(f"{name}={quoted(value)}" for name, value in params.items())
        path = f"{SECTIONS[endpoint.section]}/{endpoint.path}"
        return Wire(method=endpoint.method, origin=self._origin, target=f"{path}?{query}" if query else path)

    def signed_params(self, params: Mapping[str, str]) -> dict[str, str]:
        raise AssertionError("nothing is signed without a key")


def quoted(text: str) -> str:
    return percent_encoded(text.encode()).decode()
