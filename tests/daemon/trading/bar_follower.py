"""A strategy that is woken by bars alone, of two lengths: it buys after one that rose and sells after one that fell."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from core.enums import Side
from core.events import Bar
from core.instruments import Instrument
from core.strategy import Context, Subscription
from core.units import NS_PER_SECOND

INSTRUMENT = "ACME.SIM"
LENGTHS_NS = (5 * NS_PER_SECOND, 60 * NS_PER_SECOND)


class BarFollower:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self.bars = 0

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, bars_ns=length) for length in LENGTHS_NS]

    def on_bar(self, context: Context, bar: Bar) -> None:
        self.bars += 1
        side = Side.BUY if bar.close >= bar.open else Side.SELL
        context.cancel_all(INSTRUMENT)
        context.submit(INSTRUMENT, side, 1, bar.close)
