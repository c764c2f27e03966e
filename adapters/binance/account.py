"""One product of one account, as its adapter and its switch are given it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from adapters.binance.codec import BinanceCodec
from adapters.binance.endpoints import Product
from adapters.binance.settings import BinanceSettings, Endpoints
from adapters.http.record import Redactor
from core.instruments import Instrument
from core.strategy import Subscription
from core.venue_opening import OnFrame, Role, no_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What opening.py makes of a configuration; `symbols` by instrument_id, `instruments` by symbol."""

    venue: str
    product: Product
    endpoints: Endpoints
    settings: BinanceSettings
    codec: BinanceCodec
    redactor: Redactor
    symbols: Mapping[str, str]
    instruments: Mapping[str, Instrument]
    subscriptions: Sequence[Subscription]
    prefix: str
    now: Callable[[], int]
    on_trouble: Callable[[str], None]
    on_frame: OnFrame = no_frame
    role: Role = Role.TRADE
