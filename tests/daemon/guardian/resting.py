"""A strategy that keeps orders resting away from the market, holds a position where asked, and hangs once a file is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.enums import Side
from core.events import Quote
from core.instruments import Instrument
from core.strategy import Subscription

INSTRUMENT = "ACME.SIM"


class Resting:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")
        hang_file: str
        orders: int = 20
        position: int = 0

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self._params = params
        self._has_bought = False

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="size")]

    def on_quote(self, context: Any, quote: Quote) -> None:
        while Path(self._params.hang_file).exists():
            # For ever: nobody takes the file away.
            pass
        if self._params.position and not self._has_bought:
            self._has_bought = True
            context.submit(INSTRUMENT, Side.BUY, self._params.position, quote.ask_price + 20)
        for place in range(len(context.open_orders(INSTRUMENT)), self._params.orders):
            context.submit(INSTRUMENT, Side.BUY, 1, quote.bid_price - 100 - place)
