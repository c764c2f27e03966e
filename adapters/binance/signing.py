"""Who signs: what the codec needs of a signer, so that ccxt stays in one file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from adapters.binance.endpoints import Endpoint
from adapters.http.request import Wire


class Signer(Protocol):
    def sign(self, endpoint: Endpoint, params: Mapping[str, str], timestamp_ms: int, recv_window_ms: int) -> Wire:
        """The request as it leaves. The timestamp and the window count where the endpoint is signed."""

    def signed_params(self, params: Mapping[str, str]) -> dict[str, str]:
        """Parameters of a WebSocket API request with apiKey and signature added; `timestamp` must be among them."""
