"""A strategy that rests one order, and hangs where a file of the working directory says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.enums import Side
from core.events import Quote
from core.instruments import Instrument
from core.strategy import Subscription

INSTRUMENT = "ACME.SIM"
HOLD, HELD = Path("hold"), Path("held")  # while `hold` is there, on_reconciled does not return; it makes `held`
HANG, HANGING = Path("hang"), Path("hanging")  # renames the one to the other, once, and hangs in a quote while that is there


class Sleeper:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        pass

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="size")]

    def on_reconciled(self, context: Any) -> None:
        if HOLD.exists():
            HELD.touch()
        while HOLD.exists():
            pass

    def on_quote(self, context: Any, quote: Quote) -> None:
        if not context.open_orders(INSTRUMENT):
            context.submit(INSTRUMENT, Side.BUY, 1, quote.bid_price - 50)
        if HANG.exists():
            HANG.rename(HANGING)
            while HANGING.exists():
                pass
