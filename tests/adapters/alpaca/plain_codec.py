"""A codec for tests that send nothing."""

from __future__ import annotations

from adapters.alpaca.codec import AlpacaCodec
from adapters.alpaca.settings import AlpacaSettings, endpoints_of
from core.venue_opening import Environment
from sim.venues.alpaca.settings import listing_rules


def codec_of(settings: AlpacaSettings) -> AlpacaCodec:
    return AlpacaCodec(
        settings,
        endpoints_of(settings, Environment.SIMULATOR, "127.0.0.1:1"),
        key="PKABCDEF",
        secret="secret",
        prefix="t",
        instruments={"AAPL.ALPACA": listing_rules("AAPL")},
        symbols={"AAPL.ALPACA": "AAPL"},
    )
