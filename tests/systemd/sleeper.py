"""A strategy that rests one order, and hangs for ever inside a callback once the file `hang` is in the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.enums import Side
from core.events import Quote
from core.instruments import Instrument
from core.strategy import Subscription

INSTRUMENT = "ACME.SIM"
HANG = Path("hang")


class Sleeper:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        pass

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="size")]

    def on_quote(self, context: Any, quote: Quote) -> None:
        if not context.open_orders(INSTRUMENT):
            context.submit(INSTRUMENT, Side.BUY, 1, quote.bid_price - 50)
        while HANG.exists():
            pass
